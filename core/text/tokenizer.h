/* tokenizer.h - text to token ids and back, as a tokenizer.json says.
 *
 * What it is for. Byte-level BPE of GPT-2, Llama 3, Qwen2 and SmolLM2: the same ids as Hugging
 * Face's `tokenizers` for the same file. What a file asks for and we do not do is refused in
 * words at load, never ignored.
 *
 * The pipeline. Added tokens are cut out first (longest match; special ones only if asked),
 * then for each piece: normaliser (NFC), pre-tokenizer (splits), byte-level alphabet, BPE merges.
 *
 * Invariants.
 *   1. decode(encode(s)) = s for valid UTF-8 whenever the vocabulary holds all 256 bytes.
 *   2. The streaming decoder's pieces, joined, are decode of all ids; each is valid UTF-8. */
#ifndef TR_TEXT_TOKENIZER_H
#define TR_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct tr_tokenizer;

/* Token ids that grow. */
struct tr_ids {
    int32_t *at; /* owns */
    int64_t count, room;
};
enum tr_status tr_ids_put(struct tr_ids *ids, const int32_t *at, int64_t count,
                          struct tr_err *err);
void tr_ids_fini(struct tr_ids *ids);

/* Loads DIR/tokenizer.json, and bos/eos/pad/unk and add_bos_token from tokenizer_config.json
 * and special_tokens_map.json when they are there. */
enum tr_status tr_tokenizer_open(const char *dir, struct tr_tokenizer **out,
                                 struct tr_err *err);
/* From bytes of a tokenizer.json. For the fuzzer. */
enum tr_status tr_tokenizer_parse(const char *bytes, size_t size, const char *where,
                                  struct tr_tokenizer **out, struct tr_err *err);
void tr_tokenizer_close(struct tr_tokenizer *t);

int32_t tr_tokenizer_size(
    const struct tr_tokenizer *t); /* ids are below this, added included */
int32_t tr_tokenizer_id(const struct tr_tokenizer *t, const char *token); /* or -1 */
const char *tr_tokenizer_token(const struct tr_tokenizer *t, int32_t id); /* or NULL */
bool tr_tokenizer_is_special(const struct tr_tokenizer *t, int32_t id);

struct tr_special { /* ids, -1 when the tokenizer has none */
    int32_t bos, eos, pad, unk;
    bool add_bos;
};
struct tr_special tr_tokenizer_special(const struct tr_tokenizer *t);
/* Template repair (ALGORITHMS.md 3.3): makes a token special, adding it at the end of the
 * vocabulary when it is unknown (*added = true). */
enum tr_status tr_tokenizer_add_special(struct tr_tokenizer *t, const char *token,
                                        int32_t *id, bool *added, struct tr_err *err);
void tr_tokenizer_set_special(struct tr_tokenizer *t, struct tr_special s);

/* Where generation ends: appends EOS and the additional special tokens, each once. */
enum tr_status tr_tokenizer_stops(const struct tr_tokenizer *t, struct tr_ids *out,
                                  struct tr_err *err);
/* Makes an id an additional special token in that sense. */
enum tr_status tr_tokenizer_add_stop(struct tr_tokenizer *t, int32_t id,
                                     struct tr_err *err);

/* The Jinja text of tokenizer_config.json or chat_template.jinja, or NULL. Borrowed. */
const char *tr_tokenizer_chat_template(const struct tr_tokenizer *t);

/* Appends the ids of text (size bytes; invalid UTF-8 is replaced by U+FFFD). No special tokens
 * are added; special tokens written out in the text become their ids, as in the peer. */
enum tr_status tr_tokenizer_encode(const struct tr_tokenizer *t, const char *text,
                                   size_t size, struct tr_ids *out, struct tr_err *err);
/* Appends the text of ids; invalid UTF-8 becomes U+FFFD, as in the peer. */
enum tr_status tr_tokenizer_decode(const struct tr_tokenizer *t, const int32_t *ids,
                                   int64_t count, bool skip_special, struct tr_buf *out,
                                   struct tr_err *err);

/* Streaming: put one id, get the text that is certain now (maybe none); flush at the end. */
struct tr_stream {
    unsigned char held[8]; /* bytes of an unfinished character */
    int count;
};
enum tr_status tr_stream_put(struct tr_stream *s, const struct tr_tokenizer *t,
                             int32_t id, bool skip_special, struct tr_buf *out,
                             struct tr_err *err);
enum tr_status tr_stream_flush(struct tr_stream *s, struct tr_buf *out,
                               struct tr_err *err);

#endif

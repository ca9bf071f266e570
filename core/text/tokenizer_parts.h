/* tokenizer_parts.h - what a tokenizer is made of. For the files that load, encode and decode.
 *
 * The data. Every step of the pipeline has a module; a tokenizer is one of each. Added tokens
 * are words of the vocabulary like others, and stand in `added` (and a trie) besides.
 *
 * Invariants.
 *   1. After loading, encode and decode take it const: threads may share it. Only
 *      tr_tokenizer_add_special and tr_tokenizer_set_special change it. */
#ifndef TR_TEXT_TOKENIZER_PARTS_H
#define TR_TEXT_TOKENIZER_PARTS_H

#include "core/text/added.h"
#include "core/text/bpe.h"
#include "core/text/split.h"
#include "core/text/tokenizer.h"
#include "core/text/vocabulary.h"

struct tr_tokenizer {
    struct tr_vocabulary vocabulary;
    struct tr_bpe bpe;
    struct tr_splitter splitter;
    bool nfc;
    struct tr_added *added; /* owns, [added_room] */
    int32_t added_count, added_room;
    struct tr_trie plain; /* of added tokens that are searched in the text as it came */
    struct tr_trie normalized; /* of those searched after the normaliser */
    struct tr_special special;
    struct tr_ids extra; /* additional special tokens: generation stops at them too */
    int32_t leads;       /* the token that the post-processor puts first, or -1 */
    char *chat_template; /* owns, or NULL */
};

/* Makes `token` an added token: a.id says which id it must get, -1 leaves that to the
 * vocabulary (its own, else the next free one). An added token put again takes the new marks. */
enum tr_status tr_tokenizer_put_added(struct tr_tokenizer *t, const char *token,
                                      size_t size, struct tr_added a, bool special,
                                      int32_t *id, struct tr_err *err);
/* Rebuilds the tries after tokens were put. */
enum tr_status tr_tokenizer_index_added(struct tr_tokenizer *t, struct tr_err *err);

#endif

/* gguf_tokenizer.h - a tokenizer.json out of a GGUF file's metadata.
 *
 * What it is for. GGUF holds the vocabulary, the merges and the name of a pre-tokenizer
 * (`tokenizer.ggml.pre`) where Hugging Face has a tokenizer.json that says everything. Only
 * byte-level BPE ("gpt2") is understood; other kinds and unknown pre-tokenizers are refused in
 * words, because a wrong split gives wrong ids without any error.
 *
 * The data. Token types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
 * Control and unknown tokens, and those named as bos, eos, .., become special added tokens,
 * user-defined ones plain added tokens; unused ones are left out; all others are the vocabulary.
 *
 * Invariants.
 *   1. Every token is valid UTF-8 and unique, every merge's parts and result are in the
 *      vocabulary, every named id is below the number of tokens. */
#ifndef TR_MODEL_GGUF_TOKENIZER_H
#define TR_MODEL_GGUF_TOKENIZER_H

#include <jansson.h>

#include "core/model/gguf.h"

/* Ids that the metadata names; -1 when it does not. */
struct tr_gguf_ids {
    int32_t bos, eos, eot, eom, unk, pad;
};

/* At most V tokens. */
enum tr_status tr_gguf_ids(const struct tr_gguf *g, int64_t V, struct tr_gguf_ids *out,
                           struct tr_err *err);

/* tokenizer.json; the caller owns *out. */
enum tr_status tr_gguf_tokenizer(const struct tr_gguf *g, int64_t V, json_t **out,
                                 struct tr_err *err);

/* Writes tokenizer.json, tokenizer_config.json, special_tokens_map.json and, when there is a
 * template, chat_template.jinja into dir. */
enum tr_status tr_gguf_tokenizer_write(const struct tr_gguf *g, int64_t V,
                                       int64_t max_positions, const char *dir,
                                       struct tr_err *err);

#endif

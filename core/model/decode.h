/* decode.h - a KV cache in pages and batches that sequences enter and leave at any step.
 *
 * What it is for. Generation. A sequence owns pages of 64 positions (all layers, all kv heads);
 * pages come from a pool sized at create. Each step takes some tokens of some sequences (a
 * prompt, a piece of one, or one new token each), appends their keys and values, and gives the
 * logits of each sequence's last token.
 *
 * Invariants.
 *   1. A sequence's logits do not depend on the other sequences, on how its prompt was cut into
 *      steps, nor on which pages it got; they are those of the training forward, to the bit.
 *   2. tr_decode_leave gives all pages back. When the pool is dry, enter and step say TR_NOMEM
 *      and change nothing. */
#ifndef TR_MODEL_DECODE_H
#define TR_MODEL_DECODE_H

#include "core/model/head.h"

struct tr_decode;

struct tr_decode_size {
    int64_t max_sequences; /* at a time */
    int64_t max_tokens;    /* new tokens in one step (prefill chunk) */
    int64_t pages;         /* of 64 positions */
};

size_t tr_decode_bytes(const struct tr_arch *a, const struct tr_decode_size *size);
enum tr_status tr_decode_create(const struct tr_arch *a,
                                const struct tr_decode_size *size, struct tr_decode **out,
                                struct tr_err *err);
void tr_decode_destroy(struct tr_decode *t);

/* A new, empty sequence; *slot in [0, max_sequences). TR_NOMEM when all slots are taken. */
enum tr_status tr_decode_enter(struct tr_decode *t, int64_t *slot, struct tr_err *err);
void tr_decode_leave(struct tr_decode *t, int64_t slot);
int64_t tr_decode_length(const struct tr_decode *t, int64_t slot); /* tokens held */
int64_t tr_decode_free_pages(const struct tr_decode *t);

struct tr_decode_input {
    int64_t slot;
    int64_t count; /* >= 1 */
    const int32_t *token;
};

/* logits [n, V] of the last token of each input, owned by t until the next step. */
enum tr_status tr_decode_step(struct tr_decode *t, const struct tr_exec *ex,
                              const struct tr_weights *w,
                              const struct tr_decode_input *in, int64_t n, float **logits,
                              struct tr_err *err);

#endif

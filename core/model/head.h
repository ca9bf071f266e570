/* head.h - from hidden states to what is asked of them: log-probs, logits, values.
 *
 * What it is for. The output layer is [V, d] and V is large: logits of all tokens would be the
 * largest array of a step. So only the rows that are needed are computed, a block of rows at a
 * time, loss and gradient together while the block is there.
 *
 * The data. n rows: row[i] is an index into hidden [T, d]; target[i] the token whose log-prob is
 * wanted. The block holds `block` rows of [V] (created from shapes, at most 64 MiB).
 *
 * The order. z = W h (one chain over d), log-probs and dz as softmax.h says; then, block after
 * block, dW continues its chains over the block's rows, dh = dz W is one chain over v from +0, and
 * dhidden[row] = dhidden[row] + dh, one f32 addition an element.
 *
 * Invariants.
 *   1. A row's log-prob does not depend on the block size nor on the other rows.
 *   2. dW's chain runs over rows in the order given; rows of a batch are in batch order. */
#ifndef TR_MODEL_HEAD_H
#define TR_MODEL_HEAD_H

#include "core/model/weights.h"

struct tr_head; /* owns the block of logits and the gathered rows */

size_t tr_head_bytes(const struct tr_arch *a, int64_t max_rows);
enum tr_status tr_head_create(const struct tr_arch *a, int64_t max_rows,
                              struct tr_head **out, struct tr_err *err);
void tr_head_destroy(struct tr_head *h);

struct tr_head_rows {
    int64_t n;
    const int64_t *row;    /* [n] ascending */
    const int32_t *target; /* [n] */
};

/* logp, entropy [n], either may be NULL. */
void tr_head_logprob(struct tr_head *h, const struct tr_exec *ex,
                     const struct tr_weights *w, const float *hidden,
                     const struct tr_head_rows *r, float *logp, float *entropy);

/* Loss and gradient in one pass. For each block, logp and entropy of rows i0 .. i0+k-1 are
 * computed and `loss` fills dlogp (d loss / d logp) for them; then dhidden [T, d] (zeroed by the
 * caller) gets the rows' gradients added, and grad the output layer's (lm_head, or embed_tokens
 * when tied). */
typedef void tr_head_loss(void *ctx, int64_t i0, int64_t k, const float *logp,
                          const float *entropy, float *dlogp);
void tr_head_train(struct tr_head *h, const struct tr_exec *ex,
                   const struct tr_weights *w, const float *hidden,
                   const struct tr_head_rows *r, tr_head_loss *loss, void *ctx,
                   float *dhidden, float *grad);

/* Plain logits of n rows: out [n, V]. For decode and tests. */
void tr_head_logits(struct tr_head *h, const struct tr_exec *ex,
                    const struct tr_weights *w, const float *hidden, const int64_t *row,
                    int64_t n, float *out);

/* Value head: value[i] = (chain over d ascending of fmaf(hidden_k, w_k, acc)) + bias. */
void tr_value_forward(const struct tr_exec *ex, const struct tr_weights *w,
                      const float *hidden, const int64_t *row, int64_t n, float *value);
/* dhidden[row]_k = fmaf(dvalue, w_k, dhidden[row]_k). Chains over rows in the order given:
 * dweight_k = fmaf(dvalue, hidden_k, dweight_k), dbias = dbias + dvalue. Rows are distinct. */
void tr_value_backward(const struct tr_exec *ex, const struct tr_weights *w,
                       const float *hidden, const int64_t *row, int64_t n,
                       const float *dvalue, float *dhidden, float *grad);

#endif

/* layer.h - the forward pass of one layer, the same for training, scoring and decoding.
 *
 * What it is for. Log-probs of a sampled token must be those of the training forward to the
 * bit. The surest way is one implementation: a training buffer and a KV cache differ only in
 * where their pages lie and in which arrays are kept.
 *
 * The data. T rows (tokens of S sequences, end to end); x [T, d] is the residual stream.
 *
 * The order, for layer l with input x [T, d]; every product, norm and soft-max as its kernel's
 * header says, every sum below one f32 addition an element:
 *   n   = rmsnorm(x, input_layernorm)
 *   q   = n Wq' + bq,  k = n Wk' + bk,  v = n Wv' + bv        (a bias after the whole chain)
 *   q, k rotated by each row's position
 *   o   = attention(q, pages with k and v stored)
 *   mid = (o Wo' + bo) + x
 *   n   = rmsnorm(mid, post_attention_layernorm)
 *   g   = n Wg',  u = n Wu',  a = swiglu(g, u)
 *   out = (a Wd') + mid
 *
 * Invariants.
 *   1. A row of out depends on its own sequence's rows up to it only, not on T, S, nor on which
 *      rows were stored by an earlier call. */
#ifndef TR_MODEL_LAYER_H
#define TR_MODEL_LAYER_H

#include "core/model/claim.h"
#include "core/model/weights.h"
#include "kernels/attention.h"

/* What all layers of one pass share. */
struct tr_pass {
    const struct tr_exec *ex;
    const struct tr_arch *arch;
    const struct tr_weights *w;
    int64_t T, S;
    const struct tr_span *span; /* [S] */
    const int32_t *token;       /* [T], in range */
    const int32_t *position;    /* [T] rows of cos and sin */
    const float *cos, *sin;     /* [positions, D/2] */
};

/* The arrays of one layer; all borrowed. */
struct tr_layer_arrays {
    float *n;      /* [T, d] */
    float *q, *o;  /* [T, H, D] */
    float *k, *v;  /* [T, Kv, D] */
    float *lse;    /* [T, H], or NULL when there will be no backward pass */
    float *mid;    /* [T, d] */
    float *g, *u;  /* [T, F] */
    float *a;      /* [T, F] */
    int64_t pages; /* `offset` of this layer in its pages */
};

struct tr_attention tr_layer_attention(const struct tr_arch *a);

/* The first half: from x to mid, storing keys and values. */
void tr_layer_attend(const struct tr_pass *p, int64_t l, const float *x,
                     const struct tr_layer_arrays *y);
/* The second half: from mid to out. With out NULL it stops when g and u are there, which is all
 * that a backward pass asks of it. */
void tr_layer_feed(const struct tr_pass *p, int64_t l, const struct tr_layer_arrays *y,
                   float *out);

/* x [T, d] = the rows of embed_tokens, and the gradient of that: row token[t] of `grad`
 * [V, d] (in the layout of ex->math) gets dx[t] added, t ascending. */
void tr_embed(const struct tr_pass *p, float *x);
void tr_embed_backward(const struct tr_pass *p, const float *dx, float *grad);

/* The rotation tables, room for `limit` positions, filled as far as was ever needed: models
 * that can see 131072 tokens mostly see a few thousand. */
struct tr_angles {
    int64_t limit, filled;
    float *cos, *sin; /* [limit, D/2], borrowed from an arena */
};
void tr_angles_claim(struct tr_claim *c, const struct tr_arch *a, int64_t limit,
                     struct tr_angles *out);
/* Positions 0 .. need-1 are there afterwards. need <= limit. */
void tr_angles_fill(struct tr_angles *g, const struct tr_arch *a, int64_t need);

#endif

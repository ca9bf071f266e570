/* trunk.h - the transformer without its output layer: tokens in, final hidden states out.
 *
 * What it is for. Training and scoring of packed sequences: forward, and backward into one flat
 * gradient buffer. Sequences lie end to end without padding; offsets say where each starts.
 *
 * The data. A batch is S sequences of T tokens in all. The trunk owns the activations that the
 * backward pass needs, sized at create from (max_tokens, max_sequences): all of them, or with
 * `recompute` the input of each layer only, the rest being computed again layer by layer.
 *
 * The order. Forward: x = the tokens' rows of embed_tokens; each layer as layer.h says; hidden =
 * rmsnorm(x, model.norm). Backward: the essay of trunk_backward.c, gradient by gradient.
 *
 * Invariants.
 *   1. A row of the output depends on its own sequence's tokens up to it and on nothing else.
 *   2. backward continues the chains in grad: over micro-batches in order, any split of the
 *      same tokens gives the same bits.
 *   3. recompute changes no bit. A step allocates nothing.
 *   4. A tied embedding's two uses have a buffer each: tr_trunk_backward adds the lookup's
 *      gradient into `embed_grad` [V, d], and core/model/head.h the output layer's into grad. */
#ifndef TR_MODEL_TRUNK_H
#define TR_MODEL_TRUNK_H

#include "core/model/weights.h"

struct tr_batch {
    int64_t T, S;         /* tokens, sequences */
    const int32_t *token; /* [T], each in [0, V) */
    const int64_t
        *start; /* [S + 1]: sequence s is token[start[s]] .. token[start[s+1]-1] */
    const int32_t
        *position; /* [T] RoPE positions, or NULL for 0, 1, 2, .. in each sequence */
};

struct tr_trunk;

struct tr_trunk_size {
    int64_t max_tokens, max_sequences;
    bool training;  /* keep what backward needs */
    bool recompute; /* gradient checkpointing */
};

/* Bytes that create will take: for the memory estimate at start. */
size_t tr_trunk_bytes(const struct tr_arch *a, const struct tr_trunk_size *size);
enum tr_status tr_trunk_create(const struct tr_arch *a, const struct tr_trunk_size *size,
                               struct tr_trunk **out, struct tr_err *err);
void tr_trunk_destroy(struct tr_trunk *t);

/* Final hidden states (after the last norm) [T, d], owned by the trunk until the next call.
 * TR_BADARG when the batch is larger than the trunk, a token is out of range or a sequence is
 * longer than max_positions. With `layer` not NULL, layer (ctx, l, x [T, d]) is called with the
 * residual stream after the embedding (l = 0) and after each layer (l = 1 .. L). */
enum tr_status tr_trunk_forward(struct tr_trunk *t, const struct tr_exec *ex,
                                const struct tr_weights *w, const struct tr_batch *b,
                                void (*layer)(void *ctx, int64_t l, const float *x),
                                void *ctx, const float **hidden, struct tr_err *err);

/* Gradient of the last forward. dhidden [T, d] is destroyed; grad is a flat buffer of
 * tr_params_total floats; embed_grad is where the embedding lookup's gradient goes: grad +
 * embed's offset for an untied model, a buffer of its own for a tied one. */
void tr_trunk_backward(struct tr_trunk *t, const struct tr_exec *ex,
                       const struct tr_weights *w, const struct tr_batch *b,
                       float *dhidden, float *grad, float *embed_grad);

#endif

/* params.h - the list of a model's tensors and where each lies in one flat buffer.
 *
 * What it is for. Masters, moments and gradients are each ONE flat f32 buffer; forward weights
 * are one too. A tensor is an offset into them, so the optimiser, the digest and the files walk
 * a table instead of a tree.
 *
 * The data. Tensors in Hugging Face's names ("model.layers.0.self_attn.q_proj.weight"), sorted
 * by name (strcmp). Matrices [N, K] lie in the panels of kernels/mat.h, vectors [N] plainly.
 * The value head ("v_head.summary.weight" [1, d], "v_head.summary.bias" [1]) is part of the
 * list when the model has one; it lies plainly and is always f32 in the forward weights.
 *
 * Invariants.
 *   1. Offsets are in elements, multiples of 16, ascending with the sorted names; padding is 0.
 *   2. The table depends on (arch, has_lm_head, has_value_head) only. */
#ifndef TR_MODEL_PARAMS_H
#define TR_MODEL_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/model/arch.h"
#include "kernels/mat.h"

enum tr_param_kind { TR_PARAM_MATRIX, TR_PARAM_VECTOR, TR_PARAM_VALUE_HEAD };

struct tr_param {
    char name[96];
    enum tr_param_kind kind;
    int64_t N, K; /* [N, K]; K = 0 for a vector [N] */
    int64_t at;   /* offset in elements */
    int64_t size; /* elements there, padding included */
    bool decays;  /* weight decay applies: not to norms, not to biases */
    bool
        peer_decays; /* the same under compat: llamafactory-0.9.3, whose transformers does
                         not see that Qwen2's last norm is a norm and decays it */
};

struct tr_params; /* opaque: the table */

/* lm_head is absent when arch->tied or when with_lm_head is false (a critic's trunk). */
enum tr_status tr_params_create(const struct tr_arch *a, bool with_lm_head,
                                bool with_value_head, struct tr_params **out,
                                struct tr_err *err);
int64_t tr_params_count(const struct tr_params *p);
const struct tr_param *tr_params_get(const struct tr_params *p, int64_t i);
const struct tr_param *tr_params_find(const struct tr_params *p,
                                      const char *name); /* or NULL */
int64_t tr_params_index(const struct tr_params *p, const struct tr_param *q);
int64_t tr_params_total(const struct tr_params *p); /* elements of the flat buffer */
const struct tr_arch *tr_params_arch(const struct tr_params *p);
void tr_params_destroy(struct tr_params *p);

/* The tensors of one layer and those around the layers, found once at create. A bias, lm_head
 * or value head that the model does not have is NULL. */
struct tr_layer_params {
    const struct tr_param *norm1, *q, *k, *v, *o, *q_bias, *k_bias, *v_bias, *o_bias;
    const struct tr_param *norm2, *gate, *up, *down;
};
struct tr_outer_params {
    const struct tr_param *embed, *norm, *lm_head, *value_weight, *value_bias;
};
const struct tr_layer_params *tr_params_layer(const struct tr_params *p, int64_t l);
const struct tr_outer_params *tr_params_outer(const struct tr_params *p);

/* Elements of the tensor itself, without padding: N * K, or N for a vector. */
int64_t tr_param_elements(const struct tr_param *p);
/* Of a row: K, or 1 for a vector. */
int64_t tr_param_width(const struct tr_param *p);
/* How many rows of it to take at a time, with room for so many elements. Of a matrix whole panels of 16,
 * at least one; of a vector all. */
int64_t tr_param_block(const struct tr_param *p, int64_t room);

/* A matrix of a flat f32 buffer (masters, gradients), in the layout of ex->math. */
struct tr_mat tr_param_matrix(const struct tr_exec *ex, const struct tr_param *p,
                              float *flat);

/* `flat` is the whole buffer in both; pack also zeroes the padding. Hugging Face order (row-major [N, K] f32) to and from the flat buffer's layout. */
void tr_params_pack(const struct tr_exec *ex, const struct tr_param *p, const float *hf,
                    float *flat);
void tr_params_unpack(const struct tr_exec *ex, const struct tr_param *p,
                      const float *flat, float *hf);

#endif

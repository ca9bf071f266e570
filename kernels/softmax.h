/* softmax.h - soft-max over the vocabulary: log-probs, entropy and their gradients.
 *
 * One row z [V]. M = maximum of the whole row. 16 lanes over v: lane_{v mod 16} += tr_expf(z_v - M),
 * v ascending; S = fold (8, 4, 2, 1); lse = M + tr_logf(S). logp(t) = z_t - lse.
 * Entropy: p_v = tr_expf(z_v - lse); H = lse - E, E = 16 lanes fmaf(p_v, z_v, lane), folded
 * (a lane whose p_v is 0 adds nothing, so -Inf logits are fine).
 * Gradient of a row for dlogp: dz_v = -dlogp * p_v, then dz_t += dlogp (one f32 addition).
 * The same in decode, scoring and training; only how many rows are in a block is free. */
#ifndef TR_KERNELS_SOFTMAX_H
#define TR_KERNELS_SOFTMAX_H

#include <stdint.h>

#include "kernels/exec.h"

/* z [R, V]; target [R]; outputs [R], each may be NULL. */
void tr_logprob(const struct tr_exec *ex, const float *z, int64_t R, int64_t V,
                const int32_t *target, float *logp, float *lse, float *entropy);

/* z [R, V] becomes dz in place. */
void tr_logprob_backward(const struct tr_exec *ex, float *z, int64_t R, int64_t V,
                         const int32_t *target, const float *lse, const float *dlogp);

#endif

/* rope.h - rotary positions (Su et al. 2021, arXiv:2104.09864), Hugging Face's halves.
 *
 * Tables. inv_freq_i = f32(theta^(-2i/D)), i in [0, D/2), computed in f64; `llama3` scaling
 * changes inv_freq in f64 before that rounding (transformers' _compute_llama3_parameters).
 * angle = f32(f32(position) * inv_freq_i); cos and sin of that angle in f64, rounded to f32.
 *
 * Rotation of a head x [D] with a = x_i, b = x_{i + D/2}:
 *   x_i       = fmaf(a, cos_i, -(b * sin_i))
 *   x_{i+D/2} = fmaf(b, cos_i, a * sin_i)
 * The inverse (backward) is the same with sin negated. */
#ifndef TR_KERNELS_ROPE_H
#define TR_KERNELS_ROPE_H

#include <stdint.h>

#include "kernels/exec.h"

enum tr_rope_kind { TR_ROPE_PLAIN, TR_ROPE_LLAMA3 };

struct tr_rope {
    enum tr_rope_kind kind;
    double theta;
    double factor, low_freq_factor, high_freq_factor; /* llama3 only */
    double original_length;                           /* llama3 only, tokens */
};

/* cos, sin [P, D/2] for positions 0 .. P-1. */
void tr_rope_table(const struct tr_rope *rope, int64_t P, int64_t D, float *cos,
                   float *sin);

/* Rotates x [T, heads, D] in place; position [T] indexes the table. */
void tr_rope_apply(const struct tr_exec *ex, float *x, int64_t T, int64_t heads,
                   int64_t D, const int32_t *position, const float *cos, const float *sin,
                   int inverse);

#endif

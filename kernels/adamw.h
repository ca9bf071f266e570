/* adamw.h - AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) in torch's order, and norms.
 *
 * For each element, all f32, the constants rounded to f32 once from f64:
 *   g = g * clip                                        (clip = 1 leaves g's bits)
 *   p = p * (1 - lr * weight_decay)
 *   m = fmaf(1 - beta1, g - m, m)                       (torch's lerp)
 *   v = fmaf((1 - beta2) * g, g, v * beta2)             (mul, then addcmul)
 *   denom = sqrtf(v) / sqrt(1 - beta2^t) + eps
 *   p = p - (lr / (1 - beta1^t)) * (m / denom)          (the product rounded, then subtracted)
 * beta^t by repeated f64 multiplication. Never rcp or rsqrt.
 *
 * Sum of squares of a tensor: blocks of 4096 elements in storage order, each 16 f32 lanes of
 * fmaf folded 8, 4, 2, 1; the block sums are added in an f64 chain. */
#ifndef TR_KERNELS_ADAMW_H
#define TR_KERNELS_ADAMW_H

#include <stdint.h>

#include "kernels/exec.h"

struct tr_adamw {
    double lr, beta1, beta2, eps,
        weight_decay; /* weight_decay 0 for the no-decay group */
    int64_t t;        /* this update's number, from 1 */
};

/* p, m, v [n] are updated; g [n] is read and multiplied by clip on the fly. */
void tr_adamw_step(const struct tr_exec *ex, const struct tr_adamw *cfg, float clip,
                   int64_t n, const float *g, float *p, float *m, float *v);

double tr_sum_squares(const struct tr_exec *ex, const float *x, int64_t n);

#endif

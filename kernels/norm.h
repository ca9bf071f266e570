/* norm.h - RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467), forward and backward.
 *
 *   ss   = sum of x_i^2: 16 lanes (i mod 16), lane = fmaf(x_i, x_i, lane), folded 8, 4, 2, 1
 *   r    = 1 / sqrtf(ss / d + eps)
 *   y_i  = w_i * (x_i * r)
 * Backward, with g_i = w_i * dy_i:
 *   s    = sum of g_i * x_i (16 lanes, fmaf, folded);  c = ((s * r) * r) * r / d
 *   dx_i = base_i + fmaf(-c, x_i, g_i * r), base = dx itself if add, else +0 is not added
 *   dw_i = chain over tokens ascending: fmaf(dy_i, x_i * r, dw_i) */
#ifndef TR_KERNELS_NORM_H
#define TR_KERNELS_NORM_H

#include <stdint.h>

#include "kernels/exec.h"

/* x, y [T, d], w [d]; r [T] is kept for the backward pass, or NULL. */
void tr_rmsnorm(const struct tr_exec *ex, const float *x, const float *w, float eps,
                int64_t T, int64_t d, float *y, float *r);

/* dx [T, d] (added to if add), dw [d] continues its chain. dy and dx may not overlap. */
void tr_rmsnorm_backward(const struct tr_exec *ex, const float *dy, const float *x,
                         const float *w, const float *r, int64_t T, int64_t d, int add,
                         float *dx, float *dw);

#endif

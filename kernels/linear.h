/* linear.h - the three products of a linear layer.
 *
 *   forward   y[m, n]  = (sum over k of x[m, k] * W[n, k]) + bias[n]
 *   dx        dx[m, k] = sum over n of dy[m, n] * W[n, k]
 *   dw        dW[n, k] = dW[n, k] + sum over m of dy[m, n] * x[m, k]
 *
 * The order (exact maths). Every output element is ONE chain of f32 fused multiply-adds, over
 * k, n and m respectively, ascending, acc = fmaf(a, b, acc), starting from +0 (forward, and dx
 * with add = 0) or from what memory holds (dw, and dx with add = 1). The bias is one f32
 * addition after the chain. SIMD goes across outputs, register blocks across rows and outputs,
 * threads across tiles, never across the chain; cache blocking reloads the partial sum. So a
 * row's result does not depend on how many rows are in the batch, nor on threads or CPU, and
 * the tokens of a dw may be split over any number of calls.
 *
 * bf16 weights widen to f32 exactly and everything else is the same.
 * OpenBLAS maths: cblas_sgemm, single-threaded on tiles; no order is promised. */
#ifndef TR_KERNELS_LINEAR_H
#define TR_KERNELS_LINEAR_H

#include "kernels/mat.h"

/* x [M, K], y [M, N]; bias [N] or NULL. */
void tr_linear_forward(const struct tr_exec *ex, const float *x, int64_t M,
                       const struct tr_mat *W, const float *bias, float *y);

/* dy [M, N], dx [M, K]; add continues the chain that dx holds. */
void tr_linear_dx(const struct tr_exec *ex, const float *dy, int64_t M,
                  const struct tr_mat *W, int add, float *dx);

/* dW is f32, in the layout of ex->math; its chains are continued. */
void tr_linear_dw(const struct tr_exec *ex, const float *dy, const float *x, int64_t M,
                  const struct tr_mat *dW);

/* db[n] = chain over m ascending: db[n] + dy[m, n]. */
void tr_linear_db(const struct tr_exec *ex, const float *dy, int64_t M, int64_t N,
                  float *db);

#endif

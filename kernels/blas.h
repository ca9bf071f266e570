/* blas.h - the three products by OpenBLAS, for `math: openblas` only.
 *
 * What it is for. An independent check of our kernels, the yardstick of the benchmark, and the
 * choice of a CPU that has no exact twin. Same meanings as linear.h, no order promised.
 *
 * The data. Matrices are row-major (mat.h). Each tile is one cblas_sgemm on the calling
 * thread; OpenBLAS's own threads are switched off, because the team is the only pool. bf16
 * weights are widened, a block at a time, into the thread's scratch. */
#ifndef TR_KERNELS_BLAS_H
#define TR_KERNELS_BLAS_H

#include <stddef.h>

#include "kernels/mat.h"

void tr_blas_forward(const struct tr_exec *ex, const float *x, int64_t M,
                     const struct tr_mat *W, const float *bias, float *y);
void tr_blas_dx(const struct tr_exec *ex, const float *dy, int64_t M,
                const struct tr_mat *W, int add, float *dx);
void tr_blas_dw(const struct tr_exec *ex, const float *dy, const float *x, int64_t M,
                const struct tr_mat *dW);

/* Called once, by tr_exec_init: one thread for every later cblas call. */
void tr_blas_init(void);

/* "openblas VERSION CORE": what its bits depend on besides the calls. */
void tr_blas_text(char *text, size_t size);

#endif

/* blas.c - sgemm on tiles. A tile is some columns of y or dx, or some rows of dW, over the
 * whole depth; its width is the same for every thread count, so that OpenBLAS, which promises
 * nothing, at least sees the same calls. */
#include "kernels/blas.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/product.h"

enum {
    WIDTH = 64, /* columns or rows of a tile */
    DEPTH =
        4096, /* of a block of widened weights: WIDTH * DEPTH floats fill the scratch */
};

_Static_assert(WIDTH *DEPTH *(int)sizeof(float) <= TR_SCRATCH_BYTES,
               "a block of widened weights fits in a thread's scratch");

struct job {
    const struct tr_exec *ex;
    const float *x, *dy; /* the operands that the product has */
    int64_t M;
    const struct tr_mat *W; /* or dW */
    const float *bias;
    float *out; /* y or dx */
    int add;
};

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static blasint dim(int64_t n)
{
    assert(n <= INT_MAX);
    return (blasint)n;
}

void tr_blas_init(void)
{
    openblas_set_num_threads(1);
}

void tr_blas_text(char *text, size_t size)
{
    const char *version = openblas_get_config(); /* "OpenBLAS 0.3.21 NO_LAPACKE ..." */
    version += strcspn(version, " ");
    version += strspn(version, " ");
    snprintf(text, size, "openblas %.*s %s", (int)strcspn(version, " "), version,
             openblas_get_corename());
}

/* Rows n .. n+rows-1, columns k .. k+columns-1 of W as f32; *stride is where the next row is. */
static const float *weights(const struct job *j, int64_t n, int64_t rows, int64_t k,
                            int64_t columns, float *scratch, int64_t *stride)
{
    const struct tr_mat *W = j->W;
    *stride = W->K;
    if (W->dtype == TR_F32) return (const float *)W->at + n * W->K + k;
    for (int64_t i = 0; i < rows; i++)
        j->ex->k->product->widen((const uint16_t *)W->at + (n + i) * W->K + k, columns,
                                 scratch + i * columns);
    *stride = columns;
    return scratch;
}

static void forward_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct job *j = ctx;
    const int64_t N = j->W->N, K = j->W->K, n = tile * WIDTH,
                  rows = at_most(N - n, WIDTH);
    for (int64_t m = 0; m < j->M && K == 0; m++)
        memset(j->out + m * N + n, 0, (size_t)rows * sizeof(float));
    for (int64_t k = 0; k < K; k += DEPTH) {
        const int64_t depth = at_most(K - k, DEPTH);
        int64_t stride = 0;
        const float *w = weights(j, n, rows, k, depth, scratch, &stride);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, dim(j->M), dim(rows),
                    dim(depth), 1, j->x + k, dim(K), w, dim(stride), k > 0, j->out + n,
                    dim(N));
    }
    for (int64_t m = 0; m < j->M && j->bias; m++)
        for (int64_t i = n; i < n + rows; i++) j->out[m * N + i] += j->bias[i];
}

static void dx_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct job *j = ctx;
    const int64_t N = j->W->N, K = j->W->K, k = tile * WIDTH,
                  columns = at_most(K - k, WIDTH);
    for (int64_t m = 0; m < j->M && N == 0 && !j->add; m++)
        memset(j->out + m * K + k, 0, (size_t)columns * sizeof(float));
    for (int64_t n = 0; n < N; n += DEPTH) {
        const int64_t depth = at_most(N - n, DEPTH);
        int64_t stride = 0;
        const float *w = weights(j, n, depth, k, columns, scratch, &stride);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, dim(j->M), dim(columns),
                    dim(depth), 1, j->dy + n, dim(N), w, dim(stride), n > 0 || j->add,
                    j->out + k, dim(K));
    }
}

static void dw_tile(void *ctx, int64_t tile, void *scratch)
{
    (void)scratch;
    const struct job *j = ctx;
    const int64_t N = j->W->N, K = j->W->K, n = tile * WIDTH;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, dim(at_most(N - n, WIDTH)),
                dim(K), dim(j->M), 1, j->dy + n, dim(N), j->x, dim(K), 1,
                (float *)j->W->at + n * K, dim(K));
}

static void run(const struct tr_exec *ex, int64_t width, tr_tile_fn *fn, struct job *j)
{
    if (j->M > 0) tr_team_run(ex->team, (width + WIDTH - 1) / WIDTH, fn, j);
}

void tr_blas_forward(const struct tr_exec *ex, const float *x, int64_t M,
                     const struct tr_mat *W, const float *bias, float *y)
{
    struct job j = {.ex = ex, .x = x, .M = M, .W = W, .bias = bias, .out = y};
    run(ex, W->N, forward_tile, &j);
}

void tr_blas_dx(const struct tr_exec *ex, const float *dy, int64_t M,
                const struct tr_mat *W, int add, float *dx)
{
    struct job j = {.ex = ex, .dy = dy, .M = M, .W = W, .out = dx, .add = add != 0};
    run(ex, W->K, dx_tile, &j);
}

void tr_blas_dw(const struct tr_exec *ex, const float *dy, const float *x, int64_t M,
                const struct tr_mat *dW)
{
    struct job j = {.ex = ex, .dy = dy, .x = x, .M = M, .W = dW};
    if (dW->K > 0) run(ex, dW->N, dw_tile, &j);
}

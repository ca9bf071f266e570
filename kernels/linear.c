/* linear.c - one computation seen from three sides.
 *
 * All three products are C[r][j] = chain over d of fmaf(A[r][d], B[d][j], acc):
 *
 *              rows r   lanes j   depth d   A                  B                      C
 *     forward  m        n         k         x, row by row      W's panels as they are y
 *     dx       m        k         n         dy, row by row     W's 16x16 blocks,      dx
 *                                                              turned in scratch
 *     dw       k        n         m         x, column by       dy's columns, 16 at    dW's
 *                                           column             a time, in scratch     panels
 *
 * So there is one way to cut, block and run them: product.c. */
#include "kernels/linear.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#include "kernels/blas.h"
#include "kernels/blocks.h"

void tr_linear_forward(const struct tr_exec *ex, const float *x, int64_t M,
                       const struct tr_mat *W, const float *bias, float *y)
{
    assert(M >= 0 && W->math == ex->math);
    if (ex->math == TR_MATH_OPENBLAS) {
        tr_blas_forward(ex, x, M, W, bias, y);
        return;
    }
    struct tr_product q = {.ops = ex->k->product,
                           .rows = M,
                           .width = W->N,
                           .depth = W->K,
                           .a = x,
                           .a_row = W->K,
                           .b = W->at,
                           .b_stride = W->K * TR_LANES,
                           .b_bf16 = W->dtype == TR_BF16,
                           .b_make = W->dtype == TR_BF16 ? tr_b_widen : NULL,
                           .group = ex->k->product->panels,
                           .c = y,
                           .c_row = W->N,
                           .c_panel = TR_LANES,
                           .bias = bias};
    tr_product_run(ex, &q);
}

void tr_linear_dx(const struct tr_exec *ex, const float *dy, int64_t M,
                  const struct tr_mat *W, int add, float *dx)
{
    assert(M >= 0 && W->math == ex->math);
    if (ex->math == TR_MATH_OPENBLAS) {
        tr_blas_dx(ex, dy, M, W, add, dx);
        return;
    }
    struct tr_product q = {.ops = ex->k->product,
                           .rows = M,
                           .width = W->K,
                           .depth = W->N,
                           .a = dy,
                           .a_row = W->N,
                           .b = W->at,
                           .b_stride = W->K * TR_LANES,
                           .b_bf16 = W->dtype == TR_BF16,
                           .b_make = tr_b_turn,
                           .group = TR_GROUP,
                           .c = dx,
                           .c_row = W->K,
                           .c_panel = TR_LANES,
                           .more = add != 0};
    tr_product_run(ex, &q);
}

void tr_linear_dw(const struct tr_exec *ex, const float *dy, const float *x, int64_t M,
                  const struct tr_mat *dW)
{
    assert(M >= 0 && dW->math == ex->math && dW->dtype == TR_F32);
    if (ex->math == TR_MATH_OPENBLAS) {
        tr_blas_dw(ex, dy, x, M, dW);
        return;
    }
    struct tr_product q = {.ops = ex->k->product,
                           .rows = dW->K,
                           .width = dW->N,
                           .depth = M,
                           .a = x,
                           .a_row = dW->K,
                           .a_turned = true,
                           .b = dy,
                           .b_stride = dW->N,
                           .b_make = tr_b_copy,
                           .group = TR_GROUP,
                           .c = dW->at,
                           .c_row = TR_LANES,
                           .c_panel = dW->K * TR_LANES,
                           .more = true};
    tr_product_run(ex, &q);
}

enum { COLUMNS = 256 }; /* of a tile of tr_linear_db */

struct column_sum {
    const float *dy;
    int64_t M, N;
    float *db;
};

static void column_tile(void *ctx, int64_t tile, void *scratch)
{
    (void)scratch;
    const struct column_sum *s = ctx;
    const int64_t from = tile * COLUMNS,
                  to = from + COLUMNS < s->N ? from + COLUMNS : s->N;
    for (int64_t m = 0; m < s->M; m++)
        for (int64_t n = from; n < to; n++) s->db[n] += s->dy[m * s->N + n];
}

void tr_linear_db(const struct tr_exec *ex, const float *dy, int64_t M, int64_t N,
                  float *db)
{
    struct column_sum s = {dy, M, N, db};
    tr_team_run(ex->team, (N + COLUMNS - 1) / COLUMNS, column_tile, &s);
}

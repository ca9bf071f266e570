/* mat.h - a weight matrix in the layout of the kernels.
 *
 * What it is for. Hugging Face stores a linear layer as W [N, K], row-major: N outputs, K
 * inputs. The products want 16 outputs side by side, so weights, their masters, moments and
 * gradients all live in panels; Hugging Face order exists in files and messages only.
 *
 * The data. Exact maths: ceil(N/16) panels, each [K, 16]: element (n, k) is at
 *   (n / 16) * K * 16 + k * 16 + n % 16
 * and the lanes past N of the last panel are zero and stay zero. OpenBLAS maths: plain
 * row-major [N, K]. f32 or bf16 (the upper 16 bits of an f32).
 *
 * Invariants.
 *   1. unpack(pack(W)) = W to the bit, for f32; for bf16 it is W rounded to nearest even.
 *   2. Lanes past N are zero. */
#ifndef TR_KERNELS_MAT_H
#define TR_KERNELS_MAT_H

#include <stdint.h>

#include "kernels/exec.h"

enum tr_dtype { TR_F32, TR_BF16, TR_F16 }; /* TR_F16 exists in files only */

struct tr_mat {
    int64_t N, K; /* outputs, inputs */
    enum tr_dtype dtype;
    enum tr_math math; /* which layout */
    void *at;          /* borrows: float or uint16_t, tr_mat_size(N, K) elements */
};

/* Elements that W [N, K] takes up, the padding of the last panel included (for both maths, so
 * that one layout of offsets serves both; the tail is unused and zero in row-major). */
int64_t tr_mat_size(int64_t N, int64_t K);

/* Where element (n, k) lies. */
int64_t tr_mat_at(enum tr_math math, int64_t N, int64_t K, int64_t n, int64_t k);

/* W [N, K] row-major f32 into m (rounded if m is bf16), and back (bf16 widens exactly). */
void tr_mat_pack(const struct tr_exec *ex, const float *w, const struct tr_mat *m);
void tr_mat_unpack(const struct tr_exec *ex, const struct tr_mat *m, float *w);

/* Row n of W, as f32: out [K]. An embedding's lookup. */
void tr_mat_row(const struct tr_mat *m, int64_t n, float *out);

/* Adds x [K] to row n of an f32 matrix: one addition an element. An embedding's gradient. */
void tr_mat_row_add(const struct tr_mat *m, int64_t n, const float *x);

/* f32 to bf16, nearest even (NaN stays NaN); and back, exact. n elements. */
uint16_t tr_bf16_round(float x);
float tr_bf16_widen(uint16_t x);
void tr_bf16_round_array(const struct tr_exec *ex, const float *x, int64_t n,
                         uint16_t *y);
/* y = widen(round(x)), for tensors that stay f32 in memory. x and y may be the same. */
void tr_bf16_through(const struct tr_exec *ex, const float *x, int64_t n, float *y);

#endif

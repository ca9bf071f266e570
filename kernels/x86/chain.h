/* chain.h - small products for attention: tiles of chains, 16 of them to a vector.
 *
 * What it is for. Scores, outputs and all five gradients of attention are the same thing:
 *     c[r, n] = chain over i in [begin_r, end_r), ascending, of fmaf(a[r, i], b[i, n], c[r, n])
 * with n across lanes. A causal mask is a range of i for each row: what is masked is not
 * touched, so not even a NaN there could matter.
 *
 * The data. All in floats. a[r, i] is at a + r * a_row + i * a_step; vector v of b[i, .] at
 * b + v * b_vec + i * b_step; vector v of c[r, .] at c + r * c_row + v * 16. Nothing need be
 * aligned. Strides that a caller knows are constants after inlining.
 *
 * The tile. 12 vector registers of sums hide the latency of the fused multiply-add: with AVX2
 * (a v16 is two registers) 6 rows x 16 or 3 rows x 32, with AVX-512 6 x 32. Fewer rows go in
 * tiles of 3, 2 and 1. */
#ifndef TR_KERNELS_X86_CHAIN_H
#define TR_KERNELS_X86_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/x86/lanes.h"

#define CHAIN_INLINE static inline __attribute__((always_inline))
/* The sums become registers only when the loops over them are gone. */
#ifdef __clang__
#    define CHAIN_UNROLL _Pragma("clang loop unroll(full)")
#else
#    define CHAIN_UNROLL _Pragma("GCC unroll 8")
#endif

enum {
    CHAIN_ROWS = 6, /* the tallest tile */
#ifdef __AVX512F__
    CHAIN_WIDE = 2, /* its width in v16 */
#else
    CHAIN_WIDE = 1,
#endif
};

struct chain {
    const float *a, *b;
    float *c;
    int64_t a_row, a_step, b_vec, b_step, c_row;
    int64_t vecs; /* v16 in a row of c */
};

/* One tile: rows x vecs sums in registers, from +0 if fresh, else from c. */
CHAIN_INLINE void chain_tile(const struct chain *ch, int rows, int vecs, bool fresh,
                             int64_t row, int64_t vec, int64_t begin, int64_t end)
{
    const int64_t a_row = ch->a_row, a_step = ch->a_step;
    const int64_t b_vec = ch->b_vec, b_step = ch->b_step;
    const float *a = ch->a + row * a_row + begin * a_step;
    const float *b = ch->b + vec * b_vec + begin * b_step;
    float *c = ch->c + row * ch->c_row + vec * 16;
    v16 sum[CHAIN_ROWS][2];
    CHAIN_UNROLL for (int r = 0; r < rows; r++)
        CHAIN_UNROLL for (int v = 0; v < vecs; v++) sum[r][v] =
            fresh ? v16_zero() : v16_load(c + r * ch->c_row + (int64_t)v * 16);
    for (int64_t i = begin; i < end; i++, a += a_step, b += b_step) {
        v16 x[2];
        CHAIN_UNROLL for (int v = 0; v < vecs; v++) x[v] = v16_load(b + v * b_vec);
        CHAIN_UNROLL for (int r = 0; r < rows; r++)
        {
            const v16 y = v16_set1(a[r * a_row]);
            CHAIN_UNROLL for (int v = 0; v < vecs; v++) sum[r][v] =
                v16_fma(y, x[v], sum[r][v]);
        }
    }
    CHAIN_UNROLL for (int r = 0; r < rows; r++)
        CHAIN_UNROLL for (int v = 0; v < vecs; v++)
            v16_store(c + r * ch->c_row + (int64_t)v * 16, sum[r][v]);
}

/* A strip of `rows` (a constant) rows: all vectors, `wide` (a constant) at a time. */
CHAIN_INLINE void chain_strip(const struct chain *ch, int rows, int wide, bool fresh,
                              int64_t row, int64_t begin, int64_t end)
{
    int64_t v = 0;
    for (; v + wide <= ch->vecs; v += wide)
        chain_tile(ch, rows, wide, fresh, row, v, begin, end);
    for (; v < ch->vecs; v++) chain_tile(ch, rows, 1, fresh, row, v, begin, end);
}

/* How many rows the next strip takes when `left` are left. */
CHAIN_INLINE int64_t chain_height(int64_t left)
{
    return left >= CHAIN_ROWS ? CHAIN_ROWS : left >= 3 ? 3 : left;
}

CHAIN_INLINE void chain_rows(const struct chain *ch, bool fresh, int64_t row,
                             int64_t height, int64_t begin, int64_t end)
{
    if (height == CHAIN_ROWS)
        chain_strip(ch, CHAIN_ROWS, CHAIN_WIDE, fresh, row, begin, end);
    else if (height == 3)
        chain_strip(ch, 3, 2, fresh, row, begin, end);
    else if (height == 2)
        chain_strip(ch, 2, 2, fresh, row, begin, end);
    else
        chain_strip(ch, 1, 2, fresh, row, begin, end);
}

#endif

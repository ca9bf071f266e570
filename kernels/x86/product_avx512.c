/* product_avx512.c - strips of a product with vectors of 16: at most 14 rows by two panels. */
#include <immintrin.h>
#include <stdint.h>

#define VEC         __m512
#define WIDTH       16
#define MOST_ROWS   14
#define MOST_PANELS 8

static inline VEC vec_zero(void)
{
    return _mm512_setzero_ps();
}
static inline VEC vec_all(float x)
{
    return _mm512_set1_ps(x);
}
static inline VEC vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void vec_store(float *p, VEC x)
{
    _mm512_storeu_ps(p, x);
}
static inline VEC vec_fma(VEC x, VEC y, VEC z)
{
    return _mm512_fmadd_ps(x, y, z);
}
static inline VEC vec_widen(const uint16_t *p)
{
    const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

/* Rows, and panels walked at once: rows * panels sums. */
#define EACH_DIRECT(X)                                                                   \
    X(1, 8)                                                                              \
    X(2, 4)                                                                              \
    X(3, 4)                                                                              \
    X(4, 4)                                                                              \
    X(5, 4)                                                                              \
    X(6, 4)                                                                              \
    X(7, 2) X(8, 2) X(9, 2) X(10, 2) X(11, 2) X(12, 2) X(13, 2) X(14, 2)
#define EACH_PACKED(X)                                                                   \
    X(1, 2)                                                                              \
    X(2, 2)                                                                              \
    X(3, 2)                                                                              \
    X(4, 2)                                                                              \
    X(5, 2)                                                                              \
    X(6, 2)                                                                              \
    X(7, 2) X(8, 2) X(9, 2) X(10, 2) X(11, 2) X(12, 2) X(13, 2) X(14, 2)

#include "kernels/x86/product_strips.h"

const struct tr_product_ops tr_product_avx512 = {
    .rows = MOST_ROWS,
    .panels = 2,
    .together = together,
    .direct = direct,
    .direct_bf16 = direct_bf16,
    .packed = packed,
    .pack = pack,
    .turn = turn,
    .widen = widen,
};

/* product_avx2.c - strips of a product with vectors of 8: at most 6 rows by one panel. */
#include <immintrin.h>
#include <stdint.h>

#define VEC         __m256
#define WIDTH       8
#define MOST_ROWS   6
#define MOST_PANELS 4

static inline VEC vec_zero(void)
{
    return _mm256_setzero_ps();
}
static inline VEC vec_all(float x)
{
    return _mm256_set1_ps(x);
}
static inline VEC vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline void vec_store(float *p, VEC x)
{
    _mm256_storeu_ps(p, x);
}
static inline VEC vec_fma(VEC x, VEC y, VEC z)
{
    return _mm256_fmadd_ps(x, y, z);
}
static inline VEC vec_widen(const uint16_t *p)
{
    const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}

/* Rows, and panels walked at once: rows * panels * 2 sums. */
#define EACH_DIRECT(X) X(1, 4) X(2, 3) X(3, 2) X(4, 1) X(5, 1) X(6, 1)
#define EACH_PACKED(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1)

#include "kernels/x86/product_strips.h"

const struct tr_product_ops tr_product_avx2 = {
    .rows = MOST_ROWS,
    .panels = 1,
    .together = together,
    .direct = direct,
    .direct_bf16 = direct_bf16,
    .packed = packed,
    .pack = pack,
    .turn = turn,
    .widen = widen,
};

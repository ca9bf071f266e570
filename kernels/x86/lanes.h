/* lanes.h - sixteen f32 lanes, whatever registers the CPU has for them.
 *
 * What it is for. Reductions run over 16 lanes (element i in lane i mod 16), and element-wise
 * work is done 16 at a time. A v16 is two AVX2 registers or one AVX-512 register, by the flags
 * this header is compiled with; everything above it is written once for both.
 *
 * Invariants.
 *   1. Every operation is the IEEE 754 one for each lane, rounded once; nothing is estimated
 *      (no rcp, no rsqrt).
 *   2. v16_max(a, b) is a > b ? a : b and v16_min(a, b) is a < b ? a : b: b where either is NaN.
 *   3. v16_fold adds lanes 8 apart, then 4, 2 and 1, as the scalar references do.
 *   4. v16_exp and v16_log give the bits of tr_expf and tr_logf (kernels/real.c). */
#ifndef TR_KERNELS_X86_LANES_H
#define TR_KERNELS_X86_LANES_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#define V16_INLINE static inline __attribute__((always_inline))

/* One operation of one, two or three operands; HALF and WIDE are the intrinsics. */
#ifdef __AVX512F__
typedef __m512 v16;
typedef __m512i v16i;
typedef __mmask16 v16m; /* one truth value a lane */
#    define V16_OP1(name, half, wide)                                                    \
        V16_INLINE v16 name(v16 a)                                                       \
        {                                                                                \
            return wide(a);                                                              \
        }
#    define V16_OP2(name, half, wide)                                                    \
        V16_INLINE v16 name(v16 a, v16 b)                                                \
        {                                                                                \
            return wide(a, b);                                                           \
        }
#    define V16I_OP2(name, half, wide)                                                   \
        V16_INLINE v16i name(v16i a, v16i b)                                             \
        {                                                                                \
            return wide(a, b);                                                           \
        }
#    define V16I_SHIFT(name, half, wide)                                                 \
        V16_INLINE v16i name(v16i a, int n)                                              \
        {                                                                                \
            return wide(a, (unsigned)n);                                                 \
        }
#    define V16_COMPARE(name, how)                                                       \
        V16_INLINE v16m name(v16 a, v16 b)                                               \
        {                                                                                \
            return _mm512_cmp_ps_mask(a, b, how);                                        \
        }
#else
typedef struct {
    __m256 lo, hi;
} v16;
typedef struct {
    __m256i lo, hi;
} v16i;
typedef v16 v16m; /* all bits of a lane, or none */
#    define V16_OP1(name, half, wide)                                                    \
        V16_INLINE v16 name(v16 a)                                                       \
        {                                                                                \
            return (v16){half(a.lo), half(a.hi)};                                        \
        }
#    define V16_OP2(name, half, wide)                                                    \
        V16_INLINE v16 name(v16 a, v16 b)                                                \
        {                                                                                \
            return (v16){half(a.lo, b.lo), half(a.hi, b.hi)};                            \
        }
#    define V16I_OP2(name, half, wide)                                                   \
        V16_INLINE v16i name(v16i a, v16i b)                                             \
        {                                                                                \
            return (v16i){half(a.lo, b.lo), half(a.hi, b.hi)};                           \
        }
#    define V16I_SHIFT(name, half, wide)                                                 \
        V16_INLINE v16i name(v16i a, int n)                                              \
        {                                                                                \
            return (v16i){half(a.lo, n), half(a.hi, n)};                                 \
        }
#    define V16_COMPARE(name, how)                                                       \
        V16_INLINE v16m name(v16 a, v16 b)                                               \
        {                                                                                \
            return (v16m){_mm256_cmp_ps(a.lo, b.lo, how),                                \
                          _mm256_cmp_ps(a.hi, b.hi, how)};                               \
        }
#endif

V16_OP2(v16_add, _mm256_add_ps, _mm512_add_ps)
V16_OP2(v16_sub, _mm256_sub_ps, _mm512_sub_ps)
V16_OP2(v16_mul, _mm256_mul_ps, _mm512_mul_ps)
V16_OP2(v16_div, _mm256_div_ps, _mm512_div_ps)
V16_OP2(v16_max, _mm256_max_ps, _mm512_max_ps)
V16_OP2(v16_min, _mm256_min_ps, _mm512_min_ps)
V16_OP1(v16_sqrt, _mm256_sqrt_ps, _mm512_sqrt_ps)
V16_COMPARE(v16_lt, _CMP_LT_OQ)
V16_COMPARE(v16_ge, _CMP_GE_OQ)
V16_COMPARE(v16_gt, _CMP_GT_OQ)
V16_COMPARE(v16_eq, _CMP_EQ_OQ)
V16I_OP2(v16i_add, _mm256_add_epi32, _mm512_add_epi32)
V16I_OP2(v16i_sub, _mm256_sub_epi32, _mm512_sub_epi32)
V16I_SHIFT(v16i_shl, _mm256_slli_epi32, _mm512_slli_epi32)
V16I_SHIFT(v16i_sar, _mm256_srai_epi32, _mm512_srai_epi32)

#ifdef __AVX512F__
V16_INLINE v16 v16_set1(float x)
{
    return _mm512_set1_ps(x);
}
V16_INLINE v16 v16_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
V16_INLINE void v16_store(float *p, v16 x)
{
    _mm512_storeu_ps(p, x);
}
V16_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}
V16_INLINE v16 v16_pick(v16m m, v16 a, v16 b)
{
    return _mm512_mask_blend_ps(m, b, a);
}
/* Bit j is lane j's truth. */
V16_INLINE uint32_t v16_truths(v16m m)
{
    return m;
}
V16_INLINE v16i v16i_set1(int32_t x)
{
    return _mm512_set1_epi32(x);
}
V16_INLINE v16i v16i_of(v16 x)
{
    return _mm512_castps_si512(x);
}
V16_INLINE v16 v16_of(v16i x)
{
    return _mm512_castsi512_ps(x);
}
V16_INLINE v16 v16_float(v16i a)
{
    return _mm512_cvtepi32_ps(a);
}
V16_INLINE __m256 v16_lower(v16 x)
{
    return _mm512_castps512_ps256(x);
}
V16_INLINE __m256 v16_upper(v16 x)
{
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
}
/* The first n lanes (0 <= n <= 16); the others are `fill`, or are not written. */
V16_INLINE __mmask16 v16_first(int64_t n)
{
    return (__mmask16)((1U << (unsigned)n) - 1U);
}
V16_INLINE v16 v16_load_n(const float *p, int64_t n, float fill)
{
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), v16_first(n), p);
}
V16_INLINE void v16_store_n(float *p, int64_t n, v16 x)
{
    _mm512_mask_storeu_ps(p, v16_first(n), x);
}
#else
V16_INLINE v16 v16_set1(float x)
{
    return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
V16_INLINE v16 v16_load(const float *p)
{
    return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
V16_INLINE void v16_store(float *p, v16 x)
{
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}
V16_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return (v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
/* m ? a : b, lane by lane. */
V16_INLINE v16 v16_pick(v16m m, v16 a, v16 b)
{
    return (v16){_mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi)};
}
/* Bit j is lane j's truth. */
V16_INLINE uint32_t v16_truths(v16m m)
{
    return (uint32_t)_mm256_movemask_ps(m.lo) | (uint32_t)_mm256_movemask_ps(m.hi) << 8U;
}
V16_INLINE v16i v16i_set1(int32_t x)
{
    return (v16i){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
/* The same bits seen as integers, and back. */
V16_INLINE v16i v16i_of(v16 x)
{
    return (v16i){_mm256_castps_si256(x.lo), _mm256_castps_si256(x.hi)};
}
V16_INLINE v16 v16_of(v16i x)
{
    return (v16){_mm256_castsi256_ps(x.lo), _mm256_castsi256_ps(x.hi)};
}
V16_INLINE v16 v16_float(v16i a) /* the integers' values */
{
    return (v16){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}
V16_INLINE __m256 v16_lower(v16 x)
{
    return x.lo;
}
V16_INLINE __m256 v16_upper(v16 x)
{
    return x.hi;
}
/* All ones in those of the 8 lanes from `from` on that are among the first n. */
V16_INLINE __m256i v16_first(int64_t n, int from)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n - from), lane);
}
/* The first n lanes (0 <= n <= 16); the others are `fill`, or are not written. */
V16_INLINE v16 v16_load_n(const float *p, int64_t n, float fill)
{
    const __m256i a = v16_first(n, 0);
    const __m256i b = v16_first(n, 8);
    const __m256 f = _mm256_set1_ps(fill);
    return (v16){
        _mm256_blendv_ps(f, _mm256_maskload_ps(p, a), _mm256_castsi256_ps(a)),
        _mm256_blendv_ps(f, _mm256_maskload_ps(p + 8, b), _mm256_castsi256_ps(b))};
}
V16_INLINE void v16_store_n(float *p, int64_t n, v16 x)
{
    _mm256_maskstore_ps(p, v16_first(n, 0), x.lo);
    _mm256_maskstore_ps(p + 8, v16_first(n, 8), x.hi);
}
#endif

V16_INLINE v16 v16_zero(void)
{
    return v16_set1(0.0F);
}
V16_INLINE v16 v16_neg(v16 x)
{
    return v16_of(v16i_add(v16i_of(x), v16i_set1(INT32_MIN)));
}

/* Lanes j and j + 8, then j and j + 4, j + 2, j + 1. */
V16_INLINE float v16_fold(v16 x)
{
    const __m256 eight = _mm256_add_ps(v16_lower(x), v16_upper(x));
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}

/* The largest lane by the same tree of a > b ? a : b. */
V16_INLINE float v16_fold_max(v16 x)
{
    const __m256 eight = _mm256_max_ps(v16_lower(x), v16_upper(x));
    __m128 a = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}

/* tr_expf, line by line. */
V16_INLINE v16 v16_exp(v16 x)
{
    const v16 shift = v16_set1(12582912.0F);
    x = v16_pick(v16_lt(x, v16_set1(-104.0F)), v16_set1(-104.0F), x);
    x = v16_pick(v16_gt(x, v16_set1(89.0F)), v16_set1(89.0F), x);
    const v16 t = v16_fma(x, v16_set1(1.44269504088896341F), shift);
    const v16 n = v16_sub(t, shift);
    v16 r = v16_fma(n, v16_set1(-0.693359375F), x);
    r = v16_fma(n, v16_set1(2.12194440e-4F), r);
    v16 p = v16_set1(1.9875691500e-4F);
    p = v16_fma(p, r, v16_set1(1.3981999507e-3F));
    p = v16_fma(p, r, v16_set1(8.3334519073e-3F));
    p = v16_fma(p, r, v16_set1(4.1665795894e-2F));
    p = v16_fma(p, r, v16_set1(1.6666665459e-1F));
    p = v16_fma(p, r, v16_set1(5.0000001201e-1F));
    p = v16_add(v16_fma(p, v16_mul(r, r), r), v16_set1(1.0F));
    const v16i k = v16i_sub(v16i_of(t), v16i_of(shift));
    const v16i half = v16i_sar(k, 1);
    const v16i bias = v16i_set1(127);
    const v16 a = v16_of(v16i_shl(v16i_add(half, bias), 23));
    const v16 b = v16_of(v16i_shl(v16i_add(v16i_sub(k, half), bias), 23));
    return v16_mul(v16_mul(p, a), b);
}

/* tr_logf, line by line. */
V16_INLINE v16 v16_log(v16 x)
{
    const v16 one = v16_set1(1.0F);
    const v16m tiny = v16_lt(x, v16_set1(1.17549435e-38F));
    const v16 less = v16_pick(tiny, v16_set1(23.0F), v16_zero());
    const v16i u = v16i_of(v16_mul(x, v16_pick(tiny, v16_set1(8388608.0F), one)));
    const v16i e = v16i_sar(v16i_sub(u, v16i_set1(0x3f3504f3)), 23);
    const v16 m = v16_of(v16i_sub(u, v16i_shl(e, 23)));
    const v16 n = v16_sub(v16_float(e), less);
    const v16 f = v16_sub(m, one);
    const v16 z = v16_mul(f, f);
    v16 p = v16_set1(7.0376836292e-2F);
    p = v16_fma(p, f, v16_set1(-1.1514610310e-1F));
    p = v16_fma(p, f, v16_set1(1.1676998740e-1F));
    p = v16_fma(p, f, v16_set1(-1.2420140846e-1F));
    p = v16_fma(p, f, v16_set1(1.4249322787e-1F));
    p = v16_fma(p, f, v16_set1(-1.6668057665e-1F));
    p = v16_fma(p, f, v16_set1(2.0000714765e-1F));
    p = v16_fma(p, f, v16_set1(-2.4999993993e-1F));
    p = v16_fma(p, f, v16_set1(3.3333331174e-1F));
    p = v16_mul(v16_mul(p, f), z);
    p = v16_fma(n, v16_set1(-2.12194440e-4F), p);
    p = v16_fma(z, v16_set1(-0.5F), p);
    v16 y = v16_fma(n, v16_set1(0.693359375F), v16_add(f, p));
    y = v16_pick(v16_eq(x, v16_set1(INFINITY)), v16_set1(INFINITY), y);
    y = v16_pick(v16_eq(x, v16_zero()), v16_set1(-INFINITY), y);
    return v16_pick(v16_ge(x, v16_zero()), y, v16_set1(NAN));
}

#endif

/* product_strips.h - strips of a product in vector registers, for any width of vector.
 *
 * What it is for. product_avx2.c and product_avx512.c define a vector type VEC of WIDTH floats
 * and its operations, then include this file, which is therefore compiled twice from one
 * source: a test of one width is a test of the logic of both.
 *
 * The data. A panel of 16 lanes is PER = 16 / WIDTH vectors. The sums of R rows by P panels,
 * R * P * PER vectors, stay in registers over the whole depth: at least 8 of them where it can
 * be (two multiply-adds a cycle, each taking four) and at most 12 of AVX2's 16 registers, 28
 * of AVX-512's 32. With few rows the speed is that of reading B, and one stream of B does not
 * keep the memory busy: so one to three rows walk several panels at once.
 *
 * No guard: it is the body of the two files that include it, and all in it is static. */
#include <stddef.h>

#include "kernels/product.h"

enum { PER = TR_LANES / WIDTH };

enum b_type { B_F32, B_BF16 };

/* The sums become registers only when the loops over them are gone. */
#ifdef __clang__
#    define UNROLL _Pragma("clang loop unroll(full)")
#else
#    define UNROLL _Pragma("GCC unroll 32")
#endif

#define INLINE static inline __attribute__((always_inline))

INLINE VEC load_b(const void *b, int64_t at, enum b_type type)
{
    return type == B_F32 ? vec_load((const float *)b + at)
                         : vec_widen((const uint16_t *)b + at);
}

/* One step of depth for R rows and P panels; A's element (r, d) is at
 * a[r * a_row + d * a_step]. R, P, type and a_step are constants where this is called, so that
 * every loop but the one over d vanishes. */
INLINE void step( // NOLINT(readability-function-size): constants of the caller
    VEC acc[MOST_ROWS][MOST_PANELS * PER], const struct tr_strip *s, int64_t p, int64_t d,
    int64_t R, int64_t P, enum b_type type, int64_t a_row, int64_t a_step)
{
    VEC w[MOST_PANELS * PER], x[MOST_ROWS];
    if (R < P * PER) { /* whichever is fewer is kept, the other comes one at a time */
        UNROLL for (int64_t r = 0; r < R; r++) x[r] =
            vec_all(s->a[r * a_row + d * a_step]);
        UNROLL for (int64_t v = 0; v < P * PER; v++)
        {
            w[0] = load_b(
                s->b, (p + v / PER) * s->b_panel + d * TR_LANES + v % PER * WIDTH, type);
            UNROLL for (int64_t r = 0; r < R; r++) acc[r][v] =
                vec_fma(x[r], w[0], acc[r][v]);
        }
        return;
    }
    UNROLL for (int64_t v = 0; v < P * PER; v++) w[v] =
        load_b(s->b, (p + v / PER) * s->b_panel + d * TR_LANES + v % PER * WIDTH, type);
    UNROLL for (int64_t r = 0; r < R; r++)
    {
        x[0] = vec_all(s->a[r * a_row + d * a_step]);
        UNROLL for (int64_t v = 0; v < P * PER; v++) acc[r][v] =
            vec_fma(x[0], w[v], acc[r][v]);
    }
}

/* The chains of s from panel p on. */
INLINE void strip(const struct tr_strip *s, int64_t p, int64_t R, int64_t P,
                  enum b_type type, int64_t a_row, int64_t a_step)
{
    VEC acc[MOST_ROWS][MOST_PANELS * PER];
    float *c = s->c + p * s->c_panel;
    UNROLL for (int64_t r = 0; r < R; r++) UNROLL for (int64_t v = 0; v < P * PER; v++)
        acc[r][v] =
            s->more ? vec_load(c + r * s->c_row + v / PER * s->c_panel + v % PER * WIDTH)
                    : vec_zero();
    if (s->c_soon)
        UNROLL for (int64_t r = 0; r < R; r++)
            _mm_prefetch((const char *)(s->c_soon + r * s->c_row), _MM_HINT_T0);
    const char *soon = s->b_soon ? s->b_soon : s->b; /* somewhere that costs nothing */
    const char *soon_end = soon + s->soon_lines * 64;
    int64_t d = 0;
    for (; d + 2 <= s->depth; d += 2) {
        step(acc, s, p, d, R, P, type, a_row, a_step);
        step(acc, s, p, d + 1, R, P, type, a_row, a_step);
        _mm_prefetch(soon, _MM_HINT_T0);
        soon += soon < soon_end ? 64 : 0;
    }
    if (d < s->depth) step(acc, s, p, d, R, P, type, a_row, a_step);
    UNROLL for (int64_t r = 0; r < R; r++) UNROLL for (int64_t v = 0; v < P * PER; v++)
        vec_store(c + r * s->c_row + v / PER * s->c_panel + v % PER * WIDTH, acc[r][v]);
}

/* All panels of s, P at a time, and the rest as they can be had. */
INLINE void walk(const struct tr_strip *s, int64_t R, int64_t P, enum b_type type,
                 int64_t a_row, int64_t a_step)
{
    int64_t p = 0;
    for (; p + P <= s->panels; p += P) strip(s, p, R, P, type, a_row, a_step);
    for (; P > 2 && p + 2 <= s->panels; p += 2) strip(s, p, R, 2, type, a_row, a_step);
    for (; p < s->panels; p++) strip(s, p, R, 1, type, a_row, a_step);
}

static const unsigned char together[MOST_ROWS + 1] = {
#define CASE(R, P) [R] = (P),
    EACH_DIRECT(CASE)
#undef CASE
};

INLINE void direct_any(const struct tr_strip *s, enum b_type type)
{
#define CASE(R, P)                                                                       \
    case R:                                                                              \
        walk(s, R, P, type, s->a_row, 1);                                                \
        break;
    switch (s->rows) {
        EACH_DIRECT(CASE)
    default:
        break;
    }
#undef CASE
}

static void direct(const struct tr_strip *s)
{
    direct_any(s, B_F32);
}

static void direct_bf16(const struct tr_strip *s)
{
    direct_any(s, B_BF16);
}

static void packed(const struct tr_strip *s)
{
#define CASE(R, P)                                                                       \
    case R:                                                                              \
        walk(s, R, P, B_F32, 1, R);                                                      \
        break;
    switch (s->rows) {
        EACH_PACKED(CASE)
    default:
        break;
    }
#undef CASE
}

/* Four rows by four depths, turned in registers. */
INLINE void pack_4x4(const float *a, int64_t a_row, int64_t out_row, float *out)
{
    __m128 x0 = _mm_loadu_ps(a), x1 = _mm_loadu_ps(a + a_row);
    __m128 x2 = _mm_loadu_ps(a + 2 * a_row), x3 = _mm_loadu_ps(a + 3 * a_row);
    _MM_TRANSPOSE4_PS(x0, x1, x2, x3);
    _mm_storeu_ps(out, x0);
    _mm_storeu_ps(out + out_row, x1);
    _mm_storeu_ps(out + 2 * out_row, x2);
    _mm_storeu_ps(out + 3 * out_row, x3);
}

/* Two rows by four depths. */
INLINE void pack_2x4(const float *a, int64_t a_row, int64_t out_row, float *out)
{
    const __m128 x0 = _mm_loadu_ps(a), x1 = _mm_loadu_ps(a + a_row);
    const __m128 lo = _mm_unpacklo_ps(x0, x1), hi = _mm_unpackhi_ps(x0, x1);
    _mm_storel_pi((__m64 *)(void *)out, lo);
    _mm_storeh_pi((__m64 *)(void *)(out + out_row), lo);
    _mm_storel_pi((__m64 *)(void *)(out + 2 * out_row), hi);
    _mm_storeh_pi((__m64 *)(void *)(out + 3 * out_row), hi);
}

/* R rows, constant where it is called. */
INLINE void pack_rows(const float *a, int64_t a_row, int64_t R, int64_t depth, float *out)
{
    int64_t d = 0;
    for (; d + 4 <= depth; d += 4, a += 4, out += 4 * R) {
        int64_t r = 0;
        UNROLL for (; r + 4 <= R; r += 4) pack_4x4(a + r * a_row, a_row, R, out + r);
        if (r + 2 <= R) {
            pack_2x4(a + r * a_row, a_row, R, out + r);
            r += 2;
        }
        if (r < R)
            for (int64_t i = 0; i < 4; i++) out[i * R + r] = a[r * a_row + i];
    }
    for (; d < depth; d++, a++, out += R)
        for (int64_t r = 0; r < R; r++) out[r] = a[r * a_row];
}

static void pack(const float *a, int64_t a_row, int rows, int64_t depth, float *out)
{
#define CASE(R, P)                                                                       \
    case R:                                                                              \
        pack_rows(a, a_row, R, depth, out);                                              \
        break;
    switch (rows) {
        EACH_PACKED(CASE)
    default:
        break;
    }
#undef CASE
}

static void turn(const float *w, float *out)
{
    for (int64_t i = 0; i < TR_LANES; i += 4)
        for (int64_t j = 0; j < TR_LANES; j += 4)
            pack_4x4(w + i * TR_LANES + j, TR_LANES, TR_LANES, out + j * TR_LANES + i);
}

static void widen(const uint16_t *x, int64_t n, float *y)
{
    int64_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) vec_store(y + i, vec_widen(x + i));
    for (; i < n; i++)
        y[i] = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(x[i] << 16)));
}

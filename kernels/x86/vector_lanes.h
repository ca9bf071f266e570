/* vector_lanes.h - the tiles of vector_ops.h for vectors of 16 lanes; vector_avx2.c and
 * vector_avx512.c include it. Each function keeps the order of kernels/vector_scalar.c; a tail
 * of n mod 16 elements is loaded with a filling that changes no lane's sum. */
#ifndef TR_KERNELS_X86_VECTOR_LANES_H
#define TR_KERNELS_X86_VECTOR_LANES_H

#include <math.h>

#include "kernels/vector_ops.h"
#include "kernels/x86/lanes.h"

enum { LANES = 16 };

/* All 16 lanes, or the n - i that are left. */
V16_INLINE v16 take(const float *p, int64_t i, int64_t n, float fill)
{
    return n - i >= LANES ? v16_load(p + i) : v16_load_n(p + i, n - i, fill);
}

V16_INLINE void give(float *p, int64_t i, int64_t n, v16 x)
{
    if (n - i >= LANES)
        v16_store(p + i, x);
    else
        v16_store_n(p + i, n - i, x);
}

static float sum_squares(const float *x, int64_t n)
{
    v16 lane = v16_zero();
    for (int64_t i = 0; i < n; i += LANES) {
        const v16 a = take(x, i, n, 0);
        lane = v16_fma(a, a, lane);
    }
    return v16_fold(lane);
}

static void norm(const float *x, const float *w, float eps, int64_t d, float *y, float *r)
{
    *r = 1.0F / sqrtf(sum_squares(x, d) / (float)d + eps);
    const v16 s = v16_set1(*r);
    for (int64_t i = 0; i < d; i += LANES)
        give(y, i, d, v16_mul(take(w, i, d, 0), v16_mul(take(x, i, d, 0), s)));
}

static void norm_dx(const float *dy, const float *x, const float *w, float r, int64_t d,
                    bool more, float *dx)
{
    v16 lane = v16_zero();
    for (int64_t i = 0; i < d;
         i += LANES) { /* past the end -0 * 0: it keeps a lane's -0 */
        const v16 g = v16_mul(take(w, i, d, -0.0F), take(dy, i, d, 0));
        lane = v16_fma(g, take(x, i, d, 0), lane);
    }
    const v16 c = v16_set1(-(((v16_fold(lane) * r) * r) * r / (float)d));
    const v16 s = v16_set1(r);
    for (int64_t i = 0; i < d; i += LANES) {
        v16 g = v16_mul(v16_mul(take(w, i, d, 0), take(dy, i, d, 0)), s);
        g = v16_fma(c, take(x, i, d, 0), g);
        give(dx, i, d, more ? v16_add(take(dx, i, d, 0), g) : g);
    }
}

/* The first n <= 16 * wide columns over all tokens: `wide` (a constant) vectors of chains side by
 * side hide the latency of one. */
V16_INLINE void norm_dw_strip(const float *dy, const float *x, const float *r, int64_t T,
                              int64_t d, int64_t n, int64_t wide, float *dw)
{
    v16 sum[4];
    for (int64_t j = 0; j < wide; j++) sum[j] = take(dw, j * LANES, n, 0);
    for (int64_t t = 0; t < T; t++) {
        const v16 s = v16_set1(r[t]);
        for (int64_t j = 0; j < wide; j++) {
            const v16 a = v16_mul(take(x + t * d, j * LANES, n, 0), s);
            sum[j] = v16_fma(take(dy + t * d, j * LANES, n, 0), a, sum[j]);
        }
    }
    for (int64_t j = 0; j < wide; j++) give(dw, j * LANES, n, sum[j]);
}

static void norm_dw(const float *dy, const float *x, const float *r, int64_t T, int64_t d,
                    int64_t i, int64_t n, float *dw)
{
    const int64_t strip = (int64_t)4 * LANES, end = i + n;
    int64_t k = i;
    for (; k + strip <= end; k += strip)
        norm_dw_strip(dy + k, x + k, r, T, d, strip, 4, dw + k);
    for (; k < end; k += LANES) norm_dw_strip(dy + k, x + k, r, T, d, end - k, 1, dw + k);
}

static void rotate(float *x, int64_t D, const float *cos, const float *sin, bool inverse)
{
    const int64_t h = D / 2;
    for (int64_t i = 0; i < h; i += LANES) {
        const v16 c = take(cos, i, h, 0);
        v16 s = take(sin, i, h, 0);
        if (inverse) s = v16_neg(s);
        const v16 a = take(x, i, h, 0);
        const v16 b = take(x + h, i, h, 0);
        give(x, i, h, v16_fma(a, c, v16_neg(v16_mul(b, s))));
        give(x + h, i, h, v16_fma(b, c, v16_mul(a, s)));
    }
}

V16_INLINE v16 sigmoid(v16 g)
{
    const v16 one = v16_set1(1.0F);
    return v16_div(one, v16_add(one, v16_exp(v16_neg(g))));
}

static void swiglu(const float *g, const float *u, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i += LANES) {
        const v16 a = take(g, i, n, 0);
        give(out, i, n, v16_mul(v16_mul(a, sigmoid(a)), take(u, i, n, 0)));
    }
}

static void swiglu_back(const float *g, const float *u, const float *dout, int64_t n,
                        float *dg, float *du)
{
    const v16 one = v16_set1(1.0F);
    for (int64_t i = 0; i < n; i += LANES) {
        const v16 a = take(g, i, n, 0);
        const v16 b = take(u, i, n, 0);
        const v16 d = take(dout, i, n, 0);
        const v16 sig = sigmoid(a);
        give(du, i, n, v16_mul(d, v16_mul(a, sig)));
        const v16 slope = v16_mul(sig, v16_fma(a, v16_sub(one, sig), one));
        give(dg, i, n, v16_mul(v16_mul(d, b), slope));
    }
}

static void add(const float *y, int64_t n, float *x)
{
    for (int64_t i = 0; i < n; i += LANES)
        give(x, i, n, v16_add(take(x, i, n, 0), take(y, i, n, 0)));
}

static float max(const float *z, int64_t V)
{
    v16 lane = v16_set1(-INFINITY);
    for (int64_t v = 0; v < V; v += LANES) lane = v16_max(take(z, v, V, -INFINITY), lane);
    return v16_fold_max(lane);
}

static float exp_sum(const float *z, int64_t V, float M)
{
    const v16 top = v16_set1(M);
    v16 lane = v16_zero();
    int64_t v = 0;
    for (; v + LANES <= V; v += LANES)
        lane = v16_add(lane, v16_exp(v16_sub(v16_load(z + v), top)));
    if (v < V) { /* the lanes past the end get +0, which changes no sum of exponentials */
        float e[LANES] = {0};
        v16_store_n(e, V - v, v16_exp(v16_sub(v16_load_n(z + v, V - v, 0), top)));
        lane = v16_add(lane, v16_load(e));
    }
    return v16_fold(lane);
}

static float mean_logit(const float *z, int64_t V, float lse)
{
    const v16 top = v16_set1(lse);
    v16 lane = v16_zero();
    for (int64_t v = 0; v < V; v += LANES) {
        /* Past the end a lane gets +0. It could hold -0 only by an underflow, for which lse is
         * above 80, and then another lane is far from 0 and the sum is the same. */
        const v16 x = take(z, v, V, -INFINITY);
        const v16 p = v16_exp(v16_sub(x, top));
        lane = v16_fma(p, v16_pick(v16_eq(p, v16_zero()), v16_zero(), x), lane);
    }
    return v16_fold(lane);
}

static void dlogits(float *z, int64_t V, float lse, float dlogp)
{
    const v16 top = v16_set1(lse);
    const v16 scale = v16_set1(-dlogp);
    for (int64_t v = 0; v < V; v += LANES)
        give(z, v, V, v16_mul(scale, v16_exp(v16_sub(take(z, v, V, 0), top))));
}

static void exps(const float *z, int64_t V, float M, float *e)
{
    const v16 top = v16_set1(M);
    for (int64_t v = 0; v < V; v += LANES)
        give(e, v, V, v16_exp(v16_sub(take(z, v, V, 0), top)));
}

static void divide(float *z, int64_t V, float by)
{
    const v16 d = v16_set1(by);
    for (int64_t v = 0; v < V; v += LANES) give(z, v, V, v16_div(take(z, v, V, 0), d));
}

static int64_t above(const float *z, int64_t V, float least, int32_t *id)
{
    const v16 border = v16_set1(least);
    int64_t n = 0;
    for (int64_t v = 0; v < V; v += LANES) {
        uint32_t hits = v16_truths(v16_ge(take(z, v, V, -INFINITY), border));
        for (; hits; hits &= hits - 1) id[n++] = (int32_t)v + __builtin_ctz(hits);
    }
    return n;
}

static void adamw(const struct tr_adamw_constants *c, int64_t n, const float *g, float *p,
                  float *m, float *v)
{
    const v16 clip = v16_set1(c->clip);
    const v16 decay = v16_set1(c->decay);
    const v16 beta2 = v16_set1(c->beta2);
    const v16 new_m = v16_set1(c->one_less_beta1);
    const v16 new_v = v16_set1(c->one_less_beta2);
    const v16 root = v16_set1(c->root);
    const v16 eps = v16_set1(c->eps);
    const v16 rate = v16_set1(c->rate);
    for (int64_t i = 0; i < n; i += LANES) {
        const v16 gi = v16_mul(take(g, i, n, 0), clip);
        const v16 pi = v16_mul(take(p, i, n, 0), decay);
        const v16 m0 = take(m, i, n, 0);
        const v16 mi = v16_fma(new_m, v16_sub(gi, m0), m0);
        const v16 vi = v16_fma(v16_mul(new_v, gi), gi, v16_mul(take(v, i, n, 0), beta2));
        const v16 denom = v16_add(v16_div(v16_sqrt(vi), root), eps);
        give(m, i, n, mi);
        give(v, i, n, vi);
        give(p, i, n, v16_sub(pi, v16_mul(rate, v16_div(mi, denom))));
    }
}

/* The table, under the name of the including file's instruction set. */
#define TR_VECTOR_TABLE                                                                  \
    {                                                                                    \
        .sum_squares = sum_squares, .norm = norm, .norm_dx = norm_dx,                    \
        .norm_dw = norm_dw, .rotate = rotate, .swiglu = swiglu,                          \
        .swiglu_back = swiglu_back, .add = add, .max = max, .exp_sum = exp_sum,          \
        .mean_logit = mean_logit, .dlogits = dlogits, .exps = exps, .divide = divide,    \
        .above = above, .adamw = adamw,                                                  \
    }

#endif

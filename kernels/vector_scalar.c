/* vector_scalar.c - the tiles of the element-wise and row-wise kernels in plain C: the
 * specification. Compiled a second time with -mfma (kernels.h, TR_SCALAR). */
#include <math.h>

#include "kernels/real_f32.h"
#include "kernels/vector_ops.h"

enum { LANES = 16 };

static float fold(float lane[LANES])
{
    for (int w = LANES / 2; w > 0; w /= 2)
        for (int j = 0; j < w; j++) lane[j] += lane[j + w];
    return lane[0];
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

static float sum_squares(const float *x, int64_t n)
{
    float lane[LANES] = {0};
    for (int64_t i = 0; i < n; i++) lane[i % LANES] = fmaf(x[i], x[i], lane[i % LANES]);
    return fold(lane);
}

static void norm(const float *x, const float *w, float eps, int64_t d, float *y, float *r)
{
    *r = 1.0F / sqrtf(sum_squares(x, d) / (float)d + eps);
    for (int64_t i = 0; i < d; i++) y[i] = w[i] * (x[i] * *r);
}

static void norm_dx(const float *dy, const float *x, const float *w, float r, int64_t d,
                    bool add, float *dx)
{
    float lane[LANES] = {0};
    for (int64_t i = 0; i < d; i++)
        lane[i % LANES] = fmaf(w[i] * dy[i], x[i], lane[i % LANES]);
    const float c = ((fold(lane) * r) * r) * r / (float)d;
    for (int64_t i = 0; i < d; i++) {
        const float g = fmaf(-c, x[i], (w[i] * dy[i]) * r);
        dx[i] = add ? dx[i] + g : g;
    }
}

static void norm_dw(const float *dy, const float *x, const float *r, int64_t T, int64_t d,
                    int64_t i, int64_t n, float *dw)
{
    for (int64_t k = i; k < i + n; k++)
        for (int64_t t = 0; t < T; t++)
            dw[k] = fmaf(dy[t * d + k], x[t * d + k] * r[t], dw[k]);
}

static void rotate(float *x, int64_t D, const float *cos, const float *sin, bool inverse)
{
    const int64_t h = D / 2;
    for (int64_t i = 0; i < h; i++) {
        const float s = inverse ? -sin[i] : sin[i];
        const float a = x[i];
        const float b = x[i + h];
        x[i] = fmaf(a, cos[i], -(b * s));
        x[i + h] = fmaf(b, cos[i], a * s);
    }
}

static void swiglu(const float *g, const float *u, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        const float sig = 1.0F / (1.0F + tr_f32_exp(-g[i]));
        out[i] = (g[i] * sig) * u[i];
    }
}

static void swiglu_back(const float *g, const float *u, const float *dout, int64_t n,
                        float *dg, float *du)
{
    for (int64_t i = 0; i < n; i++) {
        const float gi = g[i];
        const float ui = u[i];
        const float di = dout[i];
        const float sig = 1.0F / (1.0F + tr_f32_exp(-gi));
        du[i] = di * (gi * sig);
        dg[i] = (di * ui) * (sig * fmaf(gi, 1.0F - sig, 1.0F));
    }
}

static void add(const float *y, int64_t n, float *x)
{
    for (int64_t i = 0; i < n; i++) x[i] = x[i] + y[i];
}

static float max(const float *z, int64_t V)
{
    float lane[LANES];
    for (int j = 0; j < LANES; j++) lane[j] = -INFINITY;
    for (int64_t v = 0; v < V; v++) lane[v % LANES] = larger(z[v], lane[v % LANES]);
    for (int w = LANES / 2; w > 0; w /= 2)
        for (int j = 0; j < w; j++) lane[j] = larger(lane[j], lane[j + w]);
    return lane[0];
}

static float exp_sum(const float *z, int64_t V, float M)
{
    float lane[LANES] = {0};
    for (int64_t v = 0; v < V; v++) lane[v % LANES] += tr_f32_exp(z[v] - M);
    return fold(lane);
}

static float mean_logit(const float *z, int64_t V, float lse)
{
    float lane[LANES] = {0};
    for (int64_t v = 0; v < V; v++) {
        const float p = tr_f32_exp(z[v] - lse);
        /* 0 * -Inf would be NaN; a token without probability adds nothing. */
        lane[v % LANES] = fmaf(p, p == 0.0F ? 0.0F : z[v], lane[v % LANES]);
    }
    return fold(lane);
}

static void dlogits(float *z, int64_t V, float lse, float dlogp)
{
    for (int64_t v = 0; v < V; v++) z[v] = -dlogp * tr_f32_exp(z[v] - lse);
}

static void exps(const float *z, int64_t V, float M, float *e)
{
    for (int64_t v = 0; v < V; v++) e[v] = tr_f32_exp(z[v] - M);
}

static void divide(float *z, int64_t V, float by)
{
    for (int64_t v = 0; v < V; v++) z[v] = z[v] / by;
}

static int64_t above(const float *z, int64_t V, float least, int32_t *id)
{
    int64_t n = 0;
    for (int64_t v = 0; v < V; v++)
        if (z[v] >= least) id[n++] = (int32_t)v;
    return n;
}

static void adamw(const struct tr_adamw_constants *c, int64_t n, const float *g, float *p,
                  float *m, float *v)
{
    for (int64_t i = 0; i < n; i++) {
        const float gi = g[i] * c->clip;
        const float pi = p[i] * c->decay;
        m[i] = fmaf(c->one_less_beta1, gi - m[i], m[i]);
        v[i] = fmaf(c->one_less_beta2 * gi, gi, v[i] * c->beta2);
        const float denom = sqrtf(v[i]) / c->root + c->eps;
        p[i] = pi - c->rate * (m[i] / denom);
    }
}

const struct tr_vector_ops TR_SCALAR(tr_vector_scalar) = {
    .sum_squares = sum_squares,
    .norm = norm,
    .norm_dx = norm_dx,
    .norm_dw = norm_dw,
    .rotate = rotate,
    .swiglu = swiglu,
    .swiglu_back = swiglu_back,
    .add = add,
    .max = max,
    .exp_sum = exp_sum,
    .mean_logit = mean_logit,
    .dlogits = dlogits,
    .exps = exps,
    .divide = divide,
    .above = above,
    .adamw = adamw,
};

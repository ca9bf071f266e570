/* test_vector_right.c - norm, rope, pointwise, soft-max, AdamW and sums of squares beside the
 * formulas of their headers in f64, and every gradient beside central differences.
 *
 * Each function here is written a second time in f64 without any order in mind. Forward passes are
 * asked for within 2e-6 of the largest result, some 30 half ulps; gradients within 1e-5. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/adamw.h"
#include "kernels/norm.h"
#include "kernels/pointwise.h"
#include "kernels/real.h"
#include "kernels/rope.h"
#include "kernels/softmax.h"

static const double little = 1e-5; /* of a central difference, in f64 */

/* Uniform in [-1, 1). */
static float draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (float)(int32_t)(*seed >> 32U) / 2147483648.0F;
}

static void fill(float *x, int64_t n, float size, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) x[i] = size * draw(&seed);
}

static void near(const float *got, const double *want, int64_t n, double tolerance,
                 const char *what)
{
    double largest = 0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(want[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance * largest))
            fail_msg("%s: element %lld is %.9g, not %.9g", what, (long long)i,
                     (double)got[i], want[i]);
}

static void widen(const float *x, int64_t n, double *y)
{
    for (int64_t i = 0; i < n; i++) y[i] = (double)x[i];
}

/* d loss / d x by central differences; loss takes x and what else it needs. */
typedef double loss_fn(const double *x, const void *rest);

static void differences(loss_fn *loss, double *x, int64_t n, const void *rest, double *dx)
{
    for (int64_t i = 0; i < n; i++) {
        const double was = x[i];
        x[i] = was + little;
        const double above = loss(x, rest);
        x[i] = was - little;
        const double below = loss(x, rest);
        x[i] = was;
        dx[i] = (above - below) / (2 * little);
    }
}

/* ---- norm ------------------------------------------------------------------------------- */

enum { NORM_T = 3, NORM_D = 50, NORM_N = NORM_T * NORM_D };

struct norm_case {
    float x[NORM_N], w[NORM_D], dy[NORM_N];
};

/* x and then w, end to end. */
static void norm_f64(const double *xw, double *y)
{
    const double *w = xw + NORM_N;
    for (int t = 0; t < NORM_T; t++) {
        double sum = 0;
        for (int i = 0; i < NORM_D; i++) sum += xw[t * NORM_D + i] * xw[t * NORM_D + i];
        const double r = 1 / sqrt(sum / NORM_D + 1e-5);
        for (int i = 0; i < NORM_D; i++)
            y[t * NORM_D + i] = w[i] * xw[t * NORM_D + i] * r;
    }
}

static double norm_loss(const double *xw, const void *rest)
{
    const struct norm_case *c = rest;
    double y[NORM_N];
    double sum = 0;
    norm_f64(xw, y);
    for (int i = 0; i < NORM_N; i++) sum += (double)c->dy[i] * y[i];
    return sum;
}

static void norm_is_right(void **state)
{
    struct norm_case c;
    double xw[NORM_N + NORM_D];
    double want[NORM_N + NORM_D];
    float y[NORM_N];
    float r[NORM_T];
    float dx[NORM_N] = {0};
    float dw[NORM_D] = {0};
    fill(c.x, NORM_N, 3, 1);
    fill(c.w, NORM_D, 2, 2);
    fill(c.dy, NORM_N, 1, 3);
    widen(c.x, NORM_N, xw);
    widen(c.w, NORM_D, xw + NORM_N);
    tr_rmsnorm(*state, c.x, c.w, 1e-5F, NORM_T, NORM_D, y, r);
    norm_f64(xw, want);
    near(y, want, NORM_N, 2e-6, "rmsnorm");
    tr_rmsnorm_backward(*state, c.dy, c.x, c.w, r, NORM_T, NORM_D, 0, dx, dw);
    differences(norm_loss, xw, NORM_N + NORM_D, &c, want);
    near(dx, want, NORM_N, 1e-5, "rmsnorm dx");
    near(dw, want + NORM_N, NORM_D, 1e-5, "rmsnorm dw");
    /* Added, dx and dw double. */
    tr_rmsnorm_backward(*state, c.dy, c.x, c.w, r, NORM_T, NORM_D, 1, dx, dw);
    for (int i = 0; i < NORM_N + NORM_D; i++) want[i] *= 2;
    near(dx, want, NORM_N, 1e-5, "rmsnorm dx, added");
    near(dw, want + NORM_N, NORM_D, 1e-5, "rmsnorm dw, added");
}

/* ---- rope ------------------------------------------------------------------------------- */

/* inv_freq of Llama 3.2 by transformers' _compute_llama3_parameters in f64, rounded to f32: theta
 * 500000, D 64, factor 32, low 1, high 4, original length 8192. */
static const float llama3[32] = {
    0x1p+0F,         0x1.53c38ap-1F,  0x1.c2ef76p-2F,  0x1.2b3dc6p-2F,  0x1.8d275ep-3F,
    0x1.078d3ep-3F,  0x1.5dc95ap-4F,  0x1.d03cdp-5F,   0x1.34119p-5F,   0x1.98de92p-6F,
    0x1.0f5386p-6F,  0x1.681ad8p-7F,  0x1.ddee9cp-8F,  0x1.3d2804p-8F,  0x1.a4ee4p-9F,
    0x1.524f34p-10F, 0x1.c26c46p-12F, 0x1.9731f2p-14F, 0x1.46831ap-16F, 0x1.b15902p-17F,
    0x1.1f91fp-17F,  0x1.7da9e8p-18F, 0x1.fa8b84p-19F, 0x1.5024d6p-19F, 0x1.be2188p-20F,
    0x1.280d96p-20F, 0x1.88ec22p-21F, 0x1.04be68p-21F, 0x1.5a0f4ep-22F, 0x1.cb4a9ap-23F,
    0x1.30c94ep-23F, 0x1.948360p-24F,
};

/* Each entry is the nearest f32 of the cosine of an f32 angle, or (a tie's neighbour of libm's
 * own) the one beside it. */
static void check_table(const struct tr_rope *rope, const float *inv_freq, int64_t D,
                        int64_t P)
{
    float *cosines = calloc((size_t)(P * D), sizeof *cosines);
    assert_non_null(cosines);
    float *sines = cosines + P * (D / 2);
    tr_rope_table(rope, P, D, cosines, sines);
    for (int64_t p = 0; p < P; p++)
        for (int64_t i = 0; i < D / 2; i++) {
            const float angle = (float)p * inv_freq[i];
            const double c = (double)cosines[p * (D / 2) + i];
            const double s = (double)sines[p * (D / 2) + i];
            assert_true(fabs(c - cos((double)angle)) <= 0x1p-24 * 0.5001);
            assert_true(fabs(s - sin((double)angle)) <= 0x1p-24 * 0.5001);
        }
    free(cosines);
}

static void rope_tables(void **state)
{
    const struct tr_rope scaled = {TR_ROPE_LLAMA3, 500000, 32, 1, 4, 8192};
    const struct tr_rope plain = {.kind = TR_ROPE_PLAIN, .theta = 10000};
    float inv_freq[8];
    (void)state;
    check_table(&scaled, llama3, 64, 300);
    for (int i = 0; i < 8; i++) inv_freq[i] = (float)pow(10000, -2.0 * i / 16);
    check_table(&plain, inv_freq, 16, 5000);
}

static void rope_turns_pairs(void **state)
{
    enum { D = 10, HEADS = 3, T = 4, N = T * HEADS * D };
    const struct tr_rope plain = {.kind = TR_ROPE_PLAIN, .theta = 10000};
    const int32_t position[T] = {0, 1, 7, 30};
    float cosines[31 * D / 2];
    float sines[31 * D / 2];
    float x[N];
    double want[N];
    double was[N];
    fill(x, N, 2, 4);
    widen(x, N, was);
    tr_rope_table(&plain, 31, D, cosines, sines);
    tr_rope_apply(*state, x, T, HEADS, D, position, cosines, sines, 0);
    for (int h = 0; h < T * HEADS; h++)
        for (int i = 0; i < D / 2; i++) {
            const int64_t at = position[h / HEADS];
            const double angle = (double)at * pow(10000, -2.0 * i / D);
            const double a = was[h * D + i];
            const double b = was[h * D + i + D / 2];
            want[h * D + i] = a * cos(angle) - b * sin(angle);
            want[h * D + i + D / 2] = b * cos(angle) + a * sin(angle);
        }
    near(x, want, N, 2e-6, "rope");
    tr_rope_apply(*state, x, T, HEADS, D, position, cosines, sines, 1);
    near(x, was, N, 2e-6, "rope there and back");
}

/* ---- pointwise -------------------------------------------------------------------------- */

enum { SWIGLU_N = 70 };

/* g and then u. */
static double swiglu_loss(const double *gu, const void *rest)
{
    const float *dout = rest;
    double sum = 0;
    for (int i = 0; i < SWIGLU_N; i++)
        sum += (double)dout[i] * gu[i] / (1 + exp(-gu[i])) * gu[SWIGLU_N + i];
    return sum;
}

static void swiglu_is_right(void **state)
{
    float gu[2 * SWIGLU_N];
    float dout[SWIGLU_N];
    float out[SWIGLU_N];
    float dgu[2 * SWIGLU_N];
    double x[2 * SWIGLU_N];
    double want[2 * SWIGLU_N];
    fill(gu, 2 * SWIGLU_N, 6, 5);
    fill(dout, SWIGLU_N, 1, 6);
    widen(gu, 2 * SWIGLU_N, x);
    for (int i = 0; i < SWIGLU_N; i++)
        want[i] = x[i] / (1 + exp(-x[i])) * x[SWIGLU_N + i];
    tr_swiglu(*state, gu, gu + SWIGLU_N, SWIGLU_N, out);
    near(out, want, SWIGLU_N, 2e-6, "swiglu");
    tr_swiglu_backward(*state, gu, gu + SWIGLU_N, dout, SWIGLU_N, dgu, dgu + SWIGLU_N);
    differences(swiglu_loss, x, 2 * SWIGLU_N, dout, want);
    near(dgu, want, SWIGLU_N, 1e-5, "swiglu dg");
    near(dgu + SWIGLU_N, want + SWIGLU_N, SWIGLU_N, 1e-5, "swiglu du");
}

/* A gate far from 0 on either side: x or nothing, and never a NaN. */
static void swiglu_at_the_ends(void **state)
{
    const float g[] = {200, -200, 90, -90, 0};
    const float u[] = {1, 1, 1, 1, 1};
    const double want[] = {200, 0, 90, 0, 0};
    const double slope[] = {1, 0, 1, 0, 0.5};
    float out[5];
    float dg[5];
    float du[5];
    tr_swiglu(*state, g, u, 5, out);
    near(out, want, 5, 1e-6, "swiglu at the ends");
    tr_swiglu_backward(*state, g, u, u, 5, dg, du);
    near(dg, slope, 5, 1e-6, "its slope");
}

/* ---- soft-max --------------------------------------------------------------------------- */

enum { V = 77, R = 3 };

struct softmax_case {
    int32_t target[R];
    float dlogp[R];
};

static double lse_f64(const double *z)
{
    double top = z[0];
    double sum = 0;
    for (int v = 1; v < V; v++) top = fmax(top, z[v]);
    for (int v = 0; v < V; v++) sum += exp(z[v] - top);
    return top + log(sum);
}

static double logprob_loss(const double *z, const void *rest)
{
    const struct softmax_case *c = rest;
    double sum = 0;
    for (int r = 0; r < R; r++)
        sum +=
            (double)c->dlogp[r] * (z[r * V + c->target[r]] - lse_f64(z + (size_t)r * V));
    return sum;
}

static void logprob_is_right(void **state)
{
    const struct softmax_case c = {{0, 76, 40}, {-1, 0.5F, 2}};
    float z[R * V];
    float logp[R];
    float lse[R];
    float entropy[R];
    double x[R * V];
    double want[3][R];
    double dz[R * V];
    fill(z, R * V, 8, 7);
    widen(z, R * V, x);
    tr_logprob(*state, z, R, V, c.target, logp, lse, entropy);
    for (int r = 0; r < R; r++) {
        want[1][r] = lse_f64(x + (size_t)r * V);
        want[0][r] = x[r * V + c.target[r]] - want[1][r];
        want[2][r] = want[1][r];
        for (int v = 0; v < V; v++)
            want[2][r] -= exp(x[r * V + v] - want[1][r]) * x[r * V + v];
    }
    near(logp, want[0], R, 2e-6, "log-prob");
    near(lse, want[1], R, 2e-6, "lse");
    near(entropy, want[2], R, 1e-5, "entropy"); /* lse and E cancel */
    tr_logprob_backward(*state, z, R, V, c.target, lse, c.dlogp);
    differences(logprob_loss, x, R * V, &c, dz);
    near(z, dz, R * V, 1e-5, "log-prob gradient");
}

/* Tokens that cannot be: -Inf logits change neither lse nor entropy, and get no gradient. */
static void logits_of_minus_infinity(void **state)
{
    float z[5] = {-INFINITY, 1, -INFINITY, 1, -INFINITY};
    const int32_t target = 1;
    const float dlogp = 1;
    float logp;
    float lse;
    float entropy;
    tr_logprob(*state, z, 1, 5, &target, &logp, &lse, &entropy);
    assert_true(fabs((double)logp + log(2)) < 1e-6);
    assert_true(fabs((double)lse - 1 - log(2)) < 1e-6);
    assert_true(fabs((double)entropy - log(2)) < 1e-6);
    tr_logprob_backward(*state, z, 1, 5, &target, &lse, &dlogp);
    assert_true(z[0] == 0 && z[2] == 0 && z[4] == 0);
    assert_true(fabs((double)z[1] - 0.5) < 1e-6 && fabs((double)z[3] + 0.5) < 1e-6);
}

/* ---- AdamW, sums of squares ------------------------------------------------------------- */

/* torch.optim.AdamW as its documentation has it, in f64. */
static void adamw_f64(const struct tr_adamw *a, double g, double *p, double *m, double *v)
{
    *p -= a->lr * a->weight_decay * *p;
    *m = a->beta1 * *m + (1 - a->beta1) * g;
    *v = a->beta2 * *v + (1 - a->beta2) * g * g;
    const double mean = *m / (1 - pow(a->beta1, (double)a->t));
    const double square = *v / (1 - pow(a->beta2, (double)a->t));
    *p -= a->lr * mean / (sqrt(square) + a->eps);
}

static void adamw_is_right(void **state)
{
    enum { N = 100, STEPS = 20 };
    struct tr_adamw cfg = {1e-2, 0.9, 0.999, 1e-8, 0.1, 0};
    float g[N];
    float p[N];
    float m[N] = {0};
    float v[N] = {0};
    double want[3][N] = {{0}};
    fill(p, N, 1, 8);
    widen(p, N, want[0]);
    for (cfg.t = 1; cfg.t <= STEPS; cfg.t++) {
        fill(g, N, 2, 9 + (uint64_t)cfg.t);
        tr_adamw_step(*state, &cfg, 0.25F, N, g, p, m, v);
        for (int i = 0; i < N; i++)
            adamw_f64(&cfg, 0.25 * (double)g[i], &want[0][i], &want[1][i], &want[2][i]);
    }
    near(p, want[0], N, 3e-6, "adamw p"); /* 20 steps, each rounded a few times */
    near(m, want[1], N, 3e-6, "adamw m");
    near(v, want[2], N, 3e-6, "adamw v");
}

/* Far into a run the corrections are 1, and beta^t must cost nothing to know. */
static void adamw_late_in_a_run(void **state)
{
    const struct tr_adamw cfg = {1e-3, 0.9, 0.999, 0, 0, 1000000000000};
    const float g = 2;
    float p = 1;
    float m = 2;
    float v = 4;
    tr_adamw_step(*state, &cfg, 1, 1, &g, &p, &m, &v);
    assert_true(fabs((double)p - (1 - 1e-3)) < 1e-7);
}

/* The constants are those of repeated multiplication to the bit, wherever the product stops. */
static void adamw_corrections_are_those_of_repeated_products(void **state)
{
    static const int64_t steps[] = {1, 2, 10, 354, 355, 356, 5000, 37410, 37415, 60000};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const struct tr_adamw cfg = {1e-3, 0.9, 0.999, 1e-8, 0, steps[i]};
        const float g = 0.3F;
        const float root = (float)sqrt(1 - tr_pow_int(cfg.beta2, (long)cfg.t));
        const float rate = (float)(cfg.lr / (1 - tr_pow_int(cfg.beta1, (long)cfg.t)));
        float p = 1;
        float m = 0.25F;
        float v = 0.5F;
        tr_adamw_step(*state, &cfg, 1, 1, &g, &p, &m, &v);
        assert_true(p == 1 - rate * (m / (sqrtf(v) / root + 1e-8F)));
    }
}

static void sums_of_squares(void **state)
{
    static const int64_t sizes[] = {0, 1, 4095, 4096, 4097, 100000, 5000000};
    float *x = malloc(5000000 * sizeof *x);
    assert_non_null(x);
    fill(x, 5000000, 3, 10);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        double want = 0;
        for (int64_t k = 0; k < sizes[i]; k++) want += (double)x[k] * (double)x[k];
        const double got = tr_sum_squares(*state, x, sizes[i]);
        assert_true(fabs(got - want) <= 1e-6 * want);
    }
    free(x);
}

static int set_up(void **state)
{
    static struct tr_exec ex;
    *state = &ex;
    return tr_exec_init(&ex, NULL, 2, TR_MATH_EXACT);
}

static int tear_down(void **state)
{
    tr_exec_fini(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_is_right),
        cmocka_unit_test(rope_tables),
        cmocka_unit_test(rope_turns_pairs),
        cmocka_unit_test(swiglu_is_right),
        cmocka_unit_test(swiglu_at_the_ends),
        cmocka_unit_test(logprob_is_right),
        cmocka_unit_test(logits_of_minus_infinity),
        cmocka_unit_test(adamw_is_right),
        cmocka_unit_test(adamw_late_in_a_run),
        cmocka_unit_test(adamw_corrections_are_those_of_repeated_products),
        cmocka_unit_test(sums_of_squares),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

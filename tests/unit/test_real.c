/* test_real.c - our exp, log, sin and cos beside those of long double libm.
 *
 * An error is counted in ulps of the exact result: |got - want| / 2^(e - p + 1), where 2^e <=
 * |want| < 2^(e+1) and p is 24 or 53; below the normal range the spacing is that of the
 * subnormals. The bounds stated here are in docs/numerics.md. The f32 functions are seen at every
 * STRIDE-th bit pattern, which is prime to 2^k, so every exponent is met with a thousand mantissas
 * and more (all 2^32, once, by hand: 1.0103 and 0.8265 ulp). */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/real.h"

enum { STRIDE = 1009, DRAWS = 400000 };

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Uniform in [0, 1), 53 bits. */
static double draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (double)(*seed >> 11U) * 0x1p-53;
}

/* |got - want| in units of the last of `digits` binary places of want. */
static double ulps(double got, long double want, int digits, int least_exponent)
{
    int e = 0;
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want) ? 0 : HUGE_VAL;
    if (got == (double)want && isinf(got)) return 0;
    frexpl(want, &e);
    if (e < least_exponent) e = least_exponent;
    return (double)(fabsl((long double)got - want) / ldexpl(1, e - digits));
}

static double ulps_f32(float got, long double want)
{
    if (isinf(got) && (double)want > (double)FLT_MAX) return 0;
    return ulps((double)got, want, 24, -125);
}

static void worst_f32(const char *name, float (*ours)(float),
                      long double (*libm)(long double), double bound)
{
    double worst = 0;
    float where = 0;
    for (uint64_t b = 0; b <= UINT32_MAX; b += STRIDE) {
        const float x = float_of((uint32_t)b);
        if (isnan(x)) {
            assert_true(isnan(ours(x)));
            continue;
        }
        const double e = ulps_f32(ours(x), libm((long double)x));
        if (e > worst) {
            worst = e;
            where = x;
        }
    }
    print_message("%s: %.4f ulp at %a\n", name, worst, (double)where);
    assert_true(worst <= bound);
}

static void f32_is_within_its_bound(void **state)
{
    (void)state;
    worst_f32("tr_expf", tr_expf, expl, 1.011);
    worst_f32("tr_logf", tr_logf, logl, 0.827);
    /* The worst of all 2^32: the stated errors are these. */
    const float e = tr_expf(-0x1.782f42p+2F);
    const float l = tr_logf(0x1.69e472p+0F);
    assert_true(fabs(ulps_f32(e, expl(-0x1.782f42p+2L)) - 1.0103) < 1e-4);
    assert_true(fabs(ulps_f32(l, logl(0x1.69e472p+0L)) - 0.8265) < 1e-4);
}

struct edge {
    const char *name;
    float x, want;
};

static void check_edges(const struct edge *row, size_t rows, float (*f)(float))
{
    for (size_t i = 0; i < rows; i++) {
        const float got = f(row[i].x);
        const bool same =
            isnan(row[i].want) ? isnan(got) : memcmp(&got, &row[i].want, sizeof got) == 0;
        if (!same)
            fail_msg("%s: %a gives %a, not %a", row[i].name, (double)row[i].x,
                     (double)got, (double)row[i].want);
    }
}

static void f32_edges(void **state)
{
    static const struct edge exps[] = {
        {"zero", 0.0F, 1.0F},
        {"minus zero", -0.0F, 1.0F},
        {"Inf", INFINITY, INFINITY},
        {"minus Inf", -INFINITY, 0.0F},
        {"NaN", NAN, NAN},
        {"too large", 88.73F, INFINITY},
        {"far too large", FLT_MAX, INFINITY},
        {"smallest subnormal", -103.97F, 0x1p-149F},
        {"too small", -104.0F, 0.0F},
        {"far too small", -FLT_MAX, 0.0F},
        {"a subnormal argument", 0x1p-149F, 1.0F},
        {"the largest negative below one", -0x1p-26F, 1.0F},
    };
    static const struct edge logs[] = {
        {"one", 1.0F, 0.0F},
        {"zero", 0.0F, -INFINITY},
        {"minus zero", -0.0F, -INFINITY},
        {"Inf", INFINITY, INFINITY},
        {"minus Inf", -INFINITY, NAN},
        {"negative", -1.0F, NAN},
        {"negative subnormal", -0x1p-149F, NAN},
        {"NaN", NAN, NAN},
        {"smallest subnormal", 0x1p-149F, -0x1.9d1dap+6F},
        {"smallest normal", 0x1p-126F, -0x1.5d58ap+6F},
        {"two", 2.0F, 0x1.62e43p-1F},
    };
    (void)state;
    check_edges(exps, sizeof exps / sizeof *exps, tr_expf);
    check_edges(logs, sizeof logs / sizeof *logs, tr_logf);
}

struct range {
    const char *name;
    double (*ours)(double);
    long double (*libm)(long double);
    double from, to;
    bool geometric; /* from and to are powers of two, both signs where from < 0 */
    double bound;   /* ulps */
};

static double at(const struct range *r, double u)
{
    return r->geometric ? exp2(r->from + (r->to - r->from) * u)
                        : r->from + (r->to - r->from) * u;
}

static void f64_is_within_its_bound(void **state)
{
    static const struct range ranges[] = {
        {"exp", tr_exp, expl, -745, 709.7, false, 1.0},
        {"exp near 0", tr_exp, expl, -1, 1, false, 1.0},
        {"log near 1", tr_log, logl, 0.5, 2, false, 1.0},
        {"log", tr_log, logl, -1074, 1023.9, true, 1.0},
        {"log1p near 0", tr_log1p, log1pl, -0.5, 1, false, 2.5},
        {"log1p near -1", tr_log1p, log1pl, -0.9999999, -0.5, false, 2.5},
        {"log1p small", tr_log1p, log1pl, -60, 0, true, 2.5},
        {"log1p", tr_log1p, log1pl, 0, 1023, true, 2.5},
        {"sin", tr_sin, sinl, -10, 10, false, 1.0},
        {"sin large", tr_sin, sinl, -1073741824.0, 1073741824.0, false, 1.0},
        {"sin small", tr_sin, sinl, -40, 0, true, 1.0},
        {"cos", tr_cos, cosl, -10, 10, false, 1.0},
        {"cos large", tr_cos, cosl, -1073741824.0, 1073741824.0, false, 1.0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        const struct range *r = &ranges[i];
        uint64_t seed = 7;
        double worst = 0;
        double where = 0;
        for (int k = 0; k < DRAWS; k++) {
            const double x = at(r, draw(&seed));
            const double e = ulps(r->ours(x), r->libm((long double)x), 53, -1021);
            if (!(e <= worst)) {
                worst = e;
                where = x;
            }
        }
        print_message("%s: %.3f ulp at %a\n", r->name, worst, where);
        assert_true(worst <= r->bound);
    }
}

static void f64_edges(void **state)
{
    (void)state;
    assert_true(tr_exp(0) == 1 && tr_exp(-HUGE_VAL) == 0 && isinf(tr_exp(HUGE_VAL)));
    assert_true(isinf(tr_exp(710)) && tr_exp(-746) == 0 && isnan(tr_exp((double)NAN)));
    assert_true(tr_log(1) == 0 && tr_log(0) == -HUGE_VAL && isnan(tr_log(-1)));
    assert_true(tr_log(HUGE_VAL) == HUGE_VAL && isnan(tr_log((double)NAN)));
    assert_true(tr_log1p(0) == 0 && tr_log1p(1e-300) == 1e-300);
    assert_true(tr_log1p(-1) == -HUGE_VAL && isnan(tr_log1p(-2)));
    assert_true(tr_log1p(HUGE_VAL) == HUGE_VAL && isnan(tr_log1p((double)NAN)));
    assert_true(tr_sin(0) == 0 && tr_cos(0) == 1);
    assert_true(isnan(tr_sin((double)NAN)) && isnan(tr_cos(HUGE_VAL)));
}

/* The doubles nearest to some multiples of pi/2: all but some 2^-53 of the argument cancels, so
 * a reduction with too few bits of pi shows at once. */
static void sine_close_to_a_multiple_of_half_pi(void **state)
{
    (void)state;
    for (long n = 1; n < 683000000; n = n * 3 / 2 + 1) {
        const double x =
            (double)((long double)n * 1.57079632679489661923132169163975144L);
        assert_true(ulps(tr_sin(x), sinl((long double)x), 53, -1021) <= 1.0);
        assert_true(ulps(tr_cos(x), cosl((long double)x), 53, -1021) <= 1.0);
    }
}

static void powers_are_repeated_products(void **state)
{
    static const double base[] = {0.9, 0.999, 0.0, 1.0, -0.5, 3.0};
    (void)state;
    for (size_t i = 0; i < sizeof base / sizeof *base; i++) {
        volatile double y = 1; /* every product rounded to f64, and none left out */
        for (long n = 0; n < 20000; n++) {
            if (n < 50 || n % 997 == 0) {
                const double got = tr_pow_int(base[i], n);
                const double want = y;
                assert_memory_equal(&got, &want, sizeof got);
            }
            y = y * base[i];
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_is_within_its_bound),
        cmocka_unit_test(f32_edges),
        cmocka_unit_test(f64_is_within_its_bound),
        cmocka_unit_test(f64_edges),
        cmocka_unit_test(sine_close_to_a_multiple_of_half_pi),
        cmocka_unit_test(powers_are_repeated_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* real.c - polynomials. Each function is a fixed list of basic operations and fma, so that it
 * gives the same bits wherever IEEE 754 holds. The f32 ones are in real_f32.h. */
#include "kernels/real.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/real_f32.h"

float tr_expf(float x)
{
    return tr_f32_exp(x);
}

float tr_logf(float x)
{
    return tr_f32_log(x);
}

static double scaled(double x, int64_t k) /* x * 2^k, |k| < 2200, rounded once */
{
    int64_t half = k / 2;
    uint64_t a = (uint64_t)(half + 1023) << 52;
    uint64_t b = (uint64_t)(k - half + 1023) << 52;
    double u;
    double v;
    memcpy(&u, &a, sizeof u);
    memcpy(&v, &b, sizeof v);
    return (x * u) * v;
}

/* Taylor's series: |r| <= ln2 / 2, so r^14 / 14! is under 2^-57. */
double tr_exp(double x)
{
    static const double c[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0,
                               1.0 / 3628800.0,    1.0 / 362880.0,    1.0 / 40320.0,
                               1.0 / 5040.0,       1.0 / 720.0,       1.0 / 120.0,
                               1.0 / 24.0,         1.0 / 6.0,         0.5};
    const double shift = 6755399441055744.0; /* 1.5 * 2^52 */
    if (x != x) return x;
    x = x < -750.0 ? -750.0 : x;
    x = x > 710.0 ? 710.0 : x;
    double n = fma(x, 1.44269504088896340736, shift) - shift;
    double r = fma(n, -0x1.62e42fefa39efp-1, x); /* ln 2, upper part */
    double low = n * -0x1.abc9e3b39803fp-56;     /* ln 2, what is left */
    r = r + low;
    double p = c[0];
    for (int i = 1; i < 12; i++) p = fma(p, r, c[i]);
    p = fma(p, r * r, r) + 1.0;
    return scaled(p, (int64_t)n);
}

/* log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| <= 0.1716: 2 (s + s^3/3 + s^5/5 + ...). */
double tr_log(double x)
{
    if (x != x || x < 0.0) return (double)NAN;
    if (x == 0.0) return -(double)INFINITY;
    if (x > 1.79769313486231571e308) return x;
    double lift = x < 2.2250738585072014e-308 ? 4503599627370496.0 : 1.0;
    double less = lift > 1.0 ? 52.0 : 0.0;
    uint64_t u;
    double m = x * lift;
    memcpy(&u, &m, sizeof u);
    int64_t e = (int64_t)(u - 0x3fe6a09e667f3bcdU) >> 52; /* sqrt(1/2) */
    u -= (uint64_t)e << 52;
    memcpy(&m, &u, sizeof m);
    double n = (double)e - less;
    double f = m - 1.0;
    double s = f / (2.0 + f);
    double z = s * s;
    double p = 1.0 / 25.0;
    for (int k = 23; k >= 3; k -= 2) p = fma(p, z, 1.0 / k);
    /* log m = f - s (f - 2 z p): f is exact, so only small terms are rounded. */
    double tail = s * (f - 2.0 * (z * p));
    double y = f - (tail - n * 0x1.abc9e3b39803fp-56);
    return fma(n, 0x1.62e42fefa39efp-1, y);
}

double tr_log1p(double x)
{
    double u = 1.0 + x;
    if (u == 1.0) return x;
    if (!(u < 1.79769313486231571e308)) return tr_log(u);
    return tr_log(u) * (x / (u - 1.0)); /* Kahan: the error of 1 + x cancels */
}

/* r = x - n pi/2 in two doubles, n rounded to nearest; returns n mod 4. */
static int reduced(double x, double *r, double *tail)
{
    const double shift = 6755399441055744.0;
    double n = fma(x, 0.636619772367581343076, shift) - shift;
    double a = fma(n, -0x1.921fb54442d18p+0, x); /* pi/2 in three parts */
    double b = n * -0x1.1a62633145c07p-54;
    double sum = a + b;
    double bb = sum - a;
    double lost = (a - (sum - bb)) + (b - bb);
    *r = sum;
    *tail = lost + fma(n, -0x1.1a62633145c07p-54, -b) + n * 0x1.f1976b7ed8fbcp-110;
    return (int)((int64_t)n & 3);
}

static double sine(double r, double tail) /* |r| <= pi/4 */
{
    static const double c[] = {1.0 / 355687428096000.0,
                               -1.0 / 1307674368000.0,
                               1.0 / 6227020800.0,
                               -1.0 / 39916800.0,
                               1.0 / 362880.0,
                               -1.0 / 5040.0,
                               1.0 / 120.0,
                               -1.0 / 6.0};
    double z = r * r;
    double p = c[0];
    for (int i = 1; i < 8; i++) p = fma(p, z, c[i]);
    return r + fma(r * z, p, fma(tail, -0.5 * z, tail));
}

static double cosine(double r, double tail)
{
    static const double c[] = {-1.0 / 6402373705728000.0,
                               1.0 / 20922789888000.0,
                               -1.0 / 87178291200.0,
                               1.0 / 479001600.0,
                               -1.0 / 3628800.0,
                               1.0 / 40320.0,
                               -1.0 / 720.0,
                               1.0 / 24.0};
    double z = r * r;
    double p = c[0];
    for (int i = 1; i < 8; i++) p = fma(p, z, c[i]);
    double half = 0.5 * z;
    double w = 1.0 - half;
    return w + (((1.0 - w) - half) + fma(z * z, p, -(r * tail)));
}

double tr_sin(double x)
{
    double r;
    double tail;
    if (!(x >= -1073741824.0 && x <= 1073741824.0)) return (double)NAN;
    switch (reduced(x, &r, &tail)) {
    case 0:
        return sine(r, tail);
    case 1:
        return cosine(r, tail);
    case 2:
        return -sine(r, tail);
    default:
        return -cosine(r, tail);
    }
}

double tr_cos(double x)
{
    double r;
    double tail;
    if (!(x >= -1073741824.0 && x <= 1073741824.0)) return (double)NAN;
    switch (reduced(x, &r, &tail)) {
    case 0:
        return cosine(r, tail);
    case 1:
        return -sine(r, tail);
    case 2:
        return -cosine(r, tail);
    default:
        return sine(r, tail);
    }
}

double tr_pow_int(double x, long n)
{
    double y = 1.0;
    for (long i = 0; i < n; i++) y *= x;
    return y;
}

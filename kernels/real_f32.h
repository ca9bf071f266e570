/* real_f32.h - tr_expf and tr_logf, written out to be inlined.
 *
 * What it is for. real.c is compiled for any x86-64, where fmaf is a call of libm. A scalar source
 * compiled with -mfma includes this, so that each fmaf is an instruction; the bits are the same.
 * v16_exp and v16_log (kernels/x86/lanes.h) keep the order of every line below.
 *
 * A fixed list of basic operations and fmaf, selections and no branch: a lane can do it. */
#ifndef TR_KERNELS_REAL_F32_H
#define TR_KERNELS_REAL_F32_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float tr_f32_from(uint32_t x)
{
    float y;
    memcpy(&y, &x, sizeof y);
    return y;
}

static inline uint32_t tr_f32_bits(float x)
{
    uint32_t y;
    memcpy(&y, &x, sizeof y);
    return y;
}

/* e^x = 2^n * e^r, r = x - n ln 2 in [-ln2/2, ln2/2]; 2^n in two factors, so that results
 * below 2^-126 are rounded once and those above 2^128 become Inf. Coefficients: the minimax
 * polynomial of Cephes' expf (Moshier). */
static inline float tr_f32_exp(float x)
{
    const float shift = 12582912.0F; /* 1.5 * 2^23: adding it rounds to an integer */
    x = x < -104.0F ? -104.0F : x;
    x = x > 89.0F ? 89.0F : x;
    float t = fmaf(x, 1.44269504088896341F, shift);
    float n = t - shift;
    float r = fmaf(n, -0.693359375F, x);
    r = fmaf(n, 2.12194440e-4F, r);
    float p = 1.9875691500e-4F;
    p = fmaf(p, r, 1.3981999507e-3F);
    p = fmaf(p, r, 8.3334519073e-3F);
    p = fmaf(p, r, 4.1665795894e-2F);
    p = fmaf(p, r, 1.6666665459e-1F);
    p = fmaf(p, r, 5.0000001201e-1F);
    p = fmaf(p, r * r, r) + 1.0F;
    int32_t k = (int32_t)(tr_f32_bits(t) - tr_f32_bits(shift)); /* n, as an integer */
    int32_t half = k >> 1;
    float a = tr_f32_from((uint32_t)(half + 127) << 23);
    float b = tr_f32_from((uint32_t)(k - half + 127) << 23);
    return (p * a) * b;
}

/* log x = e ln 2 + log m, m in [sqrt(1/2), sqrt 2). Coefficients: Cephes' logf. */
static inline float tr_f32_log(float x)
{
    float small =
        x < 1.17549435e-38F ? 8388608.0F : 1.0F; /* subnormals are lifted by 2^23 */
    float less = x < 1.17549435e-38F ? 23.0F : 0.0F;
    uint32_t u = tr_f32_bits(x * small);
    int32_t e = (int32_t)(u - 0x3f3504f3U) >> 23; /* 0x3f3504f3: sqrt(1/2) */
    float m = tr_f32_from(u - ((uint32_t)e << 23));
    float n = (float)e - less;
    float f = m - 1.0F;
    float z = f * f;
    float p = 7.0376836292e-2F;
    p = fmaf(p, f, -1.1514610310e-1F);
    p = fmaf(p, f, 1.1676998740e-1F);
    p = fmaf(p, f, -1.2420140846e-1F);
    p = fmaf(p, f, 1.4249322787e-1F);
    p = fmaf(p, f, -1.6668057665e-1F);
    p = fmaf(p, f, 2.0000714765e-1F);
    p = fmaf(p, f, -2.4999993993e-1F);
    p = fmaf(p, f, 3.3333331174e-1F);
    p = (p * f) * z;
    p = fmaf(n, -2.12194440e-4F, p);
    p = fmaf(z, -0.5F, p);
    float y = f + p;
    y = fmaf(n, 0.693359375F, y);
    y = x == INFINITY ? INFINITY : y;
    y = x == 0.0F ? -INFINITY : y;
    return x >= 0.0F ? y : NAN;
}

#endif

#include "core/model/half.h"

#include <string.h>

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Integer steps only, and both branches are selects, so that a compiler can take 8 at a time. */
float tr_f16_widen(uint16_t x)
{
    uint32_t sign = (uint32_t)(x & 0x8000U) << 16;
    uint32_t magnitude = x & 0x7fffU;
    /* Rebias by 112; infinities and NaN go up another 112, to exponent 255. */
    uint32_t normal = (magnitude << 13) + (112U << 23);
    normal += magnitude >= 0x7c00U ? 112U << 23 : 0;
    /* A subnormal is a whole number of 2^-24. */
    uint32_t subnormal = bits_of((float)magnitude * 0x1p-24F);
    return float_of(sign | (magnitude < 0x400U ? subnormal : normal));
}

uint16_t tr_f16_narrow(float x)
{
    uint32_t bits = bits_of(x);
    uint32_t sign = (bits >> 16) & 0x8000U;
    uint32_t magnitude = bits & 0x7fffffffU;
    uint32_t half = 0;
    if (magnitude > 0x7f800000U) { /* NaN: the upper payload stays, and is never empty */
        half = 0x7c00U | ((magnitude >> 13) & 0x3ffU);
        if (half == 0x7c00U) half |= 0x200U;
    } else if (magnitude >= 0x47800000U) { /* 2^16 and more */
        half = 0x7c00U;
    } else if (magnitude >= 0x38800000U) { /* normal: 2^-14 and more */
        uint32_t odd = (magnitude >> 13) & 1U;
        half = (magnitude - (112U << 23) + 0xfffU + odd) >> 13;
    } else if (magnitude >= 0x33000000U) { /* a whole number of 2^-24 after rounding */
        uint32_t shift = 126U - (magnitude >> 23);
        uint32_t mantissa = (magnitude & 0x7fffffU) | 0x800000U;
        uint32_t rest = mantissa & ((1U << shift) - 1U);
        uint32_t middle = 1U << (shift - 1U);
        half = mantissa >> shift;
        half += rest > middle || (rest == middle && (half & 1U)) ? 1U : 0U;
    }
    return (uint16_t)(sign | half);
}

void tr_f16_widen_array(const unsigned char *bytes, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t x;
        memcpy(&x, bytes + 2 * i, sizeof x);
        out[i] = tr_f16_widen(x);
    }
}

void tr_f16_narrow_array(const float *x, int64_t n, unsigned char *bytes)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t y = tr_f16_narrow(x[i]);
        memcpy(bytes + 2 * i, &y, sizeof y);
    }
}

void tr_bf16_widen_bytes(const unsigned char *bytes, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t x;
        memcpy(&x, bytes + 2 * i, sizeof x);
        out[i] = float_of((uint32_t)x << 16);
    }
}

/* The same rounding as tr_bf16_round, except that a NaN keeps its upper payload. */
static uint16_t bf16_narrow(float x)
{
    uint32_t bits = bits_of(x);
    uint32_t rounded = bits + 0x7fffU + ((bits >> 16) & 1U);
    uint32_t nan = bits | ((bits & 0x7f0000U) ? 0U : 0x400000U);
    return (uint16_t)(((bits & 0x7fffffffU) > 0x7f800000U ? nan : rounded) >> 16);
}

void tr_bf16_narrow_bytes(const float *x, int64_t n, unsigned char *bytes)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t y = bf16_narrow(x[i]);
        memcpy(bytes + 2 * i, &y, sizeof y);
    }
}

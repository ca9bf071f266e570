#include "kernels/philox.h"

#include <assert.h>
#include <math.h>

#include "kernels/real.h"

struct tr_philox tr_philox_key(uint64_t seed, enum tr_purpose purpose)
{
    const uint64_t mixed = seed ^ ((uint64_t)purpose * 0x9E3779B97F4A7C15U);
    return (struct tr_philox){.key = {(uint32_t)mixed, (uint32_t)(mixed >> 32U)}};
}

void tr_philox_block(struct tr_philox key, const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key.key[0];
    uint32_t k1 = key.key[1];
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53U * c[0];
        const uint64_t b = (uint64_t)0xCD9E8D57U * c[2];
        const uint32_t c1 = c[1];
        const uint32_t c3 = c[3];
        c[0] = (uint32_t)(b >> 32U) ^ c1 ^ k0;
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32U) ^ c3 ^ k1;
        c[3] = (uint32_t)a;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    for (int i = 0; i < 4; i++) out[i] = c[i];
}

double tr_philox_uniform(struct tr_philox key, uint32_t token, uint32_t sample,
                         uint32_t prompt, uint32_t step)
{
    const uint32_t counter[4] = {token, sample, prompt, step};
    uint32_t word[4];
    tr_philox_block(key, counter, word);
    return (double)(word[0] >> 8U) * 0x1p-24;
}

/* The words of one stream in order, four to a block. */
struct words {
    struct tr_philox key;
    uint32_t stream, epoch;
    uint64_t next;
    uint32_t block[4];
};

static uint32_t word(struct words *w)
{
    const uint64_t block = w->next / 4;
    if (w->next % 4 == 0) {
        const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32U), w->stream,
                                     w->epoch};
        tr_philox_block(w->key, counter, w->block);
    }
    return w->block[w->next++ % 4];
}

/* Uniform in [0, range): multiply-shift, drawing again where it would be biased. */
static uint32_t bounded(struct words *w, uint32_t range)
{
    uint64_t m = (uint64_t)word(w) * range;
    if ((uint32_t)m < range) {
        const uint32_t reject = (uint32_t)(-range) % range;
        while ((uint32_t)m < reject) m = (uint64_t)word(w) * range;
    }
    return (uint32_t)(m >> 32U);
}

void tr_philox_permutation(struct tr_philox key, uint32_t stream, uint32_t epoch,
                           int64_t n, int64_t *out)
{
    struct words w = {.key = key, .stream = stream, .epoch = epoch};
    assert(n >= 0 && n <= UINT32_MAX);
    for (int64_t i = 0; i < n; i++) out[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t j = bounded(&w, (uint32_t)(i + 1));
        const int64_t x = out[i];
        out[i] = out[j];
        out[j] = x;
    }
}

void tr_philox_normal(struct tr_philox key, uint32_t tensor, int64_t n, double std,
                      float *out)
{
    const double turn = 6.283185307179586232;
    for (int64_t i = 0; i < n; i += 2) {
        const uint64_t pair = (uint64_t)i / 2;
        const uint32_t counter[4] = {(uint32_t)pair, (uint32_t)(pair >> 32U), tensor, 0};
        uint32_t x[4];
        tr_philox_block(key, counter, x);
        const double u = ((double)x[0] + 1.0) * 0x1p-32; /* (0, 1] */
        const double angle = turn * ((double)x[1] * 0x1p-32);
        const double radius = sqrt(-2.0 * tr_log(u)) * std;
        out[i] = (float)(radius * tr_cos(angle));
        if (i + 1 < n) out[i + 1] = (float)(radius * tr_sin(angle));
    }
}

/* mat.c - between row-major [N, K] and panels of 16 outputs. */
#include "kernels/mat.h"

#include <assert.h>
#include <string.h>

#include "kernels/product.h"

int64_t tr_mat_size(int64_t N, int64_t K)
{
    return (N + TR_LANES - 1) / TR_LANES * TR_LANES * K;
}

int64_t tr_mat_at(enum tr_math math, int64_t N, int64_t K, int64_t n, int64_t k)
{
    assert(n >= 0 && n < N && k >= 0 && k < K);
    if (math == TR_MATH_OPENBLAS) return n * K + k;
    return n / TR_LANES * K * TR_LANES + k * TR_LANES + n % TR_LANES;
}

uint16_t tr_bf16_round(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7FFFFFFFU) > 0x7F800000U)
        return (uint16_t)(bits >> 16 | 0x40U); /* quiet */
    return (uint16_t)((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

float tr_bf16_widen(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

static float load(const struct tr_mat *m, int64_t i)
{
    return m->dtype == TR_BF16 ? tr_bf16_widen(((const uint16_t *)m->at)[i])
                               : ((const float *)m->at)[i];
}

static void store(const struct tr_mat *m, int64_t i, float x)
{
    if (m->dtype == TR_BF16)
        ((uint16_t *)m->at)[i] = tr_bf16_round(x);
    else
        ((float *)m->at)[i] = x;
}

/* Between a matrix and a row-major copy; tile p is the outputs 16p .. 16p+15. */
struct move {
    const struct tr_mat *m;
    const float *from; /* pack */
    float *to;         /* unpack */
};

/* The distance in memory between (n, k) and (n, k + 1). */
static int64_t step(const struct tr_mat *m)
{
    return m->math == TR_MATH_OPENBLAS ? 1 : TR_LANES;
}

static void pack_tile(void *ctx, int64_t p, void *scratch)
{
    (void)scratch;
    const struct move *move = ctx;
    const struct tr_mat *m = move->m;
    const int64_t first = p * TR_LANES, panel = first * m->K;
    for (int64_t j = 0; j < TR_LANES; j++) {
        const int64_t n = first + j;
        const int64_t at = m->math == TR_MATH_OPENBLAS ? panel + j * m->K : panel + j;
        const float *row = n < m->N ? move->from + n * m->K : NULL;
        for (int64_t k = 0; k < m->K; k++) store(m, at + k * step(m), row ? row[k] : 0);
    }
}

static void unpack_tile(void *ctx, int64_t p, void *scratch)
{
    (void)scratch;
    const struct move *move = ctx;
    const struct tr_mat *m = move->m;
    const int64_t first = p * TR_LANES;
    for (int64_t n = first; n < first + TR_LANES && n < m->N; n++)
        tr_mat_row(m, n, move->to + n * m->K);
}

void tr_mat_pack(const struct tr_exec *ex, const float *w, const struct tr_mat *m)
{
    struct move move = {.m = m, .from = w};
    tr_team_run(ex->team, (m->N + TR_LANES - 1) / TR_LANES, pack_tile, &move);
}

void tr_mat_unpack(const struct tr_exec *ex, const struct tr_mat *m, float *w)
{
    struct move move = {.m = m, .to = w};
    tr_team_run(ex->team, (m->N + TR_LANES - 1) / TR_LANES, unpack_tile, &move);
}

void tr_mat_row(const struct tr_mat *m, int64_t n, float *out)
{
    if (m->K == 0) return;
    const int64_t at = tr_mat_at(m->math, m->N, m->K, n, 0);
    for (int64_t k = 0; k < m->K; k++) out[k] = load(m, at + k * step(m));
}

void tr_mat_row_add(const struct tr_mat *m, int64_t n, const float *x)
{
    assert(m->dtype == TR_F32);
    if (m->K == 0) return;
    float *row = (float *)m->at + tr_mat_at(m->math, m->N, m->K, n, 0);
    for (int64_t k = 0; k < m->K; k++) row[k * step(m)] += x[k];
}

enum { SPAN = 1 << 14 }; /* elements of an array that one tile rounds */

struct rounding {
    const float *x;
    int64_t n;
    uint16_t *to_bf16; /* one of the two */
    float *to_f32;
};

static void rounding_tile(void *ctx, int64_t tile, void *scratch)
{
    (void)scratch;
    const struct rounding *r = ctx;
    const int64_t end = (tile + 1) * SPAN < r->n ? (tile + 1) * SPAN : r->n;
    for (int64_t i = tile * SPAN; i < end; i++) {
        const uint16_t y = tr_bf16_round(r->x[i]);
        if (r->to_bf16)
            r->to_bf16[i] = y;
        else
            r->to_f32[i] = tr_bf16_widen(y);
    }
}

void tr_bf16_round_array(const struct tr_exec *ex, const float *x, int64_t n, uint16_t *y)
{
    struct rounding r = {.x = x, .n = n, .to_bf16 = y};
    tr_team_run(ex->team, (n + SPAN - 1) / SPAN, rounding_tile, &r);
}

void tr_bf16_through(const struct tr_exec *ex, const float *x, int64_t n, float *y)
{
    struct rounding r = {.x = x, .n = n, .to_f32 = y};
    tr_team_run(ex->team, (n + SPAN - 1) / SPAN, rounding_tile, &r);
}

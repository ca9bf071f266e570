/* attention_scalar.c - what one tile of attention computes, said plainly.
 *
 * This is the specification of kernels/attention.h in C: one query row after the other, one
 * key after the other, every sum in the order that the header states. The vector twins must
 * give these bits. */
#include <math.h>
#include <stddef.h>

#include "kernels/attention_ops.h"
#include "kernels/kernels.h"
#include "kernels/real.h"

enum { LANES = 16 };

/* The block of the tile's kv head that holds position `key`. */
static const float *block_of(const struct tr_attention_tile *t, int64_t key)
{
    return t->span->page[key / TR_PAGE] + t->offset;
}

static float key_at(const struct tr_attention_tile *t, int64_t key, int64_t d)
{
    int64_t place = key % TR_PAGE;
    return block_of(t, key)[(place / LANES * t->a->D + d) * LANES + place % LANES];
}

static const float *value_at(const struct tr_attention_tile *t, int64_t key)
{
    return block_of(t, key) + (TR_PAGE + key % TR_PAGE) * t->a->D;
}

static float score_at(const struct tr_attention_tile *t, const float *q, int64_t key)
{
    float s = 0;
    for (int64_t d = 0; d < t->a->D; d++) s = fmaf(q[d], key_at(t, key, d), s);
    return s * t->a->scale;
}

static float fold(float lane[LANES])
{
    for (int w = LANES / 2; w > 0; w /= 2)
        for (int j = 0; j < w; j++) lane[j] += lane[j + w];
    return lane[0];
}

/* Keys begin .. end-1, one block, into the running maximum m, the lanes l and the row o. */
static void take_block(const struct tr_attention_tile *t, const float *q, int64_t begin,
                       int64_t end, float *m, float l[LANES], float *o)
{
    float s[TR_PAGE];
    float top = *m;
    for (int64_t k = begin; k < end; k++) {
        s[k - begin] = score_at(t, q, k);
        if (s[k - begin] > top) top = s[k - begin];
    }
    const float alpha = *m == -INFINITY ? 0 : tr_expf(*m - top);
    for (int j = 0; j < LANES; j++) l[j] *= alpha;
    for (int64_t d = 0; d < t->a->D; d++) o[d] *= alpha;
    for (int64_t k = begin; k < end; k++) {
        const float e = tr_expf(s[k - begin] - top);
        const float *v = value_at(t, k);
        l[k % LANES] += e;
        for (int64_t d = 0; d < t->a->D; d++) o[d] = fmaf(e, v[d], o[d]);
    }
    *m = top;
}

static void forward_row(const struct tr_attention_tile *t, const float *q, int64_t p,
                        float *o, float *lse)
{
    float m = -INFINITY, l[LANES] = {0};
    for (int64_t d = 0; d < t->a->D; d++) o[d] = 0;
    for (int64_t begin = 0; begin <= p; begin += TR_PAGE) {
        const int64_t end = begin + TR_PAGE <= p ? begin + TR_PAGE : p + 1;
        take_block(t, q, begin, end, &m, l, o);
    }
    const float sum = fold(l);
    for (int64_t d = 0; d < t->a->D; d++) o[d] /= sum;
    if (lse) *lse = m + tr_logf(sum);
}

/* Which row of [T, H] is query position p, head h. */
static int64_t row_at(const struct tr_attention_tile *t, int64_t p, int64_t h)
{
    return (t->span->row + p - t->span->first) * t->a->H + h;
}

static void forward(const struct tr_attention_tile *t, const float *q, float *o,
                    float *lse, void *scratch)
{
    (void)scratch;
    for (int64_t p = t->query; p < t->query + t->queries; p++)
        for (int64_t h = t->head; h < t->head + t->heads; h++) {
            const int64_t row = row_at(t, p, h);
            forward_row(t, q + row * t->a->D, p, o + row * t->a->D,
                        lse ? lse + row : NULL);
        }
}

static float delta_of(const float *d_o, const float *o, int64_t D)
{
    float lane[LANES] = {0};
    for (int64_t d = 0; d < D; d++) lane[d % LANES] = fmaf(d_o[d], o[d], lane[d % LANES]);
    return fold(lane);
}

/* One query row against the tile's keys. dk and dv point at the rows of key 0. */
static void backward_row(const struct tr_attention_tile *t,
                         const struct tr_attention_grad *g, int64_t row, int64_t p,
                         float *dk, float *dv)
{
    const int64_t D = t->a->D, step = t->a->Kv * D;
    const float *q = g->q + row * D, *d_o = g->d_o + row * D;
    const float delta = delta_of(d_o, g->o + row * D, D);
    float *dq = g->dq ? g->dq + row * D : NULL;
    for (int64_t d = 0; dq && d < D; d++) dq[d] = 0;
    for (int64_t k = t->key; k < t->key + t->keys && k <= p; k++) {
        const float *v = value_at(t, k);
        const float P = tr_expf(score_at(t, q, k) - g->lse[row]);
        float dp = 0;
        for (int64_t d = 0; d < D; d++) dp = fmaf(d_o[d], v[d], dp);
        const float ds = (P * (dp - delta)) * t->a->scale;
        for (int64_t d = 0; dq && d < D; d++) dq[d] = fmaf(ds, key_at(t, k, d), dq[d]);
        for (int64_t d = 0; dk && d < D; d++) {
            dk[k * step + d] = fmaf(ds, q[d], dk[k * step + d]);
            dv[k * step + d] = fmaf(P, d_o[d], dv[k * step + d]);
        }
    }
}

static void backward(const struct tr_attention_tile *t, const struct tr_attention_grad *g,
                     void *scratch)
{
    const int64_t D = t->a->D, step = t->a->Kv * D;
    const int64_t group = t->a->H / t->a->Kv;
    const int64_t zero = t->span->row * step + t->head / group * D; /* of key 0 */
    float *dk = g->dk ? g->dk + zero : NULL, *dv = g->dk ? g->dv + zero : NULL;
    (void)scratch;
    for (int64_t k = t->key; dk && k < t->key + t->keys; k++)
        for (int64_t d = 0; d < D; d++) dk[k * step + d] = dv[k * step + d] = 0;
    for (int64_t h = t->head; h < t->head + t->heads; h++)
        for (int64_t p = t->query; p < t->query + t->queries; p++)
            backward_row(t, g, row_at(t, p, h), p, dk, dv);
}

const struct tr_attention_ops TR_SCALAR(tr_attention_scalar) = {forward, backward};

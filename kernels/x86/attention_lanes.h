/* attention_lanes.h - the tiles of attention for vectors of 16 lanes.
 *
 * What it is for. One source for two instruction sets: attention_avx2.c and attention_avx512.c
 * include it. The order is that of kernels/attention.h; lanes lie across keys or across d, rows
 * are (query, head) pairs, and no chain is ever cut.
 *
 * Forward. The rows of a tile go through the key blocks together, in three steps for each
 * block: scores of all rows (the block's K stays in the cache), soft-max of each row, outputs
 * of all rows (the block's V stays). Rows are ordered by query, then head: with three heads to a
 * kv head, the three rows of a tile of chains share their query and so their last key.
 *
 * Backward. A block is 64 queries of one head against 64 keys. Scores and dP want K and V with
 * keys side by side, dq wants K with d side by side; pages have K the first way and V the
 * second, so the other two are transposed once for each key block.
 *
 * Widths in scratch are rounded up to a multiple of 16 (`wide`); what lies past D is zero or
 * never looked at. */
#ifndef TR_KERNELS_X86_ATTENTION_LANES_H
#define TR_KERNELS_X86_ATTENTION_LANES_H

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "kernels/attention_ops.h"
#include "kernels/kernels.h"
#include "kernels/real.h"
#include "kernels/x86/chain.h"

enum { LANES = 16, GROUPS = TR_PAGE / LANES };

/* For each row the part of the block's 64 keys (or queries) that it takes: [begin, end). */
struct ranges {
    int64_t begin[TR_PAGE], end[TR_PAGE];
};

static int64_t least(int64_t x, int64_t y)
{
    return x < y ? x : y;
}

static int64_t most(int64_t x, int64_t y)
{
    return x > y ? x : y;
}

static int64_t round_up(int64_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

/* Rows of products over [0, n), from +0. */
CHAIN_INLINE void chain_fresh(const struct chain *ch, int64_t rows, int64_t n)
{
    for (int64_t r = 0, h; r < rows; r += h) {
        h = chain_height(rows - r);
        chain_rows(ch, true, r, h, 0, n);
    }
}

/* Rows of products, each over its range; both ends ascend with the row. What all rows of a
 * strip have goes together; what some have before and after it goes row by row. */
CHAIN_INLINE void chain_ranges(const struct chain *ch, int64_t rows,
                               const struct ranges *at)
{
    for (int64_t r = 0, h; r < rows; r += h) {
        h = chain_height(rows - r);
        int64_t lo = at->begin[r + h - 1], hi = at->end[r];
        if (lo > hi) lo = hi = at->end[r + h - 1];
        for (int64_t i = r; i < r + h; i++)
            if (at->begin[i] < lo)
                chain_strip(ch, 1, 2, false, i, at->begin[i], least(lo, at->end[i]));
        if (lo < hi) chain_rows(ch, false, r, h, lo, hi);
        for (int64_t i = r; i < r + h; i++)
            if (hi < at->end[i])
                chain_strip(ch, 1, 2, false, i, most(hi, at->begin[i]), at->end[i]);
    }
}

/* c [rows][64] = a [rows, D] against keys (or values) that lie side by side [4][D][16]. */
static void score_block(const float *a, int64_t a_row, int64_t rows, const float *keys,
                        int64_t D, int64_t groups, float *c)
{
    struct chain ch = {.a = a,
                       .b = keys,
                       .a_row = a_row,
                       .a_step = 1,
                       .b_vec = D * LANES,
                       .b_step = LANES,
                       .c_row = TR_PAGE,
                       .vecs = groups};
    ch.c = c;
    chain_fresh(&ch, rows, D);
}

/* c, rows c_row apart, continues over keys: weight [rows][64] times rows x, x_row apart. Both
 * have `wide` columns. */
static void sum_keys(const float *weight, int64_t rows, const struct ranges *at,
                     const float *x, int64_t x_row, float *c, int64_t c_row, int64_t wide)
{
    struct chain ch = {.a = weight,
                       .b = x,
                       .a_row = TR_PAGE,
                       .a_step = 1,
                       .b_vec = LANES,
                       .b_step = x_row,
                       .c_row = c_row,
                       .vecs = wide / LANES};
    ch.c = c;
    chain_ranges(&ch, rows, at);
}

/* c [keys][wide] continues over queries: weight [64 queries][64 keys], rows x [64][wide]. */
static void sum_queries(const float *weight, int64_t keys, const struct ranges *at,
                        const float *x, float *c, int64_t wide)
{
    struct chain ch = {.a = weight,
                       .b = x,
                       .a_row = 1,
                       .a_step = TR_PAGE,
                       .b_vec = LANES,
                       .b_step = wide,
                       .c_row = wide,
                       .vecs = wide / LANES};
    ch.c = c;
    chain_ranges(&ch, keys, at);
}

static const float *block_of(const struct tr_attention_tile *t, int64_t key)
{
    return t->span->page[key / TR_PAGE] + t->offset;
}

/* Which row of [T, H] is query position p, head h. */
static int64_t row_at(const struct tr_attention_tile *t, int64_t p, int64_t h)
{
    return (t->span->row + p - t->span->first) * t->a->H + h;
}

/* A row of D floats into one of `wide`, zeros after it. */
static void widen_row(const float *x, int64_t D, int64_t wide, float *y)
{
    int64_t d = 0;
    for (; d + LANES <= D; d += LANES) v16_store(y + d, v16_load(x + d));
    for (; d < D; d++) y[d] = x[d];
    for (; d < wide; d++) y[d] = 0;
}

static void zero_rows(float *x, int64_t rows, int64_t step, int64_t wide)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < wide; d += LANES) v16_store(x + i * step + d, v16_zero());
}

/* ---- forward ---------------------------------------------------------------------------- */

/* The rows of a forward tile, in its scratch. */
struct rows {
    int64_t n, wide;
    float *q, *o; /* [n][wide] */
    float *s;     /* [n][64], scores, then exp(s - m) */
    float *l;     /* [n][16] */
    float *m;     /* [n] */
    float *v;     /* [64][wide], values of a width that is no multiple of 16 */
};

static struct rows rows_begin(const struct tr_attention_tile *t, const float *q,
                              float *scratch)
{
    struct rows r = {.n = t->queries * t->heads, .wide = round_up(t->a->D)};
    r.q = scratch;
    r.o = r.q + r.n * r.wide;
    r.s = r.o + r.n * r.wide;
    r.l = r.s + r.n * TR_PAGE;
    r.m = r.l + r.n * LANES;
    r.v = r.m + round_up(r.n);
    for (int64_t i = 0; i < r.n; i++) {
        const int64_t row = row_at(t, t->query + i / t->heads, t->head + i % t->heads);
        widen_row(q + row * t->a->D, t->a->D, r.wide, r.q + i * r.wide);
        r.m[i] = -INFINITY;
    }
    zero_rows(r.o, r.n, r.wide, r.wide);
    zero_rows(r.l, r.n, LANES, LANES);
    return r;
}

/* Row i's 64 raw scores, of which the first `keys` count, into weights exp(s - m'). */
static void take_scores(const struct rows *r, int64_t i, int64_t keys, float scale)
{
    const int64_t groups = (keys + LANES - 1) / LANES;
    float *s = r->s + i * TR_PAGE, *l = r->l + i * LANES, *o = r->o + i * r->wide;
    const float m = r->m[i];
    v16 top = v16_set1(m);
    for (int64_t k = keys; k < groups * LANES; k++) s[k] = -INFINITY; /* weight +0 */
    for (int64_t g = 0; g < groups; g++) {
        const v16 x = v16_mul(v16_load(s + g * LANES), v16_set1(scale));
        v16_store(s + g * LANES, x);
        top = v16_max(x, top); /* a NaN in x leaves top, as in the reference */
    }
    r->m[i] = v16_fold_max(top);
    const float alpha = m == -INFINITY ? 0 : tr_expf(m - r->m[i]);
    v16 sum = v16_mul(v16_load(l), v16_set1(alpha));
    for (int64_t g = 0; g < groups; g++) {
        const v16 e = v16_exp(v16_sub(v16_load(s + g * LANES), v16_set1(r->m[i])));
        v16_store(s + g * LANES, e);
        sum = v16_add(sum, e);
    }
    v16_store(l, sum);
    if (alpha == 1) return; /* times 1 is nothing */
    for (int64_t d = 0; d < r->wide; d += LANES)
        v16_store(o + d, v16_mul(v16_load(o + d), v16_set1(alpha)));
}

/* Values of a block as rows that can be read 16 at a time. */
static const float *values_of(const struct rows *r, const float *block, int64_t D,
                              int64_t keys)
{
    const float *v = block + TR_PAGE * D;
    if (D == r->wide) return v;
    for (int64_t k = 0; k < keys; k++)
        widen_row(v + k * D, D, r->wide, r->v + k * r->wide);
    return r->v;
}

/* All rows that see key `begin` or later, against the block of 64 keys that starts there. */
static void forward_block(const struct tr_attention_tile *t, const struct rows *all,
                          int64_t begin)
{
    struct rows r = *all;
    struct ranges at;
    const int64_t D = t->a->D, skip = most(0, begin - t->query) * t->heads;
    const int64_t keys = least(TR_PAGE, t->query + t->queries - begin);
    const float *block = block_of(t, begin);
    r.n -= skip;
    r.q += skip * r.wide;
    r.o += skip * r.wide;
    r.s += skip * TR_PAGE;
    r.l += skip * LANES;
    r.m += skip;
    score_block(r.q, r.wide, r.n, block, D, (keys + LANES - 1) / LANES, r.s);
    for (int64_t i = 0; i < r.n; i++) {
        const int64_t p = t->query + (skip + i) / t->heads;
        at.begin[i] = 0;
        at.end[i] = least(TR_PAGE, p - begin + 1);
        take_scores(&r, i, at.end[i], t->a->scale);
    }
    sum_keys(r.s, r.n, &at, values_of(&r, block, D, keys), r.wide, r.o, r.wide, r.wide);
}

static void forward(const struct tr_attention_tile *t, const float *q, float *o,
                    float *lse, void *scratch)
{
    const int64_t D = t->a->D;
    const struct rows r = rows_begin(t, q, scratch);
    for (int64_t begin = 0; begin < t->query + t->queries; begin += TR_PAGE)
        forward_block(t, &r, begin);
    for (int64_t i = 0; i < r.n; i++) {
        const int64_t row = row_at(t, t->query + i / t->heads, t->head + i % t->heads);
        const float sum = v16_fold(v16_load(r.l + i * LANES));
        float *x = r.o + i * r.wide;
        for (int64_t d = 0; d < r.wide; d += LANES)
            v16_store(x + d, v16_div(v16_load(x + d), v16_set1(sum)));
        memcpy(o + row * D, x, (size_t)D * sizeof *o);
        if (lse) lse[row] = r.m[i] + tr_logf(sum);
    }
}

/* ---- backward --------------------------------------------------------------------------- */

/* What a backward tile holds of the block at hand, in its scratch: rows of queries and keys
 * [64][wide], weights [64 queries][64 keys]. */
struct square {
    int64_t D, wide;
    int64_t query, queries, key, keys; /* of the block */
    float *q, *d_o;                    /* rows by query */
    float *dq;       /* rows by query, dq_step apart: the result itself, */
    int64_t dq_step; /* or narrow when D is no multiple of 16 */
    float *narrow;
    float *k_rows, *dk, *dv; /* rows by key */
    float *v_cols;           /* [4][D][16] */
    float *P, *ds;           /* [64][64] */
    const float *k_cols;     /* [4][D][16], borrows the page */
};

static struct square square_begin(const struct tr_attention_tile *t, float *scratch)
{
    struct square b = {.D = t->a->D, .wide = round_up(t->a->D)};
    float **part[] = {&b.q, &b.d_o, &b.narrow, &b.k_rows, &b.dk, &b.dv, &b.v_cols};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++, scratch += TR_PAGE * b.wide)
        *part[i] = scratch;
    b.P = scratch;
    b.ds = b.P + (ptrdiff_t)TR_PAGE * TR_PAGE;
    return b;
}

/* Turns 16 columns (keys) of D into rows, and rows into columns. */
static void load_keys(struct square *b, const struct tr_attention_tile *t, int64_t key)
{
    const int64_t D = b->D;
    b->key = key;
    b->keys = least(TR_PAGE, t->key + t->keys - key);
    b->k_cols = block_of(t, key);
    const float *v = b->k_cols + TR_PAGE * D;
    for (int64_t k = 0; k < b->keys; k++) {
        const int64_t column = k / LANES * D * LANES + k % LANES;
        for (int64_t d = 0; d < D; d++) {
            b->k_rows[k * b->wide + d] = b->k_cols[column + d * LANES];
            b->v_cols[column + d * LANES] = v[k * D + d];
        }
        for (int64_t d = D; d < b->wide; d++) b->k_rows[k * b->wide + d] = 0;
    }
    zero_rows(b->dk, b->keys, b->wide, b->wide);
    zero_rows(b->dv, b->keys, b->wide, b->wide);
}

static void load_queries(struct square *b, const struct tr_attention_tile *t,
                         const struct tr_attention_grad *g, int64_t head, int64_t query)
{
    const int64_t first = row_at(t, query, head) * b->D, step = t->a->H * b->D;
    b->query = query;
    b->queries = least(TR_PAGE, t->query + t->queries - query);
    for (int64_t i = 0; i < b->queries; i++) {
        widen_row(g->q + first + i * step, b->D, b->wide, b->q + i * b->wide);
        widen_row(g->d_o + first + i * step, b->D, b->wide, b->d_o + i * b->wide);
    }
    if (!g->dq) return;
    b->dq = b->D == b->wide ? g->dq + first : b->narrow;
    b->dq_step = b->D == b->wide ? step : b->wide;
    if (b->key == 0)
        zero_rows(b->dq, b->queries, b->dq_step, b->wide);
    else if (b->dq == b->narrow)
        for (int64_t i = 0; i < b->queries; i++)
            widen_row(g->dq + first + i * step, b->D, b->wide, b->dq + i * b->wide);
}

static void store_narrow(const struct square *b, const struct tr_attention_tile *t,
                         const struct tr_attention_grad *g, int64_t head)
{
    for (int64_t i = 0; i < b->queries; i++)
        memcpy(g->dq + row_at(t, b->query + i, head) * b->D, b->narrow + i * b->wide,
               (size_t)b->D * sizeof *b->narrow);
}

/* Sum of d_o * o of one row, 16 lanes over d. */
static float delta_of(const float *d_o, const float *o, int64_t D)
{
    int64_t d = 0;
    v16 sum = v16_zero();
    for (; d + LANES <= D; d += LANES)
        sum = v16_fma(v16_load(d_o + d), v16_load(o + d), sum);
    if (d < D) {
        float lane[LANES];
        v16_store(lane, sum);
        for (; d < D; d++) lane[d % LANES] = fmaf(d_o[d], o[d], lane[d % LANES]);
        sum = v16_load(lane);
    }
    return v16_fold(sum);
}

/* Raw scores in P and dP in ds become P and ds. */
static void take_gradients(const struct square *b, const struct tr_attention_tile *t,
                           const struct tr_attention_grad *g, int64_t head)
{
    const v16 scale = v16_set1(t->a->scale);
    const int64_t groups = (b->keys + LANES - 1) / LANES;
    for (int64_t i = 0; i < b->queries; i++) {
        const int64_t row = row_at(t, b->query + i, head);
        const v16 lse = v16_set1(g->lse[row]);
        const v16 delta =
            v16_set1(delta_of(b->d_o + i * b->wide, g->o + row * b->D, b->D));
        float *P = b->P + i * TR_PAGE, *ds = b->ds + i * TR_PAGE;
        for (int64_t k = 0; k < groups * LANES; k += LANES) {
            const v16 p = v16_exp(v16_sub(v16_mul(v16_load(P + k), scale), lse));
            const v16 x = v16_mul(p, v16_sub(v16_load(ds + k), delta));
            v16_store(P + k, p);
            v16_store(ds + k, v16_mul(x, scale));
        }
    }
}

/* 64 queries of one head against the keys of b. */
static void backward_block(struct square *b, const struct tr_attention_tile *t,
                           const struct tr_attention_grad *g, int64_t head)
{
    struct ranges by_query, by_key;
    const int64_t groups = (b->keys + LANES - 1) / LANES, ahead = b->query - b->key;
    for (int64_t i = 0; i < TR_PAGE; i++) {
        by_query.begin[i] = 0;
        by_query.end[i] = least(b->keys, ahead + i + 1);
        by_key.begin[i] = most(0, i - ahead);
        by_key.end[i] = b->queries;
    }
    score_block(b->q, b->wide, b->queries, b->k_cols, b->D, groups, b->P);
    score_block(b->d_o, b->wide, b->queries, b->v_cols, b->D, groups, b->ds);
    take_gradients(b, t, g, head);
    if (g->dq) {
        sum_keys(b->ds, b->queries, &by_query, b->k_rows, b->wide, b->dq, b->dq_step,
                 b->wide);
        if (b->dq == b->narrow) store_narrow(b, t, g, head);
    }
    if (g->dk) {
        sum_queries(b->ds, b->keys, &by_key, b->q, b->dk, b->wide);
        sum_queries(b->P, b->keys, &by_key, b->d_o, b->dv, b->wide);
    }
}

static void store_keys(const struct square *b, const struct tr_attention_tile *t,
                       const struct tr_attention_grad *g)
{
    const int64_t D = b->D, kv = t->head / (t->a->H / t->a->Kv);
    for (int64_t k = 0; k < b->keys; k++) {
        const int64_t row = (t->span->row + b->key + k) * t->a->Kv + kv;
        memcpy(g->dk + row * D, b->dk + k * b->wide, (size_t)D * sizeof *g->dk);
        memcpy(g->dv + row * D, b->dv + k * b->wide, (size_t)D * sizeof *g->dv);
    }
}

/* Key blocks outermost: dq's chains ascend over keys, and within a block dk's and dv's over
 * (head, query). */
static void backward(const struct tr_attention_tile *t, const struct tr_attention_grad *g,
                     void *scratch)
{
    struct square b = square_begin(t, scratch);
    for (int64_t key = t->key; key < t->key + t->keys; key += TR_PAGE) {
        load_keys(&b, t, key);
        for (int64_t h = t->head; h < t->head + t->heads; h++)
            for (int64_t query = most(t->query, key); query < t->query + t->queries;
                 query += TR_PAGE) {
                load_queries(&b, t, g, h, query);
                backward_block(&b, t, g, h);
            }
        if (g->dk) store_keys(&b, t, g);
    }
}

#endif

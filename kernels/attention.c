/* attention.c - cuts attention into tiles and gives them to the team.
 *
 * Nothing here touches a bit of a result: the arithmetic is in the tiles (attention_ops.h), and
 * how a call is cut is chosen for speed alone.
 *
 * Forward. A tile is some queries of one span and the query heads of one kv head, so that a key
 * or value that was read serves the whole group. When that makes fewer tiles than threads (one
 * sequence, decoding), each query head is a tile of its own. (With 3 tiles on 2 threads that
 * was 1.3 times slower than leaving one thread idle for a third of the time.)
 *
 * Backward. Whole: a tile is a (span, kv head), which computes scores and their gradients once
 * for dq, dk and dv: 5 products. Split: tiles of 64 queries for dq and tiles of 64 keys for dk
 * and dv, which compute the scores twice: 7 products, but any number of threads stays busy.
 *
 * Tiles with the most keys come first within a span, so that the last ones claimed are short. */
#include "kernels/attention.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#include "kernels/attention_ops.h"
#include "kernels/kernels.h"

enum { LANES = 16 };

/* One call, as every tile sees it. */
struct call {
    const struct tr_attention_ops *ops;
    const struct tr_attention *a;
    const struct tr_span *span;
    int64_t S, offset;
    int64_t heads, queries; /* of a tile */
    const float *q;
    float *o, *lse;
    struct tr_attention_grad grad;
};

static int64_t ceil_div(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

int64_t tr_page_floats(const struct tr_attention *a)
{
    return a->Kv * 2 * TR_PAGE * a->D;
}

static void check(const struct tr_attention *a, const struct tr_span *span, int64_t S)
{
    assert(a->D >= 1 && a->D <= 512 && a->Kv >= 1 && a->H >= a->Kv && a->H % a->Kv == 0);
    for (int64_t s = 0; s < S; s++)
        assert(span[s].first >= 0 && span[s].count >= 0 && span[s].row >= 0);
}

/* Finds tile number *tile among the spans, each cut into ceil(count / unit) * per tiles: the
 * span is returned and *tile becomes the number within it. */
static const struct tr_span *find_span(const struct call *c, int64_t unit, int64_t per,
                                       int64_t *tile)
{
    const struct tr_span *s = c->span;
    for (int64_t n = ceil_div(s->count, unit) * per; *tile >= n;
         n = ceil_div(s->count, unit) * per) {
        *tile -= n;
        s++;
    }
    return s;
}

static int64_t count_tiles(const struct call *c, int64_t unit, int64_t per)
{
    int64_t n = 0;
    for (int64_t s = 0; s < c->S; s++) n += ceil_div(c->span[s].count, unit) * per;
    return n;
}

static int64_t least(int64_t x, int64_t y)
{
    return x < y ? x : y;
}

/* Where the block of the kv head of query head `head` begins in a page. */
static int64_t block_offset(const struct call *c, int64_t head)
{
    return c->offset + head / (c->a->H / c->a->Kv) * 2 * TR_PAGE * c->a->D;
}

static void forward_tile(void *ctx, int64_t n, void *scratch)
{
    const struct call *c = ctx;
    const int64_t per = c->a->H / c->heads;
    const struct tr_span *s = find_span(c, c->queries, per, &n);
    const int64_t block = ceil_div(s->count, c->queries) - 1 - n / per;
    const int64_t begin = block * c->queries;
    const struct tr_attention_tile t = {
        .a = c->a,
        .span = s,
        .offset = block_offset(c, n % per * c->heads),
        .head = n % per * c->heads,
        .heads = c->heads,
        .query = s->first + begin,
        .queries = least(c->queries, s->count - begin),
    };
    c->ops->forward(&t, c->q, c->o, c->lse, scratch);
}

void tr_attention_forward(const struct tr_exec *ex, const struct tr_attention *a,
                          const struct tr_span *span, int64_t S, int64_t offset,
                          const float *q, float *o, float *lse)
{
    const int64_t group = a->H / a->Kv;
    struct call c = {
        .ops = ex->k->attention, .a = a, .span = span, .S = S, .offset = offset, .q = q};
    check(a, span, S);
    c.o = o;
    c.lse = lse;
    c.heads = group > TR_TILE_ROWS ? 1 : group;
    c.queries = TR_TILE_ROWS / c.heads;
    const int threads = tr_team_threads(ex->team);
    if (count_tiles(&c, c.queries, a->H / c.heads) < threads) {
        c.heads = 1;
        c.queries = TR_TILE_ROWS;
    }
    tr_team_run(ex->team, count_tiles(&c, c.queries, a->H / c.heads), forward_tile, &c);
}

/* A tile of the backward pass: what it has no part in is NULL in its own copy of grad. */
static void backward_part(const struct call *c, const struct tr_attention_tile *part,
                          bool q, bool kv, void *scratch)
{
    struct tr_attention_tile t = *part;
    struct tr_attention_grad g = c->grad;
    t.a = c->a;
    t.offset = block_offset(c, t.head);
    if (!q) g.dq = NULL;
    if (!kv) g.dk = g.dv = NULL;
    c->ops->backward(&t, &g, scratch);
}

static void whole_tile(void *ctx, int64_t n, void *scratch)
{
    const struct call *c = ctx;
    const struct tr_span *s = &c->span[n / c->a->Kv];
    const struct tr_attention_tile t = {
        .span = s,
        .head = n % c->a->Kv * c->heads,
        .heads = c->heads,
        .queries = s->count,
        .keys = s->count,
    };
    backward_part(c, &t, true, true, scratch);
}

/* Of each kv head and block of 64 positions two tiles: its queries' dq and its keys' dk, dv.
 * The k-th heaviest of both come together: the last queries and the first keys. */
static void split_tile(void *ctx, int64_t n, void *scratch)
{
    const struct call *c = ctx;
    const int64_t per = 2 * c->a->Kv;
    const struct tr_span *s = find_span(c, TR_PAGE, per, &n);
    const int64_t last = ceil_div(s->count, TR_PAGE) - 1, block = n / per;
    const int64_t head = n % per / 2 * c->heads;
    struct tr_attention_tile t = {.span = s, .head = head, .heads = c->heads};
    if (n % 2) {
        t.query = t.key = block * TR_PAGE;
        t.queries = s->count - t.query;
        t.keys = least(TR_PAGE, s->count - t.key);
    } else {
        t.query = (last - block) * TR_PAGE;
        t.queries = least(TR_PAGE, s->count - t.query);
        t.keys = t.query + t.queries;
    }
    backward_part(c, &t, n % 2 == 0, n % 2, scratch);
}

/* Are whole tiles done sooner? At worst the largest is claimed when all others are done. */
static bool is_whole_faster(const struct call *c, int threads)
{
    double all = 0, largest = 0;
    for (int64_t s = 0; s < c->S; s++) {
        const double work = (double)c->span[s].count * (double)c->span[s].count;
        all += work * (double)c->a->Kv;
        if (work > largest) largest = work;
    }
    return (all - largest) / threads + largest <= 7.0 / 5.0 * all / threads;
}

/* NOLINTNEXTLINE(readability-function-size): seven arrays belong to one pass */
void tr_attention_backward(const struct tr_exec *ex, const struct tr_attention *a,
                           const struct tr_span *span, int64_t S, int64_t offset,
                           const float *q, const float *o, const float *lse,
                           const float *d_o, float *dq, float *dk, float *dv)
{
    struct call c = {.ops = ex->k->attention,
                     .a = a,
                     .span = span,
                     .S = S,
                     .offset = offset,
                     .heads = a->H / a->Kv,
                     .grad = {.q = q, .o = o, .lse = lse, .d_o = d_o}};
    c.grad.dq = dq;
    c.grad.dk = dk;
    c.grad.dv = dv;
    check(a, span, S);
    for (int64_t s = 0; s < S; s++) assert(span[s].first == 0);
    if (is_whole_faster(&c, tr_team_threads(ex->team)))
        tr_team_run(ex->team, S * a->Kv, whole_tile, &c);
    else
        tr_team_run(ex->team, count_tiles(&c, TR_PAGE, 2 * a->Kv), split_tile, &c);
}

/* Stores: a tile is up to 64 tokens of one span. */
struct store {
    struct call c;
    const float *k, *v;
};

/* Token `row` is the key at `position`: one kv head's K row goes into a column of its group of
 * 16, its V row stays a row. */
static void store_token(const struct store *st, const struct tr_span *s, int64_t position)
{
    const int64_t D = st->c.a->D, heads = st->c.a->Kv, place = position % TR_PAGE;
    const int64_t row = s->row + position - s->first;
    float *block = s->page[position / TR_PAGE] + st->c.offset;
    for (int64_t h = 0; h < heads; h++, block += D * 2 * TR_PAGE) {
        const int64_t from = (row * heads + h) * D;
        const float *k = st->k + from, *v = st->v + from;
        float *key = block + place / LANES * D * LANES + place % LANES;
        float *value = block + (TR_PAGE + place) * D;
        for (int64_t d = 0; d < D; d++) {
            key[d * LANES] = k[d];
            value[d] = v[d];
        }
    }
}

static void store_tile(void *ctx, int64_t n, void *scratch)
{
    const struct store *st = ctx;
    const struct tr_span *s = find_span(&st->c, TR_PAGE, 1, &n);
    const int64_t end = least(s->count, (n + 1) * TR_PAGE);
    (void)scratch;
    for (int64_t i = n * TR_PAGE; i < end; i++) store_token(st, s, s->first + i);
}

void tr_kv_store(const struct tr_exec *ex, const struct tr_attention *a,
                 const struct tr_span *span, int64_t S, int64_t offset, const float *k,
                 const float *v)
{
    struct store st = {.c = {.a = a, .span = span, .S = S, .offset = offset}, k, v};
    check(a, span, S);
    tr_team_run(ex->team, count_tiles(&st.c, TR_PAGE, 1), store_tile, &st);
}

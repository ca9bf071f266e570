/* sample.c - selection by threshold.
 *
 * Logits are ordered through their bits: an unsigned key that ascends with the float (NaN first
 * made -Inf). The c-th largest key is found by three passes of counting (11, 11 and 10 bits), so
 * the vocabulary is never sorted; top-p sorts only as many of the largest as it needs, in
 * portions of 64, 512, 4096, ... */
#include "kernels/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/vector_ops.h"

enum { BINS = 2048 };

/* The caller's scratch: V * 12 bytes. */
struct parts {
    float *e;      /* [V] exp(z - M), 0 where not kept */
    int32_t *some; /* [V] ids being sorted */
    uint8_t *seen; /* [V] */
};

static uint32_t key_of(float z)
{
    uint32_t u;
    memcpy(&u, &z, sizeof u);
    return u & 0x80000000U ? ~u : u | 0x80000000U;
}

static void penalise(float penalty, float *z, int64_t V, const int32_t *history,
                     int64_t n, uint8_t *seen)
{
    memset(seen, 0, (size_t)V);
    for (int64_t i = 0; i < n; i++) {
        const int32_t id = history[i];
        if (id < 0 || id >= V || seen[id]) continue;
        seen[id] = 1;
        z[id] = z[id] < 0.0F ? z[id] * penalty : z[id] / penalty;
    }
}

/* Of the keys that have `prefix` above bit `shift + bits`, counts each value of the next bits;
 * finds the value that the rank-th largest has and takes those above it off the rank. */
static uint32_t narrow(const float *z, int64_t V, uint32_t prefix, unsigned shift,
                       unsigned bits, int64_t *rank)
{
    int64_t count[BINS] = {0};
    const uint32_t mask = (1U << bits) - 1U;
    const uint64_t above = (uint64_t)prefix >> (shift + bits);
    for (int64_t v = 0; v < V; v++) {
        const uint32_t k = key_of(z[v]);
        if ((uint64_t)k >> (shift + bits) == above) count[(k >> shift) & mask]++;
    }
    uint32_t b = mask;
    for (; b > 0 && *rank > count[b]; b--) *rank -= count[b];
    return prefix | b << shift;
}

/* The key of the rank-th largest logit, 1 <= rank <= V. */
static uint32_t threshold(const float *z, int64_t V, int64_t rank)
{
    uint32_t key = narrow(z, V, 0, 21, 11, &rank);
    key = narrow(z, V, key, 10, 11, &rank);
    return narrow(z, V, key, 0, 10, &rank);
}

static void keep_top_k(float *z, int64_t V, int64_t k)
{
    if (k <= 0 || k >= V) return;
    const uint32_t least = threshold(z, V, k);
    for (int64_t v = 0; v < V; v++)
        if (key_of(z[v]) < least) z[v] = -INFINITY;
}

/* Larger probability first, then the lower id. qsort has no argument for the table. */
struct ranked {
    uint32_t key;
    int32_t id;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Sorts the ids of `portion` (room bytes 8 each) by rank; the keys are those of z. */
static void sort_portion(const float *z, struct ranked *portion, int64_t n)
{
    for (int64_t i = 0; i < n; i++) portion[i].key = key_of(z[portion[i].id]);
    qsort(portion, (size_t)n, sizeof *portion, by_rank);
}

/* Walks the tokens by rank until their sum reaches top_p of the total; what was not walked is
 * -Inf afterwards. portion has room for V entries and overlays `some` and `seen`. */
static void keep_top_p(float *z, int64_t V, double top_p, const float *e, double total,
                       struct ranked *portion)
{
    double sum = 0;
    uint64_t below = 1ULL << 32U; /* keys from here up have been walked */
    uint32_t last = 0;            /* the last one kept: its key and id */
    int32_t last_id = -1;
    for (int64_t want = 64; sum < top_p * total && below > 0; want *= 8) {
        const uint32_t least = want < V ? threshold(z, V, want) : 0;
        int64_t n = 0;
        for (int64_t v = 0; v < V; v++) {
            const uint32_t k = key_of(z[v]);
            if (k >= least && k < below) portion[n++].id = (int32_t)v;
        }
        sort_portion(z, portion, n);
        for (int64_t i = 0; i < n && (last_id < 0 || sum < top_p * total); i++) {
            sum += (double)e[portion[i].id];
            last = portion[i].key;
            last_id = portion[i].id;
        }
        below = least;
    }
    for (int64_t v = 0; v < V; v++) {
        const uint32_t k = key_of(z[v]);
        if (k < last || (k == last && v > last_id)) z[v] = -INFINITY;
    }
}

static double sum_of(const float *e, int64_t V)
{
    double sum = 0;
    for (int64_t v = 0; v < V; v++) sum += (double)e[v];
    return sum;
}

/* Leaves z with -Inf where not kept and p->e with exp(z - M), 0 there. */
static void prepare(const struct tr_vector_ops *ops, const struct tr_sampling *cfg,
                    float *z, int64_t V, const int32_t *history, int64_t n,
                    const struct parts *p)
{
    for (int64_t v = 0; v < V; v++)
        if (isnan(z[v])) z[v] = -INFINITY;
    if (cfg->repetition_penalty != 1.0F)
        penalise(cfg->repetition_penalty, z, V, history, n, p->seen);
    if (cfg->temperature == 0.0F) {
        keep_top_k(z, V, 1);
        bool found = false; /* of equals the lowest id stays */
        for (int64_t v = 0; v < V; v++) {
            if (found) z[v] = -INFINITY;
            found = found || z[v] > -INFINITY;
        }
    } else {
        if (cfg->temperature != 1.0F) ops->divide(z, V, cfg->temperature);
        keep_top_k(z, V, cfg->top_k);
    }
    const float M = ops->max(z, V);
    if (!(M > -INFINITY)) { /* nothing to choose from: the first token */
        for (int64_t v = 0; v < V; v++) p->e[v] = v == 0;
        return;
    }
    ops->exps(z, V, M, p->e);
    if (cfg->temperature != 0.0F && cfg->top_p < 1.0F) {
        keep_top_p(z, V, (double)cfg->top_p, p->e, sum_of(p->e, V),
                   (struct ranked *)(void *)p->some);
        for (int64_t v = 0; v < V; v++)
            if (z[v] == -INFINITY) p->e[v] = 0;
    }
}

static struct parts cut(void *scratch, int64_t V)
{
    float *e = scratch;
    return (struct parts){
        .e = e, .some = (int32_t *)(e + V), .seen = (uint8_t *)(e + 2 * V)};
}

int32_t tr_sample(const struct tr_exec *ex, const struct tr_sampling *cfg, float *z,
                  int64_t V, const int32_t *history, int64_t n, double u, void *scratch)
{
    const struct parts p = cut(scratch, V);
    prepare(ex->k->vector, cfg, z, V, history, n, &p);
    const double goal = u * sum_of(p.e, V);
    double sum = 0;
    int32_t last = 0;
    for (int64_t v = 0; v < V; v++) {
        if (!(p.e[v] > 0.0F)) continue;
        last = (int32_t)v;
        sum += (double)p.e[v];
        if (sum > goal) break;
    }
    return last;
}

int64_t tr_sample_kept(const struct tr_exec *ex, const struct tr_sampling *cfg, float *z,
                       int64_t V, const int32_t *history, int64_t n, void *scratch,
                       int32_t *kept, double *prob)
{
    const struct parts p = cut(scratch, V);
    prepare(ex->k->vector, cfg, z, V, history, n, &p);
    const double total = sum_of(p.e, V);
    int64_t count = 0;
    for (int64_t v = 0; v < V; v++) {
        if (!(z[v] > -INFINITY)) continue;
        kept[count] = (int32_t)v;
        prob[count++] = (double)p.e[v] / total;
    }
    return count;
}

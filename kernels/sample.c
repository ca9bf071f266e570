/* sample.c - selection by threshold, so the vocabulary is passed over and not sorted.
 *
 * The plan. A row is V logits and usually some tens of them matter. Passes over all V are
 * vector passes: the maximum of each block of logits, exp, and "which ids are at least this".
 * What they leave is sorted, by counting.
 *   top-k   k blocks have maxima of at least L, the k-th largest of the maxima; so the k-th
 *           largest logit is among the ids at or above L, of which there are little more than k.
 *   top-p   of n tokens, those below M + log((1 - top_p) * total / n) have less than 1 - top_p
 *           of the mass together: none of them is needed to reach top_p. Again, with what
 *           is left of that share and of n, while it halves the list.
 * Both bounds only say what cannot matter; which ids are kept is decided by the logits (k-th
 * largest) and by one f64 chain over the sorted list (top-p), as sample.h states it.
 *
 * The team is not used, so rows may be sampled in tiles of a team. */
#include "kernels/sample.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/real.h"
#include "kernels/vector_ops.h"

enum {
    DIGIT = 11, /* bits sorted by at a time: 11, 11 and 10 */
    BINS = 1 << DIGIT,
    FEW = 24,    /* so few are sorted by insertion */
    BLOCK = 256, /* logits to a maximum; less where k is large */
    LEAST_BLOCK = 16,
    BLOCKS_TO_K = 4, /* blocks wanted for each of k, so that L is a good bound */
};

/* The row at hand and the caller's scratch. id is ascending but where said otherwise. */
struct choice {
    const struct tr_vector_ops *ops;
    float *z; /* [V] */
    int64_t V;
    float M;
    float *e;       /* [V]: exp(z - M), of the ids in the list only */
    int32_t *id;    /* [V]: the list, n of them */
    int32_t *spare; /* [V] */
    int64_t n;
    float least;  /* the list is every id with z >= least */
    double total; /* chain of e over the list, ids ascending */
};

/* Ascends as the float descends; -0 is +0. */
static uint32_t key_of(float z)
{
    const float plus = z + 0.0F;
    uint32_t u;
    memcpy(&u, &plus, sizeof u);
    return u & 0x80000000U ? u : ~u & 0x7FFFFFFFU;
}

static void sort_few(const float *value, int32_t *id, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        const int32_t x = id[i];
        const uint32_t key = key_of(value[x]);
        int64_t k = i;
        for (; k > 0 && key_of(value[id[k - 1]]) > key; k--) id[k] = id[k - 1];
        id[k] = x;
    }
}

/* Sorts n ids by their values, descending; equals stay in the order they had. */
static void sort_ids(const float *value, int32_t *id, int64_t n, int32_t *spare)
{
    if (n <= FEW) {
        sort_few(value, id, n);
        return;
    }
    for (unsigned shift = 0; shift < 32; shift += DIGIT) {
        int32_t at[BINS] = {0};
        int32_t sum = 0;
        for (int64_t i = 0; i < n; i++) at[key_of(value[id[i]]) >> shift & (BINS - 1)]++;
        for (int b = 0; b < BINS; b++) {
            const int32_t count = at[b];
            at[b] = sum;
            sum += count;
        }
        for (int64_t i = 0; i < n; i++)
            spare[at[key_of(value[id[i]]) >> shift & (BINS - 1)]++] = id[i];
        memcpy(id, spare, (size_t)n * sizeof *id);
    }
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

/* At most the k-th largest logit: the k-th largest maximum of a block. -FLT_MAX when there are
 * too few blocks or logits to tell. */
static float bound_of_top_k(const struct choice *c, int64_t k)
{
    int64_t size = BLOCK;
    while (size > LEAST_BLOCK && c->V / size < BLOCKS_TO_K * k) size /= 4;
    const int64_t blocks =
        c->V / size; /* what is past the last full block may be left out */
    if (blocks < k) return -FLT_MAX;
    for (int64_t b = 0; b < blocks; b++) {
        c->e[b] = c->ops->max(c->z + b * size, size);
        c->id[b] = (int32_t)b;
    }
    sort_ids(c->e, c->id, blocks, c->spare);
    const float bound = c->e[c->id[k - 1]];
    return bound > -FLT_MAX ? bound : -FLT_MAX;
}

/* The list becomes the ids at or above the k-th largest logit, k = 0 meaning all. */
static void keep_top_k(struct choice *c, int64_t k)
{
    c->least = -FLT_MAX;
    if (k > 0 && k < c->V) {
        c->n = c->ops->above(c->z, c->V, bound_of_top_k(c, k), c->id);
        sort_ids(c->z, c->id, c->n, c->spare);
        if (c->n >= k) c->least = c->z[c->id[k - 1]];
    }
    c->n = c->ops->above(c->z, c->V, c->least, c->id);
}

/* e of the list, and its sum. */
static void take_exps(struct choice *c)
{
    if (c->n == c->V) {
        c->ops->exps(c->z, c->V, c->M, c->e);
        return;
    }
    float *some = (float *)(void *)c->spare;
    for (int64_t i = 0; i < c->n; i++) some[i] = c->z[c->id[i]];
    c->ops->exps(some, c->n, c->M, some);
    for (int64_t i = 0; i < c->n; i++) c->e[c->id[i]] = some[i];
}

/* The list becomes its ids with z >= least. */
static void raise_least(struct choice *c, float least)
{
    if (least <= c->least) return;
    c->least = least;
    if (c->n > c->V / 16) { /* a long list is sooner made anew */
        c->n = c->ops->above(c->z, c->V, least, c->id);
        return;
    }
    int64_t n = 0;
    for (int64_t i = 0; i < c->n; i++)
        if (c->z[c->id[i]] >= least) c->id[n++] = c->id[i];
    c->n = n;
}

static double sum_of_list(const struct choice *c)
{
    double sum = 0;
    for (int64_t i = 0; i < c->n; i++) sum += (double)c->e[c->id[i]];
    return sum;
}

/* Drops from the list what top-p cannot need. 0.99 leaves room for every rounding here. */
static void drop_tail(struct choice *c, double top_p)
{
    double budget = (1 - top_p) * c->total;
    for (bool more = true; more && budget > 1e-9 * c->total;) {
        const int64_t n = c->n;
        const double share = 0.99 * budget / (double)n;
        raise_least(c, (float)((double)c->M + tr_log(share)));
        more = c->n * 2 < n;
        budget = sum_of_list(c) - top_p * c->total;
    }
}

static void keep_top_p(struct choice *c, double top_p)
{
    const double goal = top_p * c->total;
    double sum = 0;
    int64_t i = 0;
    drop_tail(c, top_p);
    sort_ids(c->z, c->id, c->n, c->spare);
    do sum += (double)c->e[c->id[i++]];
    while (i < c->n && sum < goal);
    const int32_t last = c->id[i - 1];
    const float least = c->z[last];
    const int64_t n = c->ops->above(c->z, c->V, least, c->id);
    c->n = 0;
    for (i = 0; i < n; i++)
        if (c->z[c->id[i]] > least || c->id[i] <= last) c->id[c->n++] = c->id[i];
}

/* What is not in the list is -Inf in z. */
static void clear_others(struct choice *c)
{
    if (c->n == c->V) return;
    float *some = (float *)(void *)c->spare;
    for (int64_t i = 0; i < c->n; i++) some[i] = c->z[c->id[i]];
    for (int64_t v = 0; v < c->V; v++) c->z[v] = -INFINITY;
    for (int64_t i = 0; i < c->n; i++) c->z[c->id[i]] = some[i];
}

/* Fills the list with the kept ids; at least one. */
static struct choice choose(const struct tr_exec *ex, const struct tr_sampling *cfg,
                            float *z, int64_t V, const int32_t *history, int64_t n,
                            void *scratch)
{
    struct choice c = {.ops = ex->k->vector, .z = z, .V = V, .e = scratch};
    assert(V >= 1 && V <= INT32_MAX);
    c.id = (int32_t *)(void *)(c.e + V);
    c.spare = c.id + V;
    if (cfg->repetition_penalty != 1.0F)
        penalise(cfg->repetition_penalty, z, V, history, n, scratch);
    const bool greedy = cfg->temperature == 0.0F;
    if (!greedy && cfg->temperature != 1.0F) c.ops->divide(z, V, cfg->temperature);
    c.M = c.ops->max(z, V);
    if (!(c.M > -INFINITY)) { /* nothing to choose from: the first token, certain */
        z[0] = 0;
        c.M = 0;
        c.n = 1;
        c.id[0] = 0;
    } else if (greedy) {
        c.ops->above(z, V, c.M, c.id);
        c.n = 1;
    } else {
        keep_top_k(&c, cfg->top_k);
    }
    take_exps(&c);
    c.total = sum_of_list(&c);
    if (!greedy && cfg->top_p < 1.0F && c.n > 1) {
        keep_top_p(&c, (double)cfg->top_p);
        c.total = sum_of_list(&c);
    }
    clear_others(&c);
    return c;
}

int32_t tr_sample(const struct tr_exec *ex, const struct tr_sampling *cfg, float *z,
                  int64_t V, const int32_t *history, int64_t n, double u, void *scratch)
{
    const struct choice c = choose(ex, cfg, z, V, history, n, scratch);
    const double goal = u * c.total;
    double sum = 0;
    for (int64_t i = 0; i < c.n; i++) {
        sum += (double)c.e[c.id[i]];
        if (sum > goal) return c.id[i];
    }
    return c.id[c.n - 1];
}

/* NOLINTNEXTLINE(readability-function-size): logits, history, scratch, two outputs */
int64_t tr_sample_kept(const struct tr_exec *ex, const struct tr_sampling *cfg, float *z,
                       int64_t V, const int32_t *history, int64_t n, void *scratch,
                       int32_t *kept, double *prob)
{
    const struct choice c = choose(ex, cfg, z, V, history, n, scratch);
    for (int64_t i = 0; i < c.n; i++) {
        kept[i] = c.id[i];
        prob[i] = (double)c.e[c.id[i]] / c.total;
    }
    return c.n;
}

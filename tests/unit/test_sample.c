/* test_sample.c - from logits to a token: a table of small rows, then random rows beside a
 * sampler that sorts the whole vocabulary. tests/golden (F8) has transformers' own answers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "kernels/real.h"
#include "kernels/sample.h"

#define INF INFINITY

enum { SMALL = 8, HISTORY = 40 };

/* ---- a table ---------------------------------------------------------------------------- */

struct row {
    const char *name;
    struct tr_sampling cfg; /* temperature, top_k, top_p, penalty */
    int64_t V;
    float z[SMALL];
    int64_t n;
    int32_t history[4];
    int64_t kept_n;
    int32_t kept[SMALL];
    float processed[SMALL]; /* of the kept ids, in their order */
};

static const struct row rows[] = {
    {"all off", {1, 0, 1, 1}, 3, {0, 1, 2}, 0, {0}, 3, {0, 1, 2}, {0, 1, 2}},
    {"one token", {1, 50, 0.5F, 1}, 1, {-3}, 0, {0}, 1, {0}, {-3}},
    {"arg-max", {0, 0, 1, 1}, 4, {1, 5, 5, 2}, 0, {0}, 1, {1}, {5}},
    {"arg-max after the penalty", {0, 0, 1, 4}, 3, {1, 5, 2}, 1, {1}, 1, {2}, {2}},
    {"arg-max ignores top-p", {0, 3, 0.9F, 1}, 3, {1, 5, 2}, 0, {0}, 1, {1}, {5}},
    {"temperature", {0.5F, 0, 1, 1}, 2, {1, -3}, 0, {0}, 2, {0, 1}, {2, -6}},
    {"top-k", {1, 2, 1, 1}, 4, {1, 4, 3, 2}, 0, {0}, 2, {1, 2}, {4, 3}},
    {"top-k of 1", {1, 1, 1, 1}, 4, {1, 3, 4, 2}, 0, {0}, 1, {2}, {4}},
    {"top-k, tie at the border",
     {1, 2, 1, 1},
     4,
     {3, 4, 3, 2},
     0,
     {0},
     3,
     {0, 1, 2},
     {3, 4, 3}},
    {"top-k, a tie of signed zeros",
     {1, 1, 1, 1},
     3,
     {-0.0F, -1, 0},
     0,
     {0},
     2,
     {0, 2},
     {-0.0F, 0}},
    {"top-k is V", {1, 3, 1, 1}, 3, {1, 4, 3}, 0, {0}, 3, {0, 1, 2}, {1, 4, 3}},
    {"top-k over V", {1, 99, 1, 1}, 3, {1, 4, 3}, 0, {0}, 3, {0, 1, 2}, {1, 4, 3}},
    {"-Inf is never kept", {1, 0, 1, 1}, 3, {-INF, 4, -INF}, 0, {0}, 1, {1}, {4}},
    {"-Inf at the border of top-k",
     {1, 2, 1, 1},
     4,
     {-INF, 4, -INF, -INF},
     0,
     {0},
     1,
     {1},
     {4}},
    {"NaN is never kept", {1, 0, 1, 1}, 3, {NAN, 4, 1}, 0, {0}, 2, {1, 2}, {4, 1}},
    {"NaN is never kept by top-k",
     {1, 2, 1, 1},
     3,
     {NAN, 4, 1},
     0,
     {0},
     2,
     {1, 2},
     {4, 1}},
    {"nothing to choose from", {1, 0, 1, 1}, 2, {-INF, -INF}, 0, {0}, 1, {0}, {0}},
    {"nothing but NaN", {0, 0, 1, 1}, 2, {NAN, NAN}, 0, {0}, 1, {0}, {0}},
    {"top-p keeps at least one", {1, 0, 0, 1}, 3, {1, 4, 3}, 0, {0}, 1, {1}, {4}},
    {"top-p, the first is enough", {1, 0, 0.5F, 1}, 3, {0, 9, 0}, 0, {0}, 1, {1}, {9}},
    {"top-p, equals by id", {1, 0, 0.5F, 1}, 4, {2, 2, 2, 2}, 0, {0}, 2, {0, 1}, {2, 2}},
    {"top-p, signed zeros are equals",
     {1, 0, 0.4F, 1},
     2,
     {-0.0F, 0},
     0,
     {0},
     1,
     {0},
     {-0.0F}},
    {"top-p, one past the half",
     {1, 0, 0.51F, 1},
     4,
     {2, 2, 2, 2},
     0,
     {0},
     3,
     {0, 1, 2},
     {2, 2, 2}},
    {"top-p after top-k", {1, 2, 0.5F, 1}, 4, {2, 2, 1, 0}, 0, {0}, 1, {0}, {2}},
    {"penalty: over 0 divided, under 0 multiplied",
     {1, 0, 1, 2},
     4,
     {4, -4, 4, -4},
     2,
     {0, 1},
     4,
     {0, 1, 2, 3},
     {2, -8, 4, -4}},
    {"penalty once for an id seen twice",
     {1, 0, 1, 2},
     2,
     {4, 1},
     3,
     {0, 0, 0},
     2,
     {0, 1},
     {2, 1}},
    {"penalty then temperature", {2, 0, 1, 2}, 2, {4, 1}, 1, {0}, 2, {0, 1}, {1, 0.5F}},
    {"a foreign id in the history",
     {1, 0, 1, 2},
     2,
     {4, 1},
     2,
     {-1, 2},
     2,
     {0, 1},
     {4, 1}},
};

enum { ROWS = sizeof rows / sizeof *rows };

static void check_row(const struct tr_exec *ex, const struct row *r)
{
    float z[SMALL];
    float scratch[SMALL * 3];
    int32_t kept[SMALL];
    double prob[SMALL];
    double sum = 0;
    memcpy(z, r->z, sizeof z);
    const int64_t n =
        tr_sample_kept(ex, &r->cfg, z, r->V, r->history, r->n, scratch, kept, prob);
    if (n != r->kept_n) fail_msg("%s: %lld are kept", r->name, (long long)n);
    int64_t k = 0;
    for (int64_t v = 0; v < r->V; v++) {
        const bool is_kept = k < n && kept[k] == v;
        const float want = is_kept ? r->processed[k] : -INF;
        if ((is_kept && r->kept[k] != v) || memcmp(&z[v], &want, sizeof want) != 0)
            fail_msg("%s: logit %lld is %a", r->name, (long long)v, (double)z[v]);
        if (is_kept) sum += prob[k++];
    }
    if (k != n || fabs(sum - 1) > 1e-12)
        fail_msg("%s: %lld of %lld, sum %g", r->name, (long long)k, (long long)n, sum);
}

static void the_table(void **state)
{
    for (int i = 0; i < ROWS; i++) check_row(*state, &rows[i]);
}

/* The draw walks the kept ids ascending: the bands of u. */
static void the_draw_walks_the_kept_ids(void **state)
{
    static const struct {
        const char *name;
        struct tr_sampling cfg;
        float z[4];
        double u;
        int32_t want;
    } draws[] = {
        {"from the start", {1, 0, 1, 1}, {0, 0, 0, 0}, 0, 0},
        {"inside the first", {1, 0, 1, 1}, {0, 0, 0, 0}, 0.249, 0},
        {"a border belongs to the next", {1, 0, 1, 1}, {0, 0, 0, 0}, 0.25, 1},
        {"inside the last", {1, 0, 1, 1}, {0, 0, 0, 0}, 0.99, 3},
        {"the last u", {1, 0, 1, 1}, {0, 0, 0, 0}, 1 - 0x1p-24, 3},
        {"what is not kept is walked over", {1, 2, 1, 1}, {0, 9, 0, 9}, 0, 1},
        {"to the last kept", {1, 2, 1, 1}, {9, 0, 9, 0}, 1 - 0x1p-24, 2},
        {"temperature 0 looks at no u", {0, 0, 1, 1}, {0, 9, 0, 9}, 0.99, 1},
        {"nothing to choose from", {1, 0, 1, 1}, {-INF, -INF, -INF, -INF}, 0.5, 0},
        {"a sum of NaN ends at a kept id", {1, 0, 1, 1}, {-INF, INF, INF, -INF}, 0.5, 2},
    };
    for (size_t i = 0; i < sizeof draws / sizeof *draws; i++) {
        float z[4];
        float scratch[12];
        memcpy(z, draws[i].z, sizeof z);
        const int32_t got =
            tr_sample(*state, &draws[i].cfg, z, 4, NULL, 0, draws[i].u, scratch);
        if (got != draws[i].want) fail_msg("%s: token %d", draws[i].name, got);
    }
}

/* ---- the sampler that sorts ------------------------------------------------------------- */

struct ranked {
    float z;
    int32_t id;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    if (x->z != y->z) return x->z > y->z ? -1 : 1;
    return x->id - y->id;
}

struct answer {
    float *z;      /* owns: [V], processed */
    int32_t *kept; /* owns */
    double *prob;  /* owns */
    float *e;      /* owns: [V] */
    int64_t n;
    double total;
};

static void answer_free(struct answer *a)
{
    free(a->z);
    free(a->kept);
    free(a->prob);
    free(a->e);
}

static struct answer answer_create(const float *z, int64_t V)
{
    struct answer a = {.z = calloc((size_t)V, sizeof *a.z),
                       .kept = calloc((size_t)V, sizeof *a.kept),
                       .prob = calloc((size_t)V, sizeof *a.prob),
                       .e = calloc((size_t)V, sizeof *a.e)};
    assert_true(a.z && a.kept && a.prob && a.e);
    memcpy(a.z, z, (size_t)V * sizeof *z);
    return a;
}

static void sort_all(const float *z, int64_t V, struct ranked *all)
{
    for (int64_t v = 0; v < V; v++) all[v] = (struct ranked){z[v], (int32_t)v};
    qsort(all, (size_t)V, sizeof *all, by_rank);
}

static void keep_top_p(struct answer *a, int64_t V, float top_p, struct ranked *all)
{
    double total = 0;
    double sum = 0;
    sort_all(a->z, V, all);
    for (int64_t v = 0; v < V; v++) total += (double)a->e[v];
    for (int64_t i = 0; i < V; i++) {
        if (i > 0 && !(sum < (double)top_p * total)) a->z[all[i].id] = -INF;
        sum += (double)a->e[all[i].id];
    }
}

/* sample.h said with a sort. Temperature over 0, no NaN. */
static struct answer sort_and_keep(const struct tr_sampling *cfg, const float *z,
                                   int64_t V, const int32_t *history, int64_t n)
{
    struct answer a = answer_create(z, V);
    struct ranked *all = calloc((size_t)V, sizeof *all);
    assert_non_null(all);
    for (int64_t v = 0; v < V; v++) {
        bool seen = false;
        for (int64_t i = 0; i < n; i++) seen = seen || history[i] == v;
        if (seen)
            a.z[v] = z[v] < 0 ? z[v] * cfg->repetition_penalty
                              : z[v] / cfg->repetition_penalty;
        a.z[v] /= cfg->temperature;
    }
    sort_all(a.z, V, all);
    const float top = all[0].z;
    const float least = cfg->top_k > 0 && cfg->top_k < V ? all[cfg->top_k - 1].z : -INF;
    for (int64_t v = 0; v < V; v++) {
        if (a.z[v] < least) a.z[v] = -INF;
        a.e[v] = a.z[v] > -INF ? tr_expf(a.z[v] - top) : 0;
    }
    if (cfg->top_p < 1) keep_top_p(&a, V, cfg->top_p, all);
    for (int64_t v = 0; v < V; v++) {
        if (!(a.z[v] > -INF)) continue;
        a.kept[a.n++] = (int32_t)v;
        a.total += (double)a.e[v];
    }
    for (int64_t k = 0; k < a.n; k++) a.prob[k] = (double)a.e[a.kept[k]] / a.total;
    free(all);
    return a;
}

static int32_t draw_by_walking(const struct answer *a, double u)
{
    double sum = 0;
    for (int64_t k = 0; k < a->n; k++) {
        sum += (double)a->e[a->kept[k]];
        if (sum > u * a->total) return a->kept[k];
    }
    return a->kept[a->n - 1];
}

static double draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (double)(*seed >> 40U) * 0x1p-24;
}

/* What a row of logits looks like. */
enum shape { FLAT, WIDE, PEAKED, TIED, EQUAL, HOLES, SHAPES };

static float logit(enum shape shape, uint64_t *seed)
{
    const double x =
        draw(seed) + draw(seed) + draw(seed) - 1.5; /* near normal, sigma 0.5 */
    switch (shape) {
    case FLAT:
        return (float)(0.02 * x);
    case WIDE:
        return (float)(6 * x);
    case PEAKED:
        return (float)(40 * x);
    case TIED:
        return (float)floor(4 * x) / 2;
    case EQUAL:
        return -1.25F;
    case HOLES:
        return draw(seed) < 0.5 ? -INF : (float)(6 * x);
    case SHAPES:
        break;
    }
    return 0;
}

static const char *const shapes[] = {"flat", "wide", "peaked", "tied", "equal", "holes"};

struct sweep {
    int64_t V;
    float *z;
    const char *shape;
    struct tr_sampling cfg;
    int32_t history[HISTORY];
};

static void compare(const struct tr_exec *ex, const struct sweep *s, double u)
{
    const struct answer want = sort_and_keep(&s->cfg, s->z, s->V, s->history, HISTORY);
    struct answer got = answer_create(s->z, s->V);
    void *scratch = malloc((size_t)s->V * 12);
    assert_non_null(scratch);
    got.n = tr_sample_kept(ex, &s->cfg, got.z, s->V, s->history, HISTORY, scratch,
                           got.kept, got.prob);
    if (got.n != want.n ||
        memcmp(got.kept, want.kept, (size_t)want.n * sizeof *want.kept) != 0 ||
        memcmp(got.prob, want.prob, (size_t)want.n * sizeof *want.prob) != 0 ||
        memcmp(got.z, want.z, (size_t)s->V * sizeof *want.z) != 0)
        fail_msg("%s, V %lld, T %g, k %d, p %g: kept %lld, not these %lld", s->shape,
                 (long long)s->V, (double)s->cfg.temperature, s->cfg.top_k,
                 (double)s->cfg.top_p, (long long)got.n, (long long)want.n);
    memcpy(got.z, s->z, (size_t)s->V * sizeof *s->z);
    const int32_t token =
        tr_sample(ex, &s->cfg, got.z, s->V, s->history, HISTORY, u, scratch);
    if (token != draw_by_walking(&want, u))
        fail_msg("%s, V %lld: u %a draws %d", s->shape, (long long)s->V, u, token);
    free(scratch);
    answer_free(&got);
    struct answer gone = want;
    answer_free(&gone);
}

static void sweep_settings(const struct tr_exec *ex, struct sweep *s, uint64_t *seed)
{
    static const float top_p[] = {0, 0.1F, 0.7F, 0.95F, 0.9999F, 1};
    const int32_t top_k[] = {0, 1, 50, (int32_t)(s->V / 3), (int32_t)s->V};
    for (int p = 0; p < 6; p++)
        for (int k = 0; k < 5; k++) {
            const float temperature = draw(seed) < 0.5 ? 1.0F : 0.7F;
            s->cfg = (struct tr_sampling){temperature, top_k[k], top_p[p],
                                          draw(seed) < 0.5 ? 1.0F : 1.3F};
            for (int i = 0; i < HISTORY; i++)
                s->history[i] = (int32_t)(draw(seed) * (double)s->V);
            compare(ex, s, draw(seed));
        }
}

static void as_a_sort_would(void **state)
{
    static const int64_t sizes[] = {1, 2, 17, 300, 1000, 5000, 49152};
    for (int i = 0; i < 7; i++)
        for (int shape = 0; shape < SHAPES; shape++) {
            uint64_t seed = (uint64_t)(i * 10 + shape);
            struct sweep s = {.V = sizes[i],
                              .shape = shapes[shape],
                              .z = calloc((size_t)sizes[i], sizeof(float))};
            assert_non_null(s.z);
            for (int64_t v = 0; v < s.V; v++) s.z[v] = logit((enum shape)shape, &seed);
            s.z[s.V / 2] = 0.5F; /* at least one can be kept */
            sweep_settings(*state, &s, &seed);
            free(s.z);
        }
}

/* The rows of the kernel table agree: tokens, kept ids, probabilities. */
static void every_row_samples_alike(void **state)
{
    enum { V = 4097 };
    static float z[V];
    (void)state;
    for (int row = 0; tr_kernels_row(row); row++) {
        const struct tr_exec ex = {
            .k = tr_kernels_row(row)}; /* no team: sampling uses none */
        uint64_t seed = 5;
        struct sweep s = {.V = V, .shape = "wide", .z = z};
        for (int64_t v = 0; v < V; v++) z[v] = logit(WIDE, &seed);
        sweep_settings(&ex, &s, &seed);
    }
}

static int set_up(void **state)
{
    static struct tr_exec ex;
    *state = &ex;
    return tr_exec_init(&ex, NULL, 1, TR_MATH_EXACT);
}

static int tear_down(void **state)
{
    tr_exec_fini(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),
        cmocka_unit_test(the_draw_walks_the_kept_ids),
        cmocka_unit_test(as_a_sort_would),
        cmocka_unit_test(every_row_samples_alike),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

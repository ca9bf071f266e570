/* The trunk and the heads: against doubles, and against themselves to the last bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scarce.h"
#include "tests/unit/tiny.h"

/* A model, a trunk, a head, a batch and all outputs. */
struct bench {
    struct tiny m;
    struct tr_trunk *trunk;
    struct tr_head *head;
    struct tiny_batch batch;
    float *coef, *value_coef, *logp, *value, *grad, *embed_grad;
    int64_t total, embed;
};

struct setting {
    const char *isa;
    int threads;
    bool recompute, bf16;
    enum tr_math math;
};

static const int64_t lengths[] = {7, 1, 70, 5, 2};
enum { S = sizeof lengths / sizeof *lengths };

static bool bench_open(struct bench *t, const struct tr_arch *a, const struct setting *c)
{
    uint64_t seed = 5;
    *t = (struct bench){0};
    if (!tiny_open(&t->m, a, 11, c->isa, c->threads, c->math, c->bf16)) return false;
    tiny_batch_open(&t->batch, a->V, 3, S, lengths);
    const int64_t T = t->batch.b.T;
    const struct tr_trunk_size size = {T, S, true, c->recompute};
    assert_int_equal(tr_trunk_create(a, &size, &t->trunk, NULL), TR_OK);
    assert_int_equal(tr_head_create(a, T, &t->head, NULL), TR_OK);
    t->total = tr_params_total(t->m.params);
    t->embed = tr_params_outer(t->m.params)->embed->size;
    t->coef = calloc((size_t)T * 4, sizeof(float));
    t->grad = calloc((size_t)(t->total + t->embed), sizeof(float));
    assert_true(t->coef && t->grad);
    t->value_coef = t->coef + T;
    t->logp = t->coef + 2 * T;
    t->value = t->coef + 3 * T;
    t->embed_grad =
        t->grad + (a->tied ? t->total : tr_params_outer(t->m.params)->embed->at);
    for (int64_t i = 0; i < 2 * T; i++) t->coef[i] = tiny_real(&seed);
    return true;
}

static void bench_close(struct bench *t)
{
    tr_trunk_destroy(t->trunk);
    tr_head_destroy(t->head);
    tiny_batch_close(&t->batch);
    tiny_close(&t->m);
    free(t->coef);
    free(t->grad);
}

/* Sequences s0 .. s1-1 as a micro-batch of their own, continuing grad. */
static void step(struct bench *t, int64_t s0, int64_t s1)
{
    int64_t start[S + 1];
    const int64_t at = lengths[0] ? t->batch.start[s0] : 0;
    for (int64_t s = s0; s <= s1; s++) start[s - s0] = t->batch.start[s] - at;
    const struct tr_batch part = {
        .T = start[s1 - s0],
        .S = s1 - s0,
        .token = t->batch.token + at,
        .start = start,
        .position = t->batch.b.position ? t->batch.b.position + at : NULL};
    const struct tiny_loss loss = {&part, t->batch.wanted + at, t->coef + at,
                                   t->value_coef + at};
    const struct tiny_out out = {t->logp + at, t->value + at, t->grad, t->embed_grad};
    tiny_step(&t->m, t->trunk, t->head, &loss, &out);
}

static double **doubles_of(const struct tiny *m, const float *flat)
{
    const int64_t n = tr_params_count(m->params);
    double **tensor = calloc((size_t)n, sizeof *tensor);
    for (int64_t i = 0; i < n; i++) {
        const struct tr_param *p = tr_params_get(m->params, i);
        const int64_t count = tr_param_elements(p);
        float *hf = malloc((size_t)count * sizeof *hf);
        tensor[i] = malloc((size_t)count * sizeof **tensor);
        tr_params_unpack(&m->ex, p, flat, hf);
        for (int64_t j = 0; j < count; j++) tensor[i][j] = (double)hf[j];
        free(hf);
    }
    return tensor;
}

static void doubles_free(const struct tiny *m, double **tensor)
{
    for (int64_t i = 0; i < tr_params_count(m->params); i++) free(tensor[i]);
    free(tensor);
}

static void compare(const char *name, const char *what, const float *got,
                    const double *want, int64_t n, double tolerance)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance))
            fail_msg("%s: %s[%lld]: wanted %.9g, found %.9g (%a)", name, what,
                     (long long)i, want[i], (double)got[i], (double)got[i]);
}

/* Some 6 elements of each tensor, evenly spread: the gradient against central differences. */
static void compare_gradient(const char *name, struct bench *t, double **tensor,
                             const struct tiny_loss *loss, double **grad)
{
    const double eps = 1e-5;
    for (int64_t i = 0; i < tr_params_count(t->m.params); i++) {
        const struct tr_param *p = tr_params_get(t->m.params, i);
        const int64_t n = tr_param_elements(p);
        double most = 0;
        for (int64_t j = 0; j < n; j++) most = fmax(most, fabs(grad[i][j]));
        for (int64_t j = 0; j < n; j += 1 + n / 6) {
            const double x = tensor[i][j];
            tensor[i][j] = x + eps;
            double up = naive_run(t->m.params, tensor, loss, NULL, NULL, NULL);
            tensor[i][j] = x - eps;
            double down = naive_run(t->m.params, tensor, loss, NULL, NULL, NULL);
            tensor[i][j] = x;
            double want = (up - down) / (2 * eps);
            if (!(fabs(grad[i][j] - want) <= 1e-4 * most + 1e-7))
                fail_msg("%s: gradient of %s[%lld]: wanted %.9g, found %.9g, largest %g",
                         name, p->name, (long long)j, want, grad[i][j], most);
        }
    }
}

static void add_tied(const struct bench *t)
{
    const struct tr_param *embed = tr_params_outer(t->m.params)->embed;
    if (t->embed_grad == t->grad + embed->at) return;
    for (int64_t i = 0; i < t->embed; i++) t->grad[embed->at + i] += t->embed_grad[i];
}

static void forward_and_gradient_are_those_of_doubles(void **state)
{
    (void)state;
    const struct setting c = {.threads = 1};
    for (int i = 0; i < tiny_arch_count; i++) {
        struct bench t;
        const struct tr_arch *a = &tiny_archs[i].arch;
        assert_true(bench_open(&t, a, &c));
        const int64_t T = t.batch.b.T;
        const struct tiny_loss loss = {&t.batch.b, t.batch.wanted, t.coef, t.value_coef};
        double *want = calloc((size_t)T * 2, sizeof *want);
        double **tensor = doubles_of(&t.m, t.m.masters);
        step(&t, 0, S);
        naive_run(t.m.params, tensor, &loss, want, want + T, NULL);
        compare(tiny_archs[i].name, "logp", t.logp, want, T, 1e-4);
        compare(tiny_archs[i].name, "value", t.value, want + T, T, 1e-4);
        add_tied(&t);
        double **grad = doubles_of(&t.m, t.grad);
        compare_gradient(tiny_archs[i].name, &t, tensor, &loss, grad);
        doubles_free(&t.m, grad);
        doubles_free(&t.m, tensor);
        free(want);
        bench_close(&t);
    }
}

/* Positions of their own, as left-padded peers have them: attention still counts keys. */
static void positions_and_keys_are_separate(void **state)
{
    (void)state;
    const struct setting c = {.threads = 1};
    struct bench t;
    assert_true(bench_open(&t, &tiny_archs[0].arch, &c));
    const int64_t T = t.batch.b.T;
    int32_t *position = malloc((size_t)T * sizeof *position);
    for (int64_t i = 0; i < T; i++) position[i] = (int32_t)((i * 37 + 11) % 300);
    t.batch.b.position = position;
    const struct tiny_loss loss = {&t.batch.b, t.batch.wanted, t.coef, t.value_coef};
    double *want = calloc((size_t)T, sizeof *want);
    double **tensor = doubles_of(&t.m, t.m.masters);
    step(&t, 0, S);
    naive_run(t.m.params, tensor, &loss, want, NULL, NULL);
    compare("positions", "logp", t.logp, want, T, 1e-4); /* f32 angles of up to 300 */
    doubles_free(&t.m, tensor);
    free(want);
    free(position);
    bench_close(&t);
}

static void same_bits(const char *what, const struct bench *x, const struct bench *y)
{
    const size_t T = (size_t)x->batch.b.T;
    const size_t n = (size_t)(x->total + x->embed);
    if (memcmp(x->logp, y->logp, T * sizeof(float)) ||
        memcmp(x->value, y->value, T * sizeof(float)))
        fail_msg("%s: other log-probs or values", what);
    for (size_t i = 0; i < n; i++)
        if (memcmp(&x->grad[i], &y->grad[i], sizeof(float)))
            fail_msg("%s: gradient element %zu: %a and %a", what, i, (double)x->grad[i],
                     (double)y->grad[i]);
}

/* Invariant 2 of trunk.h, and of head.h. */
static void splitting_into_micro_batches_changes_no_bit(void **state)
{
    (void)state;
    const int64_t cuts[][S + 1] = {{0, 1, 2, 3, 4, 5}, {0, 2, 5}, {0, 3, 4, 5}};
    const struct setting c = {.threads = 1};
    for (int i = 0; i < tiny_arch_count; i++) {
        struct bench whole;
        assert_true(bench_open(&whole, &tiny_archs[i].arch, &c));
        step(&whole, 0, S);
        for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
            struct bench parts;
            assert_true(bench_open(&parts, &tiny_archs[i].arch, &c));
            for (const int64_t *s = cuts[k]; *s < S; s++) step(&parts, s[0], s[1]);
            same_bits(tiny_archs[i].name, &whole, &parts);
            bench_close(&parts);
        }
        bench_close(&whole);
    }
}

/* Invariant 3 of trunk.h; DESIGN.md 4 on threads and instruction sets. */
static void recompute_threads_and_isa_change_no_bit(void **state)
{
    (void)state;
    const struct setting plain[] = {{.isa = "scalar", .threads = 1},
                                    {.isa = "scalar", .threads = 1, .bf16 = true}};
    const struct setting rows[] = {
        {.isa = "scalar", .threads = 1, .recompute = true},
        {.isa = "scalar", .threads = 2},
        {.isa = "avx2", .threads = 1},
        {.isa = "avx2", .threads = 3, .recompute = true},
        {.isa = "avx512", .threads = 1},
        {.isa = "avx512", .threads = 2, .recompute = true},
        {.isa = NULL, .threads = 2},
    };
    for (int i = 0; i < tiny_arch_count; i++)
        for (size_t half = 0; half < 2; half++) {
            struct bench want;
            assert_true(bench_open(&want, &tiny_archs[i].arch, &plain[half]));
            step(&want, 0, S);
            for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
                struct bench got;
                struct setting c = rows[k];
                c.bf16 = plain[half].bf16;
                if (!bench_open(&got, &tiny_archs[i].arch, &c)) {
                    if (!i && !half) print_message("skipped: no %s here\n", c.isa);
                    continue;
                }
                step(&got, 0, S);
                same_bits(tiny_archs[i].name, &want, &got);
                bench_close(&got);
            }
            bench_close(&want);
        }
}

/* Invariant 1 of trunk.h: alone, among others, and after another batch has used the pages. */
static void a_row_depends_on_its_own_sequence_only(void **state)
{
    (void)state;
    const struct setting c = {.threads = 2};
    const struct tr_trunk_size size = {200, S, false, false};
    for (int i = 0; i < tiny_arch_count; i++) {
        struct bench t;
        struct tr_trunk *scoring = NULL;
        const float *hidden = NULL;
        const struct tr_arch *a = &tiny_archs[i].arch;
        assert_true(bench_open(&t, a, &c));
        assert_int_equal(tr_trunk_create(a, &size, &scoring, NULL), TR_OK);
        const size_t all = (size_t)(t.batch.b.T * a->d) * sizeof(float);
        float *together = malloc(all);
        assert_int_equal(tr_trunk_forward(t.trunk, &t.m.ex, t.m.w, &t.batch.b, NULL, NULL,
                                          &hidden, NULL),
                         TR_OK);
        memcpy(together, hidden, all);
        for (int64_t s = 0; s < S; s++)
            for (int64_t n = 1; n <= lengths[s]; n += 1 + n / 2) {
                const int64_t start[] = {0, n};
                const struct tr_batch alone = {.T = n,
                                               .S = 1,
                                               .token = t.batch.token + t.batch.start[s],
                                               .start = start};
                assert_int_equal(tr_trunk_forward(scoring, &t.m.ex, t.m.w, &alone, NULL,
                                                  NULL, &hidden, NULL),
                                 TR_OK);
                assert_memory_equal(hidden, together + t.batch.start[s] * a->d,
                                    (size_t)(n * a->d) * sizeof(float));
            }
        free(together);
        tr_trunk_destroy(scoring);
        bench_close(&t);
    }
}

/* Pages and arrays keep nothing of an earlier batch, not even a NaN. */
static void a_batch_of_nan_leaves_nothing_behind(void **state)
{
    (void)state;
    for (int recompute = 0; recompute < 2; recompute++) {
        const struct setting c = {.threads = 1, .recompute = recompute};
        struct bench t[2];
        for (int k = 0; k < 2; k++)
            assert_true(bench_open(&t[k], &tiny_archs[1].arch, &c));
        const struct tr_param *norm = tr_params_layer(t[1].m.params, 0)->norm1;
        const float kept = t[1].m.masters[norm->at];
        t[1].m.masters[norm->at] = NAN;
        step(&t[1], 2, 3); /* the longest sequence, alone */
        assert_true(isnan(t[1].logp[t[1].batch.start[2]]));
        t[1].m.masters[norm->at] = kept;
        memset(t[1].grad, 0, (size_t)(t[1].total + t[1].embed) * sizeof(float));
        for (int k = 0; k < 2; k++) step(&t[k], 0, S);
        same_bits("after NaN", &t[0], &t[1]);
        for (int k = 0; k < 2; k++) bench_close(&t[k]);
    }
}

/* OpenBLAS maths is another order: close, not equal. */
static void openblas_stays_within_tolerance(void **state)
{
    (void)state;
    const struct setting rows[] = {{.threads = 1},
                                   {.threads = 2, .math = TR_MATH_OPENBLAS}};
    for (int i = 0; i < tiny_arch_count; i++) {
        struct bench t[2];
        double **grad[2];
        for (int k = 0; k < 2; k++) {
            assert_true(bench_open(&t[k], &tiny_archs[i].arch, &rows[k]));
            step(&t[k], 0, S);
            add_tied(&t[k]);
            grad[k] = doubles_of(&t[k].m, t[k].grad);
            assert_non_null(grad[k]);
        }
        for (int64_t j = 0; j < t[0].batch.b.T; j++)
            assert_true(fabsf(t[0].logp[j] - t[1].logp[j]) <= 2e-5F);
        for (int64_t p = 0; p < tr_params_count(t[0].m.params); p++) {
            const struct tr_param *q = tr_params_get(t[0].m.params, p);
            double most = 0;
            for (int64_t j = 0; j < tr_param_elements(q); j++)
                most = fmax(most, fabs(grad[0][p][j]));
            for (int64_t j = 0; j < tr_param_elements(q); j++)
                assert_true(fabs(grad[0][p][j] - grad[1][p][j]) <= 1e-4 * most);
        }
        for (int k = 0; k < 2; k++) {
            doubles_free(&t[k].m, grad[k]);
            bench_close(&t[k]);
        }
    }
}

struct stations {
    int64_t seen;
    const struct tr_arch *a;
    const float *last;
};

static void visit(void *ctx, int64_t l, const float *x)
{
    struct stations *s = ctx;
    assert_int_equal(l, s->seen);
    assert_true(isfinite(x[0]));
    s->seen++;
    s->last = x;
}

static void stations_are_shown_in_order(void **state)
{
    (void)state;
    const struct setting c = {.threads = 1};
    struct bench t;
    const float *hidden = NULL;
    const struct tr_arch *a = &tiny_archs[1].arch;
    struct stations s = {.a = a};
    assert_true(bench_open(&t, a, &c));
    assert_int_equal(
        tr_trunk_forward(t.trunk, &t.m.ex, t.m.w, &t.batch.b, visit, &s, &hidden, NULL),
        TR_OK);
    assert_int_equal(s.seen, a->L + 1);
    assert_ptr_not_equal(s.last, hidden);
    bench_close(&t);
}

/* Invariant 3: after the first step, whose angles are new, nothing is allocated. */
static void a_step_allocates_nothing(void **state)
{
    (void)state;
    for (int recompute = 0; recompute < 2; recompute++) {
        const struct setting c = {.threads = 2, .recompute = recompute};
        struct bench t;
        assert_true(bench_open(&t, &tiny_archs[0].arch, &c));
        step(&t, 0, S);
        const long before = scarce_calls();
        step(&t, 0, S);
        assert_int_equal(scarce_calls() - before, 2); /* tiny_step's own two */
        bench_close(&t);
    }
}

static void bad_batches_are_refused(void **state)
{
    (void)state;
    const int64_t fine[] = {0, 2, 4};
    const int64_t late[] = {1, 2, 4};
    const int64_t hole[] = {0, 4, 4};
    const int64_t back[] = {0, 5, 4};
    const int64_t one[] = {0, 4};
    const int32_t ids[] = {1, 2, 3, 4};
    const int32_t high[] = {1, 2, 37, 4};
    const int32_t low[] = {1, -1, 3, 4};
    const int32_t far[] = {0, 1, 4096, 3};
    const struct {
        const char *want;
        struct tr_batch b;
    } rows[] = {
        {"found 0 in 1", {0, 1, ids, one, NULL}},
        {"found 9 in 1", {9, 1, ids, one, NULL}},
        {"found 4 in 3", {4, 3, ids, fine, NULL}},
        {"found 1 to 4", {4, 2, ids, late, NULL}},
        {"sequence 1: expected 1 to 4096 tokens, found 0", {4, 2, ids, hole, NULL}},
        {"sequence 1: expected 1 to 4096 tokens, found -1", {4, 2, ids, back, NULL}},
        {"token 2: expected an id below 37, found 37", {4, 2, high, fine, NULL}},
        {"token 1: expected an id below 37, found -1", {4, 2, low, fine, NULL}},
        {"token 2: expected a position below 4096, found 4096", {4, 2, ids, fine, far}},
    };
    struct tiny m;
    struct tr_trunk *trunk = NULL;
    const struct tr_trunk_size size = {8, 2, false, false};
    const struct tr_trunk_size none = {0, 2, false, false};
    struct tr_err err = {0};
    assert_true(tiny_open(&m, &tiny_archs[0].arch, 1, NULL, 1, TR_MATH_EXACT, false));
    assert_int_equal(tr_trunk_create(&tiny_archs[0].arch, &none, &trunk, &err),
                     TR_BADARG);
    assert_int_equal(tr_trunk_create(&tiny_archs[0].arch, &size, &trunk, &err), TR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const float *hidden = NULL;
        assert_int_equal(
            tr_trunk_forward(trunk, &m.ex, m.w, &rows[i].b, NULL, NULL, &hidden, &err),
            TR_BADARG);
        assert_null(hidden);
        if (!strstr(err.text, rows[i].want))
            fail_msg("wanted \"%s\" in \"%s\"", rows[i].want, err.text);
    }
    tr_trunk_destroy(trunk);
    tiny_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_and_gradient_are_those_of_doubles),
        cmocka_unit_test(positions_and_keys_are_separate),
        cmocka_unit_test(splitting_into_micro_batches_changes_no_bit),
        cmocka_unit_test(recompute_threads_and_isa_change_no_bit),
        cmocka_unit_test(a_row_depends_on_its_own_sequence_only),
        cmocka_unit_test(a_batch_of_nan_leaves_nothing_behind),
        cmocka_unit_test(openblas_stays_within_tolerance),
        cmocka_unit_test(stations_are_shown_in_order),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(bad_batches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

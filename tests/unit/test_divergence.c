/* The exact divergence of two models before each answer token (proto/step2_judge.h): against the
 * definition on whole rows of logits, and with its answer's way through a unit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/evaluator.h"
#include "core/model/head.h"
#include "tests/unit/tiny.h"

enum { TOKENS = 63, ROOM = 64 };

static const int64_t start[] = {0, 2, 40, TOKENS}, from[] = {1, 7, 22};
static int32_t token[TOKENS];

static struct tr_ask_judge make_ask(int64_t V)
{
    uint64_t seed = 8;
    for (int i = 0; i < TOKENS; i++) token[i] = (int32_t)(tiny_word(&seed) % (uint64_t)V);
    return (struct tr_ask_judge){{token, TOKENS}, {start, 4}, {from, 3}};
}

static double log_sum_exp(const float *z, int64_t V)
{
    double top = (double)z[0], sum = 0;
    for (int64_t v = 0; v < V; v++) top = fmax(top, (double)z[v]);
    for (int64_t v = 0; v < V; v++) sum += exp((double)z[v] - top);
    return top + log(sum);
}

/* All logits of all tokens; the caller frees. */
static float *logits_of(const struct tiny *m, const struct tr_arch *a)
{
    struct tr_trunk *trunk = NULL;
    struct tr_head *head = NULL;
    const float *hidden = NULL;
    struct tr_trunk_size size = {.max_tokens = TOKENS, .max_sequences = 3};
    struct tr_batch b = {.T = TOKENS, .S = 3, .token = token, .start = start};
    int64_t row[TOKENS];
    float *z = malloc((size_t)(TOKENS * a->V) * sizeof *z);
    assert_non_null(z);
    assert_int_equal(tr_trunk_create(a, &size, &trunk, NULL), TR_OK);
    assert_int_equal(tr_head_create(a, TOKENS, &head, NULL), TR_OK);
    assert_int_equal(tr_trunk_forward(trunk, &m->ex, m->w, &b, NULL, NULL, &hidden, NULL),
                     TR_OK);
    for (int64_t i = 0; i < TOKENS; i++) row[i] = i;
    tr_head_logits(head, &m->ex, m->w, hidden, row, TOKENS, z);
    tr_head_destroy(head);
    tr_trunk_destroy(trunk);
    return z;
}

/* f32 log-probs of some 5, so 1e-5. */
static void it_is_the_sum_over_the_vocabulary(void **state)
{
    (void)state;
    for (int i = 0; i < tiny_arch_count; i++) {
        struct tiny p, q;
        struct tr_evaluator *pe = NULL, *qe = NULL;
        const struct tr_arch *a = &tiny_archs[i].arch;
        struct tr_ask_judge ask = make_ask(a->V);
        float got[TOKENS];
        int64_t n = 0;
        assert_true(tiny_open(&p, a, 5, NULL, 2, TR_MATH_EXACT, false));
        assert_true(tiny_open(&q, a, 6, NULL, 1, TR_MATH_EXACT, false));
        assert_int_equal(tr_evaluator_create(&p.ex, p.w, ROOM, &pe, NULL), TR_OK);
        assert_int_equal(tr_evaluator_create(&q.ex, q.w, 40, &qe, NULL), TR_OK);
        assert_int_equal(tr_evaluator_diverge(pe, qe, &ask, got, NULL), TR_OK);
        float *zp = logits_of(&p, a), *zq = logits_of(&q, a);
        for (int s = 0; s < 3; s++)
            for (int64_t t = start[s] + from[s] - 1; t < start[s + 1] - 1; t++) {
                const float *x = zp + t * a->V, *y = zq + t * a->V;
                double lx = log_sum_exp(x, a->V), ly = log_sum_exp(y, a->V), want = 0;
                for (int64_t v = 0; v < a->V; v++)
                    want += exp((double)x[v] - lx) *
                            ((double)x[v] - lx - ((double)y[v] - ly));
                if (!(fabs((double)got[n] - want) <= 1e-5) || !(want > 0))
                    fail_msg("%s: token %lld: %g, want %g", tiny_archs[i].name,
                             (long long)t, (double)got[n], want);
                n++;
            }
        assert_int_equal(n, tr_judge_numbers(TR_UNIT_DIVERGENCE, &ask));
        free(zp);
        free(zq);
        tr_evaluator_destroy(pe);
        tr_evaluator_destroy(qe);
        tiny_close(&p);
        tiny_close(&q);
    }
}

/* Bytes of address space: what an arena maps is not touched yet. */
static double mapped(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld", &pages), 1); // NOLINT(cert-err34-c): by the kernel
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* What is said before an evaluator is made is what it takes, but for a few rows of numbers. */
static void its_memory_is_told_before(void **state)
{
    (void)state;
    enum { MANY = 4096 };
    struct tiny p;
    struct tr_evaluator *e = NULL;
    const struct tr_arch *a = &tiny_archs[0].arch;
    assert_true(tiny_open(&p, a, 5, NULL, 1, TR_MATH_EXACT, false));
    const struct tr_params *params = tr_weights_params(p.w);
    size_t told =
        tr_evaluator_bytes(params, false, MANY) - tr_weights_bytes(params, false);
    double before = mapped();
    assert_int_equal(tr_evaluator_create(&p.ex, p.w, MANY, &e, NULL), TR_OK);
    double taken = mapped() - before;
    tr_evaluator_destroy(e);
    tiny_close(&p);
    if (taken < 0.99 * (double)told || taken > 1.1 * (double)told)
        fail_msg("%.0f bytes taken, %zu told", taken, told);
}

static void a_unit_is_answered(void **state)
{
    (void)state;
    struct tiny p;
    struct tr_evaluator *e = NULL;
    struct tr_unit unit;
    struct tr_content out;
    struct tr_answer_judge answer;
    int64_t unknown = 0;
    const struct tr_arch *a = &tiny_archs[0].arch;
    struct tr_ask_judge ask = make_ask(a->V);
    struct tr_digests needs = {.n = 2};
    needs.at[0].byte[0] = 9; /* the policy's comes first, whichever is smaller */
    needs.at[1].byte[0] = 3;
    assert_true(tiny_open(&p, a, 5, NULL, 1, TR_MATH_EXACT, false));
    assert_int_equal(tr_evaluator_create(&p.ex, p.w, ROOM, &e, NULL), TR_OK);
    assert_int_equal(tr_unit_make(&tr_ask_divergence_record, &needs, &ask, &unit, NULL),
                     TR_OK);
    assert_int_equal(unit.kind, TR_UNIT_DIVERGENCE);
    assert_int_equal(unit.needs.n, 2);
    assert_int_equal(unit.needs.at[0].byte[0], 9);
    /* a model is not apart from itself */
    assert_int_equal(tr_evaluator_answer_divergence(e, e, &unit, &out, NULL), TR_OK);
    assert_int_equal(tr_content_decode(&out, tr_answer_judge_record(TR_UNIT_DIVERGENCE),
                                       &answer, &unknown, NULL),
                     TR_OK);
    assert_int_equal(answer.number.count, 1 + 31 + 1);
    for (int64_t i = 0; i < answer.number.count; i++)
        assert_true(((const float *)answer.number.at)[i] == 0);
    tr_content_fini(&out);
    tr_unit_fini(&unit);
    tr_evaluator_destroy(e);
    tiny_close(&p);
}

static void vocabularies_must_agree(void **state)
{
    (void)state;
    struct tiny p, q;
    struct tr_evaluator *pe = NULL, *qe = NULL;
    struct tr_err err = {0};
    float got[TOKENS];
    struct tr_arch other = tiny_archs[0].arch;
    struct tr_ask_judge ask = make_ask(other.V);
    other.V += 3;
    assert_true(tiny_open(&p, &tiny_archs[0].arch, 5, NULL, 1, TR_MATH_EXACT, false));
    assert_true(tiny_open(&q, &other, 5, NULL, 1, TR_MATH_EXACT, false));
    assert_int_equal(tr_evaluator_create(&p.ex, p.w, ROOM, &pe, NULL), TR_OK);
    assert_int_equal(tr_evaluator_create(&q.ex, q.w, ROOM, &qe, NULL), TR_OK);
    assert_int_equal(tr_evaluator_diverge(pe, qe, &ask, got, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "vocabular"));
    tr_evaluator_destroy(pe);
    tr_evaluator_destroy(qe);
    tiny_close(&p);
    tiny_close(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_sum_over_the_vocabulary),
        cmocka_unit_test(its_memory_is_told_before),
        cmocka_unit_test(a_unit_is_answered),
        cmocka_unit_test(vocabularies_must_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

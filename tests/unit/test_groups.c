/* Groups of sequences (task.h): means of means, and groups that teach nothing because their ratio
 * is too large. What must hold is exact, so everything here is compared to the bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/learning.h"
#include "tests/unit/tiny.h"

enum { SEQUENCES = 8, GROUPS = 3, OBJECTIVES = 4 };

static const int64_t group_start[GROUPS + 1] = {0, 2, 4, 8};
static const struct learning_way whole = {"whole", NULL, 1, 600, SEQUENCES, false};
static const enum tr_objective objectives[OBJECTIVES] = {TR_LEARN_POLICY, TR_LEARN_VALUE,
                                                         TR_LEARN_KTO, TR_LEARN_PAIRS};

static int64_t labels_of(const struct learning *x, int64_t s0, int64_t s1)
{
    int64_t n = 0;
    for (int64_t s = s0; s < s1; s++)
        for (int64_t i = x->start[s] + 1; i < x->start[s + 1]; i++)
            n += x->label[i] != TR_UNLABELLED;
    return n;
}

/* The mean of the groups' means; the ratio of group 1 is near e^5 when `far`. */
static void open_groups(struct learning *x, enum tr_objective objective,
                        const struct tr_arch *a, int64_t divisor[GROUPS], bool far)
{
    learning_open(x, objective, a->V, SEQUENCES, 31);
    for (int64_t g = 0; g < GROUPS; g++) {
        int64_t s0 = group_start[g], s1 = group_start[g + 1];
        int64_t n = labels_of(x, s0, s1);
        if (objective == TR_LEARN_KTO) n = s1 - s0;
        if (objective == TR_LEARN_PAIRS) n = (s1 - s0) / 2;
        divisor[g] = GROUPS * n;
    }
    x->task.seq.groups = GROUPS;
    x->task.seq.group_start = group_start;
    x->task.seq.group_divisor = divisor;
    x->task.ratio_threshold = objective == TR_LEARN_POLICY ? 10 : 0;
    for (int64_t i = x->start[2]; far && i < x->start[4]; i++) x->old_logp[i] -= 5;
}

static float *gradient(const struct learning_way *way, const struct tr_arch *a,
                       const struct learning *x, struct tr_learn_result *r, size_t *bytes)
{
    struct tr_exec ex;
    struct tr_learner *l = NULL;
    struct tr_err err = {0};
    const float *grad = NULL;
    if (!learning_learner(way, a, false, &ex, &l)) return NULL;
    if (tr_learner_gradient(l, &x->task, r, &grad, &err) != TR_OK)
        fail_msg("%s: %s", way->name, err.text);
    *bytes = (size_t)tr_params_total(tr_learner_params(l)) * sizeof *grad;
    float *copy = malloc(*bytes);
    assert_non_null(copy);
    memcpy(copy, grad, *bytes);
    tr_learner_close(l);
    tr_exec_fini(&ex);
    return copy;
}

/* Invariant 1 of task.h, with groups. */
static void ways_of_computing_change_no_bit(void **state)
{
    (void)state;
    static const struct learning_way ways[] = {
        {"one sequence at a time", NULL, 1, 140, 1, false},
        {"two at a time", NULL, 2, 300, 2, false},
        {"as many as fit, recomputed", NULL, 1, 250, SEQUENCES, true},
        {"scalar", "scalar", 1, 600, SEQUENCES, false},
    };
    const struct tr_arch *a = &tiny_archs[0].arch;
    for (size_t o = 0; o < OBJECTIVES; o++)
        for (int far = 0; far < 2; far++) {
            struct learning x;
            struct tr_learn_result want, got;
            int64_t divisor[GROUPS];
            size_t bytes = 0;
            open_groups(&x, objectives[o], a, divisor, far);
            float *grad = gradient(&whole, a, &x, &want, &bytes);
            for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
                if (objectives[o] == TR_LEARN_PAIRS && ways[w].max_sequences < 2)
                    continue; /* a pair is not cut */
                float *other = gradient(&ways[w], a, &x, &got, &bytes);
                if (memcmp(grad, other, bytes) != 0 || want.loss != got.loss ||
                    want.ratio != got.ratio || want.entropy != got.entropy)
                    fail_msg("objective %zu, %s", o, ways[w].name);
                free(other);
            }
            free(grad);
            learning_close(&x);
        }
}

/* One group that is divided as the task is gives what no groups give. */
static void one_group_is_none(void **state)
{
    (void)state;
    static const int64_t all[2] = {0, SEQUENCES};
    const struct tr_arch *a = &tiny_archs[0].arch;
    for (size_t o = 0; o < OBJECTIVES; o++) {
        struct learning x;
        struct tr_learn_result want, got;
        size_t bytes = 0;
        learning_open(&x, objectives[o], a->V, SEQUENCES, 31);
        int64_t divisor = (int64_t)x.task.divisor;
        float *none = gradient(&whole, a, &x, &want, &bytes);
        x.task.seq.groups = 1;
        x.task.seq.group_start = all;
        x.task.seq.group_divisor = &divisor;
        x.task.ratio_threshold = 10;
        float *one = gradient(&whole, a, &x, &got, &bytes);
        assert_memory_equal(none, one, bytes);
        assert_true(want.loss == got.loss && want.loss != 0);
        free(none);
        free(one);
        learning_close(&x);
    }
}

/* A group beyond the threshold teaches what advantages of 0 teach, and its ratio is still told. */
static void a_far_group_teaches_nothing(void **state)
{
    (void)state;
    const struct tr_arch *a = &tiny_archs[0].arch;
    struct learning x;
    struct tr_learn_result muted, zero, full;
    int64_t divisor[GROUPS];
    size_t bytes = 0, differ = 0;
    open_groups(&x, TR_LEARN_POLICY, a, divisor, true);
    x.task.clip = 0; /* else the clipped branch would be flat there as well */
    float *got = gradient(&whole, a, &x, &muted, &bytes);
    x.task.ratio_threshold = 0;
    float *all = gradient(&whole, a, &x, &full, &bytes);
    for (int64_t i = x.start[2]; i < x.start[4]; i++) x.advantage[i] = 0;
    float *want = gradient(&whole, a, &x, &zero, &bytes);
    for (size_t i = 0; i < bytes / sizeof *got; i++) {
        assert_true(got[i] == want[i]);
        differ += got[i] != all[i];
    }
    assert_true(differ > 0);
    assert_true(muted.loss == zero.loss && muted.ratio == full.ratio);
    assert_int_equal(muted.targets, full.targets);
    free(got);
    free(all);
    free(want);
    learning_close(&x);
}

/* kto: a group has its own baseline and its own mean over desirable answers, so two micro-batches
 * of the peer, each by itself, sum to the step. */
static void groups_of_kto_are_steps_of_their_own(void **state)
{
    (void)state;
    static const int64_t start[3] = {0, 3, SEQUENCES}, divisor[2] = {6, 10};
    static const double z0[2] = {0.4, 0.9};
    const struct tr_arch *a = &tiny_archs[0].arch;
    struct learning x;
    struct tr_learn_result both, one[2];
    size_t bytes = 0;
    learning_open(&x, TR_LEARN_KTO, a->V, SEQUENCES, 31);
    x.task.seq.groups = 2;
    x.task.seq.group_start = start;
    x.task.seq.group_divisor = divisor;
    x.task.seq.z0 = z0;
    free(gradient(&whole, a, &x, &both, &bytes));
    for (int g = 0; g < 2; g++) {
        struct learning part = x;
        int64_t base = x.start[start[g]], first[SEQUENCES + 1];
        for (int64_t s = start[g]; s <= start[g + 1]; s++)
            first[s - start[g]] = x.start[s] - base;
        struct tr_sequences *q = &part.task.seq;
        q->groups = 0;
        q->S = start[g + 1] - start[g];
        q->T = x.start[start[g + 1]] - base;
        q->start = first;
        q->token += base;
        q->label += base;
        q->reference += start[g];
        q->desirable += start[g];
        q->z0 += g;
        part.task.divisor = (double)q->S;
        free(gradient(&whole, a, &part, &one[g], &bytes));
        assert_true(one[g].kl == z0[g]);
    }
    double mean = (one[0].loss + one[1].loss) / 2;
    if (!(fabs(both.loss - mean) < 1e-12 * mean))
        fail_msg("%a, want %a", both.loss, mean);
    assert_true(fabs(both.kl - 0.65) < 1e-15);
    assert_int_equal(both.chosen, one[0].chosen + one[1].chosen);
    assert_int_equal(both.chosen + both.rejected, SEQUENCES);
    learning_close(&x);
}

/* pairs: each group divides its own, so a lone pair weighs as much as three. */
static void groups_of_pairs_are_means_of_their_own(void **state)
{
    (void)state;
    static const int64_t start[3] = {0, 2, SEQUENCES}, divisor[2] = {2, 6};
    const struct tr_arch *a = &tiny_archs[0].arch;
    struct learning x;
    struct tr_learn_result all, both, first;
    size_t bytes = 0;
    double worst = 0, top = 0;
    learning_open(&x, TR_LEARN_PAIRS, a->V, SEQUENCES, 31);
    float *g_all = gradient(&whole, a, &x, &all, &bytes);
    struct learning lone = x;
    lone.task.seq.S = 2;
    lone.task.seq.T = x.start[2];
    lone.task.divisor = 1;
    float *g_first = gradient(&whole, a, &lone, &first, &bytes);
    x.task.seq.groups = 2;
    x.task.seq.group_start = start;
    x.task.seq.group_divisor = divisor;
    float *g_both = gradient(&whole, a, &x, &both, &bytes);
    double want = first.loss / 2 + (all.loss * 4 - first.loss) / 6;
    if (!(fabs(both.loss - want) < 1e-12 * want))
        fail_msg("%a, want %a", both.loss, want);
    assert_true(fabs(both.loss - all.loss) > 1e-3);
    assert_true(both.accuracy == all.accuracy && both.targets == all.targets);
    for (size_t i = 0; i < bytes / sizeof *g_all; i++) {
        double one = (double)g_first[i];
        double due = one / 2 + (4 * (double)g_all[i] - one) / 6;
        worst = fmax(worst, fabs((double)g_both[i] - due));
        top = fmax(top, fabs(due));
    }
    assert_true(top > 0 && worst < 1e-5 * top);
    free(g_all);
    free(g_first);
    free(g_both);
    learning_close(&x);
}

static void malformed_groups_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t start[3], divisor[2];
    } rows[] = {
        {"begins late", {1, 4, 8}, {1, 1}},
        {"ends early", {0, 4, 7}, {1, 1}},
        {"an empty group", {0, 8, 8}, {1, 1}},
        {"no divisor", {0, 4, 8}, {1, 0}},
    };
    struct tr_exec ex;
    struct tr_learner *l = NULL;
    struct learning x;
    struct tr_learn_result r;
    const struct tr_arch *a = &tiny_archs[0].arch;
    assert_true(learning_learner(&whole, a, false, &ex, &l));
    learning_open(&x, TR_LEARN_POLICY, a->V, SEQUENCES, 31);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        x.task.seq.groups = 2;
        x.task.seq.group_start = rows[i].start;
        x.task.seq.group_divisor = rows[i].divisor;
        if (tr_learner_gradient(l, &x.task, &r, NULL, NULL) != TR_BADARG)
            fail_msg("%s", rows[i].name);
    }
    learning_close(&x);
    static const int64_t odd[3] = {0, 3, 8}, ones[2] = {1, 1}; /* a pair in two groups */
    learning_open(&x, TR_LEARN_PAIRS, a->V, SEQUENCES, 31);
    x.task.seq.groups = 2;
    x.task.seq.group_start = odd;
    x.task.seq.group_divisor = ones;
    assert_int_equal(tr_learner_gradient(l, &x.task, &r, NULL, NULL), TR_BADARG);
    learning_close(&x);
    tr_learner_close(l);
    tr_exec_fini(&ex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ways_of_computing_change_no_bit),
        cmocka_unit_test(one_group_is_none),
        cmocka_unit_test(a_far_group_teaches_nothing),
        cmocka_unit_test(groups_of_kto_are_steps_of_their_own),
        cmocka_unit_test(groups_of_pairs_are_means_of_their_own),
        cmocka_unit_test(malformed_groups_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

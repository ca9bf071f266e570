/* The learner's invariants: what changes no bit, what a bad step leaves alone, and that the
 * gradient is the slope of the loss. Its numbers are held against the peer's in the golden
 * families F4 and F9. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/learning.h"
#include "tests/unit/scarce.h"
#include "tests/unit/tiny.h"

enum { SEQUENCES = 8, STEPS = 3, OBJECTIVES = 5 };

static const enum tr_objective objectives[OBJECTIVES] = {
    TR_LEARN_TOKENS, TR_LEARN_PAIRS, TR_LEARN_POLICY, TR_LEARN_VALUE, TR_LEARN_KTO};

static const struct learning_way whole = {"whole", NULL, 1, 600, SEQUENCES, false};

static void step(struct tr_learner *l, const struct tr_learn_task *task,
                 struct tr_learn_result *r)
{
    struct tr_err err = {0};
    if (tr_learner_step(l, task, r, &err) != TR_OK) fail_msg("%s", err.text);
}

/* Some steps of fresh tasks; the digest of all that changed. */
static bool run(const struct learning_way *way, const struct tr_arch *a, bool bf16,
                enum tr_objective objective, struct tr_digest *out, double loss[STEPS])
{
    struct tr_exec ex;
    struct tr_learner *l = NULL;
    struct tr_learn_result r;
    if (!learning_learner(way, a, bf16, &ex, &l)) return false;
    for (uint64_t s = 0; s < STEPS; s++) {
        struct learning x;
        learning_open(&x, objective, a->V, SEQUENCES, 100 + s);
        step(l, &x.task, &r);
        assert_false(r.skipped);
        assert_int_equal(r.t, s + 1);
        loss[s] = r.loss;
        if (way != &whole) tr_learner_rest(l); /* the gradient begins anew in any case */
        learning_close(&x);
    }
    *out = learning_state(l);
    tr_learner_close(l);
    tr_exec_fini(&ex);
    return true;
}

/* Invariant 1 of learner.h. */
static void ways_of_computing_change_no_bit(void **state)
{
    (void)state;
    static const struct learning_way ways[] = {
        {"one sequence (pair) at a time", NULL, 1, 140, 2, false},
        {"two pairs at a time", NULL, 1, 300, 4, false},
        {"recomputed", NULL, 1, 600, SEQUENCES, true},
        {"two threads", NULL, 2, 600, SEQUENCES, false},
        {"three threads, small batches, recomputed", NULL, 3, 200, 3, true},
        {"scalar", "scalar", 1, 600, SEQUENCES, false},
        {"avx2", "avx2", 2, 300, 4, true},
        {"avx512", "avx512", 2, 300, 4, false},
    };
    for (int a = 0; a < tiny_arch_count; a++)
        for (size_t o = 0; o < OBJECTIVES; o++) {
            struct tr_digest want, got;
            double loss[STEPS], other[STEPS];
            const struct tr_arch *arch = &tiny_archs[a].arch;
            bool bf16 = a % 2;
            assert_true(run(&whole, arch, bf16, objectives[o], &want, loss));
            for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
                if (!run(&ways[w], arch, bf16, objectives[o], &got, other)) {
                    if (!a && !o) print_message("skipped here: %s\n", ways[w].name);
                    continue;
                }
                if (!tr_digest_equal(&want, &got) ||
                    memcmp(loss, other, sizeof loss) != 0)
                    fail_msg("%s, objective %zu: %s", tiny_archs[a].name, o,
                             ways[w].name);
            }
        }
}

/* The loss at the masters moved by `by` along the direction. */
static double loss_at(struct tr_learner *l, const struct tr_learn_task *task,
                      const float *from, const float *direction, double by)
{
    struct tr_learn_result r;
    struct tr_learner_state s = tr_learner_state(l);
    for (int64_t i = 0; i < tr_params_total(tr_learner_params(l)); i++)
        s.master[i] = (float)((double)from[i] + by * (double)direction[i]);
    tr_learner_refresh(l);
    assert_int_equal(tr_learner_gradient(l, task, &r, NULL, NULL), TR_OK);
    return r.loss;
}

/* Along its own direction the loss climbs by the gradient's length: central differences, f32
 * forward passes, so within 1 %. */
static void gradients_are_the_slopes_of_the_losses(void **state)
{
    (void)state;
    for (int a = 0; a < tiny_arch_count; a++)
        for (size_t o = 0; o < OBJECTIVES; o++) {
            struct tr_exec ex;
            struct tr_learner *l = NULL;
            struct learning x;
            struct tr_learn_result r;
            const float *grad = NULL;
            const struct tr_arch *arch = &tiny_archs[a].arch;
            assert_true(learning_learner(&whole, arch, false, &ex, &l));
            size_t bytes = (size_t)tr_params_total(tr_learner_params(l)) * sizeof *grad;
            learning_open(&x, objectives[o], arch->V, SEQUENCES, 5);
            x.task.clip = 0; /* no kinks on the way */
            assert_int_equal(tr_learner_gradient(l, &x.task, &r, &grad, NULL), TR_OK);
            float *direction = malloc(bytes);
            float *from = malloc(bytes);
            assert_true(direction && from);
            memcpy(direction, grad, bytes);
            memcpy(from, tr_learner_state(l).master, bytes);
            double h = 2e-3 / r.grad_norm;
            double rise = loss_at(l, &x.task, from, direction, h) -
                          loss_at(l, &x.task, from, direction, -h);
            double slope = rise / (2 * h);
            double want = r.grad_norm * r.grad_norm;
            if (!(fabs(slope - want) < 0.01 * want))
                fail_msg("%s, objective %zu: slope %g, want %g", tiny_archs[a].name, o,
                         slope, want);
            free(direction);
            free(from);
            learning_close(&x);
            tr_learner_close(l);
            tr_exec_fini(&ex);
        }
}

/* Invariant 2. */
static void a_step_that_is_not_finite_changes_nothing(void **state)
{
    (void)state;
    struct tr_exec ex;
    struct tr_learner *l = NULL;
    struct learning x;
    struct tr_learn_result r;
    assert_true(learning_learner(&whole, &tiny_archs[0].arch, false, &ex, &l));
    learning_open(&x, TR_LEARN_POLICY, tiny_archs[0].arch.V, SEQUENCES, 1);
    step(l, &x.task, &r);
    assert_false(r.skipped);
    struct tr_digest before = learning_state(l);
    x.advantage[x.start[1] - 1] = NAN;
    step(l, &x.task, &r);
    assert_true(r.skipped && isnan(r.loss));
    x.advantage[x.start[1] - 1] = INFINITY;
    step(l, &x.task, &r);
    assert_true(r.skipped && r.t == 1);
    struct tr_digest after = learning_state(l);
    assert_true(tr_digest_equal(&before, &after));
    x.advantage[x.start[1] - 1] = 1;
    step(l, &x.task, &r);
    assert_true(!r.skipped && r.t == 2);
    learning_close(&x);
    tr_learner_close(l);
    tr_exec_fini(&ex);
}

/* Invariant 3: lm_head is no part of a value's loss, the value head none of a token's. */
static void tensors_without_a_part_are_left_alone(void **state)
{
    (void)state;
    static const struct {
        enum tr_objective objective;
        const char *alone, *moved;
    } rows[] = {
        {TR_LEARN_TOKENS, "v_head.summary.weight", "model.norm.weight"},
        {TR_LEARN_POLICY, "v_head.summary.bias", "model.norm.weight"},
        {TR_LEARN_PAIRS, "lm_head.weight", "v_head.summary.weight"},
        {TR_LEARN_VALUE, "lm_head.weight", "v_head.summary.bias"},
        {TR_LEARN_KTO, "v_head.summary.weight", "model.norm.weight"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int a = 0; a < tiny_arch_count; a++) {
            struct tr_exec ex;
            struct tr_learner *l = NULL;
            struct learning x;
            struct tr_learn_result r;
            const struct tr_arch *arch = &tiny_archs[a].arch;
            assert_true(learning_learner(&whole, arch, false, &ex, &l));
            const struct tr_params *params = tr_learner_params(l);
            const struct tr_param *alone = tr_params_find(params, rows[i].alone);
            const struct tr_param *moved = tr_params_find(params, rows[i].moved);
            const float *master = tr_learner_state(l).master;
            float first = alone ? master[alone->at] : 0;
            float other = master[moved->at];
            learning_open(&x, rows[i].objective, arch->V, SEQUENCES, 3);
            step(l, &x.task, &r);
            if (alone) assert_true(master[alone->at] == first);
            assert_true(master[moved->at] != other);
            learning_close(&x);
            tr_learner_close(l);
            tr_exec_fini(&ex);
        }
}

/* Invariant 4. */
static void a_step_allocates_nothing(void **state)
{
    (void)state;
    static const struct learning_way way = {"two at a time", NULL, 2, 200, 2, true};
    for (size_t o = 0; o < OBJECTIVES; o++) {
        struct tr_exec ex;
        struct tr_learner *l = NULL;
        struct learning x;
        struct tr_learn_result r;
        assert_true(learning_learner(&way, &tiny_archs[0].arch, o % 2, &ex, &l));
        learning_open(&x, objectives[o], tiny_archs[0].arch.V, SEQUENCES, 2);
        int64_t before = scarce_calls();
        step(l, &x.task, &r);
        assert_int_equal(scarce_calls(), before);
        learning_close(&x);
        tr_learner_close(l);
        tr_exec_fini(&ex);
    }
}

static void malformed_tasks_are_refused(void **state)
{
    (void)state;
    struct tr_exec ex;
    struct tr_learner *l = NULL;
    struct learning x;
    struct tr_learn_result r;
    struct tr_err err = {0};
    static const struct learning_way small = {"small", NULL, 1, 70, 1, false};
    assert_true(learning_learner(&small, &tiny_archs[0].arch, false, &ex, &l));
    learning_open(&x, TR_LEARN_PAIRS, tiny_archs[0].arch.V, SEQUENCES, 2);
    struct tr_digest before = learning_state(l);
    assert_int_equal(tr_learner_step(l, &x.task, &r, &err), TR_BADARG); /* no pair fits */
    assert_non_null(strstr(err.text, "micro-batch holds"));
    x.task.objective = TR_LEARN_TOKENS;
    x.label[x.start[1] - 1] = (int32_t)tiny_archs[0].arch.V;
    assert_int_equal(tr_learner_step(l, &x.task, &r, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "vocabulary"));
    x.label[x.start[1] - 1] = TR_UNLABELLED;
    x.token[0] = -1;
    assert_int_equal(tr_learner_step(l, &x.task, &r, &err), TR_BADARG);
    x.token[0] = 0;
    x.task.divisor = 0;
    assert_int_equal(tr_learner_step(l, &x.task, &r, &err), TR_BADARG);
    x.task.divisor = 1;
    x.start[1] = x.start[2] + 1;
    assert_int_equal(tr_learner_step(l, &x.task, &r, &err), TR_BADARG);
    struct tr_digest after = learning_state(l);
    assert_true(tr_digest_equal(&before, &after));
    learning_close(&x);
    tr_learner_close(l);
    tr_exec_fini(&ex);
}

/* The old log-probs of the very weights: the ratio is 1 and no bit differs. */
static void old_log_probs_of_the_same_weights_match_to_the_bit(void **state)
{
    (void)state;
    struct tr_exec ex;
    struct tr_learner *l = NULL;
    struct learning x;
    struct tr_learn_result r;
    const struct tr_arch *a = &tiny_archs[0].arch;
    struct tr_head *head = NULL;
    struct tr_trunk *trunk = NULL;
    const struct tr_trunk_size size = {.max_tokens = 600, .max_sequences = SEQUENCES};
    const float *hidden = NULL;
    assert_true(learning_learner(&whole, a, true, &ex, &l));
    learning_open(&x, TR_LEARN_POLICY, a->V, SEQUENCES, 9);
    assert_int_equal(tr_trunk_create(a, &size, &trunk, NULL), TR_OK);
    assert_int_equal(tr_head_create(a, 600, &head, NULL), TR_OK);
    struct tr_batch batch = {
        .T = x.task.seq.T, .S = SEQUENCES, .token = x.token, .start = x.start};
    const struct tr_weights *w = tr_learner_weights(l);
    assert_int_equal(tr_trunk_forward(trunk, &ex, w, &batch, NULL, NULL, &hidden, NULL),
                     TR_OK);
    for (int64_t i = 1; i < x.task.seq.T; i++) {
        int64_t row = i - 1;
        struct tr_head_rows one = {.n = 1, .row = &row, .target = &x.token[i]};
        tr_head_logprob(head, &ex, w, hidden, &one, &x.old_logp[i], NULL);
    }
    step(l, &x.task, &r);
    assert_int_equal(r.mismatch_bits, 0);
    assert_true(r.ratio == 1 && r.policy_kl == 0);
    step(l, &x.task, &r);
    assert_true(r.mismatch_bits > 0);
    tr_trunk_destroy(trunk);
    tr_head_destroy(head);
    learning_close(&x);
    tr_learner_close(l);
    tr_exec_fini(&ex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ways_of_computing_change_no_bit),
        cmocka_unit_test(gradients_are_the_slopes_of_the_losses),
        cmocka_unit_test(a_step_that_is_not_finite_changes_nothing),
        cmocka_unit_test(tensors_without_a_part_are_left_alone),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(malformed_tasks_are_refused),
        cmocka_unit_test(old_log_probs_of_the_same_weights_match_to_the_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

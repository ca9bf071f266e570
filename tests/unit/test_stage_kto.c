/* A run of KTO as a row of tasks: what is asked of judges, in whatever order they answer, and what
 * becomes of it. Judges are made up: a log-prob is a function of the judge, the text and the place. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/learn/stage.h"
#include "core/text/render.h"

enum { EXAMPLES = 7, LONGEST = 12, STEPS = 6 };

/* Prompt and answer tokens of each target and twin. */
static const int64_t shape[EXAMPLES][4] = {
    {3, 2, 3, 5}, {2, 5, 2, 2}, {4, 1, 4, 5}, {1, 3, 1, 1},
    {6, 4, 6, 3}, {3, 0, 3, 4}, {5, 2, 5, 0},
};

static struct tr_examples *make_examples(void)
{
    struct tr_examples *e = calloc(1, sizeof *e);
    assert_non_null(e);
    for (int x = 0; x < EXAMPLES; x++) {
        int32_t id[2][LONGEST], label[2][LONGEST];
        struct tr_sequence seq[2];
        for (int k = 0; k < 2; k++) {
            int64_t prompt = shape[x][2 * k], n = prompt + shape[x][2 * k + 1];
            for (int64_t i = 0; i < n; i++) {
                id[k][i] = (int32_t)(100 * x + 20 * k + i);
                label[k][i] = i < prompt ? TR_IGNORE : id[k][i];
            }
            seq[k] = (struct tr_sequence){n, id[k], label[k]};
        }
        assert_int_equal(tr_examples_put(e, 2, seq, NULL), TR_OK);
        e->at[x].desirable = x % 3 != 0;
    }
    return e;
}

static struct tr_stage_plan *make_plan(const struct tr_examples *e, bool compat)
{
    struct tr_stage_options o = {
        .stage = TR_KTO,
        .plan = {.batch = 2, .accumulation = 2, .shuffle = true, .seed = 5, .epochs = 3},
        .update = {.beta1 = 0.9, .beta2 = 0.999},
        .kto = {0.1, 1, 2, 0},
        .compat = compat,
    };
    struct tr_stage_plan *p = NULL;
    struct tr_err err = {0};
    assert_int_equal(tr_schedule_named("linear", &o.schedule, &err), TR_OK);
    o.schedule.lr = 1;
    if (tr_stage_create(&o, e, &p, &err) != TR_OK) fail_msg("%s", err.text);
    assert_int_equal(tr_stage_steps(p)->total, STEPS);
    return p;
}

/* The log-prob of the token at a place of a text; the policy's moves with the step. */
static float judged(enum tr_stage_judge judge, int64_t step, int32_t first, int64_t i)
{
    int64_t weights = judge == TR_STAGE_POLICY ? 1 + step : 0;
    return -1 - (float)((first * 7 + i * 13 + weights * 5) % 11) / 8;
}

static void answer(struct tr_stage_plan *p, enum tr_stage_judge judge, int64_t step,
                   int64_t first, int64_t count)
{
    struct tr_stage_ask ask;
    float number[2 * EXAMPLES * LONGEST];
    int64_t n = 0;
    tr_stage_ask(p, judge, step, first, count, &ask);
    for (int64_t s = 0; s < ask.S; s++) {
        assert_true(ask.from[s] >= 1 && ask.from[s] < ask.start[s + 1] - ask.start[s]);
        for (int64_t i = ask.from[s]; i < ask.start[s + 1] - ask.start[s]; i++)
            number[n++] = judged(judge, step, ask.token[ask.start[s]], i);
    }
    assert_int_equal(n, ask.numbers);
    assert_int_equal(tr_stage_told(p, judge, step, first, count, number, n, NULL), TR_OK);
}

static double sum_of(enum tr_stage_judge judge, int64_t step, int64_t example, int twin)
{
    int64_t prompt = shape[example][2 * twin], n = prompt + shape[example][2 * twin + 1];
    double sum = 0;
    for (int64_t i = prompt > 0 ? prompt : 1; i < n; i++)
        sum += (double)judged(judge, step, (int32_t)(100 * example + 20 * twin), i);
    return sum;
}

static void take(struct tr_stage_plan *p)
{
    struct tr_learn_result r = {.tokens = 1};
    tr_stage_take(p, &r);
}

/* The task of the next step against sums made here. */
static void check_task(struct tr_stage_plan *p, struct tr_learn_task *task, bool compat)
{
    int64_t step = tr_stage_progress(p).step, n = tr_stage_width(p, step);
    assert_true(tr_stage_next(p, task));
    const struct tr_sequences *q = &task->seq;
    assert_int_equal(task->objective, TR_LEARN_KTO);
    assert_int_equal(q->S, n);
    assert_true(task->divisor == (double)n && task->kto.undesirable_weight == 2);
    int64_t size = compat ? 2 : n, groups = (n + size - 1) / size;
    assert_int_equal(q->groups, compat ? groups : 0);
    for (int64_t g = 0; g < groups; g++) {
        double policy[EXAMPLES], reference[EXAMPLES];
        int64_t k = 0;
        for (int64_t i = g * size; i < n && i < (g + 1) * size; i++, k++) {
            int64_t x = tr_stage_example(p, step, i);
            policy[k] = sum_of(TR_STAGE_POLICY, step, x, 1);
            reference[k] = sum_of(TR_STAGE_REFERENCE, 0, x, 1);
            assert_true(q->reference[i] == sum_of(TR_STAGE_REFERENCE, 0, x, 0));
            assert_int_equal(q->desirable[i], x % 3 != 0);
            assert_int_equal(q->token[q->start[i]], 100 * x);
            assert_int_equal(q->start[i + 1] - q->start[i], shape[x][0] + shape[x][1]);
        }
        assert_true(q->z0[g] == tr_kto_z0(policy, reference, k));
        if (!compat) continue;
        assert_int_equal(q->group_start[g + 1] - q->group_start[g], k);
        assert_int_equal(q->group_divisor[g], k * groups);
    }
}

static void tasks_are_made_of_what_was_told(void **state)
{
    (void)state;
    for (int compat = 0; compat < 2; compat++) {
        struct tr_examples *e = make_examples();
        struct tr_stage_plan *p = make_plan(e, compat);
        struct tr_learn_task task;
        double most = 0;
        for (int64_t s = 0; s < STEPS; s++) {
            int64_t n = tr_stage_width(p, s);
            assert_int_equal(n, s % 2 ? 3 : 4);
            assert_false(tr_stage_ready(p));
            answer(p, TR_STAGE_REFERENCE, s, 0, n);
            assert_false(tr_stage_ready(p));
            answer(p, TR_STAGE_POLICY, s, 0, n);
            assert_true(tr_stage_ready(p));
            check_task(p, &task, compat);
            most = fmax(most, task.seq.z0[0]);
            take(p);
        }
        assert_true(most > 0); /* or nothing was seen of baselines */
        assert_false(tr_stage_next(p, &task));
        assert_int_equal(tr_stage_width(p, STEPS), 0);
        assert_true(tr_stage_ready(p));
        tr_stage_destroy(p);
        tr_examples_destroy(e);
    }
}

/* Seven examples in micro-batches of 2, three to a step: the second step has one example. */
static void a_short_step_is_divided_as_the_peer_does(void **state)
{
    (void)state;
    static const enum tr_stage stage[2] = {TR_KTO, TR_RM};
    for (int k = 0; k < 4; k++) {
        bool compat = k % 2, pairs = k / 2;
        struct tr_stage_options o = {
            .stage = stage[k / 2],
            .plan = {.batch = 2, .accumulation = 3, .epochs = 1},
            .kto = {0.1, 1, 1, 0},
            .stop = -1,
            .compat = compat,
        };
        struct tr_examples *e = make_examples();
        struct tr_stage_plan *p = NULL;
        struct tr_learn_task task;
        assert_int_equal(tr_schedule_named("constant", &o.schedule, NULL), TR_OK);
        assert_int_equal(tr_stage_create(&o, e, &p, NULL), TR_OK);
        for (int64_t s = 0; s < 2; s++) {
            int64_t n = s ? 1 : 6;
            if (!pairs) answer(p, TR_STAGE_REFERENCE, s, 0, n);
            if (!pairs) answer(p, TR_STAGE_POLICY, s, 0, n);
            assert_true(tr_stage_next(p, &task));
            assert_int_equal(task.seq.S, pairs ? 2 * n : n);
            assert_true(task.divisor == (double)n);
            bool grouped = compat && (!pairs || s == 1);
            assert_int_equal(task.seq.groups, grouped ? (n + 1) / 2 : 0);
            for (int64_t g = 0; g < task.seq.groups; g++) {
                int64_t size = task.seq.group_start[g + 1] - task.seq.group_start[g];
                assert_int_equal(size, (s ? 1 : 2) * (pairs ? 2 : 1));
                assert_int_equal(task.seq.group_divisor[g], (s ? 1 : 2) * 3);
            }
            take(p);
        }
        tr_stage_destroy(p);
        tr_examples_destroy(e);
    }
}

/* Invariant 1: far ahead, backwards, one by one, twice. */
static void the_order_of_answers_is_nothing(void **state)
{
    (void)state;
    struct tr_examples *e = make_examples();
    struct tr_stage_plan *p = make_plan(e, false);
    struct tr_learn_task task;
    for (int64_t s = STEPS - 1; s >= 0; s--)
        for (int64_t i = tr_stage_width(p, s) - 1; i >= 0; i--) {
            bool first_time = s >= STEPS - 2; /* an epoch is two steps */
            assert_int_equal(tr_stage_knows(p, TR_STAGE_REFERENCE, s, i), !first_time);
            answer(p, TR_STAGE_REFERENCE, s, i, 1);
            assert_true(tr_stage_knows(p, TR_STAGE_REFERENCE, s, i));
        }
    for (int64_t s = 0; s < STEPS; s++) {
        for (int64_t i = tr_stage_width(p, s) - 1; i >= 0; i--)
            for (int twice = 0; twice < 2; twice++) answer(p, TR_STAGE_POLICY, s, i, 1);
        check_task(p, &task, false);
        take(p);
    }
    tr_stage_destroy(p);
    tr_examples_destroy(e);
}

/* Twins without an answer need not be asked, so they are known as they are. */
static bool has_answer(struct tr_stage_plan *p, int64_t step, int64_t i)
{
    return shape[tr_stage_example(p, step, i)][3] > 0;
}

static void the_policy_s_answers_are_forgotten(void **state)
{
    (void)state;
    struct tr_examples *e = make_examples();
    struct tr_stage_plan *p = make_plan(e, false);
    struct tr_learn_task task;
    struct tr_stage_progress at = {.step = 3};
    for (int64_t s = 0; s < STEPS; s++)
        answer(p, TR_STAGE_REFERENCE, s, 0, tr_stage_width(p, s));
    answer(p, TR_STAGE_POLICY, 0, 0, 4);
    take(p);
    for (int64_t i = 0; i < 3; i++)
        assert_int_equal(tr_stage_knows(p, TR_STAGE_POLICY, 1, i), !has_answer(p, 1, i));
    answer(p, TR_STAGE_POLICY, 1, 0, 3);
    assert_int_equal(tr_stage_seek(p, &at, NULL), TR_OK);
    assert_false(tr_stage_ready(p));
    answer(p, TR_STAGE_POLICY, 3, 0, 3);
    check_task(p, &task, false); /* the reference's are kept */
    tr_stage_destroy(p);
    tr_examples_destroy(e);
}

static void wrong_answers_are_refused(void **state)
{
    (void)state;
    struct tr_examples *e = make_examples();
    struct tr_stage_plan *p = make_plan(e, false);
    struct tr_stage_ask ask;
    struct tr_err err = {0};
    float number[2 * EXAMPLES * LONGEST] = {0};
    tr_stage_ask(p, TR_STAGE_REFERENCE, 0, 0, 4, &ask);
    int64_t n = ask.numbers;
    assert_true(ask.S >= 7); /* all but one that has no answer */
    for (int64_t off = -1; off < 2; off++) {
        if (off == 0) number[n - 1] = NAN;
        assert_int_equal(
            tr_stage_told(p, TR_STAGE_REFERENCE, 0, 0, 4, number, n + off, &err),
            TR_BADMSG);
        assert_non_null(strstr(err.text, "number"));
    }
    for (int64_t i = 0; i < 4; i++)
        assert_false(tr_stage_knows(p, TR_STAGE_REFERENCE, 0, i));
    tr_stage_destroy(p);
    tr_examples_destroy(e);
}

/* A micro-batch holds every text that is judged, and every target of a batch. */
static void micro_batches_hold_what_is_asked(void **state)
{
    (void)state;
    struct tr_examples *e = make_examples();
    struct tr_stage_plan *p = make_plan(e, false);
    int64_t tokens, sequences;
    tr_stage_micro_batch(p, &tokens, &sequences);
    assert_int_equal(tokens, 2 * 10);
    assert_int_equal(sequences, 2);
    tr_stage_destroy(p);
    tr_examples_destroy(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_step_is_divided_as_the_peer_does),
        cmocka_unit_test(tasks_are_made_of_what_was_told),
        cmocka_unit_test(the_order_of_answers_is_nothing),
        cmocka_unit_test(the_policy_s_answers_are_forgotten),
        cmocka_unit_test(wrong_answers_are_refused),
        cmocka_unit_test(micro_batches_hold_what_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Which examples belong to which step. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/learn/plan.h"
#include "core/learn/stage.h"

static void steps_are_counted_as_the_peer_counts(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct tr_plan plan;
        int64_t micro, per_epoch, total;
    } rows[] = {
        {"one sample",
         {.examples = 1, .batch = 8, .accumulation = 4, .epochs = 3},
         1,
         1,
         3},
        {"even",
         {.examples = 40, .batch = 2, .accumulation = 2, .epochs = 1},
         20,
         10,
         10},
        {"short last batch",
         {.examples = 541, .batch = 2, .accumulation = 2, .epochs = 1},
         271,
         136,
         136},
        {"part of an epoch",
         {.examples = 40, .batch = 2, .accumulation = 2, .epochs = 0.25},
         20,
         10,
         3},
        {"max_steps wins",
         {.examples = 40, .batch = 2, .accumulation = 2, .epochs = 1, .max_steps = 5},
         20,
         10,
         5},
        {"dropped tail",
         {.examples = 41, .batch = 2, .accumulation = 4, .epochs = 1, .drop_last = true},
         20,
         5,
         5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_plan p = rows[i].plan;
        assert_int_equal(tr_plan_make(&p, NULL), TR_OK);
        if (p.micro_per_epoch != rows[i].micro ||
            p.steps_per_epoch != rows[i].per_epoch || p.total != rows[i].total)
            fail_msg("%s: %lld micro-batches, %lld steps an epoch, %lld in all",
                     rows[i].name, (long long)p.micro_per_epoch,
                     (long long)p.steps_per_epoch, (long long)p.total);
    }
}

static void nothing_to_learn_from_is_refused(void **state)
{
    (void)state;
    struct tr_err err = {0};
    struct tr_plan none = {.examples = 0, .batch = 1, .accumulation = 1, .epochs = 1};
    struct tr_plan dropped = {
        .examples = 3, .batch = 4, .accumulation = 1, .epochs = 1, .drop_last = true};
    struct tr_plan no_epochs = {
        .examples = 3, .batch = 1, .accumulation = 1, .epochs = 0};
    assert_int_equal(tr_plan_make(&none, &err), TR_BADARG);
    assert_int_equal(tr_plan_make(&dropped, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "dataloader_drop_last"));
    assert_int_equal(tr_plan_make(&no_epochs, &err), TR_BADARG);
}

/* Invariant 1 of plan.h, and 2: no step crosses an epoch. */
static void every_example_appears_once_an_epoch(void **state)
{
    (void)state;
    enum { N = 23 };
    static const int64_t cuts[][2] = {{1, 1}, {2, 3}, {5, 2}, {23, 1}, {40, 2}, {4, 100}};
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        struct tr_plan p = {.examples = N,
                            .batch = cuts[c][0],
                            .accumulation = cuts[c][1],
                            .epochs = 3,
                            .shuffle = true,
                            .seed = 42};
        int seen[3][N] = {{0}};
        int64_t order[N];
        double before = 0;
        assert_int_equal(tr_plan_make(&p, NULL), TR_OK);
        for (int64_t s = 0; s < p.total; s++) {
            struct tr_plan_step at = tr_plan_at(&p, s);
            assert_true(at.count > 0 && at.epoch < 3);
            assert_true(at.epoch_after > before);
            before = at.epoch_after;
            tr_plan_order(&p, at.epoch, order);
            for (int64_t i = 0; i < at.count; i++) seen[at.epoch][order[at.first + i]]++;
        }
        assert_true(before == 3);
        for (int e = 0; e < 3; e++)
            for (int i = 0; i < N; i++) assert_int_equal(seen[e][i], 1);
    }
}

/* Only batch * accumulation matters for what a step learns from. */
static void micro_batches_do_not_move_examples(void **state)
{
    (void)state;
    struct tr_plan a = {.examples = 29, .batch = 2, .accumulation = 4, .epochs = 2};
    struct tr_plan b = {.examples = 29, .batch = 8, .accumulation = 1, .epochs = 2};
    assert_int_equal(tr_plan_make(&a, NULL), TR_OK);
    assert_int_equal(tr_plan_make(&b, NULL), TR_OK);
    assert_int_equal(a.total, b.total);
    for (int64_t s = 0; s < a.total; s++) {
        struct tr_plan_step x = tr_plan_at(&a, s);
        struct tr_plan_step y = tr_plan_at(&b, s);
        assert_true(x.epoch == y.epoch && x.first == y.first && x.count == y.count);
    }
}

static void orders_differ_by_epoch_and_seed_alone(void **state)
{
    (void)state;
    enum { N = 64 };
    int64_t a[N], b[N], c[N], d[N];
    struct tr_plan p = {.examples = N,
                        .batch = 4,
                        .accumulation = 1,
                        .epochs = 2,
                        .shuffle = true,
                        .seed = 7};
    assert_int_equal(tr_plan_make(&p, NULL), TR_OK);
    tr_plan_order(&p, 0, a);
    tr_plan_order(&p, 0, b);
    tr_plan_order(&p, 1, c);
    p.seed = 8;
    tr_plan_order(&p, 0, d);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    assert_memory_not_equal(a, d, sizeof a);
    p.shuffle = false;
    tr_plan_order(&p, 0, d);
    for (int64_t i = 0; i < N; i++) assert_int_equal(d[i], i);
}

static void scores_are_read_at_the_stop_token(void **state)
{
    (void)state;
    enum { STOP = 9, X = TR_IGNORE };
    static const struct {
        const char *name;
        int64_t n;
        int32_t id[6], label[6];
        int32_t stop;
        bool compat;
        int64_t want;
    } rows[] = {
        {"stop and newline",
         6,
         {1, 2, 3, 4, STOP, 5},
         {X, X, 3, 4, STOP, 5},
         STOP,
         false,
         4},
        {"the peer's way",
         6,
         {1, 2, 3, 4, STOP, 5},
         {X, X, 3, 4, STOP, 5},
         STOP,
         true,
         5},
        {"stop at the end", 5, {1, 2, 3, 4, STOP}, {X, X, 3, 4, STOP}, STOP, false, 4},
        {"cut off", 5, {1, 2, 3, 4, 5}, {X, X, 3, 4, 5}, STOP, false, 4},
        {"a stop in the prompt is none", 3, {1, STOP, 3}, {X, X, 3}, STOP, false, 2},
        {"no stop token", 3, {1, 2, 3}, {X, X, 3}, -1, false, 2},
        {"one token", 1, {1}, {1}, STOP, false, 0},
        {"far before the end",
         6,
         {1, STOP, 3, 4, 5, 6},
         {1, STOP, 3, 4, 5, 6},
         STOP,
         false,
         5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t id[6], label[6];
        memcpy(id, rows[i].id, sizeof id);
        memcpy(label, rows[i].label, sizeof label);
        struct tr_sequence seq = {.count = rows[i].n, .id = id, .label = label};
        int64_t at = tr_stage_read_at(&seq, rows[i].stop, rows[i].compat);
        if (at != rows[i].want)
            fail_msg("%s: read at %lld, want %lld", rows[i].name, (long long)at,
                     (long long)rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_counted_as_the_peer_counts),
        cmocka_unit_test(nothing_to_learn_from_is_refused),
        cmocka_unit_test(every_example_appears_once_an_epoch),
        cmocka_unit_test(micro_batches_do_not_move_examples),
        cmocka_unit_test(orders_differ_by_epoch_and_seed_alone),
        cmocka_unit_test(scores_are_read_at_the_stop_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

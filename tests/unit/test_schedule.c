/* The learning rates of ALGORITHMS.md 9 and 18; the peer's own are in the golden family F7. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/learn/schedule.h"

static void factors_are_those_of_the_formulas(void **state)
{
    (void)state;
    static const int64_t step[] = {0, 1, 10, 11, 55, 99};
    static const struct {
        const char *name;
        double want[6];
    } rows[] = {
        {"linear", {0, 0.1, 1, 0.988889, 0.5, 0.011111}},
        {"cosine", {0, 0.1, 1, 0.999695, 0.5, 0.000305}},
        {"constant", {1, 1, 1, 1, 1, 1}},
        {"constant_with_warmup", {0, 0.1, 1, 1, 1, 1}},
        {"cosine_with_restarts", {0, 0.1, 1, 0.999695, 0.5, 0.000305}},
        {"polynomial", {0, 0.1, 1, 0.988890, 0.50005, 0.011210}},
        {"inverse_sqrt", {0, 0.1, 1, 0.953463, 0.426401, 0.317821}},
        {"cosine_with_min_lr", {0, 0.1, 1, 0.999695, 0.5, 0.000305}},
        {"warmup_stable_decay", {0, 0.1, 1, 1, 0.853553, 0.000685}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_schedule c;
        assert_int_equal(tr_schedule_named(rows[i].name, &c, NULL), TR_OK);
        assert_string_equal(tr_schedule_name(c.kind), rows[i].name);
        c.warmup = 10;
        c.total = 100;
        c.lr = 1e-3;
        for (int k = 0; k < 6; k++) {
            double f = tr_schedule_factor(&c, step[k]);
            if (!(fabs(f - rows[i].want[k]) < 1e-6))
                fail_msg("%s at %lld: %.7f, want %.7f", rows[i].name, (long long)step[k],
                         f, rows[i].want[k]);
            assert_true(tr_schedule_lr(&c, step[k]) == f * c.lr);
        }
    }
}

static void warmup_steps_win_over_the_ratio(void **state)
{
    (void)state;
    static const struct {
        int64_t steps;
        double ratio;
        int64_t total, want;
    } rows[] = {{0, 0, 100, 0},
                {0, 0.1, 100, 10},
                {0, 0.1, 5, 1},
                {7, 0.5, 100, 7},
                {0, 1, 3, 3}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(tr_schedule_warmup(rows[i].steps, rows[i].ratio, rows[i].total),
                         rows[i].want);
}

static void settings_reach_their_schedule(void **state)
{
    (void)state;
    struct tr_schedule c;
    struct tr_err err = {0};
    assert_int_equal(tr_schedule_named("cosine_with_min_lr", &c, &err), TR_OK);
    c.total = 100;
    c.lr = 1e-3;
    assert_int_equal(tr_schedule_set(&c, "min_lr", 1e-4, &err), TR_OK);
    assert_true(fabs(tr_schedule_lr(&c, 100) - 1e-4) < 1e-18);
    assert_int_equal(tr_schedule_set(&c, "min_lr_ratio", 0.5, &err), TR_OK);
    assert_true(fabs(tr_schedule_factor(&c, 100) - 0.5) < 1e-15);
    assert_int_equal(tr_schedule_set(&c, "nonsense", 1, &err), TR_BADARG);
    assert_int_equal(tr_schedule_set(&c, "power", (double)NAN, &err), TR_BADARG);

    assert_int_equal(tr_schedule_named("cosine_with_restarts", &c, &err), TR_OK);
    c.total = 100;
    c.lr = 1;
    assert_int_equal(tr_schedule_set(&c, "num_cycles", 2, &err), TR_OK);
    assert_true(tr_schedule_factor(&c, 50) == 1);
    assert_true(tr_schedule_factor(&c, 100) == 0);

    assert_int_equal(tr_schedule_named("polynomial", &c, &err), TR_OK);
    c.total = 100;
    c.lr = 0; /* a rate of 0 stays 0 where the formula would divide by it */
    assert_true(tr_schedule_lr(&c, 3) == 0);
    c.lr = 1;
    assert_int_equal(tr_schedule_set(&c, "power", 2, &err), TR_OK);
    assert_true(fabs(tr_schedule_factor(&c, 50) - 0.25) < 1e-6);
    assert_true(tr_schedule_factor(&c, 101) == 1e-7);
}

/* Factors of transformers 4.52.4: warm-up 4, total 12, floor 0.2. */
static void phases_have_shapes_and_a_floor(void **state)
{
    (void)state;
    static const struct {
        const char *up, *down;
        double stable, decay; /* below 0: not given */
        double want[4];       /* at steps 0, 2, 5, 10 */
    } rows[] = {
        {"linear", "cosine", -1, -1, {0.2, 0.6, 1, 0.4}},
        {"cosine", "linear", 1, 6, {0.2, 0.6, 1, 0.333333333333333}},
        {"1-sqrt",
         "1-sqrt",
         0,
         8,
         {0.2, 0.434314575050762, 0.717157287525381, 0.307179676972449}},
        {"linear", "cosine", 2, 3, {0.2, 0.6, 1, 0.2}},
        {"linear", "linear", -1, 3, {0.2, 0.6, 1, 0.2}},
        {"cosine", "cosine", 3, -1, {0.2, 0.6, 1, 0.6}},
    };
    static const int64_t step[4] = {0, 2, 5, 10};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_schedule c;
        struct tr_err err = {0};
        assert_int_equal(tr_schedule_named("warmup_stable_decay", &c, &err), TR_OK);
        c.warmup = 4;
        c.total = 12;
        assert_int_equal(tr_schedule_set(&c, "min_lr_ratio", 0.2, &err), TR_OK);
        assert_int_equal(tr_schedule_set_shape(&c, "warmup_type", rows[i].up, &err),
                         TR_OK);
        assert_int_equal(tr_schedule_set_shape(&c, "decay_type", rows[i].down, &err),
                         TR_OK);
        if (rows[i].stable >= 0)
            assert_int_equal(
                tr_schedule_set(&c, "num_stable_steps", rows[i].stable, &err), TR_OK);
        if (rows[i].decay >= 0)
            assert_int_equal(tr_schedule_set(&c, "num_decay_steps", rows[i].decay, &err),
                             TR_OK);
        for (int k = 0; k < 4; k++) {
            double f = tr_schedule_factor(&c, step[k]);
            if (!(fabs(f - rows[i].want[k]) < 1e-12))
                fail_msg("row %zu at %lld: %.15f", i, (long long)step[k], f);
        }
        assert_int_equal(tr_schedule_set_shape(&c, "decay_type", "cubic", &err),
                         TR_BADARG);
        assert_int_equal(tr_schedule_set_shape(&c, "power", "linear", &err), TR_BADARG);
    }
}

static void unknown_schedules_are_refused_in_words(void **state)
{
    (void)state;
    struct tr_schedule c;
    struct tr_err err = {0};
    assert_int_equal(tr_schedule_named("reduce_lr_on_plateau", &c, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "cosine"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_are_those_of_the_formulas),
        cmocka_unit_test(warmup_steps_win_over_the_ratio),
        cmocka_unit_test(settings_reach_their_schedule),
        cmocka_unit_test(phases_have_shapes_and_a_floor),
        cmocka_unit_test(unknown_schedules_are_refused_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

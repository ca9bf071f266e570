#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actors/coordinator/step_time.h"

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-12;
}

static void a_step_is_cut_by_what_it_waits_for(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double from, generated, judged, until;
        double want[3];
    } row[] = {
        {"one after the other", 10, 14, 15, 18, {4, 1, 3}},
        {"judged at once", 10, 14, 14, 18, {4, 0, 4}},
        {"generated before it was its turn", 10, 9, 12, 18, {0, 2, 6}},
        {"judged before it was its turn", 10, 8, 9, 18, {0, 0, 8}},
        {"nothing is generated", 10, 0, 12, 18, {0, 2, 6}},
        {"nothing is generated or judged", 10, 0, 0, 18, {0, 0, 8}},
        {"no time at all", 10, 10, 10, 10, {0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct tr_step_time t =
            tr_step_time_cut(row[i].from, row[i].generated, row[i].judged, row[i].until);
        if (!near(t.generate, row[i].want[0]) || !near(t.judge, row[i].want[1]) ||
            !near(t.learn, row[i].want[2]) || !t.whole ||
            !near(tr_step_time_seconds(&t), row[i].until - row[i].from))
            fail_msg("%s: %g %g %g", row[i].name, t.generate, t.judge, t.learn);
    }
}

static void the_median_is_of_recent_steps_the_mean_of_all(void **state)
{
    (void)state;
    struct tr_step_times t = {0};
    struct tr_step_time mean = tr_step_times_mean(&t);
    assert_true(near(tr_step_times_median(&t), 0) &&
                near(tr_step_time_seconds(&mean), 0));
    static const struct {
        double seconds, median, mean;
    } row[] = {{8, 8, 8}, {2, 5, 5}, {5, 5, 5}, {1, 3.5, 4}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct tr_step_time one = {.generate = row[i].seconds - 0.5,
                                   .judge = 0.25,
                                   .learn = 0.25,
                                   .whole = true};
        tr_step_times_add(&t, &one);
        mean = tr_step_times_mean(&t);
        if (!near(tr_step_times_median(&t), row[i].median) ||
            !near(tr_step_time_seconds(&mean), row[i].mean) || !near(mean.judge, 0.25))
            fail_msg("%g: median %g, mean %g", row[i].seconds, tr_step_times_median(&t),
                     tr_step_time_seconds(&mean));
    }
    struct tr_step_time slow = {.learn = 100, .whole = true};
    for (int i = 0; i < TR_STEPS_RECENT; i++) tr_step_times_add(&t, &slow);
    assert_true(near(tr_step_times_median(&t), 100));
    assert_int_equal(t.steps, TR_STEPS_RECENT + 4);
    mean = tr_step_times_mean(&t);
    assert_true(tr_step_time_seconds(&mean) < 100);
}

/* Invariant 2. */
static void a_part_of_a_step_is_no_step(void **state)
{
    (void)state;
    struct tr_step_times t = {0};
    struct tr_step_time part = {.learn = 1}, whole = {.generate = 3, .whole = true};
    tr_step_times_add(&t, &part);
    assert_int_equal(t.steps, 0);
    tr_step_times_add(&t, &whole);
    tr_step_times_add(&t, &part);
    assert_int_equal(t.steps, 1);
    assert_true(near(tr_step_times_median(&t), 3) && near(t.last.generate, 3));
    assert_true(near(t.sum.learn, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_cut_by_what_it_waits_for),
        cmocka_unit_test(the_median_is_of_recent_steps_the_mean_of_all),
        cmocka_unit_test(a_part_of_a_step_is_no_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

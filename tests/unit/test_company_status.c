/* Where a run's time went, as people and programs are told. */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/company_status.h"
#include "tests/unit/scene.h"

static double real(const json_t *doc, const char *key)
{
    const json_t *value = json_object_get(doc, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

/* Two rewards from 0 on: one has work from 0 to 4, the other from 0 to 1. */
static void busy_is_the_time_with_work_in_hand(void **state)
{
    (void)state;
    struct scene s = {0};
    struct tr_company_times t = {.phases = 3};
    open_scene(&s, 3, 2);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    hello(&s, 1, TR_ROLE_REWARD, "r"); /* two units for the first, one for the second */
    s.now = 1;
    done(&s, 1, take(&s, 1), 1, "r");
    s.now = 4;
    done(&s, 0, take(&s, 0), 1, "r");
    tr_company_note_busy(&t, s.core, 4);
    assert_int_equal(t.busy[TR_ROLE_REWARD].workers, 2);
    assert_int_equal(t.busy[TR_ROLE_ROLLOUT].workers, 0);
    assert_true(near(t.busy[TR_ROLE_REWARD].share, 5.0 / 8));
    done(&s, 0, take(&s, 0), 1, "r");
    tr_company_note_busy(&t, s.core, 8);
    assert_true(near(t.busy[TR_ROLE_REWARD].share, 5.0 / 16));
    close_scene(&s);
}

static struct tr_company_times times_of(int phases)
{
    struct tr_company_times t = {.phases = phases};
    const double judged[] = {13, 15, 13}; /* steps of 8, 12 and 8 seconds */
    for (int i = 0; i < 3; i++) {
        struct tr_step_time one =
            tr_step_time_cut(10, phases == 3 ? 12 : 0, judged[i], i == 1 ? 22 : 18);
        tr_step_times_add(&t.steps, &one);
    }
    t.busy[TR_ROLE_POLICY].workers = 1;
    t.busy[TR_ROLE_POLICY].share = 0.25;
    return t;
}

static void the_numbers_add_up(void **state)
{
    (void)state;
    for (int phases = 1; phases <= 3; phases++) {
        struct tr_company_times t = times_of(phases);
        json_t *doc = json_object();
        tr_company_put_times(doc, &t);
        assert_true(near(real(doc, "steps_timed"), 3));
        assert_true(near(real(doc, "step_seconds_median"), 8));
        assert_true(near(real(doc, "step_seconds"), 28.0 / 3));
        assert_true(isnan(real(doc, "step_seconds_generate")) == (phases < 3));
        assert_true(isnan(real(doc, "step_seconds_judge")) == (phases < 2));
        if (phases == 3)
            assert_true(near(real(doc, "step_seconds_generate") +
                                 real(doc, "step_seconds_judge") +
                                 real(doc, "step_seconds_learn"),
                             28.0 / 3));
        assert_true(near(real(doc, "busy_share_policy"), 0.25));
        assert_true(isnan(real(doc, "busy_share_rollout")));
        json_decref(doc);
    }
}

static void said(const struct tr_company_times *t, char *text, size_t size)
{
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    const struct tr_log log = {.name = "train", .fd = fd[1], .level = TR_LOG_INFO};
    tr_company_say_times(t, &log);
    close(fd[1]);
    ssize_t n = read(fd[0], text, size - 1);
    assert_true(n >= 0);
    text[n] = 0;
    close(fd[0]);
}

static void two_lines_say_it(void **state)
{
    (void)state;
    static const char *const want[] = {
        "8 s a step (median of 3), mean 9.33 s\n",
        "8 s a step (median of 3), mean 9.33 s: judge 3.67 s (39 %), learn 5.67 s (61 "
        "%)\n",
        "8 s a step (median of 3), mean 9.33 s: generate 2 s (21 %), judge 1.67 s (18 "
        "%), learn 5.67 s (61 %)\n"};
    char text[1024];
    for (int phases = 1; phases <= 3; phases++) {
        struct tr_company_times t = times_of(phases);
        said(&t, text, sizeof text);
        if (!strstr(text, want[phases - 1]) || !strstr(text, "busy: policy 25 %\n"))
            fail_msg("%d phases: %s", phases, text);
    }
    const struct tr_company_times none = {.phases = 3};
    said(&none, text, sizeof text);
    assert_string_equal(text, "");
}

/* `troupe status` says of a post whose units nobody can do what is missing, and of another nothing. */
static void what_is_missed_is_in_the_queue(void **state)
{
    (void)state;
    struct scene s = {0};
    struct tr_message bye = {.say = TR_SAY_BYE};
    const struct tr_reward_set set = {.n = 1};
    const struct tr_company_times times = {.phases = 3};
    const struct tr_company_status status = {
        .run = "r", .stage = "ppo", .rewards = &set, .times = &times};
    open_scene(&s, 3, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    for (int gone = 0; gone < 2; gone++) {
        s.now = 1;
        if (gone) tell(&s, 0, &bye);
        assert_int_equal(tr_core_tick(s.core, 4, NULL), TR_OK);
        json_t *doc = tr_company_json(s.core, &status, 4);
        const json_t *post = json_array_get(json_object_get(doc, "queue"), 0);
        const char *why = json_string_value(json_object_get(post, "missed"));
        assert_true(near(real(post, "missed_seconds"), gone ? 3 : 0));
        assert_non_null(why);
        if (gone) assert_non_null(strstr(why, "nobody is here"));
        json_decref(doc);
    }
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(busy_is_the_time_with_work_in_hand),
        cmocka_unit_test(the_numbers_add_up),
        cmocka_unit_test(two_lines_say_it),
        cmocka_unit_test(what_is_missed_is_in_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

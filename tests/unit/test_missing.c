/* Whom a run waits for: what is said of a post whose units nobody can do, and when that ends the run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scene.h"

#define RIGHT "27042f4e6eca7d0b" /* how SHA-256("right") begins, and so on */
#define WRONG "8810ad581e59f2bc"

static void tick(struct scene *s, double now, enum tr_status want)
{
    s->now = now;
    enum tr_status st = tr_core_tick(s->core, now, &s->err);
    look(s);
    if (st != want) fail_msg("at %g s: %s: %s", now, tr_status_name(st), s->err.text);
}

static void says_progress(struct scene *s, int peer)
{
    struct tr_message m = {.say = TR_SAY_PROGRESS};
    for (int i = 0; i < s->hands[peer]; i++)
        m.as.progress.in_hand.at[m.as.progress.in_hand.n++] = s->in_hand[peer][i];
    tell(s, peer, &m);
}

enum present { NOBODY, ANOTHER, ITSELF_SILENT, BOTH };

static const struct {
    enum present present;
    const char *why;
} rows[] = {
    {NOBODY, "they need " WRONG ", and nobody is here"},
    {ANOTHER, "they need " WRONG ", and worker-1 holds " RIGHT},
    {ITSELF_SILENT, "they need " WRONG ", and worker-0 is silent"},
    {BOTH, "they need " WRONG ", and worker-1 holds " RIGHT},
};

/* A wrong reward was there first, its units wait, and it does not come back. */
static void who_could_do_what_waits_is_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scene s = {0};
        struct tr_message bye = {.say = TR_SAY_BYE};
        char want[320], why[200];
        bool silent = rows[i].present == ITSELF_SILENT || rows[i].present == BOTH;
        open_scene(&s, 3, 1);
        hello(&s, 0, TR_ROLE_REWARD, "wrong");
        s.now = 1;
        if (!silent) tell(&s, 0, &bye);
        if (rows[i].present == ANOTHER || rows[i].present == BOTH)
            hello(&s, 1, TR_ROLE_REWARD, "right");
        double begin = silent ? 5 : 1; /* 5: of a deadline */
        for (int t = 0; t < 10; t++) tick(&s, begin + t, TR_OK);
        assert_int_equal(s.sayings, 3); /* after 2, 4 and 8 s */
        snprintf(want, sizeof want,
                 "reward: 3 units have had nobody to do them for 4 s; %s; the run ends "
                 "after 100 s of that",
                 rows[i].why);
        assert_string_equal(s.said[1], want);
        assert_true(tr_core_missed(s.core, s.post, why) > 8);
        assert_string_equal(why, rows[i].why);
        tick(&s, begin + 100, TR_OK);
        tick(&s, begin + 101, TR_GONE);
        snprintf(want, sizeof want,
                 "reward: 3 units have had nobody to do them for 100 s; %s", rows[i].why);
        assert_string_equal(s.err.text, want);
        close_scene(&s);
    }
}

/* Nothing is said where work goes on, however long it takes, and whatever is needed next; nor once somebody has come. */
static void nobody_is_missed_where_work_goes_on(void **state)
{
    (void)state;
    struct scene s = {0};
    struct tr_message bye = {.say = TR_SAY_BYE};
    char why[200];
    open_scene(&s, 5, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r"); /* two in hand, three wait */
    for (int t = 1; t < 300; t++) {
        s.now = t;
        says_progress(&s, 0);
        if (t == 100 || t == 200) hello(&s, 0, TR_ROLE_REWARD, t == 100 ? "other" : "r");
        tick(&s, t, TR_OK);
    }
    assert_int_equal(s.sayings, 0);
    assert_true(tr_core_missed(s.core, s.post, why) <= 0);
    tell(&s, 0, &bye);
    tick(&s, 305, TR_OK);
    assert_int_equal(s.sayings, 1);
    hello(&s, 2, TR_ROLE_REWARD, "r");
    for (int t = 305; t < 309; t++) tick(&s, t, TR_OK);
    assert_int_equal(s.sayings, 1);
    answer_all(&s, 2);
    assert_true(tr_core_over(s.core));
    close_scene(&s);
}

/* Before the run begins: whom it waits for may be there, with other weights than the run's. */
static void one_that_is_there_with_other_weights_is_named(void **state)
{
    (void)state;
    struct scene s = {0};
    struct tr_digest right = named("right");
    open_scene(&s, 1, 1);
    tr_core_set_digest(s.core, s.post, &right);
    hello(&s, 0, TR_ROLE_REWARD, "wrong");
    assert_true(s.idle[0]);
    tick(&s, 2, TR_OK);
    assert_string_equal(
        s.said[0],
        "after 2 s these have not joined: reward (0 of 1; worker-0 holds " WRONG
        ", not " RIGHT "); the run ends after 10 s without them");
    hello(&s, 1, TR_ROLE_REWARD, "right");
    assert_true(tr_core_started(s.core));
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_could_do_what_waits_is_said),
        cmocka_unit_test(nobody_is_missed_where_work_goes_on),
        cmocka_unit_test(one_that_is_there_with_other_weights_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

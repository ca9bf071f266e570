/* A slow worker: when an idle one is asked too, and what becomes of both their answers (core.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scene.h"

enum { SLOW = 0, IDLE = 1 };

static void join(struct scene *s, int peer, int credits, const char *math)
{
    struct tr_digest d = named("r");
    struct tr_message m = {.say = TR_SAY_HELLO};
    m.as.hello = (struct tr_hello){.role = TR_ROLE_REWARD,
                                   .credits = credits,
                                   .threads = 1,
                                   .holds = tr_digests_one(&d)};
    snprintf(m.as.hello.math, sizeof m.as.hello.math, "%s", math);
    snprintf(m.as.hello.instance, sizeof m.as.hello.instance, "worker-%d", peer);
    tell(s, peer, &m);
}

static void sign(struct scene *s, int peer, const struct tr_digest *unit)
{
    struct tr_message m = {.say = TR_SAY_PROGRESS};
    if (unit) m.as.progress.in_hand = tr_digests_one(unit);
    tell(s, peer, &m);
}

static void tick(struct scene *s, double now)
{
    s->now = now;
    assert_int_equal(tr_core_tick(s->core, now, NULL), TR_OK);
    look(s);
}

static int64_t asked_twice(const struct scene *s)
{
    return tr_core_counts(s->core).asked_twice;
}

/* Both get `each` units at once; the quick one has answered all of its own after `pace` seconds. Both say signs of
 * life until `now`, or until somebody was asked twice. */
static void run_until(struct scene *s, int each, double pace, double now)
{
    bool answered = false;
    for (int half = 0; half <= (int)(2 * now) && asked_twice(s) == 0; half++) {
        const double t = 0.5 * half;
        s->now = t;
        for (int i = 0; i < s->hands[SLOW]; i++) sign(s, SLOW, &s->in_hand[SLOW][i]);
        if (!answered && t >= pace) {
            assert_int_equal(s->hands[IDLE], each);
            answer_all(s, IDLE);
            answered = true;
        }
        tick(s, t);
    }
}

static const struct {
    const char *name, *slow, *idle; /* the math of both */
    int answers;
    double pace, when; /* when: 0: never */
} rule[] = {
    {"five seconds at least", "exact", "exact", 3, 0.5, 5},
    {"three times the median", "exact", "exact", 5, 4, 12},
    {"too little is known of the pace", "exact", "exact", 2, 0.5, 0},
    {"OpenBLAS may answer otherwise", "openblas 0 Zen", "openblas 0 Zen", 5, 0.5, 0},
    {"the slow one is no model", "", "exact", 5, 0.5, 0},
    {"the idle one is no model", "exact", "", 5, 0.5, 0},
};

static void when_an_idle_worker_is_asked_too(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) {
        struct scene s = {0};
        open_scene(&s, rule[i].answers + 1, 2);
        join(&s, SLOW, 1, rule[i].slow);
        join(&s, IDLE, 8, rule[i].idle);
        assert_int_equal(s.hands[SLOW], 1);
        run_until(&s, rule[i].answers, rule[i].pace, 30);
        double when = asked_twice(&s) ? s.now : 0;
        if (when < rule[i].when - 0.01 || when > rule[i].when + 0.01)
            fail_msg("%s: after %g s, wanted %g", rule[i].name, when, rule[i].when);
        assert_int_equal(s.hands[IDLE], asked_twice(&s));
        close_scene(&s);
    }
}

/* Both have a unit that was moved after 5 s; the slow one's others stay with it. */
static void open_moved(struct scene *s, int slow_units)
{
    memset(s, 0, sizeof *s);
    open_scene(s, slow_units + 5, 2);
    join(s, SLOW, slow_units, "exact");
    join(s, IDLE, 8, "exact");
    assert_int_equal(s->hands[SLOW], slow_units);
    s->now = 0.1;
    answer_all(s, IDLE);
    for (int t = 1; t < 6; t++) {
        struct tr_message m = {.say = TR_SAY_PROGRESS};
        s->now = t;
        for (int i = 0; i < slow_units; i++)
            m.as.progress.in_hand.at[m.as.progress.in_hand.n++] = s->in_hand[SLOW][i];
        tell(s, SLOW, &m);
        tick(s, t);
    }
    assert_int_equal(asked_twice(s), 1);
    assert_int_equal(s->hands[IDLE], 1);
    assert_true(tr_digest_equal(&s->in_hand[IDLE][0], &s->in_hand[SLOW][0]));
}

/* Two are idle: one is asked, once; and one that is slow as well is not helped by the other. */
static void one_unit_of_a_post_at_a_time(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 8, 3);
    join(&s, SLOW, 2, "exact");
    for (int peer = 1; peer < 3; peer++) join(&s, peer, 8, "exact");
    for (int peer = 1; peer < 3; peer++) answer_all(&s, peer);
    for (int t = 1; t < 20; t++) {
        s.now = t;
        for (int peer = 0; peer < 3; peer++) {
            struct tr_message m = {.say = TR_SAY_PROGRESS};
            for (int i = 0; i < s.hands[peer]; i++)
                m.as.progress.in_hand.at[m.as.progress.in_hand.n++] = s.in_hand[peer][i];
            tell(&s, peer, &m);
        }
        tick(&s, t);
        assert_int_equal(s.hands[1] + s.hands[2], t < 5 ? 0 : 1);
    }
    assert_int_equal(asked_twice(&s), 1);
    close_scene(&s);
}

/* One at a time, each once; the first answer counts, the other is compared and dropped. */
static void whoever_is_first_has_answered(void **state)
{
    (void)state;
    struct scene s;
    open_moved(&s, 2);
    tick(&s, 6);
    tick(&s, 7);
    assert_int_equal(s.hands[IDLE], 1); /* the other waits until this one is answered */
    struct tr_digest both = take(&s, IDLE);
    done(&s, IDLE, both, 1, "r");
    assert_int_equal(s.asked.total, 6);
    done(&s, SLOW, both, 1, "r");
    assert_int_equal(s.asked.total, 6);
    assert_int_equal(tr_core_counts(s.core).second_answers, 1);
    assert_int_equal(tr_core_counts(s.core).differences, 0);
    tick(&s, 8);
    assert_int_equal(asked_twice(&s), 2); /* now the other */
    assert_int_equal(s.hands[IDLE], 1);
    done(&s, SLOW, s.in_hand[SLOW][1], 1, "r"); /* the slow one is first */
    assert_true(tr_core_over(s.core));
    assert_int_equal(s.asked.total, 7);
    done(&s, IDLE, take(&s, IDLE), 2, "r");
    assert_int_equal(tr_core_counts(s.core).second_answers, 2);
    assert_int_equal(tr_core_counts(s.core).differences, 1); /* of this one, a liar */
    close_scene(&s);
}

/* Its credits are taken by what it still has, until it answers that or does not name it any more. */
static void what_it_still_has_counts(void **state)
{
    (void)state;
    for (int answers = 0; answers < 2; answers++) {
        struct scene s;
        open_moved(&s, 1);
        struct tr_digest unit = s.in_hand[SLOW][0];
        assert_int_equal(tr_core_lose(s.core, IDLE, "gone", s.now, NULL), TR_OK);
        look(&s);
        sign(&s, SLOW, &unit);
        assert_int_equal(s.hands[SLOW], 1); /* not the same again */
        if (answers) {
            done(&s, SLOW, unit, 1, "r");
            assert_true(tr_core_over(s.core));
        } else {
            sign(&s, SLOW, NULL);
            assert_int_equal(s.hands[SLOW], 2);
        }
        close_scene(&s);
    }
}

/* What a stopped one had goes to others one by one, so no deadline of its own tells that it is silent. */
static void who_has_lost_all_and_says_nothing_is_silent(void **state)
{
    (void)state;
    struct scene s;
    struct tr_core_worker w;
    open_moved(&s, 1);
    sign(&s, IDLE, &s.in_hand[IDLE][0]);
    tick(&s, 9.9);
    assert_true(tr_core_see(s.core, SLOW, &w) && !w.silent && w.in_hand == 0);
    tick(&s, 10.1);
    assert_true(tr_core_see(s.core, SLOW, &w) && w.silent);
    sign(&s, SLOW, &s.in_hand[SLOW][0]);
    assert_true(tr_core_see(s.core, SLOW, &w) && !w.silent);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_an_idle_worker_is_asked_too),
        cmocka_unit_test(one_unit_of_a_post_at_a_time),
        cmocka_unit_test(whoever_is_first_has_answered),
        cmocka_unit_test(what_it_still_has_counts),
        cmocka_unit_test(who_has_lost_all_and_says_nothing_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

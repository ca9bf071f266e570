/* Who is at a post: names, incarnations, whose weights a post asks of, and what a closed one leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/scene.h"

/* A reward "worker-0" that holds "r"; new for each tell, which takes it. */
static struct tr_message incarnate(int64_t incarnation)
{
    struct tr_digest r = named("r");
    struct tr_message m = {.say = TR_SAY_HELLO};
    m.as.hello = (struct tr_hello){.role = TR_ROLE_REWARD,
                                   .instance = "worker-0",
                                   .incarnation = incarnation,
                                   .credits = 2,
                                   .holds = tr_digests_one(&r)};
    return m;
}

/* One that was started anew takes the place of its former self, whose units are given again. */
static void a_restarted_worker_is_a_new_one(void **state)
{
    (void)state;
    struct scene s = {0};
    struct tr_message m = incarnate(7);
    open_scene(&s, 2, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    assert_int_equal(s.hands[0], 2);
    tell(&s, 4, &m);
    assert_int_equal(s.hands[4], 2);
    answer_all(&s, 4);
    assert_true(tr_core_over(s.core));
    close_scene(&s);
}

/* Its name was taken by one that was started later: it is told to go, and takes nothing back. */
static void an_elder_of_the_same_name_is_sent_away(void **state)
{
    (void)state;
    struct scene s = {0};
    struct tr_message m = incarnate(7);
    open_scene(&s, 2, 1);
    tell(&s, 4, &m);
    assert_int_equal(s.hands[4], 2);
    for (int i = 0; i < 200; i++) { /* more often than a unit may be tried */
        m = incarnate(6);
        tell(&s, 0, &m);
        assert_int_equal(s.hands[0], 0);
    }
    assert_int_equal(tr_core_counts(s.core).reissued, 0);
    answer_all(&s, 4);
    assert_true(tr_core_over(s.core));
    close_scene(&s);
}

/* Weights that a first worker had are not those of the run when it leaves before that begins. */
static void who_leaves_before_the_start_decides_nothing(void **state)
{
    (void)state;
    for (int both = 0; both < 2; both++) {
        struct scene s = {0};
        struct tr_digest right = named("right");
        struct tr_message bye = {.say = TR_SAY_BYE};
        open_scene(&s, 2, 2); /* two are waited for */
        hello(&s, 0, TR_ROLE_REWARD, "wrong");
        if (both) hello(&s, 1, TR_ROLE_REWARD, "right");
        tell(&s, 0, &bye);
        if (!both) hello(&s, 1, TR_ROLE_REWARD, "right");
        struct tr_digest now = tr_core_digest(s.core, s.post);
        assert_true(tr_digest_equal(&now, &right));
        hello(&s, 2, TR_ROLE_REWARD, "right");
        assert_true(tr_core_started(s.core));
        close_scene(&s);
    }
}

/* A post that was closed wants nothing for the one that gets its place. */
static void a_new_post_wants_nothing_of_the_old(void **state)
{
    (void)state;
    struct scene s = {0};
    int64_t want = -1, post = -1;
    struct tr_digest next = named("next");
    open_scene(&s, 8, 1);
    assert_int_equal(tr_core_want(s.core, s.post, &next, "FOLDER", &want, NULL), TR_OK);
    assert_int_equal(tr_core_close_post(s.core, s.post, NULL), TR_OK);
    assert_int_equal(tr_core_open_post(s.core, TR_ROLE_REWARD, "other", 1, &post, NULL),
                     TR_OK);
    assert_int_equal(post, s.post); /* the place is taken again, or this tests nothing */
    hello(&s, 0, TR_ROLE_REWARD, "rule");
    assert_int_equal(tr_core_tick(s.core, 1, NULL), TR_OK);
    look(&s);
    assert_int_equal(s.loads[0], 0);
    tr_core_unwant(s.core, want);
    close_scene(&s);
}

/* Over a new connection, and still itself: it keeps what it has in hand. */
static void a_reconnected_worker_keeps_its_units(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 2, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    struct tr_digest first = take(&s, 0), second = take(&s, 0);
    struct tr_message m = incarnate(0);
    tell(&s, 4, &m);
    assert_int_equal(s.hands[4], 0);
    done(&s, 4, first, 1, "r");
    done(&s, 4, second, 1, "r");
    assert_true(tr_core_over(s.core));
    assert_int_equal(tr_core_counts(s.core).reissued, 0);
    close_scene(&s);
}

/* What was asked of one post is answered by nobody of another, though he knows the unit. */
static void only_the_post_answers(void **state)
{
    (void)state;
    struct scene s = {0};
    int64_t other = -1;
    open_scene(&s, 1, 1);
    assert_int_equal(tr_core_open_post(s.core, TR_ROLE_REFERENCE, "", 0, &other, NULL),
                     TR_OK);
    hello(&s, 1, TR_ROLE_REFERENCE, "r");
    hello(&s, 0, TR_ROLE_REWARD, "r");
    struct tr_digest id = take(&s, 0);
    done(&s, 1, id, 1, "r");
    assert_false(tr_core_over(s.core));
    assert_int_equal(tr_core_counts(s.core).refused, 1);
    done(&s, 0, id, 1, "r");
    assert_true(tr_core_over(s.core));
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restarted_worker_is_a_new_one),
        cmocka_unit_test(an_elder_of_the_same_name_is_sent_away),
        cmocka_unit_test(who_leaves_before_the_start_decides_nothing),
        cmocka_unit_test(a_new_post_wants_nothing_of_the_old),
        cmocka_unit_test(a_reconnected_worker_keeps_its_units),
        cmocka_unit_test(only_the_post_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Who is at a post: names, incarnations, whose weights a post asks of, and what a closed one leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

static void says_progress(struct scene *s, int peer)
{
    struct tr_message m = {.say = TR_SAY_PROGRESS};
    for (int i = 0; i < s->hands[peer]; i++)
        m.as.progress.in_hand.at[m.as.progress.in_hand.n++] = s->in_hand[peer][i];
    tell(s, peer, &m);
}

/* Whoever is in place speaks, and an ever newer one comes twice a second, over connections in turn or over one: each
 * has its place for longer, no unit has failed, and who is left answers. */
static void who_fights_for_a_name_waits(void **state)
{
    (void)state;
    for (int connections = 1; connections <= 2; connections++) {
        struct scene s = {0};
        int there = 4, changes = 0;
        open_scene(&s, 2, 1);
        for (int i = 0; i < 2000; i++) {
            int peer = 4 + i % connections;
            struct tr_message m = incarnate(i);
            s.now = 0.5 * i;
            says_progress(&s, there);
            int64_t joins = tr_core_counts(s.core).joins;
            s.welcome[peer] = false;
            if (peer != there) s.hands[peer] = 0;
            int before = s.hands[peer];
            tell(&s, peer, &m);
            assert_int_equal(s.st, TR_OK);
            if (tr_core_counts(s.core).joins == joins) continue;
            assert_true(s.welcome[peer] && s.hands[peer] == before + 2);
            s.hands[peer] = 2; /* the same two once more */
            there = peer;
            changes++;
            if (changes == 2) assert_true(s.now < 1); /* the first restart is at once */
        }
        /* after 0, 1, 2, 4 ... 32 s, and then once a minute */
        assert_in_range(changes, 2 + 6 + 14, 2 + 6 + 16);
        answer_all(&s, there);
        assert_true(tr_core_over(s.core));
        close_scene(&s);
    }
}

/* It was restarted some times, works for two minutes, and is restarted: at once, though it spoke just now. */
static void an_old_fight_is_forgotten(void **state)
{
    (void)state;
    struct scene s = {0};
    const double at[] = {0, 0.1, 1.2, 124};
    open_scene(&s, 2, 1);
    for (int i = 0; i < 4; i++) {
        while (i > 0 && s.now < at[i] - 0.05) {
            says_progress(&s, 3 + i);
            s.now += 0.1;
        }
        s.now = at[i];
        struct tr_message m = incarnate(i);
        tell(&s, 4 + i, &m);
        if (!s.welcome[4 + i]) fail_msg("number %d waits", i);
        assert_int_equal(s.hands[4 + i], 2);
    }
    const double since[] = {0.5, 1.1}; /* but the count begins anew: a second */
    for (int i = 0; i < 2; i++) {
        struct tr_message m = incarnate(9);
        s.now = 124 + since[i];
        says_progress(&s, 7);
        tell(&s, 0, &m);
        assert_int_equal(s.welcome[0], i);
    }
    close_scene(&s);
}

enum end { SAYS_BYE, IS_REPLACED, IS_REPLACED_DEAD, IS_LOST, ANSWERS_BADLY };

/* Four failures are allowed. */
static void what_counts_as_a_failure(void **state)
{
    (void)state;
    const struct {
        enum end end;
        bool fails;
    } rows[] = {{SAYS_BYE, false},
                {IS_REPLACED, false},
                {IS_REPLACED_DEAD, true},
                {IS_LOST, true},
                {ANSWERS_BADLY, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scene s = {0};
        int times = 0;
        open_scene(&s, 1, 1);
        s.asked.refuse = rows[i].end == ANSWERS_BADLY;
        for (int n = 0; n < 12 && s.st == TR_OK; n++) {
            struct tr_message m = incarnate(n), bye = {.say = TR_SAY_BYE};
            s.hands[4] = 0;
            if (rows[i].end == IS_REPLACED) says_progress(&s, 4);
            tell(&s, 4 + n % 2 * (rows[i].end == IS_REPLACED_DEAD), &m);
            if (s.st != TR_OK) break;
            times++;
            if (rows[i].end == SAYS_BYE) tell(&s, 4, &bye);
            if (rows[i].end == IS_LOST)
                s.st = tr_core_lose(s.core, 4, "gone", s.now, &s.err);
            if (rows[i].end == ANSWERS_BADLY) done(&s, 4, take(&s, 4), 1, "r");
            s.now += rows[i].end == IS_REPLACED_DEAD ? 3 : 70;
        }
        if ((s.st == TR_GONE) != rows[i].fails || times != (rows[i].fails ? 4 : 12))
            fail_msg("row %zu: %s after %d", i, tr_status_name(s.st), times);
        close_scene(&s);
    }
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

static void a_place_with_units_is_not_given_away(void **state)
{
    (void)state;
    struct scene s = {0};
    int64_t post = -1;
    open_scene(&s, 4, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    assert_int_equal(tr_core_close_post(s.core, s.post, NULL), TR_OK);
    assert_int_equal(tr_core_open_post(s.core, TR_ROLE_REWARD, "other", 1, &post, NULL),
                     TR_OK);
    assert_int_not_equal(post, s.post);
    close_scene(&s);
}

/* Its post's place is another's by now. */
static void who_has_left_keeps_its_role(void **state)
{
    (void)state;
    struct scene s = {0};
    struct tr_core_worker w;
    int64_t post = -1;
    open_scene(&s, 2, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    answer_all(&s, 0);
    assert_int_equal(tr_core_close_post(s.core, s.post, NULL), TR_OK);
    assert_int_equal(tr_core_open_post(s.core, TR_ROLE_REFERENCE, "", 1, &post, NULL),
                     TR_OK);
    assert_int_equal(post, s.post);
    assert_true(tr_core_see(s.core, 0, &w));
    assert_int_equal(w.role, TR_ROLE_REWARD);
    assert_true(tr_core_answered(s.core, TR_ROLE_REWARD, "worker-0", 0));
    assert_false(tr_core_answered(s.core, TR_ROLE_REFERENCE, "worker-0", 0));
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

/* One that says hello again with fewer credits than it has units is given none, and takes nobody else's. */
static void fewer_credits_are_no_debt(void **state)
{
    (void)state;
    struct scene s = {0};
    struct tr_message fewer = incarnate(0), other = incarnate(0);
    open_scene(&s, 4, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    assert_int_equal(s.hands[0], 2);
    fewer.as.hello.credits = 1;
    tell(&s, 0, &fewer);
    assert_int_equal(s.hands[0], 2);
    other.as.hello.instance[0] = 'W';
    other.as.hello.credits = 1;
    tell(&s, 1, &other);
    assert_int_equal(s.hands[1], 1);
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

/* Whose digest nobody knows yet: an answer that does not say what it answers could be of any load. */
static void a_load_by_folder_is_answered_with_the_folder(void **state)
{
    (void)state;
    struct scene s = {0};
    int64_t want = -1;
    open_scene(&s, 8, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    assert_int_equal(tr_core_want(s.core, s.post, NULL, "FOLDER", &want, NULL), TR_OK);
    assert_int_equal(tr_core_tick(s.core, 1, NULL), TR_OK);
    look(&s);
    struct tr_message vague = {.say = TR_SAY_LOADED,
                               .as.loaded = {.digest = named("next"), .ok = true}};
    tell(&s, 0, &vague);
    struct tr_core_supply supply = tr_core_supplied(s.core, want);
    assert_true(!supply.known && supply.holders == 0 && supply.refused == 1);
    assert_non_null(strstr(supply.why, "does not say which folder"));
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restarted_worker_is_a_new_one),
        cmocka_unit_test(an_elder_of_the_same_name_is_sent_away),
        cmocka_unit_test(who_fights_for_a_name_waits),
        cmocka_unit_test(an_old_fight_is_forgotten),
        cmocka_unit_test(what_counts_as_a_failure),
        cmocka_unit_test(who_leaves_before_the_start_decides_nothing),
        cmocka_unit_test(a_new_post_wants_nothing_of_the_old),
        cmocka_unit_test(a_place_with_units_is_not_given_away),
        cmocka_unit_test(who_has_left_keeps_its_role),
        cmocka_unit_test(a_reconnected_worker_keeps_its_units),
        cmocka_unit_test(fewer_credits_are_no_debt),
        cmocka_unit_test(only_the_post_answers),
        cmocka_unit_test(a_load_by_folder_is_answered_with_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The coordinator's core with workers that are nothing but a few lines here: who gets what, what
 * becomes of units whose worker fails, falls silent or goes, and who is let in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/step2_judge.h"
#include "tests/unit/made_journal.h"
#include "tests/unit/scene.h"

enum { EVENTS = 512 };

static void append(char *events, const char *more)
{
    size_t used = strlen(events);
    snprintf(events + used, EVENTS - used, "%s", more);
}

/* ---- a memo that keeps nothing, and writes down what happened to workers ---- */

static enum tr_status find_nothing(void *self, const struct tr_digest *unit,
                                   struct tr_content *answer, struct tr_err *err)
{
    (void)self;
    (void)unit;
    (void)answer;
    (void)err;
    return TR_AGAIN;
}

static enum tr_status keep_nothing(void *self, const struct tr_memo_entry *e,
                                   struct tr_err *err)
{
    (void)self;
    (void)e;
    (void)err;
    return TR_OK;
}

static enum tr_status flush_nothing(void *self, struct tr_err *err)
{
    (void)err;
    append(self, "|"); /* so that the order of event and flush shows */
    return TR_OK;
}

static enum tr_status write_event(void *self, enum tr_role role, const char *instance,
                                  const char *kind, const char *text, struct tr_err *err)
{
    char line[96];
    (void)err;
    assert_non_null(strstr(text, instance));
    snprintf(line, sizeof line, "%s %s %s;", tr_role_name(role), instance, kind);
    append(self, line);
    return TR_OK;
}

/* ---- tests ---- */

static void credits_bound_what_is_in_hand(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 7, 2);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    assert_int_equal(s.hands[0], 0); /* not before all are there */
    hello(&s, 1, TR_ROLE_REWARD, "r");
    assert_int_equal(s.hands[0], 2);
    assert_int_equal(s.hands[1], 2);
    done(&s, 0, take(&s, 0), 1, "r");
    assert_int_equal(s.hands[0], 2);
    answer_all(&s, 0);
    assert_int_equal(s.hands[1], 2);
    assert_false(tr_core_over(s.core));
    answer_all(&s, 1);
    assert_true(tr_core_over(s.core) && s.told_bye[0] && s.told_bye[1]);
    for (int i = 0; i < 7; i++) assert_int_equal(s.asked.answers[i], 1);
    close_scene(&s);
}

/* Invariant 1, for two samples that ask the same: sent once, answered to both. */
static void equal_units_are_asked_once(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 3, 1);
    s.asked.same = 3;
    hello(&s, 0, TR_ROLE_REWARD, "r");
    assert_int_equal(s.hands[0], 1);
    answer_all(&s, 0);
    assert_true(tr_core_over(s.core));
    assert_int_equal(s.asked.total, 3);
    close_scene(&s);
}

/* Invariant 2. */
static void second_answers_are_compared_and_dropped(void **state)
{
    (void)state;
    const struct {
        float second;
        int64_t differences;
    } rows[] = {{1, 0}, {1.0000001F, 1}};
    for (int i = 0; i < 2; i++) {
        struct scene s = {0};
        open_scene(&s, 2, 1);
        hello(&s, 0, TR_ROLE_REWARD, "r");
        struct tr_digest id = take(&s, 0);
        done(&s, 0, id, 1, "r");
        done(&s, 0, id, rows[i].second, "r");
        assert_int_equal(s.asked.total, 1);
        assert_int_equal(tr_core_counts(s.core).second_answers, 1);
        assert_int_equal(tr_core_counts(s.core).differences, rows[i].differences);
        close_scene(&s);
    }
}

static void a_silent_workers_units_go_to_another(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 2, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    struct tr_digest late = s.in_hand[0][0];
    assert_int_equal(s.hands[0], 2);
    s.now = 4;
    struct tr_message sign = {.say = TR_SAY_PROGRESS};
    sign.as.progress.in_hand = tr_digests_one(&late);
    tell(&s, 0, &sign); /* renews one of the two */
    s.now = 6;
    hello(&s, 1, TR_ROLE_REWARD, "r");
    assert_int_equal(tr_core_tick(s.core, s.now, NULL), TR_OK);
    look(&s);
    assert_int_equal(s.hands[1], 1);
    s.now = 10;
    assert_int_equal(tr_core_tick(s.core, s.now, NULL), TR_OK);
    look(&s);
    assert_int_equal(s.hands[1], 2);
    assert_int_equal(tr_core_counts(s.core).reissued, 2);
    done(&s, 0, late, 1, "r"); /* it comes after all, and is as good */
    assert_int_equal(s.asked.total, 1);
    answer_all(&s, 1);
    assert_true(tr_core_over(s.core));
    assert_int_equal(s.asked.total, 2);
    close_scene(&s);
}

/* Where others speak all the time there is no tick. */
static void silence_is_seen_while_others_speak(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 4, 2);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    hello(&s, 1, TR_ROLE_REWARD, "r");
    while (s.hands[1] > 0) done(&s, 1, take(&s, 1), 1, "r");
    for (int i = 0; i < 160; i++) {
        struct tr_message sign = {.say = TR_SAY_PROGRESS};
        s.now += 0.05;
        tell(&s, 1, &sign);
        if (s.now < 4.9) assert_int_equal(s.hands[1], 0);
    }
    assert_int_equal(s.hands[1], 2);
    assert_true(s.told_here[0]);
    answer_all(&s, 1);
    assert_true(tr_core_over(s.core));
    close_scene(&s);
}

/* A coordinator that was stopped for longer than anybody may be silent: what was said meanwhile is heard
 * first. */
static void who_slept_itself_calls_nobody_silent(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 4, 2);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    hello(&s, 1, TR_ROLE_REWARD, "r");
    s.now = 100;
    for (int peer = 0; peer < 2; peer++) {
        struct tr_message sign = {.say = TR_SAY_PROGRESS};
        for (int i = 0; i < 2; i++)
            sign.as.progress.in_hand.at[sign.as.progress.in_hand.n++] =
                s.in_hand[peer][i];
        tell(&s, peer, &sign);
    }
    assert_int_equal(tr_core_tick(s.core, s.now, NULL), TR_OK);
    assert_int_equal(tr_core_counts(s.core).reissued, 0);
    close_scene(&s);
}

/* Several events may come before their actions are done: what was answered meanwhile is not sent. */
static void what_was_answered_is_not_sent_any_more(void **state)
{
    (void)state;
    struct scene s = {0};
    const float score = 1;
    struct tr_digest weights = named("r"), late;
    struct tr_digests used = tr_digests_one(&weights);
    struct tr_answer_judge a = {{&score, 1}};
    struct tr_message m = {.say = TR_SAY_DONE};
    open_scene(&s, 2, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    late = take(&s, 0);
    s.now = 6;
    hello(&s, 1, TR_ROLE_REWARD, "r");
    assert_int_equal(tr_core_tick(s.core, s.now, NULL), TR_OK); /* both go to worker 1 */
    m.as.done.id = late;
    assert_int_equal(
        tr_content_encode(&tr_answer_score_record, &used, &a, &m.content, NULL), TR_OK);
    assert_int_equal(tr_core_hear(s.core, 0, &m, s.now, NULL), TR_OK);
    tr_message_fini(&m);
    look(&s);
    assert_int_equal(s.hands[1], 1);
    assert_false(tr_digest_equal(&s.in_hand[1][0], &late));
    answer_all(&s, 1);
    assert_true(tr_core_over(s.core));
    close_scene(&s);
}

static void a_lost_workers_units_go_to_another(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 4, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    hello(&s, 1, TR_ROLE_REWARD, "r"); /* joins in the middle: used at once */
    assert_int_equal(s.hands[1], 2);
    assert_int_equal(tr_core_lose(s.core, 0, "gone", 1, NULL), TR_OK);
    look(&s);
    answer_all(&s, 1);
    assert_true(tr_core_over(s.core));
    assert_int_equal(s.asked.total, 4);
    close_scene(&s);
}

static void failures_are_tried_again_or_end_the_run(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 1, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    for (int i = 0; i < 4; i++) {
        struct tr_message fail = {.say = TR_SAY_FAIL};
        fail.as.fail = (struct tr_fail){
            .id = take(&s, 0), .code = TR_NOMEM, .text = "full", .retryable = true};
        tell(&s, 0, &fail);
        assert_int_equal(s.st, i < 3 ? TR_OK : TR_GONE); /* four attempts were allowed */
    }
    assert_non_null(strstr(s.err.text, "4 times; giving up: worker-0: full"));
    close_scene(&s);
    open_scene(&s, 1, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    struct tr_message fail = {.say = TR_SAY_FAIL};
    fail.as.fail =
        (struct tr_fail){.id = take(&s, 0), .code = TR_BADARG, .text = "too long"};
    tell(&s, 0, &fail);
    assert_int_equal(s.st, TR_BADARG);
    assert_non_null(strstr(s.err.text, "too long"));
    close_scene(&s);
}

/* An answer that the planner will not have, with other weights, or to nothing that was asked. */
static void bad_answers_are_refused(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 1, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    done(&s, 0, named("never asked"), 1, "r");
    assert_int_equal(tr_core_counts(s.core).refused, 1);
    done(&s, 0, take(&s, 0), 1, "other weights");
    assert_int_equal(s.asked.total, 0);
    assert_int_equal(s.hands[0], 1); /* asked again */
    s.asked.refuse = true;
    done(&s, 0, take(&s, 0), 1, "r");
    assert_int_equal(tr_core_counts(s.core).refused, 3);
    s.asked.refuse = false;
    answer_all(&s, 0);
    assert_true(tr_core_over(s.core));
    close_scene(&s);
}

static void fail_one(struct scene *s, int peer)
{
    struct tr_message fail = {.say = TR_SAY_FAIL};
    fail.as.fail = (struct tr_fail){
        .id = take(s, peer), .code = TR_NOMEM, .text = "full", .retryable = true};
    tell(s, peer, &fail);
}

static void tick_at(struct scene *s, double now)
{
    s->now = now;
    assert_int_equal(tr_core_tick(s->core, s->now, NULL), TR_OK);
    look(s);
}

/* Who has its hands free because it spoilt all is not asked first: the others would never be. */
static void who_spoils_units_gives_way(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 6, 2);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    hello(&s, 1, TR_ROLE_REWARD, "r");
    fail_one(&s, 0);
    done(&s, 0, take(&s, 0), 1, "other weights");
    assert_int_equal(s.hands[0], 0);
    assert_int_equal(s.hands[1], 2);
    done(&s, 1, take(&s, 1), 1, "r");
    assert_int_equal(s.hands[1], 2);
    tick_at(&s, 1.5); /* twice in a row: two seconds */
    assert_int_equal(s.hands[0], 0);
    tick_at(&s, 2.5);
    assert_int_equal(s.hands[0], 2);
    done(&s, 0, take(&s, 0), 1, "r"); /* a good one: as if nothing had been */
    assert_int_equal(s.hands[0], 2);
    fail_one(&s, 0);
    assert_int_equal(s.hands[0], 1);
    tick_at(&s, 3.6);
    assert_int_equal(s.hands[0], 2);
    fail_one(&s, 0);
    assert_int_equal(tr_core_lose(s.core, 1, "gone", s.now, NULL), TR_OK);
    look(&s); /* nobody else is left */
    assert_int_equal(s.hands[0], 2);
    answer_all(&s, 0);
    assert_true(tr_core_over(s.core));
    close_scene(&s);
}

/* Invariants 3 and 5. */
static void who_may_join(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 1, 2);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    assert_true(s.welcome[0]);
    assert_false(s.idle[0]);
    hello(&s, 1, TR_ROLE_REWARD, "other");
    assert_true(s.welcome[1] && s.idle[1]);
    assert_false(tr_core_over(s.core));
    struct tr_digest r = named("r");
    hello(&s, 2, TR_ROLE_CRITIC, "c");
    assert_non_null(strstr(s.reason[2], "no role critic"));
    struct tr_message m = {.say = TR_SAY_HELLO};
    m.as.hello = (struct tr_hello){.role = TR_ROLE_REWARD,
                                   .credits = 1,
                                   .threads = 1,
                                   .math = "openblas",
                                   .holds = tr_digests_one(&r)};
    tell(&s, 3, &m);
    assert_non_null(strstr(s.reason[3], "openblas"));
    hello(&s, 0, TR_ROLE_REWARD,
          "r"); /* the welcome got lost: said again, counted once */
    assert_true(s.welcome[0]);
    assert_int_equal(s.hands[0], 0);
    struct tr_message stranger = {.say = TR_SAY_DONE};
    tell(&s, 5, &stranger);
    assert_int_equal(s.st, TR_OK);
    assert_true(s.told_who[5]);
    close_scene(&s);
}

/* Other weights are loaded beside the present ones; units name them only afterwards. */
static void wanted_weights_are_loaded_and_retired(void **state)
{
    (void)state;
    struct scene s = {0};
    int64_t want = -1;
    struct tr_digest next = named("next"), r = named("r");
    open_scene(&s, 8, 2);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    hello(&s, 1, TR_ROLE_REWARD, "r");
    assert_int_equal(tr_core_want(s.core, s.post, NULL, "FOLDER", &want, NULL), TR_OK);
    assert_int_equal(tr_core_tick(s.core, 1, NULL), TR_OK);
    look(&s);
    assert_string_equal(s.load[0].folder, "FOLDER");
    assert_int_equal(s.loads[0] + s.loads[1], 2);
    struct tr_message bad = {.say = TR_SAY_LOADED,
                             .as.loaded = {.text = "no such folder"}};
    tell(&s, 0, &bad);
    struct tr_message good = {
        .say = TR_SAY_LOADED,
        .as.loaded = {.digest = next, .ok = true, .folder = "OTHER"}};
    tell(&s, 1, &good); /* of what a coordinator before this one asked for */
    assert_false(tr_core_supplied(s.core, want).known);
    good = (struct tr_message){
        .say = TR_SAY_LOADED,
        .as.loaded = {.digest = next, .ok = true, .folder = "FOLDER"}};
    tell(&s, 1, &good);
    struct tr_core_supply supply = tr_core_supplied(s.core, want);
    assert_true(supply.known && tr_digest_equal(&supply.digest, &next));
    assert_int_equal(supply.holders, 1);
    assert_int_equal(supply.refused, 1);
    assert_non_null(strstr(supply.why, "no such folder"));
    s.now = 9; /* after the pause it is told again */
    assert_int_equal(tr_core_tick(s.core, s.now, NULL), TR_OK);
    struct tr_message sign = {.say = TR_SAY_PROGRESS};
    tell(&s, 0, &sign);
    assert_int_equal(s.loads[0], 2);
    struct tr_message nameless = {.say = TR_SAY_LOADED, .as.loaded = {.ok = true}};
    tell(&s, 0, &nameless);
    supply = tr_core_supplied(s.core, want);
    assert_true(supply.holders == 1 && tr_digest_equal(&supply.digest, &next));
    assert_non_null(strstr(supply.why, "names no digest"));
    assert_int_equal(tr_core_retire(s.core, s.post, &r, NULL), TR_OK);
    look(&s);
    assert_int_equal(s.drops[0] + s.drops[1], 2);
    close_scene(&s);
}

/* A version is retired while a slow worker still loads it: it is told to drop it, and what it says of it
 * is not taken for the next one. */
static void a_load_that_was_given_up_is_nobody_elses(void **state)
{
    (void)state;
    struct scene s = {0};
    int64_t want = -1;
    struct tr_digest old = named("old"), next = named("next");
    open_scene(&s, 8, 2);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    hello(&s, 1, TR_ROLE_REWARD, "r");
    assert_int_equal(tr_core_want(s.core, s.post, &old, "F", &want, NULL), TR_OK);
    assert_int_equal(tr_core_tick(s.core, 1, NULL), TR_OK);
    look(&s);
    assert_int_equal(tr_core_retire(s.core, s.post, &old, NULL), TR_OK);
    look(&s);
    assert_int_equal(s.drops[0], 1);
    assert_int_equal(tr_core_want(s.core, s.post, &next, "F", &want, NULL), TR_OK);
    assert_int_equal(tr_core_tick(s.core, 1, NULL), TR_OK);
    look(&s);
    assert_int_equal(s.loads[0], 2);
    for (int ok = 0; ok < 2; ok++) {
        struct tr_message late = {
            .say = TR_SAY_LOADED,
            .as.loaded = {.digest = old, .ok = ok != 0, .text = "dropped"}};
        tell(&s, 0, &late);
    }
    assert_int_equal(tr_core_supplied(s.core, want).refused, 0);
    assert_int_equal(tr_core_supplied(s.core, want).holders, 0);
    struct tr_message good = {.say = TR_SAY_LOADED,
                              .as.loaded = {.digest = next, .ok = true}};
    tell(&s, 0, &good);
    assert_int_equal(tr_core_supplied(s.core, want).holders, 1);
    close_scene(&s);
}

static void here_is_said_now_and_then(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 1, 2);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    for (int t = 1; t < 7; t++) assert_int_equal(tr_core_tick(s.core, t, NULL), TR_OK);
    look(&s);
    assert_true(s.told_here[0]);
    close_scene(&s);
}

static void question(struct scene *s, int peer)
{
    struct tr_message m = {.say = TR_SAY_ASK};
    snprintf(m.as.ask.what, sizeof m.as.ask.what, "snapshot-db");
    snprintf(m.as.ask.argument, sizeof m.as.ask.argument, "{}");
    tell(s, peer, &m);
    assert_int_equal(s->st, TR_OK);
}

static void learner_joins(struct scene *s, int peer, const struct tr_digest *lineage)
{
    struct tr_message m = {.say = TR_SAY_HELLO,
                           .as.hello = {.role = TR_ROLE_POLICY,
                                        .credits = 2,
                                        .holds = tr_digests_one(lineage)}};
    snprintf(m.as.hello.instance, sizeof m.as.hello.instance, "policy-%d", peer);
    tell(s, peer, &m);
    assert_int_equal(s->st, TR_OK);
}

/* A learner whose lineage nobody here knows is sent away after a while; one that fits is asked. */
static void an_estranged_learner_is_sent_away(void **state)
{
    (void)state;
    struct scene s = {0};
    struct tr_unit unit;
    struct tr_content answer;
    int64_t post = 0;
    struct tr_digest there = made_lineage(TR_ROLE_POLICY, 0),
                     stranger = made_digest("stranger", 1);
    open_scene(&s, 1, 1);
    assert_int_equal(tr_core_open_post(s.core, TR_ROLE_POLICY, "", 1, &post, NULL),
                     TR_OK);
    tr_core_set_lineage(s.core, post, &there);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    learner_joins(&s, 1, &stranger);
    made_learn(TR_ROLE_POLICY, 0, &unit, &answer);
    tr_content_fini(&answer);
    assert_int_equal(tr_core_add(s.core, post, &unit, 99, 1, NULL), TR_OK);
    for (int t = 1; t < 8; t++) {
        s.now = t;
        assert_int_equal(tr_core_tick(s.core, s.now, NULL), TR_OK);
        look(&s);
        assert_int_equal(s.welcome[1], t < 6); /* five seconds after the first look */
    }
    assert_non_null(strstr(s.reason[1], "has to begin from a snapshot"));
    learner_joins(&s, 2, &there);
    assert_int_equal(s.hands[2], 1);
    close_scene(&s);
}

static void join_to_swap(struct scene *s, int peer, const char *weights)
{
    struct tr_message m = {.say = TR_SAY_HELLO,
                           .as.hello = {.role = TR_ROLE_REWARD,
                                        .incarnation = 7,
                                        .credits = 1,
                                        .swap = true,
                                        .holds = {.n = 1, .at = {named(weights)}}}};
    snprintf(m.as.hello.instance, sizeof m.as.hello.instance, "new-%d", peer);
    tell(s, peer, &m);
    assert_int_equal(s->st, TR_OK);
}

/* It asks what a person would, once; one that has what is in use already has nothing to ask for. */
static void a_reward_asks_to_take_the_place_of_another(void **state)
{
    (void)state;
    struct scene s = {0};
    char digest[65];
    struct tr_digest next = named("next");
    open_scene(&s, 6, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    join_to_swap(&s, 1, "r");
    assert_int_equal(s.asked.asks, 0);
    join_to_swap(&s, 2, "next");
    assert_int_equal(s.asked.asks, 1);
    assert_true(s.welcome[2] && s.idle[2]);
    assert_string_equal(s.asked.what, "swap");
    tr_digest_text(&next, digest);
    assert_non_null(strstr(s.asked.argument, digest));
    assert_non_null(strstr(s.asked.argument, "[\"new-2\", 7]"));
    join_to_swap(&s, 2, "next"); /* the same process again */
    assert_int_equal(s.asked.asks, 1);
    s.asked.more = 1; /* the planner will not: the worker stays */
    join_to_swap(&s, 3, "third");
    assert_int_equal(s.asked.asks, 2);
    assert_true(s.welcome[3] && s.idle[3]);
    close_scene(&s);
}

/* A question that takes long is worked on between other things, and not at each of them. */
static void long_questions_are_answered_bit_by_bit(void **state)
{
    (void)state;
    struct scene s = {0};
    open_scene(&s, 6, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    s.asked.more = 2;
    question(&s, 5);
    assert_string_equal(s.asked.what, "snapshot-db");
    assert_string_equal(s.asked.argument, "{}");
    assert_true(tr_core_hurries(s.core));
    assert_int_equal(s.told[5], 0);
    done(&s, 0, take(&s, 0), 1, "r"); /* at the same moment: it is not asked again */
    assert_int_equal(s.asked.asks, 1);
    assert_int_equal(s.asked.total, 1);
    s.now = 0.05;
    done(&s, 0, take(&s, 0), 1, "r");
    assert_int_equal(s.asked.asks, 2);
    assert_int_equal(s.told[5], 0);
    s.now = 0.1;
    assert_int_equal(tr_core_tick(s.core, s.now, NULL), TR_OK);
    look(&s);
    assert_int_equal(s.asked.asks, 3);
    assert_true(s.told[5] == 1 && s.told_ok[5] && !tr_core_hurries(s.core));
    /* The run ends before a second one is answered, and there is room for so many only. */
    s.asked.more = 100;
    for (int i = 0; i < 8; i++) question(&s, 6);
    assert_int_equal(s.told[6], 0);
    question(&s, 7);
    assert_true(s.told[7] == 1 && !s.told_ok[7]);
    answer_all(&s, 0);
    assert_true(tr_core_over(s.core));
    assert_true(s.told[6] == 8 && !s.told_ok[6] && s.told[5] == 1);
    close_scene(&s);
}

static void who_never_joined_is_named(void **state)
{
    (void)state;
    struct scene s = {0};
    struct tr_err err = {0};
    open_scene(&s, 1, 2);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    for (int t = 1; t < 10; t++) assert_int_equal(tr_core_tick(s.core, t, &err), TR_OK);
    look(&s);
    assert_int_equal(s.sayings, 3); /* after 2, 4 and 8 s */
    assert_string_equal(s.said[1],
                        "after 4 s these have not joined: reward (1 of 2); the "
                        "run ends after 10 s without them");
    assert_int_equal(tr_core_tick(s.core, 10, &err), TR_GONE);
    assert_string_equal(err.text, "after 10 s these have not joined: reward (1 of 2)");
    close_scene(&s);
}

static void who_is_missed_is_named(void **state)
{
    (void)state;
    struct scene s = {0};
    struct tr_err err = {0};
    open_scene(&s, 3, 1);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    look(&s);
    assert_int_equal(tr_core_lose(s.core, 0, "gone", 1, NULL), TR_OK);
    for (int t = 2; t < 8; t++) assert_int_equal(tr_core_tick(s.core, t, &err), TR_OK);
    look(&s);
    assert_int_equal(s.sayings, 2); /* after 2 and 4 s of that */
    assert_string_equal(s.said[1],
                        "reward: 3 units have had nobody to do them for 4 s; they need "
                        "454349e422f05297, and nobody is here; the run ends after 100 s "
                        "of that");
    hello(&s, 1, TR_ROLE_REWARD, "r"); /* another comes, and goes */
    assert_int_equal(tr_core_lose(s.core, 1, "gone", 20, NULL), TR_OK);
    assert_int_equal(tr_core_tick(s.core, 120, &err), TR_OK);
    assert_int_equal(tr_core_tick(s.core, 121, &err), TR_GONE);
    assert_string_equal(err.text,
                        "reward: 3 units have had nobody to do them for 100 s; they "
                        "need 454349e422f05297, and nobody is here");
    close_scene(&s);
}

/* What a journal tells of the workers afterwards. */
static void what_happens_to_workers_is_noted(void **state)
{
    (void)state;
    char events[EVENTS] = "";
    struct tr_memo memo = {.self = events,
                           .find = find_nothing,
                           .keep = keep_nothing,
                           .flush = flush_nothing,
                           .event = write_event};
    struct scene s = {.memo = &memo};
    open_scene(&s, 3, 2);
    hello(&s, 0, TR_ROLE_REWARD, "r");
    hello(&s, 1, TR_ROLE_REWARD, "r");
    hello(&s, 2, TR_ROLE_CRITIC, "c");
    assert_int_equal(tr_core_flush(s.core, NULL), TR_OK);
    s.now = 6;
    assert_int_equal(tr_core_tick(s.core, s.now, NULL), TR_OK);
    assert_int_equal(tr_core_lose(s.core, 1, "gone", s.now, NULL), TR_OK);
    assert_string_equal(events, "reward worker-0 joined;reward worker-1 joined;"
                                "critic worker-2 turned away;|"
                                "reward worker-0 silent;reward worker-0 silent;"
                                "reward worker-1 silent;reward worker-1 left;");
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credits_bound_what_is_in_hand),
        cmocka_unit_test(equal_units_are_asked_once),
        cmocka_unit_test(second_answers_are_compared_and_dropped),
        cmocka_unit_test(a_silent_workers_units_go_to_another),
        cmocka_unit_test(silence_is_seen_while_others_speak),
        cmocka_unit_test(who_slept_itself_calls_nobody_silent),
        cmocka_unit_test(what_was_answered_is_not_sent_any_more),
        cmocka_unit_test(a_lost_workers_units_go_to_another),
        cmocka_unit_test(failures_are_tried_again_or_end_the_run),
        cmocka_unit_test(bad_answers_are_refused),
        cmocka_unit_test(who_spoils_units_gives_way),
        cmocka_unit_test(who_may_join),
        cmocka_unit_test(wanted_weights_are_loaded_and_retired),
        cmocka_unit_test(a_load_that_was_given_up_is_nobody_elses),
        cmocka_unit_test(here_is_said_now_and_then),
        cmocka_unit_test(an_estranged_learner_is_sent_away),
        cmocka_unit_test(a_reward_asks_to_take_the_place_of_another),
        cmocka_unit_test(long_questions_are_answered_bit_by_bit),
        cmocka_unit_test(who_never_joined_is_named),
        cmocka_unit_test(who_is_missed_is_named),
        cmocka_unit_test(what_happens_to_workers_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

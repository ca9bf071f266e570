/* docs/protocol.md, chapters 5 to 10: what coordinator and workers do. The coordinator is its core with peers
 * of a few lines; the worker is the real one, with a rule, and the coordinator is played. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "actors/coordinator/core.h"
#include "actors/role.h"
#include "actors/rule.h"
#include "actors/worker.h"
#include "core/base/clock.h"
#include "proto/step2_judge.h"
#include "proto/wire.h"
#include "tests/unit/protocol_clauses.h"

static struct tr_digest named(const char *text)
{
    return tr_digest_of(text, strlen(text));
}

/* ---- a coordinator, its peers and what they were told ---- */

enum { PEERS = 4, UNITS = 5 };

struct scene {
    struct tr_core *core;
    struct tr_planner planner;
    int64_t post;
    double now;
    int answers, rejected;
    struct tr_message last[PEERS]
                          [TR_SAY_HERE + 1]; /* of each kind; contents are not kept */
    int times[PEERS][TR_SAY_HERE + 1];
    struct tr_digest unit[PEERS][UNITS];
    enum tr_status st;
    struct tr_err err;
    int swaps; /* that were asked for */
};

static struct tr_unit score_of(int number, const struct tr_digest *weights)
{
    const int32_t token[] = {number, 7};
    const int64_t start[] = {0, 2}, from = 1;
    struct tr_digests needs = tr_digests_one(weights);
    struct tr_ask_judge ask = {{token, 2}, {start, 2}, {&from, 1}};
    struct tr_unit u;
    assert_int_equal(tr_unit_make(&tr_ask_score_record, &needs, &ask, &u, NULL), TR_OK);
    return u;
}

static enum tr_status start(void *self, struct tr_core *core, struct tr_err *err)
{
    struct scene *s = self;
    for (int i = 0; i < UNITS; i++) {
        struct tr_digest weights = tr_core_digest(core, s->post);
        struct tr_unit u = score_of(i, &weights);
        assert_int_equal(tr_core_add(core, s->post, &u, i, 1, err), TR_OK);
    }
    return TR_OK;
}

static enum tr_status answer(void *self, struct tr_core *core, int64_t tag,
                             const struct tr_content *content, struct tr_err *err)
{
    struct scene *s = self;
    (void)core, (void)tag, (void)content, (void)err;
    s->answers++;
    return TR_OK;
}

static enum tr_status ask(void *self, struct tr_core *core, const char *what,
                          const char *argument, struct tr_buf *reply, struct tr_err *err)
{
    struct scene *s = self;
    (void)core, (void)reply, (void)err;
    assert_string_equal(what, "swap");
    assert_non_null(strstr(argument, "\"main\""));
    s->swaps++;
    return TR_OK;
}

static bool finished(const void *self)
{
    return ((const struct scene *)self)->answers == UNITS;
}

static void open_scene(struct scene *s)
{
    const struct tr_core_settings set = {.run = "r",
                                         .join_seconds = 10,
                                         .silence_seconds = 60,
                                         .here_seconds = 5,
                                         .attempts = 4};
    memset(s, 0, sizeof *s);
    s->planner = (struct tr_planner){
        .self = s, .start = start, .answer = answer, .finished = finished, .ask = ask};
    assert_int_equal(tr_core_create(&set, &s->planner, NULL, 0, &s->core, NULL), TR_OK);
    assert_int_equal(
        tr_core_open_post(s->core, TR_ROLE_REWARD, "main", 1, &s->post, NULL), TR_OK);
}

static void look(struct scene *s)
{
    struct tr_core_action a;
    while (tr_core_next(s->core, &a)) {
        if (!a.send) continue;
        int p = (int)a.peer;
        int *times = &s->times[p][a.message.say];
        if (a.message.say == TR_SAY_UNIT)
            s->unit[p][*times % UNITS] = a.message.as.unit.id;
        ++*times;
        s->last[p][a.message.say] = a.message;
    }
}

static void tell(struct scene *s, int peer, struct tr_message m)
{
    s->st = tr_core_hear(s->core, peer, &m, s->now, &s->err);
    tr_message_fini(&m);
    look(s);
}

static void tick(struct scene *s, double now)
{
    s->now = now;
    s->st = tr_core_tick(s->core, now, &s->err);
    look(s);
}

/* A hello of a reward that holds `holds` (NULL: nothing). */
static struct tr_message hello(int peer, const char *holds)
{
    struct tr_message m = {.say = TR_SAY_HELLO};
    m.as.hello =
        (struct tr_hello){.role = TR_ROLE_REWARD, .credits = 2, .incarnation = 1};
    snprintf(m.as.hello.instance, sizeof m.as.hello.instance, "reward-%d", peer);
    if (holds) {
        m.as.hello.holds.n = 1;
        m.as.hello.holds.at[0] = named(holds);
    }
    return m;
}

static struct tr_message done(struct tr_digest id, float score, const char *used)
{
    struct tr_digest d = named(used);
    struct tr_digests digests = tr_digests_one(&d);
    struct tr_answer_judge a = {{&score, 1}};
    struct tr_message m = {.say = TR_SAY_DONE, .as.done.id = id};
    assert_int_equal(
        tr_content_encode(&tr_answer_score_record, &digests, &a, &m.content, NULL),
        TR_OK);
    return m;
}

static const struct tr_welcome *welcome_of(const struct scene *s, int peer)
{
    assert_true(s->times[peer][TR_SAY_WELCOME] > 0);
    return &s->last[peer][TR_SAY_WELCOME].as.welcome;
}

/* ---- a worker, and who plays its coordinator ---- */

struct play {
    struct tr_exec ex;
    struct tr_wire *wire;
    char address[TR_ADDRESS_BYTES];
    int64_t peer;
    struct tr_actor *actor;
    struct tr_digest digest; /* of its rule */
    struct tr_worker set;
    pthread_t thread;
    enum tr_status status;
    struct tr_err err;
};

static void *work(void *play)
{
    struct play *p = play;
    const struct tr_log log = {.name = "worker", .fd = 2, .level = TR_LOG_QUIET};
    p->status = tr_worker_run(&p->set, p->actor, &log, &p->err);
    return NULL;
}

static void open_play(struct play *p, double quiet_seconds)
{
    const struct tr_rule_start rule = {.kind = TR_RULE_LENGTH, .scale = 1};
    memset(p, 0, sizeof *p);
    assert_int_equal(tr_exec_init(&p->ex, NULL, 1, TR_MATH_EXACT), 0);
    struct tr_role_start role = {.ex = &p->ex, .rule = &rule};
    assert_int_equal(tr_actor_open(TR_ROLE_REWARD, &role, &p->actor, NULL), TR_OK);
    p->digest = tr_actor_hello(p->actor).holds.at[0];
    assert_int_equal(
        tr_wire_listen("tcp://127.0.0.1:0", NULL, p->address, &p->wire, NULL), TR_OK);
    p->set = (struct tr_worker){.address = p->address,
                                .instance = "reward-1",
                                .join_seconds = 20,
                                .quiet_seconds = quiet_seconds,
                                .stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    assert_int_equal(pthread_create(&p->thread, NULL, work, p), 0);
}

static void close_play(struct play *p)
{
    pthread_join(p->thread, NULL);
    tr_actor_close(p->actor);
    tr_wire_close(p->wire);
    close(p->set.stop_fd);
    tr_exec_fini(&p->ex);
}

/* Waits for a message of this kind and passes over others. */
static struct tr_message wait_for(struct play *p, enum tr_say say)
{
    struct tr_message m;
    double end = tr_clock_seconds() + 10;
    while (tr_clock_seconds() < end) {
        if (tr_wire_receive(p->wire, 1, &p->peer, &m, NULL) != TR_OK) continue;
        if (m.say == say) return m;
        tr_message_fini(&m);
    }
    fail_msg("the worker did not say %d", (int)say);
    return m;
}

static void say(struct play *p, struct tr_message m)
{
    assert_int_equal(tr_wire_send(p->wire, p->peer, &m, NULL), TR_OK);
    tr_message_fini(&m);
}

static void let_in(struct play *p)
{
    struct tr_message m = wait_for(p, TR_SAY_HELLO);
    tr_message_fini(&m);
    say(p, (struct tr_message){.say = TR_SAY_WELCOME, .as.welcome.admitted = true});
}

static void send_away(struct play *p)
{
    say(p, (struct tr_message){.say = TR_SAY_BYE});
    close_play(p);
    assert_int_equal(p->status, TR_OK);
}

static struct tr_message deliver(struct tr_unit u)
{
    struct tr_message m = {.say = TR_SAY_UNIT, .content = u.content};
    m.as.unit = (struct tr_deliver){.id = u.id, .attempt = 1};
    return m;
}

/* ---- 1.4, 4.5, 5. joining ---- */

static void clause_1_4_it_costs_the_sender_its_units(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    struct tr_digest id = s.unit[0][0];
    assert_int_equal(tr_core_mishear(s.core, 0, "no message", 1, NULL), TR_OK);
    assert_int_equal(tr_core_mishear(s.core, 2, "no message", 1, NULL), TR_OK);
    tell(&s, 1, hello(1, "r"));
    assert_int_equal(s.times[0][TR_SAY_WELCOME], 1);
    assert_int_equal(s.times[2][TR_SAY_WELCOME], 1); /* a stranger's */
    assert_false(s.last[2][TR_SAY_WELCOME].as.welcome.admitted);
    assert_string_equal(s.last[2][TR_SAY_WELCOME].as.welcome.reason, "no message");
    assert_true(tr_digest_equal(&s.unit[1][0], &id));
    tell(&s, 0, (struct tr_message){.say = TR_SAY_PROGRESS});
    assert_int_equal(s.times[0][TR_SAY_WHO], 1);
    tr_core_destroy(s.core);
}

static void clause_4_5_an_answer_names_what_was_used(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    tell(&s, 0, done(s.unit[0][0], 1, "other"));
    assert_int_equal(s.answers, 0);
    assert_int_equal(tr_core_counts(s.core).refused, 1);
    tell(&s, 0, done(s.unit[0][0], 1, "r"));
    assert_int_equal(s.answers, 1);
    tr_core_destroy(s.core);
}

static void clause_5_1_hello_until_welcome(void **state)
{
    (void)state;
    struct play p;
    struct tr_message first, second;
    open_play(&p, 0);
    first = wait_for(&p, TR_SAY_HELLO);
    second = wait_for(&p, TR_SAY_HELLO);
    assert_memory_equal(&first.as.hello, &second.as.hello, sizeof first.as.hello);
    assert_true(tr_digest_equal(&first.as.hello.holds.at[0], &p.digest));
    send_away(&p);
}

static void clause_5_2_another_incarnation_is_another_process(void **state)
{
    (void)state;
    struct scene s;
    struct tr_message again = hello(0, "r");
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    assert_int_equal(s.times[0][TR_SAY_UNIT], 2);
    tell(&s, 0, hello(0, "r")); /* the same: nothing is taken back */
    assert_int_equal(s.times[0][TR_SAY_UNIT], 2);
    again.as.hello.incarnation = 2;
    struct tr_digest first = s.unit[0][0];
    tell(&s, 1, again);
    assert_true(tr_digest_equal(&first, &s.unit[1][0]) ||
                tr_digest_equal(&first, &s.unit[1][1]));
    tell(&s, 2, hello(0, "r")); /* the elder, over another connection */
    assert_int_equal(s.times[2][TR_SAY_BYE], 1);
    assert_int_equal(s.times[2][TR_SAY_UNIT], 0);
    again.as.hello.incarnation = 3; /* once more, while the second is there and speaks */
    tell(&s, 3, again);
    assert_int_equal(s.times[3][TR_SAY_WELCOME], 0);
    s.now = 2.5;
    tell(&s, 3, again);
    assert_true(welcome_of(&s, 3)->admitted);
    tr_core_destroy(s.core);
}

static void clause_5_3_a_worker_holds_a_digest(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    tell(&s, 0, hello(0, NULL));
    assert_false(welcome_of(&s, 0)->admitted);
    assert_non_null(strstr(welcome_of(&s, 0)->reason, "digest"));
    tell(&s, 1, hello(1, "any 32 bytes"));
    assert_true(welcome_of(&s, 1)->admitted);
    tr_core_destroy(s.core);
}

static void clause_5_4_the_first_reward_decides(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    tell(&s, 1, hello(1, "other"));
    tell(&s, 2, hello(2, "r"));
    assert_false(welcome_of(&s, 0)->idle);
    assert_true(welcome_of(&s, 1)->admitted && welcome_of(&s, 1)->idle);
    assert_int_equal(s.times[1][TR_SAY_UNIT], 0);
    assert_int_equal(s.times[2][TR_SAY_UNIT], 2);
    assert_int_equal(s.swaps, 0);
    struct tr_message wants = hello(3, "other");
    wants.as.hello.swap = true;
    tell(&s, 3, wants);
    tell(&s, 3, wants); /* comes back */
    assert_int_equal(s.swaps, 1);
    tr_core_destroy(s.core);
}

static void clause_5_5_why_not(void **state)
{
    (void)state;
    struct scene s;
    struct tr_message slot = hello(1, "r"), math = hello(2, "r"), role = hello(3, "r");
    struct tr_message exact = hello(0, "r");
    open_scene(&s);
    snprintf(exact.as.hello.math, sizeof exact.as.hello.math, "exact");
    snprintf(slot.as.hello.slot, sizeof slot.as.hello.slot, "other");
    snprintf(math.as.hello.math, sizeof math.as.hello.math, "openblas");
    role.as.hello.role = TR_ROLE_CRITIC;
    tell(&s, 0, exact);
    tell(&s, 1, slot);
    tell(&s, 2, math);
    tell(&s, 3, role);
    assert_non_null(strstr(welcome_of(&s, 1)->reason, "no reward \"other\", but: main"));
    assert_non_null(strstr(welcome_of(&s, 2)->reason, "math"));
    assert_non_null(strstr(welcome_of(&s, 3)->reason, "no role critic"));
    tell(&s, 2, hello(2, "r")); /* says no math */
    assert_true(welcome_of(&s, 2)->admitted);
    tr_core_destroy(s.core);
}

static void clause_5_6_who_is_answered_with_hello(void **state)
{
    (void)state;
    struct scene s;
    struct play p;
    open_scene(&s);
    tell(&s, 1, (struct tr_message){.say = TR_SAY_PROGRESS});
    assert_int_equal(s.times[1][TR_SAY_WHO], 1);
    tr_core_destroy(s.core);

    open_play(&p, 0);
    let_in(&p);
    say(&p, (struct tr_message){.say = TR_SAY_WHO});
    let_in(&p);
    struct tr_unit u = score_of(1, &p.digest);
    struct tr_digest id = u.id;
    say(&p, deliver(u));
    struct tr_message m = wait_for(&p, TR_SAY_DONE);
    assert_true(tr_digest_equal(&m.as.done.id, &id));
    tr_message_fini(&m);
    send_away(&p);
}

/* ---- 6. work ---- */

static void clause_6_1_credits_bound_what_is_in_hand(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    assert_int_equal(s.times[0][TR_SAY_UNIT], 2);
    tell(&s, 0, done(s.unit[0][1], 1, "r"));
    assert_int_equal(s.times[0][TR_SAY_UNIT], 3);
    tr_core_destroy(s.core);
}

static void clause_6_2_only_with_the_digests_named(void **state)
{
    (void)state;
    struct play p;
    struct tr_digest other = named("other");
    open_play(&p, 0);
    let_in(&p);
    say(&p, deliver(score_of(1, &other)));
    struct tr_message m = wait_for(&p, TR_SAY_FAIL);
    assert_int_equal(m.as.fail.code, 3);
    send_away(&p);
}

static void clause_6_3_a_deadline_is_silence(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    struct tr_message sign = {.say = TR_SAY_PROGRESS};
    sign.as.progress.in_hand = tr_digests_one(&s.unit[0][0]);
    tick(&s, 50);
    tell(&s, 0, sign);
    tell(&s, 1, hello(1, "r"));
    struct tr_digest named_unit = s.unit[0][0], other = s.unit[0][1];
    tell(&s, 1, done(s.unit[1][0], 1, "r"));
    tell(&s, 1, done(s.unit[1][1], 1, "r"));
    tell(&s, 1, done(s.unit[1][2], 1, "r")); /* it has nothing left to do */
    int before = s.times[1][TR_SAY_UNIT];
    tick(&s, 61); /* only the one that was not named */
    assert_int_equal(s.times[1][TR_SAY_UNIT], before + 1);
    assert_true(tr_digest_equal(&s.last[1][TR_SAY_UNIT].as.unit.id, &other));
    tick(&s, 111);
    assert_true(tr_digest_equal(&s.last[1][TR_SAY_UNIT].as.unit.id, &named_unit));
    assert_int_equal(s.last[1][TR_SAY_UNIT].as.unit.attempt, 2);
    tr_core_destroy(s.core);
}

static void clause_6_4_second_answers_are_compared(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    struct tr_digest id = s.unit[0][1];
    tell(&s, 0, done(id, 1, "r")); /* the later one first */
    tell(&s, 0, done(id, 1, "r"));
    assert_int_equal(tr_core_counts(s.core).second_answers, 1);
    assert_int_equal(tr_core_counts(s.core).differences, 0);
    tell(&s, 0, done(id, 2, "r"));
    assert_int_equal(tr_core_counts(s.core).differences, 1);
    assert_int_equal(s.answers, 1);
    tr_core_destroy(s.core);
}

static void clause_6_5_fail_gives_a_unit_back(void **state)
{
    (void)state;
    struct scene s;
    struct tr_message fail = {.say = TR_SAY_FAIL};
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    fail.as.fail = (struct tr_fail){
        .id = s.unit[0][0], .code = 7, .text = "no room", .retryable = true};
    tell(&s, 0, fail);
    assert_int_equal(s.st, TR_OK);
    assert_int_equal(s.last[0][TR_SAY_UNIT].as.unit.attempt, 2);
    fail.as.fail.retryable = false;
    fail.as.fail.code = 5;
    tell(&s, 0, fail);
    assert_int_equal(s.st, TR_BADARG);
    assert_non_null(strstr(s.err.text, "no room"));
    tr_core_destroy(s.core);
}

static void clause_6_6_bye(void **state)
{
    (void)state;
    struct scene s;
    struct play p;
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    tell(&s, 1, hello(1, "r"));
    tell(&s, 1, done(s.unit[1][0], 1, "r"));
    tell(&s, 1, done(s.unit[1][1], 1, "r"));
    int before = s.times[1][TR_SAY_UNIT];
    tell(&s, 0, (struct tr_message){.say = TR_SAY_BYE});
    assert_true(s.times[1][TR_SAY_UNIT] > before); /* at once */
    tr_core_destroy(s.core);

    open_play(&p, 0);
    let_in(&p);
    say(&p, deliver(score_of(1, &p.digest)));
    say(&p, (struct tr_message){.say = TR_SAY_DRAIN});
    struct tr_message m = wait_for(&p, TR_SAY_DONE);
    tr_message_fini(&m);
    m = wait_for(&p, TR_SAY_BYE); /* by itself */
    tr_message_fini(&m);
    close_play(&p);
    assert_int_equal(p.status, TR_OK);
}

static void clause_6_7_signs_of_life(void **state)
{
    (void)state;
    struct scene s;
    struct play p;
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    tick(&s, 4);
    assert_int_equal(s.times[0][TR_SAY_HERE], 0);
    tick(&s, 5.1);
    assert_int_equal(s.times[0][TR_SAY_HERE], 1);
    tr_core_destroy(s.core);

    open_play(&p, 0.5);
    let_in(&p);
    let_in(&p); /* nothing was said for half a second */
    send_away(&p);
}

static void clause_6_8_an_idle_worker_is_asked_too(void **state)
{
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        struct scene s;
        open_scene(&s);
        for (int peer = 0; peer < 2; peer++) {
            struct tr_message m = hello(peer, "r");
            if (exact) snprintf(m.as.hello.math, sizeof m.as.hello.math, "exact");
            tell(&s, peer, m);
        }
        struct tr_digest slow = s.unit[0][0];
        for (int i = 0; i < 3; i++) tell(&s, 1, done(s.unit[1][i], 1, "r"));
        tick(&s, 4.9);
        assert_int_equal(s.times[1][TR_SAY_UNIT], 3);
        tick(&s, 5.1);
        assert_int_equal(s.times[1][TR_SAY_UNIT], 3 + exact);
        if (exact) {
            assert_true(tr_digest_equal(&s.last[1][TR_SAY_UNIT].as.unit.id, &slow));
            tell(&s, 1, done(slow, 1, "r"));
            tell(&s, 0, done(slow, 1, "r"));
            assert_int_equal(tr_core_counts(s.core).second_answers, 1);
            assert_int_equal(s.answers, 4);
        }
        tr_core_destroy(s.core);
    }
}

/* ---- 7. weights ---- */

/* To a worker that has none; those that have are in test_worker.c. */
static void try_loads(struct tr_digest *of_rule, struct tr_message *refused,
                      struct tr_message *held)
{
    struct play p;
    struct tr_message m = {.say = TR_SAY_LOAD,
                           .as.load = {.digest = named("new"), .folder = "/nowhere"}};
    open_play(&p, 0);
    *of_rule = p.digest;
    let_in(&p);
    say(&p, m);
    *refused = wait_for(&p, TR_SAY_LOADED);
    m.as.load.digest = p.digest;
    say(&p, m);
    *held = wait_for(&p, TR_SAY_LOADED);
    send_away(&p);
}

static void clause_7_1_a_worker_without_weights_says_so(void **state)
{
    (void)state;
    struct tr_digest rule;
    struct tr_message refused, held;
    try_loads(&rule, &refused, &held);
    assert_false(refused.as.loaded.ok);
    assert_true(refused.as.loaded.text[0]);
}

static void clause_7_2_what_is_held_is_loaded(void **state)
{
    (void)state;
    struct tr_digest rule;
    struct tr_message refused, held;
    try_loads(&rule, &refused, &held);
    assert_true(held.as.loaded.ok);
    assert_true(tr_digest_equal(&held.as.loaded.digest, &rule));
}

/* The core: wanted, loaded, asked of, dropped. */
static void clause_7_3_dropped_weights_are_not_asked_of(void **state)
{
    (void)state;
    struct scene s;
    struct tr_digest old = named("r"), new = named("new");
    struct tr_message loaded = {.say = TR_SAY_LOADED,
                                .as.loaded = {.digest = new, .ok = true}};
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    assert_int_equal(tr_core_want(s.core, s.post, &new, "/folder", NULL, NULL), TR_OK);
    tick(&s, 1);
    assert_string_equal(s.last[0][TR_SAY_LOAD].as.load.folder, "/folder");
    tell(&s, 0, loaded);
    for (int i = 0; i < UNITS; i++) /* all that there is */
        if (s.answers < UNITS - 1) tell(&s, 0, done(s.unit[0][i], 1, "r"));
    assert_int_equal(tr_core_retire(s.core, s.post, &old, NULL), TR_OK);
    tick(&s, 2);
    assert_true(tr_digest_equal(&s.last[0][TR_SAY_DROP].as.drop.digest, &old));
    tr_core_destroy(s.core);
}

static void clause_7_3_who_offered_is_told_too(void **state)
{
    (void)state;
    struct scene s;
    struct tr_digest old = named("old");
    struct tr_message offer = {.say = TR_SAY_OFFER, .as.offer.digest = old};
    snprintf(offer.as.offer.file, sizeof offer.as.offer.file, "/file");
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    tell(&s, 1, hello(1, "r"));
    tell(&s, 1, offer);
    assert_int_equal(tr_core_withdraw(s.core, &old, NULL), TR_OK);
    tick(&s, 1);
    assert_true(tr_digest_equal(&s.last[1][TR_SAY_DROP].as.drop.digest, &old));
    assert_true(tr_digest_is_zero(&s.last[0][TR_SAY_DROP].as.drop.digest));
    assert_int_equal(tr_core_want(s.core, s.post, &old, "", NULL, NULL), TR_OK);
    tick(&s, 2);
    assert_int_equal(s.last[0][TR_SAY_LOAD].say, 0); /* from nowhere */
    tr_core_destroy(s.core);
}

static void clause_7_4_an_offer_names_where(void **state)
{
    (void)state;
    struct scene s;
    struct tr_digest new = named("new");
    struct tr_message offer = {.say = TR_SAY_OFFER};
    offer.as.offer = (struct tr_offer){.digest = new, .source = "tcp://127.0.0.1:7000"};
    open_scene(&s);
    tell(&s, 0, hello(0, "r"));
    tell(&s, 1, hello(1, "r"));
    tell(&s, 1, offer);
    assert_int_equal(tr_core_want(s.core, s.post, &new, "", NULL, NULL), TR_OK);
    tick(&s, 1);
    assert_string_equal(s.last[0][TR_SAY_LOAD].as.load.source, "tcp://127.0.0.1:7000");
    tr_core_destroy(s.core);
}

const struct CMUnitTest company_clauses[COMPANY_CLAUSES] = {
    cmocka_unit_test(clause_1_4_it_costs_the_sender_its_units),
    cmocka_unit_test(clause_4_5_an_answer_names_what_was_used),
    cmocka_unit_test(clause_5_1_hello_until_welcome),
    cmocka_unit_test(clause_5_2_another_incarnation_is_another_process),
    cmocka_unit_test(clause_5_3_a_worker_holds_a_digest),
    cmocka_unit_test(clause_5_4_the_first_reward_decides),
    cmocka_unit_test(clause_5_5_why_not),
    cmocka_unit_test(clause_5_6_who_is_answered_with_hello),
    cmocka_unit_test(clause_6_1_credits_bound_what_is_in_hand),
    cmocka_unit_test(clause_6_2_only_with_the_digests_named),
    cmocka_unit_test(clause_6_3_a_deadline_is_silence),
    cmocka_unit_test(clause_6_4_second_answers_are_compared),
    cmocka_unit_test(clause_6_5_fail_gives_a_unit_back),
    cmocka_unit_test(clause_6_6_bye),
    cmocka_unit_test(clause_6_7_signs_of_life),
    cmocka_unit_test(clause_6_8_an_idle_worker_is_asked_too),
    cmocka_unit_test(clause_7_1_a_worker_without_weights_says_so),
    cmocka_unit_test(clause_7_2_what_is_held_is_loaded),
    cmocka_unit_test(clause_7_3_dropped_weights_are_not_asked_of),
    cmocka_unit_test(clause_7_3_who_offered_is_told_too),
    cmocka_unit_test(clause_7_4_an_offer_names_where),
};

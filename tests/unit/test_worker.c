/* A worker and somebody who plays the coordinator: what is said, and in which order. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/worker.h"
#include "core/base/clock.h"
#include "core/base/host.h"
#include "proto/wire.h"
#include "tests/unit/versions.h"

struct play {
    struct versions v;
    struct tr_wire *wire; /* the coordinator's */
    char address[TR_ADDRESS_BYTES];
    int64_t peer;
    struct tr_actor *actor;
    struct tr_worker set;
    pthread_t thread;
    enum tr_status status; /* how the worker ended */
    struct tr_err err;
};

static void *work(void *play)
{
    struct play *p = play;
    const struct tr_log log = {.name = "worker", .fd = 2, .level = TR_LOG_QUIET};
    p->status = tr_worker_run(&p->set, p->actor, &log, &p->err);
    return NULL;
}

static void open_play(struct play *p, enum tr_role role)
{
    struct tr_role_start start;
    memset(p, 0, sizeof *p);
    versions_open(&p->v, false);
    assert_int_equal(
        tr_wire_listen("tcp://127.0.0.1:0", NULL, p->address, &p->wire, NULL), TR_OK);
    start = versions_start(&p->v, 0);
    assert_int_equal(tr_actor_open(role, &start, &p->actor, NULL), TR_OK);
    p->set = (struct tr_worker){.address = p->address,
                                .instance = "worker-0",
                                .join_seconds = 20,
                                .stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
}

static void start_worker(struct play *p)
{
    assert_int_equal(pthread_create(&p->thread, NULL, work, p), 0);
}

static void close_play(struct play *p)
{
    pthread_join(p->thread, NULL);
    tr_actor_close(p->actor);
    tr_wire_close(p->wire);
    close(p->set.stop_fd);
    versions_close(&p->v);
}

/* The next message within 10 s. */
static struct tr_message next(struct play *p)
{
    struct tr_message m;
    enum tr_status st = TR_AGAIN;
    double end = tr_clock_seconds() + 10;
    while (st == TR_AGAIN && tr_clock_seconds() < end)
        st = tr_wire_receive(p->wire, 1, &p->peer, &m, NULL);
    if (st != TR_OK) fail_msg("the worker says nothing");
    return m;
}

/* The next one that is no sign of life. */
static struct tr_message next_word(struct play *p, enum tr_say say)
{
    struct tr_message m = next(p);
    while (m.say == TR_SAY_PROGRESS) m = next(p);
    if (m.say != say) fail_msg("it said %d, expected %d", (int)m.say, (int)say);
    return m;
}

static void say(struct play *p, struct tr_message m)
{
    assert_int_equal(tr_wire_send(p->wire, p->peer, &m, NULL), TR_OK);
    tr_message_fini(&m);
}

static void ask(struct play *p, struct tr_unit unit)
{
    say(p, versions_deliver(&unit));
}

static void welcome(struct play *p)
{
    struct tr_message m = {.say = TR_SAY_WELCOME, .as.welcome.admitted = true};
    struct tr_message hello = next_word(p, TR_SAY_HELLO);
    struct tr_message progress;
    assert_string_equal(hello.as.hello.instance, "worker-0");
    say(p, m);
    progress = next(p);
    while (progress.say == TR_SAY_HELLO) progress = next(p);
    assert_int_equal(progress.say, TR_SAY_PROGRESS);
}

static void bye(struct play *p)
{
    say(p, (struct tr_message){.say = TR_SAY_BYE});
}

/* hello, welcome, progress, unit, done; load between, and a unit that needs what was loaded. */
static void it_loads_while_it_serves(void **state)
{
    (void)state;
    struct play p;
    struct tr_message m;
    char host[TR_HOST_BYTES];
    open_play(&p, TR_ROLE_ROLLOUT);
    start_worker(&p);
    m = next(&p);
    assert_int_equal(m.say, TR_SAY_HELLO);
    tr_host_id(host);
    assert_true(host[0]);
    assert_string_equal(m.as.hello.host, host);
    assert_int_equal(m.as.hello.holds.n, 1);
    welcome(&p);
    ask(&p, versions_generate(&p.v, 0, 1, 30));
    say(&p, (struct tr_message){.say = TR_SAY_LOAD, .as.load = versions_load(&p.v, 1)});
    bool done = false, loaded = false;
    while (!done || !loaded) {
        m = next(&p);
        if (m.say == TR_SAY_LOADED) {
            assert_true(m.as.loaded.ok && !loaded);
            assert_true(tr_digest_equal(&m.as.loaded.digest, &p.v.model[1].digest));
            loaded = true;
        } else if (m.say == TR_SAY_DONE) {
            assert_false(done);
            done = true;
        }
        tr_message_fini(&m);
    }
    ask(&p, versions_generate(&p.v, 1, 2, 4));
    m = next_word(&p, TR_SAY_DONE);
    tr_message_fini(&m);
    /* What is held is loaded at once; what was dropped is loaded again; what is not there is not. */
    say(&p, (struct tr_message){.say = TR_SAY_LOAD, .as.load = versions_load(&p.v, 1)});
    assert_true(next_word(&p, TR_SAY_LOADED).as.loaded.ok);
    say(&p,
        (struct tr_message){.say = TR_SAY_DROP, .as.drop.digest = p.v.model[1].digest});
    struct tr_load gone = versions_load(&p.v, 1);
    gone.file[0] = 0;
    say(&p, (struct tr_message){.say = TR_SAY_LOAD, .as.load = gone});
    m = next_word(&p, TR_SAY_LOADED);
    assert_false(m.as.loaded.ok);
    assert_string_equal(m.as.loaded.text, "no place to load from was named");
    bye(&p);
    close_play(&p);
    assert_int_equal(p.status, TR_OK);
}

/* `who`: hello with all that it holds, progress with what is in hand; answers wait for the welcome. */
static void a_new_coordinator_finds_it_where_it_was(void **state)
{
    (void)state;
    struct play p;
    struct tr_message m;
    open_play(&p, TR_ROLE_REFERENCE);
    start_worker(&p);
    welcome(&p);
    say(&p, (struct tr_message){.say = TR_SAY_LOAD, .as.load = versions_load(&p.v, 1)});
    assert_true(next_word(&p, TR_SAY_LOADED).as.loaded.ok);
    say(&p, (struct tr_message){.say = TR_SAY_WHO});
    ask(&p, versions_judge(&p.v, 1, 7)); /* it is apart: the answer waits */
    m = next_word(&p, TR_SAY_HELLO);
    assert_int_equal(m.as.hello.holds.n, 2);
    for (int i = 0; i < 2; i++) assert_int_equal(next(&p).say, TR_SAY_HELLO);
    say(&p, (struct tr_message){.say = TR_SAY_WELCOME, .as.welcome.admitted = true});
    m = next(&p);
    while (m.say == TR_SAY_HELLO) m = next(&p);
    assert_int_equal(m.say, TR_SAY_PROGRESS);
    m = next_word(&p, TR_SAY_DONE);
    tr_message_fini(&m);
    bye(&p);
    close_play(&p);
    assert_int_equal(p.status, TR_OK);
}

/* Nothing heard: hello again, and in the end it gives up. */
static void a_silent_coordinator_is_looked_for(void **state)
{
    (void)state;
    struct play p;
    open_play(&p, TR_ROLE_REFERENCE);
    p.set.quiet_seconds = 1;
    p.set.join_seconds = 2.5;
    start_worker(&p);
    welcome(&p);
    (void)next_word(&p, TR_SAY_HELLO);
    welcome(&p); /* still there */
    (void)next_word(&p, TR_SAY_HELLO);
    double begin = tr_clock_seconds();
    close_play(&p);
    assert_int_equal(p.status, TR_GONE);
    assert_non_null(strstr(p.err.text, "no coordinator answers"));
    assert_true(tr_clock_seconds() - begin < 5);
}

/* The coordinator's end goes and another comes at the same address: one hello, and it serves on. */
static void a_cut_wire_is_joined_again(void **state)
{
    (void)state;
    struct play p;
    struct tr_message m;
    char address[TR_ADDRESS_BYTES];
    open_play(&p, TR_ROLE_REFERENCE);
    start_worker(&p);
    welcome(&p);
    snprintf(address, sizeof address, "%s", p.address);
    tr_wire_close(p.wire);
    nanosleep(&(struct timespec){.tv_sec = 5}, NULL);
    assert_int_equal(tr_wire_listen(address, NULL, p.address, &p.wire, NULL), TR_OK);
    m = next(&p);
    assert_int_equal(m.say, TR_SAY_HELLO);
    say(&p, (struct tr_message){.say = TR_SAY_WELCOME, .as.welcome.admitted = true});
    int hellos = 0;
    for (m = next(&p); m.say == TR_SAY_HELLO; m = next(&p)) hellos++;
    assert_true(hellos <= 2); /* they did not pile up */
    assert_int_equal(m.say, TR_SAY_PROGRESS);
    ask(&p, versions_judge(&p.v, 0, 7));
    m = next_word(&p, TR_SAY_DONE);
    tr_message_fini(&m);
    bye(&p);
    close_play(&p);
    assert_int_equal(p.status, TR_OK);
}

static void one_that_is_turned_away_ends(void **state)
{
    (void)state;
    struct play p;
    open_play(&p, TR_ROLE_REFERENCE);
    start_worker(&p);
    (void)next_word(&p, TR_SAY_HELLO);
    say(&p, (struct tr_message){.say = TR_SAY_WELCOME, .as.welcome.reason = "not you"});
    close_play(&p);
    assert_int_equal(p.status, TR_BADARG);
    assert_string_equal(p.err.text, "turned away: not you");
}

/* A signal: the unit in hand is answered, then bye. */
static void a_signal_lets_it_finish(void **state)
{
    (void)state;
    struct play p;
    struct tr_message m;
    bool done = false;
    open_play(&p, TR_ROLE_REFERENCE);
    start_worker(&p);
    welcome(&p);
    ask(&p, versions_judge(&p.v, 0, 7));
    m = next_word(&p, TR_SAY_DONE);
    tr_message_fini(&m);
    ask(&p, versions_judge(&p.v, 0, 8));
    const uint64_t one = 1;
    assert_int_equal(write(p.set.stop_fd, &one, sizeof one), sizeof one);
    for (m = next(&p); m.say != TR_SAY_BYE; m = next(&p)) {
        assert_false(done && m.say == TR_SAY_DONE);
        done |= m.say == TR_SAY_DONE;
        tr_message_fini(&m);
    }
    assert_string_equal(m.as.parting.reason, "stopped by a signal");
    close_play(&p);
    assert_int_equal(p.status, TR_OK);
}

/* The signal comes when the connection is gone and the worker does not call it so yet: it looks for nobody. */
static void a_signal_while_the_wire_is_cut_ends_it(void **state)
{
    (void)state;
    struct play p;
    const uint64_t one = 1;
    open_play(&p, TR_ROLE_REFERENCE);
    start_worker(&p);
    welcome(&p);
    tr_wire_close(p.wire);
    p.wire = NULL;
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    double begin = tr_clock_seconds();
    assert_int_equal(write(p.set.stop_fd, &one, sizeof one), sizeof one);
    close_play(&p);
    assert_int_equal(p.status, TR_OK);
    assert_true(tr_clock_seconds() - begin < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_loads_while_it_serves),
        cmocka_unit_test(a_new_coordinator_finds_it_where_it_was),
        cmocka_unit_test(a_silent_coordinator_is_looked_for),
        cmocka_unit_test(a_cut_wire_is_joined_again),
        cmocka_unit_test(one_that_is_turned_away_ends),
        cmocka_unit_test(a_signal_lets_it_finish),
        cmocka_unit_test(a_signal_while_the_wire_is_cut_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

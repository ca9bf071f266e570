/* The wire with keys: who gets in, as what, and what those hear who do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "proto/gate.h"
#include "proto/wire.h"
#include "tests/unit/scarce.h"
#include "tests/unit/scratch.h"

struct company { /* a coordinator with keys, and another run's keys */
    char dir[SCRATCH_ROOM], at[SCRATCH_ROOM], other[SCRATCH_ROOM];
    struct tr_wire *coordinator;
    char address[TR_ADDRESS_BYTES];
};

static struct tr_keys keys_of(const char *at, int who)
{
    struct tr_keys keys;
    struct tr_err err = {0};
    if (tr_keys_open(at, who, &keys, &err) != TR_OK) fail_msg("%s", err.text);
    return keys;
}

static void open_company(struct company *c)
{
    struct tr_err err = {0};
    scratch_make(c->dir);
    scratch_path(c->at, c->dir, "keys");
    scratch_path(c->other, c->dir, "other");
    assert_int_equal(tr_keys_make(c->at, NULL), TR_OK);
    assert_int_equal(tr_keys_make(c->other, NULL), TR_OK);
    struct tr_keys keys = keys_of(c->at, TR_KEY_SERVER);
    if (tr_wire_listen("tcp://127.0.0.1:0", &keys, c->address, &c->coordinator, &err) !=
        TR_OK)
        fail_msg("%s", err.text);
    tr_keys_close(&keys);
}

static void close_company(struct company *c)
{
    tr_wire_close(c->coordinator);
    scratch_remove(c->dir);
}

static struct tr_wire *join(const struct company *c, const char *at, int who)
{
    struct tr_wire *w = NULL;
    struct tr_err err = {0};
    struct tr_keys keys = keys_of(at, who);
    if (tr_wire_join(c->address, &keys, &w, &err) != TR_OK) fail_msg("%s", err.text);
    tr_keys_close(&keys);
    return w;
}

static struct tr_message hello_of(int role)
{
    struct tr_message m = {.say = TR_SAY_HELLO};
    m.as.hello = (struct tr_hello){.role = role, .credits = 1};
    return m;
}

static enum tr_status hear(struct tr_wire *w, int64_t *peer, struct tr_message *m,
                           struct tr_err *err)
{
    return tr_wire_receive(w, 20, peer, m, err);
}

static void each_role_gets_in_as_itself(void **state)
{
    (void)state;
    struct company c;
    open_company(&c);
    for (int role = 0; role < TR_ROLES; role++) {
        struct tr_wire *w = join(&c, c.at, role);
        struct tr_message hello = hello_of(role), m, back = {.say = TR_SAY_WELCOME};
        struct tr_err err = {0};
        int64_t peer = -1, zero;
        assert_int_equal(tr_wire_send(w, 0, &hello, NULL), TR_OK);
        if (hear(c.coordinator, &peer, &m, &err) != TR_OK) fail_msg("%s", err.text);
        assert_int_equal(tr_wire_role(c.coordinator, peer), role);
        assert_int_equal(m.as.hello.role, role);
        tr_message_fini(&m);
        assert_int_equal(tr_wire_send(c.coordinator, peer, &back, NULL), TR_OK);
        assert_int_equal(hear(w, &zero, &m, NULL), TR_OK);
        assert_int_equal(m.say, TR_SAY_WELCOME);
        tr_message_fini(&m);
        tr_wire_close(w);
    }
    close_company(&c);
}

/* Invariant 3 of wire.h: what a key is not for is not heard, and the one who said it is told. */
static void a_key_is_for_one_thing(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int key;
        enum tr_say say;
        int role; /* of a hello */
        enum tr_status want;
        enum tr_say reply;
    } rows[] = {
        {"a rollout that wants to be the policy", TR_ROLE_ROLLOUT, TR_SAY_HELLO,
         TR_ROLE_POLICY, TR_BADMSG, TR_SAY_WELCOME},
        {"an admin that wants to work", TR_KEY_ADMIN, TR_SAY_HELLO, TR_ROLE_REWARD,
         TR_BADMSG, TR_SAY_WELCOME},
        {"a reward that asks", TR_ROLE_REWARD, TR_SAY_ASK, 0, TR_BADMSG, TR_SAY_TELL},
        {"an admin that asks", TR_KEY_ADMIN, TR_SAY_ASK, 0, TR_OK, 0},
        {"an admin that says bye", TR_KEY_ADMIN, TR_SAY_BYE, 0, TR_OK, 0},
        {"an admin in progress", TR_KEY_ADMIN, TR_SAY_PROGRESS, 0, TR_BADMSG, 0},
        {"a critic in progress", TR_ROLE_CRITIC, TR_SAY_PROGRESS, 0, TR_OK, 0},
    };
    struct company c;
    open_company(&c);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_wire *w = join(&c, c.at, rows[i].key);
        struct tr_message out = {.say = rows[i].say}, m;
        struct tr_err err = {0};
        int64_t peer;
        if (out.say == TR_SAY_HELLO) out = hello_of(rows[i].role);
        if (out.say == TR_SAY_ASK) snprintf(out.as.ask.what, sizeof out.as.ask.what, "?");
        assert_int_equal(tr_wire_send(w, 0, &out, NULL), TR_OK);
        enum tr_status st = hear(c.coordinator, &peer, &m, &err);
        if (st != rows[i].want || (st != TR_OK && !err.text[0]) || peer < 0)
            fail_msg("%s: %s: %s", rows[i].name, tr_status_name(st), err.text);
        if (st == TR_OK) tr_message_fini(&m);
        if (rows[i].reply) {
            assert_int_equal(hear(w, &peer, &m, NULL), TR_OK);
            assert_int_equal(m.say, rows[i].reply);
            if (m.say == TR_SAY_WELCOME) {
                assert_false(m.as.welcome.admitted);
                assert_string_equal(m.as.welcome.reason, err.text);
            } else {
                assert_false(m.as.tell.ok);
                assert_string_equal(m.as.tell.text, err.text);
            }
            tr_message_fini(&m);
        }
        tr_wire_close(w);
    }
    close_company(&c);
}

/* Invariant 1 of gate.h: whatever else is out of order, no key is no right. */
static void without_a_key_there_are_no_rights(void **state)
{
    (void)state;
    for (int say = TR_SAY_HELLO; say <= TR_SAY_HERE; say++) {
        struct tr_message m = {.say = (enum tr_say)say};
        struct tr_err err = {0};
        assert_int_equal(tr_gate_check(-1, &m, &err), TR_BADMSG);
        assert_true(err.text[0]);
    }
}

/* Invariant 6 of wire.h. */
static void who_is_not_let_in_hears_why(void **state)
{
    (void)state;
    struct company c;
    open_company(&c);
    struct tr_keys stranger = keys_of(c.other, TR_ROLE_ROLLOUT);
    struct tr_keys friend = keys_of(c.at, TR_ROLE_ROLLOUT);
    char *mark = strchr(c.address, '#');
    assert_non_null(mark);
    *mark = 0; /* keys->server counts */
    struct tr_keys wrong_server = friend;
    wrong_server.server = stranger.server;
    struct tr_keys not_admitted = stranger;
    not_admitted.server = friend.server;
    const struct {
        const char *name;
        const struct tr_keys *keys;
        const char *says;
    } rows[] = {
        {"a key of another run", &not_admitted, "does not admit this key"},
        {"another server", &wrong_server, "hangs up at once"},
        {"no keys", NULL, "asks for keys"},
    };
    struct tr_message hello = hello_of(TR_ROLE_ROLLOUT), m;
    int64_t peer;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_wire *w = NULL;
        struct tr_err err = {0};
        assert_int_equal(tr_wire_join(c.address, rows[i].keys, &w, NULL), TR_OK);
        tr_wire_send(w, 0, &hello, NULL);
        double began = tr_clock_seconds();
        enum tr_status st = hear(w, &peer, &m, &err);
        if (st != TR_BADARG || !strstr(err.text, rows[i].says))
            fail_msg("%s: %s: %s", rows[i].name, tr_status_name(st), err.text);
        assert_true(tr_clock_seconds() - began < 15);
        tr_wire_close(w);
    }
    /* The coordinator hears of the one whose key is not admitted, and of nobody else. */
    struct tr_err err = {0};
    assert_int_equal(tr_wire_receive(c.coordinator, 0, &peer, &m, &err), TR_BADMSG);
    assert_int_equal(peer, -1);
    assert_non_null(strstr(err.text, "is not admitted"));
    assert_int_equal(tr_wire_receive(c.coordinator, 0, &peer, &m, &err), TR_AGAIN);
    tr_keys_close(&stranger);
    tr_keys_close(&friend);
    close_company(&c);
}

static void keys_where_there_are_none(void **state)
{
    (void)state;
    struct company c;
    struct tr_wire *bare = NULL, *w = NULL;
    struct tr_message hello = hello_of(TR_ROLE_REWARD), m;
    struct tr_err err = {0};
    int64_t peer;
    open_company(&c);
    struct tr_keys keys = keys_of(c.at, TR_ROLE_REWARD);
    assert_int_equal(tr_wire_listen("tcp://127.0.0.1:0", NULL, c.address, &bare, NULL),
                     TR_OK);
    assert_int_equal(tr_wire_join(c.address, &keys, &w, NULL), TR_OK);
    tr_wire_send(w, 0, &hello, NULL);
    assert_int_equal(hear(w, &peer, &m, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "it has no keys"));
    tr_wire_close(w);
    tr_wire_close(bare);
    tr_keys_close(&keys);
    close_company(&c);
}

/* What cannot work is refused before anything is opened. */
static void mistakes_are_named(void **state)
{
    (void)state;
    struct company c;
    struct tr_wire *w = NULL;
    struct tr_err err = {0};
    char bound[TR_ADDRESS_BYTES];
    open_company(&c);
    struct tr_keys server = keys_of(c.at, TR_KEY_SERVER);
    struct tr_keys role = keys_of(c.at, TR_ROLE_POLICY);
    struct tr_keys nobody = server;
    nobody.n = 0;
    assert_int_equal(tr_wire_join(c.address, NULL, &w, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "asks for keys"));
    assert_int_equal(tr_wire_listen(c.address, &server, bound, &w, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "the port is in use"));
    assert_int_equal(tr_wire_listen("tcp://192.0.2.77:0", &server, bound, &w, &err),
                     TR_BADARG);
    assert_non_null(strstr(err.text, "does not have that address"));
    assert_int_equal(tr_wire_listen("tcp://no-such-place:0", &server, bound, &w, &err),
                     TR_BADARG);
    assert_non_null(strstr(err.text, "no such host or interface"));
    assert_int_equal(tr_wire_listen("tcp://127.0.0.1:0", &nobody, bound, &w, &err),
                     TR_BADARG);
    assert_non_null(strstr(err.text, "no key is admitted"));
    assert_int_equal(tr_wire_join("tcp://no-such-host.invalid:5", &role, &w, &err),
                     TR_BADARG);
    assert_non_null(strstr(err.text, "cannot find the host"));
    assert_int_equal(tr_wire_join("tcp://*:5", &role, &w, &err), TR_BADARG);
    role.knows_server = false;
    assert_int_equal(tr_wire_join("tcp://127.0.0.1:5", &role, &w, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "server.public"));
    tr_keys_close(&role);
    tr_keys_close(&server);
    close_company(&c);
}

/* Every interface, a name, an address of another kind: the same company. */
static void every_interface_by_name(void **state)
{
    (void)state;
    struct company c;
    struct tr_wire *all = NULL, *w = NULL;
    struct tr_address a;
    struct tr_message hello = hello_of(TR_ROLE_REWARD), m;
    struct tr_err err = {0};
    int64_t peer;
    char again[TR_ADDRESS_BYTES];
    open_company(&c);
    struct tr_keys server = keys_of(c.at, TR_KEY_SERVER);
    struct tr_keys role = keys_of(c.at, TR_ROLE_REWARD);
    if (tr_wire_listen("tcp://*:0", &server, c.address, &all, &err) != TR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(tr_address_parse(c.address, true, &a, NULL), TR_OK);
    snprintf(again, sizeof again, "tcp://localhost:%d", a.port);
    const char *const way[] = {c.address, again};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(tr_wire_join(way[i], &role, &w, NULL), TR_OK);
        assert_int_equal(tr_wire_send(w, 0, &hello, NULL), TR_OK);
        if (hear(all, &peer, &m, &err) != TR_OK) fail_msg("%s: %s", way[i], err.text);
        tr_message_fini(&m);
        tr_wire_close(w);
    }
    tr_wire_close(all);
    tr_keys_close(&role);
    tr_keys_close(&server);
    close_company(&c);
}

/* Fault: every allocation of ours that opening a wire makes, keys included. (ZeroMQ's own are not
 * failed: it aborts.) */
static void opening_without_memory(void **state)
{
    (void)state;
    struct company c;
    open_company(&c);
    enum tr_status st = TR_AGAIN;
    int64_t k = 0;
    for (; st != TR_OK; k++) {
        struct tr_keys keys = {.n = 0};
        struct tr_wire *w = NULL;
        struct tr_err err = {0};
        char bound[TR_ADDRESS_BYTES];
        scarce_after(k);
        st = tr_keys_open(c.at, TR_KEY_SERVER, &keys, &err);
        if (st == TR_OK) st = tr_wire_listen("tcp://127.0.0.1:0", &keys, bound, &w, &err);
        scarce_after(-1);
        if (st != TR_OK && (st != TR_NOMEM || w || !err.text[0]))
            fail_msg("allocation %lld: %s: %s", (long long)k, tr_status_name(st),
                     err.text);
        tr_wire_close(w);
        tr_keys_close(&keys);
    }
    assert_true(k > 5);
    close_company(&c);
}

/* A worker that gives weights: it listens with its own pair, its address says its key. */
static void a_worker_listens_too(void **state)
{
    (void)state;
    struct company c;
    struct tr_wire *source = NULL, *w = NULL;
    struct tr_message get = {.say = TR_SAY_GET, .as.get = {.first = -1, .count = 1}}, m;
    struct tr_err err = {0};
    int64_t peer;
    char place[TR_ADDRESS_BYTES];
    open_company(&c);
    struct tr_keys policy = keys_of(c.at, TR_ROLE_POLICY);
    struct tr_keys rollout = keys_of(c.at, TR_ROLE_ROLLOUT);
    struct tr_keys stranger = keys_of(c.other, TR_ROLE_ROLLOUT);
    assert_int_equal(tr_address_beside(c.address, place, NULL), TR_OK);
    if (tr_wire_listen(place, &policy, c.address, &source, &err) != TR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(tr_wire_join(c.address, &rollout, &w, NULL), TR_OK);
    assert_int_equal(tr_wire_send(w, 0, &get, NULL), TR_OK);
    assert_int_equal(hear(source, &peer, &m, NULL), TR_OK);
    assert_int_equal(tr_wire_role(source, peer), TR_ROLE_ROLLOUT);
    tr_message_fini(&m);
    tr_wire_close(w);
    assert_int_equal(tr_wire_join(c.address, &stranger, &w, NULL), TR_OK);
    assert_int_equal(hear(w, &peer, &m, &err), TR_BADARG);
    tr_wire_close(w);
    tr_wire_close(source);
    tr_keys_close(&policy);
    tr_keys_close(&rollout);
    tr_keys_close(&stranger);
    close_company(&c);
}

/* Invariant 1 of handshake.h: who comes first waits. */
static void a_coordinator_that_is_late(void **state)
{
    (void)state;
    struct company c;
    struct tr_message hello = hello_of(TR_ROLE_REWARD), m;
    struct tr_err err = {0};
    int64_t peer;
    open_company(&c);
    struct tr_keys server = keys_of(c.at, TR_KEY_SERVER);
    tr_wire_close(c.coordinator);
    struct tr_wire *w = join(&c, c.at, TR_ROLE_REWARD);
    assert_int_equal(tr_wire_send(w, 0, &hello, NULL), TR_OK);
    assert_int_equal(tr_wire_receive(w, 0.5, &peer, &m, &err), TR_AGAIN);
    char same[TR_ADDRESS_BYTES], bound[TR_ADDRESS_BYTES];
    memcpy(same, c.address, sizeof same);
    if (tr_wire_listen(same, &server, bound, &c.coordinator, &err) != TR_OK)
        fail_msg("%s", err.text);
    assert_string_equal(bound, c.address);
    assert_int_equal(hear(c.coordinator, &peer, &m, NULL), TR_OK);
    tr_message_fini(&m);
    tr_wire_close(w);
    tr_keys_close(&server);
    close_company(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_role_gets_in_as_itself),
        cmocka_unit_test(a_key_is_for_one_thing),
        cmocka_unit_test(without_a_key_there_are_no_rights),
        cmocka_unit_test(who_is_not_let_in_hears_why),
        cmocka_unit_test(keys_where_there_are_none),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(every_interface_by_name),
        cmocka_unit_test(opening_without_memory),
        cmocka_unit_test(a_worker_listens_too),
        cmocka_unit_test(a_coordinator_that_is_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

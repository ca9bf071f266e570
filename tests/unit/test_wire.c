/* The wire: messages over real sockets, and what strangers may throw at them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "proto/step2_judge.h"
#include "proto/step4_weights.h"
#include "proto/wire.h"

struct pair {
    struct tr_wire *coordinator, *worker;
    char address[TR_ADDRESS_BYTES];
};

static void open_pair(struct pair *p)
{
    struct tr_err err = {0};
    if (tr_wire_listen("tcp://127.0.0.1:0", NULL, p->address, &p->coordinator, &err) !=
        TR_OK)
        fail_msg("%s", err.text);
    if (tr_wire_join(p->address, NULL, &p->worker, &err) != TR_OK)
        fail_msg("%s", err.text);
}

static void close_pair(struct pair *p)
{
    tr_wire_close(p->worker);
    tr_wire_close(p->coordinator);
}

/* Waits long enough for a loaded machine. */
static enum tr_status receive(struct tr_wire *w, int64_t *peer, struct tr_message *m)
{
    return tr_wire_receive(w, 20, peer, m, NULL);
}

static void a_content_crosses_the_wire(void **state)
{
    (void)state;
    static const int32_t token[] = {1, 2, 3, 4, 5};
    static const int64_t start[] = {0, 2, 5}, from[] = {1, 2};
    struct tr_digests none = {.n = 0};
    struct tr_ask_judge ask = {{token, 5}, {start, 3}, {from, 2}}, got;
    struct tr_unit unit;
    struct pair p;
    struct tr_message hello = {.say = TR_SAY_HELLO}, m;
    int64_t peer = -1, unknown = 0;
    open_pair(&p);
    hello.as.hello = (struct tr_hello){.role = TR_ROLE_REWARD, .credits = 1};
    assert_int_equal(tr_wire_send(p.worker, 0, &hello, NULL), TR_OK);
    assert_int_equal(receive(p.coordinator, &peer, &m), TR_OK);
    assert_int_equal(peer, 0);
    assert_int_equal(m.say, TR_SAY_HELLO);
    tr_message_fini(&m);
    assert_int_equal(tr_unit_make(&tr_ask_value_record, &none, &ask, &unit, NULL), TR_OK);
    struct tr_message out = {.say = TR_SAY_UNIT, .content = unit.content};
    out.as.unit = (struct tr_deliver){.id = unit.id, .attempt = 1};
    assert_int_equal(tr_wire_send(p.coordinator, peer, &out, NULL), TR_OK);
    assert_int_equal(receive(p.worker, &peer, &m), TR_OK);
    assert_int_equal(
        tr_content_decode(&m.content, &tr_ask_value_record, &got, &unknown, NULL), TR_OK);
    assert_memory_equal(got.token.at, token, sizeof token);
    assert_memory_equal(got.from.at, from, sizeof from);
    tr_message_fini(&m);
    tr_unit_fini(&unit);
    close_pair(&p);
}

/* A report of n bytes, which tell where they stand. */
static struct tr_message tell_of(int64_t n)
{
    struct tr_message m = {.say = TR_SAY_TELL, .as.tell.ok = true};
    struct tr_digests none = {.n = 0};
    unsigned char *byte = malloc((size_t)n + 1);
    assert_non_null(byte);
    for (int64_t i = 0; i < n; i++) byte[i] = (unsigned char)(i * 7 + i / 1000);
    struct tr_bytes bytes = {{byte, n}};
    assert_int_equal(
        tr_content_encode(&tr_report_record, &none, &bytes, &m.content, NULL), TR_OK);
    free(byte);
    return m;
}

static void is_tell_of(const struct tr_message *m, int64_t n)
{
    struct tr_bytes got;
    int64_t unknown = 0;
    assert_int_equal(m->say, TR_SAY_TELL);
    assert_int_equal(
        tr_content_decode(&m->content, &tr_report_record, &got, &unknown, NULL), TR_OK);
    assert_int_equal(got.bytes.count, n);
    const unsigned char *byte = got.bytes.at;
    for (int64_t i = 0; i < n; i++)
        if (byte[i] != (unsigned char)(i * 7 + i / 1000))
            fail_msg("byte %lld", (long long)i);
}

/* What is given need not be kept, what was not taken is still there. */
static void a_content_is_given(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 65535, 65536, 65537, 5000000};
    struct pair p;
    struct tr_message m, got;
    int64_t peer;
    open_pair(&p);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        m = tell_of(sizes[i]);
        assert_int_equal(tr_wire_give(p.worker, 0, &m, NULL), TR_OK);
        assert_null(m.content.store);
        assert_int_equal(receive(p.coordinator, &peer, &got), TR_OK);
        is_tell_of(&got, sizes[i]);
        tr_message_fini(&got);
    }
    m = tell_of(100000);
    assert_int_equal(tr_wire_give(p.coordinator, peer + 1, &m, NULL), TR_GONE);
    is_tell_of(&m, 100000);
    enum tr_status st = TR_OK;
    for (int i = 0; i < 5000 && st == TR_OK; i++) {
        st = tr_wire_give(p.coordinator, peer, &m, NULL);
        if (st == TR_OK) m = tell_of(100000);
    }
    assert_int_equal(st, TR_AGAIN); /* the worker does not read */
    is_tell_of(&m, 100000);
    tr_message_fini(&m);
    close_pair(&p);
}

static void who_is_forgotten_cannot_be_told(void **state)
{
    (void)state;
    struct pair p;
    struct tr_message bye = {.say = TR_SAY_BYE}, m;
    int64_t peer, again;
    open_pair(&p);
    assert_int_equal(tr_wire_send(p.worker, 0, &bye, NULL), TR_OK);
    assert_int_equal(receive(p.coordinator, &peer, &m), TR_OK);
    tr_message_fini(&m);
    assert_int_equal(tr_wire_role(p.coordinator, peer), -1); /* there are no keys */
    tr_wire_keep(p.coordinator, peer);
    assert_int_equal(tr_wire_send(p.coordinator, peer, &bye, NULL), TR_OK);
    tr_wire_forget(p.coordinator, peer);
    assert_int_equal(tr_wire_send(p.coordinator, peer, &bye, NULL), TR_GONE);
    assert_int_equal(tr_wire_send(p.worker, 0, &bye, NULL), TR_OK);
    assert_int_equal(receive(p.coordinator, &again, &m), TR_OK);
    tr_message_fini(&m);
    assert_int_not_equal(again, peer);
    close_pair(&p);
}

/* An array that no receiver would take is not sent: its connection would be cut. */
static void what_is_too_large_is_not_sent(void **state)
{
    (void)state;
    static const unsigned char byte;
    struct pair p;
    struct tr_err err = {0};
    struct tr_message m = {.say = TR_SAY_TELL};
    open_pair(&p);
    m.content.n = 1;
    m.content.bulk[0] = (struct tr_bulk){.at = &byte, .size = (size_t)TR_BULK_BYTES + 1};
    assert_int_equal(tr_wire_send(p.worker, 0, &m, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "at most"));
    close_pair(&p);
}

static void waits_end(void **state)
{
    (void)state;
    struct pair p;
    struct tr_message m;
    int64_t peer;
    uint64_t one = 1;
    int fd = eventfd(0, EFD_NONBLOCK);
    open_pair(&p);
    double began = tr_clock_seconds();
    assert_int_equal(tr_wire_receive(p.worker, 0.05, &peer, &m, NULL), TR_AGAIN);
    assert_true(tr_clock_seconds() - began >= 0.049);
    tr_wire_watch(p.worker, fd); /* something else became ready */
    assert_int_equal(write(fd, &one, sizeof one), sizeof one);
    assert_int_equal(tr_wire_receive(p.worker, 600, &peer, &m, NULL), TR_AGAIN);
    close(fd);
    close_pair(&p);
}

static void who_never_spoke_cannot_be_told(void **state)
{
    (void)state;
    struct pair p;
    struct tr_message bye = {.say = TR_SAY_BYE};
    open_pair(&p);
    assert_int_equal(tr_wire_send(p.coordinator, 0, &bye, NULL), TR_GONE);
    assert_int_equal(tr_wire_send(p.coordinator, -1, &bye, NULL), TR_GONE);
    close_pair(&p);
}

/* Invariant 4: a stranger's frames, as raw as they come; a worker is heard after each. */
static void strangers_do_not_disturb(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *frame[3];
        int frames;
    } rows[] = {
        {"nothing but a name", {""}, 1},
        {"noise", {"\xdd\x0f\xff\xff\xff"}, 1},
        {"two frames of noise", {"a", "b"}, 2},
        {"many frames", {"\x80"}, 40},
    };
    struct pair p;
    struct tr_message m, sign = {.say = TR_SAY_PROGRESS};
    int64_t stranger, worker;
    open_pair(&p);
    void *context = zmq_ctx_new();
    void *raw = zmq_socket(context, ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(raw, ZMQ_LINGER, &zero, sizeof zero);
    assert_int_equal(zmq_connect(raw, p.address), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int f = 0; f < rows[i].frames; f++) {
            const char *bytes = rows[i].frame[f < 3 && rows[i].frame[f] ? f : 0];
            int more = f + 1 < rows[i].frames ? ZMQ_SNDMORE : 0;
            assert_int_equal(zmq_send(raw, bytes, strlen(bytes), more), strlen(bytes));
        }
        struct tr_err err = {0};
        enum tr_status st = tr_wire_receive(p.coordinator, 20, &stranger, &m, &err);
        if (st != TR_BADMSG || !err.text[0])
            fail_msg("%s: %s: %s", rows[i].name, tr_status_name(st), err.text);
        assert_int_equal(tr_wire_send(p.worker, 0, &sign, NULL), TR_OK);
        assert_int_equal(receive(p.coordinator, &worker, &m), TR_OK);
        assert_true(worker != stranger);
        tr_message_fini(&m);
    }
    zmq_close(raw);
    zmq_ctx_term(context);
    close_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_content_crosses_the_wire),
        cmocka_unit_test(a_content_is_given),
        cmocka_unit_test(who_is_forgotten_cannot_be_told),
        cmocka_unit_test(what_is_too_large_is_not_sent),
        cmocka_unit_test(waits_end),
        cmocka_unit_test(who_never_spoke_cannot_be_told),
        cmocka_unit_test(strangers_do_not_disturb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

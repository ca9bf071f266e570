/* What a stranger may throw at a listening wire, byte by byte over TCP: the wire keeps serving the
 * others (invariant 4 of wire.h). Everything is said once to a wire without keys and once to one
 * with keys. ZMTP 3 as in RFC 23: a greeting of 64 bytes, a READY, then frames. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "proto/wire.h"
#include "tests/unit/scratch.h"

/* ---- a company of one worker ---- */

struct company {
    char dir[SCRATCH_ROOM], keys[SCRATCH_ROOM], address[TR_ADDRESS_BYTES];
    bool curve;
    struct tr_wire *coordinator, *worker;
    int64_t peer; /* the worker's number */
};

static struct tr_wire *join(const struct company *c)
{
    struct tr_wire *w = NULL;
    struct tr_keys keys = {.n = 0};
    struct tr_err err = {0};
    if (c->curve)
        assert_int_equal(tr_keys_open(c->keys, TR_ROLE_REWARD, &keys, NULL), TR_OK);
    if (tr_wire_join(c->address, c->curve ? &keys : NULL, &w, &err) != TR_OK)
        fail_msg("%s", err.text);
    tr_keys_close(&keys);
    return w;
}

/* A worker's sign of life must come through, whatever else comes. Returns the worker's number;
 * *others counts what was no message. */
static int64_t hear_worker(struct company *c, struct tr_wire *w, const char *name,
                           int *others)
{
    struct tr_message sign = {.say = TR_SAY_PROGRESS}, m;
    struct tr_err err = {0};
    double end = tr_clock_seconds() + 30;
    int64_t peer = -1;
    assert_int_equal(tr_wire_send(w, 0, &sign, NULL), TR_OK);
    while (tr_clock_seconds() < end) {
        enum tr_status st = tr_wire_receive(c->coordinator, 1, &peer, &m, &err);
        if (st == TR_AGAIN) continue;
        if (st == TR_OK) {
            assert_int_equal(m.say, TR_SAY_PROGRESS);
            tr_message_fini(&m);
            return peer;
        }
        if (st != TR_BADMSG || !err.text[0])
            fail_msg("%s: %s: %s", name, tr_status_name(st), err.text);
        ++*others;
    }
    fail_msg("%s: the worker is not heard any more", name);
    return -1;
}

static void open_company(struct company *c, bool curve)
{
    struct tr_keys keys = {.n = 0};
    struct tr_err err = {0};
    int others = 0;
    *c = (struct company){.curve = curve};
    scratch_make(c->dir);
    scratch_path(c->keys, c->dir, "keys");
    if (curve) {
        assert_int_equal(tr_keys_make(c->keys, NULL), TR_OK);
        assert_int_equal(tr_keys_open(c->keys, TR_KEY_SERVER, &keys, NULL), TR_OK);
    }
    if (tr_wire_listen("tcp://127.0.0.1:0", curve ? &keys : NULL, c->address,
                       &c->coordinator, &err) != TR_OK)
        fail_msg("%s", err.text);
    tr_keys_close(&keys);
    c->worker = join(c);
    c->peer = hear_worker(c, c->worker, "at first", &others);
}

static void close_company(struct company *c)
{
    tr_wire_close(c->worker);
    tr_wire_close(c->coordinator);
    scratch_remove(c->dir);
}

/* ---- raw bytes ---- */

static int dial(const struct company *c)
{
    struct tr_address a;
    assert_int_equal(tr_address_parse(c->address, true, &a, NULL), TR_OK);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)a.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const void *)&to, sizeof to), 0);
    return fd;
}

struct script {
    struct tr_buf bytes;
    size_t ready; /* after so many bytes the other side's READY is waited for; 0: never */
};

/* A listener may hang up in the middle: that is its right. */
static void send_all(int fd, const char *at, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n <= 0) return;
        at += n;
        size -= (size_t)n;
    }
}

/* A greeting and a READY of a ROUTER without a name. */
static void wait_ready(int fd)
{
    enum { BYTES = 64 + 43 };
    struct timeval limit = {.tv_sec = 5};
    char buf[BYTES];
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    for (size_t got = 0; got < BYTES;) {
        ssize_t n = recv(fd, buf, BYTES - got, 0);
        if (n <= 0) return;
        got += (size_t)n;
    }
}

/* Says the script on a new connection. */
static int throw(const struct company *c, const struct script *s)
{
    int fd = dial(c);
    send_all(fd, tr_buf_text(&s->bytes), s->ready);
    if (s->ready && !c->curve) wait_ready(fd);
    send_all(fd, tr_buf_text(&s->bytes) + s->ready, s->bytes.size - s->ready);
    return fd;
}

static void put(struct script *s, const void *bytes, size_t size)
{
    assert_int_equal(tr_buf_put(&s->bytes, bytes, size, NULL), TR_OK);
}

static void put_many(struct script *b, unsigned char byte, size_t times)
{
    for (size_t i = 0; i < times; i++) put(b, &byte, 1);
}

static void put_greeting(struct script *b, unsigned char version, const char *mechanism)
{
    size_t size = strlen(mechanism);
    put(b, "\xff\0\0\0\0\0\0\0\1\x7f", 10);
    put(b, &version, 1);
    put(b, "\0", 1);
    put(b, mechanism, size);
    put_many(b, 0, 20 - size + 32);
}

static void put_ready(struct script *b)
{
    put_greeting(b, 3, "NULL");
    put(b, "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\6DEALER", 30);
    b->ready = b->bytes.size;
}

/* A frame's header: 1 more, 2 long, 4 command. */
static void put_long(struct script *b, unsigned char flags, uint64_t size)
{
    unsigned char head[9] = {(unsigned char)(flags | 2)};
    for (int i = 0; i < 8; i++) head[1 + i] = (unsigned char)(size >> (56 - 8 * i));
    put(b, head, sizeof head);
}

/* ---- what is thrown ---- */

static void nothing(struct script *b)
{
    (void)b;
}

static void one_byte(struct script *b)
{
    put(b, "\xff", 1);
}

static void of_the_web(struct script *b)
{
    put(b, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
}

static void noise(struct script *b)
{
    uint32_t x = 1;
    for (int i = 0; i < 100000; i++) {
        x = x * 1664525U + 1013904223U;
        put_many(b, (unsigned char)(x >> 24), 1);
    }
}

static void half_a_greeting(struct script *b)
{
    put_greeting(b, 3, "NULL");
    b->bytes.size = 40;
}

static void old_version(struct script *b)
{
    put(b, "\x01\0", 2); /* an anonymous peer of ZMTP 1 */
    put(b, "\x02\0a\x02\0b", 6);
}

static void version_9(struct script *b)
{
    put_greeting(b, 9, "NULL");
    put(b, "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\6DEALER", 30);
}

static void no_mechanism(struct script *b)
{
    put_greeting(b, 3, "JUGGLING");
}

static void curve_and_noise(struct script *b)
{
    put_greeting(b, 3, "CURVE");
    put(b, "\x04\xc8\x05HELLO\1\0", 10);
    put_many(b, 'x', 192);
}

static void initiate_at_once(struct script *b)
{
    put_greeting(b, 3, "CURVE");
    put(b, "\x04\x40\x08INITIATE", 11);
    put_many(b, 'x', 55);
}

static void broken_ready(struct script *b)
{
    put_greeting(b, 3, "NULL");
    put(b,
        "\x04\x1c\x05READY\xffSocket-Type\xff\xff\xff\xff"
        "DEALER",
        30);
}

static void a_publisher(struct script *b)
{
    put_greeting(b, 3, "NULL");
    put(b, "\x04\x19\x05READY\x0bSocket-Type\0\0\0\3PUB", 27);
}

static void a_name_of_300_bytes(struct script *b)
{
    put_greeting(b, 3, "NULL");
    put_long(b, 4, 28 + 1 + 8 + 4 + 300);
    put(b, "\x05READY\x0bSocket-Type\0\0\0\6DEALER\x08Identity\0\0\1\x2c", 41);
    put_many(b, 'n', 300);
}

static void no_message(struct script *b)
{
    put_ready(b);
    put(b, "\0\5hello", 7);
}

static void a_frame_of_all_bytes(struct script *b)
{
    put_ready(b);
    put_long(b, 0, UINT64_MAX);
}

static void a_frame_just_too_large(struct script *b)
{
    put_ready(b);
    put_long(b, 0, (uint64_t)TR_BULK_BYTES + 1);
    put_many(b, 'x', 1000);
}

static void a_frame_announced(struct script *b)
{
    put_ready(b);
    put_long(b, 0, TR_BULK_BYTES);
    put_many(b, 'x', 1000);
}

static void half_a_message(struct script *b)
{
    put_ready(b);
    put(b, "\1\5first", 7);
}

static void many_frames(struct script *b)
{
    put_ready(b);
    for (int i = 0; i < 20000; i++) put(b, "\1\1x", 3);
    put(b, "\0\1x", 3);
}

static void frames_without_end(struct script *b)
{
    put_ready(b);
    for (int i = 0; i < 20000; i++) put(b, "\1\1x", 3);
}

static void no_command(struct script *b)
{
    put_ready(b);
    put(b, "\4\7\6JESTER", 9);
}

static void short_ping(struct script *b)
{
    put_ready(b);
    put(b, "\4\5\4PING", 7);
}

static void reserved_flags(struct script *b)
{
    put_ready(b);
    put(b, "\xf8\5hello", 7);
}

static void version_of_ours(struct script *b)
{
    put_ready(b); /* {"v": 9, "say": "jest"} */
    put(b, "\0\x0d\x82\xa1v\x09\xa3say\xa4jest", 15);
}

static const struct {
    const char *name;
    void (*write)(struct script *b);
    bool arrives; /* without keys it is a message, and a bad one */
} rows[] = {
    {"nothing", nothing, false},
    {"one byte", one_byte, false},
    {"a browser", of_the_web, false},
    {"noise", noise, false},
    {"half a greeting", half_a_greeting, false},
    {"ZMTP 1", old_version, true},
    {"ZMTP 9", version_9, false},
    {"an unknown mechanism", no_mechanism, false},
    {"CURVE with noise", curve_and_noise, false},
    {"CURVE without a hello", initiate_at_once, false},
    {"a broken READY", broken_ready, false},
    {"a publisher", a_publisher, false},
    {"a name of 300 bytes", a_name_of_300_bytes, false},
    {"no message", no_message, true},
    {"a frame of 2^64 - 1 bytes", a_frame_of_all_bytes, false},
    {"a frame just too large", a_frame_just_too_large, false},
    {"a large frame that does not come", a_frame_announced, false},
    {"half a message", half_a_message, false},
    {"20,001 frames", many_frames, true},
    {"frames without end", frames_without_end, false},
    {"an unknown command", no_command, false},
    {"a short ping", short_ping, false},
    {"reserved flags", reserved_flags, false},
    {"another version of ours", version_of_ours, true},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* Each twice: the stranger hangs up at once, or stays. */
static void throw_all(bool curve)
{
    struct company c;
    int held[ROWS];
    open_company(&c, curve);
    for (int i = 0; i < ROWS; i++) {
        struct script b = {.ready = 0};
        int others = 0;
        tr_buf_init(&b.bytes, 1 << 20);
        rows[i].write(&b);
        close(throw(&c, &b));
        assert_int_equal(hear_worker(&c, c.worker, rows[i].name, &others), c.peer);
        held[i] = throw(&c, &b);
        double end = tr_clock_seconds() + 10;
        others = 0;
        do assert_int_equal(hear_worker(&c, c.worker, rows[i].name, &others), c.peer);
        while (!curve && rows[i].arrives && others == 0 && tr_clock_seconds() < end);
        if (!curve && rows[i].arrives && others == 0)
            fail_msg("%s: was not heard of", rows[i].name);
        if (curve && others > 0) fail_msg("%s: came in", rows[i].name);
        tr_buf_fini(&b.bytes);
    }
    struct tr_wire *late = join(&c);
    int others = 0;
    assert_int_not_equal(hear_worker(&c, late, "one that joins late", &others), c.peer);
    tr_wire_close(late);
    for (int i = 0; i < ROWS; i++) close(held[i]);
    close_company(&c);
}

static void strangers_without_keys(void **state)
{
    (void)state;
    throw_all(false);
}

static void strangers_with_keys(void **state)
{
    (void)state;
    throw_all(true);
}

/* More connections than any company has workers, all silent. */
static void a_crowd_that_is_silent(void **state)
{
    (void)state;
    enum { CROWD = 300 };
    int fd[CROWD], others = 0;
    for (int curve = 0; curve < 2; curve++) {
        struct company c;
        open_company(&c, curve);
        for (int i = 0; i < CROWD; i++) fd[i] = dial(&c);
        struct tr_wire *late = join(&c);
        hear_worker(&c, late, "one that joins late", &others);
        assert_int_equal(hear_worker(&c, c.worker, "a crowd", &others), c.peer);
        for (int i = 0; i < CROWD; i++) close(fd[i]);
        tr_wire_close(late);
        close_company(&c);
    }
}

/* One that lets its worker's door stand open: sends without reading what it gets. */
static void one_that_does_not_read(void **state)
{
    (void)state;
    struct company c;
    struct script b = {.ready = 0};
    struct tr_message m, bye = {.say = TR_SAY_WHO};
    struct tr_err err = {0};
    int64_t peer = -1;
    int others = 0;
    open_company(&c, false);
    tr_buf_init(&b.bytes, 1 << 20);
    put_ready(&b); /* {"v": 1, "say": "progress", "body": {"in_hand": []}} */
    put(&b,
        "\0\x20\x83\xa1v\x01\xa3say\xa8progress\xa4"
        "body\x81\xa7in_hand\x90",
        34);
    int fd = throw(&c, &b);
    assert_int_equal(tr_wire_receive(c.coordinator, 20, &peer, &m, &err), TR_OK);
    tr_message_fini(&m);
    enum tr_status st = TR_OK;
    for (int i = 0; i < 1000000 && st == TR_OK; i++)
        st = tr_wire_send(c.coordinator, peer, &bye, NULL);
    assert_int_equal(st, TR_AGAIN); /* and not a word more is kept for it */
    assert_int_equal(hear_worker(&c, c.worker, "the other", &others), c.peer);
    close(fd);
    tr_buf_fini(&b.bytes);
    close_company(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_without_keys),
        cmocka_unit_test(strangers_with_keys),
        cmocka_unit_test(a_crowd_that_is_silent),
        cmocka_unit_test(one_that_does_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

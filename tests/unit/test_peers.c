/* The numbers of peers, beside a table so naive that it must be right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/peers.h"

static int64_t hear(struct tr_peers *p, int64_t who)
{
    return tr_peers_hear(p, &who, sizeof who, -1);
}

static bool is_known(const struct tr_peers *p, int64_t peer, int64_t who)
{
    size_t size;
    const void *name = tr_peers_name(p, peer, &size);
    return name && size == sizeof who && memcmp(name, &who, size) == 0;
}

/* Invariant 1. */
static void a_number_is_never_given_twice(void **state)
{
    (void)state;
    struct tr_peers *p = tr_peers_create();
    int64_t last = -1;
    for (int64_t i = 0; i < 10; i++) {
        int64_t peer = hear(p, 7);
        assert_true(peer > last);
        assert_int_equal(hear(p, 7), peer);
        last = peer;
        tr_peers_forget(p, peer);
        assert_false(is_known(p, peer, 7));
        tr_peers_forget(p, peer); /* once more changes nothing */
        tr_peers_keep(p, peer);
    }
    tr_peers_destroy(p);
}

/* Invariant 2: any number of strangers, and nobody who is kept goes while a stranger is there. */
static void strangers_drive_out_strangers(void **state)
{
    (void)state;
    enum { KEPT = 1000, FLOOD = 20 * TR_PEERS_MAX };
    struct tr_peers *p = tr_peers_create();
    static int64_t kept[KEPT], peer[FLOOD];
    for (int64_t i = 0; i < KEPT; i++) {
        kept[i] = hear(p, i);
        tr_peers_keep(p, kept[i]);
    }
    for (int64_t i = 0; i < FLOOD; i++) peer[i] = hear(p, 1000000 + i);
    for (int64_t i = 0; i < KEPT; i++)
        if (!is_known(p, kept[i], i)) fail_msg("%lld is gone", (long long)i);
    for (int64_t i = 0; i < FLOOD; i++) {
        bool recent = i >= FLOOD - (TR_PEERS_MAX - KEPT);
        if (is_known(p, peer[i], 1000000 + i) != recent)
            fail_msg("stranger %lld", (long long)i);
    }
    tr_peers_destroy(p);
}

/* Invariant 2, when nobody is a stranger: the one who was silent longest goes, and only that one. */
static void of_the_kept_the_silent_goes(void **state)
{
    (void)state;
    struct tr_peers *p = tr_peers_create();
    static int64_t peer[TR_PEERS_MAX];
    for (int64_t i = 0; i < TR_PEERS_MAX; i++) {
        peer[i] = hear(p, i);
        tr_peers_keep(p, peer[i]);
    }
    for (int64_t i = 0; i < TR_PEERS_MAX; i++)
        if (i != 77) assert_int_equal(hear(p, i), peer[i]);
    for (int64_t i = 0; i < 1000; i++) hear(p, 1000000 + i);
    for (int64_t i = 0; i < TR_PEERS_MAX; i++)
        assert_int_equal(is_known(p, peer[i], i), i != 77);
    tr_peers_destroy(p);
}

/* Invariant 3. */
static void another_key_is_another_peer(void **state)
{
    (void)state;
    struct tr_peers *p = tr_peers_create();
    int64_t one = tr_peers_hear(p, "name", 4, 1);
    tr_peers_keep(p, one);
    assert_int_equal(tr_peers_user(p, one), 1);
    int64_t two = tr_peers_hear(p, "name", 4, 2);
    size_t size;
    assert_int_not_equal(one, two);
    assert_null(tr_peers_name(p, one, &size));
    assert_int_equal(tr_peers_user(p, one), -1);
    assert_int_equal(tr_peers_user(p, two), 2);
    tr_peers_destroy(p);
}

static void names_of_every_length(void **state)
{
    (void)state;
    static unsigned char name[TR_PEER_NAME + 1];
    struct tr_peers *p = tr_peers_create();
    int64_t peer[TR_PEER_NAME + 1];
    for (size_t n = 0; n <= TR_PEER_NAME; n++) peer[n] = tr_peers_hear(p, name, n, -1);
    for (size_t n = 0; n <= TR_PEER_NAME; n++)
        assert_int_equal(tr_peers_hear(p, name, n, -1), peer[n]);
    assert_int_equal(tr_peers_hear(p, name, TR_PEER_NAME + 1, -1), -1);
    size_t size;
    assert_null(tr_peers_name(p, -1, &size));
    assert_null(tr_peers_name(p, INT64_MAX, &size));
    tr_peers_destroy(p);
}

/* A table that is searched from end to end. */
struct naive {
    struct {
        int64_t who, peer, heard;
        bool used, kept;
    } row[TR_PEERS_MAX];
    int64_t now;
};

static int naive_find(const struct naive *n, int64_t who)
{
    for (int i = 0; i < TR_PEERS_MAX; i++)
        if (n->row[i].used && n->row[i].who == who) return i;
    return -1;
}

static int naive_victim(const struct naive *n)
{
    int worst = -1;
    for (int i = 0; i < TR_PEERS_MAX; i++) {
        if (!n->row[i].used) return i;
        bool before = worst >= 0 && (n->row[i].kept != n->row[worst].kept
                                         ? !n->row[i].kept
                                         : n->row[i].heard < n->row[worst].heard);
        if (worst < 0 || before) worst = i;
    }
    return worst;
}

static void as_the_naive_table_does(void **state)
{
    (void)state;
    static struct naive n;
    struct tr_peers *p = tr_peers_create();
    uint64_t x = 12345; /* a linear congruential generator will do */
    for (int step = 0; step < 60000; step++) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        int64_t who = (int64_t)(x >> 33) % 6000, what = (int64_t)(x >> 20) % 8;
        int at = naive_find(&n, who);
        if (what == 0 && at >= 0) {
            tr_peers_forget(p, n.row[at].peer);
            n.row[at].used = false;
        } else if (what == 1 && at >= 0) {
            tr_peers_keep(p, n.row[at].peer);
            n.row[at].heard = n.row[at].kept ? n.row[at].heard : n.now++;
            n.row[at].kept = true;
        } else {
            int64_t peer = hear(p, who);
            if (at >= 0) {
                if (n.row[at].peer != peer) fail_msg("step %d: another number", step);
            } else {
                at = naive_victim(&n);
                if (n.row[at].used && is_known(p, n.row[at].peer, n.row[at].who))
                    fail_msg("step %d: another one went", step);
                n.row[at].used = true;
                n.row[at].kept = false;
                n.row[at].who = who;
                n.row[at].peer = peer;
            }
            n.row[at].heard = n.now++;
        }
    }
    for (int i = 0; i < TR_PEERS_MAX; i++)
        if (n.row[i].used) assert_true(is_known(p, n.row[i].peer, n.row[i].who));
    tr_peers_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_is_never_given_twice),
        cmocka_unit_test(strangers_drive_out_strangers),
        cmocka_unit_test(of_the_kept_the_silent_goes),
        cmocka_unit_test(another_key_is_another_peer),
        cmocka_unit_test(names_of_every_length),
        cmocka_unit_test(as_the_naive_table_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Key files: made, opened, and broken in every way that a copied or edited file may be. */
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "proto/address.h"
#include "proto/keys.h"
#include "tests/unit/scratch.h"

/* A folder of its own inside the scratch folder, with keys in it. */
static void make_keys(char dir[SCRATCH_ROOM], char keys[SCRATCH_ROOM])
{
    struct tr_err err = {0};
    scratch_make(dir);
    scratch_path(keys, dir, "keys");
    if (tr_keys_make(keys, &err) != TR_OK) fail_msg("%s", err.text);
}

static void everybody_finds_their_own(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM], at[SCRATCH_ROOM];
    struct tr_keys server, role;
    make_keys(dir, at);
    assert_int_equal(tr_keys_open(at, TR_KEY_SERVER, &server, NULL), TR_OK);
    assert_int_equal(server.n, TR_KEY_ROLES);
    assert_false(server.knows_server);
    for (int who = 0; who < TR_KEY_ROLES; who++) {
        assert_int_equal(tr_keys_open(at, who, &role, NULL), TR_OK);
        int64_t line = tr_keys_find(&server, &role.public_key);
        assert_true(line >= 0);
        assert_int_equal(server.admitted[line].role, who);
        assert_true(role.knows_server);
        assert_memory_equal(&role.server, &server.public_key, sizeof role.server);
        tr_keys_close(&role);
    }
    assert_int_equal(tr_keys_find(&server, &server.public_key), -1);
    tr_keys_close(&server);
    scratch_remove(dir);
}

/* A worker that gives no weights needs neither the list nor the public halves. */
static void a_secret_alone_is_enough(void **state)
{
    (void)state;
    static const char *const not_needed[] = {"admitted", "rollout.public",
                                             "server.secret", "server.public"};
    char dir[SCRATCH_ROOM], at[SCRATCH_ROOM], path[SCRATCH_ROOM];
    struct tr_keys with, without;
    make_keys(dir, at);
    assert_int_equal(tr_keys_open(at, TR_ROLE_ROLLOUT, &with, NULL), TR_OK);
    for (size_t i = 0; i < sizeof not_needed / sizeof *not_needed; i++) {
        scratch_path(path, at, not_needed[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(tr_keys_open(at, TR_ROLE_ROLLOUT, &without, NULL), TR_OK);
    assert_memory_equal(&with.public_key, &without.public_key, sizeof with.public_key);
    assert_int_equal(without.n, 0);
    assert_false(without.knows_server);
    assert_int_equal(tr_keys_open(at, TR_KEY_SERVER, &without, NULL), TR_BADARG);
    tr_keys_close(&with);
    scratch_remove(dir);
}

/* Invariant 1. */
static void nothing_is_overwritten(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM], at[SCRATCH_ROOM], path[SCRATCH_ROOM];
    struct tr_buf before, after;
    struct tr_err err = {0};
    make_keys(dir, at);
    scratch_path(path, at, "policy.secret");
    assert_int_equal(tr_file_read(path, 1000, &before, NULL), TR_OK);
    assert_int_equal(tr_keys_make(at, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "never overwritten"));
    scratch_path(path, at, "admitted");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(tr_keys_make(at, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "policy.secret"));
    scratch_path(path, at, "policy.secret");
    assert_int_equal(tr_file_read(path, 1000, &after, NULL), TR_OK);
    assert_string_equal(tr_buf_text(&before), tr_buf_text(&after));
    tr_buf_fini(&before);
    tr_buf_fini(&after);
    scratch_remove(dir);
}

/* Invariant 1, when the last of the pairs is the one that is there. */
static void half_a_set_is_removed(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM], path[SCRATCH_ROOM];
    scratch_make(dir);
    scratch_text(dir, "server.public", "of another run");
    assert_int_equal(tr_keys_make(dir, NULL), TR_BADARG);
    static const char *const made[] = {"policy.secret", "policy.public", "server.secret",
                                       "admitted"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        scratch_path(path, dir, made[i]);
        if (tr_path_exists(path)) fail_msg("%s was left behind", made[i]);
    }
    scratch_path(path, dir, "server.public");
    assert_true(tr_path_exists(path));
    scratch_remove(dir);
}

static void one_more_key_for_a_role(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM], at[SCRATCH_ROOM], from[SCRATCH_ROOM], to[SCRATCH_ROOM];
    struct tr_keys server, other;
    make_keys(dir, at);
    assert_int_equal(tr_keys_add(at, TR_ROLE_REWARD, "lab-3", NULL), TR_OK);
    assert_int_equal(tr_keys_add(at, TR_ROLE_REWARD, "lab-3", NULL), TR_BADARG);
    assert_int_equal(tr_keys_add(at, TR_ROLE_REWARD, "../x", NULL), TR_BADARG);
    assert_int_equal(tr_keys_add(at, TR_ROLE_REWARD, "", NULL), TR_BADARG);
    assert_int_equal(tr_keys_add(dir, TR_ROLE_REWARD, "x", NULL), TR_BADARG);
    assert_int_equal(tr_keys_open(at, TR_KEY_SERVER, &server, NULL), TR_OK);
    assert_int_equal(server.n, TR_KEY_ROLES + 1);
    scratch_path(from, at, "reward-lab-3.secret");
    scratch_path(to, at, "reward.secret");
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(tr_keys_open(at, TR_ROLE_REWARD, &other, NULL), TR_OK);
    int64_t line = tr_keys_find(&server, &other.public_key);
    assert_true(line >= 0);
    assert_string_equal(server.admitted[line].name, "lab-3");
    tr_keys_close(&other);
    tr_keys_close(&server);
    scratch_remove(dir);
}

/* Invariant 2. */
static void a_secret_that_others_may_read_is_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = {0640, 0604, 0660, 0666, 0610};
    char dir[SCRATCH_ROOM], at[SCRATCH_ROOM], path[SCRATCH_ROOM];
    struct tr_keys keys;
    struct stat sb;
    make_keys(dir, at);
    scratch_path(path, at, "critic.secret");
    assert_int_equal(stat(path, &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0600);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct tr_err err = {0};
        assert_int_equal(chmod(path, modes[i]), 0);
        if (tr_keys_open(at, TR_ROLE_CRITIC, &keys, &err) != TR_BADARG ||
            !strstr(err.text, "chmod 600"))
            fail_msg("mode %o: %s", (unsigned)modes[i], err.text);
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(tr_keys_open(at, TR_ROLE_CRITIC, &keys, NULL), TR_OK);
    tr_keys_close(&keys);
    scratch_remove(dir);
}

#define GOOD "HX$Xe(@5yh:l-0*M+=ga38?i2&x*s-.F%jI)hO[4"

/* Invariant 3, of a key file. */
static void a_broken_key_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        enum tr_status want;
    } rows[] = {
        {"good", "troupe secret reward\n" GOOD "\n", TR_OK},
        {"empty", "", TR_BADARG},
        {"another role's", "troupe secret policy\n" GOOD "\n", TR_BADARG},
        {"a public one", "troupe public reward\n" GOOD "\n", TR_BADARG},
        {"no new line", "troupe secret reward\n" GOOD, TR_BADARG},
        {"one too many", "troupe secret reward\n" GOOD "\n\n", TR_BADARG},
        {"short", "troupe secret reward\nHX$Xe(@5yh:l-0*M+=ga38?i2&x*s-.F%jI)hO[\n",
         TR_BADARG},
        {"long", "troupe secret reward\n" GOOD "0\n", TR_BADARG},
        {"a letter that is none",
         "troupe secret reward\n\"X$Xe(@5yh:l-0*M+=ga38?i2&x*s-.F%jI)hO[4\n", TR_BADARG},
        {"a number over 32 bits",
         "troupe secret reward\n#####(@5yh:l-0*M+=ga38?i2&x*s-.F%jI)hO[4\n", TR_BADARG},
        {"of another system", "troupe secret reward\r\n" GOOD "\r\n", TR_BADARG},
    };
    char dir[SCRATCH_ROOM], path[SCRATCH_ROOM], large[1000];
    struct tr_keys keys;
    scratch_make(dir);
    scratch_path(path, dir, "reward.secret");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_err err = {0};
        scratch_text(dir, "reward.secret", rows[i].text);
        assert_int_equal(chmod(path, 0600), 0);
        enum tr_status st = tr_keys_open(dir, TR_ROLE_REWARD, &keys, &err);
        if (st != rows[i].want || (st != TR_OK && !strstr(err.text, "reward.secret")))
            fail_msg("%s: %s: %s", rows[i].name, tr_status_name(st), err.text);
        tr_keys_close(&keys);
    }
    memset(large, 'a', sizeof large - 1);
    large[sizeof large - 1] = 0;
    scratch_text(dir, "reward.secret", large);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_not_equal(tr_keys_open(dir, TR_ROLE_REWARD, &keys, NULL), TR_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(tr_keys_open(dir, TR_ROLE_REWARD, &keys, NULL), TR_BADARG);
    scratch_remove(dir);
}

/* Invariant 3, of the list. */
static void a_broken_list_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        int64_t want; /* lines, or -1: refused */
        const char *says;
    } rows[] = {
        {"empty", "", 0, ""},
        {"for people", "# a remark\n\n  \n#\n", 0, ""},
        {"one", "reward " GOOD "\n", 1, ""},
        {"named, no new line", "reward\t" GOOD "  lab.1", 1, ""},
        {"an admin", "admin " GOOD " me\n", 1, ""},
        {"the server", "server " GOOD "\n", -1, "line 1"},
        {"no role", GOOD "\n", -1, "line 1"},
        {"no key", "\nreward\n", -1, "line 2"},
        {"a short key", "reward HX$Xe\n", -1, "line 1"},
        {"a name with a slash", "reward " GOOD " a/b\n", -1, "line 1"},
        {"too much", "reward " GOOD " a b\n", -1, "line 1"},
        {"an unknown role", "jester " GOOD "\n", -1, "line 1"},
        {"twice", "reward " GOOD "\npolicy " GOOD "\n", -1, "twice"},
    };
    char dir[SCRATCH_ROOM], at[SCRATCH_ROOM];
    struct tr_keys keys;
    make_keys(dir, at);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_err err = {0};
        scratch_text(at, "admitted", rows[i].text);
        enum tr_status st = tr_keys_open(at, TR_KEY_SERVER, &keys, &err);
        bool good = st == TR_OK ? keys.n == rows[i].want : rows[i].want < 0;
        if (!good || !strstr(err.text, rows[i].says))
            fail_msg("%s: %s: %s", rows[i].name, tr_status_name(st), err.text);
        tr_keys_close(&keys);
    }
    scratch_remove(dir);
}

/* TR_ADMITTED_MAX keys fit, one more does not, and each is found. */
static void a_long_list(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM], at[SCRATCH_ROOM], line[128], text[TR_CURVE_TEXT];
    struct tr_keys keys;
    struct tr_curve key;
    struct tr_buf list;
    struct tr_err err = {0};
    make_keys(dir, at);
    tr_buf_init(&list, 1 << 20);
    for (uint32_t i = 0; i < TR_ADMITTED_MAX; i++) {
        for (size_t b = 0; b < sizeof key.byte; b++)
            key.byte[b] = (unsigned char)((i * 2654435761U) >> b % 24);
        tr_curve_text(&key, text);
        snprintf(line, sizeof line, "rollout %s\n", text);
        assert_int_equal(tr_buf_puts(&list, line, NULL), TR_OK);
    }
    scratch_text(at, "admitted", list.at);
    if (tr_keys_open(at, TR_KEY_SERVER, &keys, &err) != TR_OK) fail_msg("%s", err.text);
    assert_int_equal(keys.n, TR_ADMITTED_MAX);
    assert_true(tr_keys_find(&keys, &key) >= 0);
    key.byte[0] ^= 1;
    assert_int_equal(tr_keys_find(&keys, &key), -1);
    tr_keys_close(&keys);
    assert_int_equal(tr_buf_puts(&list, "reward " GOOD "\n", NULL), TR_OK);
    scratch_text(at, "admitted", list.at);
    assert_int_equal(tr_keys_open(at, TR_KEY_SERVER, &keys, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "more than"));
    tr_buf_fini(&list);
    scratch_remove(dir);
}

/* ---- addresses ---- */

static void addresses(void **state)
{
    (void)state;
#define KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
    static const struct {
        const char *address;
        enum tr_status without, with; /* keys */
    } rows[] = {
        {"tcp://127.0.0.1:0", TR_OK, TR_OK},
        {"tcp://127.8.9.1:5000", TR_OK, TR_OK},
        {"tcp://[::1]:5000", TR_OK, TR_OK},
        {"tcp://127.0.0.1:5000#" KEY, TR_OK, TR_OK},
        {"ipc:///tmp/x", TR_OK, TR_OK},
        {"tcp://0.0.0.0:5000", TR_BADARG, TR_OK},
        {"tcp://*:5000", TR_BADARG, TR_OK},
        {"tcp://[::]:5000", TR_BADARG, TR_OK},
        {"tcp://10.0.0.1:5000", TR_BADARG, TR_OK},
        {"tcp://10.0.0.1:5000#" KEY, TR_BADARG, TR_OK},
        {"tcp://[fe80::1]:5000", TR_BADARG, TR_OK},
        {"tcp://localhost:5000", TR_BADARG, TR_OK},
        {"tcp://node-7.cluster.example.org:5000", TR_BADARG, TR_OK},
        {"tcp://127.0.0.1.example.org:5000", TR_BADARG, TR_OK},
        {"tcp://127.0.0.1", TR_BADARG, TR_BADARG},
        {"tcp://127.0.0.1:", TR_BADARG, TR_BADARG},
        {"tcp://127.0.0.1:65536", TR_BADARG, TR_BADARG},
        {"tcp://127.0.0.1:-1", TR_BADARG, TR_BADARG},
        {"tcp://127.0.0.1:5000x", TR_BADARG, TR_BADARG},
        {"tcp://:5000", TR_BADARG, TR_BADARG},
        {"tcp://[]:5000", TR_BADARG, TR_BADARG},
        {"tcp://[::1:5000", TR_BADARG, TR_BADARG},
        {"tcp://[zz]:5000", TR_BADARG, TR_BADARG},
        {"tcp://a b:5000", TR_BADARG, TR_BADARG},
        {"tcp://eth0;10.0.0.1:5000", TR_BADARG, TR_BADARG},
        {"tcp://10.0.0.1:5000#12", TR_BADARG, TR_BADARG},
        {"udp://127.0.0.1:5000", TR_BADARG, TR_BADARG},
        {"ipc://", TR_BADARG, TR_BADARG},
        {"", TR_BADARG, TR_BADARG},
    };
    struct tr_address a;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int keys = 0; keys < 2; keys++) {
            struct tr_err err = {0};
            enum tr_status st = tr_address_parse(rows[i].address, keys, &a, &err);
            if (st != (keys ? rows[i].with : rows[i].without) ||
                (st != TR_OK && !err.text[0]))
                fail_msg("%s: %s: %s", rows[i].address, tr_status_name(st), err.text);
        }
    struct tr_err err = {0};
    assert_int_equal(tr_address_parse("tcp://10.0.0.1:5000", false, &a, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "needs keys (troupe keygen DIR)"));
}

static void a_key_travels_in_an_address(void **state)
{
    (void)state;
    struct tr_curve key;
    struct tr_address a;
    char out[TR_ADDRESS_BYTES];
    for (size_t i = 0; i < sizeof key.byte; i++) key.byte[i] = (unsigned char)(i * 37);
    assert_int_equal(tr_address_give("tcp://10.1.2.3:77", &key, out, NULL), TR_OK);
    assert_int_equal(tr_address_parse(out, true, &a, NULL), TR_OK);
    assert_true(a.has_key);
    assert_memory_equal(&a.key, &key, sizeof key);
    assert_string_equal(a.place, "tcp://10.1.2.3:77");
    assert_string_equal(a.host, "10.1.2.3");
    assert_int_equal(a.port, 77);
    assert_int_equal(tr_address_give("tcp://0.0.0.0:77", NULL, out, NULL), TR_OK);
    assert_int_equal(tr_address_parse(out, true, &a, NULL), TR_OK);
    assert_false(a.every); /* somebody can join it */
    assert_int_equal(a.port, 77);
}

int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *want,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *want,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *want,
                       struct addrinfo **found)
{
    if (strcmp(host, "localhost") == 0) return EAI_NONAME; /* a host without /etc/hosts */
    return __real_getaddrinfo(host, service, want, found);
}

static void names_are_looked_up(void **state)
{
    (void)state;
    struct tr_address a;
    struct tr_err err = {0};
    assert_int_equal(tr_address_parse("tcp://localhost:77", true, &a, NULL), TR_OK);
    assert_int_equal(tr_address_resolve(&a, NULL), TR_OK);
    assert_string_equal(a.numbers, "tcp://127.0.0.1:77");
    assert_string_equal(a.place, a.numbers);
    assert_int_equal(tr_address_parse("tcp://no-such-host.invalid:77", true, &a, NULL),
                     TR_OK);
    assert_int_equal(tr_address_resolve(&a, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "cannot find the host no-such-host.invalid"));
}

static void where_to_listen_beside_others(void **state)
{
    (void)state;
    static const struct {
        const char *meeting, *want;
    } rows[] = {
        {"tcp://127.0.0.1:5000", "tcp://127.0.0.1:0"},
        {"tcp://[::1]:5000", "tcp://[::1]:0"},
        {"ipc:///tmp/x", "tcp://127.0.0.1:0"},
        {"tcp://localhost:5000", "tcp://127.0.0.1:0"},
    };
    char out[TR_ADDRESS_BYTES];
    struct tr_address a;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(tr_address_beside(rows[i].meeting, out, NULL), TR_OK);
        if (strcmp(out, rows[i].want) != 0) fail_msg("%s: %s", rows[i].meeting, out);
        assert_int_equal(tr_address_parse(out, false, &a, NULL), TR_OK);
    }
    assert_int_equal(tr_address_beside("tcp://x", out, NULL), TR_BADARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_finds_their_own),
        cmocka_unit_test(a_secret_alone_is_enough),
        cmocka_unit_test(nothing_is_overwritten),
        cmocka_unit_test(half_a_set_is_removed),
        cmocka_unit_test(one_more_key_for_a_role),
        cmocka_unit_test(a_secret_that_others_may_read_is_refused),
        cmocka_unit_test(a_broken_key_is_refused),
        cmocka_unit_test(a_broken_list_is_refused),
        cmocka_unit_test(a_long_list),
        cmocka_unit_test(addresses),
        cmocka_unit_test(a_key_travels_in_an_address),
        cmocka_unit_test(names_are_looked_up),
        cmocka_unit_test(where_to_listen_beside_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A host is divided: on hosts that hwloc makes up, so that the answers are the same everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/yaml.h"
#include "launch/place.h"
#include "launch/ppo_parts.h"

static const char laptop[] = "pack:1 l3:1 core:2 pu:1";
static const char server[] = "pack:2 [numa] l3:1 core:8 pu:2";
static const char chiplets[] = "pack:2 [numa] l3:8 core:8 pu:1";

static const char ppo[] = "policy critic rollout*2 reference reward";

/* "rollout*3:2": a role, its replicas (1), the threads each was asked to have (0). */
static int read_wishes(const char *text, struct tr_place_wish *wish)
{
    int n = 0;
    for (const char *at = text; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " *:");
        struct tr_place_wish *w = &wish[n++];
        *w = (struct tr_place_wish){.weight = 1, .replicas = 1};
        memcpy(w->name, at, length);
        at += length;
        if (!strcmp(w->name, "policy") || !strcmp(w->name, "critic")) w->weight = 4;
        if (!strcmp(w->name, "rollout")) w->weight = 2;
        char *end = NULL;
        if (*at == '*') {
            w->replicas = (int)strtol(at + 1, &end, 10);
            at = end;
        }
        if (*at == ':') {
            w->threads = (int)strtol(at + 1, &end, 10);
            at = end;
        }
    }
    return n;
}

static void divide(const char *host, const char *company, struct tr_machine *h,
                   struct tr_place_wish *wish, struct tr_places *out)
{
    struct tr_err err = {0};
    if (tr_machine_open(host, h, &err) != TR_OK ||
        tr_places_divide(h, wish, read_wishes(company, wish), false, out, &err) != TR_OK)
        fail_msg("%s, %s: %s", host, company, err.text);
}

/* "name-replica threads list@nodes; ..." of all places. */
static void describe(const struct tr_place_wish *wish, const struct tr_places *p,
                     char *out, size_t size)
{
    size_t at = 0;
    for (int i = 0; i < p->n && at < size; i++) {
        char list[64];
        char nodes[32] = "";
        tr_place_list(&p->at[i], list, sizeof list);
        if (p->at[i].nodes)
            hwloc_bitmap_list_snprintf(nodes, sizeof nodes, p->at[i].nodes);
        at += (size_t)snprintf(out + at, size - at, "%s%s-%d %d %s@%s", i ? "; " : "",
                               wish[p->at[i].wish].name, p->at[i].replica + 1,
                               p->at[i].threads, list, nodes);
    }
}

static void divisions(void **state)
{
    (void)state;
    static const struct {
        const char *name, *host, *company;
        bool own;
        const char *want;
    } rows[] = {
        {"nobody", laptop, "", true, ""},
        {"one takes all", laptop, "policy", true, "policy-1 2 0-1@0"},
        {"as asked, and no more", server, "policy:3", true, "policy-1 3 0-5@0"},
        {"more processes than cores: they share", laptop, ppo, false,
         "policy-1 2 @; critic-1 2 @; rollout-1 1 @; rollout-2 1 @; reference-1 2 @; "
         "reward-1 2 @"},
        {"more threads than cores: they share", laptop, "policy:2 rollout:1", false,
         "policy-1 2 @; rollout-1 1 @"},
        {"no more threads than the host has", laptop, "policy:9 rollout*5", false,
         "policy-1 2 @; rollout-1 1 @; rollout-2 1 @; rollout-3 1 @; rollout-4 1 @; "
         "rollout-5 1 @"},
        {"a company of six on two packages", server, ppo, true,
         "policy-1 5 0-9@0; critic-1 5 16-25@1; rollout-1 2 10-13@0; rollout-2 2 "
         "26-29@1; reference-1 1 14-15@0; reward-1 1 30-31@1"},
        {"each as asked, the rest to the others", server, "policy rollout*3:4", true,
         "policy-1 4 0-7@0; rollout-1 4 8-15@0; rollout-2 4 16-23@1; rollout-3 4 "
         "24-31@1"},
        {"one that needs both packages", server, "policy:12", true,
         "policy-1 12 0-23@0-1"},
        {"neighbours share a cache", chiplets, "policy:16 rollout*2:6 reference*2:2",
         true,
         "policy-1 16 0-15@0; rollout-1 6 16-21@0; rollout-2 6 24-29@0; reference-1 2 "
         "22-23@0; reference-2 2 30-31@0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[1024] = "";
        struct tr_machine h;
        struct tr_places p;
        struct tr_place_wish wish[TR_PLACE_WISHES];
        divide(rows[i].host, rows[i].company, &h, wish, &p);
        describe(wish, &p, got, sizeof got);
        if (p.own != rows[i].own || strcmp(got, rows[i].want) != 0)
            fail_msg("%s: own %d: %s", rows[i].name, p.own, got);
        assert_false(p.bound); /* a host made up is never bound to */
        tr_places_fini(&p);
        tr_machine_close(&h);
    }
}

/* Invariants 1 and 2 of place.h, over many companies and hosts. */
static void places_are_disjoint_and_within_the_limit(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        laptop, server, chiplets, "core:128 pu:1", "pack:2 core:3 pu:2", "pu:4"};
    static const int limits[] = {0, 1, 5, 12};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        for (int n = 0; n < 4 * 40; n++) {
            struct tr_machine h;
            struct tr_places p;
            const struct tr_place_wish wish[] = {
                {"policy", 4, 1, 0},
                {"rollout", 2, 1 + n % 40, n % 3 == 1 ? 2 : 0},
                {"reward", 1, 1 + n % 7, n % 5 == 1 ? 1 : 0}};
            assert_int_equal(tr_machine_open(hosts[i], &h, NULL), TR_OK);
            int limit = limits[n / 40];
            if (limit && limit < h.threads) h.threads = limit;
            assert_int_equal(tr_places_divide(&h, wish, 3, n % 2 == 0, &p, NULL), TR_OK);
            hwloc_bitmap_t taken = hwloc_bitmap_alloc();
            int threads = 0;
            for (int k = 0; k < p.n; k++) {
                threads += p.at[k].threads;
                assert_in_range(p.at[k].threads, 1, h.threads);
                if (!p.own) continue;
                assert_false(hwloc_bitmap_iszero(p.at[k].cpus));
                assert_false(hwloc_bitmap_intersects(taken, p.at[k].cpus));
                assert_true(hwloc_bitmap_isincluded(p.at[k].cpus, h.usable));
                hwloc_bitmap_or(taken, taken, p.at[k].cpus);
            }
            assert_true(!p.own || threads <= h.threads);
            assert_int_equal(p.n, 2 + n % 40 + n % 7 + 1);
            hwloc_bitmap_free(taken);
            tr_places_fini(&p);
            tr_machine_close(&h);
        }
}

/* Who takes turns shares, unless each was asked for its threads. */
static void turns(void **state)
{
    (void)state;
    static const struct {
        const char *company;
        bool own;
        int threads; /* of the first */
    } rows[] = {
        {"policy", true, 16},
        {"policy rollout:2", false, 16},
        {"rollout*4 policy", false, 4},
        {"policy:4 rollout*2:3", true, 4},
        {"policy:12 rollout*2:3", false, 12},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_machine h;
        struct tr_places p;
        struct tr_place_wish wish[TR_PLACE_WISHES];
        assert_int_equal(tr_machine_open(server, &h, NULL), TR_OK);
        int n = read_wishes(rows[i].company, wish);
        assert_int_equal(tr_places_divide(&h, wish, n, true, &p, NULL), TR_OK);
        if (p.own != rows[i].own || p.at[0].threads != rows[i].threads)
            fail_msg("%s: own %d, threads %d", rows[i].company, p.own, p.at[0].threads);
        tr_places_fini(&p);
        tr_machine_close(&h);
    }
}

static void what_may_not_be_used_is_left_alone(void **state)
{
    (void)state;
    char got[256] = "";
    struct tr_machine h;
    struct tr_places p;
    const struct tr_place_wish wish[] = {{"policy", 4, 1, 0}, {"rollout", 2, 1, 0}};
    assert_int_equal(tr_machine_open(server, &h, NULL), TR_OK);
    hwloc_bitmap_list_sscanf(h.usable, "1,3,18-21"); /* four cores, two of them by half */
    h.cores = h.threads = 4;
    assert_int_equal(tr_places_divide(&h, wish, 2, false, &p, NULL), TR_OK);
    describe(wish, &p, got, sizeof got);
    assert_string_equal(got, "policy-1 3 1,3,18-19@0-1; rollout-1 1 20-21@1");
    tr_places_fini(&p);
    tr_machine_close(&h);
}

/* From a run's roles to wishes, and from a member to its place. */
static void roles_have_places(void **state)
{
    (void)state;
    static const char text[] =
        "{rollout: {replicas: 2, threads: 3}, reward: [{name: main, model: m, threads: "
        "2}, {name: short, rule: length}, {name: mine, external: true}]}";
    char got[256] = "";
    struct tr_err err = {0};
    struct tr_roles roles;
    struct tr_machine h;
    struct tr_places p;
    struct tr_place_wish wish[TR_PLACE_WISHES];
    json_t *doc = NULL;
    int n = 0;
    assert_int_equal(tr_yaml_parse(text, strlen(text), "r", &doc, NULL), TR_OK);
    if (tr_roles_read(doc, "test", NULL, &roles, &err) != TR_OK) fail_msg("%s", err.text);
    tr_place_wishes(&roles, wish, &n);
    assert_int_equal(tr_machine_open(server, &h, NULL), TR_OK);
    assert_int_equal(tr_places_divide(&h, wish, n, false, &p, NULL), TR_OK);
    describe(wish, &p, got, sizeof got);
    assert_string_equal(got, "policy-1 4 0-7@0; rollout-1 3 8-13@0; rollout-2 3 16-21@1; "
                             "reference-1 1 14-15@0; critic-1 3 22-27@1; reward main-1 2 "
                             "28-31@1");
    assert_ptr_equal(tr_places_find(&p, wish, TR_ROLE_ROLLOUT, "", 1), &p.at[2]);
    assert_ptr_equal(tr_places_find(&p, wish, TR_ROLE_REWARD, "main", 0), &p.at[5]);
    assert_null(tr_places_find(&p, wish, TR_ROLE_REWARD, "short", 0));
    assert_null(tr_places_find(&p, wish, TR_ROLE_ROLLOUT, "", 2));
    tr_places_fini(&p);
    tr_machine_close(&h);
    json_decref(doc);
}

static const char *word_after(const struct tr_words *w, const char *flag)
{
    for (int i = 0; i + 1 < w->n; i++)
        if (!strcmp(w->at[i], flag)) return w->at[i + 1];
    return NULL;
}

/* A member is told its cores only when it is to be bound; its threads always. */
static void members_are_told_their_places(void **state)
{
    (void)state;
    static struct tr_ppo_parts parts;
    const struct tr_options o = {.model.path = "m"};
    const struct tr_member second = {.role = TR_ROLE_ROLLOUT, .name = "r2", .index = 1};
    const struct tr_member third = {.role = TR_ROLE_ROLLOUT, .name = "r3", .index = 2};
    struct tr_machine h;
    struct tr_words w = {.n = 0};
    parts.o = &o;
    divide(server, "policy:4 rollout*2:3", &h, parts.seats.wish, &parts.seats.places);
    assert_int_equal(tr_ppo_words(&parts, &second, &w, NULL), TR_OK);
    assert_string_equal(word_after(&w, "--threads"), "3");
    assert_null(word_after(&w, "--cpus"));
    parts.seats.places.bound = true; /* as if the host were this one */
    w = (struct tr_words){.n = 0};
    assert_int_equal(tr_ppo_words(&parts, &second, &w, NULL), TR_OK);
    assert_string_equal(word_after(&w, "--cpus"), "16-21");
    w = (struct tr_words){.n = 0};
    assert_int_equal(tr_ppo_words(&parts, &third, &w, NULL), TR_OK);
    assert_null(word_after(&w, "--cpus"));
    tr_places_fini(&parts.seats.places);
    tr_machine_close(&h);
}

static void mistakes_are_said(void **state)
{
    (void)state;
    struct tr_machine h;
    struct tr_places p;
    struct tr_err err = {0};
    const struct tr_place_wish none[] = {{"rollout", 2, 0, 0}};
    assert_int_equal(tr_machine_open("rubbish", &h, NULL), TR_BADARG);
    assert_null(h.topology);
    assert_int_equal(tr_machine_open(laptop, &h, NULL), TR_OK);
    assert_int_equal(tr_places_divide(&h, none, 1, false, &p, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "rollout: expected 1 to 1024 replicas"));
    assert_null(p.at);
    tr_machine_close(&h);
}

/* Invariant 2 of machine.h, and that lists are checked before anything is done. */
static void lists_of_pus(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        enum tr_status want;
    } rows[] = {
        {"0", TR_OK},       {"0-3,8", TR_OK},  {"", TR_BADARG},
        {"x", TR_BADARG},   {"0-", TR_BADARG}, {"0-40", TR_BADARG},
        {"32", TR_BADARG},  {",", TR_BADARG},  {"99999999999", TR_BADARG},
        {"0x3", TR_BADARG},
    };
    char note[160];
    struct tr_machine h;
    assert_int_equal(tr_machine_open(server, &h, NULL), TR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_err err = {0};
        enum tr_status st = tr_machine_bind(&h, rows[i].list, note, sizeof note, &err);
        if (st != rows[i].want) fail_msg("\"%s\": %d %s", rows[i].list, st, err.text);
        if (st == TR_OK) assert_non_null(strstr(note, "not of this host"));
    }
    tr_machine_close(&h);
}

/* Bound to one PU of this host, this process has one core left to use. */
static void this_host_is_bound(void **state)
{
    (void)state;
    char note[160];
    char list[32];
    char got[64];
    struct tr_machine h;
    struct tr_machine after;
    struct tr_err err = {0};
    assert_int_equal(tr_machine_open(NULL, &h, NULL), TR_OK);
    if (!h.here) skip(); /* HWLOC_SYNTHETIC is set */
    assert_in_range(h.threads, 1, h.cores);
    snprintf(list, sizeof list, "%d", hwloc_bitmap_first(h.usable));
    if (tr_machine_bind(&h, list, note, sizeof note, &err) != TR_OK)
        fail_msg("%s", err.text);
    if (note[0]) print_message("%s\n", note);
    assert_int_equal(tr_machine_open(NULL, &after, NULL), TR_OK);
    hwloc_bitmap_list_snprintf(got, sizeof got, after.usable);
    if (!note[0]) {
        assert_string_equal(got, list);
        assert_int_equal(after.threads, 1);
    }
    tr_machine_close(&h);
    tr_machine_close(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divisions),
        cmocka_unit_test(places_are_disjoint_and_within_the_limit),
        cmocka_unit_test(turns),
        cmocka_unit_test(what_may_not_be_used_is_left_alone),
        cmocka_unit_test(roles_have_places),
        cmocka_unit_test(members_are_told_their_places),
        cmocka_unit_test(mistakes_are_said),
        cmocka_unit_test(lists_of_pus),
        cmocka_unit_test(this_host_is_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

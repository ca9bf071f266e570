/* Weights that come and go while units are in hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/loader.h"
#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "tests/unit/versions.h"

static struct tr_actor *open_actor(const struct versions *v, enum tr_role role, int i)
{
    struct tr_actor *a = NULL;
    struct tr_err err = {0};
    struct tr_role_start start = versions_start(v, i);
    if (tr_actor_open(role, &start, &a, &err) != TR_OK) fail_msg("%s", err.text);
    return a;
}

static void give(struct tr_actor *a, struct tr_unit unit)
{
    struct tr_message m = versions_deliver(&unit);
    assert_int_equal(tr_actor_take(a, &m, NULL), TR_OK);
    tr_message_fini(&m);
}

static void drop(struct tr_actor *a, const struct tr_digest *digest)
{
    struct tr_message m = {.say = TR_SAY_DROP, .as.drop.digest = *digest};
    assert_int_equal(tr_actor_take(a, &m, NULL), TR_OK);
}

/* What a worker's loader and desk do with a `load`. */
static void load(struct tr_actor *a, const struct versions *v, int i)
{
    const atomic_bool never = false;
    struct tr_load load = versions_load(v, i);
    struct tr_loaded said = {.digest = load.digest, .ok = true};
    struct tr_model_shape shape;
    const struct tr_load_set set = {.shape = &shape, .ex = &v->ex, .stop = &never};
    struct tr_model m;
    struct tr_err err = {0};
    assert_true(tr_actor_shape(a, &shape));
    if (tr_load_model(&set, &load, &m, &err) != TR_OK) fail_msg("%s", err.text);
    assert_int_equal(tr_actor_adopt(a, &m, &said, NULL), TR_OK);
}

/* The next thing that it says. */
static struct tr_message next(struct tr_actor *a)
{
    struct tr_message m;
    for (int i = 0; i < 10000; i++)
        if (tr_actor_work(a, &m) == TR_OK) return m;
    fail_msg("it says nothing");
    return m;
}

static bool loaded_ok(struct tr_actor *a)
{
    struct tr_message m = next(a);
    assert_int_equal(m.say, TR_SAY_LOADED);
    assert_int_equal(m.as.loaded.ok, m.as.loaded.text[0] == 0);
    return m.as.loaded.ok;
}

/* The digest of the answer that an actor which has only this version gives. */
static struct tr_digest alone(const struct versions *v, enum tr_role role, int i,
                              struct tr_unit unit)
{
    struct tr_digest d;
    struct tr_actor *a = open_actor(v, role, i);
    give(a, unit);
    struct tr_message m = next(a);
    assert_int_equal(m.say, TR_SAY_DONE);
    assert_int_equal(tr_content_digest(&m.content, &d, NULL), TR_OK);
    tr_message_fini(&m);
    tr_actor_close(a);
    return d;
}

static bool holds(const struct tr_actor *a, const struct versions *v, int i)
{
    struct tr_hello h = tr_actor_hello(a);
    return tr_digests_hold(&h.holds, &v->model[i].digest);
}

/* Three versions, units of all in any order: each answer is that of its version. */
static void answers_are_those_of_the_weights_named(void **state)
{
    (void)state;
    enum { UNITS = 12 };
    static const int version[UNITS] = {0, 1, 0, 2, 1, 0, 2, 2, 1, 0, 0, 1};
    struct versions v;
    versions_open(&v, false);
    for (int judge = 0; judge < 2; judge++) {
        enum tr_role role = judge ? TR_ROLE_REFERENCE : TR_ROLE_ROLLOUT;
        struct tr_actor *a = open_actor(&v, role, 0);
        struct tr_digest id[UNITS], want[UNITS];
        load(a, &v, 1);
        assert_true(loaded_ok(a));
        for (int n = 0; n < UNITS; n++) {
            struct tr_unit unit = judge ? versions_judge(&v, version[n], n)
                                        : versions_generate(&v, version[n], n, 3 + n % 9);
            struct tr_unit same = judge ? versions_judge(&v, version[n], n)
                                        : versions_generate(&v, version[n], n, 3 + n % 9);
            if (n == 3) { /* while units are in hand */
                load(a, &v, 2);
                assert_true(loaded_ok(a));
            }
            id[n] = unit.id;
            want[n] = alone(&v, role, version[n], same);
            give(a, unit);
        }
        for (int k = 0; k < UNITS; k++) {
            struct tr_digest got;
            struct tr_message m = next(a);
            int n = 0;
            assert_int_equal(m.say, TR_SAY_DONE);
            while (n < UNITS && !tr_digest_equal(&id[n], &m.as.done.id)) n++;
            assert_true(n < UNITS);
            assert_int_equal(tr_content_digest(&m.content, &got, NULL), TR_OK);
            if (!tr_digest_equal(&got, &want[n])) fail_msg("unit %d", n);
            id[n].byte[0] ^= 1; /* once */
            tr_message_fini(&m);
        }
        assert_false(tr_actor_busy(a));
        tr_actor_close(a);
    }
    versions_close(&v);
}

/* A unit that names too many weights or too few breaks the protocol, whoever is asked. */
static void a_wrong_number_of_digests_is_refused(void **state)
{
    (void)state;
    static const struct {
        enum tr_role role;
        enum tr_unit_kind kind;
        int64_t digests;
        const char *text;
    } rows[] = {
        {TR_ROLE_REFERENCE, TR_UNIT_LOGPROB, 0, "expected 1 digest, found 0"},
        {TR_ROLE_REFERENCE, TR_UNIT_LOGPROB, 2, "expected 1 digest, found 2"},
        {TR_ROLE_REFERENCE, TR_UNIT_DIVERGENCE, 1, "expected 2 digests, found 1"},
        {TR_ROLE_ROLLOUT, TR_UNIT_GENERATE, 0, "expected 1 digest, found 0"},
        {TR_ROLE_ROLLOUT, TR_UNIT_GENERATE, 2, "expected 1 digest, found 2"},
    };
    const int32_t token[] = {1, 2, 3};
    const int64_t begin[] = {0, 3}, from = 2, number = 0;
    const struct tr_ask_judge judge = {{token, 3}, {begin, 2}, {&from, 1}};
    const struct tr_ask_generate generate = {.temperature = 1,
                                             .top_p = 1,
                                             .repetition_penalty = 1,
                                             .max_new_tokens = 1,
                                             .token = {token, 3},
                                             .start = {begin, 2},
                                             .prompt = {&number, 1},
                                             .sample = {&number, 1},
                                             .stop = {token, 0}};
    struct versions v;
    versions_open(&v, false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool judges = rows[i].kind != TR_UNIT_GENERATE;
        struct tr_digests needs = {.n = rows[i].digests};
        struct tr_actor *a = open_actor(&v, rows[i].role, 0);
        struct tr_unit unit;
        for (int64_t k = 0; k < needs.n; k++) needs.at[k] = v.model[0].digest;
        assert_int_equal(tr_unit_make(judges ? tr_ask_judge_record(rows[i].kind)
                                             : &tr_ask_generate_record,
                                      &needs, judges ? (const void *)&judge : &generate,
                                      &unit, NULL),
                         TR_OK);
        give(a, unit);
        struct tr_message m = next(a);
        assert_int_equal(m.say, TR_SAY_FAIL);
        if (m.as.fail.code != TR_BADMSG || !strstr(m.as.fail.text, rows[i].text))
            fail_msg("row %zu: %s", i, m.as.fail.text);
        tr_actor_close(a);
    }
    versions_close(&v);
}

/* Invariant 3. */
static void dropped_weights_stay_as_long_as_they_are_needed(void **state)
{
    (void)state;
    struct versions v;
    versions_open(&v, true);
    struct tr_actor *a = open_actor(&v, TR_ROLE_REWARD, 0);
    load(a, &v, 1);
    assert_true(loaded_ok(a));
    give(a, versions_judge(&v, 0, 1));
    give(a, versions_judge(&v, 1, 2));
    drop(a, &v.model[0].digest);
    drop(a, &v.model[5].digest); /* never held */
    assert_false(holds(a, &v, 0));
    assert_true(holds(a, &v, 1));
    for (int i = 0; i < 2; i++) {
        struct tr_message m = next(a);
        assert_int_equal(m.say, TR_SAY_DONE);
        tr_message_fini(&m);
    }
    give(a, versions_judge(&v, 0, 3)); /* gone by now */
    struct tr_message m = next(a);
    assert_int_equal(m.say, TR_SAY_FAIL);
    assert_int_equal(m.as.fail.code, TR_STALE);
    assert_true(m.as.fail.retryable);
    load(a, &v, 0); /* and back */
    assert_true(loaded_ok(a) && holds(a, &v, 0));
    give(a, versions_judge(&v, 0, 3));
    drop(a, &v.model[0].digest);
    load(a, &v, 0); /* wanted again before it went */
    assert_true(loaded_ok(a));
    m = next(a);
    assert_int_equal(m.say, TR_SAY_DONE);
    tr_message_fini(&m);
    assert_true(holds(a, &v, 0));
    tr_actor_close(a);
    versions_close(&v);
}

/* A rollout that starts with shapes alone: nothing is held, then what was loaded. */
static void an_empty_rollout_takes_what_is_loaded(void **state)
{
    (void)state;
    struct versions v;
    struct tr_actor *a = NULL;
    struct tr_err err = {0};
    struct tr_digest got;
    versions_open(&v, false);
    scratch_text(v.dir, "config.json",
                 "{\"model_type\": \"llama\", \"vocab_size\": 8, \"hidden_size\": 8,"
                 "\"num_hidden_layers\": 1, \"num_attention_heads\": 2,"
                 "\"intermediate_size\": 8, \"rms_norm_eps\": 1e-5}");
    struct tr_role_start start = versions_start(&v, 0);
    start.folder = v.dir;
    start.empty = true;
    if (tr_actor_open(TR_ROLE_ROLLOUT, &start, &a, &err) != TR_OK)
        fail_msg("%s", err.text);
    struct tr_hello h = tr_actor_hello(a);
    assert_int_equal(h.holds.n, 0);
    give(a, versions_generate(&v, 1, 1, 4));
    struct tr_message m = next(a);
    assert_int_equal(m.say, TR_SAY_FAIL);
    assert_int_equal(m.as.fail.code, TR_STALE);
    const struct tr_loaded loaded = {.digest = v.model[1].digest, .ok = true};
    struct tr_model again;
    assert_int_equal(tr_model_again(&v.model[1], &again, NULL), TR_OK);
    assert_int_equal(tr_actor_adopt(a, &again, &loaded, NULL), TR_OK);
    assert_true(loaded_ok(a));
    struct tr_digest want = alone(&v, TR_ROLE_ROLLOUT, 1, versions_generate(&v, 1, 1, 4));
    give(a, versions_generate(&v, 1, 1, 4));
    m = next(a);
    assert_int_equal(m.say, TR_SAY_DONE);
    assert_int_equal(tr_content_digest(&m.content, &got, NULL), TR_OK);
    assert_true(tr_digest_equal(&got, &want));
    tr_message_fini(&m);
    tr_actor_close(a);
    versions_close(&v);
}

/* Units for other weights are not overtaken by those that come after them. */
static void nobody_waits_for_ever(void **state)
{
    (void)state;
    static const int version[] = {0, 1, 0}, length[] = {20, 6, 2};
    struct versions v;
    struct tr_digest id[3];
    versions_open(&v, false);
    struct tr_actor *a = open_actor(&v, TR_ROLE_ROLLOUT, 0);
    load(a, &v, 1);
    assert_true(loaded_ok(a));
    for (int n = 0; n < 3; n++) {
        struct tr_unit unit = versions_generate(&v, version[n], n, length[n]);
        id[n] = unit.id;
        give(a, unit);
    }
    for (int n = 0; n < 3; n++) {
        struct tr_message m = next(a);
        assert_int_equal(m.say, TR_SAY_DONE);
        assert_true(tr_digest_equal(&m.as.done.id, &id[n]));
        tr_message_fini(&m);
    }
    tr_actor_close(a);
    versions_close(&v);
}

/* A rollout's present weights are dropped in the middle of its sequences. */
static void a_drop_harms_no_sequence(void **state)
{
    (void)state;
    struct versions v;
    struct tr_message m;
    struct tr_digest got;
    versions_open(&v, false);
    struct tr_actor *a = open_actor(&v, TR_ROLE_ROLLOUT, 0);
    struct tr_digest want =
        alone(&v, TR_ROLE_ROLLOUT, 0, versions_generate(&v, 0, 1, 20));
    give(a, versions_generate(&v, 0, 1, 20));
    for (int i = 0; i < 4; i++) assert_int_equal(tr_actor_work(a, &m), TR_AGAIN);
    drop(a, &v.model[0].digest);
    load(a, &v, 1);
    assert_true(loaded_ok(a));
    give(a, versions_generate(&v, 1, 2, 4));
    m = next(a);
    assert_int_equal(tr_content_digest(&m.content, &got, NULL), TR_OK);
    assert_true(tr_digest_equal(&got, &want));
    tr_message_fini(&m);
    m = next(a);
    assert_int_equal(m.say, TR_SAY_DONE);
    tr_message_fini(&m);
    assert_false(holds(a, &v, 0));
    drop(a, &v.model[1].digest); /* the last one */
    struct tr_hello h = tr_actor_hello(a);
    assert_int_equal(h.holds.n, 0);
    tr_actor_close(a);
    versions_close(&v);
}

static void a_full_shelf_says_so(void **state)
{
    (void)state;
    struct versions v;
    versions_open(&v, false);
    struct tr_actor *a = open_actor(&v, TR_ROLE_ROLLOUT, 0);
    for (int i = 1; i < VERSIONS; i++) {
        load(a, &v, i);
        assert_int_equal(loaded_ok(a), i < 4);
    }
    drop(a, &v.model[2].digest);
    load(a, &v, 5);
    assert_true(loaded_ok(a));
    tr_actor_close(a);
    versions_close(&v);
}

/* What is not there, or is not what was wanted, is said in words; the next place is tried. */
/* What must be equal in a company. */
static void hello_says_its_math(void **state)
{
    (void)state;
    struct versions v;
    versions_open(&v, false);
    for (int blas = 0; blas < 2; blas++) {
        char want[TR_MATH_BYTES];
        v.ex.math = blas ? TR_MATH_OPENBLAS : TR_MATH_EXACT;
        struct tr_actor *a = open_actor(&v, TR_ROLE_REFERENCE, 0);
        struct tr_hello h = tr_actor_hello(a);
        tr_exec_math(&v.ex, want);
        assert_string_equal(h.math, want);
        tr_actor_close(a);
    }
    versions_close(&v);
}

static void a_load_names_what_was_wrong(void **state)
{
    (void)state;
    const atomic_bool never = false;
    struct versions v;
    struct tr_model m;
    struct tr_err err = {0};
    versions_open(&v, false);
    struct tr_model_shape shape = tr_model_shape_of(v.model[0].weights);
    const struct tr_load_set set = {.shape = &shape, .ex = &v.ex, .stop = &never};
    struct tr_load l = versions_load(&v, 1);
    l.digest = v.model[0].digest;
    snprintf(l.folder, sizeof l.folder, "/no/such/folder");
    assert_int_equal(tr_load_model(&set, &l, &m, &err), TR_GONE);
    assert_non_null(strstr(err.text, "file: holds "));
    assert_non_null(strstr(err.text, "; folder: "));
    l = (struct tr_load){.digest = v.model[0].digest};
    assert_int_equal(tr_load_model(&set, &l, &m, &err), TR_GONE);
    assert_string_equal(err.text, "no place to load from was named");
    versions_close(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_the_weights_named),
        cmocka_unit_test(a_wrong_number_of_digests_is_refused),
        cmocka_unit_test(dropped_weights_stay_as_long_as_they_are_needed),
        cmocka_unit_test(an_empty_rollout_takes_what_is_loaded),
        cmocka_unit_test(nobody_waits_for_ever),
        cmocka_unit_test(a_drop_harms_no_sequence),
        cmocka_unit_test(a_full_shelf_says_so),
        cmocka_unit_test(hello_says_its_math),
        cmocka_unit_test(a_load_names_what_was_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

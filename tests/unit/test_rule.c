/* Rewards without a model: what they score, what names them, and what must not hang them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "actors/actor.h"
#include "actors/role.h"
#include "actors/rule.h"
#include "proto/step2_judge.h"
#include "tests/unit/made_tokenizer.h"

enum { EOS = 256 };

/* A folder with a tokenizer whose ids of plain text are its bytes; `more` makes another file. */
static void made_tokenizer_folder(char dir[64], const char *more)
{
    const struct made_tokenizer m = {
        .added =
            "{\"id\":256,\"content\":\"<end>\",\"special\":true,\"single_word\":false,"
            "\"lstrip\":false,\"rstrip\":false,\"normalized\":false}",
        .root = more};
    char *json = made_json(&m);
    made_folder(dir);
    made_file(dir, "tokenizer.json", json);
    free(json);
}

/* The ids of text, with the token that ends it. */
static int64_t ids_of(const char *text, int32_t *id)
{
    int64_t n = 0;
    for (; text[n]; n++) id[n] = (unsigned char)text[n];
    id[n] = EOS;
    return n + 1;
}

static struct tr_rule *open_rule(const struct tr_rule_start *start)
{
    struct tr_rule *r = NULL;
    struct tr_err err = {0};
    if (tr_rule_open(start, &r, &err) != TR_OK) fail_msg("%s", err.text);
    return r;
}

static void length_counts_tokens(void **state)
{
    (void)state;
    static const struct {
        double target, scale;
        int64_t n;
        float want;
    } rows[] = {{0, 100, 1, -0.01F},
                {0, 100, 50, -0.5F},
                {8, 4, 8, 0},
                {8, 4, 2, -1.5F},
                {8, 4, 10, -0.5F}};
    const int32_t id[50] = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_rule_start start = {
            .kind = TR_RULE_LENGTH, .target = rows[i].target, .scale = rows[i].scale};
        struct tr_rule *r = open_rule(&start);
        float got = NAN;
        assert_int_equal(tr_rule_score(r, id, rows[i].n, &got, NULL), TR_OK);
        if (got != rows[i].want)
            fail_msg("row %zu: %a, wanted %a", i, (double)got, (double)rows[i].want);
        tr_rule_close(r);
    }
}

static void regex_looks_at_text(void **state)
{
    (void)state;
    static const struct {
        const char *name, *pattern, *text;
        bool found;
    } rows[] = {
        {"there", "please", "oh please do", true},
        {"not there", "please", "do it", false},
        {"any case", "(?i)please", "PLEASE", true},
        {"to the end: the special token is no part of it", "thanks$", "many thanks",
         true},
        {"whole", "^[a-z ]+$", "only small", true},
        {"not whole", "^[a-z ]+$", "Not small", false},
        {"characters, not bytes", "^.{3}$", "\xc3\xa4\xc3\xb6\xc3\xbc", true},
        {"damaged text",
         "a\xef\xbf\xbd"
         "b",
         "a\xff"
         "b",
         true},
        {"nothing at all", "^$", "", true},
        {"look behind", "(?<=a)b", "ab", true},
    };
    char dir[64];
    made_tokenizer_folder(dir, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_rule_start start = {.kind = TR_RULE_REGEX,
                                      .hit = 2,
                                      .miss = -1,
                                      .pattern = rows[i].pattern,
                                      .tokenizer = dir};
        struct tr_rule *r = open_rule(&start);
        int32_t id[64];
        float got = NAN;
        int64_t n = ids_of(rows[i].text, id);
        assert_int_equal(tr_rule_score(r, id, n, &got, NULL), TR_OK);
        if (got != (rows[i].found ? 2 : -1))
            fail_msg("%s: %g", rows[i].name, (double)got);
        tr_rule_close(r);
    }
    made_folder_remove(dir);
}

/* Ids that the tokenizer does not know, as a model with spare rows may draw, have no text. */
static void unknown_ids_have_no_text(void **state)
{
    (void)state;
    char dir[64];
    const int32_t id[] = {'a', 9999, 'b', EOS};
    float got = NAN;
    made_tokenizer_folder(dir, NULL);
    struct tr_rule_start start = {
        .kind = TR_RULE_REGEX, .hit = 1, .pattern = "^ab$", .tokenizer = dir};
    struct tr_rule *r = open_rule(&start);
    assert_int_equal(tr_rule_score(r, id, 4, &got, NULL), TR_OK);
    assert_true(got == 1);
    tr_rule_close(r);
    made_folder_remove(dir);
}

static struct tr_digest digest_of(const struct tr_rule_start *start)
{
    struct tr_rule *r = open_rule(start);
    struct tr_digest d = tr_rule_digest(r);
    tr_rule_close(r);
    return d;
}

static void invariant_1_a_digest_names_every_parameter(void **state)
{
    (void)state;
    static const char canonical[] = "troupe rule length\ntarget 0\nscale 100\n";
    char dir[64], other[64];
    made_tokenizer_folder(dir, NULL);
    made_tokenizer_folder(other, "\"truncation\":null,");
    const struct tr_rule_start rule[] = {
        {.kind = TR_RULE_LENGTH, .scale = 100},
        {.kind = TR_RULE_LENGTH, .scale = 100, .target = 1},
        {.kind = TR_RULE_LENGTH, .scale = 10},
        {.kind = TR_RULE_REGEX, .hit = 1, .pattern = "a", .tokenizer = dir},
        {.kind = TR_RULE_REGEX, .hit = 1, .pattern = "b", .tokenizer = dir},
        {.kind = TR_RULE_REGEX, .hit = 2, .pattern = "a", .tokenizer = dir},
        {.kind = TR_RULE_REGEX, .hit = 1, .miss = -1, .pattern = "a", .tokenizer = dir},
        {.kind = TR_RULE_REGEX, .hit = 1, .pattern = "a", .tokenizer = other},
    };
    struct tr_digest want = tr_digest_of(canonical, sizeof canonical - 1);
    struct tr_digest got = digest_of(&rule[0]);
    assert_true(tr_digest_equal(&got, &want));
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++)
        for (size_t k = 0; k < sizeof rule / sizeof *rule; k++) {
            struct tr_digest a = digest_of(&rule[i]), b = digest_of(&rule[k]);
            if (tr_digest_equal(&a, &b) != (i == k)) fail_msg("rules %zu and %zu", i, k);
        }
    made_folder_remove(dir);
    made_folder_remove(other);
}

static void wrong_parameters_are_named(void **state)
{
    (void)state;
    char dir[64], longest[TR_RULE_PATTERN_BYTES + 2] = "";
    memset(longest, 'a', sizeof longest - 1);
    made_tokenizer_folder(dir, NULL);
    const struct {
        struct tr_rule_start start;
        const char *says;
    } rows[] = {
        {{.kind = TR_RULE_LENGTH}, "rule length: scale"},
        {{.kind = TR_RULE_LENGTH, .scale = (double)NAN}, "scale"},
        {{.kind = TR_RULE_LENGTH, .scale = 1, .target = -1}, "target"},
        {{.kind = TR_RULE_REGEX, .tokenizer = dir}, "the pattern is missing"},
        {{.kind = TR_RULE_REGEX, .pattern = "a"}, "tokenizer"},
        {{.kind = TR_RULE_REGEX, .pattern = "a(", .tokenizer = dir}, "'a(' at 2"},
        {{.kind = TR_RULE_REGEX, .pattern = "\\C", .tokenizer = dir}, "\\C"},
        {{.kind = TR_RULE_REGEX, .pattern = "\xff", .tokenizer = dir}, "UTF-8"},
        {{.kind = TR_RULE_REGEX, .pattern = longest, .tokenizer = dir}, "4097 bytes"},
        {{.kind = TR_RULE_REGEX, .pattern = "((a{999}){999}){999}", .tokenizer = dir},
         "too large"},
        {{.kind = TR_RULE_REGEX, .pattern = "a", .tokenizer = dir, .hit = 1e10}, "hit"},
        {{.kind = TR_RULE_REGEX, .pattern = "a", .tokenizer = "/nowhere"}, "/nowhere"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_rule *r = NULL;
        struct tr_err err = {0};
        assert_int_not_equal(tr_rule_open(&rows[i].start, &r, &err), TR_OK);
        assert_null(r);
        if (!strstr(err.text, rows[i].says)) fail_msg("row %zu: %s", i, err.text);
    }
    made_folder_remove(dir);
}

/* Invariants 2 and 3: searches that would take for ever end, as misses. The pattern; the text is `fill` over and
 * over, then `last`. */
static const struct {
    const char *pattern, *fill, *last;
} slow[] = {
    {"^(a+)+$", "a", "!"},
    {"(a|aa)+$", "a", "!"},
    {"[ab]*[ab]*[xy]", "a", "!"},
    {"(.*)(.*)(.*)(.*)[xy]", "a", "!"},
    {"^(?:(?:a|a)|(?:a|a))*$", "a", "!"},
    {"a*+b", "a", "!"},
    {"(?>a*)b", "a", "!"},
    {"(?:a*+c?)*b", "a", "!"},
    {"(?i)\\w*+\\d", "\xc3\xa4", "!"},
    {"(?:\\p{L}|\\p{N})*+!!", "\xc3\xa4", "!"},
    {"(?<=a)[[:alpha:]]*+[^a]{3}", "a", "!"},
    {"a{60000}b", "a", "!"},
    {"[^b]{50000,60000}b", "a", "!"},
    {"(?:a{1,30000}){2}b", "a", "!"},
    {"(a+)\\1b", "a", "!"},
    {"(?<x>a{200})\\k<x>{100}b", "a", "!"},
    {"(?P<x>a+)(?P=x)b", "a", "!"},
    {"(?=a*+b)c", "a", "!"},
    {"(?<!a)b|(a(?1)?c)", "a", "!"},
    {"\\X*+b", "a\xcc\x88", "!"},
    {"(?s).*?.*?.*?x", "ab ", "!"},
};

/* Of this process alone: a busy machine is no failure. */
static double cpu_seconds(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double search_seconds(const char *dir, size_t i, const int32_t *id, int64_t n)
{
    struct tr_rule_start start = {
        .kind = TR_RULE_REGEX, .hit = 1, .pattern = slow[i].pattern, .tokenizer = dir};
    struct tr_rule *r = open_rule(&start);
    float got = NAN;
    double begin = cpu_seconds();
    assert_int_equal(tr_rule_score(r, id, n, &got, NULL), TR_OK);
    double took = cpu_seconds() - begin;
    if (got != 0) fail_msg("%s: a hit", slow[i].pattern);
    tr_rule_close(r);
    return took;
}

static void invariant_3_no_search_hangs(void **state)
{
    (void)state;
    static const int64_t length[] = {4000, 200000, 1000000};
    static int32_t id[1000000];
    char dir[64];
    made_tokenizer_folder(dir, NULL);
    for (size_t i = 0; i < sizeof slow / sizeof *slow; i++)
        for (size_t k = 0; k < sizeof length / sizeof *length; k++) {
            int64_t n = length[k], each = (int64_t)strlen(slow[i].fill);
            for (int64_t t = 0; t < n; t++) id[t] = (unsigned char)slow[i].fill[t % each];
            id[n - 1] = (unsigned char)slow[i].last[0];
            double took = search_seconds(dir, i, id, n);
            if (took > 10) /* 1 s where nothing watches each step, as ASan does */
                fail_msg("%s on %lld tokens took %.1f s", slow[i].pattern, (long long)n,
                         took);
        }
    made_folder_remove(dir);
}

/* Invariant 3: what people write is far from the bound, in answers of many tokens. */
static void the_bound_is_far(void **state)
{
    (void)state;
    static const char *const pattern[] = {
        "(?i)thank you", "\\d+ (?:apples|pears)$", "^(?:[^.!?;]*[.!?;]\\s*)+thank you$",
        "(\\w+) is no \\1; thank you$", "(?s)<answer>.{1,9}</answer>|thank you$"};
    enum { LONG = 32000 };
    static int32_t id[LONG];
    static const char words[] = "This apple is no pear. 12 of them are 3 pears! ";
    static const char last[] = "A pear is no pear; thank you";
    char dir[64];
    made_tokenizer_folder(dir, NULL);
    for (int64_t t = 0; t < LONG; t++)
        id[t] = (unsigned char)words[t % (int64_t)(sizeof words - 1)];
    for (int64_t t = 0; t < (int64_t)sizeof last - 1; t++)
        id[LONG - (int64_t)sizeof last + 1 + t] = (unsigned char)last[t];
    for (size_t i = 0; i < sizeof pattern / sizeof *pattern; i++) {
        struct tr_rule_start start = {
            .kind = TR_RULE_REGEX, .hit = 1, .pattern = pattern[i], .tokenizer = dir};
        struct tr_rule *r = open_rule(&start);
        float got = NAN;
        assert_int_equal(tr_rule_score(r, id, LONG, &got, NULL), TR_OK);
        if ((got != 0) == (i == 1)) fail_msg("%s: %g", pattern[i], (double)got);
        tr_rule_close(r);
    }
    made_folder_remove(dir);
}

/* ---- as a role ---- */

static struct tr_message asked(const struct tr_record *record,
                               const struct tr_digest *digest)
{
    static const int32_t token[] = {'a', 'b', 'c', 'd', 'e', 'f', EOS};
    static const int64_t start[] = {0, 4, 7}, from[] = {1, 2};
    const struct tr_ask_judge ask = {
        .token = {token, 7}, .start = {start, 3}, .from = {from, 2}};
    struct tr_digests needs = tr_digests_one(digest);
    struct tr_unit u;
    assert_int_equal(tr_unit_make(record, &needs, &ask, &u, NULL), TR_OK);
    struct tr_message m = {.say = TR_SAY_UNIT, .content = u.content};
    m.as.unit = (struct tr_deliver){.id = u.id, .attempt = 1};
    return m;
}

static struct tr_message answered(struct tr_actor *a, struct tr_message *ask)
{
    struct tr_message out;
    assert_int_equal(tr_actor_take(a, ask, NULL), TR_OK);
    tr_message_fini(ask);
    assert_int_equal(tr_actor_work(a, &out), TR_OK);
    return out;
}

static void a_rule_is_a_reward(void **state)
{
    (void)state;
    const struct tr_rule_start rule = {.kind = TR_RULE_LENGTH, .scale = 1};
    const struct tr_digest strange = {{1}};
    struct tr_exec ex;
    struct tr_actor *actor = NULL;
    struct tr_answer_judge numbers;
    int64_t unknown = 0;
    assert_int_equal(tr_exec_init(&ex, NULL, 1, TR_MATH_OPENBLAS), 0);
    struct tr_role_start start = {.ex = &ex, .rule = &rule};
    assert_int_equal(tr_actor_open(TR_ROLE_REWARD, &start, &actor, NULL), TR_OK);
    struct tr_hello hello = tr_actor_hello(actor);
    struct tr_digest digest = digest_of(&rule);
    assert_int_equal(hello.role, TR_ROLE_REWARD);
    assert_int_equal(hello.holds.n, 1);
    assert_true(tr_digest_equal(&hello.holds.at[0], &digest));
    assert_string_equal(hello.math, ""); /* it may be with those of any math */

    struct tr_message ask = asked(&tr_ask_score_record, &digest);
    struct tr_message done = answered(actor, &ask);
    assert_int_equal(done.say, TR_SAY_DONE);
    assert_int_equal(tr_content_decode(&done.content, &tr_answer_score_record, &numbers,
                                       &unknown, NULL),
                     TR_OK);
    assert_int_equal(numbers.number.count, 2);
    assert_true(((const float *)numbers.number.at)[0] == -3);
    assert_true(((const float *)numbers.number.at)[1] == -1);
    tr_message_fini(&done);

    ask = asked(&tr_ask_score_record, &strange);
    done = answered(actor, &ask);
    assert_int_equal(done.say, TR_SAY_FAIL);
    assert_int_equal(done.as.fail.code, TR_STALE);
    ask = asked(&tr_ask_value_record, &digest);
    done = answered(actor, &ask);
    assert_int_equal(done.say, TR_SAY_FAIL);
    assert_int_equal(done.as.fail.code, TR_BADARG);
    tr_actor_close(actor);
    tr_exec_fini(&ex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(length_counts_tokens),
        cmocka_unit_test(regex_looks_at_text),
        cmocka_unit_test(unknown_ids_have_no_text),
        cmocka_unit_test(invariant_1_a_digest_names_every_parameter),
        cmocka_unit_test(wrong_parameters_are_named),
        cmocka_unit_test(invariant_3_no_search_hangs),
        cmocka_unit_test(the_bound_is_far),
        cmocka_unit_test(a_rule_is_a_reward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

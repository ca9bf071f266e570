/* The generator: an answer does not depend on its company, and its log-probs are those that the
 * evaluator gives to the same text, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/evaluator.h"
#include "actors/generator.h"
#include "tests/unit/tiny.h"

enum { ASKS = 9, LONGEST = 90, NEW = 40 };

struct asks {
    struct tr_generator_ask ask[ASKS];
    int32_t token[ASKS][LONGEST];
    int32_t stop[2];
};

/* Prompts of 1 to 90 tokens, each with settings of its own; ids below V. */
static void make_asks(struct asks *a, int64_t V)
{
    uint64_t seed = 3;
    a->stop[0] = 2;
    a->stop[1] = (int32_t)(V - 1);
    for (int i = 0; i < ASKS; i++) {
        int64_t n = i == 0 ? 1 : (i * 37) % LONGEST + 1;
        for (int64_t t = 0; t < n; t++)
            a->token[i][t] = (int32_t)(tiny_word(&seed) % (uint64_t)V);
        a->ask[i] = (struct tr_generator_ask){
            .sampling = {.temperature = i % 3 == 0 ? 0 : 0.5F + 0.3F * (float)i,
                         .top_k = i % 2 ? 20 : 0,
                         .top_p = i % 4 ? 0.9F : 1,
                         .repetition_penalty = i % 5 ? 1 : 1.3F},
            .seed = 42,
            .step = 1,
            .prompt = (uint32_t)i / 2, /* two samples a prompt number */
            .sample = (uint32_t)i % 2,
            .max_new = i == 4 ? 1 : NEW - i,
            .stop = a->stop,
            .stops = i % 2 ? 2 : 0,
            .token = a->token[i],
            .count = n,
        };
    }
}

struct answers {
    int32_t token[ASKS][NEW];
    float logprob[ASKS][NEW];
    int64_t count[ASKS];
    bool stopped[ASKS];
};

static void take_answer(struct tr_generator *g, int64_t ticket, int i,
                        struct answers *out)
{
    struct tr_generated s = tr_generator_see(g, ticket);
    assert_int_equal(s.state, TR_GENERATED_DONE);
    memcpy(out->token[i], s.token, (size_t)s.count * sizeof *s.token);
    memcpy(out->logprob[i], s.logprob, (size_t)s.count * sizeof *s.logprob);
    out->count[i] = s.count;
    out->stopped[i] = s.stopped;
    tr_generator_drop(g, ticket);
}

static void run_dry(struct tr_generator *g)
{
    enum tr_status st = TR_OK;
    while (st == TR_OK) st = tr_generator_step(g, NULL);
    assert_int_equal(st, TR_AGAIN);
}

/* Asks `together` at a time, in this order, through a cache of this size. */
static void generate(const struct tiny *m, const struct asks *a,
                     const struct tr_decode_size *size, int together, bool backwards,
                     struct answers *out)
{
    struct tr_generator *g = NULL;
    int64_t ticket[ASKS];
    memset(out, 0, sizeof *out);
    assert_int_equal(tr_generator_create(&m->ex, m->w, size, &g, NULL), TR_OK);
    for (int from = 0; from < ASKS; from += together) {
        int to = from + together < ASKS ? from + together : ASKS;
        for (int k = from; k < to; k++) {
            int i = backwards ? ASKS - 1 - k : k;
            assert_int_equal(tr_generator_add(g, &a->ask[i], &ticket[i], NULL), TR_OK);
            if (k % 3 == 1)
                (void)tr_generator_step(g, NULL); /* they come at different times */
        }
        run_dry(g);
        for (int k = from; k < to; k++) {
            int i = backwards ? ASKS - 1 - k : k;
            take_answer(g, ticket[i], i, out);
        }
    }
    tr_generator_destroy(g);
}

/* Invariant 1, for sizes that make them wait, go in pieces and share pages. */
static void an_answer_does_not_depend_on_its_company(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct tr_decode_size size;
        int together;
        bool backwards;
        const char *isa;
        int threads;
    } rows[] = {
        {"all at once", {9, 256, 40}, ASKS, false, NULL, 1},
        {"all at once, scalar", {9, 256, 40}, ASKS, false, "scalar", 1},
        {"two places", {2, 256, 8}, ASKS, false, NULL, 2},
        {"pieces of 5 tokens", {5, 5, 40}, ASKS, true, NULL, 1},
        {"few pages", {9, 64, 3}, ASKS, false, NULL, 1},
        {"three at a time, backwards", {3, 17, 9}, 3, true, NULL, 2},
    };
    for (int k = 0; k < tiny_arch_count; k++) {
        struct asks asks;
        struct answers want;
        struct tiny m;
        const struct tr_decode_size alone = {1, 128, 3};
        const struct tr_arch *a = &tiny_archs[k].arch;
        make_asks(&asks, a->V);
        assert_true(tiny_open(&m, a, 5, NULL, 1, TR_MATH_EXACT, k % 2));
        generate(&m, &asks, &alone, 1, false, &want);
        tiny_close(&m);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            struct answers got;
            assert_true(
                tiny_open(&m, a, 5, rows[i].isa, rows[i].threads, TR_MATH_EXACT, k % 2));
            generate(&m, &asks, &rows[i].size, rows[i].together, rows[i].backwards, &got);
            tiny_close(&m);
            if (memcmp(&got, &want, sizeof got) != 0)
                fail_msg("%s: %s", tiny_archs[k].name, rows[i].name);
        }
    }
}

/* DESIGN.md 3: what a rollout reports are the old log-probs, with no recomputation. */
static void log_probs_are_the_evaluators(void **state)
{
    (void)state;
    for (int k = 0; k < tiny_arch_count; k++) {
        struct asks asks;
        struct answers got;
        struct tiny m;
        struct tr_evaluator *e = NULL;
        const struct tr_decode_size size = {4, 32, 40};
        make_asks(&asks, tiny_archs[k].arch.V);
        assert_true(tiny_open(&m, &tiny_archs[k].arch, 5, NULL, 2, TR_MATH_EXACT, k % 2));
        generate(&m, &asks, &size, ASKS, false, &got);
        assert_int_equal(tr_evaluator_create(&m.ex, m.w, LONGEST + NEW, &e, NULL), TR_OK);
        for (int i = 0; i < ASKS; i++) {
            int32_t token[LONGEST + NEW];
            float logprob[NEW];
            int64_t n = asks.ask[i].count, start[] = {0, n + got.count[i]};
            memcpy(token, asks.token[i], (size_t)n * sizeof *token);
            memcpy(token + n, got.token[i], (size_t)got.count[i] * sizeof *token);
            struct tr_ask_judge ask = {{token, start[1]}, {start, 2}, {&n, 1}};
            assert_int_equal(tr_evaluator_judge(e, TR_UNIT_LOGPROB, &ask, logprob, NULL),
                             TR_OK);
            if (memcmp(logprob, got.logprob[i], (size_t)got.count[i] * sizeof *logprob) !=
                0)
                fail_msg("%s: answer %d", tiny_archs[k].name, i);
        }
        tr_evaluator_destroy(e);
        tiny_close(&m);
    }
}

/* Invariant 3, and the length that was asked for. */
static void answers_end_where_they_should(void **state)
{
    (void)state;
    struct asks asks;
    struct answers got;
    struct tiny m;
    const struct tr_decode_size size = {4, 32, 40};
    make_asks(&asks, tiny_archs[0].arch.V);
    assert_true(tiny_open(&m, &tiny_archs[0].arch, 5, NULL, 1, TR_MATH_EXACT, false));
    generate(&m, &asks, &size, ASKS, false, &got);
    int32_t third = got.token[0][2]; /* greedy: stop there, at its first place */
    int64_t first = 0;
    while (got.token[0][first] != third) first++;
    asks.ask[0].stop = &third;
    asks.ask[0].stops = 1;
    generate(&m, &asks, &size, ASKS, false, &got);
    assert_true(got.stopped[0]);
    assert_int_equal(got.count[0], first + 1);
    assert_int_equal(got.token[0][first], third);
    assert_int_equal(got.count[4], 1);
    for (int i = 0; i < ASKS; i++)
        assert_true(got.stopped[i] || got.count[i] == asks.ask[i].max_new);
    tiny_close(&m);
}

static void what_can_never_fit_is_refused(void **state)
{
    (void)state;
    struct asks asks;
    struct tiny m;
    struct tr_generator *g = NULL;
    struct tr_err err = {0};
    int64_t ticket = 0;
    const struct tr_decode_size size = {2, 32, 2}; /* 128 positions */
    const struct tr_arch *a = &tiny_archs[0].arch;
    make_asks(&asks, a->V);
    assert_true(tiny_open(&m, a, 5, NULL, 1, TR_MATH_EXACT, false));
    assert_int_equal(tr_generator_create(&m.ex, m.w, &size, &g, NULL), TR_OK);
    struct tr_generator_ask ask = asks.ask[0];
    ask.max_new = 128;
    assert_int_equal(tr_generator_add(g, &ask, &ticket, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "the cache holds 128"));
    ask.max_new = a->max_positions;
    assert_int_equal(tr_generator_add(g, &ask, &ticket, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "positions"));
    const int32_t beyond = (int32_t)a->V;
    ask.max_new = 1;
    ask.token = &beyond;
    assert_int_equal(tr_generator_add(g, &ask, &ticket, &err), TR_BADARG);
    assert_int_equal(tr_generator_step(g, NULL), TR_AGAIN);
    ask = asks.ask[1];
    assert_int_equal(tr_generator_add(g, &ask, &ticket, NULL), TR_OK);
    assert_int_equal(tr_generator_step(g, NULL), TR_OK);
    tr_generator_drop(g, ticket); /* while it runs: its place is free again */
    assert_int_equal(tr_generator_step(g, NULL), TR_AGAIN);
    assert_int_equal(tr_generator_add(g, &ask, &ticket, NULL), TR_OK);
    run_dry(g);
    tr_generator_destroy(g); /* with an answer that nobody took */
    tiny_close(&m);
}

/* evaluator.h, invariant 1: grouped otherwise, the same numbers. */
static void sequences_are_judged_alone(void **state)
{
    (void)state;
    static const enum tr_unit_kind kinds[] = {TR_UNIT_LOGPROB, TR_UNIT_SCORE,
                                              TR_UNIT_VALUE};
    static const int64_t start[] = {0, 2, 40, 63, 64 + 39, 64 + 41},
                         from[] = {1, 7, 22, 1, 1};
    int32_t token[64 + 41];
    uint64_t seed = 8;
    struct tiny m;
    const struct tr_arch *a = &tiny_archs[0].arch;
    for (size_t i = 0; i < sizeof token / sizeof *token; i++)
        token[i] = (int32_t)(tiny_word(&seed) % (uint64_t)a->V);
    struct tr_ask_judge ask = {{token, 64 + 41}, {start, 6}, {from, 5}};
    assert_true(tiny_open(&m, a, 5, NULL, 1, TR_MATH_EXACT, false));
    for (int k = 0; k < 3; k++) {
        float want[128], got[128];
        int64_t n = tr_judge_numbers(kinds[k], &ask);
        struct tr_evaluator *e = NULL;
        struct tr_err err = {0};
        assert_int_equal(tr_evaluator_create(&m.ex, m.w, 200, &e, NULL), TR_OK);
        assert_int_equal(tr_evaluator_judge(e, kinds[k], &ask, want, NULL), TR_OK);
        tr_evaluator_destroy(e);
        assert_int_equal(tr_evaluator_create(&m.ex, m.w, 41, &e, NULL), TR_OK);
        assert_int_equal(tr_evaluator_judge(e, kinds[k], &ask, got, NULL), TR_OK);
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
        tr_evaluator_destroy(e);
        assert_int_equal(tr_evaluator_create(&m.ex, m.w, 39, &e, NULL), TR_OK);
        assert_int_equal(tr_evaluator_judge(e, kinds[k], &ask, got, &err), TR_BADARG);
        assert_non_null(strstr(err.text, "40 tokens"));
        tr_evaluator_destroy(e);
    }
    tiny_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_does_not_depend_on_its_company),
        cmocka_unit_test(log_probs_are_the_evaluators),
        cmocka_unit_test(answers_end_where_they_should),
        cmocka_unit_test(what_can_never_fit_is_refused),
        cmocka_unit_test(sequences_are_judged_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

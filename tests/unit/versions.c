#include "tests/unit/versions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "tests/unit/tiny.h"

static const struct tr_arch *arch(void)
{
    return &tiny_archs[0].arch;
}

static void pack(struct versions *v, int i)
{
    struct tr_model drawn;
    struct tr_digest chunk[64];
    struct tr_model_start s = {.arch = arch(),
                               .seed = 100 + (uint64_t)i,
                               .lm_head = !v->value_head,
                               .value_head = v->value_head};
    assert_int_equal(tr_model_open(&v->ex, &s, &drawn, NULL), TR_OK);
    assert_true(tr_weights_chunks(drawn.weights) <= 64);
    assert_int_equal(tr_weights_chunk_digests(drawn.weights, &v->ex, chunk, NULL), TR_OK);
    assert_int_equal(tr_model_pack(drawn.weights, &v->ex, chunk, &drawn.digest, v->dir,
                                   &v->model[i], NULL),
                     TR_OK);
    tr_model_close(&drawn);
}

void versions_open(struct versions *v, bool value_head)
{
    *v = (struct versions){.value_head = value_head};
    assert_int_equal(tr_exec_init(&v->ex, NULL, 1, TR_MATH_EXACT), 0);
    scratch_make(v->dir);
    for (int i = 0; i < VERSIONS; i++) pack(v, i);
}

void versions_close(struct versions *v)
{
    for (int i = 0; i < VERSIONS; i++) tr_model_close(&v->model[i]);
    tr_exec_fini(&v->ex);
    scratch_remove(v->dir);
}

struct tr_role_start versions_start(const struct versions *v, int i)
{
    return (struct tr_role_start){.ex = &v->ex,
                                  .arch = arch(),
                                  .seed = 100 + (uint64_t)i,
                                  .max_tokens = 64,
                                  .max_sequences = 4,
                                  .pages = 8};
}

struct tr_load versions_load(const struct versions *v, int i)
{
    struct tr_load load = {.digest = v->model[i].digest};
    snprintf(load.file, sizeof load.file, "%s", tr_packed_name(v->model[i].packed));
    return load;
}

struct tr_unit versions_generate(const struct versions *v, int i, int n, int64_t max_new)
{
    static const int32_t token[] = {1, 2, 3, 4, 5}, stop = 0;
    static const int64_t start[] = {0, 2, 5};
    const int64_t prompt[] = {n, n + 1}, sample[] = {0, 1};
    struct tr_unit unit;
    struct tr_err err = {0};
    struct tr_digests needs = tr_digests_one(&v->model[i].digest);
    struct tr_ask_generate ask = {.seed = 9,
                                  .temperature = 1,
                                  .top_p = 1,
                                  .repetition_penalty = 1,
                                  .max_new_tokens = max_new,
                                  .token = {token, 5},
                                  .start = {start, 3},
                                  .prompt = {prompt, 2},
                                  .sample = {sample, 2},
                                  .stop = {&stop, 0}};
    if (tr_unit_make(&tr_ask_generate_record, &needs, &ask, &unit, &err) != TR_OK)
        fail_msg("%s", err.text);
    return unit;
}

struct tr_unit versions_judge(const struct versions *v, int i, int n)
{
    const int32_t token[] = {1, 2, 3, n};
    static const int64_t start[] = {0, 4}, from = 2;
    struct tr_unit unit;
    struct tr_digests needs = tr_digests_one(&v->model[i].digest);
    struct tr_ask_judge ask = {{token, 4}, {start, 2}, {&from, 1}};
    enum tr_unit_kind kind = v->value_head ? TR_UNIT_SCORE : TR_UNIT_LOGPROB;
    assert_int_equal(tr_unit_make(tr_ask_judge_record(kind), &needs, &ask, &unit, NULL),
                     TR_OK);
    return unit;
}

struct tr_message versions_deliver(struct tr_unit *unit)
{
    struct tr_message m = {.say = TR_SAY_UNIT, .content = unit->content};
    m.as.unit = (struct tr_deliver){.id = unit->id, .attempt = 1};
    *unit = (struct tr_unit){.kind = unit->kind};
    return m;
}

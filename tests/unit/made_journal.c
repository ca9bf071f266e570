#include "tests/unit/made_journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "proto/step3_learn.h"

void open_place(struct place *p)
{
    scratch_make(p->dir);
    scratch_path(p->path, p->dir, "run.db");
    scratch_path(p->log, p->dir, "run.db-wal");
}

void close_place(const struct place *p)
{
    scratch_remove(p->dir);
}

struct tr_digest made_digest(const char *text, int64_t i)
{
    char name[64];
    snprintf(name, sizeof name, "%s-%lld", text, (long long)i);
    return tr_digest_of(name, strlen(name));
}

struct tr_journal_meta made_meta(void)
{
    struct tr_journal_meta m = {.run = "made", .seed = UINT64_MAX - 4, .version = "0.1"};
    m.config = made_digest("config", 0);
    return m;
}

struct tr_journal *made_open(const char *path)
{
    struct tr_journal_meta m = made_meta();
    struct tr_journal *j = NULL;
    struct tr_err err = {0};
    if (tr_journal_open(path, NULL, &m, &j, &err) != TR_OK) fail_msg("%s", err.text);
    return j;
}

void made_generate(int64_t i, int64_t T, struct tr_unit *unit, struct tr_content *answer)
{
    struct tr_digest weights = made_digest("policy", 0);
    struct tr_digests needs = tr_digests_one(&weights);
    const int32_t token[] = {1, 2, 3}, stopped = 0;
    const int64_t start[] = {0, 3}, prompt = i, sample = 0, end[] = {0, T};
    struct tr_ask_generate ask = {.seed = 1,
                                  .temperature = 1,
                                  .top_p = 1,
                                  .repetition_penalty = 1,
                                  .max_new_tokens = T,
                                  .token = {token, 3},
                                  .start = {start, 2},
                                  .prompt = {&prompt, 1},
                                  .sample = {&sample, 1}};
    int32_t *id = calloc((size_t)T, sizeof *id);
    float *logp = calloc((size_t)T, sizeof *logp);
    assert_true(id && logp);
    for (int64_t k = 0; k < T; k++) {
        id[k] = (int32_t)((i * 31 + k * 7) % 1000);
        logp[k] = -(float)((i + k) % 97) / 16.0F;
    }
    struct tr_answer_generate a = {{id, T}, {end, 2}, {logp, T}, {&stopped, 1}};
    assert_int_equal(tr_unit_make(&tr_ask_generate_record, &needs, &ask, unit, NULL),
                     TR_OK);
    assert_int_equal(
        tr_content_encode(&tr_answer_generate_record, &needs, &a, answer, NULL), TR_OK);
    free(id);
    free(logp);
}

void made_score(int64_t i, struct tr_unit *unit, struct tr_content *answer)
{
    struct tr_digest weights = made_digest("reward", 0);
    struct tr_digests needs = tr_digests_one(&weights);
    const int32_t token[] = {(int32_t)i, 7};
    const int64_t start[] = {0, 2}, from = 1;
    const float score = (float)i / 8.0F;
    struct tr_ask_judge ask = {{token, 2}, {start, 2}, {&from, 1}};
    struct tr_answer_judge a = {{&score, 1}};
    assert_int_equal(tr_unit_make(&tr_ask_score_record, &needs, &ask, unit, NULL), TR_OK);
    assert_int_equal(tr_content_encode(&tr_answer_score_record, &needs, &a, answer, NULL),
                     TR_OK);
}

/* A learn unit with this lineage. */
static void learn_from(const struct tr_digest *lineage, int64_t i, struct tr_unit *unit,
                       struct tr_content *answer)
{
    struct tr_digests needs = tr_digests_one(lineage), used = {0};
    const int32_t token[] = {1, 2, (int32_t)i}, label[] = {2, 3, -100};
    const int64_t start[] = {0, 3};
    struct tr_ask_learn ask = {.divisor = 1,
                               .lr = 0.5,
                               .beta1 = 0.5,
                               .beta2 = 0.5,
                               .eps = 0.5,
                               .max_grad_norm = 1,
                               .start = {start, 2},
                               .token = {token, 3},
                               .label = {label, 3}};
    struct tr_answer_learn a = {.loss = (double)i, .finite = true, .tokens = 3};
    struct tr_err err = {0};
    if (tr_unit_make(&tr_ask_learn_record, &needs, &ask, unit, &err) != TR_OK)
        fail_msg("%s", err.text);
    if (tr_content_encode(&tr_answer_learn_record, &used, &a, answer, &err) != TR_OK)
        fail_msg("%s", err.text);
}

struct tr_digest made_lineage(enum tr_role role, int64_t i)
{
    struct tr_digest at = made_digest(tr_role_name(role), 0);
    for (int64_t k = 0; k < i; k++) {
        struct tr_unit unit;
        struct tr_content answer;
        learn_from(&at, k, &unit, &answer);
        at = unit.id;
        tr_unit_fini(&unit);
        tr_content_fini(&answer);
    }
    return at;
}

void made_learn(enum tr_role role, int64_t i, struct tr_unit *unit,
                struct tr_content *answer)
{
    struct tr_digest lineage = made_lineage(role, i);
    learn_from(&lineage, i, unit, answer);
}

enum tr_status made_keep(struct tr_journal *j, enum tr_role role, int64_t step,
                         const struct tr_unit *unit, const struct tr_content *answer)
{
    struct tr_memo memo = tr_journal_memo(j);
    struct tr_memo_entry e = {.unit = unit,
                              .role = role,
                              .slot = "",
                              .step = step,
                              .answer = answer,
                              .worker = "worker-0",
                              .queue_seconds = 0.25,
                              .compute_seconds = 0.5};
    return memo.keep(memo.self, &e, NULL);
}

bool same_content(const struct tr_content *a, const struct tr_content *b)
{
    bool same = a->n == b->n && a->bytes.size == b->bytes.size &&
                memcmp(a->bytes.at, b->bytes.at, a->bytes.size) == 0;
    for (int i = 0; i < a->n && same; i++)
        same = a->bulk[i].size == b->bulk[i].size &&
               (a->bulk[i].size == 0 ||
                memcmp(a->bulk[i].at, b->bulk[i].at, a->bulk[i].size) == 0);
    return same;
}

void made_step(struct made_step *s, int64_t t, int64_t n)
{
    assert_true(n <= MADE_ROLLOUTS);
    memset(s, 0, sizeof *s);
    snprintf(s->state, sizeof s->state, "{\"kl_coef\": %lld.5}", (long long)t);
    snprintf(s->metrics, sizeof s->metrics,
             "{\"loss\": %lld.25, \"ppo/loss/policy\": %lld.5}", (long long)t,
             (long long)t);
    s->step =
        (struct tr_journal_step){.step = t, .state = s->state, .metrics = s->metrics};
    s->step.policy.lineage = made_digest("policy-lineage", t);
    s->step.policy.weights = made_digest("policy-weights", t);
    s->step.critic.lineage = made_digest("critic-lineage", t);
    s->n = n;
    for (int k = 0; k < MADE_TOKENS; k++) {
        s->token[0][k] = (int32_t)(t + k);
        s->token[1][k] = (int32_t)(t + 2 * k);
        for (int i = 0; i < 3; i++) s->number[i][k] = -(float)(t + k + i) / 4.0F;
    }
    for (int64_t i = 0; i < n; i++) {
        struct tr_digest main_digest = made_digest("main", t);
        s->score[i][0] =
            (struct tr_journal_score){"main", (double)(t + i), 1, main_digest};
        s->score[i][1] = (struct tr_journal_score){"short", 0.5, 0.1, {{0}}};
        s->rollout[i] =
            (struct tr_journal_rollout){.sample = i,
                                        .prompt = 10 * t + i,
                                        .prompt_token = s->token[0],
                                        .prompt_tokens = 3 + i,
                                        .answer_token = s->token[1],
                                        .answer_tokens = MADE_TOKENS - i,
                                        .logprob = s->number[0],
                                        .ref_logprob = s->number[1],
                                        .value = s->number[2],
                                        .score = (double)(t + i) + 0.05,
                                        .kl = 0.125,
                                        .stopped = i % 2 == 0,
                                        .policy = made_digest("policy-weights", t - 1),
                                        .slot = s->score[i],
                                        .slots = 2};
    }
}

static void good(enum tr_status st, const struct tr_err *err)
{
    if (st != TR_OK) fail_msg("%s", err->text);
}

static void fill_learn(struct tr_journal *j, int64_t i)
{
    struct tr_unit unit;
    struct tr_content answer;
    made_learn(TR_ROLE_POLICY, i, &unit, &answer);
    assert_int_equal(made_keep(j, TR_ROLE_POLICY, i + 1, &unit, &answer), TR_OK);
    tr_unit_fini(&unit);
    tr_content_fini(&answer);
}

static void fill_snapshot(struct tr_journal *j, int64_t step)
{
    struct tr_journal_snapshot s = {.role = TR_ROLE_POLICY, .step = step};
    struct tr_err err = {0};
    s.lineage = made_lineage(TR_ROLE_POLICY, step);
    snprintf(s.folder, sizeof s.folder, "snapshot/policy-%d", (int)step);
    good(tr_journal_note_snapshot(j, &s, &err), &err);
}

static void fill_people(struct tr_journal *j)
{
    struct tr_err err = {0};
    struct tr_journal_worker w = {.instance = "rollout-1",
                                  .role = "rollout",
                                  .slot = "",
                                  .host = "here",
                                  .isa = "avx2",
                                  .state = "busy",
                                  .threads = 2,
                                  .answered = 24,
                                  .busy_seconds = 1.5,
                                  .joined = 1};
    good(tr_journal_worker(j, &w, &err), &err);
    good(
        tr_journal_event(j, "rollout", "rollout-1", "joined", "a \"quote\" \xff\n", &err),
        &err);
    good(tr_journal_event(j, "rollout", "rollout-1", "left", "", &err), &err);
    good(tr_journal_count(j, "units", 96, &err), &err);
    good(tr_journal_count(j, "differences", 0, &err), &err);
}

struct tr_journal *made_full(const char *path)
{
    struct tr_journal *j = made_open(path);
    struct tr_journal_swap swap = {.at = -1, .slots = "[{\"name\": \"main\"}]"};
    struct made_step s;
    struct tr_err err = {0};
    int64_t id = 0;
    good(tr_journal_ask_swap(j, &swap, &id, &err), &err);
    for (int64_t t = 1; t <= 6; t++) {
        fill_learn(j, t - 1);
        if (t == 3) good(tr_journal_apply_swap(j, id, t, &err), &err);
        made_step(&s, t, 4);
        good(tr_journal_commit(j, &s.step, s.rollout, s.n, &err), &err);
        if (t == 3)
            good(tr_journal_evaluate(j, t, "{\"a\": 1}", s.rollout, 1, &err), &err);
        if (t == 3) good(tr_journal_evaluate(j, t, s.metrics, s.rollout, 2, &err), &err);
        if (t % 2 == 0 && t < 6) fill_snapshot(j, t);
    }
    swap = (struct tr_journal_swap){.at = 9, .rollback = true, .slots = "[]"};
    good(tr_journal_ask_swap(j, &swap, &id, &err), &err);
    for (int64_t i = 0; i < 3; i++) {
        struct tr_unit unit;
        struct tr_content answer;
        made_generate(i, 8, &unit, &answer);
        assert_int_equal(
            made_keep(j, TR_ROLE_ROLLOUT, i == 0 ? TR_MEMO_ALWAYS : 7, &unit, &answer),
            TR_OK);
        tr_unit_fini(&unit);
        tr_content_fini(&answer);
    }
    fill_people(j);
    good(tr_journal_flush(j, &err), &err);
    return j;
}

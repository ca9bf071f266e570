/* Which log-probs are the old ones: whole PPO runs by the program's own core and plan, among workers whose
 * computing is a hash (tests/sim/stub.h), so that a rollout's log-probs and the policy's do not agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/coordinator/plan_ppo.h"
#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "proto/step3_learn.h"
#include "tests/sim/plain_memo.h"
#include "tests/sim/stub.h"

/* More samples than the core looks at when nobody can do them. */
enum { SAMPLES = 80, STEPS = 3, HELD_OUT = 2, ANSWER = 3, LINE = 1024, SEEN = 2048 };

struct seen { /* what was said of a sequence */
    int32_t token[ANSWER + 1];
    int64_t T;
    float number[ANSWER];
};

struct heard {
    int64_t peer;
    struct tr_message m; /* owns its content */
};

struct way {
    bool ask_policy;
    const char *reference; /* its weights are named so; the policy's first are "policy" */
    int falls;  /* the role that is started anew, or TR_ROLES: the coordinator is */
    int64_t at; /* with this judging unit of the learners; 0: never */
};

struct firm {
    struct way way;
    struct tr_core *core;
    struct tr_plan_ppo *plan;
    struct tr_planner planner;
    struct tr_ppo_owner owner;
    struct tr_plain_memo kept;
    struct tr_memo memo;
    struct tr_stub stub[TR_ROLES];
    int64_t life[TR_ROLES];
    struct heard *line; /* owns; what the core hears next is at first % LINE */
    int64_t first, last;
    int64_t asked[TR_ROLES][TR_UNIT_KINDS], judged;
    bool due;             /* of the fall */
    struct seen *said[2]; /* own; by rollouts, by the policy's weights */
    int64_t n[2], checked;
    int64_t mismatch[STEPS + 2], reported[STEPS + 2];
    int32_t token[SAMPLES];
    int64_t start[SAMPLES + 1];
};

static struct tr_digest named(const char *text)
{
    return tr_digest_of(text, strlen(text));
}

static void must(enum tr_status st, const struct tr_err *err)
{
    if (st != TR_OK) fail_msg("%s", err->text);
}

/* ---- what workers say ---- */

static void push(struct firm *f, enum tr_role role, const struct tr_message *m)
{
    assert_true(f->last - f->first < LINE);
    f->line[f->last++ % LINE] = (struct heard){role + TR_ROLES * f->life[role], *m};
}

static void say_offer(struct firm *f)
{
    const struct tr_digests *holds = &f->stub[TR_ROLE_POLICY].holds;
    struct tr_message m = {
        .say = TR_SAY_OFFER,
        .as.offer = {.digest = holds->at[holds->n - 1], .file = "file"}};
    push(f, TR_ROLE_POLICY, &m);
}

static void say_hello(struct firm *f, enum tr_role role)
{
    struct tr_message m = {.say = TR_SAY_HELLO,
                           .as.hello = {.role = (int)role,
                                        .incarnation = f->life[role],
                                        .holds = f->stub[role].holds,
                                        .credits = role == TR_ROLE_ROLLOUT ? SAMPLES : 2,
                                        .threads = 1,
                                        .host = "here"}};
    snprintf(m.as.hello.instance, sizeof m.as.hello.instance, "%s", tr_role_name(role));
    push(f, role, &m);
    if (role == TR_ROLE_POLICY) say_offer(f);
}

static void start_worker(struct firm *f, enum tr_role role)
{
    struct tr_digest first = named(role == TR_ROLE_ROLLOUT     ? "policy"
                                   : role == TR_ROLE_REFERENCE ? f->way.reference
                                                               : tr_role_name(role));
    tr_stub_fini(&f->stub[role]);
    f->stub[role] =
        (struct tr_stub){.role = role, .slot = "", .holds = tr_digests_one(&first)};
    say_hello(f, role);
}

/* ---- what is watched ---- */

static void see(struct firm *f, int who, const int32_t *token, int64_t T,
                const float *number, int64_t n)
{
    assert_true(f->n[who] < SEEN && T <= ANSWER + 1 && n <= ANSWER);
    struct seen *s = &f->said[who][f->n[who]++];
    *s = (struct seen){.T = T};
    memcpy(s->token, token, (size_t)T * sizeof *token);
    memcpy(s->number, number, (size_t)n * sizeof *number);
}

/* The latest word on it. */
static const struct seen *find(const struct firm *f, int who, const int32_t *token,
                               int64_t T)
{
    for (int64_t i = f->n[who] - 1; i >= 0; i--) {
        const struct seen *s = &f->said[who][i];
        if (s->T == T && memcmp(s->token, token, (size_t)T * sizeof *token) == 0)
            return s;
    }
    return NULL;
}

static void see_generated(struct firm *f, const struct tr_unit *unit,
                          const struct tr_content *answer)
{
    struct tr_ask_generate q;
    struct tr_answer_generate a;
    int32_t token[ANSWER + 1];
    int64_t unknown = 0;
    struct tr_err err = {0};
    must(tr_content_decode(&unit->content, &tr_ask_generate_record, &q, &unknown, &err),
         &err);
    must(tr_content_decode(answer, &tr_answer_generate_record, &a, &unknown, &err), &err);
    token[0] = *(const int32_t *)q.token.at; /* prompts are of one token */
    memcpy(token + 1, a.token.at, (size_t)a.token.count * sizeof *token);
    see(f, 0, token, a.token.count + 1, a.logprob.at, a.token.count);
}

static void see_judged(struct firm *f, const struct tr_unit *unit,
                       const struct tr_content *answer)
{
    struct tr_ask_judge q;
    struct tr_answer_judge a;
    int64_t unknown = 0;
    struct tr_err err = {0};
    must(tr_content_decode(&unit->content, &tr_ask_logprob_record, &q, &unknown, &err),
         &err);
    must(tr_content_decode(answer, &tr_answer_logprob_record, &a, &unknown, &err), &err);
    const struct seen *was = find(f, 0, q.token.at, q.token.count);
    see(f, 1, q.token.at, q.token.count, a.number.at, a.number.count);
    for (int64_t i = 0; i < a.number.count; i++)
        f->mismatch[tr_plan_ppo_step(f->plan) + 1] +=
            memcmp(&was->number[i], (const float *)a.number.at + i, sizeof(float)) != 0;
}

/* Invariant 2: what is learnt from. */
static void check_learn(struct firm *f, const struct tr_unit *unit)
{
    struct tr_ask_learn q;
    struct tr_err err = {0};
    int64_t unknown = 0;
    must(tr_content_decode(&unit->content, &tr_ask_learn_record, &q, &unknown, &err),
         &err);
    const int64_t *start = q.start.at;
    const int32_t *token = q.token.at;
    const float *old = q.old_logp.at;
    for (int64_t s = 0; s + 1 < q.start.count; s++) {
        int64_t T = start[s + 1] - start[s];
        const struct seen *want = find(f, f->way.ask_policy, token + start[s], T);
        assert_non_null(want);
        assert_memory_equal(old + start[s] + 1, want->number,
                            (size_t)(T - 1) * sizeof *old);
        f->checked += T - 1;
    }
}

static void watch(struct firm *f, enum tr_role role, const struct tr_unit *unit,
                  const struct tr_content *answer)
{
    bool learner = role == TR_ROLE_POLICY || role == TR_ROLE_CRITIC;
    bool old = unit->kind == TR_UNIT_LOGPROB && role == TR_ROLE_POLICY;
    f->asked[role][unit->kind]++;
    f->judged += learner && unit->kind != TR_UNIT_LEARN;
    f->due = f->due || (learner && unit->kind != TR_UNIT_LEARN && f->judged == f->way.at);
    if (f->way.at > 0 || strcmp(f->way.reference, "policy") == 0) return;
    if (unit->kind == TR_UNIT_GENERATE) see_generated(f, unit, answer);
    if (old) see_judged(f, unit, answer);
    if (unit->kind == TR_UNIT_LEARN && role == TR_ROLE_POLICY) check_learn(f, unit);
}

/* ---- what workers hear ---- */

static void work(struct firm *f, enum tr_role role, const struct tr_message *m)
{
    struct tr_content copy;
    struct tr_unit unit;
    struct tr_message answer;
    struct tr_err err = {0};
    must(tr_content_copy(m->content.bytes.at, m->content.bytes.size, m->content.bulk,
                         m->content.n, &copy, &err),
         &err);
    must(tr_unit_from(&m->as.unit.id, &copy, &unit, &err), &err);
    tr_stub_answer(&f->stub[role], &unit, &answer);
    assert_int_equal(answer.say, TR_SAY_DONE);
    watch(f, role, &unit, &answer.content);
    tr_unit_fini(&unit);
    push(f, role, &answer);
    if (role == TR_ROLE_POLICY && f->stub[role].holds.n == 2) say_offer(f);
}

static void load(struct firm *f, enum tr_role role, const struct tr_digest *digest)
{
    struct tr_message m = {.say = TR_SAY_LOADED,
                           .as.loaded = {.digest = *digest, .ok = true}};
    struct tr_digests *holds = &f->stub[role].holds;
    if (!tr_digests_hold(holds, digest)) holds->at[holds->n++] = *digest;
    push(f, role, &m);
}

static void act(struct firm *f)
{
    struct tr_core_action a;
    struct tr_err err = {0};
    must(tr_core_flush(f->core, &err), &err);
    while (tr_core_next(f->core, &a)) {
        enum tr_role role = (enum tr_role)(a.peer % TR_ROLES);
        if (!a.send || a.peer / TR_ROLES != f->life[role]) continue;
        if (a.message.say == TR_SAY_UNIT) work(f, role, &a.message);
        if (a.message.say == TR_SAY_LOAD) load(f, role, &a.message.as.load.digest);
        if (a.message.say == TR_SAY_DROP && role == TR_ROLE_ROLLOUT)
            tr_digests_remove(&f->stub[role].holds, &a.message.as.drop.digest);
    }
}

/* ---- the run ---- */

static enum tr_status started(void *self, const struct tr_ppo_report *r,
                              struct tr_err *err)
{
    struct firm *f = self;
    tr_plain_memo_commit(&f->kept, r->state);
    return f->memo.flush(f->memo.self, err);
}

static enum tr_status committed(void *self, struct tr_core *core,
                                const struct tr_ppo_report *r, struct tr_err *err)
{
    struct firm *f = self;
    (void)core;
    (void)err;
    f->reported[r->step] = r->policy.mismatch_bits;
    tr_plain_memo_commit(&f->kept, r->state);
    return TR_OK;
}

static enum tr_status evaluated(void *self, const struct tr_ppo_report *r,
                                struct tr_err *err)
{
    (void)self;
    (void)r;
    (void)err;
    return TR_OK;
}

static void start_coordinator(struct firm *f)
{
    const struct tr_update update = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    const struct tr_schedule lr = {.kind = TR_CONSTANT, .lr = 1e-3, .total = STEPS};
    const struct tr_core_settings set = {
        .run = "test", .join_seconds = 10, .silence_seconds = 20, .attempts = 4};
    struct tr_ppo_settings ppo = {
        .seed = 7,
        .vocab = 50 + SAMPLES,
        .samples = SAMPLES,
        .steps = STEPS,
        .ask_policy = f->way.ask_policy,
        .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1},
        .max_new_tokens = ANSWER,
        .rules = tr_ppo_defaults,
        .policy = update,
        .critic = update,
        .policy_lr = lr,
        .critic_lr = lr,
        .eval_every = 1,
        .rewards = {.n = 1, .slot = {{.weight = 1, .replicas = 1}}},
    };
    const struct tr_prompts prompts = {SAMPLES, f->token, f->start};
    const struct tr_prompts held_out = {HELD_OUT, f->token, f->start};
    const int64_t replicas[TR_ROLES] = {1, 1, 1, 1, 1};
    struct tr_err err = {0};
    f->owner = (struct tr_ppo_owner){
        .self = f, .started = started, .committed = committed, .evaluated = evaluated};
    must(tr_plan_ppo_create(&ppo, &prompts, &held_out, &f->owner, &f->plan, &err), &err);
    f->planner = tr_plan_ppo_planner(f->plan);
    must(tr_core_create(&set, &f->planner, &f->memo, 0, &f->core, &err), &err);
    must(tr_plan_ppo_open(f->plan, f->core, replicas, f->kept.state, &err), &err);
}

static void fall(struct firm *f)
{
    struct tr_err err = {0};
    enum tr_role role = (enum tr_role)f->way.falls;
    f->due = false;
    if (role < TR_ROLES) {
        must(tr_core_lose(f->core, role, "killed", 0, &err), &err);
        f->life[role]++;
        start_worker(f, role);
        return;
    }
    while (f->first < f->last) tr_message_fini(&f->line[f->first++ % LINE].m);
    tr_core_destroy(f->core);
    tr_plan_ppo_destroy(f->plan);
    tr_plain_memo_crash(&f->kept);
    start_coordinator(f);
    for (int r = 0; r < TR_ROLES; r++) say_hello(f, (enum tr_role)r);
}

static void open_firm(struct firm *f, struct way way)
{
    *f = (struct firm){.way = way, .line = calloc(LINE, sizeof *f->line)};
    for (int i = 0; i < 2; i++) f->said[i] = calloc(SEEN, sizeof *f->said[i]);
    assert_true(f->line && f->said[0] && f->said[1]);
    for (int i = 0; i < SAMPLES; i++) {
        f->token[i] = 50 + i;
        f->start[i + 1] = i + 1;
    }
    tr_plain_memo_init(&f->kept);
    f->memo = tr_plain_memo_memo(&f->kept);
    start_coordinator(f);
    for (int r = 0; r < TR_ROLES; r++) start_worker(f, (enum tr_role)r);
}

static void close_firm(struct firm *f)
{
    while (f->first < f->last) tr_message_fini(&f->line[f->first++ % LINE].m);
    for (int r = 0; r < TR_ROLES; r++) tr_stub_fini(&f->stub[r]);
    tr_core_destroy(f->core);
    tr_plan_ppo_destroy(f->plan);
    tr_plain_memo_fini(&f->kept);
    for (int i = 0; i < 2; i++) free(f->said[i]);
    free(f->line);
}

/* To the end. Answers are heard one by one, in the order in which they were asked for. */
static void live(struct firm *f)
{
    struct tr_err err = {0};
    while (!tr_core_over(f->core)) {
        if (f->first == f->last)
            fail_msg("it stands still after step %lld",
                     (long long)tr_plan_ppo_step(f->plan));
        struct heard h = f->line[f->first++ % LINE];
        bool alive = h.peer / TR_ROLES == f->life[h.peer % TR_ROLES];
        if (alive) must(tr_core_hear(f->core, h.peer, &h.m, 0, &err), &err);
        tr_message_fini(&h.m);
        act(f);
        if (f->due) fall(f);
    }
    assert_int_equal(tr_core_counts(f->core).differences, 0);
}

/* ---- tests ---- */

/* Invariant 2, and what exact maths ask: not one unit more. */
static void old_log_probs_are_the_rollouts(void **state)
{
    (void)state;
    struct firm f;
    open_firm(&f, (struct way){.ask_policy = false, .reference = "reference"});
    live(&f);
    assert_int_equal(f.asked[TR_ROLE_POLICY][TR_UNIT_LOGPROB], 0);
    assert_int_equal(tr_core_counts(f.core).units,
                     STEPS * SAMPLES * 4 + (STEPS + 1) * HELD_OUT * 3 +
                         f.asked[TR_ROLE_POLICY][TR_UNIT_LEARN] * 2);
    assert_true(f.checked > STEPS * SAMPLES);
    close_firm(&f);
}

/* Invariant 2 with `ask_policy`. Differences are between what was generated and what was computed again. */
static void old_log_probs_are_the_policys(void **state)
{
    (void)state;
    struct firm f;
    open_firm(&f, (struct way){.ask_policy = true, .reference = "reference"});
    live(&f);
    assert_int_equal(f.asked[TR_ROLE_POLICY][TR_UNIT_LOGPROB], STEPS * SAMPLES);
    assert_true(f.checked > STEPS * SAMPLES);
    for (int t = 1; t <= STEPS; t++) {
        assert_true(f.mismatch[t] > 0);
        assert_int_equal(f.reported[t], f.mismatch[t]);
    }
    close_firm(&f);
}

/* While the policy is the reference still, one unit asks for both. */
static void one_unit_asks_for_equal_weights(void **state)
{
    (void)state;
    struct firm f;
    open_firm(&f, (struct way){.ask_policy = true, .reference = "policy"});
    live(&f);
    assert_int_equal(f.asked[TR_ROLE_POLICY][TR_UNIT_LOGPROB], (STEPS - 1) * SAMPLES);
    close_firm(&f);
}

/* Whoever falls in the midst of judging step 2, the end is the same. A learner that has to be taught again is
 * taught before it judges, however much waits for it; a coordinator asks nothing that was kept. */
static void whoever_falls_the_end_is_the_same(void **state)
{
    (void)state;
    static const struct {
        int role;
        bool ask_policy;
    } row[] = {{TR_ROLE_POLICY, true},
               {TR_ROLE_CRITIC, true},
               {TR_ROLE_CRITIC, false},
               {TR_ROLES, true}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct firm calm, f;
        int64_t at = SAMPLES * (row[i].ask_policy ? 2 : 1) + 7;
        open_firm(&calm, (struct way){.ask_policy = row[i].ask_policy,
                                      .reference = "reference"});
        live(&calm);
        open_firm(&f, (struct way){row[i].ask_policy, "reference", row[i].role, at});
        live(&f);
        assert_string_equal(f.kept.state, calm.kept.state);
        assert_memory_equal(f.reported, calm.reported, sizeof f.reported);
        int64_t again = f.judged - calm.judged;
        if (again < 0 || again > 4)
            fail_msg("row %zu: %lld asked again", i, (long long)again);
        close_firm(&calm);
        close_firm(&f);
    }
}

/* A journal that somebody edited: the line says where. */
static void a_broken_state_names_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *found, *put, *want;
    } rows[] = {
        {"\"weight\":1.0", "\"weight\":\"1\"", "rewards 1: weight"},
        {"\"replicas\":1", "\"replicas\":-1", "rewards 1: replicas"},
        {"\"replicas\":1", "\"r\":1", "rewards 1: replicas"},
        {"\"name\":\"\"", "\"name\":7", "rewards 1: name"},
        {"\"name\":\"\"",
         "\"name\":\"\u00e40123456789012345678901234567890123456789012345678901234567890123456789\"",
         "rewards 1: name: expected at most"},
        {"\"digest\":\"", "\"digest\":\"x", "rewards 1: digest"},
        {"\"critic\":\"", "\"critic\":\"x", "step: critic: digest"},
        {"\"rewards\":[", "\"rewards\":[],\"x\":[", "rewards: expected 1 to"},
    };
    const int64_t replicas[TR_ROLES] = {1, 1, 1, 1, 1};
    struct firm f;
    open_firm(&f, (struct way){.reference = "reference"});
    live(&f);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[8192];
        struct tr_err err = {0};
        const char *at = strstr(f.kept.state, rows[i].found);
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - f.kept.state), f.kept.state,
                 rows[i].put, at + strlen(rows[i].found));
        enum tr_status st = tr_plan_ppo_open(f.plan, f.core, replicas, text, &err);
        if (st != TR_BADARG || !strstr(err.text, rows[i].want))
            fail_msg("row %zu: %s", i, err.text);
    }
    close_firm(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_log_probs_are_the_rollouts),
        cmocka_unit_test(old_log_probs_are_the_policys),
        cmocka_unit_test(one_unit_asks_for_equal_weights),
        cmocka_unit_test(whoever_falls_the_end_is_the_same),
        cmocka_unit_test(a_broken_state_names_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "actors/coordinator/plan_ppo.h"

#include <stdlib.h>

#include "kernels/philox.h"
#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "proto/step3_learn.h"

/* A unit's tag: what it is, and of which sample or optimiser step. */
enum part {
    PART_GENERATE,
    PART_REF,
    PART_SCORE,
    PART_VALUE,
    PART_POLICY,
    PART_CRITIC,
    PARTS
};
enum { SEEN_ALL = 1 << PART_REF | 1 << PART_SCORE | 1 << PART_VALUE };

struct tr_plan_ppo {
    struct tr_ppo_settings set;
    struct tr_prompts prompts;
    struct tr_ppo_sample *sample; /* owns; [set.samples] */
    struct tr_ppo_state state;
    int64_t post[TR_ROLES];
    int64_t judged;    /* samples about which all has been said */
    int64_t steps;     /* optimiser steps of each learner */
    int64_t learnt[2]; /* of policy, of critic */
    struct tr_ppo_outcome outcome;
};

static int64_t tag_of(enum part part, int64_t i)
{
    return i * PARTS + part;
}

enum tr_status tr_plan_ppo_create(const struct tr_ppo_settings *s,
                                  const struct tr_prompts *prompts,
                                  struct tr_plan_ppo **out, struct tr_err *err)
{
    *out = NULL;
    if (prompts->count < s->samples)
        return tr_err_set(err, TR_BADARG, "%lld prompts, and a step takes %lld",
                          (long long)prompts->count, (long long)s->samples);
    struct tr_plan_ppo *p = calloc(1, sizeof *p);
    if (p) p->sample = calloc((size_t)s->samples, sizeof *p->sample);
    if (!p || !p->sample) {
        free(p);
        return tr_err_set(err, TR_NOMEM, "a step of %lld samples", (long long)s->samples);
    }
    p->set = *s;
    p->prompts = *prompts;
    p->steps = tr_ppo_passes(&s->rules, s->samples);
    p->state = tr_ppo_state_start(&s->rules);
    *out = p;
    return TR_OK;
}

void tr_plan_ppo_destroy(struct tr_plan_ppo *p)
{
    if (!p) return;
    for (int64_t i = 0; i < p->set.samples; i++) tr_ppo_sample_fini(&p->sample[i]);
    free(p->sample);
    free(p);
}

/* ---- generate ---- */

static enum tr_status ask_generate(struct tr_plan_ppo *p, struct tr_core *core, int64_t i,
                                   struct tr_err *err)
{
    int64_t prompt = p->sample[i].prompt, sample = 0;
    const int64_t *at = p->prompts.start + prompt;
    int64_t start[2] = {0, at[1] - at[0]};
    struct tr_unit unit;
    struct tr_digest policy = tr_core_digest(core, p->post[TR_ROLE_POLICY]);
    struct tr_digests needs = tr_digests_one(&policy);
    struct tr_ask_generate ask = {
        .seed = (int64_t)p->set.seed,
        .temperature = (double)p->set.sampling.temperature,
        .top_k = p->set.sampling.top_k,
        .top_p = (double)p->set.sampling.top_p,
        .repetition_penalty = (double)p->set.sampling.repetition_penalty,
        .max_new_tokens = p->set.max_new_tokens,
        .token = {p->prompts.token + at[0], start[1]},
        .start = {start, 2},
        .prompt = {&prompt, 1},
        .sample = {&sample, 1},
        .stop = {p->set.stop, p->set.stops},
    };
    enum tr_status st = tr_unit_make(&tr_ask_generate_record, &needs, &ask, &unit, err);
    if (st != TR_OK) return st;
    return tr_core_add(core, p->post[TR_ROLE_ROLLOUT], &unit, tag_of(PART_GENERATE, i), 0,
                       err);
}

static enum tr_status start(void *self, struct tr_core *core, struct tr_err *err)
{
    struct tr_plan_ppo *p = self;
    enum tr_status st = TR_OK;
    for (int r = 0; r < TR_ROLES; r++)
        p->post[r] = tr_core_post(core, (enum tr_role)r, "");
    int64_t *order = malloc((size_t)p->prompts.count * sizeof *order);
    if (!order) return tr_err_set(err, TR_NOMEM, "an order of prompts");
    tr_philox_permutation(tr_philox_key(p->set.seed, TR_FOR_PROMPTS), 0, 0,
                          p->prompts.count, order);
    for (int64_t i = 0; i < p->set.samples && st == TR_OK; i++) {
        p->sample[i].prompt = order[i];
        st = ask_generate(p, core, i, err);
    }
    free(order);
    return st;
}

/* ---- judge ---- */

static enum tr_status ask_judge(struct tr_plan_ppo *p, struct tr_core *core,
                                enum part part, int64_t i, struct tr_err *err)
{
    static const enum tr_role role[] = {[PART_REF] = TR_ROLE_REFERENCE,
                                        [PART_SCORE] = TR_ROLE_REWARD,
                                        [PART_VALUE] = TR_ROLE_CRITIC};
    static const enum tr_unit_kind kind[] = {[PART_REF] = TR_UNIT_LOGPROB,
                                             [PART_SCORE] = TR_UNIT_SCORE,
                                             [PART_VALUE] = TR_UNIT_VALUE};
    const struct tr_ppo_sample *s = &p->sample[i];
    struct tr_unit unit;
    struct tr_digest digest = tr_core_digest(core, p->post[role[part]]);
    struct tr_digests needs = tr_digests_one(&digest);
    int64_t offsets[2] = {0, s->T};
    struct tr_ask_judge ask = {
        .token = {s->token, s->T}, .start = {offsets, 2}, .from = {&s->from, 1}};
    enum tr_status st =
        tr_unit_make(tr_ask_judge_record(kind[part]), &needs, &ask, &unit, err);
    return st == TR_OK
               ? tr_core_add(core, p->post[role[part]], &unit, tag_of(part, i), 0, err)
               : st;
}

static enum tr_status take_generated(struct tr_plan_ppo *p, struct tr_core *core,
                                     int64_t i, const struct tr_content *content,
                                     struct tr_err *err)
{
    struct tr_answer_generate a;
    int64_t unknown = 0;
    const int64_t *at = p->prompts.start + p->sample[i].prompt;
    enum tr_status st =
        tr_content_decode(content, &tr_answer_generate_record, &a, &unknown, err);
    if (st == TR_OK)
        st = tr_answer_generate_check(&a, 1, p->set.max_new_tokens, p->set.vocab, err);
    if (st == TR_OK)
        st = tr_ppo_sample_fill(&p->sample[i], p->prompts.token + at[0], at[1] - at[0],
                                a.token.at, a.logprob.at, a.token.count, err);
    if (st == TR_OK) p->sample[i].stopped = ((const int32_t *)a.stopped.at)[0] != 0;
    for (enum part part = PART_REF; part <= PART_VALUE && st == TR_OK; part++)
        st = ask_judge(p, core, part, i, err);
    return st;
}

/* ---- learn ---- */

/* Adds the next unit of a learner's chain; *lineage goes from what it needs to its own id. */
static enum tr_status ask_learn(struct tr_plan_ppo *p, struct tr_core *core,
                                enum part part, int64_t step,
                                const struct tr_ppo_arrays *arrays,
                                struct tr_digest *lineage, struct tr_err *err)
{
    enum tr_objective objective = part == PART_POLICY ? TR_LEARN_POLICY : TR_LEARN_VALUE;
    enum tr_role role = part == PART_POLICY ? TR_ROLE_POLICY : TR_ROLE_CRITIC;
    struct tr_learn_task task =
        tr_ppo_task(&p->set.rules, objective, arrays,
                    part == PART_POLICY ? &p->set.policy : &p->set.critic);
    struct tr_ask_learn ask = tr_ask_learn_from(&task, step + 1 == p->steps);
    struct tr_digests needs = tr_digests_one(lineage);
    struct tr_unit unit;
    enum tr_status st = tr_unit_make(&tr_ask_learn_record, &needs, &ask, &unit, err);
    if (st != TR_OK) return st;
    *lineage = unit.id;
    return tr_core_add(core, p->post[role], &unit, tag_of(part, step), 0, err);
}

/* One pass over the samples in mini-batches of an order of its own. */
static enum tr_status ask_epoch(struct tr_plan_ppo *p, struct tr_core *core,
                                int64_t epoch, int64_t *order,
                                struct tr_digest lineage[2], struct tr_err *err)
{
    int64_t n = p->set.samples, size = p->set.rules.minibatch,
            step = epoch * (p->steps / p->set.rules.epochs);
    enum tr_status st = TR_OK;
    tr_ppo_order(p->set.seed, 0, epoch, n, order);
    for (int64_t from = 0; from < n && st == TR_OK; from += size, step++) {
        struct tr_ppo_arrays arrays;
        int64_t count = n - from < size ? n - from : size;
        st = tr_ppo_arrays_make(&p->set.rules, p->sample, order + from, count, &arrays,
                                err);
        if (st == TR_OK)
            st = ask_learn(p, core, PART_POLICY, step, &arrays, &lineage[0], err);
        if (st == TR_OK)
            st = ask_learn(p, core, PART_CRITIC, step, &arrays, &lineage[1], err);
        tr_ppo_arrays_fini(&arrays);
    }
    return st;
}

/* All samples are judged: both learners get all their optimiser steps, each needing the last. */
static enum tr_status ask_learning(struct tr_plan_ppo *p, struct tr_core *core,
                                   struct tr_err *err)
{
    struct tr_digest lineage[2] = {tr_core_lineage(core, p->post[TR_ROLE_POLICY]),
                                   tr_core_lineage(core, p->post[TR_ROLE_CRITIC])};
    int64_t *order = malloc((size_t)p->set.samples * sizeof *order);
    if (!order) return tr_err_set(err, TR_NOMEM, "an order of samples");
    enum tr_status st = tr_ppo_prepare(&p->set.rules, &p->state, p->sample,
                                       p->set.samples, &p->outcome.metrics, err);
    for (int64_t e = 0; e < p->set.rules.epochs && st == TR_OK; e++)
        st = ask_epoch(p, core, e, order, lineage, err);
    free(order);
    return st;
}

static enum tr_status take_judged(struct tr_plan_ppo *p, struct tr_core *core,
                                  enum part part, int64_t i,
                                  const struct tr_content *content, struct tr_err *err)
{
    static const enum tr_unit_kind kind[] = {[PART_REF] = TR_UNIT_LOGPROB,
                                             [PART_SCORE] = TR_UNIT_SCORE,
                                             [PART_VALUE] = TR_UNIT_VALUE};
    struct tr_ppo_sample *s = &p->sample[i];
    struct tr_answer_judge a;
    int64_t unknown = 0, wanted = part == PART_SCORE ? 1 : s->T - s->from;
    enum tr_status st =
        tr_content_decode(content, tr_answer_judge_record(kind[part]), &a, &unknown, err);
    if (st == TR_OK && a.number.count != wanted)
        st = tr_err_set(err, TR_BADMSG, "%s: %lld numbers for %lld",
                        tr_unit_kind_name(kind[part]), (long long)a.number.count,
                        (long long)wanted);
    if (st != TR_OK) return st;
    const float *number = a.number.at;
    if (part == PART_SCORE) s->score = (double)number[0];
    for (int64_t t = 0; t < wanted && part != PART_SCORE; t++)
        (part == PART_REF ? s->ref : s->value)[t] = number[t];
    s->seen |= 1 << part;
    if (s->seen != SEEN_ALL || ++p->judged < p->set.samples) return TR_OK;
    return ask_learning(p, core, err);
}

static enum tr_status take_learnt(struct tr_plan_ppo *p, enum part part, int64_t step,
                                  const struct tr_content *content, struct tr_err *err)
{
    struct tr_answer_learn a;
    int64_t unknown = 0;
    enum tr_status st =
        tr_content_decode(content, &tr_answer_learn_record, &a, &unknown, err);
    bool last = step + 1 == p->steps;
    if (st == TR_OK && last && a.weights.n != 1)
        st = tr_err_set(err, TR_BADMSG, "learn: the digest of the weights is missing");
    if (st != TR_OK) return st;
    struct tr_learn_result result = tr_answer_learn_result(&a);
    if (part == PART_POLICY && step == 0) p->outcome.first = result;
    if (last)
        *(part == PART_POLICY ? &p->outcome.last : &p->outcome.critic_last) = result;
    if (last)
        *(part == PART_POLICY ? &p->outcome.policy : &p->outcome.critic) =
            a.weights.at[0];
    p->learnt[part == PART_CRITIC]++;
    return TR_OK;
}

/* ---- as a planner ---- */

static enum tr_status answer(void *self, struct tr_core *core, int64_t tag,
                             const struct tr_content *content, struct tr_err *err)
{
    enum part part = (enum part)(tag % PARTS);
    int64_t i = tag / PARTS;
    if (part == PART_GENERATE) return take_generated(self, core, i, content, err);
    if (part == PART_POLICY || part == PART_CRITIC)
        return take_learnt(self, part, i, content, err);
    return take_judged(self, core, part, i, content, err);
}

static bool finished(const void *self)
{
    const struct tr_plan_ppo *p = self;
    return p->learnt[0] == p->steps && p->learnt[1] == p->steps;
}

struct tr_planner tr_plan_ppo_planner(struct tr_plan_ppo *p)
{
    return (struct tr_planner){
        .self = p, .start = start, .answer = answer, .finished = finished};
}

enum tr_status tr_plan_ppo_outcome(const struct tr_plan_ppo *p,
                                   struct tr_ppo_outcome *out, struct tr_err *err)
{
    struct tr_hash *h = NULL;
    enum tr_status st = tr_hash_create(&h, err);
    if (st != TR_OK) return st;
    *out = p->outcome;
    tr_hash_put(h, out->policy.byte, sizeof out->policy.byte);
    tr_hash_put(h, out->critic.byte, sizeof out->critic.byte);
    out->run = tr_hash_end(h);
    tr_hash_destroy(h);
    return TR_OK;
}

/* ppo_units.c - what a PPO step asks of each role, and what the answers become. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "actors/coordinator/plan_ppo_parts.h"
#include "proto/step1_generate.h"
#include "proto/step2_judge.h"

/* Evaluations draw from streams of their own. */
static const int64_t eval_sample = 1 << 30;

/* ---- tags ---- */

int64_t tr_ppo_tag(struct tag t)
{
    return ((t.i * PLACES + t.place) * TR_REWARDS_MAX + t.slot) * 8 + t.part;
}

struct tag tr_ppo_untag(int64_t tag)
{
    struct tag t = {.part = (enum part)(tag % 8)};
    tag /= 8;
    t.slot = tag % TR_REWARDS_MAX;
    tag /= TR_REWARDS_MAX;
    t.place = tag % PLACES;
    t.i = tag / PLACES;
    return t;
}

/* How long an answer is of use: an evaluation is over before the next step is committed. */
static int64_t memo_step(const struct making *m)
{
    return m->number + m->eval;
}

/* ---- generate ---- */

enum tr_status tr_ppo_ask_generate(struct tr_plan_ppo *p, struct tr_core *core,
                                   int64_t place, int64_t i, struct tr_err *err)
{
    const struct making *m = &p->making[place];
    const struct tr_prompts *from = m->eval ? &p->eval : &p->prompts;
    int64_t prompt = m->sample[i].prompt, sample = m->eval ? eval_sample : 0;
    const int64_t *at = from->start + prompt;
    int64_t start[2] = {0, at[1] - at[0]};
    struct tr_unit unit;
    struct tr_digests needs = tr_digests_one(&m->version);
    struct tr_ask_generate ask = {
        .seed = (int64_t)p->set.seed,
        .step = m->number - !m->eval, /* addresses count from 0 */
        .temperature = (double)p->set.sampling.temperature,
        .top_k = p->set.sampling.top_k,
        .top_p = (double)p->set.sampling.top_p,
        .repetition_penalty = (double)p->set.sampling.repetition_penalty,
        .max_new_tokens = p->set.max_new_tokens,
        .token = {from->token + at[0], start[1]},
        .start = {start, 2},
        .prompt = {&prompt, 1},
        .sample = {&sample, 1},
        .stop = {p->set.stop, p->set.stops},
    };
    enum tr_status st = tr_unit_make(&tr_ask_generate_record, &needs, &ask, &unit, err);
    if (st != TR_OK) return st;
    return tr_core_add(core, p->post[TR_ROLE_ROLLOUT], &unit,
                       tr_ppo_tag((struct tag){PART_GENERATE, place, i, 0}), memo_step(m),
                       err);
}

/* ---- judge ---- */

struct question { /* one judging unit */
    enum tr_unit_kind kind;
    int64_t post;
    struct tr_digests needs;
};

static enum tr_status ask_judge(struct tr_core *core, const struct making *m,
                                const struct question *q, struct tag t,
                                struct tr_err *err)
{
    const struct tr_ppo_sample *s = &m->sample[t.i];
    struct tr_unit unit;
    int64_t offsets[2] = {0, s->T};
    struct tr_ask_judge ask = {
        .token = {s->token, s->T}, .start = {offsets, 2}, .from = {&s->from, 1}};
    enum tr_status st =
        tr_unit_make(tr_ask_judge_record(q->kind), &q->needs, &ask, &unit, err);
    if (st != TR_OK) return st;
    return tr_core_add(core, q->post, &unit, tr_ppo_tag(t), memo_step(m), err);
}

/* With `full` the reference says how far the whole distributions are apart, and needs the policy's
 * weights too. */
static enum tr_status ask_reference(struct tr_plan_ppo *p, struct tr_core *core,
                                    int64_t place, int64_t i, struct tr_err *err)
{
    const struct making *m = &p->making[place];
    struct tr_digest reference = tr_core_digest(core, p->post[TR_ROLE_REFERENCE]);
    struct question q = {.kind = TR_UNIT_LOGPROB,
                         .post = p->post[TR_ROLE_REFERENCE],
                         .needs = tr_digests_one(&reference)};
    if (p->set.rules.kl == TR_KL_FULL) {
        q.kind = TR_UNIT_DIVERGENCE;
        q.needs = tr_digests_one(&m->version);
        q.needs.at[q.needs.n++] = reference;
    }
    return ask_judge(core, m, &q, (struct tag){PART_REF, place, i, 0}, err);
}

static enum tr_status ask_frozen(struct tr_plan_ppo *p, struct tr_core *core,
                                 int64_t place, int64_t i, struct tr_err *err)
{
    struct making *m = &p->making[place];
    enum tr_status st = ask_reference(p, core, place, i, err);
    for (int64_t slot = 0; slot < m->set.n && st == TR_OK; slot++) {
        struct question q = {.kind = TR_UNIT_SCORE,
                             .post = m->slot_post[slot],
                             .needs = tr_digests_one(&m->set.slot[slot].digest)};
        st = ask_judge(core, m, &q, (struct tag){PART_SCORE, place, i, slot}, err);
    }
    return st;
}

/* The policy holds the weights that answered until it learns from the answers. */
static enum tr_status ask_old(struct tr_plan_ppo *p, struct tr_core *core, int64_t place,
                              int64_t i, struct tr_err *err)
{
    const struct making *m = &p->making[place];
    struct question q = {.kind = TR_UNIT_LOGPROB,
                         .post = p->post[TR_ROLE_POLICY],
                         .needs = tr_digests_one(&m->version)};
    if (!m->ask_policy) return TR_OK;
    return ask_judge(core, m, &q, (struct tag){PART_OLD, place, i, 0}, err);
}

/* Values are those of the critic that learns from them: asked once the step before is committed. */
static enum tr_status ask_value(struct tr_plan_ppo *p, struct tr_core *core,
                                int64_t place, int64_t i, struct tr_err *err)
{
    struct making *m = &p->making[place];
    if (m->eval || m->asked_value[i] || m->number != p->committed + 1) return TR_OK;
    struct question q = {.kind = TR_UNIT_VALUE,
                         .post = p->post[TR_ROLE_CRITIC],
                         .needs = tr_digests_one(&p->critic)};
    m->asked_value[i] = true;
    return ask_judge(core, m, &q, (struct tag){PART_VALUE, place, i, 0}, err);
}

enum tr_status tr_ppo_ask_values(struct tr_plan_ppo *p, struct tr_core *core,
                                 int64_t place, struct tr_err *err)
{
    struct making *m = &p->making[place];
    enum tr_status st = TR_OK;
    if (m->asked_values) return TR_OK; /* what is generated from then on asks by itself */
    m->asked_values = true;
    for (int64_t i = 0; i < m->n && st == TR_OK; i++)
        if (m->sample[i].token) st = ask_value(p, core, place, i, err);
    return st;
}

enum tr_status tr_ppo_take_generated(struct tr_plan_ppo *p, struct tr_core *core,
                                     struct tag t, const struct tr_content *content,
                                     struct tr_err *err)
{
    struct making *m = &p->making[t.place];
    const struct tr_prompts *from = m->eval ? &p->eval : &p->prompts;
    struct tr_ppo_sample *s = &m->sample[t.i];
    struct tr_answer_generate a;
    int64_t unknown = 0;
    const int64_t *at = from->start + s->prompt;
    enum tr_status st =
        tr_content_decode(content, &tr_answer_generate_record, &a, &unknown, err);
    if (st == TR_OK)
        st = tr_answer_generate_check(&a, 1, p->set.max_new_tokens, p->set.vocab, err);
    if (st == TR_OK && a.token.count < 1)
        st = tr_err_set(err, TR_BADMSG, "generate: an answer of no tokens");
    if (st == TR_OK)
        st = tr_ppo_sample_fill(s, from->token + at[0], at[1] - at[0], a.token.at,
                                a.logprob.at, a.token.count, err);
    if (st != TR_OK) return st;
    s->stopped = *(const int32_t *)a.stopped.at != 0;
    st = ask_frozen(p, core, t.place, t.i, err);
    if (st == TR_OK) st = ask_old(p, core, t.place, t.i, err);
    return st == TR_OK ? ask_value(p, core, t.place, t.i, err) : st;
}

/* ---- what was judged ---- */

static void weigh(struct making *m, int64_t i)
{
    struct tr_ppo_sample *s = &m->sample[i];
    s->score = 0;
    for (int64_t k = 0; k < m->set.n; k++)
        s->score += m->set.slot[k].weight * (double)m->score[i * TR_REWARDS_MAX + k];
}

static void note_seen(struct making *m, int64_t i, int what)
{
    int all =
        SEEN_REF | (m->ask_policy ? SEEN_OLD : 0) | ((1 << m->set.n) - 1) * SEEN_SLOT;
    bool before = (m->seen[i] & all) == all;
    m->seen[i] |= what;
    if (what == SEEN_VALUE) m->valued++;
    if (before || (m->seen[i] & all) != all) return;
    weigh(m, i);
    m->judged++;
}

struct verdict { /* what a judging unit's answer becomes */
    enum tr_unit_kind kind;
    float *to;
    int64_t n;
    int seen;
};

static struct verdict verdict_of(struct tr_plan_ppo *p, struct tag t)
{
    struct making *m = &p->making[t.place];
    struct tr_ppo_sample *s = &m->sample[t.i];
    float *score = &m->score[t.i * TR_REWARDS_MAX + t.slot];
    int64_t n = s->T - s->from;
    if (t.part == PART_SCORE)
        return (struct verdict){TR_UNIT_SCORE, score, 1, SEEN_SLOT << t.slot};
    if (t.part == PART_VALUE)
        return (struct verdict){TR_UNIT_VALUE, s->value, n, SEEN_VALUE};
    if (t.part == PART_OLD)
        return (struct verdict){TR_UNIT_LOGPROB, s->logp, n, SEEN_OLD};
    if (p->set.rules.kl == TR_KL_FULL)
        return (struct verdict){TR_UNIT_DIVERGENCE, s->kl, n, SEEN_REF};
    return (struct verdict){TR_UNIT_LOGPROB, s->ref, n, SEEN_REF};
}

/* How many numbers differ to the bit. */
static int64_t differing(const float *a, const float *b, int64_t n)
{
    int64_t k = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t x, y;
        memcpy(&x, &a[i], sizeof x);
        memcpy(&y, &b[i], sizeof y);
        k += x != y;
    }
    return k;
}

enum tr_status tr_ppo_take_judged(struct tr_plan_ppo *p, struct tag t,
                                  const struct tr_content *content, struct tr_err *err)
{
    struct making *m = &p->making[t.place];
    struct verdict v = verdict_of(p, t);
    struct tr_answer_judge a;
    int64_t unknown = 0;
    enum tr_status st =
        tr_content_decode(content, tr_answer_judge_record(v.kind), &a, &unknown, err);
    if (st == TR_OK) st = tr_answer_judge_check(v.kind, &a, v.n, err);
    if (st != TR_OK) return st;
    if (t.part == PART_OLD) m->mismatch_bits += differing(v.to, a.number.at, v.n);
    memcpy(v.to, a.number.at, (size_t)v.n * sizeof *v.to);
    note_seen(m, t.i, v.seen);
    return TR_OK;
}

/* ---- learn ---- */

/* Adds the next unit of a learner's chain; *lineage goes from what it needs to its own id. */
static enum tr_status ask_learn(struct tr_plan_ppo *p, struct tr_core *core, struct tag t,
                                const struct tr_ppo_arrays *arrays,
                                struct tr_digest *lineage, struct tr_err *err)
{
    const struct making *m = &p->making[t.place];
    bool policy = t.part == PART_POLICY;
    struct tr_update update = policy ? p->set.policy : p->set.critic;
    update.lr =
        tr_schedule_lr(policy ? &p->set.policy_lr : &p->set.critic_lr, m->number - 1);
    struct tr_learn_task task = tr_ppo_task(
        &p->set.rules, policy ? TR_LEARN_POLICY : TR_LEARN_VALUE, arrays, &update);
    struct tr_ask_learn ask = tr_ask_learn_from(&task, t.i + 1 == m->optimiser_steps);
    struct tr_digests needs = tr_digests_one(lineage);
    struct tr_unit unit;
    enum tr_status st = tr_unit_make(&tr_ask_learn_record, &needs, &ask, &unit, err);
    if (st != TR_OK) return st;
    *lineage = unit.id;
    return tr_core_add(core, p->post[policy ? TR_ROLE_POLICY : TR_ROLE_CRITIC], &unit,
                       tr_ppo_tag(t), m->number, err);
}

/* One pass over the samples in mini-batches of an order of its own. */
static enum tr_status ask_epoch(struct tr_plan_ppo *p, struct tr_core *core,
                                int64_t place, int64_t epoch, int64_t *order,
                                struct tr_digest lineage[2], struct tr_err *err)
{
    struct making *m = &p->making[place];
    int64_t size = p->set.rules.minibatch;
    int64_t i = epoch * (m->optimiser_steps / p->set.rules.epochs);
    enum tr_status st = TR_OK;
    tr_ppo_order(p->set.seed, m->number - 1, epoch, m->n, order);
    for (int64_t from = 0; from < m->n && st == TR_OK; from += size, i++) {
        struct tr_ppo_arrays arrays;
        int64_t count = m->n - from < size ? m->n - from : size;
        st = tr_ppo_arrays_make(&p->set.rules, m->sample, order + from, count, &arrays,
                                err);
        if (st == TR_OK)
            st = ask_learn(p, core, (struct tag){PART_POLICY, place, i, 0}, &arrays,
                           &lineage[0], err);
        if (st == TR_OK)
            st = ask_learn(p, core, (struct tag){PART_CRITIC, place, i, 0}, &arrays,
                           &lineage[1], err);
        tr_ppo_arrays_fini(&arrays);
    }
    return st;
}

enum tr_status tr_ppo_ask_learning(struct tr_plan_ppo *p, struct tr_core *core,
                                   int64_t place, struct tr_err *err)
{
    struct making *m = &p->making[place];
    const struct tr_ppo_rules *r = &p->set.rules;
    struct tr_digest lineage[2] = {tr_core_lineage(core, p->post[TR_ROLE_POLICY]),
                                   tr_core_lineage(core, p->post[TR_ROLE_CRITIC])};
    int64_t *order = malloc((size_t)m->n * sizeof *order);
    if (!order) return tr_err_set(err, TR_NOMEM, "an order of samples");
    m->learning = true;
    m->optimiser_steps = tr_ppo_passes(r, m->n);
    enum tr_status st = tr_ppo_prepare(r, &p->state, m->sample, m->n, &m->metrics, err);
    for (int64_t e = 0; e < r->epochs && st == TR_OK; e++)
        st = ask_epoch(p, core, place, e, order, lineage, err);
    free(order);
    return st;
}

static void add_result(struct chain *c, const struct tr_learn_result *r)
{
    struct tr_ppo_learnt *sum = &c->sum;
    sum->skipped += r->skipped;
    sum->tokens += r->tokens;
    sum->t = r->t;
    if (c->done++ == 0) sum->mismatch_bits = r->mismatch_bits;
    if (r->skipped) return;
    sum->steps++;
    sum->loss += r->loss;
    sum->grad_norm += r->grad_norm;
    sum->ratio += r->ratio;
    sum->approx_kl += r->approx_kl;
    sum->policy_kl += r->policy_kl;
    sum->clip_fraction += r->clip_fraction;
    sum->entropy += r->entropy;
    sum->value_error += r->value_error;
}

enum tr_status tr_ppo_take_learnt(struct tr_plan_ppo *p, struct tag t,
                                  const struct tr_content *content, struct tr_err *err)
{
    struct making *m = &p->making[t.place];
    struct chain *c = &m->chain[t.part == PART_CRITIC];
    struct tr_answer_learn a;
    int64_t unknown = 0;
    enum tr_status st =
        tr_content_decode(content, &tr_answer_learn_record, &a, &unknown, err);
    bool last = t.i + 1 == m->optimiser_steps;
    if (st == TR_OK && last && a.weights.n != 1)
        st = tr_err_set(err, TR_BADMSG, "learn: the digest of the weights is missing");
    if (st != TR_OK) return st;
    struct tr_learn_result result = tr_answer_learn_result(&a);
    add_result(c, &result);
    if (last) c->weights = a.weights.at[0];
    return TR_OK;
}

/* ---- save ---- */

enum tr_status tr_plan_ppo_save(struct tr_plan_ppo *p, struct tr_core *core,
                                enum tr_role role, const char *folder, bool fresh,
                                int64_t ticket, struct tr_err *err)
{
    struct tr_ask_save ask = {.optimiser = fresh, .fresh = fresh, .want_digests = true};
    struct tr_digest lineage = tr_core_lineage(core, p->post[role]);
    struct tr_digests needs = tr_digests_one(&lineage);
    struct tr_unit unit;
    if (strlen(folder) >= sizeof ask.folder)
        return tr_err_set(err, TR_BADARG, "%.64s...: a name of more than %zu bytes",
                          folder, sizeof ask.folder - 1);
    memcpy(ask.folder, folder, strlen(folder) + 1);
    enum tr_status st = tr_unit_make(&tr_ask_save_record, &needs, &ask, &unit, err);
    if (st == TR_OK)
        st = tr_core_add(core, p->post[role], &unit,
                         tr_ppo_tag((struct tag){PART_SAVE, 0, ticket, 0}),
                         TR_MEMO_ALWAYS, err);
    p->saves += st == TR_OK;
    return st;
}

enum tr_status tr_ppo_take_saved(struct tr_plan_ppo *p, struct tag t,
                                 const struct tr_content *content, struct tr_err *err)
{
    struct tr_answer_save a;
    int64_t unknown = 0;
    enum tr_status st =
        tr_content_decode(content, &tr_answer_save_record, &a, &unknown, err);
    if (st == TR_OK && (a.weights.n != 1 || a.state.n != 1))
        st = tr_err_set(err, TR_BADMSG, "save: the digests are missing");
    if (st != TR_OK) return st;
    p->saves--;
    return p->owner->saved(p->owner->self, t.i, &a.weights.at[0], &a.state.at[0], err);
}

/* plan_ppo.c - the course of a PPO run: what begins, what is over, what comes next. */
#include "actors/coordinator/plan_ppo.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "actors/coordinator/plan_ppo_parts.h"
#include "kernels/philox.h"

enum tr_status tr_plan_ppo_create(const struct tr_ppo_settings *s,
                                  const struct tr_prompts *prompts,
                                  const struct tr_prompts *eval,
                                  const struct tr_ppo_owner *owner,
                                  struct tr_plan_ppo **out, struct tr_err *err)
{
    *out = NULL;
    assert(!s->ask_policy || s->staleness == 0);
    if (prompts->count < s->samples)
        return tr_err_set(err, TR_BADARG, "%lld prompts, and a step takes %lld",
                          (long long)prompts->count, (long long)s->samples);
    struct tr_plan_ppo *p = calloc(1, sizeof *p);
    if (p) p->order = malloc((size_t)prompts->count * sizeof *p->order);
    if (!p || !p->order) {
        free(p);
        return tr_err_set(err, TR_NOMEM, "a plan of %lld prompts",
                          (long long)prompts->count);
    }
    p->set = *s;
    p->prompts = *prompts;
    p->eval = *eval;
    p->owner = owner;
    p->state = tr_ppo_state_start(&s->rules);
    p->rewards = s->rewards;
    p->last = s->steps;
    p->evaluated = -1;
    p->order_epoch = -1;
    *out = p;
    return TR_OK;
}

static void clear(struct making *m)
{
    for (int64_t i = 0; i < m->n && m->sample; i++) tr_ppo_sample_fini(&m->sample[i]);
    free(m->sample);
    free(m->score);
    free(m->seen);
    free(m->asked_value);
    *m = (struct making){0};
}

void tr_plan_ppo_destroy(struct tr_plan_ppo *p)
{
    if (!p) return;
    for (int i = 0; i < PLACES; i++) clear(&p->making[i]);
    free(p->order);
    free(p);
}

/* ---- opening ---- */

/* Rewards that the last swap removed: a rollback finds them there. Nobody waits for them at the start. */
static enum tr_status keep_previous(const struct tr_plan_ppo *p, struct tr_core *core,
                                    struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < p->previous.n && st == TR_OK; i++) {
        const struct tr_reward_slot *s = &p->previous.slot[i];
        int64_t post = 0;
        if (tr_core_post(core, TR_ROLE_REWARD, s->name) >= 0) continue;
        st = tr_core_open_post(core, TR_ROLE_REWARD, s->name, 0, &post, err);
        if (st == TR_OK && s->known) tr_core_set_digest(core, post, &s->digest);
    }
    return st;
}

static enum tr_status open_posts(struct tr_plan_ppo *p, struct tr_core *core,
                                 const int64_t replicas[TR_ROLES], struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int r = 0; r < TR_ROLES && st == TR_OK; r++)
        if (r != TR_ROLE_REWARD)
            st = tr_core_open_post(core, (enum tr_role)r, "", replicas[r], &p->post[r],
                                   err);
    for (int64_t i = 0; i < p->rewards.n && st == TR_OK; i++) {
        const struct tr_reward_slot *s = &p->rewards.slot[i];
        int64_t post = 0;
        st = tr_core_open_post(core, TR_ROLE_REWARD, s->name, s->replicas, &post, err);
        if (st == TR_OK && s->known) tr_core_set_digest(core, post, &s->digest);
        /* After a swap its workers may come back with what they were started with. */
        if (st == TR_OK && s->known && s->folder[0])
            st = tr_core_want(core, post, &s->digest, s->folder, NULL, err);
    }
    return st == TR_OK && p->has_previous ? keep_previous(p, core, err) : st;
}

/* How many are waited for is said by whoever starts them now; the state says it of rewards that came by
 * a swap. */
static void take_replicas(struct tr_plan_ppo *p)
{
    for (int64_t i = 0; i < p->rewards.n; i++)
        for (int64_t k = 0; k < p->set.rewards.n; k++)
            if (strcmp(p->rewards.slot[i].name, p->set.rewards.slot[k].name) == 0)
                p->rewards.slot[i].replicas = p->set.rewards.slot[k].replicas;
}

enum tr_status tr_plan_ppo_open(struct tr_plan_ppo *p, struct tr_core *core,
                                const int64_t replicas[TR_ROLES], const char *state,
                                struct tr_err *err)
{
    struct tr_digest lineage[2];
    enum tr_status st = state ? tr_ppo_plan_read(p, state, lineage, err) : TR_OK;
    take_replicas(p);
    if (st == TR_OK) st = open_posts(p, core, replicas, err);
    if (st != TR_OK || !state) return st;
    p->resumed = true;
    p->begun = p->committed;
    st = tr_core_begun(core, &p->begun_before, err);
    if (st != TR_OK) return st;
    p->partial = p->begun_before > p->committed ? p->begun_before : p->committed + 1;
    tr_core_set_lineage(core, p->post[TR_ROLE_POLICY], &lineage[0]);
    tr_core_set_lineage(core, p->post[TR_ROLE_CRITIC], &lineage[1]);
    tr_core_set_digest(core, p->post[TR_ROLE_POLICY], &p->version[p->committed % 2]);
    tr_core_set_digest(core, p->post[TR_ROLE_CRITIC], &p->critic);
    return TR_OK;
}

/* Where the learners are after the step that was committed last. */
static void put_learners(const struct tr_plan_ppo *p, const struct tr_core *core,
                         struct tr_ppo_report *r)
{
    r->policy_weights = p->version[p->committed % 2];
    r->critic_weights = p->critic;
    r->policy_lineage = tr_core_lineage(core, p->post[TR_ROLE_POLICY]);
    r->critic_lineage = tr_core_lineage(core, p->post[TR_ROLE_CRITIC]);
}

/* An outside reward that nobody serves yet has no digest to be named by. */
static bool rewards_known(struct tr_plan_ppo *p, struct tr_core *core)
{
    bool all = true;
    for (int64_t i = 0; i < p->rewards.n; i++) {
        struct tr_reward_slot *s = &p->rewards.slot[i];
        int64_t post = tr_core_post(core, TR_ROLE_REWARD, s->name);
        if (!s->known && tr_core_workers(core, post) > 0) {
            s->digest = tr_core_digest(core, post);
            s->known = true;
        }
        all = all && s->known;
    }
    return all;
}

/* What the first workers hold is what a fresh run starts from. It is kept before any unit goes out: a
 * coordinator that is started anew meets learners that have learnt already. */
static enum tr_status start(void *self, struct tr_core *core, struct tr_err *err)
{
    struct tr_plan_ppo *p = self;
    struct tr_ppo_report r = {.step = 0};
    struct tr_buf text;
    p->committed_at = tr_core_now(core);
    (void)rewards_known(p, core);
    if (p->resumed) return TR_OK;
    p->version[0] = tr_core_digest(core, p->post[TR_ROLE_POLICY]);
    p->critic = tr_core_digest(core, p->post[TR_ROLE_CRITIC]);
    put_learners(p, core, &r);
    tr_buf_init(&text, 1 << 20);
    enum tr_status st = tr_ppo_plan_text(p, core, &text, err);
    r.state = tr_buf_text(&text);
    if (st == TR_OK) st = p->owner->started(p->owner->self, &r, err);
    tr_buf_fini(&text);
    return st;
}

/* ---- beginning a step ---- */

/* Which prompts: an order of all of them for each pass, cut into whole steps. */
static void pick_prompts(struct tr_plan_ppo *p, struct making *m)
{
    int64_t each = p->prompts.count / p->set.samples, at = m->number - 1;
    int64_t epoch = at / each;
    if (epoch != p->order_epoch)
        tr_philox_permutation(tr_philox_key(p->set.seed, TR_FOR_PROMPTS), 0,
                              (uint32_t)epoch, p->prompts.count, p->order);
    p->order_epoch = epoch;
    for (int64_t i = 0; i < m->n; i++)
        m->sample[i].prompt = p->order[at % each * m->n + i];
}

static enum tr_status make_room(struct making *m, int64_t n, struct tr_err *err)
{
    *m = (struct making){.used = true, .n = n};
    m->sample = calloc((size_t)n, sizeof *m->sample);
    m->score = calloc((size_t)(n * TR_REWARDS_MAX), sizeof *m->score);
    m->seen = calloc((size_t)n, sizeof *m->seen);
    m->asked_value = calloc((size_t)n, sizeof *m->asked_value);
    if (m->sample && m->score && m->seen && m->asked_value) return TR_OK;
    clear(m);
    return tr_err_set(err, TR_NOMEM, "a step of %lld samples", (long long)n);
}

static int64_t free_place(const struct tr_plan_ppo *p)
{
    int64_t i = 0;
    while (i < PLACES && p->making[i].used) i++;
    return i; /* there is one: two steps and one evaluation at most are in the making */
}

/* Generates with this version and scores with the present set. */
static enum tr_status begin(struct tr_plan_ppo *p, struct tr_core *core, int64_t number,
                            bool eval, int64_t version, struct tr_err *err)
{
    int64_t place = free_place(p);
    struct making *m = &p->making[place];
    enum tr_status st = make_room(m, eval ? p->eval.count : p->set.samples, err);
    if (st != TR_OK) return st;
    m->number = number;
    m->eval = eval;
    m->ask_policy = p->set.ask_policy && !eval;
    m->set = p->rewards;
    m->version = p->version[version % 2];
    for (int64_t i = 0; i < m->set.n; i++)
        m->slot_post[i] = tr_core_post(core, TR_ROLE_REWARD, m->set.slot[i].name);
    for (int64_t i = 0; i < m->n && eval; i++) m->sample[i].prompt = i;
    if (!eval) pick_prompts(p, m);
    st = tr_core_want(core, p->post[TR_ROLE_ROLLOUT], &m->version, "", NULL, err);
    if (st == TR_OK && p->set.rules.kl == TR_KL_FULL)
        st = tr_core_want(core, p->post[TR_ROLE_REFERENCE], &m->version, "", NULL, err);
    for (int64_t i = 0; i < m->n && st == TR_OK; i++)
        st = tr_ppo_ask_generate(p, core, place, i, err);
    return st;
}

static int64_t version_of(const struct tr_plan_ppo *p, int64_t step)
{
    int64_t v = step - 1 - p->set.staleness;
    return v > 0 ? v : 0;
}

static enum tr_status begin_steps(struct tr_plan_ppo *p, struct tr_core *core,
                                  struct tr_err *err)
{
    enum tr_status st = TR_OK;
    bool ready = true;
    while (st == TR_OK && ready && p->begun < p->last &&
           p->begun < p->committed + 1 + p->set.staleness) {
        st = tr_ppo_swaps_due(p, core, p->begun + 1, &ready, err);
        if (st != TR_OK || !ready || !rewards_known(p, core)) return st;
        p->begun++;
        st = begin(p, core, p->begun, false, version_of(p, p->begun), err);
    }
    return st;
}

static bool eval_due(const struct tr_plan_ppo *p, int64_t step)
{
    return p->set.eval_every > 0 && p->eval.count > 0 && p->evaluated < step &&
           (step % p->set.eval_every == 0 || step == p->last);
}

static struct making *find_making(struct tr_plan_ppo *p, int64_t number, bool eval)
{
    for (int i = 0; i < PLACES; i++) {
        struct making *m = &p->making[i];
        if (m->used && m->eval == eval && m->number == number) return m;
    }
    return NULL;
}

static enum tr_status begin_eval(struct tr_plan_ppo *p, struct tr_core *core,
                                 struct tr_err *err)
{
    int64_t step = p->committed;
    if (!eval_due(p, step) || find_making(p, step, true) || !rewards_known(p, core))
        return TR_OK;
    return begin(p, core, step, true, step, err);
}

/* ---- ending a step ---- */

static void mean_of(struct tr_ppo_learnt *l)
{
    double n = l->steps > 0 ? (double)l->steps : 1;
    double *const each[] = {&l->loss,      &l->grad_norm,  &l->ratio,
                            &l->approx_kl, &l->policy_kl,  &l->clip_fraction,
                            &l->entropy,   &l->value_error};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) *each[i] /= n;
}

static struct tr_ppo_report report_of(const struct making *m)
{
    return (struct tr_ppo_report){
        .step = m->number,
        .eval = m->eval,
        .n = m->n,
        .sample = m->sample,
        .score = m->score,
        .rewards = &m->set,
        .generated = m->version,
        .metrics = m->metrics,
    };
}

/* Versions that nothing in the making needs, and that nothing will begin with, are let go. */
static enum tr_status retire_version(struct tr_plan_ppo *p, struct tr_core *core,
                                     const struct tr_digest *version, struct tr_err *err)
{
    for (int i = 0; i < PLACES; i++)
        if (p->making[i].used && tr_digest_equal(&p->making[i].version, version))
            return TR_OK;
    if (tr_digest_equal(&p->version[p->committed % 2], version)) return TR_OK;
    if (p->set.staleness > 0 && p->begun <= p->committed &&
        tr_digest_equal(&p->version[(p->committed + 1) % 2], version))
        return TR_OK; /* the next step will begin with it */
    enum tr_status st = tr_core_retire(core, p->post[TR_ROLE_ROLLOUT], version, err);
    int64_t reference = p->post[TR_ROLE_REFERENCE];
    struct tr_digest own = tr_core_digest(core, reference);
    if (st == TR_OK && p->set.rules.kl == TR_KL_FULL && !tr_digest_equal(&own, version))
        st = tr_core_retire(core, reference, version, err);
    return st == TR_OK ? tr_core_withdraw(core, version, err) : st;
}

/* What the step waited for since the commit before it. */
static struct tr_step_time time_of(const struct tr_plan_ppo *p, const struct making *m,
                                   double now)
{
    struct tr_step_time t =
        tr_step_time_cut(p->committed_at, m->generated_at, m->judged_at, now);
    t.whole = m->number > p->partial;
    return t;
}

/* Both learners are done: the step is kept, and the next can begin. */
static enum tr_status commit(struct tr_plan_ppo *p, struct tr_core *core,
                             struct making *m, struct tr_err *err)
{
    struct tr_ppo_report r = report_of(m);
    struct tr_digest generated = m->version;
    struct tr_buf text;
    bool same = tr_digest_equal(&m->version, &p->version[p->committed % 2]);
    r.time = time_of(p, m, tr_core_now(core));
    p->committed_at = tr_core_now(core);
    p->committed++;
    p->version[p->committed % 2] = m->chain[0].weights;
    p->critic = m->chain[1].weights;
    tr_core_set_digest(core, p->post[TR_ROLE_POLICY], &m->chain[0].weights);
    tr_core_set_digest(core, p->post[TR_ROLE_CRITIC], &m->chain[1].weights);
    for (int i = 0; i < 2; i++) mean_of(&m->chain[i].sum);
    r.policy = m->chain[0].sum;
    r.critic = m->chain[1].sum;
    if (m->ask_policy) r.policy.mismatch_bits = m->mismatch_bits;
    if (!same) r.policy.mismatch_bits = -1;
    r.policy_lr = tr_schedule_lr(&p->set.policy_lr, m->number - 1);
    r.critic_lr = tr_schedule_lr(&p->set.critic_lr, m->number - 1);
    put_learners(p, core, &r);
    tr_buf_init(&text, 1 << 20);
    enum tr_status st = tr_ppo_plan_text(p, core, &text, err);
    r.state = tr_buf_text(&text);
    if (st == TR_OK) st = p->owner->committed(p->owner->self, core, &r, err);
    tr_buf_fini(&text);
    clear(m);
    return st == TR_OK ? retire_version(p, core, &generated, err) : st;
}

static enum tr_status end_eval(struct tr_plan_ppo *p, struct tr_core *core,
                               struct making *m, struct tr_err *err)
{
    struct tr_ppo_state state = p->state; /* an evaluation moves nothing on */
    struct tr_digest generated = m->version;
    enum tr_status st =
        tr_ppo_prepare(&p->set.rules, &state, m->sample, m->n, &m->metrics, err);
    if (st != TR_OK) return st;
    struct tr_ppo_report r = report_of(m);
    p->evaluated = m->number;
    st = p->owner->evaluated(p->owner->self, &r, err);
    clear(m);
    return st == TR_OK ? retire_version(p, core, &generated, err) : st;
}

/* ---- one turn: whatever can be done now ---- */

static enum tr_status end_what_is_over(struct tr_plan_ppo *p, struct tr_core *core,
                                       struct tr_err *err)
{
    for (int i = 0; i < PLACES; i++) {
        struct making *m = &p->making[i];
        if (!m->used || !m->eval || m->judged < m->n) continue;
        enum tr_status st = end_eval(p, core, m, err);
        if (st != TR_OK) return st;
    }
    struct making *m = find_making(p, p->committed + 1, false);
    if (!m || !m->learning || m->chain[0].done < m->optimiser_steps ||
        m->chain[1].done < m->optimiser_steps || eval_due(p, p->committed))
        return TR_OK;
    return commit(p, core, m, err);
}

static enum tr_status learn_what_is_judged(struct tr_plan_ppo *p, struct tr_core *core,
                                           struct tr_err *err)
{
    struct making *m = find_making(p, p->committed + 1, false);
    if (!m) return TR_OK;
    enum tr_status st = tr_ppo_ask_values(p, core, m - p->making, err);
    if (st != TR_OK || m->learning || m->judged < m->n || m->valued < m->n) return st;
    return tr_ppo_ask_learning(p, core, m - p->making, err);
}

static bool finished(const void *self)
{
    const struct tr_plan_ppo *p = self;
    return p->committed >= p->last && p->saves == 0 && !eval_due(p, p->committed);
}

static enum tr_status turn(void *self, struct tr_core *core, struct tr_err *err)
{
    struct tr_plan_ppo *p = self;
    enum tr_status st = tr_ppo_drop_hopeless(p, core, err);
    if (st == TR_OK) st = end_what_is_over(p, core, err);
    if (st == TR_OK) st = begin_eval(p, core, err);
    if (st == TR_OK) st = begin_steps(p, core, err);
    return st == TR_OK ? learn_what_is_judged(p, core, err) : st;
}

/* ---- as a planner ---- */

static void note_time(struct making *m, enum part part, double now)
{
    switch (part) {
    case PART_GENERATE:
        m->generated_at = now;
        break;
    case PART_REF:
    case PART_OLD:
    case PART_VALUE:
    case PART_SCORE:
        m->judged_at = now;
        break;
    case PART_POLICY:
    case PART_CRITIC:
    case PART_SAVE:
        break;
    }
}

static enum tr_status answer(void *self, struct tr_core *core, int64_t tag,
                             const struct tr_content *content, struct tr_err *err)
{
    struct tr_plan_ppo *p = self;
    struct tag t = tr_ppo_untag(tag);
    enum tr_status st = TR_OK;
    if (t.part != PART_SAVE && !p->making[t.place].used) return TR_OK; /* given up */
    note_time(&p->making[t.place], t.part, tr_core_now(core));
    switch (t.part) {
    case PART_GENERATE:
        st = tr_ppo_take_generated(p, core, t, content, err);
        break;
    case PART_REF:
    case PART_OLD:
    case PART_VALUE:
    case PART_SCORE:
        st = tr_ppo_take_judged(p, t, content, err);
        break;
    case PART_POLICY:
    case PART_CRITIC:
        st = tr_ppo_take_learnt(p, t, content, err);
        break;
    case PART_SAVE:
        st = tr_ppo_take_saved(p, t, content, err);
        break;
    }
    return st;
}

static enum tr_status ask(void *self, struct tr_core *core, const char *what,
                          const char *argument, struct tr_buf *reply, struct tr_err *err)
{
    struct tr_plan_ppo *p = self;
    return p->owner->ask(p->owner->self, core, what, argument, reply, err);
}

struct tr_planner tr_plan_ppo_planner(struct tr_plan_ppo *p)
{
    return (struct tr_planner){.self = p,
                               .start = start,
                               .answer = answer,
                               .finished = finished,
                               .turn = turn,
                               .ask = ask};
}

int64_t tr_plan_ppo_step(const struct tr_plan_ppo *p)
{
    return p->committed;
}

const struct tr_reward_set *tr_plan_ppo_rewards(const struct tr_plan_ppo *p)
{
    return &p->rewards;
}

void tr_plan_ppo_stop(struct tr_plan_ppo *p)
{
    int64_t last = p->committed + (p->begun > p->committed);
    if (last < p->last) p->last = last;
}

/* F5: PPO as the peer has it, with the value head on the policy's trunk. Troupe's critic is a model
 * of its own; here one learner has both heads, the gradients of the two losses are added, and the
 * peer's optimiser is played on top, with its quirks: the clip acts at the first optimiser step
 * of the trainer's life only, and tensors without weight decay get 0.01 of it. All else is
 * core/learn and the engines: forward passes, rewards, advantages, both losses and gradients. So every
 * step's numbers come from our own weights, `params_after` included. Nothing is taken from the file
 * but prompts, answers, scores, orders, rates and settings.
 *
 * Tolerances. Log-probs, values and what is made of them abs 2e-4 (f32 in another order; suggested
 * by the fixtures). Losses and statistics 5e-5 times max(1, size): means of such numbers, after up to
 * 16 optimiser steps whose parameters drift apart as F10's README measures. Gradient norms rel 1e-4.
 * Ratios and advantages 3e-4 times max(1, size). Clip fractions: exact counts, 1e-6. The coefficient
 * rel 1e-6; running moments rel 1e-5, because the peer's are f32. Parameters 2e-5 a step in the
 * 99.9 % quantile and 5e-4 at most (AdamW is close to a sign function where a gradient is near
 * 0). F10 measured at rates of 0.001; a drift is proportional to the rate, so a case with a larger
 * one has its losses, ratios and largest difference held to as many times more. `bf16_autocast` is informative: the peer's matrix
 * products are bf16 there, so forward passes 3e-2 of the largest entry and statistics
 * 3e-2 times max(1, size); what follows from the log-probs and values of the file is held to the
 * usual tolerances, and parameters are not compared. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "kernels/adamw.h"
#include "tests/golden/ppo_rows.h"
#include "tests/golden/steps.h"

enum { TOKENS = 8192, ROWS = 256 };

#define OF(member) offsetof(struct tr_ppo_sample, member)

struct f5 {
    struct tr_golden *g;
    char part[4400], dir[4600], name[400];
    json_t *doc;                     /* owns */
    struct tr_st *arrays;            /* owns */
    struct tr_learner *policy, *ref; /* own; the policy has both heads */
    struct tr_evaluator *judge[2];   /* own; of policy and reference */
    float *grad, *moment1, *moment2; /* own; of the joint loss */
    struct tr_ppo_rules rules;
    struct tr_ppo_state state;
    double vf_coef, decay, max_norm;
    int64_t accumulation, t; /* optimiser steps done */
    double drift;            /* the largest rate so far over 0.001, at least 1 */
    bool clip_always, bf16;
};

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static bool truth(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

static void tell(const struct f5 *c, const char *at, const char *what, double e,
                 double tolerance)
{
    char name[600];
    snprintf(name, sizeof name, "%s/%s", at, what);
    tr_golden_case(c->g, name, e, tolerance);
}

static double relative(double got, const json_t *want)
{
    double w = json_number_value(want), e = fabs(got - w) / fmax(fabs(w), 1e-30);
    if (!json_is_number(want) || isnan(e)) return (double)INFINITY;
    return got == w ? 0 : e;
}

/* ---- the case's settings and models ---- */

static enum tr_status read_rules(struct f5 *c, struct tr_err *err)
{
    const json_t *o = json_object_get(c->doc, "config");
    struct tr_ppo_rules *r = &c->rules;
    const char *kl = json_string_value(json_object_get(o, "kl_penalty"));
    *r = tr_ppo_defaults;
    tr_ppo_rules_compat(r);
    r->scale_scores = truth(o, "ppo_score_norm");
    r->score_clip = number(o, "score_clip"); /* null: 0 */
    r->control = (struct tr_kl_control){.coef = number(o, "init_kl_coef"),
                                        .adaptive = truth(o, "adap_kl_ctrl"),
                                        .target = number(o, "ppo_target"),
                                        .horizon = number(o, "horizon")};
    r->whiten_rewards = truth(o, "ppo_whiten_rewards");
    r->gae = (struct tr_gae){.gamma = number(o, "gamma"), .lambda = number(o, "lam")};
    r->epochs = (int64_t)number(o, "ppo_epochs");
    r->micro_batch = (int64_t)number(o, "mini_batch_size");
    r->minibatch = r->micro_batch; /* one at a time: each has its statistics */
    r->ratio_threshold = number(o, "ratio_threshold");
    r->clip = number(o, "cliprange");
    r->clip_value = number(o, "cliprange_value");
    c->accumulation = (int64_t)number(o, "gradient_accumulation_steps");
    c->vf_coef = number(o, "vf_coef");
    c->decay = number(o, "weight_decay");
    c->max_norm = number(o, "max_grad_norm");
    c->clip_always = truth(o, "clip_every_step");
    c->bf16 = truth(o, "bf16_autocast");
    c->drift = 1;
    c->state = tr_ppo_state_start(r);
    enum tr_status st = tr_kl_named(kl ? kl : "", &r->kl, err);
    return st == TR_OK ? tr_ppo_rules_check(r, err) : st;
}

/* PART/value_head.safetensors into the policy's masters. */
static enum tr_status read_head(const struct f5 *c, struct tr_err *err)
{
    struct tr_st *f = NULL;
    char path[4600];
    const struct tr_params *params = tr_learner_params(c->policy);
    snprintf(path, sizeof path, "%s/value_head.safetensors", c->part);
    enum tr_status st = tr_st_open(path, &f, err);
    for (int64_t i = 0; st == TR_OK && i < tr_st_count(f); i++) {
        const struct tr_st_tensor *t = tr_st_get(f, i);
        const struct tr_param *p = tr_params_find(params, t->name);
        float x[4096];
        if (!p || t->count != tr_param_elements(p) || t->count > 4096)
            st = tr_err_set(err, TR_BADARG, "%s: %s", path, t->name);
        if (st == TR_OK) st = tr_st_floats(t, 0, t->count, x, err);
        if (st == TR_OK)
            tr_params_pack(c->g->ex, p, x, tr_learner_state(c->policy).master);
    }
    tr_st_close(f);
    if (st == TR_OK) tr_learner_refresh(c->policy);
    return st;
}

static enum tr_status open_models(struct f5 *c, struct tr_err *err)
{
    struct tr_learner **l[2] = {&c->policy, &c->ref};
    enum tr_status st = TR_OK;
    for (int m = 0; m < 2 && st == TR_OK; m++) {
        char path[4600];
        snprintf(path, sizeof path, "%s/%s", c->part, m ? "reference" : "policy");
        struct tr_learner_start s = {.model = path,
                                     .lm_head = true,
                                     .value_head = m == 0,
                                     .max_tokens = TOKENS,
                                     .max_sequences = ROWS};
        st = tr_learner_open(c->g->ex, &s, l[m], err);
        if (st == TR_OK)
            st = tr_evaluator_create(c->g->ex, tr_learner_weights(*l[m]), TOKENS,
                                     &c->judge[m], err);
    }
    if (st != TR_OK) return st;
    size_t n = (size_t)tr_params_total(tr_learner_params(c->policy));
    c->grad = calloc(n, sizeof *c->grad);
    c->moment1 = calloc(n, sizeof *c->moment1);
    c->moment2 = calloc(n, sizeof *c->moment2);
    if (!c->grad || !c->moment1 || !c->moment2) return TR_NOMEM;
    return read_head(c, err);
}

static void close_case(struct f5 *c)
{
    for (int m = 0; m < 2; m++) tr_evaluator_destroy(c->judge[m]);
    tr_learner_close(c->policy);
    tr_learner_close(c->ref);
    free(c->grad);
    free(c->moment1);
    free(c->moment2);
    tr_st_close(c->arrays);
    json_decref(c->doc);
}

/* ---- before learning ---- */

static void compare(struct f5 *c, const char *at, const char *prefix, const char *what,
                    const struct tr_ppo_rows *r, size_t member)
{
    char tensor[128];
    float *x = tr_ppo_rows_gather(r, member);
    snprintf(tensor, sizeof tensor, "%s.%s", prefix, what);
    tr_ppo_rows_case(c->g, at, what, c->arrays, tensor, r, x, 2e-4, false);
    free(x);
}

/* Our own numbers into the samples, or, after they were compared coarsely, the file's. */
static void judge(struct f5 *c, const char *at, const char *prefix, const char *what,
                  const struct tr_ppo_rows *r, int m, enum tr_unit_kind kind,
                  size_t member)
{
    char tensor[128];
    struct tr_evaluator *ref = kind == TR_UNIT_DIVERGENCE ? c->judge[1] : NULL;
    float *x = tr_ppo_rows_judge(c->g, at, c->judge[m], ref, kind, r);
    tr_ppo_rows_scatter(r, member, x);
    snprintf(tensor, sizeof tensor, "%s.%s", prefix, what);
    if (!c->bf16) {
        compare(c, at, prefix, what, r, member);
    } else {
        float *want = tr_ppo_rows_read(c->g, at, c->arrays, tensor, r);
        if (x && want)
            tell(c, at, what, tr_golden_rel(x, want, tr_ppo_rows_tokens(r)), 3e-2);
        tr_ppo_rows_scatter(r, member, want);
        free(want);
    }
    free(x);
}

/* Rewards before whitening and their part without the score. */
static enum tr_status plain_rewards(struct f5 *c, const char *at, const char *prefix,
                                    struct tr_ppo_rows *r, struct tr_err *err)
{
    char tensor[128];
    struct tr_ppo_rules rules = c->rules;
    struct tr_ppo_state state = c->state;
    struct tr_ppo_metrics m;
    rules.whiten_rewards = false;
    enum tr_status st = tr_ppo_prepare(&rules, &state, r->s, r->n, &m, err);
    if (st != TR_OK) return st;
    compare(c, at, prefix, "kls", r, OF(kl));
    compare(c, at, prefix, "rewards", r, OF(reward));
    float *charge = tr_ppo_rows_gather(r, OF(kl));
    for (int64_t i = 0; charge && i < tr_ppo_rows_tokens(r); i++)
        charge[i] = (float)(-m.kl_coef * (double)charge[i]);
    snprintf(tensor, sizeof tensor, "%s.non_score_rewards", prefix);
    tr_ppo_rows_case(c->g, at, "non_score_rewards", c->arrays, tensor, r, charge, 2e-4,
                     false);
    free(charge);
    return TR_OK;
}

static void check_scores(const struct f5 *c, const char *at, const char *prefix,
                         const struct tr_ppo_rows *r)
{
    char tensor[128];
    int64_t n = 0;
    double e = 0;
    snprintf(tensor, sizeof tensor, "%s.scores", prefix);
    float *want = tr_golden_floats(c->g, at, c->arrays, tensor, &n);
    if (!want) return;
    for (int64_t i = 0; i < r->n && i < n; i++)
        e = fmax(e, fabs(r->s[i].score - (double)want[i]));
    tell(c, at, "scores", n == r->n ? e : (double)INFINITY, 1e-6);
    free(want);
}

static void check_state(const struct f5 *c, const char *at, const json_t *step,
                        const struct tr_ppo_metrics *m)
{
    const json_t *o = json_object_get(step, "running");
    const struct tr_moments *s = &c->state.scores;
    double e = relative(m->kl_coef, json_object_get(step, "kl_coef_before"));
    e = fmax(e, relative(c->state.kl_coef, json_object_get(step, "kl_coef_after")));
    tell(c, at, "kl_coef", e, 1e-6);
    e = tr_ppo_off(s->mean, json_object_get(o, "mean"));
    e = fmax(e, relative(s->std, json_object_get(o, "std")));
    e = fmax(e, relative(s->var, json_object_get(o, "var")));
    e = fmax(e, relative(s->n, json_object_get(o, "count")));
    tell(c, at, "running", e, 1e-5);
}

static enum tr_status prepare(struct f5 *c, const char *at, const char *prefix,
                              struct tr_ppo_rows *r, const json_t *step,
                              struct tr_ppo_metrics *m, struct tr_err *err)
{
    judge(c, at, prefix, "logprobs", r, 0, TR_UNIT_LOGPROB, OF(logp));
    judge(c, at, prefix, "ref_logprobs", r, 1, TR_UNIT_LOGPROB, OF(ref));
    judge(c, at, prefix, "values_raw", r, 0, TR_UNIT_VALUE, OF(value));
    if (c->rules.kl == TR_KL_FULL)
        judge(c, at, prefix, "kls", r, 0, TR_UNIT_DIVERGENCE, OF(kl));
    enum tr_status st = plain_rewards(c, at, prefix, r, err);
    if (st == TR_OK) st = tr_ppo_prepare(&c->rules, &c->state, r->s, r->n, m, err);
    if (st != TR_OK) return st;
    compare(c, at, prefix, "values", r, OF(value));
    compare(c, at, prefix, "advantages", r, OF(advantage));
    compare(c, at, prefix, "returns", r, OF(returns));
    check_scores(c, at, prefix, r);
    check_state(c, at, step, m);
    return TR_OK;
}

/* ---- statistics ---- */

/* Names and numbers, to be held against an object of the peer's. */
struct notes {
    const char *key[40];
    double x[40];
    int n;
};

static void note(struct notes *s, const char *key, double x)
{
    if (s->n == (int)(sizeof s->x / sizeof *s->x)) return;
    s->key[s->n] = key;
    s->x[s->n++] = x;
}

/* Every number of the object must be in the notes. Counts are told by their names. */
static void check_notes(const struct f5 *c, const struct notes *s, json_t *want,
                        double *fractions, double *others)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(want, key, value)
    {
        double e = (double)INFINITY;
        if (json_is_array(value)) continue;
        for (int i = 0; i < s->n; i++)
            if (!strcmp(s->key[i], key)) e = tr_ppo_off(s->x[i], value);
        if (isinf(e)) printf("      %s/%s is not ours\n", c->name, key);
        double *worst = strstr(key, "clipfrac") ? fractions : others;
        *worst = fmax(*worst, e);
    }
}

static struct tr_spread spread_of(const struct tr_ppo_rows *r, size_t member)
{
    float *x = tr_ppo_rows_gather(r, member);
    struct tr_spread s = {0};
    if (x) s = tr_spread_of(x, tr_ppo_rows_tokens(r));
    free(x);
    return s;
}

static void note_micro(const struct f5 *c, const struct tr_ppo_rows *r,
                       const struct tr_learn_result *p, const struct tr_learn_result *v,
                       bool mute, struct notes *s)
{
    double value_loss = mute ? 0 : v->loss;
    struct tr_spread returns = spread_of(r, OF(returns)), old = spread_of(r, OF(value));
    note(s, "loss/policy", p->loss);
    note(s, "loss/value", value_loss);
    note(s, "loss/total", p->loss + c->vf_coef * value_loss);
    note(s, "policy/entropy", p->entropy);
    note(s, "policy/approxkl", p->approx_kl);
    note(s, "policy/policykl", p->policy_kl);
    note(s, "policy/clipfrac", p->clip_fraction);
    note(s, "policy/advantages_mean", spread_of(r, OF(advantage)).mean);
    note(s, "returns/mean", returns.mean);
    note(s, "returns/var", returns.var);
    note(s, "val/vpred", v->value_mean);
    note(s, "val/error", v->value_error);
    note(s, "val/clipfrac", v->clip_fraction);
    note(s, "val/mean", old.mean);
    note(s, "val/var", old.var);
}

/* The means over all micro-batches, and what is known of the whole step. */
static void check_stats(const struct f5 *c, const char *at, const json_t *step,
                        const struct tr_ppo_metrics *m, const struct notes *sum,
                        int64_t micros)
{
    char key[40][64];
    struct notes s = {.n = 0};
    double fractions = 0, others = 0, error = 0, var = 1;
    for (int i = 0; i < sum->n; i++) {
        double mean = sum->x[i] / (double)micros;
        if (!strcmp(sum->key[i], "val/error")) error = mean;
        if (!strcmp(sum->key[i], "returns/var")) var = mean;
        snprintf(key[i], sizeof key[i], "ppo/%s", sum->key[i]);
        note(&s, key[i], mean);
    }
    note(&s, "ppo/val/var_explained", 1 - error / var);
    note(&s, "objective/kl", m->kl);
    note(&s, "objective/kl_coef", m->kl_coef);
    note(&s, "objective/entropy", m->entropy);
    note(&s, "ppo/mean_non_score_reward", m->non_score_reward);
    note(&s, "ppo/mean_scores", m->score);
    note(&s, "ppo/std_scores", m->score_std);
    note(&s, "tokens/queries_len_mean", m->query_length);
    note(&s, "tokens/queries_len_std", m->query_length_std);
    note(&s, "tokens/responses_len_mean", m->length);
    note(&s, "tokens/responses_len_std", m->length_std);
    note(&s, "ppo/learning_rate", number(step, "lr_used"));
    check_notes(c, &s, json_object_get(step, "stats"), &fractions, &others);
    tell(c, at, "stats", others, c->bf16 ? 3e-2 : 5e-5 * c->drift);
    tell(c, at, "stats/clip fractions", fractions, c->bf16 ? 5e-2 : 1e-6);
}

/* ---- learning ---- */

struct tally {
    double stats, fractions, ratios, advantages, norms;
    struct notes sum;
};

/* A list of the peer's rows [b][L] against numbers of the answers' tokens. */
static double list_off(const json_t *want, const struct tr_ppo_rows *r, const float *x)
{
    double e = 0;
    if (!x || (int64_t)json_array_size(want) != r->n) return (double)INFINITY;
    for (int64_t i = 0; i < r->n; i++) {
        const struct tr_ppo_sample *s = tr_ppo_row(r, i);
        const json_t *row = json_array_get(want, (size_t)i);
        for (int64_t t = s->from - 1; t < s->T - 1; t++)
            e = fmax(e, tr_ppo_off((double)*x++, json_array_get(row, (size_t)t)));
    }
    return e;
}

static void check_lists(const struct f5 *c, const char *at, const struct tr_ppo_rows *r,
                        const json_t *want, struct tally *t)
{
    float *advantage = tr_ppo_rows_gather(r, OF(advantage));
    float *old = tr_ppo_rows_gather(r, OF(logp));
    float *logp = tr_ppo_rows_judge(c->g, at, c->judge[0], NULL, TR_UNIT_LOGPROB, r);
    for (int64_t i = 0; old && logp && i < tr_ppo_rows_tokens(r); i++)
        logp[i] = (float)exp((double)logp[i] - (double)old[i]);
    t->ratios = fmax(t->ratios, list_off(json_object_get(want, "policy/ratio"), r, logp));
    t->advantages =
        fmax(t->advantages,
             list_off(json_object_get(want, "policy/advantages"), r, advantage));
    free(advantage);
    free(old);
    free(logp);
}

/* Adds one loss's gradient, scaled, to the joint one. */
static enum tr_status add_gradient(struct f5 *c, enum tr_objective objective,
                                   const struct tr_ppo_arrays *a, double scale,
                                   struct tr_learn_result *r, struct tr_err *err)
{
    struct tr_update none = {.lr = 0};
    const float *grad = NULL;
    struct tr_learn_task task = tr_ppo_task(&c->rules, objective, a, &none);
    enum tr_status st = tr_learner_gradient(c->policy, &task, r, &grad, err);
    int64_t n = tr_params_total(tr_learner_params(c->policy));
    for (int64_t i = 0; st == TR_OK && i < n; i++)
        c->grad[i] += (float)(scale * (double)grad[i]);
    return st;
}

static enum tr_status micro_batch(struct f5 *c, const char *at,
                                  const struct tr_ppo_rows *r, json_t *want,
                                  struct tally *t, struct tr_err *err)
{
    struct tr_ppo_arrays a = {0};
    struct tr_learn_result p = {0}, v = {0};
    struct notes s = {.n = 0};
    double share = 1 / (double)c->accumulation, threshold = c->rules.ratio_threshold;
    check_lists(c, at, r, want, t);
    enum tr_status st = tr_ppo_arrays_make(&c->rules, r->s, r->pick, r->n, &a, err);
    if (st == TR_OK) st = add_gradient(c, TR_LEARN_POLICY, &a, share, &p, err);
    bool mute = threshold > 0 && p.ratio > threshold;
    if (st == TR_OK)
        st = add_gradient(c, TR_LEARN_VALUE, &a, mute ? 0 : share * c->vf_coef, &v, err);
    tr_ppo_arrays_fini(&a);
    if (st != TR_OK) return st;
    note_micro(c, r, &p, &v, mute, &s);
    check_notes(c, &s, want, &t->fractions, &t->stats);
    for (int i = 0; i < s.n; i++) s.x[i] += t->sum.n ? t->sum.x[i] : 0;
    t->sum = s;
    return TR_OK;
}

/* The peer's optimiser: see above. */
static void optimiser_step(struct f5 *c, double lr, const json_t *norm_want,
                           struct tally *t)
{
    const struct tr_params *params = tr_learner_params(c->policy);
    const struct tr_exec *ex = c->g->ex;
    float *master = tr_learner_state(c->policy).master;
    bool clips = c->clip_always || !c->t;
    double sum = 0;
    for (int64_t i = 0; i < tr_params_count(params); i++) {
        const struct tr_param *p = tr_params_get(params, i);
        sum += tr_sum_squares(ex, c->grad + p->at, p->size);
    }
    double norm = clips ? sqrt(sum) : 0, shrink = c->max_norm / (norm + 1e-6);
    t->norms = fmax(t->norms, relative(norm, norm_want));
    c->t++;
    c->drift = fmax(c->drift, lr / 1e-3);
    for (int64_t i = 0; i < tr_params_count(params); i++) {
        const struct tr_param *p = tr_params_get(params, i);
        struct tr_adamw cfg = {lr,  0.9, 0.999, 1e-8, p->peer_decays ? c->decay : 0.01,
                               c->t};
        tr_adamw_step(ex, &cfg, clips && shrink < 1 ? (float)shrink : 1, p->size,
                      c->grad + p->at, master + p->at, c->moment1 + p->at,
                      c->moment2 + p->at);
    }
    memset(c->grad, 0, (size_t)tr_params_total(params) * sizeof *c->grad);
    tr_learner_refresh(c->policy);
}

static enum tr_status learn(struct f5 *c, const char *at, const struct tr_ppo_rows *all,
                            const json_t *step, const struct tr_ppo_metrics *m,
                            struct tr_err *err)
{
    const json_t *orders = json_object_get(step, "permutation_per_epoch");
    const json_t *wants = json_object_get(step, "minibatches");
    const json_t *norms = json_object_get(step, "clip_calls_total_norm");
    int64_t micros = tr_ppo_passes(&c->rules, all->n), per = micros / c->rules.epochs;
    int64_t size = c->rules.micro_batch, steps = 0;
    struct tally t = {0};
    enum tr_status st = TR_OK;
    if ((int64_t)json_array_size(wants) != micros)
        return tr_err_set(err, TR_BADARG, "%zu mini-batches, and we make %lld",
                          json_array_size(wants), (long long)micros);
    for (int64_t k = 0; k < micros && st == TR_OK; k++) {
        int64_t first = k % per * size;
        struct tr_ppo_rows rows =
            tr_ppo_rows_pick(all, json_array_get(orders, (size_t)(k / per)), first,
                             all->n - first < size ? all->n - first : size);
        st = micro_batch(c, at, &rows, json_array_get(wants, (size_t)k), &t, err);
        if (st == TR_OK && (k % per + 1) % c->accumulation == 0)
            optimiser_step(c, number(step, "lr_used"),
                           json_array_get(norms, (size_t)steps++), &t);
    }
    if (st != TR_OK) return st;
    bool all_norms = (int64_t)json_array_size(norms) == steps;
    tell(c, at, "minibatches", t.stats, c->bf16 ? 3e-2 : 5e-5 * c->drift);
    tell(c, at, "minibatches/clip fractions", t.fractions, c->bf16 ? 5e-2 : 1e-6);
    tell(c, at, "minibatches/ratio", t.ratios, c->bf16 ? 1e-1 : 3e-4 * c->drift);
    tell(c, at, "minibatches/advantages", t.advantages, 3e-4);
    tell(c, at, "clip_calls_total_norm", all_norms ? t.norms : (double)INFINITY,
         c->bf16 ? 3e-2 : 1e-4);
    check_stats(c, at, step, m, &t.sum, micros);
    return TR_OK;
}

/* ---- a case ---- */

static void compare_parameters(struct f5 *c)
{
    char path[4700], at[500];
    struct tr_err err = {0};
    json_t *sums = NULL;
    const float *master = tr_learner_state(c->policy).master;
    snprintf(at, sizeof at, "%s/params_after", c->name);
    snprintf(path, sizeof path, "%s/params_after.safetensors", c->dir);
    if (tr_path_exists(path))
        tr_steps_compare(c->g, at, c->policy, master, path, 1, 2e-5 * (double)c->t,
                         5e-4 * c->drift, false);
    snprintf(path, sizeof path, "%s/params_after.checksums.json", c->dir);
    if (!tr_path_exists(path)) return;
    if (tr_json_load(path, 64U << 20U, &sums, &err) == TR_OK)
        tr_steps_checksums(c->g, at, c->policy, master, sums, 1e-5);
    else
        tr_golden_fail(c->g, at, "%s", err.text);
    json_decref(sums);
}

static enum tr_status run_step(struct f5 *c, size_t k, const json_t *step,
                               struct tr_err *err)
{
    char at[460], prefix[32];
    struct tr_ppo_rows r;
    struct tr_ppo_metrics m;
    json_t *sums = json_object_get(step, "checksums");
    snprintf(prefix, sizeof prefix, "step%zu", k);
    snprintf(at, sizeof at, "%s/step%zu", c->name, k);
    if (!tr_ppo_rows_open(c->g, at, step, c->arrays, prefix, &r))
        return tr_err_set(err, TR_BADARG, "step %zu", k);
    enum tr_status st = prepare(c, at, prefix, &r, step, &m, err);
    if (st == TR_OK) st = learn(c, at, &r, step, &m, err);
    tr_ppo_rows_close(&r);
    if (st != TR_OK || !sums || c->bf16) return st;
    snprintf(at, sizeof at, "%s/step%zu/checksums", c->name, k);
    tr_steps_checksums(c->g, at, c->policy, tr_learner_state(c->policy).master, sums,
                       1e-5);
    return TR_OK;
}

static void run_case(struct tr_golden *g, const char *part, const char *name,
                     const char *which)
{
    struct f5 c = {.g = g};
    struct tr_err err = {0};
    char path[4700];
    size_t k = 0;
    const json_t *step = NULL;
    snprintf(c.part, sizeof c.part, "%s", part);
    snprintf(c.dir, sizeof c.dir, "%s/%s", part, which);
    snprintf(c.name, sizeof c.name, "%s/%s", name, which);
    snprintf(path, sizeof path, "%s/case.json", c.dir);
    enum tr_status st = tr_json_load(path, 64U << 20U, &c.doc, &err);
    snprintf(path, sizeof path, "%s/arrays.safetensors", c.dir);
    if (st == TR_OK) st = tr_st_open(path, &c.arrays, &err);
    if (st == TR_OK) st = read_rules(&c, &err);
    if (st == TR_OK) st = open_models(&c, &err);
    if (st == TR_OK) {
        json_array_foreach(json_object_get(c.doc, "steps"), k, step)
        {
            if (st == TR_OK) st = run_step(&c, k, step, &err);
        }
        if (!k) tr_golden_fail(g, c.name, "no steps in it");
    }
    if (st != TR_OK) tr_golden_fail(g, c.name, "%s", err.text);
    if (st == TR_OK && !c.bf16) compare_parameters(&c);
    close_case(&c);
}

static int is_visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static void run_entry(struct tr_golden *g, const char *part, const char *name,
                      const char *entry)
{
    static const char *const material[] = {"policy", "reference",
                                           "value_head.safetensors", "standalone.json"};
    char path[4700], at[400];
    for (size_t i = 0; i < sizeof material / sizeof *material; i++)
        if (!strcmp(entry, material[i])) return;
    snprintf(path, sizeof path, "%s/%s/case.json", part, entry);
    snprintf(at, sizeof at, "%s/%s", name, entry);
    if (!strcmp(entry, "standalone.safetensors"))
        tr_golden_f5_standalone(g, part, name);
    else if (tr_path_exists(path))
        run_case(g, part, name, entry);
    else
        tr_golden_fail(g, at, "this kind of case is not known");
}

void tr_golden_f5(struct tr_golden *g, const char *part, const char *name)
{
    struct dirent **e = NULL;
    int n = scandir(part, &e, is_visible, alphasort);
    for (int i = 0; i < n; i++) {
        run_entry(g, part, name, e[i]->d_name);
        free(e[i]);
    }
    if (n >= 0) free(e);
}

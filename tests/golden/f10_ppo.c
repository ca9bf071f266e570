/* F10's separate_critic: PPO with a critic that is a model of its own, trained here by the real
 * learners over all PPO steps: what comes before learning (log-probs, values, rewards, advantages),
 * each optimiser step's and micro-batch's numbers, and both models' parameters. Nothing is taken
 * over from the file but prompts, answers, scores and the order of rows.
 *
 * Tolerances are those of the fixture's README, which measured f32 against f64: log-probs, values
 * and what is made of them abs 2e-4 (later steps start from parameters that differ by 1e-5); ratio 3e-4
 * and losses 5e-5 times max(1, size); norms abs 1e-4 times the same; clip fractions 1e-6 (a count:
 * no token is near an edge); first gradients 1e-5 of the tensor's largest entry; the
 * coefficient and the rates rel 1e-6; parameters 1e-5 in the 99.9 % quantile and 5e-4 at most. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/learn/schedule.h"
#include "tests/golden/ppo_rows.h"
#include "tests/golden/steps.h"

enum { TOKENS = 8192, ROWS = 256, SAMPLED = 17 };

#define OF(member) offsetof(struct tr_ppo_sample, member)

enum model { POLICY, CRITIC, REFERENCE, MODELS };

struct critic_case {
    struct tr_golden *g;
    char dir[4600], name[400];
    json_t *doc;                        /* owns */
    struct tr_st *arrays;               /* owns */
    struct tr_learner *learner[MODELS]; /* own */
    struct tr_evaluator *judge[MODELS]; /* own */
    struct tr_ppo_rules rules;
    struct tr_ppo_state state;
    struct tr_update update[2]; /* of policy and critic; lr is filled in at each step */
    struct tr_schedule schedule[2];
    bool by_ppo_step; /* the schedules count those */
    int64_t ppo_steps, steps;
};

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static const char *word(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

/* The worst of several numbers of one kind, told as one case. */
struct tally {
    double losses, fractions, ratios, norms, rates, entropy;
};

static void keep(double *worst, double got, const json_t *o, const char *key)
{
    *worst = fmax(*worst, tr_ppo_off(got, json_object_get(o, key)));
}

static void tell(const struct critic_case *c, const char *at, const char *what, double e,
                 double tolerance)
{
    char name[600];
    snprintf(name, sizeof name, "%s/%s", at, what);
    tr_golden_case(c->g, name, e, tolerance);
}

/* ---- the case's settings ---- */

static enum tr_status read_schedules(struct critic_case *c, const json_t *o,
                                     struct tr_err *err)
{
    static const char *const rate[2] = {"lr_policy", "lr_critic"};
    enum tr_status st = TR_OK;
    c->by_ppo_step = !strcmp(word(o, "lr_unit"), "ppo_step");
    if (!c->by_ppo_step && strcmp(word(o, "lr_unit"), "optimizer_step") != 0)
        return tr_err_set(err, TR_BADARG, "lr_unit: %s", word(o, "lr_unit"));
    for (int m = 0; m < 2 && st == TR_OK; m++) {
        struct tr_schedule *s = &c->schedule[m];
        st = tr_schedule_named(word(o, "lr_scheduler"), s, err);
        s->lr = number(o, rate[m]);
        s->warmup = (int64_t)number(o, "lr_warmup");
        s->total = (int64_t)number(o, "lr_total");
        c->update[m] = (struct tr_update){.beta1 = number(o, "adam_beta1"),
                                          .beta2 = number(o, "adam_beta2"),
                                          .eps = number(o, "adam_eps"),
                                          .weight_decay = number(o, "weight_decay"),
                                          .max_grad_norm = number(o, "max_grad_norm")};
    }
    return st;
}

static enum tr_status read_rules(struct critic_case *c, struct tr_err *err)
{
    const json_t *o = json_object_get(c->doc, "config");
    struct tr_ppo_rules *r = &c->rules;
    *r = tr_ppo_defaults;
    r->control = (struct tr_kl_control){
        .coef = number(o, "init_kl_coef"),
        .adaptive = json_is_true(json_object_get(o, "adap_kl_ctrl")),
        .target = number(o, "kl_target"),
        .horizon = number(o, "kl_horizon")};
    r->whiten_rewards = json_is_true(json_object_get(o, "whiten_rewards"));
    r->whiten_padding = !strcmp(word(o, "whiten_outside_mask"), "trl");
    if (!r->whiten_padding && strcmp(word(o, "whiten_outside_mask"), "zeroed") != 0)
        return tr_err_set(err, TR_BADARG, "whiten_outside_mask: %s",
                          word(o, "whiten_outside_mask"));
    r->gae = (struct tr_gae){.gamma = number(o, "gamma"), .lambda = number(o, "lam")};
    r->epochs = (int64_t)number(o, "ppo_epochs");
    r->micro_batch = (int64_t)number(o, "micro_batch_size");
    r->minibatch = r->micro_batch * (int64_t)number(o, "gradient_accumulation_steps");
    r->clip = number(o, "cliprange");
    r->clip_value = number(o, "cliprange_value");
    enum tr_status st = tr_loss_mean_named(word(o, "loss_mean"), &r->mean, err);
    if (st == TR_OK) st = tr_kl_named(word(o, "kl_penalty"), &r->kl, err);
    if (st == TR_OK) st = tr_ppo_rules_check(r, err);
    if (st == TR_OK) st = read_schedules(c, o, err);
    c->state = tr_ppo_state_start(r);
    return st;
}

static enum tr_status open_models(struct critic_case *c, const char *part,
                                  struct tr_err *err)
{
    static const char *const folder[] = {"policy", "critic", "reference"};
    enum tr_status st = TR_OK;
    for (int m = 0; m < MODELS && st == TR_OK; m++) {
        char path[4700];
        snprintf(path, sizeof path, "%s/%s", part, folder[m]);
        struct tr_learner_start s = {.model = path,
                                     .lm_head = m != CRITIC,
                                     .value_head = m == CRITIC,
                                     .max_tokens = TOKENS,
                                     .max_sequences = ROWS};
        st = tr_learner_open(c->g->ex, &s, &c->learner[m], err);
        if (st == TR_OK)
            st = tr_evaluator_create(c->g->ex, tr_learner_weights(c->learner[m]), TOKENS,
                                     &c->judge[m], err);
    }
    return st;
}

static void close_case(struct critic_case *c)
{
    for (int m = 0; m < MODELS; m++) {
        tr_evaluator_destroy(c->judge[m]);
        tr_learner_close(c->learner[m]);
    }
    tr_st_close(c->arrays);
    json_decref(c->doc);
}

/* ---- before learning ---- */

static void judge_into(struct critic_case *c, const char *at, const struct tr_ppo_rows *r,
                       enum model m, enum tr_unit_kind kind, size_t member)
{
    struct tr_evaluator *reference =
        kind == TR_UNIT_DIVERGENCE ? c->judge[REFERENCE] : NULL;
    float *x = tr_ppo_rows_judge(c->g, at, c->judge[m], reference, kind, r);
    tr_ppo_rows_scatter(r, member, x);
    free(x);
}

static void compare(struct critic_case *c, const char *at, const char *prefix,
                    const char *what, const struct tr_ppo_rows *r, size_t member)
{
    char tensor[128];
    float *x = tr_ppo_rows_gather(r, member);
    snprintf(tensor, sizeof tensor, "%s.%s", prefix, what);
    tr_ppo_rows_case(c->g, at, what, c->arrays, tensor, r, x, 2e-4, false);
    free(x);
}

/* The rewards before they are whitened, by rules that do not. */
static enum tr_status plain_rewards(struct critic_case *c, const char *at,
                                    const char *prefix, struct tr_ppo_rows *r,
                                    struct tr_err *err)
{
    struct tr_ppo_rules rules = c->rules;
    struct tr_ppo_state state = c->state;
    struct tr_ppo_metrics m;
    rules.whiten_rewards = false;
    enum tr_status st = tr_ppo_prepare(&rules, &state, r->s, r->n, &m, err);
    if (st == TR_OK) compare(c, at, prefix, "rewards", r, OF(reward));
    return st;
}

static enum tr_status prepare(struct critic_case *c, const char *at, const char *prefix,
                              struct tr_ppo_rows *r, const json_t *step,
                              struct tr_err *err)
{
    struct tr_ppo_metrics m;
    double e;
    judge_into(c, at, r, POLICY, TR_UNIT_LOGPROB, OF(logp));
    judge_into(c, at, r, REFERENCE, TR_UNIT_LOGPROB, OF(ref));
    judge_into(c, at, r, CRITIC, TR_UNIT_VALUE, OF(value));
    if (c->rules.kl == TR_KL_FULL)
        judge_into(c, at, r, POLICY, TR_UNIT_DIVERGENCE, OF(kl));
    compare(c, at, prefix, "old_logprobs", r, OF(logp));
    compare(c, at, prefix, "ref_logprobs", r, OF(ref));
    compare(c, at, prefix, "values", r, OF(value));
    enum tr_status st = plain_rewards(c, at, prefix, r, err);
    if (st == TR_OK) st = tr_ppo_prepare(&c->rules, &c->state, r->s, r->n, &m, err);
    if (st != TR_OK) return st;
    compare(c, at, prefix, "kls", r, OF(kl));
    if (c->rules.whiten_rewards)
        compare(c, at, prefix, "rewards_whitened", r, OF(reward));
    compare(c, at, prefix, "advantages", r, OF(advantage));
    compare(c, at, prefix, "returns", r, OF(returns));
    e = fabs(m.kl_coef / number(step, "kl_coef_before") - 1);
    e = fmax(e, fabs(c->state.kl_coef / number(step, "kl_coef_after") - 1));
    tell(c, at, "kl_coef", e, 1e-6);
    tell(c, at, "kl_measured", tr_ppo_off(m.kl, json_object_get(step, "kl_measured")),
         2e-4);
    tell(c, at, "score_mean", tr_ppo_off(m.reward, json_object_get(step, "score_mean")),
         1e-6);
    tell(c, at, "n_response_tokens",
         tr_ppo_off((double)tr_ppo_rows_tokens(r),
                    json_object_get(step, "n_response_tokens")),
         0);
    return TR_OK;
}

/* ---- learning ---- */

/* A task of these rows for each learner; the gradient alone (which are its numbers) or the
 * whole step. */
static enum tr_status learn(struct critic_case *c, const struct tr_ppo_rows *r,
                            bool whole, struct tr_learn_result out[2], struct tr_err *err)
{
    struct tr_ppo_arrays a = {0};
    enum tr_status st = tr_ppo_arrays_make(&c->rules, r->s, r->pick, r->n, &a, err);
    for (int m = 0; m < 2 && st == TR_OK; m++) {
        struct tr_learn_task task = tr_ppo_task(
            &c->rules, m == POLICY ? TR_LEARN_POLICY : TR_LEARN_VALUE, &a, &c->update[m]);
        st = whole ? tr_learner_step(c->learner[m], &task, &out[m], err)
                   : tr_learner_gradient(c->learner[m], &task, &out[m], NULL, err);
    }
    tr_ppo_arrays_fini(&a);
    return st;
}

static void keep_results(struct tally *t, const struct tr_learn_result r[2],
                         const json_t *o)
{
    keep(&t->fractions, r[POLICY].clip_fraction, o, "clipfrac");
    keep(&t->fractions, r[CRITIC].clip_fraction, o, "vf_clipfrac");
    keep(&t->losses, r[POLICY].approx_kl, o, "approxkl");
    keep(&t->losses, r[POLICY].policy_kl, o, "policykl");
    keep(&t->ratios, r[POLICY].ratio, o, "ratio_mean");
    keep(&t->entropy, r[POLICY].entropy, o, "entropy");
    keep(&t->fractions, (double)r[POLICY].targets, o, "n_tokens");
}

/* One micro-batch alone: a step of it has the mean over its own tokens. */
static enum tr_status micro_batch(struct critic_case *c, const char *at,
                                  const char *prefix, const struct tr_ppo_rows *all,
                                  const json_t *want, const json_t *whole,
                                  struct tally *t, struct tr_err *err)
{
    char tensor[160];
    struct tr_learn_result r[2];
    const json_t *list = json_object_get(want, "samples");
    struct tr_ppo_rows rows =
        tr_ppo_rows_pick(all, list, 0, (int64_t)json_array_size(list));
    size_t micros = json_array_size(json_object_get(whole, "micro_batches"));
    double tokens = (double)tr_ppo_rows_tokens(&rows);
    double share = c->rules.mean == TR_MEAN_MICROBATCHES
                       ? 1 / (double)micros
                       : tokens / number(whole, "n_tokens");
    enum tr_status st = learn(c, &rows, false, r, err);
    if (st != TR_OK) return st;
    keep_results(t, r, want);
    keep(&t->losses, r[POLICY].loss, want, "policy_loss_mean");
    keep(&t->losses, r[CRITIC].loss, want, "value_loss_mean");
    keep(&t->losses, r[POLICY].loss * tokens, want, "policy_loss_sum");
    keep(&t->losses, r[CRITIC].loss * tokens, want, "value_loss_sum");
    keep(&t->losses, r[POLICY].loss * share, want, "policy_loss_contribution");
    keep(&t->losses, r[CRITIC].loss * share, want, "value_loss_contribution");
    keep(&t->entropy, r[CRITIC].value_mean, want, "vpred_mean");
    float *logp =
        tr_ppo_rows_judge(c->g, at, c->judge[POLICY], NULL, TR_UNIT_LOGPROB, &rows);
    float *value =
        tr_ppo_rows_judge(c->g, at, c->judge[CRITIC], NULL, TR_UNIT_VALUE, &rows);
    float *old = tr_ppo_rows_gather(&rows, OF(logp));
    snprintf(tensor, sizeof tensor, "%s.logprobs", prefix);
    tr_ppo_rows_case(c->g, at, "logprobs", c->arrays, tensor, &rows, logp, 2e-4, false);
    snprintf(tensor, sizeof tensor, "%s.vpreds", prefix);
    tr_ppo_rows_case(c->g, at, "vpreds", c->arrays, tensor, &rows, value, 2e-4, false);
    for (int64_t i = 0; logp && old && i < tr_ppo_rows_tokens(&rows); i++)
        logp[i] = (float)exp((double)logp[i] - (double)old[i]);
    snprintf(tensor, sizeof tensor, "%s.ratio", prefix);
    tr_ppo_rows_case(c->g, at, "ratio", c->arrays, tensor, &rows, logp, 3e-4, true);
    free(logp);
    free(value);
    free(old);
    return TR_OK;
}

static enum tr_status micro_batches(struct critic_case *c, const char *at,
                                    const char *prefix, const struct tr_ppo_rows *all,
                                    const json_t *whole, struct tally *t,
                                    struct tr_err *err)
{
    size_t j = 0;
    const json_t *micro = NULL;
    enum tr_status st = TR_OK;
    json_array_foreach(json_object_get(whole, "micro_batches"), j, micro)
    {
        char inner[128], name[560];
        snprintf(inner, sizeof inner, "%s.micro%zu", prefix, j);
        snprintf(name, sizeof name, "%s/micro%zu", at, j);
        if (st == TR_OK) st = micro_batch(c, name, inner, all, micro, whole, t, err);
    }
    return st;
}

/* The gradients of the run's first optimiser step, where the file is there. */
static void first_gradients(struct critic_case *c, const struct tr_ppo_arrays *a)
{
    static const char *const prefix[2] = {"policy.", "critic."};
    char path[4700], at[500];
    struct tr_err err = {0};
    snprintf(path, sizeof path, "%s/grads_first_sampled.safetensors", c->dir);
    if (!tr_path_exists(path)) return;
    for (int m = 0; m < 2; m++) {
        const float *grad = NULL;
        struct tr_learn_result r;
        struct tr_learn_task task = tr_ppo_task(
            &c->rules, m == POLICY ? TR_LEARN_POLICY : TR_LEARN_VALUE, a, &c->update[m]);
        struct tr_steps_want want = {path, prefix[m], SAMPLED, 0, 1e-5, true};
        snprintf(at, sizeof at, "%s/grads_first/%s", c->name, m ? "critic" : "policy");
        if (tr_learner_gradient(c->learner[m], &task, &r, &grad, &err) == TR_OK)
            tr_steps_compare_part(c->g, at, c->learner[m], grad, &want);
        else
            tr_golden_fail(c->g, at, "%s", err.text);
    }
}

static enum tr_status optimiser_step(struct critic_case *c, const char *at,
                                     const char *prefix, const struct tr_ppo_rows *all,
                                     const struct tr_ppo_rows *rows, const json_t *want,
                                     struct tally *t, struct tr_err *err)
{
    struct tr_learn_result r[2];
    int64_t k = c->by_ppo_step ? c->ppo_steps : c->steps;
    for (int m = 0; m < 2; m++) c->update[m].lr = tr_schedule_lr(&c->schedule[m], k);
    enum tr_status st = micro_batches(c, at, prefix, all, want, t, err);
    if (st == TR_OK && !c->steps) {
        struct tr_ppo_arrays a = {0};
        st = tr_ppo_arrays_make(&c->rules, rows->s, rows->pick, rows->n, &a, err);
        if (st == TR_OK) first_gradients(c, &a);
        tr_ppo_arrays_fini(&a);
    }
    if (st == TR_OK) st = learn(c, rows, true, r, err);
    if (st != TR_OK) return st;
    c->steps++;
    keep_results(t, r, want);
    keep(&t->losses, r[POLICY].loss, want, "policy_loss");
    keep(&t->losses, r[CRITIC].loss, want, "value_loss");
    keep(&t->norms, r[POLICY].grad_norm, want, "grad_norm_policy");
    keep(&t->norms, r[CRITIC].grad_norm, want, "grad_norm_critic");
    for (int m = 0; m < 2; m++) {
        double lr = number(want, m ? "lr_critic" : "lr_policy");
        double e = fabs(c->update[m].lr - lr);
        t->rates = fmax(t->rates, lr > 0 ? e / lr : e);
    }
    return TR_OK;
}

/* Our cut of the given order must be the file's list of samples. */
static bool same_samples(const struct tr_ppo_rows *rows, const json_t *want)
{
    const json_t *list = json_object_get(want, "samples");
    bool same = json_array_size(list) == (size_t)rows->n;
    for (int64_t i = 0; i < rows->n && same; i++)
        same = json_integer_value(json_array_get(list, (size_t)i)) == rows->pick[i];
    return same;
}

static enum tr_status all_optimiser_steps(struct critic_case *c, const char *at,
                                          const char *prefix,
                                          const struct tr_ppo_rows *all,
                                          const json_t *step, struct tr_err *err)
{
    const json_t *orders = json_object_get(step, "permutation_per_epoch");
    const json_t *wants = json_object_get(step, "optimizer_steps");
    int64_t passes = tr_ppo_passes(&c->rules, all->n), per = passes / c->rules.epochs;
    struct tally t = {0};
    enum tr_status st = TR_OK;
    bool same = (int64_t)json_array_size(wants) == passes;
    for (int64_t k = 0; k < passes && st == TR_OK && same; k++) {
        char inner[96], name[500];
        const json_t *want = json_array_get(wants, (size_t)k);
        int64_t first = k % per * c->rules.minibatch;
        int64_t count =
            all->n - first < c->rules.minibatch ? all->n - first : c->rules.minibatch;
        struct tr_ppo_rows rows = tr_ppo_rows_pick(
            all, json_array_get(orders, (size_t)(k / per)), first, count);
        same = same_samples(&rows, want);
        snprintf(inner, sizeof inner, "%s.opt%lld", prefix, (long long)k);
        snprintf(name, sizeof name, "%s/opt%lld", at, (long long)k);
        if (same) st = optimiser_step(c, name, inner, all, &rows, want, &t, err);
    }
    tell(c, at, "order", same ? 0 : 1, 0);
    tell(c, at, "losses", t.losses, 5e-5);
    tell(c, at, "clip fractions", t.fractions, 1e-6);
    tell(c, at, "ratio means", t.ratios, 3e-4);
    tell(c, at, "entropy and values", t.entropy, 2e-4);
    tell(c, at, "gradient norms", t.norms, 1e-4);
    tell(c, at, "learning rates", t.rates, 1e-6);
    return st;
}

/* Both models' masters against checksums and whichever file there is. */
static void compare_parameters(struct critic_case *c, const char *at, const json_t *step,
                               size_t k)
{
    static const char *const prefix[2] = {"policy.", "critic."};
    for (int m = 0; m < 2; m++) {
        char path[4700], name[500];
        struct tr_steps_want want = {path, prefix[m], 1, 1e-5, 5e-4, false};
        const float *master = tr_learner_state(c->learner[m]).master;
        snprintf(name, sizeof name, "%s/checksums/%s", at, m ? "critic" : "policy");
        tr_steps_checksums_part(c->g, name, c->learner[m], master, prefix[m],
                                json_object_get(step, "checksums_after"), 1e-5);
        snprintf(name, sizeof name, "%s/params/%s", at, m ? "critic" : "policy");
        snprintf(path, sizeof path, "%s/params_after_step%zu.safetensors", c->dir, k);
        if (tr_path_exists(path))
            tr_steps_compare_part(c->g, name, c->learner[m], master, &want);
        want.stride = SAMPLED;
        snprintf(path, sizeof path, "%s/params_after_step%zu_sampled.safetensors", c->dir,
                 k);
        if (tr_path_exists(path))
            tr_steps_compare_part(c->g, name, c->learner[m], master, &want);
    }
}

static void run_step(struct critic_case *c, size_t k, const json_t *step)
{
    char at[460], prefix[32];
    struct tr_ppo_rows r;
    struct tr_err err = {0};
    snprintf(prefix, sizeof prefix, "step%zu", k);
    snprintf(at, sizeof at, "%s/step%zu", c->name, k);
    if (!tr_ppo_rows_open(c->g, at, step, c->arrays, prefix, &r)) return;
    enum tr_status st = prepare(c, at, prefix, &r, step, &err);
    if (st == TR_OK) st = all_optimiser_steps(c, at, prefix, &r, step, &err);
    if (st == TR_OK) compare_parameters(c, at, step, k);
    if (st != TR_OK) tr_golden_fail(c->g, at, "%s", err.text);
    c->ppo_steps++;
    tr_ppo_rows_close(&r);
}

static void run_case(struct tr_golden *g, const char *part, const char *name,
                     const char *which)
{
    struct critic_case c = {.g = g};
    struct tr_err err = {0};
    char path[4700];
    size_t k = 0;
    const json_t *step = NULL;
    snprintf(c.dir, sizeof c.dir, "%s/separate_critic/%s", part, which);
    snprintf(c.name, sizeof c.name, "%s/separate_critic/%s", name, which);
    snprintf(path, sizeof path, "%s/case.json", c.dir);
    enum tr_status st = tr_json_load(path, 64U << 20U, &c.doc, &err);
    snprintf(path, sizeof path, "%s/arrays.safetensors", c.dir);
    if (st == TR_OK) st = tr_st_open(path, &c.arrays, &err);
    if (st == TR_OK) st = read_rules(&c, &err);
    if (st == TR_OK) st = open_models(&c, part, &err);
    if (st != TR_OK) tr_golden_fail(g, c.name, "%s", err.text);
    if (st == TR_OK) {
        json_array_foreach(json_object_get(c.doc, "steps"), k, step)
            run_step(&c, k, step);
        if (!k) tr_golden_fail(g, c.name, "no steps in it");
    }
    close_case(&c);
}

static int is_visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

void tr_golden_f10_critic(struct tr_golden *g, const char *part, const char *name)
{
    char dir[4500];
    struct dirent **e = NULL;
    snprintf(dir, sizeof dir, "%s/separate_critic", part);
    int n = scandir(dir, &e, is_visible, alphasort);
    for (int i = 0; i < n; i++) {
        run_case(g, part, name, e[i]->d_name);
        free(e[i]);
    }
    if (n >= 0) free(e);
}

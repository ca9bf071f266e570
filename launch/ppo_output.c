/* What a PPO run tells and leaves. Names of metrics are the peer's where it has them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/json.h"
#include "core/watch/trainer_log.h"
#include "launch/ppo_parts.h"
#include "launch/version.h"

/* ---- metrics ---- */

static void put(json_t *to, const char *key, double x)
{
    if (isfinite(x)) json_object_set_new(to, key, json_real(x));
}

/* What each reward said, on the mean over the samples. */
static void put_slots(json_t *to, const struct tr_ppo_report *r)
{
    for (int64_t k = 0; k < r->rewards->n; k++) {
        char key[TR_SLOT_BYTES + 16];
        double sum = 0;
        for (int64_t i = 0; i < r->n; i++)
            sum += (double)r->score[i * TR_REWARDS_MAX + k];
        snprintf(key, sizeof key, "reward/%s", r->rewards->slot[k].name);
        put(to, key, sum / (double)r->n);
    }
}

static void put_samples(json_t *to, const struct tr_ppo_metrics *m)
{
    put(to, "env/reward_mean", m->reward);
    put(to, "env/reward_std", m->reward_std);
    put(to, "ppo/mean_scores", m->score);
    put(to, "ppo/std_scores", m->score_std);
    put(to, "objective/kl", m->kl);
    put(to, "objective/kl_coef", m->kl_coef);
    put(to, "objective/entropy", m->entropy);
    put(to, "ppo/mean_non_score_reward", m->non_score_reward);
    put(to, "tokens/queries_len_mean", m->query_length);
    put(to, "tokens/queries_len_std", m->query_length_std);
    put(to, "tokens/responses_len_mean", m->length);
    put(to, "tokens/responses_len_std", m->length_std);
    put(to, "tokens/eos_share", m->stopped);
}

static void put_learning(json_t *to, const struct tr_ppo_report *r)
{
    const struct tr_ppo_metrics *m = &r->metrics;
    put(to, "ppo/returns/mean", m->returns_mean);
    put(to, "ppo/returns/var", m->returns_var);
    put(to, "ppo/val/mean", m->value_mean);
    put(to, "ppo/val/var", m->value_var);
    put(to, "ppo/val/var_explained", m->explained_variance);
    put(to, "ppo/loss/policy", r->policy.loss);
    put(to, "ppo/loss/value", r->critic.loss);
    put(to, "ppo/policy/entropy", r->policy.entropy);
    put(to, "ppo/policy/approxkl", r->policy.approx_kl);
    put(to, "ppo/policy/policykl", r->policy.policy_kl);
    put(to, "ppo/policy/clipfrac", r->policy.clip_fraction);
    put(to, "ppo/policy/ratio", r->policy.ratio);
    put(to, "ppo/policy/grad_norm", r->policy.grad_norm);
    put(to, "ppo/val/error", r->critic.value_error);
    put(to, "ppo/val/clipfrac", r->critic.clip_fraction);
    put(to, "ppo/val/grad_norm", r->critic.grad_norm);
    put(to, "ppo/learning_rate", r->policy_lr);
    put(to, "ppo/val/learning_rate", r->critic_lr);
    if (r->policy.mismatch_bits >= 0)
        json_object_set_new(to, "mismatch_bits",
                            json_integer((json_int_t)r->policy.mismatch_bits));
    else
        json_object_set_new(to, "mismatch_bits", json_null());
    json_object_set_new(to, "skipped_steps",
                        json_integer((json_int_t)r->policy.skipped + r->critic.skipped));
}

json_t *tr_ppo_metrics_json(const struct tr_ppo_report *r)
{
    json_t *doc = json_object();
    if (!doc) return NULL;
    put_samples(doc, &r->metrics);
    put_slots(doc, r);
    if (!r->eval) put_learning(doc, r);
    return doc;
}

/* ---- a step ---- */

static double left(const struct tr_ppo_parts *p, int64_t step)
{
    int64_t done = step - p->first_step;
    double each = done > 0 ? (tr_clock_seconds() - p->started) / (double)done : 0;
    return each * (double)(p->set.steps - step);
}

static void say_step(const struct tr_ppo_parts *p, const struct tr_ppo_report *r)
{
    char eta[32];
    const struct tr_ppo_metrics *m = &r->metrics;
    tr_clock_text(left(p, r->step), eta, sizeof eta);
    tr_log_info(p->watch->log,
                "ppo %lld/%lld  reward %.4f  kl %.3f x %.4f  loss %.4f  value loss %.4f  "
                "entropy %.3f  length %.1f  eos %.0f %%  %.2f s  %s left%s",
                (long long)r->step, (long long)p->set.steps, m->reward, m->kl, m->kl_coef,
                r->policy.loss, r->critic.loss, r->policy.entropy, m->length,
                100 * m->stopped, tr_clock_seconds() - p->step_started, eta,
                r->policy.mismatch_bits > 0 && !p->set.ask_policy ? "  MISMATCH" : "");
    if (r->policy.skipped + r->critic.skipped > 0)
        tr_log_warn(
            p->watch->log,
            "step %lld: %lld optimiser steps were not finite: the models were left "
            "as they were",
            (long long)r->step, (long long)r->policy.skipped + r->critic.skipped);
}

/* One line for people: what each reward says of held-out prompts. */
static void say_eval(const struct tr_ppo_parts *p, const struct tr_ppo_report *r)
{
    char slots[300] = "";
    size_t used = 0;
    for (int64_t k = 0; k < r->rewards->n && used < sizeof slots; k++) {
        double sum = 0;
        for (int64_t i = 0; i < r->n; i++)
            sum += (double)r->score[i * TR_REWARDS_MAX + k];
        used += (size_t)snprintf(slots + used, sizeof slots - used, "  %s %.4f",
                                 r->rewards->slot[k].name, sum / (double)r->n);
    }
    tr_log_info(
        p->watch->log,
        "held out, after step %lld: %lld prompts  reward %.4f  kl %.3f  length %.1f%s",
        (long long)r->step, (long long)r->n, r->metrics.reward, r->metrics.kl,
        r->metrics.length, slots);
}

bool tr_ppo_logged(const struct tr_ppo_parts *p, int64_t step)
{
    const struct tr_output_options *o = &p->o->output;
    double every = o->logging_steps >= 1 ? o->logging_steps
                                         : ceil(o->logging_steps * (double)p->set.steps);
    return step % (int64_t)every == 0 || step == p->set.steps ||
           (step == 1 && o->logging_first);
}

/* What is no number JSON does not have. */
static double number(const json_t *metrics, const char *key)
{
    const json_t *value = json_object_get(metrics, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

struct tr_log_entry tr_ppo_log_entry(const struct tr_ppo_parts *p, int64_t step,
                                     const json_t *metrics)
{
    int64_t each = p->prompts.at.count / p->set.samples;
    return (struct tr_log_entry){
        .step = step,
        .total = p->set.steps,
        .has_loss = true,
        .loss = number(metrics, "ppo/loss/policy"),
        .grad_norm = number(metrics, "ppo/policy/grad_norm"),
        .lr = number(metrics, "ppo/learning_rate"),
        .epoch = tr_round_decimals((double)step / (double)each, 2),
        .has_reward = true,
        .reward = number(metrics, "env/reward_mean"),
    };
}

enum tr_status tr_ppo_log_step(struct tr_ppo_parts *p, const struct tr_ppo_report *r,
                               struct tr_err *err)
{
    if (r->eval) say_eval(p, r);
    if (r->eval || !tr_ppo_logged(p, r->step)) return TR_OK;
    json_t *metrics = tr_ppo_metrics_json(r);
    struct tr_log_entry e = tr_ppo_log_entry(p, r->step, metrics);
    e.elapsed = tr_clock_seconds() - p->started;
    e.remaining = left(p, r->step);
    say_step(p, r);
    enum tr_status st = tr_trainer_log_append(p->o->output.dir, &e, err);
    json_decref(metrics);
    return st;
}

/* How long the step was ago for that process nobody knows any more: its times are 0. */
enum tr_status tr_ppo_log_again(const struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_journal_step last;
    json_t *metrics = NULL;
    enum tr_status st = tr_journal_last(p->journal, &last, err);
    if (st != TR_OK || last.step < 1 || !tr_ppo_logged(p, last.step)) return st;
    st = tr_json_parse(last.metrics, strlen(last.metrics), "metrics", &metrics, err);
    if (st != TR_OK) return st;
    const struct tr_log_entry e = tr_ppo_log_entry(p, last.step, metrics);
    json_decref(metrics);
    return tr_trainer_log_append(p->o->output.dir, &e, err);
}

/* ---- the folder ---- */

/* With OpenBLAS's version and core type, once the policy has said them. */
static const char *math_of(const struct tr_ppo_parts *p)
{
    struct tr_core_worker w;
    for (int64_t i = 0; tr_core_see(p->core, i, &w); i++)
        if (w.role == TR_ROLE_POLICY && w.math[0]) return w.math;
    return tr_math_name((enum tr_math)p->o->exec.math);
}

enum tr_status tr_ppo_manifest(const struct tr_ppo_parts *p, bool finished,
                               struct tr_err *err)
{
    char path[TR_PLACE_BYTES], policy[65], critic[65], run[65];
    struct tr_buf text;
    const char *dir = p->o->output.dir;
    tr_buf_init(&text, 1 << 20);
    enum tr_status st = tr_options_text(p->o, &text, err);
    if (st == TR_OK) st = tr_path_join(path, sizeof path, dir, "run.yaml", err);
    if (st == TR_OK) st = tr_file_write(path, tr_buf_text(&text), text.size, err);
    tr_buf_fini(&text);
    if (st == TR_OK) st = tr_path_join(path, sizeof path, dir, "manifest.json", err);
    if (st != TR_OK) return st;
    json_t *doc =
        json_pack("{s:s, s:s, s:s, s:I, s:s, s:b, s:I, s:I}", "version", TR_VERSION,
                  "stage", "ppo", "run", p->run, "seed", (json_int_t)p->o->steps.seed,
                  "math", math_of(p), "bf16", p->o->model.bf16, "staleness",
                  (json_int_t)p->set.staleness, "steps", (json_int_t)p->set.steps);
    if (doc && finished) {
        tr_digest_text(&p->out.policy, policy);
        tr_digest_text(&p->out.critic, critic);
        tr_digest_text(&p->out.run, run);
        json_object_set_new(doc, "step", json_integer((json_int_t)p->out.step));
        json_object_set_new(doc, "policy_digest", json_string(policy));
        json_object_set_new(doc, "critic_digest", json_string(critic));
        json_object_set_new(doc, "digest", json_string(run));
    }
    st = doc ? tr_json_save(path, doc, 2, err) : tr_err_set(err, TR_NOMEM, "%s", path);
    json_decref(doc);
    return st;
}

static enum tr_status write_state(const struct tr_ppo_parts *p, struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    enum tr_status st =
        tr_path_join(path, sizeof path, p->o->output.dir, "trainer_state.json", err);
    if (st != TR_OK) return st;
    json_t *doc = json_pack(
        "{s:I, s:I, s:f, s:f, s:I, s:O}", "global_step", (json_int_t)p->out.step,
        "max_steps", (json_int_t)p->set.steps, "logging_steps",
        p->o->output.logging_steps, "save_steps", p->o->output.save_steps,
        "train_batch_size", (json_int_t)p->o->steps.batch, "log_history", p->history);
    st = doc ? tr_json_save(path, doc, 2, err) : tr_err_set(err, TR_NOMEM, "%s", path);
    json_decref(doc);
    return st;
}

/* Of the steps of this process; a run that went on where nothing was left keeps what is there. */
static enum tr_status write_results(const struct tr_ppo_parts *p, struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    double seconds = tr_clock_seconds() - p->started;
    enum tr_status st =
        tr_path_join(path, sizeof path, p->o->output.dir, "all_results.json", err);
    if (st != TR_OK || p->out.times.steps.steps == 0) return st;
    json_t *doc = json_pack("{s:f, s:f}", "train_runtime", tr_round_decimals(seconds, 4),
                            "train_steps_per_second",
                            tr_round_decimals((double)(p->out.step - p->first_step) /
                                                  (seconds > 1e-4 ? seconds : 1e-4),
                                              3));
    if (doc) tr_company_put_times(doc, &p->out.times);
    st = doc ? tr_json_save(path, doc, 4, err) : tr_err_set(err, TR_NOMEM, "%s", path);
    json_decref(doc);
    return st;
}

enum tr_status tr_ppo_finish(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_digest all[4] = {p->out.policy, p->out.critic, p->state[0], p->state[1]};
    p->out.run = tr_digest_of(all, sizeof all);
    enum tr_status st = tr_ppo_read_history(p, err);
    if (st == TR_OK) st = write_state(p, err);
    if (st == TR_OK) st = write_results(p, err);
    if (st == TR_OK) st = tr_ppo_manifest(p, true, err);
    if (st == TR_OK && p->o->output.plot_loss) tr_ppo_draw(p);
    return st;
}

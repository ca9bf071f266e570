#include "launch/options_check.h"

#include <string.h>

#include "launch/roles.h"

enum { FULL = 0 }; /* finetuning_type's words */

static enum tr_status need(const char *value, const char *key, const char *where,
                           struct tr_err *err)
{
    if (value && *value) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%s: %s is missing", where, key);
}

/* pt, sft and rm have a policy, kto a reference too; naming one of them gives each a process of its
 * own. PPO has them all. */
static enum tr_status check_roles(struct tr_options *o, const char *where,
                                  struct tr_err *err)
{
    struct tr_roles roles;
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(o->roles, name, value)
    {
        int role = tr_role_of(name);
        bool has = role < 0 || role == TR_ROLE_POLICY || o->stage == TR_PPO ||
                   (role == TR_ROLE_REFERENCE && o->stage == TR_KTO);
        if (!has)
            return tr_err_set(err, TR_BADARG,
                              "%s: roles: %s: this stage has no such role", where, name);
    }
    enum tr_status st = tr_roles_read(o->roles, where, NULL, &roles, err);
    if (st != TR_OK || o->stage == TR_PPO) return st;
    if (o->stage == TR_KTO && roles.role[TR_ROLE_REFERENCE].replicas < 1)
        return tr_err_set(err, TR_BADARG,
                          "%s: roles: reference: replicas: expected 1 or more, found 0: "
                          "kto asks it",
                          where);
    if (o->exec.threads < 0 && roles.role[TR_ROLE_POLICY].threads > 0)
        o->exec.threads = roles.role[TR_ROLE_POLICY].threads;
    return TR_OK;
}

static enum tr_status check_resume(struct tr_options *o, const char *where,
                                   struct tr_err *err)
{
    if (!o->resume || json_is_false(o->resume)) return TR_OK;
    if (o->stage == TR_PPO)
        o->output.overwrite = false; /* its journal is what it goes on from */
    if (json_is_true(o->resume)) {
        o->output.resume_last = true;
        return TR_OK;
    }
    o->output.resume = json_string_value(o->resume);
    if (o->output.resume) return TR_OK;
    return tr_err_set(err, TR_BADARG,
                      "%s: resume_from_checkpoint: expected a folder, true or false",
                      where);
}

static enum tr_status check_data(const struct tr_options *o, const char *where,
                                 struct tr_err *err)
{
    if (o->data.train_on_prompt && o->stage != TR_SFT)
        return tr_err_set(err, TR_BADARG, "%s: train_on_prompt: only for stage: sft",
                          where);
    if (o->data.packing == 1 && o->stage != TR_PT)
        return tr_err_set(err, TR_BADARG,
                          "%s: packing: only for stage: pt; packing in sft comes later",
                          where);
    if (o->data.cutoff_len < 2)
        return tr_err_set(err, TR_BADARG,
                          "%s: cutoff_len: expected 2 or more, found %lld", where,
                          (long long)o->data.cutoff_len);
    return TR_OK;
}

static enum tr_status check_held_out(const struct tr_options *o, const char *where,
                                     struct tr_err *err)
{
    bool asked = o->ppo.val_size > 0 || o->ppo.eval_dataset;
    if (asked && o->stage != TR_PPO)
        return tr_err_set(err, TR_BADARG,
                          "%s: val_size, eval_dataset: only for stage: ppo; evaluation "
                          "in other stages comes later",
                          where);
    if (o->ppo.val_size > 0 && o->ppo.eval_dataset)
        return tr_err_set(err, TR_BADARG,
                          "%s: val_size and eval_dataset exclude each other", where);
    if (o->stage == TR_PPO && o->ppo.reward_type != 0 && o->ppo.reward_model)
        return tr_err_set(err, TR_BADARG, "%s: set reward_model_type: full", where);
    return TR_OK;
}

static bool whole_or_share(double x)
{
    return x > 0 && (x < 1 || x == (double)(int64_t)x);
}

static enum tr_status check_steps(const struct tr_options *o, const char *where,
                                  struct tr_err *err)
{
    struct tr_stage_options stage;
    if (o->steps.max_steps == 0)
        return tr_err_set(err, TR_BADARG,
                          "%s: max_steps: expected -1 or 1 and more, found 0", where);
    if (!whole_or_share(o->output.logging_steps))
        return tr_err_set(err, TR_BADARG,
                          "%s: logging_steps: expected a whole number or a share below 1",
                          where);
    if (!whole_or_share(o->output.save_steps))
        return tr_err_set(err, TR_BADARG,
                          "%s: save_steps: expected a whole number or a share below 1",
                          where);
    if (o->output.save_only_model && o->stage == TR_PPO)
        return tr_err_set(err, TR_BADARG,
                          "%s: save_only_model: expected false with stage: ppo, whose "
                          "learners begin again from their checkpoints",
                          where);
    enum tr_status st = tr_options_stage(o, &stage, err);
    return st == TR_OK ? TR_OK : tr_err_wrap(err, st, "%s", where);
}

enum tr_status tr_options_check(struct tr_options *o, const char *where,
                                struct tr_err *err)
{
    if (o->tuning != FULL)
        return tr_err_set(err, TR_BADARG,
                          "%s: finetuning_type is not stated, which means lora, and LoRA "
                          "comes later: set finetuning_type: full",
                          where);
    o->data.stage = (enum tr_stage)o->stage;
    o->data.compat = o->compat;
    o->update.peer_decay = o->compat;
    if (o->data.max_samples < 0) o->data.max_samples = 0;
    enum tr_status st = need(o->model.path, "model_name_or_path", where, err);
    if (st == TR_OK) st = need(o->data.dataset, "dataset", where, err);
    if (st == TR_OK) st = need(o->output.dir, "output_dir", where, err);
    if (st == TR_OK) st = check_data(o, where, err);
    if (st == TR_OK) st = check_roles(o, where, err);
    if (st == TR_OK) st = check_held_out(o, where, err);
    if (st == TR_OK) st = check_resume(o, where, err);
    if (st == TR_OK) st = check_steps(o, where, err);
    return st;
}

static enum tr_status schedule_of(const struct tr_options *o, struct tr_schedule *out,
                                  struct tr_err *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    enum tr_status st = tr_schedule_named(o->steps.scheduler, out, err);
    out->lr = o->update.lr;
    json_object_foreach(o->steps.scheduler_kwargs, key, value)
    {
        if (st != TR_OK || json_is_null(value)) continue;
        if (json_is_string(value))
            st = tr_schedule_set_shape(out, key, json_string_value(value), err);
        else if (json_is_number(value))
            st = tr_schedule_set(out, key, json_number_value(value), err);
        else
            st = tr_err_set(err, TR_BADARG, "lr_scheduler_kwargs: %s: expected a number",
                            key);
    }
    return st;
}

enum tr_status tr_options_stage(const struct tr_options *o, struct tr_stage_options *out,
                                struct tr_err *err)
{
    const struct tr_step_options *s = &o->steps;
    *out = (struct tr_stage_options){
        .stage = (enum tr_stage)o->stage,
        .plan = {.batch = s->batch,
                 .accumulation = s->accumulation,
                 .drop_last = s->drop_last,
                 .shuffle = !s->in_order,
                 .seed = (uint64_t)(s->data_seed >= 0 ? s->data_seed : s->seed),
                 .max_steps = s->max_steps,
                 .epochs = s->epochs},
        .warmup_steps = s->warmup_steps,
        .warmup_ratio = s->warmup_ratio,
        .update = o->update,
        .kto = o->kto,
        .stop = -1,
        .compat = o->compat,
    };
    return schedule_of(o, &out->schedule, err);
}

enum tr_status tr_options_ppo_rules(const struct tr_options *o, struct tr_ppo_rules *r,
                                    struct tr_err *err)
{
    const struct tr_ppo_options *q = &o->ppo;
    *r = tr_ppo_defaults;
    r->scale_scores = q->score_norm;
    r->score_clip = q->score_clip;
    r->whiten_scores = q->whiten_scores;
    r->stop_penalty = q->stop_penalty;
    r->control = (struct tr_kl_control){.coef = q->kl_coef,
                                        .adaptive = q->kl_adaptive,
                                        .target = q->target,
                                        .horizon = q->kl_horizon};
    r->whiten_rewards = q->whiten_rewards;
    r->gae = (struct tr_gae){.gamma = q->gamma, .lambda = q->lam};
    r->epochs = q->epochs;
    r->micro_batch = o->steps.batch;
    r->minibatch = o->steps.batch * o->steps.accumulation;
    r->clip = q->cliprange;
    r->clip_value = q->cliprange_value;
    if (o->compat) tr_ppo_rules_compat(r);
    if (q->ratio_threshold > 0) r->ratio_threshold = q->ratio_threshold;
    enum tr_status st = tr_kl_named(q->kl_penalty, &r->kl, err);
    if (st == TR_OK && strcmp(q->loss_mean, "token_mean") != 0)
        st = tr_loss_mean_named(q->loss_mean, &r->mean, err);
    return st == TR_OK ? tr_ppo_rules_check(r, err) : st;
}

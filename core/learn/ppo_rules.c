#include "core/learn/ppo_rules.h"

#include <math.h>
#include <string.h>

#include "core/base/json.h"

/* The peer is LLaMA-Factory 0.9.3 on trl 0.9.6; its names stand beside. */
const struct tr_ppo_rules tr_ppo_defaults = {
    .scale_scores = false,         /* ppo_score_norm: use_score_scaling, use_score_norm */
    .score_clip = 0,               /* score_clip None */
    .whiten_scores = false,        /* not in the peer */
    .stop_penalty = 0,             /* not in the peer */
    .kl = TR_KL_PLAIN,             /* kl_penalty "kl" */
    .control = {.coef = 0.2,       /* init_kl_coef */
                .adaptive = true,  /* adap_kl_ctrl */
                .target = 6,       /* ppo_target: target */
                .horizon = 10000}, /* horizon */
    .whiten_rewards = false,       /* ppo_whiten_rewards: whiten_rewards */
    .whiten_padding = false,       /* the peer's way is true */
    .gae = {.gamma = 1,            /* gamma */
            .lambda = 0.95},       /* lam */
    .whiten_advantages = true,     /* always, in the peer */
    .epochs = 4,                   /* ppo_epochs */
    .minibatch = 8,   /* per_device_train_batch_size * gradient_accumulation_steps */
    .micro_batch = 8, /* per_device_train_batch_size: mini_batch_size */
    .mean = TR_MEAN_TOKENS, /* the peer's way is TR_MEAN_MICROBATCHES */
    .ratio_threshold = 0,   /* ratio_threshold 10 */
    .clip = 0.2,            /* cliprange */
    .clip_value = 0.2,      /* cliprange_value */
};

void tr_ppo_rules_compat(struct tr_ppo_rules *r)
{
    r->whiten_padding = true;
    r->mean = TR_MEAN_MICROBATCHES;
    r->ratio_threshold = 10;
}

static enum tr_status within(const char *key, double x, double lo, double hi,
                             struct tr_err *err)
{
    if (x >= lo && x <= hi) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%s: expected %g to %g, found %g", key, lo, hi, x);
}

enum tr_status tr_ppo_rules_check(const struct tr_ppo_rules *r, struct tr_err *err)
{
    const struct {
        const char *key;
        double x, lo, hi;
    } row[] = {
        {"score_clip", r->score_clip, 0, 1e30},
        {"stop_penalty", r->stop_penalty, 0, 1e30},
        {"kl_coef", r->control.coef, 0, 1e6},
        {"ppo_target", r->control.target, 1e-6, 1e6},
        {"kl_horizon", r->control.horizon, 1, 1e15},
        {"gamma", r->gae.gamma, 0, 1},
        {"lam", r->gae.lambda, 0, 1},
        {"ppo_epochs", (double)r->epochs, 1, 1e6},
        {"mini-batch", (double)r->minibatch, 1, 1e9},
        {"micro-batch", (double)r->micro_batch, 1, 1e9},
        {"ratio_threshold", r->ratio_threshold, 0, 1e30},
        {"cliprange", r->clip, 0, 1e30},
        {"cliprange_value", r->clip_value, 0, 1e30},
    };
    enum tr_status st = TR_OK;
    for (size_t i = 0; i < sizeof row / sizeof *row && st == TR_OK; i++)
        st = within(row[i].key, row[i].x, row[i].lo, row[i].hi, err);
    return st;
}

static const char *const mean_word[] = {
    [TR_MEAN_TOKENS] = "token_mean", [TR_MEAN_MICROBATCHES] = "microbatch_mean"};

const char *tr_loss_mean_name(enum tr_loss_mean mean)
{
    return mean_word[mean];
}

enum tr_status tr_loss_mean_named(const char *name, enum tr_loss_mean *out,
                                  struct tr_err *err)
{
    for (int i = 0; i < 2; i++) {
        *out = (enum tr_loss_mean)i;
        if (strcmp(name, mean_word[i]) == 0) return TR_OK;
    }
    return tr_err_set(err, TR_BADARG,
                      "loss_mean: expected token_mean or microbatch_mean, found %s",
                      name);
}

/* ---- the state ---- */

struct tr_ppo_state tr_ppo_state_start(const struct tr_ppo_rules *r)
{
    return (struct tr_ppo_state){.kl_coef = r->control.coef,
                                 .scores = tr_moments_start()};
}

char *tr_ppo_state_text(const struct tr_ppo_state *s)
{
    json_t *o = json_pack("{s:f, s:f, s:f, s:f, s:f}", "kl_coef", s->kl_coef,
                          "score_mean", s->scores.mean, "score_var", s->scores.var,
                          "score_std", s->scores.std, "score_count", s->scores.n);
    char *text = o ? tr_json_text(o, 0) : NULL;
    json_decref(o);
    return text;
}

enum tr_status tr_ppo_state_parse(const char *text, struct tr_ppo_state *out,
                                  struct tr_err *err)
{
    static const char *const key[] = {"kl_coef", "score_mean", "score_var", "score_std",
                                      "score_count"};
    double x[5] = {0};
    json_t *o = NULL;
    enum tr_status st = tr_json_parse(text, strlen(text), "PPO state", &o, err);
    for (int i = 0; i < 5 && st == TR_OK; i++) {
        st = tr_json_real(o, key[i], "PPO state", &x[i], err);
        if (st == TR_OK && i != 1 && x[i] < 0)
            st = tr_err_set(err, TR_BADARG, "PPO state: %s: expected 0 or more, found %g",
                            key[i], x[i]);
    }
    json_decref(o);
    *out = (struct tr_ppo_state){
        .kl_coef = x[0], .scores = {.mean = x[1], .var = x[2], .std = x[3], .n = x[4]}};
    return st;
}

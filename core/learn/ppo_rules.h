/* ppo_rules.h - all that the arithmetic of a PPO step depends on besides its samples.
 *
 * What it is for. One struct of constants, one table of defaults, and the few numbers that go
 * from one step to the next. Whoever reads a config fills the rules; whoever keeps a run keeps
 * the state. core/learn/rollouts.h does the arithmetic.
 *
 * The data. A score becomes what a rollout is paid in this order: scaled by the moments of all
 * scores so far, clipped, whitened over the step, and, where the answer did not end with a stop
 * id, made smaller by a penalty. Each but the last is off unless asked for; the penalty is 0.
 *
 * Invariants.
 *   1. parse(text(state)) is the state to the last bit. */
#ifndef TR_LEARN_PPO_RULES_H
#define TR_LEARN_PPO_RULES_H

#include "core/base/err.h"
#include "core/learn/gae.h"
#include "core/learn/kl.h"

enum tr_loss_mean {
    TR_MEAN_TOKENS,       /* over all acting tokens of an optimiser step */
    TR_MEAN_MICROBATCHES, /* over the micro-batches' means */
};

struct tr_ppo_rules {
    /* what a rollout is paid */
    double score_clip;   /* to +- this; 0: no clipping */
    double stop_penalty; /* taken off the score of an answer without a stop id */
    bool scale_scores;   /* by the moments of all scores so far, their mean taken off */
    bool whiten_scores;  /* over the samples of the step */
    /* rewards of its tokens */
    bool whiten_rewards;
    bool whiten_padding; /* whitening also shifts the places behind an answer, up to the
                          * longest row of the step, and they feed the recursion: the peer's */
    enum tr_kl_kind kl;
    struct tr_kl_control control; /* .coef is where it starts */
    /* advantages */
    struct tr_gae gae;
    bool whiten_advantages;
    /* learning */
    enum tr_loss_mean mean;
    int64_t epochs;      /* passes over the step's samples */
    int64_t minibatch;   /* samples of one optimiser step */
    int64_t micro_batch; /* samples of one mean and of one ratio: matters to those only */
    double ratio_threshold; /* a micro-batch with a larger mean ratio teaches the policy
                             * nothing; 0: none. TR_MEAN_TOKENS: the whole optimiser step */
    double clip;            /* of the ratio; 0: no clipping */
    double clip_value;      /* of the value's way from the old one; 0: no clipping */
};

extern const struct tr_ppo_rules tr_ppo_defaults;

/* What the peer does otherwise (compat): whiten_padding, mean and ratio_threshold. */
void tr_ppo_rules_compat(struct tr_ppo_rules *r);

/* TR_BADARG names the key, what was expected and what was found. */
enum tr_status tr_ppo_rules_check(const struct tr_ppo_rules *r, struct tr_err *err);

/* "token_mean", "microbatch_mean", and back. TR_BADARG lists them. */
const char *tr_loss_mean_name(enum tr_loss_mean mean);
enum tr_status tr_loss_mean_named(const char *name, enum tr_loss_mean *out,
                                  struct tr_err *err);

/* What goes from one PPO step to the next. */
struct tr_ppo_state {
    double kl_coef; /* of the next step */
    struct tr_moments scores;
};

struct tr_ppo_state tr_ppo_state_start(const struct tr_ppo_rules *r);

/* One line of JSON and back. The caller owns the text (free); NULL when memory is out.
 * TR_BADARG names the field. */
char *tr_ppo_state_text(const struct tr_ppo_state *s);
enum tr_status tr_ppo_state_parse(const char *text, struct tr_ppo_state *out,
                                  struct tr_err *err);

#endif

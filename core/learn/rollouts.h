/* rollouts.h - from judged samples to the tasks of two learners.
 *
 * What it is for. All that PPO computes between the roles' answers and the optimiser steps, as pure
 * functions: what each rollout is paid, rewards with their KL penalty, advantages and returns,
 * whitening over the step, the order of the mini-batches, and the arrays of one optimiser step.
 * (Schulman et al. 2017, arXiv:1707.06347; Ziegler et al. 2019, arXiv:1909.08593.)
 *
 *   score --scale, clip, whiten, penalty--> paid --.
 *   logp, ref (or kl) --> kl ----------------------+--> reward --whiten?--> GAE with value
 *                                                       --> returns, advantage --whiten-->
 *
 * The data. A sample is a prompt and its answer of n = T - from tokens. Numbers of the answer's
 * tokens are arrays [n]; prompt tokens have none. logp[t], value[t] and all others belong to the
 * act of saying answer token t: value[t] is the critic's guess before it.
 *
 * Invariants.
 *   1. Everything is a function of the samples in their order (f64 sums), the rules and the state.
 *   2. The KL coefficient that a step is charged is the state's; the controller moves it after.
 *      Score moments take in the whole step before it is scaled by them.
 *   3. An order of mini-batches is a function of (seed, PPO step, epoch, number of samples). */
#ifndef TR_LEARN_ROLLOUTS_H
#define TR_LEARN_ROLLOUTS_H

#include "core/learn/ppo_rules.h"
#include "core/learn/task.h"

struct tr_ppo_sample {
    int64_t prompt;             /* which of the dataset */
    int64_t T, from;            /* tokens, and where the answer begins */
    int32_t *token;             /* owns; [T] */
    float *logp, *ref, *value;  /* own, as do the next; given [n] */
    float *kl;                  /* given for TR_KL_FULL, computed otherwise */
    float *reward;              /* computed, as the next two */
    float *advantage, *returns; /* whitened; before whitening plus value */
    double score;               /* given: what the rewards said */
    double paid;                /* computed: what it earns at its last token */
    bool stopped;               /* given: the answer ended with a stop id */
};

/* Takes an answer of n tokens in; allocates all arrays. */
enum tr_status tr_ppo_sample_fill(struct tr_ppo_sample *s, const int32_t *prompt,
                                  int64_t from, const int32_t *answer, const float *logp,
                                  int64_t n, struct tr_err *err);
void tr_ppo_sample_fini(struct tr_ppo_sample *s);

/* Of one PPO step, with the peer's names. A variance of one number is 0. */
struct tr_ppo_metrics {
    double reward, reward_std; /* scores as given; `reward` of the log */
    double score, score_std;   /* as paid; ppo/mean_scores, ppo/std_scores */
    double kl;                 /* objective/kl: a sample's sum, their mean */
    double kl_coef;            /* objective/kl_coef: what was charged */
    double entropy;            /* objective/entropy: sums of -logp, their mean */
    double non_score_reward;   /* ppo/mean_non_score_reward: over tokens */
    double query_length, query_length_std; /* tokens/queries_len_mean, _std */
    double length, length_std;             /* tokens/responses_len_mean, _std */
    double stopped;                        /* share of answers with a stop id */
    double returns_mean, returns_var;      /* ppo/returns/mean, var: over all tokens */
    double value_mean, value_var;          /* ppo/val/mean, var: over all tokens */
    /* 1 - mean (returns - value)^2 / var returns; 0 when the returns do not vary */
    double explained_variance;
};

/* Fills what is computed of all n samples, whitened together, and m; moves the state on.
 * On any status but TR_OK the state is as it was. */
enum tr_status tr_ppo_prepare(const struct tr_ppo_rules *r, struct tr_ppo_state *state,
                              struct tr_ppo_sample *s, int64_t n,
                              struct tr_ppo_metrics *m, struct tr_err *err);

/* Optimiser steps of each learner in one PPO step of n samples: epochs times the mini-batches of
 * one pass, the last of which may be short. */
int64_t tr_ppo_passes(const struct tr_ppo_rules *r, int64_t n);

/* The order of a pass over n samples: order [n]. Mini-batches are cut from it from the left. */
void tr_ppo_order(uint64_t seed, int64_t step, int64_t epoch, int64_t n, int64_t *order);

/* The arrays of one optimiser step of `count` samples, pick[0] .. pick[count-1]. */
struct tr_ppo_arrays {
    int64_t S, T;
    int64_t *start;
    int32_t *token, *label;
    float *old_logp, *advantage, *old_value, *wanted_value;
    int64_t groups; /* micro-batches, where the rules make them matter; else 0 */
    int64_t *group_start, *group_divisor; /* as in task.h */
    void *store;                          /* owns them all */
};
enum tr_status tr_ppo_arrays_make(const struct tr_ppo_rules *r,
                                  const struct tr_ppo_sample *s, const int64_t *pick,
                                  int64_t count, struct tr_ppo_arrays *out,
                                  struct tr_err *err);
void tr_ppo_arrays_fini(struct tr_ppo_arrays *a);

/* The task of the policy or of the critic (objective) with these arrays, which it borrows. */
struct tr_learn_task tr_ppo_task(const struct tr_ppo_rules *r,
                                 enum tr_objective objective,
                                 const struct tr_ppo_arrays *a,
                                 const struct tr_update *update);

#endif

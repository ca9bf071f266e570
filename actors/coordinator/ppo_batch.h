/* ppo_batch.h - from judged samples to the tasks of two learners.
 *
 * What it is for. Pure functions: rewards with their KL penalty, advantages and returns of every
 * sample, whitening over all tokens of the step, and the arrays of one optimiser step.
 *
 * The data. Numbers of an answer's tokens are arrays [n]; prompt tokens have none. */
#ifndef TR_ACTORS_COORDINATOR_PPO_BATCH_H
#define TR_ACTORS_COORDINATOR_PPO_BATCH_H

#include "actors/coordinator/plan_ppo.h"

struct tr_ppo_sample {
    int64_t prompt;  /* which of the dataset */
    int64_t T, from; /* tokens, and where the answer begins */
    int32_t *token;  /* owns; [T] */
    float *logp;     /* owns, as do the next five; [T - from] */
    float *ref, *value;
    float *kl, *advantage, *returns;
    double score;
    int seen; /* which of ref, score and value have come: bits */
};

/* Takes an answer of n tokens in; allocates all arrays. */
enum tr_status tr_ppo_sample_fill(struct tr_ppo_sample *s, const int32_t *prompt,
                                  int64_t from, const int32_t *answer, const float *logp,
                                  int64_t n, struct tr_err *err);
void tr_ppo_sample_fini(struct tr_ppo_sample *s);

/* Fills kl, advantage and returns of all n samples, whitened together. */
enum tr_status tr_ppo_advantages(const struct tr_ppo_settings *set,
                                 struct tr_ppo_sample *s, int64_t n, struct tr_err *err);

/* The arrays of one optimiser step of `count` samples, pick[0] .. pick[count-1]. */
struct tr_ppo_arrays {
    int64_t S, T;
    int64_t *start;
    int32_t *token, *label;
    float *old_logp, *advantage, *old_value, *wanted_value;
    void *store; /* owns them all */
};
enum tr_status tr_ppo_arrays_make(const struct tr_ppo_sample *s, const int64_t *pick,
                                  int64_t count, struct tr_ppo_arrays *out,
                                  struct tr_err *err);
void tr_ppo_arrays_fini(struct tr_ppo_arrays *a);

/* The task of the policy or of the critic (objective) with these arrays. */
struct tr_learn_task tr_ppo_task(const struct tr_ppo_settings *set,
                                 enum tr_objective objective,
                                 const struct tr_ppo_arrays *a);

#endif

/* plan_ppo.h - which units one step of PPO needs, and in what order.
 *
 *   generate ---> logprob (reference) --.
 *        |-----> score (reward) --------+--> rewards, advantages ---> learn (policy)
 *        '-----> value (critic) --------'                      '----> learn (critic)
 *
 * What it is for. It draws the step's prompts, asks for answers, has each judged as soon as it is
 * there, and when all are in it makes the rewards, advantages and returns and the optimiser
 * steps of both learners. (PPO: Schulman et al. 2017, arXiv:1707.06347.)
 *
 * The data. A sample is a prompt with its answer and what the roles said about it. The learn
 * units of a learner form a chain: each needs the one before it (proto/unit.h).
 *
 * Invariants.
 *   1. Everything is computed from the samples in their order, never in the order of arrival.
 *   2. The rollout's log-probs are the old log-probs. */
#ifndef TR_ACTORS_COORDINATOR_PLAN_PPO_H
#define TR_ACTORS_COORDINATOR_PLAN_PPO_H

#include "actors/coordinator/core.h"
#include "core/learn/rollouts.h"
#include "kernels/sample.h"

struct tr_prompts { /* borrows: prompt i is token[start[i]] .. token[start[i+1]-1] */
    int64_t count;
    const int32_t *token;
    const int64_t *start;
};

struct tr_ppo_settings {
    uint64_t seed;
    int64_t vocab;   /* ids are below this */
    int64_t samples; /* a step */
    struct tr_sampling sampling;
    int64_t max_new_tokens;
    int32_t stop[8];
    int64_t stops;
    struct tr_ppo_rules rules;
    struct tr_update policy, critic;
};

struct tr_ppo_outcome {
    struct tr_digest policy, critic; /* weights after the step */
    struct tr_digest run;            /* SHA-256 of the two, one after the other */
    struct tr_ppo_metrics metrics;
    struct tr_learn_result first, last, critic_last; /* of the optimiser steps */
};

struct tr_plan_ppo;

/* Borrows the prompts until destroy. TR_BADARG when they are fewer than the samples. */
enum tr_status tr_plan_ppo_create(const struct tr_ppo_settings *s,
                                  const struct tr_prompts *prompts,
                                  struct tr_plan_ppo **out, struct tr_err *err);
void tr_plan_ppo_destroy(struct tr_plan_ppo *p);

/* For the core; borrows p. */
struct tr_planner tr_plan_ppo_planner(struct tr_plan_ppo *p);

/* Once the core is over. */
enum tr_status tr_plan_ppo_outcome(const struct tr_plan_ppo *p,
                                   struct tr_ppo_outcome *out, struct tr_err *err);

#endif

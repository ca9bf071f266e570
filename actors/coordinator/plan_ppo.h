/* plan_ppo.h - a run of PPO: which units each step needs, and in what order.
 *
 *   generate ---> logprob (reference) ------.
 *        |-----> score (each reward slot) --+--> rewards, advantages ---> learn (policy)
 *        |-----> value (critic) ------------|                      '----> learn (critic)
 *        '-----> logprob (policy) ----------'  with `ask_policy` alone
 *
 * What it is for. For every step it draws prompts, asks for answers, has each judged as soon as it
 * is there, and when all are in it makes the rewards, advantages and returns and the optimiser
 * steps of both learners. (PPO: Schulman et al. 2017, arXiv:1707.06347.)
 *
 * The data. Version v of the policy is the one after step v; version 0 is the start. With staleness
 * k step t generates with version max(0, t - 1 - k), so up to k steps are in the making while
 * one is learnt. Values come from the critic as it is right before it learns from them. The
 * state that goes from step to step (KL coefficient, score moments, versions, lineages, the
 * reward set) is one JSON text, which is committed with the step.
 *
 * The rewards of a step are a *set* of slots, each a digest and a weight; a swap edits the set from
 * a step on. A slot of weight 0 is scored and counts for nothing: it is a measurement.
 *
 * An evaluation is a step that nobody learns from: held-out prompts, answered by a version and
 * judged like any other. It is over before the next step is committed.
 *
 * Invariants.
 *   1. Everything is computed from the samples in their order, never in the order of arrival.
 *   2. The rollout's log-probs are the old log-probs; with `ask_policy` the policy's own are, by the
 *      weights that generated. Nobody learns from an evaluation: there the rollout's stay.
 *   3. From a committed state the plan asks the very units that it would have asked without the
 *      stop in between.
 *   4. A step's samples are all scored by the set that the step began with, by whichever coordinator: a
 *      learner may have learnt them already. */
#ifndef TR_ACTORS_COORDINATOR_PLAN_PPO_H
#define TR_ACTORS_COORDINATOR_PLAN_PPO_H

#include "actors/coordinator/core.h"
#include "actors/coordinator/step_time.h"
#include "core/learn/rollouts.h"
#include "core/learn/schedule.h"
#include "core/learn/task.h"
#include "kernels/sample.h"

struct tr_prompts { /* borrows: prompt i is token[start[i]] .. token[start[i+1]-1] */
    int64_t count;
    const int32_t *token;
    const int64_t *start;
};

enum { TR_REWARDS_MAX = 8 };

struct tr_reward_slot {
    char name[TR_SLOT_BYTES];
    char folder[TR_PLACE_BYTES]; /* where its weights came from, "" if not said */
    double weight;
    int64_t replicas;        /* to wait for at the start of a run */
    struct tr_digest digest; /* of the weights, or of a rule's text */
    bool known;              /* digest is set */
};
struct tr_reward_set {
    int64_t n;
    struct tr_reward_slot slot[TR_REWARDS_MAX];
};

struct tr_ppo_settings {
    uint64_t seed;
    int64_t vocab;   /* ids are below this */
    int64_t samples; /* a step */
    int64_t steps;
    int64_t staleness; /* 0 or 1 */
    bool ask_policy;   /* for old log-probs: maths promise no bits. Staleness 0 only */
    struct tr_sampling sampling;
    int64_t max_new_tokens;
    int32_t stop[8];
    int64_t stops;
    struct tr_ppo_rules rules;
    struct tr_update policy, critic;         /* lr is filled in at each step */
    struct tr_schedule policy_lr, critic_lr; /* of the step, from 0 */
    int64_t eval_every;                      /* steps; 0: never */
    struct tr_reward_set rewards;            /* at the start */
};

/* What a learner measured in one PPO step: means over its optimiser steps. */
struct tr_ppo_learnt {
    int64_t steps, skipped;
    double loss, grad_norm, ratio, approx_kl, policy_kl, clip_fraction, entropy,
        value_error;
    /* Of the first optimiser step; with `ask_policy`, between the rollouts' log-probs and the old ones. -1:
     * nothing to compare. */
    int64_t mismatch_bits;
    int64_t tokens, t;
};

/* A step that is over; borrows until the call returns. */
struct tr_ppo_report {
    int64_t step;
    bool eval;
    int64_t n;
    const struct tr_ppo_sample *sample; /* [n] */
    const float *score;                 /* [n, slots], before weights */
    const struct tr_reward_set *rewards;
    struct tr_digest generated; /* the policy's weights that gave the answers */
    struct tr_ppo_metrics metrics;
    struct tr_ppo_learnt policy, critic;
    double policy_lr, critic_lr;
    struct tr_digest policy_weights, policy_lineage; /* afterwards */
    struct tr_digest critic_weights, critic_lineage;
    struct tr_step_time time; /* of a step, not of an evaluation */
    const char *state;        /* JSON */
};

struct tr_plan_ppo;

struct
    tr_ppo_owner { /* who keeps what comes of it; self is the owner's own. All may add saves */
    void *self;
    /* A fresh run begins: what a coordinator that is started anew before the first step goes on from. The
     * report has the learners' digests and the state, and no samples. */
    enum tr_status (*started)(void *self, const struct tr_ppo_report *r,
                              struct tr_err *err);
    enum tr_status (*committed)(void *self, struct tr_core *core,
                                const struct tr_ppo_report *r, struct tr_err *err);
    enum tr_status (*evaluated)(void *self, const struct tr_ppo_report *r,
                                struct tr_err *err);
    /* A folder that was asked for by tr_plan_ppo_save. */
    enum tr_status (*saved)(void *self, int64_t ticket, const struct tr_digest *weights,
                            const struct tr_digest *state, struct tr_err *err);
    /* The edit of this ticket counts from this step on; or it cannot be done, and is forgotten. */
    enum tr_status (*swapped)(void *self, int64_t ticket, int64_t step,
                              const struct tr_reward_set *set, struct tr_err *err);
    enum tr_status (*dropped)(void *self, int64_t ticket, const char *why,
                              struct tr_err *err);
    enum tr_status (*ask)(void *self, struct tr_core *core, const char *what,
                          const char *argument, struct tr_buf *reply, struct tr_err *err);
};

/* Borrows prompts and owner until destroy. eval may hold no prompts. TR_BADARG when the prompts are
 * fewer than the samples. */
enum tr_status tr_plan_ppo_create(const struct tr_ppo_settings *s,
                                  const struct tr_prompts *prompts,
                                  const struct tr_prompts *eval,
                                  const struct tr_ppo_owner *owner,
                                  struct tr_plan_ppo **out, struct tr_err *err);
void tr_plan_ppo_destroy(struct tr_plan_ppo *p);

/* Opens the posts with so many workers to wait for (of rewards: what the set says), and goes on
 * after the step whose state this is, or from the start with NULL. Before the core's first event.
 * TR_BADARG for a text that is no state of this run. */
enum tr_status tr_plan_ppo_open(struct tr_plan_ppo *p, struct tr_core *core,
                                const int64_t replicas[TR_ROLES], const char *state,
                                struct tr_err *err);

/* For the core; borrows p. */
struct tr_planner tr_plan_ppo_planner(struct tr_plan_ppo *p);

int64_t tr_plan_ppo_step(const struct tr_plan_ppo *p); /* committed so far */
/* The set that the next step to begin will have, swaps that wait not counted. */
const struct tr_reward_set *tr_plan_ppo_rewards(const struct tr_plan_ppo *p);
/* After the step in hand nothing more is begun; the owner's saves are waited for. */
void tr_plan_ppo_stop(struct tr_plan_ppo *p);

/* A learner writes its model into a folder once it has done all it was asked so far; `fresh`: what
 * it needs to go on too, into a folder that appears whole (proto/step3_learn.h). */
enum tr_status tr_plan_ppo_save(struct tr_plan_ppo *p, struct tr_core *core,
                                enum tr_role role, const char *folder, bool fresh,
                                int64_t ticket, struct tr_err *err);

/* ---- swaps (ppo_swap.c) ---- */

struct tr_ppo_swap { /* one edit of the set */
    int64_t ticket;  /* the owner's name for it */
    int64_t at;      /* the first step with it; 0: the next whose weights are loaded */
    char name[TR_SLOT_BYTES];
    bool remove;
    double weight; /* NAN: as it is, or 1 for a new slot */
    char folder
        [TR_PLACE_BYTES]; /* load this; "" with digest unknown: whoever joins says it */
    bool known;
    struct tr_digest digest;
};
/* Asks for the edit. A new slot gets a post at once, so that its workers can join. TR_BADARG in
 * words for what cannot be: no such slot, a step that has begun, nobody left to score. */
enum tr_status tr_plan_ppo_swap(struct tr_plan_ppo *p, struct tr_core *core,
                                const struct tr_ppo_swap *edit, struct tr_err *err);
/* Back to the set before the last swap. */
enum tr_status tr_plan_ppo_rollback(struct tr_plan_ppo *p, struct tr_core *core,
                                    int64_t at, int64_t ticket, struct tr_err *err);
/* Nobody will serve the reward of this name any more. Swaps that wait for it are dropped and its post is
 * closed; TR_GONE when a step has it, or will have it without a swap. */
enum tr_status tr_plan_ppo_abandon(struct tr_plan_ppo *p, struct tr_core *core,
                                   const char *name, const char *why, struct tr_err *err);
/* What waits, as JSON objects in an array. */
enum tr_status tr_plan_ppo_swaps(const struct tr_plan_ppo *p, const struct tr_core *core,
                                 struct tr_buf *out, struct tr_err *err);

#endif

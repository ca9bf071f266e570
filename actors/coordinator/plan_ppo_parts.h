/* plan_ppo_parts.h - the state of a PPO plan, for plan_ppo.c, ppo_units.c, ppo_swap.c, ppo_state.c
 * and nobody else. */
#ifndef TR_ACTORS_COORDINATOR_PLAN_PPO_PARTS_H
#define TR_ACTORS_COORDINATOR_PLAN_PPO_PARTS_H

#include "actors/coordinator/plan_ppo.h"
#include "proto/step3_learn.h"

enum part {
    PART_GENERATE,
    PART_REF,
    PART_OLD,
    PART_VALUE,
    PART_SCORE,
    PART_POLICY,
    PART_CRITIC,
    PART_SAVE,
};

/* A unit's tag: which part, of which step in the making (place), sample or optimiser step, slot. */
struct tag {
    enum part part;
    int64_t place, i, slot;
};

enum { PLACES = 4 }; /* steps in the making: two to learn from, two evaluations */
enum { SEEN_REF = 1, SEEN_VALUE = 2, SEEN_OLD = 4, SEEN_SLOT = 8 /* << slot */ };
enum { WAITING_SWAPS = 8 };

struct chain { /* a learner's optimiser steps of one PPO step */
    int64_t done;
    struct tr_ppo_learnt sum;
    struct tr_digest weights;
};

struct making { /* a step in the making */
    bool used, eval, learning, ask_policy;
    int64_t number, n;
    struct tr_ppo_sample *sample; /* owns; [n] */
    float *score;                 /* owns; [n, TR_REWARDS_MAX] */
    int *seen;                    /* owns; [n] */
    bool *asked_value;            /* owns; [n] */
    bool asked_values;            /* of all that were generated before it was its turn */
    int64_t judged, valued;       /* samples about which all others, the critic spoke */
    int64_t mismatch_bits;        /* between rollouts and policy */
    struct tr_reward_set set;
    int64_t slot_post[TR_REWARDS_MAX];
    double generated_at, judged_at; /* clock of the last answer; 0: none yet */
    struct tr_digest version;
    struct tr_ppo_metrics metrics;
    int64_t optimiser_steps;
    struct chain chain[2]; /* of policy, of critic */
};

struct waiting_swap {
    bool whole; /* a set to go back to */
    struct tr_reward_set set;
    struct tr_ppo_swap edit;
    int64_t at, want[TR_REWARDS_MAX]; /* of each slot of a whole set, or [0]; -1: none */
};

struct tr_plan_ppo {
    struct tr_ppo_settings set;
    struct tr_prompts prompts, eval; /* borrow */
    const struct tr_ppo_owner *owner;
    int64_t post[TR_ROLES];
    struct tr_ppo_state state;
    bool resumed;
    int64_t committed, begun, evaluated; /* steps; evaluated -1: not even the start */
    int64_t begun_before; /* by a coordinator that is no more: with its rewards */
    int64_t
        partial; /* steps up to this one: an earlier coordinator may have had a part of them */
    double committed_at; /* clock: of the last commit, or of the start */
    int64_t last;        /* step after which the plan is finished */
    struct making making[PLACES];
    struct tr_digest version[2]; /* version v at v % 2 */
    struct tr_digest critic;
    struct tr_reward_set rewards, previous;
    bool has_previous;
    struct waiting_swap swap[WAITING_SWAPS];
    int64_t swaps;
    int64_t saves;               /* that are not answered yet */
    int64_t *order, order_epoch; /* owns; the prompts of an epoch */
};

int64_t tr_ppo_tag(struct tag t);
struct tag tr_ppo_untag(int64_t tag);

/* ppo_units.c */
enum tr_status tr_ppo_ask_generate(struct tr_plan_ppo *p, struct tr_core *core,
                                   int64_t place, int64_t i, struct tr_err *err);
enum tr_status tr_ppo_take_generated(struct tr_plan_ppo *p, struct tr_core *core,
                                     struct tag t, const struct tr_content *content,
                                     struct tr_err *err);
enum tr_status tr_ppo_ask_values(struct tr_plan_ppo *p, struct tr_core *core,
                                 int64_t place, struct tr_err *err);
enum tr_status tr_ppo_take_judged(struct tr_plan_ppo *p, struct tag t,
                                  const struct tr_content *content, struct tr_err *err);
enum tr_status tr_ppo_ask_learning(struct tr_plan_ppo *p, struct tr_core *core,
                                   int64_t place, struct tr_err *err);
enum tr_status tr_ppo_take_learnt(struct tr_plan_ppo *p, struct tag t,
                                  const struct tr_content *content, struct tr_err *err);
enum tr_status tr_ppo_take_saved(struct tr_plan_ppo *p, struct tag t,
                                 const struct tr_content *content, struct tr_err *err);

/* ppo_swap.c: the swaps that are due before step t. *ready is false while one of them has nobody
 * who could score. */
enum tr_status tr_ppo_swaps_due(struct tr_plan_ppo *p, struct tr_core *core, int64_t t,
                                bool *ready, struct tr_err *err);

/* Those that can never be done are forgotten, and the owner is told why. */
enum tr_status tr_ppo_drop_hopeless(struct tr_plan_ppo *p, struct tr_core *core,
                                    struct tr_err *err);

/* ppo_state.c */
enum tr_status tr_ppo_plan_text(const struct tr_plan_ppo *p, const struct tr_core *core,
                                struct tr_buf *out, struct tr_err *err);
enum tr_status tr_ppo_plan_read(struct tr_plan_ppo *p, const char *text,
                                struct tr_digest lineage[2], struct tr_err *err);

#endif

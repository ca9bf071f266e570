/* roles.h - the `roles:` block of a run.yaml: who works for a run, with what.
 *
 * What it is for. LLaMA-Factory's configuration says what is to be learnt; this block says by which
 * processes. It may be left out: then there is one process a role, on this host.
 *
 *   roles:
 *     listen: tcp://127.0.0.1:0
 *     policy:    {threads: 2}
 *     rollout:   {replicas: 2, threads: 1}
 *     reference: {replicas: 1, model: DIR}
 *     critic:    {model: DIR, learning_rate: 1.0e-5}
 *     reward:
 *       - {name: main,  model: DIR, weight: 1}
 *       - {name: short, rule: length, weight: 0.1, target: 0, scale: 100}
 *       - {name: kind,  rule: regex, pattern: "(?i)please", weight: 0}
 *       - {name: mine,  external: true}
 *
 * Invariants.
 *   1. replicas are the processes that are started and waited for; more may join at any time. An
 *      external reward is waited for and not started.
 *   2. An error names the file, the role, the key, what was expected and what was found. */
#ifndef TR_LAUNCH_ROLES_H
#define TR_LAUNCH_ROLES_H

#include <jansson.h>

#include "actors/coordinator/plan_ppo.h"

struct tr_role_wish {
    int64_t replicas;
    int64_t threads;   /* 0: as many as the process may use */
    const char *model; /* a folder, or NULL */
};

enum tr_reward_kind {
    TR_REWARD_MODEL,
    TR_REWARD_LENGTH,
    TR_REWARD_REGEX,
    TR_REWARD_EXTERNAL
};

struct tr_reward_wish {
    char name[TR_SLOT_BYTES];
    enum tr_reward_kind kind;
    struct tr_role_wish role;
    double weight;
    double target, scale; /* length */
    const char *pattern;  /* regex */
};

struct tr_roles {
    const char *listen;
    const char *keys;   /* a folder of keys (proto/keys.h), or NULL */
    const char *source; /* where weights are offered to other hosts, or NULL */
    struct tr_role_wish role[TR_ROLES]; /* reward is not used */
    double critic_lr;                   /* 0: as the policy's */
    struct tr_reward_wish reward[TR_REWARDS_MAX];
    int64_t rewards;
};

/* Reads the block (NULL: none was given). Texts borrow from it. reward_model: of the key of that
 * name, used when the block names no reward; or NULL. TR_BADARG. */
enum tr_status tr_roles_read(json_t *block, const char *where, const char *reward_model,
                             struct tr_roles *out, struct tr_err *err);

/* The weight of one, if it is there. */
enum tr_status tr_reward_weight(const json_t *value, const char *where, double otherwise,
                                double *out, struct tr_err *err);
/* One reward, as it stands in the block or in a swap. */
enum tr_status tr_reward_read(json_t *value, const char *where,
                              struct tr_reward_wish *out, struct tr_err *err);

/* Leaves those that this stage has: all of them are PPO's, KTO has a reference beside the policy, the others a
 * policy. threads: of those that say none themselves. */
void tr_roles_of_stage(struct tr_roles *r, const char *stage, int64_t threads);

#endif

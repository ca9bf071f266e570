/* role.h - what every role can do, whatever its engine.
 *
 * What it is for. A process, or a company within one process, treats all roles alike: it opens
 * one, gives it units, lets it work a bit, and takes answers. Each role is one short file that
 * fills one of these tables from an engine and a model slot.
 *
 * Two kinds of engine. Most answer one unit at a time (`answer`). A generator has many units in
 * hand (`begin`, `advance`, `finish`, `abandon`): it is the only one with those four.
 *
 * Weights change (proto/step4_weights.h). A role whose weights come from elsewhere adopts models
 * beside those that it has (`shape`, `adopt`); one that makes or passes on weights offers them
 * (`offer`); all forget. NULL where a role does not. */
#ifndef TR_ACTORS_ROLE_H
#define TR_ACTORS_ROLE_H

#include "actors/model.h"
#include "proto/message.h"
#include "proto/unit.h"

struct tr_learner;
struct tr_rule_start;
struct tr_source;

struct tr_role_start {
    const struct tr_exec *ex;   /* borrowed until close */
    const char *folder;         /* the model, or NULL: */
    const struct tr_arch *arch; /* shapes of one that is drawn from the seed */
    uint64_t seed;
    struct tr_learner
        *learner; /* a learner's: one that is open already, borrowed; or NULL */
    const struct tr_digest
        *lineage; /* a learner's, of its snapshot; NULL: it starts here */
    bool bf16;
    bool empty;     /* a rollout's: the folder's shapes only, weights are loaded later */
    bool recompute; /* learners: gradient checkpointing */
    int64_t max_tokens;    /* in one pass */
    int64_t max_sequences; /* in one pass, or generated at a time */
    int64_t pages;         /* of a generator's cache */
    const char *weights;   /* where packed weights are put for others, or NULL: nowhere */
    struct tr_source *source; /* shared: gives weights to who asks; or NULL */
    int64_t keep;             /* how many versions a learner leaves there; 0: three */
    const struct tr_rule_start *rule; /* a reward that has no model; or NULL */
};

struct tr_role_ops {
    enum tr_role role;
    int64_t credits; /* units it wants in hand at a time */
    bool any_math;   /* it computes the same whatever the company's math is */
    enum tr_status (*open)(const struct tr_role_start *start, void **self,
                           struct tr_err *err);
    void (*close)(void *self);
    void (*holds)(const void *self, struct tr_digests *out);
    enum tr_status (*answer)(void *self, const struct tr_unit *unit,
                             struct tr_content *out, struct tr_err *err);
    enum tr_status (*begin)(void *self, const struct tr_unit *unit, struct tr_err *err);
    enum tr_status (*advance)(void *self, struct tr_err *err);
    /* TR_AGAIN while the unit needs more steps; afterwards the unit is forgotten. */
    enum tr_status (*finish)(void *self, const struct tr_unit *unit,
                             struct tr_content *out, struct tr_err *err);
    /* Tokens made since open; NULL: not counted. */
    int64_t (*tokens)(const void *self);
    /* Nobody waits for its answer any more. */
    void (*abandon)(void *self, const struct tr_unit *unit);

    /* What weights it takes; false when it takes none. */
    bool (*shape)(const void *self, struct tr_model_shape *out);
    /* Takes what *take holds, also on failure. */
    enum tr_status (*adopt)(void *self, struct tr_model *take, struct tr_err *err);
    /* Weights that no unit in hand needs; unknown ones are fine. */
    void (*forget)(void *self, const struct tr_digest *digest);
    /* What it has to offer and has not said yet; false when there is nothing. */
    bool (*offer)(void *self, struct tr_offer *out);
};

/* One row for each enum tr_role, and one for a reward that is a rule. */
const struct tr_role_ops *tr_role_ops(enum tr_role role, bool rule);

extern const struct tr_role_ops tr_policy_role, tr_rollout_role, tr_reference_role,
    tr_reward_role, tr_rule_role, tr_critic_role;

/* The digests of a unit are all among those held; TR_STALE names what is missing. */
enum tr_status tr_role_check(const struct tr_unit *unit, const struct tr_digests *holds,
                             struct tr_err *err);
/* It names so many: its form and not what is held, so TR_BADMSG. */
enum tr_status tr_role_count(const struct tr_unit *unit, int64_t digests,
                             struct tr_err *err);
/* TR_STALE that names what is missing. */
enum tr_status tr_role_lacks(const struct tr_digest *digest, struct tr_err *err);
/* For a kind that a role does not serve. */
enum tr_status tr_role_refuse(enum tr_role role, const struct tr_unit *unit,
                              struct tr_err *err);

#endif

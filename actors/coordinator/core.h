/* core.h - the coordinator as a pure state machine: messages and time in, messages out.
 *
 * What it is for. It knows who is there, what is to be done and what has been answered, and hands
 * each unit to a worker of the wanted role that holds the digests which the unit needs. It has no
 * socket, no clock and no thread, so the same core runs over ZeroMQ, within one process, and
 * under a simulator that loses, repeats and delays what it pleases.
 *
 * The data. A unit is waiting, sent or answered. A worker has a role, the digests it holds and
 * credits: how many units it takes in hand. A planner (plan_ppo.h, plan_stage.h) says which
 * units there are and reads their answers.
 *
 *     waiting --- a worker with credit holds all it needs ---> sent --- done ---> answered
 *        ^                                                      |
 *        '--- silence, fail, worker gone, answer no good -------'
 *
 * Invariants.
 *   1. What a planner is told depends on answers only, never on who gave them or when; each unit
 *      is answered to it once.
 *   2. A second answer is compared with the first and dropped; a difference is counted and said.
 *   3. A unit goes only to a worker that holds all digests which it needs.
 *   4. The first worker of a role says which digest the role has; others must hold the same (a
 *      rollout the policy's), or are turned away with both digests. */
#ifndef TR_ACTORS_COORDINATOR_CORE_H
#define TR_ACTORS_COORDINATOR_CORE_H

#include "proto/message.h"
#include "proto/unit.h"

struct tr_core;

struct tr_planner { /* who knows what is to be done; self is the planner's own */
    void *self;
    /* All roles are there: adds the first units. */
    enum tr_status (*start)(void *self, struct tr_core *core, struct tr_err *err);
    /* The answer to the unit that was added with this tag. It may add units. TR_BADMSG: the answer
     * is no good and another worker is asked; any other failure ends the run. */
    enum tr_status (*answer)(void *self, struct tr_core *core, int64_t tag,
                             const struct tr_content *answer, struct tr_err *err);
    bool (*finished)(const void *self);
};

struct tr_core_settings {
    char run[72];               /* the run's id */
    int64_t replicas[TR_ROLES]; /* workers of each role to wait for before the start */
    double join_seconds;        /* how long to wait for them */
    double silence_seconds;     /* without a sign, a unit goes to another worker */
    int64_t attempts;           /* of a unit, before the run gives up */
};

/* Borrows the planner until destroy. */
enum tr_status tr_core_create(const struct tr_core_settings *s,
                              const struct tr_planner *planner, double now,
                              struct tr_core **out, struct tr_err *err);
void tr_core_destroy(struct tr_core *c);

/* ---- events ---- */

/* A message from a peer; *m is read and, where content is kept, emptied. The caller still calls
 * tr_message_fini. Only a broken run fails: what a peer does wrong is an action. */
enum tr_status tr_core_hear(struct tr_core *c, int64_t peer, struct tr_message *m,
                            double now, struct tr_err *err);
/* The peer sent what is no message, or is gone. */
enum tr_status tr_core_lose(struct tr_core *c, int64_t peer, const char *why, double now,
                            struct tr_err *err);
/* Time has passed. */
enum tr_status tr_core_tick(struct tr_core *c, double now, struct tr_err *err);

/* ---- actions ---- */

struct tr_core_action {
    bool send; /* message to peer; else `text` is a line for people */
    int64_t peer;
    struct tr_message
        message; /* its content is borrowed until the next call of any kind */
    char text[320];
};

/* The next thing to do; false when there is none. */
bool tr_core_next(struct tr_core *c, struct tr_core_action *out);

/* The planner has all it wanted, and everybody was told to go. */
bool tr_core_over(const struct tr_core *c);

/* ---- for planners ---- */

/* Takes the unit; its answer comes with tag. A unit that was added before is answered once. */
enum tr_status tr_core_add(struct tr_core *c, enum tr_role role, struct tr_unit *unit,
                           int64_t tag, struct tr_err *err);
/* What the role's workers held when the first of them joined: its weights, or a learner's lineage
 * and weights, which are then the same. */
struct tr_digest tr_core_digest(const struct tr_core *c, enum tr_role role);

struct tr_core_counts {
    int64_t units, answered, reissued, second_answers, differences, refused,
        unknown_fields;
};
struct tr_core_counts tr_core_counts(const struct tr_core *c);

#endif

/* plan_stage.h - the units of PT, SFT, RM and KTO: a learner, asked one thing at a time, and judges.
 *
 * What it is for. core/learn/stage.h says what each optimiser step learns from; course.h asks for
 * steps and folders and waits. This turns what is asked into a unit that needs the learner's
 * lineage, and keeps the answer. KTO also asks for log-probs, many at a time and in any order: what
 * judges answer is told at once.
 *
 * The data. `lineage` is what the next unit needs; a learn unit's own id is the lineage after it.
 *
 * Invariants.
 *   1. One unit is open at a time: `answered` is false from learn or save until its answer. */
#ifndef TR_ACTORS_COORDINATOR_PLAN_STAGE_H
#define TR_ACTORS_COORDINATOR_PLAN_STAGE_H

#include "actors/coordinator/core.h"
#include "proto/step2_judge.h"
#include "proto/step3_learn.h"

struct tr_plan_stage {
    /* Set by the owner: the numbers that answer the judging unit of this tag. */
    enum tr_status (*told)(void *ctx, int64_t tag, const float *number, int64_t n,
                           struct tr_err *err);
    /* A person asks (core.h). Or NULL. */
    enum tr_status (*ask)(void *ctx, struct tr_core *core, const char *what,
                          const char *argument, struct tr_buf *reply, struct tr_err *err);
    void *ctx;
    bool started;           /* the learner is there */
    bool answered;          /* nothing is open */
    bool want_digests;      /* by the last save */
    bool closed;            /* set by the owner: nothing more will be asked */
    enum tr_unit_kind kind; /* of the unit asked last */
    int64_t post;           /* the learner's */
    int64_t steps; /* learnt: how long a policy's log-probs are of use (memo.h) */
    struct tr_digest weights; /* the learner's, as far as it said them */
    struct tr_digest lineage;
    struct tr_digest next;         /* the lineage once the open unit is answered */
    struct tr_answer_learn learnt; /* the last answers */
    struct tr_answer_save saved;
};

/* For the core; borrows p. */
struct tr_planner tr_plan_stage_planner(struct tr_plan_stage *p);

/* Once started and answered. */
enum tr_status tr_plan_stage_learn(struct tr_plan_stage *p, struct tr_core *core,
                                   const struct tr_learn_task *task, bool want_digest,
                                   struct tr_err *err);
/* Log-probs of the reference, or of the policy as it is now. tag > 0. At any time once started. */
enum tr_status tr_plan_stage_judge(struct tr_plan_stage *p, struct tr_core *core,
                                   enum tr_role role, const struct tr_ask_judge *ask,
                                   int64_t tag, struct tr_err *err);
enum tr_status tr_plan_stage_save(struct tr_plan_stage *p, struct tr_core *core,
                                  const struct tr_ask_save *ask, struct tr_err *err);

#endif

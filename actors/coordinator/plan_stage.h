/* plan_stage.h - which units a run of PT, SFT or RM needs: steps of one learner, one after another.
 *
 *   learn ---> learn ---> learn ---> save (checkpoint) ---> learn ---> ... ---> save (the model)
 *
 * What it is for. The stage itself (core/learn/stage.h) says what each step learns from. This
 * turns its tasks into `learn` units, each of which needs the one before it, and asks for `save`
 * when its owner wants a folder. Whoever runs the stage (launch/stage_run.h) watches through
 * two calls and does all that is files and text.
 *
 * The data. One unit is in hand at a time. The lineage goes from each learn unit to the next.
 *
 * Invariants.
 *   1. Steps are told in order, each once, after its answer came.
 *   2. A folder is told once it is written; the next step starts after that. */
#ifndef TR_ACTORS_COORDINATOR_PLAN_STAGE_H
#define TR_ACTORS_COORDINATOR_PLAN_STAGE_H

#include "actors/coordinator/core.h"
#include "core/learn/stage.h"
#include "proto/step3_learn.h"

struct tr_stage_order { /* what its owner wants after a step */
    bool save;          /* a folder, before anything else */
    bool optimiser;     /* with what training needs to go on */
    bool stop;          /* no step after this one */
    char folder[TR_PATH_BYTES];
};

struct tr_stage_hooks {
    void *ctx;
    /* After each step, which the stage has taken in. *order is empty before. */
    enum tr_status (*learnt)(void *ctx, const struct tr_learn_task *task,
                             const struct tr_learn_result *result,
                             struct tr_stage_order *order, struct tr_err *err);
    /* After all steps (not after a stop): the folder of the finished model. */
    enum tr_status (*ended)(void *ctx, struct tr_stage_order *order, struct tr_err *err);
    /* The folder that was ordered last is written; the digest is of the forward weights. */
    enum tr_status (*saved)(void *ctx, const struct tr_digest *weights,
                            struct tr_err *err);
};

struct tr_plan_stage;

/* Borrows the stage and what the hooks point to until destroy. */
enum tr_status tr_plan_stage_create(struct tr_stage_plan *stage,
                                    const struct tr_stage_hooks *hooks,
                                    struct tr_plan_stage **out, struct tr_err *err);
void tr_plan_stage_destroy(struct tr_plan_stage *p);

/* For the core; borrows p. */
struct tr_planner tr_plan_stage_planner(struct tr_plan_stage *p);

#endif

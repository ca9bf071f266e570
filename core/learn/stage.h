/* stage.h - a whole run of PT, SFT or RM as a row of tasks.
 *
 * What it is for. It yields the next optimiser step's task and takes in what the learner
 * answered. It owns no model and does no I/O, so whoever runs it (a loop in one process, a
 * coordinator that sends tasks as units) only carries tasks and results.
 *
 * The data. Examples from core/text, the plan (which examples at which step), the schedule (which
 * learning rate), AdamW's constants, and how far the run has come: a few counters, which a
 * checkpoint keeps and a resumed run is given back.
 *
 * A pair's score is read at the answer's stop token: the last of the tokens that end an answer,
 * where only template text follows it (quirk 6; PPO reads there too). An answer that was cut
 * off is read at its last token. `compat` reads at the sequence's last token, as the peer does.
 *
 * A step without any target divides by 1: its loss and gradient are 0, where the peer's are 0/0.
 *
 * Invariants.
 *   1. Task s is a function of (examples, options, s): tr_stage_seek and tr_stage_next give
 *      after a resume what they would have given without it.
 *   2. A skipped step counts: the plan and the schedule go on. */
#ifndef TR_LEARN_STAGE_H
#define TR_LEARN_STAGE_H

#include "core/learn/plan.h"
#include "core/learn/schedule.h"
#include "core/learn/task.h"
#include "core/text/examples.h"

struct tr_stage_options {
    enum tr_stage stage;         /* TR_PT, TR_SFT or TR_RM */
    struct tr_plan plan;         /* the fields before tr_plan_make */
    struct tr_schedule schedule; /* warmup and total are filled in */
    int64_t warmup_steps;
    double warmup_ratio;
    struct tr_update update; /* lr is filled in at each step */
    int32_t stop;            /* the token that ends an answer, -1: none */
    bool compat;
};

/* How far a run is. */
struct tr_stage_progress {
    int64_t step; /* steps done, skipped ones included */
    int64_t skipped, skipped_in_a_row;
    int64_t tokens;  /* through the model */
    double loss_sum; /* over the steps that were not skipped */
};

struct tr_stage_plan;

/* Borrows the examples until destroy. TR_BADARG when there is nothing to learn from. */
enum tr_status tr_stage_create(const struct tr_stage_options *o,
                               const struct tr_examples *examples,
                               struct tr_stage_plan **out, struct tr_err *err);
void tr_stage_destroy(struct tr_stage_plan *p);

const struct tr_plan *tr_stage_steps(const struct tr_stage_plan *p);
const struct tr_schedule *tr_stage_schedule(const struct tr_stage_plan *p);
struct tr_stage_progress tr_stage_progress(const struct tr_stage_plan *p);
double tr_stage_epoch(
    const struct tr_stage_plan *p); /* epochs done, as the log says it */

/* The most that `batch` examples can be: what a learner's micro-batch must hold. */
void tr_stage_micro_batch(const struct tr_stage_plan *p, int64_t *max_tokens,
                          int64_t *max_sequences);

/* Goes on after a checkpoint. TR_BADARG when it lies beyond the plan. */
enum tr_status tr_stage_seek(struct tr_stage_plan *p,
                             const struct tr_stage_progress *progress,
                             struct tr_err *err);

/* False when the run is done. *task borrows from p until the next call. */
bool tr_stage_next(struct tr_stage_plan *p, struct tr_learn_task *task);

/* What became of the task. */
void tr_stage_take(struct tr_stage_plan *p, const struct tr_learn_result *result);

/* Where the score of a sequence is read: an index into it. */
int64_t tr_stage_read_at(const struct tr_sequence *seq, int32_t stop, bool compat);

#endif

/* stage.h - a whole run of PT, SFT, RM or KTO as a row of tasks.
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
 * An epoch's last step may have fewer examples than others; its loss is still a mean over all it has.
 * `compat` divides the mean of each micro-batch by the accumulation there, too, as the peer does.
 *
 * A step without any target divides by 1: its loss and gradient are 0, where the peer's are 0/0.
 *
 * KTO. A task needs to know what models think of texts, so a run of KTO also yields texts to be judged
 * (proto/step2_judge.h, `logprob`) and takes in the numbers:
 *   the reference  of each example's target and of its twin. The weights never change, so this may be
 *                  asked for any step of the run, far ahead and in any order; what is known of an
 *                  example is kept for later epochs.
 *   the policy     of the twins of the next step, with the weights before it. tr_stage_take and
 *                  tr_stage_seek forget it.
 * What is to be asked of one judge for one step may be cut into any ranges of its examples. So whoever
 * runs it does, for each step s of the run:
 *   for steps s, s+1, ..: each example that tr_stage_knows does not know (and is not asked already):
 *       tr_stage_ask(REFERENCE) -> a unit;                 when it is answered, tr_stage_told
 *   for step s:  tr_stage_ask(POLICY) -> a unit, likewise
 *   once tr_stage_ready: tr_stage_next -> a learn unit;    when it is answered, tr_stage_take
 * An ask may be empty (S = 0, answers cut off altogether): then there is nothing to wait for.
 *
 * Invariants.
 *   1. Task s is a function of (examples, options, s): tr_stage_seek and tr_stage_next give
 *      after a resume what they would have given without it.
 *      KTO: of these and the models' numbers, whatever the order in which they were told.
 *   2. A skipped step counts: the plan and the schedule go on. */
#ifndef TR_LEARN_STAGE_H
#define TR_LEARN_STAGE_H

#include "core/learn/plan.h"
#include "core/learn/schedule.h"
#include "core/learn/task.h"
#include "core/text/examples.h"

struct tr_stage_options {
    enum tr_stage stage;         /* all but TR_DPO and TR_PPO */
    struct tr_plan plan;         /* the fields before tr_plan_make */
    struct tr_schedule schedule; /* warmup and total are filled in */
    int64_t warmup_steps;
    double warmup_ratio;
    struct tr_update update; /* lr is filled in at each step */
    int32_t stop;            /* the token that ends an answer, -1: none */
    struct tr_kto kto;
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

/* The most that `batch` examples can be: what a learner's micro-batch must hold. KTO's texts to be
 * judged, taken one by one, are no longer than max_tokens either. */
void tr_stage_micro_batch(const struct tr_stage_plan *p, int64_t *max_tokens,
                          int64_t *max_sequences);

/* Goes on after a checkpoint. TR_BADARG when it lies beyond the plan. */
enum tr_status tr_stage_seek(struct tr_stage_plan *p,
                             const struct tr_stage_progress *progress,
                             struct tr_err *err);

/* False when the run is done. *task borrows from p until the next call. KTO: only when
 * tr_stage_ready. */
bool tr_stage_next(struct tr_stage_plan *p, struct tr_learn_task *task);

/* What became of the task. */
void tr_stage_take(struct tr_stage_plan *p, const struct tr_learn_result *result);

/* ---- KTO: what judges are asked ---- */

enum tr_stage_judge { TR_STAGE_REFERENCE, TR_STAGE_POLICY };

/* Texts as a `logprob` unit takes them: sequence s is token[start[s]] .. token[start[s+1]-1], its
 * answer begins at token from[s] of it. Arrays are borrowed until the next ask or told. */
struct tr_stage_ask {
    int64_t S, T;
    const int64_t *start; /* [S + 1] */
    const int64_t *from;  /* [S] */
    const int32_t *token; /* [T] */
    int64_t numbers;      /* how many log-probs answer it */
};

/* Examples of a step, counted from 0; 0 beyond the run, and for every other stage than KTO. */
int64_t tr_stage_width(const struct tr_stage_plan *p, int64_t step);
/* Which example of the dataset is number i of a step: for whoever remembers what is on its way. */
int64_t tr_stage_example(struct tr_stage_plan *p, int64_t step, int64_t i);

/* The texts of examples first .. first+count-1 of a step, in that order. The reference is asked of an
 * example's target, then of its twin; the policy of its twin alone, and only for the next step
 * (tr_stage_progress(p).step). Answers without a token are left out. */
void tr_stage_ask(struct tr_stage_plan *p, enum tr_stage_judge judge, int64_t step,
                  int64_t first, int64_t count, struct tr_stage_ask *out);

/* The numbers that answer the same ask: log-probs of answer tokens, text after text. TR_BADMSG, and
 * nothing taken in, when they are too many, too few or not finite. Twice is once. */
enum tr_status tr_stage_told(struct tr_stage_plan *p, enum tr_stage_judge judge,
                             int64_t step, int64_t first, int64_t count,
                             const float *logp, int64_t numbers, struct tr_err *err);

/* Is there nothing left to ask this judge about example i of a step? */
bool tr_stage_knows(struct tr_stage_plan *p, enum tr_stage_judge judge, int64_t step,
                    int64_t i);
/* Is all there that the next task needs? Always, but for KTO. */
bool tr_stage_ready(struct tr_stage_plan *p);

/* Where the score of a sequence is read: an index into it. */
int64_t tr_stage_read_at(const struct tr_sequence *seq, int32_t stop, bool compat);

#endif

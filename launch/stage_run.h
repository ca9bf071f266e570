/* stage_run.h - a whole run of PT, SFT, RM or KTO, from options to the finished folder.
 *
 * What it is for. `troupe train` is a few lines around this; the golden tests run the peer's own
 * configurations through it. This process coordinates, as in a run of PPO: it has the journal, hands out
 * units and answers who asks. The learner is a process of its own (`troupe role policy`), and so
 * are kto's references.
 *
 * The life of a run. Open: tokenizer, examples, plan, a checkpoint to go on from, processes. Loop:
 * task, step, journal, log, checkpoint. Close: the model folder and what tells about it.
 *
 *   output_dir/  run.yaml manifest.json           written at start, digests at the end
 *                run.db coordinator.json logs/    launch/home.h
 *                trainer_log.jsonl                 a line a log entry
 *                checkpoint-N/                     every save_steps, at Ctrl-C, at the end
 *                config.json model.safetensors ... the model, with its tokenizer
 *                trainer_state.json train_results.json all_results.json README.md
 *                training_loss.png                 with plot_loss, of a stopped run too
 *
 * Invariants.
 *   1. A step whose loss or gradient is not finite is skipped, counted and said; the schedule goes
 *      on. TR_SKIPS_MAX in a row stop the run.
 *   2. A stop asked for takes effect after the step in hand, with a checkpoint; asked for once more, at
 *      once.
 *   3. A run that was stopped, however that was, goes on from its newest checkpoint or snapshot; its
 *      digests are those of an undisturbed one.
 *   4. A step's row in the journal lies before its line in the logs. */
#ifndef TR_LAUNCH_STAGE_RUN_H
#define TR_LAUNCH_STAGE_RUN_H

#include "core/base/digest.h"
#include "core/base/log.h"
#include "launch/company_status.h"
#include "launch/options.h"
#include "launch/staff.h"

enum { TR_SKIPS_MAX = 10 };

struct tr_stage_watch {
    const struct tr_log *log; /* borrows: what is worth a line */
    int progress_fd;          /* -1: no progress line */
    int stop_fd; /* a signalfd. First: finish the step, save, stop; again: now. -1: none */
    struct tr_joining joining;
};

enum tr_stage_end { TR_STAGE_DONE, TR_STAGE_STOPPED, TR_STAGE_NOT_FINITE };

struct tr_stage_outcome {
    enum tr_stage_end end;
    int64_t step, skipped;
    double loss;                   /* mean over the run */
    struct tr_company_times times; /* of the steps of this process */
    struct tr_digest weights, state;
};

/* TR_OK also when the run was stopped: outcome->end says which. */
enum tr_status tr_stage_run(const struct tr_options *o, const struct tr_exec *ex,
                            const struct tr_stage_watch *watch,
                            struct tr_stage_outcome *outcome, struct tr_err *err);

#endif

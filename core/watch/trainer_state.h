/* trainer_state.h - trainer_state.json: how far a run is, for the peer's tools and for resuming.
 *
 * The data. The peer's fields, and one of our own, `troupe`, with what a resumed run must be given
 * back (counters with all their digits) and what it must agree with (the data and their order).
 *
 * Invariants.
 *   1. read(write(x)) = x for all that resuming needs.
 *   2. A state of another run (other data, batches, order, stage) is refused by name. */
#ifndef TR_WATCH_TRAINER_STATE_H
#define TR_WATCH_TRAINER_STATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/learn/stage.h"
#include "core/watch/kto_metrics.h"

/* What makes a run the same run. */
struct tr_run_identity {
    const char *stage;
    int64_t examples, seed;
    int64_t tokens;   /* of all examples: another dataset shows */
    int64_t per_step; /* samples; how they are cut into micro-batches is free, but with */
    int64_t drop;     /* dataloader_drop_last: whole batches of this many; 0 without */
    int64_t group;    /* kto under compat: whose baselines are of so many; else 0 */
    bool shuffle;
};

struct tr_trainer_state {
    struct tr_run_identity run;
    struct tr_stage_progress progress;
    int64_t batch;      /* of a micro-batch, for the peer's field */
    double window_loss; /* sum and count since the last log entry */
    int64_t window_steps;
    struct tr_kto_window kto;
    double elapsed; /* seconds of training, earlier runs included */
    double epoch, epochs, flos;
    int64_t total_steps;
    double logging_steps, save_steps;
    json_t *history; /* borrows: log_history */
};

enum tr_status tr_trainer_state_write(const char *dir, const struct tr_trainer_state *s,
                                      struct tr_err *err);

/* Fills progress, window, elapsed and *history (owned by the caller) from DIR. TR_BADARG names
 * what differs from `run`. */
enum tr_status tr_trainer_state_read(const char *dir, const struct tr_run_identity *run,
                                     struct tr_trainer_state *out, json_t **history,
                                     struct tr_err *err);

/* train_results.json and all_results.json. */
struct tr_train_results {
    double epoch, flos, loss, seconds;
    int64_t samples, steps; /* of the whole run, as the peer divides them */
    int64_t skipped;
    json_t *more; /* borrows: members beside the peer's; or NULL */
};
enum tr_status tr_train_results_write(const char *dir, const struct tr_train_results *r,
                                      struct tr_err *err);
/* The same as the last entry of log_history. The caller owns it; NULL when memory is out. */
json_t *tr_train_results_history(const struct tr_train_results *r, int64_t step);

#endif

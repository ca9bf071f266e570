/* trainer_log.h - what a run tells about itself while it runs: trainer_log.jsonl, log_history.
 *
 * What it is for. LLaMA-Factory's board and everybody's plotting scripts read trainer_log.jsonl;
 * Hugging Face's tools read log_history in trainer_state.json. Both are written from one entry.
 *
 * The data. An entry is one logged step: the mean loss since the last entry, rounded to 4
 * decimals as the peer rounds; the norm before clipping and the rate of the step itself.
 *
 * Invariants.
 *   1. A line is appended with one write and holds one JSON object.
 *   2. What a number cannot be (NaN, infinity) is left out of the line: JSON has no word for it. */
#ifndef TR_WATCH_TRAINER_LOG_H
#define TR_WATCH_TRAINER_LOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct tr_log_entry {
    int64_t step, total;
    bool has_loss; /* the line at the end has none */
    double loss;   /* mean since the last entry */
    double grad_norm, lr, epoch;
    double elapsed, remaining; /* seconds */
    int64_t skipped;           /* steps left out so far; told when not 0 */
    bool has_reward;           /* ppo */
    double reward;
    json_t *more; /* borrows: what log_history says besides; or NULL */
};

/* Appends to DIR/trainer_log.jsonl. */
enum tr_status tr_trainer_log_append(const char *dir, const struct tr_log_entry *e,
                                     struct tr_err *err);
/* Leaves the entries up to `step`: what a run that starts anew (0) or goes on from a checkpoint
 * will not write again. The line at the end of a run is no entry and goes too. *last: the newest step that
 * has one, or 0. */
enum tr_status tr_trainer_log_trim(const char *dir, int64_t step, int64_t *last,
                                   struct tr_err *err);

/* The entry as log_history has it. The caller owns it; NULL when memory is out. */
json_t *tr_trainer_log_history(const struct tr_log_entry *e);

/* Decimals as the peer rounds. */
double tr_round_decimals(double x, int decimals);
/* Seconds as "H:MM:SS". */
void tr_clock_text(double seconds, char *out, size_t size);

#endif

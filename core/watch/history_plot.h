/* history_plot.h - training_loss.png and its kind: one number of a run's log as a picture.
 *
 * What it is for. `plot_loss: true` as LLaMA-Factory means it (ALGORITHMS.md 12).
 *
 * The data. log_history of trainer_state.json: objects with "step" and, some of them, the number
 * asked for. The picture has those as a pale curve and, over it, a running mean
 *   s[i] = w * s[i-1] + (1 - w) * v[i],  s[-1] = v[0],  w = 1.8 * (1 / (1 + exp(-0.05 n)) - 0.5)
 * which is the smoother the more numbers there are.
 *
 * Invariants.
 *   1. A number that is not finite is a gap in both curves and moves the mean by nothing. */
#ifndef TR_WATCH_HISTORY_PLOT_H
#define TR_WATCH_HISTORY_PLOT_H

#include <jansson.h>
#include <stdint.h>

#include "core/base/err.h"

/* smooth, [n], from value, [n]. */
void tr_history_smooth(const double *value, int64_t n, double *smooth);

/* Writes DIR/training_KEY.png ("/" in key becomes "_"). TR_BADARG when no entry has the number. */
enum tr_status tr_history_plot(const char *dir, const json_t *history, const char *key,
                               struct tr_err *err);

#endif

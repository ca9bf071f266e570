/* kto_metrics.h - what KTO's steps measured since the last log entry, under the peer's names.
 *
 * The data. Sums and counts over the steps of a window. A reward and a log-prob are means over the
 * examples of their mark, and missing where a window has none; kl is the mean of the baselines (quirk
 * 9), under compat their sum over the peer's micro-batches. The peer's logits/... (sums over all places,
 * padding included) are not told.
 *
 * Invariants.
 *   1. read(state(w)) = w, so a resumed run logs what an undisturbed one does. */
#ifndef TR_WATCH_KTO_METRICS_H
#define TR_WATCH_KTO_METRICS_H

#include <jansson.h>

#include "core/base/err.h"
#include "core/learn/task.h"

struct tr_kto_window {
    int64_t groups; /* baselines */
    int64_t chosen, rejected;
    double kl, chosen_reward, rejected_reward, chosen_logp, rejected_logp; /* sums */
};

/* A step that was not skipped; groups: of its task, at least 1. */
void tr_kto_window_add(struct tr_kto_window *w, const struct tr_learn_result *r,
                       int64_t groups);

/* rewards/chosen, rewards/rejected, rewards/margins, logps/..., kl. The caller owns it; NULL when memory
 * is out. */
json_t *tr_kto_window_metrics(const struct tr_kto_window *w, bool compat);

/* For a checkpoint, and back. */
json_t *tr_kto_window_state(const struct tr_kto_window *w);
enum tr_status tr_kto_window_read(const json_t *state, const char *where,
                                  struct tr_kto_window *w, struct tr_err *err);

#endif

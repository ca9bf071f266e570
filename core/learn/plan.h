/* plan.h - which examples belong to which optimiser step.
 *
 * What it is for. The order of a run is a pure function of (seed, epoch, step), so a resumed
 * run needs nothing but the number of the next step.
 *
 * The data. N examples are shuffled anew each epoch (Philox; data_seed, else seed) or taken as
 * they lie. An epoch is cut into D micro-batches of `batch` examples (the last may be short, or
 * is dropped), D into U steps of `accumulation` micro-batches (the last may be short). Only
 * batch * accumulation matters for the result; the cut into micro-batches is the peer's and
 * appears in the logged epoch alone.
 *
 * The peer pads a short last micro-batch with reused samples only when there are several
 * data-parallel ranks (accelerate's even_batches); it has one rank here, so we never do.
 *
 * Invariants.
 *   1. Every example appears once an epoch, but for dropped ones.
 *   2. A step's examples lie within one epoch. */
#ifndef TR_LEARN_PLAN_H
#define TR_LEARN_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct tr_plan {
    int64_t examples; /* N */
    int64_t batch,
        accumulation; /* per_device_train_batch_size, gradient_accumulation_steps */
    bool drop_last, shuffle;
    uint64_t seed;
    int64_t max_steps; /* > 0 wins over epochs */
    double epochs;
    /* filled by tr_plan_make */
    int64_t micro_per_epoch; /* D */
    int64_t steps_per_epoch; /* U */
    int64_t total;           /* steps of the run */
};

/* Fills the last three fields. TR_BADARG when there is nothing to learn from. */
enum tr_status tr_plan_make(struct tr_plan *plan, struct tr_err *err);

struct tr_plan_step {
    int64_t epoch;        /* whose order counts */
    int64_t first, count; /* places first .. first+count-1 of that order */
    double epoch_after;   /* epochs done when the step is: what the log calls epoch */
};
struct tr_plan_step tr_plan_at(const struct tr_plan *plan, int64_t step);

/* The order of an epoch: order [N]. */
void tr_plan_order(const struct tr_plan *plan, int64_t epoch, int64_t *order);

#endif

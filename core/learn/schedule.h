/* schedule.h - the learning rate of each optimiser step (ALGORITHMS.md 9).
 *
 * What it is for. A schedule is a pure function of the step's number: nothing is carried from
 * step to step, so a resumed run needs no scheduler state.
 *
 * The data. Step s counts from 0; w warm-up steps, N steps in all; the answer is a factor on
 * learning_rate. f64 throughout, with our own cosine.
 *
 * Invariants.
 *   1. With warm-up, step 0 has factor 0 (all kinds but `constant`).
 *   2. The factor is never below 0. */
#ifndef TR_LEARN_SCHEDULE_H
#define TR_LEARN_SCHEDULE_H

#include <stdint.h>

#include "core/base/err.h"

enum tr_schedule_kind {
    TR_LINEAR,
    TR_COSINE,
    TR_COSINE_WITH_RESTARTS,
    TR_POLYNOMIAL,
    TR_CONSTANT,
    TR_CONSTANT_WITH_WARMUP,
    TR_INVERSE_SQRT,
    TR_COSINE_WITH_MIN_LR,
    TR_WARMUP_STABLE_DECAY,
};

enum tr_schedule_shape { TR_SHAPE_LINEAR, TR_SHAPE_COSINE, TR_SHAPE_SQRT };

struct tr_schedule {
    enum tr_schedule_kind kind;
    int64_t warmup, total;
    double lr;     /* learning_rate, > 0 */
    double cycles; /* restarts: whole waves (1); other cosines: half waves as 0.5 */
    double power;  /* polynomial */
    double lr_end; /* polynomial */
    double
        min_ratio; /* cosine_with_min_lr, warmup_stable_decay: the floor as a share of lr */
    double timescale;     /* inverse_sqrt; 0: the warm-up, or 10000 without one */
    double stable, decay; /* steps of warmup_stable_decay; below 0: a third of what the
                           * warm-up leaves, and the other two */
    enum tr_schedule_shape up, down; /* warmup_stable_decay */
};

/* By the peer's name ("linear", "cosine", ...), with the peer's constants. TR_BADARG lists the
 * names. */
enum tr_status tr_schedule_named(const char *name, struct tr_schedule *out,
                                 struct tr_err *err);
/* One of the peer's lr_scheduler_kwargs (num_cycles, power, lr_end, timescale, min_lr,
 * min_lr_rate, num_stable_steps, num_decay_steps, min_lr_ratio); lr is set before. TR_BADARG
 * for others. */
enum tr_status tr_schedule_set(struct tr_schedule *c, const char *key, double value,
                               struct tr_err *err);
/* The kwargs that are words: warmup_type and decay_type (linear, cosine, 1-sqrt). */
enum tr_status tr_schedule_set_shape(struct tr_schedule *c, const char *key,
                                     const char *shape, struct tr_err *err);
const char *tr_schedule_name(enum tr_schedule_kind kind);

/* warmup_steps wins over the ratio; the ratio is rounded up. */
int64_t tr_schedule_warmup(int64_t warmup_steps, double warmup_ratio, int64_t total);

double tr_schedule_factor(const struct tr_schedule *c, int64_t step);
double tr_schedule_lr(const struct tr_schedule *c, int64_t step);

#endif

/* step_time.h - how long a step took, and what it waited for.
 *
 * What it is for. Who has processes to spare asks which role to start more of. A step's time, cut by
 * what was still missing, says so; what each role's share of work is, says the rest.
 *
 * The data. A step lasts from the commit of the one before to its own:
 *
 *     commit --- generate --- last answer --- judge --- last log-prob, score, value --- learn --- commit
 *
 * Phases overlap: answers are judged while others are generated, and with staleness 1 the next step
 * is generated while this one is learnt. So `generate` is not all the time in which somebody
 * generated, but that in which the step had to wait for it.
 *
 * Invariants.
 *   1. The three add up to the step, and none is below 0.
 *   2. A step of which an earlier process had a part is not counted. */
#ifndef TR_ACTORS_COORDINATOR_STEP_TIME_H
#define TR_ACTORS_COORDINATOR_STEP_TIME_H

#include <stdbool.h>
#include <stdint.h>

struct tr_step_time { /* seconds */
    double generate, judge, learn;
    bool whole; /* all of the step was this process's */
};

enum { TR_STEPS_RECENT = 256 };

struct tr_step_times {
    int64_t steps; /* counted */
    struct tr_step_time last, sum;
    double recent[TR_STEPS_RECENT]; /* seconds of whole steps; a ring */
};

/* Clock: of the commit before, of the last answers that were generated and judged, of the commit. An
 * answer from before the step's time (0 if there was none) takes none of it. */
struct tr_step_time tr_step_time_cut(double from, double generated, double judged,
                                     double until);
double tr_step_time_seconds(const struct tr_step_time *t);

void tr_step_times_add(struct tr_step_times *t, const struct tr_step_time *one);
/* Of the recent steps; 0 when none was counted. */
double tr_step_times_median(const struct tr_step_times *t);
/* Of all that were counted. */
struct tr_step_time tr_step_times_mean(const struct tr_step_times *t);

#endif

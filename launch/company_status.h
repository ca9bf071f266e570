/* company_status.h - how a run goes, as JSON: what `troupe status` is told by a coordinator that runs.
 *
 * What it is for. Whatever the stage, people see the same: who is there, what each has in hand and how
 * much of its time it worked, what waits, how far the run is and how fast. */
#ifndef TR_LAUNCH_COMPANY_STATUS_H
#define TR_LAUNCH_COMPANY_STATUS_H

#include <jansson.h>

#include "actors/coordinator/plan_ppo.h"
#include "core/base/log.h"

/* Where a run's time went. */
struct tr_company_times {
    int phases; /* the last so many of generate, judge, learn: what a step of this stage has */
    struct tr_step_times steps;
    struct {
        int64_t workers; /* here */
        double share;    /* of their time with work in hand */
    } busy[TR_ROLES];
};
/* As it is now, on the core's clock. */
void tr_company_note_busy(struct tr_company_times *t, const struct tr_core *core,
                          double now);
/* Two lines at the end of a run, of one that timed a step */
void tr_company_say_times(const struct tr_company_times *t, const struct tr_log *log);
/* The same as members of `to`, which the caller owns. */
void tr_company_put_times(json_t *to, const struct tr_company_times *t);

struct tr_company_status { /* what the core does not know; borrows */
    const char *run, *stage;
    int64_t step, steps;
    double seconds_a_step, tokens_per_second, seconds_left;
    const struct tr_company_times *times;
    const struct tr_reward_set *rewards; /* or NULL */
};

/* The caller owns it; NULL: no memory. now: the core's clock. */
json_t *tr_company_json(const struct tr_core *core, const struct tr_company_status *s,
                        double now);

/* Takes doc, NULL too, and writes it as the reply to a question. */
enum tr_status tr_company_reply(json_t *doc, struct tr_buf *reply, struct tr_err *err);

#endif

/* company_status.h - how a run goes, as JSON: what `troupe status` is told by a coordinator that runs.
 *
 * What it is for. Whatever the stage, people see the same: who is there, what each has in hand and how
 * much of its time it worked, what waits, how far the run is and how fast. */
#ifndef TR_LAUNCH_COMPANY_STATUS_H
#define TR_LAUNCH_COMPANY_STATUS_H

#include <jansson.h>

#include "actors/coordinator/plan_ppo.h"

struct tr_company_status { /* what the core does not know; borrows */
    const char *run, *stage;
    int64_t step, steps;
    double seconds_a_step, tokens_per_second, seconds_left;
    const struct tr_reward_set *rewards; /* or NULL */
};

/* The caller owns it; NULL: no memory. now: the core's clock. */
json_t *tr_company_json(const struct tr_core *core, const struct tr_company_status *s,
                        double now);

/* Takes doc, NULL too, and writes it as the reply to a question. */
enum tr_status tr_company_reply(json_t *doc, struct tr_buf *reply, struct tr_err *err);

#endif

#include "actors/course.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/coordinator/plan_stage.h"
#include "actors/coordinator/serve.h"
#include "core/base/clock.h"

struct tr_course {
    struct tr_course_settings set;
    struct tr_course_owner owner;
    struct tr_plan_stage plan;
    struct tr_planner planner;
    struct tr_core *core; /* owns */
};

static enum tr_status open_posts(struct tr_course *c, struct tr_err *err)
{
    int64_t post = 0;
    enum tr_status st = tr_core_open_post(c->core, TR_ROLE_POLICY, "", 1, &post, err);
    if (st != TR_OK || c->set.references == 0) return st;
    return tr_core_open_post(c->core, TR_ROLE_REFERENCE, "", c->set.references, &post,
                             err);
}

enum tr_status tr_course_open(const struct tr_course_settings *s,
                              const struct tr_course_owner *owner, struct tr_course **out,
                              struct tr_err *err)
{
    struct tr_core_settings set = {.join_seconds = s->join_seconds,
                                   .remind_seconds = 0.05 * s->join_seconds,
                                   .silence_seconds = 60,
                                   .absent_seconds = 3600,
                                   .here_seconds = 5,
                                   .attempts = 100};
    struct tr_course *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c) return tr_err_set(err, TR_NOMEM, "a course");
    snprintf(set.run, sizeof set.run, "%s", s->run);
    snprintf(set.math, sizeof set.math, "%s", s->math ? s->math : "");
    c->set = *s;
    c->owner = *owner;
    c->plan =
        (struct tr_plan_stage){.told = owner->told, .ask = owner->ask, .ctx = owner->ctx};
    c->planner = tr_plan_stage_planner(&c->plan);
    enum tr_status st =
        tr_core_create(&set, &c->planner, s->memo, tr_clock_seconds(), &c->core, err);
    if (st == TR_OK) st = open_posts(c, err);
    if (st != TR_OK) {
        tr_course_close(c);
        return st;
    }
    *out = c;
    return TR_OK;
}

enum tr_status tr_course_turn(struct tr_course *c, struct tr_err *err)
{
    enum tr_status st = tr_serve_turn(c->core, c->set.wire, c->set.log, err);
    return st == TR_OK && c->owner.tend ? c->owner.tend(c->owner.ctx, err) : st;
}

enum tr_status tr_course_wait(struct tr_course *c, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    while (st == TR_OK && !c->plan.started) st = tr_course_turn(c, err);
    return st;
}

/* What was added is handed out at the next event; time passing is one. */
static enum tr_status wait_answer(struct tr_course *c, struct tr_err *err)
{
    enum tr_status st = tr_core_tick(c->core, tr_clock_seconds(), err);
    while (st == TR_OK && !c->plan.answered) st = tr_course_turn(c, err);
    return st;
}

enum tr_status tr_course_learn(struct tr_course *c, const struct tr_learn_task *task,
                               struct tr_learn_result *result, struct tr_err *err)
{
    bool judged = c->set.references > 0; /* then the weights are hashed at each step */
    enum tr_status st = tr_course_wait(c, err);
    if (st == TR_OK) st = tr_plan_stage_learn(&c->plan, c->core, task, judged, err);
    if (st == TR_OK) st = wait_answer(c, err);
    if (st == TR_OK) *result = tr_answer_learn_result(&c->plan.learnt);
    return st;
}

enum tr_status tr_course_judge(struct tr_course *c, enum tr_role role,
                               const struct tr_ask_judge *ask, int64_t tag,
                               struct tr_err *err)
{
    enum tr_status st = tr_course_wait(c, err);
    if (st == TR_OK) st = tr_plan_stage_judge(&c->plan, c->core, role, ask, tag, err);
    return st == TR_OK ? tr_core_tick(c->core, tr_clock_seconds(), err) : st;
}

struct tr_digest tr_course_lineage(const struct tr_course *c)
{
    return c->plan.lineage;
}

struct tr_core *tr_course_core(struct tr_course *c)
{
    return c->core;
}

enum tr_status tr_course_save(struct tr_course *c, const char *folder, bool optimiser,
                              struct tr_digest *weights, struct tr_digest *state,
                              struct tr_err *err)
{
    struct tr_ask_save ask = {.optimiser = optimiser, .want_digests = weights && state};
    if (folder && strlen(folder) >= sizeof ask.folder)
        return tr_err_set(err, TR_BADARG, "%.64s...: a name of more than %zu bytes",
                          folder, sizeof ask.folder - 1);
    snprintf(ask.folder, sizeof ask.folder, "%s", folder ? folder : "");
    enum tr_status st = tr_course_wait(c, err);
    if (st == TR_OK) st = tr_plan_stage_save(&c->plan, c->core, &ask, err);
    if (st == TR_OK) st = wait_answer(c, err);
    if (st != TR_OK) return st;
    if (!weights || !state) return TR_OK;
    *weights = c->plan.saved.weights.at[0];
    *state = c->plan.saved.state.at[0];
    return TR_OK;
}

static void say_bye(struct tr_course *c)
{
    c->plan.closed = true;
    if (tr_core_tick(c->core, tr_clock_seconds(), NULL) == TR_OK)
        (void)tr_serve_say(c->core, c->set.wire, c->set.log, NULL);
}

void tr_course_close(struct tr_course *c)
{
    if (!c) return;
    if (c->plan.started) say_bye(c);
    tr_core_destroy(c->core);
    free(c);
}

#include "actors/course.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/company.h"
#include "actors/coordinator/plan_stage.h"
#include "actors/coordinator/serve.h"
#include "core/base/clock.h"

struct tr_course {
    struct tr_plan_stage plan;
    struct tr_planner planner;
    struct tr_core *core;   /* owns */
    struct tr_actor *actor; /* owns; a learner here */
    struct tr_wire *wire;   /* owns; a learner elsewhere */
    struct tr_company company;
    const struct tr_log *log; /* borrows */
    bool (*alive)(void *ctx);
    void *ctx;
};

static enum tr_status create(double join_seconds, struct tr_course **out,
                             struct tr_err *err)
{
    struct tr_core_settings set = {
        .run = "stage",
        .join_seconds = join_seconds,
        .silence_seconds = 1e9, /* one learner: there is nobody else to ask */
        .attempts = 3,
    };
    struct tr_course *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c) return tr_err_set(err, TR_NOMEM, "a course");
    int64_t post = 0;
    c->planner = tr_plan_stage_planner(&c->plan);
    enum tr_status st =
        tr_core_create(&set, &c->planner, NULL, tr_clock_seconds(), &c->core, err);
    if (st == TR_OK) st = tr_core_open_post(c->core, TR_ROLE_POLICY, "", 1, &post, err);
    if (st != TR_OK) {
        tr_core_destroy(c->core);
        free(c);
        return st;
    }
    *out = c;
    return TR_OK;
}

enum tr_status tr_course_open_here(struct tr_learner *learner, const char *folder,
                                   struct tr_course **out, struct tr_err *err)
{
    struct tr_role_start start = {
        .ex = tr_learner_exec(learner), .folder = folder, .learner = learner};
    struct tr_course *c = NULL;
    enum tr_status st = create(0, &c, err);
    if (st != TR_OK) return st;
    st = tr_actor_open(TR_ROLE_POLICY, &start, &c->actor, err);
    c->company = (struct tr_company){.core = c->core, .actor = &c->actor, .n = 1};
    if (st == TR_OK) st = tr_company_join(&c->company, err);
    if (st != TR_OK) {
        tr_course_close(c);
        return st;
    }
    *out = c;
    return TR_OK;
}

enum tr_status tr_course_open_served(const char *address, double join_seconds,
                                     char *bound, const struct tr_log *log,
                                     struct tr_course **out, struct tr_err *err)
{
    struct tr_course *c = NULL;
    enum tr_status st = create(join_seconds, &c, err);
    if (st != TR_OK) return st;
    c->log = log;
    st = tr_wire_listen(address, NULL, bound, &c->wire, err);
    if (st != TR_OK) {
        tr_course_close(c);
        return st;
    }
    *out = c;
    return TR_OK;
}

void tr_course_watch(struct tr_course *c, bool (*alive)(void *ctx), void *ctx)
{
    c->alive = alive;
    c->ctx = ctx;
}

static enum tr_status turn(struct tr_course *c, struct tr_err *err)
{
    if (c->actor) return tr_company_turn(&c->company, err);
    if (c->alive && !c->alive(c->ctx))
        return tr_err_set(err, TR_GONE, "the learner's process has ended");
    return tr_serve_turn(c->core, c->wire, c->log, err);
}

static enum tr_status wait_start(struct tr_course *c, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    while (st == TR_OK && !c->plan.started) st = turn(c, err);
    return st;
}

/* What was added is handed out at the next event; time passing is one. */
static enum tr_status wait_answer(struct tr_course *c, struct tr_err *err)
{
    enum tr_status st = tr_core_tick(c->core, tr_clock_seconds(), err);
    while (st == TR_OK && !c->plan.answered) st = turn(c, err);
    return st;
}

enum tr_status tr_course_learn(struct tr_course *c, const struct tr_learn_task *task,
                               struct tr_learn_result *result, struct tr_err *err)
{
    enum tr_status st = wait_start(c, err);
    if (st == TR_OK) st = tr_plan_stage_learn(&c->plan, c->core, task, false, err);
    if (st == TR_OK) st = wait_answer(c, err);
    if (st == TR_OK) *result = tr_answer_learn_result(&c->plan.learnt);
    return st;
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
    enum tr_status st = wait_start(c, err);
    if (st == TR_OK) st = tr_plan_stage_save(&c->plan, c->core, &ask, err);
    if (st == TR_OK) st = wait_answer(c, err);
    if (st != TR_OK) return st;
    if (!weights || !state) return TR_OK;
    *weights = c->plan.saved.weights.at[0];
    *state = c->plan.saved.state.at[0];
    return TR_OK;
}

void tr_course_close(struct tr_course *c)
{
    if (!c) return;
    c->plan.closed = true;
    if (c->wire && c->plan.started) (void)tr_serve_turn(c->core, c->wire, c->log, NULL);
    tr_wire_close(c->wire);
    tr_actor_close(c->actor);
    tr_core_destroy(c->core);
    free(c);
}

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
    struct tr_core *core;      /* owns */
    struct tr_actor *actor[2]; /* own; learner and reference, here */
    struct tr_wire *wire;      /* owns; elsewhere */
    struct tr_company company;
    const struct tr_log *log; /* borrows */
    bool judged;              /* there are judges: the weights are hashed at each step */
    enum tr_status (*tend)(void *ctx, struct tr_err *err);
    void *ctx;
};

static enum tr_status open_posts(struct tr_course *c,
                                 const struct tr_course_judges *judges,
                                 struct tr_err *err)
{
    int64_t post = 0;
    enum tr_status st = tr_core_open_post(c->core, TR_ROLE_POLICY, "", 1, &post, err);
    if (st != TR_OK || !judges) return st;
    c->judged = true;
    c->plan.told = judges->told;
    c->plan.ctx = judges->ctx;
    int64_t replicas = judges->reference ? 1 : judges->replicas;
    return tr_core_open_post(c->core, TR_ROLE_REFERENCE, "", replicas, &post, err);
}

static enum tr_status create(const struct tr_core_settings *set,
                             const struct tr_memo *memo,
                             const struct tr_course_judges *judges,
                             struct tr_course **out, struct tr_err *err)
{
    struct tr_course *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c) return tr_err_set(err, TR_NOMEM, "a course");
    c->planner = tr_plan_stage_planner(&c->plan);
    enum tr_status st =
        tr_core_create(set, &c->planner, memo, tr_clock_seconds(), &c->core, err);
    if (st == TR_OK) st = open_posts(c, judges, err);
    if (st != TR_OK) {
        tr_core_destroy(c->core);
        free(c);
        return st;
    }
    *out = c;
    return TR_OK;
}

enum tr_status tr_course_open_here(struct tr_learner *learner, const char *folder,
                                   const struct tr_course_judges *judges,
                                   struct tr_course **out, struct tr_err *err)
{
    struct tr_core_settings set = {
        .run = "stage", .join_seconds = 1e9, .silence_seconds = 1e9, .attempts = 3};
    struct tr_role_start start = {
        .ex = tr_learner_exec(learner), .folder = folder, .learner = learner};
    struct tr_course *c = NULL;
    if (judges) start.max_tokens = judges->reference->max_tokens;
    enum tr_status st = create(&set, NULL, judges, &c, err);
    if (st != TR_OK) return st;
    st = tr_actor_open(TR_ROLE_POLICY, &start, &c->actor[0], err);
    if (st == TR_OK && judges)
        st = tr_actor_open(TR_ROLE_REFERENCE, judges->reference, &c->actor[1], err);
    c->company =
        (struct tr_company){.core = c->core, .actor = c->actor, .n = judges ? 2 : 1};
    if (st == TR_OK) st = tr_company_join(&c->company, err);
    if (st != TR_OK) {
        tr_course_close(c);
        return st;
    }
    *out = c;
    return TR_OK;
}

enum tr_status tr_course_open_served(const struct tr_course_served *s,
                                     const struct tr_course_judges *judges, char *bound,
                                     struct tr_course **out, struct tr_err *err)
{
    struct tr_core_settings set = {.run = "stage",
                                   .join_seconds = s->join_seconds,
                                   .silence_seconds = 60,
                                   .here_seconds = 5,
                                   .attempts = 100};
    struct tr_course *c = NULL;
    enum tr_status st = create(&set, s->memo, judges, &c, err);
    if (st != TR_OK) return st;
    c->log = s->log;
    st = tr_wire_listen(s->address, s->keys, bound, &c->wire, err);
    if (st != TR_OK) {
        tr_course_close(c);
        return st;
    }
    *out = c;
    return TR_OK;
}

void tr_course_watch(struct tr_course *c,
                     enum tr_status (*tend)(void *ctx, struct tr_err *err), void *ctx)
{
    c->tend = tend;
    c->ctx = ctx;
}

static enum tr_status turn(struct tr_course *c, struct tr_err *err)
{
    if (!c->wire) return tr_company_turn(&c->company, err);
    enum tr_status st = tr_serve_turn(c->core, c->wire, c->log, err);
    return st == TR_OK && c->tend ? c->tend(c->ctx, err) : st;
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
    if (st == TR_OK) st = tr_plan_stage_learn(&c->plan, c->core, task, c->judged, err);
    if (st == TR_OK) st = wait_answer(c, err);
    if (st == TR_OK) *result = tr_answer_learn_result(&c->plan.learnt);
    return st;
}

enum tr_status tr_course_judge(struct tr_course *c, enum tr_role role,
                               const struct tr_ask_judge *ask, int64_t tag,
                               struct tr_err *err)
{
    enum tr_status st = wait_start(c, err);
    return st == TR_OK ? tr_plan_stage_judge(&c->plan, c->core, role, ask, tag, err) : st;
}

enum tr_status tr_course_turn(struct tr_course *c, struct tr_err *err)
{
    enum tr_status st = tr_core_tick(c->core, tr_clock_seconds(), err);
    return st == TR_OK ? turn(c, err) : st;
}

struct tr_digest tr_course_lineage(const struct tr_course *c)
{
    return c->plan.lineage;
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
    for (int i = 0; i < 2; i++) tr_actor_close(c->actor[i]);
    tr_core_destroy(c->core);
    free(c);
}

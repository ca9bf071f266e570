/* Who watches a run: the journal's row of each step, questions of people, signals. */
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "launch/company_status.h"
#include "launch/stage_parts.h"

static const double note_seconds = 1; /* between two notes of who is there */

/* ---- the journal's row ---- */

/* What is no number is left out: JSON has no word for it. */
static void put(json_t *to, const char *key, double x)
{
    if (isfinite(x)) json_object_set_new(to, key, json_real(x));
}

static json_t *metrics_of(const struct tr_stage_parts *p,
                          const struct tr_learn_task *task,
                          const struct tr_learn_result *r)
{
    json_t *m = json_object();
    struct tr_kto_window window = {0};
    put(m, "loss", r->loss);
    put(m, "grad_norm", r->grad_norm);
    put(m, "learning_rate", task->update.lr);
    put(m, "epoch", tr_stage_epoch(p->plan));
    json_object_set_new(m, "tokens", json_integer((json_int_t)r->tokens));
    if (r->skipped) json_object_set_new(m, "skipped", json_true());
    if (p->o->stage == TR_RM) put(m, "accuracy", r->accuracy);
    if (p->o->stage != TR_KTO || r->skipped) return m;
    tr_kto_window_add(&window, r, task->seq.groups ? task->seq.groups : 1);
    json_t *more = tr_kto_window_metrics(&window, p->o->compat);
    json_object_update(m, more);
    json_decref(more);
    return m;
}

enum tr_status tr_stage_note_company(struct tr_stage_parts *p, struct tr_err *err)
{
    p->noted_at = tr_clock_seconds();
    enum tr_status st =
        tr_journal_note_company(p->journal, tr_course_core(p->course), p->noted_at, err);
    return st == TR_OK ? tr_journal_flush(p->journal, err) : st;
}

enum tr_status tr_stage_note_step(struct tr_stage_parts *p,
                                  const struct tr_learn_task *task,
                                  const struct tr_learn_result *result,
                                  struct tr_err *err)
{
    json_t *metrics = metrics_of(p, task, result);
    char *text = metrics ? tr_json_text(metrics, 0) : NULL;
    struct tr_journal_step row = {.step = tr_stage_progress(p->plan).step,
                                  .state = "{}",
                                  .metrics = text,
                                  .policy.lineage = tr_course_lineage(p->course)};
    enum tr_status st = text ? tr_journal_commit(p->journal, &row, NULL, 0, err)
                             : tr_err_set(err, TR_NOMEM, "a step's row");
    free(text);
    json_decref(metrics);
    if (st != TR_OK || tr_clock_seconds() < p->noted_at + note_seconds) return st;
    return tr_stage_note_company(p, err);
}

/* ---- questions ---- */

static enum tr_status say_status(const struct tr_stage_parts *p,
                                 const struct tr_core *core, struct tr_buf *reply,
                                 struct tr_err *err)
{
    double now = tr_clock_seconds();
    struct tr_progress_facts f = tr_stage_facts(p, 0);
    int64_t done = f.step - p->first_step;
    const struct tr_company_status status = {
        .run = p->run,
        .stage = f.stage,
        .step = f.step,
        .steps = f.total,
        .seconds_a_step = done > 0 ? (now - p->started) / (double)done : 0,
        .tokens_per_second = f.tokens_per_second,
        .seconds_left = f.seconds_left,
        .times = &p->times};
    return tr_company_reply(tr_company_json(core, &status, now), reply, err);
}

enum tr_status tr_stage_answer(void *ctx, struct tr_core *core, const char *what,
                               const char *argument, struct tr_buf *reply,
                               struct tr_err *err)
{
    struct tr_stage_parts *p = ctx;
    if (strcmp(what, "status") == 0) return say_status(p, core, reply, err);
    if (strcmp(what, "swap") == 0 || strcmp(what, "rollback") == 0)
        return tr_err_set(err, TR_BADARG, "%s: stage %s has no rewards", what,
                          p->identity.stage);
    return tr_journal_report(p->journal, what, argument, reply, err);
}

/* ---- signals ---- */

enum tr_status tr_stage_hear_stop(struct tr_stage_parts *p, struct tr_err *err)
{
    char which[sizeof(struct signalfd_siginfo)];
    struct pollfd fd = {.fd = p->watch->stop_fd, .events = POLLIN};
    if (fd.fd < 0 || poll(&fd, 1, 0) != 1 || read(fd.fd, which, sizeof which) <= 0)
        return TR_OK;
    tr_progress_line_break(&p->line);
    /* Who is started by hand may never come; what this process has started will. */
    if (p->wire && !p->staff && !tr_core_started(tr_course_core(p->course)))
        return tr_err_set(err, TR_AGAIN,
                          "stopped before all had joined; the same command goes on");
    if (p->stopping)
        return tr_err_set(err, TR_GONE,
                          "stopped at once: the newest checkpoint is gone on from");
    p->stopping = true;
    tr_log_info(p->watch->log, "stopping: the step in hand is finished and saved");
    return TR_OK;
}

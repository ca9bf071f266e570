#include "launch/stage_run.h"

#include <math.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/watch/trainer_log.h"
#include "launch/stage_parts.h"

static double elapsed(const struct tr_stage_parts *p)
{
    return p->before + tr_clock_seconds() - p->started;
}

struct tr_trainer_state tr_stage_state(const struct tr_stage_parts *p)
{
    const struct tr_plan *plan = tr_stage_steps(p->plan);
    struct tr_stage_progress progress = tr_stage_progress(p->plan);
    return (struct tr_trainer_state){
        .run = p->identity,
        .progress = progress,
        .batch = plan->batch,
        .window_loss = p->window_loss,
        .window_steps = p->window_steps,
        .kto = p->kto,
        .elapsed = elapsed(p),
        .epoch = tr_stage_epoch(p->plan),
        .epochs = plan->max_steps > 0
                      ? (double)plan->total / (double)plan->steps_per_epoch
                      : plan->epochs,
        .flos = p->flos_per_token * (double)progress.tokens,
        .total_steps = plan->total,
        .logging_steps = p->o->output.logging_steps,
        .save_steps = p->o->output.save_steps,
        .history = p->history,
    };
}

/* Seconds that the steps to come will take, by those of this process. */
static double seconds_left(const struct tr_stage_parts *p)
{
    int64_t step = tr_stage_progress(p->plan).step;
    int64_t done = step - p->first_step;
    int64_t left = tr_stage_steps(p->plan)->total - step;
    return done ? (tr_clock_seconds() - p->started) * (double)left / (double)done : 0;
}

struct tr_progress_facts tr_stage_facts(const struct tr_stage_parts *p, double loss)
{
    struct tr_stage_progress progress = tr_stage_progress(p->plan);
    double seconds = tr_clock_seconds() - p->started;
    return (struct tr_progress_facts){
        .stage = p->identity.stage,
        .step = progress.step,
        .total = tr_stage_steps(p->plan)->total,
        .loss = loss,
        .epoch = tr_stage_epoch(p->plan),
        .tokens_per_second =
            (double)(progress.tokens - p->tokens_before) / (seconds > 0 ? seconds : 1),
        .seconds_left = seconds_left(p),
        .skipped = progress.skipped,
    };
}

static bool due(int64_t step, int64_t each)
{
    return each > 0 && step % each == 0;
}

/* The peer has no norm to tell where nothing is clipped. */
static double told_norm(const struct tr_stage_parts *p, const struct tr_learn_task *task,
                        const struct tr_learn_result *result)
{
    bool none = p->o->compat && !(task->update.max_grad_norm > 0);
    return none ? (double)NAN : result->grad_norm;
}

static enum tr_status log_entry(struct tr_stage_parts *p,
                                const struct tr_learn_task *task,
                                const struct tr_learn_result *result, struct tr_err *err)
{
    struct tr_stage_progress progress = tr_stage_progress(p->plan);
    struct tr_log_entry e = {
        .step = progress.step,
        .total = tr_stage_steps(p->plan)->total,
        .has_loss = true,
        .loss = p->window_steps ? p->window_loss / (double)p->window_steps : result->loss,
        .grad_norm = told_norm(p, task, result),
        .lr = task->update.lr,
        .epoch = tr_stage_epoch(p->plan),
        .elapsed = elapsed(p),
        .remaining = seconds_left(p),
        .skipped = progress.skipped,
    };
    struct tr_progress_facts facts = tr_stage_facts(p, e.loss);
    tr_progress_line_entry(&p->line, &facts);
    p->window_loss = 0;
    p->window_steps = 0;
    json_t *more = NULL;
    if (p->o->stage == TR_KTO) more = tr_kto_window_metrics(&p->kto, p->o->compat);
    p->kto = (struct tr_kto_window){0};
    e.more = more;
    json_t *entry = tr_trainer_log_history(&e);
    json_decref(more);
    e.more = NULL;
    if (!entry || json_array_append_new(p->history, entry))
        return tr_err_set(err, TR_NOMEM, "log_history: no memory");
    return tr_trainer_log_append(p->o->output.dir, &e, err);
}

static void say_skipped(struct tr_stage_parts *p, const struct tr_learn_result *result)
{
    struct tr_stage_progress progress = tr_stage_progress(p->plan);
    tr_progress_line_break(&p->line);
    tr_log_warn(p->watch->log,
                "step %lld: loss %g, gradient norm %g: the model is left as it was "
                "(%lld skipped so far, %lld in a row)",
                (long long)progress.step, result->loss, result->grad_norm,
                (long long)progress.skipped, (long long)progress.skipped_in_a_row);
}

/* One optimiser step with all that follows from it. */
static enum tr_status do_step(struct tr_stage_parts *p, const struct tr_learn_task *task,
                              struct tr_err *err)
{
    struct tr_learn_result result;
    enum tr_status st = tr_course_learn(p->course, task, &result, err);
    if (st != TR_OK) return st;
    struct tr_step_time time =
        tr_step_time_cut(p->step_began, 0, p->judged, tr_clock_seconds());
    tr_step_times_add(&p->times.steps, &time);
    tr_stage_take(p->plan, &result);
    if (result.skipped) {
        say_skipped(p, &result);
    } else {
        p->window_loss += result.loss;
        p->window_steps++;
        if (p->o->stage == TR_KTO)
            tr_kto_window_add(&p->kto, &result, task->seq.groups ? task->seq.groups : 1);
    }
    struct tr_progress_facts facts = tr_stage_facts(p, result.loss);
    tr_progress_line_step(&p->line, &facts);
    int64_t step = facts.step;
    st = tr_stage_note_step(p, task, &result, err);
    if (st == TR_OK &&
        (due(step, p->log_every) || (step == 1 && p->o->output.logging_first)))
        st = log_entry(p, task, &result, err);
    bool last = step == facts.total && p->o->output.save_strategy == TR_SAVE_STEPS;
    if (st != TR_OK) return st;
    if (due(step, p->save_every) || last) return tr_stage_checkpoint(p, err);
    return tr_stage_snapshot(p, err);
}

static enum tr_status loop(struct tr_stage_parts *p, enum tr_stage_end *end,
                           struct tr_err *err)
{
    struct tr_learn_task task;
    enum tr_status st = tr_course_wait(p->course, err);
    *end = TR_STAGE_DONE;
    while (st == TR_OK) {
        p->step_began = tr_clock_seconds();
        st = tr_stage_judge(p, err);
        p->judged = tr_clock_seconds();
        if (st != TR_OK || !tr_stage_next(p->plan, &task)) break;
        st = do_step(p, &task, err);
        if (st != TR_OK) break;
        if (tr_stage_progress(p->plan).skipped_in_a_row >= TR_SKIPS_MAX) {
            *end = TR_STAGE_NOT_FINITE;
            break;
        }
        bool left = tr_stage_progress(p->plan).step < tr_stage_steps(p->plan)->total;
        st = tr_stage_hear_stop(p, err);
        if (st == TR_OK && left && p->stopping) {
            *end = TR_STAGE_STOPPED;
            st = tr_stage_checkpoint(p, err);
        }
        if (st != TR_OK || *end == TR_STAGE_STOPPED) break;
    }
    tr_progress_line_break(&p->line);
    return st;
}

static enum tr_status conclude(struct tr_stage_parts *p, struct tr_stage_outcome *out,
                               struct tr_err *err)
{
    struct tr_stage_progress progress = tr_stage_progress(p->plan);
    int64_t counted = progress.step - progress.skipped;
    tr_company_note_busy(&p->times, tr_course_core(p->course), tr_clock_seconds());
    out->times = p->times;
    out->step = progress.step;
    out->skipped = progress.skipped;
    out->loss = counted > 0 ? progress.loss_sum / (double)counted : 0;
    enum tr_status st =
        tr_course_save(p->course, NULL, false, &out->weights, &out->state, err);
    if (st == TR_OK && out->end == TR_STAGE_DONE) st = tr_stage_finish(p, out, err);
    if (st == TR_OK) st = tr_stage_note_company(p, err);
    if (st == TR_OK) tr_stage_draw(p);
    return st == TR_OK ? tr_stage_manifest(p, out, err) : st;
}

enum tr_status tr_stage_run(const struct tr_options *o, const struct tr_exec *ex,
                            const struct tr_stage_watch *watch,
                            struct tr_stage_outcome *outcome, struct tr_err *err)
{
    struct tr_stage_parts p = {.o = o, .ex = ex, .watch = watch};
    p.times.phases = o->stage == TR_KTO ? 2 : 1;
    *outcome = (struct tr_stage_outcome){0};
    enum tr_status st = tr_stage_open(&p, err);
    if (st == TR_OK) st = tr_stage_manifest(&p, NULL, err);
    if (st == TR_OK) st = loop(&p, &outcome->end, err);
    if (st == TR_OK) st = conclude(&p, outcome, err);
    tr_stage_close(&p, st == TR_OK);
    return st;
}

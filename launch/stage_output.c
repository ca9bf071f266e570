/* What a run leaves in its folder. */
#include <stdio.h>
#include <string.h>

#include "actors/checkpoint.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/json.h"
#include "core/watch/history_plot.h"
#include "core/watch/trainer_log.h"
#include "launch/stage_parts.h"
#include "launch/version.h"

enum { TR_PATH = 1024, KEPT = 2 /* snapshots */ };

static enum tr_status write_aside(struct tr_stage_parts *p, const char *part,
                                  bool optimiser, struct tr_err *err)
{
    struct tr_trainer_state state = tr_stage_state(p);
    struct tr_digest lineage = tr_course_lineage(p->course);
    enum tr_status st = tr_course_save(p->course, part, optimiser, NULL, NULL, err);
    if (st == TR_OK && optimiser) st = tr_checkpoint_write_lineage(part, &lineage, err);
    return st == TR_OK ? tr_trainer_state_write(part, &state, err) : st;
}

/* Everything that a run goes on from, as BASE/checkpoint-STEP: written aside, then renamed. What could not be
 * written whole goes: a full disk needs the room. */
static enum tr_status save_state(struct tr_stage_parts *p, const char *base,
                                 bool optimiser, struct tr_err *err)
{
    char part[TR_PATH];
    struct tr_digest lineage = tr_course_lineage(p->course);
    int64_t step = tr_stage_progress(p->plan).step;
    enum tr_status st = tr_dir_make(base, err);
    if (st == TR_OK) st = tr_checkpoint_name(base, step, true, part, sizeof part, err);
    if (st == TR_OK) st = tr_dir_remove(part, err);
    if (st != TR_OK) return st;
    st = write_aside(p, part, optimiser, err);
    if (st == TR_OK) st = tr_checkpoint_publish(base, step, err);
    if (st != TR_OK) (void)tr_dir_remove(part, NULL);
    p->snapshot_at = tr_clock_seconds();
    p->snapshot_step = step;
    if (st != TR_OK || !optimiser) return st;
    struct tr_journal_snapshot row = {
        .role = TR_ROLE_POLICY, .step = step, .lineage = lineage};
    st = tr_checkpoint_name(base, step, false, row.folder, sizeof row.folder, err);
    if (st == TR_OK) st = tr_journal_note_snapshot(p->journal, &row, err);
    struct tr_journal_snapshot gone;
    while (st == TR_OK &&
           tr_journal_prune(p->journal, TR_ROLE_POLICY, KEPT, &gone, NULL) == TR_OK) {
    }
    return st == TR_OK ? tr_stage_tell_others(p, err) : st;
}

static enum tr_status snapshot_base(const struct tr_stage_parts *p, char *base,
                                    struct tr_err *err)
{
    return tr_path_join(base, TR_PATH, p->o->output.dir, "snapshot", err);
}

enum tr_status tr_stage_checkpoint(struct tr_stage_parts *p, struct tr_err *err)
{
    const char *run = p->o->output.dir;
    int64_t step = tr_stage_progress(p->plan).step;
    bool all = !p->o->output.save_only_model || p->stopping; /* a stop is gone on from */
    enum tr_status st = save_state(p, run, all, err);
    if (st == TR_OK) st = tr_checkpoint_prune(run, p->o->output.save_limit, step, err);
    return st;
}

enum tr_status tr_stage_snapshot(struct tr_stage_parts *p, struct tr_err *err)
{
    char base[TR_PATH];
    const double every = p->o->ppo.snapshot_seconds;
    const int64_t steps = p->o->ppo.snapshot_steps;
    int64_t step = tr_stage_progress(p->plan).step;
    bool due = (every > 0 && tr_clock_seconds() >= p->snapshot_at + every) ||
               (steps > 0 && step >= p->snapshot_step + steps);
    if (!due) return TR_OK;
    enum tr_status st = snapshot_base(p, base, err);
    if (st == TR_OK) st = save_state(p, base, true, err);
    return st == TR_OK ? tr_checkpoint_prune(base, KEPT, step, err) : st;
}

enum tr_status tr_stage_newest(const struct tr_stage_parts *p, char *path, size_t size,
                               int64_t *step, struct tr_err *err)
{
    char base[TR_PATH];
    int64_t saved = tr_checkpoint_last(p->o->output.dir);
    enum tr_status st = snapshot_base(p, base, err);
    if (st != TR_OK) return st;
    int64_t snapshot = tr_checkpoint_last(base);
    path[0] = 0;
    *step = saved > snapshot ? saved : snapshot;
    if (*step < 0) return TR_OK;
    return tr_checkpoint_name(saved >= snapshot ? p->o->output.dir : base, *step, false,
                              path, size, err);
}

static enum tr_status write_text(const char *dir, const char *name,
                                 const struct tr_buf *text, struct tr_err *err)
{
    char path[TR_PATH];
    enum tr_status st = tr_path_join(path, sizeof path, dir, name, err);
    return st == TR_OK ? tr_file_write(path, tr_buf_text(text), text->size, err) : st;
}

static enum tr_status write_config(const struct tr_stage_parts *p, struct tr_err *err)
{
    struct tr_buf text;
    tr_buf_init(&text, 1 << 20);
    enum tr_status st = tr_options_text(p->o, &text, err);
    if (st == TR_OK) st = write_text(p->o->output.dir, "run.yaml", &text, err);
    tr_buf_fini(&text);
    return st;
}

/* Instruction set and threads are for the reader: they change no bit. */
enum tr_status tr_stage_manifest(const struct tr_stage_parts *p,
                                 const struct tr_stage_outcome *outcome,
                                 struct tr_err *err)
{
    char path[TR_PATH];
    char weights[65] = "";
    char state[65] = "";
    char math[TR_MATH_BYTES];
    const char *dir = p->o->output.dir;
    if (outcome) {
        tr_digest_text(&outcome->weights, weights);
        tr_digest_text(&outcome->state, state);
    }
    tr_exec_math(p->ex, math);
    enum tr_status st = write_config(p, err);
    if (st == TR_OK) st = tr_path_join(path, sizeof path, dir, "manifest.json", err);
    if (st != TR_OK) return st;
    json_t *doc =
        json_pack("{s:s, s:s, s:I, s:s, s:I, s:b, s:{s:s, s:i}}", "version", TR_VERSION,
                  "stage", p->identity.stage, "seed", (json_int_t)p->o->steps.seed,
                  "math", math, "gradient_groups", (json_int_t)p->o->exec.gradient_groups,
                  "bf16", p->o->model.bf16, "machine", "isa", tr_exec_isa(p->ex),
                  "threads", tr_team_threads(p->ex->team));
    if (doc && outcome) {
        json_object_set_new(doc, "step", json_integer(outcome->step));
        json_object_set_new(doc, "weights_digest", json_string(weights));
        json_object_set_new(doc, "state_digest", json_string(state));
    }
    st = doc ? tr_json_save(path, doc, 2, err)
             : tr_err_set(err, TR_NOMEM, "%s: no memory", path);
    json_decref(doc);
    return st;
}

static enum tr_status write_card(const struct tr_stage_parts *p,
                                 const struct tr_stage_outcome *out, struct tr_err *err)
{
    struct tr_buf b;
    const struct tr_plan *plan = tr_stage_steps(p->plan);
    const struct tr_options *o = p->o;
    tr_buf_init(&b, 1 << 16);
    enum tr_status st = tr_buf_printf(
        &b, err,
        "---\nlicense: other\nbase_model: %s\ntags:\n- troupe\n- full\n---\n\n"
        "# %s\n\nThis model is %s, trained at stage %s on %s.\n\n## Training\n\n",
        o->model.path, o->output.dir, o->model.path, p->identity.stage, o->data.dataset);
    if (st == TR_OK)
        st = tr_buf_printf(
            &b, err,
            "- learning_rate: %g\n- train_batch_size: %lld\n- "
            "gradient_accumulation_steps: %lld\n- seed: %lld\n- optimizer: AdamW, betas "
            "(%g, %g), epsilon %g, weight decay %g\n- lr_scheduler_type: %s\n"
            "- warmup_steps: %lld\n- training_steps: %lld\n- train_loss: %.4f\n",
            o->update.lr, (long long)plan->batch, (long long)plan->accumulation,
            (long long)o->steps.seed, o->update.beta1, o->update.beta2, o->update.eps,
            o->update.weight_decay, o->steps.scheduler,
            (long long)tr_stage_schedule(p->plan)->warmup, (long long)plan->total,
            out->loss);
    if (st == TR_OK) st = write_text(o->output.dir, "README.md", &b, err);
    tr_buf_fini(&b);
    return st;
}

/* The peer counts samples as steps times the full batch, or epochs times the dataset. */
static struct tr_train_results results_of(const struct tr_stage_parts *p,
                                          const struct tr_stage_outcome *out)
{
    const struct tr_plan *plan = tr_stage_steps(p->plan);
    struct tr_trainer_state state = tr_stage_state(p);
    int64_t samples = plan->max_steps > 0
                          ? plan->max_steps * plan->batch * plan->accumulation
                          : (int64_t)((double)plan->examples * plan->epochs);
    return (struct tr_train_results){
        .epoch = state.epoch,
        .flos = state.flos,
        .loss = out->loss,
        .seconds = state.elapsed,
        .samples = samples,
        .steps = plan->total,
        .skipped = out->skipped,
    };
}

enum tr_status tr_stage_finish(struct tr_stage_parts *p,
                               const struct tr_stage_outcome *out, struct tr_err *err)
{
    const char *dir = p->o->output.dir;
    struct tr_train_results results = results_of(p, out);
    struct tr_trainer_state state = tr_stage_state(p);
    struct tr_log_entry last = {
        .step = out->step,
        .total = state.total_steps,
        .epoch = state.epoch,
        .elapsed = state.elapsed,
    };
    json_t *entry = tr_train_results_history(&results, out->step);
    if (!entry || json_array_append_new(p->history, entry))
        return tr_err_set(err, TR_NOMEM, "log_history: no memory");
    enum tr_status st = tr_course_save(p->course, dir, false, NULL, NULL, err);
    if (st == TR_OK) st = tr_trainer_state_write(dir, &state, err);
    if (st == TR_OK) st = tr_trainer_log_append(dir, &last, err);
    results.more = json_object();
    if (results.more) tr_company_put_times(results.more, &out->times);
    if (st == TR_OK) st = tr_train_results_write(dir, &results, err);
    json_decref(results.more);
    return st == TR_OK ? write_card(p, out, err) : st;
}

void tr_stage_draw(const struct tr_stage_parts *p)
{
    static const char *const keys[] = {"loss", "rewards/chosen"};
    struct tr_err err = {0};
    if (!p->o->output.plot_loss) return;
    for (int i = 0; i < (p->o->stage == TR_KTO ? 2 : 1); i++)
        if (tr_history_plot(p->o->output.dir, p->history, keys[i], &err) != TR_OK)
            tr_log_warn(p->watch->log, "plot_loss: %s", err.text);
}

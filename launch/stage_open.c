/* Opening a run: what the options name is loaded and checked, cheapest first, so that a mistake is
 * told in the first second. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/json.h"
#include "core/watch/trainer_log.h"
#include "launch/stage_parts.h"

static const char *stage_name(const struct tr_options *o)
{
    static const char *const stages[] = {"pt", "sft", "rm", "dpo", "kto", "ppo"};
    return stages[o->stage];
}

/* The manifest of a run of this stage that did not come to its end: a model beside it is not whole, or not all that
 * the run leaves. */
static bool unfinished(const struct tr_options *o)
{
    char path[1024];
    json_t *doc = NULL;
    const char *stage = NULL;
    if (tr_path_join(path, sizeof path, o->output.dir, "manifest.json", NULL) != TR_OK ||
        tr_json_load(path, 1 << 16, &doc, NULL) != TR_OK)
        return false;
    bool ours = tr_json_string(doc, "stage", path, &stage, NULL) == TR_OK &&
                strcmp(stage, stage_name(o)) == 0;
    bool ended = json_object_get(doc, "weights_digest");
    json_decref(doc);
    return ours && !ended;
}

/* The rules of the peer: a folder with weights is not written over unless that is said; one with
 * checkpoints is gone on from. */
static enum tr_status find_resume(const struct tr_stage_parts *p, char *path, size_t size,
                                  struct tr_err *err)
{
    const struct tr_options *o = p->o;
    static const char *const weights[] = {
        "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"};
    char at[1024];
    int64_t last = -1;
    path[0] = 0;
    if (o->output.resume) {
        if (tr_path_is_dir(o->output.resume)) {
            snprintf(path, size, "%s", o->output.resume);
            return TR_OK;
        }
        return tr_err_set(err, TR_BADARG, "resume_from_checkpoint: %s: no such folder",
                          o->output.resume);
    }
    if (o->output.resume_last || !o->output.overwrite) {
        enum tr_status st = tr_stage_newest(p, path, size, &last, err);
        if (st != TR_OK || path[0]) return st;
    }
    if (o->output.resume_last)
        return tr_err_set(err, TR_BADARG, "resume_from_checkpoint: no checkpoint in %s",
                          o->output.dir);
    if (o->output.overwrite || unfinished(o)) return TR_OK;
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        enum tr_status st = tr_path_join(at, sizeof at, o->output.dir, weights[i], err);
        if (st != TR_OK) return st;
        if (tr_path_exists(at))
            return tr_err_set(err, TR_BADARG,
                              "output_dir %s: holds a model already; set "
                              "overwrite_output_dir: true or name another",
                              o->output.dir);
    }
    return TR_OK;
}

static enum tr_status load_examples(struct tr_stage_parts *p, struct tr_err *err)
{
    struct tr_buf notes;
    tr_buf_init(&notes, 1 << 20);
    enum tr_status st = tr_tokenizer_open(p->o->model.path, &p->tokenizer, err);
    if (st == TR_OK)
        st = tr_examples_load(&p->o->data, p->tokenizer, &p->examples, &notes, err);
    if (st == TR_OK) tr_log_warn_lines(p->watch->log, tr_buf_text(&notes));
    tr_buf_fini(&notes);
    return st;
}

static int64_t all_tokens(const struct tr_examples *e)
{
    int64_t n = 0;
    for (int64_t i = 0; i < tr_examples_count(e); i++) {
        const struct tr_example *x = tr_examples_get(e, i);
        for (int k = 0; k < x->n; k++) n += x->seq[k].count;
    }
    return n;
}

static int64_t every(double setting, int64_t total)
{
    if (setting >= 1) return (int64_t)setting;
    int64_t n = (int64_t)(setting * (double)total);
    return n + ((double)n < setting * (double)total); /* rounded up, as the peer does */
}

static enum tr_status make_plan(struct tr_stage_parts *p, struct tr_err *err)
{
    struct tr_stage_options stage;
    enum tr_status st = tr_options_stage(p->o, &stage, err);
    if (st != TR_OK) return st;
    stage.stop = tr_tokenizer_special(p->tokenizer).eos;
    st = tr_stage_create(&stage, p->examples, &p->plan, err);
    if (st != TR_OK) return st;
    const struct tr_plan *plan = tr_stage_steps(p->plan);
    p->log_every = every(p->o->output.logging_steps, plan->total);
    if (p->o->output.save_strategy == TR_SAVE_STEPS)
        p->save_every = every(p->o->output.save_steps, plan->total);
    if (p->o->output.save_strategy == TR_SAVE_EPOCH)
        p->save_every = plan->steps_per_epoch;
    p->identity = (struct tr_run_identity){
        .stage = stage_name(p->o),
        .examples = plan->examples,
        .tokens = all_tokens(p->examples),
        .per_step = plan->batch * plan->accumulation,
        .drop = plan->drop_last ? plan->batch : 0,
        .group = p->o->stage == TR_KTO && p->o->compat ? plan->batch : 0,
        .seed = (int64_t)plan->seed,
        .shuffle = plan->shuffle,
    };
    return TR_OK;
}

static enum tr_status resume(struct tr_stage_parts *p, const char *path,
                             struct tr_err *err)
{
    struct tr_trainer_state state = {0};
    json_t *history = NULL;
    enum tr_status st = tr_trainer_state_read(path, &p->identity, &state, &history, err);
    if (st == TR_OK) st = tr_stage_seek(p->plan, &state.progress, err);
    if (st != TR_OK) {
        json_decref(history);
        return tr_err_wrap(err, st, "resume");
    }
    json_decref(p->history);
    p->history = history;
    p->window_loss = state.window_loss;
    p->window_steps = state.window_steps;
    p->kto = state.kto;
    p->before = state.elapsed;
    tr_log_info(p->watch->log, "going on from %s, step %lld", path,
                (long long)state.progress.step);
    return TR_OK;
}

static bool begins_anew(const struct tr_stage_parts *p)
{
    return p->o->output.overwrite && !p->o->output.resume && !p->o->output.resume_last;
}

enum tr_status tr_stage_open(struct tr_stage_parts *p, struct tr_err *err)
{
    char path[1024];
    int64_t logged = 0;
    p->line = tr_progress_line_on(p->watch->progress_fd);
    p->history = json_array();
    if (!p->history) return tr_err_set(err, TR_NOMEM, "a run: no memory");
    if (!tr_path_is_dir(p->o->model.path))
        return tr_err_set(
            err, TR_BADARG,
            "model_name_or_path: %s: no such folder; models are local folders",
            p->o->model.path);
    enum tr_status st = find_resume(p, path, sizeof path, err);
    if (st == TR_OK) st = load_examples(p, err);
    if (st == TR_OK) st = make_plan(p, err);
    if (st == TR_OK && path[0]) st = resume(p, path, err);
    if (st != TR_OK) return st;
    p->first_step = p->snapshot_step = tr_stage_progress(p->plan).step;
    p->tokens_before = tr_stage_progress(p->plan).tokens;
    st = tr_dir_make(p->o->output.dir, err);
    if (st == TR_OK && begins_anew(p)) st = tr_home_clear(p->o->output.dir, err);
    if (st == TR_OK) st = tr_stage_open_learner(p, path, err);
    if (st == TR_OK)
        st = tr_trainer_log_trim(p->o->output.dir, p->first_step, &logged, err);
    if (st == TR_OK) st = tr_course_wait(p->course, err);
    p->started = p->snapshot_at = tr_clock_seconds();
    return st;
}

void tr_stage_close(struct tr_stage_parts *p, bool ended_well)
{
    tr_stage_close_learner(p, ended_well);
    tr_stage_destroy(p->plan);
    tr_examples_destroy(p->examples);
    tr_tokenizer_close(p->tokenizer);
    json_decref(p->history);
}

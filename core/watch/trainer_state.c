#include "core/watch/trainer_state.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/watch/trainer_log.h"

static json_t *identity_of(const struct tr_run_identity *r)
{
    json_t *own = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:b}", "stage", r->stage,
                            "examples", (json_int_t)r->examples, "tokens",
                            (json_int_t)r->tokens, "samples_per_step",
                            (json_int_t)r->per_step, "drop_last", (json_int_t)r->drop,
                            "seed", (json_int_t)r->seed, "shuffle", r->shuffle);
    if (own && r->group &&
        json_object_set_new(own, "baseline_of", json_integer(r->group))) {
        json_decref(own);
        return NULL;
    }
    return own;
}

static json_t *own_part(const struct tr_trainer_state *s)
{
    const struct tr_stage_progress *p = &s->progress;
    json_t *kto = s->kto.groups ? tr_kto_window_state(&s->kto) : NULL;
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:f, s:o*}", "run",
                     identity_of(&s->run), "step", (json_int_t)p->step, "skipped",
                     (json_int_t)p->skipped, "skipped_in_a_row",
                     (json_int_t)p->skipped_in_a_row, "tokens", (json_int_t)p->tokens,
                     "loss_sum", p->loss_sum, "window_loss", s->window_loss,
                     "window_steps", (json_int_t)s->window_steps, "elapsed", s->elapsed,
                     "window_kto", kto);
}

/* A count as the peer writes it: whole numbers without a dot. */
static json_t *count_or_share(double x)
{
    return x == floor(x) ? json_integer((json_int_t)x) : json_real(x);
}

enum tr_status tr_trainer_state_write(const char *dir, const struct tr_trainer_state *s,
                                      struct tr_err *err)
{
    char path[1024];
    enum tr_status st = tr_path_join(path, sizeof path, dir, "trainer_state.json", err);
    if (st != TR_OK) return st;
    json_t *doc = json_pack(
        "{s:n, s:n, s:n, s:f, s:I, s:b, s:b, s:b, s:O, s:o, s:I, s:I, s:I, s:o, s:{}, s:f,"
        " s:I, s:n, s:n, s:o}",
        "best_global_step", "best_metric", "best_model_checkpoint", "epoch", s->epoch,
        "global_step", (json_int_t)s->progress.step, "is_hyper_param_search", 0,
        "is_local_process_zero", 1, "is_world_process_zero", 1, "log_history", s->history,
        "logging_steps", count_or_share(s->logging_steps), "max_steps",
        (json_int_t)s->total_steps, "num_input_tokens_seen",
        (json_int_t)s->progress.tokens, "num_train_epochs", (json_int_t)ceil(s->epochs),
        "save_steps", count_or_share(s->save_steps), "stateful_callbacks", "total_flos",
        s->flos, "train_batch_size", (json_int_t)s->batch, "trial_name", "trial_params",
        "troupe", own_part(s));
    st = doc ? tr_json_save(path, doc, 2, err)
             : tr_err_set(err, TR_NOMEM, "%s: no memory", path);
    json_decref(doc);
    return st;
}

/* Every field of the identity must be the same. */
static enum tr_status check_identity(const json_t *found, const char *path,
                                     const struct tr_run_identity *run,
                                     struct tr_err *err)
{
    enum tr_status st = TR_OK;
    const char *key = NULL;
    json_t *value = NULL;
    json_t *want = identity_of(run);
    json_object_foreach(want, key, value)
    {
        if (st != TR_OK || json_equal(value, json_object_get(found, key))) continue;
        char *a = json_dumps(value, JSON_ENCODE_ANY);
        char *b = json_dumps(json_object_get(found, key), JSON_ENCODE_ANY);
        st = tr_err_set(err, TR_BADARG,
                        "%s: made by another run: %s is %s there and %s here", path, key,
                        b ? b : "missing", a ? a : "?");
        free(a);
        free(b);
    }
    json_decref(want);
    return st;
}

static enum tr_status read_own(const json_t *own, const char *path,
                               struct tr_trainer_state *out, struct tr_err *err)
{
    const int64_t most = (int64_t)1 << 53;
    struct tr_stage_progress *p = &out->progress;
    enum tr_status st = tr_json_int(own, "step", path, 0, most, &p->step, err);
    if (st == TR_OK) st = tr_json_int(own, "skipped", path, 0, most, &p->skipped, err);
    if (st == TR_OK)
        st = tr_json_int(own, "skipped_in_a_row", path, 0, most, &p->skipped_in_a_row,
                         err);
    if (st == TR_OK) st = tr_json_int(own, "tokens", path, 0, most, &p->tokens, err);
    if (st == TR_OK) st = tr_json_real(own, "loss_sum", path, &p->loss_sum, err);
    if (st == TR_OK) st = tr_json_real(own, "window_loss", path, &out->window_loss, err);
    if (st == TR_OK)
        st = tr_json_int(own, "window_steps", path, 0, most, &out->window_steps, err);
    if (st == TR_OK) st = tr_json_real(own, "elapsed", path, &out->elapsed, err);
    const json_t *kto = json_object_get(own, "window_kto");
    if (st == TR_OK && kto) st = tr_kto_window_read(kto, path, &out->kto, err);
    return st;
}

enum tr_status tr_trainer_state_read(const char *dir, const struct tr_run_identity *run,
                                     struct tr_trainer_state *out, json_t **history,
                                     struct tr_err *err)
{
    char path[1024];
    json_t *doc = NULL;
    *history = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, dir, "trainer_state.json", err);
    if (st == TR_OK) st = tr_json_load(path, 256U << 20U, &doc, err);
    if (st != TR_OK) return st;
    const json_t *own = json_object_get(doc, "troupe");
    json_t *log = json_object_get(doc, "log_history");
    if (!json_is_object(own) || !json_is_array(log))
        st = tr_err_set(err, TR_BADARG,
                        "%s: not a checkpoint of ours: expected the fields troupe and "
                        "log_history",
                        path);
    if (st == TR_OK) st = check_identity(json_object_get(own, "run"), path, run, err);
    if (st == TR_OK) st = read_own(own, path, out, err);
    if (st == TR_OK) *history = json_incref(log);
    json_decref(doc);
    return st;
}

static json_t *results_of(const struct tr_train_results *r)
{
    double seconds = r->seconds > 1e-4 ? r->seconds : 1e-4;
    json_t *doc = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f}", "epoch", r->epoch, "total_flos", r->flos,
        "train_loss", r->loss, "train_runtime", tr_round_decimals(seconds, 4),
        "train_samples_per_second", tr_round_decimals((double)r->samples / seconds, 3),
        "train_steps_per_second", tr_round_decimals((double)r->steps / seconds, 3));
    if (doc && r->skipped)
        json_object_set_new(doc, "skipped_steps", json_integer(r->skipped));
    if (doc && r->more) json_object_update(doc, r->more);
    return doc;
}

json_t *tr_train_results_history(const struct tr_train_results *r, int64_t step)
{
    json_t *doc = results_of(r);
    if (doc) json_object_set_new(doc, "step", json_integer(step));
    return doc;
}

enum tr_status tr_train_results_write(const char *dir, const struct tr_train_results *r,
                                      struct tr_err *err)
{
    static const char *const names[2] = {"train_results.json", "all_results.json"};
    char path[1024];
    json_t *doc = results_of(r);
    enum tr_status st = doc ? TR_OK : tr_err_set(err, TR_NOMEM, "%s: results", dir);
    for (int i = 0; i < 2 && st == TR_OK; i++) {
        st = tr_path_join(path, sizeof path, dir, names[i], err);
        if (st == TR_OK) st = tr_json_save(path, doc, 4, err);
    }
    json_decref(doc);
    return st;
}

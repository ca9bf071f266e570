#include "launch/voice.h"

#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"

/* ---- when to stop ---- */

static void add_stop(struct tr_voice *v, int64_t id)
{
    if (id < 0 || id >= v->model.arch.V || v->stops == TR_STOP_MAX) return;
    for (int64_t i = 0; i < v->stops; i++)
        if (v->stop[i] == id) return;
    v->stop[v->stops++] = (int32_t)id;
}

/* "eos_token_id" of generation_config.json: a number or a list of them. The file may be missing. */
static enum tr_status read_generation_config(struct tr_voice *v, const char *folder,
                                             struct tr_err *err)
{
    char path[1024];
    json_t *config = NULL;
    enum tr_status st =
        tr_path_join(path, sizeof path, folder, "generation_config.json", err);
    if (st != TR_OK || !tr_path_exists(path)) return st;
    st = tr_json_load(path, 1 << 20, &config, err);
    if (st != TR_OK) return st;
    const json_t *eos = json_object_get(config, "eos_token_id");
    if (json_is_integer(eos)) add_stop(v, json_integer_value(eos));
    for (size_t i = 0; i < json_array_size(eos); i++)
        add_stop(v, json_integer_value(json_array_get(eos, i)));
    json_decref(config);
    return TR_OK;
}

static enum tr_status gather_stops(struct tr_voice *v, const char *folder,
                                   struct tr_err *err)
{
    for (int32_t i = 0; i < v->model.arch.n_eos; i++) add_stop(v, v->model.arch.eos[i]);
    add_stop(v, tr_tokenizer_special(v->tokenizer).eos);
    for (int i = 0; i < TR_STOPS && !v->raw; i++)
        if (v->layout.stop[i])
            add_stop(v, tr_tokenizer_id(v->tokenizer, v->layout.stop[i]));
    return read_generation_config(v, folder, err);
}

/* ---- opening ---- */

static enum tr_status open_layout(struct tr_voice *v, const char *name,
                                  struct tr_buf *notes, struct tr_err *err)
{
    enum tr_status st = tr_template_choose(name, v->tokenizer, &v->layout, err);
    return st == TR_OK ? tr_template_repair(&v->layout, v->tokenizer, notes, err) : st;
}

enum tr_status tr_voice_open(const struct tr_exec *ex, const struct tr_voice_start *s,
                             struct tr_voice *out, struct tr_buf *notes,
                             struct tr_err *err)
{
    struct tr_model_start model = {.folder = s->folder, .lm_head = true, .bf16 = s->bf16};
    *out = (struct tr_voice){.raw = s->raw};
    enum tr_status st = tr_tokenizer_open(s->folder, &out->tokenizer, err);
    if (st == TR_OK && !s->raw) st = open_layout(out, s->template_name, notes, err);
    if (st == TR_OK) st = tr_model_load(ex, &model, &out->model, err);
    if (st == TR_OK) st = gather_stops(out, s->folder, err);
    if (st != TR_OK) tr_voice_close(out);
    return st;
}

void tr_voice_close(struct tr_voice *v)
{
    tr_template_fini(&v->layout);
    tr_tokenizer_close(v->tokenizer);
    tr_model_close(&v->model);
    *v = (struct tr_voice){0};
}

/* ---- prompts ---- */

static enum tr_status encode_raw(const struct tr_voice *v, const char *text,
                                 struct tr_ids *out, struct tr_err *err)
{
    struct tr_special special = tr_tokenizer_special(v->tokenizer);
    enum tr_status st = TR_OK;
    if (special.add_bos && special.bos >= 0) st = tr_ids_put(out, &special.bos, 1, err);
    return st == TR_OK ? tr_tokenizer_encode(v->tokenizer, text, strlen(text), out, err)
                       : st;
}

enum tr_status tr_voice_prompt(const struct tr_voice *v, const char *system,
                               const char *text, struct tr_ids *out, struct tr_err *err)
{
    struct tr_message message = {.role = TR_USER, .text = text, .size = strlen(text)};
    enum tr_status st = v->raw ? encode_raw(v, text, out, err)
                               : tr_template_prompt(&v->layout, v->tokenizer, system,
                                                    &message, 1, out, err);
    if (st == TR_OK && out->count == 0)
        st = tr_err_set(err, TR_BADARG, "an empty prompt: nothing to go on from");
    for (int64_t i = 0; i < out->count && st == TR_OK; i++)
        if (out->at[i] >= v->model.arch.V)
            st = tr_err_set(
                err, TR_BADARG,
                "the tokenizer gives id %d, but the model has %lld: not of one model",
                out->at[i], (long long)v->model.arch.V);
    return st;
}

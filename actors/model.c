#include "actors/model.h"

#include <stdlib.h>

#include "actors/draw.h"
#include "core/model/folder.h"

static const double deviation =
    0.02; /* transformers' initializer_range, as the learner's */

static enum tr_status draw(const struct tr_exec *ex, const struct tr_model_start *s,
                           struct tr_model *out, struct tr_err *err)
{
    size_t total = (size_t)tr_params_total(out->params);
    out->drawn = calloc(total, sizeof *out->drawn);
    if (!out->drawn) return tr_err_set(err, TR_NOMEM, "weights: %zu numbers", total);
    enum tr_status st =
        tr_draw_model(ex, out->params, s->seed, deviation, out->drawn, err);
    if (st != TR_OK) return st;
    tr_draw_value_head(out->params, s->seed, out->drawn);
    tr_weights_refresh(out->weights, ex, out->drawn);
    return TR_OK;
}

static enum tr_status read_folder(const struct tr_exec *ex,
                                  const struct tr_model_start *s,
                                  const struct tr_folder *f, struct tr_model *out,
                                  struct tr_err *err)
{
    bool head = false;
    enum tr_status st = tr_folder_read_weights(f, ex, out->weights, &head, err);
    if (st == TR_OK && s->value_head && !head)
        st = tr_err_set(err, TR_BADARG,
                        "%s: no value_head.safetensors, so no reward model", s->folder);
    return st;
}

enum tr_status tr_model_load(const struct tr_exec *ex, const struct tr_model_start *s,
                             struct tr_model *out, struct tr_err *err)
{
    struct tr_folder *f = NULL;
    enum tr_status st = TR_OK;
    *out = (struct tr_model){0};
    if (s->folder) st = tr_folder_open(s->folder, &f, err);
    if (st != TR_OK) goto done;
    out->arch = f ? *tr_folder_arch(f) : *s->arch;
    if (f && s->lm_head && !tr_folder_has_lm_head(f)) {
        st = tr_err_set(err, TR_BADARG, "%s: no output layer, so it can say nothing",
                        s->folder);
        goto done;
    }
    st = tr_params_create(&out->arch, s->lm_head, s->value_head, &out->params, err);
    if (st == TR_OK) st = tr_weights_create(out->params, ex, s->bf16, &out->weights, err);
    if (st == TR_OK) st = f ? read_folder(ex, s, f, out, err) : draw(ex, s, out, err);
done:
    tr_folder_close(f);
    if (st != TR_OK) tr_model_close(out);
    return st;
}

enum tr_status tr_model_open(const struct tr_exec *ex, const struct tr_model_start *s,
                             struct tr_model *out, struct tr_err *err)
{
    enum tr_status st = tr_model_load(ex, s, out, err);
    if (st != TR_OK) return st;
    st = tr_weights_digest(out->weights, ex, &out->digest, err);
    if (st != TR_OK) tr_model_close(out);
    return st;
}

void tr_model_close(struct tr_model *s)
{
    tr_weights_destroy(s->weights);
    tr_params_destroy(s->params);
    free(s->drawn);
    *s = (struct tr_model){0};
}

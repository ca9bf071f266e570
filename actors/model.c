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
    tr_weights_refresh(out->own, ex, out->drawn);
    return TR_OK;
}

static enum tr_status read_folder(const struct tr_exec *ex,
                                  const struct tr_model_start *s,
                                  const struct tr_folder *f, struct tr_model *out,
                                  struct tr_err *err)
{
    bool head = false;
    enum tr_status st = tr_folder_read_weights(f, ex, out->own, &head, err);
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
    if (st == TR_OK) st = tr_weights_create(out->params, ex, s->bf16, &out->own, err);
    out->weights = out->own;
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
    tr_packed_close(s->packed);
    tr_weights_destroy(s->own);
    tr_params_destroy(s->params);
    free(s->drawn);
    *s = (struct tr_model){0};
}

/* ---- packed files ---- */

struct tr_model_shape tr_model_shape_of(const struct tr_weights *w)
{
    const struct tr_params *params = tr_weights_params(w);
    const struct tr_outer_params *outer = tr_params_outer(params);
    return (struct tr_model_shape){.arch = *tr_params_arch(params),
                                   .lm_head = outer->lm_head != NULL,
                                   .value_head = outer->value_weight != NULL,
                                   .bf16 = tr_weights_bf16(w)};
}

/* The table alone. */
static enum tr_status begin(const struct tr_model_shape *shape, struct tr_model *out,
                            struct tr_err *err)
{
    *out = (struct tr_model){.arch = shape->arch};
    return tr_params_create(&out->arch, shape->lm_head, shape->value_head, &out->params,
                            err);
}

void tr_model_settle(struct tr_model *m)
{
    m->weights = tr_packed_weights(m->packed);
    m->digest = tr_packed_digest(m->packed);
}

static enum tr_status settle(enum tr_status st, struct tr_model *m)
{
    if (st == TR_OK)
        tr_model_settle(m);
    else
        tr_model_close(m);
    return st;
}

enum tr_status tr_model_pack(const struct tr_weights *w, const struct tr_exec *ex,
                             const struct tr_digest *chunk,
                             const struct tr_digest *digest, const char *dir,
                             struct tr_model *out, struct tr_err *err)
{
    struct tr_model_shape shape = tr_model_shape_of(w);
    struct tr_packed *written = NULL;
    enum tr_status st = begin(&shape, out, err);
    if (st == TR_OK) st = tr_packed_write(w, ex, chunk, digest, dir, &written, err);
    /* The file borrowed the learner's table; ours outlives the learner. */
    if (st == TR_OK) st = tr_packed_again(written, out->params, &out->packed, err);
    tr_packed_close(written);
    return settle(st, out);
}

enum tr_status tr_model_map(const struct tr_model_shape *shape, enum tr_math math,
                            const char *path, const struct tr_digest *want,
                            struct tr_model *out, struct tr_err *err)
{
    enum tr_status st = begin(shape, out, err);
    if (st == TR_OK)
        st =
            tr_packed_open(path, out->params, math, shape->bf16, want, &out->packed, err);
    return settle(st, out);
}

enum tr_status tr_model_blank(const struct tr_model_shape *shape, enum tr_math math,
                              const char *dir, struct tr_model *out, struct tr_err *err)
{
    enum tr_status st = begin(shape, out, err);
    if (st == TR_OK)
        st = tr_packed_create(out->params, math, shape->bf16, dir, &out->packed, err);
    if (st != TR_OK) tr_model_close(out);
    return st;
}

enum tr_status tr_model_again(const struct tr_model *m, struct tr_model *out,
                              struct tr_err *err)
{
    struct tr_model_shape shape = tr_model_shape_of(m->weights);
    enum tr_status st = begin(&shape, out, err);
    if (st == TR_OK) st = tr_packed_again(m->packed, out->params, &out->packed, err);
    return settle(st, out);
}

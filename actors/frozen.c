#include "actors/frozen.h"

#include <assert.h>
#include <stdlib.h>

enum tr_status tr_frozen_open(const struct tr_role_start *start, bool lm_head,
                              bool value_head, void **self, struct tr_err *err)
{
    struct tr_model_start slot = {
        .folder = start->folder,
        .arch = start->arch,
        .seed = start->seed,
        .lm_head = lm_head,
        .value_head = value_head,
        .bf16 = start->bf16,
    };
    struct tr_model m;
    struct tr_evaluator *first = NULL;
    struct tr_frozen *f = calloc(1, sizeof *f);
    if (!f) return tr_err_set(err, TR_NOMEM, "a frozen model");
    f->ex = start->ex;
    f->max_tokens = start->max_tokens;
    enum tr_status st = tr_model_open(start->ex, &slot, &m, err);
    if (st == TR_OK) {
        struct tr_digest digest = m.digest;
        f->shape = (struct tr_model_shape){m.arch, lm_head, value_head, start->bf16};
        st = tr_shelf_put(&f->shelf, &m, err);
        if (st == TR_OK) st = tr_frozen_evaluator(f, &digest, &first, err);
    }
    if (st != TR_OK) {
        tr_frozen_close(f);
        return st;
    }
    *self = f;
    return TR_OK;
}

void tr_frozen_close(void *self)
{
    struct tr_frozen *f = self;
    if (!f) return;
    for (int i = 0; i < TR_SHELF_MODELS; i++)
        tr_evaluator_destroy(f->engine[i].evaluator);
    tr_shelf_fini(&f->shelf);
    free(f);
}

void tr_frozen_holds(const void *self, struct tr_digests *out)
{
    const struct tr_frozen *f = self;
    *out = tr_shelf_holds(&f->shelf);
}

bool tr_frozen_shape(const void *self, struct tr_model_shape *out)
{
    const struct tr_frozen *f = self;
    *out = f->shape;
    return true;
}

enum tr_status tr_frozen_adopt(void *self, struct tr_model *take, struct tr_err *err)
{
    struct tr_frozen *f = self;
    return tr_shelf_put(&f->shelf, take, err);
}

void tr_frozen_forget(void *self, const struct tr_digest *digest)
{
    struct tr_frozen *f = self;
    const struct tr_model *m = tr_shelf_find(&f->shelf, digest);
    if (!m) return;
    for (int i = 0; i < TR_SHELF_MODELS; i++) {
        if (f->engine[i].model != m) continue;
        tr_evaluator_destroy(f->engine[i].evaluator);
        f->engine[i].model = NULL;
        f->engine[i].evaluator = NULL;
    }
    tr_shelf_drop(&f->shelf, digest);
}

enum tr_status tr_frozen_evaluator(struct tr_frozen *f, const struct tr_digest *digest,
                                   struct tr_evaluator **out, struct tr_err *err)
{
    const struct tr_model *m = tr_shelf_find(&f->shelf, digest);
    int at = -1;
    if (!m) return tr_role_lacks(digest, err);
    for (int i = 0; i < TR_SHELF_MODELS; i++) {
        if (f->engine[i].model == m) {
            *out = f->engine[i].evaluator;
            return TR_OK;
        }
        if (!f->engine[i].model) at = i;
    }
    assert(at >= 0); /* there are as many as models */
    enum tr_status st = tr_evaluator_create(f->ex, m->weights, f->max_tokens,
                                            &f->engine[at].evaluator, err);
    if (st != TR_OK) return st;
    f->engine[at].model = m;
    *out = f->engine[at].evaluator;
    return TR_OK;
}

enum tr_status tr_frozen_answer(struct tr_frozen *f, const struct tr_unit *unit,
                                struct tr_content *out, struct tr_err *err)
{
    struct tr_evaluator *e = NULL;
    enum tr_status st = tr_role_count(unit, 1, err);
    if (st == TR_OK) st = tr_frozen_evaluator(f, &unit->needs.at[0], &e, err);
    return st == TR_OK ? tr_evaluator_answer(e, unit, out, err) : st;
}

#include "actors/frozen.h"

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
    struct tr_frozen *f = calloc(1, sizeof *f);
    if (!f) return tr_err_set(err, TR_NOMEM, "a frozen model");
    enum tr_status st = tr_model_open(start->ex, &slot, &f->slot, err);
    if (st == TR_OK)
        st = tr_evaluator_create(start->ex, f->slot.weights, start->max_tokens,
                                 &f->evaluator, err);
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
    tr_evaluator_destroy(f->evaluator);
    tr_model_close(&f->slot);
    free(f);
}

void tr_frozen_holds(const void *self, struct tr_digests *out)
{
    const struct tr_frozen *f = self;
    *out = tr_digests_one(&f->slot.digest);
}

enum tr_status tr_frozen_answer(struct tr_frozen *f, const struct tr_unit *unit,
                                struct tr_content *out, struct tr_err *err)
{
    struct tr_digests holds = tr_digests_one(&f->slot.digest);
    enum tr_status st = tr_role_check(unit, &holds, err);
    return st == TR_OK ? tr_evaluator_answer(f->evaluator, unit, out, err) : st;
}

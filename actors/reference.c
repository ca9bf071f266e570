/* reference.c - the model that the policy must not stray from.
 *
 * Takes a prompt with its answer (unit `logprob`, or `divergence` while it holds the policy's weights too).
 * Gives the log-prob of each answer token under the frozen reference, or how far the policy's whole
 * distribution is from the reference's before each of them. */
#include "actors/frozen.h"

static enum tr_status open_reference(const struct tr_role_start *start, void **self,
                                     struct tr_err *err)
{
    return tr_frozen_open(start, true, false, self, err);
}

static enum tr_status diverge(struct tr_frozen *f, const struct tr_unit *unit,
                              struct tr_content *out, struct tr_err *err)
{
    struct tr_evaluator *policy = NULL, *reference = NULL;
    enum tr_status st = tr_role_count(unit, 2, err);
    if (st == TR_OK) st = tr_frozen_evaluator(f, &unit->needs.at[0], &policy, err);
    if (st == TR_OK) st = tr_frozen_evaluator(f, &unit->needs.at[1], &reference, err);
    if (st != TR_OK) return st;
    return tr_evaluator_answer_divergence(policy, reference, unit, out, err);
}

static enum tr_status answer(void *self, const struct tr_unit *unit,
                             struct tr_content *out, struct tr_err *err)
{
    if (unit->kind == TR_UNIT_DIVERGENCE) return diverge(self, unit, out, err);
    if (unit->kind != TR_UNIT_LOGPROB)
        return tr_role_refuse(TR_ROLE_REFERENCE, unit, err);
    return tr_frozen_answer(self, unit, out, err);
}

const struct tr_role_ops tr_reference_role = {
    .role = TR_ROLE_REFERENCE,
    .credits = 4,
    .open = open_reference,
    .close = tr_frozen_close,
    .holds = tr_frozen_holds,
    .answer = answer,
    .shape = tr_frozen_shape,
    .adopt = tr_frozen_adopt,
    .forget = tr_frozen_forget,
};

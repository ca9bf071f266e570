/* reference.c - the model that the policy must not stray from.
 *
 * Takes a prompt with its answer (unit `logprob`).
 * Gives the log-prob of each answer token under the frozen reference. */
#include "actors/frozen.h"

static enum tr_status open_reference(const struct tr_role_start *start, void **self,
                                     struct tr_err *err)
{
    return tr_frozen_open(start, true, false, self, err);
}

static enum tr_status answer(void *self, const struct tr_unit *unit,
                             struct tr_content *out, struct tr_err *err)
{
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

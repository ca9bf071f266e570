/* reward.c - the model that says how good an answer is.
 *
 * Takes a prompt with its answer (unit `score`).
 * Gives one number, the value head's at the last token. */
#include "actors/frozen.h"

static enum tr_status open_reward(const struct tr_role_start *start, void **self,
                                  struct tr_err *err)
{
    return tr_frozen_open(start, false, true, self, err);
}

static enum tr_status answer(void *self, const struct tr_unit *unit,
                             struct tr_content *out, struct tr_err *err)
{
    if (unit->kind != TR_UNIT_SCORE) return tr_role_refuse(TR_ROLE_REWARD, unit, err);
    return tr_frozen_answer(self, unit, out, err);
}

const struct tr_role_ops tr_reward_role = {
    .role = TR_ROLE_REWARD,
    .credits = 4,
    .open = open_reward,
    .close = tr_frozen_close,
    .holds = tr_frozen_holds,
    .answer = answer,
    .shape = tr_frozen_shape,
    .adopt = tr_frozen_adopt,
    .forget = tr_frozen_forget,
};

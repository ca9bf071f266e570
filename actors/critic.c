/* critic.c - the model that guesses how much reward is still to come.
 *
 * Takes a prompt with its answer (unit `value`), or one optimiser step's sequences with the
 *       values that were guessed and those that were wanted (unit `learn`).
 * Gives the value before each answer token, or what the step measured and the new digest. */
#include "actors/trainee.h"

static enum tr_status open_critic(const struct tr_role_start *start, void **self,
                                  struct tr_err *err)
{
    return tr_trainee_open(start, false, true, self, err);
}

static enum tr_status answer(void *self, const struct tr_unit *unit,
                             struct tr_content *out, struct tr_err *err)
{
    if (unit->kind == TR_UNIT_LEARN) return tr_trainee_learn(self, unit, out, err);
    if (unit->kind == TR_UNIT_SAVE) return tr_trainee_save(self, unit, out, err);
    if (unit->kind == TR_UNIT_VALUE) return tr_trainee_judge(self, unit, out, err);
    return tr_role_refuse(TR_ROLE_CRITIC, unit, err);
}

const struct tr_role_ops tr_critic_role = {
    .role = TR_ROLE_CRITIC,
    .credits = 4,
    .open = open_critic,
    .close = tr_trainee_close,
    .holds = tr_trainee_holds,
    .answer = answer,
};

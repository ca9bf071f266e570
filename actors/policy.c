/* policy.c - the model that learns to answer.
 *
 * Takes one optimiser step's sequences with their old log-probs and advantages (unit `learn`), or
 *       a text whose log-probs are asked for (unit `logprob`), or the name of a folder (`save`).
 * Gives what the step measured, the digest of the new weights and the weights themselves for those
 *       who ask (`offer`), or the log-probs, or the folder. */
#include "actors/trainee.h"

static enum tr_status open_policy(const struct tr_role_start *start, void **self,
                                  struct tr_err *err)
{
    return tr_trainee_open(start, true, false, self, err);
}

static enum tr_status answer(void *self, const struct tr_unit *unit,
                             struct tr_content *out, struct tr_err *err)
{
    if (unit->kind == TR_UNIT_LEARN) return tr_trainee_learn(self, unit, out, err);
    if (unit->kind == TR_UNIT_SAVE) return tr_trainee_save(self, unit, out, err);
    if (unit->kind == TR_UNIT_LOGPROB) return tr_trainee_judge(self, unit, out, err);
    return tr_role_refuse(TR_ROLE_POLICY, unit, err);
}

const struct tr_role_ops tr_policy_role = {
    .role = TR_ROLE_POLICY,
    .credits = 2,
    .open = open_policy,
    .close = tr_trainee_close,
    .holds = tr_trainee_holds,
    .answer = answer,
    .forget = tr_trainee_forget,
    .offer = tr_trainee_offer,
};

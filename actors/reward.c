/* reward.c - who says how good an answer is: a model, or a rule.
 *
 * Takes a prompt with its answer (unit `score`).
 * Gives one number: the value head's at the last token, or what the rule says. */
#include "actors/frozen.h"
#include "actors/rule.h"

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

/* ---- a rule ---- */

static enum tr_status open_rule(const struct tr_role_start *start, void **self,
                                struct tr_err *err)
{
    struct tr_rule *rule = NULL;
    enum tr_status st = tr_rule_open(start->rule, &rule, err);
    *self = rule;
    return st;
}

static void close_rule(void *self)
{
    tr_rule_close(self);
}

static void rule_holds(const void *self, struct tr_digests *out)
{
    struct tr_digest digest = tr_rule_digest(self);
    *out = tr_digests_one(&digest);
}

static enum tr_status answer_rule(void *self, const struct tr_unit *unit,
                                  struct tr_content *out, struct tr_err *err)
{
    if (unit->kind != TR_UNIT_SCORE) return tr_role_refuse(TR_ROLE_REWARD, unit, err);
    return tr_rule_answer(self, unit, out, err);
}

const struct tr_role_ops tr_rule_role = {
    .role = TR_ROLE_REWARD,
    .credits = 4,
    .any_math = true,
    .open = open_rule,
    .close = close_rule,
    .holds = rule_holds,
    .answer = answer_rule,
};

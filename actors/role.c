#include "actors/role.h"

const struct tr_role_ops *tr_role_ops(enum tr_role role)
{
    static const struct tr_role_ops *const table[TR_ROLES] = {
        &tr_policy_role, &tr_rollout_role, &tr_reference_role, &tr_reward_role,
        &tr_critic_role};
    return table[role];
}

enum tr_status tr_role_check(const struct tr_unit *unit, const struct tr_digests *holds,
                             struct tr_err *err)
{
    for (int64_t i = 0; i < unit->needs.n; i++) {
        char text[65];
        if (tr_digests_hold(holds, &unit->needs.at[i])) continue;
        tr_digest_text(&unit->needs.at[i], text);
        return tr_err_set(err, TR_STALE, "%s: needs %.16s..., which is not held",
                          tr_unit_kind_name(unit->kind), text);
    }
    return TR_OK;
}

enum tr_status tr_role_refuse(enum tr_role role, const struct tr_unit *unit,
                              struct tr_err *err)
{
    return tr_err_set(err, TR_BADARG, "a %s does not answer %s", tr_role_name(role),
                      tr_unit_kind_name(unit->kind));
}

#include "actors/role.h"

const struct tr_role_ops *tr_role_ops(enum tr_role role, bool rule)
{
    static const struct tr_role_ops *const table[TR_ROLES] = {
        &tr_policy_role, &tr_rollout_role, &tr_reference_role, &tr_reward_role,
        &tr_critic_role};
    return role == TR_ROLE_REWARD && rule ? &tr_rule_role : table[role];
}

enum tr_status tr_role_lacks(const struct tr_digest *digest, struct tr_err *err)
{
    char text[65];
    tr_digest_text(digest, text);
    return tr_err_set(err, TR_STALE, "needs %.16s..., which is not held", text);
}

enum tr_status tr_role_check(const struct tr_unit *unit, const struct tr_digests *holds,
                             struct tr_err *err)
{
    for (int64_t i = 0; i < unit->needs.n; i++) {
        if (tr_digests_hold(holds, &unit->needs.at[i])) continue;
        return tr_err_wrap(err, tr_role_lacks(&unit->needs.at[i], err), "%s",
                           tr_unit_kind_name(unit->kind));
    }
    return TR_OK;
}

enum tr_status tr_role_count(const struct tr_unit *unit, int64_t digests,
                             struct tr_err *err)
{
    if (unit->needs.n == digests) return TR_OK;
    return tr_err_set(err, TR_BADMSG, "%s: expected %lld digest%s, found %lld",
                      tr_unit_kind_name(unit->kind), (long long)digests,
                      digests == 1 ? "" : "s", (long long)unit->needs.n);
}

enum tr_status tr_role_refuse(enum tr_role role, const struct tr_unit *unit,
                              struct tr_err *err)
{
    return tr_err_set(err, TR_BADARG, "a %s does not answer %s", tr_role_name(role),
                      tr_unit_kind_name(unit->kind));
}

/* From a `roles:` block to wishes. */
#include <stdio.h>
#include <string.h>

#include "actors/role.h"
#include "core/base/json.h"
#include "launch/place.h"

/* Learners get the most: they are waited for by everybody. Rollouts generate token by token, which
 * is the longest part of a step; evaluators read each answer once. */
static int weight_of(enum tr_role role)
{
    static const int weight[TR_ROLES] = {
        [TR_ROLE_POLICY] = 4,    [TR_ROLE_CRITIC] = 4, [TR_ROLE_ROLLOUT] = 2,
        [TR_ROLE_REFERENCE] = 1, [TR_ROLE_REWARD] = 1,
    };
    return weight[role];
}

/* A count of this entry, `otherwise` when it says nothing. */
static enum tr_status count_of(const json_t *entry, const char *key, const char *where,
                               int64_t least, int64_t otherwise, int *out,
                               struct tr_err *err)
{
    int64_t n = otherwise;
    enum tr_status st = TR_OK;
    if (json_is_object(entry))
        st = tr_json_int_or(entry, key, where, least, TR_PLACE_REPLICAS, otherwise, &n,
                            err);
    *out = (int)n;
    return st;
}

static enum tr_status add(const json_t *entry, enum tr_role role, const char *name,
                          const char *where, struct tr_place_wish *wish, int *wishes,
                          struct tr_err *err)
{
    char at[160];
    struct tr_place_wish w = {.weight = weight_of(role)};
    snprintf(at, sizeof at, "%s: roles: %s", where, name);
    if (*wishes == TR_PLACE_WISHES)
        return tr_err_set(err, TR_BADARG, "%s: more than %d entries", at,
                          TR_PLACE_WISHES);
    snprintf(w.name, sizeof w.name, "%s", name);
    enum tr_status st = count_of(entry, "replicas", at, 0, 1, &w.replicas, err);
    if (st == TR_OK) st = count_of(entry, "threads", at, 1, 0, &w.threads, err);
    bool needs_place = w.replicas > 0 && !json_object_get(entry, "rule") &&
                       !json_is_true(json_object_get(entry, "external"));
    if (st == TR_OK && needs_place) wish[(*wishes)++] = w;
    return st;
}

/* One reward, or a list of them by name. */
static enum tr_status add_rewards(const json_t *entry, const char *where,
                                  struct tr_place_wish *wish, int *wishes,
                                  struct tr_err *err)
{
    enum tr_status st = TR_OK;
    if (!json_is_array(entry))
        return add(entry, TR_ROLE_REWARD, "reward", where, wish, wishes, err);
    for (size_t i = 0; i < json_array_size(entry) && st == TR_OK; i++) {
        char name[TR_PLACE_NAME];
        const json_t *one = json_array_get(entry, i);
        const char *own = json_string_value(json_object_get(one, "name"));
        snprintf(name, sizeof name, "reward%s%s", own ? " " : "", own ? own : "");
        st = add(one, TR_ROLE_REWARD, name, where, wish, wishes, err);
    }
    return st;
}

enum tr_status tr_place_wishes(json_t *roles, const char *where,
                               struct tr_place_wish wish[TR_PLACE_WISHES], int *wishes,
                               struct tr_err *err)
{
    const char *name;
    json_t *entry;
    enum tr_status st = TR_OK;
    *wishes = 0;
    json_object_foreach(roles, name, entry)
    {
        int role = tr_role_of(name);
        if (role < 0) continue; /* listen, and what is no process */
        st = role == TR_ROLE_REWARD
                 ? add_rewards(entry, where, wish, wishes, err)
                 : add(entry, (enum tr_role)role, name, where, wish, wishes, err);
        if (st != TR_OK) return st;
    }
    return st;
}

/* From the roles of a run to wishes, and back from places to roles. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

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

static void name_of(enum tr_role role, const char *slot, char out[TR_PLACE_NAME])
{
    snprintf(out, TR_PLACE_NAME, "%s%s%s", tr_role_name(role), *slot ? " " : "", slot);
}

static void add(enum tr_role role, const char *slot, const struct tr_role_wish *r,
                struct tr_place_wish *wish, int *wishes)
{
    if (r->replicas < 1) return;
    assert(*wishes < TR_PLACE_WISHES);
    struct tr_place_wish *w = &wish[(*wishes)++];
    *w = (struct tr_place_wish){.weight = weight_of(role),
                                .replicas = (int)r->replicas,
                                .threads = (int)r->threads};
    name_of(role, slot, w->name);
}

void tr_place_wishes(const struct tr_roles *roles,
                     struct tr_place_wish wish[TR_PLACE_WISHES], int *wishes)
{
    *wishes = 0;
    for (int r = 0; r < TR_ROLES; r++)
        if (r != TR_ROLE_REWARD) add((enum tr_role)r, "", &roles->role[r], wish, wishes);
    for (int64_t i = 0; i < roles->rewards; i++)
        if (roles->reward[i].kind == TR_REWARD_MODEL)
            add(TR_ROLE_REWARD, roles->reward[i].name, &roles->reward[i].role, wish,
                wishes);
}

const struct tr_place *tr_places_find(const struct tr_places *p,
                                      const struct tr_place_wish *wish, enum tr_role role,
                                      const char *slot, int64_t replica)
{
    char name[TR_PLACE_NAME];
    name_of(role, slot, name);
    for (int i = 0; i < p->n; i++)
        if (p->at[i].replica == replica && strcmp(wish[p->at[i].wish].name, name) == 0)
            return &p->at[i];
    return NULL;
}

#include "launch/keeper.h"

#include <stdio.h>
#include <string.h>

static void note(const struct tr_keeper *k, const struct tr_member *m, const char *kind,
                 const char *text)
{
    (void)tr_journal_event(k->journal, tr_role_name(m->role), m->name, kind, text, NULL);
}

bool tr_keeper_needs(const struct tr_keeper *k, const struct tr_member *m)
{
    return !tr_core_over(k->core) && tr_core_post(k->core, m->role, m->slot) >= 0;
}

void tr_keeper_fell(const struct tr_keeper *k, const struct tr_member *m, int64_t times)
{
    char text[64];
    snprintf(text, sizeof text, "%lld times now", (long long)times);
    note(k, m, "fell", text);
}

bool tr_keeper_answered(const struct tr_keeper *k, const struct tr_member *m,
                        double since)
{
    return tr_core_answered(k->core, m->role, m->name, since);
}

static int64_t others(const struct tr_core *core, const struct tr_member *m)
{
    struct tr_core_worker w;
    int64_t n = 0;
    for (int64_t i = 0; tr_core_see(core, i, &w); i++)
        n += w.here && !w.silent && !w.idle && w.role == m->role &&
             strcmp(w.slot, m->slot) == 0 && strcmp(w.instance, m->name) != 0;
    return n;
}

enum tr_status tr_keeper_lost(const struct tr_keeper *k, const struct tr_member *m,
                              enum tr_status st, const struct tr_err *why)
{
    int64_t left = others(k->core, m);
    note(k, m, "lost", why->text);
    if (st == TR_BADARG || left == 0) return st;
    tr_core_expect(k->core, tr_core_post(k->core, m->role, m->slot), left);
    tr_log_warn(k->log, "%s; %lld of its kind go on without it", why->text,
                (long long)left);
    return TR_OK;
}

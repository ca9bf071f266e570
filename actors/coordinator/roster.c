/* roster.c - who may work: hello, welcome, and which digest a role has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/coordinator/core_parts.h"

int64_t tr_core_worker(const struct tr_core *c, int64_t peer)
{
    for (int64_t i = 0; i < c->workers; i++)
        if (c->worker[i].here && c->worker[i].peer == peer) return i;
    return -1;
}

/* Where the digest that a role must hold comes from: rollouts work with the policy's weights. */
static enum tr_role digest_role(enum tr_role role)
{
    return role == TR_ROLE_ROLLOUT ? TR_ROLE_POLICY : role;
}

/* Why this worker may not work, into reason; "" when it may. A rollout may come before the policy:
 * then it is the one that says the digest. */
static void find_fault(const struct tr_core *c, const struct tr_hello *h, char *reason,
                       size_t size)
{
    enum tr_role role = digest_role((enum tr_role)h->role);
    reason[0] = 0;
    if (c->set.replicas[h->role] == 0)
        snprintf(reason, size, "this run has no role %s",
                 tr_role_name((enum tr_role)h->role));
    else if (h->holds.n < 1)
        snprintf(reason, size, "no digest of a model");
    else if (c->known[role] && !tr_digests_hold(&h->holds, &c->digest[role])) {
        char wanted[65], found[65];
        tr_digest_text(&c->digest[role], wanted);
        tr_digest_text(&h->holds.at[0], found);
        snprintf(reason, size, "holds %s, wanted is %s", found, wanted);
    }
    for (int64_t i = 0; i < c->workers && !reason[0]; i++)
        if (c->worker[i].here && strcmp(c->worker[i].hello.math, h->math) != 0)
            snprintf(reason, size, "math: %s, but the others compute with math: %s",
                     h->math, c->worker[i].hello.math);
}

static enum tr_status add_worker(struct tr_core *c, int64_t peer,
                                 const struct tr_hello *h, struct tr_err *err)
{
    if (c->workers == c->worker_room) {
        int64_t room = c->worker_room ? 2 * c->worker_room : 8;
        struct worker *more = realloc(c->worker, (size_t)room * sizeof *more);
        if (!more) return tr_err_set(err, TR_NOMEM, "a worker");
        c->worker = more;
        c->worker_room = room;
    }
    enum tr_role role = digest_role((enum tr_role)h->role);
    if (!c->known[role]) c->digest[role] = h->holds.at[0];
    c->known[role] = true;
    c->worker[c->workers++] = (struct worker){.peer = peer, .here = true, .hello = *h};
    return tr_core_say(c, err, "%s joined: %s, %lld thread%s, %s",
                       tr_role_name((enum tr_role)h->role), h->instance,
                       (long long)h->threads, h->threads == 1 ? "" : "s", h->isa);
}

enum tr_status tr_core_admit(struct tr_core *c, int64_t peer,
                             const struct tr_hello *hello, struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_WELCOME};
    struct tr_welcome *w = &m.as.welcome;
    enum tr_status st = TR_OK;
    int64_t i = tr_core_worker(c, peer); /* it said hello before: the welcome got lost */
    if (i < 0) find_fault(c, hello, w->reason, sizeof w->reason);
    w->admitted = !w->reason[0];
    w->credits = w->admitted ? hello->credits : 0;
    snprintf(w->run, sizeof w->run, "%s", c->set.run);
    if (!w->admitted) {
        c->counts.refused++;
        st = tr_core_say(c, err, "%s %s turned away: %s",
                         tr_role_name((enum tr_role)hello->role), hello->instance,
                         w->reason);
    } else if (i < 0) {
        st = add_worker(c, peer, hello, err);
    }
    return st == TR_OK ? tr_core_send(c, peer, &m, err) : st;
}

static int64_t count_here(const struct tr_core *c, int role)
{
    int64_t n = 0;
    for (int64_t i = 0; i < c->workers; i++)
        n += c->worker[i].here && c->worker[i].hello.role == role;
    return n;
}

bool tr_core_all_here(const struct tr_core *c)
{
    for (int r = 0; r < TR_ROLES; r++)
        if (count_here(c, r) < c->set.replicas[r]) return false;
    return true;
}

enum tr_status tr_core_check_joined(const struct tr_core *c, struct tr_err *err)
{
    char missing[160] = "";
    size_t used = 0;
    if (c->started || c->now - c->born < c->set.join_seconds) return TR_OK;
    for (int r = 0; r < TR_ROLES && used < sizeof missing; r++)
        if (count_here(c, r) < c->set.replicas[r])
            used += (size_t)snprintf(missing + used, sizeof missing - used,
                                     " %s (%lld of %lld)", tr_role_name((enum tr_role)r),
                                     (long long)count_here(c, r),
                                     (long long)c->set.replicas[r]);
    return tr_err_set(err, TR_GONE, "after %.0f s these have not joined:%s",
                      c->set.join_seconds, missing);
}

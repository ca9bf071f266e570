/* place.h - one host divided among the processes of a company.
 *
 * What it is for. Roles that have cores of their own do not wait for each other and keep their
 * caches; roles that are more than the cores are better left to the scheduler.
 *
 * The data. A wish is a role, how many processes it has and how many threads each was asked to
 * have (0: as many as it gets). A place is what one process gets: cores (all usable PUs of them),
 * the NUMA nodes near those, and a number of threads, one a core.
 *
 *      own     every process can have a core for each of its threads: cores that nobody asked for
 *              go to those who left it open, in proportion to their weight, the largest first;
 *              each process sits within the smallest part of the host (cache, package) that has
 *              room for it, so that neighbours share caches and memory
 *      shared  otherwise: nobody is bound, and a role's replicas divide the threads among them
 *
 * Roles that take turns (a step generates, then judges, then learns) would leave most of the host
 * idle if each had a part of it: 2 of 8 cores would generate. They have cores of their own only
 * where each was asked to have a number of threads, since that is what it uses then anyway.
 *
 * Invariants.
 *   1. Places of their own are disjoint, within the host's usable PUs, whole cores, never empty.
 *   2. All threads of places of their own together are at most host.threads (so a limit on CPU
 *      time counts); a shared place has at most host.threads.
 *   3. A function of the host and the wishes alone: the same on every run. */
#ifndef TR_LAUNCH_PLACE_H
#define TR_LAUNCH_PLACE_H

#include "launch/machine.h"
#include "launch/roles.h"

enum {
    TR_PLACE_WISHES = TR_ROLES + TR_REWARDS_MAX,
    TR_PLACE_REPLICAS = 1024,
    TR_PLACE_NAME = TR_SLOT_BYTES + 16
};

struct tr_place_wish {
    char name[TR_PLACE_NAME]; /* "rollout", "reward main" */
    int weight;               /* at least 1 */
    int replicas;             /* at least 1 */
    int threads;
};

struct tr_place {
    int wish, replica; /* both from 0 */
    int threads;
    hwloc_bitmap_t cpus, nodes; /* owns; NULL when shared */
};

struct tr_places {
    bool own;            /* each has cores of its own */
    bool bound;          /* and is to be bound to them: own, and the host is this one */
    int n;               /* wish by wish, replica by replica */
    struct tr_place *at; /* owns */
    char why[160];       /* a line for people */
};

/* The caller owns *out (tr_places_fini). */
enum tr_status tr_places_divide(const struct tr_machine *h,
                                const struct tr_place_wish *wish, int wishes,
                                bool in_turns, struct tr_places *out, struct tr_err *err);
void tr_places_fini(struct tr_places *p);

/* What `troupe role --cpus` takes: "0-3,8", or "" when the place is shared. */
void tr_place_list(const struct tr_place *p, char *out, size_t size);

/* The wishes of a run's roles; rewards that are rules or come from outside need no place. */
void tr_place_wishes(const struct tr_roles *roles,
                     struct tr_place_wish wish[TR_PLACE_WISHES], int *wishes);

/* The place of a role's replica (from 0; slot: which of several rewards), or NULL: nobody wished
 * for it. wish is what was divided. */
const struct tr_place *tr_places_find(const struct tr_places *p,
                                      const struct tr_place_wish *wish, enum tr_role role,
                                      const char *slot, int64_t replica);

#endif

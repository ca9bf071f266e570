/* machine.h - what this host has, and how much of it this process may use.
 *
 * What it is for. Threads and places are chosen by what may be used, not by what is there: a
 * cpuset, an affinity and a quota of time all take something away.
 *
 * The data. hwloc's topology: packages hold caches, caches hold cores, cores hold PUs (hardware
 * threads); NUMA nodes are memory with PUs near it. `usable` are the PUs that we may run on.
 * HWLOC_SYNTHETIC and HWLOC_XMLFILE put another host in its place, to see what it would get.
 *
 * Invariants.
 *   1. `usable` is not empty and within the topology; cores counts those with a usable PU.
 *   2. On a host that is not this one (`here` false) nothing is ever bound, and no limit of this
 *      process counts. */
#ifndef TR_LAUNCH_MACHINE_H
#define TR_LAUNCH_MACHINE_H

#include <hwloc.h>
#include <stdbool.h>

#include "core/base/err.h"

struct tr_machine {
    hwloc_topology_t topology; /* owns */
    hwloc_bitmap_t usable;     /* owns; PUs by their OS numbers */
    bool here;
    int cores;   /* usable ones */
    double cpus; /* CPUs' worth of time that control groups leave; 0: no limit */
    int threads; /* that are worth starting: one a core, within that time */
};

/* synthetic: hwloc's words for a host to play with ("pack:2 core:8 pu:2"), or NULL for this one
 * (or what the environment puts in its place). The caller owns *out (tr_machine_close). */
enum tr_status tr_machine_open(const char *synthetic, struct tr_machine *out,
                               struct tr_err *err);
void tr_machine_close(struct tr_machine *h);

/* Where core k stands among hwloc's objects; cores are those or, on hosts that tell of none, PUs. */
int tr_machine_core_depth(const struct tr_machine *h);

/* Binds this process with all its threads to the PUs of `list` ("0-3,8"), and its memory to the
 * nodes near them where there are several. Whatever could not be bound is said in note. TR_BADARG
 * when the list is none, or names a PU that is not usable. */
enum tr_status tr_machine_bind(const struct tr_machine *h, const char *list, char *note,
                               size_t size, struct tr_err *err);

#endif

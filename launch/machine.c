#include "launch/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cgroup.h"

int tr_machine_core_depth(const struct tr_machine *h)
{
    return hwloc_get_type_or_below_depth(h->topology, HWLOC_OBJ_CORE);
}

static int count_cores(const struct tr_machine *h)
{
    int depth = tr_machine_core_depth(h), n = 0;
    for (hwloc_obj_t o = NULL;
         (o = hwloc_get_next_obj_by_depth(h->topology, depth, o)) != NULL;)
        n += hwloc_bitmap_intersects(o->cpuset, h->usable);
    return n;
}

/* The PUs of the topology and, on this host, of our affinity. */
static enum tr_status find_usable(struct tr_machine *h, struct tr_err *err)
{
    h->usable = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(h->topology));
    hwloc_bitmap_t bound = hwloc_bitmap_alloc();
    if (!h->usable || !bound) {
        hwloc_bitmap_free(bound);
        return tr_err_set(err, TR_NOMEM, "a set of PUs");
    }
    if (h->here && hwloc_get_cpubind(h->topology, bound, HWLOC_CPUBIND_PROCESS) == 0 &&
        hwloc_bitmap_intersects(h->usable, bound))
        hwloc_bitmap_and(h->usable, h->usable, bound);
    hwloc_bitmap_free(bound);
    return hwloc_bitmap_iszero(h->usable)
               ? tr_err_set(err, TR_IO, "the host tells of no CPU that may be used")
               : TR_OK;
}

enum tr_status tr_machine_open(const char *synthetic, struct tr_machine *out,
                               struct tr_err *err)
{
    enum tr_status st = TR_OK;
    struct tr_machine h = {.topology = NULL};
    *out = h;
    if (hwloc_topology_init(&h.topology) != 0)
        return tr_err_set(err, TR_NOMEM, "hwloc cannot start: %s", tr_err_cause(errno));
    if (synthetic && hwloc_topology_set_synthetic(h.topology, synthetic) != 0)
        st = tr_err_set(err, TR_BADARG, "\"%s\" describes no topology", synthetic);
    else if (hwloc_topology_load(h.topology) != 0)
        st = tr_err_set(err, TR_IO, "the topology cannot be read: %s",
                        tr_err_cause(errno));
    if (st == TR_OK) {
        h.here = hwloc_topology_is_thissystem(h.topology);
        st = find_usable(&h, err);
    }
    if (st != TR_OK) {
        tr_machine_close(&h);
        return st;
    }
    h.cores = count_cores(&h);
    h.threads = h.here ? tr_cgroup_threads("", h.cores) : h.cores;
    h.cpus = h.here ? tr_cgroup_cpus("") : 0;
    *out = h;
    return TR_OK;
}

void tr_machine_close(struct tr_machine *h)
{
    if (h->topology) hwloc_topology_destroy(h->topology);
    hwloc_bitmap_free(h->usable);
    *h = (struct tr_machine){.topology = NULL};
}

/* hwloc reads "" and "x" as empty lists, and an open end ("4-") as all the PUs there could be. */
static enum tr_status read_list(const struct tr_machine *h, const char *list,
                                hwloc_bitmap_t out, struct tr_err *err)
{
    char usable[128];
    if (strspn(list, "0123456789,-") != strlen(list) ||
        hwloc_bitmap_list_sscanf(out, list) != 0 || hwloc_bitmap_iszero(out))
        return tr_err_set(err, TR_BADARG,
                          "\"%s\": expected a list of PUs as 0-3,8, found none", list);
    if (hwloc_bitmap_isincluded(out, h->usable)) return TR_OK;
    hwloc_bitmap_list_snprintf(usable, sizeof usable, h->usable);
    return tr_err_set(err, TR_BADARG, "\"%s\": expected PUs among those we may use, %s",
                      list, usable);
}

/* Near memory, when there is a choice. A single node is preferred, not demanded: a full one sends
 * us to the next. Several share what is touched, since any thread may read it. */
static int bind_memory(const struct tr_machine *h, hwloc_const_bitmap_t cpus)
{
    hwloc_bitmap_t nodes = hwloc_bitmap_alloc();
    int rc = nodes ? hwloc_cpuset_to_nodeset(h->topology, cpus, nodes) : -1;
    if (rc == 0 && hwloc_get_nbobjs_by_type(h->topology, HWLOC_OBJ_NUMANODE) > 1)
        rc = hwloc_set_membind(h->topology, nodes,
                               hwloc_bitmap_weight(nodes) > 1 ? HWLOC_MEMBIND_INTERLEAVE
                                                              : HWLOC_MEMBIND_BIND,
                               HWLOC_MEMBIND_BYNODESET);
    hwloc_bitmap_free(nodes);
    return rc;
}

enum tr_status tr_machine_bind(const struct tr_machine *h, const char *list, char *note,
                               size_t size, struct tr_err *err)
{
    hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
    if (!cpus) return tr_err_set(err, TR_NOMEM, "a set of PUs");
    enum tr_status st = read_list(h, list, cpus, err);
    note[0] = 0;
    if (st == TR_OK && !h->here)
        snprintf(note, size, "the topology is not of this host: nothing is bound");
    else if (st == TR_OK &&
             hwloc_set_cpubind(h->topology, cpus, HWLOC_CPUBIND_PROCESS) != 0)
        snprintf(note, size, "not bound to PUs %s: %s", list, tr_err_cause(errno));
    else if (st == TR_OK && bind_memory(h, cpus) != 0)
        snprintf(note, size, "memory is not bound: %s", tr_err_cause(errno));
    hwloc_bitmap_free(cpus);
    return st;
}

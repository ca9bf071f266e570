#include "launch/cli/topology.h"

#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/yaml.h"
#include "core/model/memory.h"
#include "launch/flags.h"
#include "launch/place.h"

static const double gib = 1073741824.0;

struct wish {
    const char *run;     /* a run.yaml, or NULL */
    const char *pretend; /* hwloc's words for another host */
    int64_t replicas[TR_ROLES];
    int64_t threads, staleness;
};

static enum tr_status parse(int argc, char **argv, struct wish *w, struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"pretend", TR_FLAG_TEXT, &w->pretend, 0, 0},
        {"policy", TR_FLAG_INT, &w->replicas[TR_ROLE_POLICY], 0, TR_PLACE_REPLICAS},
        {"rollout", TR_FLAG_INT, &w->replicas[TR_ROLE_ROLLOUT], 0, TR_PLACE_REPLICAS},
        {"reference", TR_FLAG_INT, &w->replicas[TR_ROLE_REFERENCE], 0, TR_PLACE_REPLICAS},
        {"reward", TR_FLAG_INT, &w->replicas[TR_ROLE_REWARD], 0, TR_PLACE_REPLICAS},
        {"critic", TR_FLAG_INT, &w->replicas[TR_ROLE_CRITIC], 0, TR_PLACE_REPLICAS},
        {"threads", TR_FLAG_INT, &w->threads, 0, TR_PLACE_REPLICAS},
        {"staleness", TR_FLAG_INT, &w->staleness, 0, 1},
    };
    int words = 0;
    *w = (struct wish){.run = NULL};
    return tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv, &w->run, 1, &words,
                         err);
}

/* ---- the host ---- */

static int count(const struct tr_machine *h, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(h->topology, type);
    return n > 0 ? n : 0;
}

static void print_count(int n, const char *what, const char *more)
{
    printf("%d %s%s%s", n, what, n == 1 ? "" : "s", more);
}

static void print_host(const struct tr_machine *h)
{
    hwloc_obj_t package = hwloc_get_obj_by_type(h->topology, HWLOC_OBJ_PACKAGE, 0);
    const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;
    printf("host      ");
    if (!h->here) printf("not this one, ");
    if (model) printf("%s, ", model);
    print_count(count(h, HWLOC_OBJ_PACKAGE), "package", ", ");
    print_count(count(h, HWLOC_OBJ_CORE), "core", ", ");
    print_count(count(h, HWLOC_OBJ_PU), "PU", ", ");
    print_count(count(h, HWLOC_OBJ_NUMANODE), "NUMA node", "\n");
}

static void print_packages(const struct tr_machine *h)
{
    char list[256];
    for (hwloc_obj_t o = NULL;
         (o = hwloc_get_next_obj_by_type(h->topology, HWLOC_OBJ_PACKAGE, o));) {
        hwloc_bitmap_list_snprintf(list, sizeof list, o->cpuset);
        int cores = hwloc_get_nbobjs_inside_cpuset_by_type(h->topology, o->cpuset,
                                                           HWLOC_OBJ_CORE);
        printf("package   %u: ", o->logical_index);
        print_count(cores, "core", "");
        printf(", PUs %s\n", list);
    }
}

static void print_nodes(const struct tr_machine *h)
{
    char list[256];
    for (hwloc_obj_t o = NULL;
         (o = hwloc_get_next_obj_by_type(h->topology, HWLOC_OBJ_NUMANODE, o));) {
        hwloc_bitmap_list_snprintf(list, sizeof list, o->cpuset);
        printf("NUMA      %u: ", o->os_index);
        if (o->attr->numanode.local_memory)
            printf("%.1f GiB, ", (double)o->attr->numanode.local_memory / gib);
        printf("PUs %s\n", list);
    }
}

/* A line for each level of cache that holds data: "L3 32 MiB for 8 cores, 2 of them". */
static void print_caches(const struct tr_machine *h)
{
    static const hwloc_obj_type_t levels[] = {HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE,
                                              HWLOC_OBJ_L1CACHE};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        hwloc_obj_t o = hwloc_get_obj_by_type(h->topology, levels[i], 0);
        if (!o) continue;
        int cores = hwloc_get_nbobjs_inside_cpuset_by_type(h->topology, o->cpuset,
                                                           HWLOC_OBJ_CORE);
        printf("cache     L%u: ", o->attr->cache.depth);
        if (o->attr->cache.size >= 1 << 20)
            printf("%.0f MiB for ", (double)o->attr->cache.size / (1 << 20));
        else
            printf("%.0f KiB for ", (double)o->attr->cache.size / (1 << 10));
        print_count(cores, "core", "");
        printf(", %d of them\n", count(h, levels[i]));
    }
}

/* What takes something away; of this host only. */
static void print_limits(const struct tr_machine *h)
{
    char list[256];
    size_t left = 0;
    hwloc_bitmap_list_snprintf(list, sizeof list, h->usable);
    printf("usable    PUs %s, ", list);
    print_count(h->cores, "core", "");
    if (h->cpus > 0) printf("; control groups leave the time of %.2f CPUs", h->cpus);
    printf("\nthreads   %d, one a core%s\n", h->threads,
           h->threads < h->cores ? " within that time" : "");
    if (h->here && tr_memory_available("", &left, NULL) == TR_OK)
        printf("memory    %.1f GiB may be taken\n", (double)left / gib);
}

/* ---- the company ---- */

static void print_place(const struct tr_place_wish *wish, const struct tr_place *p)
{
    char name[TR_PLACE_NAME + 16];
    char cpus[128] = "shared";
    char nodes[64] = "any";
    snprintf(name, sizeof name, "%s-%d", wish->name, p->replica + 1);
    if (p->cpus) {
        tr_place_list(p, cpus, sizeof cpus);
        hwloc_bitmap_list_snprintf(nodes, sizeof nodes, p->nodes);
    }
    printf("%-20s %7d  %-20s %s\n", name, p->threads, cpus, nodes);
}

static enum tr_status print_places(const struct tr_machine *h,
                                   const struct tr_place_wish *wish, int wishes,
                                   bool in_turns, struct tr_err *err)
{
    struct tr_places places;
    enum tr_status st = tr_places_divide(h, wish, wishes, in_turns, &places, err);
    if (st != TR_OK) return st;
    printf("\n%-20s %7s  %-20s %s\n", "process", "threads", "PUs", "NUMA");
    for (int i = 0; i < places.n; i++)
        print_place(&wish[places.at[i].wish], &places.at[i]);
    printf("%s\n", places.why);
    tr_places_fini(&places);
    return TR_OK;
}

/* A run.yaml's roles. *run is what their texts borrow from; the caller owns it. */
static enum tr_status read_run(const char *path, json_t **run, struct tr_roles *out,
                               int64_t *staleness, struct tr_err *err)
{
    enum tr_status st = tr_yaml_load(path, run, err);
    if (st != TR_OK) return st;
    const char *reward = NULL, *stage = NULL;
    int64_t threads = 0;
    json_t *block = json_object_get(*run, "roles");
    st = tr_json_string_or(*run, "reward_model", path, NULL, &reward, err);
    if (st == TR_OK) st = tr_json_string_or(*run, "stage", path, "sft", &stage, err);
    if (st == TR_OK && block && !json_is_object(block))
        st = tr_err_set(err, TR_BADARG, "%s: roles: expected a map, found %s", path,
                        tr_json_kind(block));
    if (st == TR_OK) st = tr_roles_read(block, path, reward, out, err);
    if (st == TR_OK)
        st = tr_json_int_or(*run, "staleness", path, 0, 1, *staleness, staleness, err);
    if (st == TR_OK)
        st = tr_json_int_or(*run, "threads", path, 1, 1024, 0, &threads, err);
    if (st == TR_OK) tr_roles_of_stage(out, stage, threads);
    return st;
}

/* What the flags say, as such a block. */
static void take_flags(const struct wish *w, struct tr_roles *out)
{
    *out = (struct tr_roles){.rewards = w->replicas[TR_ROLE_REWARD] > 0};
    for (int r = 0; r < TR_ROLES; r++)
        if (r != TR_ROLE_REWARD)
            out->role[r] = (struct tr_role_wish){w->replicas[r], w->threads, NULL};
    out->reward[0].role =
        (struct tr_role_wish){w->replicas[TR_ROLE_REWARD], w->threads, NULL};
}

static enum tr_status print_company(const struct wish *w, const struct tr_machine *h,
                                    struct tr_err *err)
{
    struct tr_place_wish wish[TR_PLACE_WISHES];
    struct tr_roles roles;
    json_t *run = NULL;
    int wishes = 0;
    int64_t staleness = w->staleness;
    enum tr_status st = TR_OK;
    if (w->run)
        st = read_run(w->run, &run, &roles, &staleness, err);
    else
        take_flags(w, &roles);
    if (st == TR_OK) tr_place_wishes(&roles, wish, &wishes);
    if (st == TR_OK && wishes > 0)
        st = print_places(h, wish, wishes, staleness == 0, err);
    json_decref(run);
    return st;
}

int tr_cli_topology(int argc, char **argv)
{
    struct tr_err err = {0};
    struct tr_machine h = {.topology = NULL};
    struct wish w;
    enum tr_status st = parse(argc, argv, &w, &err);
    if (st == TR_OK) st = tr_machine_open(w.pretend, &h, &err);
    if (st == TR_OK) {
        print_host(&h);
        print_packages(&h);
        print_nodes(&h);
        print_caches(&h);
        print_limits(&h);
        st = print_company(&w, &h, &err);
    }
    tr_machine_close(&h);
    if (st == TR_OK) return 0;
    fprintf(stderr, "troupe topology: %s\n", err.text);
    return st == TR_BADARG ? 2 : 1;
}

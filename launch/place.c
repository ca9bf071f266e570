#include "launch/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A division in the making. */
struct division {
    const struct tr_machine *host;
    const struct tr_place_wish *wish; /* borrows, as places */
    struct tr_places *places;
    hwloc_bitmap_t
        first; /* owns; of each core that is not given away, the first usable PU */
};

/* ---- how many ---- */

static int least_threads(const struct tr_place_wish *w)
{
    return w->threads > 0 ? w->threads : 1;
}

/* The cores that nobody asked for, one by one: each to the process that has the least for its
 * weight, the earlier one of equals. */
static void share_out(struct division *d, int left)
{
    for (; left > 0; left--) {
        struct tr_place *best = NULL;
        double most = 0;
        for (int i = 0; i < d->places->n; i++) {
            struct tr_place *p = &d->places->at[i];
            if (d->wish[p->wish].threads > 0) continue;
            double claim = d->wish[p->wish].weight / (p->threads + 1.0);
            if (claim > most * (1 + 1e-9)) {
                most = claim;
                best = p;
            }
        }
        if (!best) return;
        best->threads++;
    }
}

static void share_time(struct division *d)
{
    int limit = d->host->threads;
    for (int i = 0; i < d->places->n; i++) {
        const struct tr_place_wish *w = &d->wish[d->places->at[i].wish];
        int n = w->threads > 0 ? w->threads : limit / w->replicas;
        d->places->at[i].threads = n < 1 ? 1 : n > limit ? limit : n;
    }
}

/* ---- which ---- */

/* A bitmap with the first usable PU of each usable core. */
static hwloc_bitmap_t first_pus(const struct tr_machine *h)
{
    int depth = tr_machine_core_depth(h);
    hwloc_bitmap_t set = hwloc_bitmap_alloc(), core = hwloc_bitmap_alloc();
    for (hwloc_obj_t o = NULL;
         set && core && (o = hwloc_get_next_obj_by_depth(h->topology, depth, o));) {
        hwloc_bitmap_and(core, o->cpuset, h->usable);
        int pu = hwloc_bitmap_first(core);
        if (pu >= 0) hwloc_bitmap_set(set, (unsigned)pu);
    }
    if (!core) {
        hwloc_bitmap_free(set);
        set = NULL;
    }
    hwloc_bitmap_free(core);
    return set;
}

/* The part of the host with the fewest free cores that are enough; of equals the smallest, then the
 * first. The whole host always has enough. */
static hwloc_obj_t room_for(const struct division *d, int need, hwloc_bitmap_t scratch)
{
    hwloc_topology_t t = d->host->topology;
    hwloc_obj_t best = NULL;
    int best_free = 0;
    for (int depth = tr_machine_core_depth(d->host); depth >= 0; depth--)
        for (hwloc_obj_t o = NULL; (o = hwloc_get_next_obj_by_depth(t, depth, o));) {
            hwloc_bitmap_and(scratch, o->cpuset, d->first);
            int room = hwloc_bitmap_weight(scratch);
            if (room < need || (best && room >= best_free)) continue;
            best = o;
            best_free = room;
        }
    return best;
}

/* Gives p its first p->threads free cores in there, neighbours first. */
static void take_cores(struct division *d, struct tr_place *p, hwloc_obj_t room)
{
    int depth = tr_machine_core_depth(d->host), taken = 0;
    hwloc_topology_t t = d->host->topology;
    for (hwloc_obj_t o = NULL;
         taken < p->threads &&
         (o = hwloc_get_next_obj_inside_cpuset_by_depth(t, room->cpuset, depth, o));) {
        if (!hwloc_bitmap_intersects(o->cpuset, d->first)) continue;
        hwloc_bitmap_or(p->cpus, p->cpus, o->cpuset);
        hwloc_bitmap_andnot(d->first, d->first, o->cpuset);
        taken++;
    }
    hwloc_bitmap_and(p->cpus, p->cpus, d->host->usable);
    hwloc_cpuset_to_nodeset(t, p->cpus, p->nodes);
}

/* The largest that has no cores yet, the earlier one of equals; NULL when all have. */
static struct tr_place *next_to_seat(const struct tr_places *p)
{
    struct tr_place *best = NULL;
    for (int i = 0; i < p->n; i++)
        if (!p->at[i].cpus && (!best || p->at[i].threads > best->threads))
            best = &p->at[i];
    return best;
}

static enum tr_status seat_all(struct division *d, struct tr_err *err)
{
    struct tr_place *p;
    hwloc_bitmap_t scratch = hwloc_bitmap_alloc();
    bool short_of = !scratch;
    while (!short_of && (p = next_to_seat(d->places))) {
        p->cpus = hwloc_bitmap_alloc();
        p->nodes = hwloc_bitmap_alloc();
        short_of = !p->cpus || !p->nodes;
        hwloc_obj_t room = short_of ? NULL : room_for(d, p->threads, scratch);
        if (room) take_cores(d, p, room);
    }
    hwloc_bitmap_free(scratch);
    return short_of ? tr_err_set(err, TR_NOMEM, "sets of PUs") : TR_OK;
}

/* ---- the whole ---- */

static enum tr_status check(const struct tr_place_wish *wish, int wishes,
                            struct tr_err *err)
{
    for (int i = 0; i < wishes; i++)
        if (wish[i].replicas < 1 || wish[i].replicas > TR_PLACE_REPLICAS ||
            wish[i].threads < 0 || wish[i].weight < 1)
            return tr_err_set(err, TR_BADARG, "%s: expected 1 to %d replicas, found %d",
                              wish[i].name, TR_PLACE_REPLICAS, wish[i].replicas);
    return TR_OK;
}

static enum tr_status list_processes(struct division *d, int wishes, int n,
                                     struct tr_err *err)
{
    struct tr_places *p = d->places;
    p->at = calloc((size_t)n + 1, sizeof *p->at);
    if (!p->at) return tr_err_set(err, TR_NOMEM, "%d places", n);
    for (int w = 0; w < wishes; w++)
        for (int r = 0; r < d->wish[w].replicas; r++)
            p->at[p->n++] = (struct tr_place){
                .wish = w, .replica = r, .threads = least_threads(&d->wish[w])};
    return TR_OK;
}

static void say_why(const struct tr_machine *h, struct tr_places *p, long need)
{
    char time[64] = "";
    if (!p->own && need <= h->threads) {
        snprintf(p->why, sizeof p->why,
                 "%d processes take turns on %d cores: they share, nothing is bound "
                 "(threads for each role would bind them)",
                 p->n, h->cores);
        return;
    }
    if (h->threads < h->cores)
        snprintf(time, sizeof time, " and CPU time for %d threads", h->threads);
    if (p->own)
        snprintf(p->why, sizeof p->why, "%d process%s cores of %s own%s", p->n,
                 p->n == 1 ? " has" : "es have", p->n == 1 ? "its" : "their",
                 p->bound ? "" : "; the topology is not of this host: nothing is bound");
    else
        snprintf(p->why, sizeof p->why,
                 "%d processes want %ld threads, there are %d cores%s: they share, "
                 "nothing is bound",
                 p->n, need, h->cores, time);
}

enum tr_status tr_places_divide(const struct tr_machine *h,
                                const struct tr_place_wish *wish, int wishes,
                                bool in_turns, struct tr_places *out, struct tr_err *err)
{
    long need = 0;
    int n = 0;
    bool open = false; /* some were not asked for a number of threads */
    struct division d = {.host = h, .wish = wish, .places = out};
    *out = (struct tr_places){.n = 0};
    enum tr_status st = check(wish, wishes, err);
    if (st != TR_OK) return st;
    for (int i = 0; i < wishes; i++) {
        n += wish[i].replicas;
        open = open || wish[i].threads == 0;
        need += (long)wish[i].replicas * least_threads(&wish[i]);
    }
    st = list_processes(&d, wishes, n, err);
    out->own = need <= h->threads && !(in_turns && open && n > 1);
    out->bound = out->own && h->here;
    say_why(h, out, need);
    if (st == TR_OK && !out->own) share_time(&d);
    if (st == TR_OK && out->own) {
        share_out(&d, h->threads - (int)need);
        d.first = first_pus(h);
        st = d.first ? seat_all(&d, err) : tr_err_set(err, TR_NOMEM, "a set of PUs");
        hwloc_bitmap_free(d.first);
    }
    if (st != TR_OK) tr_places_fini(out);
    return st;
}

void tr_places_fini(struct tr_places *p)
{
    for (int i = 0; p->at && i < p->n; i++) {
        hwloc_bitmap_free(p->at[i].cpus);
        hwloc_bitmap_free(p->at[i].nodes);
    }
    free(p->at);
    *p = (struct tr_places){.n = 0};
}

void tr_place_list(const struct tr_place *p, char *out, size_t size)
{
    out[0] = 0;
    if (p->cpus) hwloc_bitmap_list_snprintf(out, size, p->cpus);
}

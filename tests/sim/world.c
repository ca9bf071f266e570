#include "tests/sim/world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- luck ---- */

double uniform(struct luck *l)
{
    return tr_philox_uniform(l->key, l->n++, 0, 0, 0);
}

int64_t below(struct luck *l, int64_t n)
{
    return (int64_t)(uniform(l) * (double)n);
}

void tell(struct world *w, const char *who, const char *what)
{
    if (w->story) printf("  %9.3f  %-14s %s\n", w->now, who, what);
}

const char *name_of(const struct worker *k)
{
    static char name[64]; /* for the story only */
    snprintf(name, sizeof name, "%s%s%s-%d", tr_role_name(k->role), k->slot[0] ? "-" : "",
             k->slot, k->index);
    return name;
}

/* ---- the heap ---- */

static bool sooner(const struct event *a, const struct event *b)
{
    return a->at < b->at || (!(b->at < a->at) && a->order < b->order);
}

static void swap_events(struct event *a, struct event *b)
{
    struct event t = *a;
    *a = *b;
    *b = t;
}

struct event *schedule(struct world *w, double delay, enum what what, int worker)
{
    if (w->n == w->room) {
        w->room = w->room ? 2 * w->room : 256;
        w->at = realloc(w->at, (size_t)w->room * sizeof *w->at);
        if (!w->at) abort();
    }
    int64_t i = w->n++;
    w->at[i] = (struct event){
        .at = w->now + delay, .order = w->order++, .what = what, .w = worker};
    w->at[i].life = worker >= 0 ? w->worker[worker].life : w->core_life;
    while (i > 0 && sooner(&w->at[i], &w->at[(i - 1) / 2])) {
        swap_events(&w->at[i], &w->at[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    return &w->at[i];
}

struct event pop(struct world *w)
{
    struct event first = w->at[0];
    int64_t i = 0;
    w->at[0] = w->at[--w->n];
    for (;;) {
        int64_t least = i;
        for (int64_t k = 2 * i + 1; k <= 2 * i + 2; k++)
            if (k < w->n && sooner(&w->at[k], &w->at[least])) least = k;
        if (least == i) return first;
        swap_events(&w->at[i], &w->at[least]);
        i = least;
    }
}

/* ---- the network ---- */

static void copy_message(const struct tr_message *from, struct tr_message *to)
{
    *to = *from;
    to->content = (struct tr_content){0};
    if (!from->content.bytes.at) return;
    if (tr_content_copy(from->content.bytes.at, from->content.bytes.size,
                        from->content.bulk, from->content.n, &to->content, NULL) != TR_OK)
        abort();
}

static double delay_of(struct world *w)
{
    if (w->set.calm) return 0.001;
    double x = uniform(&w->luck);
    return x < 0.9 ? 0.02 * x : x < 0.99 ? 0.5 * x : 8 * x;
}

static bool is_cut(const struct world *w, int worker)
{
    return w->now < w->worker[worker].cut_until;
}

void post(struct world *w, enum what what, int worker, const struct tr_message *m)
{
    int times = !w->set.calm && uniform(&w->luck) < 0.02 ? 2 : 1;
    if (is_cut(w, worker)) return;
    for (int i = 0; i < times; i++) {
        double late = delay_of(w);
        struct tr_message copy;
        copy_message(m, &copy);
        struct event *e = schedule(w, late, what, worker);
        e->m = copy;
        e->life = what == TO_CORE ? w->core_life : w->worker[worker].life;
    }
}

enum tr_status check_step_time(struct world *w, const struct tr_step_time *t,
                               struct tr_err *err)
{
    double from = w->committed_at, took = tr_step_time_seconds(t);
    w->committed_at = w->now;
    if (!t->whole) return TR_OK;
    if (from >= 0 && t->generate >= 0 && t->judge >= 0 && t->learn >= 0 &&
        fabs(took - (w->now - from)) < 1e-9)
        return TR_OK;
    return tr_err_set(err, TR_BADARG, "a step of %.3f s took %.3f + %.3f + %.3f",
                      w->now - from, t->generate, t->judge, t->learn);
}

void tell_standstill(const struct world *w)
{
    struct tr_core_worker k;
    char text[65];
    if (!w->story || !w->core) return;
    for (int64_t i = 0; tr_core_see(w->core, i, &k); i++) {
        if (!k.here) continue;
        int64_t post = tr_core_post(w->core, k.role, k.slot), waiting = 0, sent = 0;
        struct tr_digest lineage = tr_core_lineage(w->core, post);
        tr_core_queue(w->core, post, &waiting, &sent);
        printf("  %s: %lld in hand, %lld wait, %lld sent;%s holds", k.instance,
               (long long)k.in_hand, (long long)waiting, (long long)sent,
               k.silent ? " silent;" : "");
        for (int64_t n = 0; n < k.holds.n; n++) {
            tr_digest_text(&k.holds.at[n], text);
            printf(" %.8s", text);
        }
        tr_digest_text(&lineage, text);
        printf(", lineage %.8s\n", text);
    }
    for (int i = 0; i < w->workers; i++) {
        const struct worker *me = &w->worker[i];
        printf("  %s itself:%s%s %lld in hand, holds", name_of(me),
               me->alive ? " alive" : "", me->joined ? " joined" : "",
               (long long)me->hands);
        for (int64_t n = 0; n < me->stub.holds.n; n++) {
            tr_digest_text(&me->stub.holds.at[n], text);
            printf(" %.8s", text);
        }
        printf(", offers");
        for (int64_t n = 0; n < me->offers; n++) {
            tr_digest_text(&me->offer[n], text);
            printf(" %.8s", text);
        }
        printf("\n");
    }
}

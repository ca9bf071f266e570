/* world.h - the simulator's world: what there is, what will happen when, and how messages travel.
 *
 * The data. Events lie in a heap by time and order of being scheduled. One that is for a worker or a
 * coordinator names its life: somebody who was started anew meanwhile does not get it. */
#ifndef TR_SIM_WORLD_H
#define TR_SIM_WORLD_H

#include "actors/coordinator/plan_ppo.h"
#include "kernels/philox.h"
#include "tests/sim/plain_memo.h"
#include "tests/sim/stub.h"

enum { WORKERS = 16, HAND = 64, PROMPTS = 12, LONGEST = 6, EVENTS_MAX = 400000 };

struct luck {
    struct tr_philox key;
    uint32_t n;
};

enum what {
    TO_CORE,
    TO_WORKER,
    WORKED,
    LOADED,
    SECOND,
    START,
    KILL,
    CUT,
    KILL_CORE,
    START_CORE,
    TICK
};

struct event {
    double at;
    int64_t order; /* of being scheduled: decides between equal times */
    enum what what;
    int w;
    int64_t life;        /* of the worker or the core that it is for */
    struct tr_message m; /* owns its content */
};

struct worker {
    enum tr_role role;
    const char *slot;
    int index;
    bool alive, joined;
    int64_t life; /* counts starts; is its incarnation and, with the place, its peer */
    double heard, cut_until;
    struct tr_stub stub;
    struct tr_unit hand[HAND]; /* own; in order */
    int64_t hands;
    bool working;
    struct tr_digest offer[3]; /* of a policy: what it has published */
    int64_t offers;
};

struct snapshot {
    int64_t step;
    struct tr_digest lineage;
};

struct settings {
    int64_t staleness, steps, swap_at, rollouts, references, rewards, late;
    bool soon; /* the swap names no step: it is asked for two steps before swap_at */
    bool ask_policy; /* old log-probs are the policy's */
    bool calm;
};

struct world {
    struct settings set;
    struct luck luck;
    bool story;
    double now;
    int64_t order, events;
    struct event *at; /* owns; a heap */
    int64_t n, room;
    struct worker worker[WORKERS];
    int workers;
    /* the coordinator of now, if any */
    int64_t core_life;
    struct tr_core *core;
    struct tr_plan_ppo *plan;
    struct tr_planner planner;
    struct tr_memo memo;
    struct tr_ppo_owner owner;
    struct tr_plain_memo kept;
    struct snapshot snapshot[2][64]; /* of policy, of critic: newest last */
    int64_t snapshots[2];
    struct {
        enum tr_role role;
        int64_t step;
        struct tr_digest lineage;
    } save[512];
    int64_t saves;
    double
        committed_at; /* now, at the last commit or the start; below 0: of no such coordinator */
    bool swap_asked;              /* of a swap that names no step: it lasts */
    int64_t swap_said, swap_from; /* the step it counts from; after a flush */
    bool over;
    int64_t asked_twice; /* units that an idle worker was given besides a slow one */
    char trouble[320];
    int32_t token[PROMPTS * LONGEST];
    int64_t start[PROMPTS + 1];
};

double uniform(struct luck *l);
int64_t below(struct luck *l, int64_t n);

/* A line of the story. */
void tell(struct world *w, const char *who, const char *what);
/* For the story: who holds what, and what waits. */
void tell_standstill(const struct world *w);
const char *name_of(const struct worker *k); /* borrowed until the next call */

/* worker -1: for the coordinator. The event may be filled until the next call. */
struct event *schedule(struct world *w, double delay, enum what what, int worker);
struct event pop(struct world *w);

/* Sends a copy, which may be late, twice, or lost while the worker's link is cut. */
void post(struct world *w, enum what what, int worker, const struct tr_message *m);

/* A step's time is that between two commits, and of one that began before this coordinator nothing is
 * said. */
enum tr_status check_step_time(struct world *w, const struct tr_step_time *t,
                               struct tr_err *err);

#endif

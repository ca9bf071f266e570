/* actor.h - one role with units in hand: what comes in, what is worked on, what goes out.
 *
 * What it is for. The same few calls run a role in a process of its own (worker.h) or beside
 * others in one process (company.h). An actor owns the units it was given until they are
 * answered, so that a progress message can list them.
 *
 * Invariants.
 *   1. Every unit taken is answered by exactly one `done` or `fail`, in any order.
 *   2. A failing unit harms no other. */
#ifndef TR_ACTORS_ACTOR_H
#define TR_ACTORS_ACTOR_H

#include "actors/role.h"

struct tr_actor;

enum tr_status tr_actor_open(enum tr_role role, const struct tr_role_start *start,
                             struct tr_actor **out, struct tr_err *err);
void tr_actor_close(struct tr_actor *a);

/* What this actor is and holds now; instance and incarnation are the caller's. */
struct tr_hello tr_actor_hello(const struct tr_actor *a);
struct tr_progress tr_actor_progress(const struct tr_actor *a);
bool tr_actor_busy(const struct tr_actor *a);

/* Takes a `unit` message (and its content). One that is no good is answered with `fail`. */
enum tr_status tr_actor_take(struct tr_actor *a, struct tr_message *m,
                             struct tr_err *err);

/* Works a bit: one unit, or one step of many. TR_AGAIN: nothing to say yet. TR_OK: *out is a
 * `done` or `fail` and the caller's. */
enum tr_status tr_actor_work(struct tr_actor *a, struct tr_message *out);

#endif

/* actor.h - one role with units in hand: what comes in, what is worked on, what goes out.
 *
 * What it is for. The same few calls run a role in a process of its own (worker.h) or beside
 * others in one process (company.h). An actor owns the units it was given until they are
 * answered, so that a progress message can list them.
 *
 * What it says, in this order: what it has to offer from the start; for a model that was adopted
 * `loaded`, then `offer` if it can pass it on; for a unit `offer` of the weights that it made, if any,
 * then `done` or `fail`.
 *
 * Invariants.
 *   1. Every unit taken is answered by exactly one `done` or `fail`, in any order.
 *   2. A failing unit harms no other.
 *   3. Weights that are dropped stay until no unit in hand needs them. */
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
bool tr_actor_busy(const struct tr_actor *a); /* there is work, or something to say */

const struct tr_exec *tr_actor_exec(const struct tr_actor *a); /* borrowed */

/* What weights may be adopted; false: none. */
bool tr_actor_shape(const struct tr_actor *a, struct tr_model_shape *out);

/* Takes a `unit` message (and its content); one that is no good is answered with `fail`. Hears
 * `drop`. */
enum tr_status tr_actor_take(struct tr_actor *a, struct tr_message *m,
                             struct tr_err *err);

/* What came of a `load` is said by *loaded. When it is good, takes what *take holds: from now on units
 * may need it. Another fault than want of memory for the message is said, not returned. */
enum tr_status tr_actor_adopt(struct tr_actor *a, struct tr_model *take,
                              const struct tr_loaded *loaded, struct tr_err *err);

/* Works a bit: one unit, or one step of many. TR_AGAIN: nothing to say yet. TR_OK: *out is
 * something to say and the caller's. */
enum tr_status tr_actor_work(struct tr_actor *a, struct tr_message *out);

#endif

/* desk.h - an actor at work in a thread of its own.
 *
 * What it is for. One unit may take minutes. Meanwhile the process must hear the coordinator and
 * say that it lives, so the actor works in this thread, and the wire belongs to another.
 *
 * The data. Two queues, in and out, and what is in hand, all under one lock. `fd` can be read
 * while there is something in the out queue.
 *
 * Invariants.
 *   1. The actor is touched by the desk's thread alone, from open to close.
 *   2. Messages that were put are never lost: close finishes the bit of work in hand and frees
 *      the rest. */
#ifndef TR_ACTORS_DESK_H
#define TR_ACTORS_DESK_H

#include "actors/actor.h"

struct tr_desk;

/* Borrows the actor until close. */
enum tr_status tr_desk_open(struct tr_actor *actor, struct tr_desk **out,
                            struct tr_err *err);
void tr_desk_close(struct tr_desk *d);

/* Takes a `unit` message: *m is emptied. */
enum tr_status tr_desk_put(struct tr_desk *d, struct tr_message *m, struct tr_err *err);

/* The next answer, the caller's then; TR_AGAIN when there is none. What went wrong with the desk
 * itself (not with a unit) comes here too. */
enum tr_status tr_desk_get(struct tr_desk *d, struct tr_message *out, struct tr_err *err);

int tr_desk_fd(const struct tr_desk *d);
struct tr_progress tr_desk_progress(struct tr_desk *d);

#endif

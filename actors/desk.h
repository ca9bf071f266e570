/* desk.h - an actor at work in a thread of its own.
 *
 * What it is for. One unit may take minutes. Meanwhile the process must hear the coordinator and
 * say that it lives, so the actor works in this thread, and the wire belongs to another.
 *
 * The data. Two queues, in and out, what is in hand and which weights are held, all under one lock.
 * `fd` can be read while there is something in the out queue.
 *
 * Invariants.
 *   1. The actor is touched by the desk's thread alone, from open to close. Models and messages
 *      come in between two bits of work.
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

/* Takes a `unit` or a `drop`: *m is emptied. */
enum tr_status tr_desk_put(struct tr_desk *d, struct tr_message *m, struct tr_err *err);
/* From any thread: what came of a load. Takes what *model holds. */
void tr_desk_adopt(struct tr_desk *d, const struct tr_loaded *loaded,
                   struct tr_model *model);

/* No new bit of work is begun; what was not begun stays in hand. */
void tr_desk_halt(struct tr_desk *d);
bool tr_desk_halted(struct tr_desk *d); /* and the last one is done */

/* The next answer, the caller's then; TR_AGAIN when there is none. What went wrong with the desk
 * itself (not with a unit) comes here too. */
enum tr_status tr_desk_get(struct tr_desk *d, struct tr_message *out, struct tr_err *err);

int tr_desk_fd(const struct tr_desk *d);
struct tr_progress tr_desk_progress(struct tr_desk *d);
struct tr_digests tr_desk_holds(struct tr_desk *d); /* as hello says it */

#endif

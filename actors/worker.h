/* worker.h - one role in a process of its own.
 *
 * What it is for. It joins a coordinator, has the units that it is given worked on (desk.h), and
 * goes when it is told to. This thread has the wire: it listens, answers, and gives a sign of life
 * every second, however long a unit takes.
 *
 * Invariants.
 *   1. hello is repeated until there is a welcome, for `join_seconds` at most.
 *   2. Every unit taken is answered by one `done` or `fail`. */
#ifndef TR_ACTORS_WORKER_H
#define TR_ACTORS_WORKER_H

#include "actors/actor.h"
#include "core/base/log.h"

struct tr_worker {
    const char *address;  /* the coordinator's */
    const char *instance; /* this worker's name, for logs */
    double join_seconds;
};

/* Runs until `bye`. TR_GONE when the coordinator does not answer, TR_BADARG when it turns us
 * away, with its reason. Borrows the actor. */
enum tr_status tr_worker_run(const struct tr_worker *w, struct tr_actor *actor,
                             const struct tr_log *log, struct tr_err *err);

#endif

/* worker.h - one role in a process of its own.
 *
 * What it is for. It joins a coordinator, has the units that it is given worked on (desk.h) and
 * weights loaded (loader.h), and goes when it is told to. This thread has the wire: it listens,
 * answers, and gives a sign of life every second, however long a unit takes.
 *
 * The data. A worker is apart or joined:
 *
 *     apart   says hello again and again; answers wait
 *       |  welcome: says what is in hand, then what it offered before
 *     joined  says answers, offers, progress
 *       |  `who`, the connection is cut, or nothing heard for 30 s
 *     apart   ... and so on, for `join_seconds` at most
 *
 * Units in hand are worked on in either. So a coordinator that is started anew at the same address
 * finds its workers where it left them. A signal lets one that is joined answer what it has in hand; one that is
 * apart, or comes to be, ends.
 *
 * Invariants.
 *   1. hello is repeated until there is a welcome, for `join_seconds` at most; it says all weights
 *      that are held then.
 *   2. Every unit taken is answered by one `done` or `fail`; `load` by one `loaded`.
 *   3. Answers leave only while it is joined, in the order in which they were made. */
#ifndef TR_ACTORS_WORKER_H
#define TR_ACTORS_WORKER_H

#include "actors/actor.h"
#include "core/base/log.h"
#include "proto/keys.h"

struct tr_worker {
    const char *address;  /* the coordinator's */
    const char *instance; /* this worker's name, for logs */
    const char *slot;     /* which of several rewards, or NULL */
    bool swap;            /* its weights should take the place of the present ones */
    const struct tr_keys *keys; /* borrows; NULL: none, on this host */
    const char
        *host; /* equal where the same files are seen; NULL: core/base/host.h says */
    const char *place; /* the folder for packed weights that are fetched, or NULL */
    double join_seconds;
    double quiet_seconds; /* without a word from the coordinator; 0: 30 */
    int stop_fd; /* readable: say bye after the bit of work in hand; once more: now. -1: never */
};

/* Runs until `bye`, the coordinator's or our own. TR_GONE when the coordinator does not answer,
 * TR_BADARG when it turns us away, with its reason. Borrows the actor. */
enum tr_status tr_worker_run(const struct tr_worker *w, struct tr_actor *actor,
                             const struct tr_log *log, struct tr_err *err);

#endif

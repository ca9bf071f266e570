/* child.h - a process of this program that works for this one.
 *
 * What it is for. `troupe train` starts the roles of a run as processes of their own.
 *
 * Invariants.
 *   1. A child does not outlive its parent: it is killed when the parent dies, however that is.
 *   2. Ctrl-C does not reach it: the parent hears it and says what is to be done. */
#ifndef TR_LAUNCH_CHILD_H
#define TR_LAUNCH_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/base/err.h"

enum { TR_CHILD_WORDS = 40 };

struct tr_child {
    pid_t pid; /* 0: none */
    int code;  /* once it has ended: its exit code, or minus the signal that ended it */
};

/* Starts this very program with these words (the subcommand first, NULL last; TR_BADARG when there are
 * more than TR_CHILD_WORDS). Its standard error
 * is appended to the file `log`, or is ours when that is NULL. */
enum tr_status tr_child_start(const char *const *words, const char *log,
                              struct tr_child *out, struct tr_err *err);

/* True once it has ended; *failed says that it did so by itself and badly. */
bool tr_child_ended(struct tr_child *c, bool *failed);

/* Waits until it has ended, till `until` on the clock at most. */
void tr_child_wait(struct tr_child *c, double until);
/* Asks it to end (SIGTERM); ends it. Nothing when it has ended. */
void tr_child_ask(const struct tr_child *c);
void tr_child_kill(struct tr_child *c);

#endif

/* ask.h - a question to the coordinator of a run, or to its journal when none runs.
 *
 * What it is for. `troupe status`, `rollouts`, `swap` and their like find the coordinator by the
 * run's folder, ask it over its own address, and print what it tells. The journal belongs to the
 * coordinator alone while it lives; afterwards the file itself answers.
 *
 * Invariants.
 *   1. No call takes longer than `seconds`.
 *   2. A coordinator that is alive is always asked; the file is read only when nobody has it. */
#ifndef TR_LAUNCH_ASK_H
#define TR_LAUNCH_ASK_H

#include <stdbool.h>

#include "core/base/buf.h"

struct tr_question {
    const char *run;      /* its folder */
    const char *keys;     /* a folder of keys with admin's, or NULL */
    const char *what;     /* "status", "swap", ... */
    const char *argument; /* JSON, or "" */
    double seconds;
};

/* What is told goes into reply (initialised by the caller). TR_GONE: no coordinator answers;
 * TR_BADARG: what it says of a question that it does not like. */
enum tr_status tr_ask_run(const struct tr_question *q, struct tr_buf *reply,
                          struct tr_err *err);

/* The same of what only a coordinator can do: where none runs, that is said at once (TR_BADARG). */
enum tr_status tr_ask_running(const struct tr_question *q, struct tr_buf *reply,
                              struct tr_err *err);

/* The same as the first; without a coordinator the journal answers. *live says which it was. */
enum tr_status tr_ask_or_look(const struct tr_question *q, struct tr_buf *reply,
                              bool *live, struct tr_err *err);

#endif

/* told.h - what `status`, `rollouts` and `snapshot-db` share: a question, and its answer as a value. */
#ifndef TR_LAUNCH_CLI_TOLD_H
#define TR_LAUNCH_CLI_TOLD_H

#include <jansson.h>
#include <stdbool.h>

#include "core/base/err.h"

struct tr_told_wish {
    const char *run, *keys; /* a run's folder; a folder of keys, or NULL */
    double seconds;         /* to wait for the coordinator */
    bool json;              /* print the answer as it came */
};

/* Asks the coordinator, or the journal when none runs; *live says which. The caller owns *told. */
enum tr_status tr_told_ask(const struct tr_told_wish *w, const char *what,
                           const char *argument, json_t **told, bool *live,
                           struct tr_err *err);

/* Fields of an object; what is missing is "" or 0. */
const char *tr_told_text(const json_t *o, const char *key);
double tr_told_real(const json_t *o, const char *key);
long long tr_told_int(const json_t *o, const char *key);

/* The line for people, and the exit code. */
int tr_told_end(const char *command, enum tr_status st, const struct tr_err *err);

#endif

/* standin.h - a worker that answers at once, with made-up numbers of the right sizes.
 *
 * What it is for. To see what a coordinator can carry, workers must cost next to nothing: what a
 * stand-in says was encoded before, and only the digests that a unit names are put in anew.
 *
 * The data. Its answers have `answer` tokens, the first of which come from the unit's id, so that
 * no two samples are alike. A policy has new weights after each step and offers them; a rollout has
 * loaded them as soon as it is told to. */
#ifndef TR_BENCH_STANDIN_H
#define TR_BENCH_STANDIN_H

#include "proto/wire.h"

struct standin_tally { /* lies where the coordinator's process sees it */
    int64_t heard, said;
    double bytes_heard, bytes_said;
};

struct standin {
    enum tr_role role;
    const char *slot;    /* of a reward */
    const char *address; /* of the coordinator */
    const char *keys;    /* a folder, or NULL */
    int64_t answer;      /* tokens */
    int64_t credits;
    struct standin_tally *tally;
};

/* Works until it is told to go; what goes wrong ends the process. */
void standin_run(const struct standin *s);

#endif

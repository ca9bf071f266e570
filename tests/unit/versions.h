/* versions.h - a few versions of one tiny model as packed files, for the tests of those who load
 * them. Everything asserts. */
#ifndef TR_TEST_VERSIONS_H
#define TR_TEST_VERSIONS_H

#include "actors/actor.h"
#include "tests/unit/scratch.h"

enum { VERSIONS = 6 };

struct versions {
    struct tr_exec ex;
    char dir[SCRATCH_ROOM];
    struct tr_model model[VERSIONS]; /* drawn from the seed 100, 101, ... and packed */
    bool value_head;
};

/* With the output layer or with the value head. */
void versions_open(struct versions *v, bool value_head);
void versions_close(struct versions *v);

/* A role that starts with version i. */
struct tr_role_start versions_start(const struct versions *v, int i);
/* Where version i lies, as `load` says it. */
struct tr_load versions_load(const struct versions *v, int i);

/* A unit that asks for version i: `generate` of `max_new` tokens, or `logprob` / `score`. n tells units
 * of a kind apart. */
struct tr_unit versions_generate(const struct versions *v, int i, int n, int64_t max_new);
struct tr_unit versions_judge(const struct versions *v, int i, int n);

/* The unit as a message; takes it. */
struct tr_message versions_deliver(struct tr_unit *unit);

#endif

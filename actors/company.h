/* company.h - a coordinator and its roles within one process.
 *
 * What it is for. The same core, the same units and the same actors as over ZeroMQ, without
 * sockets: every message is encoded and decoded as on the wire, so what works here works there,
 * and the digest is the same. For runs on one host without ceremony, and for tests.
 *
 * Invariants.
 *   1. Messages go through tr_message_encode and tr_message_decode. */
#ifndef TR_ACTORS_COMPANY_H
#define TR_ACTORS_COMPANY_H

#include "actors/actor.h"
#include "actors/coordinator/core.h"
#include "core/base/log.h"

struct tr_company { /* borrows everything; peer i is actor[i] */
    struct tr_core *core;
    struct tr_actor *const *actor;
    int64_t n;
    const struct tr_log *log; /* what happens, at level debug; or NULL */
};

/* All say hello. */
enum tr_status tr_company_join(const struct tr_company *c, struct tr_err *err);

/* Each works a bit, and what follows from it is done. TR_GONE when there is a unit that none of
 * them can do: nothing would ever happen again. */
enum tr_status tr_company_turn(const struct tr_company *c, struct tr_err *err);

/* Joins and takes turns until the core is over. */
enum tr_status tr_company_run(const struct tr_company *c, struct tr_err *err);

#endif

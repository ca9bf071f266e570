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

/* Lets n actors join the core and works until the core is over. Peer i is actor[i]. Borrows
 * everything; lines for people go to log, which may be NULL. */
enum tr_status tr_company_run(struct tr_core *core, struct tr_actor *const *actor,
                              int64_t n, const struct tr_log *log, struct tr_err *err);

#endif

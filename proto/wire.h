/* wire.h - messages over ZeroMQ: one address that listens, many that join it.
 *
 * What it is for. The coordinator listens with a ROUTER, each worker joins with a DEALER. Callers
 * see messages and peers; sockets, frames and limits stay here.
 *
 * The data. A peer is a small number given to each connection when it first speaks; a worker has
 * one peer, the coordinator, whose number is 0.
 *
 * Invariants.
 *   1. Every socket has linger, high-water marks, a largest frame and heartbeats set.
 *   2. No call blocks longer than its timeout; a closed wire is gone within the linger.
 *   3. Addresses other than loopback are refused: there are no keys yet to tell friend from foe.
 *   4. What a peer sends cannot make receive fail for the others: it is TR_BADMSG with that peer.
 *   5. A wire belongs to one thread. */
#ifndef TR_PROTO_WIRE_H
#define TR_PROTO_WIRE_H

#include "proto/message.h"

struct tr_wire;

enum { TR_PEERS_MAX = 4096, TR_ADDRESS_BYTES = 256 };

/* address: tcp://127.0.0.1:PORT (0: any free one), tcp://[::1]:PORT or ipc://PATH. bound
 * [TR_ADDRESS_BYTES] receives the real one. */
enum tr_status tr_wire_listen(const char *address, char *bound, struct tr_wire **out,
                              struct tr_err *err);
enum tr_status tr_wire_join(const char *address, struct tr_wire **out,
                            struct tr_err *err);

/* TR_AGAIN when the peer takes no more for now, TR_GONE when it is not connected. */
enum tr_status tr_wire_send(struct tr_wire *w, int64_t peer, const struct tr_message *m,
                            struct tr_err *err);

/* Waits for one message. TR_AGAIN when none came in time (or a signal did); TR_BADMSG when the
 * peer sent what is no message. The caller owns *out when TR_OK. */
enum tr_status tr_wire_receive(struct tr_wire *w, double timeout_seconds, int64_t *peer,
                               struct tr_message *out, struct tr_err *err);
/* From now on receive also ends, with TR_AGAIN, when this descriptor can be read; -1: none. */
void tr_wire_watch(struct tr_wire *w, int fd);
void tr_wire_close(struct tr_wire *w);

/* TR_BADARG in words for an address that may not be used. */
enum tr_status tr_address_check(const char *address, struct tr_err *err);

#endif

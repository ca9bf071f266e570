/* wire.h - messages over ZeroMQ: one address that listens, many that join it.
 *
 * What it is for. The coordinator listens with a ROUTER, each worker joins with a DEALER; a worker
 * that gives weights listens too. Callers see messages and peers; sockets, frames, keys and limits
 * stay here.
 *
 * The data. A peer is a number given to each connection when it first speaks (peers.h); a joined
 * wire has one peer, whose number is 0. With keys (keys.h) each message comes from a peer whose
 * role is that of its key.
 *
 * Invariants.
 *   1. Every socket has linger, high-water marks, a largest frame, heartbeats and bounds for
 *      connecting, shaking hands and coming back.
 *   2. No call blocks longer than its timeout; a closed wire is gone within the linger. (Opening may
 *      wait for the resolver, if the address has a name.)
 *   3. Without keys only this host is reached. With keys nobody gets in whose key is not admitted,
 *      and nobody says hello for another role than the key's or asks without a key for admin;
 *      who tries is told so, and receive says TR_BADMSG.
 *   4. What a peer sends cannot make receive fail for the others: it is TR_BADMSG with that peer.
 *   5. A wire belongs to one thread.
 *   6. A joined wire that is not let in says so (TR_BADARG) instead of waiting for ever.
 *
 * Not set, on purpose: ZMQ_ROUTER_HANDOVER. With it whoever connects under a name that is in use takes
 * its messages over. Our own ends have no name, so they lose nothing; a peer in another language
 * should not choose one either (a second connection of that name waits until the first is gone). */
#ifndef TR_PROTO_WIRE_H
#define TR_PROTO_WIRE_H

#include "proto/address.h"
#include "proto/message.h"

struct tr_wire;

/* keys: NULL, or what tr_keys_open gave, borrowed during the call. bound [TR_ADDRESS_BYTES]
 * receives the address at which others may join (address.h), with the public key if there is
 * one. */
enum tr_status tr_wire_listen(const char *address, const struct tr_keys *keys,
                              char *bound, struct tr_wire **out, struct tr_err *err);
/* The same for messages of megabytes: `waiting` of them for a peer that does not read, no more. */
enum tr_status tr_wire_listen_bulk(const char *address, const struct tr_keys *keys,
                                   int waiting, char *bound, struct tr_wire **out,
                                   struct tr_err *err);
/* A key in the address goes before keys->server. */
enum tr_status tr_wire_join(const char *address, const struct tr_keys *keys,
                            struct tr_wire **out, struct tr_err *err);

/* TR_AGAIN when the peer takes no more for now, TR_GONE when it is not connected. */
enum tr_status tr_wire_send(struct tr_wire *w, int64_t peer, const struct tr_message *m,
                            struct tr_err *err);

/* The same without copying large arrays: on TR_OK m is the wire's and empty here; on TR_AGAIN and
 * TR_GONE it is still the caller's. */
enum tr_status tr_wire_give(struct tr_wire *w, int64_t peer, struct tr_message *m,
                            struct tr_err *err);

/* Waits for one message. TR_AGAIN when none came in time (or a signal did); TR_BADMSG when the
 * peer sent what is no message or what it may not say; peer is then -1 for one that did not get in.
 * TR_BADARG when a joined wire is not let in. The caller owns *out when TR_OK. */
enum tr_status tr_wire_receive(struct tr_wire *w, double timeout_seconds, int64_t *peer,
                               struct tr_message *out, struct tr_err *err);
/* From now on receive also ends, with TR_AGAIN, when this descriptor can be read; -1: none. */
void tr_wire_watch(struct tr_wire *w, int fd);

/* Of a joined wire: it is connected, as far as the last receive saw. What is sent while it is not waits
 * until it is. */
bool tr_wire_up(const struct tr_wire *w);

/* What a peer's key is for: enum tr_role or TR_KEY_ADMIN; -1 without keys, or for no peer. */
int tr_wire_role(const struct tr_wire *w, int64_t peer);
/* This peer should not lose its place to strangers | it will not be heard or told any more. */
void tr_wire_keep(struct tr_wire *w, int64_t peer);
void tr_wire_forget(struct tr_wire *w, int64_t peer);

void tr_wire_close(struct tr_wire *w);

#endif

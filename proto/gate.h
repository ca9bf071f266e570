/* gate.h - who may come in on a wire, and what they may say there.
 *
 * What it is for. ZeroMQ asks at inproc://zeromq.zap.01 (RFC 27) about the public key of each
 * connection before the other side can say anything. A thread answers from the list of those
 * admitted, so a coordinator that is busy for a while keeps nobody at the door.
 *
 * The data. The list, copied. A *user* is an index into it and travels with each message as its
 * "User-Id", so a message says by itself whose key brought it.
 *
 * Invariants.
 *   1. A key that is not in the list never gets a message through; nor does anybody while no
 *      thread answers: the wire has a ZAP domain that is enforced, and what comes without a
 *      User-Id is refused.
 *   2. The thread ends when its context is shut down, and only waits for questions otherwise.
 *   3. Those refused are counted and the latest is described; nothing grows with their number. */
#ifndef TR_PROTO_GATE_H
#define TR_PROTO_GATE_H

#include "proto/keys.h"

enum { TR_REFUSED_BYTES = 200 };

struct tr_gate;

/* Opens the gate of a ZeroMQ context; before a socket of it is bound. */
enum tr_status tr_gate_open(void *context, const struct tr_keys *keys,
                            struct tr_gate **out, struct tr_err *err);
/* After zmq_ctx_shutdown, before zmq_ctx_term. */
void tr_gate_close(struct tr_gate *g);

/* The user that a User-Id stands for, or -1. */
int64_t tr_gate_user(const struct tr_gate *g, const char *id);
int tr_gate_role(const struct tr_gate *g,
                 int64_t user); /* enum tr_role, TR_KEY_ADMIN, -1 */

/* How many connections were refused so far, and which the latest was. */
int64_t tr_gate_refused(struct tr_gate *g, char latest[TR_REFUSED_BYTES]);

/* TR_BADMSG when who has a key of this role may not say m: hello names the key's own role, and only
 * admin asks. */
enum tr_status tr_gate_check(int role, const struct tr_message *m, struct tr_err *err);

#endif

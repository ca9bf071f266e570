/* peers.h - who has spoken on a listening wire: numbers for the names that a ROUTER gives.
 *
 * What it is for. A ROUTER calls each connection by some bytes, new ones for each connection.
 * Callers want a number, must be able to keep it, and must not run out of room because workers
 * come and go for weeks or strangers knock.
 *
 * The data. Places for TR_PEERS_MAX peers, found by name through a hash. A peer has its name, who
 * its key says it is (gate.h), and whether it is kept. Two queues, strangers and kept ones, each
 * in the order in which they were last heard.
 *
 * Invariants.
 *   1. A number is never given twice.
 *   2. When all places are taken, a new peer gets that of the stranger who was last heard longest
 *      ago; only if there is no stranger, that of the kept one. So strangers drive out at most
 *      one who is kept, and a worker that speaks now and then is not the one.
 *   3. A name that comes back with another key is another peer, and the old one is forgotten. */
#ifndef TR_PROTO_PEERS_H
#define TR_PROTO_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TR_PEERS_MAX = 4096, TR_PEER_NAME = 255 };

struct tr_peers;

struct tr_peers *tr_peers_create(void); /* NULL: no memory */
void tr_peers_destroy(struct tr_peers *p);

/* The number of the one who spoke; -1 when the name is longer than TR_PEER_NAME. user: any number
 * that stands for its key, or -1. */
int64_t tr_peers_hear(struct tr_peers *p, const void *name, size_t size, int64_t user);

/* Its name, borrowed until the next call but `user`; NULL when it is forgotten. */
const void *tr_peers_name(const struct tr_peers *p, int64_t peer, size_t *size);
int64_t tr_peers_user(const struct tr_peers *p, int64_t peer); /* or -1 */

void tr_peers_keep(struct tr_peers *p, int64_t peer);
void tr_peers_forget(struct tr_peers *p, int64_t peer);

#endif

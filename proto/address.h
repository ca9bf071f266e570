/* address.h - where a wire listens, and which of these places may be used.
 *
 * The data. One line of text:
 *     tcp://127.0.0.1:PORT, tcp://[::1]:PORT   this host only; port 0 when listening: any free one
 *     ipc://PATH                               this host only
 *     tcp://HOST:PORT                          HOST is a name, an IPv4 address or [an IPv6 one]
 *                                              or, to listen on every interface, a star
 * Behind it may stand "#" and the listener's public key in 64 hexadecimal digits: whoever is told
 * such an address needs to be told no key. tr_wire_listen gives it so when it has keys.
 *
 * Invariants.
 *   1. Without keys only this host may be reached, and only as numbers: a name could be anywhere.
 *   2. A name is an IPv4 address if it has one, else an IPv6 address. */
#ifndef TR_PROTO_ADDRESS_H
#define TR_PROTO_ADDRESS_H

#include "proto/keys.h"

enum { TR_ADDRESS_BYTES = 384 };

struct tr_address {
    char place[TR_ADDRESS_BYTES]; /* what ZeroMQ is told: no key */
    char host[TR_ADDRESS_BYTES];  /* of tcp, without brackets */
    char numbers[64];             /* of a name that was looked up: the place without it */
    bool tcp, loopback, every;    /* every: a star, 0.0.0.0 or [::] */
    bool named;                   /* host is a name */
    bool six;                     /* of tcp: IPv6 is needed */
    int port;
    bool has_key;
    struct tr_curve key;
};

/* TR_BADARG in words for what is no address, or needs keys and has none. */
enum tr_status tr_address_parse(const char *address, bool keys, struct tr_address *out,
                                struct tr_err *err);

/* Looks a name up and sets `six` and `numbers`; other addresses are left as they are. The
 * resolver's own deadlines hold. TR_BADARG when there is no such host. */
enum tr_status tr_address_resolve(struct tr_address *a, struct tr_err *err);

/* Where a process should listen whom others of a company should reach that met at `meeting`:
 * loopback if they met there, else the address of this host that `meeting` is reached from. Any
 * free port. out [TR_ADDRESS_BYTES]. */
enum tr_status tr_address_beside(const char *meeting, char *out, struct tr_err *err);

/* How others may reach a listener that ZeroMQ says is bound to `endpoint`: every interface becomes
 * this host's name, if that is an address that others can reach, or else loopback. key may be
 * NULL. out [TR_ADDRESS_BYTES]. */
enum tr_status tr_address_give(const char *endpoint, const struct tr_curve *key,
                               char *out, struct tr_err *err);

#endif

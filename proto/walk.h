/* walk.h - a first look at foreign MessagePack bytes, before anything is reserved for them.
 *
 * What it is for. msgpack-c reserves room for as many elements as an array's header claims: five
 * hostile bytes make it ask for gigabytes. So every envelope is walked once here, by our own
 * code and without memory, and only what passes is given to msgpack-c.
 *
 * The data. One envelope: `size` bytes that must hold exactly one object.
 *
 * Invariants.
 *   1. What passes is complete: no count exceeds the bytes that remain, nothing follows the object.
 *   2. Nesting is at most TR_WALK_DEPTH. Extension types are refused: we send none.
 *   3. The walk reads each byte at most once and allocates nothing. */
#ifndef TR_PROTO_WALK_H
#define TR_PROTO_WALK_H

#include <stddef.h>

#include "core/base/err.h"

enum { TR_WALK_DEPTH = 8 };

/* A part of the walked bytes. Borrows them. */
struct tr_slice {
    const unsigned char *at; /* NULL: not there */
    size_t size;
};

/* TR_BADMSG says at which byte and why. */
enum tr_status tr_walk_check(const void *bytes, size_t size, struct tr_err *err);

/* The bytes of one value of the outermost map. The bytes have passed tr_walk_check. *out is
 * empty when the object is no map or lacks the key; of two equal keys the first counts. */
void tr_walk_find(const void *bytes, size_t size, const char *key, struct tr_slice *out);

#endif

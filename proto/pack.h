/* pack.h - the few words of msgpack-c that this folder's files share.
 *
 * What it is for. Packing into a bounded buffer such that a value that found no room is not
 * forgotten, and finding a key in a map. Inside proto/ only: others need no msgpack.h.
 *
 * Invariants.
 *   1. A buffer that once had no room takes nothing more, and tr_pack_full says so. */
#ifndef TR_PROTO_PACK_H
#define TR_PROTO_PACK_H

#include <msgpack.h>
#include <stdbool.h>

#include "core/base/buf.h"

/* Starts a packer that writes into buf (initialised by the callee with limit). */
void tr_pack_start(msgpack_packer *pk, struct tr_buf *buf, size_t limit);
void tr_pack_text(msgpack_packer *pk, const char *text);
void tr_pack_raw(struct tr_buf *buf, const void *bytes, size_t size);
bool tr_pack_full(const struct tr_buf *buf, size_t limit);

/* The first value under a key of a map, or NULL. */
const msgpack_object *tr_map_find(const msgpack_object *map, const char *key);

#endif

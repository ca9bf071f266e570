/* source.h - a thread that gives weights to those who ask for them chunk by chunk.
 *
 * Takes `get`: a digest, and which chunks of it, or the list of their digests.
 * Gives `chunk` messages, one each.
 *
 * What it is for. A policy, or anybody who has its weights, lets others have them without stopping its
 * work. It has mappings of its own of the packed files (core/model/packed.h), so what the owner
 * does with its models is its own affair.
 *
 * Invariants.
 *   1. It serves peers in turn, a chunk at a time; what a peer does not read waits in a queue of a few
 *      chunks, and what it asks for beyond a few gets is not heard.
 *   2. Weights that it does not have are answered with `of` 0.
 *   3. add and remove may be called by any thread. */
#ifndef TR_ACTORS_SOURCE_H
#define TR_ACTORS_SOURCE_H

#include "actors/shelf.h"
#include "proto/wire.h"

struct tr_source;

/* keys: as tr_wire_listen takes them. */
enum tr_status tr_source_open(const char *address, const struct tr_keys *keys,
                              struct tr_source **out, struct tr_err *err);
const char *tr_source_address(const struct tr_source *s); /* where others may ask */

/* A packed model; it is opened once more. The oldest goes when there are too many. */
enum tr_status tr_source_add(struct tr_source *s, const struct tr_model *m,
                             struct tr_err *err);
void tr_source_remove(struct tr_source *s, const struct tr_digest *digest);
void tr_source_close(struct tr_source *s);

#endif

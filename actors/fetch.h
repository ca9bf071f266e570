/* fetch.h - weights over the wire, from whoever holds them (proto/step4_weights.h).
 *
 * Takes a digest and the addresses of those who offer it.
 * Gives the weights, every chunk of which was verified before it was used.
 *
 * What it is for. Rollouts on other hosts. First the list of all chunks' digests, which must make the
 * wanted digest; then the chunks, a few in flight. What one source gave is kept when another has to
 * be asked for the rest, since a verified chunk is right whoever sent it.
 *
 * Invariants.
 *   1. Nothing is put into the weights that is not, by SHA-256, what the wanted digest covers.
 *   2. A source that sends nothing good for `silence_seconds`, goes away, or sends wrong bytes several
 *      times is given up; with the last one the fetch ends with TR_GONE. Nothing waits longer.
 *   3. A chunk that does not come is asked for again. */
#ifndef TR_ACTORS_FETCH_H
#define TR_ACTORS_FETCH_H

#include <stdatomic.h>

#include "core/model/weights.h"
#include "proto/keys.h"

struct tr_fetch_set {
    const struct tr_keys *keys; /* borrowed; NULL: none */
    double retry_seconds; /* without anything from a source, chunks are asked again */
    double silence_seconds;
    int64_t window; /* chunks in flight */
};

/* 5 s, 20 s, 6 chunks. */
struct tr_fetch_set tr_fetch_defaults(const struct tr_keys *keys);

/* Keeps the connection to the last source, for the next fetch. Belongs to one thread. */
struct tr_fetcher;
enum tr_status tr_fetcher_create(const struct tr_fetch_set *set, struct tr_fetcher **out,
                                 struct tr_err *err);
void tr_fetcher_destroy(struct tr_fetcher *f);

/* sources: addresses with a space between, asked in this order. Fills `into` and chunk [chunks of
 * into], their digests. `stop` ends it early. */
enum tr_status tr_fetch(struct tr_fetcher *f, const char *sources,
                        const struct tr_digest *want, const atomic_bool *stop,
                        struct tr_weights *into, struct tr_digest *chunk,
                        struct tr_err *err);

#endif

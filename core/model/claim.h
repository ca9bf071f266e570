/* claim.h - buffers counted and taken by the same walk.
 *
 * What it is for. A step allocates nothing, so a trunk, a head or a KV cache takes all its
 * buffers at create from one arena, and the memory estimate must know that arena's size before
 * it exists. One function walks the list of buffers; run without an arena it counts, run with
 * one it takes. The two cannot drift apart.
 *
 * Invariants.
 *   1. After a walk with an arena of `bytes` from a walk without one, every pointer is set. */
#ifndef TR_MODEL_CLAIM_H
#define TR_MODEL_CLAIM_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/arena.h"

struct tr_claim {
    struct tr_arena *arena; /* borrows; NULL counts only */
    size_t bytes;           /* counted so far */
};

/* The next `bytes`, aligned to 64; NULL while counting. */
void *tr_claim_bytes(struct tr_claim *c, size_t bytes);
float *tr_claim_floats(struct tr_claim *c, int64_t n);

#endif

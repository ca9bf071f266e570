/* attention_ops.h - the tiles of attention, one row of functions for each instruction set.
 *
 * What it is for. kernels/attention.c cuts a call into tiles and gives them to the team; what a
 * tile computes is written once in kernels/attention_scalar.c, which is the specification in C,
 * and once for vectors in kernels/x86/attention_lanes.c. Both give the same bits.
 *
 * The data. A tile is a rectangle of (query heads of one kv head) x (queries of one span), in
 * the backward pass with a range of keys besides. Positions and keys count from the start of
 * the sequence, so query position p sees the keys 0 .. p.
 *
 * Invariants.
 *   1. An output element belongs to exactly one tile, and its bits do not depend on how the
 *      call was cut. A backward tile that writes dq therefore has all keys of its queries, one
 *      that writes dk and dv all heads of the group and all queries.
 *   2. queries * heads <= TR_TILE_ROWS in the forward pass; keys begins at a multiple of
 *      TR_PAGE, and in a tile of the backward pass that writes dq, so does query.
 *   3. scratch is TR_SCRATCH_BYTES, aligned to 64. */
#ifndef TR_KERNELS_ATTENTION_OPS_H
#define TR_KERNELS_ATTENTION_OPS_H

#include "kernels/attention.h"

enum {
    TR_TILE_ROWS = 48
}; /* rows of a forward tile: what stays in a 32 KiB cache with a
                             * block of 64 keys of width 64 */

struct tr_attention_tile {
    const struct tr_attention *a;
    const struct tr_span *span;
    int64_t offset;         /* floats from a page's start to the block of this kv head */
    int64_t head, heads;    /* query heads head .. head+heads-1 */
    int64_t query, queries; /* positions query .. query+queries-1 of the sequence */
    int64_t key, keys;      /* backward only */
};

/* The arrays of a backward pass. In a tile dq is NULL, or dk and dv are, when it has no part
 * in them. */
struct tr_attention_grad {
    const float *q, *o, *lse, *d_o; /* [T, H, D], lse [T, H] */
    float *dq;                      /* [T, H, D] */
    float *dk, *dv;                 /* [T, Kv, D] */
};

struct tr_attention_ops {
    void (*forward)(const struct tr_attention_tile *t, const float *q, float *o,
                    float *lse, void *scratch);
    void (*backward)(const struct tr_attention_tile *t, const struct tr_attention_grad *g,
                     void *scratch);
};

#endif

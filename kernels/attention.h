/* attention.h - causal grouped-query attention over packed sequences and paged keys.
 *
 * The data. Queries q [T, H, D]: the new tokens of all sequences, end to end. Keys and values
 * live in pages of 64 positions. A page holds, at `offset` floats from its start and for each
 * of the Kv kv heads in turn, a block of 2 * 64 * D floats:
 *     keys   [64/16][D][16]   16 keys side by side, so that a score's chain over d is vertical
 *     values [64][D]
 * `offset` selects the layer (a KV cache page holds all layers; a training buffer is laid out
 * the same way). Position p of a sequence is in its page p / 64. Places of a page past a query
 * may hold anything (zero, later tokens, another sequence's leftovers, NaN): they are read at
 * most to be thrown away, and no bit of a result depends on them.
 *
 * The order, for one query at position p of its sequence and one query head h (kv head
 * h / (H / Kv)):
 *   s_k  = (chain over d ascending of fmaf(q_d, K[k]_d, acc), from +0) * scale, k = 0 .. p
 *   keys go in blocks of 64 from position 0 of the sequence; for each block in turn:
 *     m' = max(m, largest s_k of the block), alpha = tr_expf(m - m') (m = -Inf: alpha = 0)
 *     l_j *= alpha (16 lanes), o_d *= alpha
 *     for k ascending in the block: e = tr_expf(s_k - m'); l_{k mod 16} += e;
 *                                   o_d = fmaf(e, V[k]_d, o_d)
 *   L = fold of l (8, 4, 2, 1);  o_d = o_d / L;  lse = m + tr_logf(L)
 * Prefill, decode and training all do exactly this, so they agree to the bit.
 *
 * Backward, P_k = tr_expf(s_k - lse):
 *   delta = sum of do_d * o_d (16 lanes over d, fmaf, folded)
 *   dP_k  = chain over d of fmaf(do_d, V[k]_d, acc);  ds_k = (P_k * (dP_k - delta)) * scale
 *   dq_d  = chain over keys ascending of fmaf(ds_k, K[k]_d, acc), from +0
 *   dK[k]_d = chain over (query head of the group, then query position >= k, ascending) of
 *             fmaf(ds_k, q_d, acc), from +0;   dV[k]_d the same with P_k and do_d
 *
 * Invariants.
 *   1. A row of o and lse depends on its query and on keys and values 0 .. p of its sequence.
 *   2. Every row of the kernel table and every number of threads gives the same bits.
 *   3. However a sequence is cut into spans (prefill, chunks, token by token), and whichever
 *      pages it has, the bits are the same. */
#ifndef TR_KERNELS_ATTENTION_H
#define TR_KERNELS_ATTENTION_H

#include <stdint.h>

#include "kernels/exec.h"

enum { TR_PAGE = 64 }; /* positions in a page */

struct tr_attention {
    int64_t H, Kv, D; /* query heads, kv heads, head width (any; D <= 512) */
    float scale;      /* 1 / sqrt(D) */
};

/* The new tokens of one sequence: rows row .. row+count-1 of q are positions
 * first .. first+count-1; keys 0 .. first+count-1 are in `page`. */
struct tr_span {
    float *const *page; /* borrows: ceil((first + count) / 64) pages */
    int64_t row, first, count;
};

/* Floats of one layer in one page: Kv * 2 * 64 * D. */
int64_t tr_page_floats(const struct tr_attention *a);

/* Writes rows k, v [T, Kv, D] (k already rotated) into the pages of the S spans. */
void tr_kv_store(const struct tr_exec *ex, const struct tr_attention *a,
                 const struct tr_span *span, int64_t S, int64_t offset, const float *k,
                 const float *v);

/* o [T, H, D]; lse [T, H] or NULL. Keys must have been stored. */
void tr_attention_forward(const struct tr_exec *ex, const struct tr_attention *a,
                          const struct tr_span *span, int64_t S, int64_t offset,
                          const float *q, float *o, float *lse);

/* Spans with first = 0 only. d_o, o, q, dq [T, H, D]; dk, dv [T, Kv, D] (overwritten). */
void tr_attention_backward(const struct tr_exec *ex, const struct tr_attention *a,
                           const struct tr_span *span, int64_t S, int64_t offset,
                           const float *q, const float *o, const float *lse,
                           const float *d_o, float *dq, float *dk, float *dv);

#endif

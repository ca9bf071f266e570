/* product.h - what a tile of a matrix product does, one row of functions per instruction set.
 *
 * What it is for. The three products of a linear layer are one computation seen from three
 * sides (linear.c says which):
 *     C[r][j] = chain over d ascending of fmaf(A[r][d], B[d][j], acc)
 * with j across the lanes of a vector, so that no chain is ever cut. product.c cuts, blocks and packs;
 * the functions here run strips: some rows of A times some panels of B, over a range of d.
 *
 * The data of a strip.
 *   A    direct: element (r, d) at a[r * a_row + d]; packed: at a[d * rows + r]
 *   B    panels of 16 lanes, element (p, d, lane) at b[p * b_panel + d * 16 + lane]
 *   C    element (r, p, lane) at c[r * c_row + p * c_panel + lane]
 *
 * Invariants.
 *   1. acc starts from +0, or from C where `more` is set; C is acc at the end. A chain may be
 *      run in any number of strips with the bits of one.
 *   2. All of A, B and C that the shape names is read or written, and nothing else (B may be
 *      prefetched from beyond its end). No alignment is asked for but that of a float. */
#ifndef TR_KERNELS_PRODUCT_H
#define TR_KERNELS_PRODUCT_H

#include <stdint.h>

#include "kernels/kernels.h"

enum { TR_LANES = 16 }; /* outputs in a panel */

struct tr_strip {
    int rows;        /* 1 .. ops->rows */
    int64_t panels;  /* >= 1 */
    int64_t depth;   /* >= 0 */
    const float *a;  /* borrows, as B and C */
    int64_t a_row;   /* direct only */
    const void *b;   /* f32, or bf16 for direct_bf16 */
    int64_t b_panel; /* elements */
    float *c;
    int64_t c_row, c_panel;
    int more;

    /* What later strips will read, brought nearer on the way: `soon_lines` lines of 64 bytes
     * from b_soon on, and the next strip's rows of C. NULL: none. */
    const void *b_soon;
    int64_t soon_lines;
    const float *c_soon;
};

struct tr_product_ops {
    int rows;   /* the most rows of a strip */
    int panels; /* how many panels a packed strip wants, for full speed */
    const unsigned char *together; /* [rows + 1] and a direct strip of that many rows */
    void (*direct)(const struct tr_strip *s);
    void (*direct_bf16)(const struct tr_strip *s);
    void (*packed)(const struct tr_strip *s);

    /* out[d * rows + r] = a[r * a_row + d], d < depth, r < rows. */
    void (*pack)(const float *a, int64_t a_row, int rows, int64_t depth, float *out);
    /* out[j * 16 + i] = w[i * 16 + j]: a block of a panel, inputs and outputs exchanged. */
    void (*turn)(const float *w, float *out);
    /* n bf16 numbers as f32. */
    void (*widen)(const uint16_t *x, int64_t n, float *y);
};

struct tr_exec;
struct tr_product; /* blocks.h */

/* Cuts the product and has the team compute it. q's plan is filled in. */
void tr_product_run(const struct tr_exec *ex, struct tr_product *q);

#endif

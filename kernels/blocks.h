/* blocks.h - the operands of one product, and how blocks of them are laid out for strips.
 *
 * What it is for. linear.c states a product as a struct tr_product; product.c cuts it into tiles
 * and runs strips (product.h). Between them, the functions here bring blocks of B and A into
 * the layout of strips, in the scratch of the thread that will use them.
 *
 * The data. C is [rows, width], each element a chain over depth; its lanes come in panels of 16.
 *     A        element (r, d) at a[r * a_row + d], or at a[d * a_row + r] if a_turned
 *     B        f32 panels as strips want them (b_make NULL), or what b_make makes them from
 *     B block  [panels][TR_DEPTH][16]
 *     A block  one strip after the other, [depth][rows of the strip] each */
#ifndef TR_KERNELS_BLOCKS_H
#define TR_KERNELS_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/product.h"

enum {
    TR_DEPTH =
        384, /* of a block, at most: a panel of it, 24 KiB, stays in a first-level cache */
    TR_GROUP =
        4, /* panels that are turned or copied together: 256 bytes of a row of dy */
};

struct tr_product {
    const struct tr_product_ops *ops;
    int64_t rows, width, depth; /* C is [rows, width] */

    const float *a;
    int64_t a_row;
    bool a_turned; /* element (r, d) at a[d * a_row + r] instead of a[r * a_row + d] */

    const void *b;
    int64_t b_stride; /* elements: to the next panel, or of a row */
    bool b_bf16;
    /* Makes panels p .. p + panels - 1 of d .. d + depth - 1 as a B block, group panels
     * at a time; NULL where B is panels of f32 already. */
    void (*b_make)(const struct tr_product *q, int64_t p, int64_t panels, int64_t d,
                   int64_t depth, float *out);
    int group;

    float *c;
    int64_t c_row, c_panel;
    bool packed;       /* A is packed, strip by strip; otherwise read where it lies */
    bool more;         /* C's chains are continued */
    const float *bias; /* [width] or NULL, added to the finished C */

    int64_t rows_step, panels_step; /* how C is cut into tiles */
    int64_t block;                  /* of depth: 16 i <= TR_DEPTH */
};

/* B blocks: panels p .. p + panels - 1 of d .. d + depth - 1, from
 *   widen  bf16 panels, b_stride apart
 *   turn   W's panels, for dx: lanes are W's inputs, depth its outputs
 *   copy   rows of dy, b_stride apart, for dw: lanes are dy's columns */
void tr_b_widen(const struct tr_product *q, int64_t p, int64_t panels, int64_t d,
                int64_t depth, float *out);
void tr_b_turn(const struct tr_product *q, int64_t p, int64_t panels, int64_t d,
               int64_t depth, float *out);
void tr_b_copy(const struct tr_product *q, int64_t p, int64_t panels, int64_t d,
               int64_t depth, float *out);

/* How rows are cut into strips of nearly equal size: `longer` strips of least + 1 rows, then
 * strips of `least`. Equal, because a strip of one or two rows costs nearly as much as one of
 * six. */
struct tr_cuts {
    int64_t from, count, least, longer;
};

struct tr_cuts tr_cuts_of(int64_t from, int64_t to, int64_t most);

/* The first row of strip i. */
static inline int64_t tr_strip_at(const struct tr_cuts *c, int64_t i)
{
    return c->from + i * c->least + (i < c->longer ? i : c->longer);
}

/* A blocks: all strips of c, d .. d + depth - 1; pack for rows, copy for a_turned. */
void tr_a_pack(const struct tr_product *q, const struct tr_cuts *c, int64_t d,
               int64_t depth, float *out);
void tr_a_copy(const struct tr_product *q, const struct tr_cuts *c, int64_t d,
               int64_t depth, float *out);

#endif

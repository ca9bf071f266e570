/* linear.c - one computation seen from three sides, blocked for the caches.
 *
 * All three products are C[r][j] = chain over d of fmaf(A[r][d], B[d][j], acc):
 *
 *              rows r   lanes j   depth d   A                  B                      C
 *     forward  m        n         k         x, row by row      W's panels as they are y
 *     dx       m        k         n         dy, row by row     W's 16x16 blocks,      dx
 *                                                              turned in scratch
 *     dw       k        n         m         x, column by       dy's columns, 16 at    dW's
 *                                           column             a time, in scratch     panels
 *
 * A job for the team is this C cut into rectangles of `rows_step` rows and `panels_step`
 * panels (of 16 lanes). Where the cuts are may depend on threads and shape: no chain crosses a
 * cut. Within a rectangle the depth goes in blocks of DEPTH, each continuing the partial sums
 * that C holds, so that a block of B (16 KiB) stays in the first-level cache and a block of A
 * in the second, both read by every strip of rows or panels that needs them.
 *
 * Scratch of a thread:   [ B block | A block | edge ]
 *     B block  turned, copied or widened panels, [panels][DEPTH][16]
 *     A block  packed rows, one strip of ops->rows after the other, [DEPTH][rows] each
 *     edge     the C of a strip whose panel is not full (N or K no multiple of 16) */
#include "kernels/linear.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "kernels/blas.h"
#include "kernels/product.h"

enum {
    DEPTH = 256,    /* of a block */
    ROWS = 192,     /* of an A block */
    PANELS = 32,    /* of a B block that several A blocks share */
    EDGE_ROWS = 16, /* no row of kernels has longer strips */
    B_FLOATS = PANELS * DEPTH * TR_LANES,
    A_FLOATS = ROWS * DEPTH,
    FEW = 40, /* rows up to here are read where they are, unpacked */
};

_Static_assert((B_FLOATS + A_FLOATS + EDGE_ROWS * TR_LANES) * (int)sizeof(float) <=
                   TR_SCRATCH_BYTES,
               "the blocks fit in a thread's scratch");

struct product {
    const struct tr_product_ops *ops;
    int64_t rows, width, depth; /* C is [rows, width] */

    const float *a;
    int64_t a_row;
    bool a_turned; /* element (r, d) at a[d * a_row + r] instead of a[r * a_row + d] */

    const void *b;
    int64_t b_stride; /* elements: to the next panel, or of a row */
    bool b_bf16;
    /* Makes panels p .. p + panels - 1 of d .. d + depth - 1 as [panels][DEPTH][16]; NULL where B
     * is panels of f32 already. */
    void (*b_make)(const struct product *q, int64_t p, int64_t panels, int64_t d,
                   int64_t depth, float *out);

    float *c;
    int64_t c_row, c_panel;
    bool more;         /* C's chains are continued */
    const float *bias; /* [width] or NULL, added to the finished C */

    int64_t rows_step, panels_step; /* how C is cut into tiles */
};

struct range {
    int64_t from, to;
};

struct scratch {
    float *b, *a, *edge;
};

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- B blocks ---- */

static void b_widen(const struct product *q, int64_t p, int64_t panels, int64_t d,
                    int64_t depth, float *out)
{
    const uint16_t *b = q->b;
    for (int64_t i = 0; i < panels; i++)
        q->ops->widen(b + (p + i) * q->b_stride + d * TR_LANES, depth * TR_LANES,
                      out + i * DEPTH * TR_LANES);
}

/* dx: lanes are W's inputs, depth its outputs. W's block of outputs 16i.. and inputs 16p.. is
 * 16 rows [input][output] of panel i. */
static void b_turn(const struct product *q, int64_t p, int64_t panels, int64_t d,
                   int64_t depth, float *out)
{
    float block[TR_LANES * TR_LANES] = {0}, wide[TR_LANES * TR_LANES];
    for (int64_t j = p; j < p + panels; j++) {
        const int64_t inputs = at_most(q->width - j * TR_LANES, TR_LANES);
        for (int64_t i = 0; i < depth; i += TR_LANES) {
            const int64_t at = (d + i) / TR_LANES * q->b_stride + j * TR_LANES * TR_LANES;
            const float *w = (const float *)q->b + at;
            if (q->b_bf16) {
                q->ops->widen((const uint16_t *)q->b + at, inputs * TR_LANES, wide);
                w = wide;
            }
            if (inputs < TR_LANES) {
                memcpy(block, w, (size_t)inputs * TR_LANES * sizeof *w);
                w = block;
            }
            q->ops->turn(w, out + (j - p) * DEPTH * TR_LANES + i * TR_LANES);
        }
    }
}

/* dw: lanes are dy's columns. */
static void b_copy(const struct product *q, int64_t p, int64_t panels, int64_t d,
                   int64_t depth, float *out)
{
    const float *b = q->b;
    for (int64_t i = 0; i < panels; i++) {
        float *to = out + i * DEPTH * TR_LANES;
        const float *from = b + d * q->b_stride + (p + i) * TR_LANES;
        const int64_t lanes = at_most(q->width - (p + i) * TR_LANES, TR_LANES);
        if (lanes < TR_LANES) memset(to, 0, (size_t)(depth * TR_LANES) * sizeof *to);
        for (int64_t k = 0; k < depth; k++)
            memcpy(to + k * TR_LANES, from + k * q->b_stride, (size_t)lanes * sizeof *to);
    }
}

/* ---- A blocks ---- */

/* Rows r0 .. r1-1 go in strips of nearly equal size: strip i of g begins at r(i). Equal, because
 * a strip of one or two rows costs nearly as much as one of six. */
static int64_t strip_at(struct range r, int64_t strips, int64_t i)
{
    return r.from + (r.to - r.from) * i / strips;
}

static void a_pack(const struct product *q, struct range r, int64_t strips, int64_t d,
                   int64_t depth, float *out)
{
    for (int64_t i = 0; i < strips; i++) {
        const int64_t row = strip_at(r, strips, i);
        const int rows = (int)(strip_at(r, strips, i + 1) - row);
        if (q->a_turned)
            for (int64_t k = 0; k < depth; k++)
                memcpy(out + k * rows, q->a + (d + k) * q->a_row + row,
                       (size_t)rows * sizeof *out);
        else
            q->ops->pack(q->a + row * q->a_row + d, q->a_row, rows, depth, out);
        out += rows * depth;
    }
}

/* ---- strips ---- */

/* One strip whose panels may include the last, half-empty one. */
static void run_strip(const struct product *q, void (*fn)(const struct tr_strip *),
                      struct tr_strip s, int64_t row, int64_t panel,
                      const struct scratch *t)
{
    float *c = q->c + row * q->c_row + panel * q->c_panel;
    const int64_t lanes = q->width - (panel + s.panels - 1) * TR_LANES; /* of the last */
    const int64_t full = s.panels - (lanes < TR_LANES);
    s.c = c;
    s.c_row = q->c_row;
    s.c_panel = q->c_panel;
    if (full < s.panels) {
        struct tr_strip last = s;
        const size_t bytes = (size_t)lanes * sizeof *c;
        const size_t b_size =
            fn == q->ops->direct_bf16 ? sizeof(uint16_t) : sizeof(float);
        c += full * q->c_panel;
        last.panels = 1;
        last.b = (const char *)s.b + (size_t)(full * s.b_panel) * b_size;
        last.c = t->edge;
        last.c_row = TR_LANES;
        memset(t->edge, 0, (size_t)s.rows * TR_LANES * sizeof *c);
        for (int r = 0; r < s.rows && s.more; r++)
            memcpy(t->edge + (ptrdiff_t)r * TR_LANES, c + r * q->c_row, bytes);
        fn(&last);
        for (int r = 0; r < s.rows; r++)
            memcpy(c + r * q->c_row, t->edge + (ptrdiff_t)r * TR_LANES, bytes);
        s.panels = full;
    }
    if (s.panels) fn(&s);
}

static void add_bias(const struct product *q, struct range r, struct range p)
{
    const int64_t from = p.from * TR_LANES, to = at_most(p.to * TR_LANES, q->width);
    for (int64_t i = r.from; i < r.to; i++)
        for (int64_t j = from; j < to; j++) q->c[i * q->c_row + j] += q->bias[j];
}

/* ---- tiles ---- */

/* All rows in one strip: B is read once, where it lies, several panels side by side. */
static void one_strip(const struct product *q, struct range r, struct range p,
                      const struct scratch *t)
{
    const int64_t rows = r.to - r.from;
    const int64_t block = DEPTH * 4;
    const size_t b_size = q->b_bf16 ? sizeof(uint16_t) : sizeof(float);
    int64_t d = 0;
    do { /* once even when the depth is 0: then C becomes +0 */
        struct tr_strip s = {.rows = (int)rows,
                             .panels = p.to - p.from,
                             .depth = at_most(q->depth - d, block),
                             .a = q->a + r.from * q->a_row + d,
                             .a_row = q->a_row,
                             .b_panel = q->b_stride,
                             .more = q->more || d > 0};
        s.b = (const char *)q->b + (size_t)(p.from * q->b_stride + d * TR_LANES) * b_size;
        run_strip(q, q->b_bf16 ? q->ops->direct_bf16 : q->ops->direct, s, r.from, p.from,
                  t);
        d += block;
    } while (d < q->depth);
}

/* A block of rows, all panels of the range, one block of depth. b is NULL, or what b_make made
 * for the whole range. */
static void rows_block(const struct product *q, struct range r, struct range p, int64_t d,
                       const float *made, const struct scratch *t)
{
    const int64_t depth = at_most(q->depth - d, DEPTH);
    const int64_t strips = ceil_div(r.to - r.from, q->ops->rows);
    const bool packed = q->a_turned || r.to - r.from > FEW;
    if (packed) a_pack(q, r, strips, d, depth, t->a);
    for (int64_t j = p.from; j < p.to; j += q->ops->panels) {
        const int64_t panels = at_most(p.to - j, q->ops->panels);
        const float *b = made ? made + (j - p.from) * DEPTH * TR_LANES : t->b;
        int64_t b_panel = DEPTH * TR_LANES;
        if (!q->b_make) {
            b = (const float *)q->b + j * q->b_stride + d * TR_LANES;
            b_panel = q->b_stride;
        } else if (!made) {
            q->b_make(q, j, panels, d, depth, t->b);
        }
        for (int64_t i = 0; i < strips; i++) {
            const int64_t row = strip_at(r, strips, i);
            struct tr_strip s = {.rows = (int)(strip_at(r, strips, i + 1) - row),
                                 .panels = panels,
                                 .depth = depth,
                                 .a = q->a + row * q->a_row + d,
                                 .a_row = q->a_row,
                                 .b = b,
                                 .b_panel = b_panel,
                                 .more = q->more || d > 0};
            if (packed) s.a = t->a + (row - r.from) * depth;
            run_strip(q, packed ? q->ops->packed : q->ops->direct, s, row, j, t);
        }
    }
}

static void blocks(const struct product *q, struct range r, struct range p,
                   const struct scratch *t)
{
    const int64_t rows = r.to - r.from, parts = ceil_div(rows, ROWS);
    const bool shared =
        q->b_make && parts > 1; /* several blocks of rows read the same B */
    int64_t d = 0;
    do {
        if (shared)
            q->b_make(q, p.from, p.to - p.from, d, at_most(q->depth - d, DEPTH), t->b);
        for (int64_t i = 0; i < parts; i++) {
            const struct range part = {r.from + rows * i / parts,
                                       r.from + rows * (i + 1) / parts};
            rows_block(q, part, p, d, shared ? t->b : NULL, t);
        }
        d += DEPTH;
    } while (d < q->depth);
}

static void product_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct product *q = ctx;
    const int64_t panels = ceil_div(q->width, TR_LANES);
    const int64_t columns = ceil_div(panels, q->panels_step);
    const int64_t i = tile / columns, j = tile % columns;
    const struct range r = {i * q->rows_step, at_most((i + 1) * q->rows_step, q->rows)};
    const struct range p = {j * q->panels_step,
                            at_most((j + 1) * q->panels_step, panels)};
    float *base = scratch;
    const struct scratch t = {base, base + B_FLOATS, base + B_FLOATS + A_FLOATS};
    if (r.to - r.from <= q->ops->rows && !q->a_turned && (!q->b_make || q->b_bf16) &&
        q->b_make != b_turn)
        one_strip(q, r, p, &t);
    else
        blocks(q, r, p, &t);
    if (q->bias) add_bias(q, r, p);
}

/* Cuts C so that each thread can claim several tiles, none so small that packing its share of
 * A (or making its share of B) outweighs the multiplications. */
static void cut(struct product *q, int threads)
{
    const int64_t panels = ceil_div(q->width, TR_LANES);
    q->rows_step = at_most(q->rows, ROWS);
    q->panels_step = 4;
    while (q->panels_step < PANELS &&
           ceil_div(panels, q->panels_step * 2) * ceil_div(q->rows, q->rows_step) >=
               (int64_t)threads * 6)
        q->panels_step *= 2;
}

static void run(const struct tr_exec *ex, struct product *q)
{
    if (q->rows == 0 || q->width == 0 || (q->depth == 0 && q->more)) return;
    assert(q->ops->rows <= EDGE_ROWS);
    cut(q, tr_team_threads(ex->team));
    tr_team_run(ex->team,
                ceil_div(q->rows, q->rows_step) *
                    ceil_div(ceil_div(q->width, TR_LANES), q->panels_step),
                product_tile, q);
}

/* ---- the three sides ---- */

void tr_linear_forward(const struct tr_exec *ex, const float *x, int64_t M,
                       const struct tr_mat *W, const float *bias, float *y)
{
    assert(M >= 0 && W->math == ex->math);
    if (ex->math == TR_MATH_OPENBLAS) {
        tr_blas_forward(ex, x, M, W, bias, y);
        return;
    }
    struct product q = {.ops = ex->k->product,
                        .rows = M,
                        .width = W->N,
                        .depth = W->K,
                        .a = x,
                        .a_row = W->K,
                        .b = W->at,
                        .b_stride = W->K * TR_LANES,
                        .b_bf16 = W->dtype == TR_BF16,
                        .b_make = W->dtype == TR_BF16 ? b_widen : NULL,
                        .c = y,
                        .c_row = W->N,
                        .c_panel = TR_LANES,
                        .bias = bias};
    run(ex, &q);
}

void tr_linear_dx(const struct tr_exec *ex, const float *dy, int64_t M,
                  const struct tr_mat *W, int add, float *dx)
{
    assert(M >= 0 && W->math == ex->math);
    if (ex->math == TR_MATH_OPENBLAS) {
        tr_blas_dx(ex, dy, M, W, add, dx);
        return;
    }
    struct product q = {.ops = ex->k->product,
                        .rows = M,
                        .width = W->K,
                        .depth = W->N,
                        .a = dy,
                        .a_row = W->N,
                        .b = W->at,
                        .b_stride = W->K * TR_LANES,
                        .b_bf16 = W->dtype == TR_BF16,
                        .b_make = b_turn,
                        .c = dx,
                        .c_row = W->K,
                        .c_panel = TR_LANES,
                        .more = add != 0};
    run(ex, &q);
}

void tr_linear_dw(const struct tr_exec *ex, const float *dy, const float *x, int64_t M,
                  const struct tr_mat *dW)
{
    assert(M >= 0 && dW->math == ex->math && dW->dtype == TR_F32);
    if (ex->math == TR_MATH_OPENBLAS) {
        tr_blas_dw(ex, dy, x, M, dW);
        return;
    }
    struct product q = {.ops = ex->k->product,
                        .rows = dW->K,
                        .width = dW->N,
                        .depth = M,
                        .a = x,
                        .a_row = dW->K,
                        .a_turned = true,
                        .b = dy,
                        .b_stride = dW->N,
                        .b_make = b_copy,
                        .c = dW->at,
                        .c_row = TR_LANES,
                        .c_panel = dW->K * TR_LANES,
                        .more = true};
    run(ex, &q);
}

enum { COLUMNS = 256 }; /* of a tile of tr_linear_db */

struct column_sum {
    const float *dy;
    int64_t M, N;
    float *db;
};

static void column_tile(void *ctx, int64_t tile, void *scratch)
{
    (void)scratch;
    const struct column_sum *s = ctx;
    const int64_t from = tile * COLUMNS, to = at_most(from + COLUMNS, s->N);
    for (int64_t m = 0; m < s->M; m++)
        for (int64_t n = from; n < to; n++) s->db[n] += s->dy[m * s->N + n];
}

void tr_linear_db(const struct tr_exec *ex, const float *dy, int64_t M, int64_t N,
                  float *db)
{
    struct column_sum s = {dy, M, N, db};
    tr_team_run(ex->team, ceil_div(N, COLUMNS), column_tile, &s);
}

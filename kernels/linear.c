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
 * cut. Within a rectangle the depth goes in blocks of at most DEPTH, each continuing the partial sums
 * that C holds, so that a panel of B (24 KiB) stays in the first-level cache and a block of A
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
    DEPTH = 384,    /* of a block, at most */
    ROWS = 576,     /* of an A block */
    PANELS = 64,    /* of a tile, at most */
    GROUP = 4,      /* of a B block that is turned or copied: 256 bytes of a row of dy */
    AHEAD = 20,     /* rows by which copying runs behind prefetching */
    EDGE_ROWS = 16, /* no row of kernels has longer strips */
    B_FLOATS = GROUP * DEPTH * TR_LANES,
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
    /* Makes panels p .. p + panels - 1 of d .. d + depth - 1 as [panels][DEPTH][16], group panels
     * at a time; NULL where B is panels of f32 already. */
    void (*b_make)(const struct product *q, int64_t p, int64_t panels, int64_t d,
                   int64_t depth, float *out);
    int group;

    float *c;
    int64_t c_row, c_panel;
    bool packed;       /* A is packed, strip by strip; otherwise read where it lies */
    bool more;         /* C's chains are continued */
    const float *bias; /* [width] or NULL, added to the finished C */

    int64_t rows_step, panels_step; /* how C is cut into tiles */
    int64_t block;                  /* of depth: 16 i <= DEPTH */
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

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Brings n floats nearer. For rows a stride apart, which the processor does not foresee. */
static void foresee(const float *at, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(at + i);
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
    for (int64_t i = 0; i < depth; i += TR_LANES) {
        for (int64_t j = p; j < p + panels; j++) {
            const int64_t inputs = at_most(q->width - j * TR_LANES, TR_LANES);
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
    const float *from = (const float *)q->b + d * q->b_stride + p * TR_LANES;
    const int64_t full = at_most(panels, q->width / TR_LANES - p);
    const int64_t rest = full < panels ? q->width % TR_LANES : 0;
    for (int64_t k = 0; k < depth; k++, from += q->b_stride, out += TR_LANES) {
        int64_t i = 0;
        if (k + AHEAD < depth) foresee(from + AHEAD * q->b_stride, full * TR_LANES);
        for (; i < full; i++) /* a constant size: a few moves */
            memcpy(out + i * DEPTH * TR_LANES, from + i * TR_LANES,
                   TR_LANES * sizeof *out);
        if (rest) {
            float *to = out + i * DEPTH * TR_LANES;
            memset(to, 0, TR_LANES * sizeof *to);
            memcpy(to, from + i * TR_LANES, (size_t)rest * sizeof *to);
        }
    }
}

/* ---- A blocks ---- */

/* Rows from .. of a tile in strips of nearly equal size: `longer` strips of least + 1 rows, then
 * strips of `least`. Equal, because a strip of one or two rows costs nearly as much as one of
 * six. */
struct cuts {
    int64_t from, count, least, longer;
};

static struct cuts cuts_of(const struct product *q, struct range r)
{
    const int64_t rows = r.to - r.from, count = ceil_div(rows, q->ops->rows);
    return (struct cuts){r.from, count, rows / count, rows % count};
}

/* The first row of strip i. */
static int64_t strip_at(const struct cuts *c, int64_t i)
{
    return c->from + i * c->least + at_most(i, c->longer);
}

/* A's block is [strip][depth][rows of the strip]. */
static void a_pack(const struct product *q, const struct cuts *c, int64_t d,
                   int64_t depth, float *out)
{
    for (int64_t i = 0; i < c->count; i++) {
        const int64_t row = strip_at(c, i), next = strip_at(c, i + 1);
        q->ops->pack(q->a + row * q->a_row + d, q->a_row, (int)(next - row), depth,
                     out + (row - c->from) * depth);
    }
}

/* n floats; of constant size where it is a full strip of some row of kernels, or one less. */
static void copy_few(const float *from, int64_t n, float *to)
{
    if (n == 6)
        memcpy(to, from, 6 * sizeof *to);
    else if (n == 5)
        memcpy(to, from, 5 * sizeof *to);
    else if (n == 14)
        memcpy(to, from, 14 * sizeof *to);
    else if (n == 13)
        memcpy(to, from, 13 * sizeof *to);
    else
        for (int64_t i = 0; i < n; i++) to[i] = from[i];
}

/* dw: A's rows are x's columns. Several strips at once, because they share x's cache lines, and
 * with a stride of a power of two those would be gone before the next strip came. */
static void a_copy(const struct product *q, const struct cuts *c, int64_t d,
                   int64_t depth, float *out)
{
    enum { BESIDE = 8 };
    for (int64_t first = 0; first < c->count; first += BESIDE) {
        const int64_t n = at_most(c->count - first, BESIDE);
        int64_t row[BESIDE + 1] = {0};
        for (int64_t i = 0; i <= n; i++) row[i] = strip_at(c, first + i);
        for (int64_t k = 0; k < depth; k++) {
            const float *from = q->a + (d + k) * q->a_row;
            if (k + AHEAD < depth)
                foresee(from + AHEAD * q->a_row + row[0], row[n] - row[0]);
            for (int64_t i = 0; i < n; i++)
                copy_few(from + row[i], row[i + 1] - row[i],
                         out + (row[i] - c->from) * depth + k * (row[i + 1] - row[i]));
        }
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

/* So few rows that W's panels, f32 or bf16, are best read once and where they lie. */
static bool in_one_strip(const struct product *q)
{
    return q->rows <= q->ops->rows && !q->a_turned &&
           (!q->b_make || q->b_make == b_widen);
}

/* All rows in one strip: B is read once, where it lies, several panels side by side. */
static void one_strip(const struct product *q, struct range r, struct range p,
                      const struct scratch *t)
{
    const int64_t rows = r.to - r.from;
    const int64_t block = DEPTH * 4;
    const size_t b_size = q->b_bf16 ? sizeof(uint16_t) : sizeof(float);
    int64_t d = 0;
    do {
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

/* Where panel j of a block of depth lies in the memory of the weights. */
static const char *b_at(const struct product *q, int64_t j, int64_t d)
{
    const size_t size = q->b_bf16 ? sizeof(uint16_t) : sizeof(float);
    return (const char *)q->b + (size_t)(j * q->b_stride + d * TR_LANES) * size;
}

/* What the strips at work bring nearer for those to come, so that memory works while the
 * multipliers do: pieces of `lines` cache lines, `stride` bytes apart, `share` lines a strip. */
struct ahead {
    const char *at;
    int64_t stride, lines, line, left, share;
};

/* Panels of W as they lie in memory: those that come after panel j .. of a block of depth, or
 * the first of the next block. */
static struct ahead ahead_of_panels(const struct product *q, struct range p, int64_t j,
                                    int64_t d, int64_t strips)
{
    j += q->ops->panels;
    if (j >= p.to) {
        j = p.from;
        d += q->block;
    }
    if (d >= q->depth) return (struct ahead){0};
    const int64_t panels = at_most(p.to - j, q->ops->panels);
    const int64_t depth = at_most(q->depth - d, q->block);
    const int64_t lines = q->b_bf16 ? ceil_div(depth, 2) : depth;
    return (struct ahead){.at = b_at(q, j, d),
                          .stride = b_at(q, 1, 0) - b_at(q, 0, 0),
                          .lines = lines,
                          .left = panels * lines,
                          .share = ceil_div(panels * lines, strips)};
}

/* Blocks of W that will be turned: those of the group after g, which in each panel of W are one
 * piece of memory. */
static struct ahead ahead_of_turned(const struct product *q, struct range p, int64_t g,
                                    int64_t d, int64_t strips)
{
    const int64_t next = g + q->group, panels = at_most(p.to - next, q->group);
    if (panels <= 0) return (struct ahead){0};
    const int64_t pieces = ceil_div(at_most(q->depth - d, q->block), TR_LANES);
    const int64_t lines = TR_LANES * panels / (q->b_bf16 ? 2 : 1);
    return (struct ahead){.at = b_at(q, d / TR_LANES, next * TR_LANES),
                          .stride = b_at(q, 1, 0) - b_at(q, 0, 0),
                          .lines = lines,
                          .left = pieces * lines,
                          .share = ceil_div(pieces * lines, strips)};
}

/* The next panel of a group that has been made, which lies in a farther cache. */
static struct ahead ahead_of_made(const struct product *q, const struct tr_strip *s,
                                  int64_t strips)
{
    const float *next = (const float *)s->b + s->panels * s->b_panel;
    return (struct ahead){.at = (const char *)next,
                          .stride = s->b_panel * (int64_t)sizeof *next,
                          .lines = s->depth,
                          .left = s->depth * q->ops->panels,
                          .share = ceil_div(s->depth * q->ops->panels, strips)};
}

static void look_ahead(struct ahead *a, struct tr_strip *s)
{
    s->b_soon = NULL;
    s->soon_lines = 0;
    if (a->left <= 0) return;
    s->b_soon = a->at + a->line * 64;
    s->soon_lines = at_most(a->share, a->lines - a->line);
    a->line += s->soon_lines;
    a->left -= s->soon_lines;
    if (a->line < a->lines) return;
    a->line = 0;
    a->at += a->stride;
}

/* All strips of a block of rows on the panels j .. of one block of depth, which lie at s.b. */
static void strips_on(const struct product *q, const struct cuts *c, int64_t j, int64_t d,
                      struct tr_strip s, struct ahead *ahead, const struct scratch *t)
{
    for (int64_t i = 0; i < c->count; i++) {
        const int64_t row = strip_at(c, i), next = strip_at(c, i + 1);
        const float *soon = q->c + next * q->c_row + j * q->c_panel;
        s.rows = (int)(next - row);
        s.a = q->packed ? t->a + (row - c->from) * s.depth : q->a + row * q->a_row + d;
        s.c_soon = s.more && i + 1 < c->count ? soon : NULL;
        look_ahead(ahead, &s);
        run_strip(q, q->packed ? q->ops->packed : q->ops->direct, s, row, j, t);
    }
}

/* A block of rows, all panels of the range, one block of depth. */
static void rows_block(const struct product *q, struct range r, struct range p, int64_t d,
                       const struct scratch *t)
{
    const struct cuts c = cuts_of(q, r);
    const int64_t group = q->b_make ? q->group : p.to - p.from;
    struct ahead ahead = {0};
    struct tr_strip s = {.depth = at_most(q->depth - d, q->block),
                         .a_row = q->a_row,
                         .b_panel = q->b_make ? DEPTH * TR_LANES : q->b_stride,
                         .more = q->more || d > 0};
    if (q->packed) (q->a_turned ? a_copy : a_pack)(q, &c, d, s.depth, t->a);
    for (int64_t g = p.from; g < p.to; g += group) {
        const int64_t end = at_most(p.to, g + group);
        if (q->b_make) q->b_make(q, g, end - g, d, s.depth, t->b);
        if (q->b_make == b_turn)
            ahead = ahead_of_turned(q, p, g, d, c.count * group / q->ops->panels);
        for (int64_t j = g; j < end; j += q->ops->panels) {
            s.panels = at_most(end - j, q->ops->panels);
            s.b = q->b_make ? t->b + (j - g) * DEPTH * TR_LANES
                            : (const void *)b_at(q, j, d);
            if (!q->b_make || q->b_make == b_widen)
                ahead = ahead_of_panels(q, p, j, d, c.count);
            else if (q->b_make == b_copy)
                ahead = j + s.panels < end ? ahead_of_made(q, &s, c.count)
                                           : (struct ahead){0};
            strips_on(q, &c, j, d, s, &ahead, t);
        }
    }
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
    int64_t d = 0;
    const struct scratch t = {base, base + B_FLOATS, base + B_FLOATS + A_FLOATS};
    if (in_one_strip(q))
        one_strip(q, r, p, &t);
    else
        do { /* once even when the depth is 0: then C becomes +0 */
            rows_block(q, r, p, d, &t);
            d += q->block;
        } while (d < q->depth);
    if (q->bias) add_bias(q, r, p);
}

/* What a tile takes, in steps of one row by one panel by one depth: beside the products
 * themselves, packing A, making B or at least fetching it from memory, and being claimed. */
static double tile_cost(const struct product *q, int64_t rows, int64_t panels)
{
    const double a = q->a_turned ? 1.5 : q->packed ? 0.8 : 0;
    const double b = q->a_turned ? 16 : q->b_make ? 7 : 3;
    return (double)(rows * panels) + a * (double)rows + b * (double)panels +
           1000.0 / (double)(q->depth + 1);
}

/* Cuts C into tiles so that the team is done soonest: the longest share of a thread if all run
 * evenly, and part of a tile because they will not. */
static void cut(struct product *q, int threads)
{
    const int64_t panels = ceil_div(q->width, TR_LANES), fewest = ceil_div(q->rows, ROWS);
    const int64_t unit = in_one_strip(q) ? q->ops->together[q->rows] : 2;
    double best = 0;
    for (int64_t i = fewest; i <= at_most(fewest + 7, q->rows); i++) {
        const int64_t rows = ceil_div(ceil_div(q->rows, i), q->ops->rows) * q->ops->rows;
        for (int64_t step = unit; step <= PANELS && step < panels + unit; step += unit) {
            const int64_t tiles = ceil_div(q->rows, rows) * ceil_div(panels, step);
            const double cost = tile_cost(q, at_most(rows, q->rows), step) *
                                ((double)ceil_div(tiles, threads) + 0.1 * (threads - 1));
            if (best == 0 || cost < best) {
                best = cost;
                q->rows_step = rows;
                q->panels_step = step;
            }
        }
    }
}

static void run(const struct tr_exec *ex, struct product *q)
{
    if (q->rows == 0 || q->width == 0 || (q->depth == 0 && q->more)) return;
    assert(q->ops->rows <= EDGE_ROWS);
    /* Blocks of nearly equal depth: whole multiples of 16, because dx turns 16x16 blocks. */
    q->block = ceil_div(q->depth, at_least(ceil_div(q->depth, DEPTH), 1));
    q->block = at_least(ceil_div(q->block, TR_LANES), 1) * TR_LANES;
    q->packed = q->a_turned || q->rows > FEW;
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
                        .group = ex->k->product->panels,
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
                        .group = GROUP,
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
                        .group = GROUP,
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

/* product.c - a product cut into tiles, blocks and strips.
 *
 * A job for the team is C cut into rectangles of `rows_step` rows and `panels_step` panels.
 * Where the cuts are may depend on threads and shape: no chain crosses a cut. Within a
 * rectangle the depth goes in blocks, each continuing the partial sums that C holds; so a panel
 * of a block of B stays in the first-level cache while all rows pass over it, and the packed
 * rows, read in order, in the second or third.
 *
 *     for each block of depth: pack A
 *         for each group of panels: make B, if it is not panels already
 *             for each panel: for each strip of rows: run it (product.h)
 *
 * Up to FEW rows are read where they lie, bf16 weights are then widened in registers, and when
 * all rows fit in one strip, B is read just once, several panels side by side: the speed is
 * that of memory.
 *
 * Scratch of a thread:   [ B block | A block | edge ]
 *     edge     the C of a strip whose panel is not full (width no multiple of 16) */
#include "kernels/product.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/exec.h"

enum {
    FEW = 64,       /* rows up to here are read where they are, unpacked */
    ROWS = 576,     /* of an A block */
    PANELS = 64,    /* of a tile, at most */
    EDGE_ROWS = 16, /* no row of kernels has longer strips */
    B_FLOATS = TR_GROUP * TR_DEPTH * TR_LANES,
    A_FLOATS = ROWS * TR_DEPTH,
};

_Static_assert((B_FLOATS + A_FLOATS + EDGE_ROWS * TR_LANES) * (int)sizeof(float) <=
                   TR_SCRATCH_BYTES,
               "the blocks fit in a thread's scratch");

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

/* ---- strips ---- */

/* One strip whose panels may include the last, half-empty one. */
static void run_strip(const struct tr_product *q, void (*fn)(const struct tr_strip *),
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

static void add_bias(const struct tr_product *q, struct range r, struct range p)
{
    const int64_t from = p.from * TR_LANES, to = at_most(p.to * TR_LANES, q->width);
    for (int64_t i = r.from; i < r.to; i++)
        for (int64_t j = from; j < to; j++) q->c[i * q->c_row + j] += q->bias[j];
}

/* ---- tiles ---- */

/* So few rows that W's panels, f32 or bf16, are best read once and where they lie. */
static bool in_one_strip(const struct tr_product *q)
{
    return q->rows <= q->ops->rows && !q->a_turned &&
           (!q->b_make || q->b_make == tr_b_widen);
}

/* All rows in one strip: B is read once, where it lies, several panels side by side. */
static void one_strip(const struct tr_product *q, struct range r, struct range p,
                      const struct scratch *t)
{
    const int64_t rows = r.to - r.from;
    const int64_t block = (int64_t)TR_DEPTH * 4;
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
static const char *b_at(const struct tr_product *q, int64_t j, int64_t d)
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
static struct ahead ahead_of_panels(const struct tr_product *q, struct range p, int64_t j,
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
static struct ahead ahead_of_turned(const struct tr_product *q, struct range p, int64_t g,
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
static struct ahead ahead_of_made(const struct tr_product *q, const struct tr_strip *s,
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
static void strips_on(const struct tr_product *q, const struct tr_cuts *c, int64_t j,
                      int64_t d, struct tr_strip s, struct ahead *ahead,
                      const struct scratch *t)
{
    void (*fn)(const struct tr_strip *) = q->packed                 ? q->ops->packed
                                          : q->b_bf16 && !q->b_make ? q->ops->direct_bf16
                                                                    : q->ops->direct;
    for (int64_t i = 0; i < c->count; i++) {
        const int64_t row = tr_strip_at(c, i), next = tr_strip_at(c, i + 1);
        const float *soon = q->c + next * q->c_row + j * q->c_panel;
        s.rows = (int)(next - row);
        s.a = q->packed ? t->a + (row - c->from) * s.depth : q->a + row * q->a_row + d;
        s.c_soon = s.more && i + 1 < c->count ? soon : NULL;
        look_ahead(ahead, &s);
        run_strip(q, fn, s, row, j, t);
    }
}

/* A block of rows, all panels of the range, one block of depth. */
static void rows_block(const struct tr_product *q, struct range r, struct range p,
                       int64_t d, const struct scratch *t)
{
    const struct tr_cuts c = tr_cuts_of(r.from, r.to, q->ops->rows);
    const int64_t group = q->b_make ? q->group : p.to - p.from;
    struct ahead ahead = {0};
    struct tr_strip s = {.depth = at_most(q->depth - d, q->block),
                         .a_row = q->a_row,
                         .b_panel =
                             q->b_make ? (int64_t)TR_DEPTH * TR_LANES : q->b_stride,
                         .more = q->more || d > 0};
    if (q->packed) (q->a_turned ? tr_a_copy : tr_a_pack)(q, &c, d, s.depth, t->a);
    for (int64_t g = p.from; g < p.to; g += group) {
        const int64_t end = at_most(p.to, g + group);
        if (q->b_make) q->b_make(q, g, end - g, d, s.depth, t->b);
        if (q->b_make == tr_b_turn)
            ahead = ahead_of_turned(q, p, g, d, c.count * group / q->ops->panels);
        for (int64_t j = g; j < end; j += q->ops->panels) {
            s.panels = at_most(end - j, q->ops->panels);
            s.b = q->b_make ? t->b + (j - g) * TR_DEPTH * TR_LANES
                            : (const void *)b_at(q, j, d);
            if (!q->b_make || q->b_make == tr_b_widen)
                ahead = ahead_of_panels(q, p, j, d, c.count);
            else if (q->b_make == tr_b_copy)
                ahead = j + s.panels < end ? ahead_of_made(q, &s, c.count)
                                           : (struct ahead){0};
            strips_on(q, &c, j, d, s, &ahead, t);
        }
    }
}

static void product_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct tr_product *q = ctx;
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
static double tile_cost(const struct tr_product *q, int64_t rows, int64_t panels)
{
    const double a = q->a_turned ? 1.5 : q->packed ? 0.8 : 0;
    const double b = q->a_turned ? 16 : q->b_make ? 7 : 3;
    return (double)(rows * panels) + a * (double)rows + b * (double)panels +
           1000.0 / (double)(q->depth + 1);
}

/* Cuts C into tiles so that the team is done soonest: the longest share of a thread if all run
 * evenly, and a quarter of a tile because they will not. */
static void cut(struct tr_product *q, int threads)
{
    const int64_t panels = ceil_div(q->width, TR_LANES);
    const int64_t most =
        (int64_t)(ROWS / q->ops->rows) * q->ops->rows; /* steps are whole strips */
    const int64_t fewest = ceil_div(q->rows, most);
    const int64_t unit = in_one_strip(q) ? q->ops->together[q->rows] : 2;
    double best = 0;
    for (int64_t i = fewest; i <= at_most(fewest + 7, q->rows); i++) {
        const int64_t rows = ceil_div(ceil_div(q->rows, i), q->ops->rows) * q->ops->rows;
        for (int64_t step = unit; step <= PANELS && step < panels + unit; step += unit) {
            const int64_t tiles = ceil_div(q->rows, rows) * ceil_div(panels, step);
            const double cost = tile_cost(q, at_most(rows, q->rows), step) *
                                ((double)ceil_div(tiles, threads) + 0.25 * (threads - 1));
            if (best == 0 || cost < best) {
                best = cost;
                q->rows_step = rows;
                q->panels_step = step;
            }
        }
    }
}

void tr_product_run(const struct tr_exec *ex, struct tr_product *q)
{
    if (q->rows == 0 || q->width == 0 || (q->depth == 0 && q->more)) return;
    assert(q->ops->rows <= EDGE_ROWS);
    /* Blocks of nearly equal depth: whole multiples of 16, because dx turns 16x16 blocks. */
    q->block = ceil_div(q->depth, at_least(ceil_div(q->depth, TR_DEPTH), 1));
    q->block = at_least(ceil_div(q->block, TR_LANES), 1) * TR_LANES;
    q->packed = q->a_turned || q->rows > FEW;
    if (!q->packed && q->b_make == tr_b_widen)
        q->b_make = NULL; /* widened in registers */
    cut(q, tr_team_threads(ex->team));
    assert(q->rows_step <= ROWS);
    tr_team_run(ex->team,
                ceil_div(q->rows, q->rows_step) *
                    ceil_div(ceil_div(q->width, TR_LANES), q->panels_step),
                product_tile, q);
}

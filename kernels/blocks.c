/* blocks.c - copies that turn, widen and gather, and run behind a prefetch where the processor
 * cannot foresee what comes next. */
#include "kernels/blocks.h"

#include <string.h>

enum { AHEAD = 20 }; /* rows by which copying runs behind prefetching */

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Brings n floats nearer. For rows a stride apart, which the processor does not foresee. */
static void foresee(const float *at, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(at + i);
}

void tr_b_widen(const struct tr_product *q, int64_t p, int64_t panels, int64_t d,
                int64_t depth, float *out)
{
    const uint16_t *b = q->b;
    for (int64_t i = 0; i < panels; i++)
        q->ops->widen(b + (p + i) * q->b_stride + d * TR_LANES, depth * TR_LANES,
                      out + i * TR_DEPTH * TR_LANES);
}

/* dx: lanes are W's inputs, depth its outputs. W's block of outputs 16i.. and inputs 16p.. is
 * 16 rows [input][output] of panel i. */
void tr_b_turn(const struct tr_product *q, int64_t p, int64_t panels, int64_t d,
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
            q->ops->turn(w, out + (j - p) * TR_DEPTH * TR_LANES + i * TR_LANES);
        }
    }
}

/* dw: lanes are dy's columns. */
void tr_b_copy(const struct tr_product *q, int64_t p, int64_t panels, int64_t d,
               int64_t depth, float *out)
{
    const float *from = (const float *)q->b + d * q->b_stride + p * TR_LANES;
    const int64_t full = at_most(panels, q->width / TR_LANES - p);
    const int64_t rest = full < panels ? q->width % TR_LANES : 0;
    for (int64_t k = 0; k < depth; k++, from += q->b_stride, out += TR_LANES) {
        int64_t i = 0;
        if (k + AHEAD < depth) foresee(from + AHEAD * q->b_stride, full * TR_LANES);
        for (; i < full; i++) /* a constant size: a few moves */
            memcpy(out + i * TR_DEPTH * TR_LANES, from + i * TR_LANES,
                   TR_LANES * sizeof *out);
        if (rest) {
            float *to = out + i * TR_DEPTH * TR_LANES;
            memset(to, 0, TR_LANES * sizeof *to);
            memcpy(to, from + i * TR_LANES, (size_t)rest * sizeof *to);
        }
    }
}

struct tr_cuts tr_cuts_of(int64_t from, int64_t to, int64_t most)
{
    const int64_t rows = to - from, count = (rows + most - 1) / most;
    return (struct tr_cuts){from, count, rows / count, rows % count};
}

/* A's block is [strip][depth][rows of the strip]. */
void tr_a_pack(const struct tr_product *q, const struct tr_cuts *c, int64_t d,
               int64_t depth, float *out)
{
    for (int64_t i = 0; i < c->count; i++) {
        const int64_t row = tr_strip_at(c, i), next = tr_strip_at(c, i + 1);
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
void tr_a_copy(const struct tr_product *q, const struct tr_cuts *c, int64_t d,
               int64_t depth, float *out)
{
    enum { BESIDE = 8 };
    for (int64_t first = 0; first < c->count; first += BESIDE) {
        const int64_t n = at_most(c->count - first, BESIDE);
        int64_t row[BESIDE + 1] = {0};
        for (int64_t i = 0; i <= n; i++) row[i] = tr_strip_at(c, first + i);
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

/* product_scalar.c - the strips of a matrix product in plain C: the specification. */
#include <math.h>
#include <string.h>

#include "kernels/product.h"

enum { ROWS = 4 }; /* 64 sums; more would not stay in registers or near them */

static float widened(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

/* One row, one panel. a_step is 1 for direct rows, `rows` for packed ones. */
static void chain(int64_t depth, const float *a, int64_t a_step, const float *b, float *c,
                  int more)
{
    float acc[TR_LANES] = {0};
    if (more) memcpy(acc, c, sizeof acc);
    for (int64_t d = 0; d < depth; d++) {
        const float x = a[d * a_step];
        for (int j = 0; j < TR_LANES; j++) acc[j] = fmaf(x, b[d * TR_LANES + j], acc[j]);
    }
    memcpy(c, acc, sizeof acc);
}

static void chain_bf16(int64_t depth, const float *a, const uint16_t *b, float *c,
                       int more)
{
    float acc[TR_LANES] = {0};
    if (more) memcpy(acc, c, sizeof acc);
    for (int64_t d = 0; d < depth; d++)
        for (int j = 0; j < TR_LANES; j++)
            acc[j] = fmaf(a[d], widened(b[d * TR_LANES + j]), acc[j]);
    memcpy(c, acc, sizeof acc);
}

static void direct(const struct tr_strip *s)
{
    const float *b = s->b;
    for (int64_t p = 0; p < s->panels; p++)
        for (int r = 0; r < s->rows; r++)
            chain(s->depth, s->a + r * s->a_row, 1, b + p * s->b_panel,
                  s->c + r * s->c_row + p * s->c_panel, s->more);
}

static void direct_bf16(const struct tr_strip *s)
{
    const uint16_t *b = s->b;
    for (int64_t p = 0; p < s->panels; p++)
        for (int r = 0; r < s->rows; r++)
            chain_bf16(s->depth, s->a + r * s->a_row, b + p * s->b_panel,
                       s->c + r * s->c_row + p * s->c_panel, s->more);
}

static void packed(const struct tr_strip *s)
{
    const float *b = s->b;
    for (int64_t p = 0; p < s->panels; p++)
        for (int r = 0; r < s->rows; r++)
            chain(s->depth, s->a + r, s->rows, b + p * s->b_panel,
                  s->c + r * s->c_row + p * s->c_panel, s->more);
}

static void pack(const float *a, int64_t a_row, int rows, int64_t depth, float *out)
{
    for (int64_t d = 0; d < depth; d++)
        for (int r = 0; r < rows; r++) out[d * rows + r] = a[r * a_row + d];
}

static void turn(const float *w, float *out)
{
    for (int i = 0; i < TR_LANES; i++)
        for (int j = 0; j < TR_LANES; j++) out[j * TR_LANES + i] = w[i * TR_LANES + j];
}

static void widen(const uint16_t *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) y[i] = widened(x[i]);
}

static const unsigned char together[ROWS + 1] = {0, 1, 1, 1, 1};

const struct tr_product_ops TR_SCALAR(tr_product_scalar) = {
    .rows = ROWS,
    .panels = 1,
    .together = together,
    .direct = direct,
    .direct_bf16 = direct_bf16,
    .packed = packed,
    .pack = pack,
    .turn = turn,
    .widen = widen,
};

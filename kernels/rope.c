#include "kernels/rope.h"

#include "kernels/real.h"
#include "kernels/vector_ops.h"

enum { ROWS = 16 }; /* tokens in a tile */

static const double pi = 3.141592653589793116;

/* transformers' llama3 rule: wavelengths longer than the first training length over
 * low_freq_factor are stretched by `factor`, those shorter than it over high_freq_factor are
 * left, and between the two the frequency is a mixture. */
static double stretched(const struct tr_rope *rope, double freq)
{
    const double wavelength = 2.0 * pi / freq;
    const double longest = rope->original_length / rope->low_freq_factor;
    const double shortest = rope->original_length / rope->high_freq_factor;
    if (wavelength < shortest) return freq;
    if (wavelength > longest) return freq / rope->factor;
    const double smooth = (rope->original_length / wavelength - rope->low_freq_factor) /
                          (rope->high_freq_factor - rope->low_freq_factor);
    return (1.0 - smooth) * freq / rope->factor + smooth * freq;
}

void tr_rope_table(const struct tr_rope *rope, int64_t P, int64_t D, float *cos,
                   float *sin)
{
    for (int64_t i = 0; i < D / 2; i++) {
        const double power = (double)(2 * i) / (double)D;
        double freq = tr_exp(-power * tr_log(rope->theta));
        if (rope->kind == TR_ROPE_LLAMA3) freq = stretched(rope, freq);
        const float inv_freq = (float)freq;
        for (int64_t p = 0; p < P; p++) {
            const float angle = (float)p * inv_freq;
            cos[p * (D / 2) + i] = (float)tr_cos((double)angle);
            sin[p * (D / 2) + i] = (float)tr_sin((double)angle);
        }
    }
}

struct rope_job {
    const struct tr_vector_ops *ops;
    float *x;
    int64_t T, heads, D;
    const int32_t *position;
    const float *cos, *sin;
    int inverse;
};

static void rope_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct rope_job *j = ctx;
    const int64_t end = (tile + 1) * ROWS < j->T ? (tile + 1) * ROWS : j->T;
    (void)scratch;
    for (int64_t t = tile * ROWS; t < end; t++) {
        const int64_t at = (int64_t)j->position[t] * (j->D / 2);
        for (int64_t h = 0; h < j->heads; h++)
            j->ops->rotate(j->x + (t * j->heads + h) * j->D, j->D, j->cos + at,
                           j->sin + at, j->inverse);
    }
}

/* NOLINTBEGIN(readability-non-const-parameter): tiles write through the job */
/* NOLINTNEXTLINE(readability-function-size): shapes, places and two tables */
void tr_rope_apply(const struct tr_exec *ex, float *x, int64_t T, int64_t heads,
                   int64_t D, const int32_t *position, const float *cos, const float *sin,
                   int inverse)
{
    struct rope_job j = {.ops = ex->k->vector,
                         .x = x,
                         .T = T,
                         .heads = heads,
                         .D = D,
                         .position = position,
                         .cos = cos,
                         .sin = sin,
                         .inverse = inverse};
    tr_team_run(ex->team, (T + ROWS - 1) / ROWS, rope_tile, &j);
}
/* NOLINTEND(readability-non-const-parameter) */

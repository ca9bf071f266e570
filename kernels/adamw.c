#include "kernels/adamw.h"

#include <math.h>

#include "kernels/vector_ops.h"

enum {
    RUN = 16384,  /* elements in a tile of the optimiser */
    BLOCK = 4096, /* elements in a block of a sum of squares: part of its definition */
    BLOCKS = 16,  /* blocks in a tile */
    WAVE = 1024,  /* blocks whose sums are held at a time */
};

struct adamw_job {
    const struct tr_vector_ops *ops;
    struct tr_adamw_constants c;
    int64_t n;
    const float *g;
    float *p, *m, *v;
};

static void adamw_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct adamw_job *j = ctx;
    const int64_t i = tile * RUN;
    const int64_t left = j->n - i;
    (void)scratch;
    j->ops->adamw(&j->c, left < RUN ? left : RUN, j->g + i, j->p + i, j->m + i, j->v + i);
}

/* 1 - beta^t, beta^t by repeated multiplication, as tr_pow_int. From 2^-54 down the difference
 * is 1 and stays 1, so late in a run the rest of the products need not be made. */
static double bias(double beta, int64_t t)
{
    double power = 1;
    for (; t > 0 && power >= 0x1p-54; t--) power *= beta;
    return 1 - power;
}

/* NOLINTBEGIN(readability-non-const-parameter): tiles write through the job */
void tr_adamw_step(const struct tr_exec *ex, const struct tr_adamw *cfg, float clip,
                   int64_t n, const float *g, float *p, float *m, float *v)
{
    const double bias1 = bias(cfg->beta1, cfg->t);
    const double bias2 = bias(cfg->beta2, cfg->t);
    struct adamw_job j = {
        .ops = ex->k->vector,
        .c = {.clip = clip,
              .decay = (float)(1.0 - cfg->lr * cfg->weight_decay),
              .beta2 = (float)cfg->beta2,
              .one_less_beta1 = (float)(1.0 - cfg->beta1),
              .one_less_beta2 = (float)(1.0 - cfg->beta2),
              .root = (float)sqrt(bias2),
              .eps = (float)cfg->eps,
              .rate = (float)(cfg->lr / bias1)},
        .n = n,
        .g = g,
        .p = p,
        .m = m,
        .v = v,
    };
    tr_team_run(ex->team, (n + RUN - 1) / RUN, adamw_tile, &j);
}
/* NOLINTEND(readability-non-const-parameter) */

struct squares_job {
    const struct tr_vector_ops *ops;
    const float *x;
    int64_t n;
    float sum[WAVE];
};

static void squares_tile(void *ctx, int64_t tile, void *scratch)
{
    struct squares_job *j = ctx;
    (void)scratch;
    for (int64_t b = tile * BLOCKS; b < (tile + 1) * BLOCKS && b * BLOCK < j->n; b++) {
        const int64_t left = j->n - b * BLOCK;
        j->sum[b] = j->ops->sum_squares(j->x + b * BLOCK, left < BLOCK ? left : BLOCK);
    }
}

double tr_sum_squares(const struct tr_exec *ex, const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i += (int64_t)WAVE * BLOCK) {
        const int64_t left = n - i;
        struct squares_job j = {.ops = ex->k->vector, .x = x + i};
        j.n = left < (int64_t)WAVE * BLOCK ? left : (int64_t)WAVE * BLOCK;
        const int64_t blocks = (j.n + BLOCK - 1) / BLOCK;
        tr_team_run(ex->team, (blocks + BLOCKS - 1) / BLOCKS, squares_tile, &j);
        for (int64_t b = 0; b < blocks; b++) sum += (double)j.sum[b];
    }
    return sum;
}

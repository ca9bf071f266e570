#include "kernels/pointwise.h"

#include "kernels/vector_ops.h"

enum { RUN = 8192 }; /* elements in a tile */

struct pointwise_job {
    const struct tr_vector_ops *ops;
    const float *a, *b, *c;
    float *x, *y;
    int64_t n;
};

static int64_t run_at(const struct pointwise_job *j, int64_t tile)
{
    const int64_t left = j->n - tile * RUN;
    return left < RUN ? left : RUN;
}

static void swiglu_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct pointwise_job *j = ctx;
    const int64_t i = tile * RUN;
    (void)scratch;
    j->ops->swiglu(j->a + i, j->b + i, run_at(j, tile), j->x + i);
}

static void swiglu_back_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct pointwise_job *j = ctx;
    const int64_t i = tile * RUN;
    (void)scratch;
    j->ops->swiglu_back(j->a + i, j->b + i, j->c + i, run_at(j, tile), j->x + i,
                        j->y + i);
}

static void add_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct pointwise_job *j = ctx;
    const int64_t i = tile * RUN;
    (void)scratch;
    j->ops->add(j->a + i, run_at(j, tile), j->x + i);
}

static int64_t tiles(int64_t n)
{
    return (n + RUN - 1) / RUN;
}

/* NOLINTBEGIN(readability-non-const-parameter): tiles write through the job */
void tr_swiglu(const struct tr_exec *ex, const float *g, const float *u, int64_t n,
               float *out)
{
    struct pointwise_job j = {.ops = ex->k->vector, .a = g, .b = u, .x = out, .n = n};
    tr_team_run(ex->team, tiles(n), swiglu_tile, &j);
}
/* NOLINTEND(readability-non-const-parameter) */

/* NOLINTBEGIN(readability-non-const-parameter): tiles write through the job */
void tr_swiglu_backward(const struct tr_exec *ex, const float *g, const float *u,
                        const float *dout, int64_t n, float *dg, float *du)
{
    struct pointwise_job j = {
        .ops = ex->k->vector, .a = g, .b = u, .c = dout, .x = dg, .y = du, .n = n};
    tr_team_run(ex->team, tiles(n), swiglu_back_tile, &j);
}
/* NOLINTEND(readability-non-const-parameter) */

/* NOLINTBEGIN(readability-non-const-parameter): tiles write through the job */
void tr_add(const struct tr_exec *ex, const float *y, int64_t n, float *x)
{
    struct pointwise_job j = {.ops = ex->k->vector, .a = y, .x = x, .n = n};
    tr_team_run(ex->team, tiles(n), add_tile, &j);
}
/* NOLINTEND(readability-non-const-parameter) */

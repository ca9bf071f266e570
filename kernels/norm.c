#include "kernels/norm.h"

#include "kernels/vector_ops.h"

enum { ROWS = 8, COLUMNS = 64 }; /* of a tile */

struct norm_job {
    const struct tr_vector_ops *ops;
    const float *x, *w, *dy, *r_in;
    float *y, *r, *dx, *dw;
    float eps;
    int64_t T, d;
    int add;
};

static int64_t tiles(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void forward_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct norm_job *j = ctx;
    (void)scratch;
    for (int64_t t = tile * ROWS; t < least(j->T, (tile + 1) * ROWS); t++) {
        float r;
        j->ops->norm(j->x + t * j->d, j->w, j->eps, j->d, j->y + t * j->d, &r);
        if (j->r) j->r[t] = r;
    }
}

/* NOLINTBEGIN(readability-non-const-parameter): tiles write through the job */
void tr_rmsnorm(const struct tr_exec *ex, const float *x, const float *w, float eps,
                int64_t T, int64_t d, float *y, float *r)
{
    struct norm_job j = {
        .ops = ex->k->vector, .x = x, .w = w, .y = y, .r = r, .eps = eps, .T = T, .d = d};
    tr_team_run(ex->team, tiles(T, ROWS), forward_tile, &j);
}
/* NOLINTEND(readability-non-const-parameter) */

/* Tiles of rows for dx, then tiles of columns for dw: a column's chain runs over all tokens. */
static void backward_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct norm_job *j = ctx;
    const int64_t columns = tiles(j->d, COLUMNS);
    (void)scratch;
    if (tile < columns) {
        const int64_t i = tile * COLUMNS;
        j->ops->norm_dw(j->dy, j->x, j->r_in, j->T, j->d, i, least(COLUMNS, j->d - i),
                        j->dw);
        return;
    }
    tile -= columns;
    for (int64_t t = tile * ROWS; t < least(j->T, (tile + 1) * ROWS); t++)
        j->ops->norm_dx(j->dy + t * j->d, j->x + t * j->d, j->w, j->r_in[t], j->d, j->add,
                        j->dx + t * j->d);
}

/* NOLINTBEGIN(readability-non-const-parameter): tiles write through the job */
/* NOLINTNEXTLINE(readability-function-size): all of one pass */
void tr_rmsnorm_backward(const struct tr_exec *ex, const float *dy, const float *x,
                         const float *w, const float *r, int64_t T, int64_t d, int add,
                         float *dx, float *dw)
{
    struct norm_job j = {.ops = ex->k->vector,
                         .x = x,
                         .w = w,
                         .dy = dy,
                         .r_in = r,
                         .dx = dx,
                         .dw = dw,
                         .T = T,
                         .d = d,
                         .add = add};
    tr_team_run(ex->team, tiles(d, COLUMNS) + tiles(T, ROWS), backward_tile, &j);
}
/* NOLINTEND(readability-non-const-parameter) */

/* The value head: one row of weights, so plain loops. A tile is some rows (forward, dhidden) or
 * some columns (the gradient of the weight, whose chains run over rows). */
#include <math.h>

#include "core/model/head.h"

enum { ROWS = 32, COLUMNS = 64 };

struct value_job {
    int64_t d, n;
    const int64_t *row;
    const float *weight;
    float bias;
    const float *hidden, *dvalue;
    float *value, *dhidden, *dweight;
};

static struct value_job job_of(const struct tr_weights *w, const int64_t *row, int64_t n)
{
    const struct tr_outer_params *o = tr_params_outer(tr_weights_params(w));
    return (struct value_job){
        .d = o->value_weight->K,
        .n = n,
        .row = row,
        .weight = tr_weights_vector(w, o->value_weight),
        .bias = tr_weights_vector(w, o->value_bias)[0],
    };
}

static int64_t tiles(int64_t n, int64_t each)
{
    return (n + each - 1) / each;
}

static void forward_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct value_job *j = ctx;
    (void)scratch;
    for (int64_t i = tile * ROWS; i < (tile + 1) * ROWS && i < j->n; i++) {
        const float *h = j->hidden + j->row[i] * j->d;
        float acc = 0;
        for (int64_t k = 0; k < j->d; k++) acc = fmaf(h[k], j->weight[k], acc);
        j->value[i] = acc + j->bias;
    }
}

void tr_value_forward(const struct tr_exec *ex, const struct tr_weights *w,
                      const float *hidden, const int64_t *row, int64_t n, float *value)
{
    struct value_job job = job_of(w, row, n);
    job.hidden = hidden;
    job.value = value;
    tr_team_run(ex->team, tiles(n, ROWS), forward_tile, &job);
}

static void dhidden_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct value_job *j = ctx;
    (void)scratch;
    for (int64_t i = tile * ROWS; i < (tile + 1) * ROWS && i < j->n; i++) {
        float *to = j->dhidden + j->row[i] * j->d;
        for (int64_t k = 0; k < j->d; k++)
            to[k] = fmaf(j->dvalue[i], j->weight[k], to[k]);
    }
}

static void dweight_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct value_job *j = ctx;
    (void)scratch;
    int64_t end = (tile + 1) * COLUMNS < j->d ? (tile + 1) * COLUMNS : j->d;
    for (int64_t i = 0; i < j->n; i++) {
        const float *h = j->hidden + j->row[i] * j->d;
        for (int64_t k = tile * COLUMNS; k < end; k++)
            j->dweight[k] = fmaf(j->dvalue[i], h[k], j->dweight[k]);
    }
}

void tr_value_backward(const struct tr_exec *ex, const struct tr_weights *w,
                       const float *hidden, const int64_t *row, int64_t n,
                       const float *dvalue, float *dhidden, float *grad)
{
    const struct tr_outer_params *o = tr_params_outer(tr_weights_params(w));
    struct value_job job = job_of(w, row, n);
    job.hidden = hidden;
    job.dvalue = dvalue;
    job.dhidden = dhidden;
    job.dweight = grad + o->value_weight->at;
    tr_team_run(ex->team, tiles(n, ROWS), dhidden_tile, &job);
    tr_team_run(ex->team, tiles(job.d, COLUMNS), dweight_tile, &job);
    for (int64_t i = 0; i < n; i++) grad[o->value_bias->at] += dvalue[i];
}

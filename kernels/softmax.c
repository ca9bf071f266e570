#include "kernels/softmax.h"

#include "kernels/real.h"
#include "kernels/vector_ops.h"

/* A row is a tile: its sums have one order, whoever computes it. */
struct softmax_job {
    const struct tr_vector_ops *ops;
    const float *z;
    float *dz;
    int64_t V;
    const int32_t *target;
    const float *lse_in, *dlogp;
    float *logp, *lse, *entropy;
};

static void logprob_tile(void *ctx, int64_t row, void *scratch)
{
    const struct softmax_job *j = ctx;
    const float *z = j->z + row * j->V;
    (void)scratch;
    const float M = j->ops->max(z, j->V);
    const float lse = M + tr_logf(j->ops->exp_sum(z, j->V, M));
    if (j->logp) j->logp[row] = z[j->target[row]] - lse;
    if (j->lse) j->lse[row] = lse;
    if (j->entropy) j->entropy[row] = lse - j->ops->mean_logit(z, j->V, lse);
}

/* NOLINTBEGIN(readability-non-const-parameter): tiles write through the job */
void tr_logprob(const struct tr_exec *ex, const float *z, int64_t R, int64_t V,
                const int32_t *target, float *logp, float *lse, float *entropy)
{
    struct softmax_job j = {.ops = ex->k->vector,
                            .z = z,
                            .V = V,
                            .target = target,
                            .logp = logp,
                            .lse = lse,
                            .entropy = entropy};
    tr_team_run(ex->team, R, logprob_tile, &j);
}
/* NOLINTEND(readability-non-const-parameter) */

static void backward_tile(void *ctx, int64_t row, void *scratch)
{
    const struct softmax_job *j = ctx;
    float *z = j->dz + row * j->V;
    (void)scratch;
    j->ops->dlogits(z, j->V, j->lse_in[row], j->dlogp[row]);
    z[j->target[row]] += j->dlogp[row];
}

/* NOLINTBEGIN(readability-non-const-parameter): tiles write through the job */
void tr_logprob_backward(const struct tr_exec *ex, float *z, int64_t R, int64_t V,
                         const int32_t *target, const float *lse, const float *dlogp)
{
    struct softmax_job j = {.ops = ex->k->vector,
                            .dz = z,
                            .V = V,
                            .target = target,
                            .lse_in = lse,
                            .dlogp = dlogp};
    tr_team_run(ex->team, R, backward_tile, &j);
}
/* NOLINTEND(readability-non-const-parameter) */

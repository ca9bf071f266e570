#include "core/learn/kl.h"

#include <math.h>
#include <string.h>

#include "kernels/real.h"

static const struct {
    const char *name;
    enum tr_kl_kind kind;
} kinds[] = {
    {"kl", TR_KL_PLAIN},  {"abs", TR_KL_ABS},  {"mse", TR_KL_MSE},
    {"full", TR_KL_FULL}, {"k1", TR_KL_PLAIN}, {"k2", TR_KL_MSE},
};

enum tr_status tr_kl_named(const char *name, enum tr_kl_kind *out, struct tr_err *err)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        *out = kinds[i].kind;
        if (strcmp(name, kinds[i].name) == 0) return TR_OK;
    }
    return tr_err_set(err, TR_BADARG,
                      "kl_penalty: expected kl, k1, abs, mse, k2 or full, found %s",
                      name);
}

const char *tr_kl_name(enum tr_kl_kind kind)
{
    return kinds[kind].name;
}

double tr_kl_token(enum tr_kl_kind kind, float logp, float ref)
{
    double d = (double)logp - (double)ref;
    if (kind == TR_KL_ABS) return fabs(d);
    if (kind == TR_KL_MSE) return 0.5 * d * d;
    return d;
}

double tr_kl_full(const float *logp, const float *ref, int64_t V)
{
    double sum = 0;
    for (int64_t v = 0; v < V; v++) {
        double p = tr_exp((double)logp[v]);
        if (p > 0) sum += p * ((double)logp[v] - (double)ref[v]);
    }
    return sum;
}

void tr_kl_control_update(struct tr_kl_control *c, double kl, int64_t n)
{
    if (!c->adaptive) return;
    double off = fmax(-0.2, fmin(0.2, kl / c->target - 1));
    c->coef *= 1 + off * (double)n / c->horizon;
}

void tr_kl_rewards(double coef, const float *kl, int64_t T, double score, float *reward)
{
    for (int64_t t = 0; t < T; t++)
        reward[t] = (float)(-coef * (double)kl[t] + (t == T - 1 ? score : 0));
}

struct tr_moments tr_moments_start(void)
{
    return (struct tr_moments){.mean = 0, .var = 1, .std = 1, .n = 1e-24};
}

void tr_moments_update(struct tr_moments *m, const double *score, int64_t count)
{
    double k = (double)count;
    double mean = 0;
    double var = 0;
    if (count < 1) return;
    for (int64_t i = 0; i < count; i++) mean += score[i];
    mean /= k;
    for (int64_t i = 0; i < count; i++) var += (score[i] - mean) * (score[i] - mean);
    var /= k;
    double total = m->n + k;
    double d = mean - m->mean;
    m->var = (m->var * m->n + d * d * m->n * k / total + var * k) / total;
    m->mean += d * k / total;
    m->std = total > 1 ? sqrt(m->var * total / (total - 1)) : sqrt(m->var);
    m->n = total;
}

double tr_moments_scale(const struct tr_moments *m, double score)
{
    return (score - m->mean) / (m->std + 0x1p-23);
}

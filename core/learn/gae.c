#include "core/learn/gae.h"

#include <math.h>

void tr_gae_run(struct tr_gae cfg, int64_t T, const float *reward, const float *value,
                float tail, float *advantage, float *returns)
{
    double next = (double)tail;
    double sum = 0;
    for (int64_t t = T - 1; t >= 0; t--) {
        double delta = (double)reward[t] + cfg.gamma * next - (double)value[t];
        sum = delta + cfg.gamma * cfg.lambda * sum;
        advantage[t] = (float)sum;
        returns[t] = (float)(sum + (double)value[t]);
        next = (double)value[t];
    }
}

struct tr_spread tr_spread_of(const float *x, int64_t n)
{
    struct tr_spread s = {0};
    if (n < 1) return s;
    for (int64_t i = 0; i < n; i++) s.mean += (double)x[i];
    s.mean /= (double)n;
    for (int64_t i = 0; i < n; i++)
        s.var += ((double)x[i] - s.mean) * ((double)x[i] - s.mean);
    s.var = n > 1 ? s.var / (double)(n - 1) : 0;
    return s;
}

float tr_whiten_one(struct tr_spread s, float x, bool keep_mean)
{
    double scale = 1 / sqrt(s.var + 1e-8);
    return (float)(((double)x - s.mean) * scale + (keep_mean ? s.mean : 0));
}

void tr_whiten(float *x, int64_t n, bool keep_mean)
{
    struct tr_spread s = tr_spread_of(x, n);
    for (int64_t i = 0; i < n; i++) x[i] = tr_whiten_one(s, x[i], keep_mean);
}

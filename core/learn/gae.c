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

void tr_whiten(float *x, int64_t n, bool keep_mean)
{
    double mean = 0;
    double var = 0;
    if (n < 1) return;
    for (int64_t i = 0; i < n; i++) mean += (double)x[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) var += ((double)x[i] - mean) * ((double)x[i] - mean);
    var = n > 1 ? var / (double)(n - 1) : 0;
    double scale = 1 / sqrt(var + 1e-8);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(((double)x[i] - mean) * scale + (keep_mean ? mean : 0));
}

#include "core/learn/pairs.h"

#include <math.h>

#include "kernels/real.h"

double tr_logsigmoid(double x)
{
    return fmin(x, 0) - tr_log1p(tr_exp(-fabs(x)));
}

double tr_sigmoid(double x)
{
    double e = tr_exp(-fabs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

void tr_pair_add(struct tr_pair_sums *sums, float chosen, float rejected, double divisor,
                 float *d_chosen, float *d_rejected)
{
    double h = (double)chosen - (double)rejected;
    double slope = tr_sigmoid(-h) / divisor;
    sums->loss += isnan(h) ? h : -tr_logsigmoid(h); /* fmin would hide a NaN */
    sums->pairs++;
    sums->right += chosen > rejected;
    *d_chosen = (float)-slope;
    *d_rejected = (float)slope;
}

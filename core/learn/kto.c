#include "core/learn/kto.h"

#include "core/learn/pairs.h"

double tr_kto_z0(const double *policy, const double *reference, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += policy[i] - reference[i];
    return n > 0 && !(sum <= 0) ? sum / (double)n : 0; /* a NaN is not hidden */
}

double tr_kto_loss(const struct tr_kto *k, double z0, bool desirable, double u,
                   double *slope)
{
    double x = desirable ? k->beta * (u - z0) : k->beta * (z0 - u);
    double w = desirable ? k->desirable_weight : k->undesirable_weight;
    double loss = w * tr_sigmoid(-x); /* 1 - sigmoid(x), without its cancellation */
    double steep = loss * tr_sigmoid(x) * k->beta;
    *slope = desirable ? -steep : steep;
    return loss;
}

/* By how much the group's summed loss grows with one desirable answer's -logp / tokens. */
static double ftx_weight(const struct tr_kto *k, const struct tr_kto_group *g)
{
    if (!(k->ftx > 1e-6) || g->answered < 1) return 0;
    double n = (double)g->n;
    return k->ftx * n * n / ((double)g->desirable * (double)g->answered);
}

float tr_kto_add(struct tr_kto_sums *sums, const struct tr_kto *k,
                 const struct tr_kto_group *group, bool desirable, double logp,
                 double reference, int64_t tokens)
{
    double slope;
    double u = logp - reference;
    sums->loss += tr_kto_loss(k, group->z0, desirable, u, &slope);
    if (desirable && tokens > 0) {
        double weight = ftx_weight(k, group) / (double)tokens;
        sums->loss -= weight * logp;
        slope -= weight;
    }
    sums->examples[desirable]++;
    sums->reward[desirable] += k->beta * u;
    sums->logp[desirable] += logp;
    return (float)(slope / group->divisor);
}

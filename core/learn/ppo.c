#include "core/learn/ppo.h"

#include <stdbool.h>

#include "kernels/real.h"

static double clamp(double x, double lo, double hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

float tr_ppo_policy(struct tr_ppo_sums *sums, double clip, double divisor, float logp,
                    float old_logp, float advantage)
{
    double d = (double)logp - (double)old_logp;
    double ratio = tr_exp(d);
    double A = (double)advantage;
    double plain = -A * ratio;
    double held = clip > 0 ? -A * clamp(ratio, 1 - clip, 1 + clip) : plain;
    bool clipped = held > plain;
    sums->tokens++;
    sums->loss += clipped ? held : plain;
    sums->clipped += clipped;
    sums->ratio += ratio;
    sums->approx_kl += 0.5 * d * d;
    sums->policy_kl -= d;
    return clipped ? 0 : (float)(plain / divisor);
}

float tr_ppo_value(struct tr_ppo_sums *sums, double clip, double divisor, float value,
                   float old_value, float wanted)
{
    double R = (double)wanted;
    double e = (double)value - R;
    double v_old = (double)old_value;
    double held = clip > 0 ? clamp((double)value, v_old - clip, v_old + clip) - R : e;
    bool clipped = held * held > e * e;
    sums->tokens++;
    sums->loss += 0.5 * (clipped ? held * held : e * e);
    sums->clipped += clipped;
    sums->error += e * e;
    sums->value += (double)value;
    return clipped ? 0 : (float)(e / divisor);
}

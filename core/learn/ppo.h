/* ppo.h - the clipped losses of PPO (Schulman et al. 2017, arXiv:1707.06347), token by token.
 *
 *   ratio   rho = exp(logp - old_logp)
 *   policy  max(-A * rho, -A * clamp(rho, 1 - clip, 1 + clip))
 *   value   0.5 * max((v - R)^2, (clamp(v, v_old - clip, v_old + clip) - R)^2)
 *
 * What it is for. One call adds one token's loss to running sums and gives its gradient, so a
 * learner can go through blocks of rows in order. Sums are f64; each is divided once at the end.
 *
 * Invariants.
 *   1. Where the clipped branch is strictly the larger one the gradient is 0; elsewhere it is
 *      that of the unclipped branch (inside the range both are the same).
 *   2. clip <= 0 means no clipping. */
#ifndef TR_LEARN_PPO_H
#define TR_LEARN_PPO_H

#include <stdint.h>

struct tr_ppo_sums {
    int64_t tokens;
    double loss;
    double clipped; /* tokens whose clipped branch is strictly larger */
    double ratio, approx_kl, policy_kl, entropy; /* policy */
    double error, value;                         /* value: (v - R)^2, and v */
};

/* Returns d loss / d logp, divided by divisor. */
float tr_ppo_policy(struct tr_ppo_sums *sums, double clip, double divisor, float logp,
                    float old_logp, float advantage);

/* Returns d loss / d value, divided by divisor. */
float tr_ppo_value(struct tr_ppo_sums *sums, double clip, double divisor, float value,
                   float old_value, float wanted);

#endif

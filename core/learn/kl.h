/* kl.h - how far the policy has moved from its reference, what that costs, and scores in scale.
 *
 * What it is for. PPO pays the policy for its score and charges it for leaving the reference.
 * The charge is coef * kl a token; an adaptive controller (Ziegler et al. 2019,
 * arXiv:1909.08593) moves coef so that a rollout's kl stays near a target. All kl are in nats.
 *
 * Invariants.
 *   1. The kinds are estimates at one sampled token: kl = logp - ref, abs = |kl|,
 *      mse = kl^2 / 2. `full` is the exact sum over the vocabulary and needs both rows. */
#ifndef TR_LEARN_KL_H
#define TR_LEARN_KL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

enum tr_kl_kind { TR_KL_PLAIN, TR_KL_ABS, TR_KL_MSE, TR_KL_FULL };

/* By the peer's names kl, abs, mse, full, and k1 and k2 for kl and mse (Schulman 2020, Approximating
 * KL Divergence). TR_BADARG lists them. The name of a kind is the peer's. */
enum tr_status tr_kl_named(const char *name, enum tr_kl_kind *out, struct tr_err *err);
const char *tr_kl_name(enum tr_kl_kind kind);

/* One token; not for TR_KL_FULL. */
double tr_kl_token(enum tr_kl_kind kind, float logp, float ref);

/* sum over v of p * (log p - log q) for rows of log-probs [V]; a p of 0 adds nothing. */
double tr_kl_full(const float *logp, const float *ref, int64_t V);

struct tr_kl_control {
    double coef;
    bool adaptive;
    double target;  /* nats a rollout */
    double horizon; /* samples; 10000 */
};

/* After a step of n rollouts with this mean kl (a rollout's kl is the sum of its tokens'). */
void tr_kl_control_update(struct tr_kl_control *c, double kl, int64_t n);

/* Rewards of one rollout, [T]: -coef * kl[t], the last token also earns the score. */
void tr_kl_rewards(double coef, const float *kl, int64_t T, double score, float *reward);

/* Moments over all scores ever seen, updated with a whole step's scores before use. */
struct tr_moments {
    double mean, var, std, n;
};
struct tr_moments tr_moments_start(void);
void tr_moments_update(struct tr_moments *m, const double *score, int64_t count);
double tr_moments_scale(const struct tr_moments *m, double score);

#endif

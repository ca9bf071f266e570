/* gae.h - generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438).
 *
 * What it is for. A rollout earns reward at its tokens; the critic guessed what each
 * prefix was worth. An advantage says how much better a token turned out than the
 * critic expected. The policy climbs the advantages, the critic chases the returns.
 *
 * The data. One rollout is T response tokens in time order; prompt tokens are not here.
 *   reward[t]     what token t earned, the KL penalty already taken off      [T]
 *   value[t]      the critic's guess of all reward from t on                 [T]
 *   advantage[t]  sum over k >= 0 of (gamma * lambda)^k * delta[t+k]         [T]
 *   with          delta[t] = reward[t] + gamma * value[t+1] - value[t]
 *
 * Invariants.
 *   1. value[T] is 0 when the rollout ended by itself, `tail` when it was cut short.
 *   2. One pass from t = T-1 down to 0, one f64 accumulator: same bits on every host.
 *   3. With lambda = 1 and gamma = 1, returns[t] is the plain sum of reward from t on. */
#ifndef TR_LEARN_GAE_H
#define TR_LEARN_GAE_H

#include <stdbool.h>
#include <stdint.h>

struct tr_gae {
    double gamma;  /* discount per token, in (0, 1] */
    double lambda; /* 0 trusts the critic, 1 trusts the rewards */
};

/* Fills advantage and returns from reward and value, all [T]. Cannot fail.
 * The caller owns every array; the outputs must not overlap the inputs. */
void tr_gae_run(struct tr_gae cfg, int64_t T, const float *reward, const float *value,
                float tail, float *advantage, float *returns);

/* Mean and unbiased variance of n numbers, sums in their order; one number has a variance of 0,
 * none have 0 and 0. */
struct tr_spread {
    double mean, var;
};
struct tr_spread tr_spread_of(const float *x, int64_t n);

/* (x - mean) / sqrt(var + 1e-8), plus the mean again when keep_mean. */
float tr_whiten_one(struct tr_spread s, float x, bool keep_mean);

/* The same for all n by their own spread: one number becomes 0 (or stays, with keep_mean). */
void tr_whiten(float *x, int64_t n, bool keep_mean);

#endif

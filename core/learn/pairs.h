/* pairs.h - the pairwise loss of a reward model (Bradley and Terry 1952; ALGORITHMS.md 7.2).
 *
 *   loss = -logsigmoid(chosen - rejected) = softplus(-(chosen - rejected))
 *   d loss / d chosen = -sigmoid(-(chosen - rejected)) = -(d loss / d rejected)
 *
 * Invariants.
 *   1. A pair's loss and gradient depend on its own two scores only, so pairs are learnt one
 *      after the other: forward, gradient, backward. */
#ifndef TR_LEARN_PAIRS_H
#define TR_LEARN_PAIRS_H

#include <stdint.h>

struct tr_pair_sums {
    double loss;   /* summed, in order */
    int64_t pairs; /* how many */
    int64_t right; /* chosen > rejected, strictly */
};

/* Adds one pair's loss; *d_chosen and *d_rejected are its gradient divided by divisor. */
void tr_pair_add(struct tr_pair_sums *sums, float chosen, float rejected, double divisor,
                 float *d_chosen, float *d_rejected);

/* log(sigmoid(x)), stable for every x. */
double tr_logsigmoid(double x);
double tr_sigmoid(double x);

#endif

/* kto.h - the loss of KTO (Ethayarajh et al. 2024, arXiv:2402.01306, eq. 7 and 8; ALGORITHMS.md 7.4).
 *
 * What it is for. An example is a prompt, an answer and a mark: desirable or not. Nothing is
 * compared with anything: the policy is told to like a desirable answer better than the reference
 * does, and an undesirable one less, both measured from what it does with answers that do not
 * belong to their prompts (the example's twin: its prompt with another example's answer).
 *
 * The data. All log-probs are sums over an answer's tokens, in nats. For an example
 *   u   = logp under the policy - logp under the reference; its reward is beta u
 *   z0  = max(0, mean over the twins of the same difference), a constant: no gradient
 *   loss, desirable     w (1 - sigmoid(beta (u - z0)))      w = desirable_weight
 *   loss, undesirable   w (1 - sigmoid(beta (z0 - u)))      w = undesirable_weight
 * A group is the examples that share a z0: those of the whole optimiser step, or of one micro-batch
 * of the peer. With ftx, a group of n examples, n_D of them desirable, adds to its mean loss
 *   ftx * n / n_D * mean over the desirable answers with a token of (-logp / tokens)
 * which is the peer's formula (its factor n / n_D included).
 *
 * Invariants.
 *   1. z0 depends on the differences and their order only, an example's loss on its own numbers
 *      and z0: so neither replicas nor micro-batches are in it.
 *   2. Sums are f64, in the order of the examples.
 *   3. The slope is d loss / d logp; it is the same for every token of the answer. */
#ifndef TR_LEARN_KTO_H
#define TR_LEARN_KTO_H

#include <stdbool.h>
#include <stdint.h>

struct tr_kto {
    double beta;                                 /* > 0 */
    double desirable_weight, undesirable_weight; /* >= 0 */
    double ftx;                                  /* below 1e-6: none */
};

struct tr_kto_group {
    double z0;
    double divisor; /* of the group's summed loss; n for its mean */
    int64_t n, desirable;
    int64_t answered; /* desirable ones with a token to learn */
};

struct tr_kto_sums {
    double loss; /* of the group so far, not divided */
    /* of all groups so far: desirable at 1, undesirable at 0 */
    int64_t examples[2];
    double reward[2], logp[2];
};

/* policy, reference [n]: the twins' log-probs. 0 for n = 0. */
double tr_kto_z0(const double *policy, const double *reference, int64_t n);

/* One example's loss without ftx; *slope is its derivative by logp. */
double tr_kto_loss(const struct tr_kto *k, double z0, bool desirable, double u,
                   double *slope);

/* Adds an example whose answer has `tokens` tokens (0 is no error: cut off, it learns nothing).
 * Returns d (loss / divisor) / d log-prob of each of them. */
float tr_kto_add(struct tr_kto_sums *sums, const struct tr_kto *k,
                 const struct tr_kto_group *group, bool desirable, double logp,
                 double reference, int64_t tokens);

#endif

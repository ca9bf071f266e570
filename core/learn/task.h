/* task.h - what a learner is asked for one optimiser step, and what it answers.
 *
 * What it is for. A plan says which sequences a step learns from and with which weights; a
 * learner that holds the model does it. The two may be different processes, so a task is plain
 * arrays and numbers: all that the answer depends on besides the weights. How many sequences go
 * through the model at a time is not here, because it changes nothing.
 *
 * The data. S sequences of T tokens lie end to end, sequence s at start[s] .. start[s+1]-1. What
 * belongs to a token is stored at the token that is predicted: label[i] is the wanted token i
 * (or -100), and old_logp[i], advantage[i], old_value[i], wanted_value[i] belong to the act of
 * saying token i. The hidden state that predicts token i is that of token i - 1, so the first
 * token of a sequence is never predicted, and its label counts in no sum.
 *   tokens   cross-entropy of the labels, each divided by `divisor`
 *   pairs    sequences 2i (chosen) and 2i+1 (rejected); a score is read at the token read_at[s]
 *            of each sequence (an index into [T])
 *   policy   PPO's clipped policy loss of the labels
 *   value    PPO's clipped value loss at the labels
 *   kto      KTO's loss (kto.h) of marked answers: reference[s] is the summed log-prob of sequence
 *            s's labels under the reference, desirable[s] its mark, z0 the baseline (one for each
 *            group). The learner has the policy's sum only after its forward pass, so the step looks at
 *            the log-probs of a micro-batch before it learns from them
 *
 * All but tokens may have groups: neighbouring sequences with a divisor of their own, for a mean
 * of means (group g is sequences group_start[g] .. group_start[g+1]-1). A group whose mean ratio
 * exceeds ratio_threshold adds neither loss nor gradient to the policy's. Groups are part of
 * what is asked; how many sequences go through the model at a time still is not.
 *
 * Invariants.
 *   1. Every loss is a sum over tokens or pairs, in order, divided once by `divisor` (groups: each
 *      sum by its own, and those added): how the sequences are cut into micro-batches changes no bit.
 *   2. A step whose loss or gradient is not finite changes nothing but is reported. */
#ifndef TR_LEARN_TASK_H
#define TR_LEARN_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/learn/kto.h"

enum { TR_UNLABELLED = -100 };

enum tr_objective {
    TR_LEARN_TOKENS,
    TR_LEARN_PAIRS,
    TR_LEARN_POLICY,
    TR_LEARN_VALUE,
    TR_LEARN_KTO,
};

/* AdamW and clipping; constant over a run but for lr. */
struct tr_update {
    double lr, beta1, beta2, eps, weight_decay;
    double max_grad_norm; /* 0: no clipping */
    bool peer_decay;      /* decay what the peer decays (core/model/params.h): compat */
};

struct tr_sequences {
    int64_t S, T;
    const int64_t *start;                  /* [S + 1] */
    const int32_t *token;                  /* [T] */
    const int32_t *label;                  /* [T]; unused by pairs */
    const int64_t *read_at;                /* [S]; pairs only */
    const float *old_logp, *advantage;     /* [T]; policy only */
    const float *old_value, *wanted_value; /* [T]; value only */
    const double *reference;               /* [S]; kto only, as the next two */
    const uint8_t *desirable;              /* [S]: 1 or 0 */
    const double *z0;                      /* [groups], or one without groups */
    int64_t groups;                        /* not for tokens; 0: all is divided alike */
    const int64_t *group_start;            /* [groups + 1] */
    const int64_t *group_divisor;          /* [groups] */
};

struct tr_learn_task {
    enum tr_objective objective;
    struct tr_sequences seq;
    double divisor; /* labels, pairs, acting tokens or examples of the whole step */
    double clip;    /* policy and value: PPO's clip range; <= 0: none */
    double ratio_threshold; /* policy, of groups; 0: none */
    struct tr_kto kto;      /* kto only */
    struct tr_update update;
};

struct tr_learn_result {
    double loss;
    double grad_norm; /* before clipping */
    bool skipped;     /* loss or gradient was not finite: nothing changed */
    int64_t tokens;   /* through the model */
    int64_t targets;  /* labels or pairs that counted */
    int64_t t;        /* updates done, this one included */
    double accuracy;  /* pairs: share with chosen > rejected */
    /* policy and value, means over targets */
    double ratio, approx_kl, policy_kl, clip_fraction, entropy, value_error, value_mean;
    int64_t mismatch_bits; /* policy: log-probs whose bits differ from old_logp */
    /* kto: how many examples of each mark, means over them (0 where there is none), and the mean
     * of z0 over the groups (quirk 9) */
    int64_t chosen, rejected;
    double chosen_reward, rejected_reward, chosen_logp, rejected_logp, kl;
};

#endif

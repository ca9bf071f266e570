/* steps.h - optimiser steps of the real learner on the peers' padded batches.
 *
 * F1 and F10 train a model for some AdamW steps on batches `stepK.*` and keep losses, gradient
 * norms and parameters. Tolerances for parameters: AdamW's first updates are close to a sign
 * function, so where a gradient is near 0 two orders of summation part; the 99.9 % quantile of
 * the differences is bounded tightly and the maximum loosely. */
#ifndef TR_GOLDEN_STEPS_H
#define TR_GOLDEN_STEPS_H

#include "actors/learner.h"
#include "tests/golden/golden.h"

/* A learner for the model folder, or NULL and a failed case. */
struct tr_learner *tr_steps_open(struct tr_golden *g, const char *name, const char *model,
                                 bool bf16, int64_t tokens, int64_t sequences);

/* One step (or, with grad, only its gradient) on PREFIX.* of the batches: mean loss over the
 * labels, lr 1e-3, betas 0.9 and 0.999, eps 1e-8, clip 1. False when it could not be run. */
bool tr_steps_run(struct tr_golden *g, const char *name, struct tr_learner *l,
                  const struct tr_st *batches, const char *prefix, double weight_decay,
                  const float **grad, struct tr_learn_result *out);

/* Every tensor of the file against flat (masters or a gradient): every stride-th entry. The
 * quantile 99.9 % and the maximum are told as cases NAME/quantile and NAME/max. With `relative`
 * there is one case, NAME: differences over the tensor's largest entry. */
void tr_steps_compare(struct tr_golden *g, const char *name, const struct tr_learner *l,
                      const float *flat, const char *path, int64_t stride,
                      double quantile, double max, bool relative);

/* The same for those tensors of the file whose names begin with prefix, which is taken off; NULL:
 * for all. */
struct tr_steps_want {
    const char *path, *prefix;
    int64_t stride;
    double quantile, max;
    bool relative;
};
void tr_steps_compare_part(struct tr_golden *g, const char *name,
                           const struct tr_learner *l, const float *flat,
                           const struct tr_steps_want *want);

/* Checksums {tensor: {sum, abs, l2}} against flat: differences relative to abs, abs and l2. */
void tr_steps_checksums(struct tr_golden *g, const char *name, struct tr_learner *l,
                        const float *flat, json_t *sums, double tolerance);
void tr_steps_checksums_part(struct tr_golden *g, const char *name, struct tr_learner *l,
                             const float *flat, const char *prefix, json_t *sums,
                             double tolerance);

#endif

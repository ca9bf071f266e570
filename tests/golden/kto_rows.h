/* kto_rows.h - the peers' KTO batches through our plan, evaluators and learner.
 *
 * A file holds padded rows (input_ids, attention_mask, labels), their twins (kl_*) and kto_tags. They
 * become the examples of a run of one step; what the plan asks of reference and policy is answered by
 * evaluators, as roles would, and the task that comes of it goes to the learner. */
#ifndef TR_GOLDEN_KTO_ROWS_H
#define TR_GOLDEN_KTO_ROWS_H

#include "actors/evaluator.h"
#include "actors/learner.h"
#include "actors/model.h"
#include "core/learn/stage.h"
#include "tests/golden/golden.h"

enum { TR_KTO_ROWS = 256, TR_KTO_TOKENS = 8192 };

struct tr_kto_rows {
    struct tr_golden *g; /* borrows */
    const char *name;    /* borrows */
    struct tr_kto kto;
    int64_t n;
    struct tr_examples *examples; /* owns, as all below */
    struct tr_stage_plan *plan;
    struct tr_learner *policy;
    struct tr_model reference;
    struct tr_evaluator *judge[2]; /* by enum tr_stage_judge */
    struct tr_learn_task task;
};

/* DIR has policy/ and reference/; `config` pref_beta, pref_ftx, kto_chosen_weight and
 * kto_rejected_weight. False (and a failed case) when something is missing. */
bool tr_kto_rows_open(struct tr_golden *g, const char *name, const char *dir,
                      const char *batch, const json_t *config, struct tr_kto_rows *out);
void tr_kto_rows_close(struct tr_kto_rows *k);

/* Summed log-probs of the targets (0) or the twins (1) under a model: out [n]. */
bool tr_kto_rows_sums(const struct tr_kto_rows *k, enum tr_stage_judge judge, int seq,
                      double *out);

/* NAME/WHAT: |got - want| over the examples with this mark (-1: all), whose numbers are listed in
 * `want` without gaps. */
void tr_kto_rows_case(const struct tr_kto_rows *k, const char *what, int mark,
                      const double *got, const json_t *want, double tolerance);

/* The peer's own numbers: rewards beta u and losses of each example. [n] each */
void tr_kto_rows_examples(const struct tr_kto_rows *k, const double *policy,
                          const double *reference, double *reward, double *loss);

#endif

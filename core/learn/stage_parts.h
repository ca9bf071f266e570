/* stage_parts.h - what a stage plan is made of; for stage.c and stage_kto.c only. */
#ifndef TR_LEARN_STAGE_PARTS_H
#define TR_LEARN_STAGE_PARTS_H

#include "core/learn/stage.h"

/* KTO: what judges have said, and the arrays that a task borrows. Owns everything. A sum that is not
 * known yet is NaN; that of an answer without a token is 0 from the start. */
struct tr_stage_judged {
    double *target, *twin; /* [N] under the reference, by example */
    double *policy;        /* [step] twins of the next step, under the policy */
    /* the task's */
    double *reference, *z0; /* [step] */
    uint8_t *desirable;     /* [step] */
    /* an ask's */
    int64_t *start, *from; /* [2 step + 1], [2 step] */
    int32_t *token;        /* [step * the longest example] */
};

struct tr_stage_plan {
    struct tr_stage_options o;
    const struct tr_examples *examples; /* borrows */
    struct tr_stage_progress progress;
    int64_t *order[2]; /* own, as all below: the examples of an epoch [N], by parity */
    int64_t epoch[2];  /* whose; -1: none yet */
    int64_t longest;   /* tokens of an example's sequences in a task, at most */
    int64_t *start, *read_at;             /* [sequences of a step (+ 1)] */
    int32_t *token, *label;               /* [tokens of a step] */
    int64_t *group_start, *group_divisor; /* [micro-batches of a step (+ 1)] */
    struct tr_stage_judged judged;
};

/* Example i of a step of the plan, which has it. */
int64_t tr_stage_example_at(struct tr_stage_plan *p, struct tr_plan_step at, int64_t i);

/* The peer's micro-batches as groups of the task, whose n examples are `unit` sequences each: it takes
 * the mean of each and divides it by the accumulation, also where an epoch's last step has fewer
 * of them. */
void tr_stage_group(struct tr_stage_plan *p, int64_t n, int64_t unit,
                    struct tr_learn_task *task);

/* stage_kto.c; `step`: examples of a step, at most. */
enum tr_status tr_stage_judged_init(struct tr_stage_plan *p, int64_t step,
                                    struct tr_err *err);
void tr_stage_judged_fini(struct tr_stage_judged *j);
/* The weights change: what the policy said holds no longer. */
void tr_stage_judged_forget(struct tr_stage_plan *p);
/* Marks, references, baselines, groups and divisor of a task whose sequences are there. */
void tr_stage_judged_fill(struct tr_stage_plan *p, struct tr_plan_step at,
                          struct tr_learn_task *task);

#endif

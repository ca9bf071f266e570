/* step3_learn.h - the third step: a learner changes its model.
 *
 * Takes  `learn`: one optimiser step's task (core/learn/task.h), as it is there;
 *        `save`: the name of a folder to write the model and its optimiser state to.
 * Gives  `learn`: what the step measured and, when asked, the digest of the new weights;
 *        `save`: when asked, the digests of weights and of the state (masters, moments, t).
 *
 * The one digest that these units need is the learner's lineage (unit.h); the id of a learn unit
 * is the lineage after it. A learner that is asked again for the last unit that it did repeats
 * its answer and changes nothing.
 *
 * A step that was skipped because its loss or gradient was not finite says so in `skipped`; its
 * numbers are then sent as 0 with `finite` false and read as NaN. */
#ifndef TR_PROTO_STEP3_LEARN_H
#define TR_PROTO_STEP3_LEARN_H

#include "core/learn/task.h"
#include "proto/unit.h"

struct tr_ask_learn {
    int objective; /* enum tr_objective */
    bool want_digest, peer_decay;
    double divisor, clip, ratio_threshold;
    struct tr_kto kto;
    double lr, beta1, beta2, eps, weight_decay, max_grad_norm;
    struct tr_array start;                   /* i64 [S + 1] */
    struct tr_array token;                   /* i32 [T] */
    struct tr_array label;                   /* i32 [T]; empty for pairs */
    struct tr_array read_at;                 /* i64 [S]; pairs */
    struct tr_array old_logp, advantage;     /* f32 [T]; policy */
    struct tr_array old_value, wanted_value; /* f32 [T]; value */
    struct tr_array reference;               /* f64 [S]; kto */
    struct tr_array desirable;               /* u8 [S]; kto */
    struct tr_array z0;                      /* f64 [groups], at least one; kto */
    struct tr_array group_start;   /* i64 [groups + 1]; or none, as for tokens */
    struct tr_array group_divisor; /* i64 [groups] */
};

struct tr_answer_learn {
    double loss, grad_norm;
    bool finite, skipped;
    int64_t tokens, targets, t, mismatch_bits;
    double accuracy, ratio, approx_kl, policy_kl, clip_fraction, entropy, value_error,
        value_mean;
    int64_t chosen, rejected;
    double chosen_reward, rejected_reward, chosen_logp, rejected_logp, kl;
    struct tr_digests weights; /* one, or none if it was not asked for */
};

enum { TR_PATH_BYTES = 1024 };

struct tr_ask_save {
    char folder[TR_PATH_BYTES]; /* "": nothing is written */
    bool optimiser;             /* masters and moments too, to go on from */
    bool
        fresh; /* the folder is written aside and renamed, with the lineage; else written into */
    bool want_digests;
};

struct tr_answer_save {
    struct tr_digests weights, state; /* one each, or none */
};

extern const struct tr_record tr_ask_learn_record, tr_answer_learn_record;
extern const struct tr_record tr_ask_save_record, tr_answer_save_record;

/* A task on its way out (arrays borrowed), and back after a check of everything that the table
 * cannot say: lengths, offsets, ids in [0, vocab) (0: any), labels, read_at within its sequence. */
struct tr_ask_learn tr_ask_learn_from(const struct tr_learn_task *task, bool want_digest);
enum tr_status tr_ask_learn_task(const struct tr_ask_learn *a, int64_t vocab,
                                 struct tr_learn_task *task, struct tr_err *err);

struct tr_answer_learn tr_answer_learn_from(
    const struct tr_learn_result *result, const struct tr_digest *weights); /* or NULL */
struct tr_learn_result tr_answer_learn_result(const struct tr_answer_learn *a);

#endif

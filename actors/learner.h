/* learner.h - the engine of policy and critic: a model that is trained.
 *
 * Takes a task (core/learn/task.h): one optimiser step's sequences and weights.
 * Gives its loss, its gradient's norm and, in place, the updated model.
 *
 * What it is for. PT, SFT, RM and KTO need this engine alone; PPO has two of them. One call is one
 * optimiser step, a pure function of (state, task).
 *
 * The data. The state is the masters, the two moments of AdamW and the number t of updates done:
 * flat f32 buffers in the layout of core/model/params.h. Besides them the learner owns a
 * gradient buffer, the forward weights (the masters themselves, or their bf16 rounding) and the
 * activations of one micro-batch. A micro-batch is as many whole sequences (pairs stay
 * together) as fit max_sequences and max_tokens.
 *
 * Invariants.
 *   1. Micro-batches, recomputation, threads and instruction set change no bit of the state.
 *   2. A step whose loss or gradient is not finite leaves masters, moments and t alone.
 *   3. A tensor that the objective does not use (lm_head for pairs and values, the value head
 *      for tokens and policies) is left alone, without decay, as in the peer, whose gradient for it is None.
 *   4. A step allocates nothing. */
#ifndef TR_ACTORS_LEARNER_H
#define TR_ACTORS_LEARNER_H

#include "core/base/digest.h"
#include "core/learn/task.h"
#include "core/model/memory.h"
#include "core/model/weights.h"

struct tr_learner;

struct tr_learner_start {
    const char *model;          /* a Hugging Face folder, or NULL: */
    const struct tr_arch *arch; /* shapes of a model drawn from the seed */
    bool from_scratch;          /* the folder's shapes only; weights are drawn */
    uint64_t seed;              /* for what is drawn */
    bool lm_head;               /* false: a critic's trunk */
    bool value_head;            /* drawn from the seed unless the folder has one */
    bool bf16;                  /* forward weights */
    bool recompute;             /* gradient checkpointing by layer */
    int64_t max_tokens;         /* of a micro-batch */
    int64_t max_sequences;
};

/* What open will take, from shapes alone. */
enum tr_status tr_learner_memory(const struct tr_learner_start *s, struct tr_memory *out,
                                 struct tr_err *err);

/* ex is borrowed until close. TR_NOMEM says what is wanted and what the host has. */
enum tr_status tr_learner_open(const struct tr_exec *ex, const struct tr_learner_start *s,
                               struct tr_learner **out, struct tr_err *err);
void tr_learner_close(struct tr_learner *l);

/* One optimiser step. A loss or gradient that is not finite is TR_OK with result->skipped.
 * TR_BADARG when a sequence (or pair) is larger than a micro-batch may be. */
enum tr_status tr_learner_step(struct tr_learner *l, const struct tr_learn_task *task,
                               struct tr_learn_result *result, struct tr_err *err);

/* The gradient of a task without the update: a step whose last act is left out. Fills result
 * but t; the flat gradient (params layout) is borrowed until the next call. */
enum tr_status tr_learner_gradient(struct tr_learner *l, const struct tr_learn_task *task,
                                   struct tr_learn_result *result, const float **grad,
                                   struct tr_err *err);

/* What other engines of the same process compute with, and files are made from. Borrowed. */
const struct tr_weights *tr_learner_weights(const struct tr_learner *l);
const struct tr_params *tr_learner_params(const struct tr_learner *l);
const struct tr_arch *tr_learner_arch(const struct tr_learner *l);
const struct tr_exec *tr_learner_exec(const struct tr_learner *l);

/* The forward weights' digest: what units name. */
enum tr_status tr_learner_digest(const struct tr_learner *l, struct tr_digest *out,
                                 struct tr_err *err);

/* Masters, moments and t, for checkpoints and snapshots. The arrays are borrowed; whoever
 * writes into them calls tr_learner_refresh afterwards. */
struct tr_learner_state {
    float *master, *moment1, *moment2; /* [tr_params_total] each */
    int64_t *t;
};
struct tr_learner_state tr_learner_state(struct tr_learner *l);
void tr_learner_refresh(struct tr_learner *l);

/* Gives the gradient's memory back to the system until the next step takes it again. */
void tr_learner_rest(struct tr_learner *l);

/* SHA-256 over names, shapes, masters and moments in Hugging Face order, and t. */
enum tr_status tr_learner_state_digest(struct tr_learner *l, struct tr_digest *out,
                                       struct tr_err *err);

#endif

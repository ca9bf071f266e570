/* generator.h - the engine of rollout: answers, sampled token by token.
 *
 * Takes prompts as token ids, with how to sample and when to stop.
 * Gives the ids of the answers and their log-probs under the plain soft-max at temperature 1.
 *
 * What it is for. Continuous batching: sequences enter and leave at any step, each with its own
 * settings, and every step advances all that are in. A prompt longer than a step's tokens is fed
 * in pieces beside the others' next tokens.
 *
 * The data. A sequence waits, then runs (it holds a slot and the promise of all pages that it
 * may come to need), then is done and waits to be dropped. They are admitted in the order in
 * which they were added.
 *
 * Invariants.
 *   1. An answer depends on the weights and its own ask alone: token i is drawn with the number
 *      at Philox address (i, sample, prompt, step). Not on what else is in, nor on sizes.
 *   2. A step allocates nothing and cannot run out of pages.
 *   3. The first stop id ends an answer and belongs to it. */
#ifndef TR_ACTORS_GENERATOR_H
#define TR_ACTORS_GENERATOR_H

#include "core/model/decode.h"
#include "kernels/sample.h"

enum { TR_STOP_MAX = 64 };

struct tr_generator_ask {
    struct tr_sampling sampling;
    uint64_t seed;
    uint32_t step, prompt, sample;
    int64_t max_new;
    const int32_t *stop; /* [stops], stops <= TR_STOP_MAX */
    int64_t stops;
    const int32_t *token; /* [count], the prompt */
    int64_t count;
};

enum tr_generated_state { TR_GENERATED_WAITING, TR_GENERATED_RUNNING, TR_GENERATED_DONE };

struct tr_generated { /* a look at one sequence; borrows until the next call */
    enum tr_generated_state state;
    const int32_t *token; /* [count], the answer so far */
    const float *logprob; /* [count] */
    int64_t count;
    bool stopped; /* by a stop id */
};

struct tr_generator;

size_t tr_generator_bytes(const struct tr_arch *a, const struct tr_decode_size *size);

/* Borrows ex and w until destroy. */
enum tr_status tr_generator_create(const struct tr_exec *ex, const struct tr_weights *w,
                                   const struct tr_decode_size *size,
                                   struct tr_generator **out, struct tr_err *err);
void tr_generator_destroy(struct tr_generator *g);
/* Goes on with other weights of the same architecture, while no sequence is running or done: nobody
 * has a ticket. Borrowed as those at create. */
void tr_generator_use(struct tr_generator *g, const struct tr_weights *w);

/* Copies the ask. *ticket names the sequence until it is dropped. TR_BADARG when it can never
 * fit: the model's positions or the pool of pages are too few. */
enum tr_status tr_generator_add(struct tr_generator *g,
                                const struct tr_generator_ask *ask, int64_t *ticket,
                                struct tr_err *err);

/* One step of all that run. TR_AGAIN when nobody waits or runs; TR_NOTNUM when a logit is
 * not finite, which only broken weights can do. */
enum tr_status tr_generator_step(struct tr_generator *g, struct tr_err *err);

struct tr_generated tr_generator_see(const struct tr_generator *g, int64_t ticket);
void tr_generator_drop(struct tr_generator *g, int64_t ticket); /* in any state */

struct tr_generator_counts { /* since create */
    int64_t steps, prompt_tokens, answer_tokens;
};
struct tr_generator_counts tr_generator_counts(const struct tr_generator *g);

#endif

/* learning.h - small tasks for the tests of learners: random sequences with all that any objective
 * asks for. Everything asserts. */
#ifndef TR_TEST_LEARNING_H
#define TR_TEST_LEARNING_H

#include "actors/learner.h"

struct learning {
    struct tr_learn_task task;
    int64_t *start, *read_at; /* own, as all below; [S + 1], [S] */
    int32_t *token, *label;   /* [T] */
    float *old_logp, *advantage, *old_value, *wanted_value; /* [T] */
    double *reference;                                      /* [S] */
    uint8_t *desirable;                                     /* [S] */
};

/* S sequences of 2 to 70 tokens below V; the first half of each is prompt. S is even. */
void learning_open(struct learning *x, enum tr_objective objective, int64_t V, int64_t S,
                   uint64_t seed);
void learning_close(struct learning *x);

/* How a learner goes about it: what must change no bit. */
struct learning_way {
    const char *name;
    const char *isa;
    int threads;
    int64_t max_tokens, max_sequences;
    bool recompute;
};

/* Opens ex and a learner drawn from seed 7 for arch. False when this CPU lacks the isa. */
bool learning_learner(const struct learning_way *way, const struct tr_arch *a, bool bf16,
                      struct tr_exec *ex, struct tr_learner **out);

struct tr_digest learning_state(struct tr_learner *l);

#endif

/* tiny.h - small random models for tests, and the same transformer in plain doubles.
 *
 * What it is for. The kernels, the trunk and the heads are compared with a second formulation
 * that shares no code with them: naive_run, loops over doubles written from the equations.
 * Central differences of it give the gradient of every element to ten digits.
 *
 * Everything asserts: a test that cannot build its model has failed. */
#ifndef TR_TEST_TINY_H
#define TR_TEST_TINY_H

#include "core/model/head.h"
#include "core/model/trunk.h"

/* splitmix64: any seed will do. */
uint64_t tiny_word(uint64_t *seed);
float tiny_real(uint64_t *seed); /* in [-1, 1) */

struct tiny_arch {
    const char *name;
    struct tr_arch arch;
};
/* Llama and Qwen2; tied and not; heads grouped, wider and narrower than d / H; all biases;
 * llama3 rope. */
extern const struct tiny_arch tiny_archs[];
extern const int tiny_arch_count;

struct tiny {
    struct tr_exec ex;
    struct tr_params *params; /* with lm_head and value head */
    float *masters;           /* owns, as all here */
    struct tr_weights *w;
};

/* Random weights that depend on the arch and seed only. False when this CPU lacks the isa
 * (NULL: the best). */
bool tiny_open(struct tiny *m, const struct tr_arch *a, uint64_t seed, const char *isa,
               int threads, enum tr_math math, bool bf16);
void tiny_close(struct tiny *m);

/* A batch of S random sequences of these lengths; wanted[t] is a random next id. */
struct tiny_batch {
    struct tr_batch b;
    int32_t *token, *wanted; /* [T] own */
    int64_t *start;          /* [S + 1] owns */
};
void tiny_batch_open(struct tiny_batch *t, int64_t V, uint64_t seed, int64_t S,
                     const int64_t *length);
void tiny_batch_close(struct tiny_batch *t);

/* The loss that tests differentiate: sum over rows of coef[t] * logp(wanted[t]) +
 * value_coef[t] * value. */
struct tiny_loss {
    const struct tr_batch *b;
    const int32_t *wanted;
    const float *coef, *value_coef; /* [T] */
};

/* Forward and backward through the real thing. logp, value [T]; grad a flat buffer that is
 * continued, embed_grad [V, d] (a buffer of its own when tied). */
struct tiny_out {
    float *logp, *value, *grad, *embed_grad;
};
void tiny_step(const struct tiny *m, struct tr_trunk *trunk, struct tr_head *head,
               const struct tiny_loss *loss, const struct tiny_out *out);

/* The same loss in doubles. tensor[i] holds parameter i in Hugging Face order; logp, value [T]
 * and hidden [T, d] may be NULL. */
double naive_run(const struct tr_params *p, double *const *tensor,
                 const struct tiny_loss *loss, double *logp, double *value,
                 double *hidden);

#endif

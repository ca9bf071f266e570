/* model.h - a model that is only used: its shapes, its forward weights, their digest.
 *
 * What it is for. A role is an engine and a model slot. Learners keep masters of their own
 * (learner.h); generators and evaluators compute with what is here.
 *
 * Invariants.
 *   1. `digest` is that of `weights`, always.
 *   2. A model drawn from a seed is the learner's of that seed and shape, to the bit. */
#ifndef TR_ACTORS_MODEL_H
#define TR_ACTORS_MODEL_H

#include "core/model/weights.h"

struct tr_model_start {
    const char *folder;         /* a Hugging Face folder, or NULL: */
    const struct tr_arch *arch; /* shapes of a model that is drawn from the seed */
    uint64_t seed;
    bool lm_head, value_head, bf16;
};

struct tr_model {
    struct tr_arch arch;
    struct tr_params *params;   /* owns */
    struct tr_weights *weights; /* owns */
    float *drawn; /* owns; what f32 weights of a drawn model lie in, or NULL */
    struct tr_digest digest;
};

/* ex is borrowed during the call. TR_BADARG when a folder lacks a head that is asked for. */
enum tr_status tr_model_open(const struct tr_exec *ex, const struct tr_model_start *s,
                             struct tr_model *out, struct tr_err *err);

/* The same without the digest, for who has nobody to tell it to. */
enum tr_status tr_model_load(const struct tr_exec *ex, const struct tr_model_start *s,
                             struct tr_model *out, struct tr_err *err);
void tr_model_close(struct tr_model *s);

#endif

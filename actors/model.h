/* model.h - a model that is only used: its shapes, its forward weights, their digest.
 *
 * What it is for. A role is an engine and a model slot. Learners keep masters of their own
 * (learner.h); generators and evaluators compute with what is here.
 *
 * The data. Weights come from a folder, from a seed, from a packed file (core/model/packed.h) that
 * is mapped, or in chunks over the wire (fetch.h), which also end up in a packed file.
 *
 * Invariants.
 *   1. `digest` is that of `weights`, always.
 *   2. A model drawn from a seed is the learner's of that seed and shape, to the bit. */
#ifndef TR_ACTORS_MODEL_H
#define TR_ACTORS_MODEL_H

#include "core/model/packed.h"

struct tr_model_start {
    const char *folder;         /* a Hugging Face folder, or NULL: */
    const struct tr_arch *arch; /* shapes of a model that is drawn from the seed */
    uint64_t seed;
    bool lm_head, value_head, bf16;
};

struct tr_model_shape { /* what weights a slot takes */
    struct tr_arch arch;
    bool lm_head, value_head, bf16;
};

struct tr_model {
    struct tr_arch arch;
    struct tr_params *params; /* owns */
    const struct tr_weights *weights;
    struct tr_weights *own;   /* owns; `weights`, or NULL when they lie in */
    struct tr_packed *packed; /* owns */
    bool fetched; /* over the wire: the file is ours to give and to take away */
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

/* ---- packed files ---- */

/* Of weights that are there already: the shape, and a model in a file of its own in dir (NULL: one
 * without a name). chunk and digest are those of w. */
struct tr_model_shape tr_model_shape_of(const struct tr_weights *w);
enum tr_status tr_model_pack(const struct tr_weights *w, const struct tr_exec *ex,
                             const struct tr_digest *chunk,
                             const struct tr_digest *digest, const char *dir,
                             struct tr_model *out, struct tr_err *err);

/* Maps a file of this shape and digest. */
enum tr_status tr_model_map(const struct tr_model_shape *shape, enum tr_math math,
                            const char *path, const struct tr_digest *want,
                            struct tr_model *out, struct tr_err *err);

/* An empty file of this shape, to be filled and sealed (packed.h) by the caller, who then calls
 * settle. */
enum tr_status tr_model_blank(const struct tr_model_shape *shape, enum tr_math math,
                              const char *dir, struct tr_model *out, struct tr_err *err);
void tr_model_settle(struct tr_model *m);

/* The same packed model once more, for another thread. */
enum tr_status tr_model_again(const struct tr_model *m, struct tr_model *out,
                              struct tr_err *err);

#endif

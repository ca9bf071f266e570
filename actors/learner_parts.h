/* learner_parts.h - what a learner is made of; for learner.c and learner_step.c only. */
#ifndef TR_ACTORS_LEARNER_PARTS_H
#define TR_ACTORS_LEARNER_PARTS_H

#include "actors/learner.h"
#include "core/base/arena.h"
#include "core/model/head.h"
#include "core/model/trunk.h"

struct tr_learner {
    const struct tr_exec *ex; /* borrows */
    struct tr_params *params; /* owns, as all below but the arena's arrays */
    struct tr_weights *weights;
    struct tr_trunk *trunk;
    struct tr_head *head; /* NULL without an output layer */
    struct tr_arena arena;
    int64_t max_tokens, max_sequences;
    int64_t t; /* updates done */

    float *master, *moment1, *moment2, *grad; /* [total] */
    float *
        embed_grad; /* tied: the lookup's gradient, the size of the embedding; else NULL */
    float *dhidden;        /* [max_tokens, d] */
    float *value, *dvalue; /* [max_tokens] */
    int64_t *row;          /* [max_tokens] */
    int32_t *target;       /* [max_tokens] */
    int64_t *start;        /* [max_sequences + 1] */
};

#endif

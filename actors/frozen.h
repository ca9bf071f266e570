/* frozen.h - an evaluator with a model slot of its own: what reference and reward are made of. */
#ifndef TR_ACTORS_FROZEN_H
#define TR_ACTORS_FROZEN_H

#include "actors/evaluator.h"
#include "actors/role.h"

struct tr_frozen {
    struct tr_model slot;
    struct tr_evaluator *evaluator; /* owns */
};

/* With the output layer (a reference) or with the value head (a reward model). */
enum tr_status tr_frozen_open(const struct tr_role_start *start, bool lm_head,
                              bool value_head, void **self, struct tr_err *err);
void tr_frozen_close(void *self);
void tr_frozen_holds(const void *self, struct tr_digests *out);

/* Any judging unit of this kind that needs the slot's digest. */
enum tr_status tr_frozen_answer(struct tr_frozen *f, const struct tr_unit *unit,
                                struct tr_content *out, struct tr_err *err);

#endif

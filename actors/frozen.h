/* frozen.h - evaluators with models of their own: what reference and reward are made of.
 *
 * What it is for. A reward model is swapped while the run goes on, and a reference may be asked about
 * the policy as well: there are a few models on a shelf, and an evaluator for each that was
 * asked for. */
#ifndef TR_ACTORS_FROZEN_H
#define TR_ACTORS_FROZEN_H

#include "actors/evaluator.h"
#include "actors/role.h"
#include "actors/shelf.h"

struct tr_frozen {
    const struct tr_exec *ex; /* borrows */
    int64_t max_tokens;       /* of an evaluator */
    struct tr_model_shape shape;
    struct tr_shelf shelf;
    struct {
        const struct tr_model *model;   /* on the shelf, or NULL */
        struct tr_evaluator *evaluator; /* owns */
    } engine[TR_SHELF_MODELS];
};

/* With the output layer (a reference) or with the value head (a reward model). */
enum tr_status tr_frozen_open(const struct tr_role_start *start, bool lm_head,
                              bool value_head, void **self, struct tr_err *err);
void tr_frozen_close(void *self);
void tr_frozen_holds(const void *self, struct tr_digests *out);
bool tr_frozen_shape(const void *self, struct tr_model_shape *out);
enum tr_status tr_frozen_adopt(void *self, struct tr_model *take, struct tr_err *err);
void tr_frozen_forget(void *self, const struct tr_digest *digest);

/* The evaluator of these weights, made when it is first asked for. Borrowed until they are forgotten.
 * TR_STALE when they are not held. */
enum tr_status tr_frozen_evaluator(struct tr_frozen *f, const struct tr_digest *digest,
                                   struct tr_evaluator **out, struct tr_err *err);

/* Any judging unit of this kind that needs one digest. */
enum tr_status tr_frozen_answer(struct tr_frozen *f, const struct tr_unit *unit,
                                struct tr_content *out, struct tr_err *err);

#endif

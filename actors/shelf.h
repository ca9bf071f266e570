/* shelf.h - the models that a role has at hand, each under its digest.
 *
 * What it is for. Weights change while units for the old ones are still in hand: a rollout answers
 * with version t while t + 1 is being loaded, a reference may be asked about the policy as well. A
 * learner keeps here what it has published.
 *
 * Invariants.
 *   1. At most TR_SHELF_MODELS, each digest once, in the order in which they came.
 *   2. A model stays where it is in memory until it is dropped. */
#ifndef TR_ACTORS_SHELF_H
#define TR_ACTORS_SHELF_H

#include "actors/model.h"
#include "proto/field.h"

enum { TR_SHELF_MODELS = 4 };

struct tr_shelf {                         /* all zero: empty */
    struct tr_model *at[TR_SHELF_MODELS]; /* owns */
    int64_t n;
};

/* Takes what *take holds, also on failure; *take is then empty. One that is there already is closed.
 * TR_NOMEM when the shelf is full. */
enum tr_status tr_shelf_put(struct tr_shelf *s, struct tr_model *take,
                            struct tr_err *err);
/* Or NULL. Borrowed until it is dropped. */
struct tr_model *tr_shelf_find(const struct tr_shelf *s, const struct tr_digest *digest);
/* False when there is none. */
bool tr_shelf_drop(struct tr_shelf *s, const struct tr_digest *digest);
struct tr_digests tr_shelf_holds(const struct tr_shelf *s);
void tr_shelf_fini(struct tr_shelf *s);

#endif

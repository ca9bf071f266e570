/* trainee.h - a learner that takes units: what policy and critic are made of.
 *
 * What it is for. A learn unit changes the model, so asking twice must not learn twice. A trainee
 * keeps its last answer by unit id and repeats it.
 *
 * The data. `lineage` is what a learn unit needs (proto/unit.h): at first the digest of the
 * weights, afterwards the id of the last learn unit. `weights` is the digest of the forward
 * weights, known whenever `hashed`. A policy that was given a folder for it publishes its weights
 * when it opens and whenever a learn unit wants their digest: it writes them as a packed file, keeps
 * that as long as `keep` and `drop` allow, and offers it. The copy is what others get, so the next
 * update can begin at once.
 *
 * Invariants.
 *   1. The same learn unit twice in a row: one update, one answer.
 *   2. A learn unit that names another lineage is TR_STALE and changes nothing.
 *   3. A learn unit that wants a digest is not answered before its weights are published; when that
 *      fails, the unit fails, and asked again it publishes without learning again. */
#ifndef TR_ACTORS_TRAINEE_H
#define TR_ACTORS_TRAINEE_H

#include "actors/evaluator.h"
#include "actors/learner.h"
#include "actors/role.h"
#include "actors/shelf.h"
#include "proto/step3_learn.h"

struct tr_trainee {
    struct tr_learner *learner;     /* owns, or borrows: `borrowed` */
    struct tr_evaluator *evaluator; /* owns; made when the first judging unit comes */
    char folder[TR_PATH_BYTES];     /* the model it came from, "" if none */
    int64_t max_tokens;             /* of the evaluator */
    bool borrowed;
    struct tr_digest lineage, weights;
    bool hashed;
    struct tr_digest *chunk; /* owns; of the forward weights, while `hashed` */
    struct tr_content
        last;    /* owns; the answer to `lineage`, once there was a learn unit */
    bool wanted; /* `lineage` wanted the digest of its weights */
    bool publishes;
    char place[TR_PATH_BYTES]; /* the folder of its files, "" if they have no name */
    struct tr_source *source;  /* shared, or NULL */
    int64_t keep;
    struct tr_shelf published;
    struct tr_digests unsaid; /* published, not offered yet */
};

/* With the output layer (a policy) or the value head (a critic). */
enum tr_status tr_trainee_open(const struct tr_role_start *start, bool lm_head,
                               bool value_head, void **self, struct tr_err *err);
void tr_trainee_close(void *self);
void tr_trainee_holds(const void *self, struct tr_digests *out);
bool tr_trainee_offer(void *self, struct tr_offer *out);
/* Published weights: their file goes. */
void tr_trainee_forget(void *self, const struct tr_digest *digest);

enum tr_status tr_trainee_learn(struct tr_trainee *t, const struct tr_unit *unit,
                                struct tr_content *out, struct tr_err *err);
/* Writes the folder, if one is named, and says the digests. Changes nothing. */
enum tr_status tr_trainee_save(struct tr_trainee *t, const struct tr_unit *unit,
                               struct tr_content *out, struct tr_err *err);
/* A judging unit, by the weights as they are now. */
enum tr_status tr_trainee_judge(struct tr_trainee *t, const struct tr_unit *unit,
                                struct tr_content *out, struct tr_err *err);

#endif

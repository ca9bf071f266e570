/* loader.h - new weights made ready while the old ones answer.
 *
 * Takes `load`: a digest, and where its weights are: a packed file, sources, a folder.
 * Gives a model to the desk, and `loaded`.
 *
 * What it is for. Mapping a file takes no time, but a folder is read and hashed, and chunks come over
 * a wire (fetch.h). Of the processes of a host that share a folder for packed weights one fetches, and
 * the others map its file. That happens in a thread of its own with arithmetic of its own (one thread); the desk
 * gets the model between two bits of work.
 *
 * Invariants.
 *   1. Each load that was taken is answered by one `loaded`, in order.
 *   2. What is handed over has the digest that was wanted. One of zeros wants whatever the folder
 *      holds.
 *   3. Weights that are dropped while they are being loaded are not handed over. */
#ifndef TR_ACTORS_LOADER_H
#define TR_ACTORS_LOADER_H

#include <stdatomic.h>

#include "actors/desk.h"
#include "actors/fetch.h"

struct tr_load_set {                    /* borrows all */
    const struct tr_model_shape *shape; /* what the role takes */
    const struct tr_exec *ex;
    const char *place; /* the folder for what is fetched; NULL: files without a name */
    struct tr_fetcher *fetcher; /* NULL: sources are not asked */
    const atomic_bool *stop;    /* ends it early */
};

/* The load itself: the first of file, source and folder that has the weights. TR_GONE when none has,
 * and why. */
enum tr_status tr_load_model(const struct tr_load_set *set, const struct tr_load *load,
                             struct tr_model *out, struct tr_err *err);

struct tr_loader_set {
    struct tr_model_shape shape;
    enum tr_math math;
    const char *isa;            /* borrowed during open, as the next */
    const char *place;          /* or NULL */
    const struct tr_keys *keys; /* for sources; borrowed until close; NULL: none */
};

struct tr_loader;

/* Borrows the desk until close. */
enum tr_status tr_loader_open(const struct tr_loader_set *set, struct tr_desk *desk,
                              struct tr_loader **out, struct tr_err *err);
/* TR_NOMEM when too many wait. */
enum tr_status tr_loader_ask(struct tr_loader *l, const struct tr_load *load,
                             struct tr_err *err);
void tr_loader_forget(struct tr_loader *l, const struct tr_digest *digest);
void tr_loader_close(struct tr_loader *l); /* what waits is forgotten */

#endif

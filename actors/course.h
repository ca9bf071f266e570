/* course.h - a learner taught step by step, wherever it lives.
 *
 * What it is for. A run of PT, SFT or RM is a row of tasks with logs and checkpoints between them.
 * A course carries each task as a unit through the coordinator's core to the learner and waits
 * for the answer: to a learner in this process, or to a `troupe role policy` that joined over
 * ZeroMQ. The caller cannot tell which, and nor can the digest.
 *
 * Invariants.
 *   1. One thing is asked at a time; every call returns when it is answered.
 *   2. Here or served, the same units travel through the same codec. */
#ifndef TR_ACTORS_COURSE_H
#define TR_ACTORS_COURSE_H

#include "actors/learner.h"
#include "core/base/log.h"

struct tr_course;

/* The learner lives here; borrowed until close. folder: the model it came from, or NULL. */
enum tr_status tr_course_open_here(struct tr_learner *learner, const char *folder,
                                   struct tr_course **out, struct tr_err *err);

/* A learner will join at this address (proto/wire.h); the real one is written to bound
 * [TR_ADDRESS_BYTES]. It is waited for by the first call that needs it, for join_seconds. log is
 * borrowed until close. */
enum tr_status tr_course_open_served(const char *address, double join_seconds,
                                     char *bound, const struct tr_log *log,
                                     struct tr_course **out, struct tr_err *err);

/* While something is waited for, alive(ctx) is asked several times a second; once it is false the
 * call ends with TR_GONE. For who knows the learner's process. */
void tr_course_watch(struct tr_course *c, bool (*alive)(void *ctx), void *ctx);

/* One optimiser step, as tr_learner_step. */
enum tr_status tr_course_learn(struct tr_course *c, const struct tr_learn_task *task,
                               struct tr_learn_result *result, struct tr_err *err);

/* Writes the model (with `optimiser` also what training needs to go on) into a folder, as
 * tr_checkpoint_write. folder NULL writes nothing. weights and state, the digests, may both be NULL. */
enum tr_status tr_course_save(struct tr_course *c, const char *folder, bool optimiser,
                              struct tr_digest *weights, struct tr_digest *state,
                              struct tr_err *err);

/* Says bye to the learner. */
void tr_course_close(struct tr_course *c);

#endif

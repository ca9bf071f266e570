/* course.h - a learner taught step by step, wherever it lives.
 *
 * What it is for. A run of PT, SFT, RM or KTO is a row of tasks with logs and checkpoints between
 * them. A course carries each task as a unit through the coordinator's core to the learner and
 * waits for the answer: to a learner in this process, or to `troupe role policy` that joined over
 * ZeroMQ. The caller cannot tell which, and nor can the digest. KTO has judges beside the learner,
 * whose answers come while others are waited for.
 *
 * Invariants.
 *   1. Of the learner one thing is asked at a time; learn and save return when it is answered.
 *   2. Here or served, the same units travel through the same codec. */
#ifndef TR_ACTORS_COURSE_H
#define TR_ACTORS_COURSE_H

#include "actors/coordinator/memo.h"
#include "actors/learner.h"
#include "actors/role.h"
#include "core/base/log.h"
#include "proto/keys.h"
#include "proto/step2_judge.h"

struct tr_course;

/* Who judges for KTO: the numbers that answer the ask of this tag. */
struct tr_course_judges {
    enum tr_status (*told)(void *ctx, int64_t tag, const float *number, int64_t n,
                           struct tr_err *err);
    void *ctx;
    const struct tr_role_start *reference; /* here: how it starts, borrowed until close */
    int64_t replicas;                      /* served: references to wait for */
};

/* The learner lives here; borrowed until close. folder: the model it came from, or NULL. judges NULL:
 * there are none. */
enum tr_status tr_course_open_here(struct tr_learner *learner, const char *folder,
                                   const struct tr_course_judges *judges,
                                   struct tr_course **out, struct tr_err *err);

struct tr_course_served {
    const char *address;        /* proto/wire.h */
    const struct tr_keys *keys; /* or NULL; borrowed during open */
    double join_seconds;
    const struct tr_memo *memo; /* or NULL; borrowed until close */
    const struct tr_log *log;   /* borrowed until close */
};

/* A learner will join; the real address is written to bound [TR_ADDRESS_BYTES]. It is waited for by
 * the first call that needs it, for join_seconds. */
enum tr_status tr_course_open_served(const struct tr_course_served *s,
                                     const struct tr_course_judges *judges, char *bound,
                                     struct tr_course **out, struct tr_err *err);

/* While something is waited for, tend(ctx) is called several times a second; a failure ends the
 * call. For who looks after the processes. */
void tr_course_watch(struct tr_course *c,
                     enum tr_status (*tend)(void *ctx, struct tr_err *err), void *ctx);

/* One optimiser step, as tr_learner_step. */
enum tr_status tr_course_learn(struct tr_course *c, const struct tr_learn_task *task,
                               struct tr_learn_result *result, struct tr_err *err);

/* Asks for log-probs of the reference, or of the policy as it is now; told hears of them. tag > 0. */
enum tr_status tr_course_judge(struct tr_course *c, enum tr_role role,
                               const struct tr_ask_judge *ask, int64_t tag,
                               struct tr_err *err);
/* Lets a moment pass in which answers may be told. */
enum tr_status tr_course_turn(struct tr_course *c, struct tr_err *err);

/* Writes the model (with `optimiser` also what training needs to go on) into a folder, as
 * tr_checkpoint_write. folder NULL writes nothing. weights and state, the digests, may both be NULL. */
enum tr_status tr_course_save(struct tr_course *c, const char *folder, bool optimiser,
                              struct tr_digest *weights, struct tr_digest *state,
                              struct tr_err *err);
/* What the learner's next unit needs. */
struct tr_digest tr_course_lineage(const struct tr_course *c);

/* Says bye to all. */
void tr_course_close(struct tr_course *c);

#endif

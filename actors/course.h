/* course.h - a learner taught step by step.
 *
 * What it is for. A run of PT, SFT, RM or KTO is a row of tasks with logs and checkpoints between
 * them. A course carries each task as a unit through the coordinator's core to the learner that
 * joined over ZeroMQ, and waits for the answer. KTO has judges beside the learner, whose answers
 * come while others are waited for; people's questions are answered then as well.
 *
 * Invariants.
 *   1. Of the learner one thing is asked at a time; learn and save return when it is answered. */
#ifndef TR_ACTORS_COURSE_H
#define TR_ACTORS_COURSE_H

#include "actors/coordinator/core.h"
#include "core/base/log.h"
#include "core/learn/task.h"
#include "proto/step2_judge.h"
#include "proto/wire.h"

struct tr_course;

struct tr_course_owner { /* who runs it */
    void *ctx;
    /* While something is waited for, several times a second; a failure ends the call. Or NULL. */
    enum tr_status (*tend)(void *ctx, struct tr_err *err);
    /* The numbers that answer the judging ask of this tag. NULL without judges. */
    enum tr_status (*told)(void *ctx, int64_t tag, const float *number, int64_t n,
                           struct tr_err *err);
    /* A person asks (coordinator/core.h). Or NULL. */
    enum tr_status (*ask)(void *ctx, struct tr_core *core, const char *what,
                          const char *argument, struct tr_buf *reply, struct tr_err *err);
};

struct tr_course_settings {     /* wire, memo and log are borrowed until close */
    const char *run;            /* its id */
    struct tr_wire *wire;       /* one that listens */
    const char *math;           /* of all (coordinator/core.h), or NULL */
    double join_seconds;        /* how long to wait until all are there */
    int64_t references;         /* how many to wait for; 0: there are no judges */
    const struct tr_memo *memo; /* or NULL */
    const struct tr_log *log;
};

/* The learner, and the references, will join; the first call that needs them waits too. */
enum tr_status tr_course_open(const struct tr_course_settings *s,
                              const struct tr_course_owner *owner, struct tr_course **out,
                              struct tr_err *err);

/* Waits until all are there. */
enum tr_status tr_course_wait(struct tr_course *c, struct tr_err *err);

/* One optimiser step, as tr_learner_step. */
enum tr_status tr_course_learn(struct tr_course *c, const struct tr_learn_task *task,
                               struct tr_learn_result *result, struct tr_err *err);

/* Asks for log-probs of the reference, or of the policy as it is now; told hears of them, at once when
 * the memo has them. tag > 0. */
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
/* For who looks after the processes. Borrowed. */
struct tr_core *tr_course_core(struct tr_course *c);

/* Says bye to all. */
void tr_course_close(struct tr_course *c);

#endif

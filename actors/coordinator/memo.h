/* memo.h - answers that outlive the process, by the id of their unit.
 *
 * What it is for. A unit's answer is a pure function of its content, so an answer that was kept
 * need not be computed again: after a restart the coordinator plans the same units anew, and those
 * with a kept answer are answered at once. Of learn units the unit itself is kept as well, for
 * a learner that went back to a snapshot is taught the same steps once more.
 *
 * The data. `step` says how long an answer is of use: until that step is committed, or, for
 * TR_MEMO_ALWAYS, as long as the run. Learn units are kept until a snapshot lies behind them.
 *
 * Two keep it: the journal (journal.h) and, in the simulator, plain memory.
 *
 * Invariants.
 *   1. What was kept before a flush that returned TR_OK is found after a crash of the process.
 *   2. find gives the very bytes that were kept. */
#ifndef TR_ACTORS_COORDINATOR_MEMO_H
#define TR_ACTORS_COORDINATOR_MEMO_H

#include "proto/message.h"
#include "proto/unit.h"

enum { TR_MEMO_ALWAYS = -1 };

struct tr_memo_entry { /* one answer as it came; borrows */
    const struct tr_unit *unit;
    enum tr_role role;
    const char *slot; /* "" but for one of several rewards */
    int64_t step;     /* or TR_MEMO_ALWAYS */
    const struct tr_content *answer;
    const char *worker; /* its instance */
    double queue_seconds, compute_seconds;
};

struct tr_memo {
    void *self;
    /* TR_AGAIN when there is none. The caller owns *answer when TR_OK. */
    enum tr_status (*find)(void *self, const struct tr_digest *unit,
                           struct tr_content *answer, struct tr_err *err);
    enum tr_status (*keep)(void *self, const struct tr_memo_entry *e, struct tr_err *err);
    /* The learn unit of this role that needs this lineage, with its answer's digest; TR_AGAIN
     * when there is none. The caller owns *unit. */
    enum tr_status (*next_learn)(void *self, enum tr_role role,
                                 const struct tr_digest *lineage, struct tr_unit *unit,
                                 struct tr_digest *answer, struct tr_err *err);
    /* The newest step that an answer was kept for: up to there units have gone out. 0: none. */
    enum tr_status (*newest_step)(void *self, int64_t *step, struct tr_err *err);
    enum tr_status (*flush)(void *self, struct tr_err *err);
    /* Something happened to a worker: for people, with the next flush. May be NULL. kind: a word. */
    enum tr_status (*event)(void *self, enum tr_role role, const char *instance,
                            const char *kind, const char *text, struct tr_err *err);
};

#endif

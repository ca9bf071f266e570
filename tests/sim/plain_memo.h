/* plain_memo.h - a memo in plain memory, which forgets what was not flushed when it is told to crash.
 *
 * The data. Entries as they came: a unit's id, its answer and, of learn units, the unit. Those after
 * `flushed` are lost by a crash. Beside them the state of the last committed step. */
#ifndef TR_SIM_PLAIN_MEMO_H
#define TR_SIM_PLAIN_MEMO_H

#include "actors/coordinator/memo.h"

struct tr_plain_entry {
    struct tr_digest id, needs, answer_digest;
    enum tr_role role;
    bool learn;
    int64_t step;
    struct tr_content answer, unit; /* own */
};

struct tr_plain_memo {
    struct tr_plain_entry *at; /* owns */
    int64_t n, room, flushed;
    char *state,
        *next_state; /* own; of the last committed step, and the same before its flush */
};

void tr_plain_memo_init(struct tr_plain_memo *m);
void tr_plain_memo_fini(struct tr_plain_memo *m);
struct tr_memo tr_plain_memo_memo(struct tr_plain_memo *m);
/* With the next flush. */
void tr_plain_memo_commit(struct tr_plain_memo *m, const char *state);
void tr_plain_memo_crash(struct tr_plain_memo *m);

#endif

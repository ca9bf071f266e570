/* made_journal.h - what a run would write into its journal, by number. Everything asserts. */
#ifndef TR_TEST_MADE_JOURNAL_H
#define TR_TEST_MADE_JOURNAL_H

#include "actors/coordinator/journal.h"
#include "tests/unit/scratch.h"

struct place { /* a folder, the journal in it, and SQLite's log beside that */
    char dir[SCRATCH_ROOM], path[SCRATCH_ROOM], log[SCRATCH_ROOM];
};
void open_place(struct place *p);
void close_place(const struct place *p);

struct tr_digest made_digest(const char *text, int64_t i); /* "text-i" */
struct tr_journal_meta made_meta(void);

/* A journal in path, new if need be. */
struct tr_journal *made_open(const char *path);

/* Unit i and its answer of T tokens (generate), or of one number (score). The caller frees both. */
void made_generate(int64_t i, int64_t T, struct tr_unit *unit, struct tr_content *answer);
void made_score(int64_t i, struct tr_unit *unit, struct tr_content *answer);
/* Learn unit number i of a chain that starts with made_digest(role, 0) as its lineage. */
void made_learn(enum tr_role role, int64_t i, struct tr_unit *unit,
                struct tr_content *answer);
struct tr_digest made_lineage(enum tr_role role, int64_t i); /* before learn unit i */

enum tr_status made_keep(struct tr_journal *j, enum tr_role role, int64_t step,
                         const struct tr_unit *unit, const struct tr_content *answer);

bool same_content(const struct tr_content *a, const struct tr_content *b);

/* Step t with n rollouts of up to `most` tokens, all by number. The texts are made's. */
enum { MADE_ROLLOUTS = 16, MADE_TOKENS = 64 };
struct made_step {
    struct tr_journal_step step;
    char state[64], metrics[96];
    int64_t n;
    struct tr_journal_rollout rollout[MADE_ROLLOUTS];
    struct tr_journal_score score[MADE_ROLLOUTS][2];
    int32_t token[2][MADE_TOKENS];
    float number[3][MADE_TOKENS];
};
void made_step(struct made_step *s, int64_t t, int64_t n);

/* Six steps (1 to 6), four rollouts each, an evaluation after step 3, two swaps of which one waits,
 * two snapshots, kept answers and learn units, events, workers, counters. Left open. */
struct tr_journal *made_full(const char *path);

#endif

/* journal.h - run.db, what the coordinator knows beyond its own life.
 *
 * What it is for. A coordinator that was killed goes on where it was: the answers it had are
 * found again by the ids of their units (memo.h), a learner that went back to a snapshot is taught
 * the steps since, and everything the next step depends on lies beside the last committed step.
 * People read the same file: who said what about which answer, and when a reward was swapped.
 *
 * The data. One SQLite file; docs/journal.md has the tables, the layout of every blob and queries.
 *
 *     keep, keep, keep ... flush      answers, as they arrive; flush makes them last
 *     commit                          a step: its row and its rollouts come, its answers go
 *     note_snapshot, prune            what a learner can go back to; what need not be kept for it
 *
 * Changes gather in one transaction until flush or commit. It is written ahead (WAL) and handed
 * to the kernel, which is all that a kill of the process asks for; the disk is waited for when
 * the log is folded into the file, and for a snapshot: a learner may go back to it, so all before
 * it has to be there after a loss of power too. Such a loss costs at most the last flushes, and
 * replay makes the same of them again. The file is locked exclusively, so the log's index needs no
 * shared memory, and a network file system will do.
 *
 * Invariants.
 *   1. What was kept before a flush that returned TR_OK is found after kill -9 of the process. After
 *      a loss of power the file is as some earlier flush left it, never between two.
 *   2. find gives the very bytes that were kept.
 *   3. A step, its rollouts and the end of its answers are one transaction.
 *   4. A learn unit stays until its step is committed and a snapshot of its role lies behind it.
 *   5. After a write that failed nothing more is taken: the same failure again. The file is as the
 *      last flush left it.
 *   6. What is read was sealed when it was written: damage is TR_IO, never other numbers.
 *   7. One process has the file; a second one is told which. A file of another program or another
 *      schema is refused and not changed.
 *   8. Memory does not grow with the run; events and workers are bounded, the last ones stay. */
#ifndef TR_ACTORS_COORDINATOR_JOURNAL_H
#define TR_ACTORS_COORDINATOR_JOURNAL_H

#include "actors/coordinator/core.h"
#include "actors/coordinator/memo.h"

struct tr_journal;

enum { TR_JOURNAL_SCHEMA = 1, TR_JOURNAL_TEXT = 1 << 20 }; /* a JSON text, bytes */

struct tr_journal_meta {
    char run[72];            /* the run's id */
    uint64_t seed;           /* of the run */
    struct tr_digest config; /* of the resolved configuration */
    char stage[8];           /* pt, sft, rm, kto, ppo; "": not said, as of ppo */
    char version[32];        /* of the program that made the file */
    double created;          /* seconds since 1970; set when the file is made */
};

struct tr_journal_settings { /* zeroes are fine */
    int64_t events;          /* the last ones that are kept; 0: 100,000 */
    int64_t busy_ms;         /* to wait for a reader that has the file; 0: 3000 */
    int64_t log_bytes; /* written ahead before they are folded into the file; 0: 64 MiB */
    double (*now)(void); /* seconds since 1970; NULL: the system's clock */
};

/* Opens path for the coordinator alone. `fresh`: makes the file, with this, when it is not there or
 * empty; NULL: it has to be there. The caller owns *out, and compares tr_journal_meta with what it is
 * about to run. TR_BADARG: no journal, another schema, in use (by whom). TR_IO: damaged. */
enum tr_status tr_journal_open(const char *path, const struct tr_journal_settings *set,
                               const struct tr_journal_meta *fresh,
                               struct tr_journal **out, struct tr_err *err);
/* Flushes what it can. */
void tr_journal_close(struct tr_journal *j);
struct tr_journal_meta tr_journal_meta(const struct tr_journal *j);

/* For the core; borrows j. */
struct tr_memo tr_journal_memo(struct tr_journal *j);
enum tr_status tr_journal_flush(struct tr_journal *j, struct tr_err *err);

/* ---- steps ---- */

/* A digest of zeroes stands for one that there is not. */
struct tr_journal_learner {
    struct tr_digest lineage, weights; /* after the step */
};

struct tr_journal_step {
    int64_t step;
    double at;           /* when it was committed; set by commit */
    const char *state;   /* JSON: all that the next step depends on */
    const char *metrics; /* JSON object */
    struct tr_journal_learner policy, critic;
};

struct tr_journal_score { /* what one reward said */
    const char *slot;
    double score, weight;
    struct tr_digest digest; /* of who said it */
};

struct tr_journal_rollout { /* one answer, judged; borrows */
    int64_t sample;         /* which of the step */
    int64_t prompt;         /* which of the dataset */
    const int32_t *prompt_token;
    int64_t prompt_tokens;
    const int32_t *answer_token;
    int64_t answer_tokens;            /* T */
    const float *logprob;             /* [T], under the policy that answered */
    const float *ref_logprob, *value; /* [T], or NULL */
    double score, kl;                 /* total score; sum over the tokens, nats */
    bool stopped;                     /* by a stop id, not by length */
    struct tr_digest policy;          /* the weights that answered */
    const struct tr_journal_score *slot;
    int64_t slots;
};

struct tr_ppo_report;
/* Answer i of a step that is over, with score[rewards] for its slots; borrows from both. */
void tr_journal_take_rollout(const struct tr_ppo_report *r, int64_t i,
                             struct tr_journal_score *score,
                             struct tr_journal_rollout *out);

/* The step after the last one (any step for a new file), in one transaction with its rollouts and
 * with all that was kept before; answers kept for it are forgotten. */
enum tr_status tr_journal_commit(struct tr_journal *j, const struct tr_journal_step *step,
                                 const struct tr_journal_rollout *rollout, int64_t n,
                                 struct tr_err *err);
/* What an evaluation after this step found, instead of what an earlier one of the same step did; with
 * the next flush or commit. */
enum tr_status tr_journal_evaluate(struct tr_journal *j, int64_t step,
                                   const char *metrics,
                                   const struct tr_journal_rollout *rollout, int64_t n,
                                   struct tr_err *err);
/* TR_AGAIN when there is none. Texts are borrowed until the next call. */
enum tr_status tr_journal_last(struct tr_journal *j, struct tr_journal_step *out,
                               struct tr_err *err);
/* The first committed step after this one (-1: the very first). */
enum tr_status tr_journal_step_after(struct tr_journal *j, int64_t step,
                                     struct tr_journal_step *out, struct tr_err *err);

/* The run goes on after this step once more, from a checkpoint: what came of later steps is forgotten,
 * and so are learn units, for the learner is there without them. Answers stay: they are named by
 * content. When the step itself has no row, no step keeps one. Lasts when it returns. */
enum tr_status tr_journal_go_back(struct tr_journal *j, int64_t step, struct tr_err *err);

struct
    tr_journal_pace { /* over the last twenty steps; zeroes while there are less than two */
    double seconds_per_step, tokens_per_second;
};
enum tr_status tr_journal_pace(struct tr_journal *j, struct tr_journal_pace *out,
                               struct tr_err *err);

/* ---- swaps ---- */

struct tr_journal_swap {
    int64_t id;
    bool rollback;     /* of the swap before it */
    int64_t at;        /* the step from which it should count; -1: the next */
    int64_t applied;   /* the first step that used it; -1: none yet */
    const char *slots; /* JSON: the whole set of reward slots from then on */
};

/* Lasts when it returns. id, applied of *s are not read; *id numbers it. */
enum tr_status tr_journal_ask_swap(struct tr_journal *j, const struct tr_journal_swap *s,
                                   int64_t *id, struct tr_err *err);
/* It counts from this step on: with the next flush or commit. Until that step is committed it may
 * be said again, of another step too: after a stop the swap is made anew. */
enum tr_status tr_journal_apply_swap(struct tr_journal *j, int64_t id, int64_t step,
                                     struct tr_err *err);
/* It will not be applied: it is forgotten, with the next flush or commit. TR_BADARG, as for apply, when
 * there is none that a committed step has not used. */
enum tr_status tr_journal_drop_swap(struct tr_journal *j, int64_t id, struct tr_err *err);
/* The first with an id above `id`, or TR_AGAIN. slots is borrowed until the next call. */
enum tr_status tr_journal_swap_after(struct tr_journal *j, int64_t id,
                                     struct tr_journal_swap *out, struct tr_err *err);
/* The last one applied at or before this step, or TR_AGAIN. */
enum tr_status tr_journal_swap_at(struct tr_journal *j, int64_t step,
                                  struct tr_journal_swap *out, struct tr_err *err);

/* ---- snapshots ---- */

struct tr_journal_snapshot {
    enum tr_role role;
    int64_t step; /* the last that lies behind it */
    struct tr_digest lineage, weights;
    char folder[TR_PLACE_BYTES];
};

/* The folder is complete on the disk. All before and this lasts when it returns, power or not. */
enum tr_status tr_journal_note_snapshot(struct tr_journal *j,
                                        const struct tr_journal_snapshot *s,
                                        struct tr_err *err);
/* The newest of the role (back: 0), the one before it (1), ...; TR_AGAIN when there is none. */
enum tr_status tr_journal_snapshot(struct tr_journal *j, enum tr_role role, int64_t back,
                                   struct tr_journal_snapshot *out, struct tr_err *err);
/* Forgets the learn units that no snapshot of the role needs. When there are more than `keep`
 * of them, forgets the oldest, whose folder may be removed then; else TR_AGAIN. Lasts when it returns. */
enum tr_status tr_journal_prune(struct tr_journal *j, enum tr_role role, int64_t keep,
                                struct tr_journal_snapshot *gone, struct tr_err *err);
/* How many learn units of the role lie after this lineage, and the seconds that they took. */
enum tr_status tr_journal_replay_cost(struct tr_journal *j, enum tr_role role,
                                      const struct tr_digest *lineage, int64_t *units,
                                      double *seconds, struct tr_err *err);

/* ---- who was there, what happened ---- */

/* kind: a word, as "joined", "left", "silent", "turned away", "loaded", "failed". role, instance: or "". */
enum tr_status tr_journal_event(struct tr_journal *j, const char *role,
                                const char *instance, const char *kind, const char *text,
                                struct tr_err *err);

struct tr_journal_worker { /* the last that is known of one; borrows */
    const char *instance, *role, *slot, *host, *isa, *state;
    int64_t threads, answered;
    double busy_seconds, joined; /* joined: seconds since 1970 */
};
enum tr_status tr_journal_worker(struct tr_journal *j, const struct tr_journal_worker *w,
                                 struct tr_err *err);

/* Everybody the core knows of, and all that it counted. now: the core's clock. */
enum tr_status tr_journal_note_company(struct tr_journal *j, const struct tr_core *core,
                                       double now, struct tr_err *err);

/* A counter: what this process has counted since it opened the file, added to what was there then. */
enum tr_status tr_journal_count(struct tr_journal *j, const char *name,
                                int64_t since_open, struct tr_err *err);

/* ---- for people ---- */

/* Opens path for reading while no coordinator has it, after a kill -9 as well; neither the file nor
 * anything beside it is written. The caller owns *out (tr_journal_close), and calls nothing that
 * writes. TR_BADARG: as tr_journal_open. */
enum tr_status tr_journal_look(const char *path, struct tr_journal **out,
                               struct tr_err *err);

/* TR_BADARG, with the process, when a coordinator has path; before this process opens it itself. */
enum tr_status tr_journal_check_free(const char *path, struct tr_err *err);

/* What is asked, as one line of JSON into out (initialised by the caller with its limit). argument: a
 * JSON object, or "". docs/journal.md has the answers.
 *   status                                               where the run is
 *   steps, evaluations  {"after": -1, "count": 1000}     metrics, by step
 *   rollouts  {"step": last, "eval": false, "first": 0, "count": 1000, "numbers": false}
 *   events    {"count": 100}     swaps  {"after": 0, "count": 1000}
 *   snapshot-db  {"to": PATH}                            a copy of the file
 * TR_AGAIN: a slice was copied; to be asked again (of a reader the first call does it all). TR_BADARG: no such question, or a wrong argument. */
enum tr_status tr_journal_report(struct tr_journal *j, const char *what,
                                 const char *argument, struct tr_buf *out,
                                 struct tr_err *err);

/* A copy of the whole file that any SQLite reads, written aside and renamed. Flushes. */
enum tr_status tr_journal_copy(struct tr_journal *j, const char *to, struct tr_err *err);
/* A slice of it, some tens of milliseconds: TR_AGAIN until it is done. Between two calls the journal is
 * used as always; the copy has what was flushed before the last call. One at a time: TR_BADARG for another
 * `to`. */
enum tr_status tr_journal_copy_some(struct tr_journal *j, const char *to,
                                    struct tr_err *err);

#endif

/* journal_parts.h - the journal within, for the journal's own files and nobody else. */
#ifndef TR_ACTORS_COORDINATOR_JOURNAL_PARTS_H
#define TR_ACTORS_COORDINATOR_JOURNAL_PARTS_H

#include <sqlite3.h>

#include "actors/coordinator/journal.h"
#include "actors/coordinator/journal_sql.h"

enum {
    JOURNAL_APPLICATION = 0x54726f75, /* "Trou" */
    JOURNAL_COUNTERS = 64,
    JOURNAL_WORKERS = 10000,
    JOURNAL_PATH = 4096,
    JOURNAL_BLOB = 512 << 20, /* of one row, bytes */
};

struct counter {
    char name[32];
    int64_t at_open;
};

struct tr_journal {
    sqlite3 *db;
    sqlite3_stmt *statement[SQL_STATEMENTS]; /* NULL until first used */
    char path[JOURNAL_PATH];
    struct tr_journal_settings set;
    struct tr_journal_meta meta;
    bool reader; /* opened by tr_journal_look: nothing is written */
    int lock;    /* of a reader: a descriptor that keeps coordinators out; else -1 */
    bool broken; /* something failed; `why` says what */
    struct tr_err why;
    int64_t log_pages; /* written ahead */
    bool stepped;      /* there is a last step */
    int64_t last_step;
    struct tr_hash *hash;
    struct tr_buf packed[2]; /* a content on its way in */
    struct tr_buf text[2];   /* what a caller borrows */
    struct counter counter[JOURNAL_COUNTERS];
    int counters;
    struct journal_copy *copy; /* owns; the one that is being made, or NULL */
};

/* journal.c */

/* Something failed in SQLite: the open transaction is taken back, and nothing more is taken. */
enum tr_status tr_journal_fail(struct tr_journal *j, const char *doing,
                               struct tr_err *err);
/* What was read is not what was written. */
enum tr_status tr_journal_damaged(const struct tr_journal *j, const char *what,
                                  struct tr_err *err);
/* What failed before, if something did. */
enum tr_status tr_journal_whole(const struct tr_journal *j, struct tr_err *err);
/* A statement, ready to be bound. */
enum tr_status tr_journal_take(struct tr_journal *j, enum journal_sql id,
                               sqlite3_stmt **out, struct tr_err *err);
/* One row: TR_AGAIN when there is none. bad: what binding returned, ored. The caller resets. */
enum tr_status tr_journal_row(struct tr_journal *j, sqlite3_stmt *q, int bad,
                              struct tr_err *err);
/* A statement without rows, and its reset. */
enum tr_status tr_journal_run(struct tr_journal *j, sqlite3_stmt *q, int bad,
                              struct tr_err *err);
void tr_journal_reset(sqlite3_stmt *q);
/* Opens a transaction if none is open. */
enum tr_status tr_journal_begin(struct tr_journal *j, struct tr_err *err);
/* A transaction of its own, whose end waits for the disk. */
enum tr_status tr_journal_begin_durable(struct tr_journal *j, struct tr_err *err);
enum tr_status tr_journal_end_durable(struct tr_journal *j, struct tr_err *err);
/* The number that a statement gives. */
enum tr_status tr_journal_int(struct tr_journal *j, const char *sql, int64_t *out,
                              struct tr_err *err);
/* journal_copy.c: what is there of a copy is removed. */
void tr_journal_end_copy(struct tr_journal *j);
/* TR_BADARG that says, where it can be told, which process has the file. */
enum tr_status tr_journal_in_use(const char *path, struct tr_err *err);
/* The folder that path lies in, so that its name lasts. */
enum tr_status tr_journal_sync_folder(const char *path, struct tr_err *err);
/* Meta, last step. The file is ours. */
enum tr_status tr_journal_load(struct tr_journal *j, struct tr_err *err);
/* TR_BADARG unless the file is a journal of this schema; *empty: it holds nothing at all. */
enum tr_status tr_journal_check_kind(struct tr_journal *j, bool *empty,
                                     struct tr_err *err);
/* Without a file yet, and without flushing. */
enum tr_status tr_journal_make(const char *path, const struct tr_journal_settings *set,
                               struct tr_journal **out, struct tr_err *err);
void tr_journal_free(struct tr_journal *j);

/* A digest of zeroes is NULL in the file. */
int tr_journal_bind_digest(sqlite3_stmt *q, int at, const struct tr_digest *d);
/* false: of another size. */
bool tr_journal_column_digest(sqlite3_stmt *q, int at, struct tr_digest *out);
int tr_journal_bind_text(sqlite3_stmt *q, int at, const char *text);
/* Text of a column, "" for NULL; borrowed until the reset. */
const char *tr_journal_column_text(sqlite3_stmt *q, int at);

/* The step in a row of its columns, its seal checked; the texts are j's. */
enum tr_status tr_journal_take_step(struct tr_journal *j, sqlite3_stmt *q,
                                    struct tr_journal_step *out, struct tr_err *err);

/* ---- seals: SHA-256 over the fields of a row, in the order of docs/journal.md ---- */

void tr_journal_seal_real(struct tr_hash *h, double x);
void tr_journal_seal_bytes(struct tr_hash *h, const void *at, size_t size);
struct tr_digest tr_journal_seal_step(struct tr_hash *h, const struct tr_journal_step *s,
                                      int64_t rollouts);
struct tr_digest tr_journal_seal_evaluation(struct tr_hash *h, int64_t step, double at,
                                            int64_t rollouts, const char *metrics);
struct tr_digest tr_journal_seal_rollout(struct tr_hash *h, int64_t step, bool eval,
                                         const struct tr_journal_rollout *r);

#endif

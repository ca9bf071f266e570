/* journal.c - the file: opened by one, refused if it is another's, closed; transactions; events,
 * workers, counters. journal_memo.c keeps answers, journal_steps.c steps, journal_swaps.c swaps
 * and snapshots, journal_look.c is for readers, journal_copy.c copies,
 * journal_report.c for people. */
#include "actors/coordinator/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "actors/coordinator/journal_parts.h"
#include "core/base/file.h"

enum {
    PAGE_BYTES = 8192,
    LOG_BYTES = 64 << 20,
    CACHE_KIB = 16 * 1024,
};

static double system_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- failures ---- */

/* The move that follows from SQLite's word, and the word for people. */
static enum tr_status meaning(sqlite3 *db, const char **words)
{
    int code = sqlite3_errcode(db) & 0xff;
    int cause = sqlite3_system_errno(db);
    switch (code) {
    case SQLITE_FULL:
        *words = "no space left";
        return TR_IO;
    case SQLITE_NOMEM:
        *words = "out of memory";
        return TR_NOMEM;
    case SQLITE_CORRUPT:
        *words = "the file is damaged";
        return TR_IO;
    case SQLITE_NOTADB:
        *words = "no journal, or damaged";
        return TR_BADARG;
    case SQLITE_READONLY:
        *words = "it may not be written";
        return TR_BADARG;
    case SQLITE_CANTOPEN: /* fall through */
    case SQLITE_IOERR:
        *words = cause ? tr_err_cause(cause) : "read or write failed";
        return TR_IO;
    default:
        *words = sqlite3_errmsg(db);
        return TR_IO;
    }
}

enum tr_status tr_journal_fail(struct tr_journal *j, const char *doing,
                               struct tr_err *err)
{
    const char *words = NULL;
    enum tr_status st = meaning(j->db, &words);
    tr_err_set(&j->why, st, "%s: %s: %s", j->path, doing, words);
    j->broken = true;
    if (j->db && !sqlite3_get_autocommit(j->db))
        sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
    return tr_err_set(err, st, "%s", j->why.text);
}

enum tr_status tr_journal_damaged(const struct tr_journal *j, const char *what,
                                  struct tr_err *err)
{
    return tr_err_set(err, TR_IO, "%s: %s is not as it was written; the file is damaged",
                      j->path, what);
}

/* ---- statements ---- */

enum tr_status tr_journal_whole(const struct tr_journal *j, struct tr_err *err)
{
    return j->broken ? tr_err_set(err, j->why.code, "%s", j->why.text) : TR_OK;
}

enum tr_status tr_journal_take(struct tr_journal *j, enum journal_sql id,
                               sqlite3_stmt **out, struct tr_err *err)
{
    *out = NULL;
    enum tr_status st = tr_journal_whole(j, err);
    if (st != TR_OK) return st;
    if (!j->statement[id] &&
        sqlite3_prepare_v3(j->db, tr_journal_sql[id], -1, SQLITE_PREPARE_PERSISTENT,
                           &j->statement[id], NULL) != SQLITE_OK)
        return tr_journal_fail(j, "prepare", err);
    *out = j->statement[id];
    return TR_OK;
}

void tr_journal_reset(sqlite3_stmt *q)
{
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
}

static enum tr_status step(struct tr_journal *j, sqlite3_stmt *q, int bad,
                           const char *doing, struct tr_err *err)
{
    int rc = bad ? bad : sqlite3_step(q);
    if (rc == SQLITE_ROW) return TR_OK;
    if (rc == SQLITE_DONE) return TR_AGAIN;
    return tr_journal_fail(j, doing, err);
}

enum tr_status tr_journal_row(struct tr_journal *j, sqlite3_stmt *q, int bad,
                              struct tr_err *err)
{
    return step(j, q, bad, "read", err);
}

enum tr_status tr_journal_run(struct tr_journal *j, sqlite3_stmt *q, int bad,
                              struct tr_err *err)
{
    enum tr_status st = step(j, q, bad, "write", err);
    tr_journal_reset(q);
    return st == TR_AGAIN ? TR_OK : st;
}

static enum tr_status run_plain(struct tr_journal *j, enum journal_sql id,
                                struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, id, &q, err);
    return st == TR_OK ? tr_journal_run(j, q, 0, err) : st;
}

int tr_journal_bind_digest(sqlite3_stmt *q, int at, const struct tr_digest *d)
{
    static const struct tr_digest none;
    if (tr_digest_equal(d, &none)) return sqlite3_bind_null(q, at);
    return sqlite3_bind_blob(q, at, d->byte, sizeof d->byte, SQLITE_STATIC);
}

bool tr_journal_column_digest(sqlite3_stmt *q, int at, struct tr_digest *out)
{
    *out = (struct tr_digest){0};
    if (sqlite3_column_type(q, at) == SQLITE_NULL) return true;
    const void *bytes = sqlite3_column_blob(q, at);
    if (!bytes || sqlite3_column_bytes(q, at) != (int)sizeof out->byte) return false;
    memcpy(out->byte, bytes, sizeof out->byte);
    return true;
}

int tr_journal_bind_text(sqlite3_stmt *q, int at, const char *text)
{
    return sqlite3_bind_text(q, at, text, -1, SQLITE_STATIC);
}

const char *tr_journal_column_text(sqlite3_stmt *q, int at)
{
    const unsigned char *text = sqlite3_column_text(q, at);
    return text ? (const char *)text : "";
}

/* ---- transactions ---- */

enum tr_status tr_journal_begin(struct tr_journal *j, struct tr_err *err)
{
    if (j->broken || sqlite3_get_autocommit(j->db)) return run_plain(j, SQL_BEGIN, err);
    return TR_OK;
}

/* SQLite says how long the log is after each commit. */
static int note_log(void *self, sqlite3 *db, const char *name, int pages)
{
    struct tr_journal *j = self;
    (void)db;
    (void)name;
    j->log_pages = pages;
    return SQLITE_OK;
}

/* The log goes into the file and is emptied at once: what a log holds is never older than the
 * file, so a log that lost its end still tells a beginning of what happened. */
static enum tr_status fold(struct tr_journal *j, struct tr_err *err)
{
    j->log_pages = 0;
    if (sqlite3_wal_checkpoint_v2(j->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) ==
        SQLITE_OK)
        return TR_OK;
    return tr_journal_fail(j, "write", err);
}

enum tr_status tr_journal_flush(struct tr_journal *j, struct tr_err *err)
{
    if (!j->broken && sqlite3_get_autocommit(j->db)) return TR_OK;
    enum tr_status st = run_plain(j, SQL_COMMIT, err);
    if (st != TR_OK || j->log_pages * PAGE_BYTES < j->set.log_bytes) return st;
    return fold(j, err);
}

static enum tr_status execute(struct tr_journal *j, const char *sql, struct tr_err *err)
{
    if (sqlite3_exec(j->db, sql, NULL, NULL, NULL) == SQLITE_OK) return TR_OK;
    return tr_journal_fail(j, "write", err);
}

enum tr_status tr_journal_begin_durable(struct tr_journal *j, struct tr_err *err)
{
    enum tr_status st = tr_journal_flush(j, err);
    if (st == TR_OK) st = execute(j, "PRAGMA synchronous = FULL", err);
    return st == TR_OK ? tr_journal_begin(j, err) : st;
}

enum tr_status tr_journal_end_durable(struct tr_journal *j, struct tr_err *err)
{
    enum tr_status st = tr_journal_flush(j, err);
    return st == TR_OK ? execute(j, "PRAGMA synchronous = NORMAL", err) : st;
}

/* ---- whose file it is ---- */

/* The process that has a lock for writing on the file; 0 when it cannot be said. The kernel's list
 * is read and the file is not touched: closing any descriptor of a file gives up the locks that
 * this process has on it. */
static long holder_of(const char *path)
{
    char line[256];
    long found = 0;
    struct stat sb;
    FILE *f = stat(path, &sb) == 0 ? fopen("/proc/locks", "re") : NULL;
    if (!f) return 0;
    while (!found && fgets(line, sizeof line, f)) {
        long pid = 0;
        unsigned major = 0, minor = 0;
        unsigned long inode = 0;
        /* A line of the kernel's. NOLINTNEXTLINE(cert-err34-c) */
        if (sscanf(line, "%*d: POSIX %*s WRITE %ld %x:%x:%lu", &pid, &major, &minor,
                   &inode) == 4 &&
            inode == sb.st_ino && major == major(sb.st_dev) && minor == minor(sb.st_dev))
            found = pid;
    }
    fclose(f);
    return found;
}

enum tr_status tr_journal_in_use(const char *path, struct tr_err *err)
{
    long pid = holder_of(path);
    if (pid > 0)
        return tr_err_set(err, TR_BADARG,
                          "%s is in use by another coordinator (process %ld)", path, pid);
    return tr_err_set(err, TR_BADARG, "%s is in use by another process", path);
}

enum tr_status tr_journal_int(struct tr_journal *j, const char *sql, int64_t *out,
                              struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(j->db, sql, -1, &q, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(q);
    if (rc == SQLITE_ROW) *out = sqlite3_column_int64(q, 0);
    enum tr_status st = TR_OK;
    if ((rc & 0xff) == SQLITE_BUSY)
        st = tr_journal_in_use(j->path, err);
    else if (rc != SQLITE_ROW)
        st = tr_journal_fail(j, "open", err);
    sqlite3_finalize(q);
    return st;
}

enum tr_status tr_journal_check_kind(struct tr_journal *j, bool *empty,
                                     struct tr_err *err)
{
    int64_t tables = 0, application = 0, schema = 0;
    enum tr_status st =
        tr_journal_int(j, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (st == TR_OK) st = tr_journal_int(j, "PRAGMA application_id", &application, err);
    if (st == TR_OK) st = tr_journal_int(j, "PRAGMA user_version", &schema, err);
    if (st != TR_OK) return st;
    *empty = tables == 0 && application == 0 && schema == 0;
    if (*empty) return TR_OK;
    if (application != JOURNAL_APPLICATION)
        return tr_err_set(err, TR_BADARG, "%s: a database, but no journal of a run",
                          j->path);
    if (schema != TR_JOURNAL_SCHEMA)
        return tr_err_set(err, TR_BADARG,
                          "%s: a journal of schema %lld, and this program has schema %d",
                          j->path, (long long)schema, TR_JOURNAL_SCHEMA);
    return TR_OK;
}

/* ---- a new file ---- */

static enum tr_status put_meta(struct tr_journal *j, const char *key, const char *text,
                               const struct tr_digest *digest, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_META, &q, err);
    if (st != TR_OK) return st;
    int bad = tr_journal_bind_text(q, 1, key);
    bad |=
        text ? tr_journal_bind_text(q, 2, text)
             : sqlite3_bind_blob(q, 2, digest->byte, sizeof digest->byte, SQLITE_STATIC);
    return tr_journal_run(j, q, bad, err);
}

/* Numbers are kept as text: a seed has 64 bits without a sign. */
static enum tr_status put_all_meta(struct tr_journal *j, const struct tr_journal_meta *m,
                                   struct tr_err *err)
{
    char seed[32], created[32];
    snprintf(seed, sizeof seed, "%" PRIu64, m->seed);
    snprintf(created, sizeof created, "%.3f", j->set.now());
    enum tr_status st = put_meta(j, "run", m->run, NULL, err);
    if (st == TR_OK) st = put_meta(j, "stage", m->stage, NULL, err);
    if (st == TR_OK) st = put_meta(j, "seed", seed, NULL, err);
    if (st == TR_OK) st = put_meta(j, "config", NULL, &m->config, err);
    if (st == TR_OK) st = put_meta(j, "version", m->version, NULL, err);
    return st == TR_OK ? put_meta(j, "created", created, NULL, err) : st;
}

static enum tr_status create(struct tr_journal *j, const struct tr_journal_meta *fresh,
                             struct tr_err *err)
{
    char sql[128];
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             JOURNAL_APPLICATION, TR_JOURNAL_SCHEMA);
    enum tr_status st = tr_journal_begin_durable(j, err);
    if (st == TR_OK) st = execute(j, tr_journal_schema, err);
    if (st == TR_OK) st = execute(j, sql, err);
    if (st == TR_OK) st = put_all_meta(j, fresh, err);
    return st == TR_OK ? tr_journal_end_durable(j, err) : st;
}

/* The name of the file should outlive a loss of power as well. */
enum tr_status tr_journal_sync_folder(const char *path, struct tr_err *err)
{
    char folder[JOURNAL_PATH];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1,
             slash ? path : ".");
    return tr_dir_sync(folder[0] ? folder : "/", err);
}

/* ---- what is known at the start ---- */

static enum tr_status get_meta(struct tr_journal *j, const char *key, sqlite3_stmt **q,
                               struct tr_err *err)
{
    enum tr_status st = tr_journal_take(j, SQL_META_READ, q, err);
    if (st == TR_OK) st = tr_journal_row(j, *q, tr_journal_bind_text(*q, 1, key), err);
    return st == TR_AGAIN ? tr_journal_damaged(j, "meta", err) : st;
}

static enum tr_status get_text(struct tr_journal *j, const char *key, char *out,
                               size_t size, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = get_meta(j, key, &q, err);
    if (st == TR_OK) snprintf(out, size, "%s", tr_journal_column_text(q, 0));
    if (q) tr_journal_reset(q);
    return st;
}

/* A fact that older journals do not have: "" then. */
static enum tr_status get_stage(struct tr_journal *j, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_META_READ, &q, err);
    if (st == TR_OK) st = tr_journal_row(j, q, tr_journal_bind_text(q, 1, "stage"), err);
    if (st == TR_OK)
        snprintf(j->meta.stage, sizeof j->meta.stage, "%s", tr_journal_column_text(q, 0));
    if (q) tr_journal_reset(q);
    return st == TR_AGAIN ? TR_OK : st;
}

static enum tr_status load_meta(struct tr_journal *j, struct tr_err *err)
{
    char seed[32] = "", created[32] = "";
    sqlite3_stmt *q = NULL;
    struct tr_journal_meta *m = &j->meta;
    enum tr_status st = get_text(j, "run", m->run, sizeof m->run, err);
    if (st == TR_OK) st = get_stage(j, err);
    if (st == TR_OK) st = get_text(j, "seed", seed, sizeof seed, err);
    if (st == TR_OK) st = get_text(j, "version", m->version, sizeof m->version, err);
    if (st == TR_OK) st = get_text(j, "created", created, sizeof created, err);
    if (st == TR_OK) st = get_meta(j, "config", &q, err);
    if (st == TR_OK && !tr_journal_column_digest(q, 0, &m->config))
        st = tr_journal_damaged(j, "meta", err);
    if (q) tr_journal_reset(q);
    m->seed = strtoull(seed, NULL, 10);
    m->created = strtod(created, NULL);
    return st;
}

enum tr_status tr_journal_load(struct tr_journal *j, struct tr_err *err)
{
    struct tr_journal_step last;
    enum tr_status st = load_meta(j, err);
    if (st == TR_OK) st = tr_journal_last(j, &last, err);
    if (st == TR_AGAIN) return TR_OK;
    if (st != TR_OK) return st;
    j->stepped = true;
    j->last_step = last.step;
    return TR_OK;
}

struct tr_journal_meta tr_journal_meta(const struct tr_journal *j)
{
    return j->meta;
}

/* ---- open and close ---- */

/* Nothing is written until the file is known to be ours: the lock is taken first, and a log that
 * another program left is not folded in. */
static enum tr_status open_file(struct tr_journal *j, bool make, struct tr_err *err)
{
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (make ? SQLITE_OPEN_CREATE : 0);
    if (!make && !tr_path_exists(j->path))
        return tr_err_set(err, TR_BADARG, "%s: there is no journal", j->path);
    if (sqlite3_open_v2(j->path, &j->db, flags, NULL) != SQLITE_OK)
        return tr_journal_fail(j, "open", err);
    sqlite3_extended_result_codes(j->db, 1);
    sqlite3_busy_timeout(j->db, (int)j->set.busy_ms);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return execute(j, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON",
                   err);
}

/* WAL, and how much of it. What is forgotten need not be overwritten with zeroes, as some builds of SQLite
 * do unless told: it was half of all that was written. The first statement to write takes the lock for
 * good. */
static enum tr_status settle(struct tr_journal *j, struct tr_err *err)
{
    char sql[512];
    sqlite3_stmt *q = NULL;
    snprintf(
        sql, sizeof sql,
        "PRAGMA page_size = %d; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -%d; PRAGMA temp_store = MEMORY;"
        "PRAGMA secure_delete = OFF;",
        PAGE_BYTES, CACHE_KIB);
    int rc = sqlite3_exec(j->db, sql, NULL, NULL, NULL);
    if ((rc & 0xff) == SQLITE_BUSY) return tr_journal_in_use(j->path, err);
    if (rc != SQLITE_OK) return tr_journal_fail(j, "open", err);
    enum tr_status st = TR_OK;
    rc = sqlite3_prepare_v2(j->db, "PRAGMA journal_mode", -1, &q, NULL);
    if (rc != SQLITE_OK || sqlite3_step(q) != SQLITE_ROW)
        st = tr_journal_fail(j, "open", err);
    else if (strcmp(tr_journal_column_text(q, 0), "wal") != 0)
        st = tr_err_set(err, TR_IO, "%s: no log can be written beside it", j->path);
    sqlite3_finalize(q);
    if (st != TR_OK) return st;
    sqlite3_wal_hook(j->db, note_log, j);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return fold(j, err);
}

static enum tr_status open_steps(struct tr_journal *j,
                                 const struct tr_journal_meta *fresh, struct tr_err *err)
{
    bool empty = false;
    enum tr_status st = open_file(j, fresh != NULL, err);
    if (st == TR_OK) st = tr_journal_check_kind(j, &empty, err);
    if (st == TR_OK && empty && !fresh)
        st = tr_err_set(err, TR_BADARG, "%s is empty, no journal", j->path);
    if (st == TR_OK) st = settle(j, err);
    if (st == TR_OK && empty) st = create(j, fresh, err);
    if (st == TR_OK && empty) st = tr_journal_sync_folder(j->path, err);
    return st == TR_OK ? tr_journal_load(j, err) : st;
}

enum tr_status tr_journal_make(const char *path, const struct tr_journal_settings *set,
                               struct tr_journal **out, struct tr_err *err)
{
    *out = NULL;
    if (strlen(path) >= JOURNAL_PATH)
        return tr_err_set(err, TR_BADARG, "%.64s...: a path over %d bytes", path,
                          JOURNAL_PATH - 1);
    struct stat sb;
    if (stat(path, &sb) == 0 && !S_ISREG(sb.st_mode)) /* a pipe would be waited for */
        return tr_err_set(err, TR_BADARG, "%s: expected a file, found %s", path,
                          S_ISDIR(sb.st_mode) ? "a folder" : "something else");
    struct tr_journal *j = calloc(1, sizeof *j);
    if (!j) return tr_err_set(err, TR_NOMEM, "%s: a journal", path);
    j->lock = -1;
    snprintf(j->path, sizeof j->path, "%s", path);
    if (set) j->set = *set;
    if (j->set.events <= 0) j->set.events = 100000;
    if (j->set.busy_ms <= 0) j->set.busy_ms = 3000;
    if (j->set.log_bytes <= 0) j->set.log_bytes = LOG_BYTES;
    if (!j->set.now) j->set.now = system_now;
    for (int i = 0; i < 2; i++) {
        tr_buf_init(&j->packed[i], JOURNAL_BLOB);
        tr_buf_init(&j->text[i], TR_JOURNAL_TEXT);
    }
    enum tr_status st = tr_hash_create(&j->hash, err);
    if (st == TR_OK)
        *out = j;
    else
        tr_journal_free(j);
    return st;
}

enum tr_status tr_journal_open(const char *path, const struct tr_journal_settings *set,
                               const struct tr_journal_meta *fresh,
                               struct tr_journal **out, struct tr_err *err)
{
    *out = NULL;
    struct tr_journal *j = NULL;
    enum tr_status st = tr_journal_make(path, set, &j, err);
    if (st == TR_OK) st = open_steps(j, fresh, err);
    if (st != TR_OK) {
        tr_journal_free(j);
        return st;
    }
    *out = j;
    return TR_OK;
}

void tr_journal_free(struct tr_journal *j)
{
    if (!j) return;
    tr_journal_end_copy(j);
    for (int i = 0; i < SQL_STATEMENTS; i++) sqlite3_finalize(j->statement[i]);
    sqlite3_close(j->db);
    if (j->lock >= 0) close(j->lock);
    tr_hash_destroy(j->hash);
    for (int i = 0; i < 2; i++) {
        tr_buf_fini(&j->packed[i]);
        tr_buf_fini(&j->text[i]);
    }
    free(j);
}

void tr_journal_close(struct tr_journal *j)
{
    if (j && !j->broken && !j->reader) tr_journal_flush(j, NULL);
    tr_journal_free(j);
}

/* journal_copy.c - a copy of the file, made slice by slice while the run goes on.
 *
 *     none --- first call ---> slice, slice, ... --- last page ---> synced, renamed, none
 *                                  |
 *                                  '--- a failure, or the journal is closed: removed, none
 *
 * SQLite's backup writes to the copy whatever this connection commits to pages that were copied already.
 * So the copy is whole at every moment between two slices, and what it has in the end is what was
 * flushed before its last one. A slice is small, and is on the disk when it is done, so that there is
 * no end for which everybody waits. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/coordinator/journal_parts.h"
#include "core/base/file.h"

enum { SLICE_BYTES = 2 << 20 };

struct journal_copy {
    char to[JOURNAL_PATH], part[JOURNAL_PATH];
    sqlite3 *db;       /* owns, as the next two */
    sqlite3_backup *b; /* from the journal's connection */
    int fd;            /* of part, to sync it; or -1 */
    int pages;         /* of a slice */
};

/* ---- beginning ---- */

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

static enum tr_status check_target(const struct tr_journal *j, const char *to,
                                   struct tr_err *err)
{
    char log[JOURNAL_PATH + 8], index[JOURNAL_PATH + 8];
    if (strlen(to) + sizeof ".part" > JOURNAL_PATH)
        return tr_err_set(err, TR_BADARG, "%.64s...: a path over %zu bytes", to,
                          JOURNAL_PATH - sizeof ".part");
    snprintf(log, sizeof log, "%s-wal", j->path);
    snprintf(index, sizeof index, "%s-shm", j->path);
    if (same_file(j->path, to) || same_file(log, to) || same_file(index, to))
        return tr_err_set(err, TR_BADARG, "%s: a copy may not replace its original", to);
    if (tr_path_is_dir(to))
        return tr_err_set(err, TR_BADARG, "%s is a folder; name a file", to);
    return TR_OK;
}

static enum tr_status fault(const struct journal_copy *c, struct tr_err *err)
{
    return tr_err_set(err, TR_IO, "%s: cannot copy: %s", c->part,
                      c->db ? sqlite3_errmsg(c->db) : "out of memory");
}

static enum tr_status open_part(struct tr_journal *j, struct journal_copy *c,
                                struct tr_err *err)
{
    int64_t page = 0;
    enum tr_status st = tr_journal_int(j, "PRAGMA page_size", &page, err);
    if (st != TR_OK) return st;
    c->pages = (int)(SLICE_BYTES / page);
    unlink(c->part);
    if (sqlite3_open_v2(c->part, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                        NULL) != SQLITE_OK ||
        sqlite3_exec(c->db, "PRAGMA synchronous = OFF", NULL, NULL, NULL) != SQLITE_OK)
        return fault(c, err);
    c->b = sqlite3_backup_init(c->db, "main", j->db, "main");
    if (!c->b) return fault(c, err);
    c->fd = open(c->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (c->fd < 0) return tr_err_set(err, TR_IO, "%s: %s", c->part, tr_err_cause(errno));
    return TR_OK;
}

static enum tr_status begin(struct tr_journal *j, const char *to, struct tr_err *err)
{
    enum tr_status st = check_target(j, to, err);
    if (st != TR_OK) return st;
    struct journal_copy *c = calloc(1, sizeof *c);
    if (!c) return tr_err_set(err, TR_NOMEM, "%s: a copy", to);
    c->fd = -1;
    j->copy = c;
    snprintf(c->to, sizeof c->to, "%s", to);
    snprintf(c->part, sizeof c->part, "%s.part", to);
    return open_part(j, c, err);
}

/* ---- going on ---- */

static enum tr_status sync_part(const struct journal_copy *c, struct tr_err *err)
{
    if (fdatasync(c->fd) == 0) return TR_OK;
    return tr_err_set(err, TR_IO, "%s: fsync: %s", c->part, tr_err_cause(errno));
}

/* All pages are there: the mark that says a log belongs to it is taken off. */
static enum tr_status end(struct journal_copy *c, struct tr_err *err)
{
    int rc = sqlite3_backup_finish(c->b);
    c->b = NULL;
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(c->db, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    if (rc != SQLITE_OK) return fault(c, err);
    sqlite3_close(c->db);
    c->db = NULL;
    enum tr_status st = sync_part(c, err);
    if (st != TR_OK) return st;
    if (rename(c->part, c->to) != 0)
        return tr_err_set(err, TR_IO, "%s: %s", c->to, tr_err_cause(errno));
    c->part[0] = 0;
    return tr_journal_sync_folder(c->to, err);
}

static enum tr_status slice(struct journal_copy *c, struct tr_err *err)
{
    int rc = sqlite3_backup_step(c->b, c->pages);
    if (rc == SQLITE_DONE) return end(c, err);
    if (rc != SQLITE_OK) {
        (void)sqlite3_backup_finish(c->b); /* says to c->db what it was */
        c->b = NULL;
        return fault(c, err);
    }
    enum tr_status st = sync_part(c, err);
    return st == TR_OK ? TR_AGAIN : st;
}

void tr_journal_end_copy(struct tr_journal *j)
{
    struct journal_copy *c = j->copy;
    if (!c) return;
    if (c->b) sqlite3_backup_finish(c->b);
    sqlite3_close(c->db);
    if (c->fd >= 0) close(c->fd);
    if (c->part[0]) unlink(c->part);
    free(c);
    j->copy = NULL;
}

enum tr_status tr_journal_copy_some(struct tr_journal *j, const char *to,
                                    struct tr_err *err)
{
    enum tr_status st = tr_journal_whole(j, err);
    if (j->copy && strcmp(j->copy->to, to) != 0)
        return tr_err_set(err, TR_BADARG, "a copy is being made already: %s",
                          j->copy->to);
    if (st == TR_OK && !j->reader) st = tr_journal_flush(j, err);
    if (st == TR_OK && !j->copy) st = begin(j, to, err);
    if (st == TR_OK) st = slice(j->copy, err);
    if (st != TR_AGAIN) tr_journal_end_copy(j);
    return st;
}

enum tr_status tr_journal_copy(struct tr_journal *j, const char *to, struct tr_err *err)
{
    enum tr_status st = TR_AGAIN;
    while (st == TR_AGAIN) st = tr_journal_copy_some(j, to, err);
    return st;
}

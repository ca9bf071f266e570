/* journal_look.c - the file without its coordinator.
 *
 * A reader writes nothing, not even when a killed coordinator left a log: SQLite then reads the log
 * into memory and leaves it there. Two of its ways do that: without a log the file is opened as one
 * that does not change; with a log by the VFS that takes no locks, in exclusive mode, where
 * the log's index needs no shared memory. In both nobody may write meanwhile, so the reader has a
 * lock of its own on the bytes that a coordinator has to lock (SQLite's file format, 2.3). It is a
 * lock of the open file and not of the process, so that SQLite's closing of its own descriptor
 * does not give it up. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/coordinator/journal_parts.h"
#include "core/base/file.h"

enum { SHARED_FIRST = 0x40000002, SHARED_SIZE = 510 };

/* ---- a reader ---- */

static enum tr_status lock_for_reading(struct tr_journal *j, struct tr_err *err)
{
    struct flock range = {.l_type = F_RDLCK,
                          .l_whence = SEEK_SET,
                          .l_start = SHARED_FIRST,
                          .l_len = SHARED_SIZE};
    j->lock = open(j->path, O_RDONLY | O_CLOEXEC);
    if (j->lock < 0) {
        bool absent = errno == ENOENT || errno == ENOTDIR;
        return tr_err_set(err, absent ? TR_BADARG : TR_IO, "%s: %s", j->path,
                          tr_err_cause(errno));
    }
    if (fcntl(j->lock, F_OFD_SETLK, &range) == 0) return TR_OK;
    if (errno == EAGAIN || errno == EACCES) return tr_journal_in_use(j->path, err);
    return tr_err_set(err, TR_IO, "%s: lock: %s", j->path, tr_err_cause(errno));
}

enum tr_status tr_journal_check_free(const char *path, struct tr_err *err)
{
    struct flock range = {.l_type = F_RDLCK,
                          .l_whence = SEEK_SET,
                          .l_start = SHARED_FIRST,
                          .l_len = SHARED_SIZE};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return TR_OK;
    bool taken = fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
    close(fd);
    return taken ? tr_journal_in_use(path, err) : TR_OK;
}

static bool has_log(const struct tr_journal *j)
{
    char log[JOURNAL_PATH + 8];
    struct stat sb;
    snprintf(log, sizeof log, "%s-wal", j->path);
    return stat(log, &sb) == 0 && sb.st_size > 0;
}

/* As a URI, whose path must not look like the name of a host or have a query. */
static enum tr_status unchanging(const char *path, char *out, size_t size,
                                 struct tr_err *err)
{
    size_t n = (size_t)snprintf(out, size, "file:");
    for (const char *p = path; *p; p++) {
        bool plain =
            strchr("?#%", *p) == NULL && !(p > path && p[-1] == '/' && *p == '/');
        if (n + 16 >= size)
            return tr_err_set(err, TR_BADARG, "%s: too long a path", path);
        n += (size_t)snprintf(out + n, size - n, plain ? "%c" : "%%%02X",
                              (unsigned char)*p);
    }
    snprintf(out + n, size - n, "?immutable=1");
    return TR_OK;
}

static enum tr_status open_reader(struct tr_journal *j, struct tr_err *err)
{
    char uri[3 * JOURNAL_PATH];
    bool log = has_log(j), empty = false;
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI;
    enum tr_status st = unchanging(j->path, uri, sizeof uri, err);
    if (st != TR_OK) return st;
    if (sqlite3_open_v2(log ? j->path : uri, &j->db,
                        log ? flags & ~SQLITE_OPEN_URI : flags,
                        log ? "unix-none" : NULL) != SQLITE_OK)
        return tr_journal_fail(j, "open", err);
    sqlite3_extended_result_codes(j->db, 1);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (sqlite3_exec(j->db,
                     "PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = ON;"
                     "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY",
                     NULL, NULL, NULL) != SQLITE_OK)
        return tr_journal_fail(j, "open", err);
    st = tr_journal_check_kind(j, &empty, err);
    if (st == TR_OK && empty)
        st = tr_err_set(err, TR_BADARG, "%s is empty, no journal", j->path);
    return st == TR_OK ? tr_journal_load(j, err) : st;
}

enum tr_status tr_journal_look(const char *path, struct tr_journal **out,
                               struct tr_err *err)
{
    struct tr_journal *j = NULL;
    *out = NULL;
    enum tr_status st = tr_journal_make(path, NULL, &j, err);
    if (st != TR_OK) return st;
    j->reader = true;
    st = lock_for_reading(j, err);
    if (st == TR_OK) st = open_reader(j, err);
    if (st != TR_OK) {
        tr_journal_free(j);
        return st;
    }
    *out = j;
    return TR_OK;
}

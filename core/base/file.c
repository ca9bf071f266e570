#include "core/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TR_PATH = 4096 };

enum tr_status tr_path_join(char *out, size_t size, const char *a, const char *b,
                            struct tr_err *err)
{
    int n = snprintf(out, size, "%s/%s", a, b);
    if (n < 0 || (size_t)n >= size)
        return tr_err_set(err, TR_BADARG, "%s/%s: path over %zu bytes", a, b, size - 1);
    return TR_OK;
}

bool tr_path_exists(const char *path)
{
    struct stat sb;
    return stat(path, &sb) == 0;
}

bool tr_path_is_dir(const char *path)
{
    struct stat sb;
    return stat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

/* What a path's name or rights forbid is a mistake of whoever named it; the rest is the disk's. */
static enum tr_status kind_of(int cause)
{
    static const int named[] = {ENOENT, ENOTDIR, EEXIST, EISDIR, EACCES, EPERM, EROFS};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (cause == named[i]) return TR_BADARG;
    return TR_IO;
}

/* Opens a regular file and says its size. */
static enum tr_status open_sized(const char *path, int *fd, size_t *size,
                                 struct tr_err *err)
{
    struct stat sb;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* of a FIFO nobody may write */
    if (*fd < 0)
        return tr_err_set(err, kind_of(errno), "%s: %s", path, tr_err_cause(errno));
    if (fstat(*fd, &sb) != 0 || !S_ISREG(sb.st_mode)) {
        close(*fd);
        *fd = -1;
        return tr_err_set(err, TR_BADARG, "%s: expected a regular file", path);
    }
    *size = (size_t)sb.st_size;
    return TR_OK;
}

enum tr_status tr_file_read(const char *path, size_t limit, struct tr_buf *out,
                            struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int fd = -1;
    size_t size = 0;
    tr_buf_init(out, limit);
    st = open_sized(path, &fd, &size, err);
    if (st != TR_OK) return st;
    if (size > limit) {
        st = tr_err_set(err, TR_NOMEM, "%s: %zu bytes, expected at most %zu", path, size,
                        limit);
        goto done;
    }
    for (;;) {
        char chunk[65536];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            st = tr_err_set(err, TR_IO, "%s: %s", path, tr_err_cause(errno));
            goto done;
        }
        if (n == 0) break;
        st = tr_buf_put(out, chunk, (size_t)n, err);
        if (st != TR_OK) {
            tr_err_wrap(err, st, "%s", path);
            goto done;
        }
    }
done:
    close(fd);
    if (st != TR_OK) tr_buf_fini(out);
    return st;
}

enum tr_status tr_map_open(const char *path, struct tr_map *out, struct tr_err *err)
{
    int fd = -1;
    size_t size = 0;
    *out = (struct tr_map){0};
    enum tr_status st = open_sized(path, &fd, &size, err);
    if (st != TR_OK) return st;
    if (size) {
        void *at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED)
            st = tr_err_set(err, TR_IO, "%s: cannot map: %s", path, tr_err_cause(errno));
        else
            *out = (struct tr_map){.at = at, .size = size};
    }
    close(fd);
    return st;
}

void tr_map_close(struct tr_map *m)
{
    void *at = NULL; /* munmap takes no const */
    memcpy(&at, &m->at, sizeof at);
    if (at) munmap(at, m->size);
    *m = (struct tr_map){0};
}

static enum tr_status write_all(int fd, const char *bytes, size_t size)
{
    while (size) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return TR_IO;
        bytes += n;
        size -= (size_t)n;
    }
    return TR_OK;
}

/* The folder that holds path, as a string in out. */
static void parent_of(const char *path, char out[TR_PATH])
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(out, TR_PATH, ".");
    else if (slash == path)
        snprintf(out, TR_PATH, "/");
    else
        snprintf(out, TR_PATH, "%.*s", (int)(slash - path), path);
}

enum tr_status tr_dir_sync(const char *path, struct tr_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return tr_err_set(err, TR_IO, "%s: %s", path, tr_err_cause(errno));
    /* Some file systems cannot fsync a folder and say EINVAL: nothing more can be done. */
    int rc = fsync(fd);
    int cause = errno;
    close(fd);
    if (rc != 0 && cause != EINVAL)
        return tr_err_set(err, TR_IO, "%s: fsync: %s", path, tr_err_cause(cause));
    return TR_OK;
}

enum tr_status tr_file_write(const char *path, const void *bytes, size_t size,
                             struct tr_err *err)
{
    char part[TR_PATH];
    char parent[TR_PATH];
    int n = snprintf(part, sizeof part, "%s.part", path);
    if (n < 0 || (size_t)n >= sizeof part)
        return tr_err_set(err, TR_BADARG, "%s: path over %zu bytes", path,
                          sizeof part - 6);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return tr_err_set(err, kind_of(errno), "%s: cannot write: %s", path,
                          tr_err_cause(errno));
    bool good = write_all(fd, bytes, size) == TR_OK && fsync(fd) == 0;
    int cause = errno;
    if (close(fd) != 0 && good) {
        good = false;
        cause = errno;
    }
    if (good && rename(part, path) != 0) {
        good = false;
        cause = errno;
    }
    if (!good) {
        unlink(part);
        return tr_err_set(err, TR_IO, "%s: cannot write: %s", path, tr_err_cause(cause));
    }
    parent_of(path, parent);
    return tr_dir_sync(parent, err);
}

enum tr_status tr_dir_make(const char *path, struct tr_err *err)
{
    char at[TR_PATH];
    int n = snprintf(at, sizeof at, "%s", path);
    if (n <= 0 || (size_t)n >= sizeof at)
        return tr_err_set(err, TR_BADARG, "folder name of %d bytes", n);
    for (char *p = at + 1;; p++) {
        if (*p != '/' && *p != 0) continue;
        char was = *p;
        *p = 0;
        int cause = mkdir(at, 0777) == 0 ? 0 : errno;
        if (cause &&
            !tr_path_is_dir(at)) /* on a read-only disk one that is there is EROFS */
            return tr_err_set(err, kind_of(cause), "%s: cannot make the folder: %s", path,
                              tr_path_exists(at) ? "a file is in its way"
                                                 : tr_err_cause(cause));
        *p = was;
        if (!was) return TR_OK;
    }
}

/* At most 17 deep. */
static enum tr_status remove_at( // NOLINT(misc-no-recursion)
    int parent, const char *name, const char *path, int depth, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0) close(fd);
        return tr_err_set(err, TR_IO, "%s: cannot open folder %s: %s", path, name,
                          tr_err_cause(errno));
    }
    if (depth > 16) st = tr_err_set(err, TR_IO, "%s: folders nest over 16 deep", path);
    struct dirent *e = NULL;
    while (st == TR_OK &&
           (e = readdir(dir))) { // NOLINT(concurrency-mt-unsafe): dir is ours
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (unlinkat(fd, e->d_name, 0) == 0) continue;
        if (errno != EISDIR && errno != EPERM)
            st = tr_err_set(err, TR_IO, "%s: cannot remove %s: %s", path, e->d_name,
                            tr_err_cause(errno));
        else
            st = remove_at(fd, e->d_name, path, depth + 1, err);
    }
    closedir(dir);
    if (st == TR_OK && unlinkat(parent, name, AT_REMOVEDIR) != 0)
        st = tr_err_set(err, TR_IO, "%s: cannot remove: %s", path, tr_err_cause(errno));
    return st;
}

enum tr_status tr_dir_remove(const char *path, struct tr_err *err)
{
    struct stat sb;
    if (lstat(path, &sb) != 0 && errno == ENOENT) return TR_OK;
    return remove_at(AT_FDCWD, path, path, 0, err);
}

enum tr_status tr_dir_replace(const char *from, const char *to, struct tr_err *err)
{
    char parent[TR_PATH];
    char old[TR_PATH];
    enum tr_status st = tr_dir_sync(from, err);
    if (st != TR_OK) return st;
    int n = snprintf(old, sizeof old, "%s.old", to);
    if (n < 0 || (size_t)n >= sizeof old)
        return tr_err_set(err, TR_BADARG, "%s: path over %zu bytes", to, sizeof old - 5);
    /* The old folder steps aside first: rename cannot replace a folder that is not empty. */
    bool had = tr_path_exists(to);
    if (had) {
        st = tr_dir_remove(old, err);
        if (st != TR_OK) return st;
        if (rename(to, old) != 0)
            return tr_err_set(err, TR_IO, "%s: cannot set aside: %s", to,
                              tr_err_cause(errno));
    }
    if (rename(from, to) != 0) {
        st = tr_err_set(err, TR_IO, "%s: cannot rename to %s: %s", from, to,
                        tr_err_cause(errno));
        if (had) rename(old, to);
        return st;
    }
    parent_of(to, parent);
    st = tr_dir_sync(parent, err);
    if (st == TR_OK && had) st = tr_dir_remove(old, err);
    return st;
}

#include "core/model/packed_dir.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"

static const char *const users = "users";

struct tr_packed_dir {
    char path[TR_PACKED_PATH];
    int lock; /* the file `users`, locked */
};

/* ---- which folder ---- */

static void prefix(char *out, size_t size)
{
    snprintf(out, size, "troupe-%lld-", (long long)geteuid());
}

enum tr_status tr_packed_dir_choose(const char *shared, const char *run,
                                    const char *run_dir, size_t bytes,
                                    char out[TR_PACKED_PATH], struct tr_err *err)
{
    struct statvfs fs;
    char name[128];
    prefix(name, sizeof name);
    size_t used = strlen(name);
    for (const char *c = run; *c && used + 1 < sizeof name; c++)
        name[used++] = (char)(isalnum((unsigned char)*c) || *c == '-' ? *c : '_');
    name[used] = 0;
    bool fits = statvfs(shared, &fs) == 0 && access(shared, W_OK) == 0 &&
                (double)fs.f_bavail * (double)fs.f_frsize > (double)bytes;
    if (fits) return tr_path_join(out, TR_PACKED_PATH, shared, name, err);
    return tr_path_join(out, TR_PACKED_PATH, run_dir, "weights", err);
}

/* ---- using it ---- */

/* A folder of ours that no other may write to. */
static enum tr_status check_dir(const char *path, struct tr_err *err)
{
    struct stat sb;
    if (lstat(path, &sb) != 0)
        return tr_err_set(err, TR_IO, "%s: %s", path, tr_err_cause(errno));
    if (!S_ISDIR(sb.st_mode) || sb.st_uid != geteuid() ||
        (sb.st_mode & (S_IWGRP | S_IWOTH)))
        return tr_err_set(err, TR_BADARG,
                          "%s: expected a folder of this user that no other may write to",
                          path);
    return TR_OK;
}

/* The file `users` of a folder, locked (LOCK_SH or LOCK_EX, never waiting); -1 when it is not
 * there, is locked, or was removed meanwhile. */
static int lock_users(const char *dir, int flags, int operation)
{
    char path[TR_PACKED_PATH];
    struct stat held, named;
    if (tr_path_join(path, sizeof path, dir, users, NULL) != TR_OK) return -1;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, S_IRUSR | S_IWUSR);
    if (fd < 0) return -1;
    if (flock(fd, operation | LOCK_NB) == 0 && fstat(fd, &held) == 0 &&
        lstat(path, &named) == 0 && held.st_ino == named.st_ino &&
        held.st_dev == named.st_dev)
        return fd;
    close(fd);
    return -1;
}

/* Files whose writer died: nobody takes an hour to write one. */
static void remove_parts(const char *dir)
{
    enum { HOUR = 3600 };
    char path[TR_PACKED_PATH];
    struct stat sb;
    DIR *d = opendir(dir);
    struct dirent *e = NULL;
    if (!d) return;
    while ((e = readdir(d))) { // NOLINT(concurrency-mt-unsafe): d is ours
        if (strncmp(e->d_name, "part-", 5) != 0) continue;
        if (tr_path_join(path, sizeof path, dir, e->d_name, NULL) != TR_OK) continue;
        if (lstat(path, &sb) == 0 && sb.st_mtime < time(NULL) - HOUR) unlink(path);
    }
    closedir(d);
}

enum tr_status tr_packed_dir_open(const char *path, struct tr_packed_dir **out,
                                  struct tr_err *err)
{
    enum { TRIES = 200 }; /* of 10 ms: whoever locks it all does so for moments */
    enum tr_status st = TR_OK;
    struct tr_packed_dir *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) return tr_err_set(err, TR_NOMEM, "the folder of packed weights");
    d->lock = -1;
    snprintf(d->path, sizeof d->path, "%s", path);
    for (int i = 0; i < TRIES && d->lock < 0 && st == TR_OK; i++) {
        if (i > 0) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        if (mkdir(path, S_IRWXU) != 0 && errno != EEXIST)
            st = tr_err_set(err, TR_IO, "%s: cannot make the folder: %s", path,
                            tr_err_cause(errno));
        if (st == TR_OK) st = check_dir(path, err);
        if (st == TR_OK) d->lock = lock_users(path, O_CREAT, LOCK_SH);
    }
    if (st == TR_OK && d->lock < 0)
        st = tr_err_set(err, TR_IO, "%s: cannot lock %s: %s", path, users,
                        tr_err_cause(errno));
    if (st != TR_OK) {
        free(d);
        return st;
    }
    remove_parts(path);
    *out = d;
    return TR_OK;
}

/* The oldest file of packed weights, if there are more than `keep`. */
static bool find_oldest(const char *dir, int64_t keep, char oldest[TR_PACKED_PATH])
{
    static const char ending[] = ".weights";
    char path[TR_PACKED_PATH];
    struct timespec first = {0};
    struct stat sb;
    int64_t n = 0;
    struct dirent *e = NULL;
    DIR *d = opendir(dir);
    if (!d) return false;
    while ((e = readdir(d))) { // NOLINT(concurrency-mt-unsafe): d is ours
        size_t size = strlen(e->d_name);
        if (size < sizeof ending ||
            strcmp(e->d_name + size + 1 - sizeof ending, ending) != 0)
            continue;
        if (tr_path_join(path, sizeof path, dir, e->d_name, NULL) != TR_OK ||
            lstat(path, &sb) != 0)
            continue;
        bool older =
            sb.st_mtim.tv_sec < first.tv_sec ||
            (sb.st_mtim.tv_sec == first.tv_sec && sb.st_mtim.tv_nsec < first.tv_nsec);
        if (n++ > 0 && !older) continue;
        first = sb.st_mtim;
        snprintf(oldest, TR_PACKED_PATH, "%s", path);
    }
    closedir(d);
    return n > keep;
}

void tr_packed_dir_prune(const char *path, int64_t keep)
{
    char oldest[TR_PACKED_PATH];
    while (find_oldest(path, keep, oldest) && unlink(oldest) == 0) continue;
}

const char *tr_packed_dir_path(const struct tr_packed_dir *d)
{
    return d->path;
}

void tr_packed_dir_close(struct tr_packed_dir *d)
{
    if (!d) return;
    /* Nobody else has it: it goes while it is locked, so a newcomer makes a new one. */
    if (flock(d->lock, LOCK_EX | LOCK_NB) == 0) (void)tr_dir_remove(d->path, NULL);
    close(d->lock);
    free(d);
}

/* ---- what was left behind ---- */

static void clean_one(const char *path)
{
    enum { MINUTE = 60 };
    struct stat sb;
    if (check_dir(path, NULL) != TR_OK) return;
    int lock = lock_users(path, 0, LOCK_EX);
    bool bare = lock < 0 && errno == ENOENT && lstat(path, &sb) == 0 &&
                sb.st_mtime < time(NULL) - MINUTE; /* killed before it made `users` */
    if (lock >= 0 || bare) (void)tr_dir_remove(path, NULL);
    if (lock >= 0) close(lock);
}

void tr_packed_dir_clean(const char *shared)
{
    char start[64], path[TR_PACKED_PATH];
    struct dirent *e = NULL;
    DIR *d = opendir(shared);
    if (!d) return;
    prefix(start, sizeof start);
    while ((e = readdir(d))) { // NOLINT(concurrency-mt-unsafe): d is ours
        if (strncmp(e->d_name, start, strlen(start)) != 0) continue;
        if (tr_path_join(path, sizeof path, shared, e->d_name, NULL) == TR_OK)
            clean_one(path);
    }
    closedir(d);
}

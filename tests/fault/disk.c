#include "tests/fault/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"

enum { SECTOR = 512 };

struct change { /* a write, or with bytes NULL a truncation to `at` */
    off_t at;
    size_t size;
    char *bytes;
    struct change *next;
};

struct shadow { /* one file, as the disk has it */
    const char *path;
    bool there;
    char *bytes;
    size_t size, room;
    struct change *first, **last; /* not synced yet */
    char *left;                   /* after the loss */
    size_t left_size;
    bool left_there;
};

static struct {
    int64_t operations, fail_at, lose_at;
    int cause;
    bool stays, lost;
    uint64_t state; /* of the seed's numbers */
    struct shadow file[DISK_FILES];
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    int (*truncate)(int, off_t);
} disk = {.fail_at = -1, .lose_at = -1};

/* ---- the shadow ---- */

static void reserve(struct shadow *s, size_t size)
{
    if (size > s->room) {
        s->room = size * 2;
        s->bytes = realloc(s->bytes, s->room);
        assert_non_null(s->bytes);
    }
    if (size > s->size) {
        memset(s->bytes + s->size, 0, size - s->size);
        s->size = size;
    }
}

static void apply_part(struct shadow *s, off_t at, const char *bytes, size_t size)
{
    reserve(s, (size_t)at + size);
    memcpy(s->bytes + at, bytes, size);
}

static void resize(struct shadow *s, off_t size)
{
    if ((size_t)size > s->size) reserve(s, (size_t)size);
    s->size = (size_t)size;
}

static void forget_changes(struct shadow *s)
{
    while (s->first) {
        struct change *c = s->first;
        s->first = c->next;
        free(c->bytes);
        free(c);
    }
    s->last = &s->first;
}

/* The file is synced: all that waited is on the disk. */
static void settle(struct shadow *s)
{
    for (struct change *c = s->first; c; c = c->next) {
        if (c->bytes)
            apply_part(s, c->at, c->bytes, c->size);
        else
            resize(s, c->at);
    }
    forget_changes(s);
}

static bool toss(void)
{
    disk.state ^= disk.state << 13;
    disk.state ^= disk.state >> 7;
    disk.state ^= disk.state << 17;
    return disk.state >> 40 & 1;
}

/* Of what waited, some sectors are on the disk and some are not. */
static void lose(struct shadow *s)
{
    for (struct change *c = s->first; c; c = c->next) {
        if (!c->bytes) {
            if (toss()) resize(s, c->at);
            continue;
        }
        for (size_t i = 0; i < c->size; i += SECTOR) {
            size_t part = c->size - i < SECTOR ? c->size - i : SECTOR;
            if (toss()) apply_part(s, c->at + (off_t)i, c->bytes + i, part);
        }
    }
    forget_changes(s);
    s->left_there = s->there;
    s->left_size = s->size;
    s->left = malloc(s->size + 1);
    assert_non_null(s->left);
    if (s->size > 0) memcpy(s->left, s->bytes, s->size);
}

static struct shadow *shadow_of(int fd)
{
    struct stat a, b;
    if (disk.lose_at < 0 || disk.lost || fstat(fd, &a) != 0) return NULL;
    for (int i = 0; i < DISK_FILES; i++)
        if (stat(disk.file[i].path, &b) == 0 && a.st_ino == b.st_ino &&
            a.st_dev == b.st_dev)
            return &disk.file[i];
    return NULL;
}

static void record(int fd, const void *bytes, size_t size, off_t at)
{
    struct shadow *s = shadow_of(fd);
    if (!s) return;
    struct change *c = calloc(1, sizeof *c);
    assert_non_null(c);
    *c = (struct change){.at = at, .size = size};
    if (bytes) {
        c->bytes = malloc(size);
        assert_non_null(c->bytes);
        memcpy(c->bytes, bytes, size);
    }
    s->there = true;
    *s->last = c;
    s->last = &c->next;
}

/* ---- the calls ---- */

/* Counts one; true: it fails. */
static bool goes_wrong(void)
{
    int64_t k = disk.operations++;
    if (k == disk.lose_at && !disk.lost) {
        for (int i = 0; i < DISK_FILES; i++) lose(&disk.file[i]);
        disk.lost = true;
    }
    if (disk.fail_at < 0 || k < disk.fail_at || (k > disk.fail_at && !disk.stays))
        return false;
    errno = disk.cause;
    return true;
}

static ssize_t disk_pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    if (goes_wrong()) return -1;
    record(fd, bytes, size, at);
    return disk.pwrite(fd, bytes, size, at);
}

static int disk_truncate(int fd, off_t size)
{
    if (goes_wrong()) return -1;
    record(fd, NULL, 0, size);
    return disk.truncate(fd, size);
}

/* SQLite calls it by name: this one stands before the library's. */
int fdatasync(int fildes)
{
    if (goes_wrong()) return -1;
    struct shadow *s = shadow_of(fildes);
    if (s) settle(s);
    return (int)syscall(SYS_fdatasync, fildes);
}

/* ---- setting it up ---- */

static void set_call(const char *name, sqlite3_syscall_ptr call)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    assert_int_equal(vfs->xSetSystemCall(vfs, name, call), SQLITE_OK);
}

void disk_attach(void)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    assert_int_equal(sizeof(off_t), 8);
    disk.pwrite = pwrite;
    disk.truncate = ftruncate;
    assert_non_null(vfs->xGetSystemCall(vfs, "pwrite64"));
    set_call("pwrite", (sqlite3_syscall_ptr)disk_pwrite);
    set_call("pwrite64", (sqlite3_syscall_ptr)disk_pwrite);
    set_call("ftruncate", (sqlite3_syscall_ptr)disk_truncate);
}

void disk_detach(void)
{
    set_call("pwrite", NULL);
    set_call("pwrite64", NULL);
    set_call("ftruncate", NULL);
    disk.fail_at = disk.lose_at = -1;
    disk.lost = false;
}

void disk_fail(int64_t k, int cause, bool stays)
{
    disk.operations = 0;
    disk.fail_at = k;
    disk.cause = cause;
    disk.stays = stays;
}

int64_t disk_operations(void)
{
    return disk.operations;
}

void disk_lose_power(int64_t k, uint32_t seed, const char *const path[DISK_FILES])
{
    disk.operations = 0;
    disk.lose_at = k;
    disk.lost = false;
    disk.state = 0x9E3779B97F4A7C15U ^ ((uint64_t)seed + 1) * 0xD1342543DE82EF95U;
    for (int i = 0; i < DISK_FILES; i++) {
        struct shadow *s = &disk.file[i];
        if (s->last) forget_changes(s);
        free(s->bytes);
        free(s->left);
        *s = (struct shadow){.path = path[i]};
        s->last = &s->first;
    }
}

bool disk_lost(void)
{
    return disk.lost;
}

void disk_write_left(const char *const to[DISK_FILES])
{
    for (int i = 0; i < DISK_FILES; i++) {
        struct shadow *s = &disk.file[i];
        if (!s->left_there) continue;
        assert_int_equal(tr_file_write(to[i], s->left, s->left_size, NULL), TR_OK);
    }
}

/* Packed weights: written, mapped, refused; the folder that they lie in. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/model/packed_dir.h"
#include "tests/unit/scratch.h"
#include "tests/unit/tiny.h"

struct made {
    struct tiny m;
    char dir[SCRATCH_ROOM];
    struct tr_digest *chunk, digest;
};

static void make(struct made *x, const struct tr_arch *a, enum tr_math math, bool bf16)
{
    assert_true(tiny_open(&x->m, a, 3, NULL, 2, math, bf16));
    scratch_make(x->dir);
    x->chunk = calloc((size_t)tr_weights_chunks(x->m.w), sizeof *x->chunk);
    assert_int_equal(tr_weights_chunk_digests(x->m.w, &x->m.ex, x->chunk, NULL), TR_OK);
    assert_int_equal(tr_weights_digest_of(x->m.w, x->chunk, &x->digest, NULL), TR_OK);
}

static void unmake(struct made *x)
{
    tiny_close(&x->m);
    free(x->chunk);
    scratch_remove(x->dir);
}

static struct tr_packed *write_it(struct made *x, const char *dir)
{
    struct tr_packed *p = NULL;
    struct tr_err err = {0};
    if (tr_packed_write(x->m.w, &x->m.ex, x->chunk, &x->digest, dir, &p, &err) != TR_OK)
        fail_msg("%s", err.text);
    return p;
}

static enum tr_status open_it(struct made *x, const char *path, struct tr_packed **out,
                              struct tr_err *err)
{
    return tr_packed_open(path, x->m.params, x->m.ex.math, tr_weights_bf16(x->m.w),
                          &x->digest, out, err);
}

/* The same bits as the weights that were written. */
static void same(const struct tr_weights *a, const struct tr_weights *b)
{
    struct tr_weights_parts p = tr_weights_parts(a), q = tr_weights_parts(b);
    assert_int_equal(p.f32_bytes, q.f32_bytes);
    assert_int_equal(p.half_bytes, q.half_bytes);
    assert_memory_equal(p.f32, q.f32, p.f32_bytes);
    if (p.half_bytes) assert_memory_equal(p.half, q.half, p.half_bytes);
}

static void what_is_mapped_is_what_was_written(void **state)
{
    (void)state;
    for (int i = 0; i < tiny_arch_count; i++)
        for (int way = 0; way < 4; way++) {
            struct made x;
            struct tr_packed *p, *q = NULL, *again = NULL;
            struct tr_err err = {0};
            struct stat sb;
            make(&x, &tiny_archs[i].arch, way & 1 ? TR_MATH_OPENBLAS : TR_MATH_EXACT,
                 way & 2);
            p = write_it(&x, x.dir);
            same(x.m.w, tr_packed_weights(p));
            assert_int_equal(stat(tr_packed_name(p), &sb), 0);
            assert_int_equal(sb.st_size, tr_packed_bytes(x.m.params, way & 2));
            assert_int_equal(sb.st_mode & 0777, 0400);
            if (open_it(&x, tr_packed_name(p), &q, &err) != TR_OK)
                fail_msg("%s", err.text);
            tr_packed_unlink(p);
            tr_packed_close(p); /* readers keep what they have */
            assert_int_equal(tr_packed_again(q, x.m.params, &again, NULL), TR_OK);
            tr_packed_close(q);
            same(x.m.w, tr_packed_weights(again));
            assert_int_equal(tr_packed_verify(again, &x.m.ex, NULL), TR_OK);
            struct tr_digest d = tr_packed_digest(again);
            assert_true(tr_digest_equal(&d, &x.digest));
            tr_packed_close(again);
            unmake(&x);
        }
}

/* Invariant 1, and a file without a name. */
static void a_file_has_its_name_once_it_is_whole(void **state)
{
    (void)state;
    struct made x;
    struct tr_packed *p = NULL, *q = NULL;
    char path[TR_PACKED_PATH];
    make(&x, &tiny_archs[0].arch, TR_MATH_EXACT, true);
    assert_int_equal(tr_packed_path(x.dir, &x.digest, path, NULL), TR_OK);
    for (int named = 0; named < 2; named++) {
        unsigned char *bytes = malloc(TR_CHUNK_BYTES);
        assert_int_equal(tr_packed_create(x.m.params, TR_MATH_EXACT, true,
                                          named ? x.dir : NULL, &p, NULL),
                         TR_OK);
        for (int64_t i = 0; i < tr_weights_chunks(x.m.w); i++) {
            tr_weights_chunk_get(x.m.w, i, bytes);
            tr_weights_chunk_put(tr_packed_fill(p), i, bytes);
        }
        free(bytes);
        assert_false(tr_path_exists(path));
        assert_int_equal(tr_packed_seal(p, x.chunk, &x.digest, NULL), TR_OK);
        assert_int_equal(tr_path_exists(path), named);
        assert_string_equal(tr_packed_name(p), named ? path : "");
        assert_int_equal(tr_packed_again(p, x.m.params, &q, NULL), TR_OK);
        tr_packed_close(p);
        assert_int_equal(tr_packed_verify(q, &x.m.ex, NULL), TR_OK);
        tr_packed_close(q);
    }
    /* One that is given up leaves nothing. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(tr_packed_create(x.m.params, TR_MATH_EXACT, true, x.dir, &p, NULL),
                     TR_OK);
    tr_packed_close(p);
    assert_int_equal(rmdir(x.dir), 0);
    assert_int_equal(mkdir(x.dir, 0700), 0);
    assert_int_equal(
        tr_packed_create(x.m.params, TR_MATH_EXACT, true, "/no/such/place", &p, NULL),
        TR_IO);
    assert_null(p);
    unmake(&x);
}

/* Writes one byte of a file that is read-only. */
static void poke(const char *path, off_t at, unsigned char add)
{
    unsigned char c;
    assert_int_equal(chmod(path, 0600), 0);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c = (unsigned char)(c + add);
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

/* Invariant 2: each byte of the header and of the chunks' digests, and the size. */
static void another_header_is_refused(void **state)
{
    (void)state;
    enum { HEADER = 256 };
    struct made x;
    struct tr_packed *p, *q = NULL;
    char path[TR_PACKED_PATH];
    make(&x, &tiny_archs[0].arch, TR_MATH_EXACT, false);
    p = write_it(&x, x.dir);
    snprintf(path, sizeof path, "%s", tr_packed_name(p));
    tr_packed_close(p);
    for (off_t at = 0; at < HEADER + 32; at++) {
        struct tr_err err = {0};
        poke(path, at, 1);
        enum tr_status st = open_it(&x, path, &q, &err);
        if (st != TR_BADARG || q || !strstr(err.text, ".weights: "))
            fail_msg("byte %d: %s", (int)at, err.text);
        poke(path, at, 255);
    }
    assert_int_equal(open_it(&x, path, &q, NULL), TR_OK);
    tr_packed_close(q);
    struct stat sb;
    assert_int_equal(stat(path, &sb), 0);
    const off_t size[] = {
        sb.st_size + 4096, sb.st_size + 1, sb.st_size - 1, HEADER, HEADER - 1, 1, 0};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        assert_int_equal(truncate(path, size[i]), 0);
        assert_int_equal(open_it(&x, path, &q, NULL), TR_BADARG);
    }
    unmake(&x);
}

static void other_weights_are_refused(void **state)
{
    (void)state;
    struct made x;
    struct tr_packed *p, *q = NULL;
    struct tr_params *other = NULL;
    const char *path;
    make(&x, &tiny_archs[0].arch, TR_MATH_EXACT, false);
    p = write_it(&x, x.dir);
    path = tr_packed_name(p);
    struct tr_digest digest = x.digest;
    digest.byte[31] ^= 1;
    assert_int_equal(tr_params_create(&tiny_archs[0].arch, true, false, &other, NULL),
                     TR_OK);
    assert_int_equal(
        tr_packed_open(path, x.m.params, TR_MATH_EXACT, false, &digest, &q, NULL),
        TR_BADARG);
    assert_int_equal(
        tr_packed_open(path, x.m.params, TR_MATH_EXACT, true, &x.digest, &q, NULL),
        TR_BADARG);
    assert_int_equal(
        tr_packed_open(path, x.m.params, TR_MATH_OPENBLAS, false, &x.digest, &q, NULL),
        TR_BADARG);
    assert_int_equal(
        tr_packed_open(path, other, TR_MATH_EXACT, false, &x.digest, &q, NULL),
        TR_BADARG);
    /* Others could write to it; it is a link; a pipe; a folder; nothing. */
    char link[SCRATCH_ROOM], pipe[SCRATCH_ROOM];
    scratch_path(link, x.dir, "link");
    scratch_path(pipe, x.dir, "pipe");
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(open_it(&x, link, &q, NULL), TR_BADARG);
    assert_int_equal(open_it(&x, pipe, &q, NULL), TR_BADARG);
    assert_int_equal(open_it(&x, x.dir, &q, NULL), TR_BADARG);
    assert_int_equal(open_it(&x, "/no/such/file", &q, NULL), TR_BADARG);
    assert_int_equal(chmod(path, 0620), 0);
    assert_int_equal(open_it(&x, path, &q, NULL), TR_BADARG);
    assert_int_equal(chmod(path, 0400), 0);
    /* An element that is not what was written: opened, but not verified. */
    poke(path, (off_t)tr_packed_bytes(x.m.params, false) / 2, 1);
    assert_int_equal(open_it(&x, path, &q, NULL), TR_OK);
    assert_int_equal(tr_packed_verify(q, &x.m.ex, NULL), TR_BADMSG);
    tr_packed_close(q);
    tr_packed_close(p);
    tr_params_destroy(other);
    unmake(&x);
}

/* ---- the folder ---- */

static void the_folder_is_chosen_by_room(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM], path[TR_PACKED_PATH], want[SCRATCH_ROOM + 64];
    scratch_make(dir);
    assert_int_equal(tr_packed_dir_choose(dir, "a/b c", "/run", 1, path, NULL), TR_OK);
    snprintf(want, sizeof want, "%s/troupe-%d-a_b_c", dir, (int)geteuid());
    assert_string_equal(path, want);
    assert_int_equal(tr_packed_dir_choose(dir, "a", "/run", (size_t)1 << 60, path, NULL),
                     TR_OK);
    assert_string_equal(path, "/run/weights");
    assert_int_equal(tr_packed_dir_choose("/no/such", "a", "/run", 1, path, NULL), TR_OK);
    assert_string_equal(path, "/run/weights");
    scratch_remove(dir);
}

/* Invariant 1: the last one out removes it; a killed user's folder goes at the next start. */
static void a_folder_lives_as_long_as_its_users(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM], path[TR_PACKED_PATH];
    struct tr_packed_dir *a = NULL, *b = NULL;
    scratch_make(dir);
    assert_int_equal(tr_packed_dir_choose(dir, "r", "/run", 1, path, NULL), TR_OK);
    assert_int_equal(tr_packed_dir_open(path, &a, NULL), TR_OK);
    assert_int_equal(tr_packed_dir_open(path, &b, NULL), TR_OK);
    assert_string_equal(tr_packed_dir_path(b), path);
    scratch_text(path, "x.weights", "x");
    tr_packed_dir_close(a);
    tr_packed_dir_clean(dir);
    assert_true(tr_path_exists(path));
    tr_packed_dir_close(b);
    assert_false(tr_path_exists(path));
    pid_t child = fork();
    if (child == 0) {
        if (tr_packed_dir_open(path, &a, NULL) != TR_OK) _exit(1);
        raise(SIGKILL);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && tr_path_exists(path));
    scratch_text(path, "y.weights", "y");
    tr_packed_dir_clean(dir);
    assert_false(tr_path_exists(path));
    scratch_remove(dir);
}

/* Invariant 2; and what a dead writer left is removed when it is old. */
static void a_strange_folder_is_refused(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM], path[SCRATCH_ROOM], link[SCRATCH_ROOM], part[SCRATCH_ROOM];
    struct tr_packed_dir *d = NULL;
    scratch_make(dir);
    scratch_path(path, dir, "open");
    scratch_path(link, dir, "link");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(tr_packed_dir_open(path, &d, NULL), TR_BADARG);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(tr_packed_dir_open(link, &d, NULL), TR_BADARG);
    assert_int_equal(tr_packed_dir_open("/no/such/place", &d, NULL), TR_IO);
    assert_int_equal(chmod(path, 0700), 0);
    scratch_text(path, "part-old", "");
    scratch_text(path, "part-new", "");
    scratch_path(part, path, "part-old");
    const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, part, old, 0), 0);
    assert_int_equal(tr_packed_dir_open(path, &d, NULL), TR_OK);
    assert_false(tr_path_exists(part));
    scratch_path(part, path, "part-new");
    assert_true(tr_path_exists(part));
    tr_packed_dir_close(d);
    scratch_remove(dir);
}

/* What a killed publisher left: the newest stay, and nothing else is touched. */
static void old_files_are_pruned(void **state)
{
    (void)state;
    static const char *const name[] = {"c.weights", "a.weights", "d.weights", "b.weights",
                                       "x.weight",  ".weights",  "part-old"};
    char dir[SCRATCH_ROOM], path[SCRATCH_ROOM];
    scratch_make(dir);
    for (int i = 0; i < 7; i++) {
        const struct timespec at[2] = {{.tv_sec = 100}, {.tv_sec = 100, .tv_nsec = i}};
        scratch_text(dir, name[i], "");
        scratch_path(path, dir, name[i]);
        assert_int_equal(utimensat(AT_FDCWD, path, at, 0), 0);
    }
    tr_packed_dir_prune(dir, 5);
    tr_packed_dir_prune(dir, 2);
    for (int i = 0; i < 7; i++) {
        scratch_path(path, dir, name[i]);
        assert_int_equal(tr_path_exists(path), i >= 2);
    }
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_mapped_is_what_was_written),
        cmocka_unit_test(a_file_has_its_name_once_it_is_whole),
        cmocka_unit_test(another_header_is_refused),
        cmocka_unit_test(other_weights_are_refused),
        cmocka_unit_test(the_folder_is_chosen_by_room),
        cmocka_unit_test(a_folder_lives_as_long_as_its_users),
        cmocka_unit_test(a_strange_folder_is_refused),
        cmocka_unit_test(old_files_are_pruned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The journal after kill -9, and after its files were cut or changed. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "tests/fault/story.h"
#include "tests/unit/scratch.h"

/* A number below n, by seed and count. */
static int64_t draw(uint32_t seed, uint32_t count, int64_t n)
{
    uint64_t x = ((uint64_t)seed << 32 | count) * 0x9E3779B97F4A7C15U;
    x ^= x >> 29;
    x *= 0xBF58476D1CE4E5B9U;
    return (int64_t)((x >> 20) % (uint64_t)n);
}

/* ---- kill -9 ---- */

/* Tells the story from deed `from` on until it is killed, saying through fd what lasts. */
static void tell(const char *path, int64_t from, int fd)
{
    struct tr_journal *j = NULL;
    bool good = story_open(path, &j, NULL) == TR_OK;
    for (int64_t i = from; good; i++) {
        bool lasts = false, durable = false;
        good = story_do(j, i, &lasts, &durable, NULL) == TR_OK;
        if (good && lasts) good = write(fd, &i, sizeof i) == (ssize_t)sizeof i;
    }
    _exit(1);
}

/* Lets a child go on with the story for a while; the last deed that it said lasts, or -1. */
static int64_t run_and_kill(const char *path, int64_t from, int64_t microseconds)
{
    int64_t last = -1, i = 0;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(fd[0]);
        tell(path, from, fd[1]);
    }
    close(fd[1]);
    struct timespec t = {.tv_nsec = microseconds * 1000};
    if (read(fd[0], &i, sizeof i) == (ssize_t)sizeof i) last = i;
    nanosleep(&t, NULL);
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (read(fd[0], &i, sizeof i) == (ssize_t)sizeof i) last = i;
    close(fd[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return last;
}

/* Invariant 1: what was flushed is found, and the story is told on from there, kill after kill. */
static void what_was_flushed_survives_a_kill(void **state)
{
    (void)state;
    struct place p;
    int64_t told = 0;
    open_place(&p);
    for (uint32_t round = 0; round < 40; round++) {
        struct tr_journal *j = NULL;
        struct tr_err err = {0};
        int64_t last = run_and_kill(p.path, told, draw(1, round, 12000));
        /* a reader first, for half of them: it must find the same, and change nothing */
        int64_t seen = -1;
        if (round % 2) {
            if (tr_journal_look(p.path, &j, &err) != TR_OK) fail_msg("%s", err.text);
            seen = story_told(j, last + 64);
            tr_journal_close(j);
        }
        if (story_open(p.path, &j, &err) != TR_OK) fail_msg("%s", err.text);
        told = story_told(j, last + 64);
        tr_journal_close(j);
        if (told <= last) fail_msg("round %u: %d of %d", round, (int)told, (int)last);
        if (round % 2) assert_int_equal(seen, told);
    }
    close_place(&p);
}

/* A child that only just begins: the file may be empty, and is made then. */
static void a_kill_at_the_very_start_harms_nothing(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 25; round++) {
        struct place p;
        struct tr_journal *j = NULL;
        struct tr_err err = {0};
        open_place(&p);
        pid_t pid = fork();
        if (pid == 0) tell(p.path, 0, open("/dev/null", O_WRONLY | O_CLOEXEC));
        struct timespec t = {.tv_nsec = draw(2, round, 8000) * 1000};
        nanosleep(&t, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        if (story_open(p.path, &j, &err) != TR_OK) fail_msg("%s", err.text);
        assert_true(story_told(j, 2000) >= 0);
        tr_journal_close(j);
        close_place(&p);
    }
}

/* ---- files that were cut or changed ---- */

struct files { /* the two files of a stopped run */
    struct tr_buf db, log;
    int64_t done; /* deeds that it was told, all flushed */
};

static void read_file(const char *path, struct tr_buf *out)
{
    struct tr_err err = {0};
    if (tr_path_exists(path)) {
        if (tr_file_read(path, 1 << 28, out, &err) != TR_OK) fail_msg("%s", err.text);
    } else {
        tr_buf_init(out, 1);
    }
}

/* Tells `deeds` of the story; killed leaves the log hot. */
static void make_files(struct files *f, int64_t deeds, bool killed)
{
    struct place p;
    open_place(&p);
    pid_t pid = fork();
    if (pid == 0) {
        struct tr_journal *j = NULL;
        bool lasts = false, durable = false, good = story_open(p.path, &j, NULL) == TR_OK;
        for (int64_t i = 0; i < deeds && good; i++)
            good = story_do(j, i, &lasts, &durable, NULL) == TR_OK;
        if (killed && good) raise(SIGKILL);
        tr_journal_close(j);
        _exit(good ? 0 : 1);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    assert_int_equal(WIFSIGNALED(status) ? 0 : WEXITSTATUS(status), 0);
    read_file(p.path, &f->db);
    read_file(p.log, &f->log);
    f->done = deeds;
    assert_true(f->db.size > 0 && (killed || f->log.size == 0));
    close_place(&p);
}

static void free_files(struct files *f)
{
    tr_buf_fini(&f->db);
    tr_buf_fini(&f->log);
}

/* A coordinator can take up the story where it ends. */
static void go_on(struct tr_journal *j, int64_t from)
{
    struct tr_err err = {0};
    for (int64_t i = from; i < from + 16; i++) {
        bool lasts = false, durable = false;
        if (story_do(j, i, &lasts, &durable, &err) != TR_OK) fail_msg("%s", err.text);
    }
}

/* The story in these files, which are opened by a coordinator or by a reader: -1 when they are
 * refused or said to be damaged. */
static int64_t story_by(const char *db, size_t db_size, const char *log, size_t log_size,
                        bool reader, int64_t (*ask)(struct tr_journal *j, int64_t most),
                        int64_t most)
{
    struct place p;
    struct tr_journal *j = NULL;
    struct tr_err err = {0};
    int64_t told = -1;
    open_place(&p);
    assert_int_equal(tr_file_write(p.path, db, db_size, NULL), TR_OK);
    if (log_size > 0) assert_int_equal(tr_file_write(p.log, log, log_size, NULL), TR_OK);
    enum tr_status st =
        reader ? tr_journal_look(p.path, &j, &err) : story_open(p.path, &j, &err);
    if (st == TR_OK)
        told = ask(j, most);
    else if (st != TR_IO && st != TR_BADARG)
        fail_msg("%s", err.text);
    else
        assert_true(err.text[0] && !j);
    if (st == TR_OK && told >= 0 && !reader && ask == story_told) go_on(j, told);
    tr_journal_close(j);
    close_place(&p);
    return told;
}

/* A log that ends early tells a shorter story, the longer the log the longer the story: before, just
 * after and long after a fold. */
static void a_cut_log_tells_a_beginning(void **state)
{
    (void)state;
    int64_t changes = 0;
    for (int64_t deeds = 14; deeds <= 62;
         deeds += 8) { /* the last one of each is a flush */
        struct files f;
        make_files(&f, deeds, true);
        int64_t before = -1;
        for (size_t cut = 0; cut <= f.log.size; cut += cut % 8192 == 0 ? 1 : 1013) {
            int64_t told =
                story_by(f.db.at, f.db.size, f.log.at, cut, cut % 2, story_told, f.done);
            if (told < before && before > 0) /* to a reader an empty file is no journal */
                fail_msg("cut at %zu: %d, and %d before", cut, (int)told, (int)before);
            changes += told != before;
            before = told;
        }
        assert_int_equal(
            story_by(f.db.at, f.db.size, f.log.at, f.log.size, false, story_told, f.done),
            f.done);
        free_files(&f);
    }
    assert_true(changes > 20);
}

/* A file that ends early is refused or tells all of it; what it tells is right. */
static void a_cut_file_is_refused_or_whole(void **state)
{
    (void)state;
    struct files f;
    int refused = 0, n = 0;
    make_files(&f, 64, false);
    for (size_t cut = 0; cut < f.db.size; cut += cut % 8192 == 0 ? 700 : 1699, n++) {
        int64_t told =
            cut ? story_by(f.db.at, cut, NULL, 0, n % 2, story_told, f.done) : -1;
        refused += told == -1;
        if (told != -1 && told != f.done) fail_msg("cut at %zu: %d", cut, (int)told);
    }
    assert_int_equal(refused, n);
    assert_int_equal(story_by(f.db.at, f.db.size, NULL, 0, false, story_told, f.done),
                     f.done);
    free_files(&f);
}

/* Bits that turned: what is found is right, or said to be damaged, and never other numbers. (A row may
 * be lost: a unit is asked again then. A bit in the log ends it.) */
static void turned_bits_are_noticed(void **state)
{
    (void)state;
    struct files f[2];
    int noticed = 0, lost = 0;
    make_files(&f[0], 62, false);
    make_files(&f[1], 62, true);
    for (uint32_t round = 0; round < 400; round++) {
        struct files *now = &f[round % 2];
        struct tr_buf *b = round % 4 == 3 ? &now->log : &now->db;
        size_t at = (size_t)draw(3, round, (int64_t)b->size);
        char bit = (char)(1 << draw(4, round, 7));
        b->at[at] = (char)(b->at[at] ^ bit);
        int64_t left = story_by(now->db.at, now->db.size, now->log.at, now->log.size,
                                round % 3 == 0, story_left, now->done);
        b->at[at] = (char)(b->at[at] ^ bit);
        noticed += left == -1;
        lost += left >= 0 && left < now->done;
    }
    assert_true(noticed > 20 && lost > 20);
    free_files(&f[0]);
    free_files(&f[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_flushed_survives_a_kill),
        cmocka_unit_test(a_kill_at_the_very_start_harms_nothing),
        cmocka_unit_test(a_cut_log_tells_a_beginning),
        cmocka_unit_test(a_cut_file_is_refused_or_whole),
        cmocka_unit_test(turned_bits_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

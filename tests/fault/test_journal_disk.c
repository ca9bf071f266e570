/* The journal on a disk that fails, is full, or loses its power. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "tests/fault/disk.h"
#include "tests/fault/story.h"
#include "tests/unit/scratch.h"

/* Tells the story until something fails; *lasts, *durable: deeds that were promised, [0, n). */
static enum tr_status tell(struct tr_journal *j, int64_t deeds, int64_t *lasts,
                           int64_t *durable, struct tr_err *err)
{
    for (int64_t i = 0; i < deeds; i++) {
        bool l = false, d = false;
        enum tr_status st = story_do(j, i, &l, &d, err);
        if (st != TR_OK) return st;
        if (disk_lost()) continue; /* what came after the loss is promised to nobody */
        if (l) *lasts = i + 1;
        if (d) *durable = i + 1;
    }
    return TR_OK;
}

/* Invariant 5: after a failure nothing is taken, and the same is said. */
static void assert_closed_for_good(struct tr_journal *j, const struct tr_err *first)
{
    struct tr_err err = {0};
    for (int64_t i = 0; i < 8; i++) {
        bool lasts = false, durable = false;
        assert_int_equal(story_do(j, i, &lasts, &durable, &err), first->code);
        assert_string_equal(err.text, first->text);
    }
}

/* One run of the story whose operation k fails; true when there was no such operation any more. */
static bool run_with_failure(int64_t k, int cause, bool stays)
{
    struct place p;
    struct tr_err err = {0};
    struct tr_journal *j = NULL;
    int64_t lasts = 0, durable = 0;
    open_place(&p);
    disk_fail(k, cause, stays);
    enum tr_status st = story_open(p.path, &j, &err);
    if (st == TR_OK) st = tell(j, 150, &lasts, &durable, &err);
    bool over = disk_operations() <= k;
    if (!over && st != TR_OK) {
        assert_int_equal(st, TR_IO);
        assert_true(strstr(err.text, p.path) && !strchr(err.text, '\n'));
        if (j) assert_closed_for_good(j, &err);
    }
    tr_journal_close(j);
    disk_fail(-1, 0, false);
    if (story_open(p.path, &j, &err) != TR_OK) fail_msg("k %d: %s", (int)k, err.text);
    int64_t told = story_told(j, 150);
    if (told < lasts) fail_msg("k %d: %d of %d", (int)k, (int)told, (int)lasts);
    tr_journal_close(j);
    close_place(&p);
    return over;
}

static void every_operation_may_fail(void **state)
{
    (void)state;
    static const struct {
        int cause;
        bool stays;
    } way[] = {{EIO, true}, {ENOSPC, true}, {EIO, false}, {ENOSPC, false}};
    disk_attach();
    for (size_t w = 0; w < sizeof way / sizeof *way; w++) {
        int64_t k = 0;
        while (!run_with_failure(k, way[w].cause, way[w].stays)) k += 1 + k / 30;
        assert_true(k > 200);
    }
    disk_detach();
}

/* What was promised to outlive a loss of power does, and the rest is a beginning of the story. */
static void a_loss_of_power_costs_the_last_flushes(void **state)
{
    (void)state;
    int shorter = 0, losses = 0;
    disk_attach();
    for (uint32_t seed = 0; seed < 220; seed++) {
        struct place p, q;
        struct tr_err err = {0};
        struct tr_journal *j = NULL;
        int64_t lasts = 0, durable = 0;
        open_place(&p);
        open_place(&q);
        const char *const from[] = {p.path, p.log}, *const to[] = {q.path, q.log};
        disk_lose_power((int64_t)(seed * 2654435761U % 900), seed, from);
        assert_int_equal(story_open(p.path, &j, &err), TR_OK);
        bool made = !disk_lost();
        assert_int_equal(tell(j, 150, &lasts, &durable, &err), TR_OK);
        bool lost = disk_lost();
        if (lost) disk_write_left(to);
        tr_journal_close(j);
        if (lost && story_open(q.path, &j, &err) == TR_OK) {
            int64_t told = story_told(j, 150);
            if (told < durable)
                fail_msg("seed %u: %d of %d", seed, (int)told, (int)durable);
            shorter += told < lasts;
            losses++;
            tr_journal_close(j);
        } else if (lost && made) {
            fail_msg("seed %u: %s", seed, err.text);
        }
        close_place(&p);
        close_place(&q);
    }
    disk_detach();
    assert_true(losses > 100 && shorter > 20);
}

/* Tells the story in a child that may write files of so many bytes, until it cannot. */
static void fill(const char *path, rlim_t bytes, int fd)
{
    struct rlimit limit = {bytes, bytes};
    struct tr_err err = {0};
    struct tr_journal *j = NULL;
    int64_t lasts = 0, durable = 0;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    enum tr_status st = story_open(path, &j, &err);
    if (st == TR_OK) st = tell(j, 10000, &lasts, &durable, &err);
    tr_journal_close(j);
    bool good = st == TR_IO && strstr(err.text, "run.db: write: ") &&
                write(fd, &lasts, sizeof lasts) == (ssize_t)sizeof lasts;
    _exit(good ? 0 : 1);
}

/* A real limit of the system: of the log, which is met first, and of the file. */
static void a_full_disk_is_said_and_harms_nothing(void **state)
{
    (void)state;
    static const rlim_t limit[] = {360 << 10, 1200 << 10};
    for (int i = 0; i < 2; i++) {
        struct place p;
        struct tr_err err = {0};
        struct tr_journal *j = NULL;
        int64_t lasts = 0;
        int fd[2], status = 1;
        open_place(&p);
        assert_int_equal(pipe(fd), 0);
        pid_t pid = fork();
        if (pid == 0) fill(p.path, limit[i], fd[1]);
        waitpid(pid, &status, 0);
        assert_int_equal(status, 0);
        assert_int_equal(read(fd[0], &lasts, sizeof lasts), sizeof lasts);
        assert_true(lasts > 8);
        if (story_open(p.path, &j, &err) != TR_OK) fail_msg("%s", err.text);
        assert_true(story_told(j, lasts + 16) >= lasts);
        tr_journal_close(j);
        close(fd[0]);
        close(fd[1]);
        close_place(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_may_fail),
        cmocka_unit_test(a_loss_of_power_costs_the_last_flushes),
        cmocka_unit_test(a_full_disk_is_said_and_harms_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

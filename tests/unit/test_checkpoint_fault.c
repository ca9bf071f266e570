/* The k-th call that makes a checkpoint last fails, for every k. Whatever it was, the run can go on
 * from the checkpoint before it or from the new one, and the failure is told in one line.
 *
 * Two ways to fail: one call alone (a full disk that somebody tidied up), and every call from the
 * k-th on (the process or the disk is gone). In the second, what is found afterwards is what a
 * process that was killed there would have left. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/checkpoint.h"
#include "core/base/file.h"
#include "tests/unit/learning.h"
#include "tests/unit/scratch.h"
#include "tests/unit/tiny.h"

static int64_t countdown = -1; /* calls until the fault; -1: none */
static bool lasting;           /* the calls after it fail too */

ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
size_t __real_fwrite(const void *bytes, size_t size, size_t n, FILE *file);
size_t __wrap_fwrite(const void *bytes, size_t size, size_t n, FILE *file);
int __real_fflush(FILE *file);
int __wrap_fflush(FILE *file);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_unlinkat(int fd, const char *name, int flags);
int __wrap_unlinkat(int fd, const char *name, int flags);

static bool fault(int cause)
{
    if (countdown < 0) return false;
    if (countdown > 0) {
        countdown--;
        return false;
    }
    if (!lasting) countdown = -1;
    errno = cause;
    return true;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    return fault(ENOSPC) ? -1 : __real_write(fd, bytes, size);
}

/* Half of it arrives, as on a full disk. */
size_t __wrap_fwrite(const void *bytes, size_t size, size_t n, FILE *file)
{
    return fault(ENOSPC) ? __real_fwrite(bytes, size, n / 2, file)
                         : __real_fwrite(bytes, size, n, file);
}

int __wrap_fflush(FILE *file)
{
    return fault(ENOSPC) ? EOF : __real_fflush(file);
}

int __wrap_fsync(int fd)
{
    return fault(EIO) ? -1 : __real_fsync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
    return fault(EIO) ? -1 : __real_rename(from, to);
}

int __wrap_unlinkat(int fd, const char *name, int flags)
{
    return fault(EIO) ? -1 : __real_unlinkat(fd, name, flags);
}

/* What launch/stage_output.c does, with one whole checkpoint kept. */
static enum tr_status save(struct tr_learner *l, const char *run, const char *source,
                           int64_t step, struct tr_err *err)
{
    char part[SCRATCH_ROOM];
    enum tr_status st = tr_checkpoint_name(run, step, true, part, sizeof part, err);
    if (st == TR_OK) st = tr_dir_remove(part, err);
    if (st == TR_OK) st = tr_checkpoint_write(l, part, source, true, err);
    if (st == TR_OK) st = tr_checkpoint_publish(run, step, err);
    return st == TR_OK ? tr_checkpoint_prune(run, 1, step, err) : st;
}

static void learn(struct tr_learner *l, uint64_t seed)
{
    struct learning x;
    struct tr_learn_result r;
    learning_open(&x, TR_LEARN_PAIRS, tr_learner_arch(l)->V, 4, seed);
    assert_int_equal(tr_learner_step(l, &x.task, &r, NULL), TR_OK);
    learning_close(&x);
}

struct stand {
    char run[SCRATCH_ROOM], source[SCRATCH_ROOM];
    struct tr_exec ex[3];
    struct tr_learner *at[3]; /* the reader; after step 1; after step 2 */
    struct tr_digest state[3];
};

static void open_stand(struct stand *s)
{
    static const struct learning_way way = {"one thread", NULL, 1, 600, 8, false};
    scratch_make(s->run);
    scratch_make(s->source);
    for (int i = 0; i < 3; i++) {
        assert_true(
            learning_learner(&way, &tiny_archs[0].arch, false, &s->ex[i], &s->at[i]));
        for (int step = 0; step < i; step++) learn(s->at[i], (uint64_t)step);
        s->state[i] = learning_state(s->at[i]);
    }
    assert_int_equal(tr_checkpoint_write(s->at[0], s->source, NULL, false, NULL), TR_OK);
    scratch_text(s->source, "tokenizer.json", "{}");
}

static void close_stand(struct stand *s)
{
    for (int i = 0; i < 3; i++) {
        tr_learner_close(s->at[i]);
        tr_exec_fini(&s->ex[i]);
    }
    scratch_remove(s->run);
    scratch_remove(s->source);
}

/* The newest checkpoint is one of the two, whole, and can be gone on from. */
static void must_go_on(const struct stand *s, int64_t k)
{
    char path[SCRATCH_ROOM];
    struct tr_err err = {0};
    int64_t last = tr_checkpoint_last(s->run);
    if (last != 1 && last != 2)
        fail_msg("call %lld: the newest checkpoint is %lld", (long long)k,
                 (long long)last);
    assert_int_equal(tr_checkpoint_name(s->run, last, false, path, sizeof path, NULL),
                     TR_OK);
    if (tr_checkpoint_read(s->at[0], path, &err) != TR_OK)
        fail_msg("call %lld: checkpoint %lld: %s", (long long)k, (long long)last,
                 err.text);
    struct tr_digest have = learning_state(s->at[0]);
    assert_true(tr_digest_equal(&have, &s->state[last]));
}

/* How often saving failed before it did not. */
static int64_t fail_each_call(struct stand *s)
{
    enum tr_status st = TR_IO;
    int64_t k = 0;
    for (; st != TR_OK; k++) {
        struct tr_err err = {0};
        assert_int_equal(tr_dir_remove(s->run, NULL), TR_OK);
        assert_int_equal(tr_dir_make(s->run, NULL), TR_OK);
        assert_int_equal(save(s->at[1], s->run, s->source, 1, NULL), TR_OK);
        countdown = k;
        st = save(s->at[2], s->run, s->source, 2, &err);
        bool unused = countdown >= 0 && !lasting;
        countdown = -1;
        if (st == TR_OK ? err.text[0] != 0
                        : st != TR_IO || !err.text[0] || strchr(err.text, '\n'))
            fail_msg("call %lld: status %d: \"%s\"", (long long)k, (int)st, err.text);
        if (st == TR_OK && !lasting) assert_true(unused); /* no failure is swallowed */
        must_go_on(s, k);
        assert_true(k < 1000);
    }
    /* A later save is not in the way of what a failed one left. */
    assert_int_equal(save(s->at[2], s->run, s->source, 2, NULL), TR_OK);
    must_go_on(s, k);
    return k;
}

static void one_call_fails(void **state)
{
    (void)state;
    struct stand s;
    open_stand(&s);
    lasting = false;
    assert_true(fail_each_call(&s) > 20);
    close_stand(&s);
}

static void every_call_fails_from_some_on(void **state)
{
    (void)state;
    struct stand s;
    open_stand(&s);
    lasting = true;
    assert_true(fail_each_call(&s) > 20);
    close_stand(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_call_fails),
        cmocka_unit_test(every_call_fails_from_some_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

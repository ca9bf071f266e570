/* Stop and go on to the bit; torn, mixed and foreign checkpoints are refused in words. */
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

static const struct learning_way whole = {"whole", NULL, 1, 600, 8, false};
static const struct learning_way other = {"cut up", NULL, 2, 200, 2, true};

static void steps(struct tr_learner *l, int from, int to)
{
    for (int s = from; s < to; s++) {
        struct learning x;
        struct tr_learn_result r;
        learning_open(&x, s % 2 ? TR_LEARN_PAIRS : TR_LEARN_TOKENS, tr_learner_arch(l)->V,
                      8, (uint64_t)s);
        assert_int_equal(tr_learner_step(l, &x.task, &r, NULL), TR_OK);
        assert_false(r.skipped);
        learning_close(&x);
    }
}

/* Invariant 1 of checkpoint.h, for every arch and another way of computing. */
static void a_stopped_run_goes_on_to_the_bit(void **state)
{
    (void)state;
    for (int a = 0; a < tiny_arch_count; a++) {
        char dir[SCRATCH_ROOM];
        struct tr_err err = {0};
        struct tr_exec ex;
        struct tr_exec ex2;
        struct tr_learner *l = NULL;
        struct tr_learner *m = NULL;
        bool bf16 = a % 2;
        scratch_make(dir);
        assert_true(learning_learner(&whole, &tiny_archs[a].arch, bf16, &ex, &l));
        assert_true(learning_learner(&other, &tiny_archs[a].arch, bf16, &ex2, &m));
        steps(l, 0, 3);
        if (tr_checkpoint_write(l, dir, NULL, true, &err) != TR_OK)
            fail_msg("%s: %s", tiny_archs[a].name, err.text);
        if (tr_checkpoint_read(m, dir, &err) != TR_OK)
            fail_msg("%s: %s", tiny_archs[a].name, err.text);
        steps(l, 3, 5);
        steps(m, 3, 5);
        struct tr_digest want = learning_state(l);
        struct tr_digest got = learning_state(m);
        assert_true(tr_digest_equal(&want, &got));
        tr_learner_close(l);
        tr_learner_close(m);
        tr_exec_fini(&ex);
        tr_exec_fini(&ex2);
        scratch_remove(dir);
    }
}

struct pair_of_checkpoints {
    char a[SCRATCH_ROOM], b[SCRATCH_ROOM]; /* after 1 and after 2 steps */
};

static void copy_file(const char *from, const char *to, const char *name)
{
    char path[SCRATCH_ROOM];
    struct tr_buf bytes;
    scratch_path(path, from, name);
    assert_int_equal(tr_file_read(path, 1 << 28, &bytes, NULL), TR_OK);
    scratch_path(path, to, name);
    assert_int_equal(tr_file_write(path, bytes.at, bytes.size, NULL), TR_OK);
    tr_buf_fini(&bytes);
}

static void refused(struct tr_learner *l, const char *dir, const char *says)
{
    struct tr_err err = {0};
    enum tr_status st = tr_checkpoint_read(l, dir, &err);
    if (st == TR_OK || !strstr(err.text, says))
        fail_msg("status %d: \"%s\" does not say \"%s\"", (int)st, err.text, says);
}

/* Invariant 2. */
static void torn_and_mixed_checkpoints_are_refused(void **state)
{
    (void)state;
    struct pair_of_checkpoints p;
    char path[SCRATCH_ROOM];
    struct tr_exec ex;
    struct tr_exec ex2;
    struct tr_learner *l = NULL;
    struct tr_learner *foreign = NULL;
    scratch_make(p.a);
    scratch_make(p.b);
    assert_true(learning_learner(&whole, &tiny_archs[0].arch, false, &ex, &l));
    assert_true(learning_learner(&whole, &tiny_archs[1].arch, false, &ex2, &foreign));
    steps(l, 0, 1);
    assert_int_equal(tr_checkpoint_write(l, p.a, NULL, true, NULL), TR_OK);
    steps(l, 1, 2);
    assert_int_equal(tr_checkpoint_write(l, p.b, NULL, true, NULL), TR_OK);

    refused(foreign, p.a, "expected");
    copy_file(p.b, p.a, "optimizer.safetensors");
    refused(l, p.a, "not those that were saved together");
    scratch_path(path, p.a, "optimizer.safetensors");
    assert_int_equal(truncate(path, 5000), 0);
    refused(l, p.a, "optimizer.safetensors");
    assert_int_equal(unlink(path), 0);
    refused(l, p.a, "optimizer.safetensors");
    copy_file(p.b, p.a, "optimizer.safetensors");
    copy_file(p.b, p.a, "model.safetensors");
    refused(l, p.a, "not those that were saved together"); /* the value head is older */
    copy_file(p.b, p.a, "value_head.safetensors");
    copy_file(p.b, p.a, "learner.json");
    assert_int_equal(tr_checkpoint_read(l, p.a, NULL), TR_OK);
    scratch_text(p.a, "learner.json", "{\"t\": 2}");
    refused(l, p.a, "state_digest");
    scratch_path(path, p.a, "value_head.safetensors");
    assert_int_equal(unlink(path), 0);
    refused(l, p.a, "value_head.safetensors");

    tr_learner_close(l);
    tr_learner_close(foreign);
    tr_exec_fini(&ex);
    tr_exec_fini(&ex2);
    scratch_remove(p.a);
    scratch_remove(p.b);
}

/* A lineage belongs to its state: a learner that believes another is taught other steps than its own. */
static void a_lineage_of_another_state_is_refused(void **state)
{
    (void)state;
    struct pair_of_checkpoints p;
    struct tr_exec ex;
    struct tr_learner *l = NULL;
    const struct tr_digest a = tr_digest_of("a", 1), b = tr_digest_of("b", 1);
    struct tr_digest got;
    struct tr_err err = {0};
    char text[65], line[128];
    scratch_make(p.a);
    scratch_make(p.b);
    assert_true(learning_learner(&whole, &tiny_archs[0].arch, false, &ex, &l));
    assert_int_equal(tr_checkpoint_write(l, p.a, NULL, true, NULL), TR_OK);
    steps(l, 0, 1);
    assert_int_equal(tr_checkpoint_write(l, p.b, NULL, true, NULL), TR_OK);
    assert_int_equal(tr_checkpoint_read_lineage(p.a, &got, NULL), TR_AGAIN);
    assert_int_equal(tr_checkpoint_write_lineage(p.a, &a, NULL), TR_OK);
    assert_int_equal(tr_checkpoint_write_lineage(p.b, &b, NULL), TR_OK);
    assert_int_equal(tr_checkpoint_read_lineage(p.a, &got, NULL), TR_OK);
    assert_true(tr_digest_equal(&got, &a));
    copy_file(p.b, p.a, "lineage.json");
    assert_int_equal(tr_checkpoint_read_lineage(p.a, &got, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "lineage.json: was not saved together with"));
    tr_digest_text(&b, text);
    snprintf(line, sizeof line, "{\"lineage\": \"%s\", \"seal\": \"\"}", text);
    scratch_text(p.b, "lineage.json", line);
    assert_int_equal(tr_checkpoint_read_lineage(p.b, &got, NULL), TR_BADARG);
    tr_learner_close(l);
    tr_exec_fini(&ex);
    scratch_remove(p.a);
    scratch_remove(p.b);
}

static void make_folder(const char *run, const char *name)
{
    char path[SCRATCH_ROOM];
    scratch_path(path, run, name);
    assert_int_equal(tr_dir_make(path, NULL), TR_OK);
    scratch_text(path, "x", "y");
}

static bool is_there(const char *run, const char *name)
{
    char path[SCRATCH_ROOM];
    scratch_path(path, run, name);
    return tr_path_exists(path);
}

static void old_checkpoints_go_and_foreign_folders_stay(void **state)
{
    (void)state;
    char run[SCRATCH_ROOM];
    char path[SCRATCH_ROOM];
    static const char *const names[] = {
        "checkpoint-2",      "checkpoint-10", "checkpoint-9", "checkpoint-12.part",
        "checkpoint-latest", "checkpoint-3x", "logs"};
    scratch_make(run);
    assert_int_equal(tr_checkpoint_last(run), -1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) make_folder(run, names[i]);
    scratch_text(run, "checkpoint-2/optimizer.safetensors", "");
    assert_int_equal(tr_checkpoint_last(run), 2); /* the others hold a model only */
    scratch_text(run, "checkpoint-10/optimizer.safetensors", "");
    assert_int_equal(tr_checkpoint_last(run), 10);
    assert_int_equal(tr_checkpoint_prune(run, -1, -1, NULL), TR_OK);
    assert_false(is_there(run, "checkpoint-12.part"));
    assert_true(is_there(run, "checkpoint-2"));
    assert_int_equal(tr_checkpoint_prune(run, 2, 10, NULL), TR_OK);
    assert_true(!is_there(run, "checkpoint-2") && is_there(run, "checkpoint-9"));
    assert_int_equal(tr_checkpoint_prune(run, 1, 9, NULL), TR_OK);
    assert_true(!is_there(run, "checkpoint-10") && is_there(run, "checkpoint-9"));
    assert_true(is_there(run, "checkpoint-latest") && is_there(run, "checkpoint-3x"));
    assert_true(is_there(run, "logs"));

    make_folder(run, "checkpoint-11.part");
    scratch_text(run, "checkpoint-11.part/optimizer.safetensors", "");
    assert_int_equal(tr_checkpoint_publish(run, 11, NULL), TR_OK);
    assert_int_equal(tr_checkpoint_last(run), 11);
    assert_int_equal(tr_checkpoint_name(run, 11, true, path, sizeof path, NULL), TR_OK);
    assert_false(tr_path_exists(path));
    assert_int_equal(tr_checkpoint_name(run, 11, true, path, 8, NULL), TR_BADARG);
    scratch_remove(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stopped_run_goes_on_to_the_bit),
        cmocka_unit_test(torn_and_mixed_checkpoints_are_refused),
        cmocka_unit_test(a_lineage_of_another_state_is_refused),
        cmocka_unit_test(old_checkpoints_go_and_foreign_folders_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

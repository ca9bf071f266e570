/* Whole runs on the tiny model: what is left in the folder, stopping and going on, steps that are
 * not finite, and the rules about folders that are not empty. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/coordinator/journal.h"
#include "core/base/file.h"
#include "launch/cli/role.h"
#include "launch/stage_run.h"
#include "tests/unit/scratch.h"

enum { SETTINGS = 24, ROOM = 300 };

/* A run of 6 steps; `more` is keys and values of its own. */
struct trial {
    char setting[SETTINGS][ROOM];
    char *line[SETTINGS];
    int n;
    struct tr_stage_outcome outcome;
    struct tr_err err;
    enum tr_status st;
};

static void add(struct trial *t, const char *key, const char *value)
{
    assert_true(t->n < SETTINGS);
    snprintf(t->setting[t->n], ROOM, "%s=%s", key, value);
    t->line[t->n] = t->setting[t->n];
    t->n++;
}

/* more: key, value, key, value, ..., NULL. */
static void run_told(struct trial *t, const char *out, int stop_fd, int log_fd,
                     const char *const *more)
{
    struct tr_exec ex;
    struct tr_options o;
    struct tr_buf notes;
    const struct tr_log log = {
        .name = "test", .fd = log_fd, .level = log_fd >= 0 ? TR_LOG_WARN : TR_LOG_QUIET};
    const struct tr_stage_watch watch = {
        .log = &log, .progress_fd = -1, .stop_fd = stop_fd, .joining = {.staff = true}};
    *t = (struct trial){0};
    static const char *const base[] = {"model_name_or_path",
                                       "tests/golden/tiny/model",
                                       "train_from_scratch",
                                       "true",
                                       "finetuning_type",
                                       "full",
                                       "dataset_dir",
                                       "tests/golden/tiny/data",
                                       "dataset",
                                       "answers",
                                       "template",
                                       "chatml",
                                       "cutoff_len",
                                       "64",
                                       "per_device_train_batch_size",
                                       "2",
                                       "logging_steps",
                                       "1",
                                       "max_steps",
                                       "6",
                                       "learning_rate",
                                       "1e-3",
                                       NULL};
    for (int i = 0; base[i]; i += 2) add(t, base[i], base[i + 1]);
    add(t, "output_dir", out);
    for (int i = 0; more && more[i]; i += 2) add(t, more[i], more[i + 1]);
    tr_buf_init(&notes, 1 << 16);
    t->st = tr_options_load(NULL, t->line, t->n, &o, &notes, &t->err);
    assert_int_equal(tr_exec_init(&ex, NULL, 1, TR_MATH_EXACT), 0);
    if (t->st == TR_OK) {
        t->st = tr_stage_run(&o, &ex, &watch, &t->outcome, &t->err);
        tr_options_fini(&o);
    }
    tr_exec_fini(&ex);
    tr_buf_fini(&notes);
}

static void run(struct trial *t, const char *out, int stop_fd, const char *const *more)
{
    run_told(t, out, stop_fd, -1, more);
}

static void run_well(struct trial *t, const char *out, int stop_fd,
                     const char *const *more)
{
    run(t, out, stop_fd, more);
    if (t->st != TR_OK) fail_msg("%s", t->err.text);
}

static bool is_there(const char *dir, const char *name)
{
    char path[SCRATCH_ROOM];
    scratch_path(path, dir, name);
    return tr_path_exists(path);
}

static int lines_of(const char *dir, const char *name)
{
    char path[SCRATCH_ROOM];
    struct tr_buf text;
    int n = 0;
    scratch_path(path, dir, name);
    assert_int_equal(tr_file_read(path, 1 << 20, &text, NULL), TR_OK);
    for (const char *at = tr_buf_text(&text); *at; at++) n += *at == '\n';
    tr_buf_fini(&text);
    return n;
}

static void a_run_leaves_what_the_peer_s_tools_read(void **state)
{
    (void)state;
    static const char *const files[] = {"config.json",
                                        "model.safetensors",
                                        "tokenizer.json",
                                        "run.yaml",
                                        "manifest.json",
                                        "trainer_log.jsonl",
                                        "README.md",
                                        "trainer_state.json",
                                        "train_results.json",
                                        "all_results.json",
                                        "learner.json",
                                        "checkpoint-6/optimizer.safetensors",
                                        "checkpoint-6/trainer_state.json"};
    static const char *const more[] = {"stage", "sft", NULL};
    char dir[SCRATCH_ROOM];
    struct trial t;
    scratch_make(dir);
    run_well(&t, dir, -1, more);
    assert_int_equal(t.outcome.end, TR_STAGE_DONE);
    assert_int_equal(t.outcome.step, 6);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        bool own = !strcmp(files[i], "learner.json"); /* a checkpoint's, not a model's */
        if (is_there(dir, files[i]) == own) fail_msg("%s", files[i]);
    }
    assert_int_equal(lines_of(dir, "trainer_log.jsonl"), 7);
    json_t *doc = scratch_json(dir, "trainer_state.json");
    assert_int_equal(json_integer_value(json_object_get(doc, "global_step")), 6);
    const json_t *log = json_object_get(doc, "log_history");
    assert_int_equal(json_array_size(log), 7);
    const json_t *last = json_array_get(log, 5);
    assert_int_equal(json_integer_value(json_object_get(last, "step")), 6);
    assert_true(json_is_real(json_object_get(last, "grad_norm")));
    assert_non_null(json_object_get(json_array_get(log, 6), "train_loss"));
    json_decref(doc);
    scratch_remove(dir);
}

/* Invariant 2 of stage_run.h, and 1 of core/learn/stage.h, for each stage. */
static void a_stopped_run_goes_on_to_the_bit(void **state)
{
    (void)state;
    static const char *const stages[][2] = {
        {"pt", "lines"}, {"sft", "answers"}, {"rm", "pairs"}};
    for (size_t i = 0; i < 3; i++) {
        const char *const more[] = {"stage", stages[i][0], "dataset", stages[i][1], NULL};
        const char *const again[] = {"stage",
                                     stages[i][0],
                                     "dataset",
                                     stages[i][1],
                                     "resume_from_checkpoint",
                                     "true",
                                     "gradient_accumulation_steps",
                                     "2",
                                     "per_device_train_batch_size",
                                     "1",
                                     NULL};
        char whole[SCRATCH_ROOM];
        char cut[SCRATCH_ROOM];
        int fd[2];
        struct trial a, b;
        scratch_make(whole);
        scratch_make(cut);
        assert_int_equal(pipe(fd), 0);
        assert_int_equal(write(fd[1], "x", 1), 1);
        run_well(&a, whole, -1, more);
        run_well(&b, cut, fd[0], more);
        assert_int_equal(b.outcome.end, TR_STAGE_STOPPED);
        assert_int_equal(b.outcome.step, 1);
        assert_true(is_there(cut, "checkpoint-1"));
        assert_false(is_there(cut, "model.safetensors"));
        run_well(&b, cut, -1, again);
        assert_int_equal(b.outcome.end, TR_STAGE_DONE);
        assert_true(tr_digest_equal(&a.outcome.weights, &b.outcome.weights));
        assert_true(tr_digest_equal(&a.outcome.state, &b.outcome.state));
        assert_true(a.outcome.loss == b.outcome.loss);
        assert_int_equal(lines_of(cut, "trainer_log.jsonl"), 7);
        close(fd[0]);
        close(fd[1]);
        scratch_remove(whole);
        scratch_remove(cut);
    }
}

/* The named entry of log_history, as text without what tells the time; malloc. */
static char *log_text(const char *dir, size_t entry)
{
    json_t *doc = scratch_json(dir, "trainer_state.json");
    json_t *e = json_array_get(json_object_get(doc, "log_history"), entry);
    char *text = json_dumps(e, JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_decref(doc);
    assert_non_null(text);
    return text;
}

/* kto's reference stays what it was, and so does a window of the log that the stop lies in. */
static void kto_goes_on_to_the_bit(void **state)
{
    (void)state;
    char start[SCRATCH_ROOM], whole[SCRATCH_ROOM], cut[SCRATCH_ROOM];
    const char *const sft[] = {"stage", "sft", "max_steps", "2", NULL};
    const char *const more[] = {"stage",
                                "kto",
                                "dataset",
                                "marks",
                                "model_name_or_path",
                                start,
                                "train_from_scratch",
                                "false",
                                "logging_steps",
                                "4",
                                "plot_loss",
                                "true",
                                "pref_ftx",
                                "0.1",
                                NULL};
    const char *const again[] = {"stage",
                                 "kto",
                                 "dataset",
                                 "marks",
                                 "model_name_or_path",
                                 start,
                                 "train_from_scratch",
                                 "false",
                                 "logging_steps",
                                 "4",
                                 "pref_ftx",
                                 "0.1",
                                 "resume_from_checkpoint",
                                 "true",
                                 "gradient_accumulation_steps",
                                 "2",
                                 "per_device_train_batch_size",
                                 "1",
                                 NULL};
    int fd[2];
    struct trial a, b;
    scratch_make(start);
    scratch_make(whole);
    scratch_make(cut);
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], "x", 1), 1);
    run_well(&a, start, -1, sft);
    run_well(&a, whole, -1, more);
    run_well(&b, cut, fd[0], more);
    assert_int_equal(b.outcome.step, 1);
    run_well(&b, cut, -1, again);
    assert_true(tr_digest_equal(&a.outcome.weights, &b.outcome.weights));
    assert_true(tr_digest_equal(&a.outcome.state, &b.outcome.state));
    assert_true(is_there(whole, "training_rewards_chosen.png"));
    char *one = log_text(whole, 0), *other = log_text(cut, 0);
    assert_string_equal(one, other);
    assert_non_null(strstr(one, "\"rewards/margins\""));
    assert_non_null(strstr(one, "\"kl\""));
    free(one);
    free(other);
    close(fd[0]);
    close(fd[1]);
    scratch_remove(start);
    scratch_remove(whole);
    scratch_remove(cut);
}

/* A reference of its own changes the run; one that does not fit, or none, is refused. */
static void kto_s_reference_can_be_named(void **state)
{
    (void)state;
    char start[SCRATCH_ROOM], other[SCRATCH_ROOM], out[SCRATCH_ROOM];
    const char *const sft[] = {"stage", "sft", "max_steps", "2", NULL};
    const char *const far[] = {"stage", "sft", "max_steps", "4", NULL};
    const char *const kto[] = {"stage", "kto", "dataset", "marks", NULL};
    struct trial a, b;
    scratch_make(start);
    scratch_make(other);
    scratch_make(out);
    run_well(&a, start, -1, sft);
    run_well(&a, other, -1, far);
    run(&a, out, -1, kto);
    assert_int_equal(a.st, TR_BADARG);
    assert_non_null(strstr(a.err.text, "set ref_model"));
    for (int i = 0; i < 2; i++) {
        const char *const named[] = {"stage",
                                     "kto",
                                     "dataset",
                                     "marks",
                                     "model_name_or_path",
                                     start,
                                     "train_from_scratch",
                                     "false",
                                     "overwrite_output_dir",
                                     "true",
                                     "ref_model",
                                     i ? other : start,
                                     NULL};
        run_well(i ? &b : &a, out, -1, named);
    }
    assert_false(tr_digest_equal(&a.outcome.weights, &b.outcome.weights));
    const char *const none[] = {"stage",     "kto",      "dataset", "marks",
                                "ref_model", "/nowhere", NULL};
    run(&a, out, -1, none);
    assert_int_equal(a.st, TR_BADARG);
    scratch_remove(start);
    scratch_remove(other);
    scratch_remove(out);
}

/* Puts a NaN at the end of the weights: the last element of model.norm.weight. */
static void spoil(const char *dir)
{
    static const unsigned char nan_bits[4] = {0, 0, 0xc0, 0x7f};
    char path[SCRATCH_ROOM];
    scratch_path(path, dir, "model.safetensors");
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -4, SEEK_END), 0);
    assert_int_equal(fwrite(nan_bits, 1, 4, f), 4);
    assert_int_equal(fclose(f), 0);
}

/* Invariant 1 of stage_run.h. */
static void ten_steps_in_a_row_that_are_not_finite_stop_the_run(void **state)
{
    (void)state;
    static const char *const more[] = {"stage", "sft", NULL};
    char dir[SCRATCH_ROOM];
    char out[SCRATCH_ROOM];
    struct trial t;
    scratch_make(dir);
    scratch_make(out);
    run_well(&t, dir, -1, more);
    spoil(dir);
    const char *const spoilt[] = {"stage",
                                  "sft",
                                  "model_name_or_path",
                                  dir,
                                  "train_from_scratch",
                                  "false",
                                  "max_steps",
                                  "30",
                                  NULL};
    run_well(&t, out, -1, spoilt);
    assert_int_equal(t.outcome.end, TR_STAGE_NOT_FINITE);
    assert_int_equal(t.outcome.step, TR_SKIPS_MAX);
    assert_int_equal(t.outcome.skipped, TR_SKIPS_MAX);
    assert_false(is_there(out, "model.safetensors"));
    const char *const few[] = {"stage",
                               "sft",
                               "model_name_or_path",
                               dir,
                               "train_from_scratch",
                               "false",
                               "max_steps",
                               "9",
                               "output_dir",
                               out,
                               NULL};
    run_well(&t, out, -1, few); /* nine are counted, and the run ends by itself */
    assert_int_equal(t.outcome.end, TR_STAGE_DONE);
    assert_int_equal(t.outcome.skipped, 9);
    scratch_remove(dir);
    scratch_remove(out);
}

static void folders_in_use_are_not_written_over(void **state)
{
    (void)state;
    static const char *const more[] = {"stage", "sft", "save_strategy", "no", NULL};
    static const char *const over[] = {
        "stage", "sft", "save_strategy", "no", "overwrite_output_dir", "true", NULL};
    static const char *const last[] = {"stage", "sft", "resume_from_checkpoint", "true",
                                       NULL};
    static const char *const named[] = {"stage", "sft", "resume_from_checkpoint",
                                        "/nowhere/checkpoint-1", NULL};
    static const char *const model[] = {"stage", "sft", "model_name_or_path", "org/name",
                                        NULL};
    char dir[SCRATCH_ROOM];
    char empty[SCRATCH_ROOM];
    struct trial t;
    scratch_make(dir);
    scratch_make(empty);
    run_well(&t, dir, -1, more);
    assert_false(is_there(dir, "checkpoint-6"));
    run(&t, dir, -1, more);
    assert_int_equal(t.st, TR_BADARG);
    assert_non_null(strstr(t.err.text, "overwrite_output_dir"));
    run_well(&t, dir, -1, over);
    run(&t, empty, -1, last);
    assert_int_equal(t.st, TR_BADARG);
    assert_non_null(strstr(t.err.text, "no checkpoint in"));
    run(&t, empty, -1, named);
    assert_int_equal(t.st, TR_BADARG);
    run(&t, empty, -1, model);
    assert_int_equal(t.st, TR_BADARG);
    assert_non_null(strstr(t.err.text, "org/name"));
    scratch_remove(dir);
    scratch_remove(empty);
}

/* A journal belongs to the stage that wrote it. */
static void a_run_of_another_stage_is_not_mixed_in(void **state)
{
    (void)state;
    static const char *const more[] = {"stage", "sft", NULL};
    static const char *const over[] = {"stage", "sft", "overwrite_output_dir", "true",
                                       NULL};
    char dir[SCRATCH_ROOM], path[SCRATCH_ROOM];
    const struct tr_journal_meta ppo = {.run = "other", .stage = "ppo"};
    struct tr_journal *j = NULL;
    struct trial t;
    scratch_make(dir);
    scratch_path(path, dir, "run.db");
    assert_int_equal(tr_journal_open(path, NULL, &ppo, &j, NULL), TR_OK);
    tr_journal_close(j);
    run(&t, dir, -1, more);
    assert_int_equal(t.st, TR_BADARG);
    assert_non_null(strstr(t.err.text, "holds a run of stage ppo"));
    run_well(&t, dir, -1, over);
    assert_int_equal(tr_journal_look(path, &j, NULL), TR_OK);
    assert_string_equal(tr_journal_meta(j).stage, "sft");
    tr_journal_close(j);
    scratch_remove(dir);
}

static void checkpoints_of_another_run_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const more[] = {
        "stage", "sft", "save_steps", "2", "save_total_limit", "2", NULL};
    static const struct {
        const char *key, *value, *says;
    } rows[] = {
        {"seed", "7", "seed"},
        {"max_samples", "5", "examples"},
        {"per_device_train_batch_size", "4", "samples_per_step"},
        {"disable_shuffling", "true", "shuffle"},
        {"stage", "pt", "stage"},
        {"cutoff_len", "20", "tokens"},
        {"max_steps", "4", "step 6 of a run of 4"},
    };
    char dir[SCRATCH_ROOM];
    struct trial t;
    scratch_make(dir);
    run_well(&t, dir, -1, more);
    assert_false(is_there(dir, "checkpoint-2"));
    assert_true(is_there(dir, "checkpoint-4") && is_there(dir, "checkpoint-6"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *const other[] = {"stage", "sft", rows[i].key, rows[i].value, NULL};
        run(&t, dir, -1, other);
        if (t.st != TR_BADARG || !strstr(t.err.text, rows[i].says))
            fail_msg("%s: status %d \"%s\"", rows[i].key, (int)t.st, t.err.text);
    }
    scratch_remove(dir);
}

/* The picture is for the eye: a run does not fail for it. */
static void a_picture_that_fails_is_a_line_of_the_log(void **state)
{
    (void)state;
    static const char *const more[] = {"stage",         "sft", "plot_loss", "true",
                                       "save_strategy", "no",  NULL};
    char good[SCRATCH_ROOM];
    char bad[SCRATCH_ROOM];
    char path[SCRATCH_ROOM];
    char said[400] = "";
    int fd[2];
    struct trial t;
    scratch_make(good);
    scratch_make(bad);
    assert_int_equal(pipe(fd), 0);
    run_told(&t, good, -1, fd[1], more);
    assert_int_equal(t.st, TR_OK);
    assert_true(is_there(good, "training_loss.png"));
    scratch_path(path, bad, "training_loss.png.part");
    assert_int_equal(mkdir(path, 0777), 0);
    run_told(&t, bad, -1, fd[1], more);
    if (t.st != TR_OK) fail_msg("%s", t.err.text);
    assert_int_equal(t.outcome.end, TR_STAGE_DONE);
    assert_true(is_there(bad, "model.safetensors") && is_there(bad, "manifest.json"));
    assert_true(read(fd[0], said, sizeof said - 1) > 0);
    assert_non_null(strstr(said, "plot_loss: "));
    assert_non_null(strstr(said, "training_loss.png"));
    close(fd[0]);
    close(fd[1]);
    scratch_remove(good);
    scratch_remove(bad);
}

/* A run executes this very program for its roles (launch/child.h). */
int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "role") == 0) return tr_cli_role(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_leaves_what_the_peer_s_tools_read),
        cmocka_unit_test(a_stopped_run_goes_on_to_the_bit),
        cmocka_unit_test(kto_goes_on_to_the_bit),
        cmocka_unit_test(kto_s_reference_can_be_named),
        cmocka_unit_test(ten_steps_in_a_row_that_are_not_finite_stop_the_run),
        cmocka_unit_test(folders_in_use_are_not_written_over),
        cmocka_unit_test(a_run_of_another_stage_is_not_mixed_in),
        cmocka_unit_test(checkpoints_of_another_run_are_refused_by_name),
        cmocka_unit_test(a_picture_that_fails_is_a_line_of_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

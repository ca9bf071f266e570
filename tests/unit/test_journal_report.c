/* What people see of a journal: reports of a live one and of a file, copies, and the queries of
 * docs/journal.md. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
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
#include "tests/unit/made_journal.h"
#include "tests/unit/scratch.h"

/* The answer as a value, which must be valid JSON. */
static json_t *report(struct tr_journal *j, const char *what, const char *argument)
{
    struct tr_buf out;
    struct tr_err err = {0};
    json_t *value = NULL;
    tr_buf_init(&out, 1 << 20);
    if (tr_journal_report(j, what, argument, &out, &err) != TR_OK)
        fail_msg("%s", err.text);
    if (tr_json_parse(out.at, out.size, what, &value, &err) != TR_OK)
        fail_msg("%s: %s", err.text, out.at);
    assert_null(strchr(out.at, '\n'));
    tr_buf_fini(&out);
    return value;
}

static void refused(struct tr_journal *j, const char *what, const char *argument,
                    enum tr_status want, const char *says)
{
    struct tr_buf out;
    struct tr_err err = {0};
    tr_buf_init(&out, 1 << 20);
    enum tr_status st = tr_journal_report(j, what, argument, &out, &err);
    if (st != want || !strstr(err.text, says))
        fail_msg("%s %s: %d %s", what, argument, (int)st, err.text);
    tr_buf_fini(&out);
}

static int64_t number(const json_t *v, const char *key)
{
    const json_t *x = json_object_get(v, key);
    assert_true(json_is_integer(x));
    return json_integer_value(x);
}

static size_t length(const json_t *v, const char *key)
{
    assert_true(json_is_array(json_object_get(v, key)));
    return json_array_size(json_object_get(v, key));
}

/* ---- tests ---- */

static void check_status(struct tr_journal *j)
{
    json_t *v = report(j, "status", "");
    assert_string_equal(json_string_value(json_object_get(v, "run")), "made");
    assert_int_equal(number(v, "step"), 6);
    assert_int_equal(number(v, "kept_answers"), 3);
    assert_int_equal(number(v, "rollouts"), 26);
    assert_int_equal(length(v, "workers"), 1);
    assert_int_equal(length(v, "swaps"), 2);
    assert_int_equal(length(v, "snapshots"), 2);
    assert_int_equal(length(v, "events"), 2);
    assert_int_equal(number(json_object_get(v, "counters"), "units"), 96);
    assert_true(json_is_real(json_object_get(json_object_get(v, "metrics"), "loss")));
    const json_t *event = json_array_get(json_object_get(v, "events"), 0);
    assert_string_equal(json_string_value(json_object_get(event, "text")),
                        "a \"quote\" \xef\xbf\xbd\n");
    json_decref(v);
}

static void check_rollouts(struct tr_journal *j)
{
    struct made_step want;
    made_step(&want, 5, 4);
    json_t *v = report(j, "rollouts", "{\"step\": 5, \"numbers\": true, \"first\": 1}");
    assert_int_equal(number(v, "of"), 4);
    assert_int_equal(length(v, "rollouts"), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *r = json_array_get(json_object_get(v, "rollouts"), i);
        const struct tr_journal_rollout *w = &want.rollout[i + 1];
        assert_int_equal(number(r, "sample"), w->sample);
        assert_true(json_number_value(json_object_get(r, "score")) == w->score);
        assert_int_equal(length(r, "prompt_ids"), w->prompt_tokens);
        assert_int_equal(length(r, "scores"), 2);
        for (size_t k = 0; k < (size_t)w->answer_tokens; k++) {
            const json_t *id = json_array_get(json_object_get(r, "answer_ids"), k);
            const json_t *value = json_array_get(json_object_get(r, "values"), k);
            assert_int_equal(json_integer_value(id), w->answer_token[k]);
            assert_true((float)json_number_value(value) == w->value[k]);
        }
    }
    json_decref(v);
    v = report(j, "rollouts", "");
    assert_int_equal(number(v, "step"), 6);
    assert_null(
        json_object_get(json_array_get(json_object_get(v, "rollouts"), 0), "values"));
    json_decref(v);
    v = report(j, "rollouts", "{\"eval\": true}");
    assert_int_equal(number(v, "step"), 3);
    assert_int_equal(length(v, "rollouts"), 2);
    json_decref(v);
}

static void check_lists(struct tr_journal *j)
{
    json_t *v = report(j, "steps", "{\"after\": 2, \"count\": 3}");
    assert_int_equal(length(v, "steps"), 3);
    assert_int_equal(number(json_array_get(json_object_get(v, "steps"), 0), "step"), 3);
    json_decref(v);
    v = report(j, "evaluations", "{}");
    assert_int_equal(length(v, "evaluations"), 1);
    json_decref(v);
    v = report(j, "events", "{\"count\": 1}");
    assert_int_equal(length(v, "events"), 1);
    json_decref(v);
    v = report(j, "swaps", "{\"after\": 1}");
    assert_int_equal(length(v, "swaps"), 1);
    json_decref(v);
}

static void check_refusals(struct tr_journal *j)
{
    refused(j, "weather", "", TR_BADARG, "no such question");
    refused(j, "status", "[", TR_BADARG, "status");
    refused(j, "status", "[]", TR_BADARG, "expected an object");
    refused(j, "rollouts", "{\"step\": 99}", TR_BADARG, "no step 99");
    refused(j, "rollouts", "{\"step\": 2, \"eval\": true}", TR_BADARG, "no evaluation");
    refused(j, "rollouts", "{\"count\": 0}", TR_BADARG, "count");
    refused(j, "snapshot-db", "", TR_BADARG, "to");
}

static void a_live_journal_answers(void **state)
{
    (void)state;
    struct place p;
    open_place(&p);
    struct tr_journal *j = made_full(p.path);
    check_status(j);
    check_rollouts(j);
    check_lists(j);
    check_refusals(j);
    tr_journal_close(j);
    close_place(&p);
}

static void an_empty_one_too(void **state)
{
    (void)state;
    struct place p;
    open_place(&p);
    struct tr_journal *j = made_open(p.path);
    json_t *v = report(j, "status", "");
    assert_true(json_is_null(json_object_get(v, "step")));
    json_decref(v);
    refused(j, "rollouts", "", TR_BADARG, "no rollouts yet");
    tr_journal_close(j);
    close_place(&p);
}

/* A stage without rollouts says so, of its own journal too; tokens are those that steps tell of. */
static void a_stage_that_only_learns_answers(void **state)
{
    (void)state;
    struct place p;
    struct tr_journal *j = NULL;
    struct tr_journal_meta m = made_meta();
    open_place(&p);
    snprintf(m.stage, sizeof m.stage, "sft");
    assert_int_equal(tr_journal_open(p.path, NULL, &m, &j, NULL), TR_OK);
    for (int64_t t = 1; t <= 3; t++) {
        struct tr_journal_step s = {
            .step = t, .state = "{}", .metrics = "{\"tokens\": 100}"};
        struct timespec moment = {.tv_nsec = 10000000};
        assert_int_equal(tr_journal_commit(j, &s, NULL, 0, NULL), TR_OK);
        nanosleep(&moment, NULL);
    }
    tr_journal_close(j);
    assert_int_equal(tr_journal_look(p.path, &j, NULL), TR_OK);
    json_t *v = report(j, "status", "");
    assert_string_equal(json_string_value(json_object_get(v, "stage")), "sft");
    double seconds = json_number_value(json_object_get(v, "seconds_per_step"));
    double tokens = json_number_value(json_object_get(v, "tokens_per_second"));
    assert_true(seconds >= 0.01 && seconds < 10);
    assert_true(fabs(tokens * seconds - 100) < 1e-6);
    json_decref(v);
    refused(j, "rollouts", "", TR_BADARG, "stage sft makes no answers");
    refused(j, "rollouts", "{\"step\": 1}", TR_BADARG, "stage sft makes no answers");
    tr_journal_close(j);
    close_place(&p);
}

static int64_t last_step(struct tr_journal *j)
{
    struct tr_journal_step s;
    enum tr_status st = tr_journal_last(j, &s, NULL);
    return st == TR_OK ? s.step : -1;
}

/* From a step that has a row the rows go on; without one there are none. Answers stay, learn units go. */
static void a_journal_goes_back_to_a_step(void **state)
{
    (void)state;
    static const struct {
        int64_t to, left, next;
    } rows[] = {{6, 6, 7}, {4, 4, 5}, {3, 3, 4}, {0, -1, 1}, {9, -1, 10}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct place p;
        struct tr_unit unit, learn;
        struct tr_content answer, learnt;
        struct tr_journal_snapshot s;
        open_place(&p);
        struct tr_journal *j = made_full(p.path);
        struct tr_memo memo = tr_journal_memo(j);
        made_score(77, &unit, &answer);
        made_learn(TR_ROLE_POLICY, 77, &learn, &learnt);
        assert_int_equal(made_keep(j, TR_ROLE_REWARD, TR_MEMO_ALWAYS, &unit, &answer),
                         TR_OK);
        assert_int_equal(made_keep(j, TR_ROLE_POLICY, TR_MEMO_ALWAYS, &learn, &learnt),
                         TR_OK);
        tr_content_fini(&answer);
        tr_content_fini(&learnt);
        assert_int_equal(tr_journal_go_back(j, rows[i].to, NULL), TR_OK);
        assert_int_equal(last_step(j), rows[i].left);
        assert_int_equal(memo.find(memo.self, &unit.id, &answer, NULL), TR_OK);
        assert_int_equal(memo.find(memo.self, &learn.id, &learnt, NULL), TR_AGAIN);
        if (tr_journal_snapshot(j, TR_ROLE_POLICY, 0, &s, NULL) == TR_OK)
            assert_true(s.step <= rows[i].left);
        struct made_step made;
        made_step(&made, rows[i].next, 2);
        assert_int_equal(tr_journal_commit(j, &made.step, made.rollout, made.n, NULL),
                         TR_OK);
        assert_int_equal(last_step(j), rows[i].next);
        tr_content_fini(&answer);
        tr_unit_fini(&unit);
        tr_unit_fini(&learn);
        tr_journal_close(j);
        assert_int_equal(tr_journal_look(p.path, &j, NULL), TR_OK);
        assert_int_equal(last_step(j), rows[i].next);
        tr_journal_close(j);
        close_place(&p);
    }
}

/* Everything in a folder, as one digest. */
static struct tr_digest folder_digest(const struct place *p)
{
    static const char *const name[] = {"run.db", "run.db-wal", "run.db-shm",
                                       "run.db-journal"};
    struct tr_hash *h = NULL;
    assert_int_equal(tr_hash_create(&h, NULL), TR_OK);
    for (int i = 0; i < 4; i++) {
        char path[SCRATCH_ROOM];
        struct tr_buf bytes;
        scratch_path(path, p->dir, name[i]);
        tr_hash_put_u64(h, tr_path_exists(path));
        if (!tr_path_exists(path)) continue;
        assert_int_equal(tr_file_read(path, 1 << 28, &bytes, NULL), TR_OK);
        tr_hash_put_u64(h, bytes.size);
        tr_hash_put(h, bytes.at, bytes.size);
        tr_buf_fini(&bytes);
    }
    struct tr_digest d = tr_hash_end(h);
    tr_hash_destroy(h);
    return d;
}

static void look(const struct place *p)
{
    struct tr_journal *j = NULL;
    struct tr_err err = {0};
    if (tr_journal_look(p->path, &j, &err) != TR_OK) fail_msg("%s", err.text);
    check_status(j);
    check_rollouts(j);
    check_lists(j);
    tr_journal_close(j);
}

/* A reader finds the same after a proper end and after a kill, in a folder that it may not write,
 * and leaves every byte as it was. */
static void a_file_is_read_and_not_changed(void **state)
{
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        struct place p;
        char odd[SCRATCH_ROOM];
        open_place(&p);
        scratch_path(odd, p.dir, "a folder?#%41");
        assert_int_equal(mkdir(odd, 0777), 0);
        scratch_path(p.path, odd, "/run.db");
        pid_t pid = fork();
        if (pid == 0) {
            struct tr_journal *j = made_full(p.path);
            if (killed) raise(SIGKILL);
            tr_journal_close(j);
            _exit(0);
        }
        int status = 0;
        waitpid(pid, &status, 0);
        assert_int_equal(WIFSIGNALED(status), killed);
        char dir[SCRATCH_ROOM];
        memcpy(dir, p.dir, sizeof dir);
        memcpy(p.dir, odd, sizeof odd);
        struct tr_digest before = folder_digest(&p);
        assert_int_equal(chmod(odd, 0555), 0);
        look(&p);
        assert_int_equal(chmod(odd, 0777), 0);
        struct tr_digest after = folder_digest(&p);
        assert_true(tr_digest_equal(&before, &after));
        tr_journal_close(made_open(p.path)); /* and the coordinator goes on */
        look(&p);
        scratch_remove(dir);
    }
}

static void a_reader_and_a_coordinator_exclude_each_other(void **state)
{
    (void)state;
    struct place p;
    struct tr_err err = {0};
    struct tr_journal *reader = NULL, *j = NULL;
    struct tr_journal_settings set = {.busy_ms = 20};
    open_place(&p);
    j = made_full(p.path);
    assert_int_equal(tr_journal_look(p.path, &reader, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "in use by another coordinator"));
    tr_journal_close(j);
    assert_int_equal(tr_journal_look(p.path, &reader, &err), TR_OK);
    assert_int_equal(tr_journal_open(p.path, &set, NULL, &j, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "in use by another process"));
    check_status(reader);
    tr_journal_close(reader);
    assert_int_equal(tr_journal_open(p.path, &set, NULL, &j, &err), TR_OK);
    tr_journal_close(j);
    assert_int_equal(tr_journal_look("/tmp/there is none.db", &j, &err), TR_BADARG);
    scratch_text(p.dir, "text",
                 "not a database, and long enough to have the header of one, "
                 "which it has not, of course, as anybody can see who looks");
    char path[SCRATCH_ROOM];
    scratch_path(path, p.dir, "text");
    assert_int_equal(tr_journal_look(path, &j, &err), TR_BADARG);
    close_place(&p);
}

/* A copy is one file that plain SQLite reads, whether made by the living or of the dead. */
static void a_copy_is_whole(void **state)
{
    (void)state;
    struct place p;
    char copy[SCRATCH_ROOM], argument[2 * SCRATCH_ROOM];
    struct tr_err err = {0};
    open_place(&p);
    struct tr_journal *j = made_full(p.path);
    scratch_path(copy, p.dir, "copy.db");
    snprintf(argument, sizeof argument, "{\"to\": \"%s\"}", copy);
    for (int round = 0; round < 2; round++) {
        sqlite3 *db = NULL;
        sqlite3_stmt *q = NULL;
        json_decref(report(j, "snapshot-db", argument));
        assert_int_equal(sqlite3_open_v2(copy, &db, SQLITE_OPEN_READONLY, NULL),
                         SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &q, NULL),
                         SQLITE_OK);
        assert_int_equal(sqlite3_step(q), SQLITE_ROW);
        assert_string_equal((const char *)sqlite3_column_text(q, 0), "ok");
        sqlite3_finalize(q);
        assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA journal_mode", -1, &q, NULL),
                         SQLITE_OK);
        assert_int_equal(sqlite3_step(q), SQLITE_ROW);
        assert_string_equal((const char *)sqlite3_column_text(q, 0), "delete");
        sqlite3_finalize(q);
        sqlite3_close(db);
        assert_int_equal(tr_journal_copy(j, p.path, &err), TR_BADARG);
        assert_int_equal(tr_journal_copy(j, p.dir, &err), TR_BADARG);
        assert_int_equal(tr_journal_copy(j, "/nowhere/copy.db", &err), TR_IO);
        tr_journal_close(j);
        assert_int_equal(tr_journal_look(round ? copy : p.path, &j, &err), TR_OK);
    }
    check_status(j); /* of the copy */
    tr_journal_close(j);
    snprintf(argument, sizeof argument, "%s.part", copy);
    assert_false(tr_path_exists(argument));
    close_place(&p);
}

enum { ANSWERS = 40, ANSWER = 32 << 10 }; /* a quarter of a MiB each */

/* Answer i, of use for a step, or always. */
static void keep_large(struct tr_journal *j, int64_t i, int64_t step)
{
    struct tr_unit unit;
    struct tr_content kept;
    made_generate(i, ANSWER, &unit, &kept);
    assert_int_equal(made_keep(j, TR_ROLE_ROLLOUT, step, &unit, &kept), TR_OK);
    tr_unit_fini(&unit);
    tr_content_fini(&kept);
}

static void is_kept(struct tr_journal *j, int64_t i, bool there)
{
    struct tr_memo memo = tr_journal_memo(j);
    struct tr_unit unit;
    struct tr_content kept, found = {0};
    made_generate(i, ANSWER, &unit, &kept);
    assert_int_equal(memo.find(memo.self, &unit.id, &found, NULL),
                     there ? TR_OK : TR_AGAIN);
    if (there) assert_true(same_content(&kept, &found));
    tr_unit_fini(&unit);
    tr_content_fini(&kept);
    tr_content_fini(&found);
}

/* Step t, which lets go of the answers for it. */
static void commit_made(struct tr_journal *j, int64_t t)
{
    struct made_step s;
    made_step(&s, t, MADE_ROLLOUTS);
    assert_int_equal(tr_journal_commit(j, &s.step, s.rollout, s.n, NULL), TR_OK);
}

/* A large file is copied slice by slice, while answers come, steps are committed and forget theirs. The
 * copy has all that was flushed before its last slice. */
static void a_copy_does_not_hold_the_run(void **state)
{
    (void)state;
    struct place p;
    char copy[SCRATCH_ROOM], part[SCRATCH_ROOM + 8];
    struct tr_err err = {0};
    struct tr_journal_step last;
    int64_t t = 7, slices = 0;
    open_place(&p);
    struct tr_journal *j = made_full(p.path), *read = NULL;
    scratch_path(copy, p.dir, "copy.db");
    snprintf(part, sizeof part, "%s.part", copy);
    for (int64_t i = 0; i < ANSWERS; i++)
        keep_large(j, i, i % 4 == 0 ? t + i / 4 : TR_MEMO_ALWAYS);
    enum tr_status st = TR_AGAIN;
    while ((st = tr_journal_copy_some(j, copy, &err)) == TR_AGAIN) {
        assert_true(tr_path_exists(part) && !tr_path_exists(copy));
        assert_int_equal(tr_journal_copy_some(j, p.dir, &err), TR_BADARG);
        keep_large(j, ANSWERS + slices++, TR_MEMO_ALWAYS);
        commit_made(j, t++);
    }
    if (st != TR_OK) fail_msg("%s", err.text);
    assert_true(slices > 3);
    commit_made(j, t); /* after the copy: not in it */
    assert_int_equal(tr_journal_look(copy, &read, &err), TR_OK);
    assert_int_equal(tr_journal_last(read, &last, &err), TR_OK);
    assert_int_equal(last.step, t - 1);
    for (int64_t i = 0; i < ANSWERS + slices; i++)
        is_kept(read, i, i >= ANSWERS || i % 4 != 0 || 7 + i / 4 >= t);
    for (int64_t step = 7; step < t; step++) {
        char argument[64];
        snprintf(argument, sizeof argument, "{\"step\": %lld}", (long long)step);
        json_decref(report(read, "rollouts", argument));
    }
    tr_journal_close(read);
    assert_int_equal(tr_journal_copy_some(j, copy, &err), TR_AGAIN);
    tr_journal_close(j); /* in the middle of another */
    assert_false(tr_path_exists(part));
    close_place(&p);
}

/* Invariant 6 for rollouts: whichever field is changed, the report refuses. */
static void damaged_rollouts_are_refused(void **state)
{
    (void)state;
    static const char *const sql[] = {
        "UPDATE rollouts SET score = score + 1",
        "UPDATE rollouts SET policy = NULL",
        "UPDATE rollouts SET stopped = 1 - stopped",
        "UPDATE rollouts SET answer_ids = zeroblob(length(answer_ids))",
        "UPDATE rollouts SET answer_ids = x'000000'",
        "UPDATE rollouts SET vals = NULL",
        "UPDATE rollouts SET logprobs = x''",
        "UPDATE scores SET digest = NULL WHERE slot = 'main'",
        "UPDATE scores SET slot = 'other'",
        "UPDATE scores SET weight = 3",
        "DELETE FROM scores WHERE slot = 'short'",
        "DELETE FROM rollouts WHERE sample = 3",
        "UPDATE evaluations SET metrics = '{}'; UPDATE rollouts SET kl = 7",
    };
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
        struct place p;
        sqlite3 *db = NULL;
        struct tr_err err = {0};
        struct tr_buf out;
        struct tr_journal *j = NULL;
        open_place(&p);
        tr_journal_close(made_full(p.path));
        assert_int_equal(sqlite3_open(p.path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, sql[i], NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        tr_buf_init(&out, 1 << 20);
        assert_int_equal(tr_journal_look(p.path, &j, &err), TR_OK);
        if (tr_journal_report(j, "rollouts", "", &out, &err) != TR_IO)
            fail_msg("%s", sql[i]);
        assert_non_null(strstr(err.text, "damaged"));
        enum tr_status st = tr_journal_report(j, "evaluations", "", &out, &err);
        assert_int_equal(st, strstr(sql[i], "evaluations") ? TR_IO : TR_OK);
        tr_buf_fini(&out);
        tr_journal_close(j);
        close_place(&p);
    }
}

/* ---- the page ---- */

static int run_query(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *q = NULL;
    int rows = 0, rc = SQLITE_ROW;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK)
        fail_msg("%s\n%s", sqlite3_errmsg(db), sql);
    assert_true(sqlite3_stmt_readonly(q));
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) rows++;
    if (rc != SQLITE_DONE) fail_msg("%s\n%s", sqlite3_errmsg(db), sql);
    sqlite3_finalize(q);
    return rows;
}

/* Every ```sql block of docs/journal.md finds something in a full journal. */
static void the_queries_of_the_page_run(void **state)
{
    (void)state;
    static const char opening[] = "```sql\n";
    struct place p;
    struct tr_buf page;
    sqlite3 *db = NULL;
    int n = 0;
    open_place(&p);
    tr_journal_close(made_full(p.path));
    assert_int_equal(tr_file_read("docs/journal.md", 1 << 20, &page, NULL), TR_OK);
    assert_int_equal(sqlite3_open_v2(p.path, &db, SQLITE_OPEN_READWRITE, NULL),
                     SQLITE_OK);
    char *at = page.at;
    while ((at = strstr(at, opening))) {
        char *end = strstr(at, "\n```\n");
        assert_non_null(end);
        *end = 0;
        at += strlen(opening);
        if (run_query(db, at) == 0) fail_msg("no rows:\n%s", at);
        at = end + 1;
        n++;
    }
    assert_true(n >= 10);
    sqlite3_close(db);
    tr_buf_fini(&page);
    close_place(&p);
}

/* The page names every table and every column, and no others as tables. */
static void the_page_names_every_column(void **state)
{
    (void)state;
    struct place p;
    struct tr_buf page;
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    open_place(&p);
    tr_journal_close(made_open(p.path));
    assert_int_equal(tr_file_read("docs/journal.md", 1 << 20, &page, NULL), TR_OK);
    assert_int_equal(sqlite3_open(p.path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT m.name, c.name FROM sqlite_schema m,"
                           " pragma_table_info(m.name) c WHERE m.type = 'table'"
                           " AND c.name NOT IN ('id')",
                           -1, &q, NULL),
        SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW) {
        char row[128], column[128];
        snprintf(row, sizeof row, "\n| `%s` |", (const char *)sqlite3_column_text(q, 0));
        snprintf(column, sizeof column, "`%s`", (const char *)sqlite3_column_text(q, 1));
        char *line = strstr(page.at, row);
        if (!line) fail_msg("no table %s", row);
        char *end = strchr(line + 1, '\n');
        *end = 0;
        if (!strstr(line + 1, column) && !strstr(column, "seq"))
            fail_msg("%s: no column %s", row, column);
        *end = '\n';
    }
    sqlite3_finalize(q);
    sqlite3_close(db);
    tr_buf_fini(&page);
    close_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_live_journal_answers),
        cmocka_unit_test(an_empty_one_too),
        cmocka_unit_test(a_stage_that_only_learns_answers),
        cmocka_unit_test(a_journal_goes_back_to_a_step),
        cmocka_unit_test(a_file_is_read_and_not_changed),
        cmocka_unit_test(a_reader_and_a_coordinator_exclude_each_other),
        cmocka_unit_test(a_copy_is_whole),
        cmocka_unit_test(a_copy_does_not_hold_the_run),
        cmocka_unit_test(damaged_rollouts_are_refused),
        cmocka_unit_test(the_queries_of_the_page_run),
        cmocka_unit_test(the_page_names_every_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The journal: every invariant of journal.h that needs neither a crash nor a full disk (those are
 * tests/fault/test_journal_fault.c). */
#include <math.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "tests/unit/made_journal.h"
#include "tests/unit/scratch.h"

static struct tr_journal *again(const struct place *p, struct tr_journal *j)
{
    tr_journal_close(j);
    return made_open(p->path);
}

static bool known(struct tr_journal *j, const struct tr_unit *unit,
                  const struct tr_content *want)
{
    struct tr_memo memo = tr_journal_memo(j);
    struct tr_content got;
    struct tr_err err = {0};
    enum tr_status st = memo.find(memo.self, &unit->id, &got, &err);
    if (st != TR_OK && st != TR_AGAIN) fail_msg("%s", err.text);
    bool same = st == TR_OK && same_content(&got, want);
    assert_true(st == TR_AGAIN || same);
    tr_content_fini(&got);
    return same;
}

static void commit(struct tr_journal *j, int64_t t, int64_t n)
{
    struct made_step s;
    struct tr_err err = {0};
    made_step(&s, t, n);
    if (tr_journal_commit(j, &s.step, s.rollout, s.n, &err) != TR_OK)
        fail_msg("%s", err.text);
}

/* The first number that the file answers, by a connection of its own. */
static int64_t ask(const struct place *p, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return n;
}

static void change(const struct place *p, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* ---- tests ---- */

/* Invariant 2, and 1 for a file that was closed. */
static void what_was_kept_is_found(void **state)
{
    (void)state;
    struct place p;
    struct tr_unit unit[3];
    struct tr_content answer[3];
    open_place(&p);
    struct tr_journal *j = made_open(p.path);
    made_generate(1, 512, &unit[0], &answer[0]);
    made_score(2, &unit[1], &answer[1]);
    made_learn(TR_ROLE_POLICY, 0, &unit[2], &answer[2]);
    for (int i = 0; i < 3; i++) {
        assert_false(known(j, &unit[i], &answer[i]));
        assert_int_equal(made_keep(j, TR_ROLE_POLICY, 1, &unit[i], &answer[i]), TR_OK);
        assert_true(known(j, &unit[i], &answer[i]));
    }
    assert_int_equal(tr_journal_flush(j, NULL), TR_OK);
    assert_int_equal(tr_journal_flush(j, NULL), TR_OK);
    j = again(&p, j);
    for (int i = 0; i < 3; i++) assert_true(known(j, &unit[i], &answer[i]));
    /* the first answer is the answer */
    assert_int_equal(made_keep(j, TR_ROLE_POLICY, 1, &unit[0], &answer[1]), TR_OK);
    assert_true(known(j, &unit[0], &answer[0]));
    tr_journal_close(j);
    for (int i = 0; i < 3; i++) {
        tr_unit_fini(&unit[i]);
        tr_content_fini(&answer[i]);
    }
    close_place(&p);
}

/* Invariant 3: a commit takes the answers of its step and earlier ones, and no others. */
static void a_commit_forgets_its_answers(void **state)
{
    (void)state;
    const int64_t steps[] = {TR_MEMO_ALWAYS, 0, 1, 2};
    struct place p;
    struct tr_unit unit[4];
    struct tr_content answer[4];
    open_place(&p);
    struct tr_journal *j = made_open(p.path);
    for (int i = 0; i < 4; i++) {
        made_score(i, &unit[i], &answer[i]);
        assert_int_equal(made_keep(j, TR_ROLE_REWARD, steps[i], &unit[i], &answer[i]),
                         TR_OK);
    }
    struct tr_memo memo = tr_journal_memo(j);
    int64_t newest = -1;
    assert_int_equal(memo.newest_step(memo.self, &newest, NULL), TR_OK);
    assert_int_equal(newest, 2);
    commit(j, 1, 2);
    for (int round = 0; round < 2; round++) {
        assert_true(known(j, &unit[0], &answer[0]));
        assert_false(known(j, &unit[1], &answer[1]));
        assert_false(known(j, &unit[2], &answer[2]));
        assert_true(known(j, &unit[3], &answer[3]));
        if (round == 0) j = again(&p, j);
    }
    tr_journal_close(j);
    for (int i = 0; i < 4; i++) {
        tr_unit_fini(&unit[i]);
        tr_content_fini(&answer[i]);
    }
    close_place(&p);
}

static void assert_step(const struct tr_journal_step *got, int64_t t)
{
    struct made_step s;
    made_step(&s, t, 0);
    assert_int_equal(got->step, t);
    assert_string_equal(got->state, s.state);
    assert_string_equal(got->metrics, s.metrics);
    assert_memory_equal(&got->policy, &s.step.policy, sizeof got->policy);
    assert_memory_equal(&got->critic, &s.step.critic, sizeof got->critic);
}

static void steps_follow_each_other(void **state)
{
    (void)state;
    struct place p;
    struct tr_journal_step got;
    struct tr_err err = {0};
    open_place(&p);
    struct tr_journal *j = made_open(p.path);
    assert_int_equal(tr_journal_last(j, &got, NULL), TR_AGAIN);
    for (int64_t t = 1; t <= 4; t++) commit(j, t, t);
    j = again(&p, j);
    assert_int_equal(tr_journal_last(j, &got, &err), TR_OK);
    assert_step(&got, 4);
    int64_t n = 0;
    for (int64_t t = -1; tr_journal_step_after(j, t, &got, &err) == TR_OK; t = got.step)
        assert_step(&got, ++n);
    assert_int_equal(n, 4);
    for (int64_t t = 3; t <= 7; t++) {
        struct made_step s;
        made_step(&s, t, 1);
        if (t == 5) continue;
        assert_int_equal(tr_journal_commit(j, &s.step, s.rollout, 1, &err), TR_BADARG);
    }
    commit(j, 5, 0);
    tr_journal_close(j);
    assert_int_equal(ask(&p, "SELECT count(*) FROM rollouts"), 1 + 2 + 3 + 4);
    assert_int_equal(ask(&p, "SELECT count(*) FROM scores"), 2 * (1 + 2 + 3 + 4));
    assert_int_equal(ask(&p, "SELECT length(answer_ids) + length(vals) FROM rollouts"
                             " WHERE step = 4 AND sample = 2"),
                     2 * 4 * (MADE_TOKENS - 2));
    close_place(&p);
}

/* What cannot be committed changes nothing, and what is right can be afterwards. */
static void a_refused_commit_leaves_no_trace(void **state)
{
    (void)state;
    struct place p;
    struct tr_err err = {0};
    struct made_step s;
    open_place(&p);
    struct tr_journal *j = made_open(p.path);
    for (int i = 0; i < 6; i++) {
        made_step(&s, 0, 2);
        if (i == 0) s.step.state = "{";
        if (i == 1) s.step.metrics = "";
        if (i == 2) s.rollout[1].score = (double)NAN;
        if (i == 3) s.score[1][1].weight = (double)INFINITY;
        if (i == 4) s.rollout[1].answer_tokens = -1;
        if (i == 5) s.rollout[1].slots = 1000;
        err = (struct tr_err){0};
        enum tr_status st = tr_journal_commit(j, &s.step, s.rollout, 2, &err);
        assert_int_equal(st, i == 2 || i == 3 ? TR_NOTNUM : TR_BADARG);
        assert_true(err.text[0]);
    }
    commit(j, 0, 2);
    tr_journal_close(j);
    assert_int_equal(ask(&p, "SELECT count(*) FROM rollouts"), 2);
    close_place(&p);
}

static int64_t learn_units(struct tr_journal *j, enum tr_role role, int64_t from)
{
    struct tr_memo memo = tr_journal_memo(j);
    struct tr_digest at = made_lineage(role, from), answer, digest;
    int64_t n = 0;
    for (;; n++) {
        struct tr_unit unit, want;
        struct tr_content content;
        struct tr_err err = {0};
        enum tr_status st = memo.next_learn(memo.self, role, &at, &unit, &answer, &err);
        if (st == TR_AGAIN) return n;
        if (st != TR_OK) fail_msg("%s", err.text);
        made_learn(role, from + n, &want, &content);
        assert_true(tr_digest_equal(&unit.id, &want.id));
        assert_true(same_content(&unit.content, &want.content));
        assert_int_equal(tr_content_digest(&content, &digest, NULL), TR_OK);
        assert_true(tr_digest_equal(&answer, &digest));
        at = unit.id;
        tr_unit_fini(&unit);
        tr_unit_fini(&want);
        tr_content_fini(&content);
    }
}

static void note(struct tr_journal *j, enum tr_role role, int64_t units)
{
    struct tr_journal_snapshot s = {.role = role, .step = units / 2};
    struct tr_err err = {0};
    s.lineage = made_lineage(role, units);
    snprintf(s.folder, sizeof s.folder, "snapshot/%d", (int)units);
    if (tr_journal_note_snapshot(j, &s, &err) != TR_OK) fail_msg("%s", err.text);
}

/* Invariant 4. Two learners, two units a step, ten units each. */
static void learn_units_stay_until_a_snapshot(void **state)
{
    (void)state;
    struct place p;
    struct tr_journal_snapshot s;
    int64_t units = 0;
    double seconds = 0;
    open_place(&p);
    struct tr_journal *j = made_open(p.path);
    for (int64_t i = 0; i < 10; i++)
        for (int r = 0; r < 2; r++) {
            enum tr_role role = r ? TR_ROLE_CRITIC : TR_ROLE_POLICY;
            struct tr_unit unit;
            struct tr_content answer;
            made_learn(role, i, &unit, &answer);
            assert_int_equal(made_keep(j, role, i / 2, &unit, &answer), TR_OK);
            if (r && i % 2 && i < 8) commit(j, i / 2, 0);
            tr_unit_fini(&unit);
            tr_content_fini(&answer);
        }
    assert_int_equal(tr_journal_prune(j, TR_ROLE_POLICY, 2, &s, NULL), TR_AGAIN);
    assert_int_equal(learn_units(j, TR_ROLE_POLICY, 0), 10);
    struct tr_digest lineage = made_lineage(TR_ROLE_POLICY, 3);
    assert_int_equal(
        tr_journal_replay_cost(j, TR_ROLE_POLICY, &lineage, &units, &seconds, NULL),
        TR_OK);
    assert_true(units == 7 && seconds == 3.5);
    note(j, TR_ROLE_POLICY, 4);
    note(j, TR_ROLE_POLICY, 6);
    assert_int_equal(tr_journal_prune(j, TR_ROLE_POLICY, 2, &s, NULL), TR_AGAIN);
    assert_int_equal(learn_units(j, TR_ROLE_POLICY, 0), 0);
    assert_int_equal(learn_units(j, TR_ROLE_POLICY, 4), 6);
    note(j, TR_ROLE_POLICY, 10);
    j = again(&p, j);
    assert_int_equal(tr_journal_prune(j, TR_ROLE_POLICY, 1, &s, NULL), TR_OK);
    assert_string_equal(s.folder, "snapshot/4");
    assert_int_equal(learn_units(j, TR_ROLE_POLICY, 6), 4);
    assert_int_equal(tr_journal_prune(j, TR_ROLE_POLICY, 1, &s, NULL), TR_OK);
    assert_string_equal(s.folder, "snapshot/6");
    assert_int_equal(tr_journal_prune(j, TR_ROLE_POLICY, 1, &s, NULL), TR_AGAIN);
    /* step 4, units 8 and 9, is not committed: its units stay behind any snapshot */
    assert_int_equal(learn_units(j, TR_ROLE_POLICY, 6), 0);
    assert_int_equal(learn_units(j, TR_ROLE_POLICY, 8), 2);
    assert_int_equal(learn_units(j, TR_ROLE_CRITIC, 0), 10);
    assert_int_equal(tr_journal_snapshot(j, TR_ROLE_POLICY, 0, &s, NULL), TR_OK);
    assert_string_equal(s.folder, "snapshot/10");
    lineage = made_lineage(TR_ROLE_POLICY, 10);
    assert_true(s.step == 5 && tr_digest_equal(&s.lineage, &lineage));
    assert_int_equal(tr_journal_snapshot(j, TR_ROLE_CRITIC, 0, &s, NULL), TR_AGAIN);
    tr_journal_close(j);
    close_place(&p);
}

static void swaps_are_asked_applied_and_found(void **state)
{
    (void)state;
    struct place p;
    struct tr_journal_swap got, first = {.at = -1, .slots = "[{\"name\": \"main\"}]"};
    struct tr_journal_swap second = {.at = 7, .rollback = true, .slots = "[]"};
    struct tr_journal_swap broken = {.at = 1, .slots = "["};
    int64_t id[2] = {0};
    open_place(&p);
    struct tr_journal *j = made_open(p.path);
    assert_int_equal(tr_journal_swap_at(j, 100, &got, NULL), TR_AGAIN);
    assert_int_equal(tr_journal_ask_swap(j, &broken, &id[0], NULL), TR_BADARG);
    assert_int_equal(tr_journal_ask_swap(j, &first, &id[0], NULL), TR_OK);
    assert_int_equal(tr_journal_ask_swap(j, &second, &id[1], NULL), TR_OK);
    j = again(&p, j);
    assert_int_equal(tr_journal_swap_after(j, 0, &got, NULL), TR_OK);
    assert_true(got.id == id[0] && got.at == -1 && got.applied == -1 && !got.rollback);
    assert_string_equal(got.slots, first.slots);
    assert_int_equal(tr_journal_swap_after(j, got.id, &got, NULL), TR_OK);
    assert_true(got.id == id[1] && got.at == 7 && got.rollback);
    assert_int_equal(tr_journal_swap_after(j, got.id, &got, NULL), TR_AGAIN);
    assert_int_equal(tr_journal_apply_swap(j, id[0], 3, NULL), TR_OK);
    j = again(&p, j); /* killed before step 3 was committed: it is made anew */
    assert_int_equal(tr_journal_apply_swap(j, id[0], 4, NULL), TR_OK);
    assert_int_equal(tr_journal_apply_swap(j, id[0], 3, NULL), TR_OK);
    commit(j, 3, 1);
    assert_int_equal(tr_journal_apply_swap(j, id[0], 4, NULL), TR_BADARG);
    assert_int_equal(tr_journal_drop_swap(j, id[0], NULL), TR_BADARG);
    assert_int_equal(tr_journal_apply_swap(j, 99, 4, NULL), TR_BADARG);
    assert_int_equal(tr_journal_swap_at(j, 2, &got, NULL), TR_AGAIN);
    assert_int_equal(tr_journal_swap_at(j, 3, &got, NULL), TR_OK);
    assert_true(got.id == id[0] && got.applied == 3);
    assert_int_equal(tr_journal_apply_swap(j, id[1], 7, NULL), TR_OK);
    assert_int_equal(tr_journal_swap_at(j, 6, &got, NULL), TR_OK);
    assert_int_equal(got.id, id[0]);
    assert_int_equal(tr_journal_swap_at(j, 8, &got, NULL), TR_OK);
    assert_int_equal(got.id, id[1]);
    assert_int_equal(tr_journal_ask_swap(j, &first, &id[0], NULL), TR_OK);
    assert_int_equal(tr_journal_drop_swap(j, id[0], NULL), TR_OK);
    assert_int_equal(tr_journal_swap_after(j, id[1], &got, NULL), TR_AGAIN);
    tr_journal_close(j);
    close_place(&p);
}

/* Invariant 8. */
static void events_are_bounded_and_the_last_stay(void **state)
{
    (void)state;
    struct place p;
    char text[32];
    struct tr_journal_settings set = {.events = 50};
    struct tr_journal_meta m = made_meta();
    struct tr_journal *j = NULL;
    open_place(&p);
    assert_int_equal(tr_journal_open(p.path, &set, &m, &j, NULL), TR_OK);
    for (int i = 0; i < 120; i++) {
        snprintf(text, sizeof text, "%d", i);
        assert_int_equal(
            tr_journal_event(j, "rollout", "rollout-1", "joined", text, NULL), TR_OK);
    }
    tr_journal_close(j);
    assert_int_equal(ask(&p, "SELECT count(*) FROM events"), 50);
    assert_int_equal(ask(&p, "SELECT min(CAST(text AS INTEGER)) FROM events"), 70);
    close_place(&p);
}

static void a_worker_has_one_row(void **state)
{
    (void)state;
    struct place p;
    struct tr_journal_worker w = {.instance = "rollout-1",
                                  .role = "rollout",
                                  .slot = "",
                                  .host = "here",
                                  .isa = "avx2",
                                  .state = "busy",
                                  .threads = 2};
    open_place(&p);
    struct tr_journal *j = made_open(p.path);
    for (int i = 0; i < 3; i++) {
        w.answered = i;
        assert_int_equal(tr_journal_worker(j, &w, NULL), TR_OK);
    }
    tr_journal_close(j);
    assert_int_equal(ask(&p, "SELECT count(*) * 100 + sum(answered) FROM workers"), 102);
    close_place(&p);
}

static void counters_go_on_over_restarts(void **state)
{
    (void)state;
    struct place p;
    open_place(&p);
    struct tr_journal *j = made_open(p.path);
    assert_int_equal(tr_journal_count(j, "units", 3, NULL), TR_OK);
    assert_int_equal(tr_journal_count(j, "units", 5, NULL), TR_OK);
    j = again(&p, j);
    assert_int_equal(tr_journal_count(j, "units", 1, NULL), TR_OK);
    assert_int_equal(tr_journal_count(j, "units", 2, NULL), TR_OK);
    tr_journal_close(j);
    assert_int_equal(ask(&p, "SELECT value FROM counters WHERE name = 'units'"), 7);
    close_place(&p);
}

/* A core without anybody still counts. */
static void a_company_is_noted(void **state)
{
    (void)state;
    struct place p;
    struct tr_planner planner = {0};
    struct tr_core_settings set = {.run = "made", .join_seconds = 100};
    struct tr_core *core = NULL;
    open_place(&p);
    struct tr_journal *j = made_open(p.path);
    struct tr_memo memo = tr_journal_memo(j);
    assert_int_equal(tr_core_create(&set, &planner, &memo, 10, &core, NULL), TR_OK);
    int64_t post = 0;
    assert_int_equal(tr_core_open_post(core, TR_ROLE_REWARD, "main", 2, &post, NULL),
                     TR_OK);
    struct tr_digest weights = made_digest("reward", 0);
    struct tr_message m = {.say = TR_SAY_HELLO};
    m.as.hello = (struct tr_hello){.role = TR_ROLE_REWARD,
                                   .slot = "main",
                                   .instance = "reward-main-1",
                                   .credits = 1,
                                   .threads = 3,
                                   .isa = "avx2",
                                   .math = "exact",
                                   .holds = tr_digests_one(&weights)};
    assert_int_equal(tr_core_hear(core, 7, &m, 11, NULL), TR_OK);
    assert_int_equal(tr_journal_note_company(j, core, 12, NULL), TR_OK);
    assert_int_equal(tr_core_lose(core, 7, "gone", 13, NULL), TR_OK);
    assert_int_equal(tr_journal_note_company(j, core, 14, NULL), TR_OK);
    tr_core_destroy(core);
    tr_journal_close(j);
    assert_int_equal(ask(&p, "SELECT count(*) FROM workers WHERE state = 'left'"
                             " AND threads = 3 AND slot = 'main' AND joined < at - 2"),
                     1);
    assert_int_equal(ask(&p, "SELECT sum(value) FROM counters"
                             " WHERE name IN ('joined', 'left', 'units')"),
                     2);
    assert_int_equal(ask(&p, "SELECT count(*) FROM events WHERE role = 'reward'"
                             " AND kind IN ('joined', 'left')"),
                     2);
    close_place(&p);
}

static void the_run_is_known_again(void **state)
{
    (void)state;
    struct place p;
    struct tr_journal_meta other = made_meta(), want = made_meta();
    struct tr_journal *j = NULL;
    open_place(&p);
    tr_journal_close(made_open(p.path));
    snprintf(other.run, sizeof other.run, "other");
    assert_int_equal(tr_journal_open(p.path, NULL, &other, &j, NULL), TR_OK);
    struct tr_journal_meta got = tr_journal_meta(j);
    assert_string_equal(got.run, want.run);
    assert_string_equal(got.version, want.version);
    assert_true(got.seed == want.seed && tr_digest_equal(&got.config, &want.config));
    assert_true(got.created > 1e9);
    tr_journal_close(j);
    close_place(&p);
}

/* ---- whose file it is ---- */

/* Invariant 7: refused in one line, and the bytes are as they were. */
static void files_of_others_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *name, *sql, *says; /* sql NULL: text */
    } row[] = {
        {"text", NULL, "no journal"},
        {"another program's", "CREATE TABLE t (x); PRAGMA application_id = 7",
         "no journal"},
        {"nobody's", "CREATE TABLE t (x)", "no journal"},
        {"another schema",
         "CREATE TABLE t (x); PRAGMA application_id = 1416785781;"
         "PRAGMA user_version = 99",
         "schema 99"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct place p;
        struct tr_buf before, after;
        struct tr_err err = {0};
        struct tr_journal_meta m = made_meta();
        struct tr_journal *j = NULL;
        open_place(&p);
        if (row[i].sql)
            change(&p, row[i].sql);
        else
            scratch_text(p.dir, "run.db",
                         "a text that is long enough to look like a file, "
                         "and is none that a journal could be made of at all");
        assert_int_equal(tr_file_read(p.path, 1 << 20, &before, NULL), TR_OK);
        assert_int_equal(tr_journal_open(p.path, NULL, &m, &j, &err), TR_BADARG);
        assert_null(j);
        if (!strstr(err.text, row[i].says)) fail_msg("%s: %s", row[i].name, err.text);
        assert_int_equal(tr_file_read(p.path, 1 << 20, &after, NULL), TR_OK);
        assert_true(before.size == after.size);
        assert_memory_equal(before.at, after.at, before.size);
        tr_buf_fini(&before);
        tr_buf_fini(&after);
        close_place(&p);
    }
}

/* At once: a pipe that nobody writes to would be waited for. */
static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    struct tr_journal_meta m = made_meta();
    for (int pipe = 0; pipe < 2; pipe++) {
        struct place p;
        struct tr_journal *j = NULL;
        struct tr_err err = {0};
        open_place(&p);
        assert_int_equal(pipe ? mkfifo(p.path, 0600) : mkdir(p.path, 0700), 0);
        assert_int_equal(tr_journal_look(p.path, &j, &err), TR_BADARG);
        assert_int_equal(tr_journal_open(p.path, NULL, &m, &j, &err), TR_BADARG);
        assert_non_null(strstr(err.text, pipe ? "something else" : "a folder"));
        assert_int_equal(pipe ? unlink(p.path) : rmdir(p.path), 0);
        close_place(&p);
    }
}

static void a_journal_has_to_be_there(void **state)
{
    (void)state;
    struct place p;
    struct tr_err err = {0};
    struct tr_journal_meta m = made_meta();
    struct tr_journal *j = NULL;
    open_place(&p);
    assert_int_equal(tr_journal_open(p.path, NULL, NULL, &j, &err), TR_BADARG);
    assert_false(tr_path_exists(p.path));
    scratch_text(p.dir, "run.db", ""); /* a start that was killed at once */
    assert_int_equal(tr_journal_open(p.path, NULL, NULL, &j, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "empty"));
    assert_int_equal(tr_journal_open(p.path, NULL, &m, &j, &err), TR_OK);
    tr_journal_close(j);
    assert_int_equal(tr_journal_open(p.path, NULL, NULL, &j, &err), TR_OK);
    tr_journal_close(j);
    close_place(&p);
}

/* Invariant 7: another process, and this one too. */
static void a_second_opener_is_told_who_has_it(void **state)
{
    (void)state;
    struct place p;
    int ready[2], go[2];
    char byte = 0, want[64];
    struct tr_err err = {0};
    struct tr_journal_settings set = {.busy_ms = 20};
    struct tr_journal *j = NULL;
    open_place(&p);
    assert_true(pipe(ready) == 0 && pipe(go) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct tr_journal_meta m = made_meta();
        bool good = tr_journal_open(p.path, NULL, &m, &j, NULL) == TR_OK &&
                    write(ready[1], "r", 1) == 1 && read(go[0], &byte, 1) == 1;
        tr_journal_close(j);
        _exit(good ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(tr_journal_open(p.path, &set, NULL, &j, &err), TR_BADARG);
    snprintf(want, sizeof want, "in use by another coordinator (process %d)", (int)pid);
    assert_non_null(strstr(err.text, want));
    assert_int_equal(write(go[1], "g", 1), 1);
    int status = 1;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    struct tr_journal *k = made_open(p.path);
    assert_int_equal(tr_journal_open(p.path, &set, NULL, &j, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "in use"));
    commit(k, 0, 1); /* and the first one did not suffer */
    tr_journal_close(k);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
    close_place(&p);
}

/* Invariant 6: each field changed in the file is noticed where it is read. */
static void damage_is_noticed(void **state)
{
    (void)state;
    const struct {
        const char *sql;
        enum tr_status open, find, learn;
    } row[] = {
        {"UPDATE answers SET answer = zeroblob(length(answer))", TR_OK, TR_IO, TR_OK},
        {"UPDATE answers SET answer = x''", TR_OK, TR_IO, TR_OK},
        {"UPDATE learn SET content = CAST(substr(content, 1, 90) ||"
         " zeroblob(length(content) - 90) AS BLOB)",
         TR_OK, TR_OK, TR_IO},
        {"UPDATE learn SET content = substr(content, 1, 5)", TR_OK, TR_OK, TR_IO},
        {"UPDATE learn SET content = CAST(content || x'00' AS BLOB)", TR_OK, TR_OK,
         TR_IO},
        {"UPDATE learn SET answer_digest = x'00'", TR_OK, TR_OK, TR_IO},
        {"UPDATE steps SET state = '{}'", TR_IO, TR_OK, TR_OK},
        {"UPDATE steps SET policy_weights = NULL", TR_IO, TR_OK, TR_OK},
        {"UPDATE steps SET rollouts = 3", TR_IO, TR_OK, TR_OK},
        {"DELETE FROM meta WHERE key = 'run'", TR_IO, TR_OK, TR_OK},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct place p;
        struct tr_unit unit[2], got = {0};
        struct tr_content answer[2], found = {0};
        struct tr_digest digest, lineage = made_lineage(TR_ROLE_POLICY, 0);
        struct tr_err err = {0};
        open_place(&p);
        struct tr_journal *j = made_open(p.path);
        made_generate(1, 8, &unit[0], &answer[0]);
        made_learn(TR_ROLE_POLICY, 0, &unit[1], &answer[1]);
        commit(j, 0, 1);
        for (int k = 0; k < 2; k++)
            assert_int_equal(made_keep(j, TR_ROLE_POLICY, 1, &unit[k], &answer[k]),
                             TR_OK);
        tr_journal_close(j);
        change(&p, row[i].sql);
        enum tr_status st = tr_journal_open(p.path, NULL, NULL, &j, &err);
        if (st != row[i].open) fail_msg("%s: %s", row[i].sql, err.text);
        if (st == TR_OK) {
            struct tr_memo memo = tr_journal_memo(j);
            st = memo.find(memo.self, &unit[0].id, &found, &err);
            if (st != row[i].find) fail_msg("%s: %s", row[i].sql, err.text);
            st =
                memo.next_learn(memo.self, TR_ROLE_POLICY, &lineage, &got, &digest, &err);
            if (st != row[i].learn) fail_msg("%s: %s", row[i].sql, err.text);
            tr_content_fini(&found);
            tr_unit_fini(&got);
            tr_journal_close(j);
        }
        for (int k = 0; k < 2; k++) {
            tr_unit_fini(&unit[k]);
            tr_content_fini(&answer[k]);
        }
        close_place(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_kept_is_found),
        cmocka_unit_test(a_commit_forgets_its_answers),
        cmocka_unit_test(steps_follow_each_other),
        cmocka_unit_test(a_refused_commit_leaves_no_trace),
        cmocka_unit_test(learn_units_stay_until_a_snapshot),
        cmocka_unit_test(swaps_are_asked_applied_and_found),
        cmocka_unit_test(events_are_bounded_and_the_last_stay),
        cmocka_unit_test(a_worker_has_one_row),
        cmocka_unit_test(counters_go_on_over_restarts),
        cmocka_unit_test(a_company_is_noted),
        cmocka_unit_test(the_run_is_known_again),
        cmocka_unit_test(files_of_others_are_refused),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(a_journal_has_to_be_there),
        cmocka_unit_test(a_second_opener_is_told_who_has_it),
        cmocka_unit_test(damage_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

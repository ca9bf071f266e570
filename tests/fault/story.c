#include "tests/fault/story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/json.h"

enum {
    TURN = 8,
    COMMIT = 7,
    FLUSH = 5,
    SNAPSHOT = 3,
    SNAPSHOTS = 64,
    TOKENS = 200,
    ROLLOUTS = 2
};

enum tr_status story_open(const char *path, struct tr_journal **out, struct tr_err *err)
{
    struct tr_journal_meta m = made_meta();
    struct tr_journal_settings set = {.log_bytes = 384 << 10, .busy_ms = 50};
    return tr_journal_open(path, &set, &m, out, err);
}

static bool is_answer(int64_t i)
{
    int64_t k = i % TURN;
    return k != COMMIT && k != FLUSH && !(k == SNAPSHOT && i % SNAPSHOTS == SNAPSHOT);
}

static enum tr_status do_commit(struct tr_journal *j, int64_t step, struct tr_err *err)
{
    struct made_step s;
    made_step(&s, step, ROLLOUTS);
    return tr_journal_commit(j, &s.step, s.rollout, s.n, err);
}

static enum tr_status do_snapshot(struct tr_journal *j, int64_t i, struct tr_err *err)
{
    struct tr_journal_snapshot s = {.role = TR_ROLE_POLICY, .step = i / TURN};
    s.lineage = made_digest("lineage", i);
    snprintf(s.folder, sizeof s.folder, "snapshot/%d", (int)i);
    return tr_journal_note_snapshot(j, &s, err);
}

static enum tr_status do_answer(struct tr_journal *j, int64_t i, struct tr_err *err)
{
    struct tr_memo memo = tr_journal_memo(j);
    struct tr_unit unit;
    struct tr_content answer;
    made_generate(i, TOKENS, &unit, &answer);
    struct tr_memo_entry e = {.unit = &unit,
                              .role = TR_ROLE_ROLLOUT,
                              .slot = "",
                              .step = TR_MEMO_ALWAYS,
                              .answer = &answer,
                              .worker = "rollout-1"};
    enum tr_status st = memo.keep(memo.self, &e, err);
    tr_unit_fini(&unit);
    tr_content_fini(&answer);
    return st;
}

enum tr_status story_do(struct tr_journal *j, int64_t i, bool *lasts, bool *durable,
                        struct tr_err *err)
{
    *durable = *lasts = false;
    if (is_answer(i)) return do_answer(j, i, err);
    *lasts = true;
    if (i % TURN == FLUSH) return tr_journal_flush(j, err);
    if (i % TURN == COMMIT) return do_commit(j, i / TURN, err);
    *durable = true;
    return do_snapshot(j, i, err);
}

/* ---- what is found ---- */

enum finding { FOUND, MISSING, DAMAGED };

static enum finding found(enum tr_status st, const struct tr_err *err)
{
    if (st != TR_OK && st != TR_AGAIN && st != TR_IO) fail_msg("%s", err->text);
    return st == TR_OK ? FOUND : st == TR_AGAIN ? MISSING : DAMAGED;
}

static enum finding find_answer(struct tr_journal *j, int64_t i)
{
    struct tr_memo memo = tr_journal_memo(j);
    struct tr_unit unit;
    struct tr_content want, got;
    struct tr_err err = {0};
    made_generate(i, TOKENS, &unit, &want);
    enum finding f = found(memo.find(memo.self, &unit.id, &got, &err), &err);
    if (f == FOUND) assert_true(same_content(&want, &got));
    tr_unit_fini(&unit);
    tr_content_fini(&want);
    tr_content_fini(&got);
    return f;
}

static void same_rollouts(const json_t *list, const struct made_step *want)
{
    assert_int_equal(json_array_size(list), want->n);
    for (size_t i = 0; i < (size_t)want->n; i++) {
        const json_t *r = json_array_get(list, i);
        const json_t *ids = json_object_get(r, "answer_ids");
        assert_true(json_number_value(json_object_get(r, "score")) ==
                    want->rollout[i].score);
        assert_int_equal(json_array_size(ids), want->rollout[i].answer_tokens);
        for (size_t k = 0; k < json_array_size(ids); k++)
            assert_int_equal(json_integer_value(json_array_get(ids, k)),
                             want->rollout[i].answer_token[k]);
    }
}

static enum finding find_rollouts(struct tr_journal *j, const struct made_step *want)
{
    char argument[64];
    struct tr_buf text;
    struct tr_err err = {0};
    json_t *value = NULL;
    snprintf(argument, sizeof argument, "{\"step\": %d}", (int)want->step.step);
    tr_buf_init(&text, 1 << 24);
    enum tr_status st = tr_journal_report(j, "rollouts", argument, &text, &err);
    enum finding f = found(st, &err);
    if (f == FOUND) {
        assert_int_equal(tr_json_parse(text.at, text.size, "rollouts", &value, &err),
                         TR_OK);
        same_rollouts(json_object_get(value, "rollouts"), want);
    }
    json_decref(value);
    tr_buf_fini(&text);
    return f;
}

static enum finding find_step(struct tr_journal *j, int64_t step)
{
    struct tr_journal_step got;
    struct made_step want;
    struct tr_err err = {0};
    made_step(&want, step, ROLLOUTS);
    enum finding f = found(tr_journal_step_after(j, step - 1, &got, &err), &err);
    if (f != FOUND) return f;
    if (got.step != step) return MISSING;
    assert_string_equal(got.state, want.state);
    assert_string_equal(got.metrics, want.metrics);
    assert_memory_equal(&got.policy, &want.step.policy, sizeof got.policy);
    return find_rollouts(j, &want);
}

static enum finding find_deed(struct tr_journal *j, int64_t i)
{
    if (is_answer(i)) return find_answer(j, i);
    return i % TURN == COMMIT ? find_step(j, i / TURN) : FOUND;
}

static bool leaves_trace(int64_t i)
{
    return is_answer(i) || i % TURN == COMMIT;
}

int64_t story_left(struct tr_journal *j, int64_t most)
{
    int64_t n = 0;
    for (int64_t i = 0; i < most; i++) {
        enum finding f = find_deed(j, i);
        if (f == DAMAGED) return -1;
        n += f == FOUND;
    }
    return n;
}

int64_t story_told(struct tr_journal *j, int64_t most)
{
    int64_t told = 0;
    enum finding f = FOUND;
    for (; told < most && (f = find_deed(j, told)) == FOUND; told++) {
    }
    if (f == DAMAGED) return -1;
    for (int64_t i = told; i < most; i++) {
        if (!leaves_trace(i)) continue;
        f = find_deed(j, i);
        if (f == DAMAGED) return -1;
        if (f == FOUND) fail_msg("deed %d is there, and %d is not", (int)i, (int)told);
    }
    return told;
}

/* journal_swaps.c - which rewards count from which step, and what a learner can go back to. */
#include <stdio.h>
#include <string.h>

#include "actors/coordinator/journal_parts.h"
#include "core/base/json.h"

static int bind_step(sqlite3_stmt *q, int at, int64_t step)
{
    return step < 0 ? sqlite3_bind_null(q, at) : sqlite3_bind_int64(q, at, step);
}

static int64_t column_step(sqlite3_stmt *q, int at)
{
    return sqlite3_column_type(q, at) == SQLITE_NULL ? -1 : sqlite3_column_int64(q, at);
}

/* ---- swaps ---- */

static enum tr_status check_slots(struct tr_journal *j, const char *slots,
                                  struct tr_err *err)
{
    json_t *value = NULL;
    size_t size = strlen(slots);
    if (size > TR_JOURNAL_TEXT)
        return tr_err_set(err, TR_BADARG, "%s: slots: %zu bytes, at most %d", j->path,
                          size, TR_JOURNAL_TEXT);
    enum tr_status st = tr_json_parse(slots, size, "slots", &value, err);
    json_decref(value);
    return st;
}

enum tr_status tr_journal_ask_swap(struct tr_journal *j, const struct tr_journal_swap *s,
                                   int64_t *id, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = check_slots(j, s->slots, err);
    if (st == TR_OK) st = tr_journal_begin(j, err);
    if (st == TR_OK) st = tr_journal_take(j, SQL_SWAP, &q, err);
    if (st != TR_OK) return st;
    int bad = tr_journal_bind_text(q, 1, s->rollback ? "rollback" : "swap");
    bad |= bind_step(q, 2, s->at);
    bad |= tr_journal_bind_text(q, 3, s->slots);
    bad |= sqlite3_bind_double(q, 4, j->set.now());
    st = tr_journal_run(j, q, bad, err);
    *id = sqlite3_last_insert_rowid(j->db);
    return st == TR_OK ? tr_journal_flush(j, err) : st;
}

/* The statement must find a swap that was not applied yet. */
static enum tr_status change_swap(struct tr_journal *j, sqlite3_stmt *q, int bad,
                                  int64_t id, struct tr_err *err)
{
    enum tr_status st = tr_journal_run(j, q, bad, err);
    if (st != TR_OK || sqlite3_changes(j->db) == 1) return st;
    return tr_err_set(err, TR_BADARG, "%s: there is no swap %lld that no step has used",
                      j->path, (long long)id);
}

enum tr_status tr_journal_apply_swap(struct tr_journal *j, int64_t id, int64_t step,
                                     struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_begin(j, err);
    if (st == TR_OK) st = tr_journal_take(j, SQL_SWAP_APPLY, &q, err);
    if (st != TR_OK) return st;
    int bad = sqlite3_bind_int64(q, 1, step);
    bad |= sqlite3_bind_double(q, 2, j->set.now());
    bad |= sqlite3_bind_int64(q, 3, id);
    return change_swap(j, q, bad, id, err);
}

enum tr_status tr_journal_drop_swap(struct tr_journal *j, int64_t id, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_begin(j, err);
    if (st == TR_OK) st = tr_journal_take(j, SQL_SWAP_DROP, &q, err);
    return st == TR_OK ? change_swap(j, q, sqlite3_bind_int64(q, 1, id), id, err) : st;
}

static enum tr_status read_swap(struct tr_journal *j, enum journal_sql sql,
                                int64_t number, struct tr_journal_swap *out,
                                struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, sql, &q, err);
    if (st != TR_OK) return st;
    st = tr_journal_row(j, q, sqlite3_bind_int64(q, 1, number), err);
    if (st == TR_OK) {
        *out = (struct tr_journal_swap){
            .id = sqlite3_column_int64(q, 0),
            .rollback = strcmp(tr_journal_column_text(q, 1), "rollback") == 0,
            .at = column_step(q, 2),
            .applied = column_step(q, 3)};
        tr_buf_clear(&j->text[0]);
        st = tr_buf_puts(&j->text[0], tr_journal_column_text(q, 4), err);
        out->slots = tr_buf_text(&j->text[0]);
    }
    tr_journal_reset(q);
    return st;
}

enum tr_status tr_journal_swap_after(struct tr_journal *j, int64_t id,
                                     struct tr_journal_swap *out, struct tr_err *err)
{
    return read_swap(j, SQL_SWAP_AFTER, id, out, err);
}

enum tr_status tr_journal_swap_at(struct tr_journal *j, int64_t step,
                                  struct tr_journal_swap *out, struct tr_err *err)
{
    return read_swap(j, SQL_SWAP_AT, step, out, err);
}

/* ---- snapshots ---- */

enum tr_status tr_journal_note_snapshot(struct tr_journal *j,
                                        const struct tr_journal_snapshot *s,
                                        struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_begin_durable(j, err);
    if (st == TR_OK) st = tr_journal_take(j, SQL_SNAPSHOT, &q, err);
    if (st != TR_OK) return st;
    int bad = tr_journal_bind_text(q, 1, tr_role_name(s->role));
    bad |= sqlite3_bind_int64(q, 2, s->step);
    bad |= tr_journal_bind_digest(q, 3, &s->lineage);
    bad |= tr_journal_bind_digest(q, 4, &s->weights);
    bad |= tr_journal_bind_text(q, 5, s->folder);
    bad |= sqlite3_bind_double(q, 6, j->set.now());
    st = tr_journal_run(j, q, bad, err);
    return st == TR_OK ? tr_journal_end_durable(j, err) : st;
}

static enum tr_status read_snapshot(struct tr_journal *j, enum tr_role role, int64_t back,
                                    struct tr_journal_snapshot *out, int64_t *id,
                                    struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_SNAPSHOT_BACK, &q, err);
    if (st != TR_OK) return st;
    int bad = tr_journal_bind_text(q, 1, tr_role_name(role));
    bad |= sqlite3_bind_int64(q, 2, back);
    st = tr_journal_row(j, q, bad, err);
    if (st == TR_OK) {
        *out = (struct tr_journal_snapshot){.role = role,
                                            .step = sqlite3_column_int64(q, 1)};
        *id = sqlite3_column_int64(q, 0);
        snprintf(out->folder, sizeof out->folder, "%s", tr_journal_column_text(q, 4));
        if (!tr_journal_column_digest(q, 2, &out->lineage) ||
            !tr_journal_column_digest(q, 3, &out->weights))
            st = tr_journal_damaged(j, "a snapshot", err);
    }
    tr_journal_reset(q);
    return st;
}

enum tr_status tr_journal_snapshot(struct tr_journal *j, enum tr_role role, int64_t back,
                                   struct tr_journal_snapshot *out, struct tr_err *err)
{
    int64_t id = 0;
    return read_snapshot(j, role, back, out, &id, err);
}

static enum tr_status drop_snapshot(struct tr_journal *j, int64_t id, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_begin(j, err);
    if (st == TR_OK) st = tr_journal_take(j, SQL_SNAPSHOT_DROP, &q, err);
    return st == TR_OK ? tr_journal_run(j, q, sqlite3_bind_int64(q, 1, id), err) : st;
}

static enum tr_status drop_learn(struct tr_journal *j, enum tr_role role,
                                 struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_begin(j, err);
    if (st == TR_OK) st = tr_journal_take(j, SQL_PRUNE_LEARN, &q, err);
    if (st != TR_OK) return st;
    return tr_journal_run(j, q, tr_journal_bind_text(q, 1, tr_role_name(role)), err);
}

enum tr_status tr_journal_prune(struct tr_journal *j, enum tr_role role, int64_t keep,
                                struct tr_journal_snapshot *gone, struct tr_err *err)
{
    int64_t id = 0, n = 0;
    struct tr_journal_snapshot s;
    enum tr_status st = read_snapshot(j, role, keep, gone, &id, err);
    bool beyond = st == TR_OK;
    if (st == TR_AGAIN) st = TR_OK;
    /* The oldest of those beyond goes first, whose units nobody needs then. */
    for (n = keep + 1; beyond && st == TR_OK; n++) {
        st = read_snapshot(j, role, n, &s, &id, err);
        if (st == TR_OK) *gone = s;
    }
    if (st == TR_AGAIN) st = TR_OK;
    if (st == TR_OK && beyond) st = drop_snapshot(j, id, err);
    if (st == TR_OK) st = drop_learn(j, role, err);
    if (st == TR_OK) st = tr_journal_flush(j, err);
    return st == TR_OK && !beyond ? TR_AGAIN : st;
}

enum tr_status tr_journal_replay_cost(struct tr_journal *j, enum tr_role role,
                                      const struct tr_digest *lineage, int64_t *units,
                                      double *seconds, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_REPLAY_COST, &q, err);
    if (st != TR_OK) return st;
    int bad = tr_journal_bind_text(q, 1, tr_role_name(role));
    bad |= tr_journal_bind_digest(q, 2, lineage);
    st = tr_journal_row(j, q, bad, err);
    if (st == TR_OK) {
        *units = sqlite3_column_int64(q, 0);
        *seconds = sqlite3_column_double(q, 1);
    }
    tr_journal_reset(q);
    return st == TR_AGAIN ? tr_journal_damaged(j, "learn", err) : st;
}

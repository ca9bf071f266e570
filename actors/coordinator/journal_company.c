/* journal_company.c - who was there, what happened, what was counted. */
#include <stdio.h>
#include <string.h>

#include "actors/coordinator/journal_parts.h"

/* ---- events and workers ---- */

static enum tr_status prune(struct tr_journal *j, enum journal_sql id, int64_t bound,
                            struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, id, &q, err);
    return st == TR_OK ? tr_journal_run(j, q, sqlite3_bind_int64(q, 1, bound), err) : st;
}

enum tr_status tr_journal_event(struct tr_journal *j, const char *role,
                                const char *instance, const char *kind, const char *text,
                                struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_begin(j, err);
    if (st == TR_OK) st = tr_journal_take(j, SQL_EVENT, &q, err);
    if (st != TR_OK) return st;
    int bad = sqlite3_bind_double(q, 1, j->set.now());
    bad |= tr_journal_bind_text(q, 2, role);
    bad |= tr_journal_bind_text(q, 3, instance);
    bad |= tr_journal_bind_text(q, 4, kind);
    bad |= tr_journal_bind_text(q, 5, text);
    st = tr_journal_run(j, q, bad, err);
    int64_t id = sqlite3_last_insert_rowid(j->db);
    if (st != TR_OK || id <= j->set.events) return st;
    return prune(j, SQL_EVENT_PRUNE, id - j->set.events, err);
}

enum tr_status tr_journal_worker(struct tr_journal *j, const struct tr_journal_worker *w,
                                 struct tr_err *err)
{
    const char *const text[] = {w->instance, w->role, w->slot, w->host, w->isa};
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_begin(j, err);
    if (st == TR_OK) st = tr_journal_take(j, SQL_WORKER, &q, err);
    if (st != TR_OK) return st;
    int bad = 0;
    for (int i = 0; i < 5; i++) bad |= tr_journal_bind_text(q, 1 + i, text[i]);
    bad |= sqlite3_bind_int64(q, 6, w->threads);
    bad |= tr_journal_bind_text(q, 7, w->state);
    bad |= sqlite3_bind_double(q, 8, w->joined);
    bad |= sqlite3_bind_int64(q, 9, w->answered);
    bad |= sqlite3_bind_double(q, 10, w->busy_seconds);
    bad |= sqlite3_bind_double(q, 11, j->set.now());
    st = tr_journal_run(j, q, bad, err);
    return st == TR_OK ? prune(j, SQL_WORKER_PRUNE, JOURNAL_WORKERS, err) : st;
}

/* ---- counters ---- */

static enum tr_status read_counter(struct tr_journal *j, const char *name, int64_t *out,
                                   struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    *out = 0;
    enum tr_status st = tr_journal_take(j, SQL_COUNTER_READ, &q, err);
    if (st == TR_OK) st = tr_journal_row(j, q, tr_journal_bind_text(q, 1, name), err);
    if (st == TR_OK) *out = sqlite3_column_int64(q, 0);
    if (q) tr_journal_reset(q);
    return st == TR_AGAIN ? TR_OK : st;
}

/* What the counter was when the file was opened, read when it is first asked for. */
static enum tr_status find_counter(struct tr_journal *j, const char *name,
                                   struct counter **out, struct tr_err *err)
{
    for (int i = 0; i < j->counters; i++)
        if (strcmp(j->counter[i].name, name) == 0) {
            *out = &j->counter[i];
            return TR_OK;
        }
    if (j->counters == JOURNAL_COUNTERS)
        return tr_err_set(err, TR_BADARG, "%s: over %d counters", j->path,
                          JOURNAL_COUNTERS);
    struct counter *c = &j->counter[j->counters];
    enum tr_status st = read_counter(j, name, &c->at_open, err);
    if (st != TR_OK) return st;
    snprintf(c->name, sizeof c->name, "%s", name);
    j->counters++;
    *out = c;
    return TR_OK;
}

enum tr_status tr_journal_count(struct tr_journal *j, const char *name,
                                int64_t since_open, struct tr_err *err)
{
    struct counter *c = NULL;
    sqlite3_stmt *q = NULL;
    if (strlen(name) >= sizeof c->name)
        return tr_err_set(err, TR_BADARG, "%s: a counter's name of %zu bytes", j->path,
                          strlen(name));
    enum tr_status st = find_counter(j, name, &c, err);
    if (st == TR_OK) st = tr_journal_begin(j, err);
    if (st == TR_OK) st = tr_journal_take(j, SQL_COUNTER, &q, err);
    if (st != TR_OK) return st;
    int bad = tr_journal_bind_text(q, 1, name);
    bad |= sqlite3_bind_int64(q, 2, c->at_open + since_open);
    return tr_journal_run(j, q, bad, err);
}

/* ---- all of a core ---- */

static const char *state_of(const struct tr_core_worker *w)
{
    if (!w->here) return "left";
    if (w->silent) return "silent";
    if (w->idle) return "idle";
    return w->busy ? "busy" : "waits";
}

static enum tr_status note_workers(struct tr_journal *j, const struct tr_core *core,
                                   double now, struct tr_err *err)
{
    struct tr_core_worker w;
    enum tr_status st = TR_OK;
    for (int64_t i = 0; st == TR_OK && tr_core_see(core, i, &w); i++) {
        struct tr_journal_worker row = {.instance = w.instance,
                                        .role = tr_role_name(w.role),
                                        .slot = w.slot,
                                        .host = w.host,
                                        .isa = w.isa,
                                        .state = state_of(&w),
                                        .threads = w.threads,
                                        .answered = w.answered,
                                        .busy_seconds = w.busy_seconds,
                                        .joined = j->set.now() - (now - w.since)};
        st = tr_journal_worker(j, &row, err);
    }
    return st;
}

enum tr_status tr_journal_note_company(struct tr_journal *j, const struct tr_core *core,
                                       double now, struct tr_err *err)
{
    struct tr_core_counts n = tr_core_counts(core);
    const struct {
        const char *name;
        int64_t value;
    } row[] = {
        {"units", n.units},
        {"answered", n.answered},
        {"known", n.known},
        {"asked_again", n.reissued},
        {"asked_twice", n.asked_twice},
        {"second_answers", n.second_answers},
        {"differences", n.differences},
        {"refused", n.refused},
        {"unknown_fields", n.unknown_fields},
        {"replayed", n.replayed},
        {"joined", n.joins},
        {"left", n.losses},
        {"unsaid", n.unsaid},
    };
    enum tr_status st = note_workers(j, core, now, err);
    for (size_t i = 0; i < sizeof row / sizeof *row && st == TR_OK; i++)
        st = tr_journal_count(j, row[i].name, row[i].value, err);
    return st;
}

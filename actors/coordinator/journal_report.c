/* journal_report.c - what people ask, answered in JSON: by the coordinator while it runs, and
 * from the file when none does. */
#include <stdio.h>
#include <string.h>

#include "actors/coordinator/journal_parts.h"
#include "actors/coordinator/journal_pen.h"
#include "core/base/json.h"

enum { SLOTS = 64 };

/* ---- rows ---- */

/* Runs a bound statement, writing each row. */
typedef void row_writer(struct pen *p, sqlite3_stmt *q);

static void write_rows(struct tr_journal *j, struct pen *p, sqlite3_stmt *q, int bad,
                       row_writer *write)
{
    enum tr_status st = TR_OK;
    while (p->st == TR_OK && (st = tr_journal_row(j, q, bad, p->err)) == TR_OK)
        write(p, q);
    if (p->st == TR_OK && st != TR_AGAIN) p->st = st;
    tr_journal_reset(q);
}

static void list(struct tr_journal *j, struct pen *p, const char *key,
                 enum journal_sql id, row_writer *write)
{
    sqlite3_stmt *q = NULL;
    if (p->st == TR_OK) p->st = tr_journal_take(j, id, &q, p->err);
    tr_pen_open(p, key, '[');
    if (p->st == TR_OK) write_rows(j, p, q, 0, write);
    tr_pen_close(p, ']');
}

static void put_step(struct pen *p, const char *key, sqlite3_stmt *q, int at)
{
    if (sqlite3_column_type(q, at) == SQLITE_NULL)
        tr_pen_null(p, key);
    else
        tr_pen_int(p, key, sqlite3_column_int64(q, at));
}

static void put_digest(struct pen *p, const char *key, sqlite3_stmt *q, int at)
{
    struct tr_digest d;
    tr_journal_column_digest(q, at, &d);
    tr_pen_digest(p, key, &d);
}

static void put_column(struct pen *p, const char *key, sqlite3_stmt *q, int at)
{
    tr_pen_text(p, key, tr_journal_column_text(q, at));
}

static void put_real(struct pen *p, const char *key, sqlite3_stmt *q, int at)
{
    tr_pen_real(p, key, sqlite3_column_double(q, at));
}

/* ---- status ---- */

static void put_worker(struct pen *p, sqlite3_stmt *q)
{
    static const char *const name[] = {"instance", "role", "slot",
                                       "host",     "isa",  "state"};
    tr_pen_open(p, NULL, '{');
    for (int i = 0; i < 6; i++) put_column(p, name[i], q, i);
    tr_pen_int(p, "threads", sqlite3_column_int64(q, 6));
    tr_pen_int(p, "answered", sqlite3_column_int64(q, 7));
    put_real(p, "busy_seconds", q, 8);
    double life = sqlite3_column_double(q, 10) - sqlite3_column_double(q, 9);
    tr_pen_real(p, "busy_share", life > 0 ? sqlite3_column_double(q, 8) / life : 0);
    put_real(p, "joined", q, 9);
    put_real(p, "at", q, 10);
    tr_pen_close(p, '}');
}

static void put_counter(struct pen *p, sqlite3_stmt *q)
{
    tr_pen_int(p, tr_journal_column_text(q, 0), sqlite3_column_int64(q, 1));
}

static void put_snapshot(struct pen *p, sqlite3_stmt *q)
{
    tr_pen_open(p, NULL, '{');
    put_column(p, "role", q, 0);
    tr_pen_int(p, "step", sqlite3_column_int64(q, 1));
    put_digest(p, "lineage", q, 2);
    put_column(p, "folder", q, 3);
    put_real(p, "at", q, 4);
    tr_pen_close(p, '}');
}

static void put_swap(struct pen *p, sqlite3_stmt *q)
{
    tr_pen_open(p, NULL, '{');
    tr_pen_int(p, "id", sqlite3_column_int64(q, 0));
    put_column(p, "kind", q, 1);
    put_step(p, "at_step", q, 2);
    put_step(p, "applied_step", q, 3);
    put_real(p, "asked", q, 4);
    if (sqlite3_column_type(q, 5) == SQLITE_NULL)
        tr_pen_null(p, "applied");
    else
        put_real(p, "applied", q, 5);
    tr_pen_json(p, "slots", tr_journal_column_text(q, 6));
    tr_pen_close(p, '}');
}

static void put_event(struct pen *p, sqlite3_stmt *q)
{
    static const char *const name[] = {"role", "instance", "kind", "text"};
    tr_pen_open(p, NULL, '{');
    tr_pen_int(p, "id", sqlite3_column_int64(q, 0));
    put_real(p, "at", q, 1);
    for (int i = 0; i < 4; i++) put_column(p, name[i], q, 2 + i);
    tr_pen_close(p, '}');
}

static void put_learner(struct pen *p, const char *key,
                        const struct tr_journal_learner *l)
{
    tr_pen_open(p, key, '{');
    tr_pen_digest(p, "lineage", &l->lineage);
    tr_pen_digest(p, "weights", &l->weights);
    tr_pen_close(p, '}');
}

static void write_last(struct tr_journal *j, struct pen *p)
{
    struct tr_journal_step s;
    enum tr_status st = tr_journal_last(j, &s, p->err);
    if (st == TR_AGAIN) {
        tr_pen_null(p, "step");
        return;
    }
    if (st != TR_OK) {
        p->st = st;
        return;
    }
    tr_pen_int(p, "step", s.step);
    tr_pen_real(p, "committed", s.at);
    tr_pen_json(p, "metrics", s.metrics);
    put_learner(p, "policy", &s.policy);
    put_learner(p, "critic", &s.critic);
}

static void write_pace(struct tr_journal *j, struct pen *p)
{
    struct tr_journal_pace pace;
    if (p->st == TR_OK) p->st = tr_journal_pace(j, &pace, p->err);
    if (p->st != TR_OK || pace.seconds_per_step <= 0) return;
    tr_pen_real(p, "seconds_per_step", pace.seconds_per_step);
    tr_pen_real(p, "tokens_per_second", pace.tokens_per_second);
}

static void put_kept(struct pen *p, sqlite3_stmt *q)
{
    tr_pen_int(p, "kept_answers", sqlite3_column_int64(q, 0));
    tr_pen_int(p, "kept_learn_units", sqlite3_column_int64(q, 1));
    tr_pen_int(p, "rollouts", sqlite3_column_int64(q, 2));
}

static void write_plain(struct tr_journal *j, struct pen *p, enum journal_sql id,
                        row_writer *write)
{
    sqlite3_stmt *q = NULL;
    if (p->st == TR_OK) p->st = tr_journal_take(j, id, &q, p->err);
    if (p->st == TR_OK) write_rows(j, p, q, 0, write);
}

static void write_from(struct tr_journal *j, struct pen *p, const char *key,
                       enum journal_sql id, int64_t after, int64_t count,
                       row_writer *write)
{
    sqlite3_stmt *q = NULL;
    if (p->st == TR_OK) p->st = tr_journal_take(j, id, &q, p->err);
    tr_pen_open(p, key, '[');
    if (p->st == TR_OK) {
        int bad = sqlite3_bind_int64(q, 1, after);
        bad |= sqlite3_bind_int64(q, 2, count);
        write_rows(j, p, q, bad, write);
    }
    tr_pen_close(p, ']');
}

static void write_events(struct tr_journal *j, struct pen *p, int64_t count)
{
    sqlite3_stmt *q = NULL;
    if (p->st == TR_OK) p->st = tr_journal_take(j, SQL_SEE_EVENTS, &q, p->err);
    tr_pen_open(p, "events", '[');
    if (p->st == TR_OK) write_rows(j, p, q, sqlite3_bind_int64(q, 1, count), put_event);
    tr_pen_close(p, ']');
}

/* Journals that do not say are of PPO: no other stage had one. */
static const char *stage_of(const struct tr_journal *j)
{
    return j->meta.stage[0] ? j->meta.stage : "ppo";
}

static void write_status(struct tr_journal *j, struct pen *p)
{
    char seed[32];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)j->meta.seed);
    tr_pen_text(p, "run", j->meta.run);
    tr_pen_text(p, "stage", stage_of(j));
    tr_pen_text(p, "seed", seed);
    tr_pen_text(p, "version", j->meta.version);
    tr_pen_digest(p, "config", &j->meta.config);
    tr_pen_real(p, "created", j->meta.created);
    write_last(j, p);
    write_pace(j, p);
    write_plain(j, p, SQL_SEE_KEPT, put_kept);
    list(j, p, "workers", SQL_SEE_WORKERS, put_worker);
    tr_pen_open(p, "counters", '{');
    write_plain(j, p, SQL_SEE_COUNTERS, put_counter);
    tr_pen_close(p, '}');
    list(j, p, "snapshots", SQL_SEE_SNAPSHOTS, put_snapshot);
    write_from(j, p, "swaps", SQL_SEE_SWAPS, 0, 1000, put_swap);
    write_events(j, p, 20);
}

/* ---- steps and evaluations ---- */

static void write_steps(struct tr_journal *j, struct pen *p, int64_t after, int64_t count)
{
    struct tr_journal_step s = {.step = after};
    tr_pen_open(p, "steps", '[');
    for (int64_t i = 0; i < count && p->st == TR_OK; i++) {
        enum tr_status st = tr_journal_step_after(j, s.step, &s, p->err);
        if (st == TR_AGAIN) break;
        p->st = st;
        tr_pen_open(p, NULL, '{');
        tr_pen_int(p, "step", s.step);
        tr_pen_real(p, "at", s.at);
        if (st == TR_OK) tr_pen_json(p, "metrics", s.metrics);
        put_learner(p, "policy", &s.policy);
        put_learner(p, "critic", &s.critic);
        tr_pen_close(p, '}');
    }
    tr_pen_close(p, ']');
}

static void put_evaluation(struct tr_journal *j, struct pen *p, sqlite3_stmt *q)
{
    struct tr_digest stored;
    const char *metrics = tr_journal_column_text(q, 3);
    struct tr_digest seal = tr_journal_seal_evaluation(
        j->hash, sqlite3_column_int64(q, 0), sqlite3_column_double(q, 1),
        sqlite3_column_int64(q, 2), metrics);
    if (!tr_journal_column_digest(q, 4, &stored) || !tr_digest_equal(&seal, &stored)) {
        p->st = tr_journal_damaged(j, "an evaluation", p->err);
        return;
    }
    tr_pen_open(p, NULL, '{');
    tr_pen_int(p, "step", sqlite3_column_int64(q, 0));
    put_real(p, "at", q, 1);
    tr_pen_int(p, "rollouts", sqlite3_column_int64(q, 2));
    tr_pen_json(p, "metrics", metrics);
    tr_pen_close(p, '}');
}

static void write_evaluations(struct tr_journal *j, struct pen *p, int64_t after,
                              int64_t count)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = TR_OK;
    if (p->st == TR_OK) p->st = tr_journal_take(j, SQL_SEE_EVALUATIONS, &q, p->err);
    if (p->st != TR_OK) return;
    tr_pen_open(p, "evaluations", '[');
    int bad = sqlite3_bind_int64(q, 1, after);
    bad |= sqlite3_bind_int64(q, 2, count);
    while (p->st == TR_OK && (st = tr_journal_row(j, q, bad, p->err)) == TR_OK)
        put_evaluation(j, p, q);
    if (p->st == TR_OK && st != TR_AGAIN) p->st = st;
    tr_journal_reset(q);
    tr_pen_close(p, ']');
}

/* ---- rollouts ---- */

struct wanted { /* which of them */
    int64_t step, first, count;
    bool eval, numbers;
};

/* An array of 4-byte elements; NULL stays NULL. false: of another length. */
static bool take_array(sqlite3_stmt *q, int at, int64_t want, const void **out,
                       int64_t *n)
{
    int64_t size = sqlite3_column_bytes(q, at);
    *out = NULL;
    if (sqlite3_column_type(q, at) == SQLITE_NULL) return true;
    const void *blob = sqlite3_column_blob(q, at);
    if (size % 4 || (want >= 0 && size != 4 * want)) return false;
    *out = blob ? blob : "";
    if (n) *n = size / 4;
    return true;
}

static bool take_rollout(sqlite3_stmt *q, struct tr_journal_rollout *r)
{
    const void *at[5] = {NULL};
    int64_t n[2] = {0};
    *r = (struct tr_journal_rollout){.sample = sqlite3_column_int64(q, 0),
                                     .prompt = sqlite3_column_int64(q, 1),
                                     .score = sqlite3_column_double(q, 2),
                                     .kl = sqlite3_column_double(q, 3),
                                     .stopped = sqlite3_column_int64(q, 4) != 0};
    bool good = tr_journal_column_digest(q, 5, &r->policy);
    for (int i = 0; i < 5 && good; i++)
        good = take_array(q, 7 + i, i < 2 ? -1 : n[1], &at[i], i < 2 ? &n[i] : NULL);
    r->prompt_token = at[0];
    r->answer_token = at[1];
    r->logprob = at[2];
    r->ref_logprob = at[3];
    r->value = at[4];
    r->prompt_tokens = n[0];
    r->answer_tokens = n[1];
    return good && at[0] && at[1] && at[2];
}

/* The scores of one rollout; their names are borrowed until the next call. */
static enum tr_status take_scores(struct tr_journal *j, const struct wanted *w,
                                  struct tr_journal_rollout *r,
                                  struct tr_journal_score *score, struct tr_err *err)
{
    struct tr_buf *names = &j->text[0];
    size_t at[SLOTS] = {0};
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_SEE_SCORES, &q, err);
    if (st != TR_OK) return st;
    int bad = sqlite3_bind_int64(q, 1, w->step);
    bad |= sqlite3_bind_int64(q, 2, w->eval);
    bad |= sqlite3_bind_int64(q, 3, r->sample);
    tr_buf_clear(names);
    while (r->slots < SLOTS && (st = tr_journal_row(j, q, bad, err)) == TR_OK) {
        struct tr_journal_score *s = &score[r->slots];
        const char *name = tr_journal_column_text(q, 0);
        at[r->slots++] = names->size;
        *s = (struct tr_journal_score){.score = sqlite3_column_double(q, 1),
                                       .weight = sqlite3_column_double(q, 2)};
        if (!tr_journal_column_digest(q, 3, &s->digest))
            st = tr_journal_damaged(j, "a score", err);
        if (st == TR_OK) st = tr_buf_put(names, name, strlen(name) + 1, err);
        if (st != TR_OK) break;
    }
    tr_journal_reset(q);
    for (int64_t i = 0; i < r->slots; i++) score[i].slot = names->at + at[i];
    r->slot = score;
    return st == TR_AGAIN ? TR_OK : st;
}

static void put_ids(struct pen *p, const char *key, const int32_t *id, int64_t n)
{
    tr_pen_open(p, key, '[');
    for (int64_t i = 0; i < n && p->st == TR_OK; i++) tr_pen_int(p, NULL, id[i]);
    tr_pen_close(p, ']');
}

static void put_numbers(struct pen *p, const char *key, const float *x, int64_t n)
{
    if (!x) {
        tr_pen_null(p, key);
        return;
    }
    tr_pen_open(p, key, '[');
    for (int64_t i = 0; i < n && p->st == TR_OK; i++) tr_pen_real(p, NULL, (double)x[i]);
    tr_pen_close(p, ']');
}

static void put_scores(struct pen *p, const struct tr_journal_rollout *r)
{
    tr_pen_open(p, "scores", '[');
    for (int64_t i = 0; i < r->slots; i++) {
        tr_pen_open(p, NULL, '{');
        tr_pen_text(p, "slot", r->slot[i].slot);
        tr_pen_real(p, "score", r->slot[i].score);
        tr_pen_real(p, "weight", r->slot[i].weight);
        tr_pen_digest(p, "digest", &r->slot[i].digest);
        tr_pen_close(p, '}');
    }
    tr_pen_close(p, ']');
}

static void put_rollout(struct pen *p, const struct tr_journal_rollout *r, bool numbers)
{
    tr_pen_open(p, NULL, '{');
    tr_pen_int(p, "sample", r->sample);
    tr_pen_int(p, "prompt", r->prompt);
    tr_pen_real(p, "score", r->score);
    tr_pen_real(p, "kl", r->kl);
    tr_pen_bool(p, "stopped", r->stopped);
    tr_pen_digest(p, "policy", &r->policy);
    put_scores(p, r);
    put_ids(p, "prompt_ids", r->prompt_token, r->prompt_tokens);
    put_ids(p, "answer_ids", r->answer_token, r->answer_tokens);
    if (numbers) {
        put_numbers(p, "logprobs", r->logprob, r->answer_tokens);
        put_numbers(p, "ref_logprobs", r->ref_logprob, r->answer_tokens);
        put_numbers(p, "values", r->value, r->answer_tokens);
    }
    tr_pen_close(p, '}');
}

/* One row of rollouts with its scores, if its seal says that all is as it was written. */
static void write_rollout(struct tr_journal *j, struct pen *p, const struct wanted *w,
                          sqlite3_stmt *q)
{
    struct tr_journal_score score[SLOTS];
    struct tr_journal_rollout r;
    struct tr_digest stored = {{0}}, seal = {{0}};
    bool good = take_rollout(q, &r) && tr_journal_column_digest(q, 6, &stored);
    if (good) p->st = take_scores(j, w, &r, score, p->err);
    if (p->st != TR_OK) return;
    if (good) seal = tr_journal_seal_rollout(j->hash, w->step, w->eval, &r);
    if (good && tr_digest_equal(&seal, &stored))
        put_rollout(p, &r, w->numbers);
    else
        p->st = tr_journal_damaged(j, "a rollout", p->err);
}

/* How many there were, if the step was committed, and whether they are still there. */
static void check_count(struct tr_journal *j, struct pen *p, const struct wanted *w)
{
    sqlite3_stmt *q = NULL;
    if (p->st == TR_OK) p->st = tr_journal_take(j, SQL_SEE_ROLLOUT_COUNT, &q, p->err);
    if (p->st != TR_OK) return;
    int bad = sqlite3_bind_int64(q, 1, w->step);
    bad |= sqlite3_bind_int64(q, 2, w->eval);
    p->st = tr_journal_row(j, q, bad, p->err);
    bool there = p->st == TR_OK && sqlite3_column_type(q, 0) != SQLITE_NULL;
    int64_t want = sqlite3_column_int64(q, 0), found = sqlite3_column_int64(q, 1);
    tr_journal_reset(q);
    if (p->st != TR_OK) return;
    if (!there)
        p->st =
            tr_err_set(p->err, TR_BADARG, "%s: there is no %s %lld", j->path,
                       w->eval ? "evaluation after step" : "step", (long long)w->step);
    else if (want != found)
        p->st = tr_journal_damaged(j, "a step's rollouts", p->err);
    tr_pen_int(p, "of", want);
}

static void write_rollouts(struct tr_journal *j, struct pen *p, const struct wanted *w)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = TR_OK;
    tr_pen_int(p, "step", w->step);
    tr_pen_bool(p, "eval", w->eval);
    check_count(j, p, w);
    if (p->st == TR_OK) p->st = tr_journal_take(j, SQL_SEE_ROLLOUTS, &q, p->err);
    if (p->st != TR_OK) return;
    tr_pen_open(p, "rollouts", '[');
    int bad = sqlite3_bind_int64(q, 1, w->step);
    bad |= sqlite3_bind_int64(q, 2, w->eval);
    bad |= sqlite3_bind_int64(q, 3, w->first);
    bad |= sqlite3_bind_int64(q, 4, w->count);
    while (p->st == TR_OK && (st = tr_journal_row(j, q, bad, p->err)) == TR_OK)
        write_rollout(j, p, w, q);
    if (p->st == TR_OK && st != TR_AGAIN) p->st = st;
    tr_journal_reset(q);
    tr_pen_close(p, ']');
}

/* ---- which ---- */

static enum tr_status last_with_rollouts(struct tr_journal *j, bool eval, int64_t *step,
                                         struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_SEE_LAST_ROLLOUT, &q, err);
    if (st != TR_OK) return st;
    st = tr_journal_row(j, q, sqlite3_bind_int(q, 1, eval), err);
    if (st == TR_OK && sqlite3_column_type(q, 0) == SQLITE_NULL)
        st = tr_err_set(err, TR_BADARG, "%s: there are no rollouts yet", j->path);
    *step = sqlite3_column_int64(q, 0);
    tr_journal_reset(q);
    return st;
}

static enum tr_status report_rollouts(struct tr_journal *j, const json_t *a,
                                      struct pen *p)
{
    static const char where[] = "rollouts";
    struct wanted w = {0};
    if (strcmp(stage_of(j), "ppo") != 0)
        return p->st = tr_err_set(p->err, TR_BADARG,
                                  "%s: stage %s makes no answers, so it has no rollouts",
                                  j->path, stage_of(j));
    enum tr_status st =
        tr_json_int_or(a, "step", where, 0, INT64_MAX, -1, &w.step, p->err);
    if (st == TR_OK) st = tr_json_bool_or(a, "eval", where, false, &w.eval, p->err);
    if (st == TR_OK) st = tr_json_bool_or(a, "numbers", where, false, &w.numbers, p->err);
    if (st == TR_OK)
        st = tr_json_int_or(a, "first", where, 0, INT64_MAX, 0, &w.first, p->err);
    if (st == TR_OK)
        st = tr_json_int_or(a, "count", where, 1, 1 << 20, 1000, &w.count, p->err);
    if (st == TR_OK && w.step < 0) st = last_with_rollouts(j, w.eval, &w.step, p->err);
    p->st = st;
    if (st == TR_OK) write_rollouts(j, p, &w);
    return p->st;
}

static enum tr_status report_copy(struct tr_journal *j, const json_t *a, struct pen *p)
{
    const char *to = NULL;
    p->st = tr_json_string(a, "to", "snapshot-db", &to, p->err);
    if (p->st == TR_OK)
        p->st = j->reader ? tr_journal_copy(j, to, p->err)
                          : tr_journal_copy_some(j, to, p->err);
    if (p->st == TR_OK) tr_pen_text(p, "to", to);
    return p->st;
}

/* after, count: where a list begins and how long it may be. */
static enum tr_status report_list(struct tr_journal *j, const char *what, const json_t *a,
                                  struct pen *p)
{
    int64_t after = 0, count = 0;
    bool swaps = !strcmp(what, "swaps"), events = !strcmp(what, "events");
    p->st =
        tr_json_int_or(a, "after", what, -1, INT64_MAX, swaps ? 0 : -1, &after, p->err);
    if (p->st == TR_OK)
        p->st = tr_json_int_or(a, "count", what, 1, 1 << 20, events ? 100 : 1000, &count,
                               p->err);
    if (p->st != TR_OK) return p->st;
    if (swaps)
        write_from(j, p, what, SQL_SEE_SWAPS, after, count, put_swap);
    else if (events)
        write_events(j, p, count);
    else if (!strcmp(what, "steps"))
        write_steps(j, p, after, count);
    else if (!strcmp(what, "evaluations"))
        write_evaluations(j, p, after, count);
    else
        p->st = tr_err_set(p->err, TR_BADARG,
                           "%s: no such question; there are status, steps, evaluations,"
                           " rollouts, events, swaps and snapshot-db",
                           what);
    return p->st;
}

enum tr_status tr_journal_report(struct tr_journal *j, const char *what,
                                 const char *argument, struct tr_buf *out,
                                 struct tr_err *err)
{
    json_t *a = NULL;
    struct pen p = {.to = out, .err = err};
    const char *text = argument[0] ? argument : "{}";
    enum tr_status st = tr_json_parse(text, strlen(text), what, &a, err);
    if (st == TR_OK && !json_is_object(a))
        st = tr_err_set(err, TR_BADARG, "%s: expected an object, found %s", what,
                        tr_json_kind(a));
    if (st == TR_OK) {
        tr_pen_open(&p, NULL, '{');
        if (!strcmp(what, "status"))
            write_status(j, &p);
        else if (!strcmp(what, "rollouts"))
            report_rollouts(j, a, &p);
        else if (!strcmp(what, "snapshot-db"))
            report_copy(j, a, &p);
        else
            report_list(j, what, a, &p);
        tr_pen_close(&p, '}');
        st = p.st;
    }
    json_decref(a);
    return st;
}

/* journal_steps.c - committed steps, evaluations, and the rollouts of both. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "actors/coordinator/journal_parts.h"
#include "actors/coordinator/plan_ppo.h"
#include "core/base/json.h"

enum { TOKENS = 1 << 26, ROLLOUTS = 1 << 20, SLOTS = 64, SLOT_TEXT = TR_SLOT_BYTES };

/* ---- seals ---- */

void tr_journal_seal_real(struct tr_hash *h, double x)
{
    uint64_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    tr_hash_put_u64(h, bits);
}

void tr_journal_seal_bytes(struct tr_hash *h, const void *at, size_t size)
{
    tr_hash_put_u64(h, size);
    if (size > 0) tr_hash_put(h, at, size);
}

static void seal_text(struct tr_hash *h, const char *text)
{
    tr_journal_seal_bytes(h, text, strlen(text));
}

static void seal_digest(struct tr_hash *h, const struct tr_digest *d)
{
    tr_hash_put(h, d->byte, sizeof d->byte);
}

struct tr_digest tr_journal_seal_step(struct tr_hash *h, const struct tr_journal_step *s,
                                      int64_t rollouts)
{
    tr_hash_put_u64(h, (uint64_t)s->step);
    tr_journal_seal_real(h, s->at);
    tr_hash_put_u64(h, (uint64_t)rollouts);
    seal_text(h, s->state);
    seal_text(h, s->metrics);
    seal_digest(h, &s->policy.lineage);
    seal_digest(h, &s->policy.weights);
    seal_digest(h, &s->critic.lineage);
    seal_digest(h, &s->critic.weights);
    return tr_hash_end(h);
}

struct tr_digest tr_journal_seal_evaluation(struct tr_hash *h, int64_t step, double at,
                                            int64_t rollouts, const char *metrics)
{
    tr_hash_put_u64(h, (uint64_t)step);
    tr_journal_seal_real(h, at);
    tr_hash_put_u64(h, (uint64_t)rollouts);
    seal_text(h, metrics);
    return tr_hash_end(h);
}

/* An array that is not there is sealed as an empty one. */
static size_t bytes_of(const void *at, int64_t n)
{
    return at ? (size_t)n * sizeof(float) : 0;
}

struct tr_digest tr_journal_seal_rollout(struct tr_hash *h, int64_t step, bool eval,
                                         const struct tr_journal_rollout *r)
{
    int64_t T = r->answer_tokens;
    tr_hash_put_u64(h, (uint64_t)step);
    tr_hash_put_u64(h, eval);
    tr_hash_put_u64(h, (uint64_t)r->sample);
    tr_hash_put_u64(h, (uint64_t)r->prompt);
    tr_journal_seal_real(h, r->score);
    tr_journal_seal_real(h, r->kl);
    tr_hash_put_u64(h, r->stopped);
    seal_digest(h, &r->policy);
    tr_journal_seal_bytes(h, r->prompt_token,
                          bytes_of(r->prompt_token, r->prompt_tokens));
    tr_journal_seal_bytes(h, r->answer_token, bytes_of(r->answer_token, T));
    tr_journal_seal_bytes(h, r->logprob, bytes_of(r->logprob, T));
    tr_journal_seal_bytes(h, r->ref_logprob, bytes_of(r->ref_logprob, T));
    tr_journal_seal_bytes(h, r->value, bytes_of(r->value, T));
    for (int64_t i = 0; i < r->slots; i++) {
        seal_text(h, r->slot[i].slot);
        tr_journal_seal_real(h, r->slot[i].score);
        tr_journal_seal_real(h, r->slot[i].weight);
        seal_digest(h, &r->slot[i].digest);
    }
    return tr_hash_end(h);
}

/* ---- what may be committed ---- */

static enum tr_status check_text(struct tr_journal *j, const char *name, const char *text,
                                 struct tr_err *err)
{
    json_t *value = NULL;
    size_t size = strlen(text);
    if (size > TR_JOURNAL_TEXT)
        return tr_err_set(err, TR_BADARG, "%s: %s: %zu bytes, at most %d", j->path, name,
                          size, TR_JOURNAL_TEXT);
    enum tr_status st = tr_json_parse(text, size, name, &value, err);
    json_decref(value);
    return st;
}

static enum tr_status check_rollout(struct tr_journal *j,
                                    const struct tr_journal_rollout *r,
                                    struct tr_err *err)
{
    bool good = r->sample >= 0 && r->prompt_tokens >= 0 && r->prompt_tokens <= TOKENS &&
                r->answer_tokens >= 0 && r->answer_tokens <= TOKENS && r->slots >= 0 &&
                r->slots <= SLOTS;
    bool finite = isfinite(r->score) && isfinite(r->kl);
    for (int64_t i = 0; i < r->slots && good; i++) {
        good = strlen(r->slot[i].slot) < SLOT_TEXT;
        finite = finite && isfinite(r->slot[i].score) && isfinite(r->slot[i].weight);
    }
    if (!good)
        return tr_err_set(err, TR_BADARG, "%s: rollout %lld is out of bounds", j->path,
                          (long long)r->sample);
    if (!finite)
        return tr_err_set(err, TR_NOTNUM, "%s: rollout %lld has a NaN or an Inf", j->path,
                          (long long)r->sample);
    return TR_OK;
}

static enum tr_status check_rollouts(struct tr_journal *j,
                                     const struct tr_journal_rollout *rollout, int64_t n,
                                     struct tr_err *err)
{
    if (n < 0 || n > ROLLOUTS)
        return tr_err_set(err, TR_BADARG, "%s: %lld rollouts in a step", j->path,
                          (long long)n);
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < n && st == TR_OK; i++)
        st = check_rollout(j, &rollout[i], err);
    return st;
}

static enum tr_status check_step(struct tr_journal *j, const struct tr_journal_step *s,
                                 struct tr_err *err)
{
    if (s->step < 0 || (j->stepped && s->step != j->last_step + 1))
        return tr_err_set(err, TR_BADARG, "%s: step %lld cannot follow step %lld",
                          j->path, (long long)s->step,
                          (long long)(j->stepped ? j->last_step : -1));
    enum tr_status st = check_text(j, "state", s->state, err);
    return st == TR_OK ? check_text(j, "metrics", s->metrics, err) : st;
}

/* ---- commit ---- */

static enum tr_status put_step(struct tr_journal *j, const struct tr_journal_step *s,
                               int64_t rollouts, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_STEP, &q, err);
    if (st != TR_OK) return st;
    struct tr_digest seal = tr_journal_seal_step(j->hash, s, rollouts);
    int bad = sqlite3_bind_int64(q, 1, s->step);
    bad |= sqlite3_bind_double(q, 2, s->at);
    bad |= sqlite3_bind_int64(q, 3, rollouts);
    bad |= tr_journal_bind_text(q, 4, s->state);
    bad |= tr_journal_bind_text(q, 5, s->metrics);
    bad |= tr_journal_bind_digest(q, 6, &s->policy.lineage);
    bad |= tr_journal_bind_digest(q, 7, &s->policy.weights);
    bad |= tr_journal_bind_digest(q, 8, &s->critic.lineage);
    bad |= tr_journal_bind_digest(q, 9, &s->critic.weights);
    bad |= tr_journal_bind_digest(q, 10, &seal);
    return tr_journal_run(j, q, bad, err);
}

/* NULL: there is none. An empty array is a blob of no bytes. */
static int bind_array(sqlite3_stmt *q, int at, const void *array, int64_t n)
{
    if (!array && n > 0) return sqlite3_bind_null(q, at);
    return sqlite3_bind_blob64(q, at, array ? array : "", bytes_of(array, n),
                               SQLITE_STATIC);
}

static enum tr_status put_scores(struct tr_journal *j, int64_t step, bool eval,
                                 const struct tr_journal_rollout *r, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_SCORE, &q, err);
    for (int64_t i = 0; i < r->slots && st == TR_OK; i++) {
        int bad = sqlite3_bind_int64(q, 1, step);
        bad |= sqlite3_bind_int64(q, 2, eval);
        bad |= sqlite3_bind_int64(q, 3, r->sample);
        bad |= sqlite3_bind_int64(q, 4, i);
        bad |= tr_journal_bind_text(q, 5, r->slot[i].slot);
        bad |= sqlite3_bind_double(q, 6, r->slot[i].score);
        bad |= sqlite3_bind_double(q, 7, r->slot[i].weight);
        bad |= tr_journal_bind_digest(q, 8, &r->slot[i].digest);
        st = tr_journal_run(j, q, bad, err);
    }
    return st;
}

static enum tr_status put_rollout(struct tr_journal *j, int64_t step, bool eval,
                                  const struct tr_journal_rollout *r, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_ROLLOUT, &q, err);
    if (st != TR_OK) return st;
    struct tr_digest seal = tr_journal_seal_rollout(j->hash, step, eval, r);
    int bad = sqlite3_bind_int64(q, 1, step);
    bad |= sqlite3_bind_int64(q, 2, eval);
    bad |= sqlite3_bind_int64(q, 3, r->sample);
    bad |= sqlite3_bind_int64(q, 4, r->prompt);
    bad |= sqlite3_bind_double(q, 5, r->score);
    bad |= sqlite3_bind_double(q, 6, r->kl);
    bad |= sqlite3_bind_int64(q, 7, r->stopped);
    bad |= tr_journal_bind_digest(q, 8, &r->policy);
    bad |= tr_journal_bind_digest(q, 9, &seal);
    bad |= bind_array(q, 10, r->prompt_token, r->prompt_tokens);
    bad |= bind_array(q, 11, r->answer_token, r->answer_tokens);
    bad |= bind_array(q, 12, r->logprob, r->answer_tokens);
    bad |= bind_array(q, 13, r->ref_logprob, r->answer_tokens);
    bad |= bind_array(q, 14, r->value, r->answer_tokens);
    st = tr_journal_run(j, q, bad, err);
    return st == TR_OK ? put_scores(j, step, eval, r, err) : st;
}

static enum tr_status put_rollouts(struct tr_journal *j, int64_t step, bool eval,
                                   const struct tr_journal_rollout *r, int64_t n,
                                   struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < n && st == TR_OK; i++)
        st = put_rollout(j, step, eval, &r[i], err);
    return st;
}

static enum tr_status run_for(struct tr_journal *j, enum journal_sql id, int64_t step,
                              struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, id, &q, err);
    return st == TR_OK ? tr_journal_run(j, q, sqlite3_bind_int64(q, 1, step), err) : st;
}

enum tr_status tr_journal_commit(struct tr_journal *j, const struct tr_journal_step *step,
                                 const struct tr_journal_rollout *rollout, int64_t n,
                                 struct tr_err *err)
{
    struct tr_journal_step s = *step;
    s.at = j->set.now();
    enum tr_status st = tr_journal_whole(j, err);
    if (st == TR_OK) st = check_step(j, &s, err);
    if (st == TR_OK) st = check_rollouts(j, rollout, n, err);
    if (st == TR_OK) st = tr_journal_begin(j, err);
    if (st == TR_OK) st = put_step(j, &s, n, err);
    if (st == TR_OK) st = put_rollouts(j, s.step, false, rollout, n, err);
    if (st == TR_OK) st = run_for(j, SQL_FORGET, s.step, err);
    if (st == TR_OK) st = tr_journal_flush(j, err);
    if (st != TR_OK) return st;
    j->stepped = true;
    j->last_step = s.step;
    return TR_OK;
}

/* ---- once more from a step ---- */

enum tr_status tr_journal_go_back(struct tr_journal *j, int64_t step, struct tr_err *err)
{
    static const enum journal_sql later[] = {SQL_BACK_STEPS, SQL_BACK_EVALUATIONS,
                                             SQL_BACK_ROLLOUTS, SQL_BACK_SCORES,
                                             SQL_BACK_SNAPSHOTS};
    struct tr_journal_step s;
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_step_after(j, step - 1, &s, err);
    bool there = st == TR_OK && s.step == step;
    if (st != TR_OK && st != TR_AGAIN) return st;
    st = tr_journal_begin(j, err);
    for (size_t i = 0; i < sizeof later / sizeof *later && st == TR_OK; i++)
        st = run_for(j, later[i], there ? step : -1, err);
    if (st == TR_OK) st = tr_journal_take(j, SQL_BACK_LEARN, &q, err);
    if (st == TR_OK) st = tr_journal_run(j, q, 0, err);
    if (st == TR_OK) st = tr_journal_flush(j, err);
    if (st != TR_OK) return st;
    j->stepped = there;
    j->last_step = step;
    return TR_OK;
}

/* ---- evaluations ---- */

static enum tr_status put_evaluation(struct tr_journal *j, int64_t step,
                                     const char *metrics, int64_t rollouts,
                                     struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    double at = j->set.now();
    enum tr_status st = tr_journal_take(j, SQL_EVALUATION, &q, err);
    if (st != TR_OK) return st;
    struct tr_digest seal =
        tr_journal_seal_evaluation(j->hash, step, at, rollouts, metrics);
    int bad = sqlite3_bind_int64(q, 1, step);
    bad |= sqlite3_bind_double(q, 2, at);
    bad |= sqlite3_bind_int64(q, 3, rollouts);
    bad |= tr_journal_bind_text(q, 4, metrics);
    bad |= tr_journal_bind_digest(q, 5, &seal);
    return tr_journal_run(j, q, bad, err);
}

enum tr_status tr_journal_evaluate(struct tr_journal *j, int64_t step,
                                   const char *metrics,
                                   const struct tr_journal_rollout *rollout, int64_t n,
                                   struct tr_err *err)
{
    enum tr_status st = check_text(j, "metrics", metrics, err);
    if (st == TR_OK) st = check_rollouts(j, rollout, n, err);
    if (st == TR_OK) st = tr_journal_begin(j, err);
    if (st == TR_OK) st = run_for(j, SQL_EVAL_ROLLOUTS, step, err);
    if (st == TR_OK) st = run_for(j, SQL_EVAL_SCORES, step, err);
    if (st == TR_OK) st = put_evaluation(j, step, metrics, n, err);
    return st == TR_OK ? put_rollouts(j, step, true, rollout, n, err) : st;
}

/* ---- reading ---- */

/* The row's texts are copied, so that they outlive it. */
static enum tr_status take_texts(struct tr_journal *j, sqlite3_stmt *q,
                                 struct tr_journal_step *out, struct tr_err *err)
{
    for (int i = 0; i < 2; i++) {
        tr_buf_clear(&j->text[i]);
        enum tr_status st =
            tr_buf_puts(&j->text[i], tr_journal_column_text(q, 3 + i), err);
        if (st != TR_OK) return tr_err_wrap(err, st, "%s", j->path);
    }
    out->state = tr_buf_text(&j->text[0]);
    out->metrics = tr_buf_text(&j->text[1]);
    return TR_OK;
}

enum tr_status tr_journal_take_step(struct tr_journal *j, sqlite3_stmt *q,
                                    struct tr_journal_step *out, struct tr_err *err)
{
    struct tr_digest stored, seal;
    *out = (struct tr_journal_step){.step = sqlite3_column_int64(q, 0),
                                    .at = sqlite3_column_double(q, 1)};
    enum tr_status st = take_texts(j, q, out, err);
    if (st != TR_OK) return st;
    bool good = tr_journal_column_digest(q, 5, &out->policy.lineage) &&
                tr_journal_column_digest(q, 6, &out->policy.weights) &&
                tr_journal_column_digest(q, 7, &out->critic.lineage) &&
                tr_journal_column_digest(q, 8, &out->critic.weights) &&
                tr_journal_column_digest(q, 9, &stored);
    seal = tr_journal_seal_step(j->hash, out, sqlite3_column_int64(q, 2));
    if (good && tr_digest_equal(&seal, &stored)) return TR_OK;
    return tr_journal_damaged(j, "a step", err);
}

enum tr_status tr_journal_last(struct tr_journal *j, struct tr_journal_step *out,
                               struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_STEP_LAST, &q, err);
    if (st != TR_OK) return st;
    st = tr_journal_row(j, q, 0, err);
    if (st == TR_OK) st = tr_journal_take_step(j, q, out, err);
    tr_journal_reset(q);
    return st;
}

enum tr_status tr_journal_step_after(struct tr_journal *j, int64_t step,
                                     struct tr_journal_step *out, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_STEP_AFTER, &q, err);
    if (st != TR_OK) return st;
    st = tr_journal_row(j, q, sqlite3_bind_int64(q, 1, step), err);
    if (st == TR_OK) st = tr_journal_take_step(j, q, out, err);
    tr_journal_reset(q);
    return st;
}

enum tr_status tr_journal_pace(struct tr_journal *j, struct tr_journal_pace *out,
                               struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    *out = (struct tr_journal_pace){0};
    enum tr_status st = tr_journal_take(j, SQL_SEE_PACE, &q, err);
    if (st == TR_OK) st = tr_journal_row(j, q, 0, err);
    if (st != TR_OK) return st;
    int64_t n = sqlite3_column_int64(q, 0), first = sqlite3_column_int64(q, 2);
    double seconds = sqlite3_column_double(q, 1);
    tr_journal_reset(q);
    if (n < 2 || seconds <= 0) return TR_OK;
    st = tr_journal_take(j, SQL_SEE_TOKENS, &q, err);
    if (st == TR_OK) st = tr_journal_row(j, q, sqlite3_bind_int64(q, 1, first), err);
    if (st != TR_OK) return st;
    out->seconds_per_step = seconds / (double)(n - 1);
    out->tokens_per_second = sqlite3_column_double(q, 0) / seconds;
    tr_journal_reset(q);
    return TR_OK;
}

/* ---- from a plan ---- */

void tr_journal_take_rollout(const struct tr_ppo_report *r, int64_t i,
                             struct tr_journal_score *score,
                             struct tr_journal_rollout *out)
{
    const struct tr_ppo_sample *s = &r->sample[i];
    *out = (struct tr_journal_rollout){
        .sample = i,
        .prompt = s->prompt,
        .prompt_token = s->token,
        .prompt_tokens = s->from,
        .answer_token = s->token + s->from,
        .answer_tokens = s->T - s->from,
        .logprob = s->logp,
        .ref_logprob = s->ref,
        .value = s->value,
        .score = s->score,
        .stopped = s->stopped,
        .policy = r->generated,
        .slot = score,
        .slots = r->rewards->n,
    };
    for (int64_t t = 0; t < s->T - s->from; t++) out->kl += (double)s->kl[t];
    for (int64_t k = 0; k < r->rewards->n; k++)
        score[k] = (struct tr_journal_score){
            .slot = r->rewards->slot[k].name,
            .score = (double)r->score[i * TR_REWARDS_MAX + k],
            .weight = r->rewards->slot[k].weight,
            .digest = r->rewards->slot[k].digest,
        };
}

#include "actors/evaluator.h"

#include <math.h>
#include <stdlib.h>

#include "core/learn/kl.h"
#include "core/model/head.h"
#include "kernels/softmax.h"

struct tr_evaluator {
    const struct tr_exec *ex;   /* borrows */
    const struct tr_weights *w; /* borrows */
    int64_t max_tokens;
    struct tr_trunk *trunk; /* owns */
    struct tr_head *head;   /* owns */
    int64_t *start;         /* [max_tokens + 1] */
    int64_t *row;           /* [max_tokens] */
    int32_t *target;        /* [max_tokens] */
};

void tr_evaluator_destroy(struct tr_evaluator *e)
{
    if (!e) return;
    tr_trunk_destroy(e->trunk);
    tr_head_destroy(e->head);
    free(e->start);
    free(e->row);
    free(e->target);
    free(e);
}

size_t tr_evaluator_bytes(const struct tr_params *params, bool bf16, int64_t max_tokens)
{
    const struct tr_arch *a = tr_params_arch(params);
    struct tr_trunk_size size = {.max_tokens = max_tokens, .max_sequences = max_tokens};
    return tr_weights_bytes(params, bf16) + tr_trunk_bytes(a, &size) +
           tr_head_bytes(a, max_tokens);
}

enum tr_status tr_evaluator_create(const struct tr_exec *ex, const struct tr_weights *w,
                                   int64_t max_tokens, struct tr_evaluator **out,
                                   struct tr_err *err)
{
    const struct tr_arch *a = tr_params_arch(tr_weights_params(w));
    struct tr_trunk_size size = {.max_tokens = max_tokens, .max_sequences = max_tokens};
    enum tr_status st = TR_OK;
    struct tr_evaluator *e = calloc(1, sizeof *e);
    *out = NULL;
    if (!e) return tr_err_set(err, TR_NOMEM, "an evaluator");
    e->ex = ex;
    e->w = w;
    e->max_tokens = max_tokens;
    e->start = calloc((size_t)max_tokens + 1, sizeof *e->start);
    e->row = calloc((size_t)max_tokens, sizeof *e->row);
    e->target = calloc((size_t)max_tokens, sizeof *e->target);
    if (!e->start || !e->row || !e->target)
        st = tr_err_set(err, TR_NOMEM, "an evaluator of %lld tokens",
                        (long long)max_tokens);
    if (st == TR_OK) st = tr_trunk_create(a, &size, &e->trunk, err);
    if (st == TR_OK) st = tr_head_create(a, max_tokens, &e->head, err);
    if (st != TR_OK) {
        tr_evaluator_destroy(e);
        return st;
    }
    *out = e;
    return TR_OK;
}

/* Rows of the hidden states that answer sequences s0 .. s1-1, whose tokens begin at start[s0]. */
static int64_t list_rows(struct tr_evaluator *e, enum tr_unit_kind kind,
                         const struct tr_ask_judge *ask, int64_t s0, int64_t s1)
{
    const int64_t *start = ask->start.at, *from = ask->from.at;
    const int32_t *token = ask->token.at;
    int64_t n = 0;
    for (int64_t s = s0; s < s1; s++) {
        int64_t last = start[s + 1] - 1;
        if (kind == TR_UNIT_SCORE) {
            e->row[n++] = last - start[s0];
            continue;
        }
        for (int64_t i = start[s] + from[s]; i <= last; i++) {
            e->row[n] = i - 1 - start[s0];
            e->target[n++] = token[i];
        }
    }
    return n;
}

/* Hidden states of sequences s0 .. s1-1. */
static enum tr_status forward(struct tr_evaluator *e, const struct tr_ask_judge *ask,
                              int64_t s0, int64_t s1, const float **hidden,
                              struct tr_err *err)
{
    const int64_t *start = ask->start.at;
    for (int64_t s = s0; s <= s1; s++) e->start[s - s0] = start[s] - start[s0];
    struct tr_batch b = {.T = start[s1] - start[s0],
                         .S = s1 - s0,
                         .token = (const int32_t *)ask->token.at + start[s0],
                         .start = e->start};
    return tr_trunk_forward(e->trunk, e->ex, e->w, &b, NULL, NULL, hidden, err);
}

static enum tr_status check_finite(enum tr_unit_kind kind, const float *number, int64_t n,
                                   struct tr_err *err)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(number[i]))
            return tr_err_set(err, TR_NOTNUM, "%s: a number is not finite",
                              tr_unit_kind_name(kind));
    return TR_OK;
}

static enum tr_status judge_some(struct tr_evaluator *e, enum tr_unit_kind kind,
                                 const struct tr_ask_judge *ask, int64_t s0, int64_t s1,
                                 float *number, int64_t *n, struct tr_err *err)
{
    const float *hidden = NULL;
    enum tr_status st = forward(e, ask, s0, s1, &hidden, err);
    if (st != TR_OK) return st;
    *n = list_rows(e, kind, ask, s0, s1);
    struct tr_head_rows rows = {.n = *n, .row = e->row, .target = e->target};
    if (kind == TR_UNIT_LOGPROB)
        tr_head_logprob(e->head, e->ex, e->w, hidden, &rows, number, NULL);
    else
        tr_value_forward(e->ex, e->w, hidden, e->row, *n, number);
    return check_finite(kind, number, *n, err);
}

/* As many whole sequences from s0 on as fit: the end of them. */
static enum tr_status cut(const struct tr_ask_judge *ask, int64_t s0, int64_t max_tokens,
                          int64_t *s1, struct tr_err *err)
{
    const int64_t *start = ask->start.at;
    int64_t S = ask->from.count;
    *s1 = s0;
    while (*s1 < S && start[*s1 + 1] - start[s0] <= max_tokens) ++*s1;
    if (*s1 > s0) return TR_OK;
    return tr_err_set(err, TR_BADARG, "a sequence of %lld tokens; there is room for %lld",
                      (long long)(start[s0 + 1] - start[s0]), (long long)max_tokens);
}

enum tr_status tr_evaluator_judge(struct tr_evaluator *e, enum tr_unit_kind kind,
                                  const struct tr_ask_judge *ask, float *number,
                                  struct tr_err *err)
{
    for (int64_t s0 = 0, s1 = 0; s0 < ask->from.count; s0 = s1) {
        int64_t n = 0;
        enum tr_status st = cut(ask, s0, e->max_tokens, &s1, err);
        if (st == TR_OK) st = judge_some(e, kind, ask, s0, s1, number, &n, err);
        if (st != TR_OK) return st;
        number += n;
    }
    return TR_OK;
}

/* ---- how far two models are apart ---- */

enum { ROWS_BYTES = 8 << 20 }; /* of the vocabulary, for each of the two */

struct apart {
    struct tr_evaluator *of[2]; /* policy, reference */
    const float *hidden[2];
    int64_t V, block; /* rows that are looked at together */
    float *z[2];      /* [block, V]; z[0] owns both: logits, then log-probs */
    float *lse;       /* owns; [block] */
    float *number;    /* of the block in hand */
};

static void row_apart(void *ctx, int64_t i, void *scratch)
{
    struct apart *p = ctx;
    float *logp = p->z[0] + i * p->V, *ref = p->z[1] + i * p->V;
    (void)scratch;
    p->number[i] = (float)tr_kl_full(logp, ref, p->V);
}

/* Rows row[0] .. row[k-1] of both models' hidden states, into p->number. */
static void block_apart(struct apart *p, const int64_t *row, const int32_t *target,
                        int64_t k)
{
    for (int m = 0; m < 2; m++) {
        struct tr_evaluator *e = p->of[m];
        tr_head_logits(e->head, e->ex, e->w, p->hidden[m], row, k, p->z[m]);
        tr_logprob(e->ex, p->z[m], k, p->V, target, NULL, p->lse, NULL);
        for (int64_t i = 0; i < k; i++)
            for (int64_t v = 0; v < p->V; v++) p->z[m][i * p->V + v] -= p->lse[i];
    }
    tr_team_run(p->of[0]->ex->team, k, row_apart, p);
}

static enum tr_status open_apart(struct apart *p, struct tr_err *err)
{
    int64_t V[2];
    for (int m = 0; m < 2; m++) V[m] = tr_params_arch(tr_weights_params(p->of[m]->w))->V;
    if (V[0] != V[1])
        return tr_err_set(err, TR_BADARG,
                          "divergence: vocabularies of %lld and %lld tokens",
                          (long long)V[0], (long long)V[1]);
    int64_t most = p->of[0]->max_tokens;
    p->V = V[0];
    p->block = ROWS_BYTES / (p->V * (int64_t)sizeof(float)) + 1;
    if (p->block > most) p->block = most;
    p->z[0] = malloc((size_t)(2 * p->block * p->V) * sizeof(float));
    p->lse = malloc((size_t)p->block * sizeof(float));
    if (!p->z[0] || !p->lse)
        return tr_err_set(err, TR_NOMEM, "two blocks of %lld rows of %lld",
                          (long long)p->block, (long long)p->V);
    p->z[1] = p->z[0] + p->block * p->V;
    return TR_OK;
}

enum tr_status tr_evaluator_diverge(struct tr_evaluator *policy,
                                    struct tr_evaluator *reference,
                                    const struct tr_ask_judge *ask, float *number,
                                    struct tr_err *err)
{
    struct apart p = {.of = {policy, reference}};
    int64_t most = policy->max_tokens < reference->max_tokens ? policy->max_tokens
                                                              : reference->max_tokens;
    enum tr_status st = open_apart(&p, err);
    p.number = number;
    for (int64_t s0 = 0, s1 = 0; s0 < ask->from.count && st == TR_OK; s0 = s1) {
        st = cut(ask, s0, most, &s1, err);
        for (int m = 0; m < 2 && st == TR_OK; m++)
            st = forward(p.of[m], ask, s0, s1, &p.hidden[m], err);
        if (st != TR_OK) break;
        int64_t n = list_rows(policy, TR_UNIT_DIVERGENCE, ask, s0, s1);
        for (int64_t i = 0, k = 0; i < n; i += k, p.number += k) {
            k = n - i < p.block ? n - i : p.block;
            block_apart(&p, policy->row + i, policy->target + i, k);
        }
        st = check_finite(TR_UNIT_DIVERGENCE, p.number - n, n, err);
    }
    free(p.z[0]);
    free(p.lse);
    return st;
}

/* ---- units ---- */

/* Asks one evaluator, or two about their divergence. */
static enum tr_status answer(struct tr_evaluator *e, struct tr_evaluator *reference,
                             const struct tr_unit *unit, struct tr_content *out,
                             struct tr_err *err)
{
    struct tr_ask_judge ask;
    struct tr_answer_judge numbers = {{0}};
    int64_t unknown = 0, vocab = tr_params_arch(tr_weights_params(e->w))->V;
    float *number = NULL;
    enum tr_status st = tr_content_decode(&unit->content, tr_ask_judge_record(unit->kind),
                                          &ask, &unknown, err);
    if (st == TR_OK) st = tr_ask_judge_check(&ask, vocab, err);
    if (st != TR_OK) goto done;
    numbers.number.count = tr_judge_numbers(unit->kind, &ask);
    number = malloc((size_t)numbers.number.count * sizeof *number);
    if (!number) {
        st = tr_err_set(err, TR_NOMEM, "%lld numbers", (long long)numbers.number.count);
        goto done;
    }
    st = reference ? tr_evaluator_diverge(e, reference, &ask, number, err)
                   : tr_evaluator_judge(e, unit->kind, &ask, number, err);
    if (st != TR_OK) goto done;
    numbers.number.at = number;
    st = tr_content_encode(tr_answer_judge_record(unit->kind), &unit->needs, &numbers,
                           out, err);
done:
    free(number);
    return st;
}

enum tr_status tr_evaluator_answer(struct tr_evaluator *e, const struct tr_unit *unit,
                                   struct tr_content *out, struct tr_err *err)
{
    return answer(e, NULL, unit, out, err);
}

enum tr_status tr_evaluator_answer_divergence(struct tr_evaluator *policy,
                                              struct tr_evaluator *reference,
                                              const struct tr_unit *unit,
                                              struct tr_content *out, struct tr_err *err)
{
    return answer(policy, reference, unit, out, err);
}

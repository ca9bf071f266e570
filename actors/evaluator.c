#include "actors/evaluator.h"

#include <math.h>
#include <stdlib.h>

#include "core/model/head.h"

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

static enum tr_status judge_some(struct tr_evaluator *e, enum tr_unit_kind kind,
                                 const struct tr_ask_judge *ask, int64_t s0, int64_t s1,
                                 float *number, int64_t *n, struct tr_err *err)
{
    const int64_t *start = ask->start.at;
    const float *hidden = NULL;
    for (int64_t s = s0; s <= s1; s++) e->start[s - s0] = start[s] - start[s0];
    struct tr_batch b = {.T = start[s1] - start[s0],
                         .S = s1 - s0,
                         .token = (const int32_t *)ask->token.at + start[s0],
                         .start = e->start};
    enum tr_status st =
        tr_trunk_forward(e->trunk, e->ex, e->w, &b, NULL, NULL, &hidden, err);
    if (st != TR_OK) return st;
    *n = list_rows(e, kind, ask, s0, s1);
    struct tr_head_rows rows = {.n = *n, .row = e->row, .target = e->target};
    if (kind == TR_UNIT_LOGPROB)
        tr_head_logprob(e->head, e->ex, e->w, hidden, &rows, number, NULL);
    else
        tr_value_forward(e->ex, e->w, hidden, e->row, *n, number);
    for (int64_t i = 0; i < *n; i++)
        if (!isfinite(number[i]))
            return tr_err_set(err, TR_NOTNUM, "%s: a number is not finite",
                              tr_unit_kind_name(kind));
    return TR_OK;
}

enum tr_status tr_evaluator_judge(struct tr_evaluator *e, enum tr_unit_kind kind,
                                  const struct tr_ask_judge *ask, float *number,
                                  struct tr_err *err)
{
    const int64_t *start = ask->start.at;
    int64_t S = ask->from.count, s0 = 0;
    while (s0 < S) {
        int64_t s1 = s0, n = 0;
        while (s1 < S && start[s1 + 1] - start[s0] <= e->max_tokens) s1++;
        if (s1 == s0)
            return tr_err_set(
                err, TR_BADARG, "a sequence of %lld tokens; there is room for %lld",
                (long long)(start[s0 + 1] - start[s0]), (long long)e->max_tokens);
        enum tr_status st = judge_some(e, kind, ask, s0, s1, number, &n, err);
        if (st != TR_OK) return st;
        number += n;
        s0 = s1;
    }
    return TR_OK;
}

enum tr_status tr_evaluator_answer(struct tr_evaluator *e, const struct tr_unit *unit,
                                   struct tr_content *out, struct tr_err *err)
{
    struct tr_ask_judge ask;
    struct tr_answer_judge answer = {{0}};
    int64_t unknown = 0, vocab = tr_params_arch(tr_weights_params(e->w))->V;
    float *number = NULL;
    enum tr_status st = tr_content_decode(&unit->content, tr_ask_judge_record(unit->kind),
                                          &ask, &unknown, err);
    if (st == TR_OK) st = tr_ask_judge_check(&ask, vocab, err);
    if (st != TR_OK) goto done;
    answer.number.count = tr_judge_numbers(unit->kind, &ask);
    number = malloc((size_t)answer.number.count * sizeof *number);
    if (!number) {
        st = tr_err_set(err, TR_NOMEM, "%lld numbers", (long long)answer.number.count);
        goto done;
    }
    st = tr_evaluator_judge(e, unit->kind, &ask, number, err);
    if (st != TR_OK) goto done;
    answer.number.at = number;
    st = tr_content_encode(tr_answer_judge_record(unit->kind), &unit->needs, &answer, out,
                           err);
done:
    free(number);
    return st;
}

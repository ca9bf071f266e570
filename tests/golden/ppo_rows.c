#include "tests/golden/ppo_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TR_PPO_TOKENS = 512 }; /* of a row */

double tr_ppo_off(double got, const json_t *want)
{
    double w = json_number_value(want);
    double e = fabs(got - w) / fmax(1, fabs(w));
    return isnan(e) || !json_is_number(want) ? (double)INFINITY : e;
}

/* ---- samples ---- */

static int64_t read_ids(const json_t *list, int32_t *out)
{
    int64_t n = (int64_t)json_array_size(list);
    if (n > TR_PPO_TOKENS) return -1;
    for (int64_t i = 0; i < n; i++)
        out[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
    return n;
}

static bool read_sample(const json_t *step, size_t i, struct tr_ppo_sample *s)
{
    static const float none[TR_PPO_TOKENS] = {0};
    int32_t query[TR_PPO_TOKENS], answer[TR_PPO_TOKENS];
    int64_t from = read_ids(json_array_get(json_object_get(step, "queries"), i), query);
    int64_t n = read_ids(json_array_get(json_object_get(step, "responses"), i), answer);
    if (from < 1 || n < 1) return false;
    if (tr_ppo_sample_fill(s, query, from, answer, none, n, NULL) != TR_OK) return false;
    s->score = json_number_value(json_array_get(json_object_get(step, "scores"), i));
    s->stopped = true; /* the peers have no penalty */
    return true;
}

/* What the peer's [n, T] or [n, T - 1] tensor of ids must be. */
static void check_ids(struct tr_golden *g, const char *name, const struct tr_st *f,
                      const char *prefix, const char *what, const struct tr_ppo_rows *r)
{
    char key[128], at[500];
    int64_t n = 0, wrong = 0;
    bool mask = !strcmp(what, "masks"), ids = !strcmp(what, "input_ids");
    int64_t T = mask ? r->L : r->L + 1;
    snprintf(key, sizeof key, "%s.%s", prefix, what);
    snprintf(at, sizeof at, "%s/%s", name, what);
    int64_t *x = tr_golden_ids(g, at, f, key, &n);
    if (!x) return;
    wrong = n != r->n * T;
    for (int64_t i = 0; i < r->n && !wrong; i++)
        for (int64_t t = 0; t < T; t++) {
            const struct tr_ppo_sample *s = &r->s[i];
            int64_t want = mask ? t >= s->from - 1 && t < s->T - 1 : t < s->T;
            if (ids && want) want = s->token[t];
            if (ids && t >= s->T) continue; /* whatever pads */
            wrong += x[i * T + t] != want;
        }
    tr_golden_case(g, at, (double)wrong, 0);
    free(x);
}

bool tr_ppo_rows_open(struct tr_golden *g, const char *name, const json_t *step,
                      const struct tr_st *f, const char *prefix, struct tr_ppo_rows *out)
{
    char key[128];
    snprintf(key, sizeof key, "%s.masks", prefix);
    const struct tr_st_tensor *t = tr_st_find(f, key);
    size_t n = json_array_size(json_object_get(step, "queries"));
    *out = (struct tr_ppo_rows){.n = (int64_t)n};
    out->s = calloc(n + 1, sizeof *out->s);
    bool good = out->s && t && t->rank == 2 && t->shape[0] == out->n;
    for (size_t i = 0; i < n && good; i++) good = read_sample(step, i, &out->s[i]);
    if (!good) {
        tr_golden_fail(g, name, "queries, responses or %s cannot be read", key);
        tr_ppo_rows_close(out);
        return false;
    }
    out->L = t->shape[1];
    check_ids(g, name, f, prefix, "input_ids", out);
    check_ids(g, name, f, prefix, "attention_mask", out);
    check_ids(g, name, f, prefix, "masks", out);
    return true;
}

void tr_ppo_rows_close(struct tr_ppo_rows *r)
{
    for (int64_t i = 0; r->s && i < r->n; i++) tr_ppo_sample_fini(&r->s[i]);
    free(r->s);
    *r = (struct tr_ppo_rows){0};
}

struct tr_ppo_rows tr_ppo_rows_pick(const struct tr_ppo_rows *r, const json_t *list,
                                    int64_t first, int64_t count)
{
    struct tr_ppo_rows p = {.s = r->s, .L = r->L, .picked = true};
    int64_t most = sizeof p.pick / sizeof *p.pick;
    for (int64_t i = 0; i < count && i < most; i++) {
        const json_t *row = json_array_get(list, (size_t)(first + i));
        int64_t k = json_integer_value(row);
        if (json_is_integer(row) && k >= 0 && k < r->n) p.pick[p.n++] = k;
    }
    return p;
}

const struct tr_ppo_sample *tr_ppo_row(const struct tr_ppo_rows *r, int64_t i)
{
    return &r->s[r->picked ? r->pick[i] : i];
}

int64_t tr_ppo_rows_tokens(const struct tr_ppo_rows *r)
{
    int64_t n = 0;
    for (int64_t i = 0; i < r->n; i++) n += tr_ppo_row(r, i)->T - tr_ppo_row(r, i)->from;
    return n;
}

/* ---- numbers ---- */

static float *member_of(const struct tr_ppo_sample *s, size_t member)
{
    return *(float *const *)(const void *)((const char *)s + member);
}

float *tr_ppo_rows_gather(const struct tr_ppo_rows *r, size_t member)
{
    float *all = malloc((size_t)(tr_ppo_rows_tokens(r) + 1) * sizeof *all), *to = all;
    for (int64_t i = 0; i < r->n && all; i++) {
        const struct tr_ppo_sample *s = tr_ppo_row(r, i);
        memcpy(to, member_of(s, member), (size_t)(s->T - s->from) * sizeof *to);
        to += s->T - s->from;
    }
    return all;
}

void tr_ppo_rows_scatter(const struct tr_ppo_rows *r, size_t member, const float *from)
{
    for (int64_t i = 0; i < r->n && from; i++) {
        const struct tr_ppo_sample *s = tr_ppo_row(r, i);
        memcpy(member_of(s, member), from, (size_t)(s->T - s->from) * sizeof *from);
        from += s->T - s->from;
    }
}

float *tr_ppo_rows_judge(struct tr_golden *g, const char *name, struct tr_evaluator *e,
                         struct tr_evaluator *reference, enum tr_unit_kind kind,
                         const struct tr_ppo_rows *r)
{
    struct tr_err err = {0};
    int64_t T = 0;
    for (int64_t i = 0; i < r->n; i++) T += tr_ppo_row(r, i)->T;
    int32_t *token = calloc((size_t)T + 1, sizeof *token);
    int64_t *start = calloc((size_t)r->n * 2 + 1, sizeof *start);
    int64_t *from = start ? start + r->n + 1 : NULL;
    float *number = calloc((size_t)tr_ppo_rows_tokens(r) + 1, sizeof *number);
    enum tr_status st = token && start && number ? TR_OK : TR_NOMEM;
    for (int64_t i = 0; i < r->n && st == TR_OK; i++) {
        const struct tr_ppo_sample *s = tr_ppo_row(r, i);
        memcpy(token + start[i], s->token, (size_t)s->T * sizeof *token);
        start[i + 1] = start[i] + s->T;
        from[i] = s->from;
    }
    struct tr_ask_judge ask = {{token, T}, {start, r->n + 1}, {from, r->n}};
    if (st == TR_OK) st = tr_ask_judge_check(&ask, 0, &err);
    if (st == TR_OK)
        st = reference ? tr_evaluator_diverge(e, reference, &ask, number, &err)
                       : tr_evaluator_judge(e, kind, &ask, number, &err);
    free(token);
    free(start);
    if (st == TR_OK) return number;
    tr_golden_fail(g, name, "%s", err.text);
    free(number);
    return NULL;
}

float *tr_ppo_rows_read(struct tr_golden *g, const char *name, const struct tr_st *f,
                        const char *tensor, const struct tr_ppo_rows *r)
{
    int64_t n = 0, at = 0;
    float *x = tr_golden_floats(g, name, f, tensor, &n);
    if (x && n != r->n * r->L) {
        tr_golden_fail(g, name, "%s: %lld numbers, expected %lld rows of %lld", tensor,
                       (long long)n, (long long)r->n, (long long)r->L);
        free(x);
        return NULL;
    }
    for (int64_t i = 0; i < r->n && x; i++) {
        const struct tr_ppo_sample *s = tr_ppo_row(r, i);
        for (int64_t t = s->from - 1; t < s->T - 1; t++) x[at++] = x[i * r->L + t];
    }
    return x;
}

void tr_ppo_rows_case(struct tr_golden *g, const char *name, const char *what,
                      const struct tr_st *f, const char *tensor,
                      const struct tr_ppo_rows *r, const float *number, double tolerance,
                      bool relative)
{
    char at[600];
    double worst = 0;
    snprintf(at, sizeof at, "%s/%s", name, what);
    float *want = tr_ppo_rows_read(g, at, f, tensor, r);
    if (!want || !number) {
        if (want) tr_golden_fail(g, at, "there is nothing to compare");
        free(want);
        return;
    }
    for (int64_t i = 0; i < tr_ppo_rows_tokens(r); i++) {
        double w = (double)want[i], e = fabs((double)number[i] - w);
        if (relative) e /= fmax(1, fabs(w));
        worst = isnan(e) ? (double)INFINITY : fmax(worst, e);
    }
    tr_golden_case(g, at, worst, tolerance);
    free(want);
}

#include "tests/golden/forward.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/golden/rows.h"

enum { MAX_TOKENS = 8192, MAX_SEQUENCES = 256 };

enum tr_status tr_forward_open(struct tr_forward *p, const struct tr_arch *a,
                               const struct tr_weights *w, struct tr_err *err)
{
    const struct tr_trunk_size size = {MAX_TOKENS, MAX_SEQUENCES, false, false};
    *p = (struct tr_forward){.arch = a, .w = w};
    enum tr_status st = tr_trunk_create(a, &size, &p->trunk, err);
    return st == TR_OK ? tr_head_create(a, MAX_TOKENS, &p->head, err) : st;
}

void tr_forward_close(struct tr_forward *p)
{
    tr_head_destroy(p->head);
    tr_trunk_destroy(p->trunk);
}

/* Copies of the residual stream's stations, [L + 1][n, d]. */
struct stations {
    int64_t size;
    float *x;
};

static void keep_station(void *ctx, int64_t l, const float *x)
{
    struct stations *s = ctx;
    memcpy(s->x + l * s->size, x, (size_t)s->size * sizeof *x);
}

/* Rows of got [n, width] against want [B, ceil(T / step), width]: the places stored. */
static double compare_places(const struct tr_rows *r, const float *got, const float *want,
                             int64_t count, int64_t width)
{
    const int64_t step = count == r->B * r->T * width ? 1 : 9; /* F1: every 9th place */
    const int64_t stored = (r->T + step - 1) / step;
    double worst = 0;
    if (count != r->B * stored * width) return (double)NAN;
    for (int64_t i = 0; i < r->n; i++) {
        const int64_t row = r->place[i] / r->T;
        const int64_t t = r->place[i] % r->T;
        if (t % step) continue;
        double e = tr_golden_abs(got + i * width,
                                 want + (row * stored + t / step) * width, width);
        if (!(e <= worst)) worst = e;
    }
    return worst;
}

static void compare_tensor(struct tr_golden *g, const char *name, const struct tr_rows *r,
                           const float *got, const struct tr_st *want, const char *tensor,
                           int64_t width, double tolerance)
{
    char at[512];
    int64_t count = 0;
    float *w = NULL;
    snprintf(at, sizeof at, "%s/%s", name, tensor);
    w = tr_golden_floats(g, at, want, tensor, &count);
    if (w) tr_golden_case(g, at, compare_places(r, got, w, count, width), tolerance);
    free(w);
}

static void compare_logprobs(struct tr_golden *g, const char *name,
                             const struct tr_forward *p, const struct tr_rows *r,
                             const float *hidden, const struct tr_st *want,
                             const char *prefix, double tolerance)
{
    char at[512];
    char key[200];
    int64_t count = 0;
    double worst = 0;
    snprintf(key, sizeof key, "%s.token_logprobs", prefix);
    snprintf(at, sizeof at, "%s/%s", name, key);
    float *w = tr_golden_floats(g, at, want, key, &count);
    float *got = calloc((size_t)r->n, sizeof *got);
    int64_t *row = calloc((size_t)r->n, sizeof *row);
    int32_t *target = calloc((size_t)r->n, sizeof *target);
    if (w && got && row && target && count == r->B * (r->T - 1)) {
        const int64_t n = tr_rows_next(r, row, target);
        const struct tr_head_rows rows = {n, row, target};
        tr_head_logprob(p->head, g->ex, p->w, hidden, &rows, got, NULL);
        for (int64_t i = 0; i < n; i++) {
            const int64_t place = r->place[row[i]];
            double e = fabs((double)got[i] -
                            (double)w[place / r->T * (r->T - 1) + place % r->T]);
            if (!(e <= worst)) worst = e;
        }
        tr_golden_case(g, at, worst, tolerance);
    } else if (w) {
        tr_golden_fail(g, at, "expected [B, T-1], found %lld", (long long)count);
    }
    free(w);
    free(got);
    free(row);
    free(target);
}

static void compare_hidden(struct tr_golden *g, const char *name, const struct tr_rows *r,
                           const struct tr_arch *a, const struct stations *s,
                           const float *hidden, const struct tr_st *want,
                           const char *prefix, double tolerance)
{
    for (int64_t l = 0; l <= a->L; l++) {
        char key[200];
        snprintf(key, sizeof key, "%s.hidden.%lld", prefix, (long long)l);
        if (!l && !tr_st_find(want, key)) return;
        /* The peer's last one has the final norm behind it. */
        compare_tensor(g, name, r, l < a->L ? s->x + l * s->size : hidden, want, key,
                       a->d, tolerance);
    }
}

void tr_forward_compare(struct tr_golden *g, const char *name, struct tr_forward *p,
                        const struct tr_st *given, const struct tr_st *want,
                        const char *prefix, double tolerance)
{
    const struct tr_arch *a = p->arch;
    struct tr_rows r;
    struct tr_err err = {0};
    const float *hidden = NULL;
    char key[200];
    if (!tr_rows_read(g, name, given, prefix, &r)) return;
    const struct tr_batch b = tr_rows_batch(&r);
    struct stations s = {.size = r.n * a->d};
    s.x = malloc((size_t)(s.size * (a->L + 1)) * sizeof(float));
    float *logits = malloc((size_t)(r.n * a->V) * sizeof(float));
    int64_t *row = malloc((size_t)r.n * sizeof *row);
    if (!s.x || !logits || !row) {
        tr_golden_fail(g, name, "%s: no memory", prefix);
        goto done;
    }
    for (int64_t i = 0; i < r.n; i++) row[i] = i;
    if (tr_trunk_forward(p->trunk, g->ex, p->w, &b, keep_station, &s, &hidden, &err) !=
        TR_OK) {
        tr_golden_fail(g, name, "%s: %s", prefix, err.text);
        goto done;
    }
    compare_hidden(g, name, &r, a, &s, hidden, want, prefix, tolerance);
    tr_head_logits(p->head, g->ex, p->w, hidden, row, r.n, logits);
    snprintf(key, sizeof key, "%s.logits", prefix);
    compare_tensor(g, name, &r, logits, want, key, a->V, tolerance);
    compare_logprobs(g, name, p, &r, hidden, want, prefix, tolerance);
done:
    free(s.x);
    free(logits);
    free(row);
    tr_rows_fini(&r);
}

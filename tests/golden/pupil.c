#include "tests/golden/pupil.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 8192, MAX_SEQUENCES = 256 };

enum tr_status tr_pupil_open(struct tr_pupil *p, const struct tr_exec *ex,
                             const char *dir, bool bf16, struct tr_err *err)
{
    const struct tr_trunk_size size = {MAX_TOKENS, MAX_SEQUENCES, true, false};
    bool found = false;
    *p = (struct tr_pupil){.ex = ex};
    enum tr_status st = tr_folder_open(dir, &p->folder, err);
    if (st != TR_OK) return st;
    const struct tr_arch *a = tr_folder_arch(p->folder);
    st = tr_params_create(a, true, false, &p->params, err);
    if (st != TR_OK) return st;
    const size_t total = (size_t)tr_params_total(p->params);
    const size_t embed = (size_t)tr_params_outer(p->params)->embed->size;
    p->masters = calloc(total, sizeof(float));
    p->m = calloc(total, sizeof(float));
    p->v = calloc(total, sizeof(float));
    p->grad = calloc(total, sizeof(float));
    p->embed_grad = a->tied ? calloc(embed, sizeof(float)) : NULL;
    if (!p->masters || !p->m || !p->v || !p->grad || (a->tied && !p->embed_grad))
        return tr_err_set(err, TR_NOMEM, "%s: no memory", dir);
    st = tr_folder_read(p->folder, ex, p->params, p->masters, &found, err);
    if (st == TR_OK) st = tr_weights_create(p->params, ex, bf16, &p->w, err);
    if (st == TR_OK) st = tr_trunk_create(a, &size, &p->trunk, err);
    if (st == TR_OK) st = tr_head_create(a, MAX_TOKENS, &p->head, err);
    if (st == TR_OK) tr_weights_refresh(p->w, ex, p->masters);
    return st;
}

void tr_pupil_close(struct tr_pupil *p)
{
    tr_head_destroy(p->head);
    tr_trunk_destroy(p->trunk);
    tr_weights_destroy(p->w);
    tr_params_destroy(p->params);
    tr_folder_close(p->folder);
    free(p->masters);
    free(p->m);
    free(p->v);
    free(p->grad);
    free(p->embed_grad);
}

struct mean {
    double nll;
    float dlogp;
};

static void take_mean(void *ctx, int64_t i0, int64_t k, const float *logp,
                      const float *entropy, float *dlogp)
{
    struct mean *c = ctx;
    (void)i0;
    (void)entropy;
    for (int64_t i = 0; i < k; i++) {
        c->nll -= (double)logp[i];
        dlogp[i] = c->dlogp;
    }
}

static void forget(struct tr_pupil *p)
{
    const size_t embed = (size_t)tr_params_outer(p->params)->embed->size;
    memset(p->grad, 0, (size_t)tr_params_total(p->params) * sizeof(float));
    if (p->embed_grad) memset(p->embed_grad, 0, embed * sizeof(float));
}

enum tr_status tr_pupil_pull(struct tr_pupil *p, const struct tr_rows *r, double *nll,
                             struct tr_err *err)
{
    const struct tr_batch b = tr_rows_batch(r);
    const struct tr_head_rows rows = {r->targets, r->target, r->wanted};
    const int64_t d = tr_params_arch(p->params)->d;
    struct mean mean = {.dlogp = -1.0F / (float)r->targets};
    const float *hidden = NULL;
    forget(p);
    enum tr_status st =
        tr_trunk_forward(p->trunk, p->ex, p->w, &b, NULL, NULL, &hidden, err);
    if (st != TR_OK) return st;
    float *dhidden = calloc((size_t)(b.T * d), sizeof *dhidden);
    if (!dhidden) return tr_err_set(err, TR_NOMEM, "gradient of hidden states");
    tr_head_train(p->head, p->ex, p->w, hidden, &rows, take_mean, &mean, dhidden,
                  p->grad);
    tr_trunk_backward(p->trunk, p->ex, p->w, &b, dhidden, p->grad,
                      p->embed_grad ? p->embed_grad
                                    : p->grad + tr_params_outer(p->params)->embed->at);
    free(dhidden);
    *nll = mean.nll;
    return TR_OK;
}

double tr_pupil_norm(struct tr_pupil *p)
{
    double sum = 0;
    const struct tr_param *embed = tr_params_outer(p->params)->embed;
    for (int64_t i = 0; p->embed_grad && i < embed->size; i++)
        p->grad[embed->at + i] += p->embed_grad[i];
    for (int64_t i = 0; i < tr_params_count(p->params); i++) {
        const struct tr_param *q = tr_params_get(p->params, i);
        sum += tr_sum_squares(p->ex, p->grad + q->at, q->size);
    }
    return sqrt(sum);
}

void tr_pupil_push(struct tr_pupil *p, double norm, double lr, double weight_decay)
{
    const double clip = 1 / (norm + 1e-6);
    p->t++;
    for (int64_t i = 0; i < tr_params_count(p->params); i++) {
        const struct tr_param *q = tr_params_get(p->params, i);
        const struct tr_adamw cfg = {.lr = lr,
                                     .beta1 = 0.9,
                                     .beta2 = 0.999,
                                     .eps = 1e-8,
                                     .weight_decay = q->peer_decays ? weight_decay : 0,
                                     .t = p->t};
        tr_adamw_step(p->ex, &cfg, clip < 1 ? (float)clip : 1.0F, q->size,
                      p->grad + q->at, p->masters + q->at, p->m + q->at, p->v + q->at);
    }
    tr_weights_refresh(p->w, p->ex, p->masters);
}

/* Ours and the file's elements of one tensor, both malloc'd; false: a case that has failed. */
static bool read_pair(struct tr_golden *g, const char *name, const struct tr_pupil *p,
                      const float *flat, const struct tr_param *q, const struct tr_st *f,
                      int64_t stride, float **got, float **want, int64_t *n)
{
    int64_t kept = 0;
    *want = tr_golden_floats(g, name, f, q->name, n);
    *got = malloc((size_t)tr_param_elements(q) * sizeof **got);
    if (*want && *got) {
        tr_params_unpack(p->ex, q, flat, *got);
        for (int64_t i = 0; i < tr_param_elements(q); i += stride)
            (*got)[kept++] = (*got)[i];
        if (kept == *n) return true;
        tr_golden_fail(g, name, "%s: expected %lld elements, found %lld", q->name,
                       (long long)kept, (long long)*n);
    }
    free(*want);
    free(*got);
    return false;
}

static struct tr_st *open_tensors(struct tr_golden *g, const char *name,
                                  const struct tr_pupil *p, const char *path)
{
    struct tr_st *f = NULL;
    struct tr_err err = {0};
    if (tr_st_open(path, &f, &err) != TR_OK) {
        tr_golden_fail(g, name, "%s", err.text);
        return NULL;
    }
    for (int64_t i = 0; i < tr_st_count(f); i++)
        if (!tr_params_find(p->params, tr_st_get(f, i)->name))
            tr_golden_fail(g, name, "%s: the model has no such tensor",
                           tr_st_get(f, i)->name);
    return f;
}

void tr_pupil_gradients(struct tr_golden *g, const char *name, const struct tr_pupil *p,
                        const char *path, double tolerance)
{
    double worst = 0;
    struct tr_st *f = open_tensors(g, name, p, path);
    for (int64_t i = 0; f && i < tr_params_count(p->params); i++) {
        const struct tr_param *q = tr_params_get(p->params, i);
        float *got = NULL;
        float *want = NULL;
        int64_t n = 0;
        if (!read_pair(g, name, p, p->grad, q, f, 1, &got, &want, &n)) continue;
        double e = tr_golden_rel(got, want, n);
        if (!(e <= worst)) worst = e; /* NaN stays */
        free(got);
        free(want);
    }
    if (f) tr_golden_case(g, name, worst, tolerance);
    tr_st_close(f);
}

static int ascending(const void *x, const void *y)
{
    float a = *(const float *)x;
    float b = *(const float *)y;
    return (a > b) - (a < b);
}

/* The differences of all tensors end to end into e; how many. */
static int64_t differences(struct tr_golden *g, const char *name,
                           const struct tr_pupil *p, const struct tr_st *f,
                           int64_t stride, float *e)
{
    int64_t count = 0;
    for (int64_t i = 0; i < tr_params_count(p->params); i++) {
        const struct tr_param *q = tr_params_get(p->params, i);
        float *got = NULL;
        float *want = NULL;
        int64_t n = 0;
        if (!read_pair(g, name, p, p->masters, q, f, stride, &got, &want, &n)) continue;
        for (int64_t k = 0; k < n; k++) {
            float x = fabsf(got[k] - want[k]);
            e[count++] = isnan(x) ? INFINITY : x; /* NaN has no place in an order */
        }
        free(got);
        free(want);
    }
    return count;
}

void tr_pupil_masters(struct tr_golden *g, const char *name, const struct tr_pupil *p,
                      const char *path, int64_t stride, double quantile, double largest)
{
    char at[600];
    struct tr_st *f = open_tensors(g, name, p, path);
    float *e = malloc((size_t)tr_params_total(p->params) * sizeof *e);
    if (f && e) {
        const int64_t n = differences(g, name, p, f, stride, e);
        qsort(e, (size_t)n, sizeof *e, ascending);
        snprintf(at, sizeof at, "%s/quantile", name);
        tr_golden_case(g, at,
                       n ? (double)e[(int64_t)ceil(0.999 * (double)n) - 1] : (double)NAN,
                       quantile);
        snprintf(at, sizeof at, "%s/largest", name);
        tr_golden_case(g, at, n ? (double)e[n - 1] : (double)NAN, largest);
    }
    free(e);
    tr_st_close(f);
}

static double one_checksum(const struct tr_pupil *p, const struct tr_param *q,
                           const json_t *want)
{
    const int64_t n = tr_param_elements(q);
    double sum = 0;
    double magnitude = 0;
    double squares = 0;
    float *x = malloc((size_t)n * sizeof *x);
    if (!x || !json_is_object(want)) {
        free(x);
        return (double)NAN;
    }
    tr_params_unpack(p->ex, q, p->masters, x);
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        magnitude += fabs((double)x[i]);
        squares += (double)x[i] * (double)x[i];
    }
    free(x);
    double l2 = json_number_value(json_object_get(want, "l2"));
    double e = fabs(sum - json_number_value(json_object_get(want, "sum"))) / (double)n;
    e = fmax(e, fabs(magnitude - json_number_value(json_object_get(want, "abs"))) /
                    (double)n);
    return fmax(e, fabs(sqrt(squares) - l2) / fmax(l2, 1e-30));
}

void tr_pupil_checksums(struct tr_golden *g, const char *name, const struct tr_pupil *p,
                        const json_t *want, double tolerance)
{
    double worst = 0;
    for (int64_t i = 0; i < tr_params_count(p->params); i++) {
        const struct tr_param *q = tr_params_get(p->params, i);
        double e = one_checksum(p, q, json_object_get(want, q->name));
        if (!(e <= worst)) worst = e;
    }
    tr_golden_case(g, name, worst, tolerance);
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

static void compare_logprobs(struct tr_golden *g, const char *name, struct tr_pupil *p,
                             const struct tr_rows *r, const float *hidden,
                             const struct tr_st *want, const char *prefix,
                             double tolerance)
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
        tr_head_logprob(p->head, p->ex, p->w, hidden, &rows, got, NULL);
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

void tr_pupil_forward(struct tr_golden *g, const char *name, struct tr_pupil *p,
                      const struct tr_st *given, const struct tr_st *want,
                      const char *prefix, double tolerance)
{
    const struct tr_arch *a = tr_params_arch(p->params);
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
    if (tr_trunk_forward(p->trunk, p->ex, p->w, &b, keep_station, &s, &hidden, &err) !=
        TR_OK) {
        tr_golden_fail(g, name, "%s: %s", prefix, err.text);
        goto done;
    }
    compare_hidden(g, name, &r, a, &s, hidden, want, prefix, tolerance);
    tr_head_logits(p->head, p->ex, p->w, hidden, row, r.n, logits);
    snprintf(key, sizeof key, "%s.logits", prefix);
    compare_tensor(g, name, &r, logits, want, key, a->V, tolerance);
    compare_logprobs(g, name, p, &r, hidden, want, prefix, tolerance);
done:
    free(s.x);
    free(logits);
    free(row);
    tr_rows_fini(&r);
}

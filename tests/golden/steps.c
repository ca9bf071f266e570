#include "tests/golden/steps.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/golden/rows.h"

struct tr_learner *tr_steps_open(struct tr_golden *g, const char *name, const char *model,
                                 bool bf16, int64_t tokens, int64_t sequences)
{
    struct tr_err err = {0};
    struct tr_learner *l = NULL;
    struct tr_learner_start s = {.model = model,
                                 .lm_head = true,
                                 .bf16 = bf16,
                                 .max_tokens = tokens,
                                 .max_sequences = sequences};
    if (tr_learner_open(g->ex, &s, &l, &err) != TR_OK)
        tr_golden_fail(g, name, "%s", err.text);
    return l;
}

bool tr_steps_run(struct tr_golden *g, const char *name, struct tr_learner *l,
                  const struct tr_st *batches, const char *prefix, double weight_decay,
                  const float **grad, struct tr_learn_result *out)
{
    struct tr_rows r;
    struct tr_err err = {0};
    if (!tr_rows_read(g, name, batches, prefix, &r)) return false;
    struct tr_learn_task task = {
        .objective = TR_LEARN_TOKENS,
        .seq = {.S = r.B, .T = r.n, .start = r.start, .token = r.token, .label = r.label},
        .divisor = (double)r.targets,
        .update = {.lr = 1e-3,
                   .beta1 = 0.9,
                   .beta2 = 0.999,
                   .eps = 1e-8,
                   .weight_decay = weight_decay,
                   .max_grad_norm = 1.0,
                   .peer_decay = true},
    };
    enum tr_status st = grad ? tr_learner_gradient(l, &task, out, grad, &err)
                             : tr_learner_step(l, &task, out, &err);
    if (st != TR_OK) tr_golden_fail(g, name, "%s", err.text);
    tr_rows_fini(&r);
    return st == TR_OK;
}

/* The name behind the prefix, or NULL without it; as it is when prefix is NULL. */
static const char *behind(const char *name, const char *prefix)
{
    size_t n = prefix ? strlen(prefix) : 0;
    return n && strncmp(name, prefix, n) != 0 ? NULL : name + n;
}

/* The parameter that a tensor of the peer's is; a reward model's wear a prefix. */
static const struct tr_param *param_of(const struct tr_learner *l, const char *name)
{
    static const char prefix[] = "pretrained_model.";
    size_t n = sizeof prefix - 1;
    return tr_params_find(tr_learner_params(l),
                          strncmp(name, prefix, n) ? name : name + n);
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x > y ? -1 : x < y;
}

/* What an entry's error is taken relative to, at least. Some gradients are 0: of a reward model's
 * bias, because chosen and rejected cancel; of queries and keys, where a token sees itself
 * alone. On one side that is 0 to the bit, on the other what rounding left of terms near 1, so
 * 1e-7 absolute at a tolerance of 1e-4. */
static double least_size(const struct tr_param *p, double top)
{
    return top == 0 || (p->kind == TR_PARAM_VALUE_HEAD && !p->K) ? 1e-3 : 1e-30;
}

/* Differences of every stride-th entry of one tensor, appended to all; the largest over the
 * tensor's largest entry goes into *relative. */
static bool tensor_errors(const struct tr_golden *g, const struct tr_learner *l,
                          const float *flat, const struct tr_st_tensor *t,
                          const struct tr_steps_want *w, double *all, int64_t *n,
                          double *relative)
{
    const struct tr_param *p = param_of(l, behind(t->name, w->prefix));
    int64_t stride = w->stride;
    int64_t size = p ? p->N * (p->K ? p->K : 1) : 0;
    if (!p || t->count != (size + stride - 1) / stride) return false;
    float *hf = malloc((size_t)size * sizeof *hf);
    float *want = malloc((size_t)t->count * sizeof *want);
    double top = 0;
    double worst = 0;
    bool good = hf && want && tr_st_floats(t, 0, t->count, want, NULL) == TR_OK;
    if (good) {
        tr_params_unpack(g->ex, p, flat, hf);
        for (int64_t i = 0; i < t->count; i++) {
            double e = fabs((double)hf[i * stride] - (double)want[i]);
            if (isnan(e)) e = (double)INFINITY;
            top = fmax(top, fabs((double)want[i]));
            worst = fmax(worst, e);
            all[(*n)++] = e;
        }
        *relative = fmax(*relative, worst / fmax(top, least_size(p, top)));
    }
    free(hf);
    free(want);
    return good;
}

/* How many tensors the peer has at least: a reward model keeps no output layer. */
static int64_t wanted_count(const struct tr_learner *l)
{
    const struct tr_params *params = tr_learner_params(l);
    const struct tr_outer_params *o = tr_params_outer(params);
    return tr_params_count(params) - (o->value_weight && o->lm_head);
}

void tr_steps_compare(struct tr_golden *g, const char *name, const struct tr_learner *l,
                      const float *flat, const char *path, int64_t stride,
                      double quantile, double max, bool relative)
{
    struct tr_steps_want want = {path, NULL, stride, quantile, max, relative};
    tr_steps_compare_part(g, name, l, flat, &want);
}

void tr_steps_compare_part(struct tr_golden *g, const char *name,
                           const struct tr_learner *l, const float *flat,
                           const struct tr_steps_want *want)
{
    struct tr_err err = {0};
    struct tr_st *f = NULL;
    char at[600];
    int64_t n = 0;
    double rel = 0;
    double *all = malloc((size_t)tr_params_total(tr_learner_params(l)) * sizeof *all);
    if (!all || tr_st_open(want->path, &f, &err) != TR_OK) {
        tr_golden_fail(g, name, "%s", err.text);
        goto done;
    }
    for (int64_t i = 0; i < tr_st_count(f); i++) {
        const struct tr_st_tensor *t = tr_st_get(f, i);
        if (!behind(t->name, want->prefix)) continue;
        if (tensor_errors(g, l, flat, t, want, all, &n, &rel)) continue;
        tr_golden_fail(g, name, "%s: not a tensor of the model, or of another size",
                       t->name);
        goto done;
    }
    if (!want->prefix && tr_st_count(f) < wanted_count(l))
        tr_golden_fail(g, name, "%lld tensors of %lld", (long long)tr_st_count(f),
                       (long long)wanted_count(l));
    if (want->relative) {
        tr_golden_case(g, name, n ? rel : (double)NAN, want->max);
        goto done;
    }
    qsort(all, (size_t)n, sizeof *all, descending);
    snprintf(at, sizeof at, "%s/quantile", name);
    tr_golden_case(g, at, n ? all[n / 1000] : (double)NAN, want->quantile);
    snprintf(at, sizeof at, "%s/max", name);
    tr_golden_case(g, at, n ? all[0] : (double)NAN, want->max);
done:
    tr_st_close(f);
    free(all);
}

void tr_steps_checksums(struct tr_golden *g, const char *name, struct tr_learner *l,
                        const float *flat, json_t *sums, double tolerance)
{
    tr_steps_checksums_part(g, name, l, flat, NULL, sums, tolerance);
}

/* What a weight tensor's sums are taken relative to, at least: AdamW is ill-conditioned where a
 * gradient is near 0, and a bias of 16 entries has no others to drown such an entry in. */
static const double least_sum = 32;

void tr_steps_checksums_part(struct tr_golden *g, const char *name, struct tr_learner *l,
                             const float *flat, const char *prefix, json_t *sums,
                             double tolerance)
{
    const char *tensor = NULL;
    json_t *want = NULL;
    double worst = 0;
    bool weights = flat == tr_learner_state(l).master;
    json_object_foreach(sums, tensor, want)
    {
        if (!behind(tensor, prefix)) continue;
        const struct tr_param *p = param_of(l, behind(tensor, prefix));
        int64_t size = p ? p->N * (p->K ? p->K : 1) : 0;
        float *hf = malloc((size_t)(size + 1) * sizeof *hf);
        double sum = 0;
        double abs = 0;
        double square = 0;
        if (!p || !hf) {
            tr_golden_fail(g, name, "%s: not a tensor of the model", tensor);
            free(hf);
            return;
        }
        tr_params_unpack(g->ex, p, flat, hf);
        for (int64_t i = 0; i < size; i++) {
            sum += (double)hf[i];
            abs += fabs((double)hf[i]);
            square += (double)hf[i] * (double)hf[i];
        }
        free(hf);
        double want_abs = json_number_value(json_object_get(want, "abs"));
        double want_l2 = json_number_value(json_object_get(want, "l2"));
        double least = weights ? least_sum : 0;
        double e = fabs(sum - json_number_value(json_object_get(want, "sum")));
        e = fmax(e, fabs(abs - want_abs)) / fmax(want_abs, least);
        e = fmax(e, fabs(sqrt(square) - want_l2) / fmax(want_l2, sqrt(least)));
        worst = isnan(e) ? (double)INFINITY : fmax(worst, e);
    }
    tr_golden_case(g, name, worst, tolerance);
}

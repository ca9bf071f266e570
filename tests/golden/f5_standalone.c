/* F5's standalone cases: the peer's advantages, whitening and losses with their gradients on random
 * rows, and its KL controller. Here whole padded rows go through GAE, as in the peer, because the
 * places outside the mask are compared too.
 *
 * Tolerances: f32 arrays of size near 1 in another order, abs 1e-5 times max(1, size); gradients 1e-5 of
 * the largest entry; scalars 1e-5 times max(1, size); clip fractions 1e-6; the controller
 * rel 1e-6. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/learn/gae.h"
#include "core/learn/kl.h"
#include "core/learn/ppo.h"
#include "kernels/softmax.h"
#include "tests/golden/ppo_rows.h"

/* One case's arrays, [n] each but logits; the names are the file's. */
struct alone {
    struct tr_golden *g;
    const json_t *o;
    char name[400];
    int64_t R, T, V, n, acting; /* rows, places, vocabulary, R * T, places in the mask */
    int64_t *mask;              /* owns, as all below */
    float *rewards, *values, *advantages, *returns, *whitened_values, *whitened_noshift,
        *values_masked, *logprobs, *old_logprobs, *vpreds, *grad_logprobs, *grad_vpreds,
        *logits;
    float *a, *b, *c, *d; /* scratch, [n] */
};

static float **list_of(struct alone *x, int i, const char **name)
{
    static const char *const names[] = {
        "rewards",         "values",           "advantages",    "returns",
        "whitened_values", "whitened_noshift", "values_masked", "logprobs",
        "old_logprobs",    "vpreds",           "grad_logprobs", "grad_vpreds",
        "logits"};
    float **list[] = {&x->rewards,       &x->values,          &x->advantages,
                      &x->returns,       &x->whitened_values, &x->whitened_noshift,
                      &x->values_masked, &x->logprobs,        &x->old_logprobs,
                      &x->vpreds,        &x->grad_logprobs,   &x->grad_vpreds,
                      &x->logits};
    if (i >= (int)(sizeof list / sizeof *list)) return NULL;
    *name = names[i];
    return list[i];
}

static bool read_case(struct alone *x, const struct tr_st *f, size_t i)
{
    char key[64];
    const char *what = NULL;
    snprintf(key, sizeof key, "%zu.mask", i);
    x->mask = tr_golden_ids(x->g, x->name, f, key, &x->n);
    snprintf(key, sizeof key, "%zu.logits", i);
    const struct tr_st_tensor *t = tr_st_find(f, key);
    if (!x->mask || !t || t->rank != 3) return false;
    x->R = t->shape[0];
    x->T = t->shape[1];
    x->V = t->shape[2];
    for (int k = 0; list_of(x, k, &what); k++) {
        int64_t n = 0, want = strcmp(what, "logits") ? x->n : x->n * x->V;
        snprintf(key, sizeof key, "%zu.%s", i, what);
        float *list = tr_golden_floats(x->g, x->name, f, key, &n);
        *list_of(x, k, &what) = list;
        if (!list || n != want || x->n != x->R * x->T) return false;
    }
    x->a = calloc((size_t)x->n * 4 + 1, sizeof *x->a);
    if (!x->a) return false;
    x->b = x->a + x->n;
    x->c = x->b + x->n;
    x->d = x->c + x->n;
    for (int64_t k = 0; k < x->n; k++) x->acting += x->mask[k] != 0;
    return true;
}

static void close_case(struct alone *x)
{
    const char *what = NULL;
    for (int k = 0; list_of(x, k, &what); k++) free(*list_of(x, k, &what));
    free(x->mask);
    free(x->a);
}

static void tell(const struct alone *x, const char *what, double e, double tolerance)
{
    char at[500];
    snprintf(at, sizeof at, "%s/%s", x->name, what);
    tr_golden_case(x->g, at, e, tolerance);
}

/* All places, those outside the mask too. */
static void compare(const struct alone *x, const char *what, const float *got,
                    const float *want)
{
    double worst = 0;
    for (int64_t i = 0; i < x->n; i++) {
        double e =
            fabs((double)got[i] - (double)want[i]) / fmax(1, fabs((double)want[i]));
        worst = isnan(e) ? (double)INFINITY : fmax(worst, e);
    }
    tell(x, what, worst, 1e-5);
}

/* Spread of the places in the mask. */
static struct tr_spread spread_of(struct alone *x, const float *from)
{
    int64_t n = 0;
    for (int64_t i = 0; i < x->n; i++)
        if (x->mask[i]) x->d[n++] = from[i];
    return tr_spread_of(x->d, n);
}

/* The peer whitens every place by what the mask's places are like. */
static void whiten(struct alone *x, const float *from, bool keep_mean, float *to)
{
    struct tr_spread s = spread_of(x, from);
    for (int64_t i = 0; i < x->n; i++) to[i] = tr_whiten_one(s, from[i], keep_mean);
}

static void check_advantages(struct alone *x)
{
    struct tr_gae gae = {json_number_value(json_object_get(x->o, "gamma")),
                         json_number_value(json_object_get(x->o, "lam"))};
    struct tr_spread s = spread_of(x, x->values);
    double e = tr_ppo_off(s.mean, json_object_get(x->o, "masked_mean"));
    e = fmax(e, tr_ppo_off(s.var, json_object_get(x->o, "masked_var")));
    tell(x, "mean and variance", e, 1e-5);
    whiten(x, x->values, false, x->a);
    compare(x, "whitened_values", x->a, x->whitened_values);
    whiten(x, x->values, true, x->a);
    compare(x, "whitened_noshift", x->a, x->whitened_noshift);
    for (int64_t i = 0; i < x->n; i++) {
        x->a[i] = x->mask[i] ? x->rewards[i] : 0;
        x->b[i] = x->mask[i] ? x->values[i] : 0;
    }
    compare(x, "values_masked", x->b, x->values_masked);
    if (json_is_true(json_object_get(x->o, "whiten_rewards")))
        whiten(x, x->a, true, x->a);
    for (int64_t r = 0; r < x->R; r++)
        tr_gae_run(gae, x->T, x->a + r * x->T, x->b + r * x->T, 0, x->c + r * x->T,
                   x->d + r * x->T);
    compare(x, "returns", x->d, x->returns);
    whiten(x, x->c, false, x->c);
    compare(x, "advantages", x->c, x->advantages);
}

static double mean_entropy(struct alone *x)
{
    double sum = 0;
    int32_t *target = calloc((size_t)x->n + 1, sizeof *target);
    if (!target) return (double)NAN;
    tr_logprob(x->g->ex, x->logits, x->n, x->V, target, NULL, NULL, x->d);
    for (int64_t i = 0; i < x->n; i++) sum += x->mask[i] ? (double)x->d[i] : 0;
    free(target);
    return sum / (double)x->acting;
}

static void check_losses(struct alone *x)
{
    struct tr_ppo_sums p = {0}, v = {0};
    double n = (double)x->acting,
           coef = json_number_value(json_object_get(x->o, "vf_coef"));
    double clip = json_number_value(json_object_get(x->o, "cliprange"));
    double clip_value = json_number_value(json_object_get(x->o, "cliprange_value"));
    for (int64_t i = 0; i < x->n; i++) {
        x->a[i] = x->b[i] = 0;
        if (!x->mask[i]) continue;
        x->a[i] = tr_ppo_policy(&p, clip, n, x->logprobs[i], x->old_logprobs[i],
                                x->advantages[i]);
        x->b[i] = (float)coef * tr_ppo_value(&v, clip_value, n, x->vpreds[i],
                                             x->values[i], x->returns[i]);
    }
    tell(x, "grad_logprobs", tr_golden_rel(x->a, x->grad_logprobs, x->n), 1e-5);
    tell(x, "grad_vpreds", tr_golden_rel(x->b, x->grad_vpreds, x->n), 1e-5);
    double e = tr_ppo_off(p.loss / n, json_object_get(x->o, "policy_loss"));
    e = fmax(
        e, tr_ppo_off(coef * v.loss / n, json_object_get(x->o, "value_loss_times_coef")));
    tell(x, "losses", e, 1e-5);
    struct tr_spread returns = spread_of(x, x->returns), old = spread_of(x, x->values);
    const struct {
        const char *key;
        double x;
    } row[] = {{"loss/policy", p.loss / n},
               {"loss/value", v.loss / n},
               {"loss/total", p.loss / n + coef * v.loss / n},
               {"policy/entropy", mean_entropy(x)},
               {"policy/approxkl", p.approx_kl / n},
               {"policy/policykl", p.policy_kl / n},
               {"policy/clipfrac", p.clipped / n},
               {"policy/advantages_mean", spread_of(x, x->advantages).mean},
               {"returns/mean", returns.mean},
               {"returns/var", returns.var},
               {"val/vpred", v.value / n},
               {"val/error", v.error / n},
               {"val/clipfrac", v.clipped / n},
               {"val/mean", old.mean},
               {"val/var", old.var}};
    const json_t *stats = json_object_get(x->o, "stats");
    e = json_object_size(stats) == sizeof row / sizeof *row ? 0 : (double)INFINITY;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        e = fmax(e, tr_ppo_off(row[i].x, json_object_get(stats, row[i].key)));
    tell(x, "stats", e, 1e-5);
}

static void check_controller(struct tr_golden *g, const char *name, const json_t *o)
{
    const json_t *kl = json_object_get(o, "current");
    const json_t *want = json_object_get(o, "value_after");
    struct tr_kl_control c = {.coef = json_number_value(json_object_get(o, "init")),
                              .adaptive = true,
                              .target = json_number_value(json_object_get(o, "target")),
                              .horizon =
                                  json_number_value(json_object_get(o, "horizon"))};
    int64_t n = json_integer_value(json_object_get(o, "n_steps"));
    double e = json_array_size(kl) && json_array_size(kl) == json_array_size(want)
                   ? 0
                   : (double)INFINITY;
    for (size_t i = 0; i < json_array_size(kl); i++) {
        double w = json_number_value(json_array_get(want, i));
        tr_kl_control_update(&c, json_number_value(json_array_get(kl, i)), n);
        e = fmax(e, fabs(c.coef - w) / fabs(w));
    }
    tr_golden_case(g, name, e, 1e-6);
}

void tr_golden_f5_standalone(struct tr_golden *g, const char *part, const char *name)
{
    char path[4600], at[400];
    struct tr_err err = {0};
    struct tr_st *f = NULL;
    json_t *doc = NULL;
    const json_t *o = NULL;
    size_t i = 0;
    snprintf(path, sizeof path, "%s/standalone.safetensors", part);
    enum tr_status st = tr_st_open(path, &f, &err);
    snprintf(path, sizeof path, "%s/standalone.json", part);
    if (st == TR_OK) st = tr_json_load(path, 64U << 20U, &doc, &err);
    if (st != TR_OK) tr_golden_fail(g, name, "%s", err.text);
    json_array_foreach(json_object_get(doc, "cases"), i, o)
    {
        struct alone x = {.g = g, .o = o};
        snprintf(x.name, sizeof x.name, "%s/standalone/%zu", name, i);
        if (read_case(&x, f, i)) {
            check_advantages(&x);
            check_losses(&x);
        } else {
            tr_golden_fail(g, x.name, "its arrays do not fit each other");
        }
        close_case(&x);
    }
    json_array_foreach(json_object_get(doc, "adaptive_kl"), i, o)
    {
        snprintf(at, sizeof at, "%s/standalone/adaptive_kl/%zu", name, i);
        check_controller(g, at, o);
    }
    json_decref(doc);
    tr_st_close(f);
}

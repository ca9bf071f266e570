/* golden.json: numbers of the formulas themselves, made by an independent script. Tolerances:
 * integers exact; the file has f64 numbers of which some are rounded to 6 places: abs 1e-6. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/learn/gae.h"
#include "core/learn/kl.h"
#include "core/learn/kto.h"
#include "core/learn/pairs.h"
#include "core/learn/ppo.h"
#include "core/learn/schedule.h"
#include "core/text/examples.h"
#include "kernels/softmax.h"
#include "tests/golden/golden.h"

enum { MOST = 64 };

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return v ? json_number_value(v) : (double)NAN;
}

static double item(const json_t *a, size_t i)
{
    const json_t *v = json_array_get(a, i);
    return v ? json_number_value(v) : (double)NAN;
}

static double worse(double e, double got, double want)
{
    double d = fabs(got - want);
    return isnan(d) ? (double)INFINITY : fmax(e, d);
}

static double fit(const struct tr_golden *g, const json_t *rows)
{
    double e = 0;
    (void)g;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *r = json_array_get(rows, i);
        int64_t s = 0;
        int64_t t = 0;
        tr_fit((int64_t)item(r, 0), (int64_t)item(r, 1), (int64_t)item(r, 2), &s, &t);
        e = worse(e, (double)s, item(r, 3));
        e = worse(e, (double)t, item(r, 4));
    }
    return e;
}

/* dft_mean, the weighted loss of use_dft_loss, is not computed here: it comes with that key. */
static double sft(const struct tr_golden *g, const json_t *o)
{
    const json_t *logits = json_object_get(o, "logits");
    size_t rows = json_array_size(logits);
    double sum = 0;
    double e = 0;
    for (size_t i = 0; i < rows; i++) {
        const json_t *row = json_array_get(logits, i);
        size_t V = json_array_size(row);
        float z[MOST];
        float logp = 0;
        int32_t target = (int32_t)item(json_object_get(o, "targets"), i);
        for (size_t v = 0; v < V && v < MOST; v++) z[v] = (float)item(row, v);
        tr_logprob(g->ex, z, 1, (int64_t)V, &target, &logp, NULL, NULL);
        e = worse(e, -(double)logp, item(json_object_get(o, "nll"), i));
        sum -= (double)logp;
    }
    return worse(e, sum / (double)rows, number(o, "mean"));
}

static double rm(const struct tr_golden *g, const json_t *o)
{
    const json_t *chosen = json_object_get(o, "chosen");
    const json_t *rejected = json_object_get(o, "rejected");
    struct tr_pair_sums sums = {0};
    size_t n = json_array_size(chosen);
    (void)g;
    for (size_t i = 0; i < n; i++) {
        float a;
        float b;
        tr_pair_add(&sums, (float)item(chosen, i), (float)item(rejected, i), (double)n,
                    &a, &b);
    }
    double e = worse(0, sums.loss / (double)n, number(o, "loss"));
    return worse(e, (double)sums.right / (double)n, number(o, "accuracy"));
}

static double kto(const struct tr_golden *g, const json_t *o)
{
    const json_t *diffs = json_object_get(o, "kl_diffs");
    const json_t *rho = json_object_get(o, "rho");
    const struct tr_kto k = {number(o, "beta"), 1, 1, 0};
    double policy[MOST] = {0};
    double reference[MOST] = {0};
    double sum = 0;
    size_t n = json_array_size(diffs);
    (void)g;
    for (size_t i = 0; i < n && i < MOST; i++) policy[i] = item(diffs, i);
    double z0 = tr_kto_z0(policy, reference, (int64_t)n);
    double e = worse(0, z0, number(o, "z0"));
    n = json_array_size(rho);
    for (size_t i = 0; i < n; i++) {
        double slope;
        bool mark = json_is_true(json_array_get(json_object_get(o, "tags"), i));
        double loss = tr_kto_loss(&k, z0, mark, item(rho, i), &slope);
        e = worse(e, loss, item(json_object_get(o, "losses"), i));
        sum += loss;
    }
    return worse(e, sum / (double)n, number(o, "mean"));
}

/* Steps 0, 1, 10, 11, 55 and 99 of 100, 10 of them warm-up (ALGORITHMS.md 18). */
static double lr(const struct tr_golden *g, const json_t *o)
{
    static const int64_t step[] = {0, 1, 10, 11, 55, 99};
    const char *name = NULL;
    const json_t *want = NULL;
    double e = 0;
    (void)g;
    /* jansson's iterators take no const */
    json_object_foreach((json_t *)(uintptr_t)o, // NOLINT(performance-no-int-to-ptr)
                        name, want)
    {
        struct tr_schedule c;
        if (tr_schedule_named(name, &c, NULL) != TR_OK) return (double)INFINITY;
        c.warmup = 10;
        c.total = 100;
        c.lr = 1;
        for (size_t i = 0; i < sizeof step / sizeof *step; i++)
            e = worse(e, tr_schedule_factor(&c, step[i]), item(want, i));
    }
    return e;
}

static double kl_ctl(const struct tr_golden *g, const json_t *o)
{
    struct tr_kl_control c = {.coef = number(o, "start"),
                              .adaptive = true,
                              .target = number(o, "target"),
                              .horizon = 10000};
    const json_t *kl = json_object_get(o, "K");
    double e = 0;
    (void)g;
    for (size_t i = 0; i < json_array_size(kl); i++) {
        tr_kl_control_update(&c, item(kl, i), (int64_t)number(o, "n"));
        e = worse(e, c.coef, item(json_object_get(o, "kappa"), i));
    }
    return e;
}

static double running(const struct tr_golden *g, const json_t *rows)
{
    struct tr_moments m = tr_moments_start();
    double e = 0;
    (void)g;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *r = json_array_get(rows, i);
        const json_t *batch = json_object_get(r, "batch");
        double score[MOST] = {0};
        size_t n = json_array_size(batch);
        for (size_t k = 0; k < n && k < MOST; k++) score[k] = item(batch, k);
        tr_moments_update(&m, score, (int64_t)n);
        e = worse(e, m.mean, number(r, "mean"));
        e = worse(e, m.std, number(r, "std"));
        e = worse(e, tr_moments_scale(&m, score[0]), number(r, "first_normalised"));
    }
    return e;
}

/* The masked places of row i of a [rows, T] array, in order; returns how many. */
static int64_t masked(const json_t *o, const char *key, size_t i, float *out)
{
    const json_t *mask = json_array_get(json_object_get(o, "mask"), i);
    const json_t *row = json_array_get(json_object_get(o, key), i);
    int64_t n = 0;
    for (size_t t = 0; t < json_array_size(mask) && n < MOST; t++)
        if (item(mask, t) > 0) out[n++] = (float)item(row, t);
    return n;
}

static double ppo_row(const json_t *o, size_t i, float *advantage, int64_t *n)
{
    float logp[MOST];
    float ref[MOST];
    float value[MOST];
    float kl[MOST];
    float reward[MOST];
    float returns[MOST];
    float want[MOST];
    double e = 0;
    *n = masked(o, "logp_old", i, logp);
    masked(o, "logp_ref", i, ref);
    masked(o, "value_old", i, value);
    for (int64_t t = 0; t < *n; t++)
        kl[t] = (float)tr_kl_token(TR_KL_PLAIN, logp[t], ref[t]);
    tr_kl_rewards(number(o, "kappa"), kl, *n, item(json_object_get(o, "score"), i),
                  reward);
    tr_gae_run((struct tr_gae){.gamma = 1, .lambda = 0.95}, *n, reward, value, 0,
               advantage, returns);
    masked(o, "rewards_masked", i, want);
    e = fmax(e, tr_golden_abs(reward, want, *n));
    masked(o, "returns", i, want);
    e = fmax(e, tr_golden_abs(returns, want, *n));
    masked(o, "adv_raw", i, want);
    return fmax(e, tr_golden_abs(advantage, want, *n));
}

/* Both losses of row i; *kl adds up over the rows. */
static void ppo_losses(const json_t *o, size_t i, const float *advantage,
                       struct tr_ppo_sums *policy, struct tr_ppo_sums *value, double *kl)
{
    float x[MOST], old[MOST], ref[MOST], v[MOST], v_old[MOST], returns[MOST];
    int64_t n = masked(o, "logp_new", i, x);
    masked(o, "logp_old", i, old);
    masked(o, "logp_ref", i, ref);
    masked(o, "value_new", i, v);
    masked(o, "value_old", i, v_old);
    masked(o, "returns", i, returns);
    for (int64_t t = 0; t < n; t++) {
        tr_ppo_policy(policy, 0.2, 1, x[t], old[t], advantage[t]);
        tr_ppo_value(value, 0.2, 1, v[t], v_old[t], returns[t]);
        *kl += (double)old[t] - (double)ref[t];
    }
}

static double ppo(const struct tr_golden *g, const json_t *o)
{
    struct tr_ppo_sums policy = {0}, value = {0};
    double kl = 0;
    float advantage[MOST];
    float want[MOST];
    int64_t n = 0;
    double e = 0;
    (void)g;
    size_t rows = json_array_size(json_object_get(o, "mask"));
    for (size_t i = 0; i < rows && n < MOST / 2; i++) {
        int64_t k = 0;
        e = fmax(e, ppo_row(o, i, advantage + n, &k));
        n += k;
    }
    tr_whiten(advantage, n, false);
    int64_t at = 0;
    for (size_t i = 0; i < rows; i++) {
        ppo_losses(o, i, advantage + at, &policy, &value, &kl);
        at += masked(o, "adv_white", i, want + at);
    }
    double policy_mean = policy.loss / (double)n, value_mean = value.loss / (double)n;
    e = worse(e, policy_mean, number(o, "L_p"));
    e = worse(e, value_mean, number(o, "L_v"));
    e = worse(e, policy_mean + 0.1 * value_mean, number(o, "loss"));
    e = worse(e, policy.ratio / (double)n, number(o, "mean_ratio"));
    e = worse(e, kl / (double)rows, number(o, "K"));
    return fmax(e, tr_golden_abs(advantage, want, n));
}

static const struct {
    const char *key;
    double (*error)(const struct tr_golden *g, const json_t *value);
    double tolerance;
} kinds[] = {
    {"fit", fit, 0},
    {"sft", sft, 1e-6},
    {"rm", rm, 1e-6},
    {"kto", kto, 1e-12},
    {"lr", lr, 1e-6},
    {"kl_ctl", kl_ctl, 1e-9},
    {"running", running, 1e-9},
    {"ppo", ppo, 1e-6},
};

void tr_golden_vectors(struct tr_golden *g, const char *path)
{
    struct tr_err err = {0};
    json_t *doc = NULL;
    const char *key = NULL;
    const json_t *value = NULL;
    if (tr_json_load(path, 1U << 20U, &doc, &err) != TR_OK) {
        tr_golden_fail(g, "golden.json", "%s", err.text);
        return;
    }
    json_object_foreach(doc, key, value)
    {
        char name[128];
        size_t i = 0;
        snprintf(name, sizeof name, "golden.json/%s", key);
        while (i < sizeof kinds / sizeof *kinds && strcmp(kinds[i].key, key) != 0) i++;
        if (i < sizeof kinds / sizeof *kinds)
            tr_golden_case(g, name, kinds[i].error(g, value), kinds[i].tolerance);
        else if (!tr_golden_later(g, name))
            tr_golden_fail(g, name, "this kind of case is not known");
    }
    json_decref(doc);
}

/* F10's kto_global: 16 rows that are one optimiser step, with one baseline, whatever the micro-batches.
 *
 * Tolerances are those of the fixture's README, which measured f32 against f64: summed log-probs
 * abs 2e-4; loss and z0 abs 5e-6; gradients 1e-5 of the tensor's largest entry. For what it does not name:
 * rewards are beta times a difference of sums, abs 2e-4; an example's loss moves by at most w beta / 4
 * of that, abs 2e-5; the gradient's norm abs 1e-5. Micro-batches of 1 and 2 rows must give the bits of
 * the whole. */
#include <dirent.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "tests/golden/kto_rows.h"
#include "tests/golden/steps.h"

enum { SAMPLED = 17 };

static void tell(const struct tr_kto_rows *k, const char *what, double error,
                 double tolerance)
{
    char at[600];
    snprintf(at, sizeof at, "%s/%s", k->name, what);
    tr_golden_case(k->g, at, isnan(error) ? (double)INFINITY : error, tolerance);
}

static void check_log_probs(const struct tr_kto_rows *k, const json_t *want)
{
    static const char *const key[2][2] = {{"policy_logps", "policy_kl_logps"},
                                          {"reference_logps", "reference_kl_logps"}};
    static const enum tr_stage_judge who[2] = {TR_STAGE_POLICY, TR_STAGE_REFERENCE};
    double sum[2][2][TR_KTO_ROWS];
    double reward[TR_KTO_ROWS];
    double loss[TR_KTO_ROWS];
    for (int w = 0; w < 2; w++)
        for (int seq = 0; seq < 2; seq++) {
            if (!tr_kto_rows_sums(k, who[w], seq, sum[w][seq])) return;
            tr_kto_rows_case(k, key[w][seq], -1, sum[w][seq],
                             json_object_get(want, key[w][seq]), 2e-4);
        }
    tr_kto_rows_examples(k, sum[0][0], sum[1][0], reward, loss);
    tr_kto_rows_case(k, "rewards", -1, reward, json_object_get(want, "rewards"), 2e-4);
    tr_kto_rows_case(k, "losses", -1, loss, json_object_get(want, "losses"), 2e-5);
}

/* The gradient in micro-batches of so many rows: its bits against `whole`. */
static void check_split(const struct tr_kto_rows *k, const char *dir, int64_t rows,
                        const struct tr_learn_result *whole, const float *want)
{
    char model[4600];
    char what[64];
    struct tr_learn_result r;
    const float *grad = NULL;
    int64_t wrong = 1;
    snprintf(model, sizeof model, "%s/policy", dir);
    struct tr_learner *l = tr_steps_open(k->g, k->name, model, false, 512, rows);
    if (l && tr_learner_gradient(l, &k->task, &r, &grad, NULL) == TR_OK) {
        int64_t n = tr_params_total(tr_learner_params(l));
        wrong = r.loss != whole->loss || r.grad_norm != whole->grad_norm;
        for (int64_t i = 0; i < n; i++)
            wrong += memcmp(&grad[i], &want[i], sizeof *grad) != 0;
    }
    tr_learner_close(l);
    snprintf(what, sizeof what, "micro-batches of %lld", (long long)rows);
    tell(k, what, (double)wrong, 0);
}

static void check_step(const struct tr_kto_rows *k, const char *part, const char *dir,
                       const char *key, const json_t *want)
{
    static const struct {
        const char *stem;
        int64_t stride;
    } file[] = {{"grads", 1}, {"grads_sampled", SAMPLED}};
    char at[600];
    char path[4700];
    int found = 0;
    struct tr_learn_result r;
    struct tr_err err = {0};
    const float *grad = NULL;
    if (tr_learner_gradient(k->policy, &k->task, &r, &grad, &err) != TR_OK) {
        tr_golden_fail(k->g, k->name, "%s", err.text);
        return;
    }
    tell(k, "loss", fabs(r.loss - json_number_value(json_object_get(want, "loss"))),
         5e-6);
    tell(k, "z0", fabs(r.kl - json_number_value(json_object_get(want, "z0"))), 5e-6);
    tell(k, "grad_norm",
         fabs(r.grad_norm - json_number_value(json_object_get(want, "grad_norm"))), 1e-5);
    snprintf(at, sizeof at, "%s/gradients", k->name);
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s.%s.safetensors", part, file[i].stem, key);
        if (!tr_path_exists(path)) continue;
        tr_steps_compare(k->g, at, k->policy, grad, path, file[i].stride, 0, 1e-5, true);
        found++;
    }
    if (!found) tr_golden_fail(k->g, at, "no file of gradients");
    check_split(k, dir, 1, &r, grad);
    check_split(k, dir, 2, &r, grad);
}

static void run_case(struct tr_golden *g, const char *global, const char *name,
                     const char *models, const char *key)
{
    char at[500];
    char path[4700];
    char batch[4700];
    json_t *want = NULL;
    struct tr_err err = {0};
    struct tr_kto_rows k = {0};
    snprintf(at, sizeof at, "%s.%s", name, key);
    snprintf(path, sizeof path, "%s/expected.%s.json", global, key);
    snprintf(batch, sizeof batch, "%s/batch.%s.safetensors", global, key);
    if (tr_json_load(path, 64U << 20U, &want, &err) != TR_OK) {
        tr_golden_fail(g, at, "%s", err.text);
        return;
    }
    if (tr_kto_rows_open(g, at, models, batch, json_object_get(want, "config"), &k)) {
        check_log_probs(&k, want);
        check_step(&k, global, models, key, want);
    }
    tr_kto_rows_close(&k);
    json_decref(want);
}

/* PART/kto_global: a case for each expected.CASE.json; policy/ and reference/ lie in PART. */
void tr_golden_f10_kto(struct tr_golden *g, const char *part, const char *name)
{
    struct dirent **e = NULL;
    char folder[4600];
    char at[400];
    snprintf(folder, sizeof folder, "%s/kto_global", part);
    snprintf(at, sizeof at, "%s/kto_global", name);
    int n = scandir(folder, &e, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        const char *file = e[i]->d_name;
        char key[64];
        if (!fnmatch("expected.*.json", file, 0)) {
            snprintf(key, sizeof key, "%.*s", (int)(strlen(file) - 14), file + 9);
            run_case(g, folder, at, part, key);
        } else if (fnmatch("batch.*", file, 0) &&
                   fnmatch("grads*.safetensors", file, 0) && file[0] != '.') {
            tr_golden_fail(g, at, "%s: not understood", file);
        }
        free(e[i]);
    }
    free(e);
}

/* F4's KTO cases: one batch that is one micro-batch, through plan, evaluators and learner.
 *
 * Tolerances. Summed log-probs abs 2e-4, gradients 1e-4 of the tensor's largest entry, loss and norm
 * rel 1e-5, as all of F4. A reward is beta (here up to 0.5) times the difference of two sums, so abs
 * 2e-4 as well; z0 is a mean of such differences, and the file's are of f32 sums near 100 (an ulp
 * there is 8e-6): abs 2e-5. An example's loss moves by at most w beta / 4 of its difference's
 * error: abs 2e-5. The mean log-prob of a token: abs 2e-5, as its sum over at least 5 tokens. The metrics
 * logits/... are sums over padding too: not compared. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "tests/golden/kto_rows.h"
#include "tests/golden/steps.h"

struct f4_kto {
    const char *part;
    struct tr_kto_rows rows;
    const json_t *want;
    double policy[2][TR_KTO_ROWS], reference[2][TR_KTO_ROWS]; /* targets, twins */
};

static void tell(const struct f4_kto *x, const char *what, double error, double tolerance)
{
    char at[600];
    snprintf(at, sizeof at, "%s/%s", x->rows.name, what);
    tr_golden_case(x->rows.g, at, isnan(error) ? (double)INFINITY : error, tolerance);
}

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

static void check_log_probs(const struct f4_kto *x)
{
    static const struct {
        const char *key;
        bool policy;
        int seq, mark;
    } row[] = {
        {"policy_chosen_logps", true, 0, 1},
        {"policy_rejected_logps", true, 0, 0},
        {"policy_kl_logps", true, 1, -1},
        {"reference_chosen_logps", false, 0, 1},
        {"reference_rejected_logps", false, 0, 0},
        {"reference_kl_logps", false, 1, -1},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        tr_kto_rows_case(&x->rows, row[i].key, row[i].mark,
                         row[i].policy ? x->policy[row[i].seq] : x->reference[row[i].seq],
                         json_object_get(x->want, row[i].key), 2e-4);
    double mean[TR_KTO_ROWS];
    for (int64_t i = 0; i < x->rows.n; i++) {
        const struct tr_sequence *s = &tr_examples_get(x->rows.examples, i)->seq[0];
        int64_t n = 0;
        for (int64_t t = 1; t < s->count; t++) n += s->label[t] != TR_IGNORE;
        mean[i] = x->policy[0][i] / (double)n;
    }
    tr_kto_rows_case(&x->rows, "policy_chosen_logps_avg", 1, mean,
                     json_object_get(x->want, "policy_chosen_logps_avg"), 2e-5);
}

/* The file lists losses chosen first, then rejected; rewards by mark. */
static void check_examples(const struct f4_kto *x)
{
    double reward[TR_KTO_ROWS];
    double loss[TR_KTO_ROWS];
    double ordered = 0;
    size_t at = 0;
    const json_t *losses = json_object_get(x->want, "losses");
    tr_kto_rows_examples(&x->rows, x->policy[0], x->reference[0], reward, loss);
    tr_kto_rows_case(&x->rows, "chosen_rewards", 1, reward,
                     json_object_get(x->want, "chosen_rewards"), 2e-4);
    tr_kto_rows_case(&x->rows, "rejected_rewards", 0, reward,
                     json_object_get(x->want, "rejected_rewards"), 2e-4);
    for (int mark = 1; mark >= 0; mark--)
        for (int64_t i = 0; i < x->rows.n; i++) {
            if (tr_examples_get(x->rows.examples, i)->desirable != mark) continue;
            const json_t *w = json_array_get(losses, at++);
            double e = fabs(loss[i] - json_number_value(w));
            ordered = fmax(ordered, json_is_number(w) ? e : (double)INFINITY);
        }
    tell(x, "losses", at == json_array_size(losses) ? ordered : (double)INFINITY, 2e-5);
}

/* A metric of the peer is a sum; it is missing where there is no example. */
static void check_metrics(const struct f4_kto *x, const struct tr_learn_result *r)
{
    const json_t *m = json_object_get(x->want, "metrics");
    const struct {
        const char *count, *reward, *logp;
        int64_t n;
        double rewards, logps;
    } side[2] = {{"count/chosen", "rewards/chosen_sum", "logps/chosen_sum", r->chosen,
                  r->chosen_reward, r->chosen_logp},
                 {"count/rejected", "rewards/rejected_sum", "logps/rejected_sum",
                  r->rejected, r->rejected_reward, r->rejected_logp}};
    double counts = 0;
    double rewards = 0;
    double logps = 0;
    for (int i = 0; i < 2; i++) {
        double n = (double)side[i].n;
        bool there = json_object_get(m, side[i].count) != NULL;
        counts = fmax(counts, there ? fabs(n - number(m, side[i].count)) : n);
        if (!there) continue;
        rewards =
            fmax(rewards, fabs(n * side[i].rewards - number(m, side[i].reward)) / n);
        logps = fmax(logps, fabs(n * side[i].logps - number(m, side[i].logp)) / n);
    }
    tell(x, "metrics/count", counts, 0);
    tell(x, "metrics/rewards", rewards, 2e-4);
    tell(x, "metrics/logps", logps, 2e-4);
    tell(x, "metrics/kl", fabs(r->kl - number(m, "kl")), 2e-5);
}

static void check_step(const struct f4_kto *x, const char *key)
{
    char path[4700];
    char at[600];
    struct tr_learn_result r;
    struct tr_err err = {0};
    const float *grad = NULL;
    struct tr_golden *g = x->rows.g;
    if (tr_learner_gradient(x->rows.policy, &x->rows.task, &r, &grad, &err) != TR_OK) {
        tr_golden_fail(g, x->rows.name, "%s", err.text);
        return;
    }
    double loss = number(x->want, "loss");
    double norm = number(x->want, "grad_norm");
    tell(x, "loss", fabs(r.loss - loss) / fabs(loss), 1e-5);
    tell(x, "kl", fabs(x->rows.task.seq.z0[0] - number(x->want, "kl")), 2e-5);
    tell(x, "grad_norm", fabs(r.grad_norm - norm) / norm, 1e-5);
    check_metrics(x, &r);
    snprintf(at, sizeof at, "%s/gradients", x->rows.name);
    snprintf(path, sizeof path, "%s/grads.kto.%s.checksums.json", x->part, key);
    if (tr_path_exists(path)) {
        json_t *sums = NULL;
        if (tr_json_load(path, 64U << 20U, &sums, &err) == TR_OK)
            tr_steps_checksums(g, at, x->rows.policy, grad, sums, 1e-4);
        else
            tr_golden_fail(g, at, "%s", err.text);
        json_decref(sums);
        return;
    }
    snprintf(path, sizeof path, "%s/grads.kto.%s.safetensors", x->part, key);
    tr_steps_compare(g, at, x->rows.policy, grad, path, 1, 0, 1e-4, true);
}

void tr_golden_f4_kto(struct tr_golden *g, const char *part, const char *name,
                      json_t *cases)
{
    const char *key = NULL;
    json_t *want = NULL;
    json_object_foreach(cases, key, want)
    {
        char at[500];
        char batch[4700];
        struct f4_kto x = {.part = part, .want = want};
        snprintf(at, sizeof at, "%s/kto.%s", name, key);
        snprintf(batch, sizeof batch, "%s/kto_batch.%s.safetensors", part, key);
        const json_t *config = json_object_get(want, "config");
        if (tr_kto_rows_open(g, at, part, batch, config, &x.rows) &&
            tr_kto_rows_sums(&x.rows, TR_STAGE_POLICY, 0, x.policy[0]) &&
            tr_kto_rows_sums(&x.rows, TR_STAGE_POLICY, 1, x.policy[1]) &&
            tr_kto_rows_sums(&x.rows, TR_STAGE_REFERENCE, 0, x.reference[0]) &&
            tr_kto_rows_sums(&x.rows, TR_STAGE_REFERENCE, 1, x.reference[1])) {
            check_log_probs(&x);
            check_examples(&x);
            check_step(&x, key);
        }
        tr_kto_rows_close(&x.rows);
    }
}

/* F10: here its bf16 part (forward weights rounded to bf16, all arithmetic f32); f10_ppo.c has the
 * separate critic, and what is left is in the table of later cases. Tolerances are those of the fixture's README, which measured f32
 * against f64: rounding exact; logits and log-probs abs 5e-5; first gradients 1e-5 of the
 * tensor's largest entry; loss of step 1 rel 1e-5, later losses and norms abs 3e-4; masters: 99.9 %
 * quantile 1e-5, max 5e-4 (a master next to a rounding tie can flip). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/head.h"
#include "kernels/mat.h"
#include "tests/golden/rows.h"
#include "tests/golden/steps.h"

enum { TR_F10_TOKENS = 4096, TR_F10_ROWS = 64 };

/* PART/bf16_forward and the F1 part that its weights and batches come from. */
struct bf16 {
    char part[4400], name[300];
    char model[4400]; /* DIR/F1/x/tiny-llama/model */
    char f1[4400];    /* the folder above it */
    json_t *expected; /* owns */
};

static bool open_file(struct tr_golden *g, const struct bf16 *b, const char *dir,
                      const char *file, struct tr_st **out)
{
    char path[4600];
    struct tr_err err = {0};
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (tr_st_open(path, out, &err) == TR_OK) return true;
    tr_golden_fail(g, b->name, "%s", err.text);
    return false;
}

static void check_rounding(struct tr_golden *g, const struct bf16 *b)
{
    struct tr_st *f = NULL;
    char at[400];
    int64_t n = 0;
    int64_t wrong = 0;
    snprintf(at, sizeof at, "%s/rounding", b->name);
    if (!open_file(g, b, b->part, "rounding.safetensors", &f)) return;
    int64_t *x = tr_golden_ids(g, at, f, "x_bits", &n);
    int64_t *y = tr_golden_ids(g, at, f, "y_bits", &n);
    for (int64_t i = 0; x && y && i < n; i++) {
        uint32_t bits = (uint32_t)x[i];
        float from;
        memcpy(&from, &bits, sizeof from);
        wrong += tr_bf16_round(from) != (uint16_t)y[i];
    }
    if (x && y) tr_golden_case(g, at, (double)wrong, 0);
    free(x);
    free(y);
    tr_st_close(f);
}

/* Logits and next-token log-probs of one padded batch, back in their places. */
static void check_batch(struct tr_golden *g, const struct bf16 *b,
                        const struct tr_learner *l, const struct tr_st *batches,
                        const struct tr_st *want, const char *prefix)
{
    struct tr_trunk_size size = {.max_tokens = TR_F10_TOKENS,
                                 .max_sequences = TR_F10_ROWS};
    const struct tr_arch *a = tr_learner_arch(l);
    struct tr_trunk *trunk = NULL;
    struct tr_head *head = NULL;
    struct tr_rows r = {0};
    struct tr_err err = {0};
    char at[500];
    char key[256];
    const float *hidden = NULL;
    float *logits = NULL;
    float *logp = NULL;
    float *z = NULL;
    float *lp = NULL;
    int64_t *row = NULL;
    int32_t *target = NULL;
    int64_t n = 0;
    snprintf(at, sizeof at, "%s/%s", b->name, prefix);
    if (!tr_rows_read(g, at, batches, prefix, &r)) return;
    snprintf(key, sizeof key, "%s.logits", prefix);
    logits = tr_golden_floats(g, at, want, key, &n);
    snprintf(key, sizeof key, "%s.token_logprobs", prefix);
    logp = tr_golden_floats(g, at, want, key, &n);
    z = calloc((size_t)(r.n * a->V), sizeof *z);
    lp = calloc((size_t)r.n, sizeof *lp);
    row = calloc((size_t)r.n, sizeof *row);
    target = calloc((size_t)r.n, sizeof *target);
    struct tr_batch batch = tr_rows_batch(&r);
    if (!logits || !logp || !z || !lp || !row || !target ||
        tr_trunk_create(a, &size, &trunk, &err) != TR_OK ||
        tr_head_create(a, TR_F10_TOKENS, &head, &err) != TR_OK ||
        tr_trunk_forward(trunk, g->ex, tr_learner_weights(l), &batch, NULL, NULL, &hidden,
                         &err) != TR_OK) {
        tr_golden_fail(g, at, "%s", err.text);
        goto done;
    }
    struct tr_head_rows rows = {.row = row, .target = target};
    rows.n = tr_rows_next(&r, row, target);
    tr_head_logprob(head, g->ex, tr_learner_weights(l), hidden, &rows, lp, NULL);
    double e = 0;
    for (int64_t i = 0; i < rows.n; i++) {
        int64_t place = r.place[row[i]];
        int64_t in = place / r.T * (r.T - 1) + place % r.T;
        e = fmax(e, fabs((double)lp[i] - (double)logp[in]));
    }
    snprintf(at, sizeof at, "%s/%s.token_logprobs", b->name, prefix);
    tr_golden_case(g, at, e, 5e-5);
    for (int64_t i = 0; i < r.n; i++) row[i] = i;
    tr_head_logits(head, g->ex, tr_learner_weights(l), hidden, row, r.n, z);
    e = 0;
    for (int64_t i = 0; i < r.n; i++)
        e = fmax(e, tr_golden_abs(z + i * a->V, logits + r.place[i] * a->V, a->V));
    snprintf(at, sizeof at, "%s/%s.logits", b->name, prefix);
    tr_golden_case(g, at, e, 5e-5);
done:
    tr_head_destroy(head);
    tr_trunk_destroy(trunk);
    tr_rows_fini(&r);
    free(logits);
    free(logp);
    free(z);
    free(lp);
    free(row);
    free(target);
}

static void check_forward(struct tr_golden *g, const struct bf16 *b,
                          const struct tr_learner *l)
{
    struct tr_st *want = NULL;
    struct tr_st *batches = NULL;
    if (open_file(g, b, b->part, "forward.safetensors", &want) &&
        open_file(g, b, b->f1, "forward.safetensors", &batches)) {
        for (int64_t i = 0; i < tr_st_count(want); i++) {
            char prefix[128];
            const char *name = tr_st_get(want, i)->name;
            const char *end = strstr(name, ".logits");
            if (!end) continue;
            snprintf(prefix, sizeof prefix, "%.*s", (int)(end - name), name);
            check_batch(g, b, l, batches, want, prefix);
        }
    }
    tr_st_close(want);
    tr_st_close(batches);
}

/* Step k's loss and norm; then its masters against whichever file the part has. */
static void check_step(struct tr_golden *g, const struct bf16 *b, struct tr_learner *l,
                       const struct tr_st *batches, size_t k, const json_t *want)
{
    char at[500];
    char path[4700];
    char prefix[32];
    struct tr_learn_result res;
    double loss = json_number_value(json_object_get(want, "loss"));
    double norm = json_number_value(json_object_get(want, "grad_norm"));
    snprintf(prefix, sizeof prefix, "step%zu", k);
    snprintf(at, sizeof at, "%s/step%zu", b->name, k + 1);
    if (!tr_steps_run(g, at, l, batches, prefix, 0.01, NULL, &res)) return;
    snprintf(at, sizeof at, "%s/step%zu/loss", b->name, k + 1);
    tr_golden_case(g, at, fabs(res.loss - loss), k == 0 ? 1e-5 * fabs(loss) : 3e-4);
    snprintf(at, sizeof at, "%s/step%zu/grad_norm", b->name, k + 1);
    tr_golden_case(g, at, fabs(res.grad_norm - norm), 3e-4);
    const float *master = tr_learner_state(l).master;
    snprintf(at, sizeof at, "%s/step%zu/checksums", b->name, k + 1);
    tr_steps_checksums(g, at, l, master, json_object_get(want, "checksums_masters"),
                       1e-5);
    snprintf(at, sizeof at, "%s/step%zu/masters", b->name, k + 1);
    snprintf(path, sizeof path, "%s/masters_after_%zu.safetensors", b->part, k + 1);
    if (tr_path_exists(path))
        tr_steps_compare(g, at, l, master, path, 1, 1e-5, 5e-4, false);
    snprintf(path, sizeof path, "%s/masters_after_%zu_sampled.safetensors", b->part,
             k + 1);
    if (tr_path_exists(path))
        tr_steps_compare(g, at, l, master, path, 17, 1e-5, 5e-4, false);
}

static void check_training(struct tr_golden *g, const struct bf16 *b,
                           struct tr_learner *l)
{
    struct tr_st *batches = NULL;
    struct tr_learn_result res;
    const float *grad = NULL;
    const json_t *want = NULL;
    size_t k = 0;
    char at[500];
    char path[4600];
    if (!open_file(g, b, b->f1, "sft_batches.safetensors", &batches)) return;
    snprintf(at, sizeof at, "%s/grads", b->name);
    snprintf(path, sizeof path, "%s/grads.safetensors", b->part);
    if (tr_steps_run(g, at, l, batches, "step0", 0.01, &grad, &res))
        tr_steps_compare(g, at, l, grad, path, 1, 0, 1e-5, true);
    json_array_foreach(json_object_get(b->expected, "steps"), k, want)
        check_step(g, b, l, batches, k, want);
    tr_st_close(batches);
}

static void run_bf16(struct tr_golden *g, const char *part, const char *name)
{
    struct bf16 b = {0};
    struct tr_err err = {0};
    char path[4600];
    const char *weights = NULL;
    snprintf(b.part, sizeof b.part, "%s/bf16_forward", part);
    snprintf(b.name, sizeof b.name, "%s/bf16_forward", name);
    snprintf(path, sizeof path, "%s/expected.json", b.part);
    if (tr_json_load(path, 64U << 20U, &b.expected, &err) != TR_OK ||
        tr_json_string(b.expected, "weights", path, &weights, &err) != TR_OK) {
        tr_golden_fail(g, b.name, "%s", err.text);
        json_decref(b.expected);
        return;
    }
    snprintf(b.model, sizeof b.model, "%s/%s", g->dir, weights);
    snprintf(b.f1, sizeof b.f1, "%s", b.model);
    char *slash = strrchr(b.f1, '/');
    if (slash) *slash = 0;
    check_rounding(g, &b);
    struct tr_learner *l =
        tr_steps_open(g, b.name, b.model, true, TR_F10_TOKENS, TR_F10_ROWS);
    if (l) {
        check_forward(g, &b, l);
        check_training(g, &b, l);
    }
    tr_learner_close(l);
    json_decref(b.expected);
}

void tr_golden_f10(struct tr_golden *g, const char *part, const char *name)
{
    static const char *const others[] = {"group_advantages.safetensors"};
    char path[4600];
    char at[400];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(path, sizeof path, "%s/%s", part, others[i]);
        snprintf(at, sizeof at, "%s/%s", name, others[i]);
        if (tr_path_exists(path) && !tr_golden_later(g, at))
            tr_golden_fail(g, at, "this kind of case is not known");
    }
    snprintf(path, sizeof path, "%s/bf16_forward", part);
    if (tr_path_is_dir(path)) run_bf16(g, part, name);
    snprintf(path, sizeof path, "%s/separate_critic", part);
    if (tr_path_is_dir(path)) tr_golden_f10_critic(g, part, name);
    snprintf(path, sizeof path, "%s/kto_global", part);
    if (tr_path_is_dir(path)) tr_golden_f10_kto(g, part, name);
}

/* F4: losses and gradients. SFT over several micro-batches (each summed NLL divided by the labels
 * of all) and the reward model's pairs, through the real learner; KTO's are in f4_kto.c; DPO's are in the
 * table of later cases. Tolerances, f32 with another order of summation: losses and gradient norms rel
 * 1e-5, gradients 1e-4 of the tensor's largest entry, values abs 2e-4; accuracy exact. */
#include <dirent.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/learn/tokens.h"
#include "tests/golden/rows.h"
#include "tests/golden/steps.h"

enum { TR_F4_TOKENS = 8192, TR_F4_ROWS = 256 };

struct f4 {
    struct tr_golden *g;
    char part[4400], name[300];
};

static json_t *load(const struct f4 *x, const char *at, const char *file)
{
    char path[4600];
    struct tr_err err = {0};
    json_t *doc = NULL;
    snprintf(path, sizeof path, "%s/%s", x->part, file);
    if (tr_json_load(path, 64U << 20U, &doc, &err) != TR_OK)
        tr_golden_fail(x->g, at, "%s", err.text);
    return doc;
}

static struct tr_st *open_arrays(const struct f4 *x, const char *at, const char *file)
{
    char path[4600];
    struct tr_err err = {0};
    struct tr_st *f = NULL;
    snprintf(path, sizeof path, "%s/%s", x->part, file);
    if (tr_st_open(path, &f, &err) != TR_OK) tr_golden_fail(x->g, at, "%s", err.text);
    return f;
}

static double relative(double got, const json_t *want)
{
    double w = json_number_value(want);
    double e = fabs(got - w) / fabs(w);
    return isnan(e) || !json_is_number(want) ? (double)INFINITY : e;
}

/* Gradients as a file of tensors, or of their checksums. */
static void compare_gradients(const struct f4 *x, const char *at, struct tr_learner *l,
                              const float *grad, const char *stem)
{
    char path[4700];
    char file[128];
    snprintf(file, sizeof file, "%s.checksums.json", stem);
    snprintf(path, sizeof path, "%s/%s", x->part, file);
    if (tr_path_exists(path)) {
        json_t *sums = load(x, at, file);
        if (sums) tr_steps_checksums(x->g, at, l, grad, sums, 1e-4);
        json_decref(sums);
        return;
    }
    snprintf(path, sizeof path, "%s/%s.safetensors", x->part, stem);
    tr_steps_compare(x->g, at, l, grad, path, 1, 0, 1e-4, true);
}

/* ---- SFT with accumulation ---- */

/* All micro-batches as one step's sequences. */
struct joined {
    struct tr_sequences seq;
    int64_t first[65]; /* micro-batch k is sequences first[k] .. first[k+1]-1 */
    int micros;
    int64_t *start;         /* owns */
    int32_t *token, *label; /* own */
};

static bool join(const struct f4 *x, const char *at, const struct tr_st *f,
                 struct joined *j)
{
    char key[64];
    *j = (struct joined){0};
    j->start = calloc(TR_F4_ROWS + 1, sizeof *j->start);
    j->token = calloc(TR_F4_TOKENS, sizeof *j->token);
    j->label = calloc(TR_F4_TOKENS, sizeof *j->label);
    bool good = j->start && j->token && j->label;
    for (; good && j->micros < 64; j->micros++) {
        struct tr_rows r;
        char prefix[32];
        snprintf(prefix, sizeof prefix, "micro%d", j->micros);
        snprintf(key, sizeof key, "%s.input_ids", prefix);
        if (!tr_st_find(f, key)) break;
        good = tr_rows_read(x->g, at, f, prefix, &r);
        if (!good) break;
        good = j->seq.T + r.n <= TR_F4_TOKENS && j->seq.S + r.B <= TR_F4_ROWS;
        for (int64_t i = 0; good && i < r.n; i++) {
            j->token[j->seq.T + i] = r.token[i];
            j->label[j->seq.T + i] = r.label[i];
        }
        for (int64_t b = 1; good && b <= r.B; b++)
            j->start[j->seq.S + b] = j->seq.T + r.start[b];
        j->seq.T += r.n;
        j->seq.S += r.B;
        j->first[j->micros + 1] = j->seq.S;
        tr_rows_fini(&r);
    }
    j->seq.start = j->start;
    j->seq.token = j->token;
    j->seq.label = j->label;
    return good && j->micros > 0;
}

static void join_fini(struct joined *j)
{
    free(j->start);
    free(j->token);
    free(j->label);
}

/* The loss of one micro-batch within the step: its part of the sum. */
static double micro_loss(struct tr_learner *l, const struct joined *j, int k,
                         double divisor)
{
    int64_t start[TR_F4_ROWS + 1];
    int64_t s0 = j->first[k];
    int64_t S = j->first[k + 1] - s0;
    int64_t base = j->start[s0];
    struct tr_learn_result r;
    for (int64_t s = 0; s <= S; s++) start[s] = j->start[s0 + s] - base;
    struct tr_learn_task task = {
        .objective = TR_LEARN_TOKENS,
        .seq = {.S = S,
                .T = start[S],
                .start = start,
                .token = j->token + base,
                .label = j->label + base},
        .divisor = divisor,
    };
    return tr_learner_gradient(l, &task, &r, NULL, NULL) == TR_OK ? r.loss : (double)NAN;
}

static void check_accumulation(const struct f4 *x, const char *at, struct tr_learner *l,
                               const struct joined *j, const json_t *expected)
{
    char name[500];
    struct tr_err err = {0};
    struct tr_learn_result r;
    const float *grad = NULL;
    double divisor = (double)tr_token_labels(&j->seq);
    double worst = 0;
    const json_t *micro = json_object_get(expected, "micro_losses");
    snprintf(name, sizeof name, "%s/num_items_in_batch", at);
    double items = json_number_value(json_object_get(expected, "num_items_in_batch"));
    tr_golden_case(x->g, name, fabs(divisor - items), 0);
    for (int k = 0; k < j->micros; k++)
        worst = fmax(worst, relative(micro_loss(l, j, k, divisor),
                                     json_array_get(micro, (size_t)k)));
    snprintf(name, sizeof name, "%s/micro_losses", at);
    tr_golden_case(x->g, name, worst, 1e-5);
    struct tr_learn_task task = {
        .objective = TR_LEARN_TOKENS, .seq = j->seq, .divisor = divisor};
    if (tr_learner_gradient(l, &task, &r, &grad, &err) != TR_OK) {
        tr_golden_fail(x->g, at, "%s", err.text);
        return;
    }
    snprintf(name, sizeof name, "%s/loss", at);
    tr_golden_case(x->g, name, relative(r.loss, json_object_get(expected, "step_loss")),
                   1e-5);
    snprintf(name, sizeof name, "%s/grad_norm", at);
    tr_golden_case(x->g, name,
                   relative(r.grad_norm, json_object_get(expected, "grad_norm")), 1e-5);
    snprintf(name, sizeof name, "%s/gradients", at);
    compare_gradients(x, name, l, grad, "grads.sft_accum");
}

static void run_accumulation(const struct f4 *x)
{
    char at[400];
    char model[4600];
    struct joined j = {0};
    struct tr_learner *l = NULL;
    snprintf(at, sizeof at, "%s/sft_accum", x->name);
    snprintf(model, sizeof model, "%s/policy", x->part);
    json_t *expected = load(x, at, "sft_accum_expected.json");
    struct tr_st *f = open_arrays(x, at, "sft_accum_batches.safetensors");
    if (expected && f) {
        if (!join(x, at, f, &j))
            tr_golden_fail(x->g, at, "micro-batches that cannot be joined");
        else
            l = tr_steps_open(x->g, at, model, false, TR_F4_TOKENS, TR_F4_ROWS);
    }
    if (l) check_accumulation(x, at, l, &j, expected);
    tr_learner_close(l);
    join_fini(&j);
    tr_st_close(f);
    json_decref(expected);
}

/* ---- the reward model ---- */

/* Rows 0 .. B-1 chosen, B .. 2B-1 rejected, as pair after pair. */
struct pairs {
    int64_t B, T;
    int64_t *start, *read_at, *place; /* own; place[i]: index of token i in [2B, T] */
    int32_t *token;                   /* owns */
};

static void pairs_fini(struct pairs *p)
{
    free(p->start);
    free(p->read_at);
    free(p->place);
    free(p->token);
}

static void take_row(struct pairs *p, int64_t row, int64_t s, const int64_t *ids,
                     const int64_t *mask)
{
    int64_t n = p->start[s];
    for (int64_t t = 0; t < p->T; t++) {
        if (!mask[row * p->T + t]) continue;
        p->place[n] = row * p->T + t;
        p->token[n++] = (int32_t)ids[row * p->T + t];
    }
    p->read_at[s] = n - 1;
    p->start[s + 1] = n;
}

static bool pairs_read(const struct f4 *x, const char *at, struct pairs *p)
{
    int64_t n = 0;
    int64_t *ids = NULL;
    int64_t *mask = NULL;
    bool good = false;
    *p = (struct pairs){0};
    struct tr_st *f = open_arrays(x, at, "dpo_batch.safetensors");
    if (!f) return false;
    const struct tr_st_tensor *shape = tr_st_find(f, "input_ids");
    ids = tr_golden_ids(x->g, at, f, "input_ids", &n);
    mask = tr_golden_ids(x->g, at, f, "attention_mask", &n);
    if (ids && mask && shape->rank == 2 && shape->shape[0] % 2 == 0) {
        p->B = shape->shape[0] / 2;
        p->T = shape->shape[1];
        p->start = calloc((size_t)p->B * 2 + 1, sizeof *p->start);
        p->read_at = calloc((size_t)p->B * 2, sizeof *p->read_at);
        p->place = calloc((size_t)n, sizeof *p->place);
        p->token = calloc((size_t)n, sizeof *p->token);
        good = p->start && p->read_at && p->place && p->token;
    }
    for (int64_t i = 0; good && i < p->B; i++) {
        take_row(p, i, 2 * i, ids, mask);
        take_row(p, p->B + i, 2 * i + 1, ids, mask);
    }
    free(ids);
    free(mask);
    tr_st_close(f);
    return good;
}

/* The given value head in place of the one that the learner drew. */
static bool set_value_head(const struct f4 *x, const char *at, struct tr_learner *l)
{
    struct tr_st *f = open_arrays(x, at, "value_head.safetensors");
    const struct tr_outer_params *o = tr_params_outer(tr_learner_params(l));
    const struct tr_param *const param[2] = {o->value_weight, o->value_bias};
    bool good = f != NULL;
    for (int i = 0; i < 2 && good; i++) {
        int64_t n = 0;
        float *given = tr_golden_floats(x->g, at, f, param[i]->name, &n);
        good = given && n == tr_param_elements(param[i]);
        if (good) tr_params_pack(x->g->ex, param[i], given, tr_learner_state(l).master);
        free(given);
    }
    tr_st_close(f);
    if (good) tr_learner_refresh(l);
    return good;
}

/* Values of all tokens, by the forward pass alone. */
static void check_values(const struct f4 *x, const char *at, struct tr_learner *l,
                         const struct pairs *p)
{
    struct tr_err err = {0};
    struct tr_trunk *trunk = NULL;
    const float *hidden = NULL;
    int64_t n = 0;
    int64_t T = p->start[2 * p->B];
    struct tr_st *f = open_arrays(x, at, "rm_values.safetensors");
    float *want = f ? tr_golden_floats(x->g, at, f, "values", &n) : NULL;
    int64_t *row = calloc((size_t)T, sizeof *row);
    float *value = calloc((size_t)T, sizeof *value);
    struct tr_trunk_size size = {.max_tokens = T, .max_sequences = 2 * p->B};
    struct tr_batch b = {.T = T, .S = 2 * p->B, .token = p->token, .start = p->start};
    const struct tr_weights *w = tr_learner_weights(l);
    double worst = 0;
    if (!want || !row || !value || n != 2 * p->B * p->T ||
        tr_trunk_create(tr_learner_arch(l), &size, &trunk, &err) != TR_OK ||
        tr_trunk_forward(trunk, x->g->ex, w, &b, NULL, NULL, &hidden, &err) != TR_OK) {
        tr_golden_fail(x->g, at, "values: %s", err.text);
        goto done;
    }
    for (int64_t i = 0; i < T; i++) row[i] = i;
    tr_value_forward(x->g->ex, w, hidden, row, T, value);
    for (int64_t i = 0; i < T; i++) {
        double e = tr_golden_abs(&value[i], &want[p->place[i]], 1);
        worst = isnan(e) ? (double)INFINITY : fmax(worst, e);
    }
    tr_golden_case(x->g, at, worst, 2e-4);
done:
    tr_trunk_destroy(trunk);
    free(value);
    free(row);
    free(want);
    tr_st_close(f);
}

static void check_pairs(const struct f4 *x, const char *at, struct tr_learner *l,
                        const struct pairs *p, const json_t *expected)
{
    char name[500];
    struct tr_err err = {0};
    struct tr_learn_result r;
    const float *grad = NULL;
    struct tr_learn_task task = {
        .objective = TR_LEARN_PAIRS,
        .seq = {.S = 2 * p->B,
                .T = p->start[2 * p->B],
                .start = p->start,
                .token = p->token,
                .read_at = p->read_at},
        .divisor = (double)p->B,
    };
    if (tr_learner_gradient(l, &task, &r, &grad, &err) != TR_OK) {
        tr_golden_fail(x->g, at, "%s", err.text);
        return;
    }
    snprintf(name, sizeof name, "%s/loss", at);
    tr_golden_case(x->g, name, relative(r.loss, json_object_get(expected, "loss")), 1e-5);
    snprintf(name, sizeof name, "%s/accuracy", at);
    double share = json_number_value(json_object_get(expected, "accuracy"));
    tr_golden_case(x->g, name, fabs(r.accuracy - share), 1e-6); /* an f32 in the file */
    snprintf(name, sizeof name, "%s/grad_norm", at);
    tr_golden_case(x->g, name,
                   relative(r.grad_norm, json_object_get(expected, "grad_norm")), 1e-5);
    snprintf(name, sizeof name, "%s/gradients", at);
    compare_gradients(x, name, l, grad, "grads.rm");
    snprintf(name, sizeof name, "%s/values", at);
    check_values(x, name, l, p);
}

static void run_reward(const struct f4 *x)
{
    char at[400];
    char model[4600];
    struct pairs p = {0};
    struct tr_err err = {0};
    struct tr_learner *l = NULL;
    snprintf(at, sizeof at, "%s/rm", x->name);
    snprintf(model, sizeof model, "%s/policy", x->part);
    struct tr_learner_start start = {.model = model,
                                     .lm_head = true,
                                     .value_head = true,
                                     .max_tokens = TR_F4_TOKENS,
                                     .max_sequences = TR_F4_ROWS};
    json_t *expected = load(x, at, "rm_expected.json");
    if (!expected) return;
    if (!pairs_read(x, at, &p))
        tr_golden_fail(x->g, at, "dpo_batch.safetensors: expected [2B, T] and a mask");
    else if (tr_learner_open(x->g->ex, &start, &l, &err) != TR_OK)
        tr_golden_fail(x->g, at, "%s", err.text);
    else if (set_value_head(x, at, l))
        check_pairs(x, at, l, &p, expected);
    tr_learner_close(l);
    pairs_fini(&p);
    json_decref(expected);
}

/* ---- what else lies there ---- */

/* The cases of {"CASE": ...}: all later, or not known. */
static void list_cases(const struct f4 *x, const char *kind, const char *file)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_t *doc = load(x, x->name, file);
    json_object_foreach(doc, key, value)
    {
        char at[500];
        snprintf(at, sizeof at, "%s/%s.%s", x->name, kind, key);
        if (!tr_golden_later(x->g, at))
            tr_golden_fail(x->g, at, "this kind of case is not known");
    }
    json_decref(doc);
}

static void check_file(const struct f4 *x, const char *file)
{
    static const char *const known[] = {"policy",
                                        "reference",
                                        "value_head.safetensors",
                                        "versions.json",
                                        "dpo_batch.*",
                                        "kto_batch.*",
                                        "grads.*",
                                        "rm_values.safetensors",
                                        "sft_accum_batches.safetensors"};
    if (!strcmp(file, "sft_accum_expected.json")) {
        run_accumulation(x);
    } else if (!strcmp(file, "rm_expected.json")) {
        run_reward(x);
    } else if (!strcmp(file, "dpo_expected.json")) {
        list_cases(x, "dpo", file);
    } else if (!strcmp(file, "kto_expected.json")) {
        json_t *doc = load(x, x->name, file);
        if (doc) tr_golden_f4_kto(x->g, x->part, x->name, doc);
        json_decref(doc);
    } else {
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (!fnmatch(known[i], file, 0)) return;
        tr_golden_fail(x->g, x->name, "%s: not understood", file);
    }
}

void tr_golden_f4(struct tr_golden *g, const char *part, const char *name)
{
    struct dirent **e = NULL;
    struct f4 x = {.g = g};
    snprintf(x.part, sizeof x.part, "%s", part);
    snprintf(x.name, sizeof x.name, "%s", name);
    int n = scandir(part, &e, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (e[i]->d_name[0] != '.') check_file(&x, e[i]->d_name);
        free(e[i]);
    }
    free(e);
}

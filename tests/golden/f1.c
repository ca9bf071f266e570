/* F1: tiny models, forward and backward, greedy decoding, AdamW steps.
 *
 * Tolerances. Hidden states, logits and log-probs: abs 2e-4 (f32 sums of up to 128 products of
 * wide weights, in another order). Greedy ids: exact. Losses: relative 1e-5. Gradients: 1e-4 of
 * the tensor's largest entry; their norm: relative 1e-5. Parameters after k AdamW steps: the
 * first step is close to a sign function, so an entry whose gradient is near 0 may go the other
 * way; the 99.9 % quantile is held to 2e-5 k and the largest to 1e-3 k (the learning rate).
 * Checksums: relative 8e-6 k (an entry of a bias of 32 that goes the other way is 5e-6; leaving
 * out the weight decay is 1e-5). Which tensors decay is the peer's way, compat: llamafactory-0.9.3. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/decode.h"
#include "tests/golden/forward.h"
#include "tests/golden/rows.h"
#include "tests/golden/steps.h"

enum {
    MAX_JSON = 64 << 20,
    NAME = 1024,
    PATH = 5000,
    MAX_TOKENS = 8192,
    MAX_SEQUENCES = 256
};

static const double rate = 1e-3;

/* A model of a part: its folder, its name, what is expected, its batches. */
struct f1 {
    struct tr_golden *g;
    const char *dir, *name;
    json_t *expected;      /* owns */
    struct tr_st *batches; /* owns */
};

/* Every PREFIX.input_ids but the prompts. */
static void run_forward(const struct f1 *c, struct tr_forward *p, const struct tr_st *f)
{
    for (int64_t i = 0; i < tr_st_count(f); i++) {
        char prefix[200];
        const char *name = tr_st_get(f, i)->name;
        const char *end = strstr(name, ".input_ids");
        if (!end || strcmp(end, ".input_ids") != 0 || !strncmp(name, "greedy.", 7))
            continue;
        snprintf(prefix, sizeof prefix, "%.*s", (int)(end - name), name);
        tr_forward_compare(c->g, c->name, p, f, f, prefix, 2e-4);
    }
}

static int32_t arg_max(const float *z, int64_t V)
{
    int64_t best = 0;
    for (int64_t v = 1; v < V; v++)
        if (z[v] > z[best]) best = v;
    return (int32_t)best;
}

/* All prompts together, each until an end of text; then pads. out [B, n]. */
static enum tr_status decode_all(const struct f1 *c, const struct tr_learner *l,
                                 const struct tr_rows *r, int64_t n, int32_t *out,
                                 struct tr_err *err)
{
    const struct tr_arch *a = tr_learner_arch(l);
    const struct tr_decode_size size = {r->B, r->n, r->B * (2 + (r->T + n) / 64)};
    struct tr_decode *d = NULL;
    struct tr_decode_input *in = calloc((size_t)r->B, sizeof *in);
    int64_t *who = calloc((size_t)r->B, sizeof *who);
    enum tr_status st = in && who ? tr_decode_create(a, &size, &d, err) : TR_NOMEM;
    int64_t live = 0;
    for (int64_t b = 0; st == TR_OK && b < r->B; b++, live++) {
        in[b] = (struct tr_decode_input){0, r->start[b + 1] - r->start[b],
                                         r->token + r->start[b]};
        st = tr_decode_enter(d, &in[b].slot, err);
        who[b] = b;
    }
    for (int64_t t = 0; st == TR_OK && live && t < n; t++) {
        float *logits = NULL;
        int64_t still = 0;
        st = tr_decode_step(d, c->g->ex, tr_learner_weights(l), in, live, &logits, err);
        for (int64_t i = 0; st == TR_OK && i < live; i++) {
            int32_t *to = &out[who[i] * n + t];
            *to = arg_max(logits + i * a->V, a->V);
            if (*to == a->eos[0]) continue;
            in[still] = (struct tr_decode_input){in[i].slot, 1, to};
            who[still++] = who[i];
        }
        live = still;
    }
    tr_decode_destroy(d);
    free(in);
    free(who);
    return st;
}

static void run_greedy(const struct f1 *c, const struct tr_learner *l,
                       const struct tr_st *f)
{
    char at[NAME];
    struct tr_rows r;
    struct tr_err err = {0};
    int64_t count = 0;
    int64_t wrong = 0;
    snprintf(at, sizeof at, "%s/greedy", c->name);
    if (!tr_rows_read(c->g, at, f, "greedy", &r)) return;
    int64_t *want = tr_golden_ids(c->g, at, f, "greedy.output_ids", &count);
    const int64_t n = count / r.B - r.T;
    int32_t *out = calloc((size_t)(count + 1), sizeof *out);
    for (int64_t i = 0; out && i < count; i++) out[i] = tr_learner_arch(l)->pad;
    if (!want || !out || n < 0 || count != r.B * (r.T + n)) {
        tr_golden_fail(c->g, at, "expected [B, T + n], found %lld", (long long)count);
    } else if (decode_all(c, l, &r, n, out, &err) != TR_OK) {
        tr_golden_fail(c->g, at, "%s", err.text);
    } else {
        for (int64_t b = 0; b < r.B; b++)
            for (int64_t t = 0; t < n; t++)
                wrong += out[b * n + t] != want[b * (r.T + n) + r.T + t];
        tr_golden_case(c->g, at, (double)wrong, 0);
    }
    free(want);
    free(out);
    tr_rows_fini(&r);
}

static void relative(const struct f1 *c, const char *what, double got, const json_t *want,
                     double tolerance)
{
    char at[NAME];
    snprintf(at, sizeof at, "%s/%s", c->name, what);
    double w = json_is_number(want) ? json_number_value(want) : (double)NAN;
    tr_golden_case(c->g, at, fabs(got - w) / fmax(fabs(w), 1e-30), tolerance);
}

/* The gradient of step 0: loss, norm, every tensor. */
static void run_gradient(const struct f1 *c, struct tr_learner *l)
{
    char at[NAME];
    char path[PATH];
    struct tr_learn_result r;
    const float *grad = NULL;
    const char *key = NULL;
    json_t *want = NULL;
    snprintf(at, sizeof at, "%s/sft_grads", c->name);
    if (!tr_steps_run(c->g, at, l, c->batches, "step0", 0, &grad, &r)) return;
    snprintf(path, sizeof path, "%s/sft_grads.safetensors", c->dir);
    tr_steps_compare(c->g, at, l, grad, path, 1, 0, 1e-4, true);
    relative(c, "n_label_tokens", (double)r.targets,
             json_object_get(c->expected, "n_label_tokens"), 0);
    relative(c, "loss", r.loss, json_object_get(c->expected, "loss"), 1e-5);
    relative(c, "grad_norm", r.grad_norm, json_object_get(c->expected, "grad_norm"),
             1e-5);
    json_object_foreach(c->expected, key, want)
    {
        if (!strncmp(key, "loss_num_items_", 15))
            relative(c, key, r.loss * (double)r.targets / strtod(key + 15, NULL), want,
                     1e-5);
    }
}

/* After step k of `mode` ("wd0.01"): what files and checksums there are. */
static void check_params(const struct f1 *c, struct tr_learner *l, const char *mode,
                         int64_t k)
{
    char at[NAME];
    char path[PATH];
    char key[128];
    const float *master = tr_learner_state(l).master;
    snprintf(key, sizeof key, "%s_checksums_after_%lld", mode, (long long)k);
    json_t *sums = json_object_get(c->expected, key);
    snprintf(at, sizeof at, "%s/%s", c->name, key);
    if (sums) tr_steps_checksums(c->g, at, l, master, sums, 8e-6 * (double)k);
    snprintf(path, sizeof path, "%s/params_after_%lld.%s.safetensors", c->dir,
             (long long)k, mode);
    if (!tr_path_exists(path)) return;
    snprintf(at, sizeof at, "%s/params_after_%lld.%s", c->name, (long long)k, mode);
    tr_steps_compare(c->g, at, l, master, path, 1, 2e-5 * (double)k, rate * (double)k,
                     false);
}

static double l2_of(struct tr_learner *l)
{
    double sum = 0;
    const float *master = tr_learner_state(l).master;
    for (int64_t i = 0; i < tr_params_total(tr_learner_params(l)); i++)
        sum += (double)master[i] * (double)master[i];
    return sqrt(sum);
}

static void run_steps(const struct f1 *c, struct tr_learner *l, const char *mode,
                      const json_t *steps)
{
    size_t k = 0;
    const json_t *want = NULL;
    json_array_foreach(steps, k, want)
    {
        char prefix[64];
        char what[128];
        struct tr_learn_result r;
        double decay = strtod(mode + 2, NULL);
        snprintf(prefix, sizeof prefix, "step%zu", k);
        if (!tr_steps_run(c->g, c->name, l, c->batches, prefix, decay, NULL, &r)) return;
        /* Later steps see parameters that may differ as check_params allows. */
        snprintf(what, sizeof what, "%s/%s/loss", mode, prefix);
        relative(c, what, r.loss, json_object_get(want, "loss"), k ? 1e-4 : 1e-5);
        snprintf(what, sizeof what, "%s/%s/grad_norm", mode, prefix);
        relative(c, what, r.grad_norm, json_object_get(want, "grad_norm"),
                 k ? 1e-4 : 1e-5);
        snprintf(what, sizeof what, "%s/%s/param_l2", mode, prefix);
        relative(c, what, l2_of(l), json_object_get(want, "param_l2"), 1e-6);
        check_params(c, l, mode, (int64_t)k + 1);
    }
}

static void run_decay(const struct f1 *c, const struct tr_learner *l)
{
    char at[NAME];
    size_t i = 0;
    const json_t *v = NULL;
    int64_t named = 0;
    int64_t wrong = 0;
    const struct tr_params *params = tr_learner_params(l);
    const json_t *list = json_object_get(c->expected, "decay_params");
    snprintf(at, sizeof at, "%s/decay_params", c->name);
    json_array_foreach(list, i, v)
    {
        const char *name = json_string_value(v);
        if (name && tr_params_arch(params)->tied && !strcmp(name, "lm_head.weight"))
            continue; /* the peer's other name of embed_tokens */
        const struct tr_param *q = name ? tr_params_find(params, name) : NULL;
        wrong += !q || !q->peer_decays;
        named++;
    }
    for (int64_t k = 0; k < tr_params_count(params); k++)
        named -= tr_params_get(params, k)->peer_decays;
    tr_golden_case(c->g, at, (double)(wrong + llabs(named)), 0);
}

static struct tr_learner *open_model(const struct f1 *c)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/model", c->dir);
    return tr_steps_open(c->g, c->name, path, false, MAX_TOKENS, MAX_SEQUENCES);
}

/* Each key of expected.json is understood or failed. */
static void run_expected(const struct f1 *c)
{
    const char *key = NULL;
    json_t *v = NULL;
    static const char *const known[] = {"loss",         "grad_norm", "n_label_tokens",
                                        "decay_params", "seed",      "versions"};
    json_object_foreach(c->expected, key, v)
    {
        bool found = !strncmp(key, "loss_num_items_", 15) ||
                     strstr(key, "_checksums_after_") != NULL;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found = found || !strcmp(key, known[i]);
        if (found) continue;
        if (strncmp(key, "wd", 2) || !json_is_array(v)) {
            tr_golden_fail(c->g, c->name, "expected.json: %s is not understood", key);
            continue;
        }
        struct tr_learner *l = open_model(c);
        if (l) run_steps(c, l, key, v);
        tr_learner_close(l);
    }
}

static void run_model(const struct f1 *c, const struct tr_st *forward)
{
    struct tr_err err = {0};
    struct tr_forward pass;
    struct tr_learner *l = open_model(c);
    if (!l) return;
    if (tr_forward_open(&pass, tr_learner_arch(l), tr_learner_weights(l), &err) == TR_OK)
        run_forward(c, &pass, forward);
    else
        tr_golden_fail(c->g, c->name, "%s", err.text);
    run_greedy(c, l, forward);
    run_gradient(c, l);
    run_decay(c, l);
    tr_forward_close(&pass);
    tr_learner_close(l);
    run_expected(c);
}

static void run_case(struct tr_golden *g, const char *dir, const char *name)
{
    struct f1 c = {.g = g, .dir = dir, .name = name};
    char path[PATH];
    struct tr_st *forward = NULL;
    struct tr_err err = {0};
    snprintf(path, sizeof path, "%s/expected.json", dir);
    enum tr_status st = tr_json_load(path, MAX_JSON, &c.expected, &err);
    snprintf(path, sizeof path, "%s/sft_batches.safetensors", dir);
    if (st == TR_OK) st = tr_st_open(path, &c.batches, &err);
    snprintf(path, sizeof path, "%s/forward.safetensors", dir);
    if (st == TR_OK) st = tr_st_open(path, &forward, &err);
    if (st == TR_OK)
        run_model(&c, forward);
    else
        tr_golden_fail(g, name, "%s", err.text);
    tr_st_close(forward);
    tr_st_close(c.batches);
    json_decref(c.expected);
}

static int is_visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

void tr_golden_f1(struct tr_golden *g, const char *part, const char *name)
{
    struct dirent **e = NULL;
    int n = scandir(part, &e, is_visible, alphasort);
    if (n < 1) tr_golden_fail(g, name, "%s: nothing in it", part);
    for (int i = 0; i < n; i++) {
        char dir[PATH - 100];
        char at[NAME - 300];
        snprintf(dir, sizeof dir, "%s/%s", part, e[i]->d_name);
        snprintf(at, sizeof at, "%s/%s", name, e[i]->d_name);
        if (!tr_golden_later(g, at)) run_case(g, dir, at);
        free(e[i]);
    }
    free(e);
}

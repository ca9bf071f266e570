/* F8: logits to the kept set and its probabilities, as transformers' processors give them.
 *
 * Tolerances: the kept ids are exact; at a top-p border any of several tied ids may be kept (the
 * peer's sort is not stable), so for a case with ties the logits of the kept ids are compared as
 * a sorted list. Processed logits: 1e-5 relative to their size (one division each). Probabilities: abs
 * 2e-6 (the peer's f32 soft-max over up to 1000 terms). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "kernels/sample.h"
#include "tests/golden/golden.h"

struct vector {
    float *logits, *processed, *probs, *z; /* own */
    int64_t *history, *kept;               /* own */
    int32_t *ids, *got;                    /* own: the history narrowed; what we keep */
    double *prob;                          /* owns */
    void *scratch;                         /* owns */
    int64_t V, n_history, n_kept, n_processed, n_probs;
};

static void vector_free(struct vector *v)
{
    free(v->logits);
    free(v->processed);
    free(v->probs);
    free(v->z);
    free(v->history);
    free(v->kept);
    free(v->ids);
    free(v->got);
    free(v->prob);
    free(v->scratch);
}

static bool vector_read(struct tr_golden *g, const char *name, const struct tr_st *f,
                        size_t i, struct vector *v)
{
    char key[64];
    snprintf(key, sizeof key, "%zu.logits", i);
    v->logits = tr_golden_floats(g, name, f, key, &v->V);
    snprintf(key, sizeof key, "%zu.processed", i);
    v->processed = tr_golden_floats(g, name, f, key, &v->n_processed);
    snprintf(key, sizeof key, "%zu.probs_kept", i);
    v->probs = tr_golden_floats(g, name, f, key, &v->n_probs);
    snprintf(key, sizeof key, "%zu.kept_ids", i);
    v->kept = tr_golden_ids(g, name, f, key, &v->n_kept);
    snprintf(key, sizeof key, "%zu.history_ids", i);
    if (tr_st_find(f, key)) v->history = tr_golden_ids(g, name, f, key, &v->n_history);
    if (!v->logits || !v->processed || !v->probs || !v->kept) return false;
    size_t n = (size_t)v->V;
    v->z = calloc(n, sizeof *v->z);
    v->ids = calloc((size_t)v->n_history + 1, sizeof *v->ids);
    v->got = calloc(n, sizeof *v->got);
    v->prob = calloc(n, sizeof *v->prob);
    v->scratch = aligned_alloc(64, (n * 12 + 127) / 64 * 64);
    if (!v->z || !v->ids || !v->got || !v->prob || !v->scratch) return false;
    for (int64_t k = 0; k < v->n_history; k++) v->ids[k] = (int32_t)v->history[k];
    memcpy(v->z, v->logits, n * sizeof *v->z);
    return true;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* The kept ids agree, or (ties) their processed logits do as a list. */
static bool same_kept(struct vector *v, int64_t n, bool ties)
{
    if (n != v->n_kept) return false;
    if (!ties) {
        for (int64_t k = 0; k < n; k++)
            if (v->got[k] != v->kept[k]) return false;
        return true;
    }
    float *ours = malloc((size_t)(n + 1) * sizeof *ours);
    if (!ours) return false;
    for (int64_t k = 0; k < n; k++) ours[k] = v->logits[v->got[k]];
    float *theirs = malloc((size_t)(n + 1) * sizeof *theirs);
    for (int64_t k = 0; theirs && k < n; k++) theirs[k] = v->logits[v->kept[k]];
    bool same = theirs != NULL;
    if (same) {
        qsort(ours, (size_t)n, sizeof *ours, by_size);
        qsort(theirs, (size_t)n, sizeof *theirs, by_size);
        same = memcmp(ours, theirs, (size_t)n * sizeof *ours) == 0;
    }
    free(ours);
    free(theirs);
    return same;
}

static void run_case(struct tr_golden *g, const char *name, const json_t *c,
                     const struct tr_st *f, size_t i)
{
    struct vector v = {0};
    struct tr_sampling cfg = {
        .temperature = (float)json_number_value(json_object_get(c, "temperature")),
        .top_k = (int32_t)json_integer_value(json_object_get(c, "top_k")),
        .top_p = (float)json_number_value(json_object_get(c, "top_p")),
        .repetition_penalty =
            (float)json_number_value(json_object_get(c, "repetition_penalty")),
    };
    bool ties = json_is_true(json_object_get(c, "has_ties"));
    double logit_error = 0;
    double prob_error = 0;
    if (!vector_read(g, name, f, i, &v)) goto done;
    int64_t n = tr_sample_kept(g->ex, &cfg, v.z, v.V, v.ids, v.n_history, v.scratch,
                               v.got, v.prob);
    if (!same_kept(&v, n, ties) || v.n_probs != v.n_kept || v.n_processed != v.n_kept) {
        tr_golden_fail(g, name, "kept %lld ids, expected these %lld", (long long)n,
                       (long long)v.n_kept);
        goto done;
    }
    for (int64_t k = 0; k < n; k++) {
        bool same = v.got[k] == v.kept[k]; /* a tied id has the same logit, elsewhere */
        if (!same) continue;
        double want = (double)v.processed[k];
        double e = fabs((double)v.z[v.got[k]] - want) / fmax(1, fabs(want));
        logit_error = fmax(logit_error, e);
        prob_error = fmax(prob_error, fabs(v.prob[k] - (double)v.probs[k]));
    }
    tr_golden_case(g, name, fmax(logit_error / 1e-5, prob_error / 2e-6), 1);
done:
    vector_free(&v);
}

void tr_golden_f8(struct tr_golden *g, const char *part, const char *name)
{
    char path[4600];
    struct tr_err err = {0};
    json_t *doc = NULL;
    struct tr_st *f = NULL;
    const json_t *c = NULL;
    size_t i = 0;
    snprintf(path, sizeof path, "%s/cases.json", part);
    if (tr_json_load(path, 64U << 20U, &doc, &err) != TR_OK) {
        tr_golden_fail(g, name, "%s", err.text);
        return;
    }
    snprintf(path, sizeof path, "%s/arrays.safetensors", part);
    if (tr_st_open(path, &f, &err) != TR_OK) {
        tr_golden_fail(g, name, "%s", err.text);
        goto done;
    }
    json_array_foreach(json_object_get(doc, "cases"), i, c)
    {
        char at[400];
        snprintf(at, sizeof at, "%s/%zu", name, i);
        run_case(g, at, c, f, i);
    }
done:
    tr_st_close(f);
    json_decref(doc);
}

/* F0: SmolLM2-135M-Instruct, imported by us, against transformers on the same dequantised weights.
 *
 * Tolerances: ids and greedy ids are exact. Log-probs and the last token's logits: abs 2e-4 and
 * 5e-4 (30 layers of f32 in another order of summation; logits of up to 25 carry an ulp of 2e-6
 * a term). The file's 50 largest logits are entries of last_logits and are covered by it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/model/decode.h"
#include "core/model/folder.h"
#include "core/model/trunk.h"
#include "core/text/tokenizer.h"
#include "tests/golden/golden.h"

enum { TR_F0_TOKENS = 2048 };

/* Everything that is loaded once. */
struct f0 {
    struct tr_folder *folder;
    struct tr_params *params;
    struct tr_weights *w;
    struct tr_trunk *trunk;
    struct tr_head *head;
    struct tr_decode *decode;
    struct tr_tokenizer *tok;
};

static void f0_close(struct f0 *m)
{
    tr_tokenizer_close(m->tok);
    tr_decode_destroy(m->decode);
    tr_head_destroy(m->head);
    tr_trunk_destroy(m->trunk);
    tr_weights_destroy(m->w);
    tr_params_destroy(m->params);
    tr_folder_close(m->folder);
}

static enum tr_status f0_open(const struct tr_golden *g, struct f0 *m, struct tr_err *err)
{
    struct tr_trunk_size ts = {.max_tokens = TR_F0_TOKENS, .max_sequences = 1};
    struct tr_decode_size ds = {
        .max_sequences = 1, .max_tokens = TR_F0_TOKENS, .pages = 40};
    bool found = false;
    enum tr_status st = tr_folder_open(g->smollm2, &m->folder, err);
    if (st != TR_OK) return st;
    const struct tr_arch *a = tr_folder_arch(m->folder);
    if (st == TR_OK) st = tr_params_create(a, true, false, &m->params, err);
    if (st == TR_OK) st = tr_weights_create(m->params, g->ex, false, &m->w, err);
    if (st == TR_OK) st = tr_folder_read_weights(m->folder, g->ex, m->w, &found, err);
    if (st == TR_OK) st = tr_trunk_create(a, &ts, &m->trunk, err);
    if (st == TR_OK) st = tr_head_create(a, TR_F0_TOKENS, &m->head, err);
    if (st == TR_OK) st = tr_decode_create(a, &ds, &m->decode, err);
    if (st == TR_OK) st = tr_tokenizer_open(g->smollm2, &m->tok, err);
    return st;
}

/* One case of arrays.safetensors and cases.json. */
struct f0_case {
    int64_t *input, *greedy; /* own */
    float *logp, *logits;    /* own */
    int64_t T, n_greedy, n_logp, V;
    const json_t *json; /* borrows */
};

static bool read_case(struct tr_golden *g, const char *name, const struct tr_st *f,
                      size_t i, struct f0_case *c)
{
    char key[64];
    snprintf(key, sizeof key, "%zu.input_ids", i);
    c->input = tr_golden_ids(g, name, f, key, &c->T);
    snprintf(key, sizeof key, "%zu.greedy_ids", i);
    c->greedy = tr_golden_ids(g, name, f, key, &c->n_greedy);
    snprintf(key, sizeof key, "%zu.token_logprobs", i);
    c->logp = tr_golden_floats(g, name, f, key, &c->n_logp);
    snprintf(key, sizeof key, "%zu.last_logits", i);
    c->logits = tr_golden_floats(g, name, f, key, &c->V);
    if (!c->input || !c->greedy || !c->logp || !c->logits) return false;
    if (c->T >= 1 && c->T <= TR_F0_TOKENS && c->n_logp == c->T - 1) return true;
    tr_golden_fail(g, name, "%lld tokens and %lld log-probs", (long long)c->T,
                   (long long)c->n_logp);
    return false;
}

static void check_ids(struct tr_golden *g, const char *name, struct f0 *m,
                      const struct f0_case *c)
{
    struct tr_ids ids = {0};
    struct tr_err err = {0};
    const char *text = json_string_value(json_object_get(c->json, "rendered"));
    char at[500];
    snprintf(at, sizeof at, "%s/ids", name);
    if (!text || tr_tokenizer_encode(m->tok, text, strlen(text), &ids, &err) != TR_OK) {
        tr_golden_fail(g, at, "%s", text ? err.text : "no rendered text");
        return;
    }
    int64_t wrong = llabs(ids.count - c->T);
    for (int64_t i = 0; i < ids.count && i < c->T; i++) wrong += ids.at[i] != c->input[i];
    tr_golden_case(g, at, (double)wrong, 0);
    tr_ids_fini(&ids);
}

static void check_forward(struct tr_golden *g, const char *name, struct f0 *m,
                          const struct f0_case *c, const int32_t *token)
{
    struct tr_err err = {0};
    char at[500];
    int64_t start[2] = {0, c->T};
    struct tr_batch b = {.T = c->T, .S = 1, .token = token, .start = start};
    const float *hidden = NULL;
    int64_t *row = malloc((size_t)c->T * sizeof *row);
    float *got = malloc((size_t)c->T * sizeof *got);
    float *logits = malloc((size_t)c->V * sizeof *logits);
    snprintf(at, sizeof at, "%s/forward", name);
    if (!row || !got || !logits ||
        tr_trunk_forward(m->trunk, g->ex, m->w, &b, NULL, NULL, &hidden, &err) != TR_OK) {
        tr_golden_fail(g, at, "%s", err.text);
        goto done;
    }
    for (int64_t i = 0; i < c->T; i++) row[i] = i;
    struct tr_head_rows r = {.n = c->T - 1, .row = row, .target = token + 1};
    tr_head_logprob(m->head, g->ex, m->w, hidden, &r, got, NULL);
    snprintf(at, sizeof at, "%s/token_logprobs", name);
    tr_golden_case(g, at, tr_golden_abs(got, c->logp, c->T - 1), 2e-4);
    row[0] = c->T - 1;
    tr_head_logits(m->head, g->ex, m->w, hidden, row, 1, logits);
    snprintf(at, sizeof at, "%s/last_logits", name);
    tr_golden_case(g, at, tr_golden_abs(logits, c->logits, c->V), 5e-4);
done:
    free(row);
    free(got);
    free(logits);
}

static int32_t arg_max(const float *z, int64_t V)
{
    int64_t best = 0;
    for (int64_t v = 1; v < V; v++)
        if (z[v] > z[best]) best = v;
    return (int32_t)best;
}

/* Greedy decoding with the KV cache: the ids, and with them the text. */
static void check_greedy(struct tr_golden *g, const char *name, struct f0 *m,
                         const struct f0_case *c, const int32_t *token)
{
    struct tr_err err = {0};
    struct tr_buf text;
    char at[500];
    int64_t slot = 0;
    int64_t wrong = 0;
    int32_t next = 0;
    int32_t *out = malloc((size_t)c->n_greedy * sizeof *out);
    struct tr_decode_input in = {.count = c->T, .token = token};
    tr_buf_init(&text, 1 << 20);
    snprintf(at, sizeof at, "%s/greedy", name);
    enum tr_status st = out ? tr_decode_enter(m->decode, &slot, &err) : TR_NOMEM;
    for (int64_t i = 0; st == TR_OK && i < c->n_greedy; i++) {
        float *logits = NULL;
        in.slot = slot;
        st = tr_decode_step(m->decode, g->ex, m->w, &in, 1, &logits, &err);
        if (st != TR_OK) break;
        next = arg_max(logits, c->V);
        out[i] = next;
        wrong += next != c->greedy[i];
        in = (struct tr_decode_input){.count = 1, .token = &next};
    }
    if (out) tr_decode_leave(m->decode, slot);
    const char *want = json_string_value(json_object_get(c->json, "greedy_text"));
    if (st == TR_OK)
        st = tr_tokenizer_decode(m->tok, out, c->n_greedy, false, &text, &err);
    if (st != TR_OK) {
        tr_golden_fail(g, at, "%s", err.text);
    } else {
        tr_golden_case(g, at, (double)wrong, 0);
        snprintf(at, sizeof at, "%s/greedy_text", name);
        tr_golden_case(g, at, want && strcmp(want, tr_buf_text(&text)) == 0 ? 0 : 1, 0);
    }
    tr_buf_fini(&text);
    free(out);
}

static void run_case(struct tr_golden *g, const char *name, struct f0 *m,
                     const json_t *json, const struct tr_st *f, size_t i)
{
    struct f0_case c = {.json = json};
    int32_t *token = NULL;
    if (read_case(g, name, f, i, &c)) {
        token = malloc((size_t)c.T * sizeof *token);
        for (int64_t t = 0; token && t < c.T; t++) token[t] = (int32_t)c.input[t];
        if (token) {
            check_ids(g, name, m, &c);
            check_forward(g, name, m, &c, token);
            check_greedy(g, name, m, &c, token);
        }
    }
    free(token);
    free(c.input);
    free(c.greedy);
    free(c.logp);
    free(c.logits);
}

void tr_golden_f0(struct tr_golden *g, const char *part, const char *name)
{
    char path[4600];
    struct tr_err err = {0};
    struct f0 m = {0};
    json_t *doc = NULL;
    struct tr_st *f = NULL;
    const json_t *c = NULL;
    size_t i = 0;
    if (!g->smollm2) {
        tr_golden_skip(g, name, "needs --smollm2 MODEL (tests/golden/smollm2 makes it)");
        return;
    }
    snprintf(path, sizeof path, "%s/cases.json", part);
    enum tr_status st = tr_json_load(path, 64U << 20U, &doc, &err);
    snprintf(path, sizeof path, "%s/arrays.safetensors", part);
    if (st == TR_OK) st = tr_st_open(path, &f, &err);
    if (st == TR_OK) st = f0_open(g, &m, &err);
    if (st != TR_OK) {
        tr_golden_fail(g, name, "%s", err.text);
        goto done;
    }
    json_array_foreach(json_object_get(doc, "cases"), i, c)
    {
        char at[400];
        snprintf(at, sizeof at, "%s/%zu", name, i);
        run_case(g, at, &m, c, f, i);
    }
done:
    f0_close(&m);
    tr_st_close(f);
    json_decref(doc);
}

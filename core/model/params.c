#include "core/model/params.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, PER_LAYER = 13 };

struct tr_params {
    struct tr_arch arch;
    int64_t count, total;
    struct tr_param *param;        /* owns [count], sorted by name */
    struct tr_layer_params *layer; /* owns [L] */
    struct tr_outer_params outer;
};

static int64_t aligned(int64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static struct tr_param *append(struct tr_params *p, enum tr_param_kind kind, int64_t N,
                               int64_t K)
{
    struct tr_param *q = &p->param[p->count++];
    *q = (struct tr_param){.kind = kind, .N = N, .K = K};
    if (kind == TR_PARAM_MATRIX)
        q->size = aligned(tr_mat_size(N, K));
    else
        q->size = aligned(K ? N * K : N);
    return q;
}

/* transformers up to 4.52 looks for "bias", "layernorm" and "rmsnorm" in names, and for modules
 * of the class LlamaRMSNorm; that misses Qwen2's model.norm. */
static void set_decay(const struct tr_arch *a, struct tr_param *q)
{
    q->decays = !strstr(q->name, "bias") && !strstr(q->name, "norm");
    q->peer_decays =
        q->decays || (a->family == TR_QWEN2 && !strcmp(q->name, "model.norm.weight"));
}

static void outer(struct tr_params *p, const char *name, enum tr_param_kind kind,
                  int64_t N, int64_t K)
{
    struct tr_param *q = append(p, kind, N, K);
    snprintf(q->name, sizeof q->name, "%s", name);
    set_decay(&p->arch, q);
}

static void inner(struct tr_params *p, int64_t l, const char *name,
                  enum tr_param_kind kind, int64_t N, int64_t K)
{
    struct tr_param *q = append(p, kind, N, K);
    snprintf(q->name, sizeof q->name, "model.layers.%lld.%s", (long long)l, name);
    set_decay(&p->arch, q);
}

static void list_layer(struct tr_params *p, int64_t l)
{
    const struct tr_arch *a = &p->arch;
    const int64_t Q = a->H * a->D;
    const int64_t kv = a->Kv * a->D;
    inner(p, l, "input_layernorm.weight", TR_PARAM_VECTOR, a->d, 0);
    inner(p, l, "self_attn.q_proj.weight", TR_PARAM_MATRIX, Q, a->d);
    inner(p, l, "self_attn.k_proj.weight", TR_PARAM_MATRIX, kv, a->d);
    inner(p, l, "self_attn.v_proj.weight", TR_PARAM_MATRIX, kv, a->d);
    inner(p, l, "self_attn.o_proj.weight", TR_PARAM_MATRIX, a->d, Q);
    if (a->qkv_bias) {
        inner(p, l, "self_attn.q_proj.bias", TR_PARAM_VECTOR, Q, 0);
        inner(p, l, "self_attn.k_proj.bias", TR_PARAM_VECTOR, kv, 0);
        inner(p, l, "self_attn.v_proj.bias", TR_PARAM_VECTOR, kv, 0);
    }
    if (a->o_bias) inner(p, l, "self_attn.o_proj.bias", TR_PARAM_VECTOR, a->d, 0);
    inner(p, l, "post_attention_layernorm.weight", TR_PARAM_VECTOR, a->d, 0);
    inner(p, l, "mlp.gate_proj.weight", TR_PARAM_MATRIX, a->F, a->d);
    inner(p, l, "mlp.up_proj.weight", TR_PARAM_MATRIX, a->F, a->d);
    inner(p, l, "mlp.down_proj.weight", TR_PARAM_MATRIX, a->d, a->F);
}

static void list_all(struct tr_params *p, bool lm_head, bool value_head)
{
    const struct tr_arch *a = &p->arch;
    outer(p, "model.embed_tokens.weight", TR_PARAM_MATRIX, a->V, a->d);
    outer(p, "model.norm.weight", TR_PARAM_VECTOR, a->d, 0);
    if (lm_head) outer(p, "lm_head.weight", TR_PARAM_MATRIX, a->V, a->d);
    if (value_head) {
        outer(p, "v_head.summary.weight", TR_PARAM_VALUE_HEAD, 1, a->d);
        outer(p, "v_head.summary.bias", TR_PARAM_VALUE_HEAD, 1, 0);
    }
    for (int64_t l = 0; l < a->L; l++) list_layer(p, l);
}

static int by_name(const void *x, const void *y)
{
    const struct tr_param *a = x;
    const struct tr_param *b = y;
    return strcmp(a->name, b->name);
}

static const struct tr_param *of_layer(const struct tr_params *p, int64_t l,
                                       const char *name)
{
    char full[sizeof p->param->name];
    snprintf(full, sizeof full, "model.layers.%lld.%s", (long long)l, name);
    return tr_params_find(p, full);
}

static void resolve(struct tr_params *p)
{
    p->outer = (struct tr_outer_params){
        .embed = tr_params_find(p, "model.embed_tokens.weight"),
        .norm = tr_params_find(p, "model.norm.weight"),
        .lm_head = tr_params_find(p, "lm_head.weight"),
        .value_weight = tr_params_find(p, "v_head.summary.weight"),
        .value_bias = tr_params_find(p, "v_head.summary.bias"),
    };
    for (int64_t l = 0; l < p->arch.L; l++)
        p->layer[l] = (struct tr_layer_params){
            .norm1 = of_layer(p, l, "input_layernorm.weight"),
            .q = of_layer(p, l, "self_attn.q_proj.weight"),
            .k = of_layer(p, l, "self_attn.k_proj.weight"),
            .v = of_layer(p, l, "self_attn.v_proj.weight"),
            .o = of_layer(p, l, "self_attn.o_proj.weight"),
            .q_bias = of_layer(p, l, "self_attn.q_proj.bias"),
            .k_bias = of_layer(p, l, "self_attn.k_proj.bias"),
            .v_bias = of_layer(p, l, "self_attn.v_proj.bias"),
            .o_bias = of_layer(p, l, "self_attn.o_proj.bias"),
            .norm2 = of_layer(p, l, "post_attention_layernorm.weight"),
            .gate = of_layer(p, l, "mlp.gate_proj.weight"),
            .up = of_layer(p, l, "mlp.up_proj.weight"),
            .down = of_layer(p, l, "mlp.down_proj.weight"),
        };
}

enum tr_status tr_params_create(const struct tr_arch *a, bool with_lm_head,
                                bool with_value_head, struct tr_params **out,
                                struct tr_err *err)
{
    size_t most = (size_t)a->L * PER_LAYER + 5;
    struct tr_params *p = calloc(1, sizeof *p);
    *out = NULL;
    if (p) {
        p->arch = *a;
        p->param = calloc(most, sizeof *p->param);
        p->layer = calloc((size_t)a->L, sizeof *p->layer);
    }
    if (!p || !p->param || !p->layer) {
        tr_params_destroy(p);
        return tr_err_set(err, TR_NOMEM, "the table of %zu tensors", most);
    }
    list_all(p, with_lm_head && !a->tied, with_value_head);
    qsort(p->param, (size_t)p->count, sizeof *p->param, by_name);
    for (int64_t i = 0; i < p->count; i++) {
        p->param[i].at = p->total;
        p->total += p->param[i].size;
    }
    resolve(p);
    *out = p;
    return TR_OK;
}

int64_t tr_params_count(const struct tr_params *p)
{
    return p->count;
}

const struct tr_param *tr_params_get(const struct tr_params *p, int64_t i)
{
    assert(i >= 0 && i < p->count);
    return &p->param[i];
}

int64_t tr_params_index(const struct tr_params *p, const struct tr_param *q)
{
    assert(q >= p->param && q < p->param + p->count);
    return q - p->param;
}

const struct tr_param *tr_params_find(const struct tr_params *p, const char *name)
{
    int64_t low = 0;
    int64_t high = p->count;
    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        int order = strcmp(p->param[mid].name, name);
        if (!order) return &p->param[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

int64_t tr_params_total(const struct tr_params *p)
{
    return p->total;
}

const struct tr_arch *tr_params_arch(const struct tr_params *p)
{
    return &p->arch;
}

const struct tr_layer_params *tr_params_layer(const struct tr_params *p, int64_t l)
{
    assert(l >= 0 && l < p->arch.L);
    return &p->layer[l];
}

const struct tr_outer_params *tr_params_outer(const struct tr_params *p)
{
    return &p->outer;
}

void tr_params_destroy(struct tr_params *p)
{
    if (!p) return;
    free(p->param);
    free(p->layer);
    free(p);
}

int64_t tr_param_elements(const struct tr_param *p)
{
    return p->N * tr_param_width(p);
}

int64_t tr_param_width(const struct tr_param *p)
{
    return p->K ? p->K : 1;
}

int64_t tr_param_block(const struct tr_param *p, int64_t room)
{
    int64_t rows = room / tr_param_width(p) / 16 * 16;
    if (p->kind != TR_PARAM_MATRIX || rows >= p->N) return p->N;
    return rows ? rows : 16;
}

struct tr_mat tr_param_matrix(const struct tr_exec *ex, const struct tr_param *p,
                              float *flat)
{
    assert(p->kind == TR_PARAM_MATRIX);
    return (struct tr_mat){p->N, p->K, TR_F32, ex->math, flat + p->at};
}

void tr_params_pack(const struct tr_exec *ex, const struct tr_param *p, const float *hf,
                    float *flat)
{
    int64_t n = tr_param_elements(p);
    if (p->kind == TR_PARAM_MATRIX) {
        struct tr_mat m = tr_param_matrix(ex, p, flat);
        tr_mat_pack(ex, hf, &m);
        n = tr_mat_size(p->N, p->K);
    } else {
        memcpy(flat + p->at, hf, (size_t)n * sizeof *hf);
    }
    memset(flat + p->at + n, 0, (size_t)(p->size - n) * sizeof *flat);
}

void tr_params_unpack(const struct tr_exec *ex, const struct tr_param *p,
                      const float *flat, float *hf)
{
    if (p->kind == TR_PARAM_MATRIX) {
        float *from = NULL;
        memcpy(&from, &flat, sizeof from); /* a matrix that is only read */
        struct tr_mat m = tr_param_matrix(ex, p, from);
        tr_mat_unpack(ex, &m, hf);
    } else {
        memcpy(hf, flat + p->at, (size_t)tr_param_elements(p) * sizeof *hf);
    }
}

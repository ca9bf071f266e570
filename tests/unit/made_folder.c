#include "tests/unit/made_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "tests/unit/scratch.h"

const struct made mades[] = {
    {"llama f32", "llama", false, false, TR_ST_F32, TR_ST_F32, 1, false, false, false, 0},
    {"llama f16", "llama", false, false, TR_ST_F16, TR_ST_F16, 1, false, false, false, 0},
    {"llama bf16", "llama", false, false, TR_ST_BF16, TR_ST_BF16, 1, false, false, false,
     0},
    {"llama mixed", "llama", false, true, TR_ST_BF16, TR_ST_F32, 1, false, true, true, 0},
    {"llama tied", "llama", true, false, TR_ST_F32, TR_ST_F32, 1, false, false, false, 0},
    {"tied, stored twice", "llama", true, false, TR_ST_BF16, TR_ST_BF16, 1, true, true,
     true, 0},
    {"qwen2 f16 in 3", "qwen2", false, true, TR_ST_F16, TR_ST_F16, 3, false, true, false,
     0},
    {"qwen2 tied in 2", "qwen2", true, true, TR_ST_BF16, TR_ST_F32, 2, true, false, true,
     0},
    {"more than a block", "llama", true, false, TR_ST_BF16, TR_ST_F32, 1, false, false,
     false, 90001},
};

const int made_count = sizeof mades / sizeof *mades;

static uint64_t word(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

void made_config(const char *dir, const struct made *m)
{
    char text[1024];
    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"vocab_size\": %d, \"hidden_size\": 24, "
             "\"num_hidden_layers\": 2, \"num_attention_heads\": 3, "
             "\"num_key_value_heads\": 1, \"head_dim\": 10, \"intermediate_size\": 37, "
             "\"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-06, "
             "\"attention_bias\": %s, \"tie_word_embeddings\": %s, "
             "\"torch_dtype\": \"%s\", \"my_own_key\": [1, {\"x\": null}]}",
             m->family, m->V ? m->V : 50,
             m->biases && !strcmp(m->family, "llama") ? "true" : "false",
             m->tied ? "true" : "false", m->dtype == TR_ST_F32 ? "float32" : "bfloat16");
    scratch_text(dir, "config.json", text);
}

/* Writes tensors [from, to) of t with random bits that depend on the name only, so that a tied
 * model's lm_head, made from the embedding's name, is the embedding. */
void made_file(const char *dir, const char *name, const struct tr_st_tensor *t,
               int64_t count)
{
    char path[SCRATCH_ROOM];
    struct tr_st_writer *w = NULL;
    scratch_path(path, dir, name);
    assert_int_equal(tr_st_create(path, t, count, "pt", &w, NULL), TR_OK);
    for (int64_t i = 0; i < count; i++) {
        const char *of =
            strcmp(t[i].name, "lm_head.weight") ? t[i].name : "model.embed_tokens.weight";
        uint64_t seed = 1;
        for (const char *p = of; *p; p++) seed = seed * 31 + (unsigned char)*p;
        size_t bytes = tr_st_dtype_width(t[i].dtype);
        for (int k = 0; k < t[i].rank; k++) bytes *= (size_t)t[i].shape[k];
        unsigned char *data = malloc(bytes + 8);
        for (size_t k = 0; k < bytes; k += 8) {
            uint64_t x = word(&seed);
            memcpy(data + k, &x, 8);
        }
        assert_int_equal(tr_st_put(w, data, bytes, NULL), TR_OK);
        free(data);
    }
    assert_int_equal(tr_st_finish(w, NULL), TR_OK);
}

static void make_index(const char *dir, const struct tr_st_tensor *t, int64_t count,
                       int files)
{
    char path[SCRATCH_ROOM];
    char name[64];
    int64_t total = 0;
    json_t *map = json_object();
    for (int64_t i = 0; i < count; i++) {
        int64_t n = t[i].rank == 2 ? t[i].shape[0] * t[i].shape[1] : t[i].shape[0];
        total += n * (int64_t)tr_st_dtype_width(t[i].dtype);
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors",
                 (int)(i * files / count) + 1, files);
        json_object_set_new(map, t[i].name, json_string(name));
    }
    json_t *index = json_pack("{s:{s:I}, s:o}", "metadata", "total_size",
                              (json_int_t)total, "weight_map", map);
    scratch_path(path, dir, "model.safetensors.index.json");
    assert_int_equal(tr_json_save(path, index, 2, NULL), TR_OK);
    json_decref(index);
}

struct tr_st_tensor made_tensor(const char *name, enum tr_st_dtype dtype, int64_t N,
                                int64_t K)
{
    return (struct tr_st_tensor){
        .name = name, .dtype = dtype, .rank = K ? 2 : 1, .shape = {N, K}};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tr_st_tensor *)a)->name,
                  ((const struct tr_st_tensor *)b)->name);
}

struct tr_params *made_params(const char *dir, bool lm_head, bool value_head)
{
    struct tr_arch a;
    struct tr_params *p = NULL;
    assert_int_equal(tr_arch_load(dir, &a, NULL, NULL), TR_OK);
    assert_int_equal(tr_params_create(&a, lm_head, value_head, &p, NULL), TR_OK);
    return p;
}

void made_head(const char *dir, int64_t width)
{
    const struct tr_st_tensor t[] = {
        made_tensor("v_head.summary.bias", TR_ST_F32, 1, 0),
        made_tensor("v_head.summary.weight", TR_ST_F32, 1, width)};
    made_file(dir, "value_head.safetensors", t, 2);
}

void made_folder(const char *dir, const struct made *m)
{
    int64_t count = 0;
    struct tr_st_tensor t[64];
    made_config(dir, m);
    struct tr_params *p = made_params(dir, true, false);
    for (int64_t i = 0; i < tr_params_count(p); i++) {
        const struct tr_param *q = tr_params_get(p, i);
        bool norm = strstr(q->name, "norm") != NULL;
        t[count++] = made_tensor(q->name, norm ? m->norms : m->dtype, q->N, q->K);
    }
    if (m->lm_head_too)
        t[count++] = made_tensor("lm_head.weight", m->dtype, m->V ? m->V : 50, 24);
    if (m->extra)
        t[count++] =
            made_tensor("model.layers.0.self_attn.rotary_emb.inv_freq", TR_ST_F32, 5, 0);
    qsort(t, (size_t)count, sizeof *t, by_name);
    if (m->files == 1) made_file(dir, "model.safetensors", t, count);
    for (int f = 0; m->files > 1 && f < m->files; f++) {
        char name[64];
        int64_t from = 0;
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", f + 1, m->files);
        while (from * m->files / count < f) from++;
        int64_t to = from;
        while (to < count && to * m->files / count == f) to++;
        made_file(dir, name, t + from, to - from);
    }
    if (m->files > 1) make_index(dir, t, count, m->files);
    if (m->head) made_head(dir, 24);
    tr_params_destroy(p);
}

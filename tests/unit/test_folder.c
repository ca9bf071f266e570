/* Model folders are made here from random bits (NaN payloads and all), read, written again and
 * compared byte by byte; and broken in every way that a user's folder may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/folder.h"

enum { ROOM = 256 };

static int64_t countdown = -1;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static int fails(void)
{
    if (countdown < 0) return 0;
    if (countdown == 0) return 1;
    countdown--;
    return 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

/* One model folder to be made. Sizes are odd on purpose: no multiple of a panel's 16. */
struct made {
    const char *name;
    const char *family;
    bool tied, biases;
    enum tr_st_dtype dtype, norms; /* of the norms when other than the rest */
    int files;                     /* 1: model.safetensors; more: shards and an index */
    bool lm_head_too;              /* although tied */
    bool extra;                    /* a rotary table that the model does not use */
    bool head;                     /* value_head.safetensors */
    int V;                         /* 0: 50 */
};

static const struct made mades[] = {
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

static uint64_t word(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static void scratch(char dir[ROOM])
{
    snprintf(dir, ROOM, "/tmp/troupe-folder-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static void in(char out[ROOM], const char *dir, const char *name)
{
    assert_int_equal(tr_path_join(out, ROOM, dir, name, NULL), TR_OK);
}

static void put_text(const char *dir, const char *name, const char *text)
{
    char path[ROOM];
    in(path, dir, name);
    assert_int_equal(tr_file_write(path, text, strlen(text), NULL), TR_OK);
}

static void make_config(const char *dir, const struct made *m)
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
    put_text(dir, "config.json", text);
}

/* Writes tensors [from, to) of t with random bits that depend on the name only, so that a tied
 * model's lm_head, made from the embedding's name, is the embedding. */
static void make_file(const char *dir, const char *name, const struct tr_st_tensor *t,
                      int64_t count)
{
    char path[ROOM];
    struct tr_st_writer *w = NULL;
    in(path, dir, name);
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
    char path[ROOM];
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
    in(path, dir, "model.safetensors.index.json");
    assert_int_equal(tr_json_save(path, index, 2, NULL), TR_OK);
    json_decref(index);
}

static struct tr_st_tensor declare(const char *name, enum tr_st_dtype dtype, int64_t N,
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

static struct tr_params *params_of(const char *dir, bool lm_head, bool value_head)
{
    struct tr_arch a;
    struct tr_params *p = NULL;
    assert_int_equal(tr_arch_load(dir, &a, NULL, NULL), TR_OK);
    assert_int_equal(tr_params_create(&a, lm_head, value_head, &p, NULL), TR_OK);
    return p;
}

static void make_head(const char *dir, int64_t width)
{
    const struct tr_st_tensor t[] = {
        declare("v_head.summary.bias", TR_ST_F32, 1, 0),
        declare("v_head.summary.weight", TR_ST_F32, 1, width)};
    make_file(dir, "value_head.safetensors", t, 2);
}

static void make_folder(const char *dir, const struct made *m)
{
    int64_t count = 0;
    struct tr_st_tensor t[64];
    make_config(dir, m);
    struct tr_params *p = params_of(dir, true, false);
    for (int64_t i = 0; i < tr_params_count(p); i++) {
        const struct tr_param *q = tr_params_get(p, i);
        bool norm = strstr(q->name, "norm") != NULL;
        t[count++] = declare(q->name, norm ? m->norms : m->dtype, q->N, q->K);
    }
    if (m->lm_head_too)
        t[count++] = declare("lm_head.weight", m->dtype, m->V ? m->V : 50, 24);
    if (m->extra)
        t[count++] =
            declare("model.layers.0.self_attn.rotary_emb.inv_freq", TR_ST_F32, 5, 0);
    qsort(t, (size_t)count, sizeof *t, by_name);
    if (m->files == 1) make_file(dir, "model.safetensors", t, count);
    for (int f = 0; m->files > 1 && f < m->files; f++) {
        char name[64];
        int64_t from = 0;
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", f + 1, m->files);
        while (from * m->files / count < f) from++;
        int64_t to = from;
        while (to < count && to * m->files / count == f) to++;
        make_file(dir, name, t + from, to - from);
    }
    if (m->files > 1) make_index(dir, t, count, m->files);
    if (m->head) make_head(dir, 24);
    tr_params_destroy(p);
}

/* The same tensors: names, dtypes, shapes, bytes. */
static void compare_files(const char *which, const struct tr_st *a, const struct tr_st *b)
{
    assert_int_equal(tr_st_count(a), tr_st_count(b));
    for (int64_t i = 0; i < tr_st_count(a); i++) {
        const struct tr_st_tensor *x = tr_st_get(a, i);
        const struct tr_st_tensor *y = tr_st_get(b, i);
        bool same = !strcmp(x->name, y->name) && x->dtype == y->dtype &&
                    x->rank == y->rank && !memcmp(x->shape, y->shape, sizeof x->shape) &&
                    x->bytes == y->bytes && !memcmp(x->data, y->data, x->bytes);
        if (!same) fail_msg("%s: %s comes back as another (%s)", which, x->name, y->name);
    }
}

static void compare_json(const char *a, const char *b, const char *name)
{
    char path[ROOM];
    json_t *x = NULL;
    json_t *y = NULL;
    in(path, a, name);
    assert_int_equal(tr_json_load(path, 1 << 20, &x, NULL), TR_OK);
    in(path, b, name);
    assert_int_equal(tr_json_load(path, 1 << 20, &y, NULL), TR_OK);
    assert_true(json_equal(x, y));
    json_decref(x);
    json_decref(y);
}

static void compare_folders(const char *which, const char *a, const char *b)
{
    struct tr_shards *x = NULL;
    struct tr_shards *y = NULL;
    assert_int_equal(tr_shards_open(a, &x, NULL), TR_OK);
    assert_int_equal(tr_shards_open(b, &y, NULL), TR_OK);
    assert_int_equal(tr_shards_count(x), tr_shards_count(y));
    for (int i = 0; i < tr_shards_count(x); i++) {
        assert_string_equal(tr_shards_name(x, i), tr_shards_name(y, i));
        compare_files(which, tr_shards_file(x, i), tr_shards_file(y, i));
    }
    if (tr_shards_count(x) > 1) compare_json(a, b, "model.safetensors.index.json");
    compare_json(a, b, "config.json");
    tr_shards_close(x);
    tr_shards_close(y);
}

static void exec_open(struct tr_exec *ex, int threads)
{
    assert_int_equal(tr_exec_init(ex, NULL, threads, TR_MATH_EXACT), 0);
}

/* Invariant 2: read and written again like itself, a folder is the same to the bit. */
static void test_unchanged_is_identical(void **state)
{
    (void)state;
    struct tr_exec ex;
    exec_open(&ex, 2);
    for (size_t i = 0; i < sizeof mades / sizeof *mades; i++) {
        const struct made *m = &mades[i];
        char from[ROOM];
        char to[ROOM];
        bool found = false;
        struct tr_err err = {0};
        struct tr_folder *f = NULL;
        scratch(from);
        scratch(to);
        make_folder(from, m);
        if (tr_folder_open(from, &f, &err) != TR_OK)
            fail_msg("%s: %s", m->name, err.text);
        assert_int_equal(tr_folder_has_value_head(f), m->head);
        assert_true(tr_folder_has_lm_head(f));
        assert_int_equal(tr_folder_notes(f)[0] != 0, m->extra || m->lm_head_too);
        struct tr_params *p = params_of(from, true, m->head);
        float *flat = calloc((size_t)tr_params_total(p), sizeof *flat);
        if (tr_folder_read(f, &ex, p, flat, &found, &err) != TR_OK)
            fail_msg("%s: %s", m->name, err.text);
        assert_int_equal(found, m->head);
        struct tr_folder_save save = {.config = tr_folder_config(f), .like = f};
        if (tr_folder_write(to, &ex, p, flat, &save, &err) != TR_OK)
            fail_msg("%s: %s", m->name, err.text);
        compare_folders(m->name, from, to);
        tr_folder_close(f);
        free(flat);
        tr_params_destroy(p);
        assert_int_equal(tr_dir_remove(from, NULL), TR_OK);
        assert_int_equal(tr_dir_remove(to, NULL), TR_OK);
    }
    tr_exec_fini(&ex);
}

/* Evaluators read the same values as learners, f32 and bf16. */
static void test_weights_are_masters_rounded(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        char dir[ROOM];
        struct tr_exec ex;
        struct tr_folder *f = NULL;
        struct tr_weights *a = NULL;
        struct tr_weights *b = NULL;
        struct tr_digest x;
        struct tr_digest y;
        exec_open(&ex, 1);
        scratch(dir);
        make_folder(dir, &mades[3]);
        assert_int_equal(tr_folder_open(dir, &f, NULL), TR_OK);
        struct tr_params *p = params_of(dir, true, true);
        float *flat = calloc((size_t)tr_params_total(p), sizeof *flat);
        assert_int_equal(tr_folder_read(f, &ex, p, flat, NULL, NULL), TR_OK);
        assert_int_equal(tr_weights_create(p, &ex, bf16, &a, NULL), TR_OK);
        assert_int_equal(tr_weights_create(p, &ex, bf16, &b, NULL), TR_OK);
        tr_weights_refresh(a, &ex, flat);
        assert_int_equal(tr_folder_read_weights(f, &ex, b, NULL, NULL), TR_OK);
        assert_int_equal(tr_weights_digest(a, &ex, &x, NULL), TR_OK);
        assert_int_equal(tr_weights_digest(b, &ex, &y, NULL), TR_OK);
        assert_true(tr_digest_equal(&x, &y));
        tr_weights_destroy(a);
        tr_weights_destroy(b);
        free(flat);
        tr_params_destroy(p);
        tr_folder_close(f);
        tr_exec_fini(&ex);
        assert_int_equal(tr_dir_remove(dir, NULL), TR_OK);
    }
}

/* A model without a value head leaves that of the caller as it is. */
static void test_missing_head_is_left(void **state)
{
    (void)state;
    char dir[ROOM];
    bool found = true;
    struct tr_exec ex;
    struct tr_folder *f = NULL;
    exec_open(&ex, 1);
    scratch(dir);
    make_folder(dir, &mades[0]);
    assert_int_equal(tr_folder_open(dir, &f, NULL), TR_OK);
    struct tr_params *p = params_of(dir, true, true);
    const struct tr_param *bias = tr_params_find(p, "v_head.summary.bias");
    float *flat = calloc((size_t)tr_params_total(p), sizeof *flat);
    flat[bias->at] = 7;
    assert_int_equal(tr_folder_read(f, &ex, p, flat, &found, NULL), TR_OK);
    assert_false(found);
    assert_true(flat[bias->at] == 7);
    free(flat);
    tr_params_destroy(p);
    tr_folder_close(f);
    tr_exec_fini(&ex);
    assert_int_equal(tr_dir_remove(dir, NULL), TR_OK);
}

/* Fills flat with numbers that bf16 and f16 hold exactly. */
static void fill(struct tr_exec *ex, const struct tr_params *p, float *flat)
{
    float hf[64 * 64];
    uint64_t seed = 3;
    for (int64_t i = 0; i < tr_params_count(p); i++) {
        const struct tr_param *q = tr_params_get(p, i);
        for (size_t k = 0; k < sizeof hf / sizeof *hf; k++)
            hf[k] = (float)((int)(word(&seed) % 256) - 128) / 64;
        tr_params_pack(ex, q, hf, flat);
    }
}

static const struct {
    const char *name;
    enum tr_dtype dtype;
    int64_t shard_bytes;
    const char *torch_dtype;
    int files;
} saves[] = {
    {"f32", TR_F32, 0, "float32", 1},
    {"bf16", TR_BF16, 0, "bfloat16", 1},
    {"f16", TR_F16, 0, "float16", 1},
    {"f32 in shards", TR_F32, 20000, "float32", 3},
    {"a shard for each tensor", TR_BF16, 1, "bfloat16", 21},
    {"shards larger than the model", TR_BF16, 1 << 30, "bfloat16", 1},
};

/* Saved one way after the other into one folder: what a reader finds is always the last. */
static void test_saved_is_read_back(void **state)
{
    (void)state;
    char dir[ROOM];
    struct tr_exec ex;
    exec_open(&ex, 2);
    scratch(dir);
    make_config(dir, &mades[0]);
    struct tr_params *p = params_of(dir, true, false);
    size_t size = (size_t)tr_params_total(p) * sizeof(float);
    float *flat = calloc(1, size);
    float *back = calloc(1, size);
    fill(&ex, p, flat);
    for (size_t i = 0; i < sizeof saves / sizeof *saves; i++) {
        char path[ROOM];
        json_t *config = NULL;
        struct tr_folder *f = NULL;
        struct tr_err err = {0};
        in(path, dir, "config.json");
        assert_int_equal(tr_json_load(path, 4096, &config, NULL), TR_OK);
        struct tr_folder_save save = {.config = config,
                                      .dtype = saves[i].dtype,
                                      .shard_bytes = saves[i].shard_bytes};
        if (tr_folder_write(dir, &ex, p, flat, &save, &err) != TR_OK)
            fail_msg("%s: %s", saves[i].name, err.text);
        json_decref(config);
        if (tr_folder_open(dir, &f, &err) != TR_OK)
            fail_msg("%s: %s", saves[i].name, err.text);
        memset(back, 0xff, size);
        assert_int_equal(tr_folder_read(f, &ex, p, back, NULL, &err), TR_OK);
        if (memcmp(flat, back, size) != 0) fail_msg("%s: other values", saves[i].name);
        assert_int_equal(tr_folder_dtype(f), saves[i].dtype);
        if (tr_shards_count(tr_folder_shards(f)) != saves[i].files)
            fail_msg("%s: %d files", saves[i].name, tr_shards_count(tr_folder_shards(f)));
        config = json_deep_copy(tr_folder_config(f));
        assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")),
                            saves[i].torch_dtype);
        assert_int_equal(json_array_size(json_object_get(config, "my_own_key")), 2);
        json_decref(config);
        tr_folder_close(f);
    }
    free(flat);
    free(back);
    tr_params_destroy(p);
    tr_exec_fini(&ex);
    assert_int_equal(tr_dir_remove(dir, NULL), TR_OK);
}

static void test_tokenizer_files_are_copied(void **state)
{
    (void)state;
    char from[ROOM];
    char to[ROOM];
    char path[ROOM];
    struct tr_exec ex;
    struct tr_buf text;
    exec_open(&ex, 1);
    scratch(from);
    scratch(to);
    make_config(from, &mades[0]);
    put_text(from, "tokenizer.json", "{}");
    put_text(from, "chat_template.jinja", "{{ hello }}");
    put_text(from, "generation_config.json", "{\"eos_token_id\": 2}");
    put_text(from, "optimizer.pt", "not a tokenizer file");
    struct tr_params *p = params_of(from, true, false);
    float *flat = calloc((size_t)tr_params_total(p), sizeof *flat);
    struct tr_folder_save save = {.tokenizer_dir = from};
    assert_int_equal(tr_folder_write(to, &ex, p, flat, &save, NULL), TR_OK);
    in(path, to, "chat_template.jinja");
    assert_int_equal(tr_file_read(path, 4096, &text, NULL), TR_OK);
    assert_string_equal(tr_buf_text(&text), "{{ hello }}");
    tr_buf_fini(&text);
    in(path, to, "tokenizer.json");
    assert_true(tr_path_exists(path));
    in(path, to, "generation_config.json");
    assert_true(tr_path_exists(path));
    in(path, to, "optimizer.pt");
    assert_false(tr_path_exists(path));
    save.tokenizer_dir = to; /* onto itself: nothing happens */
    assert_int_equal(tr_folder_write(to, &ex, p, flat, &save, NULL), TR_OK);
    free(flat);
    tr_params_destroy(p);
    tr_exec_fini(&ex);
    assert_int_equal(tr_dir_remove(from, NULL), TR_OK);
    assert_int_equal(tr_dir_remove(to, NULL), TR_OK);
}

/* Ways to break a folder; each gets a good one of three shards unless it says otherwise. */

static void drop_config(const char *dir)
{
    char path[ROOM];
    in(path, dir, "config.json");
    assert_int_equal(unlink(path), 0);
}

static void drop_index(const char *dir)
{
    char path[ROOM];
    in(path, dir, "model.safetensors.index.json");
    assert_int_equal(unlink(path), 0);
}

static void drop_shard(const char *dir)
{
    char path[ROOM];
    in(path, dir, "model-00002-of-00003.safetensors");
    assert_int_equal(unlink(path), 0);
}

static void cut_shard(const char *dir)
{
    char path[ROOM];
    struct stat sb;
    in(path, dir, "model-00002-of-00003.safetensors");
    assert_int_equal(stat(path, &sb), 0);
    assert_int_equal(truncate(path, sb.st_size - 1), 0);
}

static void climb_out(const char *dir)
{
    put_text(dir, "model.safetensors.index.json",
             "{\"weight_map\": {\"model.norm.weight\": \"../other/model.safetensors\"}}");
}

static void point_elsewhere(const char *dir)
{
    put_text(dir, "model.safetensors.index.json",
             "{\"weight_map\": {\"model.norm.weight\": "
             "\"model-00001-of-00003.safetensors\", \"model.none\": "
             "\"model-00001-of-00003.safetensors\"}}");
}

static void no_map(const char *dir)
{
    put_text(dir, "model.safetensors.index.json", "{\"weight_map\": []}");
}

static void forget_tensor(const char *dir)
{
    char path[ROOM];
    json_t *index = NULL;
    in(path, dir, "model.safetensors.index.json");
    assert_int_equal(tr_json_load(path, 1 << 20, &index, NULL), TR_OK);
    json_object_del(json_object_get(index, "weight_map"), "model.norm.weight");
    assert_int_equal(tr_json_save(path, index, 2, NULL), TR_OK);
    json_decref(index);
}

static void one_file(const char *dir, enum tr_st_dtype dtype, int64_t N, int64_t K)
{
    const struct tr_st_tensor t = declare("lm_head.weight", dtype, N, K);
    make_file(dir, "model.safetensors", &t, 1);
}

static void wrong_shape(const char *dir)
{
    one_file(dir, TR_ST_F32, 24, 50);
}

static void wrong_rank(const char *dir)
{
    one_file(dir, TR_ST_F32, 1200, 0);
}

static void wrong_dtype(const char *dir)
{
    one_file(dir, TR_ST_I64, 50, 24);
}

static void wrong_head(const char *dir)
{
    make_head(dir, 25);
}

static const struct {
    const char *name;
    void (*spoil)(const char *dir);
    const char *words[3];
} spoilt[] = {
    {"no config", drop_config, {"config.json"}},
    {"no model", drop_index, {"expected model.safetensors or", "found neither"}},
    {"a shard missing", drop_shard, {"model-00002-of-00003.safetensors", "No such file"}},
    {"a shard cut off", cut_shard, {"model-00002-of-00003.safetensors", "truncated"}},
    {"an index that leads out",
     climb_out,
     {"model.norm.weight", "in the folder", "../other"}},
    {"an index that lies",
     point_elsewhere,
     {"index.json", "in model-00001", "found nothing"}},
    {"an index without a map", no_map, {"weight_map", "an object", "array"}},
    {"a tensor missing",
     forget_tensor,
     {"index.json", "model.norm.weight: expected", "[24], found nothing"}},
    {"a transposed matrix",
     wrong_shape,
     {"model.safetensors: tensor lm_head.weight", "[50, 24]", "found F32 [24, 50]"}},
    {"a flat matrix", wrong_rank, {"[50, 24]", "found F32 [1200]"}},
    {"an integer matrix",
     wrong_dtype,
     {"F32, F16 or BF16 [50, 24]", "found I64 [50, 24]"}},
    {"a head of another width",
     wrong_head,
     {"value_head.safetensors: tensor v_head.summary.weight", "[1, 24]",
      "found F32 [1, 25]"}},
};

static enum tr_status open_and_read(const char *dir, struct tr_exec *ex,
                                    const struct tr_params *p, float *flat,
                                    struct tr_err *err)
{
    struct tr_folder *f = NULL;
    enum tr_status st = tr_folder_open(dir, &f, err);
    if (st == TR_OK) st = tr_folder_read(f, ex, p, flat, NULL, err);
    tr_folder_close(f);
    return st;
}

static void test_spoilt_folders(void **state)
{
    (void)state;
    struct tr_exec ex;
    exec_open(&ex, 1);
    for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
        char dir[ROOM];
        struct tr_err err = {0};
        scratch(dir);
        make_folder(dir, &mades[6]);
        struct tr_params *p = params_of(dir, true, true);
        size_t size = (size_t)tr_params_total(p) * sizeof(float);
        float *flat = calloc(1, size);
        spoilt[i].spoil(dir);
        enum tr_status st = open_and_read(dir, &ex, p, flat, &err);
        if (st != TR_BADARG && st != TR_IO)
            fail_msg("%s: status %d: %s", spoilt[i].name, (int)st, err.text);
        for (int w = 0; w < 3 && spoilt[i].words[w]; w++)
            if (!strstr(err.text, spoilt[i].words[w]))
                fail_msg("%s: no \"%s\" in: %s", spoilt[i].name, spoilt[i].words[w],
                         err.text);
        for (size_t k = 0; k < size / sizeof *flat; k++)
            assert_true(flat[k] == 0); /* refused before anything was read */
        free(flat);
        tr_params_destroy(p);
        assert_int_equal(tr_dir_remove(dir, NULL), TR_OK);
    }
    tr_exec_fini(&ex);
}

static void test_not_a_folder(void **state)
{
    (void)state;
    char dir[ROOM];
    char path[ROOM];
    struct tr_folder *f = NULL;
    struct tr_err err = {0};
    scratch(dir);
    put_text(dir, "m.gguf", "GGUF");
    in(path, dir, "m.gguf");
    assert_int_equal(tr_folder_open(path, &f, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "troupe import"));
    in(path, dir, "nothing");
    assert_int_equal(tr_folder_open(path, &f, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "found nothing"));
    assert_null(f);
    assert_int_equal(tr_dir_remove(dir, NULL), TR_OK);
}

static enum tr_status read_and_write(const char *from, const char *to, struct tr_exec *ex,
                                     const struct tr_params *p, float *flat,
                                     struct tr_err *err)
{
    struct tr_folder *f = NULL;
    enum tr_status st = tr_folder_open(from, &f, err);
    if (st == TR_OK) st = tr_folder_read(f, ex, p, flat, NULL, err);
    struct tr_folder_save save = {.like = f, .tokenizer_dir = from};
    if (st == TR_OK) st = tr_folder_write(to, ex, p, flat, &save, err);
    tr_folder_close(f);
    return st;
}

/* Fails the k-th allocation of open, read and write, for every k until all succeed. */
static void test_allocation_faults(void **state)
{
    (void)state;
    char from[ROOM];
    char to[ROOM];
    struct tr_exec ex;
    exec_open(&ex, 1);
    scratch(from);
    scratch(to);
    make_folder(from, &mades[7]);
    struct tr_params *p = params_of(from, true, true);
    float *flat = calloc((size_t)tr_params_total(p), sizeof *flat);
    enum tr_status st = TR_NOMEM;
    for (int64_t k = 0; st != TR_OK; k++) {
        struct tr_err err = {0};
        countdown = k;
        st = read_and_write(from, to, &ex, p, flat, &err);
        countdown = -1;
        if (st != TR_OK && (st != TR_NOMEM || !err.text[0]))
            fail_msg("allocation %lld: status %d: %s", (long long)k, (int)st, err.text);
        assert_true(k < 1000);
    }
    free(flat);
    tr_params_destroy(p);
    tr_exec_fini(&ex);
    assert_int_equal(tr_dir_remove(from, NULL), TR_OK);
    assert_int_equal(tr_dir_remove(to, NULL), TR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unchanged_is_identical),
        cmocka_unit_test(test_weights_are_masters_rounded),
        cmocka_unit_test(test_missing_head_is_left),
        cmocka_unit_test(test_saved_is_read_back),
        cmocka_unit_test(test_tokenizer_files_are_copied),
        cmocka_unit_test(test_spoilt_folders),
        cmocka_unit_test(test_not_a_folder),
        cmocka_unit_test(test_allocation_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

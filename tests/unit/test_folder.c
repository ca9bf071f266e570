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
#include "tests/unit/made_folder.h"
#include "tests/unit/scarce.h"
#include "tests/unit/scratch.h"

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
    char path[SCRATCH_ROOM];
    json_t *x = NULL;
    json_t *y = NULL;
    scratch_path(path, a, name);
    assert_int_equal(tr_json_load(path, 1 << 20, &x, NULL), TR_OK);
    scratch_path(path, b, name);
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
    for (size_t i = 0; i < (size_t)made_count; i++) {
        const struct made *m = &mades[i];
        char from[SCRATCH_ROOM];
        char to[SCRATCH_ROOM];
        bool found = false;
        struct tr_err err = {0};
        struct tr_folder *f = NULL;
        scratch_make(from);
        scratch_make(to);
        made_folder(from, m);
        if (tr_folder_open(from, &f, &err) != TR_OK)
            fail_msg("%s: %s", m->name, err.text);
        assert_int_equal(tr_folder_has_value_head(f), m->head);
        assert_true(tr_folder_has_lm_head(f));
        assert_int_equal(tr_folder_notes(f)[0] != 0, m->extra || m->lm_head_too);
        struct tr_params *p = made_params(from, true, m->head);
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
        scratch_remove(from);
        scratch_remove(to);
    }
    tr_exec_fini(&ex);
}

/* Evaluators read the same values as learners, f32 and bf16. */
static void test_weights_are_masters_rounded(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        char dir[SCRATCH_ROOM];
        struct tr_exec ex;
        struct tr_folder *f = NULL;
        struct tr_weights *a = NULL;
        struct tr_weights *b = NULL;
        struct tr_digest x;
        struct tr_digest y;
        exec_open(&ex, 1);
        scratch_make(dir);
        made_folder(dir, &mades[3]);
        assert_int_equal(tr_folder_open(dir, &f, NULL), TR_OK);
        struct tr_params *p = made_params(dir, true, true);
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
        scratch_remove(dir);
    }
}

/* A model without a value head leaves that of the caller as it is. */
static void test_missing_head_is_left(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM];
    bool found = true;
    struct tr_exec ex;
    struct tr_folder *f = NULL;
    exec_open(&ex, 1);
    scratch_make(dir);
    made_folder(dir, &mades[0]);
    assert_int_equal(tr_folder_open(dir, &f, NULL), TR_OK);
    struct tr_params *p = made_params(dir, true, true);
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
    scratch_remove(dir);
}

/* Fills flat with numbers that bf16 and f16 hold exactly. */
static void fill(struct tr_exec *ex, const struct tr_params *p, float *flat)
{
    float hf[64 * 64];
    uint64_t seed = 3;
    for (int64_t i = 0; i < tr_params_count(p); i++) {
        const struct tr_param *q = tr_params_get(p, i);
        for (size_t k = 0; k < sizeof hf / sizeof *hf; k++)
            hf[k] = (float)((int)((seed = seed * 75 + 74) % 65537 % 256) - 128) / 64;
        tr_params_pack(ex, q, hf, flat);
    }
}

static const struct {
    const char *name;
    enum tr_dtype dtype;
    int files;
    int64_t shard_bytes;
    const char *torch_dtype;
} saves[] = {
    {"f32", TR_F32, 1, 0, "float32"},
    {"bf16", TR_BF16, 1, 0, "bfloat16"},
    {"f16", TR_F16, 1, 0, "float16"},
    {"f32 in shards", TR_F32, 3, 20000, "float32"},
    {"a shard for each tensor", TR_BF16, 21, 1, "bfloat16"},
    {"shards larger than the model", TR_BF16, 1, 1 << 30, "bfloat16"},
};

/* Saved one way after the other into one folder: what a reader finds is always the last. */
static void test_saved_is_read_back(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM];
    struct tr_exec ex;
    exec_open(&ex, 2);
    scratch_make(dir);
    made_config(dir, &mades[0]);
    struct tr_params *p = made_params(dir, true, false);
    size_t size = (size_t)tr_params_total(p) * sizeof(float);
    float *flat = calloc(1, size);
    float *back = calloc(1, size);
    fill(&ex, p, flat);
    for (size_t i = 0; i < sizeof saves / sizeof *saves; i++) {
        char path[SCRATCH_ROOM];
        json_t *config = NULL;
        struct tr_folder *f = NULL;
        struct tr_err err = {0};
        scratch_path(path, dir, "config.json");
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
    scratch_remove(dir);
}

static void test_tokenizer_files_are_copied(void **state)
{
    (void)state;
    char from[SCRATCH_ROOM];
    char to[SCRATCH_ROOM];
    char path[SCRATCH_ROOM];
    struct tr_exec ex;
    struct tr_buf text;
    exec_open(&ex, 1);
    scratch_make(from);
    scratch_make(to);
    made_config(from, &mades[0]);
    scratch_text(from, "tokenizer.json", "{}");
    scratch_text(from, "chat_template.jinja", "{{ hello }}");
    scratch_text(from, "generation_config.json", "{\"eos_token_id\": 2}");
    scratch_text(from, "optimizer.pt", "not a tokenizer file");
    struct tr_params *p = made_params(from, true, false);
    float *flat = calloc((size_t)tr_params_total(p), sizeof *flat);
    struct tr_folder_save save = {.tokenizer_dir = from};
    assert_int_equal(tr_folder_write(to, &ex, p, flat, &save, NULL), TR_OK);
    scratch_path(path, to, "chat_template.jinja");
    assert_int_equal(tr_file_read(path, 4096, &text, NULL), TR_OK);
    assert_string_equal(tr_buf_text(&text), "{{ hello }}");
    tr_buf_fini(&text);
    scratch_path(path, to, "tokenizer.json");
    assert_true(tr_path_exists(path));
    scratch_path(path, to, "generation_config.json");
    assert_true(tr_path_exists(path));
    scratch_path(path, to, "optimizer.pt");
    assert_false(tr_path_exists(path));
    save.tokenizer_dir = to; /* onto itself: nothing happens */
    assert_int_equal(tr_folder_write(to, &ex, p, flat, &save, NULL), TR_OK);
    free(flat);
    tr_params_destroy(p);
    tr_exec_fini(&ex);
    scratch_remove(from);
    scratch_remove(to);
}

/* Ways to break a folder; each gets a good one of three shards unless it says otherwise. */

static void drop_config(const char *dir)
{
    char path[SCRATCH_ROOM];
    scratch_path(path, dir, "config.json");
    assert_int_equal(unlink(path), 0);
}

static void drop_index(const char *dir)
{
    char path[SCRATCH_ROOM];
    scratch_path(path, dir, "model.safetensors.index.json");
    assert_int_equal(unlink(path), 0);
}

static void drop_shard(const char *dir)
{
    char path[SCRATCH_ROOM];
    scratch_path(path, dir, "model-00002-of-00003.safetensors");
    assert_int_equal(unlink(path), 0);
}

static void cut_shard(const char *dir)
{
    char path[SCRATCH_ROOM];
    struct stat sb;
    scratch_path(path, dir, "model-00002-of-00003.safetensors");
    assert_int_equal(stat(path, &sb), 0);
    assert_int_equal(truncate(path, sb.st_size - 1), 0);
}

static void climb_out(const char *dir)
{
    scratch_text(
        dir, "model.safetensors.index.json",
        "{\"weight_map\": {\"model.norm.weight\": \"../other/model.safetensors\"}}");
}

static void point_elsewhere(const char *dir)
{
    scratch_text(dir, "model.safetensors.index.json",
                 "{\"weight_map\": {\"model.norm.weight\": "
                 "\"model-00001-of-00003.safetensors\", \"model.none\": "
                 "\"model-00001-of-00003.safetensors\"}}");
}

static void no_map(const char *dir)
{
    scratch_text(dir, "model.safetensors.index.json", "{\"weight_map\": []}");
}

static void forget_tensor(const char *dir)
{
    char path[SCRATCH_ROOM];
    json_t *index = NULL;
    scratch_path(path, dir, "model.safetensors.index.json");
    assert_int_equal(tr_json_load(path, 1 << 20, &index, NULL), TR_OK);
    json_object_del(json_object_get(index, "weight_map"), "model.norm.weight");
    assert_int_equal(tr_json_save(path, index, 2, NULL), TR_OK);
    json_decref(index);
}

static void one_file(const char *dir, enum tr_st_dtype dtype, int64_t N, int64_t K)
{
    const struct tr_st_tensor t = made_tensor("lm_head.weight", dtype, N, K);
    made_file(dir, "model.safetensors", &t, 1);
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
    made_head(dir, 25);
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
        char dir[SCRATCH_ROOM];
        struct tr_err err = {0};
        scratch_make(dir);
        made_folder(dir, &mades[6]);
        struct tr_params *p = made_params(dir, true, true);
        size_t size = (size_t)tr_params_total(p) * sizeof(float);
        float *flat = calloc(1, size);
        spoilt[i].spoil(dir);
        enum tr_status st = open_and_read(dir, &ex, p, flat, &err);
        if (st != TR_BADARG) /* a folder that is no model is a mistake */
            fail_msg("%s: status %d: %s", spoilt[i].name, (int)st, err.text);
        for (int w = 0; w < 3 && spoilt[i].words[w]; w++)
            if (!strstr(err.text, spoilt[i].words[w]))
                fail_msg("%s: no \"%s\" in: %s", spoilt[i].name, spoilt[i].words[w],
                         err.text);
        for (size_t k = 0; k < size / sizeof *flat; k++)
            assert_true(flat[k] == 0); /* refused before anything was read */
        free(flat);
        tr_params_destroy(p);
        scratch_remove(dir);
    }
    tr_exec_fini(&ex);
}

static void test_not_a_folder(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM];
    char path[SCRATCH_ROOM];
    struct tr_folder *f = NULL;
    struct tr_err err = {0};
    scratch_make(dir);
    scratch_text(dir, "m.gguf", "GGUF");
    scratch_path(path, dir, "m.gguf");
    assert_int_equal(tr_folder_open(path, &f, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "troupe import"));
    scratch_path(path, dir, "nothing");
    assert_int_equal(tr_folder_open(path, &f, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "found nothing"));
    assert_null(f);
    scratch_remove(dir);
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
    char from[SCRATCH_ROOM];
    char to[SCRATCH_ROOM];
    struct tr_exec ex;
    exec_open(&ex, 1);
    scratch_make(from);
    scratch_make(to);
    made_folder(from, &mades[7]);
    struct tr_params *p = made_params(from, true, true);
    float *flat = calloc((size_t)tr_params_total(p), sizeof *flat);
    enum tr_status st = TR_NOMEM;
    for (int64_t k = 0; st != TR_OK; k++) {
        struct tr_err err = {0};
        scarce_after(k);
        st = read_and_write(from, to, &ex, p, flat, &err);
        scarce_after(-1);
        if (st != TR_OK && (st != TR_NOMEM || !err.text[0]))
            fail_msg("allocation %lld: status %d: %s", (long long)k, (int)st, err.text);
        assert_true(k < 1000);
    }
    free(flat);
    tr_params_destroy(p);
    tr_exec_fini(&ex);
    scratch_remove(from);
    scratch_remove(to);
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

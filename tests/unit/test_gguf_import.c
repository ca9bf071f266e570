/* Model folders out of GGUF files: tensors, config, tokenizer. */
#include <math.h>
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
#include "core/model/gguf_import.h"
#include "core/model/gguf_tokenizer.h"
#include "core/model/safetensors.h"
#include "core/text/tokenizer.h"
#include "tests/unit/made_gguf.h"
#include "tests/unit/scratch.h"

/* llama.cpp reshapes [heads, 2, D/2, K] and swaps the middle two; this swaps them back. */
static void compare(const struct made_gguf *m, const struct tr_st *f, const char *hf,
                    const char *gguf, int heads)
{
    const struct tr_st_tensor *t = tr_st_find(f, hf);
    const struct made_part *p = made_gguf_part(m, gguf);
    int64_t K = p->K ? p->K : 1;
    float x[F * d];
    assert_non_null(t);
    assert_int_equal(t->rank, p->K ? 2 : 1);
    assert_int_equal(t->shape[0], p->N);
    assert_int_equal(tr_st_floats(t, 0, t->count, x, NULL), TR_OK);
    for (int64_t n = 0; n < p->N; n++) {
        int64_t from = n;
        if (heads && !strcmp(m->family, "llama")) {
            int64_t head = n / D;
            int64_t half = n % D / (D / 2);
            int64_t i = n % (D / 2);
            from = (head * (D / 2) + i) * 2 + half;
        }
        for (int64_t k = 0; k < K; k++)
            if (x[n * K + k] != (float)p->value[from * K + k])
                fail_msg("%s row %d column %d", hf, (int)n, (int)k);
    }
}

static void test_imported_tensors(void **state)
{
    (void)state;
    static const struct {
        const char *hf, *gguf;
        int heads;
    } rows[] = {
        {"model.embed_tokens.weight", "token_embd.weight", 0},
        {"model.norm.weight", "output_norm.weight", 0},
        {"lm_head.weight", "output.weight", 0},
        {"model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight", 0},
        {"model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight", 0},
        {"model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight", H},
        {"model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", Kv},
        {"model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight", 0},
        {"model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight", 0},
        {"model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight", 0},
        {"model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight", 0},
        {"model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight", 0},
        {"model.layers.0.self_attn.q_proj.bias", "blk.0.attn_q.bias", H},
        {"model.layers.0.self_attn.k_proj.bias", "blk.0.attn_k.bias", Kv},
        {"model.layers.0.self_attn.v_proj.bias", "blk.0.attn_v.bias", 0},
        {"model.layers.0.self_attn.o_proj.bias", "blk.0.attn_output.bias", 0},
    };
    for (size_t k = 0; k < (size_t)made_gguf_count; k++) {
        char dir[SCRATCH_ROOM];
        char path[SCRATCH_ROOM];
        int seen = 0;
        struct made_gguf m = made_ggufs[k];
        struct tr_st *f = NULL;
        struct tr_err err = {0};
        scratch_make(dir);
        made_gguf_open(&m);
        if (made_gguf_import(&m, dir, TR_F32, &err) != TR_OK) fail_msg("%s", err.text);
        scratch_path(path, dir, "out/model.safetensors");
        assert_int_equal(tr_st_open(path, &f, NULL), TR_OK);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            if (!made_gguf_part(&m, rows[i].gguf)) continue;
            compare(&m, f, rows[i].hf, rows[i].gguf, rows[i].heads);
            seen++;
        }
        assert_int_equal(tr_st_count(f), seen);
        tr_st_close(f);
        made_gguf_close(&m);
        scratch_remove(dir);
    }
}

static void test_imported_config(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM];
    char path[SCRATCH_ROOM];
    struct made_gguf m = made_ggufs[2];
    struct tr_st *f = NULL;
    struct tr_arch a;
    scratch_make(dir);
    made_gguf_open(&m);
    assert_int_equal(made_gguf_import(&m, dir, TR_BF16, NULL), TR_OK);
    scratch_path(path, dir, "out");
    assert_int_equal(tr_arch_load(path, &a, NULL, NULL), TR_OK);
    assert_true(a.V == V && a.d == d && a.L == 1 && a.H == H && a.Kv == Kv && a.D == D);
    assert_true(a.F == F && a.max_positions == 128 && !a.tied && a.qkv_bias && a.o_bias);
    assert_true(a.eps == 1e-5F && a.rope.theta == 5e5 && a.rope.kind == TR_ROPE_PLAIN);
    assert_true(a.bos == 0 && a.eos[0] == 1 && a.n_eos == 1 && a.pad == -1);
    json_t *config = scratch_json(path, "config.json");
    assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")),
                        "bfloat16");
    json_decref(config);
    scratch_path(path, dir, "out/model.safetensors");
    assert_int_equal(tr_st_open(path, &f, NULL), TR_OK);
    assert_int_equal(tr_st_get(f, 0)->dtype, TR_ST_BF16);
    tr_st_close(f);
    made_gguf_close(&m);
    scratch_remove(dir);
}

/* Factor 8, low 1, high 4 over 8192 positions, theta 5e5: as transformers computes them. */
static void divisors_of(float out[D / 2], double factor)
{
    for (int i = 0; i < D / 2; i++) {
        double length = 2 * 3.14159265358979 * pow(5e5, 2.0 * i / D);
        double smooth = (8192 / length - 1) / 3;
        double x = 1 / ((1 - smooth) / factor + smooth);
        out[i] = (float)(length < 2048 ? 1 : length > 8192 ? factor : x);
    }
}

static void test_llama3_divisors(void **state)
{
    (void)state;
    for (int spoil = 0; spoil < 2; spoil++) {
        float divisor[D / 2];
        struct made_gguf m = made_ggufs[2];
        struct tr_gguf *g = NULL;
        struct tr_err err = {0};
        struct tr_arch a;
        divisors_of(divisor, 32);
        if (spoil) divisor[3] *= 1.5F;
        m.divisors = divisor;
        made_gguf_open(&m);
        assert_int_equal(
            tr_gguf_parse(made_gguf_bytes(&m), m.file.size, "made", &g, NULL), TR_OK);
        enum tr_status st = tr_gguf_arch(g, &a, &err);
        if (spoil) {
            assert_int_equal(st, TR_BADARG);
            assert_non_null(strstr(err.text, "rope_freqs.weight: element 3"));
        } else {
            assert_int_equal(st, TR_OK);
            assert_true(a.rope.kind == TR_ROPE_LLAMA3 && a.rope.factor == 32);
            assert_true(a.rope.low_freq_factor == 1 && a.rope.high_freq_factor == 4);
            assert_true(a.rope.original_length == 8192);
        }
        tr_gguf_close(g);
        made_gguf_close(&m);
    }
}

static const struct {
    int model; /* in models */
    bool digits, split, nfc, ignore_merges, bos;
} splits[] = {
    {0, false, false, false, false, false},
    {1, true, false, false, false, false},
    {2, false, true, false, true, true},
    {4, false, true, true, false, false},
};

static void test_imported_tokenizer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        struct made_gguf m = made_ggufs[splits[i].model];
        struct tr_gguf *g = NULL;
        json_t *t = NULL;
        made_gguf_open(&m);
        assert_int_equal(
            tr_gguf_parse(made_gguf_bytes(&m), m.file.size, "made", &g, NULL), TR_OK);
        assert_int_equal(tr_gguf_tokenizer(g, V, &t, NULL), TR_OK);
        json_t *pre = json_object_get(t, "pre_tokenizer");
        json_t *model = json_object_get(t, "model");
        char *text = json_dumps(pre, JSON_COMPACT);
        assert_int_equal(strstr(text, "\"Digits\"") != NULL, splits[i].digits);
        assert_int_equal(strstr(text, "\"Split\"") != NULL, splits[i].split);
        assert_int_equal(strstr(text, "\"use_regex\":true") != NULL, !splits[i].split);
        free(text);
        assert_int_equal(json_is_object(json_object_get(t, "normalizer")), splits[i].nfc);
        assert_int_equal(json_is_true(json_object_get(model, "ignore_merges")),
                         splits[i].ignore_merges);
        assert_int_equal(json_is_object(json_object_get(t, "post_processor")),
                         splits[i].bos);
        json_t *vocab = json_object_get(model, "vocab");
        assert_int_equal(json_object_size(vocab), V - 1); /* all but the unused one */
        assert_int_equal(json_integer_value(json_object_get(vocab, "ab")), 4);
        assert_int_equal(json_array_size(json_object_get(t, "added_tokens")), 3);
        json_decref(t);
        tr_gguf_close(g);
        made_gguf_close(&m);
    }
}

/* The tokenizer that others will use reads the folder. */
static void test_tokenizer_opens(void **state)
{
    (void)state;
    for (size_t i = 0; i < (size_t)made_gguf_count; i++) {
        char dir[SCRATCH_ROOM];
        char path[SCRATCH_ROOM];
        struct made_gguf m = made_ggufs[i];
        struct tr_tokenizer *t = NULL;
        struct tr_ids ids = {NULL, 0, 0};
        struct tr_err err = {0};
        scratch_make(dir);
        made_gguf_open(&m);
        assert_int_equal(made_gguf_import(&m, dir, TR_F16, NULL), TR_OK);
        scratch_path(path, dir, "out");
        if (tr_tokenizer_open(path, &t, &err) != TR_OK)
            fail_msg("%s: %s", m.pre, err.text);
        assert_int_equal(tr_tokenizer_encode(t, "ab<user>a</s>", 13, &ids, NULL), TR_OK);
        const int32_t want[] = {4, 7, 2, 1};
        assert_int_equal(ids.count, 4);
        assert_memory_equal(ids.at, want, sizeof want);
        struct tr_special s = tr_tokenizer_special(t);
        assert_true(s.bos == 0 && s.eos == 1 && s.pad == -1 && s.unk == -1);
        assert_int_equal(s.add_bos, !strcmp(m.pre, "llama-bpe"));
        assert_true(tr_tokenizer_is_special(t, 0) && !tr_tokenizer_is_special(t, 7));
        scratch_path(path, dir, "out/chat_template.jinja");
        assert_true(tr_path_exists(path));
        tr_ids_fini(&ids);
        tr_tokenizer_close(t);
        made_gguf_close(&m);
        scratch_remove(dir);
    }
}

/* A folder that holds anything is not touched; an empty one and a trailing slash are fine. */
static void test_existing_folders(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM];
    char out[SCRATCH_ROOM];
    char file[SCRATCH_ROOM];
    struct made_gguf m = made_ggufs[1];
    struct tr_err err = {0};
    scratch_make(dir);
    made_gguf_open(&m);
    scratch_path(out, dir, "out");
    scratch_path(file, dir, "out/mine.txt");
    assert_int_equal(mkdir(out, 0777), 0);
    assert_int_equal(made_gguf_import(&m, dir, TR_F32, &err), TR_OK);
    assert_int_equal(made_gguf_import(&m, dir, TR_F32, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "new or empty folder"));
    scratch_remove(out);
    assert_int_equal(mkdir(out, 0777), 0);
    assert_int_equal(tr_file_write(file, "x", 1, NULL), TR_OK);
    assert_int_equal(made_gguf_import(&m, dir, TR_F32, &err), TR_BADARG);
    assert_true(tr_path_exists(file));
    scratch_remove(dir);
    made_gguf_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_imported_tensors),
        cmocka_unit_test(test_imported_config),
        cmocka_unit_test(test_llama3_divisors),
        cmocka_unit_test(test_imported_tokenizer),
        cmocka_unit_test(test_tokenizer_opens),
        cmocka_unit_test(test_existing_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

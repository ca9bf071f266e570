/* GGUF files are read, compared with a dequantisation in doubles, and spoilt byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/model/gguf_blocks.h"
#include "core/model/gguf_import.h"
#include "tests/unit/made_gguf.h"
#include "tests/unit/scratch.h"

/* Each type: all elements, and a piece from the middle, are the doubles rounded once. */
static void test_blocks_are_exact(void **state)
{
    (void)state;
    for (size_t k = 0; k < (size_t)made_gguf_count; k++) {
        struct made_gguf m = made_ggufs[k];
        struct tr_gguf *g = NULL;
        struct tr_err err = {0};
        float x[F * d];
        made_gguf_open(&m);
        if (tr_gguf_parse(made_gguf_bytes(&m), m.file.size, "made", &g, &err) != TR_OK)
            fail_msg("%s", err.text);
        assert_int_equal(tr_gguf_count(g), m.parts);
        for (int i = 0; i < m.parts; i++) {
            const struct made_part *p = &m.part[i];
            const struct tr_gguf_tensor *t = tr_gguf_find(g, p->name);
            int64_t n = p->N * (p->K ? p->K : 1);
            assert_int_equal(t->count, n);
            tr_gguf_floats(t, 0, n, x);
            for (int64_t j = 0; j < n; j++)
                if (x[j] != (float)p->value[j])
                    fail_msg("%s %s [%d]: %a, expected %a", tr_gguf_layout(t->type)->name,
                             p->name, (int)j, (double)x[j], p->value[j]);
            if (n < 96) continue;
            tr_gguf_floats(t, 64, 32, x);
            assert_true(x[0] == (float)p->value[64] && x[31] == (float)p->value[95]);
        }
        tr_gguf_close(g);
        made_gguf_close(&m);
    }
}

/* A model with some bytes changed: `to` over the first place where `at` stands, `skip` bytes
 * after its end (or over `at` itself when skip is -1). */
static const struct patch {
    const char *name, *at;
    int skip;
    const char *to;
    size_t size;
    const char *words[3];
} patches[] = {
    {"another magic", "GGUF", -1, "GGML", 4, {"expected a GGUF file"}},
    {"version 1", "GGUF", 0, "\1", 1, {"version 2 or 3", "found version 1"}},
    {"big-endian", "GGUF", 0, "\0\0\0\3", 4, {"little-endian", "50331648"}},
    {"2^56 tensors", "GGUF", 11, "\1", 1, {"truncated", "number of tensors"}},
    {"2^56 keys", "GGUF", 19, "\1", 1, {"truncated", "number of keys"}},
    {"a key of 2^60 bytes", "GGUF", 27, "\x10", 1, {"truncated", "a key"}},
    {"a key of no bytes", "GGUF", 20, "\0", 1, {"key 0", "1 to 65535 bytes, found 0"}},
    {"a value of type 13",
     "general.alignment",
     0,
     "\15",
     1,
     {"general.alignment", "a type from 0 to 12, found 13"}},
    {"an alignment of 48",
     "general.alignment",
     4,
     "\60",
     1,
     {"a power of two", "found 48"}},
    {"an alignment of 0", "general.alignment", 4, "\0", 1, {"1 to 1048576, found 0"}},
    {"a key twice",
     "llama.block_count",
     -1,
     "general.alignment",
     17,
     {"general.alignment", "twice"}},
    {"an array of 2^40 tokens",
     "tokenizer.ggml.tokens",
     13,
     "\1",
     1,
     {"truncated", "tokenizer.ggml.tokens"}},
    {"an array of type 99",
     "tokenizer.ggml.tokens",
     4,
     "\x63",
     1,
     {"tokenizer.ggml.tokens", "found 99"}},
    {"an array of arrays",
     "tokenizer.ggml.tokens",
     4,
     "\11",
     1,
     {"tokenizer.ggml.tokens", "found one of arrays"}},
    {"a token of 2^32 bytes",
     "tokenizer.ggml.tokens",
     20,
     "\1",
     1,
     {"truncated", "tokenizer.ggml.tokens"}},
    {"a tensor of rank 0",
     "token_embd.weight",
     0,
     "\0",
     1,
     {"tensor token_embd.weight", "1 to 4 dimensions, found 0"}},
    {"a tensor of rank 5",
     "token_embd.weight",
     0,
     "\5",
     1,
     {"1 to 4 dimensions, found 5"}},
    {"a dimension of 0",
     "token_embd.weight",
     4,
     "\0",
     1,
     {"tensor token_embd.weight", "dimension 0", "found 0"}},
    {"2^63 rows", "token_embd.weight", 19, "\x80", 1, {"dimension 1", "2^56"}},
    {"a type of no kind",
     "token_embd.weight",
     20,
     "\14",
     1,
     {"token_embd.weight", "Q8_0, found type 12"}},
    {"rows of half a block",
     "token_embd.weight",
     4,
     "\60",
     1,
     {"token_embd.weight", "a multiple of 32, found 48"}},
    {"an offset between",
     "blk.0.attn_norm.weight",
     16,
     "\1",
     1,
     {"blk.0.attn_norm.weight", "a multiple of 64"}},
    {"an offset past the end",
     "blk.0.attn_norm.weight",
     20,
     "\1",
     1,
     {"blk.0.attn_norm.weight", "truncated"}},
    {"overlapping data", "blk.0.attn_norm.weight", 16, "\0\0\0\0", 4, {"overlapping"}},
    {"a tensor twice",
     "blk.0.ffn_up.weight",
     -1,
     "blk.0.attn_q.weight",
     19,
     {"blk.0.attn_q.weight", "found twice"}},
    {"another architecture",
     "general.architecture",
     12,
     "gemma",
     5,
     {"general.architecture", "llama or qwen2, found gemma"}},
    {"no block count",
     "llama.block_count",
     -1,
     "llama.blocks_here",
     17,
     {"llama.block_count", "an integer, found nothing"}},
    {"heads as text",
     "llama.attention.head_count",
     0,
     "\6",
     1,
     {"llama.attention.head_count", "an integer, found f32"}},
    {"3 heads", "llama.attention.head_count", 4, "\3", 1, {"attn_k.weight", "[10, 32]"}},
    {"an epsilon of 2e38",
     "llama.attention.layer_norm_rms_epsilon",
     7,
     "\x7f",
     1,
     {"layer_norm_rms_epsilon", "(0, 1)"}},
    {"no context length",
     "llama.context_length",
     -1,
     "llama.context_strngth",
     20,
     {"llama.context_length", "found nothing"}},
    {"a missing tensor",
     "blk.0.ffn_up.weight",
     -1,
     "blk.0.ffn_xx.weight",
     19,
     {"blk.0.ffn_up.weight", "expected [64, 32], found nothing"}},
    {"a low tensor",
     "blk.0.ffn_up.weight",
     12,
     "\40",
     1,
     {"blk.0.ffn_up.weight", "[64, 32], found Q4_1 [32, 32]"}},
    {"SentencePiece",
     "tokenizer.ggml.model",
     12,
     "bert",
     4,
     {"tokenizer.ggml.model", "gpt2", "found bert"}},
    {"an unknown split",
     "tokenizer.ggml.pre",
     12,
     "viking",
     6,
     {"tokenizer.ggml.pre", "found viking"}},
    {"tokens as numbers",
     "tokenizer.ggml.token_type",
     4,
     "\6",
     1,
     {"token_type", "an array of i32, found one of f32"}},
    {"a token twice",
     "tokenizer.ggml.tokens",
     56,
     "a",
     1,
     {"token 3", "a text of its own"}},
    {"a token that is not UTF-8",
     "tokenizer.ggml.tokens",
     56,
     "\xff",
     1,
     {"token 3", "valid UTF-8"}},
    {"a merge of strangers",
     "tokenizer.ggml.merges",
     24,
     "q b",
     3,
     {"tokenizer.ggml.merges", "merge 0", "found q b"}},
    {"a merge of one", "tokenizer.ggml.merges", 24, "a_b", 3, {"merge 0", "found a_b"}},
    {"an eos past the tokens",
     "tokenizer.ggml.eos_token_id",
     4,
     "\11",
     1,
     {"eos_token_id", "0 to 8, found 9"}},
};

static void apply(struct made_gguf *m, const struct patch *p)
{
    char *at = memmem(m->file.at, m->file.size, p->at, strlen(p->at));
    assert_non_null(at);
    memcpy(p->skip < 0 ? at : at + strlen(p->at) + p->skip, p->to, p->size);
}

static void test_spoilt_files(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM];
    char out[SCRATCH_ROOM];
    scratch_make(dir);
    scratch_path(out, dir, "out");
    for (size_t i = 0; i < sizeof patches / sizeof *patches; i++) {
        struct made_gguf m = made_ggufs[1];
        struct tr_err err = {0};
        made_gguf_open(&m);
        apply(&m, &patches[i]);
        enum tr_status st = made_gguf_import(&m, dir, TR_F32, &err);
        if (st != TR_BADARG || !strstr(err.text, "m.gguf"))
            fail_msg("%s: status %d: %s", patches[i].name, (int)st, err.text);
        for (int w = 0; w < 3 && patches[i].words[w]; w++)
            if (!strstr(err.text, patches[i].words[w]))
                fail_msg("%s: no \"%s\" in: %s", patches[i].name, patches[i].words[w],
                         err.text);
        assert_false(tr_path_exists(out)); /* nothing half made */
        made_gguf_close(&m);
    }
    scratch_remove(dir);
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    struct made_gguf m = made_ggufs[1];
    made_gguf_open(&m);
    for (size_t size = 0; size <= m.file.size; size++) {
        struct tr_gguf *g = NULL;
        struct tr_err err = {0};
        unsigned char *cut = malloc(size + 1);
        memcpy(cut, m.file.at, size);
        enum tr_status st = tr_gguf_parse(cut, size, "cut", &g, &err);
        if (st != (size == m.file.size ? TR_OK : TR_BADARG))
            fail_msg("cut at %zu: status %d: %s", size, (int)st, err.text);
        tr_gguf_close(g);
        free(cut);
    }
    made_gguf_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_exact),
        cmocka_unit_test(test_spoilt_files),
        cmocka_unit_test(test_cut_at_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

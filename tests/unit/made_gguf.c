#include "tests/unit/made_gguf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/model/gguf_blocks.h"
#include "tests/unit/scratch.h"

const struct made_gguf made_ggufs[] = {
    {.family = "llama", .pre = "default", .type = TR_GGUF_TENSOR_F32},
    {.family = "llama", .pre = "smollm", .type = TR_GGUF_TENSOR_Q4_1, .tied = true},
    {.family = "llama", .pre = "llama-bpe", .type = TR_GGUF_TENSOR_Q4_0, .biases = true},
    {.family = "llama", .pre = "gpt-2", .type = TR_GGUF_TENSOR_BF16, .tied = true},
    {.family = "qwen2",
     .pre = "qwen2",
     .type = TR_GGUF_TENSOR_Q8_0,
     .tied = true,
     .biases = true},
    {.family = "qwen2", .pre = "qwen2", .type = TR_GGUF_TENSOR_F16, .biases = true},
};

const int made_gguf_count = sizeof made_ggufs / sizeof *made_ggufs;

static uint64_t word(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static void put(struct made_gguf *m, const void *bytes, size_t size)
{
    assert_int_equal(tr_buf_put(&m->file, bytes, size, NULL), TR_OK);
}

static void put_u32(struct made_gguf *m, uint32_t x)
{
    put(m, &x, sizeof x);
}

static void put_u64(struct made_gguf *m, uint64_t x)
{
    put(m, &x, sizeof x);
}

static void put_text(struct made_gguf *m, const char *text)
{
    put_u64(m, strlen(text));
    put(m, text, strlen(text));
}

static void put_key(struct made_gguf *m, const char *key, enum tr_gguf_kind kind)
{
    put_text(m, key);
    put_u32(m, (uint32_t)kind);
}

static void put_int(struct made_gguf *m, const char *key, uint32_t x)
{
    put_key(m, key, TR_GGUF_U32);
    put_u32(m, x);
}

static void put_real(struct made_gguf *m, const char *key, float x)
{
    put_key(m, key, TR_GGUF_F32);
    put(m, &x, sizeof x);
}

static void put_string(struct made_gguf *m, const char *key, const char *text)
{
    put_key(m, key, TR_GGUF_STRING);
    put_text(m, text);
}

static const char *const tokens[] = {"<s>", "</s>",     "a",      "b",     "ab",
                                     "1",   "\xc4\xa0", "<user>", "[PAD8]"};
static const int32_t types[] = {3, 3, 1, 1, 1, 1, 1, 4, 5};

static void put_metadata(struct made_gguf *m)
{
    char key[64];
    put_string(m, "general.architecture", m->family);
    put_int(m, "general.alignment", 64);
    static const struct {
        const char *key;
        uint32_t value;
    } rows[] = {{"block_count", 1},          {"context_length", 128},
                {"embedding_length", d},     {"feed_forward_length", F},
                {"attention.head_count", H}, {"attention.head_count_kv", Kv}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(key, sizeof key, "%s.%s", m->family, rows[i].key);
        put_int(m, key, rows[i].value);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", m->family);
    put_real(m, key, 1e-5F);
    snprintf(key, sizeof key, "%s.rope.freq_base", m->family);
    put_real(m, key, 5e5F);
    put_string(m, "tokenizer.ggml.model", "gpt2");
    put_string(m, "tokenizer.ggml.pre", m->pre);
    put_key(m, "tokenizer.ggml.tokens", TR_GGUF_ARRAY);
    put_u32(m, TR_GGUF_STRING);
    put_u64(m, V);
    for (int i = 0; i < V; i++) put_text(m, tokens[i]);
    put_key(m, "tokenizer.ggml.token_type", TR_GGUF_ARRAY);
    put_u32(m, TR_GGUF_I32);
    put_u64(m, V);
    put(m, types, sizeof types);
    put_key(m, "tokenizer.ggml.merges", TR_GGUF_ARRAY);
    put_u32(m, TR_GGUF_STRING);
    put_u64(m, 1);
    put_text(m, "a b");
    put_int(m, "tokenizer.ggml.bos_token_id", 0);
    put_int(m, "tokenizer.ggml.eos_token_id", 1);
    put_string(m, "tokenizer.chat_template", "{{ messages }}");
}

enum { PAIRS = 18 };

static void add(struct made_gguf *m, const char *name, int64_t N, int64_t K)
{
    struct made_part *p = &m->part[m->parts++];
    *p = (struct made_part){.N = N, .K = K, .type = K ? m->type : TR_GGUF_TENSOR_F32};
    snprintf(p->name, sizeof p->name, "%s", name);
}

static void add_all(struct made_gguf *m)
{
    add(m, "token_embd.weight", V, d);
    add(m, "output_norm.weight", d, 0);
    if (!m->tied) add(m, "output.weight", V, d);
    add(m, "blk.0.attn_norm.weight", d, 0);
    add(m, "blk.0.ffn_norm.weight", d, 0);
    add(m, "blk.0.attn_q.weight", H * D, d);
    add(m, "blk.0.attn_k.weight", Kv * D, d);
    add(m, "blk.0.attn_v.weight", Kv * D, d);
    add(m, "blk.0.attn_output.weight", d, H * D);
    add(m, "blk.0.ffn_gate.weight", F, d);
    add(m, "blk.0.ffn_up.weight", F, d);
    add(m, "blk.0.ffn_down.weight", d, F);
    if (m->divisors) add(m, "rope_freqs.weight", D / 2, 0);
    if (!m->biases) return;
    add(m, "blk.0.attn_q.bias", H * D, 0);
    add(m, "blk.0.attn_k.bias", Kv * D, 0);
    add(m, "blk.0.attn_v.bias", Kv * D, 0);
    if (!strcmp(m->family, "llama")) add(m, "blk.0.attn_output.bias", d, 0);
}

/* Random data and its meaning, computed apart from the code under test. */

static double half_of(uint16_t x)
{
    int exponent = x >> 10 & 31;
    double f = (double)(x & 1023) / 1024;
    double v = exponent ? ldexp(1 + f, exponent - 15) : ldexp(f, -14);
    return x >> 15 ? -v : v;
}

/* f16 numbers around 1, of both signs, subnormal once in a while. */
static uint16_t random_half(uint64_t *seed)
{
    uint64_t z = word(seed);
    uint16_t sign = (uint16_t)((z >> 20 & 1) << 15);
    if (z % 16 == 0) return (uint16_t)(sign | (z >> 30 & 1023));
    return (uint16_t)(sign | (8 + (z >> 24 & 15)) << 10 | (z >> 30 & 1023));
}

static void fill_block(struct made_part *p, int64_t block, uint64_t *seed)
{
    const struct tr_gguf_layout *l = tr_gguf_layout(p->type);
    unsigned char *b = p->data + block * l->bytes;
    double *v = p->value + block * 32;
    uint16_t scale = random_half(seed);
    uint16_t least = random_half(seed);
    int head = p->type == TR_GGUF_TENSOR_Q4_1 ? 4 : 2;
    memcpy(b, &scale, 2);
    if (head == 4) memcpy(b + 2, &least, 2);
    for (int i = head; i < l->bytes; i++) b[i] = (unsigned char)word(seed);
    for (int i = 0; i < 32; i++) {
        int nibble = i < 16 ? b[head + i % 16] % 16 : b[head + i % 16] / 16;
        if (p->type == TR_GGUF_TENSOR_Q8_0) {
            int q = b[2 + i] < 128 ? b[2 + i] : b[2 + i] - 256;
            v[i] = half_of(scale) * q;
        } else if (p->type == TR_GGUF_TENSOR_Q4_0) {
            v[i] = half_of(scale) * (nibble - 8);
        } else {
            v[i] = half_of(scale) * nibble + half_of(least);
        }
    }
}

static void fill_element(struct made_part *p, int64_t i, uint64_t *seed)
{
    uint16_t half = random_half(seed);
    if (p->type == TR_GGUF_TENSOR_F16) {
        memcpy(p->data + 2 * i, &half, 2);
        p->value[i] = half_of(half);
        return;
    }
    float x = (float)half_of(half);
    uint32_t bits;
    if (p->type == TR_GGUF_TENSOR_F32) x += 0x1p-20F * (float)(i % 7);
    memcpy(&bits, &x, 4);
    if (p->type == TR_GGUF_TENSOR_BF16) bits &= 0xffff0000U;
    memcpy(&x, &bits, 4);
    p->value[i] = (double)x;
    if (p->type == TR_GGUF_TENSOR_BF16)
        memcpy(p->data + 2 * i, (const char *)&bits + 2, 2);
    else
        memcpy(p->data + 4 * i, &bits, 4);
}

static size_t bytes_of(const struct made_part *p)
{
    const struct tr_gguf_layout *l = tr_gguf_layout(p->type);
    return (size_t)(p->N * (p->K ? p->K : 1) / l->block * l->bytes);
}

static void fill(struct made_part *p, uint64_t seed)
{
    int64_t n = p->N * (p->K ? p->K : 1);
    p->data = malloc(bytes_of(p));
    p->value = malloc((size_t)n * sizeof *p->value);
    if (tr_gguf_layout(p->type)->block == 32)
        for (int64_t i = 0; i < n / 32; i++) fill_block(p, i, &seed);
    else
        for (int64_t i = 0; i < n; i++) fill_element(p, i, &seed);
}

void made_gguf_open(struct made_gguf *m)
{
    uint64_t offset = 0;
    tr_buf_init(&m->file, 1 << 22);
    add_all(m);
    put(m, "GGUF", 4);
    put_u32(m, 3);
    put_u64(m, (uint64_t)m->parts);
    put_u64(m, PAIRS);
    put_metadata(m);
    for (int i = 0; i < m->parts; i++) {
        struct made_part *p = &m->part[i];
        fill(p, (uint64_t)i + 1);
        if (!strcmp(p->name, "rope_freqs.weight"))
            memcpy(p->data, m->divisors, D / 2 * 4);
        put_text(m, p->name);
        put_u32(m, p->K ? 2 : 1);
        if (p->K) put_u64(m, (uint64_t)p->K);
        put_u64(m, (uint64_t)p->N);
        put_u32(m, (uint32_t)p->type);
        put_u64(m, offset);
        offset += (bytes_of(p) + 63) / 64 * 64;
    }
    for (int i = 0; i < m->parts; i++) {
        while (m->file.size % 64) put(m, "", 1);
        put(m, m->part[i].data, bytes_of(&m->part[i]));
    }
}

void made_gguf_close(struct made_gguf *m)
{
    for (int i = 0; i < m->parts; i++) {
        free(m->part[i].data);
        free(m->part[i].value);
    }
    tr_buf_fini(&m->file);
}

const unsigned char *made_gguf_bytes(const struct made_gguf *m)
{
    return (const unsigned char *)m->file.at;
}

const struct made_part *made_gguf_part(const struct made_gguf *m, const char *name)
{
    for (int i = 0; i < m->parts; i++)
        if (!strcmp(m->part[i].name, name)) return &m->part[i];
    return NULL;
}

enum tr_status made_gguf_import(const struct made_gguf *m, const char *dir,
                                enum tr_dtype dtype, struct tr_err *err)
{
    char from[SCRATCH_ROOM];
    char to[SCRATCH_ROOM];
    struct tr_exec ex;
    int64_t weights = 0;
    scratch_path(from, dir, "m.gguf");
    scratch_path(to, dir, "out");
    assert_int_equal(tr_file_write(from, m->file.at, m->file.size, NULL), TR_OK);
    assert_int_equal(tr_exec_init(&ex, NULL, 2, TR_MATH_EXACT), 0);
    enum tr_status st = tr_gguf_import(from, to, dtype, &ex, &weights, err);
    tr_exec_fini(&ex);
    return st;
}

#include "core/model/gguf_blocks.h"

#include <assert.h>
#include <string.h>

#include "core/model/half.h"

enum { QK = 32 };

static const struct tr_gguf_layout layouts[] = {
    {TR_GGUF_TENSOR_F32, "F32", 1, 4},     {TR_GGUF_TENSOR_F16, "F16", 1, 2},
    {TR_GGUF_TENSOR_BF16, "BF16", 1, 2},   {TR_GGUF_TENSOR_Q4_0, "Q4_0", QK, 18},
    {TR_GGUF_TENSOR_Q4_1, "Q4_1", QK, 20}, {TR_GGUF_TENSOR_Q8_0, "Q8_0", QK, 34},
};

const struct tr_gguf_layout *tr_gguf_layout(enum tr_gguf_type type)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].type == type) return &layouts[i];
    return NULL;
}

static float half_at(const unsigned char *p)
{
    return tr_f16_widen((uint16_t)(p[0] | p[1] << 8));
}

static void q4_0(const unsigned char *b, float *out)
{
    float d = half_at(b);
    for (int j = 0; j < QK / 2; j++) {
        out[j] = (float)((b[2 + j] & 15) - 8) * d;
        out[j + QK / 2] = (float)((b[2 + j] >> 4) - 8) * d;
    }
}

static void q4_1(const unsigned char *b, float *out)
{
    float d = half_at(b);
    float m = half_at(b + 2);
    for (int j = 0; j < QK / 2; j++) {
        float low = (float)(b[4 + j] & 15) * d;
        float high = (float)(b[4 + j] >> 4) * d;
        out[j] = low + m;
        out[j + QK / 2] = high + m;
    }
}

static void q8_0(const unsigned char *b, float *out)
{
    float d = half_at(b);
    for (int j = 0; j < QK; j++) {
        int8_t q;
        memcpy(&q, b + 2 + j, 1);
        out[j] = (float)q * d;
    }
}

void tr_gguf_floats(const struct tr_gguf_tensor *t, int64_t from, int64_t n, float *out)
{
    const struct tr_gguf_layout *l = tr_gguf_layout(t->type);
    assert(l && from >= 0 && n >= 0 && n <= t->count - from);
    assert(from % l->block == 0 && n % l->block == 0);
    const unsigned char *b = t->data + from / l->block * l->bytes;
    switch (t->type) {
    case TR_GGUF_TENSOR_F32:
        if (n) memcpy(out, b, (size_t)n * sizeof *out);
        return;
    case TR_GGUF_TENSOR_F16:
        tr_f16_widen_array(b, n, out);
        return;
    case TR_GGUF_TENSOR_BF16:
        tr_bf16_widen_bytes(b, n, out);
        return;
    case TR_GGUF_TENSOR_Q4_0:
        for (int64_t i = 0; i < n; i += QK, b += l->bytes) q4_0(b, out + i);
        return;
    case TR_GGUF_TENSOR_Q4_1:
        for (int64_t i = 0; i < n; i += QK, b += l->bytes) q4_1(b, out + i);
        return;
    case TR_GGUF_TENSOR_Q8_0:
        for (int64_t i = 0; i < n; i += QK, b += l->bytes) q8_0(b, out + i);
        return;
    }
}

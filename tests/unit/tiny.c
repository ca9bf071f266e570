#include "tests/unit/tiny.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN                                                                            \
    {                                                                                    \
        .kind = TR_ROPE_PLAIN, .theta = 1000                                             \
    }

const struct tiny_arch tiny_archs[] = {
    {"llama",
     {.family = TR_LLAMA,
      .V = 37,
      .d = 24,
      .L = 2,
      .H = 4,
      .Kv = 4,
      .D = 6,
      .F = 40,
      .eps = 1e-5F,
      .rope = PLAIN,
      .max_positions = 4096}},
    {"llama, three query heads a key, heads wider than d/H, llama3 rope, tied",
     {.family = TR_LLAMA,
      .V = 33,
      .d = 20,
      .L = 3,
      .H = 6,
      .Kv = 2,
      .D = 8,
      .F = 17,
      .eps = 1e-5F,
      .max_positions = 4096,
      .tied = true,
      .rope = {.kind = TR_ROPE_LLAMA3,
               .theta = 100,
               .factor = 4,
               .low_freq_factor = 1,
               .high_freq_factor = 4,
               .original_length = 16}}},
    {"llama with all biases, one key head, heads narrower than d/H",
     {.family = TR_LLAMA,
      .V = 16,
      .d = 18,
      .L = 1,
      .H = 3,
      .Kv = 1,
      .D = 4,
      .F = 33,
      .eps = 1e-6F,
      .rope = PLAIN,
      .max_positions = 4096,
      .qkv_bias = true,
      .o_bias = true}},
    {"qwen2",
     {.family = TR_QWEN2,
      .V = 41,
      .d = 16,
      .L = 2,
      .H = 2,
      .Kv = 1,
      .D = 8,
      .F = 24,
      .eps = 1e-6F,
      .rope = PLAIN,
      .max_positions = 4096,
      .qkv_bias = true}},
    {"qwen2, tied",
     {.family = TR_QWEN2,
      .V = 50,
      .d = 32,
      .L = 2,
      .H = 4,
      .Kv = 2,
      .D = 8,
      .F = 48,
      .eps = 1e-6F,
      .rope = PLAIN,
      .max_positions = 4096,
      .qkv_bias = true,
      .tied = true}},
};
const int tiny_arch_count = sizeof tiny_archs / sizeof *tiny_archs;

uint64_t tiny_word(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

float tiny_real(uint64_t *seed)
{
    return (float)(tiny_word(seed) >> 40) * 0x1p-23F - 1;
}

/* Wide on purpose, so that errors show; norms around 1. */
static void fill(const struct tiny *m, const struct tr_param *p, uint64_t seed)
{
    int64_t n = tr_param_elements(p);
    float *hf = malloc((size_t)n * sizeof *hf);
    assert(hf);
    bool norm = p->kind == TR_PARAM_VECTOR && strstr(p->name, "norm");
    seed ^= (uint64_t)p->at << 20;
    for (int64_t i = 0; i < n; i++) {
        float x = tiny_real(&seed);
        hf[i] = norm ? 1 + 0.3F * x : p->kind == TR_PARAM_VECTOR ? 0.5F * x : 0.6F * x;
    }
    tr_params_pack(&m->ex, p, hf, m->masters);
    free(hf);
}

bool tiny_open(struct tiny *m, const struct tr_arch *a, uint64_t seed, const char *isa,
               int threads, enum tr_math math, bool bf16)
{
    *m = (struct tiny){0};
    int made = tr_exec_init(&m->ex, isa, threads, math);
    if (made == -1) return false;
    assert(made == 0);
    enum tr_status st = tr_params_create(a, true, true, &m->params, NULL);
    assert(st == TR_OK);
    m->masters = calloc((size_t)tr_params_total(m->params), sizeof(float));
    assert(m->masters);
    for (int64_t i = 0; i < tr_params_count(m->params); i++)
        fill(m, tr_params_get(m->params, i), seed);
    st = tr_weights_create(m->params, &m->ex, bf16, &m->w, NULL);
    assert(st == TR_OK);
    tr_weights_refresh(m->w, &m->ex, m->masters);
    return true;
}

void tiny_close(struct tiny *m)
{
    tr_weights_destroy(m->w);
    tr_params_destroy(m->params);
    free(m->masters);
    tr_exec_fini(&m->ex);
}

void tiny_batch_open(struct tiny_batch *t, int64_t V, uint64_t seed, int64_t S,
                     const int64_t *length)
{
    int64_t T = 0;
    t->start = malloc((size_t)(S + 1) * sizeof *t->start);
    assert(t->start);
    for (int64_t s = 0; s < S; s++) {
        t->start[s] = T;
        T += length[s];
    }
    t->start[S] = T;
    t->token = malloc((size_t)(T + 1) * sizeof *t->token);
    t->wanted = malloc((size_t)(T + 1) * sizeof *t->wanted);
    assert(t->token && t->wanted);
    for (int64_t i = 0; i < T; i++) {
        t->token[i] = (int32_t)(tiny_word(&seed) % (uint64_t)V);
        t->wanted[i] = (int32_t)(tiny_word(&seed) % (uint64_t)V);
    }
    t->b = (struct tr_batch){.T = T, .S = S, .token = t->token, .start = t->start};
}

void tiny_batch_close(struct tiny_batch *t)
{
    free(t->token);
    free(t->wanted);
    free(t->start);
}

struct keep {
    const struct tiny_loss *loss;
    float *logp;
};

static void weigh(void *ctx, int64_t i0, int64_t k, const float *logp,
                  const float *entropy, float *dlogp)
{
    const struct keep *c = ctx;
    (void)entropy;
    for (int64_t i = 0; i < k; i++) {
        c->logp[i0 + i] = logp[i];
        dlogp[i] = c->loss->coef[i0 + i];
    }
}

void tiny_step(const struct tiny *m, struct tr_trunk *trunk, struct tr_head *head,
               const struct tiny_loss *loss, const struct tiny_out *out)
{
    const struct tr_batch *b = loss->b;
    const int64_t d = tr_params_arch(m->params)->d;
    const float *hidden = NULL;
    int64_t *row = malloc((size_t)b->T * sizeof *row);
    float *dhidden = calloc((size_t)(b->T * d), sizeof *dhidden);
    struct keep keep = {loss, out->logp};
    assert(row && dhidden);
    for (int64_t i = 0; i < b->T; i++) row[i] = i;
    struct tr_head_rows r = {.n = b->T, .row = row, .target = loss->wanted};
    enum tr_status st =
        tr_trunk_forward(trunk, &m->ex, m->w, b, NULL, NULL, &hidden, NULL);
    assert(st == TR_OK);
    tr_value_forward(&m->ex, m->w, hidden, row, b->T, out->value);
    tr_value_backward(&m->ex, m->w, hidden, row, b->T, loss->value_coef, dhidden,
                      out->grad);
    tr_head_train(head, &m->ex, m->w, hidden, &r, weigh, &keep, dhidden, out->grad);
    tr_trunk_backward(trunk, &m->ex, m->w, b, dhidden, out->grad, out->embed_grad);
    free(row);
    free(dhidden);
}

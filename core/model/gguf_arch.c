/* The architecture of a GGUF file, from its metadata and the presence of tensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/model/gguf_blocks.h"
#include "core/model/gguf_import.h"
#include "core/model/gguf_tokenizer.h"

enum { KEY_ROOM = 96, MOST = 1 << 30 };

/* "llama.block_count" */
struct keys {
    char family[16];
    char key[KEY_ROOM];
};

static const char *key_of(struct keys *k, const char *rest)
{
    snprintf(k->key, sizeof k->key, "%s.%s", k->family, rest);
    return k->key;
}

static enum tr_status read_family(const struct tr_gguf *g, struct keys *k,
                                  struct tr_arch *a, struct tr_err *err)
{
    struct tr_gguf_text name = {NULL, 0};
    enum tr_status st = tr_gguf_text(g, "general.architecture", &name, err);
    if (st != TR_OK) return st;
    snprintf(k->family, sizeof k->family, "%.*s", (int)(name.size < 15 ? name.size : 15),
             name.at);
    a->family = TR_LLAMA;
    if (!strcmp(k->family, "llama")) return TR_OK;
    a->family = TR_QWEN2;
    if (!strcmp(k->family, "qwen2")) return TR_OK;
    return tr_err_set(err, TR_BADARG,
                      "%s: general.architecture: expected llama or qwen2, found %.*s",
                      tr_gguf_where(g), (int)(name.size < 60 ? name.size : 60), name.at);
}

static enum tr_status read_sizes(const struct tr_gguf *g, struct keys *k,
                                 struct tr_arch *a, struct tr_err *err)
{
    int64_t turned = 0;
    int64_t value = 0;
    const struct {
        const char *key;
        int64_t *to;
    } rows[] = {
        {"block_count", &a->L},          {"context_length", &a->max_positions},
        {"embedding_length", &a->d},     {"feed_forward_length", &a->F},
        {"attention.head_count", &a->H},
    };
    enum tr_status st = TR_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && st == TR_OK; i++)
        st = tr_gguf_int(g, key_of(k, rows[i].key), 1, MOST, rows[i].to, err);
    if (st == TR_OK)
        st = tr_gguf_int_or(g, key_of(k, "attention.head_count_kv"), 1, MOST, a->H,
                            &a->Kv, err);
    if (st == TR_OK)
        st = tr_gguf_int_or(g, key_of(k, "attention.key_length"), 1, MOST, a->d / a->H,
                            &a->D, err);
    if (st == TR_OK)
        st = tr_gguf_int_or(g, key_of(k, "attention.value_length"), 1, MOST, a->D, &value,
                            err);
    if (st == TR_OK && value != a->D)
        return tr_err_set(err, TR_BADARG,
                          "%s: %s: expected %lld as key_length, found %lld",
                          tr_gguf_where(g), k->key, (long long)a->D, (long long)value);
    if (st == TR_OK)
        st = tr_gguf_int_or(g, key_of(k, "rope.dimension_count"), 1, MOST, a->D, &turned,
                            err);
    if (st == TR_OK && turned != a->D)
        return tr_err_set(err, TR_BADARG,
                          "%s: %s: expected the whole head of %lld, found %lld",
                          tr_gguf_where(g), k->key, (long long)a->D, (long long)turned);
    return st;
}

/* What other models of the same family name have and we do not do. */
static enum tr_status refuse_unknown(const struct tr_gguf *g, struct keys *k,
                                     struct tr_err *err)
{
    static const char *const numbers[] = {"expert_count", "attention.sliding_window"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int64_t n = 0;
        enum tr_status st = tr_gguf_int_or(g, key_of(k, numbers[i]), 0, 0, 0, &n, err);
        if (st != TR_OK) return st;
    }
    struct tr_gguf_text scaling = {"none", 4};
    if (tr_gguf_has(g, key_of(k, "rope.scaling.type"))) {
        enum tr_status st = tr_gguf_text(g, k->key, &scaling, err);
        if (st != TR_OK) return st;
    }
    if (scaling.size != 4 || memcmp(scaling.at, "none", 4) != 0)
        return tr_err_set(err, TR_BADARG, "%s: %s: expected none, found %.*s",
                          tr_gguf_where(g), k->key,
                          (int)(scaling.size < 40 ? scaling.size : 40), scaling.at);
    if (tr_gguf_has(g, key_of(k, "rope.scale_linear")))
        return tr_err_set(err, TR_BADARG, "%s: %s: expected nothing, found a scaling",
                          tr_gguf_where(g), k->key);
    return TR_OK;
}

/* Llama 3.1's divisors of the frequencies, as transformers and llama.cpp compute them. */
static double llama3_divisor(const struct tr_rope *r, double inv_freq)
{
    const double two_pi = 6.283185307179586;
    double length = two_pi / inv_freq;
    if (length < r->original_length / r->high_freq_factor) return 1;
    if (length > r->original_length / r->low_freq_factor) return r->factor;
    double smooth = (r->original_length / length - r->low_freq_factor) /
                    (r->high_freq_factor - r->low_freq_factor);
    return 1 / ((1 - smooth) / r->factor + smooth);
}

/* GGUF keeps only the divisors (rope_freqs.weight), not the constants behind them. Llama 3.1 and
 * 3.2 share all but the factor, which is the last divisor: those are tried and must fit. */
static enum tr_status read_divisors(const struct tr_gguf *g, struct tr_arch *a,
                                    struct tr_err *err)
{
    float want[1];
    const struct tr_gguf_tensor *t = tr_gguf_find(g, "rope_freqs.weight");
    if (!t) return TR_OK;
    if (t->type != TR_GGUF_TENSOR_F32 || t->count != a->D / 2)
        return tr_err_set(
            err, TR_BADARG, "%s: tensor %s: expected F32 [%lld], found [%lld]",
            tr_gguf_where(g), t->name, (long long)a->D / 2, (long long)t->count);
    tr_gguf_floats(t, t->count - 1, 1, want);
    struct tr_rope r = {TR_ROPE_LLAMA3, a->rope.theta, (double)want[0], 1, 4, 8192};
    for (int64_t i = 0; i < t->count; i++) {
        double divisor =
            llama3_divisor(&r, pow(r.theta, -2.0 * (double)i / (double)a->D));
        tr_gguf_floats(t, i, 1, want);
        if (!(fabs((double)want[0] / divisor - 1) < 1e-3))
            return tr_err_set(
                err, TR_BADARG,
                "%s: tensor %s: element %lld: expected %g as Llama 3.1 has it, "
                "found %g",
                tr_gguf_where(g), t->name, (long long)i, divisor, (double)want[0]);
    }
    a->rope = r;
    return TR_OK;
}

static enum tr_status read_constants(const struct tr_gguf *g, struct keys *k,
                                     struct tr_arch *a, struct tr_err *err)
{
    double eps = -1;
    a->rope = (struct tr_rope){.kind = TR_ROPE_PLAIN, .theta = 10000};
    enum tr_status st =
        tr_gguf_real_or(g, key_of(k, "attention.layer_norm_rms_epsilon"), eps, &eps, err);
    if (st == TR_OK && !(eps > 0 && eps < 1))
        return tr_err_set(err, TR_BADARG, "%s: %s: expected a number in (0, 1), found %g",
                          tr_gguf_where(g), k->key, eps);
    a->eps = (float)eps;
    if (st == TR_OK)
        st = tr_gguf_real_or(g, key_of(k, "rope.freq_base"), 10000, &a->rope.theta, err);
    if (st == TR_OK && !(a->rope.theta >= 1 && a->rope.theta <= 1e12))
        return tr_err_set(err, TR_BADARG, "%s: %s: expected 1 to 1e12, found %g",
                          tr_gguf_where(g), k->key, a->rope.theta);
    return st == TR_OK ? read_divisors(g, a, err) : st;
}

static enum tr_status read_ids(const struct tr_gguf *g, struct tr_arch *a,
                               struct tr_err *err)
{
    struct tr_gguf_ids id;
    enum tr_status st = tr_gguf_ids(g, a->V, &id, err);
    if (st != TR_OK) return st;
    const int32_t ends[] = {id.eos, id.eot, id.eom};
    a->bos = id.bos;
    a->pad = id.pad;
    a->n_eos = 0;
    for (size_t i = 0; i < sizeof a->eos / sizeof *a->eos; i++) a->eos[i] = -1;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        bool seen = ends[i] < 0;
        for (int j = 0; j < a->n_eos; j++) seen = seen || a->eos[j] == ends[i];
        if (!seen) a->eos[a->n_eos++] = ends[i];
    }
    return TR_OK;
}

enum tr_status tr_gguf_arch(const struct tr_gguf *g, struct tr_arch *out,
                            struct tr_err *err)
{
    struct keys k;
    struct tr_arch a = {.family = TR_LLAMA};
    json_t *config = NULL;
    const struct tr_gguf_tensor *embed = tr_gguf_find(g, "token_embd.weight");
    if (!embed || embed->rank != 2)
        return tr_err_set(err, TR_BADARG,
                          "%s: tensor token_embd.weight: expected a matrix, found %s",
                          tr_gguf_where(g), embed ? "another shape" : "nothing");
    a.V = embed->shape[1];
    a.tied = !tr_gguf_find(g, "output.weight");
    a.o_bias = tr_gguf_find(g, "blk.0.attn_output.bias") != NULL;
    enum tr_status st = read_family(g, &k, &a, err);
    a.qkv_bias = a.family == TR_QWEN2 || tr_gguf_find(g, "blk.0.attn_q.bias");
    if (st == TR_OK) st = read_sizes(g, &k, &a, err);
    if (st == TR_OK) st = refuse_unknown(g, &k, err);
    if (st == TR_OK) st = read_constants(g, &k, &a, err);
    if (st == TR_OK) st = read_ids(g, &a, err);
    /* The same checks as for any config.json: bounds, divisibility. */
    if (st == TR_OK) st = tr_arch_config(&a, &config, err);
    if (st == TR_OK) st = tr_arch_parse(config, tr_gguf_where(g), out, err);
    json_decref(config);
    return st;
}

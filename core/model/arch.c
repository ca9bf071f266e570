#include "core/model/arch.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"

/* Bounds far above any model in use, so that products of sizes stay far below 2^63 and a
 * forged file cannot ask for a petabyte. D's is that of the attention kernel. */
enum {
    MAX_CONFIG_BYTES = 4 << 20,
    MAX_V = 4 << 20,
    MAX_WIDTH = 65536,
    MAX_L = 1024,
    MAX_H = 4096,
    MAX_D = 512,
    MAX_F = 1 << 20,
    MAX_POSITIONS = 1 << 24 /* a position is exact as f32 */
};
static const int64_t most_weights = (int64_t)1 << 40;

static const struct {
    const char *key;
    int64_t max;
    size_t at;
} sizes[] = {
    {"vocab_size", MAX_V, offsetof(struct tr_arch, V)},
    {"hidden_size", MAX_WIDTH, offsetof(struct tr_arch, d)},
    {"num_hidden_layers", MAX_L, offsetof(struct tr_arch, L)},
    {"num_attention_heads", MAX_H, offsetof(struct tr_arch, H)},
    {"intermediate_size", MAX_F, offsetof(struct tr_arch, F)},
};

static const char *family_name(enum tr_family family)
{
    return family == TR_QWEN2 ? "qwen2" : "llama";
}

static enum tr_status parse_family(const json_t *config, const char *where,
                                   struct tr_arch *a, struct tr_err *err)
{
    const char *type = NULL;
    enum tr_status st = tr_json_string(config, "model_type", where, &type, err);
    if (st != TR_OK) return st;
    if (!strcmp(type, "llama")) {
        a->family = TR_LLAMA;
    } else if (!strcmp(type, "qwen2")) {
        a->family = TR_QWEN2;
    } else {
        return tr_err_set(err, TR_BADARG,
                          "%s: model_type: expected llama or qwen2, found %.60s", where,
                          type);
    }
    return TR_OK;
}

static enum tr_status parse_heads(const json_t *config, const char *where,
                                  struct tr_arch *a, struct tr_err *err)
{
    enum tr_status st =
        tr_json_int_or(config, "num_key_value_heads", where, 1, MAX_H, a->H, &a->Kv, err);
    if (st != TR_OK) return st;
    if (a->H % a->Kv)
        return tr_err_set(err, TR_BADARG,
                          "%s: num_key_value_heads: expected a divisor of "
                          "num_attention_heads %lld, found %lld",
                          where, (long long)a->H, (long long)a->Kv);
    st = tr_json_int_or(config, "head_dim", where, 2, MAX_D, 0, &a->D, err);
    if (st != TR_OK) return st;
    if (!a->D && a->d % a->H)
        return tr_err_set(err, TR_BADARG,
                          "%s: hidden_size: expected a multiple of num_attention_heads "
                          "%lld (or a head_dim), found %lld",
                          where, (long long)a->H, (long long)a->d);
    if (!a->D) a->D = a->d / a->H;
    if (a->D % 2 || a->D > MAX_D)
        return tr_err_set(err, TR_BADARG,
                          "%s: head_dim: expected an even number up to %d, found %lld",
                          where, MAX_D, (long long)a->D);
    return TR_OK;
}

static enum tr_status parse_sizes(const json_t *config, const char *where,
                                  struct tr_arch *a, struct tr_err *err)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t n = 0;
        enum tr_status st =
            tr_json_int(config, sizes[i].key, where, 1, sizes[i].max, &n, err);
        if (st != TR_OK) return st;
        memcpy((char *)a + sizes[i].at, &n, sizeof n);
    }
    enum tr_status st = parse_heads(config, where, a, err);
    if (st != TR_OK) return st;
    int64_t layer = a->d * a->D * (2 * a->H + 2 * a->Kv) + 3 * a->d * a->F;
    if (a->L > most_weights / layer || 2 * a->V * a->d > most_weights - a->L * layer)
        return tr_err_set(err, TR_BADARG,
                          "%s: sizes: expected at most 2^40 weights in all, found "
                          "%lld layers of %lld",
                          where, (long long)a->L, (long long)layer);
    return tr_json_int_or(config, "max_position_embeddings", where, 1, MAX_POSITIONS,
                          a->family == TR_QWEN2 ? 32768 : 2048, &a->max_positions, err);
}

static enum tr_status real_within(const json_t *obj, const char *key, const char *where,
                                  double min, double max, double *out, struct tr_err *err)
{
    enum tr_status st = tr_json_real(obj, key, where, out, err);
    if (st == TR_OK && !(*out >= min && *out <= max))
        return tr_err_set(err, TR_BADARG, "%s: %s: expected %g to %g, found %g", where,
                          key, min, max, *out);
    return st;
}

static enum tr_status parse_llama3(const json_t *obj, const char *where,
                                   struct tr_rope *r, struct tr_err *err)
{
    const struct {
        const char *key;
        double min, max;
        double *out;
    } rows[] = {
        {"factor", 1, 1e6, &r->factor},
        {"low_freq_factor", 1e-6, 1e6, &r->low_freq_factor},
        {"high_freq_factor", 1e-6, 1e6, &r->high_freq_factor},
        {"original_max_position_embeddings", 1, MAX_POSITIONS, &r->original_length},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum tr_status st = real_within(obj, rows[i].key, where, rows[i].min, rows[i].max,
                                        rows[i].out, err);
        if (st != TR_OK) return st;
    }
    if (!(r->high_freq_factor > r->low_freq_factor))
        return tr_err_set(err, TR_BADARG,
                          "%s: high_freq_factor: expected more than low_freq_factor %g, "
                          "found %g",
                          where, r->low_freq_factor, r->high_freq_factor);
    r->kind = TR_ROPE_LLAMA3;
    return TR_OK;
}

/* rope_scaling (transformers 4) or rope_parameters (5, with the base inside), or neither. */
static enum tr_status find_rope(const json_t *config, const char *where, json_t **out,
                                struct tr_err *err)
{
    json_t *scaling = json_object_get(config, "rope_scaling");
    json_t *both = json_object_get(config, "rope_parameters");
    if (json_is_null(scaling)) scaling = NULL;
    if (json_is_null(both)) both = NULL;
    if (scaling && both && !json_equal(scaling, both))
        return tr_err_set(err, TR_BADARG,
                          "%s: rope_scaling: expected it alone, found rope_parameters "
                          "that say otherwise",
                          where);
    *out = both ? both : scaling;
    if (*out && !json_is_object(*out))
        return tr_err_set(err, TR_BADARG, "%s: %s: expected an object, found %s", where,
                          both ? "rope_parameters" : "rope_scaling", tr_json_kind(*out));
    return TR_OK;
}

static enum tr_status parse_rope_kind(json_t *obj, const char *where, struct tr_rope *r,
                                      struct tr_err *err)
{
    const char *type = NULL;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(obj, key, value)
    {
        if (json_is_object(value))
            return tr_err_set(err, TR_BADARG,
                              "%s: rope of layer kinds (%.40s): expected one for all "
                              "layers, found an object",
                              where, key);
    }
    enum tr_status st = tr_json_string_or(obj, "type", where, "default", &type, err);
    if (st == TR_OK) st = tr_json_string_or(obj, "rope_type", where, type, &type, err);
    if (st != TR_OK) return st;
    if (!strcmp(type, "default")) return TR_OK;
    if (!strcmp(type, "llama3")) return parse_llama3(obj, where, r, err);
    return tr_err_set(err, TR_BADARG,
                      "%s: rope_type: expected default or llama3, found %.40s (not "
                      "understood here)",
                      where, type);
}

static enum tr_status parse_rope(const json_t *config, const char *where,
                                 struct tr_arch *a, struct tr_err *err)
{
    struct tr_rope *r = &a->rope;
    json_t *obj = NULL;
    double part = 1;
    *r = (struct tr_rope){.kind = TR_ROPE_PLAIN, .theta = 10000};
    enum tr_status st = find_rope(config, where, &obj, err);
    if (st == TR_OK)
        st = tr_json_real_or(config, "rope_theta", where, r->theta, &r->theta, err);
    if (st == TR_OK)
        st = tr_json_real_or(config, "partial_rotary_factor", where, 1, &part, err);
    if (st == TR_OK && obj)
        st = tr_json_real_or(obj, "rope_theta", where, r->theta, &r->theta, err);
    if (st == TR_OK && obj)
        st = tr_json_real_or(obj, "partial_rotary_factor", where, part, &part, err);
    if (st == TR_OK && obj) st = parse_rope_kind(obj, where, r, err);
    if (st != TR_OK) return st;
    if (part < 1 || part > 1)
        return tr_err_set(err, TR_BADARG,
                          "%s: partial_rotary_factor: expected 1, found %g", where, part);
    if (!(r->theta >= 1 && r->theta <= 1e12))
        return tr_err_set(err, TR_BADARG, "%s: rope_theta: expected 1 to 1e12, found %g",
                          where, r->theta);
    return TR_OK;
}

static enum tr_status parse_biases(const json_t *config, const char *where,
                                   struct tr_arch *a, struct tr_err *err)
{
    bool attention = false;
    bool mlp = false;
    enum tr_status st =
        tr_json_bool_or(config, "attention_bias", where, false, &attention, err);
    if (st == TR_OK) st = tr_json_bool_or(config, "mlp_bias", where, false, &mlp, err);
    if (st != TR_OK) return st;
    if (mlp)
        return tr_err_set(err, TR_BADARG, "%s: mlp_bias: expected false, found true",
                          where);
    /* transformers' Qwen2 always has the three biases and never the fourth. */
    a->qkv_bias = a->family == TR_QWEN2 || attention;
    a->o_bias = a->family == TR_LLAMA && attention;
    return TR_OK;
}

static enum tr_status refuse_windows(const json_t *config, const char *where,
                                     const struct tr_arch *a, struct tr_err *err)
{
    bool used = false;
    int64_t from = 0; /* layers from this one on have the window */
    const json_t *window = json_object_get(config, "sliding_window");
    const json_t *types = json_object_get(config, "layer_types");
    enum tr_status st =
        tr_json_bool_or(config, "use_sliding_window", where, false, &used, err);
    if (st == TR_OK)
        st = tr_json_int_or(config, "max_window_layers", where, 0, INT32_MAX, 28, &from,
                            err);
    if (st != TR_OK) return st;
    if (used && window && !json_is_null(window) && from < a->L)
        return tr_err_set(err, TR_BADARG,
                          "%s: use_sliding_window: expected false, found true", where);
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (!type || strcmp(type, "full_attention") != 0)
            return tr_err_set(
                err, TR_BADARG,
                "%s: layer_types: expected full_attention in all, found %.40s", where,
                type ? type : tr_json_kind(json_array_get(types, i)));
    }
    return TR_OK;
}

static enum tr_status refuse_unknown(const json_t *config, const char *where,
                                     const struct tr_arch *a, struct tr_err *err)
{
    const char *act = NULL;
    const json_t *quantized = json_object_get(config, "quantization_config");
    enum tr_status st = tr_json_string_or(config, "hidden_act", where, "silu", &act, err);
    if (st != TR_OK) return st;
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        return tr_err_set(err, TR_BADARG, "%s: hidden_act: expected silu, found %.40s",
                          where, act);
    if (quantized && !json_is_null(quantized))
        return tr_err_set(err, TR_BADARG,
                          "%s: quantization_config: expected none, found %s", where,
                          tr_json_kind(quantized));
    return refuse_windows(config, where, a, err);
}

/* An id, or -1 when it is missing, null or -1. */
static enum tr_status parse_id(const json_t *config, const char *key, const char *where,
                               int64_t V, int32_t *out, struct tr_err *err)
{
    int64_t id = -1;
    enum tr_status st = tr_json_int_or(config, key, where, -1, V - 1, -1, &id, err);
    *out = id < 0 ? -1 : (int32_t)id;
    return st;
}

static enum tr_status parse_eos(const json_t *config, const char *where,
                                struct tr_arch *a, struct tr_err *err)
{
    const json_t *list = json_object_get(config, "eos_token_id");
    const size_t room = sizeof a->eos / sizeof *a->eos;
    for (size_t i = 0; i < room; i++) a->eos[i] = -1;
    if (!json_is_array(list)) {
        enum tr_status st =
            parse_id(config, "eos_token_id", where, a->V, &a->eos[0], err);
        a->n_eos = a->eos[0] >= 0;
        return st;
    }
    size_t n = json_array_size(list);
    if (n > room)
        return tr_err_set(err, TR_BADARG,
                          "%s: eos_token_id: expected at most %zu ids, found %zu", where,
                          room, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id >= a->V)
            return tr_err_set(err, TR_BADARG,
                              "%s: eos_token_id: expected ids from 0 to %lld, found %s "
                              "%lld",
                              where, (long long)a->V - 1, tr_json_kind(v), (long long)id);
        a->eos[i] = (int32_t)id;
    }
    a->n_eos = (int32_t)n;
    return TR_OK;
}

static enum tr_status parse_ids(const json_t *config, const char *where,
                                struct tr_arch *a, struct tr_err *err)
{
    enum tr_status st = parse_id(config, "bos_token_id", where, a->V, &a->bos, err);
    if (st == TR_OK) st = parse_id(config, "pad_token_id", where, a->V, &a->pad, err);
    if (st == TR_OK) st = parse_eos(config, where, a, err);
    return st;
}

enum tr_status tr_arch_parse(const json_t *config, const char *where, struct tr_arch *out,
                             struct tr_err *err)
{
    struct tr_arch a = {0};
    double eps = 1e-6;
    if (!json_is_object(config))
        return tr_err_set(err, TR_BADARG, "%s: expected an object, found %s", where,
                          tr_json_kind(config));
    enum tr_status st = parse_family(config, where, &a, err);
    if (st == TR_OK) st = parse_sizes(config, where, &a, err);
    if (st == TR_OK) st = parse_rope(config, where, &a, err);
    if (st == TR_OK) st = parse_biases(config, where, &a, err);
    if (st == TR_OK) st = refuse_unknown(config, where, &a, err);
    if (st == TR_OK) st = parse_ids(config, where, &a, err);
    if (st == TR_OK)
        st = tr_json_bool_or(config, "tie_word_embeddings", where, false, &a.tied, err);
    if (st == TR_OK) st = tr_json_real_or(config, "rms_norm_eps", where, eps, &eps, err);
    if (st != TR_OK) return st;
    if (!(eps >= 1e-12 && eps <= 1))
        return tr_err_set(err, TR_BADARG,
                          "%s: rms_norm_eps: expected 1e-12 to 1, found %g", where, eps);
    a.eps = (float)eps;
    *out = a;
    return TR_OK;
}

enum tr_status tr_arch_load(const char *dir, struct tr_arch *out, json_t **config,
                            struct tr_err *err)
{
    char path[4096];
    json_t *file = NULL;
    if (config) *config = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, dir, "config.json", err);
    if (st == TR_OK) st = tr_json_load(path, MAX_CONFIG_BYTES, &file, err);
    if (st == TR_OK) st = tr_arch_parse(file, path, out, err);
    if (st == TR_OK && config) {
        *config = file;
        file = NULL;
    }
    json_decref(file);
    return st;
}

static json_t *id_or_null(int32_t id)
{
    return id < 0 ? json_null() : json_integer(id);
}

static json_t *eos_ids(const struct tr_arch *a)
{
    if (a->n_eos <= 1) return id_or_null(a->n_eos ? a->eos[0] : -1);
    json_t *list = json_array();
    for (int32_t i = 0; i < a->n_eos; i++)
        if (json_array_append_new(list, json_integer(a->eos[i]))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *rope_scaling(const struct tr_rope *r)
{
    if (r->kind == TR_ROPE_PLAIN) return json_null();
    return json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor",
                     r->factor, "low_freq_factor", r->low_freq_factor, "high_freq_factor",
                     r->high_freq_factor, "original_max_position_embeddings",
                     (json_int_t)r->original_length);
}

/* eps as the shortest decimal that is this float: 1e-5, not 9.99999974737875e-06. */
static double shortest(float x)
{
    for (int digits = 1; digits < 9; digits++) {
        char text[32];
        snprintf(text, sizeof text, "%.*e", digits - 1, (double)x);
        double back = strtod(text, NULL);
        if ((float)back >= x && (float)back <= x) return back;
    }
    return (double)x;
}

enum tr_status tr_arch_config(const struct tr_arch *a, json_t **out, struct tr_err *err)
{
    bool qwen = a->family == TR_QWEN2;
    if (qwen ? !a->qkv_bias || a->o_bias : a->qkv_bias != a->o_bias)
        return tr_err_set(err, TR_BADARG,
                          "config.json: %s cannot say which biases it has",
                          family_name(a->family));
    *out = json_pack(
        "{s:[s], s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:o, s:b, "
        "s:o, s:o, s:o, s:f, s:b}",
        "architectures", qwen ? "Qwen2ForCausalLM" : "LlamaForCausalLM", "model_type",
        family_name(a->family), "hidden_act", "silu", "vocab_size", (json_int_t)a->V,
        "hidden_size", (json_int_t)a->d, "num_hidden_layers", (json_int_t)a->L,
        "num_attention_heads", (json_int_t)a->H, "num_key_value_heads", (json_int_t)a->Kv,
        "head_dim", (json_int_t)a->D, "intermediate_size", (json_int_t)a->F,
        "max_position_embeddings", (json_int_t)a->max_positions, "rms_norm_eps",
        shortest(a->eps), "rope_theta", a->rope.theta, "rope_scaling",
        rope_scaling(&a->rope), "tie_word_embeddings", (int)a->tied, "bos_token_id",
        id_or_null(a->bos), "eos_token_id", eos_ids(a), "pad_token_id",
        id_or_null(a->pad), "attention_dropout", 0.0, "use_cache", 1);
    if (*out && !qwen &&
        !json_object_set_new(*out, "attention_bias", json_boolean(a->qkv_bias)) &&
        !json_object_set_new(*out, "mlp_bias", json_false()))
        return TR_OK;
    if (*out && qwen && !json_object_set_new(*out, "use_sliding_window", json_false()))
        return TR_OK;
    json_decref(*out);
    *out = NULL;
    return tr_err_set(err, TR_NOMEM, "config.json: cannot be built");
}

/* config.json: what is understood, and what is refused in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/json.h"
#include "core/model/arch.h"

static const char llama[] =
    "{'model_type': 'llama', 'vocab_size': 288, 'hidden_size': 64, 'num_hidden_layers': 2,"
    " 'num_attention_heads': 4, 'intermediate_size': 128}";
static const char qwen2[] =
    "{'model_type': 'qwen2', 'vocab_size': 288, 'hidden_size': 64, 'num_hidden_layers': 2,"
    " 'num_attention_heads': 4, 'num_key_value_heads': 2, 'intermediate_size': 128}";

/* JSON with ' for ", so that rows can be read. */
static json_t *json_of(const char *text)
{
    char quoted[2048];
    json_t *v = NULL;
    struct tr_err err = {0};
    assert_true(strlen(text) < sizeof quoted);
    memcpy(quoted, text, strlen(text) + 1);
    for (char *c = quoted; *c; c++)
        if (*c == '\'') *c = '"';
    if (tr_json_parse(quoted, strlen(quoted), "row", &v, &err) != TR_OK)
        fail_msg("%s: %s", err.text, text);
    return v;
}

static enum tr_status parse(const char *base, const char *change, struct tr_arch *a,
                            struct tr_err *err)
{
    json_t *config = json_of(base);
    json_t *more = json_of(change);
    assert_int_equal(json_object_update(config, more), 0);
    enum tr_status st = tr_arch_parse(config, "dir/config.json", a, err);
    json_decref(config);
    json_decref(more);
    return st;
}

/* What a row expects of one field, as text: "Kv=4". */
static void describe(const struct tr_arch *a, char *out, size_t size)
{
    snprintf(out, size,
             "%s V=%lld d=%lld L=%lld H=%lld Kv=%lld D=%lld F=%lld eps=%g pos=%lld "
             "rope=%d theta=%g factor=%g low=%g high=%g original=%g tied=%d qkv=%d o=%d "
             "bos=%d eos=%d*%d pad=%d ",
             a->family == TR_LLAMA ? "llama" : "qwen2", (long long)a->V, (long long)a->d,
             (long long)a->L, (long long)a->H, (long long)a->Kv, (long long)a->D,
             (long long)a->F, (double)a->eps, (long long)a->max_positions, a->rope.kind,
             a->rope.theta, a->rope.factor, a->rope.low_freq_factor,
             a->rope.high_freq_factor, a->rope.original_length, a->tied, a->qkv_bias,
             a->o_bias, a->bos, a->eos[0], a->n_eos, a->pad);
}

#define LLAMA3                                                                           \
    "'factor': 8, 'low_freq_factor': 1, 'high_freq_factor': 4, "                         \
    "'original_max_position_embeddings': 64"

static const struct {
    const char *name, *base, *change, *want[4];
} good_rows[] = {
    {"llama's defaults",
     llama,
     "{}",
     {"llama V=288 d=64 L=2 H=4 Kv=4 D=16 F=128 eps=1e-06 pos=2048 rope=0 theta=10000 ",
      "tied=0 qkv=0 o=0 bos=-1 eos=-1*0 pad=-1 "}},
    {"qwen2's defaults",
     qwen2,
     "{}",
     {"qwen2 V=288 d=64 L=2 H=4 Kv=2 D=16 F=128 ", "pos=32768 ", "tied=0 qkv=1 o=0 "}},
    {"nulls are absent",
     llama,
     "{'num_key_value_heads': null, 'head_dim': null, 'rope_scaling': null, "
     "'pad_token_id': null, 'sliding_window': null, 'quantization_config': null}",
     {" Kv=4 D=16 ", " rope=0 ", " pad=-1 "}},
    {"grouped heads, wide heads",
     llama,
     "{'num_key_value_heads': 2, 'head_dim': 48}",
     {" H=4 Kv=2 D=48 "}},
    {"width no multiple of heads",
     llama,
     "{'hidden_size': 66, 'head_dim': 16}",
     {" d=66 ", " D=16 "}},
    {"constants",
     llama,
     "{'rms_norm_eps': 1e-5, 'rope_theta': 500000, 'max_position_embeddings': 99}",
     {" eps=1e-05 ", " theta=500000 ", " pos=99 "}},
    {"tied", llama, "{'tie_word_embeddings': true}", {" tied=1 "}},
    {"llama's biases", llama, "{'attention_bias': true}", {" qkv=1 o=1 "}},
    {"qwen2 has three biases whatever it says",
     qwen2,
     "{'attention_bias': false}",
     {" qkv=1 o=0 "}},
    {"plain rope said", llama, "{'rope_scaling': {'type': 'default'}}", {" rope=0 "}},
    {"llama3 rope",
     llama,
     "{'rope_theta': 5e5, 'rope_scaling': {'rope_type': 'llama3', " LLAMA3 "}}",
     {" rope=1 theta=500000 factor=8 low=1 high=4 original=64 "}},
    {"llama3 rope, old key",
     llama,
     "{'rope_scaling': {'type': 'llama3', " LLAMA3 "}}",
     {" rope=1 "}},
    {"rope_type goes before type",
     llama,
     "{'rope_scaling': {'type': 'linear', 'rope_type': 'llama3', " LLAMA3 "}}",
     {" rope=1 "}},
    {"rope_parameters",
     llama,
     "{'rope_parameters': {'rope_type': 'llama3', 'rope_theta': 1e6, " LLAMA3 "}}",
     {" rope=1 theta=1e+06 factor=8 "}},
    {"rope_parameters, plain",
     qwen2,
     "{'rope_parameters': {'rope_type': 'default', 'rope_theta': 1e6}}",
     {" rope=0 theta=1e+06 "}},
    {"ids",
     llama,
     "{'bos_token_id': 1, 'eos_token_id': 2, 'pad_token_id': 0}",
     {" bos=1 eos=2*1 pad=0 "}},
    {"several ends", llama, "{'eos_token_id': [7, 9]}", {" eos=7*2 "}},
    {"no pad, as old files say it", llama, "{'pad_token_id': -1}", {" pad=-1 "}},
    {"a window that is off",
     qwen2,
     "{'sliding_window': 4096, 'use_sliding_window': false}",
     {" d=64 "}},
    {"a window that no layer reaches",
     qwen2,
     "{'sliding_window': 64, 'use_sliding_window': true, 'max_window_layers': 2}",
     {" d=64 "}},
    {"layer types, all full",
     qwen2,
     "{'layer_types': ['full_attention', 'full_attention']}",
     {" d=64 "}},
    {"swish is silu", llama, "{'hidden_act': 'swish'}", {" d=64 "}},
    {"dropout is noted, never applied", llama, "{'attention_dropout': 0.1}", {" d=64 "}},
};

static void good_configs_are_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_rows / sizeof *good_rows; i++) {
        struct tr_arch a = {0};
        struct tr_err err = {0};
        char text[512];
        if (parse(good_rows[i].base, good_rows[i].change, &a, &err) != TR_OK)
            fail_msg("%s: %s", good_rows[i].name, err.text);
        describe(&a, text, sizeof text);
        for (size_t j = 0; j < 4 && good_rows[i].want[j]; j++)
            if (!strstr(text, good_rows[i].want[j]))
                fail_msg("%s: wanted \"%s\" in \"%s\"", good_rows[i].name,
                         good_rows[i].want[j], text);
    }
}

static const struct {
    const char *name, *base, *change, *want;
} bad_rows[] = {
    {"another model", llama, "{'model_type': 'gpt2'}",
     "model_type: expected llama or qwen2, found gpt2"},
    {"no type", llama, "{'model_type': null}",
     "model_type: expected a string, found null"},
    {"no width", llama, "{'hidden_size': null}",
     "hidden_size: expected an integer, found null"},
    {"text for a size", llama, "{'vocab_size': '288'}",
     "vocab_size: expected an integer, found string"},
    {"part of a layer", llama, "{'num_hidden_layers': 1.5}",
     "num_hidden_layers: expected an integer, found real"},
    {"no heads", llama, "{'num_attention_heads': 0}",
     "num_attention_heads: expected 1 to 4096, found 0"},
    {"absurd width", llama, "{'hidden_size': 65537}",
     "hidden_size: expected 1 to 65536, found 65537"},
    {"absurd depth", llama, "{'num_hidden_layers': 1025}",
     "num_hidden_layers: expected 1 to 1024, found 1025"},
    {"absurd vocabulary", llama, "{'vocab_size': 4194305}",
     "vocab_size: expected 1 to 4194304"},
    {"sizes that multiply up", llama,
     "{'hidden_size': 65536, 'num_hidden_layers': 1024, 'intermediate_size': 1048576, "
     "'head_dim': 16}",
     "expected at most 2^40 weights in all, found 1024 layers"},
    {"heads that do not group", llama, "{'num_key_value_heads': 3}",
     "num_key_value_heads: expected a divisor of num_attention_heads 4, found 3"},
    {"width that does not split", llama, "{'hidden_size': 66}",
     "hidden_size: expected a multiple of num_attention_heads 4"},
    {"odd head", llama, "{'head_dim': 15}",
     "head_dim: expected an even number up to 512, found 15"},
    {"wide head", llama, "{'head_dim': 514}", "head_dim: expected 2 to 512, found 514"},
    {"wide head by division", llama, "{'hidden_size': 4096}",
     "head_dim: expected an even number up to 512, found 1024"},
    {"no eps", llama, "{'rms_norm_eps': 0}",
     "rms_norm_eps: expected 1e-12 to 1, found 0"},
    {"no base", llama, "{'rope_theta': -1}", "rope_theta: expected 1 to 1e12, found -1"},
    {"positions", llama, "{'max_position_embeddings': 0}",
     "max_position_embeddings: expected 1 to 16777216, found 0"},
    {"linear rope", llama, "{'rope_scaling': {'type': 'linear', 'factor': 2}}",
     "rope_type: expected default or llama3, found linear"},
    {"dynamic rope", llama, "{'rope_scaling': {'rope_type': 'dynamic', 'factor': 2}}",
     "found dynamic"},
    {"yarn", qwen2, "{'rope_scaling': {'type': 'yarn', 'factor': 4}}", "found yarn"},
    {"longrope", llama, "{'rope_parameters': {'rope_type': 'longrope'}}",
     "found longrope"},
    {"rope as a list", llama, "{'rope_scaling': [1]}",
     "rope_scaling: expected an object, found array"},
    {"two ropes", llama,
     "{'rope_scaling': {'type': 'default'}, 'rope_parameters': {'rope_type': 'yarn'}}",
     "rope_parameters that say otherwise"},
    {"ropes of layer kinds", llama,
     "{'rope_parameters': {'full_attention': {'rope_type': 'default'}}}",
     "full_attention"},
    {"llama3 without its factor", llama, "{'rope_scaling': {'rope_type': 'llama3'}}",
     "factor: expected a number, found nothing"},
    {"llama3 upside down", llama,
     "{'rope_scaling': {'rope_type': 'llama3', 'factor': 8, 'low_freq_factor': 4, "
     "'high_freq_factor': 4, 'original_max_position_embeddings': 64}}",
     "high_freq_factor: expected more than low_freq_factor 4, found 4"},
    {"half-rotated heads", llama, "{'partial_rotary_factor': 0.5}",
     "partial_rotary_factor: expected 1, found 0.5"},
    {"mlp bias", llama, "{'mlp_bias': true}", "mlp_bias: expected false, found true"},
    {"bias as a number", llama, "{'attention_bias': 1}",
     "attention_bias: expected true or false, found integer"},
    {"gelu", llama, "{'hidden_act': 'gelu'}", "hidden_act: expected silu, found gelu"},
    {"a window", qwen2,
     "{'sliding_window': 64, 'use_sliding_window': true, 'max_window_layers': 1}",
     "use_sliding_window: expected false, found true"},
    {"a window by layer", qwen2, "{'layer_types': ['sliding_attention']}",
     "layer_types: expected full_attention in all, found sliding_attention"},
    {"quantised", llama, "{'quantization_config': {'bits': 4}}",
     "quantization_config: expected none, found object"},
    {"an end outside", llama, "{'eos_token_id': 288}",
     "eos_token_id: expected -1 to 287"},
    {"an end of text", llama, "{'eos_token_id': '</s>'}",
     "eos_token_id: expected an integer, found string"},
    {"one end of several outside", llama, "{'eos_token_id': [2, 288]}",
     "eos_token_id: expected ids from 0 to 287, found integer 288"},
    {"too many ends", llama, "{'eos_token_id': [1,2,3,4,5,6,7,8,9]}",
     "eos_token_id: expected at most 8 ids, found 9"},
    {"padding outside", llama, "{'pad_token_id': 288}", "pad_token_id: expected"},
};

/* Invariants 1 and 2: bad sizes and what is not understood, each with file, key, expected and
 * found. */
static void bad_configs_are_refused_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_rows / sizeof *bad_rows; i++) {
        struct tr_arch a = {0};
        struct tr_err err = {0};
        assert_int_equal(parse(bad_rows[i].base, bad_rows[i].change, &a, &err),
                         TR_BADARG);
        if (strncmp(err.text, "dir/config.json: ", 17) ||
            !strstr(err.text, bad_rows[i].want))
            fail_msg("%s: wanted \"%s\" in \"%s\"", bad_rows[i].name, bad_rows[i].want,
                     err.text);
    }
    struct tr_arch a;
    struct tr_err err = {0};
    json_t *list = json_of("[]");
    assert_int_equal(tr_arch_parse(list, "x", &a, &err), TR_BADARG);
    assert_string_equal(err.text, "x: expected an object, found array");
    json_decref(list);
}

static void written_config_reads_back(void **state)
{
    (void)state;
    const struct {
        const char *base, *change;
    } rows[] = {
        {llama, "{'rms_norm_eps': 1e-5, 'eos_token_id': [2, 3], 'bos_token_id': 1}"},
        {llama, "{'attention_bias': true, 'tie_word_embeddings': true, 'head_dim': 32}"},
        {llama, "{'rope_scaling': {'rope_type': 'llama3', " LLAMA3 "}}"},
        {qwen2, "{'rope_theta': 1e6, 'eos_token_id': 2, 'pad_token_id': 0}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_arch a = {0};
        struct tr_arch b = {0};
        struct tr_err err = {0};
        json_t *config = NULL;
        char before[512];
        char after[512];
        assert_int_equal(parse(rows[i].base, rows[i].change, &a, &err), TR_OK);
        assert_int_equal(tr_arch_config(&a, &config, &err), TR_OK);
        if (tr_arch_parse(config, "written", &b, &err) != TR_OK) fail_msg("%s", err.text);
        describe(&a, before, sizeof before);
        describe(&b, after, sizeof after);
        assert_string_equal(before, after);
        assert_memory_equal(a.eos, b.eos, sizeof a.eos);
        json_decref(config);
    }
    struct tr_arch odd = {.family = TR_LLAMA, .qkv_bias = true};
    json_t *config = NULL;
    struct tr_err err = {0};
    assert_int_equal(tr_arch_config(&odd, &config, &err), TR_BADARG);
    assert_null(config);
}

static void a_folder_is_loaded(void **state)
{
    (void)state;
    char dir[] = "/tmp/tr_arch_XXXXXX";
    char path[64];
    struct tr_arch a;
    struct tr_err err = {0};
    json_t *config = json_of(llama);
    json_t *kept = NULL;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(tr_arch_load(dir, &a, &kept, &err), TR_BADARG);
    assert_null(kept);
    assert_int_equal(tr_json_save(path, config, 2, &err), TR_OK);
    assert_int_equal(tr_arch_load(dir, &a, &kept, &err), TR_OK);
    assert_int_equal(a.F, 128);
    assert_true(json_equal(config, kept));
    json_decref(kept);
    assert_int_equal(tr_arch_load(dir, &a, NULL, &err), TR_OK);
    json_decref(config);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_configs_are_understood),
        cmocka_unit_test(bad_configs_are_refused_in_words),
        cmocka_unit_test(written_config_reads_back),
        cmocka_unit_test(a_folder_is_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

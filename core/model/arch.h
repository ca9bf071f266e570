/* arch.h - what a config.json says about a transformer: its shapes and constants.
 *
 * What it is for. One transformer serves Llama and Qwen2; this struct is all that differs
 * between two models besides their weights.
 *
 * The data. Dimensions as everywhere: d width, L layers, H query heads, Kv kv heads, D head
 * width, F feed-forward width, V vocabulary.
 *
 * Invariants (checked by tr_arch_parse).
 *   1. All sizes are positive and bounded; H is a multiple of Kv; D is even; products of sizes
 *      fit int64_t.
 *   2. What would change the result and is not understood is refused in words: other model
 *      types, rope types other than plain and llama3, activations other than silu, mlp_bias,
 *      sliding windows in use. Dropout values are noted, never applied. */
#ifndef TR_MODEL_ARCH_H
#define TR_MODEL_ARCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "kernels/rope.h"

enum tr_family { TR_LLAMA, TR_QWEN2 };

struct tr_arch {
    enum tr_family family;
    int64_t V, d, L, H, Kv, D, F;
    float eps; /* of the norms */
    struct tr_rope rope;
    int64_t max_positions;
    bool tied;                       /* lm_head is embed_tokens */
    bool qkv_bias;                   /* q, k, v have biases (Qwen2, or attention_bias) */
    bool o_bias;                     /* o_proj has one too (Llama with attention_bias) */
    int32_t bos, eos[8], n_eos, pad; /* ids, -1 when absent */
};

/* From a parsed config.json; `where` names the file in errors. TR_BADARG names the key. */
enum tr_status tr_arch_parse(const json_t *config, const char *where, struct tr_arch *out,
                             struct tr_err *err);

/* From DIR/config.json; *config is the parsed file, kept so that it can be written back
 * unchanged (owned by the caller), or NULL if not wanted. */
enum tr_status tr_arch_load(const char *dir, struct tr_arch *out, json_t **config,
                            struct tr_err *err);

/* A config.json for an arch that was not read from a file. The caller owns *out. */
enum tr_status tr_arch_config(const struct tr_arch *a, json_t **out, struct tr_err *err);

#endif

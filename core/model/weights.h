/* weights.h - the forward weights: what every role computes with.
 *
 * What it is for. A learner refreshes them from its masters after each update; evaluators and
 * generators hold nothing else. f32, or bf16 for every tensor of the language model (matrices
 * stored as bf16, vectors rounded but held as f32); the value head is always f32.
 *
 * The digest, exactly (u64 is 8 bytes, little-endian). The content of a tensor is its elements
 * in Hugging Face order (row-major), little-endian: 2 bytes each (bf16) for a tensor of the
 * language model when the forward weights are bf16, else 4 bytes each (f32). It is cut into
 * chunks of 4 MiB (4194304 bytes), the last one shorter. digest = SHA-256 of
 *     the 8 bytes "TRWGHT01"
 *     u64 number of tensors
 *     for each tensor, by name (bytes compared as unsigned, as strcmp does):
 *         u64 length of the name, the name
 *         u64 length of the dtype, the dtype: "F32" or "BF16"
 *         u64 rank, u64 each dimension ([N, K], [N]; the value head [1, d] and [1])
 *     for each tensor in the same order, for each of its chunks in order:
 *         the 32 bytes of the chunk's SHA-256
 * lm_head.weight is in the list only when it is a tensor of its own (not tied).
 *
 * Invariants.
 *   1. The digest (DESIGN.md 5) names the values, not the layout: the same for any sharding,
 *      packing or file dtype that holds the same forward weights. */
#ifndef TR_MODEL_WEIGHTS_H
#define TR_MODEL_WEIGHTS_H

#include <stdbool.h>

#include "core/base/digest.h"
#include "core/model/params.h"

struct tr_weights; /* opaque; owns its buffers, borrows params */

enum tr_status tr_weights_create(const struct tr_params *params, const struct tr_exec *ex,
                                 bool bf16, struct tr_weights **out, struct tr_err *err);
void tr_weights_destroy(struct tr_weights *w);

/* Takes a flat f32 buffer (masters): f32 forward weights borrow it, bf16 ones round it. Call
 * again after every update; borrowed until destroy or the next call. */
void tr_weights_refresh(struct tr_weights *w, const struct tr_exec *ex,
                        const float *masters);

/* Sets one tensor from Hugging Face order (for evaluators, which keep no masters; never after
 * a refresh of f32 weights, which are then the learner's). */
void tr_weights_set(struct tr_weights *w, const struct tr_exec *ex,
                    const struct tr_param *p, const float *hf);

const struct tr_params *tr_weights_params(const struct tr_weights *w);
bool tr_weights_bf16(const struct tr_weights *w);
struct tr_mat tr_weights_matrix(const struct tr_weights *w, const struct tr_param *p);
/* NULL for p = NULL: a bias that the model does not have. */
const float *tr_weights_vector(const struct tr_weights *w, const struct tr_param *p);
/* The output layer [V, d]: lm_head, or embed_tokens when tied. The model must have one. */
const struct tr_param *tr_weights_output(const struct tr_weights *w);

/* Bytes that create takes (masters not included). */
size_t tr_weights_bytes(const struct tr_params *params, bool bf16);

/* The two buffers that forward weights lie in, for files of them (packed.h). f32 weights have no
 * `half`. Offsets within them depend on params and bf16 alone. */
struct tr_weights_parts {
    void *half, *f32;
    size_t half_bytes, f32_bytes;
};
struct tr_weights_parts tr_weights_sizes(const struct tr_params *params, bool bf16);
struct tr_weights_parts tr_weights_parts(const struct tr_weights *w); /* only read */

/* Forward weights that lie in somebody else's memory, aligned to 64 and borrowed until destroy.
 * Only with `fill` may they be set or chunks be put; never refreshed. */
enum tr_status tr_weights_lay(const struct tr_params *params, enum tr_math math,
                              bool bf16, const struct tr_weights_parts *at, bool fill,
                              struct tr_weights **out, struct tr_err *err);

/* The digest as stated above, hashed by the whole team, a chunk a tile. */
enum tr_status tr_weights_digest(const struct tr_weights *w, const struct tr_exec *ex,
                                 struct tr_digest *out, struct tr_err *err);

/* The chunks that the digest is made of, numbered through all tensors in its order, for the
 * wire: how many, the size of one, its bytes, its SHA-256 (all of them at once, [count]), and
 * taking one in (weights that were not refreshed). */
enum { TR_CHUNK_BYTES = 4 << 20 };
int64_t tr_weights_chunks(const struct tr_weights *w);
size_t tr_weights_chunk_size(const struct tr_weights *w, int64_t i);
void tr_weights_chunk_get(const struct tr_weights *w, int64_t i, unsigned char *out);
void tr_weights_chunk_put(struct tr_weights *w, int64_t i, const unsigned char *bytes);
enum tr_status tr_weights_chunk_digests(const struct tr_weights *w,
                                        const struct tr_exec *ex, struct tr_digest *out,
                                        struct tr_err *err);
/* The digest that weights with these chunk digests have. */
enum tr_status tr_weights_digest_of(const struct tr_weights *w,
                                    const struct tr_digest *chunk, struct tr_digest *out,
                                    struct tr_err *err);

#endif

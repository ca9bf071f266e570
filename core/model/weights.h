/* weights.h - the forward weights: what every role computes with.
 *
 * What it is for. A learner refreshes them from its masters after each update; evaluators and
 * generators hold nothing else. f32, or bf16 for every tensor of the language model (matrices
 * stored as bf16, vectors rounded but held as f32); the value head is always f32.
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

/* Sets one tensor from Hugging Face order (for evaluators, which keep no masters). */
void tr_weights_set(struct tr_weights *w, const struct tr_exec *ex,
                    const struct tr_param *p, const float *hf);

const struct tr_params *tr_weights_params(const struct tr_weights *w);
bool tr_weights_bf16(const struct tr_weights *w);
struct tr_mat tr_weights_matrix(const struct tr_weights *w, const struct tr_param *p);
const float *tr_weights_vector(const struct tr_weights *w, const struct tr_param *p);

/* SHA-256 over a header (names, dtypes, shapes, sorted) and the SHA-256 of each 4 MiB chunk of
 * each tensor in Hugging Face order, little-endian; hashed by the whole team. */
enum tr_status tr_weights_digest(const struct tr_weights *w, const struct tr_exec *ex,
                                 struct tr_digest *out, struct tr_err *err);

#endif

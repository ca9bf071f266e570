/* gguf_blocks.h - the tensor types of GGUF that we read, as f32.
 *
 * What it is for. A quantised tensor lies in blocks of 32 elements:
 *   Q4_0  f16 d, 16 bytes                x = (q - 8) * d       q: element j in the low half of
 *   Q4_1  f16 d, f16 m, 16 bytes         x = q * d + m            byte j, j + 16 in the high half
 *   Q8_0  f16 d, 32 signed bytes         x = q * d
 *
 * Invariants.
 *   1. The bits are those of ggml's reference in f32: one rounding a product, one a sum, no
 *      fused operation. */
#ifndef TR_MODEL_GGUF_BLOCKS_H
#define TR_MODEL_GGUF_BLOCKS_H

#include "core/model/gguf.h"

struct tr_gguf_layout {
    enum tr_gguf_type type;
    const char *name;
    int64_t block, bytes; /* elements and bytes of a block */
};

/* NULL for a type that we do not read. */
const struct tr_gguf_layout *tr_gguf_layout(enum tr_gguf_type type);

/* Elements [from, from + n); both are multiples of the block. */
void tr_gguf_floats(const struct tr_gguf_tensor *t, int64_t from, int64_t n, float *out);

#endif

/* sample.h - from logits to the next token, as transformers orders it.
 *
 * Repetition penalty on the ids of the history, then temperature, top-k, top-p, then the draw.
 *   penalty      z = z < 0 ? z * penalty : z / penalty, once for each distinct id
 *   temperature  z = z / temperature
 *   top-k        keep z >= the k-th largest (ties at the border are all kept, as transformers)
 *   top-p        by (probability descending, id ascending), cumulated in f64: a token is kept
 *                while the sum before it is < top_p; at least one stays
 *   draw         u in [0, 1): walk the kept ids ascending, cumulating exp in f64, until the sum
 *                exceeds u * total; the last kept id if rounding leaves none
 * -Inf and NaN are never kept; a row of nothing else keeps id 0, certain. -0 and +0 are equal.
 * Ids of the history outside [0, V) are passed over. The team is not used: rows may be tiles of it.
 * Selection is by threshold, not by sorting the vocabulary. temperature 0 is arg-max (lowest id
 * among equals). The log-prob reported is that of the plain soft-max at temperature 1
 * (softmax.h), not of the sampling distribution. */
#ifndef TR_KERNELS_SAMPLE_H
#define TR_KERNELS_SAMPLE_H

#include <stdint.h>

#include "kernels/exec.h"

struct tr_sampling {
    float temperature;        /* >= 0 */
    int32_t top_k;            /* 0: off */
    float top_p;              /* 1: off */
    float repetition_penalty; /* 1: off */
};

/* One row: z [V] is overwritten by the processed logits (-Inf where not kept). history [n]
 * holds prompt and answer so far. scratch: V * 12 bytes. Returns the token. */
int32_t tr_sample(const struct tr_exec *ex, const struct tr_sampling *cfg, float *z,
                  int64_t V, const int32_t *history, int64_t n, double u, void *scratch);

/* The same without the draw: fills kept (ascending) and its probabilities; returns how many. */
int64_t tr_sample_kept(const struct tr_exec *ex, const struct tr_sampling *cfg, float *z,
                       int64_t V, const int32_t *history, int64_t n, void *scratch,
                       int32_t *kept, double *prob);

#endif

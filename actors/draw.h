/* draw.h - the first weights of a model that has none yet.
 *
 * What it is for. `train_from_scratch`, random models of tests, and the value head of a new
 * reward model or critic.
 *
 * The numbers. Matrices are normal with standard deviation `std` (Hugging Face's
 * initializer_range, 0.02), norms are 1, biases 0; the value head is uniform in +-1/sqrt(d), as
 * torch's Linear is. All are addressed by (seed, tensor, element), so they do not depend on
 * threads or on the order in which tensors are drawn. */
#ifndef TR_ACTORS_DRAW_H
#define TR_ACTORS_DRAW_H

#include "core/model/params.h"

/* Every tensor but the value head. flat is a buffer of masters. TR_NOMEM only. */
enum tr_status tr_draw_model(const struct tr_exec *ex, const struct tr_params *params,
                             uint64_t seed, double std, float *flat, struct tr_err *err);

/* The value head; nothing when params has none. */
void tr_draw_value_head(const struct tr_params *params, uint64_t seed, float *flat);

#endif

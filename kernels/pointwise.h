/* pointwise.h - what happens to each element alone.
 *
 * SwiGLU (Shazeer 2020, arXiv:2002.05202): sig = 1 / (1 + tr_expf(-g)); out = (g * sig) * u.
 * Backward: du = dout * (g * sig); dg = (dout * u) * (sig * fmaf(g, 1 - sig, 1)).
 * Residual: x = x + y, one f32 addition.
 * An output may be one of the inputs, element for element. */
#ifndef TR_KERNELS_POINTWISE_H
#define TR_KERNELS_POINTWISE_H

#include <stdint.h>

#include "kernels/exec.h"

void tr_swiglu(const struct tr_exec *ex, const float *g, const float *u, int64_t n,
               float *out);
void tr_swiglu_backward(const struct tr_exec *ex, const float *g, const float *u,
                        const float *dout, int64_t n, float *dg, float *du);
void tr_add(const struct tr_exec *ex, const float *y, int64_t n, float *x); /* x += y */

#endif

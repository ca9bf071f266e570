/* vector_ops.h - what a tile of the element-wise and row-wise kernels does, one row of
 * functions for each instruction set.
 *
 * What it is for. norm.c, rope.c, softmax.c, ... cut a call into tiles for the team; a tile
 * works on one row, one head or one run of elements through these. kernels/vector_scalar.c is
 * the specification in C, kernels/x86/vector_lanes.h the same for vectors.
 *
 * Invariants.
 *   1. A sum over a row runs in 16 lanes, element i in lane i mod 16, each lane ascending,
 *      then lanes j and j + 8, j + 4, j + 2, j + 1 are added.
 *   2. No row reads or writes past its n elements. Nothing need be aligned. */
#ifndef TR_KERNELS_VECTOR_OPS_H
#define TR_KERNELS_VECTOR_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kernels.h"

/* The constants of an AdamW step, rounded once from f64 (adamw.h). */
struct tr_adamw_constants {
    float clip, decay, beta2, one_less_beta1, one_less_beta2, root, eps, rate;
};

struct tr_vector_ops {
    /* sum of x_i^2 by fmaf, one run of lanes over all n */
    float (*sum_squares)(const float *x, int64_t n);

    /* norm.h, for one token: y [d], *r; and dx [d]. norm_dw: columns i .. i+n-1 of dw [d],
     * over tokens 0 .. T-1 of dy, x [T, d], r [T]. */
    void (*norm)(const float *x, const float *w, float eps, int64_t d, float *y,
                 float *r);
    void (*norm_dx)(const float *dy, const float *x, const float *w, float r, int64_t d,
                    bool add, float *dx);
    void (*norm_dw)(const float *dy, const float *x, const float *r, int64_t T, int64_t d,
                    int64_t i, int64_t n, float *dw);

    /* rope.h, for one head x [D] */
    void (*rotate)(float *x, int64_t D, const float *cos, const float *sin, bool inverse);

    /* pointwise.h, n elements */
    void (*swiglu)(const float *g, const float *u, int64_t n, float *out);
    void (*swiglu_back)(const float *g, const float *u, const float *dout, int64_t n,
                        float *dg, float *du);
    void (*add)(const float *y, int64_t n, float *x);

    /* softmax.h, for one row z [V] */
    float (*max)(const float *z, int64_t V);              /* -Inf when V = 0 */
    float (*exp_sum)(const float *z, int64_t V, float M); /* sum of exp(z - M) */
    float (*mean_logit)(const float *z, int64_t V,
                        float lse); /* sum of exp(z - lse) * z */
    void (*dlogits)(float *z, int64_t V, float lse,
                    float dlogp); /* z = -dlogp * exp(z - lse) */
    void (*exps)(const float *z, int64_t V, float M, float *e); /* e = exp(z - M) */
    void (*divide)(float *z, int64_t V, float by);              /* z = z / by */
    /* The v with z_v >= least > -Inf, ascending, into id [V]; returns how many. */
    int64_t (*above)(const float *z, int64_t V, float least, int32_t *id);

    /* adamw.h, n elements */
    void (*adamw)(const struct tr_adamw_constants *c, int64_t n, const float *g, float *p,
                  float *m, float *v);
};

#endif

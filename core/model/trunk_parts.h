/* trunk_parts.h - what trunk.c and trunk_backward.c share: the trunk's buffers.
 *
 * The data. The residual stream has L + 1 stations x[0 .. L]: after the embedding and after
 * each layer. What is kept depends on what the trunk is for:
 *
 *                       stations    arrays and pages of a layer   backward's scratch
 *   scoring             one         one set, used by every layer  none
 *   training            L + 1       L sets                        one
 *   with recompute      L + 1       one set                       one
 *
 * Never kept, because computing it again costs less than reading it back: the norms' outputs,
 * the SwiGLU's output. Pages: sequence s has ceil(length / 64) of them, end to end; a layer's
 * part of page i is at pages + arrays[l].pages + i * page_floats. */
#ifndef TR_MODEL_TRUNK_PARTS_H
#define TR_MODEL_TRUNK_PARTS_H

#include "core/model/layer.h"
#include "core/model/trunk.h"

struct tr_trunk {
    struct tr_arch arch;
    struct tr_trunk_size size;
    struct tr_arena arena; /* owns; all below borrow from it */
    struct tr_angles angles;
    float **x;                      /* [L + 1]; all the same station when scoring */
    struct tr_layer_arrays *arrays; /* [L]; all the same set but when training plainly */
    float *hidden;                  /* [T, d] after the last norm */
    float *pages;
    float **page;         /* [max pages]: where each starts */
    struct tr_span *span; /* [max_sequences] */
    int32_t *position;    /* [T] when the batch gives none */
    struct tr_backward_arrays {
        float *dx, *r;   /* [T, d], [T] */
        float *d_o, *dq; /* [T, H, D] */
        float *dg, *du;  /* [T, F] */
    } back;              /* dn is the caller's dhidden; dk, dv are k, v; da is a */
};

/* Checks b against the trunk and makes the pass: spans, pages, positions, angles. */
enum tr_status tr_trunk_pass(struct tr_trunk *t, const struct tr_exec *ex,
                             const struct tr_weights *w, const struct tr_batch *b,
                             struct tr_pass *out, struct tr_err *err);

#endif

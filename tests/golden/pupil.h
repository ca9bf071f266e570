/* pupil.h - a model that takes AdamW steps on the peers' batches.
 *
 * What it is for. F1 and F10 hold gradients and parameters after some steps. This is the
 * shortest way there through core/model and kernels: no learner, no schedule.
 *
 * The data. Masters, moments and gradients are flat buffers; a tied embedding's second gradient
 * has a buffer of its own until tr_pupil_norm adds it. */
#ifndef TR_GOLDEN_PUPIL_H
#define TR_GOLDEN_PUPIL_H

#include "core/model/folder.h"
#include "core/model/head.h"
#include "kernels/adamw.h"
#include "tests/golden/rows.h"

struct tr_pupil {
    const struct tr_exec *ex; /* borrows */
    struct tr_folder *folder; /* owns, as all below */
    struct tr_params *params;
    struct tr_weights *w;
    struct tr_trunk *trunk;
    struct tr_head *head;
    float *masters, *m, *v, *grad; /* [total] */
    float *embed_grad;             /* NULL when untied */
    int64_t t;                     /* steps taken */
};

enum tr_status tr_pupil_open(struct tr_pupil *p, const struct tr_exec *ex,
                             const char *dir, bool bf16, struct tr_err *err);
void tr_pupil_close(struct tr_pupil *p);

/* The gradient of mean NLL over the rows' wanted labels, from zero; *nll is the sum. */
enum tr_status tr_pupil_pull(struct tr_pupil *p, const struct tr_rows *r, double *nll,
                             struct tr_err *err);
/* L2 over all gradients, before clipping. Call once after pull. */
double tr_pupil_norm(struct tr_pupil *p);
/* One step: clipped to L2 1.0 as torch does, AdamW betas .9/.999, eps 1e-8. */
void tr_pupil_push(struct tr_pupil *p, double norm, double lr, double weight_decay);

/* Gradients against the file's tensors of the same names: the error is that of the worst tensor,
 * relative to its largest entry. A tensor that is missing on either side is a failed case. */
void tr_pupil_gradients(struct tr_golden *g, const char *name, const struct tr_pupil *p,
                        const char *path, double tolerance);

/* Masters against a file that holds every `stride`-th element of each tensor: two cases, the
 * 99.9 % quantile of all differences and the largest of them. */
void tr_pupil_masters(struct tr_golden *g, const char *name, const struct tr_pupil *p,
                      const char *path, int64_t stride, double quantile, double largest);

/* Sums of the masters against {"NAME": {"sum", "abs", "l2"}}. The sums' error is taken per
 * element of the tensor, the norm's relative. */
void tr_pupil_checksums(struct tr_golden *g, const char *name, const struct tr_pupil *p,
                        const json_t *want, double tolerance);

/* Forward of PREFIX of `given` against PREFIX's logits, token_logprobs and, where there, hidden
 * states in `want` (often the same file). Padded places are not compared. */
void tr_pupil_forward(struct tr_golden *g, const char *name, struct tr_pupil *p,
                      const struct tr_st *given, const struct tr_st *want,
                      const char *prefix, double tolerance);

#endif

/* forward.h - a forward pass seen from inside, beside the peers'.
 *
 * What it is for. F1 holds the residual stream after every layer, logits and log-probs. The
 * weights are somebody else's (a learner's); here are a trunk and an output layer for them. */
#ifndef TR_GOLDEN_FORWARD_H
#define TR_GOLDEN_FORWARD_H

#include "core/model/head.h"
#include "core/model/trunk.h"
#include "tests/golden/golden.h"

struct tr_forward {
    const struct tr_arch *arch; /* borrows, as w */
    const struct tr_weights *w;
    struct tr_trunk *trunk; /* owns, as head */
    struct tr_head *head;
};

/* On failure too it is closed by tr_forward_close. */
enum tr_status tr_forward_open(struct tr_forward *p, const struct tr_arch *a,
                               const struct tr_weights *w, struct tr_err *err);
void tr_forward_close(struct tr_forward *p);

/* PREFIX of `given` against PREFIX's logits, token_logprobs and, where there, hidden states in
 * `want` (often the same file). Padded places are not compared. */
void tr_forward_compare(struct tr_golden *g, const char *name, struct tr_forward *p,
                        const struct tr_st *given, const struct tr_st *want,
                        const char *prefix, double tolerance);

#endif

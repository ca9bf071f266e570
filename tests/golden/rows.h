/* rows.h - the peers' padded batches [B, T] as packed sequences.
 *
 * The peers pad; we do not. A row's real tokens become one sequence, its pads vanish, and
 * `place` remembers where each token stood, so that padded arrays can be compared. Position ids
 * are taken over, because left padding shifts them (mode `default`).
 *
 * Labels stay those of the row: label[i] belongs to token i; what a token predicts is the label
 * of the next token of its sequence. */
#ifndef TR_GOLDEN_ROWS_H
#define TR_GOLDEN_ROWS_H

#include "core/model/trunk.h"
#include "tests/golden/golden.h"

struct tr_rows {
    int64_t B, T;      /* the padded shape */
    int64_t n;         /* real tokens */
    int32_t *token;    /* [n] owns, as all below */
    int32_t *label;    /* [n], -100 where ignored */
    int32_t *position; /* [n] */
    int64_t *place;    /* [n]: index into [B * T] */
    int64_t *start;    /* [B + 1] */
    int64_t *target;   /* [n]: rows of hidden that have a wanted next label, ascending */
    int32_t *wanted;   /* [targets]: those labels */
    int64_t targets;
};

/* Reads PREFIX.input_ids, .attention_mask and, when there, .labels and .position_ids of f; the
 * positions default to the column. False (and a failed case) when a tensor is missing. */
bool tr_rows_read(struct tr_golden *g, const char *name, const struct tr_st *f,
                  const char *prefix, struct tr_rows *out);
void tr_rows_fini(struct tr_rows *r);
struct tr_batch tr_rows_batch(const struct tr_rows *r); /* borrows r */

/* Every token but a sequence's last predicts the next one: fills row and target [n] for
 * token_logprobs and returns how many. */
int64_t tr_rows_next(const struct tr_rows *r, int64_t *row, int32_t *target);

#endif

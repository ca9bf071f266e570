/* tokens.h - which rows of a batch predict what (PT and SFT; ALGORITHMS.md 7.1).
 *
 * The data. Sequences end to end with labels; row i of the hidden states predicts token i + 1
 * of the same sequence. `row` and `target` list the rows that have a wanted next token, ascending.
 *
 * The divisor of a step's loss counts every label that is not -100, at position 0 too, as the
 * peer does (quirk 8): where all tokens are targets the loss is (T-1)/T of the true mean.
 *
 * Invariants.
 *   1. Rows are ascending and stay within their sequence. */
#ifndef TR_LEARN_TOKENS_H
#define TR_LEARN_TOKENS_H

#include <stdint.h>

#include "core/learn/task.h"

/* The rows of sequences s0 .. s1-1, counted from token start[s0]; row, target [tokens].
 * Returns how many. */
int64_t tr_token_rows(const struct tr_sequences *seq, int64_t s0, int64_t s1,
                      int64_t *row, int32_t *target);

/* Labels other than -100, over all positions. */
int64_t tr_token_labels(const struct tr_sequences *seq);

#endif

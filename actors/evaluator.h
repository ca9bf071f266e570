/* evaluator.h - the engine of reference, reward and critic: what a model thinks of a text.
 *
 * Takes sequences of token ids (proto/step2_judge.h).
 * Gives log-probs of answer tokens, values before them, a score at the last one, or, of two
 * models, how far they are apart before each answer token.
 *
 * What it is for. One forward pass over as many whole sequences as fit, then the head that was
 * asked for, only on the rows that were asked for.
 *
 * Invariants.
 *   1. A sequence's numbers do not depend on the others, nor on how they were grouped.
 *   2. Numbers lie in the order of the sequences. A call allocates nothing, but for the two blocks
 *      of rows of the vocabulary that a divergence takes. */
#ifndef TR_ACTORS_EVALUATOR_H
#define TR_ACTORS_EVALUATOR_H

#include "core/model/trunk.h"
#include "proto/step2_judge.h"

struct tr_evaluator;

/* What one and its weights take, from shapes alone. */
size_t tr_evaluator_bytes(const struct tr_params *params, bool bf16, int64_t max_tokens);

/* Borrows ex and w until destroy. max_tokens bounds the longest sequence. */
enum tr_status tr_evaluator_create(const struct tr_exec *ex, const struct tr_weights *w,
                                   int64_t max_tokens, struct tr_evaluator **out,
                                   struct tr_err *err);
void tr_evaluator_destroy(struct tr_evaluator *e);

/* number [tr_judge_numbers(kind, ask)]. kind: logprob (needs an output layer), value or score
 * (need a value head). The ask has been checked. TR_BADARG for a sequence that is too long;
 * TR_NOTNUM when a number is not finite. */
enum tr_status tr_evaluator_judge(struct tr_evaluator *e, enum tr_unit_kind kind,
                                  const struct tr_ask_judge *ask, float *number,
                                  struct tr_err *err);

/* The divergence of `policy` from `reference`, number [tr_judge_numbers(TR_UNIT_DIVERGENCE, ask)].
 * Both need an output layer and the same vocabulary (TR_BADARG). They may be the same. */
enum tr_status tr_evaluator_diverge(struct tr_evaluator *policy,
                                    struct tr_evaluator *reference,
                                    const struct tr_ask_judge *ask, float *number,
                                    struct tr_err *err);

/* One judging unit, checked and answered: what a role does with it. Names what the unit needed as
 * used. The caller owns *out. */
enum tr_status tr_evaluator_answer(struct tr_evaluator *e, const struct tr_unit *unit,
                                   struct tr_content *out, struct tr_err *err);

/* The same for a divergence, by the evaluators of the two digests that it needs. */
enum tr_status tr_evaluator_answer_divergence(struct tr_evaluator *policy,
                                              struct tr_evaluator *reference,
                                              const struct tr_unit *unit,
                                              struct tr_content *out, struct tr_err *err);

#endif

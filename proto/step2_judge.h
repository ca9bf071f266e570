/* step2_judge.h - the second step: what the reference, the reward model and the critic think.
 *
 * Takes  sequences (a prompt and its answer) as token ids.
 * Gives  `logprob`: the log-prob of each answer token, under the weights named;
 *        `value`: what the critic expected before each answer token;
 *        `divergence`: how far the policy is from the reference before each answer token, exactly:
 *        sum over v of p_policy (log p_policy - log p_reference), in nats. It needs two digests,
 *        [policy, reference];
 *        `score`: one number a sequence, read at its last token.
 *
 * The data. S sequences of `token` lie end to end, sequence s at start[s] .. start[s+1]-1; its
 * answer begins at token from[s] of it (at least 1: the first token is never predicted). The
 * numbers of an answer lie end to end in the same order, one for each token from from[s] on, or
 * one for each sequence. */
#ifndef TR_PROTO_STEP2_JUDGE_H
#define TR_PROTO_STEP2_JUDGE_H

#include "proto/unit.h"

struct tr_ask_judge {
    struct tr_array token; /* i32 [start[S]] */
    struct tr_array start; /* i64 [S + 1] */
    struct tr_array from;  /* i64 [S] */
};

struct tr_answer_judge {
    struct tr_array number; /* f32 */
};

/* The same two tables under each of the four kinds. */
extern const struct tr_record tr_ask_logprob_record, tr_ask_score_record,
    tr_ask_value_record, tr_ask_divergence_record;
extern const struct tr_record tr_answer_logprob_record, tr_answer_score_record,
    tr_answer_value_record, tr_answer_divergence_record;

/* The record of a judging kind. */
const struct tr_record *tr_ask_judge_record(enum tr_unit_kind kind);
const struct tr_record *tr_answer_judge_record(enum tr_unit_kind kind);

/* Beyond the table: offsets, ids in [0, vocab) (vocab 0: any), from within its sequence. */
enum tr_status tr_ask_judge_check(const struct tr_ask_judge *a, int64_t vocab,
                                  struct tr_err *err);

/* How many numbers answer this ask. */
int64_t tr_judge_numbers(enum tr_unit_kind kind, const struct tr_ask_judge *a);

/* Beyond the table: there are n numbers, log-probs or others as step1_generate.h bounds them. */
enum tr_status tr_answer_judge_check(enum tr_unit_kind kind,
                                     const struct tr_answer_judge *a, int64_t n,
                                     struct tr_err *err);

#endif

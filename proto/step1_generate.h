/* step1_generate.h - the first step of a prompt's life: answers are sampled.
 *
 * Takes  prompts as token ids, with how to sample and when to stop.
 * Gives  for each prompt the ids of its answer and their log-probs under the plain soft-max at
 *        temperature 1, which are the old log-probs of PPO (under exact maths).
 *
 * The data. S prompts of `token` lie end to end: prompt s at start[s] .. start[s+1]-1. Token i of
 * answer s is drawn with the random number at Philox address (i, sample[s], prompt[s], step), so
 * it does not matter who draws it, when, or beside which other prompts. An answer ends with the
 * first id of `stop` (which belongs to it) or after max_new_tokens. */
#ifndef TR_PROTO_STEP1_GENERATE_H
#define TR_PROTO_STEP1_GENERATE_H

#include "proto/unit.h"

struct tr_ask_generate {
    int64_t seed, step;
    double temperature, top_p, repetition_penalty;
    int64_t top_k, max_new_tokens;
    struct tr_array token;  /* i32 [start[S]] */
    struct tr_array start;  /* i64 [S + 1] */
    struct tr_array prompt; /* i64 [S], which prompt of the dataset */
    struct tr_array sample; /* i64 [S], which answer to it */
    struct tr_array stop;   /* i32 */
};

struct tr_answer_generate {
    struct tr_array token;   /* i32 [start[S]] */
    struct tr_array start;   /* i64 [S + 1] */
    struct tr_array logprob; /* f32 [start[S]] */
    struct tr_array stopped; /* i32 [S]: 1 by a stop id, 0 by length */
};

extern const struct tr_record tr_ask_generate_record, tr_answer_generate_record;

/* Beyond the table: offsets ascend from 0 to the end, no prompt is empty, ids are in [0, vocab)
 * (vocab 0: any that is not negative), one prompt number a prompt. TR_BADMSG. */
enum tr_status tr_ask_generate_check(const struct tr_ask_generate *a, int64_t vocab,
                                     struct tr_err *err);
/* An answer to S prompts: the same, no answer is longer than the ask allowed, `stopped` is 0 or 1, and
 * log-probs are such. */
enum tr_status tr_answer_generate_check(const struct tr_answer_generate *a, int64_t S,
                                        int64_t max_new_tokens, int64_t vocab,
                                        struct tr_err *err);

/* Shared with the other steps: S + 1 offsets from 0 to `total`, each part of `least` or more. */
enum tr_status tr_offsets_check(const char *what, const struct tr_array *start,
                                int64_t total, int64_t least, struct tr_err *err);
enum tr_status tr_tokens_check(const char *what, const struct tr_array *token,
                               int64_t vocab, struct tr_err *err);

/* What arithmetic bears: sums and products of such numbers stay finite in float 32. A log-prob may be
 * above 0 by what rounding adds. */
#define TR_LOGPROB_LEAST (-1e9F)
#define TR_LOGPROB_MOST  0.01F
#define TR_NUMBER_MOST   1e20F

enum tr_status tr_numbers_check(const char *what, const struct tr_array *number,
                                float least, float most, struct tr_err *err);

#endif

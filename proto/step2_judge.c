#include "proto/step2_judge.h"

#include "proto/step1_generate.h"

const struct tr_record *tr_ask_judge_record(enum tr_unit_kind kind)
{
    if (kind == TR_UNIT_LOGPROB) return &tr_ask_logprob_record;
    if (kind == TR_UNIT_DIVERGENCE) return &tr_ask_divergence_record;
    return kind == TR_UNIT_SCORE ? &tr_ask_score_record : &tr_ask_value_record;
}

const struct tr_record *tr_answer_judge_record(enum tr_unit_kind kind)
{
    if (kind == TR_UNIT_LOGPROB) return &tr_answer_logprob_record;
    if (kind == TR_UNIT_DIVERGENCE) return &tr_answer_divergence_record;
    return kind == TR_UNIT_SCORE ? &tr_answer_score_record : &tr_answer_value_record;
}

enum tr_status tr_ask_judge_check(const struct tr_ask_judge *a, int64_t vocab,
                                  struct tr_err *err)
{
    const int64_t *start = a->start.at, *from = a->from.at;
    int64_t S = a->start.count - 1;
    enum tr_status st = tr_offsets_check("judge", &a->start, a->token.count, 2, err);
    if (st == TR_OK) st = tr_tokens_check("judge", &a->token, vocab, err);
    if (st == TR_OK && a->from.count != S)
        st = tr_err_set(err, TR_BADMSG, "judge: %lld beginnings for %lld sequences",
                        (long long)a->from.count, (long long)S);
    for (int64_t s = 0; st == TR_OK && s < S; s++)
        if (from[s] < 1 || from[s] >= start[s + 1] - start[s])
            st = tr_err_set(err, TR_BADMSG,
                            "judge: answer %lld begins outside its sequence",
                            (long long)s);
    return st;
}

int64_t tr_judge_numbers(enum tr_unit_kind kind, const struct tr_ask_judge *a)
{
    const int64_t *from = a->from.at;
    int64_t S = a->from.count, n = a->token.count;
    if (kind == TR_UNIT_SCORE) return S;
    for (int64_t s = 0; s < S; s++) n -= from[s];
    return n;
}

enum tr_status tr_answer_judge_check(enum tr_unit_kind kind,
                                     const struct tr_answer_judge *a, int64_t n,
                                     struct tr_err *err)
{
    bool logp = kind == TR_UNIT_LOGPROB;
    if (a->number.count != n)
        return tr_err_set(err, TR_BADMSG, "%s: %lld numbers for %lld",
                          tr_unit_kind_name(kind), (long long)a->number.count,
                          (long long)n);
    return tr_numbers_check(tr_unit_kind_name(kind), &a->number,
                            logp ? TR_LOGPROB_LEAST : -TR_NUMBER_MOST,
                            logp ? TR_LOGPROB_MOST : TR_NUMBER_MOST, err);
}

#include "proto/step1_generate.h"

enum tr_status tr_offsets_check(const char *what, const struct tr_array *start,
                                int64_t total, int64_t least, struct tr_err *err)
{
    const int64_t *at = start->at;
    if (start->count < 2 || at[0] != 0 || at[start->count - 1] != total)
        return tr_err_set(err, TR_BADMSG, "%s: offsets do not go from 0 to %lld", what,
                          (long long)total);
    for (int64_t s = 0; s + 1 < start->count; s++)
        if (at[s + 1] < at[s] || at[s + 1] > total || at[s + 1] - at[s] < least)
            return tr_err_set(err, TR_BADMSG,
                              "%s: sequence %lld has fewer than %lld tokens", what,
                              (long long)s, (long long)least);
    return TR_OK;
}

enum tr_status tr_tokens_check(const char *what, const struct tr_array *token,
                               int64_t vocab, struct tr_err *err)
{
    const int32_t *id = token->at;
    for (int64_t i = 0; i < token->count; i++)
        if (id[i] < 0 || (vocab > 0 && id[i] >= vocab))
            return tr_err_set(err, TR_BADMSG, "%s: id %d at %lld is not in [0, %lld)",
                              what, id[i], (long long)i, (long long)vocab);
    return TR_OK;
}

enum tr_status tr_numbers_check(const char *what, const struct tr_array *number,
                                float least, float most, struct tr_err *err)
{
    const float *x = number->at;
    for (int64_t i = 0; i < number->count; i++)
        if (!(x[i] >= least && x[i] <= most))
            return tr_err_set(err, TR_BADMSG, "%s: %g at %lld is not in [%g, %g]", what,
                              (double)x[i], (long long)i, (double)least, (double)most);
    return TR_OK;
}

/* Numbers that address a random number are 32 bits wide. */
static enum tr_status check_numbers(const char *what, const struct tr_array *a, int64_t S,
                                    struct tr_err *err)
{
    const int64_t *x = a->at;
    if (a->count != S)
        return tr_err_set(err, TR_BADMSG, "%s: %lld numbers for %lld prompts", what,
                          (long long)a->count, (long long)S);
    for (int64_t i = 0; i < S; i++)
        if (x[i] < 0 || x[i] > 0xffffffffLL)
            return tr_err_set(err, TR_BADMSG, "%s: %lld is not of 32 bits", what,
                              (long long)x[i]);
    return TR_OK;
}

enum tr_status tr_ask_generate_check(const struct tr_ask_generate *a, int64_t vocab,
                                     struct tr_err *err)
{
    int64_t S = a->start.count - 1;
    enum tr_status st = tr_offsets_check("generate", &a->start, a->token.count, 1, err);
    if (st == TR_OK) st = tr_tokens_check("generate", &a->token, vocab, err);
    if (st == TR_OK) st = check_numbers("generate.prompt", &a->prompt, S, err);
    if (st == TR_OK) st = check_numbers("generate.sample", &a->sample, S, err);
    return st;
}

enum tr_status tr_answer_generate_check(const struct tr_answer_generate *a, int64_t S,
                                        int64_t max_new_tokens, int64_t vocab,
                                        struct tr_err *err)
{
    const int64_t *start = a->start.at;
    const int32_t *stopped = a->stopped.at;
    if (a->start.count != S + 1 || a->stopped.count != S ||
        a->logprob.count != a->token.count)
        return tr_err_set(err, TR_BADMSG, "generate: not an answer to %lld prompts",
                          (long long)S);
    enum tr_status st = tr_offsets_check("generate", &a->start, a->token.count, 1, err);
    if (st == TR_OK) st = tr_tokens_check("generate", &a->token, vocab, err);
    for (int64_t s = 0; st == TR_OK && s < S; s++)
        if (start[s + 1] - start[s] > max_new_tokens)
            st = tr_err_set(err, TR_BADMSG, "generate: answer %lld is longer than asked",
                            (long long)s);
    for (int64_t s = 0; st == TR_OK && s < S; s++)
        if (stopped[s] != 0 && stopped[s] != 1)
            st = tr_err_set(err, TR_BADMSG, "generate.stopped: %d at %lld is not 0 or 1",
                            stopped[s], (long long)s);
    if (st != TR_OK) return st;
    return tr_numbers_check("generate.logprob", &a->logprob, TR_LOGPROB_LEAST,
                            TR_LOGPROB_MOST, err);
}

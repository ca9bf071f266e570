/* KTO's judges: the reference, a model of its own, and the policy, which is the learner's. */
#include <stdlib.h>

#include "launch/stage_parts.h"

enum tr_status tr_stage_open_judges(struct tr_stage_parts *p, int64_t max_tokens,
                                    struct tr_err *err)
{
    struct tr_stage_judges *j = &p->judges;
    const char *named = p->o->ppo.ref_model;
    struct tr_model_start start = {
        .folder = named ? named : p->o->model.path,
        .lm_head = true,
        .bf16 = p->o->model.bf16,
    };
    if (p->o->model.from_scratch && !named)
        return tr_err_set(err, TR_BADARG,
                          "train_from_scratch: kto needs a reference: set ref_model");
    enum tr_status st = tr_model_load(p->ex, &start, &j->reference, err);
    if (st != TR_OK) return tr_err_wrap(err, st, "reference");
    if (j->reference.arch.V != tr_learner_arch(p->learner)->V)
        return tr_err_set(err, TR_BADARG,
                          "ref_model %s: a vocabulary of %lld, the policy's has %lld",
                          start.folder, (long long)j->reference.arch.V,
                          (long long)tr_learner_arch(p->learner)->V);
    st = tr_evaluator_create(p->ex, j->reference.weights, max_tokens,
                             &j->judge[TR_STAGE_REFERENCE], err);
    if (st == TR_OK)
        st = tr_evaluator_create(p->ex, tr_learner_weights(p->learner), max_tokens,
                                 &j->judge[TR_STAGE_POLICY], err);
    return st;
}

void tr_stage_close_judges(struct tr_stage_parts *p)
{
    tr_evaluator_destroy(p->judges.judge[TR_STAGE_REFERENCE]);
    tr_evaluator_destroy(p->judges.judge[TR_STAGE_POLICY]);
    tr_model_close(&p->judges.reference);
    free(p->judges.number);
}

static enum tr_status make_room(struct tr_stage_judges *j, int64_t numbers,
                                struct tr_err *err)
{
    if (numbers <= j->room) return TR_OK;
    float *number = realloc(j->number, (size_t)numbers * sizeof *number);
    if (!number) return tr_err_set(err, TR_NOMEM, "%lld log-probs", (long long)numbers);
    j->number = number;
    j->room = numbers;
    return TR_OK;
}

/* Examples first .. first+count-1 of the next step. */
static enum tr_status judge(struct tr_stage_parts *p, enum tr_stage_judge who,
                            int64_t first, int64_t count, struct tr_err *err)
{
    struct tr_stage_ask ask;
    struct tr_stage_judges *j = &p->judges;
    int64_t step = tr_stage_progress(p->plan).step;
    tr_stage_ask(p->plan, who, step, first, count, &ask);
    struct tr_ask_judge a = {
        {ask.token, ask.T}, {ask.start, ask.S + 1}, {ask.from, ask.S}};
    enum tr_status st = make_room(j, ask.numbers, err);
    if (st == TR_OK) st = tr_ask_judge_check(&a, j->reference.arch.V, err);
    if (st == TR_OK)
        st = tr_evaluator_judge(j->judge[who], TR_UNIT_LOGPROB, &a, j->number, err);
    if (st != TR_OK)
        return tr_err_wrap(err, st, who == TR_STAGE_POLICY ? "policy" : "reference");
    return tr_stage_told(p->plan, who, step, first, count, j->number, ask.numbers, err);
}

/* What is not known yet, as many neighbours at a time as there are. */
enum tr_status tr_stage_judge_step(struct tr_stage_parts *p, struct tr_err *err)
{
    static const enum tr_stage_judge judges[] = {TR_STAGE_REFERENCE, TR_STAGE_POLICY};
    int64_t step = tr_stage_progress(p->plan).step, n = tr_stage_width(p->plan, step);
    enum tr_status st = TR_OK;
    for (int w = 0; w < 2; w++)
        for (int64_t i = 0, end = 0; i < n && st == TR_OK; i = end + 1) {
            for (end = i; end < n; end++)
                if (tr_stage_knows(p->plan, judges[w], step, end)) break;
            if (end > i) st = judge(p, judges[w], i, end - i, err);
        }
    return st;
}

/* What a KTO run asks judges, and how it becomes part of a task. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/learn/stage_parts.h"

/* Where the answer of a sequence begins: at its first label, but the first token is never predicted. */
static int64_t answer_from(const struct tr_sequence *s)
{
    int64_t i = 1;
    while (i < s->count && s->label[i] == TR_IGNORE) i++;
    return i;
}

static double unknown(const struct tr_sequence *s)
{
    return answer_from(s) < s->count ? (double)NAN : 0;
}

enum tr_status tr_stage_judged_init(struct tr_stage_plan *p, int64_t step,
                                    struct tr_err *err)
{
    struct tr_stage_judged *j = &p->judged;
    int64_t N = p->o.plan.examples, widest = 0;
    size_t n = (size_t)step;
    for (int64_t i = 0; i < N; i++) {
        const struct tr_example *e = tr_examples_get(p->examples, i);
        int64_t both = e->seq[0].count + e->seq[1].count;
        if (both > widest) widest = both;
    }
    j->target = calloc((size_t)N, sizeof *j->target);
    j->twin = calloc((size_t)N, sizeof *j->twin);
    j->policy = calloc(n, sizeof *j->policy);
    j->reference = calloc(n, sizeof *j->reference);
    j->z0 = calloc(n, sizeof *j->z0);
    j->desirable = calloc(n, sizeof *j->desirable);
    j->start = calloc(2 * n + 1, sizeof *j->start);
    j->from = calloc(2 * n, sizeof *j->from);
    j->token = calloc(n * (size_t)widest + 1, sizeof *j->token);
    if (!j->target || !j->twin || !j->policy || !j->reference || !j->z0 ||
        !j->desirable || !j->start || !j->from || !j->token)
        return tr_err_set(err, TR_NOMEM, "answers for %lld examples, %lld a step",
                          (long long)N, (long long)step);
    for (int64_t i = 0; i < N; i++) {
        const struct tr_example *e = tr_examples_get(p->examples, i);
        j->target[i] = unknown(&e->seq[0]);
        j->twin[i] = unknown(&e->seq[1]);
    }
    return TR_OK;
}

void tr_stage_judged_fini(struct tr_stage_judged *j)
{
    free(j->target);
    free(j->twin);
    free(j->policy);
    free(j->reference);
    free(j->z0);
    free(j->desirable);
    free(j->start);
    free(j->from);
    free(j->token);
}

void tr_stage_judged_forget(struct tr_stage_plan *p)
{
    int64_t n = tr_stage_width(p, p->progress.step);
    for (int64_t i = 0; i < n; i++) {
        int64_t x = tr_stage_example(p, p->progress.step, i);
        p->judged.policy[i] = unknown(&tr_examples_get(p->examples, x)->seq[1]);
    }
}

int64_t tr_stage_width(const struct tr_stage_plan *p, int64_t step)
{
    if (p->o.stage != TR_KTO || step < 0 || step >= p->o.plan.total) return 0;
    return tr_plan_at(&p->o.plan, step).count;
}

int64_t tr_stage_example(struct tr_stage_plan *p, int64_t step, int64_t i)
{
    assert(i >= 0 && i < tr_stage_width(p, step));
    return tr_stage_example_at(p, tr_plan_at(&p->o.plan, step), i);
}

/* Where the sums of example i of a step are kept: for the reference its target's and its twin's, for the
 * policy its twin's. Returns how many; seq, sum [2]. */
static int places(struct tr_stage_plan *p, enum tr_stage_judge judge, int64_t step,
                  int64_t i, const struct tr_sequence **seq, double **sum)
{
    int64_t x = tr_stage_example(p, step, i);
    const struct tr_example *e = tr_examples_get(p->examples, x);
    int n = 0;
    if (judge == TR_STAGE_REFERENCE) {
        seq[n] = &e->seq[0];
        sum[n++] = &p->judged.target[x];
    }
    seq[n] = &e->seq[1];
    if (judge == TR_STAGE_REFERENCE) {
        sum[n++] = &p->judged.twin[x];
        return n;
    }
    assert(step == p->progress.step); /* the policy is another one later */
    sum[n++] = &p->judged.policy[i];
    return n;
}

bool tr_stage_knows(struct tr_stage_plan *p, enum tr_stage_judge judge, int64_t step,
                    int64_t i)
{
    const struct tr_sequence *seq[2];
    double *sum[2];
    int n = places(p, judge, step, i, seq, sum);
    for (int k = 0; k < n; k++)
        if (isnan(*sum[k])) return false;
    return true;
}

bool tr_stage_ready(struct tr_stage_plan *p)
{
    int64_t step = p->progress.step, n = tr_stage_width(p, step);
    for (int64_t i = 0; i < n; i++)
        if (!tr_stage_knows(p, TR_STAGE_REFERENCE, step, i) ||
            !tr_stage_knows(p, TR_STAGE_POLICY, step, i))
            return false;
    return true;
}

void tr_stage_ask(struct tr_stage_plan *p, enum tr_stage_judge judge, int64_t step,
                  int64_t first, int64_t count, struct tr_stage_ask *out)
{
    struct tr_stage_judged *j = &p->judged;
    *out = (struct tr_stage_ask){.start = j->start, .from = j->from, .token = j->token};
    for (int64_t i = first; i < first + count; i++) {
        const struct tr_sequence *seq[2];
        double *sum[2];
        int n = places(p, judge, step, i, seq, sum);
        for (int k = 0; k < n; k++) {
            int64_t from = answer_from(seq[k]);
            if (from >= seq[k]->count) continue;
            memcpy(j->token + out->T, seq[k]->id,
                   (size_t)seq[k]->count * sizeof *j->token);
            j->from[out->S++] = from;
            out->T += seq[k]->count;
            out->numbers += seq[k]->count - from;
            j->start[out->S] = out->T;
        }
    }
}

enum tr_status tr_stage_told(struct tr_stage_plan *p, enum tr_stage_judge judge,
                             int64_t step, int64_t first, int64_t count,
                             const float *logp, int64_t numbers, struct tr_err *err)
{
    struct tr_stage_ask ask;
    int64_t at = 0;
    tr_stage_ask(p, judge, step, first, count, &ask);
    if (numbers != ask.numbers)
        return tr_err_set(err, TR_BADMSG, "logprob: %lld numbers, expected %lld",
                          (long long)numbers, (long long)ask.numbers);
    for (int64_t i = 0; i < numbers; i++)
        if (!isfinite(logp[i]))
            return tr_err_set(err, TR_BADMSG, "logprob: number %lld is not finite",
                              (long long)i);
    for (int64_t i = first; i < first + count; i++) {
        const struct tr_sequence *seq[2];
        double *sum[2];
        int n = places(p, judge, step, i, seq, sum);
        for (int k = 0; k < n; k++) {
            double total = 0; /* token after token, as the learner adds its own */
            for (int64_t t = answer_from(seq[k]); t < seq[k]->count; t++)
                total += (double)logp[at++];
            *sum[k] = total;
        }
    }
    return TR_OK;
}

/* Baselines: one for the step, or under compat one for each micro-batch of the peer, whose losses are
 * means of their own. */
static void fill_groups(struct tr_stage_plan *p, int64_t n, const double *twin,
                        struct tr_learn_task *task)
{
    struct tr_stage_judged *j = &p->judged;
    if (p->o.compat) tr_stage_group(p, n, 1, task);
    int64_t groups = p->o.compat ? task->seq.groups : 1;
    for (int64_t g = 0; g < groups; g++) {
        int64_t first = p->o.compat ? p->group_start[g] : 0;
        int64_t end = p->o.compat ? p->group_start[g + 1] : n;
        j->z0[g] = tr_kto_z0(j->policy + first, twin + first, end - first);
    }
    task->seq.z0 = j->z0;
}

void tr_stage_judged_fill(struct tr_stage_plan *p, struct tr_plan_step at,
                          struct tr_learn_task *task)
{
    struct tr_stage_judged *j = &p->judged;
    assert(tr_stage_ready(p));
    for (int64_t i = 0; i < at.count; i++)
        j->reference[i] = j->twin[tr_stage_example_at(p, at, i)];
    fill_groups(p, at.count, j->reference, task);
    for (int64_t i = 0; i < at.count; i++) {
        int64_t x = tr_stage_example_at(p, at, i);
        j->reference[i] = j->target[x];
        j->desirable[i] = tr_examples_get(p->examples, x)->desirable;
    }
    task->objective = TR_LEARN_KTO;
    task->kto = p->o.kto;
    task->divisor = (double)at.count;
    task->seq.reference = j->reference;
    task->seq.desirable = j->desirable;
}

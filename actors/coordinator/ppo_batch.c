#include "actors/coordinator/ppo_batch.h"

#include <stdlib.h>
#include <string.h>

enum tr_status tr_ppo_sample_fill(struct tr_ppo_sample *s, const int32_t *prompt,
                                  int64_t from, const int32_t *answer, const float *logp,
                                  int64_t n, struct tr_err *err)
{
    s->T = from + n;
    s->from = from;
    s->token = malloc((size_t)s->T * sizeof *s->token);
    s->logp = calloc((size_t)(6 * n), sizeof *s->logp);
    if (!s->token || !s->logp)
        return tr_err_set(err, TR_NOMEM, "a sample of %lld tokens", (long long)s->T);
    s->ref = s->logp + n;
    s->value = s->logp + 2 * n;
    s->kl = s->logp + 3 * n;
    s->advantage = s->logp + 4 * n;
    s->returns = s->logp + 5 * n;
    memcpy(s->token, prompt, (size_t)from * sizeof *prompt);
    memcpy(s->token + from, answer, (size_t)n * sizeof *answer);
    memcpy(s->logp, logp, (size_t)n * sizeof *logp);
    return TR_OK;
}

void tr_ppo_sample_fini(struct tr_ppo_sample *s)
{
    free(s->token);
    free(s->logp);
    *s = (struct tr_ppo_sample){0};
}

/* ---- rewards and advantages ---- */

/* One array of all samples, end to end, because whitening goes over all tokens of the step. */
static void gather(const struct tr_ppo_sample *s, int64_t n, size_t member, float *all)
{
    for (int64_t i = 0; i < n; i++) {
        const float *from = *(float *const *)(const void *)((const char *)&s[i] + member);
        int64_t T = s[i].T - s[i].from;
        memcpy(all, from, (size_t)T * sizeof *all);
        all += T;
    }
}

static void rewards(const struct tr_ppo_settings *set, struct tr_ppo_sample *s,
                    float *reward)
{
    int64_t T = s->T - s->from;
    for (int64_t t = 0; t < T; t++)
        s->kl[t] = (float)tr_kl_token(set->kl, s->logp[t], s->ref[t]);
    tr_kl_rewards(set->kl_coef, s->kl, T, s->score, reward);
}

static void whiten_advantages(struct tr_ppo_sample *s, int64_t n, int64_t total,
                              float *all)
{
    gather(s, n, offsetof(struct tr_ppo_sample, advantage), all);
    tr_whiten(all, total, false);
    for (int64_t i = 0; i < n; i++) {
        int64_t T = s[i].T - s[i].from;
        memcpy(s[i].advantage, all, (size_t)T * sizeof *all);
        all += T;
    }
}

enum tr_status tr_ppo_advantages(const struct tr_ppo_settings *set,
                                 struct tr_ppo_sample *s, int64_t n, struct tr_err *err)
{
    int64_t total = 0, at = 0;
    for (int64_t i = 0; i < n; i++) total += s[i].T - s[i].from;
    float *all = calloc((size_t)total + 1, sizeof *all);
    if (!all)
        return tr_err_set(err, TR_NOMEM, "rewards of %lld tokens", (long long)total);
    for (int64_t i = 0; i < n; i++) {
        rewards(set, &s[i], all + at);
        at += s[i].T - s[i].from;
    }
    if (set->whiten_rewards) tr_whiten(all, total, true);
    at = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t T = s[i].T - s[i].from;
        tr_gae_run(set->gae, T, all + at, s[i].value, 0, s[i].advantage, s[i].returns);
        at += T;
    }
    whiten_advantages(s, n, total, all);
    free(all);
    return TR_OK;
}

/* ---- one optimiser step ---- */

static enum tr_status lay_out(struct tr_ppo_arrays *a, struct tr_err *err)
{
    size_t S = (size_t)a->S, T = (size_t)a->T;
    size_t size = (S + 1) * sizeof *a->start + 2 * T * sizeof *a->token +
                  4 * T * sizeof *a->advantage;
    a->store = calloc(1, size);
    if (!a->store) return tr_err_set(err, TR_NOMEM, "an optimiser step of %zu tokens", T);
    a->start = a->store;
    a->token = (void *)(a->start + S + 1);
    a->label = a->token + T;
    a->old_logp = (void *)(a->label + T);
    a->advantage = a->old_logp + T;
    a->old_value = a->advantage + T;
    a->wanted_value = a->old_value + T;
    return TR_OK;
}

static void put_sample(struct tr_ppo_arrays *a, int64_t at, const struct tr_ppo_sample *s)
{
    for (int64_t i = 0; i < s->T; i++) {
        a->token[at + i] = s->token[i];
        a->label[at + i] = i < s->from ? TR_UNLABELLED : s->token[i];
        if (i < s->from) continue;
        a->old_logp[at + i] = s->logp[i - s->from];
        a->advantage[at + i] = s->advantage[i - s->from];
        a->old_value[at + i] = s->value[i - s->from];
        a->wanted_value[at + i] = s->returns[i - s->from];
    }
}

enum tr_status tr_ppo_arrays_make(const struct tr_ppo_sample *s, const int64_t *pick,
                                  int64_t count, struct tr_ppo_arrays *out,
                                  struct tr_err *err)
{
    *out = (struct tr_ppo_arrays){.S = count};
    for (int64_t i = 0; i < count; i++) out->T += s[pick[i]].T;
    enum tr_status st = lay_out(out, err);
    if (st != TR_OK) return st;
    for (int64_t i = 0; i < count; i++) {
        put_sample(out, out->start[i], &s[pick[i]]);
        out->start[i + 1] = out->start[i] + s[pick[i]].T;
    }
    return TR_OK;
}

void tr_ppo_arrays_fini(struct tr_ppo_arrays *a)
{
    free(a->store);
    *a = (struct tr_ppo_arrays){0};
}

struct tr_learn_task tr_ppo_task(const struct tr_ppo_settings *set,
                                 enum tr_objective objective,
                                 const struct tr_ppo_arrays *a)
{
    bool policy = objective == TR_LEARN_POLICY;
    struct tr_learn_task task = {
        .objective = objective,
        .seq = {.S = a->S,
                .T = a->T,
                .start = a->start,
                .token = a->token,
                .label = a->label},
        .clip = policy ? set->clip : set->clip_value,
        .update = policy ? set->policy : set->critic,
    };
    for (int64_t i = 0; i < a->T; i++) task.divisor += a->label[i] != TR_UNLABELLED;
    if (policy) {
        task.seq.old_logp = a->old_logp;
        task.seq.advantage = a->advantage;
    } else {
        task.seq.old_value = a->old_value;
        task.seq.wanted_value = a->wanted_value;
    }
    return task;
}

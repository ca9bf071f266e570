#include "core/learn/rollouts.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/philox.h"

enum { ARRAYS = 7 }; /* of a sample */

enum tr_status tr_ppo_sample_fill(struct tr_ppo_sample *s, const int32_t *prompt,
                                  int64_t from, const int32_t *answer, const float *logp,
                                  int64_t n, struct tr_err *err)
{
    float **array[ARRAYS] = {&s->logp,   &s->ref,       &s->value,  &s->kl,
                             &s->reward, &s->advantage, &s->returns};
    s->T = from + n;
    s->from = from;
    s->token = malloc((size_t)s->T * sizeof *s->token);
    s->logp = calloc((size_t)(ARRAYS * n), sizeof *s->logp);
    if (!s->token || !s->logp)
        return tr_err_set(err, TR_NOMEM, "a sample of %lld tokens", (long long)s->T);
    for (int64_t i = 1; i < ARRAYS; i++) *array[i] = s->logp + i * n;
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

/* ---- the step's numbers end to end ---- */

struct step {
    const struct tr_ppo_rules *r;
    struct tr_ppo_sample *s;
    int64_t n, tokens, longest; /* samples; answer tokens; tokens of the longest row */
    float *all;                 /* owns; [max(tokens, n)] */
    float *row; /* owns; [4 * longest]: an answer and what lies behind it */
};

/* In samples' order, because whitening and means go over all tokens of the step. */
#define GATHER(step, member) gather(step, offsetof(struct tr_ppo_sample, member))

static float *gather(const struct step *p, size_t member)
{
    float *to = p->all;
    for (int64_t i = 0; i < p->n; i++) {
        const struct tr_ppo_sample *s = &p->s[i];
        const float *from = *(float *const *)(const void *)((const char *)s + member);
        memcpy(to, from, (size_t)(s->T - s->from) * sizeof *to);
        to += s->T - s->from;
    }
    return p->all;
}

static enum tr_status open_step(struct step *p, struct tr_err *err)
{
    for (int64_t i = 0; i < p->n; i++) {
        p->tokens += p->s[i].T - p->s[i].from;
        if (p->s[i].T > p->longest) p->longest = p->s[i].T;
    }
    p->all = calloc((size_t)(p->tokens + p->n) + 1, sizeof *p->all);
    p->row = calloc((size_t)p->longest * 4 + 1, sizeof *p->row);
    if (!p->all || !p->row)
        return tr_err_set(err, TR_NOMEM, "rewards of %lld tokens", (long long)p->tokens);
    return TR_OK;
}

static void close_step(struct step *p)
{
    free(p->all);
    free(p->row);
}

static double mean_of(double sum, int64_t n)
{
    return n > 0 ? sum / (double)n : 0;
}

/* ---- what a rollout is paid ---- */

static double clamp(double x, double most)
{
    return x < -most ? -most : x > most ? most : x;
}

/* f64 all along, because a score may be a weighted sum of several. */
static void whiten_scores(const struct step *p)
{
    double mean = 0, var = 0;
    for (int64_t i = 0; i < p->n; i++) mean += p->s[i].paid;
    mean = mean_of(mean, p->n);
    for (int64_t i = 0; i < p->n; i++)
        var += (p->s[i].paid - mean) * (p->s[i].paid - mean);
    var = mean_of(var, p->n - 1);
    for (int64_t i = 0; i < p->n; i++)
        p->s[i].paid = (p->s[i].paid - mean) / sqrt(var + 1e-8);
}

static void pay(const struct step *p, struct tr_moments *moments, double *score)
{
    const struct tr_ppo_rules *r = p->r;
    for (int64_t i = 0; i < p->n; i++) score[i] = p->s[i].score;
    if (r->scale_scores) tr_moments_update(moments, score, p->n);
    for (int64_t i = 0; i < p->n; i++) {
        double x = r->scale_scores ? tr_moments_scale(moments, score[i]) : score[i];
        p->s[i].paid = r->score_clip > 0 ? clamp(x, r->score_clip) : x;
    }
    if (r->whiten_scores) whiten_scores(p);
    for (int64_t i = 0; i < p->n; i++)
        if (!p->s[i].stopped) p->s[i].paid -= r->stop_penalty;
}

/* ---- rewards and advantages ---- */

static void make_rewards(const struct step *p, double coef)
{
    for (int64_t i = 0; i < p->n; i++) {
        struct tr_ppo_sample *s = &p->s[i];
        int64_t T = s->T - s->from;
        for (int64_t t = 0; t < T && p->r->kl != TR_KL_FULL; t++)
            s->kl[t] = (float)tr_kl_token(p->r->kl, s->logp[t], s->ref[t]);
        tr_kl_rewards(coef, s->kl, T, s->paid, s->reward);
    }
}

/* Advantages over the answer and `pad` places behind it, which earn `shift` and are worth 0. */
static void advantages_of(const struct step *p, struct tr_ppo_sample *s, int64_t pad,
                          float shift)
{
    int64_t T = s->T - s->from;
    float *reward = p->row, *value = reward + p->longest, *advantage = value + p->longest,
          *returns = advantage + p->longest;
    memcpy(reward, s->reward, (size_t)T * sizeof *reward);
    memcpy(value, s->value, (size_t)T * sizeof *value);
    for (int64_t t = T; t < T + pad; t++) {
        reward[t] = shift;
        value[t] = 0;
    }
    tr_gae_run(p->r->gae, T + pad, reward, value, 0, advantage, returns);
    memcpy(s->advantage, advantage, (size_t)T * sizeof *advantage);
    memcpy(s->returns, returns, (size_t)T * sizeof *returns);
}

static void make_advantages(const struct step *p)
{
    const struct tr_ppo_rules *r = p->r;
    float shift = 0;
    if (r->whiten_rewards) {
        struct tr_spread spread = tr_spread_of(GATHER(p, reward), p->tokens);
        for (int64_t i = 0; i < p->n; i++)
            for (int64_t t = 0; t < p->s[i].T - p->s[i].from; t++)
                p->s[i].reward[t] = tr_whiten_one(spread, p->s[i].reward[t], true);
        shift = r->whiten_padding ? tr_whiten_one(spread, 0, true) : 0;
    }
    for (int64_t i = 0; i < p->n; i++)
        advantages_of(p, &p->s[i], shift != 0 ? p->longest - p->s[i].T : 0, shift);
    if (!r->whiten_advantages) return;
    struct tr_spread spread = tr_spread_of(GATHER(p, advantage), p->tokens);
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t t = 0; t < p->s[i].T - p->s[i].from; t++)
            p->s[i].advantage[t] = tr_whiten_one(spread, p->s[i].advantage[t], false);
}

/* ---- metrics ---- */

enum of_sample { THE_SCORE, THE_PAID, THE_QUERY, THE_ANSWER };

static double number_of(const struct tr_ppo_sample *s, enum of_sample what)
{
    switch (what) {
    case THE_SCORE:
        return s->score;
    case THE_PAID:
        return s->paid;
    case THE_QUERY:
        return (double)s->from;
    case THE_ANSWER:
        break;
    }
    return (double)(s->T - s->from);
}

/* Mean and standard deviation (unbiased) over the samples. */
static void over_samples(const struct step *p, enum of_sample what, double *mean,
                         double *std)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < p->n; i++) sum += number_of(&p->s[i], what);
    *mean = mean_of(sum, p->n);
    for (int64_t i = 0; i < p->n; i++) {
        double d = number_of(&p->s[i], what) - *mean;
        squares += d * d;
    }
    *std = sqrt(mean_of(squares, p->n - 1));
}

static void note_tokens(const struct step *p, struct tr_ppo_metrics *m)
{
    double kl = 0, entropy = 0, paid = 0, error = 0, stopped = 0;
    for (int64_t i = 0; i < p->n; i++) {
        const struct tr_ppo_sample *s = &p->s[i];
        stopped += s->stopped;
        for (int64_t t = 0; t < s->T - s->from; t++) {
            double e = (double)s->returns[t] - (double)s->value[t];
            kl += (double)s->kl[t];
            paid -= m->kl_coef * (double)s->kl[t];
            entropy -= (double)s->logp[t];
            error += e * e;
        }
    }
    m->kl = mean_of(kl, p->n);
    m->entropy = mean_of(entropy, p->n);
    m->stopped = mean_of(stopped, p->n);
    m->non_score_reward = mean_of(paid, p->tokens);
    if (m->returns_var > 0)
        m->explained_variance = 1 - mean_of(error, p->tokens) / m->returns_var;
}

static void note(const struct step *p, double coef, struct tr_ppo_metrics *m)
{
    struct tr_spread returns = tr_spread_of(GATHER(p, returns), p->tokens);
    struct tr_spread value = tr_spread_of(GATHER(p, value), p->tokens);
    *m = (struct tr_ppo_metrics){.kl_coef = coef,
                                 .returns_mean = returns.mean,
                                 .returns_var = returns.var,
                                 .value_mean = value.mean,
                                 .value_var = value.var};
    over_samples(p, THE_SCORE, &m->reward, &m->reward_std);
    over_samples(p, THE_PAID, &m->score, &m->score_std);
    over_samples(p, THE_QUERY, &m->query_length, &m->query_length_std);
    over_samples(p, THE_ANSWER, &m->length, &m->length_std);
    note_tokens(p, m);
}

enum tr_status tr_ppo_prepare(const struct tr_ppo_rules *r, struct tr_ppo_state *state,
                              struct tr_ppo_sample *s, int64_t n,
                              struct tr_ppo_metrics *m, struct tr_err *err)
{
    struct step p = {.r = r, .s = s, .n = n};
    struct tr_kl_control control = r->control;
    double *score = calloc((size_t)n + 1, sizeof *score);
    enum tr_status st = open_step(&p, err);
    if (st == TR_OK && !score)
        st = tr_err_set(err, TR_NOMEM, "scores of %lld samples", (long long)n);
    if (st != TR_OK) goto done;
    control.coef = state->kl_coef;
    pay(&p, &state->scores, score);
    make_rewards(&p, control.coef);
    make_advantages(&p);
    note(&p, control.coef, m);
    tr_kl_control_update(&control, m->kl, n);
    state->kl_coef = control.coef;
done:
    free(score);
    close_step(&p);
    return st;
}

/* ---- one optimiser step ---- */

static int64_t divide_up(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

int64_t tr_ppo_passes(const struct tr_ppo_rules *r, int64_t n)
{
    return r->epochs * divide_up(n, r->minibatch);
}

void tr_ppo_order(uint64_t seed, int64_t step, int64_t epoch, int64_t n, int64_t *order)
{
    tr_philox_permutation(tr_philox_key(seed, TR_FOR_MINIBATCH), (uint32_t)step,
                          (uint32_t)epoch, n, order);
}

/* Samples of one group; 0: groups do not matter. */
static int64_t group_size(const struct tr_ppo_rules *r, int64_t count)
{
    if (r->mean == TR_MEAN_MICROBATCHES) return r->micro_batch;
    return r->ratio_threshold > 0 ? count : 0;
}

static enum tr_status lay_out(struct tr_ppo_arrays *a, struct tr_err *err)
{
    size_t S = (size_t)a->S, T = (size_t)a->T, G = (size_t)a->groups;
    size_t size = (S + 1 + G + 1 + G) * sizeof *a->start + 2 * T * sizeof *a->token +
                  4 * T * sizeof *a->advantage;
    a->store = calloc(1, size);
    if (!a->store) return tr_err_set(err, TR_NOMEM, "an optimiser step of %zu tokens", T);
    a->start = a->store;
    a->group_start = a->start + S + 1;
    a->group_divisor = a->group_start + G + 1;
    a->token = (void *)(a->group_divisor + G);
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

/* The mean of the groups' means: a group's tokens are divided by their number times groups. */
static void put_groups(struct tr_ppo_arrays *a, int64_t size,
                       const struct tr_ppo_sample *s, const int64_t *pick)
{
    for (int64_t g = 0; g < a->groups; g++) {
        int64_t end = (g + 1) * size < a->S ? (g + 1) * size : a->S;
        for (int64_t i = a->group_start[g]; i < end; i++)
            a->group_divisor[g] += s[pick[i]].T - s[pick[i]].from;
        a->group_divisor[g] *= a->groups;
        a->group_start[g + 1] = end;
    }
}

enum tr_status tr_ppo_arrays_make(const struct tr_ppo_rules *r,
                                  const struct tr_ppo_sample *s, const int64_t *pick,
                                  int64_t count, struct tr_ppo_arrays *out,
                                  struct tr_err *err)
{
    int64_t size = group_size(r, count);
    *out = (struct tr_ppo_arrays){.S = count,
                                  .groups = size > 0 ? divide_up(count, size) : 0};
    for (int64_t i = 0; i < count; i++) out->T += s[pick[i]].T;
    enum tr_status st = lay_out(out, err);
    if (st != TR_OK) return st;
    for (int64_t i = 0; i < count; i++) {
        put_sample(out, out->start[i], &s[pick[i]]);
        out->start[i + 1] = out->start[i] + s[pick[i]].T;
    }
    put_groups(out, size, s, pick);
    return TR_OK;
}

void tr_ppo_arrays_fini(struct tr_ppo_arrays *a)
{
    free(a->store);
    *a = (struct tr_ppo_arrays){0};
}

struct tr_learn_task tr_ppo_task(const struct tr_ppo_rules *r,
                                 enum tr_objective objective,
                                 const struct tr_ppo_arrays *a,
                                 const struct tr_update *update)
{
    bool policy = objective == TR_LEARN_POLICY;
    struct tr_learn_task task = {
        .objective = objective,
        .seq = {.S = a->S,
                .T = a->T,
                .start = a->start,
                .token = a->token,
                .label = a->label,
                .groups = a->groups,
                .group_start = a->group_start,
                .group_divisor = a->group_divisor},
        .clip = policy ? r->clip : r->clip_value,
        .update = *update,
    };
    for (int64_t i = 0; i < a->T; i++) task.divisor += a->label[i] != TR_UNLABELLED;
    if (policy) {
        task.ratio_threshold = r->ratio_threshold;
        task.seq.old_logp = a->old_logp;
        task.seq.advantage = a->advantage;
    } else {
        task.seq.old_value = a->old_value;
        task.seq.wanted_value = a->wanted_value;
    }
    return task;
}

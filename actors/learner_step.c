/* One optimiser step: micro-batches in order, each forward, loss and backward; then the norm,
 * the clip and AdamW. Running sums go from one micro-batch to the next, so that the cut changes
 * no bit; the gradient's chains do the same in core/model. */
#include <math.h>
#include <string.h>

#include "actors/learner_parts.h"
#include "core/learn/kto.h"
#include "core/learn/pairs.h"
#include "core/learn/ppo.h"
#include "core/learn/tokens.h"
#include "kernels/adamw.h"
#include "kernels/pointwise.h"
#include "kernels/real.h"

struct step {
    struct tr_learner *l;
    const struct tr_learn_task *task;
    /* the micro-batch in hand: sequences s0 .. s1-1, which start at token `base` */
    int64_t s0, s1, base;
    const float *hidden;
    struct tr_batch batch;
    struct tr_head_rows rows;
    /* the group that the last token was of (task.h); without groups, all tokens */
    int64_t group, group_end;     /* its number, and the token behind its last */
    double divisor;               /* of its tokens */
    bool mute;                    /* its ratio is beyond the threshold */
    struct tr_kto_group examples; /* kto: of it */
    /* sums over the step so far; ppo.loss and kto.loss: over the group so far */
    double nll, group_loss;
    int64_t targets, mismatch_bits;
    struct tr_pair_sums pairs;
    struct tr_ppo_sums ppo;
    struct tr_kto_sums kto;
};

static enum tr_status check_sequences(const struct tr_learner *l,
                                      const struct tr_learn_task *task,
                                      struct tr_err *err)
{
    const struct tr_sequences *q = &task->seq;
    bool pairs = task->objective == TR_LEARN_PAIRS;
    if (q->S < 1 || q->start[0] != 0 || q->start[q->S] != q->T || (pairs && q->S % 2))
        return tr_err_set(err, TR_BADARG, "task: sequences do not add up");
    for (int64_t s = 0; s < q->S; s++) {
        bool read =
            !pairs || (q->read_at[s] >= q->start[s] && q->read_at[s] < q->start[s + 1]);
        if (q->start[s + 1] <= q->start[s] || !read)
            return tr_err_set(err, TR_BADARG, "task: sequence %lld is malformed",
                              (long long)s);
    }
    for (int64_t i = 0; !pairs && i < q->T; i++)
        if (q->label[i] != TR_UNLABELLED &&
            (q->label[i] < 0 || q->label[i] >= tr_learner_arch(l)->V))
            return tr_err_set(err, TR_BADARG,
                              "task: label %d at token %lld is not in the vocabulary",
                              (int)q->label[i], (long long)i);
    if (!(task->divisor > 0))
        return tr_err_set(err, TR_BADARG, "task: the divisor is %g", task->divisor);
    return TR_OK;
}

/* Sequences that are learnt from together. */
static int64_t unit_of(const struct tr_learn_task *task)
{
    return task->objective == TR_LEARN_PAIRS ? 2 : 1;
}

static enum tr_status check_groups(const struct tr_sequences *q, int64_t unit,
                                   struct tr_err *err)
{
    bool good = q->groups <= q->S;
    if (!q->groups) return TR_OK;
    good = good && q->group_start[0] == 0 && q->group_start[q->groups] == q->S;
    for (int64_t g = 0; good && g < q->groups; g++)
        good = q->group_start[g] < q->group_start[g + 1] && q->group_divisor[g] > 0 &&
               q->group_start[g] % unit == 0;
    return good ? TR_OK : tr_err_set(err, TR_BADARG, "task: groups do not add up");
}

static enum tr_status check_engine(const struct tr_learner *l,
                                   enum tr_objective objective, struct tr_err *err)
{
    bool value = objective == TR_LEARN_PAIRS || objective == TR_LEARN_VALUE;
    if (value && !tr_params_outer(l->params)->value_weight)
        return tr_err_set(err, TR_BADARG, "task: this model has no value head");
    if (!value && !l->head)
        return tr_err_set(err, TR_BADARG, "task: this model has no output layer");
    return TR_OK;
}

/* As many whole sequences (pairs together) from s0 on, before `end`, as fit. */
static enum tr_status cut(struct step *s, int64_t end, struct tr_err *err)
{
    const struct tr_learner *l = s->l;
    const struct tr_sequences *q = &s->task->seq;
    int64_t unit = unit_of(s->task);
    s->base = q->start[s->s0];
    s->s1 = s->s0;
    while (s->s1 < end && s->s1 + unit - s->s0 <= l->max_sequences &&
           q->start[s->s1 + unit] - s->base <= l->max_tokens)
        s->s1 += unit;
    if (s->s1 == s->s0)
        return tr_err_set(err, TR_BADARG,
                          "task: %lld tokens at sequence %lld, a micro-batch holds %lld "
                          "tokens of %lld sequences",
                          (long long)(q->start[s->s0 + unit] - s->base), (long long)s->s0,
                          (long long)l->max_tokens, (long long)l->max_sequences);
    for (int64_t i = s->s0; i <= s->s1; i++) l->start[i - s->s0] = q->start[i] - s->base;
    s->batch = (struct tr_batch){
        .T = q->start[s->s1] - s->base,
        .S = s->s1 - s->s0,
        .token = q->token + s->base,
        .start = l->start,
    };
    return TR_OK;
}

/* Row i of the micro-batch predicts this token of the task. */
static int64_t predicted(const struct step *s, int64_t i)
{
    return s->base + s->rows.row[i] + 1;
}

static void tokens_loss(void *ctx, int64_t i0, int64_t k, const float *logp,
                        const float *entropy, float *dlogp)
{
    struct step *s = ctx;
    (void)i0;
    (void)entropy;
    for (int64_t i = 0; i < k; i++) {
        s->nll -= (double)logp[i];
        dlogp[i] = (float)(-1 / s->task->divisor);
    }
}

static bool same_bits(float a, float b)
{
    uint32_t x;
    uint32_t y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x == y;
}

/* ---- groups ---- */

/* Has sequence k a label that is predicted? */
static bool has_target(const struct tr_sequences *q, int64_t k)
{
    for (int64_t i = q->start[k] + 1; i < q->start[k + 1]; i++)
        if (q->label[i] != TR_UNLABELLED) return true;
    return false;
}

/* What an example's loss depends on besides itself. */
static void survey_examples(struct step *s)
{
    const struct tr_sequences *q = &s->task->seq;
    int64_t first = q->groups ? q->group_start[s->group] : 0;
    int64_t end = q->groups ? q->group_start[s->group + 1] : q->S;
    struct tr_kto_group *g = &s->examples;
    *g = (struct tr_kto_group){
        .z0 = q->z0[s->group], .divisor = s->divisor, .n = end - first};
    for (int64_t k = first; k < end; k++) {
        g->desirable += q->desirable[k];
        g->answered += q->desirable[k] && has_target(q, k);
    }
}

static void enter_group(struct step *s, int64_t group)
{
    const struct tr_sequences *q = &s->task->seq;
    s->group = group;
    s->group_end = q->groups ? q->start[q->group_start[group + 1]] : q->T;
    s->divisor = q->groups ? (double)q->group_divisor[group] : s->task->divisor;
    if (s->task->objective == TR_LEARN_KTO) survey_examples(s);
}

static void leave_group(struct step *s)
{
    if (!s->mute)
        s->group_loss += (s->ppo.loss + s->kto.loss + s->pairs.loss) / s->divisor;
    s->ppo.loss = s->kto.loss = s->pairs.loss = 0; /* two of them are */
}

/* Tokens come in order: makes the group of token `at` the one in hand. */
static void reach(struct step *s, int64_t at)
{
    while (at >= s->group_end) {
        leave_group(s);
        enter_group(s, s->group + 1);
    }
}

static void policy_loss(void *ctx, int64_t i0, int64_t k, const float *logp,
                        const float *entropy, float *dlogp)
{
    struct step *s = ctx;
    const struct tr_sequences *q = &s->task->seq;
    for (int64_t i = 0; i < k; i++) {
        int64_t at = predicted(s, i0 + i);
        reach(s, at);
        s->mismatch_bits += !same_bits(logp[i], q->old_logp[at]);
        s->ppo.entropy += (double)entropy[i];
        dlogp[i] = tr_ppo_policy(&s->ppo, s->task->clip, s->divisor, logp[i],
                                 q->old_logp[at], q->advantage[at]);
        if (s->mute) dlogp[i] = 0;
    }
}

/* The slope of each answer, for all of its rows, into dvalue: that takes the whole answer's
 * log-prob, so the output layer is gone through once before it is learnt from. */
static void kto_slopes(struct step *s)
{
    struct tr_learner *l = s->l;
    const struct tr_sequences *q = &s->task->seq;
    int64_t i = 0;
    tr_head_logprob(l->head, l->ex, l->weights, s->hidden, &s->rows, l->value, NULL);
    for (int64_t k = s->s0; k < s->s1; k++) {
        double logp = 0;
        int64_t first = i;
        reach(s, q->start[k]);
        for (; i < s->rows.n && predicted(s, i) < q->start[k + 1]; i++)
            logp += (double)l->value[i];
        float slope = tr_kto_add(&s->kto, &s->task->kto, &s->examples, q->desirable[k],
                                 logp, q->reference[k], i - first);
        for (int64_t j = first; j < i; j++) l->dvalue[j] = slope;
    }
}

static void kto_loss(void *ctx, int64_t i0, int64_t k, const float *logp,
                     const float *entropy, float *dlogp)
{
    const struct step *s = ctx;
    (void)logp;
    (void)entropy;
    memcpy(dlogp, s->l->dvalue + i0, (size_t)k * sizeof *dlogp);
}

static void pairs_loss(struct step *s)
{
    struct tr_learner *l = s->l;
    for (int64_t i = 0; i < s->batch.S; i++)
        l->row[i] = s->task->seq.read_at[s->s0 + i] - s->base;
    tr_value_forward(l->ex, l->weights, s->hidden, l->row, s->batch.S, l->value);
    for (int64_t i = 0; i < s->batch.S; i += 2) {
        reach(s, s->task->seq.start[s->s0 + i]);
        tr_pair_add(&s->pairs, l->value[i], l->value[i + 1], s->divisor, &l->dvalue[i],
                    &l->dvalue[i + 1]);
    }
    tr_value_backward(l->ex, l->weights, s->hidden, l->row, s->batch.S, l->dvalue,
                      l->dhidden, l->grad);
}

static void value_loss(struct step *s)
{
    struct tr_learner *l = s->l;
    const struct tr_sequences *q = &s->task->seq;
    tr_value_forward(l->ex, l->weights, s->hidden, l->row, s->rows.n, l->value);
    for (int64_t i = 0; i < s->rows.n; i++) {
        int64_t at = predicted(s, i);
        reach(s, at);
        l->dvalue[i] = tr_ppo_value(&s->ppo, s->task->clip, s->divisor, l->value[i],
                                    q->old_value[at], q->wanted_value[at]);
    }
    tr_value_backward(l->ex, l->weights, s->hidden, l->row, s->rows.n, l->dvalue,
                      l->dhidden, l->grad);
}

static float *lookup_grad(const struct tr_learner *l)
{
    return l->embed_grad ? l->embed_grad
                         : l->grad + tr_params_outer(l->params)->embed->at;
}

/* Hidden states of one micro-batch, and its rows that predict. */
static enum tr_status forward(struct step *s, int64_t end, struct tr_err *err)
{
    struct tr_learner *l = s->l;
    enum tr_status st = cut(s, end, err);
    if (st == TR_OK)
        st = tr_trunk_forward(l->trunk, l->ex, l->weights, &s->batch, NULL, NULL,
                              &s->hidden, err);
    if (st == TR_OK && s->task->objective != TR_LEARN_PAIRS) {
        int64_t n = tr_token_rows(&s->task->seq, s->s0, s->s1, l->row, l->target);
        s->rows = (struct tr_head_rows){.n = n, .row = l->row, .target = l->target};
    }
    return st;
}

/* Is the mean ratio of the group from s0 on beyond the threshold? A look ahead, without gradient. */
static enum tr_status look_ahead(struct step *s, int64_t end, struct tr_err *err)
{
    struct tr_learner *l = s->l;
    double ratio = 0;
    int64_t from = s->s0, n = 0;
    for (; s->s0 < end; s->s0 = s->s1) {
        enum tr_status st = forward(s, end, err);
        if (st != TR_OK) return st;
        tr_head_logprob(l->head, l->ex, l->weights, s->hidden, &s->rows, l->value, NULL);
        for (int64_t i = 0; i < s->rows.n; i++) {
            double old = (double)s->task->seq.old_logp[predicted(s, i)];
            ratio += tr_exp((double)l->value[i] - old);
        }
        n += s->rows.n;
    }
    s->s0 = from;
    s->mute = n > 0 && ratio / (double)n > s->task->ratio_threshold;
    return TR_OK;
}

static void head_loss(struct step *s, tr_head_loss *loss)
{
    struct tr_learner *l = s->l;
    tr_head_train(l->head, l->ex, l->weights, s->hidden, &s->rows, loss, s, l->dhidden,
                  l->grad);
}

/* Forward, loss and backward of one micro-batch. */
static enum tr_status micro_batch(struct step *s, int64_t end, struct tr_err *err)
{
    struct tr_learner *l = s->l;
    int64_t d = tr_learner_arch(l)->d;
    enum tr_status st = forward(s, end, err);
    if (st != TR_OK) return st;
    memset(l->dhidden, 0, (size_t)(s->batch.T * d) * sizeof *l->dhidden);
    if (s->task->objective != TR_LEARN_PAIRS) s->targets += s->rows.n;
    switch (s->task->objective) {
    case TR_LEARN_TOKENS:
        head_loss(s, tokens_loss);
        break;
    case TR_LEARN_POLICY:
        head_loss(s, policy_loss);
        break;
    case TR_LEARN_KTO:
        kto_slopes(s);
        head_loss(s, kto_loss);
        break;
    case TR_LEARN_PAIRS:
        pairs_loss(s);
        break;
    case TR_LEARN_VALUE:
        value_loss(s);
        break;
    }
    tr_trunk_backward(l->trunk, l->ex, l->weights, &s->batch, l->dhidden, l->grad,
                      lookup_grad(l));
    return TR_OK;
}

/* Does the objective's loss depend on this tensor? */
static bool takes_part(const struct tr_learn_task *task, const struct tr_params *params,
                       const struct tr_param *p)
{
    bool value = task->objective == TR_LEARN_PAIRS || task->objective == TR_LEARN_VALUE;
    if (p->kind == TR_PARAM_VALUE_HEAD) return value;
    return !value || p != tr_params_outer(params)->lm_head;
}

static double grad_norm(const struct tr_learner *l, const struct tr_learn_task *task)
{
    double sum = 0;
    for (int64_t i = 0; i < tr_params_count(l->params); i++) {
        const struct tr_param *p = tr_params_get(l->params, i);
        if (takes_part(task, l->params, p))
            sum += tr_sum_squares(l->ex, l->grad + p->at, p->size);
    }
    return sqrt(sum);
}

static double mean(double sum, int64_t n)
{
    return n > 0 ? sum / (double)n : 0;
}

static void fill_kto(const struct step *s, struct tr_learn_result *r)
{
    const struct tr_sequences *q = &s->task->seq;
    const struct tr_kto_sums *k = &s->kto;
    int64_t groups = q->groups ? q->groups : 1;
    r->chosen = k->examples[1];
    r->rejected = k->examples[0];
    r->chosen_reward = mean(k->reward[1], k->examples[1]);
    r->rejected_reward = mean(k->reward[0], k->examples[0]);
    r->chosen_logp = mean(k->logp[1], k->examples[1]);
    r->rejected_logp = mean(k->logp[0], k->examples[0]);
    for (int64_t g = 0; g < groups; g++) r->kl += q->z0[g];
    r->kl /= (double)groups;
}

static void fill_result(const struct step *s, struct tr_learn_result *r)
{
    const struct tr_ppo_sums *p = &s->ppo;
    *r = (struct tr_learn_result){
        .loss = s->nll / s->task->divisor + s->group_loss, /* one of them is 0 */
        .grad_norm = grad_norm(s->l, s->task),
        .tokens = s->task->seq.T,
        .targets = s->targets + s->pairs.pairs,
        .t = s->l->t,
        .accuracy = mean((double)s->pairs.right, s->pairs.pairs),
        .ratio = mean(p->ratio, p->tokens),
        .approx_kl = mean(p->approx_kl, p->tokens),
        .policy_kl = mean(p->policy_kl, p->tokens),
        .clip_fraction = mean(p->clipped, p->tokens),
        .entropy = mean(p->entropy, p->tokens),
        .value_error = mean(p->error, p->tokens),
        .value_mean = mean(p->value, p->tokens),
        .mismatch_bits = s->mismatch_bits,
    };
    if (s->task->objective == TR_LEARN_KTO) fill_kto(s, r);
    r->skipped = !isfinite(r->loss) || !isfinite(r->grad_norm);
}

/* Sequences s0 .. end-1, cut into micro-batches. */
static enum tr_status sequences_to(struct step *s, int64_t end, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (; s->s0 < end && st == TR_OK; s->s0 = s->s1) st = micro_batch(s, end, err);
    return st;
}

/* The whole step; with a threshold on the policy's ratio, group by group. */
static enum tr_status all_sequences(struct step *s, struct tr_err *err)
{
    const struct tr_sequences *q = &s->task->seq;
    bool bounded = s->task->objective == TR_LEARN_POLICY && s->task->ratio_threshold > 0;
    enum tr_status st = TR_OK;
    enter_group(s, 0);
    if (!bounded || !q->groups) {
        st = sequences_to(s, q->S, err);
        leave_group(s);
        return st;
    }
    for (int64_t g = 0; g < q->groups && st == TR_OK; g++) {
        int64_t end = q->group_start[g + 1];
        enter_group(s, g);
        st = look_ahead(s, end, err);
        if (st == TR_OK) st = sequences_to(s, end, err);
        leave_group(s);
    }
    return st;
}

enum tr_status tr_learner_gradient(struct tr_learner *l, const struct tr_learn_task *task,
                                   struct tr_learn_result *result, const float **grad,
                                   struct tr_err *err)
{
    const struct tr_param *embed = tr_params_outer(l->params)->embed;
    struct step s = {.l = l, .task = task};
    enum tr_status st = check_sequences(l, task, err);
    if (st == TR_OK) st = check_groups(&task->seq, unit_of(task), err);
    if (st == TR_OK) st = check_engine(l, task->objective, err);
    if (st != TR_OK) return st;
    memset(l->grad, 0, (size_t)tr_params_total(l->params) * sizeof *l->grad);
    if (l->embed_grad)
        memset(l->embed_grad, 0, (size_t)embed->size * sizeof *l->embed_grad);
    st = all_sequences(&s, err);
    if (st != TR_OK) return st;
    if (l->embed_grad) tr_add(l->ex, l->embed_grad, embed->size, l->grad + embed->at);
    fill_result(&s, result);
    if (grad) *grad = l->grad;
    return TR_OK;
}

static void update(struct tr_learner *l, const struct tr_learn_task *task, double norm)
{
    const struct tr_update *u = &task->update;
    double shrink = u->max_grad_norm > 0 ? u->max_grad_norm / (norm + 1e-6) : 1;
    float clip = shrink < 1 ? (float)shrink : 1;
    l->t++;
    for (int64_t i = 0; i < tr_params_count(l->params); i++) {
        const struct tr_param *p = tr_params_get(l->params, i);
        bool decays = u->peer_decay ? p->peer_decays : p->decays;
        struct tr_adamw cfg = {
            u->lr, u->beta1, u->beta2, u->eps, decays ? u->weight_decay : 0, l->t};
        if (takes_part(task, l->params, p))
            tr_adamw_step(l->ex, &cfg, clip, p->size, l->grad + p->at, l->master + p->at,
                          l->moment1 + p->at, l->moment2 + p->at);
    }
    tr_learner_refresh(l);
}

enum tr_status tr_learner_step(struct tr_learner *l, const struct tr_learn_task *task,
                               struct tr_learn_result *result, struct tr_err *err)
{
    enum tr_status st = tr_learner_gradient(l, task, result, NULL, err);
    if (st != TR_OK || result->skipped) return st;
    update(l, task, result->grad_norm);
    result->t = l->t;
    return TR_OK;
}

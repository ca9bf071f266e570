#include "proto/step3_learn.h"

#include <math.h>

#include "proto/step1_generate.h"

/* ---- a task, there and back ---- */

static struct tr_array array(const void *at, int64_t count)
{
    return (struct tr_array){.at = at, .count = at ? count : 0};
}

/* Only what the objective reads travels. */
struct tr_ask_learn tr_ask_learn_from(const struct tr_learn_task *task, bool want_digest)
{
    const struct tr_sequences *q = &task->seq;
    const struct tr_update *u = &task->update;
    struct tr_ask_learn a = {
        .objective = (int)task->objective,
        .divisor = task->divisor,
        .clip = task->clip,
        .ratio_threshold = task->ratio_threshold,
        .lr = u->lr,
        .beta1 = u->beta1,
        .beta2 = u->beta2,
        .eps = u->eps,
        .weight_decay = u->weight_decay,
        .max_grad_norm = u->max_grad_norm,
        .peer_decay = u->peer_decay,
        .want_digest = want_digest,
        .start = array(q->start, q->S + 1),
        .token = array(q->token, q->T),
    };
    if (task->objective == TR_LEARN_PAIRS)
        a.read_at = array(q->read_at, q->S);
    else
        a.label = array(q->label, q->T);
    if (task->objective == TR_LEARN_POLICY) {
        a.old_logp = array(q->old_logp, q->T);
        a.advantage = array(q->advantage, q->T);
    }
    if (task->objective == TR_LEARN_VALUE) {
        a.old_value = array(q->old_value, q->T);
        a.wanted_value = array(q->wanted_value, q->T);
    }
    if (task->objective == TR_LEARN_KTO) {
        a.kto = task->kto;
        a.reference = array(q->reference, q->S);
        a.desirable = array(q->desirable, q->S);
        a.z0 = array(q->z0, q->groups > 0 ? q->groups : 1);
    }
    if (q->groups > 0) {
        a.group_start = array(q->group_start, q->groups + 1);
        a.group_divisor = array(q->group_divisor, q->groups);
    }
    return a;
}

/* An array is there exactly when the objective reads it, with one element for each token. */
static enum tr_status check_length(const char *name, const struct tr_array *a,
                                   bool wanted, int64_t n, struct tr_err *err)
{
    if (a->count == (wanted ? n : 0)) return TR_OK;
    return tr_err_set(err, TR_BADMSG, "learn.%s: %lld elements, expected %lld", name,
                      (long long)a->count, (long long)(wanted ? n : 0));
}

static enum tr_status check_lengths(const struct tr_ask_learn *a, struct tr_err *err)
{
    int64_t S = a->start.count - 1, T = a->token.count;
    bool pairs = a->objective == TR_LEARN_PAIRS, policy = a->objective == TR_LEARN_POLICY,
         value = a->objective == TR_LEARN_VALUE;
    enum tr_status st = check_length("read_at", &a->read_at, pairs, S, err);
    if (st == TR_OK) st = check_length("label", &a->label, !pairs, T, err);
    if (st == TR_OK) st = check_length("old_logp", &a->old_logp, policy, T, err);
    if (st == TR_OK) st = check_length("advantage", &a->advantage, policy, T, err);
    if (st == TR_OK) st = check_length("old_value", &a->old_value, value, T, err);
    if (st == TR_OK) st = check_length("wanted_value", &a->wanted_value, value, T, err);
    if (st == TR_OK && pairs && S % 2 != 0)
        st = tr_err_set(err, TR_BADMSG, "learn: %lld sequences are no pairs",
                        (long long)S);
    return st;
}

/* What kto alone has: marks are 1 or 0, baselines at least 0, one for each group. */
static enum tr_status check_kto(const struct tr_ask_learn *a, struct tr_err *err)
{
    const uint8_t *mark = a->desirable.at;
    const double *z0 = a->z0.at;
    bool kto = a->objective == TR_LEARN_KTO;
    int64_t S = a->start.count - 1, groups = a->group_divisor.count;
    enum tr_status st = check_length("reference", &a->reference, kto, S, err);
    if (st == TR_OK) st = check_length("desirable", &a->desirable, kto, S, err);
    if (st == TR_OK) st = check_length("z0", &a->z0, kto, groups > 0 ? groups : 1, err);
    if (st != TR_OK || !kto) return st;
    if (!(a->kto.beta > 0))
        return tr_err_set(err, TR_BADMSG, "learn.beta: expected more than 0, found %g",
                          a->kto.beta);
    for (int64_t s = 0; s < S; s++)
        if (mark[s] > 1)
            return tr_err_set(err, TR_BADMSG, "learn.desirable: %d at %lld is no mark",
                              mark[s], (long long)s);
    for (int64_t g = 0; g < a->z0.count; g++)
        if (z0[g] < 0)
            return tr_err_set(err, TR_BADMSG, "learn.z0: %g at %lld is below 0", z0[g],
                              (long long)g);
    return TR_OK;
}

static enum tr_status check_groups(const struct tr_ask_learn *a, struct tr_err *err)
{
    const int64_t *divisor = a->group_divisor.at;
    int64_t S = a->start.count - 1, groups = a->group_divisor.count;
    if (groups > 0 && a->objective == TR_LEARN_TOKENS)
        return tr_err_set(err, TR_BADMSG, "learn.group_divisor: not for this objective");
    enum tr_status st =
        check_length("group_start", &a->group_start, groups > 0, groups + 1, err);
    if (st == TR_OK && groups > 0)
        st = tr_offsets_check("learn.group_start", &a->group_start, S, 1, err);
    for (int64_t g = 0; g < groups && st == TR_OK; g++)
        if (divisor[g] < 1)
            st = tr_err_set(err, TR_BADMSG, "learn.group_divisor: %lld at %lld",
                            (long long)divisor[g], (long long)g);
    return st;
}

static enum tr_status check_places(const struct tr_ask_learn *a, int64_t vocab,
                                   struct tr_err *err)
{
    const int32_t *label = a->label.at, *token = a->token.at;
    const int64_t *start = a->start.at, *read_at = a->read_at.at;
    for (int64_t i = 0; i < a->label.count; i++)
        if (label[i] != TR_UNLABELLED && label[i] != token[i] &&
            (label[i] < 0 || (vocab > 0 && label[i] >= vocab)))
            return tr_err_set(err, TR_BADMSG, "learn.label: %d at %lld is no label",
                              label[i], (long long)i);
    for (int64_t s = 0; s < a->read_at.count; s++)
        if (read_at[s] < start[s] || read_at[s] >= start[s + 1])
            return tr_err_set(err, TR_BADMSG,
                              "learn.read_at: sequence %lld is read outside itself",
                              (long long)s);
    return TR_OK;
}

enum tr_status tr_ask_learn_task(const struct tr_ask_learn *a, int64_t vocab,
                                 struct tr_learn_task *task, struct tr_err *err)
{
    enum tr_status st = check_lengths(a, err);
    if (st == TR_OK) st = tr_offsets_check("learn", &a->start, a->token.count, 1, err);
    if (st == TR_OK) st = tr_tokens_check("learn.token", &a->token, vocab, err);
    if (st == TR_OK) st = check_groups(a, err);
    if (st == TR_OK) st = check_kto(a, err);
    if (st == TR_OK) st = check_places(a, vocab, err);
    if (st != TR_OK) return st;
    *task = (struct tr_learn_task){
        .objective = (enum tr_objective)a->objective,
        .divisor = a->divisor,
        .clip = a->clip,
        .ratio_threshold = a->ratio_threshold,
        .kto = a->kto,
        .update = {.lr = a->lr,
                   .beta1 = a->beta1,
                   .beta2 = a->beta2,
                   .eps = a->eps,
                   .weight_decay = a->weight_decay,
                   .max_grad_norm = a->max_grad_norm,
                   .peer_decay = a->peer_decay},
        .seq = {.S = a->start.count - 1,
                .T = a->token.count,
                .start = a->start.at,
                .token = a->token.at,
                .label = a->label.at,
                .read_at = a->read_at.at,
                .old_logp = a->old_logp.at,
                .advantage = a->advantage.at,
                .old_value = a->old_value.at,
                .wanted_value = a->wanted_value.at,
                .reference = a->reference.at,
                .desirable = a->desirable.at,
                .z0 = a->z0.at,
                .groups = a->group_divisor.count,
                .group_start = a->group_start.at,
                .group_divisor = a->group_divisor.at},
    };
    return TR_OK;
}

/* ---- a result, there and back ---- */

static bool is_finite(const struct tr_learn_result *r)
{
    const double x[] = {r->loss,          r->grad_norm,     r->accuracy,
                        r->ratio,         r->approx_kl,     r->policy_kl,
                        r->clip_fraction, r->entropy,       r->value_error,
                        r->value_mean,    r->chosen_reward, r->rejected_reward,
                        r->chosen_logp,   r->rejected_logp, r->kl};
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

struct tr_answer_learn tr_answer_learn_from(const struct tr_learn_result *r,
                                            const struct tr_digest *weights)
{
    struct tr_answer_learn a = {
        .finite = is_finite(r),
        .skipped = r->skipped,
        .tokens = r->tokens,
        .targets = r->targets,
        .t = r->t,
        .mismatch_bits = r->mismatch_bits,
        .chosen = r->chosen,
        .rejected = r->rejected,
    };
    if (a.finite) {
        a.loss = r->loss;
        a.grad_norm = r->grad_norm;
        a.accuracy = r->accuracy;
        a.ratio = r->ratio;
        a.approx_kl = r->approx_kl;
        a.policy_kl = r->policy_kl;
        a.clip_fraction = r->clip_fraction;
        a.entropy = r->entropy;
        a.value_error = r->value_error;
        a.value_mean = r->value_mean;
        a.chosen_reward = r->chosen_reward;
        a.rejected_reward = r->rejected_reward;
        a.chosen_logp = r->chosen_logp;
        a.rejected_logp = r->rejected_logp;
        a.kl = r->kl;
    }
    if (weights) a.weights = tr_digests_one(weights);
    return a;
}

struct tr_learn_result tr_answer_learn_result(const struct tr_answer_learn *a)
{
    return (struct tr_learn_result){
        .loss = a->finite ? a->loss : (double)NAN,
        .grad_norm = a->finite ? a->grad_norm : (double)NAN,
        .skipped = a->skipped,
        .tokens = a->tokens,
        .targets = a->targets,
        .t = a->t,
        .accuracy = a->accuracy,
        .ratio = a->ratio,
        .approx_kl = a->approx_kl,
        .policy_kl = a->policy_kl,
        .clip_fraction = a->clip_fraction,
        .entropy = a->entropy,
        .value_error = a->value_error,
        .value_mean = a->value_mean,
        .mismatch_bits = a->mismatch_bits,
        .chosen = a->chosen,
        .rejected = a->rejected,
        .chosen_reward = a->chosen_reward,
        .rejected_reward = a->rejected_reward,
        .chosen_logp = a->chosen_logp,
        .rejected_logp = a->rejected_logp,
        .kl = a->kl,
    };
}

/* What the processes of a PPO run take at their peak, from shapes alone: a learner its masters, moments,
 * gradients and activations, and an evaluator's arrays beside them (log-probs, values); a frozen model its
 * weights and one layer's arrays; the rollouts their caches. Forward weights of the last versions lie once
 * in a file that all of this host map; where that is the disk and not /dev/shm they count all the same. */
#include "actors/generator.h"
#include "actors/learner.h"
#include "launch/ppo_parts.h"
#include "launch/room.h"

/* What lies beside the weights when a process evaluates. */
static size_t evaluating_bytes(const struct tr_ppo_parts *p, const struct tr_arch *a,
                               const struct tr_ppo_sizes *z)
{
    const struct tr_trunk_size size = {.max_tokens = z->tokens,
                                       .max_sequences = p->set.samples};
    return tr_trunk_bytes(a, &size) + tr_head_bytes(a, z->tokens);
}

static enum tr_status add_learner(const struct tr_ppo_parts *p, enum tr_role role,
                                  bool recompute, struct tr_memory *need,
                                  struct tr_err *err)
{
    const struct tr_ppo_sizes z = tr_ppo_sizes(p, role);
    const struct tr_member m = {.role = role};
    const struct tr_learner_start start = {.model = tr_ppo_model(p, &m),
                                           .lm_head = role == TR_ROLE_POLICY,
                                           .value_head = role == TR_ROLE_CRITIC,
                                           .bf16 = p->o->model.bf16,
                                           .recompute = recompute,
                                           .max_tokens = z.tokens,
                                           .max_sequences = z.sequences};
    struct tr_memory one;
    struct tr_arch arch;
    enum tr_status st = tr_learner_memory(&start, &one, err);
    if (st == TR_OK) st = tr_arch_load(start.model, &arch, NULL, err);
    if (st == TR_OK)
        tr_memory_add(need, tr_role_name(role),
                      one.total + evaluating_bytes(p, &arch, &z));
    return st;
}

static enum tr_status frozen_bytes(const struct tr_ppo_parts *p,
                                   const struct tr_member *m, size_t *out,
                                   struct tr_err *err)
{
    const struct tr_ppo_sizes z = tr_ppo_sizes(p, m->role);
    struct tr_arch arch;
    struct tr_params *params = NULL;
    enum tr_status st = tr_arch_load(tr_ppo_model(p, m), &arch, NULL, err);
    if (st == TR_OK)
        st = tr_params_create(&arch, m->role == TR_ROLE_REFERENCE,
                              m->role == TR_ROLE_REWARD, &params, err);
    if (st != TR_OK) return st;
    *out = tr_weights_bytes(params, p->o->model.bf16) + evaluating_bytes(p, &arch, &z);
    tr_params_destroy(params);
    return TR_OK;
}

static enum tr_status add_frozen(const struct tr_ppo_parts *p, struct tr_memory *need,
                                 struct tr_err *err)
{
    const int64_t references = p->roles.role[TR_ROLE_REFERENCE].replicas;
    struct tr_member m = {.role = TR_ROLE_REFERENCE};
    size_t each = 0, rewards = 0;
    enum tr_status st = frozen_bytes(p, &m, &each, err);
    if (st == TR_OK) tr_memory_add(need, "references", (size_t)references * each);
    for (int64_t i = 0; i < p->roles.rewards && st == TR_OK; i++) {
        const struct tr_reward_wish *w = &p->roles.reward[i];
        if (w->kind != TR_REWARD_MODEL) continue;
        m = tr_member_of(TR_ROLE_REWARD, w->name);
        st = frozen_bytes(p, &m, &each, err);
        rewards += (size_t)w->role.replicas * each;
    }
    if (st == TR_OK) tr_memory_add(need, "rewards", rewards);
    return st;
}

static enum tr_status add_rollouts(const struct tr_ppo_parts *p, struct tr_memory *need,
                                   struct tr_err *err)
{
    const struct tr_ppo_sizes z = tr_ppo_sizes(p, TR_ROLE_ROLLOUT);
    const struct tr_decode_size size = {
        .max_sequences = z.sequences, .max_tokens = z.tokens, .pages = z.pages};
    struct tr_arch arch;
    struct tr_params *params = NULL;
    enum tr_status st = tr_arch_load(p->o->model.path, &arch, NULL, err);
    if (st == TR_OK) st = tr_params_create(&arch, true, false, &params, err);
    if (st != TR_OK) return st;
    tr_memory_add(need, "rollouts",
                  (size_t)p->roles.role[TR_ROLE_ROLLOUT].replicas *
                      tr_generator_bytes(&arch, &size));
    tr_memory_add(need, "their weights",
                  (size_t)(p->set.staleness + 2) *
                      tr_packed_bytes(params, p->o->model.bf16));
    tr_params_destroy(params);
    return TR_OK;
}

static enum tr_status estimate(void *self, bool recompute, struct tr_memory *need,
                               struct tr_err *err)
{
    const struct tr_ppo_parts *p = self;
    *need = (struct tr_memory){0};
    enum tr_status st = add_learner(p, TR_ROLE_POLICY, recompute, need, err);
    if (st == TR_OK) st = add_learner(p, TR_ROLE_CRITIC, recompute, need, err);
    if (st == TR_OK) st = add_rollouts(p, need, err);
    return st == TR_OK ? add_frozen(p, need, err) : st;
}

enum tr_status tr_ppo_choose_recompute(struct tr_ppo_parts *p, struct tr_err *err)
{
    const struct tr_room room = {
        .o = p->o, .log = p->watch->log, .here = true, .estimate = estimate, .self = p};
    p->recompute = p->o->model.recompute == 1;
    if (!p->watch->joining.staff) return TR_OK; /* who joins has a host of its own */
    return tr_room_choose(&room, &p->recompute, err);
}

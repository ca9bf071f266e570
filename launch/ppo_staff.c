/* The command lines of a PPO run's processes. */
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"
#include "kernels/attention.h"
#include "launch/ppo_parts.h"

static const struct tr_reward_wish *find_reward(const struct tr_ppo_parts *p,
                                                const char *slot)
{
    for (int64_t i = 0; i < p->roles.rewards; i++)
        if (strcmp(p->roles.reward[i].name, slot) == 0) return &p->roles.reward[i];
    return NULL;
}

/* The folder of the model that scores in this slot now, "" if it has none; a swap that waits for its step does not
 * count yet: who is started anew comes back with what steps are scored by. */
static const char *scores_now(const struct tr_ppo_parts *p, const char *slot)
{
    const struct tr_reward_set *set = p->plan ? tr_plan_ppo_rewards(p->plan) : NULL;
    for (int64_t i = 0; set && i < set->n; i++)
        if (strcmp(set->slot[i].name, slot) == 0) return set->slot[i].folder;
    return "";
}

const char *tr_ppo_model(const struct tr_ppo_parts *p, const struct tr_member *m)
{
    const char *own = p->roles.role[m->role].model;
    const struct tr_reward_wish *reward = find_reward(p, m->slot);
    switch (m->role) {
    case TR_ROLE_REFERENCE:
        if (own) return own;
        return p->o->ppo.ref_model ? p->o->ppo.ref_model : p->o->model.path;
    case TR_ROLE_CRITIC:
        return own ? own : p->o->model.path;
    case TR_ROLE_REWARD:
        if (scores_now(p, m->slot)[0]) return scores_now(p, m->slot);
        return reward ? reward->role.model : NULL;
    case TR_ROLE_POLICY:
    case TR_ROLE_ROLLOUT:
    case TR_ROLES:
        break;
    }
    return p->o->model.path;
}

bool tr_ppo_snapshot(struct tr_ppo_parts *p, enum tr_role role)
{
    struct tr_journal_snapshot *s = &p->snapshot;
    int64_t latest = tr_plan_ppo_step(p->plan) - p->set.staleness;
    for (int64_t back = 0;; back++) {
        if (tr_journal_snapshot(p->journal, role, back, s, NULL) != TR_OK) return false;
        if (s->step <= latest && tr_path_is_dir(s->folder)) return true;
    }
}

struct tr_ppo_sizes tr_ppo_sizes(const struct tr_ppo_parts *p, enum tr_role role)
{
    const int64_t batch = p->o->steps.batch;
    const int64_t rows = p->set.samples < 32 ? p->set.samples : 32;
    const int64_t pages = (p->longest + TR_PAGE - 1) / TR_PAGE;
    switch (role) {
    case TR_ROLE_POLICY:
    case TR_ROLE_CRITIC:
        return (struct tr_ppo_sizes){.tokens = batch * p->longest, .sequences = batch};
    case TR_ROLE_ROLLOUT:
        return (struct tr_ppo_sizes){256 > rows ? 256 : rows, rows, rows * pages};
    case TR_ROLE_REFERENCE:
    case TR_ROLE_REWARD:
    case TR_ROLES:
        break;
    }
    return (struct tr_ppo_sizes){.tokens = 4 * p->longest};
}

static void add_sizes(const struct tr_ppo_parts *p, enum tr_role role, struct tr_words *w)
{
    const struct tr_ppo_sizes z = tr_ppo_sizes(p, role);
    tr_words_number(w, "--max-tokens", z.tokens);
    if (z.sequences) tr_words_number(w, "--max-sequences", z.sequences);
    if (z.pages) tr_words_number(w, "--pages", z.pages);
    if (role == TR_ROLE_ROLLOUT)
        tr_words_add(w, "--empty", NULL); /* the policy's are mapped */
}

static void add_rule(const struct tr_ppo_parts *p, const struct tr_reward_wish *r,
                     struct tr_words *w)
{
    if (r->kind == TR_REWARD_LENGTH) {
        tr_words_add(w, "--rule", "length");
        tr_words_real(w, "--target", r->target);
        tr_words_real(w, "--scale", r->scale);
    } else {
        tr_words_add(w, "--rule", "regex");
        tr_words_add(w, "--pattern", r->pattern);
        tr_words_add(w, "--tokenizer", p->o->model.path);
    }
}

static void add_learner(struct tr_ppo_parts *p, const struct tr_member *m,
                        struct tr_words *w)
{
    if (tr_ppo_snapshot(p, m->role)) tr_words_add(w, "--checkpoint", p->snapshot.folder);
    if (m->role == TR_ROLE_CRITIC) tr_words_add(w, "--no-lm-head", NULL);
    if (p->recompute) tr_words_add(w, "--recompute", NULL);
    if (m->role == TR_ROLE_POLICY) tr_words_add(w, "--weights", p->weights);
    if (m->role == TR_ROLE_POLICY) tr_words_number(w, "--keep", p->set.staleness + 2);
    if (m->role == TR_ROLE_POLICY && p->roles.source)
        tr_words_add(w, "--source", p->roles.source);
}

enum tr_status tr_ppo_words(void *self, const struct tr_member *m, struct tr_words *w,
                            struct tr_err *err)
{
    struct tr_ppo_parts *p = self;
    const struct tr_reward_wish *reward = find_reward(p, m->slot);
    bool rule = m->role == TR_ROLE_REWARD && reward && reward->kind != TR_REWARD_MODEL &&
                !scores_now(p, m->slot)[0];
    int64_t threads = p->roles.role[m->role].threads;
    (void)err;
    if (m->role == TR_ROLE_REWARD && reward) threads = reward->role.threads;
    tr_words_add(w, "role", tr_role_name(m->role));
    tr_words_add(w, "--name", m->name);
    tr_words_add(w, "--join", p->address);
    if (p->roles.keys) tr_words_add(w, "--keys", p->roles.keys);
    if (m->slot[0]) tr_words_add(w, "--slot", m->slot);
    tr_words_number(w, "--seed", p->o->steps.seed);
    tr_seats_words(&p->seats, m, threads, w);
    if (rule) {
        add_rule(p, reward, w);
        return TR_OK;
    }
    tr_words_add(w, "--model", tr_ppo_model(p, m));
    tr_words_add(w, "--math", tr_math_name((enum tr_math)p->o->exec.math));
    if (p->o->model.bf16) tr_words_add(w, "--bf16", NULL);
    add_sizes(p, m->role, w);
    if (m->role == TR_ROLE_POLICY || m->role == TR_ROLE_CRITIC) add_learner(p, m, w);
    return TR_OK;
}

static bool needed(void *self, const struct tr_member *m)
{
    const struct tr_ppo_parts *p = self;
    return tr_keeper_needs(&p->keeper, m);
}

static void fell(void *self, const struct tr_member *m, int64_t times)
{
    const struct tr_ppo_parts *p = self;
    tr_keeper_fell(&p->keeper, m, times);
}

static bool answered(void *self, const struct tr_member *m, double since)
{
    const struct tr_ppo_parts *p = self;
    return tr_keeper_answered(&p->keeper, m, since);
}

/* A reward that no step has yet costs the swap that asked for it. */
static enum tr_status lost(void *self, const struct tr_member *m, enum tr_status st,
                           struct tr_err *err)
{
    struct tr_ppo_parts *p = self;
    st = tr_keeper_lost(&p->keeper, m, st, err);
    if (st == TR_OK || m->role != TR_ROLE_REWARD) return st;
    enum tr_status gone = tr_plan_ppo_abandon(p->plan, p->core, m->slot, err->text, NULL);
    if (gone == TR_OK) tr_staff_dismiss(p->staff, m->role, m->slot);
    return gone == TR_GONE ? st : gone;
}

enum tr_status tr_ppo_start_reward(struct tr_ppo_parts *p, const struct tr_reward_wish *w,
                                   struct tr_err *err)
{
    if (w->kind == TR_REWARD_EXTERNAL || !p->staff) return TR_OK;
    return tr_staff_add(p->staff, TR_ROLE_REWARD, w->name, w->role.replicas, err);
}

enum tr_status tr_ppo_start_staff(struct tr_ppo_parts *p, struct tr_err *err)
{
    enum tr_status st =
        tr_path_join(p->logs, sizeof p->logs, p->o->output.dir, "logs", err);
    struct tr_staff_settings s = {.logs = p->logs,
                                  .log = p->watch->log,
                                  .words = tr_ppo_words,
                                  .needed = needed,
                                  .fell = fell,
                                  .answered = answered,
                                  .lost = lost,
                                  .self = p};
    p->keeper = (struct tr_keeper){p->core, p->journal, p->watch->log};
    tr_seats_take(&p->seats, &p->roles, p->set.staleness == 0, p->watch->log);
    if (st == TR_OK) st = tr_staff_create(&s, &p->staff, err);
    for (int r = 0; r < TR_ROLES && st == TR_OK; r++)
        if (r != TR_ROLE_REWARD)
            st = tr_staff_add(p->staff, (enum tr_role)r, "", p->roles.role[r].replicas,
                              err);
    for (int64_t i = 0; i < p->roles.rewards && st == TR_OK; i++)
        st = tr_ppo_start_reward(p, &p->roles.reward[i], err);
    return st;
}

/* ---- those who are started by others ---- */

enum tr_status tr_ppo_tell_others(struct tr_ppo_parts *p, struct tr_err *err)
{
    const struct tr_staff_settings s = {.words = tr_ppo_words, .self = p};
    struct tr_member post[TR_ROLES + TR_REWARDS_MAX];
    int64_t n = 0;
    for (int r = 0; r < TR_ROLES; r++)
        if (r != TR_ROLE_REWARD) post[n++] = tr_member_of((enum tr_role)r, "");
    for (int64_t i = 0; i < p->roles.rewards; i++)
        if (p->roles.reward[i].kind != TR_REWARD_EXTERNAL)
            post[n++] = tr_member_of(TR_ROLE_REWARD, p->roles.reward[i].name);
    return tr_staff_tell(&s, &p->watch->joining, p->address, post, n, err);
}

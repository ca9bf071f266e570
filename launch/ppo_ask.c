/* What people ask a running coordinator: how it goes, what was said, other rewards. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "launch/company_status.h"
#include "launch/ppo_parts.h"

/* ---- status ---- */

static enum tr_status say_status(struct tr_ppo_parts *p, struct tr_core *core,
                                 struct tr_buf *reply, struct tr_err *err)
{
    double now = tr_clock_seconds();
    int64_t step = tr_plan_ppo_step(p->plan), done = step - p->first_step;
    double each = done > 0 ? (now - p->started) / (double)done : 0;
    struct tr_journal_pace pace;
    struct tr_buf swaps;
    tr_buf_init(&swaps, 1 << 16);
    enum tr_status st = tr_plan_ppo_swaps(p->plan, core, &swaps, err);
    if (st == TR_OK) st = tr_journal_pace(p->journal, &pace, err);
    if (st == TR_OK) {
        const struct tr_company_status status = {
            .run = p->run,
            .stage = "ppo",
            .step = step,
            .steps = p->set.steps,
            .seconds_a_step = each,
            .tokens_per_second = pace.tokens_per_second,
            .seconds_left = each * (double)(p->set.steps - step),
            .times = &p->out.times,
            .rewards = tr_plan_ppo_rewards(p->plan)};
        json_t *doc = tr_company_json(core, &status, now);
        if (doc)
            json_object_set_new(doc, "swaps", json_loads(tr_buf_text(&swaps), 0, NULL));
        st = tr_company_reply(doc, reply, err);
    }
    tr_buf_fini(&swaps);
    return st;
}

/* ---- swaps ---- */

/* {"name": N, "at": T, "remove": true} or a reward as in the roles block, with "at". A weight
 * alone changes the weight; "digest": whoever holds it (the core asks so for `troupe role --swap`). */
struct edit {
    json_t *doc; /* owns */
    struct tr_ppo_swap swap;
    struct tr_reward_wish wish; /* borrows from doc */
    bool has_wish;
    bool noted; /* so doc is kept for the life of the run */
};

/* Where the wish goes among those that processes are started by: the place of one of the same name, a new
 * one, or that of a reward that is gone. TR_REWARDS_MAX: there is none. */
static int64_t place_of_wish(const struct tr_ppo_parts *p, const char *name)
{
    const struct tr_reward_wish *at = p->roles.reward;
    int64_t i = 0;
    while (i < p->roles.rewards && strcmp(at[i].name, name) != 0) i++;
    if (i < TR_REWARDS_MAX) return i;
    for (i = 0; i < TR_REWARDS_MAX; i++)
        if (tr_core_post(p->core, TR_ROLE_REWARD, at[i].name) < 0) break;
    return i;
}

/* For processes to start; of one of the same name the number and threads stay. */
static enum tr_status note_wish(struct tr_ppo_parts *p, struct edit *e,
                                struct tr_err *err)
{
    struct tr_reward_wish *at = p->roles.reward;
    int64_t i = place_of_wish(p, e->wish.name);
    if (i == TR_REWARDS_MAX)
        return tr_err_set(err, TR_BADARG, "swap: more than %d rewards", TR_REWARDS_MAX);
    struct tr_role_wish role = e->wish.role;
    if (i < p->roles.rewards && strcmp(at[i].name, e->wish.name) == 0) {
        role.replicas = at[i].role.replicas;
        role.threads = at[i].role.threads;
    }
    if (i == p->roles.rewards) p->roles.rewards++;
    at[i] = e->wish;
    at[i].role = role;
    e->noted = true;
    return TR_OK;
}

static enum tr_status read_edit(const char *argument, struct edit *e, struct tr_err *err)
{
    const char *name = NULL;
    const char *digest = NULL;
    *e = (struct edit){.doc = NULL};
    enum tr_status st = tr_json_parse(argument, strlen(argument), "swap", &e->doc, err);
    if (st == TR_OK) st = tr_json_string(e->doc, "name", "swap", &name, err);
    if (st == TR_OK)
        st = tr_json_int_or(e->doc, "at", "swap", 0, INT32_MAX, 0, &e->swap.at, err);
    if (st == TR_OK)
        st = tr_json_bool_or(e->doc, "remove", "swap", false, &e->swap.remove, err);
    if (st == TR_OK)
        st = tr_reward_weight(e->doc, "swap", (double)NAN, &e->swap.weight, err);
    if (st == TR_OK) st = tr_json_string_or(e->doc, "digest", "swap", NULL, &digest, err);
    e->swap.known = digest != NULL;
    if (st == TR_OK && digest) st = tr_digest_parse(digest, &e->swap.digest, err);
    if (st == TR_OK && strlen(name) >= sizeof e->swap.name)
        st = tr_err_set(err, TR_BADARG, "swap: name: at most %zu bytes",
                        sizeof e->swap.name - 1);
    if (st != TR_OK) return st;
    snprintf(e->swap.name, sizeof e->swap.name, "%s", name);
    e->has_wish = !e->swap.remove &&
                  (json_object_get(e->doc, "model") || json_object_get(e->doc, "rule") ||
                   json_object_get(e->doc, "external"));
    if (!e->has_wish) return TR_OK;
    json_t *reward = json_copy(e->doc);
    if (!reward || json_object_set_new(e->doc, "reward", reward) != 0)
        return tr_err_set(err, TR_NOMEM, "a swap"); /* the doc owns it, for the wish */
    json_object_del(reward, "at");
    json_object_del(reward, "remove");
    st = tr_reward_read(reward, "swap", &e->wish, err);
    if (st == TR_OK && e->wish.role.model)
        snprintf(e->swap.folder, sizeof e->swap.folder, "%s", e->wish.role.model);
    return st;
}

/* What a wish that is noted borrows from is never freed where there is no memory to keep it. */
static void keep_or_drop(struct tr_ppo_parts *p, const struct edit *e)
{
    if (!e->noted || json_array_append(p->kept, e->doc) == 0) json_decref(e->doc);
}

/* A new slot, or a rule in a slot, needs processes of its own. */
static enum tr_status do_edit(struct tr_ppo_parts *p, struct tr_core *core,
                              struct edit *e, struct tr_err *err)
{
    static const char *const of_a_reward[] = {"pattern", "target", "scale", "replicas",
                                              "threads"};
    bool there = tr_core_post(core, TR_ROLE_REWARD, e->swap.name) >= 0;
    if (e->has_wish && there && e->wish.kind != TR_REWARD_MODEL)
        return tr_err_set(err, TR_BADARG,
                          "swap: \"%s\" is there already: a rule or an outside reward "
                          "takes a name of its own",
                          e->swap.name);
    bool changes = e->has_wish || e->swap.remove || e->swap.known;
    for (size_t i = 0; i < sizeof of_a_reward / sizeof *of_a_reward && !changes; i++)
        if (json_object_get(e->doc, of_a_reward[i]))
            return tr_err_set(err, TR_BADARG,
                              "swap: %s: only with model, rule or external",
                              of_a_reward[i]);
    if (!changes && there && isnan(e->swap.weight))
        return tr_err_set(
            err, TR_BADARG,
            "swap: nothing to change: expected weight, model, rule, external or remove");
    if (!e->has_wish && !there && !e->swap.remove)
        return tr_err_set(err, TR_BADARG,
                          "swap: there is no reward \"%s\": say model, rule or external",
                          e->swap.name);
    enum tr_status st = TR_OK;
    if (e->has_wish && p->staff && e->swap.folder[0])
        st = tr_ppo_check_model(p, "model", e->swap.folder, err);
    if (st == TR_OK && e->has_wish && !there) st = note_wish(p, e, err);
    if (st == TR_OK) st = tr_plan_ppo_swap(p->plan, core, &e->swap, err);
    return st == TR_OK && e->noted ? tr_ppo_start_reward(p, &e->wish, err) : st;
}

/* A process that asks by itself says who it is, and comes back with the same words after each loss. */
static bool asked_before(struct tr_ppo_parts *p, const char *argument)
{
    struct tr_journal_swap s = {.id = -1};
    while (tr_journal_swap_after(p->journal, s.id, &s, NULL) == TR_OK)
        if (!s.rollback && strcmp(s.slots, argument) == 0) return true;
    return false;
}

static enum tr_status swap(struct tr_ppo_parts *p, struct tr_core *core,
                           const char *argument, struct tr_buf *reply, struct tr_err *err)
{
    struct edit e;
    int64_t id = 0;
    enum tr_status st = read_edit(argument, &e, err);
    bool again = st == TR_OK && json_object_get(e.doc, "by") && asked_before(p, argument);
    if (again) st = tr_err_set(err, TR_BADARG, "it has asked before");
    struct tr_journal_swap row = {.at = e.swap.at > 0 ? e.swap.at : -1,
                                  .slots = argument};
    if (st == TR_OK) st = tr_journal_ask_swap(p->journal, &row, &id, err);
    e.swap.ticket = id;
    if (st == TR_OK) {
        st = do_edit(p, core, &e, err);
        if (st != TR_OK) (void)tr_journal_drop_swap(p->journal, id, NULL);
    }
    keep_or_drop(p, &e);
    if (st != TR_OK) return st;
    return tr_company_reply(
        json_pack("{s:I, s:I}", "swap", (json_int_t)id, "at", (json_int_t)e.swap.at),
        reply, err);
}

static enum tr_status rollback(struct tr_ppo_parts *p, struct tr_core *core,
                               const char *argument, struct tr_buf *reply,
                               struct tr_err *err)
{
    json_t *doc = NULL;
    int64_t at = 0, id = 0;
    enum tr_status st = TR_OK;
    if (argument[0]) {
        st = tr_json_parse(argument, strlen(argument), "rollback", &doc, err);
        if (st == TR_OK)
            st = tr_json_int_or(doc, "at", "rollback", 0, INT32_MAX, 0, &at, err);
    }
    json_decref(doc);
    struct tr_journal_swap row = {
        .rollback = true, .at = at > 0 ? at : -1, .slots = "{}"};
    if (st == TR_OK) st = tr_journal_ask_swap(p->journal, &row, &id, err);
    if (st != TR_OK) return st;
    st = tr_plan_ppo_rollback(p->plan, core, at, id, err);
    if (st != TR_OK) (void)tr_journal_drop_swap(p->journal, id, NULL);
    if (st != TR_OK) return st;
    return tr_company_reply(
        json_pack("{s:I, s:I}", "swap", (json_int_t)id, "at", (json_int_t)at), reply,
        err);
}

/* One that lies before the state is only remembered, for the processes it needs. */
static enum tr_status again(struct tr_ppo_parts *p, const struct tr_journal_swap *s,
                            struct tr_err *err)
{
    struct edit e;
    int64_t committed = tr_plan_ppo_step(p->plan);
    int64_t at = s->applied >= 0 ? s->applied : s->at;
    if (s->rollback) {
        if (s->applied >= 0 && s->applied <= committed) return TR_OK;
        return tr_plan_ppo_rollback(p->plan, p->core, at > 0 ? at : 0, s->id, err);
    }
    enum tr_status st = read_edit(s->slots, &e, err);
    if (st == TR_OK && e.has_wish) st = note_wish(p, &e, err);
    keep_or_drop(p, &e);
    if (st != TR_OK) return st;
    if (s->applied >= 0 && s->applied <= committed) return TR_OK;
    e.swap.at = at > 0 ? at : 0;
    e.swap.ticket = s->id;
    return tr_plan_ppo_swap(p->plan, p->core, &e.swap, err);
}

enum tr_status tr_ppo_ask_again(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_journal_swap s = {.id = -1};
    enum tr_status st = TR_OK;
    while (st == TR_OK && tr_journal_swap_after(p->journal, s.id, &s, NULL) == TR_OK)
        st = again(p, &s, err);
    return st == TR_OK ? TR_OK : tr_err_wrap(err, st, "a swap of before");
}

/* ---- by name ---- */

enum tr_status tr_ppo_ask(void *self, struct tr_core *core, const char *what,
                          const char *argument, struct tr_buf *reply, struct tr_err *err)
{
    struct tr_ppo_parts *p = self;
    if (strcmp(what, "status") == 0) return say_status(p, core, reply, err);
    if (strcmp(what, "swap") == 0) return swap(p, core, argument, reply, err);
    if (strcmp(what, "rollback") == 0) return rollback(p, core, argument, reply, err);
    return tr_journal_report(p->journal, what, argument, reply, err);
}

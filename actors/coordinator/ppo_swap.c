/* ppo_swap.c - the reward set of a PPO run, edited while it runs.
 *
 * A swap waits until its step is about to begin and somebody holds what it needs; then the set
 * changes, the owner is told from which step on, and the set before is remembered for a rollback.
 * Weights of that set stay loaded until the next swap. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/coordinator/plan_ppo_parts.h"

static int64_t find_slot(const struct tr_reward_set *set, const char *name)
{
    for (int64_t i = 0; i < set->n; i++)
        if (strcmp(set->slot[i].name, name) == 0) return i;
    return -1;
}

/* ---- asking for one ---- */

static enum tr_status check_time(const struct tr_plan_ppo *p, int64_t at,
                                 struct tr_err *err)
{
    if (at != 0 && at <= p->begun)
        return tr_err_set(err, TR_BADARG,
                          "step %lld has begun; the next to begin is %lld", (long long)at,
                          (long long)p->begun + 1);
    if (at > p->set.steps)
        return tr_err_set(err, TR_BADARG, "the run has %lld steps",
                          (long long)p->set.steps);
    if (p->swaps == WAITING_SWAPS)
        return tr_err_set(err, TR_BADARG, "%d swaps wait already", WAITING_SWAPS);
    return TR_OK;
}

static enum tr_status check_edit(const struct tr_plan_ppo *p,
                                 const struct tr_ppo_swap *edit, struct tr_err *err)
{
    int64_t slot = find_slot(&p->rewards, edit->name);
    if (edit->remove && slot < 0)
        return tr_err_set(err, TR_BADARG, "there is no reward \"%s\" to remove",
                          edit->name);
    if (edit->remove && p->rewards.n == 1)
        return tr_err_set(err, TR_BADARG, "\"%s\" is the only reward", edit->name);
    if (slot < 0 && !edit->remove && p->rewards.n == TR_REWARDS_MAX)
        return tr_err_set(err, TR_BADARG, "more than %d rewards", TR_REWARDS_MAX);
    return TR_OK;
}

enum tr_status tr_plan_ppo_swap(struct tr_plan_ppo *p, struct tr_core *core,
                                const struct tr_ppo_swap *edit, struct tr_err *err)
{
    struct waiting_swap w = {.edit = *edit, .at = edit->at};
    int64_t post = tr_core_post(core, TR_ROLE_REWARD, edit->name);
    enum tr_status st = check_time(p, edit->at, err);
    if (st == TR_OK) st = check_edit(p, edit, err);
    if (st != TR_OK) return st;
    w.want[0] = -1;
    if (post < 0 && !edit->remove)
        st = tr_core_open_post(core, TR_ROLE_REWARD, edit->name, 0, &post, err);
    if (st == TR_OK && !edit->remove && (edit->folder[0] || edit->known))
        st = tr_core_want(core, post, edit->known ? &edit->digest : NULL, edit->folder,
                          &w.want[0], err);
    if (st == TR_OK) p->swap[p->swaps++] = w;
    return st;
}

enum tr_status tr_plan_ppo_rollback(struct tr_plan_ppo *p, struct tr_core *core,
                                    int64_t at, int64_t ticket, struct tr_err *err)
{
    struct waiting_swap w = {
        .whole = true, .set = p->previous, .at = at, .edit = {.ticket = ticket}};
    enum tr_status st = check_time(p, at, err);
    if (st == TR_OK && !p->has_previous)
        st = tr_err_set(err, TR_BADARG, "nothing was swapped yet");
    for (int64_t i = 0; i < w.set.n && st == TR_OK; i++) {
        const struct tr_reward_slot *s = &w.set.slot[i];
        int64_t post = tr_core_post(core, TR_ROLE_REWARD, s->name);
        if (post < 0)
            st = tr_core_open_post(core, TR_ROLE_REWARD, s->name, 0, &post, err);
        if (st == TR_OK)
            st = tr_core_want(core, post, &s->digest, s->folder, &w.want[i], err);
    }
    if (st == TR_OK) p->swap[p->swaps++] = w;
    return st;
}

/* ---- is it ready? ---- */

/* Somebody holds what was wanted, or serves the new slot; then its digest is known. */
static bool edit_ready(const struct tr_core *core, struct waiting_swap *w)
{
    int64_t post = tr_core_post(core, TR_ROLE_REWARD, w->edit.name);
    if (w->edit.remove) return true;
    if (w->want[0] >= 0) {
        struct tr_core_supply s = tr_core_supplied(core, w->want[0]);
        w->edit.digest = s.digest;
        w->edit.known = s.known;
        return s.known && s.holders > 0;
    }
    if (post < 0 || tr_core_workers(core, post) == 0) return false;
    w->edit.digest = tr_core_digest(core, post);
    w->edit.known = true;
    return true;
}

static bool swap_ready(const struct tr_core *core, struct waiting_swap *w)
{
    if (!w->whole) return edit_ready(core, w);
    for (int64_t i = 0; i < w->set.n; i++)
        if (tr_core_supplied(core, w->want[i]).holders == 0) return false;
    return true;
}

/* Who was told to load it could not, and nobody holds it. */
static bool hopeless(const struct tr_core *core, const struct waiting_swap *w, char *why)
{
    int64_t n = w->whole ? w->set.n : 1;
    for (int64_t i = 0; i < n; i++) {
        if (w->want[i] < 0) continue;
        struct tr_core_supply s = tr_core_supplied(core, w->want[i]);
        if (s.refused == 0 || s.holders > 0) continue;
        snprintf(why, sizeof s.why, "%s", s.why);
        return true;
    }
    return false;
}

static void remove_swap(struct tr_plan_ppo *p, int64_t i)
{
    p->swaps--;
    memmove(p->swap + i, p->swap + i + 1, (size_t)(p->swaps - i) * sizeof *p->swap);
}

static enum tr_status drop_swap(struct tr_plan_ppo *p, struct tr_core *core, int64_t i,
                                const char *why, struct tr_err *err)
{
    struct waiting_swap w = p->swap[i];
    remove_swap(p, i);
    for (int64_t k = 0; k < (w.whole ? w.set.n : 1); k++)
        if (w.want[k] >= 0) tr_core_unwant(core, w.want[k]);
    return p->owner->dropped(p->owner->self, w.edit.ticket, why, err);
}

enum tr_status tr_ppo_drop_hopeless(struct tr_plan_ppo *p, struct tr_core *core,
                                    struct tr_err *err)
{
    char why[256];
    enum tr_status st = TR_OK;
    for (int64_t i = p->swaps - 1; i >= 0 && st == TR_OK; i--)
        if (hopeless(core, &p->swap[i], why)) st = drop_swap(p, core, i, why, err);
    return st;
}

enum tr_status tr_plan_ppo_abandon(struct tr_plan_ppo *p, struct tr_core *core,
                                   const char *name, const char *why, struct tr_err *err)
{
    bool used = find_slot(&p->rewards, name) >= 0;
    int64_t post = tr_core_post(core, TR_ROLE_REWARD, name);
    enum tr_status st = TR_OK;
    for (int k = 0; k < PLACES; k++)
        used = used || (p->making[k].used && find_slot(&p->making[k].set, name) >= 0);
    if (used) return tr_err_set(err, TR_GONE, "steps need the reward %s", name);
    for (int64_t i = p->swaps - 1; i >= 0 && st == TR_OK; i--) {
        const struct waiting_swap *w = &p->swap[i];
        if (w->whole ? find_slot(&w->set, name) >= 0 : strcmp(w->edit.name, name) == 0)
            st = drop_swap(p, core, i, why, err);
    }
    return st == TR_OK && post >= 0 ? tr_core_close_post(core, post, err) : st;
}

/* ---- doing it ---- */

static void edit_set(struct tr_reward_set *set, const struct tr_ppo_swap *e)
{
    int64_t at = find_slot(set, e->name);
    if (e->remove) {
        set->n--;
        memmove(set->slot + at, set->slot + at + 1,
                (size_t)(set->n - at) * sizeof *set->slot);
        return;
    }
    if (at < 0) {
        at = set->n++;
        set->slot[at] = (struct tr_reward_slot){.weight = 1, .replicas = 1};
        snprintf(set->slot[at].name, sizeof set->slot[at].name, "%s", e->name);
    }
    struct tr_reward_slot *s = &set->slot[at];
    bool same = s->known && tr_digest_equal(&s->digest, &e->digest);
    if (!isnan(e->weight)) s->weight = e->weight;
    s->digest = e->digest;
    s->known = true;
    if (e->folder[0] || !same) snprintf(s->folder, sizeof s->folder, "%s", e->folder);
}

static bool uses(const struct tr_reward_set *set, const struct tr_reward_slot *s)
{
    int64_t at = find_slot(set, s->name);
    return at >= 0 && tr_digest_equal(&set->slot[at].digest, &s->digest);
}

/* Weights of the set before the one before are not needed any more, unless a step still is in the
 * making with them. */
static enum tr_status let_go(struct tr_plan_ppo *p, struct tr_core *core,
                             const struct tr_reward_set *old, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < old->n && st == TR_OK; i++) {
        const struct tr_reward_slot *s = &old->slot[i];
        int64_t post = tr_core_post(core, TR_ROLE_REWARD, s->name);
        bool used = uses(&p->rewards, s) || uses(&p->previous, s);
        for (int k = 0; k < PLACES; k++)
            used = used || (p->making[k].used && uses(&p->making[k].set, s));
        if (used || post < 0) continue;
        if (find_slot(&p->rewards, s->name) < 0 && find_slot(&p->previous, s->name) < 0)
            st = tr_core_close_post(core, post, err);
        else
            st = tr_core_retire(core, post, &s->digest, err);
    }
    return st;
}

static bool same_set(const struct tr_reward_set *a, const struct tr_reward_set *b)
{
    if (a->n != b->n) return false;
    for (int64_t i = 0; i < a->n; i++)
        if (strcmp(a->slot[i].name, b->slot[i].name) != 0 ||
            a->slot[i].weight < b->slot[i].weight ||
            a->slot[i].weight > b->slot[i].weight ||
            !tr_digest_equal(&a->slot[i].digest, &b->slot[i].digest))
            return false;
    return true;
}

/* A coordinator that was started anew may be asked for one that its state has already. */
static enum tr_status apply(struct tr_plan_ppo *p, struct tr_core *core, int64_t t,
                            const struct waiting_swap *w, struct tr_err *err)
{
    struct tr_reward_set old = p->previous, next = w->whole ? w->set : p->rewards;
    bool had = p->has_previous;
    if (!w->whole) edit_set(&next, &w->edit);
    if (same_set(&next, &p->rewards))
        return p->owner->swapped(p->owner->self, w->edit.ticket, t, &p->rewards, err);
    p->previous = p->rewards;
    p->has_previous = true;
    p->rewards = next;
    for (int64_t i = 0; i < p->rewards.n; i++) {
        int64_t post = tr_core_post(core, TR_ROLE_REWARD, p->rewards.slot[i].name);
        if (post >= 0) tr_core_set_digest(core, post, &p->rewards.slot[i].digest);
    }
    enum tr_status st = had ? let_go(p, core, &old, err) : TR_OK;
    return st == TR_OK
               ? p->owner->swapped(p->owner->self, w->edit.ticket, t, &p->rewards, err)
               : st;
}

enum tr_status tr_ppo_swaps_due(struct tr_plan_ppo *p, struct tr_core *core, int64_t t,
                                bool *ready, struct tr_err *err)
{
    *ready = true;
    for (int64_t i = 0; i < p->swaps; i++) {
        struct waiting_swap w = p->swap[i];
        bool here =
            (w.at == t || (w.at == 0 && t > p->begun_before)) && swap_ready(core, &w);
        if (!here && w.at == t) *ready = false; /* the step waits for it */
        if (!here) continue;
        remove_swap(p, i--);
        enum tr_status st = apply(p, core, t, &w, err);
        if (st != TR_OK) return st;
    }
    return TR_OK;
}

enum tr_status tr_plan_ppo_swaps(const struct tr_plan_ppo *p, const struct tr_core *core,
                                 struct tr_buf *out, struct tr_err *err)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < p->swaps; i++) {
        struct waiting_swap w = p->swap[i];
        struct tr_core_supply s = {0};
        if (!w.whole && w.want[0] >= 0) s = tr_core_supplied(core, w.want[0]);
        json_array_append_new(list, json_pack("{s:I, s:s, s:b, s:b, s:b, s:s}", "at",
                                              (json_int_t)w.at, "slot",
                                              w.whole ? "" : w.edit.name, "rollback",
                                              w.whole, "remove", w.edit.remove, "ready",
                                              swap_ready(core, &w), "trouble", s.why));
    }
    char *text = list ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    if (!text) return tr_err_set(err, TR_NOMEM, "a list of swaps");
    enum tr_status st = tr_buf_puts(out, text, err);
    free(text);
    return st;
}

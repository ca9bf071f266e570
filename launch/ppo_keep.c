/* What becomes of a step: the journal's row, lines for people, folders to go on from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/checkpoint.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/json.h"
#include "launch/ppo_parts.h"

/* ---- the journal's row ---- */

static enum tr_status write_row(struct tr_ppo_parts *p, const struct tr_ppo_report *r,
                                struct tr_err *err)
{
    size_t n = (size_t)r->n;
    struct tr_journal_rollout *rollout = calloc(n, sizeof *rollout);
    struct tr_journal_score *score = calloc(n * TR_REWARDS_MAX, sizeof *score);
    json_t *metrics = tr_ppo_metrics_json(r);
    char *text = metrics ? tr_json_text(metrics, 0) : NULL;
    enum tr_status st = TR_NOMEM;
    if (rollout && score && text) {
        struct tr_journal_step step = {
            .step = r->step,
            .state = r->state,
            .metrics = text,
            .policy = {.lineage = r->policy_lineage, .weights = r->policy_weights},
            .critic = {.lineage = r->critic_lineage, .weights = r->critic_weights},
        };
        for (int64_t i = 0; i < r->n; i++)
            tr_journal_take_rollout(r, i, score + i * TR_REWARDS_MAX, &rollout[i]);
        st = r->eval ? tr_journal_evaluate(p->journal, r->step, text, rollout, r->n, err)
                     : tr_journal_commit(p->journal, &step, rollout, r->n, err);
    } else {
        st = tr_err_set(err, TR_NOMEM, "a step's row");
    }
    json_decref(metrics);
    free(text);
    free(rollout);
    free(score);
    return st;
}

/* ---- folders ---- */

static enum tr_status name_folder(const struct tr_ppo_parts *p, enum tr_save_kind kind,
                                  enum tr_role role, int64_t step, char *out,
                                  struct tr_err *err)
{
    char name[96];
    bool critic = role == TR_ROLE_CRITIC;
    if (kind == TR_SAVE_SNAPSHOT)
        snprintf(name, sizeof name, "snapshot/%s-%lld", tr_role_name(role),
                 (long long)step);
    else if (kind == TR_SAVE_CHECKPOINT)
        snprintf(name, sizeof name, "%scheckpoint-%lld", critic ? "critic/" : "",
                 (long long)step);
    else
        snprintf(name, sizeof name, "%s", critic ? "critic" : ".");
    return tr_path_join(out, TR_PLACE_BYTES, p->o->output.dir, name, err);
}

static enum tr_status save_one(struct tr_ppo_parts *p, struct tr_core *core,
                               enum tr_save_kind kind, enum tr_role role, int64_t step,
                               const struct tr_digest *lineage, struct tr_err *err)
{
    int64_t at = 0;
    while (at < TR_SAVES_MAX && p->save[at].open) at++;
    if (at == TR_SAVES_MAX && kind == TR_SAVE_MODEL)
        return tr_err_set(err, TR_GONE, "the model: %d saves are waited for already",
                          TR_SAVES_MAX);
    if (at == TR_SAVES_MAX) return TR_OK; /* a learner is far behind: the next will do */
    struct tr_ppo_save *s = &p->save[at];
    *s = (struct tr_ppo_save){
        .open = true, .kind = kind, .role = role, .step = step, .lineage = *lineage};
    enum tr_status st = name_folder(p, kind, role, step, s->folder, err);
    if (st != TR_OK) return st;
    return tr_plan_ppo_save(p->plan, core, role, s->folder, kind != TR_SAVE_MODEL, at,
                            err);
}

static enum tr_status save_both(struct tr_ppo_parts *p, struct tr_core *core,
                                enum tr_save_kind kind, const struct tr_ppo_report *r,
                                struct tr_err *err)
{
    enum tr_status st =
        save_one(p, core, kind, TR_ROLE_POLICY, r->step, &r->policy_lineage, err);
    if (st != TR_OK) return st;
    return save_one(p, core, kind, TR_ROLE_CRITIC, r->step, &r->critic_lineage, err);
}

/* A run that was stopped after its last step: its model may not have been written, and what it is
 * named by is known once it has. */
enum tr_status tr_ppo_save_again(struct tr_ppo_parts *p,
                                 const struct tr_journal_step *last, struct tr_err *err)
{
    struct tr_ppo_report r = {.step = last->step,
                              .policy_lineage = last->policy.lineage,
                              .critic_lineage = last->critic.lineage};
    return save_both(p, p->core, TR_SAVE_MODEL, &r, err);
}

static bool snapshot_due(const struct tr_ppo_parts *p, int64_t step)
{
    const struct tr_ppo_options *q = &p->o->ppo;
    if (q->snapshot_steps > 0 && step - p->snapshot_step >= q->snapshot_steps)
        return true;
    return q->snapshot_seconds > 0 &&
           tr_clock_seconds() - p->snapshot_at >= q->snapshot_seconds;
}

static bool checkpoint_due(const struct tr_ppo_parts *p, int64_t step)
{
    const struct tr_output_options *o = &p->o->output;
    if (o->save_strategy != TR_SAVE_STEPS || o->save_steps < 1) return false;
    return step % (int64_t)o->save_steps == 0;
}

static enum tr_status save_what_is_due(struct tr_ppo_parts *p, struct tr_core *core,
                                       const struct tr_ppo_report *r, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    bool last = r->step == p->set.steps;
    if (p->stopping || checkpoint_due(p, r->step))
        st = save_both(p, core, TR_SAVE_CHECKPOINT, r, err);
    else if (!last && snapshot_due(p, r->step))
        st = save_both(p, core, TR_SAVE_SNAPSHOT, r, err);
    else if (!last)
        return TR_OK;
    p->snapshot_at = tr_clock_seconds();
    p->snapshot_step = r->step;
    if (st == TR_OK && last) st = save_both(p, core, TR_SAVE_MODEL, r, err);
    return st;
}

/* What no snapshot needs any more goes; a checkpoint's folder is the user's. */
static enum tr_status prune(struct tr_ppo_parts *p, enum tr_role role, struct tr_err *err)
{
    enum { KEPT = 2 };
    struct tr_journal_snapshot gone;
    /* with staleness the only one may be too young to go on from: what lies before it is needed */
    if (tr_journal_snapshot(p->journal, role, p->set.staleness, &gone, NULL) != TR_OK)
        return TR_OK;
    enum tr_status st =
        tr_journal_prune(p->journal, role, KEPT + p->set.staleness, &gone, err);
    while (st == TR_OK) {
        if (strstr(gone.folder, "/snapshot/")) st = tr_dir_remove(gone.folder, err);
        if (st == TR_OK)
            st = tr_journal_prune(p->journal, role, KEPT + p->set.staleness, &gone, err);
    }
    return st == TR_AGAIN ? TR_OK : st;
}

/* With staleness a learner begins from the one before the newest, so that stays too. */
static enum tr_status prune_checkpoints(const struct tr_ppo_parts *p,
                                        const struct tr_ppo_save *s, struct tr_err *err)
{
    char run[TR_PLACE_BYTES];
    const int64_t least = 1 + p->set.staleness;
    int64_t limit = p->o->output.save_limit;
    if (limit >= 0 && limit < least) limit = least;
    snprintf(run, sizeof run, "%s", s->folder); /* RUN/checkpoint-N, RUN/critic/... */
    *strrchr(run, '/') = 0;
    return tr_checkpoint_prune(run, limit, s->step, err);
}

enum tr_status tr_ppo_saved(void *self, int64_t ticket, const struct tr_digest *weights,
                            const struct tr_digest *state, struct tr_err *err)
{
    struct tr_ppo_parts *p = self;
    struct tr_ppo_save *s = &p->save[ticket];
    int learner = s->role == TR_ROLE_CRITIC;
    s->open = false;
    *(learner ? &p->out.critic : &p->out.policy) = *weights;
    p->state[learner] = *state;
    if (s->kind == TR_SAVE_MODEL) return TR_OK;
    struct tr_journal_snapshot row = {
        .role = s->role, .step = s->step, .lineage = s->lineage, .weights = *weights};
    snprintf(row.folder, sizeof row.folder, "%s", s->folder);
    enum tr_status st = tr_journal_note_snapshot(p->journal, &row, err);
    if (st == TR_OK) st = prune(p, s->role, err);
    if (st == TR_OK)
        st = tr_ppo_tell_others(p, err); /* it is where a learner begins now */
    if (st != TR_OK || s->kind != TR_SAVE_CHECKPOINT) return st;
    if (!learner) tr_log_info(p->watch->log, "saved %s", s->folder);
    return prune_checkpoints(p, s, err);
}

/* ---- the owner's side ---- */

enum tr_status tr_ppo_started(void *self, const struct tr_ppo_report *r,
                              struct tr_err *err)
{
    struct tr_ppo_parts *p = self;
    struct tr_journal_step step = {
        .step = 0,
        .state = r->state,
        .metrics = "{}",
        .policy = {.lineage = r->policy_lineage, .weights = r->policy_weights},
        .critic = {.lineage = r->critic_lineage, .weights = r->critic_weights},
    };
    return tr_journal_commit(p->journal, &step, NULL, 0, err);
}

enum tr_status tr_ppo_committed(void *self, struct tr_core *core,
                                const struct tr_ppo_report *r, struct tr_err *err)
{
    struct tr_ppo_parts *p = self;
    enum tr_status st =
        tr_journal_note_company(p->journal, core, tr_clock_seconds(), err);
    if (st == TR_OK) st = write_row(p, r, err);
    if (st == TR_OK) st = tr_ppo_log_step(p, r, err);
    if (st == TR_OK) st = save_what_is_due(p, core, r, err);
    tr_step_times_add(&p->out.times.steps, &r->time);
    tr_company_note_busy(&p->out.times, core, tr_clock_seconds());
    p->out.step = r->step;
    p->out.reward = r->metrics.reward;
    p->out.policy = r->policy_weights;
    p->out.critic = r->critic_weights;
    p->step_started = tr_clock_seconds();
    return st;
}

enum tr_status tr_ppo_evaluated(void *self, const struct tr_ppo_report *r,
                                struct tr_err *err)
{
    struct tr_ppo_parts *p = self;
    enum tr_status st = write_row(p, r, err);
    return st == TR_OK ? tr_ppo_log_step(p, r, err) : st;
}

enum tr_status tr_ppo_swapped(void *self, int64_t ticket, int64_t step,
                              const struct tr_reward_set *set, struct tr_err *err)
{
    struct tr_ppo_parts *p = self;
    char text[256] = "";
    size_t used = 0;
    for (int64_t i = 0; i < set->n && used < sizeof text; i++) {
        char digest[65];
        tr_digest_text(&set->slot[i].digest, digest);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %.12s x %g",
                                 i ? ", " : "", set->slot[i].name, digest,
                                 set->slot[i].weight);
    }
    tr_log_info(p->watch->log, "from step %lld on the rewards are: %s", (long long)step,
                text);
    enum tr_status st = tr_journal_event(p->journal, "reward", "", "swapped", text, err);
    return st == TR_OK ? tr_journal_apply_swap(p->journal, ticket, step, err) : st;
}

enum tr_status tr_ppo_dropped(void *self, int64_t ticket, const char *why,
                              struct tr_err *err)
{
    struct tr_ppo_parts *p = self;
    tr_log_warn(p->watch->log, "swap %lld is given up, the rewards stay: %s",
                (long long)ticket, why);
    enum tr_status st =
        tr_journal_event(p->journal, "reward", "", "not swapped", why, err);
    return st == TR_OK ? tr_journal_drop_swap(p->journal, ticket, err) : st;
}

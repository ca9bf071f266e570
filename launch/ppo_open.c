/* Opening a PPO run: models and prompts are looked at first, so that a mistake is told in the first
 * second; then the plan's settings are made of the options. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/model/folder.h"
#include "kernels/philox.h"
#include "launch/ppo_parts.h"

/* ---- models ---- */

enum tr_status tr_ppo_check_model(const struct tr_ppo_parts *p, const char *what,
                                  const char *folder, struct tr_err *err)
{
    struct tr_arch arch;
    struct tr_folder *weights = NULL;
    if (!tr_path_is_dir(folder))
        return tr_err_set(err, TR_BADARG,
                          "%s: %s: no such folder; models are local folders", what,
                          folder);
    enum tr_status st = tr_arch_load(folder, &arch, NULL, err);
    if (st == TR_OK && tr_tokenizer_size(p->tokenizer) > arch.V)
        return tr_err_set(err, TR_BADARG,
                          "%s: %s has %lld ids, the policy's tokenizer %d: tokens travel "
                          "between the roles, so all need one vocabulary",
                          what, folder, (long long)arch.V,
                          (int)tr_tokenizer_size(p->tokenizer));
    /* Whoever joins from another host reads weights of its own. */
    if (st == TR_OK && p->watch->joining.staff)
        st = tr_folder_open(folder, &weights, err);
    tr_folder_close(weights);
    return st == TR_OK ? TR_OK : tr_err_wrap(err, st, "%s", what);
}

static enum tr_status check_models(const struct tr_ppo_parts *p, struct tr_err *err)
{
    const struct tr_roles *r = &p->roles;
    const struct {
        const char *what, *folder;
    } row[] = {{"model_name_or_path", p->o->model.path},
               {"ref_model", p->o->ppo.ref_model},
               {"roles: reference: model", r->role[TR_ROLE_REFERENCE].model},
               {"roles: critic: model", r->role[TR_ROLE_CRITIC].model}};
    enum tr_status st = TR_OK;
    char what[TR_SLOT_BYTES + 32];
    for (size_t i = 0; i < sizeof row / sizeof *row && st == TR_OK; i++)
        if (row[i].folder) st = tr_ppo_check_model(p, row[i].what, row[i].folder, err);
    for (int64_t i = 0; i < r->rewards && st == TR_OK; i++) {
        snprintf(what, sizeof what, "reward %s", r->reward[i].name);
        if (r->reward[i].kind == TR_REWARD_MODEL)
            st = tr_ppo_check_model(p, what, r->reward[i].role.model, err);
    }
    return st;
}

/* It starts from the first reward model of the run, if there is one, whatever a swap loads later. */
static void choose_critic(struct tr_ppo_parts *p)
{
    const char **model = &p->roles.role[TR_ROLE_CRITIC].model;
    for (int64_t i = 0; !*model && i < p->roles.rewards; i++)
        *model = p->roles.reward[i].role.model;
}

/* ---- prompts ---- */

static enum tr_status join(const struct tr_examples *e, const int64_t *pick, int64_t n,
                           struct tr_ppo_prompts *out, struct tr_err *err)
{
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) total += tr_examples_get(e, pick[i])->seq[0].count;
    out->token = malloc((size_t)total * sizeof *out->token + 1);
    out->start = malloc((size_t)(n + 1) * sizeof *out->start);
    if (!out->token || !out->start)
        return tr_err_set(err, TR_NOMEM, "%lld prompts", (long long)n);
    out->start[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        const struct tr_sequence *s = &tr_examples_get(e, pick[i])->seq[0];
        memcpy(out->token + out->start[i], s->id, (size_t)s->count * sizeof *s->id);
        out->start[i + 1] = out->start[i] + s->count;
    }
    out->at = (struct tr_prompts){.count = n, .token = out->token, .start = out->start};
    return TR_OK;
}

static enum tr_status load(struct tr_ppo_parts *p, const char *dataset,
                           struct tr_examples **out, struct tr_err *err)
{
    struct tr_examples_options o = p->o->data;
    struct tr_buf notes;
    tr_buf_init(&notes, 1 << 20);
    o.dataset = dataset;
    enum tr_status st = tr_examples_load(&o, p->tokenizer, out, &notes, err);
    for (const char *line = tr_buf_text(&notes); st == TR_OK && *line;) {
        size_t n = strcspn(line, "\n");
        tr_log_warn(p->watch->log, "%.*s", (int)n, line);
        line += n + (line[n] != 0);
    }
    tr_buf_fini(&notes);
    return st;
}

/* How many of N are held out: a share below 1 is rounded up, as the peer does. */
static int64_t held_out(double val_size, int64_t n)
{
    return val_size < 1 ? (int64_t)ceil(val_size * (double)n) : (int64_t)val_size;
}

/* The last of a random order are held out; the others stay in file order. */
static enum tr_status split(struct tr_ppo_parts *p, const struct tr_examples *e,
                            struct tr_err *err)
{
    int64_t n = tr_examples_count(e), out = held_out(p->o->ppo.val_size, n), k = 0;
    if (out >= n)
        return tr_err_set(err, TR_BADARG, "val_size: %lld of %lld prompts leave none",
                          (long long)out, (long long)n);
    int64_t *order = malloc((size_t)n * sizeof *order), *rest = calloc((size_t)n, 8);
    bool *held = calloc((size_t)n, 1);
    enum tr_status st = TR_OK;
    if (order && rest && held) {
        tr_philox_permutation(tr_philox_key((uint64_t)p->o->steps.seed, TR_FOR_SPLIT), 0,
                              0, n, order);
        for (int64_t i = 0; i < out; i++) held[order[i]] = true;
        for (int64_t i = 0; i < n; i++)
            if (!held[i]) rest[k++] = i;
        st = join(e, rest, k, &p->prompts, err);
        if (st == TR_OK && out > 0) st = join(e, order, out, &p->eval, err);
    } else {
        st = tr_err_set(err, TR_NOMEM, "%lld prompts", (long long)n);
    }
    free(order);
    free(rest);
    free(held);
    return st;
}

static enum tr_status join_all(const struct tr_examples *e, struct tr_ppo_prompts *out,
                               struct tr_err *err)
{
    int64_t n = tr_examples_count(e);
    int64_t *all = malloc((size_t)n * sizeof *all + 1);
    if (!all) return tr_err_set(err, TR_NOMEM, "%lld prompts", (long long)n);
    for (int64_t i = 0; i < n; i++) all[i] = i;
    enum tr_status st = join(e, all, n, out, err);
    free(all);
    return st;
}

static enum tr_status load_prompts(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_examples *e = NULL, *held = NULL;
    enum tr_status st = load(p, p->o->data.dataset, &e, err);
    if (st == TR_OK) st = split(p, e, err);
    if (st == TR_OK && p->o->ppo.eval_dataset) {
        st = load(p, p->o->ppo.eval_dataset, &held, err);
        if (st == TR_OK) st = join_all(held, &p->eval, err);
    }
    int64_t longest = e ? tr_examples_longest(e) : 0;
    if (held && tr_examples_longest(held) > longest) longest = tr_examples_longest(held);
    p->longest = longest + p->o->generate.max_new_tokens;
    tr_examples_destroy(e);
    tr_examples_destroy(held);
    return st;
}

/* ---- settings ---- */

static enum tr_status make_steps(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_ppo_settings *s = &p->set;
    const struct tr_options *o = p->o;
    struct tr_stage_options stage;
    enum tr_status st = tr_options_stage(o, &stage, err);
    if (st != TR_OK) return st;
    s->samples = s->rules.minibatch * o->ppo.buffer;
    if (p->prompts.at.count < s->samples)
        return tr_err_set(
            err, TR_BADARG,
            "%lld prompts, and a step takes %lld (per_device_train_batch_size x "
            "gradient_accumulation_steps x ppo_buffer_size)",
            (long long)p->prompts.at.count, (long long)s->samples);
    int64_t each = p->prompts.at.count / s->samples;
    int64_t rounded = (p->prompts.at.count + s->samples - 1) / s->samples;
    s->steps = o->steps.max_steps > 0 ? o->steps.max_steps
                                      : (int64_t)ceil(o->steps.epochs * (double)each);
    /* The peer's schedule counts the incomplete batch that the loop drops. */
    stage.schedule.total = o->steps.max_steps > 0
                               ? o->steps.max_steps
                               : (int64_t)ceil(o->steps.epochs * (double)rounded);
    stage.schedule.warmup =
        tr_schedule_warmup(stage.warmup_steps, stage.warmup_ratio, stage.schedule.total);
    s->policy_lr = s->critic_lr = stage.schedule;
    if (p->roles.critic_lr > 0) s->critic_lr.lr = p->roles.critic_lr;
    s->policy = s->critic = o->update;
    return TR_OK;
}

static enum tr_status make_stops(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_ids ids = {0};
    enum tr_status st = tr_tokenizer_stops(p->tokenizer, &ids, err);
    int64_t most = sizeof p->set.stop / sizeof *p->set.stop;
    for (int64_t i = 0; i < ids.count && p->set.stops < most; i++)
        p->set.stop[p->set.stops++] = ids.at[i];
    tr_ids_fini(&ids);
    return st;
}

static enum tr_status make_settings(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_ppo_settings *s = &p->set;
    const struct tr_options *o = p->o;
    struct tr_arch arch;
    enum tr_status st = tr_arch_load(o->model.path, &arch, NULL, err);
    if (st != TR_OK) return st;
    *s = (struct tr_ppo_settings){
        .seed = (uint64_t)o->steps.seed,
        .vocab = arch.V,
        .staleness = o->ppo.staleness,
        .sampling = {.temperature =
                         o->generate.sample ? (float)o->generate.temperature : 0,
                     .top_k = (int32_t)o->generate.top_k,
                     .top_p = (float)o->generate.top_p,
                     .repetition_penalty = (float)o->generate.repetition_penalty},
        .max_new_tokens = o->generate.max_new_tokens,
    };
    if (p->longest > arch.max_positions)
        return tr_err_set(
            err, TR_BADARG,
            "prompts and max_new_tokens come to %lld tokens; the model has %lld "
            "positions: set a smaller cutoff_len or max_new_tokens",
            (long long)p->longest, (long long)arch.max_positions);
    st = tr_options_ppo_rules(o, &s->rules, err);
    if (st == TR_OK) st = make_steps(p, err);
    if (st == TR_OK) st = make_stops(p, err);
    if (st != TR_OK) return st;
    s->eval_every = p->eval.at.count == 0   ? 0
                    : o->ppo.eval_steps > 0 ? o->ppo.eval_steps
                                            : s->steps;
    s->rewards.n = p->roles.rewards;
    for (int64_t i = 0; i < p->roles.rewards; i++) {
        const struct tr_reward_wish *w = &p->roles.reward[i];
        struct tr_reward_slot *slot = &s->rewards.slot[i];
        *slot =
            (struct tr_reward_slot){.weight = w->weight, .replicas = w->role.replicas};
        snprintf(slot->name, sizeof slot->name, "%s", w->name);
        snprintf(slot->folder, sizeof slot->folder, "%s",
                 w->role.model ? w->role.model : "");
    }
    return TR_OK;
}

/* ---- all of it ---- */

enum tr_status tr_ppo_open(struct tr_ppo_parts *p, struct tr_err *err)
{
    enum tr_status st =
        tr_roles_read(p->o->roles, p->where, p->o->ppo.reward_model, &p->roles, err);
    if (st == TR_OK && p->roles.rewards == 0)
        st = tr_err_set(err, TR_BADARG,
                        "%s: reward_model is missing (or reward in roles): PPO needs one",
                        p->where);
    if (st == TR_OK && !tr_path_is_dir(p->o->model.path))
        st =
            tr_err_set(err, TR_BADARG,
                       "model_name_or_path: %s: no such folder; models are local folders",
                       p->o->model.path);
    if (st == TR_OK) st = tr_tokenizer_open(p->o->model.path, &p->tokenizer, err);
    if (st == TR_OK) st = check_models(p, err);
    choose_critic(p);
    if (st == TR_OK) st = load_prompts(p, err);
    if (st == TR_OK) st = make_settings(p, err);
    return st == TR_OK ? tr_ppo_choose_recompute(p, err) : st;
}

static void free_prompts(struct tr_ppo_prompts *p)
{
    free(p->token);
    free(p->start);
}

void tr_ppo_close(struct tr_ppo_parts *p, double seconds)
{
    if (p->staff) tr_staff_destroy(p->staff, seconds);
    tr_seats_fini(&p->seats);
    tr_core_destroy(p->core);
    tr_plan_ppo_destroy(p->plan);
    tr_wire_close(p->wire);
    tr_journal_close(p->journal);
    tr_packed_dir_close(p->packed);
    free_prompts(&p->prompts);
    free_prompts(&p->eval);
    tr_tokenizer_close(p->tokenizer);
    json_decref(p->history);
    json_decref(p->kept);
}

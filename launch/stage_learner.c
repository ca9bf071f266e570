/* Who learns: a learner in this process, or `troupe role policy` in one of its own. Both are
 * opened with the same words, and taught through the same units (actors/course.h). */
#include <stdio.h>
#include <string.h>

#include "actors/checkpoint.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/model/memory.h"
#include "launch/stage_parts.h"
#include "launch/version.h"
#include "proto/wire.h"

static const double join_seconds = 600; /* reading a large model takes its time */

/* Activations are recomputed when that is asked for, or when keeping them would take more than
 * three quarters of what the host has: it costs time and changes no bit. */
static enum tr_status choose_recompute(const struct tr_stage_parts *p,
                                       struct tr_learner_start *start, struct tr_err *err)
{
    struct tr_memory need;
    char text[256];
    size_t there = 0;
    start->recompute = p->o->model.recompute == 1;
    enum tr_status st = tr_memory_available("", &there, err);
    if (st == TR_OK) st = tr_learner_memory(start, &need, err);
    if (st != TR_OK) return st;
    bool open = p->o->model.recompute < 0 && !p->o->model.never_recompute;
    if (open && need.total > there / 4 * 3) {
        start->recompute = true;
        st = tr_learner_memory(start, &need, err);
    }
    tr_memory_text(&need, text, sizeof text);
    tr_log_info(p->watch->log, "memory: %s, %.1f GiB available%s", text,
                (double)there / 1073741824.0,
                start->recompute ? ", activations recomputed" : "");
    return st;
}

/* The peer's estimate: 6 operations a token and parameter outside the embedding. */
static double flos_per_token(const struct tr_params *params)
{
    int64_t n = 0;
    for (int64_t i = 0; i < tr_params_count(params); i++)
        n += tr_param_elements(tr_params_get(params, i));
    return 6.0 * (double)(n - tr_param_elements(tr_params_outer(params)->embed));
}

/* ---- here ---- */

static enum tr_status open_here(struct tr_stage_parts *p,
                                const struct tr_learner_start *start,
                                const char *checkpoint, struct tr_err *err)
{
    enum tr_status st = tr_learner_open(p->ex, start, &p->learner, err);
    if (st == TR_OK && checkpoint[0]) {
        st = tr_checkpoint_read(p->learner, checkpoint, err);
        if (st != TR_OK) return tr_err_wrap(err, st, "resume");
    }
    if (st != TR_OK) return st;
    struct tr_course_judges judges = tr_stage_judges(p);
    if (p->o->stage == TR_KTO && start->from_scratch && !p->o->ppo.ref_model)
        return tr_err_set(err, TR_BADARG,
                          "train_from_scratch: kto needs a reference: set ref_model");
    const char *other = p->roles.role[TR_ROLE_REFERENCE].model;
    p->reference =
        (struct tr_role_start){.ex = p->ex,
                               .folder = other                 ? other
                                         : p->o->ppo.ref_model ? p->o->ppo.ref_model
                                                               : start->model,
                               .bf16 = start->bf16,
                               .max_tokens = start->max_tokens};
    return tr_course_open_here(p->learner, start->model,
                               p->o->stage == TR_KTO ? &judges : NULL, &p->course, err);
}

/* ---- in processes of their own ---- */

static void add_learner(struct tr_stage_parts *p, struct tr_words *w)
{
    const struct tr_learner_start *start = &p->start;
    int64_t step = 0;
    tr_words_add(w, "--model", start->model);
    tr_words_number(w, "--threads", tr_team_threads(p->ex->team));
    tr_words_number(w, "--max-tokens", start->max_tokens);
    tr_words_number(w, "--max-sequences", start->max_sequences);
    if (start->from_scratch) tr_words_add(w, "--from-scratch", NULL);
    if (!start->lm_head) tr_words_add(w, "--no-lm-head", NULL);
    if (start->value_head) tr_words_add(w, "--value-head", NULL);
    if (start->recompute) tr_words_add(w, "--recompute", NULL);
    if (p->restarted &&
        tr_stage_newest(p, p->newest, sizeof p->newest, &step, NULL) != TR_OK)
        p->newest[0] = 0;
    if (p->newest[0]) tr_words_add(w, "--checkpoint", p->newest);
    p->restarted = true;
}

static void add_reference(struct tr_stage_parts *p, struct tr_words *w)
{
    const struct tr_role_wish *wish = &p->roles.role[TR_ROLE_REFERENCE];
    const char *other = wish->model ? wish->model : p->o->ppo.ref_model;
    tr_words_add(w, "--model", other ? other : p->start.model);
    tr_words_number(w, "--threads", wish->threads);
    tr_words_number(w, "--max-tokens", p->start.max_tokens);
}

static enum tr_status words(void *self, const struct tr_member *m, struct tr_words *w,
                            struct tr_err *err)
{
    struct tr_stage_parts *p = self;
    (void)err;
    tr_words_add(w, "role", tr_role_name(m->role));
    tr_words_add(w, "--name", m->name);
    tr_words_add(w, "--join", p->address);
    if (p->roles.keys) tr_words_add(w, "--keys", p->roles.keys);
    tr_words_add(w, "--isa", tr_exec_isa(p->ex));
    tr_words_add(w, "--math", p->ex->math == TR_MATH_EXACT ? "exact" : "openblas");
    tr_words_number(w, "--seed", (int64_t)p->start.seed);
    if (p->start.bf16) tr_words_add(w, "--bf16", NULL);
    if (m->role == TR_ROLE_POLICY)
        add_learner(p, w);
    else
        add_reference(p, w);
    return TR_OK;
}

static enum tr_status tend(void *ctx, struct tr_err *err)
{
    struct tr_stage_parts *p = ctx;
    return tr_staff_tend(p->staff, tr_clock_seconds(), err);
}

static enum tr_status open_journal(struct tr_stage_parts *p, struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    struct tr_journal_meta fresh = {.run = "stage", .seed = p->start.seed};
    snprintf(fresh.version, sizeof fresh.version, "%s", TR_VERSION);
    enum tr_status st = tr_path_join(path, sizeof path, p->o->output.dir, "run.db", err);
    if (st == TR_OK) st = tr_journal_open(path, NULL, &fresh, &p->journal, err);
    if (st == TR_OK) p->memo = tr_journal_memo(p->journal);
    return st;
}

static enum tr_status listen_for(struct tr_stage_parts *p, struct tr_err *err)
{
    struct tr_course_judges judges = tr_stage_judges(p);
    struct tr_keys keys = {.n = 0};
    enum tr_status st = TR_OK;
    judges.reference = NULL;
    if (p->roles.keys) st = tr_keys_open(p->roles.keys, TR_KEY_SERVER, &keys, err);
    struct tr_course_served s = {.address = p->roles.listen,
                                 .keys = p->roles.keys ? &keys : NULL,
                                 .join_seconds = join_seconds,
                                 .memo = &p->memo,
                                 .log = p->watch->log};
    if (st == TR_OK)
        st = tr_course_open_served(&s, p->o->stage == TR_KTO ? &judges : NULL, p->address,
                                   &p->course, err);
    tr_keys_close(&keys);
    return st;
}

static enum tr_status open_served(struct tr_stage_parts *p, const char *checkpoint,
                                  struct tr_err *err)
{
    enum tr_status st =
        tr_path_join(p->logs, sizeof p->logs, p->o->output.dir, "logs", err);
    snprintf(p->newest, sizeof p->newest, "%s", checkpoint);
    struct tr_staff_settings staff = {
        .logs = p->logs, .log = p->watch->log, .words = words, .self = p};
    if (st == TR_OK) st = tr_dir_make(p->logs, err);
    if (st == TR_OK) st = open_journal(p, err);
    if (st == TR_OK) st = listen_for(p, err);
    if (st == TR_OK) st = tr_staff_create(&staff, &p->staff, err);
    if (st == TR_OK) st = tr_staff_add(p->staff, TR_ROLE_POLICY, "", 1, err);
    if (st == TR_OK && p->o->stage == TR_KTO)
        st = tr_staff_add(p->staff, TR_ROLE_REFERENCE, "",
                          p->roles.role[TR_ROLE_REFERENCE].replicas, err);
    if (st != TR_OK) return st;
    tr_course_watch(p->course, tend, p);
    tr_log_info(p->watch->log, "listening on %s; what the roles say is in %s", p->address,
                p->logs);
    return TR_OK;
}

/* ---- either ---- */

static enum tr_status estimate_flos(struct tr_stage_parts *p, const struct tr_arch *arch,
                                    const struct tr_learner_start *start,
                                    struct tr_err *err)
{
    struct tr_params *params = NULL;
    enum tr_status st =
        tr_params_create(arch, start->lm_head, start->value_head, &params, err);
    if (st == TR_OK) p->flos_per_token = flos_per_token(params);
    tr_params_destroy(params);
    return st;
}

enum tr_status tr_stage_open_learner(struct tr_stage_parts *p, const char *checkpoint,
                                     struct tr_err *err)
{
    struct tr_arch arch;
    enum tr_status st = tr_arch_load(p->o->model.path, &arch, NULL, err);
    if (st != TR_OK) return st;
    bool rm = p->o->stage == TR_RM;
    struct tr_learner_start start = {
        .model = p->o->model.path,
        .from_scratch = p->o->model.from_scratch,
        .seed = (uint64_t)p->o->steps.seed,
        .lm_head = !rm || !arch.tied, /* an untied one is kept for the folder's sake */
        .value_head = rm,
        .bf16 = p->o->model.bf16,
    };
    if (tr_tokenizer_size(p->tokenizer) > arch.V)
        tr_log_warn(p->watch->log,
                    "the tokenizer has %d ids, the model's vocabulary %lld: ids beyond "
                    "it are refused when they occur",
                    (int)tr_tokenizer_size(p->tokenizer), (long long)arch.V);
    tr_stage_micro_batch(p->plan, &start.max_tokens, &start.max_sequences);
    st = choose_recompute(p, &start, err);
    if (st == TR_OK) st = estimate_flos(p, &arch, &start, err);
    if (st != TR_OK) return st;
    p->start = start;
    st = tr_roles_read(p->o->roles, "roles", NULL, &p->roles, err);
    if (st != TR_OK) return st;
    return json_object_get(p->o->roles, "policy") ||
                   json_object_get(p->o->roles, "reference")
               ? open_served(p, checkpoint, err)
               : open_here(p, &start, checkpoint, err);
}

void tr_stage_close_learner(struct tr_stage_parts *p)
{
    if (p->staff) tr_staff_rest(p->staff);
    tr_course_close(p->course);
    tr_staff_destroy(p->staff, 10);
    tr_journal_close(p->journal);
    tr_learner_close(p->learner);
    tr_stage_close_judges(p);
}

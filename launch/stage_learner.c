/* The processes of a run: `troupe role policy`, which learns, and kto's references. They are started,
 * watched and asked as those of PPO are (actors/course.h). */
#include <stdio.h>
#include <string.h>

#include "actors/evaluator.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "launch/room.h"
#include "launch/stage_parts.h"

/* The peer's estimate: 6 operations a token and parameter outside the embedding. */
static double flos_per_token(const struct tr_params *params)
{
    int64_t n = 0;
    for (int64_t i = 0; i < tr_params_count(params); i++)
        n += tr_param_elements(tr_params_get(params, i));
    return 6.0 * (double)(n - tr_param_elements(tr_params_outer(params)->embed));
}

/* ---- command lines ---- */

/* What a learner that fell goes on from: the newest folder of this run, or what the run began with. */
static void find_newest(struct tr_stage_parts *p)
{
    struct tr_journal_snapshot s;
    for (int64_t back = 0;
         tr_journal_snapshot(p->journal, TR_ROLE_POLICY, back, &s, NULL) == TR_OK &&
         s.step > p->first_step;
         back++) {
        if (!tr_path_is_dir(s.folder)) continue;
        snprintf(p->newest, sizeof p->newest, "%s", s.folder);
        return;
    }
}

static void add_learner(struct tr_stage_parts *p, struct tr_words *w)
{
    const struct tr_learner_start *start = &p->start;
    tr_words_add(w, "--model", start->model);
    tr_words_number(w, "--max-tokens", start->max_tokens);
    tr_words_number(w, "--max-sequences", start->max_sequences);
    if (start->from_scratch) tr_words_add(w, "--from-scratch", NULL);
    if (!start->lm_head) tr_words_add(w, "--no-lm-head", NULL);
    if (start->value_head) tr_words_add(w, "--value-head", NULL);
    if (start->recompute) tr_words_add(w, "--recompute", NULL);
    if (p->restarted) find_newest(p);
    if (p->newest[0]) tr_words_add(w, "--checkpoint", p->newest);
    p->restarted = true;
}

static const char *reference_model(const struct tr_stage_parts *p)
{
    const char *named = p->roles.role[TR_ROLE_REFERENCE].model;
    if (!named) named = p->o->ppo.ref_model;
    return named ? named : p->start.model;
}

static void add_reference(struct tr_stage_parts *p, struct tr_words *w)
{
    tr_words_add(w, "--model", reference_model(p));
    tr_words_number(w, "--max-tokens", p->start.max_tokens);
}

/* Who asked for a number of threads gets it, also where that is more than the cores. */
static void add_seat(struct tr_stage_parts *p, const struct tr_member *m,
                     struct tr_words *w)
{
    int64_t threads = p->roles.role[m->role].threads;
    if (threads > 0 && !p->seats.places.bound)
        tr_words_number(w, "--threads", threads);
    else
        tr_seats_words(&p->seats, m, threads, w);
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
    add_seat(p, m, w);
    if (p->watch->joining.staff) tr_words_add(w, "--isa", tr_exec_isa(p->ex));
    tr_words_add(w, "--math", tr_math_name(p->ex->math));
    tr_words_number(w, "--seed", (int64_t)p->start.seed);
    if (p->start.bf16) tr_words_add(w, "--bf16", NULL);
    if (m->role == TR_ROLE_POLICY)
        add_learner(p, w);
    else
        add_reference(p, w);
    return TR_OK;
}

/* ---- journal, address, processes ---- */

static bool needed(void *self, const struct tr_member *m)
{
    const struct tr_stage_parts *p = self;
    return tr_keeper_needs(&p->keeper, m);
}

static void fell(void *self, const struct tr_member *m, int64_t times)
{
    const struct tr_stage_parts *p = self;
    tr_keeper_fell(&p->keeper, m, times);
}

static bool answered(void *self, const struct tr_member *m, double since)
{
    const struct tr_stage_parts *p = self;
    return tr_keeper_answered(&p->keeper, m, since);
}

static enum tr_status lost(void *self, const struct tr_member *m, enum tr_status st,
                           struct tr_err *err)
{
    const struct tr_stage_parts *p = self;
    return tr_keeper_lost(&p->keeper, m, st, err);
}

static enum tr_status tend(void *ctx, struct tr_err *err)
{
    struct tr_stage_parts *p = ctx;
    enum tr_status st =
        p->staff ? tr_staff_tend(p->staff, tr_clock_seconds(), err) : TR_OK;
    return st == TR_OK ? tr_stage_hear_stop(p, err) : st;
}

/* The checkpoint is what a run goes on from: the journal follows it. */
static enum tr_status open_journal(struct tr_stage_parts *p, struct tr_err *err)
{
    enum tr_status st = tr_home_journal(p->o, p->identity.stage, &p->journal, err);
    if (st != TR_OK) return st;
    struct tr_journal_meta meta = tr_journal_meta(p->journal);
    memcpy(p->run, meta.run, sizeof p->run);
    p->memo = tr_journal_memo(p->journal);
    return tr_journal_go_back(p->journal, tr_stage_progress(p->plan).step, err);
}

static int64_t references(const struct tr_stage_parts *p)
{
    return p->o->stage == TR_KTO ? p->roles.role[TR_ROLE_REFERENCE].replicas : 0;
}

static enum tr_status open_course(struct tr_stage_parts *p, struct tr_err *err)
{
    const struct tr_course_settings s = {.run = p->run,
                                         .wire = p->wire,
                                         .math = tr_math_name(p->ex->math),
                                         .join_seconds =
                                             tr_joining_seconds(&p->watch->joining),
                                         .references = references(p),
                                         .memo = &p->memo,
                                         .log = p->watch->log};
    const struct tr_course_owner owner = {
        .ctx = p, .tend = tend, .told = tr_stage_judged, .ask = tr_stage_answer};
    return tr_course_open(&s, &owner, &p->course, err);
}

static enum tr_status start_staff(struct tr_stage_parts *p, struct tr_err *err)
{
    enum tr_status st =
        tr_path_join(p->logs, sizeof p->logs, p->o->output.dir, "logs", err);
    const struct tr_staff_settings s = {.logs = p->logs,
                                        .log = p->watch->log,
                                        .words = words,
                                        .needed = needed,
                                        .fell = fell,
                                        .answered = answered,
                                        .lost = lost,
                                        .self = p};
    p->keeper = (struct tr_keeper){tr_course_core(p->course), p->journal, p->watch->log};
    tr_seats_take(&p->seats, &p->roles, true, p->watch->log);
    if (st == TR_OK) st = tr_staff_create(&s, &p->staff, err);
    if (st == TR_OK) st = tr_staff_add(p->staff, TR_ROLE_POLICY, "", 1, err);
    if (st == TR_OK)
        st = tr_staff_add(p->staff, TR_ROLE_REFERENCE, "", references(p), err);
    return st;
}

enum tr_status tr_stage_tell_others(struct tr_stage_parts *p, struct tr_err *err)
{
    const struct tr_staff_settings s = {.words = words, .self = p};
    const struct tr_member post[] = {tr_member_of(TR_ROLE_POLICY, ""),
                                     tr_member_of(TR_ROLE_REFERENCE, "")};
    return tr_staff_tell(&s, &p->watch->joining, p->address, post,
                         p->o->stage == TR_KTO ? 2 : 1, err);
}

/* ---- what can be told before anything is started ---- */

static enum tr_status check_reference(const struct tr_stage_parts *p, struct tr_err *err)
{
    struct tr_arch arch;
    const char *model = reference_model(p);
    if (p->o->stage != TR_KTO) return TR_OK;
    if (p->start.from_scratch && strcmp(model, p->start.model) == 0)
        return tr_err_set(err, TR_BADARG,
                          "train_from_scratch: kto needs a reference: set ref_model");
    if (!tr_path_is_dir(model))
        return tr_err_set(err, TR_BADARG,
                          "ref_model: %s: no such folder; models are local folders",
                          model);
    return tr_arch_load(model, &arch, NULL, err);
}

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

/* Learner and references of this host. */
static enum tr_status estimate(void *self, bool recompute, struct tr_memory *need,
                               struct tr_err *err)
{
    struct tr_stage_parts *p = self;
    struct tr_arch arch;
    struct tr_params *params = NULL;
    p->start.recompute = recompute;
    enum tr_status st = tr_learner_memory(&p->start, need, err);
    if (st != TR_OK || references(p) == 0) return st;
    st = tr_arch_load(reference_model(p), &arch, NULL, err);
    if (st == TR_OK) st = tr_params_create(&arch, true, false, &params, err);
    if (st != TR_OK) return st;
    tr_memory_add(need, "references",
                  (size_t)references(p) *
                      tr_evaluator_bytes(params, p->start.bf16, p->start.max_tokens));
    tr_params_destroy(params);
    return TR_OK;
}

static enum tr_status choose_recompute(struct tr_stage_parts *p, struct tr_err *err)
{
    const struct tr_room room = {.o = p->o,
                                 .log = p->watch->log,
                                 .here = p->watch->joining.staff,
                                 .estimate = estimate,
                                 .self = p};
    return tr_room_choose(&room, &p->start.recompute, err);
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
    p->start = start;
    snprintf(p->newest, sizeof p->newest, "%s", checkpoint);
    st = tr_roles_read(p->o->roles, "roles", NULL, &p->roles, err);
    if (st == TR_OK) tr_roles_of_stage(&p->roles, p->identity.stage, p->o->exec.threads);
    if (st == TR_OK) st = check_reference(p, err);
    if (st == TR_OK) st = choose_recompute(p, err);
    if (st == TR_OK) st = estimate_flos(p, &arch, &start, err);
    if (st == TR_OK) st = open_journal(p, err);
    if (st == TR_OK) st = tr_home_sweep(p->o->output.dir, err);
    if (st == TR_OK)
        st = tr_home_listen(p->o->output.dir, &p->roles, p->run, p->watch->log,
                            p->address, &p->wire, err);
    if (st == TR_OK) st = open_course(p, err);
    if (st == TR_OK && p->watch->joining.staff) st = start_staff(p, err);
    return st == TR_OK ? tr_stage_tell_others(p, err) : st;
}

void tr_stage_close_learner(struct tr_stage_parts *p, bool ended_well)
{
    if (p->staff) tr_staff_rest(p->staff);
    tr_course_close(p->course);
    tr_staff_destroy(p->staff, ended_well ? 10 : 0);
    tr_seats_fini(&p->seats);
    tr_wire_close(p->wire);
    tr_journal_close(p->journal);
    tr_stage_close_judges(p);
}

#include "launch/ppo_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/coordinator/serve.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/watch/trainer_log.h"
#include "launch/home.h"
#include "launch/ppo_parts.h"

static const double remind_share =
    0.05; /* of that: then people are told who is missing */
static const double silence_seconds = 60; /* signs of life come every second */
static const double absent_seconds = 3600;
static const double goodbye_seconds = 10;

/* ---- is it the same run? ---- */

/* A folder with results, whose journal is gone or empty, is not begun anew over them. */
static enum tr_status check_results(const struct tr_ppo_parts *p, struct tr_err *err)
{
    const char *dir = p->o->output.dir;
    char db[TR_PLACE_BYTES], results[TR_PLACE_BYTES];
    struct stat sb;
    enum tr_status st = tr_path_join(db, sizeof db, dir, "run.db", err);
    if (st == TR_OK)
        st = tr_path_join(results, sizeof results, dir, "trainer_state.json", err);
    if (st != TR_OK || p->o->output.overwrite || !tr_path_exists(results)) return st;
    if (stat(db, &sb) == 0 && sb.st_size > 0) return TR_OK;
    return tr_err_set(err, TR_BADARG,
                      "output_dir %s: holds the results of a run, but run.db is gone or "
                      "empty; set overwrite_output_dir: true or name another folder",
                      dir);
}

static enum tr_status open_journal(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_digest config;
    enum tr_status st = check_results(p, err);
    if (st == TR_OK) st = tr_home_config(p->o, &config, err);
    if (st == TR_OK) st = tr_home_journal(p->o, "ppo", &p->journal, err);
    if (st != TR_OK) return st;
    struct tr_journal_meta meta = tr_journal_meta(p->journal);
    memcpy(p->run, meta.run, sizeof p->run);
    p->memo = tr_journal_memo(p->journal);
    if (tr_digest_equal(&meta.config, &config)) return TR_OK;
    return tr_err_set(err, TR_BADARG,
                      "output_dir %s: holds a run with other settings (its run.yaml says "
                      "which); set overwrite_output_dir: true or name another folder",
                      p->o->output.dir);
}

/* ---- the company ---- */

static enum tr_status make_core(struct tr_ppo_parts *p, const char *state,
                                struct tr_err *err)
{
    double join = tr_joining_seconds(&p->watch->joining);
    struct tr_core_settings s = {.join_seconds = join,
                                 .remind_seconds = remind_share * join,
                                 .silence_seconds = silence_seconds,
                                 .absent_seconds = absent_seconds,
                                 .here_seconds = 5,
                                 .attempts = 100};
    int64_t replicas[TR_ROLES];
    for (int r = 0; r < TR_ROLES; r++) replicas[r] = p->roles.role[r].replicas;
    memcpy(s.run, p->run, sizeof s.run);
    snprintf(s.math, sizeof s.math, "%s", tr_math_name((enum tr_math)p->o->exec.math));
    p->owner = (struct tr_ppo_owner){.self = p,
                                     .started = tr_ppo_started,
                                     .committed = tr_ppo_committed,
                                     .evaluated = tr_ppo_evaluated,
                                     .saved = tr_ppo_saved,
                                     .swapped = tr_ppo_swapped,
                                     .dropped = tr_ppo_dropped,
                                     .ask = tr_ppo_ask};
    enum tr_status st = tr_plan_ppo_create(&p->set, &p->prompts.at, &p->eval.at,
                                           &p->owner, &p->plan, err);
    p->planner = tr_plan_ppo_planner(p->plan);
    if (st == TR_OK)
        st = tr_core_create(&s, &p->planner, &p->memo, tr_clock_seconds(), &p->core, err);
    return st == TR_OK ? tr_plan_ppo_open(p->plan, p->core, replicas, state, err) : st;
}

struct way { /* of a learner, from where it begins to where the run is */
    int64_t step, units;
    double seconds;
};

/* From its snapshot, or from the start of the run. A snapshot that is gone cannot be made up for: learn
 * units before it are not kept. */
static enum tr_status find_way(struct tr_ppo_parts *p, enum tr_role role,
                               const struct tr_digest *to, struct way *out,
                               struct tr_err *err)
{
    struct tr_journal_step first;
    struct tr_digest from = {{0}};
    *out = (struct way){.step = 0};
    if (tr_ppo_snapshot(p, role)) {
        out->step = p->snapshot.step;
        from = p->snapshot.lineage;
    } else if (tr_journal_step_after(p->journal, -1, &first, NULL) == TR_OK) {
        from = role == TR_ROLE_POLICY ? first.policy.lineage : first.critic.lineage;
    }
    enum tr_status st =
        tr_journal_replay_cost(p->journal, role, &from, &out->units, &out->seconds, err);
    /* Processes that others started may be where the run is. */
    if (st == TR_OK && p->watch->joining.staff && out->units == 0 &&
        !tr_digest_equal(&from, to))
        st = tr_err_set(
            err, TR_BADARG,
            "%s: no folder is left from which a %s can go on: put a checkpoint "
            "of it back, or set overwrite_output_dir: true to begin anew",
            p->o->output.dir, tr_role_name(role));
    return st;
}

/* How much has to be learnt again. */
static enum tr_status say_where(struct tr_ppo_parts *p,
                                const struct tr_journal_learner *policy,
                                const struct tr_journal_learner *critic,
                                struct tr_err *err)
{
    struct way way, other;
    enum tr_status st = find_way(p, TR_ROLE_CRITIC, &critic->lineage, &other, err);
    if (st == TR_OK) st = find_way(p, TR_ROLE_POLICY, &policy->lineage, &way, err);
    if (st != TR_OK) return st;
    tr_log_info(p->watch->log,
                "going on after step %lld; %s %lld, %lld optimiser steps to learn again, "
                "about %.0f s",
                (long long)p->first_step,
                way.step ? "the last snapshot is of step"
                         : "the learners begin with step",
                (long long)way.step, (long long)way.units, way.seconds);
    return TR_OK;
}

static enum tr_status go_on(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_journal_step last = {.step = 0};
    int64_t logged = 0;
    enum tr_status st = tr_journal_last(p->journal, &last, err);
    const struct tr_journal_learner policy = last.policy, critic = last.critic;
    bool before = st == TR_OK;
    if (st != TR_OK && st != TR_AGAIN) return st;
    st = make_core(p, before ? last.state : NULL, err);
    if (st == TR_OK) st = tr_ppo_ask_again(p, err);
    p->first_step = p->snapshot_step = tr_plan_ppo_step(p->plan);
    p->out.step = p->first_step;
    if (st == TR_OK)
        st = tr_trainer_log_trim(p->o->output.dir, p->first_step, &logged, err);
    if (st == TR_OK && before && logged < p->first_step) st = tr_ppo_log_again(p, err);
    if (st == TR_OK && before && p->first_step >= p->set.steps)
        st = tr_ppo_save_again(p, &last, err);
    if (st != TR_OK || !before) return st;
    return say_where(p, &policy, &critic, err);
}

/* Where the policy puts its weights for others of this host. */
static enum tr_status open_weights(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_arch arch;
    struct tr_params *params = NULL;
    tr_packed_dir_clean("/dev/shm");
    enum tr_status st = tr_arch_load(p->o->model.path, &arch, NULL, err);
    if (st == TR_OK) st = tr_params_create(&arch, true, false, &params, err);
    if (st != TR_OK) return st;
    size_t each = tr_packed_bytes(params, p->o->model.bf16);
    tr_params_destroy(params);
    st = tr_packed_dir_choose("/dev/shm", p->run, p->o->output.dir,
                              each * (size_t)(p->set.staleness + 3), p->weights, err);
    return st == TR_OK ? tr_packed_dir_open(p->weights, &p->packed, err) : st;
}

/* ---- the loop ---- */

/* The first signal ends the run after the step in hand. That may never come, when a role cannot be
 * had: the second ends it as kill -9 would, with what is committed kept. */
static enum tr_status hear_stop(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct signalfd_siginfo which;
    int fd = p->watch->stop_fd;
    if (fd < 0 || read(fd, &which, sizeof which) != (ssize_t)sizeof which) return TR_OK;
    if (!tr_core_started(p->core))
        return tr_err_set(err, TR_AGAIN,
                          "stopped before all had joined; the same command goes on");
    if (p->stopping)
        return tr_err_set(err, TR_GONE,
                          "stopped at once: the step in hand will be made again");
    p->stopping = true;
    tr_log_info(p->watch->log, "stopping: the step in hand is finished and saved");
    tr_plan_ppo_stop(p->plan);
    return TR_OK;
}

static enum tr_status loop(struct tr_ppo_parts *p, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    while (st == TR_OK && !tr_core_over(p->core)) {
        st = tr_serve_turn(p->core, p->wire, p->watch->log, err);
        if (st == TR_OK && p->staff)
            st = tr_staff_tend(p->staff, tr_clock_seconds(), err);
        if (st == TR_OK) st = hear_stop(p, err);
    }
    if (p->staff) tr_staff_rest(p->staff);
    return st;
}

static enum tr_status begin(struct tr_ppo_parts *p, struct tr_err *err)
{
    const char *dir = p->o->output.dir;
    enum tr_status st = tr_dir_make(dir, err);
    if (st == TR_OK && p->o->output.overwrite) st = tr_home_clear(dir, err);
    if (st == TR_OK) st = open_journal(p, err);
    if (st == TR_OK && p->watch->joining.staff) st = tr_home_sweep(dir, err);
    if (st == TR_OK) st = go_on(p, err);
    if (st == TR_OK) st = tr_ppo_manifest(p, false, err);
    if (st == TR_OK) st = open_weights(p, err);
    if (st == TR_OK)
        st = tr_home_listen(dir, &p->roles, p->run, p->watch->log, p->address, &p->wire,
                            err);
    if (st == TR_OK && p->watch->joining.staff) st = tr_ppo_start_staff(p, err);
    if (st == TR_OK) st = tr_ppo_tell_others(p, err);
    p->started = p->step_started = p->snapshot_at = tr_clock_seconds();
    return st;
}

enum tr_status tr_ppo_run(const struct tr_options *o, const char *where,
                          const struct tr_ppo_watch *watch, struct tr_ppo_outcome *out,
                          struct tr_err *err)
{
    struct tr_ppo_parts *p = calloc(1, sizeof *p);
    if (!p) return tr_err_set(err, TR_NOMEM, "a run");
    p->o = o;
    p->where = where;
    p->watch = watch;
    p->out.times.phases = 3;
    p->history = json_array();
    p->kept = json_array();
    enum tr_status st =
        p->history && p->kept ? tr_ppo_open(p, err) : tr_err_set(err, TR_NOMEM, "a run");
    if (st == TR_OK) st = begin(p, err);
    if (st == TR_OK) st = loop(p, err);
    if (st == TR_OK) st = tr_ppo_finish(p, err);
    p->out.stopped = p->plan && tr_plan_ppo_step(p->plan) < p->set.steps;
    *out = p->out;
    tr_ppo_close(p, st == TR_OK ? goodbye_seconds : 0); /* else nobody was told to go */
    free(p);
    return st;
}

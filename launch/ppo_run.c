#include "launch/ppo_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "actors/coordinator/serve.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/json.h"
#include "core/watch/trainer_log.h"
#include "launch/ppo_parts.h"
#include "launch/version.h"

static const double join_seconds = 600;   /* reading large models takes its time */
static const double silence_seconds = 60; /* signs of life come every second */
static const double absent_seconds = 3600;
static const double goodbye_seconds = 10;

/* ---- is it the same run? ---- */

/* Keys that change no bit of the result. */
static bool is_free(const char *key)
{
    static const char *const free_key[] = {
        "output_dir",
        "overwrite_output_dir",
        "resume_from_checkpoint",
        "logging_steps",
        "logging_first_step",
        "save_steps",
        "save_strategy",
        "save_total_limit",
        "save_only_model",
        "plot_loss",
        "threads",
        "roles",
        "snapshot_seconds",
        "snapshot_steps",
        "gradient_checkpointing",
        "disable_gradient_checkpointing",
    };
    for (size_t i = 0; i < sizeof free_key / sizeof *free_key; i++)
        if (strcmp(key, free_key[i]) == 0) return true;
    return false;
}

/* Of all settings in force but those that are free to change between a stop and a resume. */
static enum tr_status config_digest(const struct tr_options *o, struct tr_digest *out,
                                    struct tr_err *err)
{
    struct tr_buf all, kept;
    tr_buf_init(&all, 1 << 20);
    tr_buf_init(&kept, 1 << 20);
    enum tr_status st = tr_options_text(o, &all, err);
    for (const char *at = tr_buf_text(&all); st == TR_OK && *at;) {
        size_t n = strcspn(at, "\n"), name = strcspn(at, ":");
        char key[96];
        snprintf(key, sizeof key, "%.*s", (int)name, at);
        if (!is_free(key)) st = tr_buf_put(&kept, at, n + (at[n] != 0), err);
        at += n + (at[n] != 0);
    }
    if (st == TR_OK) *out = tr_digest_of(tr_buf_text(&kept), kept.size);
    tr_buf_fini(&all);
    tr_buf_fini(&kept);
    return st;
}

/* A folder in which a run was kept before: gone on with, or emptied when that was asked for. */
static enum tr_status clear_old(const struct tr_ppo_parts *p, struct tr_err *err)
{
    static const char *const file[] = {"run.db", "run.db-wal", "run.db-journal",
                                       "run.db-shm"};
    static const char *const folder[] = {"snapshot", "logs"};
    char path[TR_PLACE_BYTES];
    enum tr_status st = TR_OK;
    for (size_t i = 0; i < 4 && st == TR_OK; i++) {
        st = tr_path_join(path, sizeof path, p->o->output.dir, file[i], err);
        if (st == TR_OK) (void)unlink(path);
    }
    for (size_t i = 0; i < 2 && st == TR_OK; i++) {
        st = tr_path_join(path, sizeof path, p->o->output.dir, folder[i], err);
        if (st == TR_OK) st = tr_dir_remove(path, err);
    }
    return st;
}

static enum tr_status open_journal(struct tr_ppo_parts *p, struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    struct tr_digest config;
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    struct tr_journal_meta fresh = {.seed = p->set.seed};
    snprintf(fresh.run, sizeof fresh.run, "%08llx%05x", (unsigned long long)t.tv_sec,
             (unsigned)(t.tv_nsec >> 10) ^ (unsigned)getpid());
    snprintf(fresh.version, sizeof fresh.version, "%s", TR_VERSION);
    enum tr_status st = config_digest(p->o, &config, err);
    fresh.config = config;
    if (st == TR_OK)
        st = tr_path_join(path, sizeof path, p->o->output.dir, "run.db", err);
    if (st == TR_OK) st = tr_journal_open(path, NULL, &fresh, &p->journal, err);
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
    struct tr_core_settings s = {.join_seconds = join_seconds,
                                 .silence_seconds = silence_seconds,
                                 .absent_seconds = absent_seconds,
                                 .here_seconds = 5,
                                 .attempts = 100};
    int64_t replicas[TR_ROLES];
    for (int r = 0; r < TR_ROLES; r++) replicas[r] = p->roles.role[r].replicas;
    memcpy(s.run, p->run, sizeof s.run);
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

static enum tr_status go_on(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_journal_step last;
    struct tr_journal_snapshot s;
    enum tr_status st = tr_journal_last(p->journal, &last, err);
    bool before = st == TR_OK;
    if (st != TR_OK && st != TR_AGAIN) return st;
    st = make_core(p, before ? last.state : NULL, err);
    if (st == TR_OK) st = tr_ppo_ask_again(p, err);
    p->first_step = p->snapshot_step = tr_plan_ppo_step(p->plan);
    p->out.step = p->first_step;
    if (st == TR_OK) st = tr_trainer_log_trim(p->o->output.dir, p->first_step, err);
    if (st == TR_OK && before) st = tr_ppo_recall_history(p, err);
    if (st == TR_OK && before && p->first_step >= p->set.steps)
        st = tr_ppo_save_again(p, &last, err);
    if (st != TR_OK || !before) return st;
    bool found = tr_journal_snapshot(p->journal, TR_ROLE_POLICY, 0, &s, NULL) == TR_OK;
    int64_t units = 0;
    double seconds = 0;
    if (found)
        (void)tr_journal_replay_cost(p->journal, TR_ROLE_POLICY, &s.lineage, &units,
                                     &seconds, NULL);
    tr_log_info(p->watch->log,
                "going on after step %lld; %s%lld, %lld optimiser steps to learn again, "
                "about %.0f s",
                (long long)p->first_step,
                found ? "the last snapshot is of step " : "snapshots: ",
                found ? (long long)s.step : 0LL, (long long)units, seconds);
    return TR_OK;
}

/* The address of before, if it can be had, so that workers which outlived it come back. */
static void old_address(const struct tr_ppo_parts *p, char *out)
{
    char path[TR_PLACE_BYTES];
    const char *address = NULL;
    json_t *doc = NULL;
    out[0] = 0;
    if (tr_path_join(path, sizeof path, p->o->output.dir, "coordinator.json", NULL) !=
            TR_OK ||
        tr_json_load(path, 1 << 16, &doc, NULL) != TR_OK)
        return;
    if (tr_json_string(doc, "address", path, &address, NULL) == TR_OK)
        snprintf(out, TR_ADDRESS_BYTES, "%s", address);
    json_decref(doc);
}

static enum tr_status listen_on(struct tr_ppo_parts *p, struct tr_err *err)
{
    char path[TR_PLACE_BYTES], old[TR_ADDRESS_BYTES];
    const char *wanted = p->roles.listen;
    size_t n = strlen(wanted);
    bool any = n > 2 && strcmp(wanted + n - 2, ":0") == 0;
    struct tr_keys keys = {.n = 0};
    const struct tr_keys *with = p->roles.keys ? &keys : NULL;
    enum tr_status st =
        with ? tr_keys_open(p->roles.keys, TR_KEY_SERVER, &keys, err) : TR_OK;
    if (st != TR_OK) return st;
    old_address(p, old);
    st = TR_AGAIN;
    if (any && old[0]) st = tr_wire_listen(old, with, p->address, &p->wire, NULL);
    if (st != TR_OK) st = tr_wire_listen(wanted, with, p->address, &p->wire, err);
    tr_keys_close(&keys);
    if (st == TR_OK)
        st = tr_path_join(path, sizeof path, p->o->output.dir, "coordinator.json", err);
    if (st != TR_OK) return st;
    json_t *doc = json_pack("{s:s, s:I, s:s}", "address", p->address, "pid",
                            (json_int_t)getpid(), "run", p->run);
    st = doc ? tr_json_save(path, doc, 2, err) : tr_err_set(err, TR_NOMEM, "%s", path);
    json_decref(doc);
    if (st == TR_OK)
        tr_log_info(p->watch->log, "run %s, listening on %s", p->run, p->address);
    return st;
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
    if (st == TR_OK && p->o->output.overwrite) st = clear_old(p, err);
    if (st == TR_OK) st = open_journal(p, err);
    if (st == TR_OK) st = go_on(p, err);
    if (st == TR_OK) st = tr_ppo_manifest(p, false, err);
    if (st == TR_OK) st = open_weights(p, err);
    if (st == TR_OK) st = listen_on(p, err);
    if (st == TR_OK && p->watch->staff) st = tr_ppo_start_staff(p, err);
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

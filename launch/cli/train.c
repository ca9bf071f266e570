#include "launch/cli/train.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "launch/options.h"
#include "launch/ppo_run.h"
#include "launch/stage_run.h"
#include "launch/start.h"

enum { EXIT_FAILED = 1, EXIT_MISTAKE = 2, EXIT_STOPPED = 130 };

static const char *command_of(const struct tr_coordinate *c)
{
    return c ? "coordinator" : "train";
}

static struct tr_joining joining_of(const struct tr_coordinate *c)
{
    return c ? c->joining : (struct tr_joining){.staff = true};
}

static int fail(const char *command, enum tr_status st, const struct tr_err *err)
{
    fprintf(stderr, "troupe %s: %s\n", command, err->text);
    if (st == TR_AGAIN) return EXIT_STOPPED;
    return st == TR_BADARG ? EXIT_MISTAKE : EXIT_FAILED;
}

static int tell(const struct tr_options *o, const struct tr_stage_outcome *out,
                const struct tr_log *log)
{
    char weights[65];
    char state[65];
    tr_digest_text(&out->weights, weights);
    tr_digest_text(&out->state, state);
    tr_log_info(log, "%lld steps, mean loss %.4f, %lld skipped", (long long)out->step,
                out->loss, (long long)out->skipped);
    tr_company_say_times(&out->times, log);
    tr_log_info(log, "weights %s", weights);
    tr_log_info(log, "state   %s", state);
    switch (out->end) {
    case TR_STAGE_DONE:
        tr_log_info(log, "saved in %s", o->output.dir);
        return 0;
    case TR_STAGE_STOPPED:
        tr_log_info(log,
                    "stopped; %s/checkpoint-%lld goes on with "
                    "resume_from_checkpoint=true",
                    o->output.dir, (long long)out->step);
        return EXIT_STOPPED;
    case TR_STAGE_NOT_FINITE:
        tr_log_warn(log, "%d steps in a row were not finite: stopped", TR_SKIPS_MAX);
        return EXIT_FAILED;
    }
    return EXIT_FAILED;
}

static int tell_ppo(const struct tr_options *o, const struct tr_ppo_outcome *out,
                    const struct tr_log *log)
{
    char text[65];
    tr_company_say_times(&out->times, log);
    tr_digest_text(&out->policy, text);
    tr_log_info(log, "policy %s", text);
    tr_digest_text(&out->critic, text);
    tr_log_info(log, "critic %s", text);
    if (out->stopped) {
        tr_log_info(log, "stopped after step %lld; the same command%s goes on",
                    (long long)out->step,
                    o->output.overwrite ? " with resume_from_checkpoint=true" : "");
        return EXIT_STOPPED;
    }
    tr_digest_text(&out->run, text);
    tr_log_info(log, "digest %s", text);
    tr_log_info(log, "saved in %s", o->output.dir);
    return 0;
}

/* c: NULL when this program starts the processes itself. */
static int run_ppo(const struct tr_options *o, const char *where, const char *notes,
                   const struct tr_coordinate *c)
{
    struct tr_err err = {0};
    struct tr_ppo_outcome outcome;
    struct tr_log log = {.name = "train", .fd = 2, .level = TR_LOG_INFO};
    struct tr_ppo_watch watch = {
        .log = &log, .stop_fd = tr_start_stop_fd(), .joining = joining_of(c)};
    if (*notes) tr_log_info(&log, "%.*s", (int)strcspn(notes, "\n"), notes);
    enum tr_status st = tr_ppo_run(o, where, &watch, &outcome, &err);
    if (watch.stop_fd >= 0) close(watch.stop_fd);
    return st == TR_OK ? tell_ppo(o, &outcome, &log) : fail(command_of(c), st, &err);
}

static int run(const struct tr_options *o, const char *notes,
               const struct tr_coordinate *c)
{
    struct tr_err err = {0};
    struct tr_exec ex = {0};
    struct tr_stage_outcome outcome;
    struct tr_log log = {.name = "train", .fd = 2, .level = TR_LOG_INFO};
    struct tr_stage_watch watch = {.log = &log,
                                   .progress_fd = 2,
                                   .stop_fd = tr_start_stop_fd(),
                                   .joining = joining_of(c)};
    if (*notes) tr_log_info(&log, "%.*s", (int)strcspn(notes, "\n"), notes);
    int64_t threads = o->exec.threads > 0 ? o->exec.threads : 0;
    enum tr_status st =
        tr_start_exec(NULL, threads, (enum tr_math)o->exec.math, &ex, &err);
    if (st == TR_OK) {
        tr_log_info(&log, "%s on %d threads, %s", tr_exec_isa(&ex),
                    tr_team_threads(ex.team), tr_math_name(ex.math));
        st = tr_stage_run(o, &ex, &watch, &outcome, &err);
        tr_exec_fini(&ex);
    }
    if (watch.stop_fd >= 0) close(watch.stop_fd);
    return st == TR_OK ? tell(o, &outcome, &log) : fail(command_of(c), st, &err);
}

/* What the command line says about the roles block, into it. */
static enum tr_status override_roles(const struct tr_coordinate *c, struct tr_options *o,
                                     struct tr_err *err)
{
    int bad = 0;
    if (!c || !(c->listen || c->keys)) return TR_OK;
    if (!o->roles) {
        bad = json_object_set_new(o->values, "roles", json_object());
        o->roles = json_object_get(o->values, "roles");
    }
    if (c->listen) bad |= json_object_set_new(o->roles, "listen", json_string(c->listen));
    if (c->keys) bad |= json_object_set_new(o->roles, "keys", json_string(c->keys));
    return bad ? tr_err_set(err, TR_NOMEM, "the roles block") : TR_OK;
}

static int load_and_run(const char *path, char *const *assignment, int n,
                        const struct tr_coordinate *c)
{
    struct tr_err err = {0};
    struct tr_options o;
    struct tr_buf notes;
    int code = 0;
    const char *where = path ? path : "command line";
    tr_buf_init(&notes, 1 << 16);
    enum tr_status st = tr_options_load(path, assignment, n, &o, &notes, &err);
    if (st != TR_OK) {
        code = fail(command_of(c), st, &err);
        tr_buf_fini(&notes);
        return code;
    }
    st = override_roles(c, &o, &err);
    if (st != TR_OK)
        code = fail(command_of(c), st, &err);
    else if (o.stage == TR_PPO)
        code = run_ppo(&o, where, tr_buf_text(&notes), c);
    else
        code = run(&o, tr_buf_text(&notes), c);
    tr_options_fini(&o);
    tr_buf_fini(&notes);
    return code;
}

int tr_cli_train(int argc, char **argv)
{
    int first = argc > 1 && !strchr(argv[1], '=') ? 2 : 1;
    if (argc >= 2)
        return load_and_run(first == 2 ? argv[1] : NULL, argv + first, argc - first,
                            NULL);
    fprintf(stderr, "troupe train: which run.yaml? `troupe help train` says more\n");
    return EXIT_MISTAKE;
}

int tr_cli_coordinate(const struct tr_coordinate *c)
{
    return load_and_run(c->run, c->assignment, c->assignments, c);
}

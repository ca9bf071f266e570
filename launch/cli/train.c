#include "launch/cli/train.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "launch/options.h"
#include "launch/stage_run.h"

enum { EXIT_FAILED = 1, EXIT_MISTAKE = 2, EXIT_STOPPED = 130 };

static int fail(enum tr_status st, const struct tr_err *err)
{
    fprintf(stderr, "troupe train: %s\n", err->text);
    return st == TR_BADARG ? EXIT_MISTAKE : EXIT_FAILED;
}

/* Ctrl-C and a polite kill become a readable descriptor, looked at between steps. Threads that
 * start later inherit the mask. -1 when that cannot be had: the signals then end the program. */
static int open_stop(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL)) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int usable_cpus(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set)) return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

static enum tr_status open_exec(const struct tr_options *o, struct tr_exec *ex,
                                struct tr_err *err)
{
    int threads = o->exec.threads > 0 ? (int)o->exec.threads : usable_cpus();
    int rc = tr_exec_init(ex, NULL, threads, (enum tr_math)o->exec.math);
    if (rc == -1)
        return tr_err_set(err, TR_BADARG,
                          "TROUPE_ISA names no instruction set of this CPU: expected "
                          "scalar, avx2 or avx512");
    if (rc) return tr_err_set(err, TR_NOMEM, "%d threads cannot be had", threads);
    return TR_OK;
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

static int run(const struct tr_options *o, const char *notes)
{
    struct tr_err err = {0};
    struct tr_exec ex = {0};
    struct tr_stage_outcome outcome;
    struct tr_log log = {.name = "train", .fd = 2, .level = TR_LOG_INFO};
    struct tr_stage_watch watch = {.log = &log, .progress_fd = 2, .stop_fd = open_stop()};
    if (*notes) tr_log_info(&log, "%.*s", (int)strcspn(notes, "\n"), notes);
    enum tr_status st = open_exec(o, &ex, &err);
    if (st == TR_OK) {
        tr_log_info(&log, "%s on %d threads, %s", tr_exec_isa(&ex),
                    tr_team_threads(ex.team),
                    ex.math == TR_MATH_EXACT ? "exact" : "openblas");
        st = tr_stage_run(o, &ex, &watch, &outcome, &err);
        tr_exec_fini(&ex);
    }
    if (watch.stop_fd >= 0) close(watch.stop_fd);
    return st == TR_OK ? tell(o, &outcome, &log) : fail(st, &err);
}

int tr_cli_train(int argc, char **argv)
{
    struct tr_err err = {0};
    struct tr_options o;
    struct tr_buf notes;
    int first = argc > 1 && !strchr(argv[1], '=') ? 2 : 1;
    if (argc < 2) {
        fprintf(stderr, "troupe train: which run.yaml? `troupe help train` says more\n");
        return EXIT_MISTAKE;
    }
    tr_buf_init(&notes, 1 << 16);
    enum tr_status st = tr_options_load(first == 2 ? argv[1] : NULL, argv + first,
                                        argc - first, &o, &notes, &err);
    int code = st == TR_OK ? run(&o, tr_buf_text(&notes)) : fail(st, &err);
    if (st == TR_OK) tr_options_fini(&o);
    tr_buf_fini(&notes);
    return code;
}

#include "launch/cli/role.h"

#include <stdio.h>
#include <unistd.h>

#include "actors/skeleton.h"
#include "actors/worker.h"
#include "launch/flags.h"
#include "launch/start.h"

struct wish {
    const char *role, *join, *name, *isa;
    bool skeleton;
    int64_t seed, threads;
    double join_seconds;
};

static enum tr_status parse(int argc, char **argv, struct wish *w, struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"join", TR_FLAG_TEXT, &w->join, 0, 0},
        {"name", TR_FLAG_TEXT, &w->name, 0, 0},
        {"isa", TR_FLAG_TEXT, &w->isa, 0, 0},
        {"skeleton", TR_FLAG_YES, &w->skeleton, 0, 0},
        {"seed", TR_FLAG_INT, &w->seed, 0, 9e15},
        {"threads", TR_FLAG_INT, &w->threads, 0, 4096},
        {"join-seconds", TR_FLAG_REAL, &w->join_seconds, 0, 1e6},
    };
    int words = 0;
    *w = (struct wish){.seed = 42, .threads = 1, .join_seconds = 30};
    enum tr_status st = tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv,
                                      &w->role, 1, &words, err);
    if (st != TR_OK) return st;
    if (!w->role || tr_role_of(w->role) < 0)
        return tr_err_set(err, TR_BADARG,
                          "which role: policy, rollout, reference, reward or critic?");
    if (!w->join)
        return tr_err_set(err, TR_BADARG, "--join: the coordinator's address is missing");
    if (!w->skeleton)
        return tr_err_set(err, TR_BADARG,
                          "which model? --skeleton is the one that this version serves");
    return TR_OK;
}

static enum tr_status serve(const struct wish *w, const struct tr_exec *ex,
                            const struct tr_log *log, struct tr_err *err)
{
    struct tr_skeleton *skeleton = NULL;
    struct tr_actor *actor = NULL;
    enum tr_role role = (enum tr_role)tr_role_of(w->role);
    enum tr_status st = tr_skeleton_create((uint64_t)w->seed, &skeleton, err);
    if (st != TR_OK) return st;
    struct tr_role_start start = tr_skeleton_role(skeleton, role, ex);
    struct tr_worker worker = {
        .address = w->join, .instance = log->name, .join_seconds = w->join_seconds};
    st = tr_actor_open(role, &start, &actor, err);
    if (st == TR_OK) st = tr_worker_run(&worker, actor, log, err);
    tr_actor_close(actor);
    tr_skeleton_destroy(skeleton);
    return st;
}

int tr_cli_role(int argc, char **argv)
{
    struct tr_err err = {0};
    struct tr_exec ex;
    struct wish w;
    char name[64];
    enum tr_status st = parse(argc, argv, &w, &err);
    if (st == TR_OK) st = tr_start_exec(w.isa, w.threads, TR_MATH_EXACT, &ex, &err);
    if (st == TR_OK) {
        snprintf(name, sizeof name, "%s-%ld", w.role, (long)getpid());
        struct tr_log log = {
            .name = w.name ? w.name : name, .fd = STDERR_FILENO, .level = TR_LOG_INFO};
        st = serve(&w, &ex, &log, &err);
        tr_exec_fini(&ex);
    }
    if (st == TR_OK) return 0;
    fprintf(stderr, "troupe role: %s\n", err.text);
    return st == TR_BADARG ? 2 : 1;
}

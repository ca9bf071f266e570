#include "launch/cli/coordinator.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors/company.h"
#include "actors/coordinator/serve.h"
#include "actors/skeleton.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "launch/cli/train.h"
#include "launch/flags.h"
#include "launch/start.h"

enum { WORDS = 64 };

struct wish {
    bool skeleton, alone;
    const char *listen, *keys, *address_file, *roles_file, *isa;
    union { /* a run.yaml, then key=value: read as const, handed on as argv's */
        const char *read[WORDS];
        char *given[WORDS];
    } word;
    int words;
    int64_t seed, threads, steps, staleness;
    int64_t replicas[TR_ROLES];
    double join_seconds, silence_seconds;
};

/* What a run.yaml says itself, or has no use for. */
static enum tr_status check_run(const struct wish *w, struct tr_err *err)
{
    const struct {
        const char *name;
        bool given;
    } row[] = {{"alone", w->alone},
               {"isa", w->isa != NULL},
               {"seed", w->seed >= 0},
               {"steps", w->steps > 0},
               {"staleness", w->staleness >= 0},
               {"threads", w->threads >= 0},
               {"rollout", w->replicas[TR_ROLE_ROLLOUT] > 0},
               {"reference", w->replicas[TR_ROLE_REFERENCE] > 0},
               {"reward", w->replicas[TR_ROLE_REWARD] > 0},
               {"silence-seconds", w->silence_seconds > 0}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].given)
            return tr_err_set(err, TR_BADARG,
                              "--%s: only --skeleton has it; a run.yaml says its own",
                              row[i].name);
    return TR_OK;
}

static void fill_skeleton(struct wish *w)
{
    if (w->seed < 0) w->seed = 42;
    if (w->steps < 1) w->steps = 1;
    if (w->staleness < 0) w->staleness = 0;
    if (w->threads < 0) w->threads = 1;
    if (w->join_seconds < 0) w->join_seconds = 60;
    if (w->silence_seconds <= 0) w->silence_seconds = 60;
    for (int r = 0; r < TR_ROLES; r++)
        if (w->replicas[r] < 1) w->replicas[r] = 1;
}

static enum tr_status parse(int argc, char **argv, struct wish *w, struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"skeleton", TR_FLAG_YES, &w->skeleton, 0, 0},
        {"alone", TR_FLAG_YES, &w->alone, 0, 0},
        {"listen", TR_FLAG_TEXT, &w->listen, 0, 0},
        {"keys", TR_FLAG_TEXT, &w->keys, 0, 0},
        {"address-file", TR_FLAG_TEXT, &w->address_file, 0, 0},
        {"roles-file", TR_FLAG_TEXT, &w->roles_file, 0, 0},
        {"isa", TR_FLAG_TEXT, &w->isa, 0, 0},
        {"seed", TR_FLAG_INT, &w->seed, 0, 9e15},
        {"steps", TR_FLAG_INT, &w->steps, 1, 1e6},
        {"staleness", TR_FLAG_INT, &w->staleness, 0, 1},
        {"threads", TR_FLAG_INT, &w->threads, 0, 4096},
        {"rollout", TR_FLAG_INT, &w->replicas[TR_ROLE_ROLLOUT], 1, 1024},
        {"reference", TR_FLAG_INT, &w->replicas[TR_ROLE_REFERENCE], 1, 1024},
        {"reward", TR_FLAG_INT, &w->replicas[TR_ROLE_REWARD], 1, 1024},
        {"join-seconds", TR_FLAG_REAL, &w->join_seconds, 0, 1e6},
        {"silence-seconds", TR_FLAG_REAL, &w->silence_seconds, 0.1, 1e6},
    };
    *w = (struct wish){
        .seed = -1, .threads = -1, .staleness = -1, .join_seconds = -1}; /* not given */
    enum tr_status st = tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv,
                                      w->word.read, WORDS, &w->words, err);
    if (st == TR_OK && w->skeleton == (w->words > 0))
        st = tr_err_set(err, TR_BADARG, "what is to be run: a run.yaml or --skeleton?");
    if (st == TR_OK && w->skeleton && w->roles_file)
        st = tr_err_set(err, TR_BADARG, "--roles-file: --skeleton has no roles block");
    if (st == TR_OK && w->skeleton && w->isa && !w->alone)
        st = tr_err_set(err, TR_BADARG,
                        "--isa: only with --alone does anybody compute here");
    if (st == TR_OK && !w->skeleton) st = check_run(w, err);
    if (w->skeleton) fill_skeleton(w);
    return st;
}

/* ---- two ways to run the same core ---- */

/* All roles in this process, replicas too. */
static enum tr_status run_alone(const struct wish *w, const struct tr_skeleton *s,
                                struct tr_core *core, const struct tr_log *log,
                                struct tr_err *err)
{
    enum { MOST = 64 };
    struct tr_actor *actor[MOST] = {NULL};
    struct tr_exec ex;
    int64_t n = 0;
    enum tr_status st = tr_start_exec(w->isa, w->threads, TR_MATH_EXACT, &ex, err);
    if (st != TR_OK) return st;
    for (int role = 0; role < TR_ROLES; role++)
        for (int64_t i = 0; i < w->replicas[role] && n < MOST && st == TR_OK; i++) {
            struct tr_role_start start = tr_skeleton_role(s, (enum tr_role)role, &ex);
            st = tr_actor_open((enum tr_role)role, &start, &actor[n], err);
            n += st == TR_OK;
        }
    struct tr_company company = {.core = core, .actor = actor, .n = n, .log = log};
    if (st == TR_OK) st = tr_company_run(&company, err);
    for (int64_t i = 0; i < n; i++) tr_actor_close(actor[i]);
    tr_exec_fini(&ex);
    return st;
}

static enum tr_status run_served(const struct wish *w, struct tr_core *core,
                                 const struct tr_log *log, struct tr_err *err)
{
    struct tr_wire *wire = NULL;
    struct tr_keys keys = {.n = 0};
    char address[TR_ADDRESS_BYTES];
    int stop_fd = tr_start_stop_fd();
    enum tr_status st = TR_OK;
    if (w->keys) st = tr_keys_open(w->keys, TR_KEY_SERVER, &keys, err);
    if (st == TR_OK)
        st = tr_wire_listen(w->listen ? w->listen : "tcp://127.0.0.1:0",
                            w->keys ? &keys : NULL, address, &wire, err);
    if (st == TR_OK) tr_log_info(log, "listening on %s", address);
    if (st == TR_OK && w->address_file)
        st = tr_file_write(w->address_file, address, strlen(address), err);
    if (st == TR_OK) st = tr_serve_run(core, wire, log, stop_fd, err);
    tr_wire_close(wire);
    tr_keys_close(&keys);
    if (stop_fd >= 0) close(stop_fd);
    return st;
}

/* ---- the skeleton ---- */

struct outcome { /* what the last step left */
    double score, kl, length;
    struct tr_ppo_learnt policy, critic;
    struct tr_digest weights[2]; /* of policy, of critic */
};

static enum tr_status note_start(void *self, const struct tr_ppo_report *r,
                                 struct tr_err *err)
{
    (void)self;
    (void)r;
    (void)err;
    return TR_OK;
}

static enum tr_status note_step(void *self, struct tr_core *core,
                                const struct tr_ppo_report *r, struct tr_err *err)
{
    struct outcome *o = self;
    (void)core;
    (void)err;
    *o = (struct outcome){.score = r->metrics.reward,
                          .kl = r->metrics.kl,
                          .length = r->metrics.length,
                          .policy = r->policy,
                          .critic = r->critic,
                          .weights = {r->policy_weights, r->critic_weights}};
    return TR_OK;
}

static void print_digest(const char *name, const struct tr_digest *d)
{
    char text[65];
    tr_digest_text(d, text);
    printf("%s %s\n", name, text);
}

static void print_outcome(const struct outcome *o, const struct tr_core *core)
{
    struct tr_core_counts n = tr_core_counts(core);
    struct tr_digest run = tr_digest_of(o->weights, sizeof o->weights);
    printf(
        "units %lld, asked again %lld, second answers %lld, differences %lld, refused %lld\n",
        (long long)n.units, (long long)n.reissued, (long long)n.second_answers,
        (long long)n.differences, (long long)n.refused);
    printf("score %.6f, kl %.6f nats, length %.3f tokens\n", o->score, o->kl, o->length);
    printf("policy loss %.6f, critic loss %.6f, mismatch_bits %lld\n", o->policy.loss,
           o->critic.loss, (long long)o->policy.mismatch_bits);
    print_digest("policy", &o->weights[0]);
    print_digest("critic", &o->weights[1]);
    print_digest("digest", &run);
}

static enum tr_status run_skeleton(const struct wish *w, const struct tr_log *log,
                                   struct tr_err *err)
{
    struct tr_skeleton *s = NULL;
    struct tr_plan_ppo *plan = NULL;
    struct tr_core *core = NULL;
    struct tr_prompts none = {0};
    struct outcome outcome = {0};
    struct tr_ppo_owner owner = {
        .self = &outcome, .started = note_start, .committed = note_step};
    struct tr_core_settings set = {.math = "exact",
                                   .join_seconds = w->join_seconds,
                                   .remind_seconds = w->join_seconds / 20,
                                   .silence_seconds = w->silence_seconds,
                                   .here_seconds = 5,
                                   .attempts = 10};
    snprintf(set.run, sizeof set.run, "skeleton-%lld", (long long)w->seed);
    enum tr_status st = tr_skeleton_create((uint64_t)w->seed, &s, err);
    if (st != TR_OK) return st;
    struct tr_ppo_settings ppo = tr_skeleton_settings(s);
    struct tr_prompts prompts = tr_skeleton_prompts(s);
    ppo.steps = w->steps;
    ppo.staleness = w->staleness;
    ppo.rewards.slot[0].replicas = w->replicas[TR_ROLE_REWARD];
    st = tr_plan_ppo_create(&ppo, &prompts, &none, &owner, &plan, err);
    struct tr_planner planner = tr_plan_ppo_planner(plan);
    if (st == TR_OK)
        st = tr_core_create(&set, &planner, NULL, tr_clock_seconds(), &core, err);
    if (st == TR_OK) st = tr_plan_ppo_open(plan, core, w->replicas, NULL, err);
    if (st == TR_OK)
        st = w->alone ? run_alone(w, s, core, log, err) : run_served(w, core, log, err);
    if (st == TR_OK) print_outcome(&outcome, core);
    tr_core_destroy(core);
    tr_plan_ppo_destroy(plan);
    tr_skeleton_destroy(s);
    return st;
}

int tr_cli_coordinator(int argc, char **argv)
{
    struct tr_err err = {0};
    struct wish w;
    struct tr_log log = {
        .name = "coordinator", .fd = STDERR_FILENO, .level = TR_LOG_INFO};
    enum tr_status st = parse(argc, argv, &w, &err);
    if (st == TR_OK && !w.skeleton) {
        int first = strchr(w.word.read[0], '=') ? 0 : 1;
        const struct tr_coordinate c = {.run = first ? w.word.read[0] : NULL,
                                        .assignment = w.word.given + first,
                                        .assignments = w.words - first,
                                        .listen = w.listen,
                                        .keys = w.keys,
                                        .joining = {.address_file = w.address_file,
                                                    .roles_file = w.roles_file,
                                                    .seconds = w.join_seconds}};
        return tr_cli_coordinate(&c);
    }
    if (st == TR_OK) st = run_skeleton(&w, &log, &err);
    if (st == TR_OK) return 0;
    fprintf(stderr, "troupe coordinator: %s\n", err.text);
    return st == TR_BADARG ? 2 : 1;
}

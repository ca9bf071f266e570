/* coordinator.c - how many samples a second a coordinator carries, and whether its memory stays flat.
 *
 *     bench_coordinator [--samples N] [--step N] [--minibatch N] [--epochs N] [--staleness K]
 *                       [--keys no|yes|both] [--copy no|yes] [--folder DIR]
 *
 * How. The program's own coordinator (core, PPO plan, ZeroMQ over loopback, journal on the disk) with a
 * process for each role that answers at once (standin.h). A sample is a prompt of 128 tokens and an
 * answer of 384: four units (generate; logprob, score, value), and its share of a learn unit for
 * each learner, an epoch. Every so many steps both learners save, so that the journal lets go of
 * what lies behind, as in a run.
 *
 * Printed are samples a second by the clock (the stand-ins share the cores), by the processor seconds of
 * the coordinator's process, and by those of its one thread that thinks (the other is ZeroMQ's), with
 * what each had of the machine's cores; what the steps waited for (step_time.h); messages and bytes both
 * ways; the journal's size; and the resident size as the samples go by.
 * With --copy somebody asks for a copy of the journal at half time: how long it took, and the longest turn
 * of the coordinator (a wait of at most 0.2 s included) before it and while it was made.
 * DIR holds run.db while it lasts: a samples' worth of 12 KiB each, and as much again for the log. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors/coordinator/journal.h"
#include "actors/coordinator/plan_ppo.h"
#include "actors/coordinator/serve.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "tests/bench/must.h"
#include "tests/bench/standin.h"
#include "tests/bench/usage.h"

enum {
    PROMPT = 128,
    ANSWER = 384,
    PROMPTS = 4096,
    VOCAB = 49152,
    MARKS = 8,
    IN_HAND = 32
};

struct settings {
    int64_t samples, step, minibatch, epochs, staleness;
    bool copy;
    const char *folder;
};

enum copying { BEFORE, DURING, AFTER };

struct shared { /* between the processes */
    struct standin_tally tally[TR_ROLES];
    atomic_int copying; /* enum copying */
    atomic_bool half;   /* of the samples are committed */
    double copied;      /* seconds that it took */
};

struct mark { /* how it was when so many samples were committed */
    int64_t samples;
    double seconds, resident;
};

struct bench {
    struct settings set;
    const char *keys; /* a folder, or NULL */
    struct tr_prompts prompts;
    struct tr_journal *journal;
    struct tr_plan_ppo *plan;
    struct tr_journal_rollout *rollout; /* [step] */
    struct tr_journal_score *score;     /* [step] */
    struct tr_digest lineage[2]; /* of policy and critic, when a save was asked for */
    int64_t saved_step;
    double began, process, thread; /* clock, processor seconds */
    struct mark mark[MARKS];
    int marks;
    struct shared *shared;
    double turn[AFTER + 1]; /* seconds of the longest */
    struct tr_step_times times;
};

/* ---- what is measured ---- */

static void note_mark(struct bench *b, int64_t step)
{
    int64_t samples = step * b->set.step;
    b->shared->half = samples * 2 >= b->set.samples;
    if (samples * MARKS < (b->marks + 1) * b->set.samples || b->marks == MARKS) return;
    b->mark[b->marks++] =
        (struct mark){samples, tr_clock_seconds() - b->began, resident_mib()};
}

/* ---- what the run's program does with a step (launch/ppo_keep.c) ---- */

/* As long as a step's metrics are. */
static const char metrics[] =
    "{\"env/reward_mean\": 0.51234567890123, \"env/reward_std\": 0.21234567890123,"
    " \"ppo/mean_scores\": 0.51234567890123, \"ppo/std_scores\": 0.21234567890123,"
    " \"objective/kl\": 1.51234567890123, \"objective/kl_coef\": 0.2, \"objective/entropy\":"
    " 300.51234567890123, \"ppo/mean_non_score_reward\": -0.01234567890123,"
    " \"tokens/queries_len_mean\": 128.0, \"tokens/responses_len_mean\": 384.0,"
    " \"tokens/eos_share\": 1.0, \"reward/main\": 0.51234567890123, \"ppo/returns/mean\":"
    " 0.51234567890123, \"ppo/returns/var\": 0.51234567890123, \"ppo/val/mean\":"
    " 0.51234567890123, \"ppo/val/var\": 0.51234567890123, \"ppo/loss/policy\":"
    " 0.51234567890123, \"ppo/loss/value\": 0.51234567890123, \"ppo/policy/entropy\":"
    " 0.51234567890123, \"ppo/policy/approxkl\": 0.51234567890123, \"mismatch_bits\": 0}";

static enum tr_status started(void *self, const struct tr_ppo_report *r,
                              struct tr_err *err)
{
    struct bench *b = self;
    struct tr_journal_step step = {
        .state = r->state,
        .metrics = "{}",
        .policy = {.lineage = r->policy_lineage, .weights = r->policy_weights},
        .critic = {.lineage = r->critic_lineage, .weights = r->critic_weights},
    };
    b->began = tr_clock_seconds();
    b->process = processor_seconds(RUSAGE_SELF);
    b->thread = processor_seconds(RUSAGE_THREAD);
    return tr_journal_commit(b->journal, &step, NULL, 0, err);
}

static enum tr_status save_both(struct bench *b, struct tr_core *core,
                                const struct tr_ppo_report *r, struct tr_err *err)
{
    b->saved_step = r->step;
    b->lineage[0] = r->policy_lineage;
    b->lineage[1] = r->critic_lineage;
    enum tr_status st =
        tr_plan_ppo_save(b->plan, core, TR_ROLE_POLICY, "policy", true, 0, err);
    if (st != TR_OK) return st;
    return tr_plan_ppo_save(b->plan, core, TR_ROLE_CRITIC, "critic", true, 1, err);
}

static enum tr_status committed(void *self, struct tr_core *core,
                                const struct tr_ppo_report *r, struct tr_err *err)
{
    enum { SAVE_EVERY = 2048 }; /* samples */
    struct bench *b = self;
    struct tr_journal_step step = {
        .step = r->step,
        .state = r->state,
        .metrics = metrics,
        .policy = {.lineage = r->policy_lineage, .weights = r->policy_weights},
        .critic = {.lineage = r->critic_lineage, .weights = r->critic_weights},
    };
    enum tr_status st =
        tr_journal_note_company(b->journal, core, tr_clock_seconds(), err);
    for (int64_t i = 0; i < r->n && st == TR_OK; i++)
        tr_journal_take_rollout(r, i, &b->score[i], &b->rollout[i]);
    if (st == TR_OK) st = tr_journal_commit(b->journal, &step, b->rollout, r->n, err);
    if (st == TR_OK && (r->step - b->saved_step) * b->set.step >= SAVE_EVERY)
        st = save_both(b, core, r, err);
    tr_step_times_add(&b->times, &r->time);
    note_mark(b, r->step);
    return st;
}

static enum tr_status saved(void *self, int64_t ticket, const struct tr_digest *weights,
                            const struct tr_digest *state, struct tr_err *err)
{
    struct bench *b = self;
    enum tr_role role = ticket == 0 ? TR_ROLE_POLICY : TR_ROLE_CRITIC;
    struct tr_journal_snapshot row = {.role = role,
                                      .step = b->saved_step,
                                      .lineage = b->lineage[ticket],
                                      .weights = *weights,
                                      .folder = "bench"};
    struct tr_journal_snapshot gone;
    (void)state;
    enum tr_status st = tr_journal_note_snapshot(b->journal, &row, err);
    while (st == TR_OK) st = tr_journal_prune(b->journal, role, 2, &gone, err);
    return st == TR_AGAIN ? TR_OK : st;
}

static enum tr_status evaluated(void *self, const struct tr_ppo_report *r,
                                struct tr_err *err)
{
    (void)self;
    (void)r;
    return tr_err_set(err, TR_BADARG, "nothing is evaluated here");
}

static enum tr_status swapped(void *self, int64_t ticket, int64_t step,
                              const struct tr_reward_set *set, struct tr_err *err)
{
    (void)self;
    (void)ticket;
    (void)step;
    (void)set;
    return tr_err_set(err, TR_BADARG, "nothing is swapped here");
}

static enum tr_status dropped(void *self, int64_t ticket, const char *why,
                              struct tr_err *err)
{
    (void)self;
    (void)ticket;
    return tr_err_set(err, TR_BADARG, "nothing is swapped here: %s", why);
}

static enum tr_status ask(void *self, struct tr_core *core, const char *what,
                          const char *argument, struct tr_buf *reply, struct tr_err *err)
{
    const struct bench *b = self;
    (void)core;
    return tr_journal_report(b->journal, what, argument, reply, err);
}

/* ---- the run ---- */

static struct tr_ppo_settings settings_of(const struct settings *s)
{
    struct tr_update update = {
        .lr = 1e-5, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .max_grad_norm = 1};
    struct tr_schedule lr = {.kind = TR_CONSTANT, .lr = 1e-5, .total = 1};
    struct tr_ppo_settings p = {
        .seed = 7,
        .vocab = VOCAB,
        .samples = s->step,
        .steps = s->samples / s->step,
        .staleness = s->staleness,
        .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1},
        .max_new_tokens = ANSWER,
        .stop = {2},
        .stops = 1,
        .rules = tr_ppo_defaults,
        .policy = update,
        .critic = update,
        .policy_lr = lr,
        .critic_lr = lr,
        .rewards = {.n = 1, .slot = {{.name = "main", .weight = 1, .replicas = 1}}},
    };
    p.rules.epochs = s->epochs;
    p.rules.minibatch = p.rules.micro_batch = s->minibatch;
    return p;
}

static void serve(struct bench *b, struct tr_wire *wire)
{
    static const int64_t replicas[TR_ROLES] = {1, 1, 1, 1, 1};
    struct tr_core_settings core_set = {.run = "bench",
                                        .join_seconds = 60,
                                        .silence_seconds = 60,
                                        .absent_seconds = 60,
                                        .here_seconds = 5,
                                        .attempts = 3};
    struct tr_ppo_settings set = settings_of(&b->set);
    struct tr_prompts none = {.count = 0};
    struct tr_memo memo = tr_journal_memo(b->journal);
    struct tr_ppo_owner owner = {.self = b,
                                 .started = started,
                                 .committed = committed,
                                 .evaluated = evaluated,
                                 .saved = saved,
                                 .swapped = swapped,
                                 .dropped = dropped,
                                 .ask = ask};
    struct tr_log log = {.name = "coordinator", .fd = 2, .level = TR_LOG_WARN};
    struct tr_core *core = NULL;
    struct tr_err err = {0};
    must(tr_plan_ppo_create(&set, &b->prompts, &none, &owner, &b->plan, &err), &err);
    struct tr_planner planner = tr_plan_ppo_planner(b->plan);
    must(tr_core_create(&core_set, &planner, &memo, tr_clock_seconds(), &core, &err),
         &err);
    must(tr_plan_ppo_open(b->plan, core, replicas, NULL, &err), &err);
    while (!tr_core_over(core)) {
        double from = tr_clock_seconds();
        must(tr_serve_turn(core, wire, &log, &err), &err);
        double took = tr_clock_seconds() - from;
        int when = b->shared->copying;
        if (took > b->turn[when]) b->turn[when] = took;
    }
    struct tr_core_counts counts = tr_core_counts(core);
    if (counts.reissued + counts.second_answers + counts.refused > 0)
        printf(
            "  %lld units were asked again, %lld answered twice, %lld messages refused\n",
            (long long)counts.reissued, (long long)counts.second_answers,
            (long long)counts.refused);
    tr_core_destroy(core);
    tr_plan_ppo_destroy(b->plan);
}

/* What is left of the cores was idle, or other programs'. */
static void report_shares(const struct bench *b, double took, double process,
                          double thread, double others)
{
    double cores = (double)sysconf(_SC_NPROCESSORS_ONLN);
    const struct tr_step_time *t = &b->times.sum;
    double all = tr_step_time_seconds(t) > 0 ? tr_step_time_seconds(t) : took;
    printf(
        "  of %.0f cores the coordinator took %.0f %%, the stand-ins %.0f %%; the thread "
        "that thinks ran %.0f %% of the time, and waited for messages and the disk\n",
        cores, 100 * process / took / cores, 100 * others / took / cores,
        100 * thread / took);
    printf("  of a step %.0f %% generate, %.0f %% judge, %.0f %% learn\n",
           100 * t->generate / all, 100 * t->judge / all, 100 * t->learn / all);
}

static void report(const struct bench *b, const char *path, double took, double process,
                   double thread, double others)
{
    char log[4200];
    struct standin_tally sum = {0};
    double n = (double)b->set.samples;
    for (int r = 0; r < TR_ROLES; r++) {
        sum.heard += b->shared->tally[r].heard;
        sum.said += b->shared->tally[r].said;
        sum.bytes_heard += b->shared->tally[r].bytes_heard;
        sum.bytes_said += b->shared->tally[r].bytes_said;
    }
    snprintf(log, sizeof log, "%s-wal", path);
    printf(
        "  samples/s  %8.0f by the clock, %8.0f a core, %8.0f a core of the thread that"
        " thinks\n",
        n / took, n / process, n / thread);
    printf("  in  %8.0f messages/s, %6.1f MB/s;  out %8.0f messages/s, %6.1f MB/s\n",
           (double)sum.said / took, sum.bytes_said / took * 1e-6,
           (double)sum.heard / took, sum.bytes_heard / took * 1e-6);
    report_shares(b, took, process, thread, others);
    printf("  run.db %.0f MiB, its log %.0f MiB\n", file_mib(path), file_mib(log));
    if (b->set.copy)
        printf(
            "  a copy took %.1f s; the longest turn %.0f ms before it, %.0f ms meanwhile\n",
            b->shared->copied, 1e3 * b->turn[BEFORE], 1e3 * b->turn[DURING]);
    for (int i = 0; i < b->marks; i++)
        printf("  after %8lld samples, %7.1f s: %6.1f MiB resident\n",
               (long long)b->mark[i].samples, b->mark[i].seconds, b->mark[i].resident);
}

static void work(const struct bench *b, enum tr_role role, int from)
{
    char address[TR_ADDRESS_BYTES];
    struct standin s = {.role = role,
                        .slot = role == TR_ROLE_REWARD ? "main" : "",
                        .address = address,
                        .keys = b->keys,
                        .answer = ANSWER,
                        .credits = IN_HAND,
                        .tally = &b->shared->tally[role]};
    if (read(from, address, sizeof address) != (ssize_t)sizeof address) _exit(1);
    standin_run(&s);
    _exit(0);
}

/* A child of the bench ends with it, however that ends. */
static bool fork_child(void)
{
    pid_t parent = getpid();
    if (fork() != 0) return false;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    return true;
}

/* Somebody who wants a copy of the journal at half time. */
static void ask_copy(const struct bench *b, int from)
{
    char address[TR_ADDRESS_BYTES];
    struct tr_message m = {.say = TR_SAY_ASK};
    struct tr_wire *wire = NULL;
    struct tr_keys keys = {.n = 0};
    struct tr_err err = {0};
    int64_t peer = 0;
    if (read(from, address, sizeof address) != (ssize_t)sizeof address) _exit(1);
    while (!b->shared->half) usleep(1000);
    if (b->keys) must(tr_keys_open(b->keys, TR_KEY_ADMIN, &keys, &err), &err);
    must(tr_wire_join(address, b->keys ? &keys : NULL, &wire, &err), &err);
    snprintf(m.as.ask.what, sizeof m.as.ask.what, "snapshot-db");
    snprintf(m.as.ask.argument, sizeof m.as.ask.argument, "{\"to\": \"%s/copy.db\"}",
             b->set.folder);
    double began = tr_clock_seconds();
    b->shared->copying = DURING;
    must(tr_wire_send(wire, 0, &m, &err), &err);
    enum tr_status st = TR_AGAIN;
    while (st == TR_AGAIN) st = tr_wire_receive(wire, 1, &peer, &m, &err);
    must(st, &err);
    b->shared->copying = AFTER;
    b->shared->copied = tr_clock_seconds() - began;
    if (!m.as.tell.ok) fprintf(stderr, "no copy: %s\n", m.as.tell.text);
    tr_message_fini(&m);
    tr_wire_close(wire);
    tr_keys_close(&keys);
    _exit(0);
}

/* One run. Children are forked before there are threads, and hear the address through a pipe. */
static void run(struct bench *b)
{
    char path[4096], address[TR_ADDRESS_BYTES] = "";
    struct tr_wire *wire = NULL;
    struct tr_keys keys = {.n = 0};
    struct tr_journal_meta meta = {.run = "bench", .version = "0"};
    struct tr_err err = {0};
    int tell[2];
    if (pipe(tell) != 0) _exit(1);
    memset(b->shared, 0, sizeof *b->shared);
    memset(b->turn, 0, sizeof b->turn);
    b->marks = 0;
    b->saved_step = 0;
    b->times = (struct tr_step_times){0};
    for (int r = 0; r < TR_ROLES; r++)
        if (fork_child()) work(b, (enum tr_role)r, tell[0]);
    if (b->set.copy && fork_child()) ask_copy(b, tell[0]);
    must(tr_path_join(path, sizeof path, b->set.folder, "run.db", &err), &err);
    if (b->keys) must(tr_keys_open(b->keys, TR_KEY_SERVER, &keys, &err), &err);
    must(tr_journal_open(path, NULL, &meta, &b->journal, &err), &err);
    must(
        tr_wire_listen("tcp://127.0.0.1:0", b->keys ? &keys : NULL, address, &wire, &err),
        &err);
    for (int r = 0; r < TR_ROLES + b->set.copy; r++)
        if (write(tell[1], address, sizeof address) != (ssize_t)sizeof address) _exit(1);
    serve(b, wire);
    double took = tr_clock_seconds() - b->began;
    double process = processor_seconds(RUSAGE_SELF) - b->process;
    double thread = processor_seconds(RUSAGE_THREAD) - b->thread;
    tr_wire_close(wire);
    tr_keys_close(&keys);
    close(tell[0]);
    close(tell[1]);
    double others = processor_seconds(RUSAGE_CHILDREN);
    while (wait(NULL) > 0) continue;
    others = processor_seconds(RUSAGE_CHILDREN) - others;
    printf("%s\n", b->keys ? "with keys" : "without keys");
    report(b, path, took, process, thread, others);
    tr_journal_close(b->journal);
    unlink(path);
    must(tr_path_join(path, sizeof path, b->set.folder, "copy.db", &err), &err);
    unlink(path);
}

/* ---- the program ---- */

static void make_prompts(struct bench *b)
{
    int32_t *token = malloc((size_t)PROMPTS * PROMPT * sizeof *token);
    int64_t *start = malloc((size_t)(PROMPTS + 1) * sizeof *start);
    if (!token || !start) exit(1);
    for (int64_t i = 0; i < (int64_t)PROMPTS * PROMPT; i++)
        token[i] = (int32_t)(i * 61 % VOCAB);
    for (int64_t i = 0; i <= PROMPTS; i++) start[i] = i * PROMPT;
    b->prompts = (struct tr_prompts){.count = PROMPTS, .token = token, .start = start};
}

static bool parse(struct settings *s, const char **which, int argc, char **argv)
{
    const struct {
        const char *name;
        int64_t *to;
        int64_t least, most;
    } number[] = {
        {"--samples", &s->samples, 1, 1 << 30},  {"--step", &s->step, 1, PROMPTS},
        {"--minibatch", &s->minibatch, 1, 4096}, {"--epochs", &s->epochs, 1, 64},
        {"--staleness", &s->staleness, 0, 1},
    };
    for (int i = 1; i < argc; i += 2) {
        bool known = false;
        if (i + 1 == argc) return false;
        for (size_t k = 0; k < sizeof number / sizeof *number; k++) {
            if (strcmp(argv[i], number[k].name) != 0) continue;
            *number[k].to = strtoll(argv[i + 1], NULL, 10);
            known = *number[k].to >= number[k].least && *number[k].to <= number[k].most;
        }
        if (strcmp(argv[i], "--folder") == 0) {
            s->folder = argv[i + 1];
            known = true;
        }
        if (strcmp(argv[i], "--keys") == 0) {
            *which = argv[i + 1];
            known = !strcmp(*which, "no") || !strcmp(*which, "yes") ||
                    !strcmp(*which, "both");
        }
        if (strcmp(argv[i], "--copy") == 0) {
            s->copy = strcmp(argv[i + 1], "yes") == 0;
            known = s->copy || !strcmp(argv[i + 1], "no");
        }
        if (!known) return false;
    }
    s->samples = s->samples / s->step * s->step;
    return s->samples > 0;
}

int main(int argc, char **argv)
{
    struct bench b = {.set = {.samples = 4096, .step = 128, .minibatch = 8, .epochs = 1}};
    char made[] = "/tmp/troupe-bench-XXXXXX", keys[4096];
    const char *which = "both";
    struct tr_err err = {0};
    if (!parse(&b.set, &which, argc, argv)) {
        fprintf(stderr,
                "usage: bench_coordinator [--samples N] [--step N] [--minibatch N]"
                " [--epochs N] [--staleness 0|1] [--keys no|yes|both] [--copy no|yes]"
                " [--folder DIR]\n");
        return 2;
    }
    if (!mkdtemp(made)) return 1;
    if (!b.set.folder) b.set.folder = made;
    setvbuf(stdout, NULL, _IOLBF, 0);
    must(tr_path_join(keys, sizeof keys, made, "keys", &err), &err);
    must(tr_keys_make(keys, &err), &err);
    make_prompts(&b);
    b.rollout = calloc((size_t)b.set.step, sizeof *b.rollout);
    b.score = calloc((size_t)b.set.step, sizeof *b.score);
    b.shared = mmap(NULL, sizeof *b.shared, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!b.rollout || !b.score || b.shared == MAP_FAILED) return 1;
    if (strcmp(which, "yes") != 0) run(&b);
    b.keys = keys;
    if (strcmp(which, "no") != 0) run(&b);
    return tr_dir_remove(made, &err) == TR_OK ? 0 : 1;
}

#include "launch/cli/role.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "actors/checkpoint.h"
#include "actors/rule.h"
#include "actors/shelf.h"
#include "actors/skeleton.h"
#include "actors/source.h"
#include "actors/worker.h"
#include "core/model/packed_dir.h"
#include "launch/flags.h"
#include "launch/machine.h"
#include "launch/start.h"

struct wish {
    const char *word, *join, *keys, *name, *slot, *isa, *math, *cpus;
    enum tr_role role;
    bool skeleton, swap;
    int64_t seed, threads;
    double join_seconds;
    int stop_fd;
    /* a model that is no skeleton */
    const char *model, *checkpoint;
    bool from_scratch, value_head, no_lm_head, bf16, recompute;
    int64_t max_tokens, max_sequences, pages;
    /* a reward that has none */
    const char *rule;
    struct tr_rule_start parameters;
    /* weights that change */
    const char *weights, *source, *host;
    bool empty;
    int64_t keep;
};

/* Each parameter belongs to one rule, and to no model. */
static enum tr_status check_parameters(const struct wish *w, int kind, struct tr_err *err)
{
    const struct tr_rule_start *p = &w->parameters;
    const struct {
        const char *name;
        bool given;
        enum tr_rule_kind kind;
    } row[] = {{"target", !isnan(p->target), TR_RULE_LENGTH},
               {"scale", !isnan(p->scale), TR_RULE_LENGTH},
               {"pattern", p->pattern != NULL, TR_RULE_REGEX},
               {"tokenizer", p->tokenizer != NULL, TR_RULE_REGEX},
               {"hit", !isnan(p->hit), TR_RULE_REGEX},
               {"miss", !isnan(p->miss), TR_RULE_REGEX}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].given && (int)row[i].kind != kind)
            return tr_err_set(err, TR_BADARG, "--%s: only --rule %s has it, found %s%s",
                              row[i].name, tr_rule_name(row[i].kind),
                              w->rule ? "--rule " : "", w->rule ? w->rule : "none");
    return TR_OK;
}

static double or_else(double given, double otherwise)
{
    return isnan(given) ? otherwise : given;
}

static enum tr_status check_rule(struct wish *w, struct tr_err *err)
{
    struct tr_rule_start *p = &w->parameters;
    int kind = tr_rule_of(w->rule);
    if (w->role != TR_ROLE_REWARD)
        return tr_err_set(err, TR_BADARG, "--rule: only a reward is one");
    if (kind < 0)
        return tr_err_set(err, TR_BADARG, "--rule: expected length or regex, found %s",
                          w->rule);
    enum tr_status st = check_parameters(w, kind, err);
    p->kind = (enum tr_rule_kind)kind;
    p->target = or_else(p->target, 0);
    p->scale = or_else(p->scale, 100);
    p->hit = or_else(p->hit, 1);
    p->miss = or_else(p->miss, 0);
    return st;
}

static enum tr_status check(struct wish *w, struct tr_err *err)
{
    int role = w->word ? tr_role_of(w->word) : -1;
    if (role < 0)
        return tr_err_set(err, TR_BADARG,
                          "which role: policy, rollout, reference, reward or critic?");
    w->role = (enum tr_role)role;
    if (!w->join)
        return tr_err_set(err, TR_BADARG, "--join: the coordinator's address is missing");
    if (w->skeleton + (w->model != NULL) + (w->rule != NULL) != 1)
        return tr_err_set(err, TR_BADARG, "which model: --model DIR or --skeleton%s?",
                          w->role == TR_ROLE_REWARD ? ", or --rule NAME" : "");
    enum tr_status st = w->rule ? check_rule(w, err) : check_parameters(w, -1, err);
    if (st != TR_OK) return st;
    if (strcmp(w->math, "exact") != 0 && strcmp(w->math, "openblas") != 0)
        return tr_err_set(err, TR_BADARG, "--math: expected exact or openblas, found %s",
                          w->math);
    return TR_OK;
}

static enum tr_status parse(int argc, char **argv, struct wish *w, struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"join", TR_FLAG_TEXT, &w->join, 0, 0},
        {"keys", TR_FLAG_TEXT, &w->keys, 0, 0},
        {"name", TR_FLAG_TEXT, &w->name, 0, 0},
        {"slot", TR_FLAG_TEXT, &w->slot, 0, 0},
        {"swap", TR_FLAG_YES, &w->swap, 0, 0},
        {"isa", TR_FLAG_TEXT, &w->isa, 0, 0},
        {"math", TR_FLAG_TEXT, &w->math, 0, 0},
        {"cpus", TR_FLAG_TEXT, &w->cpus, 0, 0},
        {"skeleton", TR_FLAG_YES, &w->skeleton, 0, 0},
        {"seed", TR_FLAG_INT, &w->seed, 0, 9e15},
        {"threads", TR_FLAG_INT, &w->threads, 0, 4096},
        {"join-seconds", TR_FLAG_REAL, &w->join_seconds, 0, 1e6},
        {"model", TR_FLAG_TEXT, &w->model, 0, 0},
        {"checkpoint", TR_FLAG_TEXT, &w->checkpoint, 0, 0},
        {"from-scratch", TR_FLAG_YES, &w->from_scratch, 0, 0},
        {"value-head", TR_FLAG_YES, &w->value_head, 0, 0},
        {"no-lm-head", TR_FLAG_YES, &w->no_lm_head, 0, 0},
        {"bf16", TR_FLAG_YES, &w->bf16, 0, 0},
        {"recompute", TR_FLAG_YES, &w->recompute, 0, 0},
        {"max-tokens", TR_FLAG_INT, &w->max_tokens, 1, 1 << 26},
        {"max-sequences", TR_FLAG_INT, &w->max_sequences, 1, 1 << 20},
        {"pages", TR_FLAG_INT, &w->pages, 1, 1 << 26},
        {"rule", TR_FLAG_TEXT, &w->rule, 0, 0},
        {"target", TR_FLAG_REAL, &w->parameters.target, 0, TR_RULE_TARGET_MOST},
        {"scale", TR_FLAG_REAL, &w->parameters.scale, TR_RULE_SCALE_LEAST,
         TR_RULE_SCALE_MOST},
        {"pattern", TR_FLAG_TEXT, &w->parameters.pattern, 0, 0},
        {"tokenizer", TR_FLAG_TEXT, &w->parameters.tokenizer, 0, 0},
        {"hit", TR_FLAG_REAL, &w->parameters.hit, -1e9, 1e9},
        {"miss", TR_FLAG_REAL, &w->parameters.miss, -1e9, 1e9},
        {"weights", TR_FLAG_TEXT, &w->weights, 0, 0},
        {"source", TR_FLAG_TEXT, &w->source, 0, 0},
        {"host", TR_FLAG_TEXT, &w->host, 0, 0},
        {"empty", TR_FLAG_YES, &w->empty, 0, 0},
        {"keep", TR_FLAG_INT, &w->keep, 1, TR_SHELF_MODELS - 1},
    };
    int words = 0;
    *w = (struct wish){.seed = 42,
                       .threads = 1,
                       .join_seconds = 600,
                       .math = "exact",
                       .max_tokens = 2048,
                       .max_sequences = 32,
                       .pages = 1024,
                       .parameters = {.target = (double)NAN,
                                      .scale = (double)NAN,
                                      .hit = (double)NAN,
                                      .miss = (double)NAN},
                       .keep = 3};
    enum tr_status st = tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv,
                                      &w->word, 1, &words, err);
    return st == TR_OK ? check(w, err) : st;
}

/* Before any thread of the team starts and any memory of weight is touched. */
static enum tr_status take_cpus(const struct wish *w, struct tr_err *err)
{
    struct tr_machine host;
    char note[160];
    if (!w->cpus) return TR_OK;
    enum tr_status st = tr_machine_open(NULL, &host, err);
    if (st != TR_OK) return st;
    st = tr_machine_bind(&host, w->cpus, note, sizeof note, err);
    if (st != TR_OK) tr_err_wrap(err, st, "--cpus");
    if (st == TR_OK && note[0]) fprintf(stderr, "troupe role: --cpus: %s\n", note);
    tr_machine_close(&host);
    return st;
}

/* ---- a model of files ---- */

/* Policy and critic learn: theirs is opened here, so that a checkpoint can be read into it. */
static enum tr_status open_learner(const struct wish *w, const struct tr_exec *ex,
                                   struct tr_learner **out, struct tr_digest *lineage,
                                   bool *placed, struct tr_err *err)
{
    struct tr_learner_start start = {
        .model = w->model,
        .from_scratch = w->from_scratch,
        .seed = (uint64_t)w->seed,
        .lm_head = !w->no_lm_head && w->role != TR_ROLE_CRITIC,
        .value_head = w->value_head || w->role == TR_ROLE_CRITIC,
        .bf16 = w->bf16,
        .recompute = w->recompute,
        .max_tokens = w->max_tokens,
        .max_sequences = w->max_sequences,
    };
    enum tr_status st = tr_learner_open(ex, &start, out, err);
    *placed = false;
    if (st != TR_OK || !w->checkpoint) return st;
    st = tr_checkpoint_read(*out, w->checkpoint, err);
    if (st == TR_OK) st = tr_checkpoint_read_lineage(w->checkpoint, lineage, err);
    *placed = st == TR_OK;
    return st == TR_AGAIN ? TR_OK : st;
}

/* Those who have the policy's weights give them to other hosts. A policy does as soon as it publishes,
 * a rollout when it met its company on another host. */
static enum tr_status open_source(const struct wish *w, const struct tr_keys *keys,
                                  struct tr_source **out, struct tr_err *err)
{
    char beside[TR_ADDRESS_BYTES];
    struct tr_address met;
    if (w->source) return tr_source_open(w->source, keys, out, err);
    if (!w->weights) return TR_OK;
    enum tr_status st = tr_address_parse(w->join, keys != NULL, &met, err);
    if (st != TR_OK || (w->role != TR_ROLE_POLICY &&
                        (w->role != TR_ROLE_ROLLOUT || !met.tcp || met.loopback)))
        return st;
    st = tr_address_beside(w->join, beside, err);
    return st == TR_OK ? tr_source_open(beside, keys, out, err) : st;
}

static enum tr_status work_for(const struct wish *w, struct tr_role_start *start,
                               const struct tr_log *log, struct tr_err *err)
{
    struct tr_actor *actor = NULL;
    struct tr_packed_dir *dir = NULL;
    struct tr_keys keys = {.n = 0};
    enum tr_status st = TR_OK;
    struct tr_worker worker = {.address = w->join,
                               .keys = w->keys ? &keys : NULL,
                               .place = w->weights,
                               .host = w->host,
                               .instance = log->name,
                               .slot = w->slot,
                               .swap = w->swap,
                               .join_seconds = w->join_seconds,
                               .stop_fd = w->stop_fd};
    if (w->keys) st = tr_keys_open(w->keys, (int)w->role, &keys, err);
    if (st == TR_OK && w->weights) st = tr_packed_dir_open(w->weights, &dir, err);
    if (st == TR_OK) st = open_source(w, worker.keys, &start->source, err);
    start->weights = w->weights;
    start->keep = w->keep;
    if (st == TR_OK) st = tr_actor_open(w->role, start, &actor, err);
    if (st == TR_OK) st = tr_worker_run(&worker, actor, log, err);
    tr_actor_close(actor);
    tr_source_close(start->source);
    tr_packed_dir_close(dir);
    tr_keys_close(&keys);
    return st;
}

static enum tr_status serve_model(const struct wish *w, const struct tr_exec *ex,
                                  const struct tr_log *log, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    struct tr_role_start start = {
        .ex = ex,
        .folder = w->model,
        .seed = (uint64_t)w->seed,
        .bf16 = w->bf16,
        .max_tokens = w->max_tokens,
        .max_sequences = w->max_sequences,
        .pages = w->pages,
        .empty = w->empty && w->role == TR_ROLE_ROLLOUT,
        .rule = w->rule ? &w->parameters : NULL,
    };
    struct tr_digest lineage;
    bool placed = false;
    if (w->role == TR_ROLE_POLICY || w->role == TR_ROLE_CRITIC)
        st = open_learner(w, ex, &start.learner, &lineage, &placed, err);
    if (placed) start.lineage = &lineage;
    if (st == TR_OK) st = work_for(w, &start, log, err);
    tr_learner_close(start.learner);
    return st;
}

/* ---- a model of no files ---- */

static enum tr_status serve_skeleton(const struct wish *w, const struct tr_exec *ex,
                                     const struct tr_log *log, struct tr_err *err)
{
    struct tr_skeleton *skeleton = NULL;
    enum tr_status st = tr_skeleton_create((uint64_t)w->seed, &skeleton, err);
    if (st != TR_OK) return st;
    struct tr_role_start start = tr_skeleton_role(skeleton, w->role, ex);
    st = work_for(w, &start, log, err);
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
    w.stop_fd = tr_start_stop_fd();
    if (st == TR_OK)
        prctl(PR_SET_NAME,
              w.name ? w.name : w.word); /* for top and ps; its threads too */
    if (st == TR_OK) st = take_cpus(&w, &err);
    if (st == TR_OK)
        st = tr_start_exec(
            w.isa, w.threads,
            strcmp(w.math, "exact") == 0 ? TR_MATH_EXACT : TR_MATH_OPENBLAS, &ex, &err);
    if (st == TR_OK) {
        snprintf(name, sizeof name, "%s-%ld", w.word, (long)getpid());
        struct tr_log log = {
            .name = w.name ? w.name : name, .fd = STDERR_FILENO, .level = TR_LOG_INFO};
        st = w.skeleton ? serve_skeleton(&w, &ex, &log, &err)
                        : serve_model(&w, &ex, &log, &err);
        tr_exec_fini(&ex);
    }
    if (st == TR_OK) return 0;
    fprintf(stderr, "troupe role: %s\n", err.text);
    return st == TR_BADARG ? 2 : 1;
}

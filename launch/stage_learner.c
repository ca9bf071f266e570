/* Who learns: a learner in this process, or `troupe role policy` in one of its own. Both are
 * opened with the same words, and taught through the same units (actors/course.h). */
#include <stdio.h>
#include <string.h>

#include "actors/checkpoint.h"
#include "core/base/file.h"
#include "core/model/memory.h"
#include "launch/stage_parts.h"
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
    return tr_course_open_here(p->learner, start->model, &p->course, err);
}

/* ---- in a process of its own ---- */

struct words { /* of a command line */
    const char *at[TR_CHILD_WORDS + 1];
    int n;
    char number[4][24];
    int numbers;
};

static void add(struct words *w, const char *flag, const char *value)
{
    w->at[w->n++] = flag;
    if (value) w->at[w->n++] = value;
}

static void add_number(struct words *w, const char *flag, int64_t value)
{
    char *text = w->number[w->numbers++];
    snprintf(text, sizeof w->number[0], "%lld", (long long)value);
    add(w, flag, text);
}

static void spell(const struct tr_stage_parts *p, const struct tr_learner_start *start,
                  const char *address, const char *checkpoint, struct words *w)
{
    *w = (struct words){.n = 0};
    add(w, "role", "policy");
    add(w, "--name", "policy");
    add(w, "--join", address);
    add(w, "--model", start->model);
    add(w, "--isa", tr_exec_isa(p->ex));
    add(w, "--math", p->ex->math == TR_MATH_EXACT ? "exact" : "openblas");
    add_number(w, "--threads", tr_team_threads(p->ex->team));
    add_number(w, "--seed", (int64_t)start->seed);
    add_number(w, "--max-tokens", start->max_tokens);
    add_number(w, "--max-sequences", start->max_sequences);
    if (start->from_scratch) add(w, "--from-scratch", NULL);
    if (!start->lm_head) add(w, "--no-lm-head", NULL);
    if (start->value_head) add(w, "--value-head", NULL);
    if (start->bf16) add(w, "--bf16", NULL);
    if (start->recompute) add(w, "--recompute", NULL);
    if (checkpoint[0]) add(w, "--checkpoint", checkpoint);
}

static bool child_lives(void *child)
{
    bool failed;
    return !tr_child_ended(child, &failed);
}

static enum tr_status open_served(struct tr_stage_parts *p,
                                  const struct tr_learner_start *start,
                                  const char *checkpoint, struct tr_err *err)
{
    char address[TR_ADDRESS_BYTES];
    char logs[1024];
    char file[1024];
    struct words words;
    const json_t *listen = json_object_get(p->o->roles, "listen");
    const char *wanted = listen ? json_string_value(listen) : "tcp://127.0.0.1:0";
    enum tr_status st = tr_path_join(logs, sizeof logs, p->o->output.dir, "logs", err);
    if (st == TR_OK) st = tr_path_join(file, sizeof file, logs, "policy.log", err);
    if (st == TR_OK) st = tr_dir_make(logs, err);
    if (st == TR_OK)
        st = tr_course_open_served(wanted, join_seconds, address, p->watch->log,
                                   &p->course, err);
    if (st != TR_OK) return st;
    spell(p, start, address, checkpoint, &words);
    st = tr_child_start(words.at, file, &p->child, err);
    if (st != TR_OK) return st;
    tr_course_watch(p->course, child_lives, &p->child);
    tr_log_info(p->watch->log, "policy is process %ld, its log %s", (long)p->child.pid,
                file);
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
    st = json_object_get(p->o->roles, "policy") ? open_served(p, &start, checkpoint, err)
                                                : open_here(p, &start, checkpoint, err);
    if (st == TR_OK && p->o->stage == TR_KTO)
        st = tr_stage_open_judges(p, start.max_tokens, err);
    return st;
}

void tr_stage_close_learner(struct tr_stage_parts *p)
{
    tr_course_close(p->course);
    tr_child_stop(&p->child, 10);
    tr_learner_close(p->learner);
}

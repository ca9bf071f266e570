#include "core/learn/stage.h"

#include <stdlib.h>
#include <string.h>

#include "core/learn/stage_parts.h"
#include "core/learn/tokens.h"

/* Tokens of an example in a micro-batch. KTO's twin is not learnt from, but judged, alone. */
static int64_t example_tokens(const struct tr_stage_plan *p, const struct tr_example *e)
{
    int64_t n = 0;
    for (int i = 0; i < e->n; i++) {
        bool alone = p->o.stage == TR_KTO;
        if (!alone) n += e->seq[i].count;
        if (alone && e->seq[i].count > n) n = e->seq[i].count;
    }
    return n;
}

static enum tr_status make_room(struct tr_stage_plan *p, struct tr_err *err)
{
    int64_t N = p->o.plan.examples;
    int64_t step = p->o.plan.batch * p->o.plan.accumulation;
    if (step > N) step = N;
    for (int64_t i = 0; i < N; i++) {
        int64_t n = example_tokens(p, tr_examples_get(p->examples, i));
        if (n > p->longest) p->longest = n;
    }
    size_t tokens = (size_t)(step * p->longest);
    p->order[0] = calloc((size_t)N, sizeof **p->order);
    p->order[1] = calloc((size_t)N, sizeof **p->order);
    p->start = calloc((size_t)step * 2 + 1, sizeof *p->start);
    p->read_at = calloc((size_t)step * 2, sizeof *p->read_at);
    p->token = calloc(tokens + 1, sizeof *p->token);
    p->label = calloc(tokens + 1, sizeof *p->label);
    p->group_start = calloc((size_t)step + 1, sizeof *p->group_start);
    p->group_divisor = calloc((size_t)step, sizeof *p->group_divisor);
    if (!p->order[0] || !p->order[1] || !p->start || !p->read_at || !p->token ||
        !p->label || !p->group_start || !p->group_divisor)
        return tr_err_set(err, TR_NOMEM, "a step of %lld samples of up to %lld tokens",
                          (long long)step, (long long)p->longest);
    return p->o.stage == TR_KTO ? tr_stage_judged_init(p, step, err) : TR_OK;
}

enum tr_status tr_stage_create(const struct tr_stage_options *o,
                               const struct tr_examples *examples,
                               struct tr_stage_plan **out, struct tr_err *err)
{
    *out = NULL;
    struct tr_stage_plan *p = calloc(1, sizeof *p);
    if (!p) return tr_err_set(err, TR_NOMEM, "the plan: %zu bytes", sizeof *p);
    p->o = *o;
    p->examples = examples;
    p->epoch[0] = p->epoch[1] = -1;
    p->o.plan.examples = tr_examples_count(examples);
    enum tr_status st = tr_plan_make(&p->o.plan, err);
    if (st == TR_OK) st = make_room(p, err);
    if (st != TR_OK) {
        tr_stage_destroy(p);
        return st;
    }
    p->o.schedule.total = p->o.plan.total;
    p->o.schedule.warmup =
        tr_schedule_warmup(o->warmup_steps, o->warmup_ratio, p->o.plan.total);
    if (o->stage == TR_KTO) tr_stage_judged_forget(p);
    *out = p;
    return TR_OK;
}

void tr_stage_destroy(struct tr_stage_plan *p)
{
    if (!p) return;
    free(p->order[0]);
    free(p->order[1]);
    free(p->start);
    free(p->read_at);
    free(p->token);
    free(p->label);
    free(p->group_start);
    free(p->group_divisor);
    tr_stage_judged_fini(&p->judged);
    free(p);
}

const struct tr_plan *tr_stage_steps(const struct tr_stage_plan *p)
{
    return &p->o.plan;
}

const struct tr_schedule *tr_stage_schedule(const struct tr_stage_plan *p)
{
    return &p->o.schedule;
}

struct tr_stage_progress tr_stage_progress(const struct tr_stage_plan *p)
{
    return p->progress;
}

double tr_stage_epoch(const struct tr_stage_plan *p)
{
    if (!p->progress.step) return 0;
    return tr_plan_at(&p->o.plan, p->progress.step - 1).epoch_after;
}

void tr_stage_micro_batch(const struct tr_stage_plan *p, int64_t *max_tokens,
                          int64_t *max_sequences)
{
    int64_t batch = p->o.plan.batch;
    if (batch > p->o.plan.examples) batch = p->o.plan.examples;
    *max_tokens = batch * p->longest;
    *max_sequences = batch * (p->o.stage == TR_RM ? 2 : 1);
}

enum tr_status tr_stage_seek(struct tr_stage_plan *p,
                             const struct tr_stage_progress *progress, struct tr_err *err)
{
    if (progress->step < 0 || progress->step > p->o.plan.total)
        return tr_err_set(err, TR_BADARG,
                          "the checkpoint is at step %lld of a run of %lld",
                          (long long)progress->step, (long long)p->o.plan.total);
    p->progress = *progress;
    if (p->o.stage == TR_KTO) tr_stage_judged_forget(p);
    return TR_OK;
}

int64_t tr_stage_read_at(const struct tr_sequence *seq, int32_t stop, bool compat)
{
    enum { TAIL = 4 }; /* template text after a stop token is at most "\n\n" */
    int64_t last = seq->count - 1;
    if (compat || stop < 0) return last;
    for (int64_t i = last; i >= 0 && i > last - TAIL; i--)
        if (seq->id[i] == stop && seq->label[i] != TR_IGNORE) return i;
    return last;
}

/* Appends a sequence to the step's arrays. */
static void append(struct tr_stage_plan *p, const struct tr_sequence *seq, int64_t s)
{
    int64_t at = p->start[s];
    size_t bytes = (size_t)seq->count * sizeof *seq->id;
    memcpy(p->token + at, seq->id, bytes);
    memcpy(p->label + at, seq->label, bytes);
    p->read_at[s] = at + tr_stage_read_at(seq, p->o.stop, p->o.compat);
    p->start[s + 1] = at + seq->count;
}

int64_t tr_stage_example_at(struct tr_stage_plan *p, struct tr_plan_step at, int64_t i)
{
    int slot = (int)(at.epoch % 2);
    if (at.epoch != p->epoch[slot]) tr_plan_order(&p->o.plan, at.epoch, p->order[slot]);
    p->epoch[slot] = at.epoch;
    return p->order[slot][at.first + i];
}

static double divisor_of(const struct tr_stage_plan *p, const struct tr_sequences *seq)
{
    int64_t n = p->o.stage == TR_RM ? seq->S / 2 : tr_token_labels(seq);
    return n > 0 ? (double)n : 1;
}

void tr_stage_group(struct tr_stage_plan *p, int64_t n, int64_t unit,
                    struct tr_learn_task *task)
{
    int64_t size = p->o.plan.batch, groups = (n + size - 1) / size;
    for (int64_t g = 0; g < groups; g++) {
        int64_t end = (g + 1) * size < n ? (g + 1) * size : n;
        p->group_start[g + 1] = end * unit;
        p->group_divisor[g] = (end - g * size) * p->o.plan.accumulation;
    }
    task->seq.groups = groups;
    task->seq.group_start = p->group_start;
    task->seq.group_divisor = p->group_divisor;
}

/* Is this a step whose mean is not the peer's? */
static bool is_odd(const struct tr_stage_plan *p, int64_t examples)
{
    return p->o.compat && p->o.stage == TR_RM &&
           examples < p->o.plan.batch * p->o.plan.accumulation;
}

bool tr_stage_next(struct tr_stage_plan *p, struct tr_learn_task *task)
{
    if (p->progress.step >= p->o.plan.total) return false;
    struct tr_plan_step at = tr_plan_at(&p->o.plan, p->progress.step);
    int64_t S = 0;
    for (int64_t i = 0; i < at.count; i++) {
        const struct tr_example *e =
            tr_examples_get(p->examples, tr_stage_example_at(p, at, i));
        int n = p->o.stage == TR_KTO ? 1 : e->n;
        for (int k = 0; k < n; k++) append(p, &e->seq[k], S++);
    }
    *task = (struct tr_learn_task){
        .objective = p->o.stage == TR_RM ? TR_LEARN_PAIRS : TR_LEARN_TOKENS,
        .seq = {.S = S,
                .T = p->start[S],
                .start = p->start,
                .token = p->token,
                .label = p->label,
                .read_at = p->read_at},
        .update = p->o.update,
    };
    task->divisor = divisor_of(p, &task->seq);
    if (is_odd(p, at.count)) tr_stage_group(p, at.count, 2, task);
    if (p->o.stage == TR_KTO) tr_stage_judged_fill(p, at, task);
    task->update.lr = tr_schedule_lr(&p->o.schedule, p->progress.step);
    return true;
}

void tr_stage_take(struct tr_stage_plan *p, const struct tr_learn_result *result)
{
    p->progress.step++;
    p->progress.tokens += result->tokens;
    if (p->o.stage == TR_KTO) tr_stage_judged_forget(p);
    if (result->skipped) {
        p->progress.skipped++;
        p->progress.skipped_in_a_row++;
        return;
    }
    p->progress.skipped_in_a_row = 0;
    p->progress.loss_sum += result->loss;
}

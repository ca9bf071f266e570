/* rollout.c - the policy's forward weights, put to work on prompts.
 *
 * Takes prompts with how to sample and when to stop (unit `generate`).
 * Gives the ids of the answers and their log-probs, which are PPO's old log-probs to the bit. */
#include <stdlib.h>

#include "actors/generator.h"
#include "actors/role.h"
#include "proto/step1_generate.h"

struct job { /* one unit in hand: the tickets of its prompts */
    struct tr_digest id;
    int64_t S;
    int64_t *ticket; /* owns; [S] */
};

struct rollout {
    struct tr_model slot;
    struct tr_generator *generator; /* owns */
    struct job *job;                /* owns; [jobs] */
    int64_t jobs, room;
};

static void close_rollout(void *self)
{
    struct rollout *r = self;
    if (!r) return;
    tr_generator_destroy(r->generator);
    tr_model_close(&r->slot);
    for (int64_t i = 0; i < r->jobs; i++) free(r->job[i].ticket);
    free(r->job);
    free(r);
}

static enum tr_status open_rollout(const struct tr_role_start *start, void **self,
                                   struct tr_err *err)
{
    struct tr_model_start slot = {.folder = start->folder,
                                  .arch = start->arch,
                                  .seed = start->seed,
                                  .lm_head = true,
                                  .bf16 = start->bf16};
    struct tr_decode_size size = {.max_sequences = start->max_sequences,
                                  .max_tokens = start->max_tokens,
                                  .pages = start->pages};
    struct rollout *r = calloc(1, sizeof *r);
    if (!r) return tr_err_set(err, TR_NOMEM, "a rollout");
    enum tr_status st = tr_model_open(start->ex, &slot, &r->slot, err);
    if (st == TR_OK)
        st = tr_generator_create(start->ex, r->slot.weights, &size, &r->generator, err);
    if (st != TR_OK) {
        close_rollout(r);
        return st;
    }
    *self = r;
    return TR_OK;
}

static void holds(const void *self, struct tr_digests *out)
{
    const struct rollout *r = self;
    *out = tr_digests_one(&r->slot.digest);
}

/* ---- from a unit to tickets ---- */

static struct tr_generator_ask prompt_of(const struct tr_ask_generate *a, int64_t s)
{
    const int64_t *start = a->start.at;
    return (struct tr_generator_ask){
        .sampling = {.temperature = (float)a->temperature,
                     .top_k = (int32_t)a->top_k,
                     .top_p = (float)a->top_p,
                     .repetition_penalty = (float)a->repetition_penalty},
        .seed = (uint64_t)a->seed,
        .step = (uint32_t)a->step,
        .prompt = (uint32_t)((const int64_t *)a->prompt.at)[s],
        .sample = (uint32_t)((const int64_t *)a->sample.at)[s],
        .max_new = a->max_new_tokens,
        .stop = a->stop.at,
        .stops = a->stop.count,
        .token = (const int32_t *)a->token.at + start[s],
        .count = start[s + 1] - start[s],
    };
}

static void drop_tickets(struct rollout *r, const int64_t *ticket, int64_t n)
{
    for (int64_t s = 0; s < n; s++) tr_generator_drop(r->generator, ticket[s]);
}

static enum tr_status add_prompts(struct rollout *r, const struct tr_ask_generate *ask,
                                  int64_t *ticket, int64_t S, struct tr_err *err)
{
    for (int64_t s = 0; s < S; s++) {
        struct tr_generator_ask one = prompt_of(ask, s);
        enum tr_status st = tr_generator_add(r->generator, &one, &ticket[s], err);
        if (st == TR_OK) continue;
        drop_tickets(r, ticket, s);
        return st;
    }
    return TR_OK;
}

static struct job *new_job(struct rollout *r)
{
    if (r->jobs == r->room) {
        int64_t room = r->room ? 2 * r->room : 16;
        struct job *more = realloc(r->job, (size_t)room * sizeof *more);
        if (!more) return NULL;
        r->job = more;
        r->room = room;
    }
    return &r->job[r->jobs];
}

static enum tr_status begin(void *self, const struct tr_unit *unit, struct tr_err *err)
{
    struct rollout *r = self;
    struct tr_digests held;
    struct tr_ask_generate ask;
    int64_t unknown = 0;
    if (unit->kind != TR_UNIT_GENERATE) return tr_role_refuse(TR_ROLE_ROLLOUT, unit, err);
    holds(r, &held);
    enum tr_status st = tr_role_check(unit, &held, err);
    if (st == TR_OK)
        st = tr_content_decode(&unit->content, &tr_ask_generate_record, &ask, &unknown,
                               err);
    if (st == TR_OK) st = tr_ask_generate_check(&ask, r->slot.arch.V, err);
    if (st != TR_OK) return st;
    int64_t S = ask.start.count - 1;
    struct job *job = new_job(r);
    int64_t *ticket = malloc((size_t)S * sizeof *ticket);
    if (!job || !ticket)
        st = tr_err_set(err, TR_NOMEM, "%lld prompts", (long long)S);
    else
        st = add_prompts(r, &ask, ticket, S, err);
    if (st != TR_OK) {
        free(ticket);
        return st;
    }
    *job = (struct job){.id = unit->id, .S = S, .ticket = ticket};
    r->jobs++;
    return TR_OK;
}

static enum tr_status advance(void *self, struct tr_err *err)
{
    struct rollout *r = self;
    enum tr_status st = tr_generator_step(r->generator, err);
    return st == TR_AGAIN ? TR_OK : st;
}

/* ---- from tickets to an answer ---- */

static bool all_done(const struct rollout *r, const struct job *job, int64_t *tokens)
{
    *tokens = 0;
    for (int64_t s = 0; s < job->S; s++) {
        struct tr_generated g = tr_generator_see(r->generator, job->ticket[s]);
        if (g.state != TR_GENERATED_DONE) return false;
        *tokens += g.count;
    }
    return true;
}

static void join_answers(const struct rollout *r, const struct job *job, int32_t *token,
                         int64_t *start, float *logprob, int32_t *stopped)
{
    start[0] = 0;
    for (int64_t s = 0; s < job->S; s++) {
        struct tr_generated g = tr_generator_see(r->generator, job->ticket[s]);
        for (int64_t i = 0; i < g.count; i++) {
            token[start[s] + i] = g.token[i];
            logprob[start[s] + i] = g.logprob[i];
        }
        start[s + 1] = start[s] + g.count;
        stopped[s] = g.stopped;
    }
}

static enum tr_status answer_of(const struct rollout *r, const struct job *job,
                                int64_t tokens, const struct tr_digests *used,
                                struct tr_content *out, struct tr_err *err)
{
    size_t T = (size_t)tokens, S = (size_t)job->S;
    enum tr_status st = TR_NOMEM;
    int32_t *token = malloc(T * sizeof *token + 1),
            *stopped = malloc(S * sizeof *stopped);
    int64_t *start = malloc((S + 1) * sizeof *start);
    float *logprob = malloc(T * sizeof *logprob + 1);
    if (token && stopped && start && logprob) {
        join_answers(r, job, token, start, logprob, stopped);
        struct tr_answer_generate answer = {
            .token = {token, tokens},
            .start = {start, job->S + 1},
            .logprob = {logprob, tokens},
            .stopped = {stopped, job->S},
        };
        st = tr_content_encode(&tr_answer_generate_record, used, &answer, out, err);
    } else {
        st = tr_err_set(err, TR_NOMEM, "an answer of %zu tokens", T);
    }
    free(token);
    free(stopped);
    free(start);
    free(logprob);
    return st;
}

static enum tr_status finish(void *self, const struct tr_unit *unit,
                             struct tr_content *out, struct tr_err *err)
{
    struct rollout *r = self;
    int64_t i = 0, tokens = 0;
    while (i < r->jobs && !tr_digest_equal(&r->job[i].id, &unit->id)) i++;
    if (i == r->jobs) return tr_err_set(err, TR_GONE, "generate: no such unit in hand");
    struct job *job = &r->job[i];
    if (!all_done(r, job, &tokens)) return TR_AGAIN;
    enum tr_status st = answer_of(r, job, tokens, &unit->needs, out, err);
    drop_tickets(r, job->ticket, job->S);
    free(job->ticket);
    *job = r->job[--r->jobs];
    return st;
}

const struct tr_role_ops tr_rollout_role = {
    .role = TR_ROLE_ROLLOUT,
    .credits = 32,
    .open = open_rollout,
    .close = close_rollout,
    .holds = holds,
    .begin = begin,
    .advance = advance,
    .finish = finish,
};

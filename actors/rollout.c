/* rollout.c - the policy's forward weights, put to work on prompts.
 *
 * Takes prompts with how to sample and when to stop (unit `generate`), and new weights.
 * Gives the ids of the answers and their log-probs, which are PPO's old log-probs to the bit.
 *
 * Several versions of the policy may be on the shelf; the one generator works with one at a time. A
 * job for another waits until those that run are done, and jobs that come after it wait behind
 * it, so nobody waits for ever. Then the generator turns to the version of the first that waits
 * and takes all jobs of that version. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/generator.h"
#include "actors/role.h"
#include "actors/shelf.h"
#include "actors/source.h"
#include "proto/step1_generate.h"

struct job { /* one unit in hand */
    struct tr_digest id;
    struct tr_ask_generate ask; /* its arrays lie in the unit, which the actor holds */
    const struct tr_model *model;
    int64_t S;
    bool started;
    int64_t *ticket;     /* owns; [S], of its prompts once started */
    struct tr_err fault; /* why it could not be started */
};

struct rollout {
    const struct tr_exec *ex; /* borrows */
    struct tr_decode_size size;
    struct tr_model_shape shape;
    struct tr_shelf shelf;
    const struct tr_model
        *present; /* on the shelf: whose weights the generator has, or NULL */
    struct tr_generator *generator; /* owns */
    int64_t tokens_before;          /* of generators before this one */
    struct tr_arch arch;            /* of the generator */
    struct tr_source *source;       /* shared, or NULL */
    struct tr_digests unsaid;       /* came over the wire, not offered to others yet */
    struct job *job;                /* owns; [jobs], in order of arrival */
    int64_t jobs, room;
};

static void forget(void *self, const struct tr_digest *digest)
{
    struct rollout *r = self;
    const struct tr_model *m = tr_shelf_find(&r->shelf, digest);
    if (!m) return;
    if (m == r->present) r->present = NULL; /* nobody has a ticket: no unit needs it */
    if (m->fetched && r->source) tr_source_remove(r->source, digest);
    if (m->fetched) tr_packed_unlink(m->packed);
    tr_shelf_drop(&r->shelf, digest);
}

static void close_rollout(void *self)
{
    struct rollout *r = self;
    if (!r) return;
    tr_generator_destroy(r->generator);
    while (r->shelf.n > 0) forget(r, &r->shelf.at[0]->digest);
    for (int64_t i = 0; i < r->jobs; i++) free(r->job[i].ticket);
    free(r->job);
    free(r);
}

/* The generator turns to this model; nobody has a ticket. */
static enum tr_status turn_to(struct rollout *r, const struct tr_model *m,
                              struct tr_err *err)
{
    if (r->present == m) return TR_OK;
    r->present = NULL;
    /* Padding that differs costs a new generator, no more. */
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c)
    if (r->generator && memcmp(&r->arch, &m->arch, sizeof r->arch) == 0) {
        tr_generator_use(r->generator, m->weights);
    } else {
        if (r->generator)
            r->tokens_before += tr_generator_counts(r->generator).answer_tokens;
        tr_generator_destroy(r->generator);
        r->generator = NULL;
        enum tr_status st =
            tr_generator_create(r->ex, m->weights, &r->size, &r->generator, err);
        if (st != TR_OK) return st;
        r->arch = m->arch;
    }
    r->present = m;
    return TR_OK;
}

static enum tr_status open_rollout(const struct tr_role_start *start, void **self,
                                   struct tr_err *err)
{
    struct tr_model_start slot = {.folder = start->folder,
                                  .arch = start->arch,
                                  .seed = start->seed,
                                  .lm_head = true,
                                  .bf16 = start->bf16};
    struct tr_model m;
    struct rollout *r = calloc(1, sizeof *r);
    if (!r) return tr_err_set(err, TR_NOMEM, "a rollout");
    r->ex = start->ex;
    r->source = start->source;
    r->size = (struct tr_decode_size){.max_sequences = start->max_sequences,
                                      .max_tokens = start->max_tokens,
                                      .pages = start->pages};
    enum tr_status st = TR_OK;
    r->shape = (struct tr_model_shape){.lm_head = true, .bf16 = start->bf16};
    if (start->empty) {
        st = tr_arch_load(start->folder, &r->shape.arch, NULL, err);
    } else {
        st = tr_model_open(start->ex, &slot, &m, err);
        if (st == TR_OK) r->shape.arch = m.arch;
        if (st == TR_OK) st = tr_shelf_put(&r->shelf, &m, err);
        if (st == TR_OK) st = turn_to(r, r->shelf.at[0], err);
    }
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
    *out = tr_shelf_holds(&r->shelf);
}

static bool shape(const void *self, struct tr_model_shape *out)
{
    const struct rollout *r = self;
    *out = r->shape;
    return true;
}

/* What came over the wire is given on: to this host as a file, to others in chunks. */
static enum tr_status adopt(void *self, struct tr_model *take, struct tr_err *err)
{
    struct rollout *r = self;
    struct tr_digest digest = take->digest;
    bool fetched = take->fetched;
    enum tr_status st = tr_shelf_put(&r->shelf, take, err);
    if (st != TR_OK || !fetched) return st;
    const struct tr_model *m = tr_shelf_find(&r->shelf, &digest);
    if (r->source && tr_source_add(r->source, m, NULL) != TR_OK)
        return TR_OK; /* it need not serve others */
    if (r->unsaid.n < TR_DIGESTS_MAX) r->unsaid.at[r->unsaid.n++] = digest;
    return TR_OK;
}

static bool offer(void *self, struct tr_offer *out)
{
    struct rollout *r = self;
    while (r->unsaid.n > 0) {
        struct tr_digest digest = r->unsaid.at[--r->unsaid.n];
        const struct tr_model *m = tr_shelf_find(&r->shelf, &digest);
        if (!m || (!r->source && !tr_packed_name(m->packed)[0])) continue;
        *out = (struct tr_offer){.digest = digest};
        snprintf(out->file, sizeof out->file, "%s", tr_packed_name(m->packed));
        if (r->source)
            snprintf(out->source, sizeof out->source, "%s", tr_source_address(r->source));
        return true;
    }
    return false;
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

static enum tr_status add_prompts(struct rollout *r, struct job *job, struct tr_err *err)
{
    for (int64_t s = 0; s < job->S; s++) {
        struct tr_generator_ask one = prompt_of(&job->ask, s);
        enum tr_status st = tr_generator_add(r->generator, &one, &job->ticket[s], err);
        if (st == TR_OK) continue;
        drop_tickets(r, job->ticket, s);
        return st;
    }
    job->started = true;
    return TR_OK;
}

static bool waits(const struct job *job)
{
    return !job->started && job->fault.code == TR_OK;
}

/* Starts the jobs that may; see above. */
static void start_jobs(struct rollout *r)
{
    bool turned = true;
    for (int64_t i = 0; i < r->jobs; i++)
        if (r->job[i].started) turned = false;
    for (int64_t i = 0; i < r->jobs && turned; i++) {
        if (!waits(&r->job[i])) continue;
        if (turn_to(r, r->job[i].model, &r->job[i].fault) == TR_OK) break;
    }
    for (int64_t i = 0; i < r->jobs; i++) {
        struct job *job = &r->job[i];
        if (!waits(job)) continue;
        if (job->model == r->present)
            (void)add_prompts(r, job, &job->fault);
        else if (!turned)
            return;
    }
}

/* Room for one more; its ticket is there. */
static enum tr_status new_job(struct rollout *r, int64_t S, struct job **out,
                              struct tr_err *err)
{
    if (r->jobs == r->room) {
        int64_t room = r->room ? 2 * r->room : 16;
        struct job *more = realloc(r->job, (size_t)room * sizeof *more);
        if (!more) return tr_err_set(err, TR_NOMEM, "a unit");
        r->job = more;
        r->room = room;
    }
    int64_t *ticket = malloc((size_t)S * sizeof *ticket);
    if (!ticket) return tr_err_set(err, TR_NOMEM, "%lld prompts", (long long)S);
    *out = &r->job[r->jobs];
    **out = (struct job){.S = S, .ticket = ticket};
    return TR_OK;
}

static enum tr_status begin(void *self, const struct tr_unit *unit, struct tr_err *err)
{
    struct rollout *r = self;
    struct tr_digests held;
    struct tr_ask_generate ask;
    struct job *job = NULL;
    int64_t unknown = 0;
    if (unit->kind != TR_UNIT_GENERATE) return tr_role_refuse(TR_ROLE_ROLLOUT, unit, err);
    holds(r, &held);
    enum tr_status st = tr_role_count(unit, 1, err);
    if (st == TR_OK) st = tr_role_check(unit, &held, err);
    if (st == TR_OK)
        st = tr_content_decode(&unit->content, &tr_ask_generate_record, &ask, &unknown,
                               err);
    if (st != TR_OK) return st;
    const struct tr_model *m = tr_shelf_find(&r->shelf, &unit->needs.at[0]);
    st = tr_ask_generate_check(&ask, m->arch.V, err);
    if (st == TR_OK) st = new_job(r, ask.start.count - 1, &job, err);
    if (st != TR_OK) return st;
    job->id = unit->id;
    job->ask = ask;
    job->model = m;
    r->jobs++;
    start_jobs(r);
    return TR_OK;
}

static enum tr_status advance(void *self, struct tr_err *err)
{
    struct rollout *r = self;
    start_jobs(r);
    enum tr_status st = r->present ? tr_generator_step(r->generator, err) : TR_AGAIN;
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

static struct job *find_job(const struct rollout *r, const struct tr_digest *id)
{
    for (int64_t i = 0; i < r->jobs; i++)
        if (tr_digest_equal(&r->job[i].id, id)) return &r->job[i];
    return NULL;
}

static void end_job(struct rollout *r, struct job *job)
{
    if (job->started) drop_tickets(r, job->ticket, job->S);
    free(job->ticket);
    r->jobs--;
    int64_t i = job - r->job;
    memmove(job, job + 1, (size_t)(r->jobs - i) * sizeof *job);
}

static enum tr_status finish(void *self, const struct tr_unit *unit,
                             struct tr_content *out, struct tr_err *err)
{
    struct rollout *r = self;
    int64_t tokens = 0;
    struct job *job = find_job(r, &unit->id);
    if (!job) return tr_err_set(err, TR_GONE, "generate: no such unit in hand");
    enum tr_status st = job->fault.code;
    if (st != TR_OK) {
        tr_err_set(err, st, "%s", job->fault.text);
    } else {
        if (!job->started || !all_done(r, job, &tokens)) return TR_AGAIN;
        st = answer_of(r, job, tokens, &unit->needs, out, err);
    }
    end_job(r, job);
    return st;
}

static void abandon(void *self, const struct tr_unit *unit)
{
    struct rollout *r = self;
    struct job *job = find_job(r, &unit->id);
    if (job) end_job(r, job);
}

static int64_t tokens(const void *self)
{
    const struct rollout *r = self;
    int64_t now = r->generator ? tr_generator_counts(r->generator).answer_tokens : 0;
    return r->tokens_before + now;
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
    .tokens = tokens,
    .abandon = abandon,
    .shape = shape,
    .adopt = adopt,
    .forget = forget,
    .offer = offer,
};

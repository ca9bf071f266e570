#include "actors/generator.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/attention.h"
#include "kernels/philox.h"
#include "kernels/softmax.h"

struct sequence {
    int64_t ticket;
    enum tr_generated_state state;
    bool stopped;
    int64_t slot;                /* while running */
    int64_t pages;               /* promised */
    int64_t prompt, answer;      /* tokens */
    int64_t fed;                 /* tokens that the cache holds */
    struct tr_generator_ask ask; /* its pointers are not used */
    int32_t stop[TR_STOP_MAX];
    int32_t *token; /* owns; prompt, then answer: [prompt + max_new] */
    float *logprob; /* owns; [max_new] */
};

struct tr_generator {
    const struct tr_exec *ex;   /* borrows */
    const struct tr_weights *w; /* borrows */
    struct tr_decode_size size;
    int64_t V, longest;
    struct tr_decode *decode; /* owns */
    struct sequence **all;    /* owns; in the order of adding */
    int64_t count, room, tickets;
    int64_t running, promised; /* sequences, pages */
    struct tr_generator_counts counts;
    struct tr_decode_input *in; /* [max_sequences] */
    struct sequence **fed;      /* [max_sequences], whose input that is */
    int32_t *target;            /* [max_sequences] */
    float *lse;                 /* [max_sequences] */
    float *row;                 /* [V] */
    void *scratch;              /* V * 12 bytes */
};

size_t tr_generator_bytes(const struct tr_arch *a, const struct tr_decode_size *size)
{
    return tr_decode_bytes(a, size) + (size_t)a->V * 16;
}

void tr_generator_destroy(struct tr_generator *g)
{
    if (!g) return;
    while (g->count > 0) tr_generator_drop(g, g->all[g->count - 1]->ticket);
    tr_decode_destroy(g->decode);
    free(g->all);
    free(g->in);
    free(g->fed);
    free(g->target);
    free(g->lse);
    free(g->row);
    free(g->scratch);
    free(g);
}

static enum tr_status take_arrays(struct tr_generator *g, struct tr_err *err)
{
    size_t n = (size_t)g->size.max_sequences, V = (size_t)g->V;
    g->in = calloc(n, sizeof *g->in);
    g->fed = calloc(n, sizeof(void *));
    g->target = calloc(n, sizeof *g->target);
    g->lse = calloc(n, sizeof *g->lse);
    g->row = calloc(V, sizeof *g->row);
    g->scratch = calloc(V, 12);
    if (g->in && g->fed && g->target && g->lse && g->row && g->scratch) return TR_OK;
    return tr_err_set(err, TR_NOMEM, "a generator's rows");
}

enum tr_status tr_generator_create(const struct tr_exec *ex, const struct tr_weights *w,
                                   const struct tr_decode_size *size,
                                   struct tr_generator **out, struct tr_err *err)
{
    const struct tr_arch *a = tr_params_arch(tr_weights_params(w));
    assert(size->max_tokens >= size->max_sequences); /* so that every runner gets on */
    struct tr_generator *g = calloc(1, sizeof *g);
    *out = NULL;
    if (!g) return tr_err_set(err, TR_NOMEM, "a generator");
    g->ex = ex;
    g->w = w;
    g->size = *size;
    g->V = a->V;
    g->longest = a->max_positions;
    enum tr_status st = take_arrays(g, err);
    if (st == TR_OK) st = tr_decode_create(a, size, &g->decode, err);
    if (st != TR_OK) {
        tr_generator_destroy(g);
        return st;
    }
    *out = g;
    return TR_OK;
}

void tr_generator_use(struct tr_generator *g, const struct tr_weights *w)
{
    assert(g->count == 0);
    assert(tr_params_arch(tr_weights_params(w))->V == g->V);
    g->w = w;
}

/* ---- adding, seeing, dropping ---- */

static void free_sequence(struct sequence *s)
{
    if (!s) return;
    free(s->token);
    free(s->logprob);
    free(s);
}

static struct sequence *new_sequence(const struct tr_generator_ask *ask)
{
    struct sequence *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->token = calloc((size_t)(ask->count + ask->max_new), sizeof *s->token);
    s->logprob = calloc((size_t)ask->max_new, sizeof *s->logprob);
    if (!s->token || !s->logprob) {
        free_sequence(s);
        return NULL;
    }
    s->ask = *ask;
    s->prompt = ask->count;
    s->pages = (ask->count + ask->max_new + TR_PAGE - 1) / TR_PAGE;
    memcpy(s->token, ask->token, (size_t)ask->count * sizeof *s->token);
    if (ask->stops > 0) memcpy(s->stop, ask->stop, (size_t)ask->stops * sizeof *s->stop);
    return s;
}

static enum tr_status check_ask(const struct tr_generator *g,
                                const struct tr_generator_ask *ask, struct tr_err *err)
{
    int64_t all = ask->count + ask->max_new;
    assert(ask->count > 0 && ask->max_new > 0 && ask->stops <= TR_STOP_MAX);
    if (all > g->longest)
        return tr_err_set(err, TR_BADARG,
                          "%lld prompt and %lld new tokens; the model has %lld positions",
                          (long long)ask->count, (long long)ask->max_new,
                          (long long)g->longest);
    if (all > g->size.pages * TR_PAGE)
        return tr_err_set(err, TR_BADARG,
                          "%lld prompt and %lld new tokens; the cache holds %lld",
                          (long long)ask->count, (long long)ask->max_new,
                          (long long)(g->size.pages * TR_PAGE));
    for (int64_t i = 0; i < ask->count; i++)
        if (ask->token[i] < 0 || ask->token[i] >= g->V)
            return tr_err_set(err, TR_BADARG, "token %d; the model has %lld",
                              ask->token[i], (long long)g->V);
    return TR_OK;
}

enum tr_status tr_generator_add(struct tr_generator *g,
                                const struct tr_generator_ask *ask, int64_t *ticket,
                                struct tr_err *err)
{
    enum tr_status st = check_ask(g, ask, err);
    if (st != TR_OK) return st;
    if (g->count == g->room) {
        int64_t room = g->room ? 2 * g->room : 16;
        struct sequence **all = realloc(g->all, (size_t)room * sizeof(void *));
        if (!all) return tr_err_set(err, TR_NOMEM, "a sequence");
        g->all = all;
        g->room = room;
    }
    struct sequence *s = new_sequence(ask);
    if (!s) return tr_err_set(err, TR_NOMEM, "a sequence");
    s->ticket = g->tickets++;
    g->all[g->count++] = s;
    *ticket = s->ticket;
    return TR_OK;
}

static int64_t find(const struct tr_generator *g, int64_t ticket)
{
    for (int64_t i = 0; i < g->count; i++)
        if (g->all[i]->ticket == ticket) return i;
    assert(false && "no such ticket");
    return -1;
}

struct tr_generated tr_generator_see(const struct tr_generator *g, int64_t ticket)
{
    const struct sequence *s = g->all[find(g, ticket)];
    return (struct tr_generated){
        .state = s->state,
        .token = s->token + s->prompt,
        .logprob = s->logprob,
        .count = s->answer,
        .stopped = s->stopped,
    };
}

static void leave(struct tr_generator *g, struct sequence *s)
{
    if (s->state == TR_GENERATED_RUNNING) {
        tr_decode_leave(g->decode, s->slot);
        g->running--;
        g->promised -= s->pages;
    }
    s->state = TR_GENERATED_DONE;
}

void tr_generator_drop(struct tr_generator *g, int64_t ticket)
{
    int64_t i = find(g, ticket);
    leave(g, g->all[i]);
    free_sequence(g->all[i]);
    g->count--;
    memmove(g->all + i, g->all + i + 1, (size_t)(g->count - i) * sizeof(void *));
}

/* ---- one step ---- */

/* Lets in who waits, in order, while slots and pages last. */
static enum tr_status admit(struct tr_generator *g, struct tr_err *err)
{
    for (int64_t i = 0; i < g->count; i++) {
        struct sequence *s = g->all[i];
        if (s->state != TR_GENERATED_WAITING) continue;
        if (g->running == g->size.max_sequences) return TR_OK;
        if (g->promised + s->pages > g->size.pages) return TR_OK;
        enum tr_status st = tr_decode_enter(g->decode, &s->slot, err);
        if (st != TR_OK) return st;
        s->state = TR_GENERATED_RUNNING;
        g->running++;
        g->promised += s->pages;
    }
    return TR_OK;
}

/* Inputs of this step: first the next token of each answer, then pieces of prompts. */
static int64_t gather(struct tr_generator *g)
{
    int64_t n = 0, left = g->size.max_tokens;
    for (int prompts = 0; prompts < 2; prompts++)
        for (int64_t i = 0; i < g->count; i++) {
            struct sequence *s = g->all[i];
            int64_t pending = s->prompt + s->answer - s->fed;
            if (s->state != TR_GENERATED_RUNNING || (s->fed < s->prompt) != prompts)
                continue;
            if (pending > left) pending = left;
            if (pending == 0) continue;
            g->in[n] = (struct tr_decode_input){
                .slot = s->slot, .count = pending, .token = s->token + s->fed};
            g->fed[n++] = s;
            left -= pending;
        }
    return n;
}

/* Appends the next token of s, whose logits are z [V]. */
static void put_token(struct tr_generator *g, struct sequence *s, const float *z,
                      float lse)
{
    struct tr_philox key = tr_philox_key(s->ask.seed, TR_FOR_SAMPLE);
    double u = tr_philox_uniform(key, (uint32_t)s->answer, s->ask.sample, s->ask.prompt,
                                 s->ask.step);
    memcpy(g->row, z, (size_t)g->V * sizeof *z);
    int32_t id = tr_sample(g->ex, &s->ask.sampling, g->row, g->V, s->token,
                           s->prompt + s->answer, u, g->scratch);
    s->token[s->prompt + s->answer] = id;
    s->logprob[s->answer++] = z[id] - lse; /* softmax.h's definition */
    for (int64_t i = 0; i < s->ask.stops; i++) s->stopped |= s->stop[i] == id;
    g->counts.answer_tokens++;
    if (s->stopped || s->answer == s->ask.max_new) leave(g, s);
}

static enum tr_status advance(struct tr_generator *g, const float *logits, int64_t n,
                              struct tr_err *err)
{
    tr_logprob(g->ex, logits, n, g->V, g->target, NULL, g->lse, NULL);
    for (int64_t i = 0; i < n; i++) {
        struct sequence *s = g->fed[i];
        if (s->fed < s->prompt) g->counts.prompt_tokens += g->in[i].count;
        s->fed += g->in[i].count;
        if (!isfinite(g->lse[i]))
            return tr_err_set(err, TR_NOTNUM, "the logits of a sequence are not finite");
        if (s->fed == s->prompt + s->answer)
            put_token(g, s, logits + i * g->V, g->lse[i]);
    }
    return TR_OK;
}

enum tr_status tr_generator_step(struct tr_generator *g, struct tr_err *err)
{
    float *logits = NULL;
    enum tr_status st = admit(g, err);
    if (st != TR_OK) return st;
    int64_t n = gather(g);
    if (n == 0) return TR_AGAIN;
    g->counts.steps++;
    st = tr_decode_step(g->decode, g->ex, g->w, g->in, n, &logits, err);
    return st == TR_OK ? advance(g, logits, n, err) : st;
}

struct tr_generator_counts tr_generator_counts(const struct tr_generator *g)
{
    return g->counts;
}

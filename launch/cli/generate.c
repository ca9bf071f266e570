#include "launch/cli/generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/model/memory.h"
#include "core/text/utf8.h"
#include "kernels/attention.h"
#include "launch/flags.h"
#include "launch/start.h"
#include "launch/voice.h"

enum { PIECE = 256 }; /* tokens of prompts that one step takes */

struct wish {
    const char *model, *template_name, *system, *isa;
    struct tr_flag_texts prompts;
    bool raw, greedy, bf16, stream;
    int64_t max_new, top_k, seed, samples, batch, threads;
    double temperature, top_p, penalty;
};

/* Where the seconds go. */
struct timing {
    double begin, first; /* of the program; of the first token, 0 until it is there */
    double prompt_seconds, decode_seconds;
    int64_t prompt_tokens, decode_tokens;
};

/* All answers, in the order asked for: prompt by prompt, sample by sample. Text goes out in that
 * order too, so the earliest unfinished one is `front` and the others wait their turn. */
struct answers {
    int64_t n, front;
    int64_t *ticket; /* owns; [n] */
    int64_t printed; /* tokens of front that are out */
    struct tr_stream stream;
};

/* A model would be asked what nobody wrote. */
static enum tr_status check_text(const char *name, int64_t number, const char *text,
                                 struct tr_err *err)
{
    size_t size = strlen(text), good = tr_utf8_valid(text, size);
    if (good == size) return TR_OK;
    return tr_err_set(err, TR_BADARG,
                      "%s %lld: expected UTF-8, found the byte 0x%02x at offset %zu",
                      name, (long long)number, (unsigned)(unsigned char)text[good], good);
}

static enum tr_status check_texts(const struct wish *w, struct tr_err *err)
{
    enum tr_status st = w->system ? check_text("--system", 1, w->system, err) : TR_OK;
    for (int64_t i = 0; i < w->prompts.n && st == TR_OK; i++)
        st = check_text("--prompt", i + 1, w->prompts.at[i], err);
    return st;
}

static enum tr_status parse(int argc, char **argv, struct wish *w, struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"prompt", TR_FLAG_TEXTS, &w->prompts, 0, 0},
        {"template", TR_FLAG_TEXT, &w->template_name, 0, 0},
        {"system", TR_FLAG_TEXT, &w->system, 0, 0},
        {"raw", TR_FLAG_YES, &w->raw, 0, 0},
        {"max-new-tokens", TR_FLAG_INT, &w->max_new, 1, 1 << 24},
        {"temperature", TR_FLAG_REAL, &w->temperature, 0, 1e3},
        {"top-k", TR_FLAG_INT, &w->top_k, 0, 1 << 30},
        {"top-p", TR_FLAG_REAL, &w->top_p, 0, 1},
        {"repetition-penalty", TR_FLAG_REAL, &w->penalty, 1e-3, 1e3},
        {"seed", TR_FLAG_INT, &w->seed, 0, 9e15},
        {"samples", TR_FLAG_INT, &w->samples, 1, 1 << 20},
        {"batch", TR_FLAG_INT, &w->batch, 1, PIECE},
        {"greedy", TR_FLAG_YES, &w->greedy, 0, 0},
        {"bf16", TR_FLAG_YES, &w->bf16, 0, 0},
        {"stream", TR_FLAG_YES, &w->stream, 0, 0},
        {"threads", TR_FLAG_INT, &w->threads, 0, 4096},
        {"isa", TR_FLAG_TEXT, &w->isa, 0, 0},
    };
    int words = 0;
    *w = (struct wish){.max_new = 128, /* the rest as LLaMA-Factory generates */
                       .top_k = 50,
                       .seed = 42,
                       .samples = 1,
                       .batch = 32,
                       .temperature = 0.95,
                       .top_p = 0.7,
                       .penalty = 1};
    enum tr_status st = tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv,
                                      &w->model, 1, &words, err);
    if (st != TR_OK) return st;
    if (!w->model) return tr_err_set(err, TR_BADARG, "which model folder?");
    if (w->prompts.n == 0)
        return tr_err_set(err, TR_BADARG, "--prompt: at least one is needed");
    if (w->raw && (w->template_name || w->system))
        return tr_err_set(err, TR_BADARG, "--raw uses no template, so none can be named");
    return check_texts(w, err);
}

/* ---- asking ---- */

static enum tr_status encode_all(const struct wish *w, const struct tr_voice *v,
                                 struct tr_ids *ids, int64_t *longest, struct tr_err *err)
{
    *longest = 0;
    for (int64_t p = 0; p < w->prompts.n; p++) {
        enum tr_status st = tr_voice_prompt(v, w->system, w->prompts.at[p], &ids[p], err);
        if (st != TR_OK) return tr_err_wrap(err, st, "prompt %lld", (long long)p + 1);
        if (ids[p].count > *longest) *longest = ids[p].count;
    }
    return TR_OK;
}

/* The cache is the one thing that grows with what was asked; the weights are there already. */
static enum tr_status check_memory(const struct tr_arch *a,
                                   const struct tr_decode_size *size, struct tr_err *err)
{
    struct tr_memory need = {.n = 0};
    size_t there = 0;
    enum tr_status st = tr_memory_available("", &there, err);
    tr_memory_add(&need, "KV cache", tr_generator_bytes(a, size));
    return st == TR_OK ? tr_memory_check(&need, there, err) : st;
}

static enum tr_status open_engine(const struct wish *w, const struct tr_exec *ex,
                                  const struct tr_voice *v, int64_t longest,
                                  struct tr_generator **out, struct tr_err *err)
{
    int64_t n = w->prompts.n * w->samples, pages = (longest + w->max_new) / TR_PAGE + 1;
    struct tr_decode_size size = {.max_sequences = n < w->batch ? n : w->batch,
                                  .max_tokens = PIECE};
    if (longest + w->max_new > v->model.arch.max_positions)
        return tr_err_set(err, TR_BADARG,
                          "%lld prompt and %lld new tokens; the model has %lld positions",
                          (long long)longest, (long long)w->max_new,
                          (long long)v->model.arch.max_positions);
    size.pages = size.max_sequences * pages;
    enum tr_status st = check_memory(&v->model.arch, &size, err);
    return st == TR_OK ? tr_generator_create(ex, v->model.weights, &size, out, err) : st;
}

static enum tr_status ask_all(const struct wish *w, const struct tr_voice *v,
                              const struct tr_ids *ids, struct tr_generator *g,
                              struct answers *a, struct tr_err *err)
{
    a->ticket = calloc((size_t)(w->prompts.n * w->samples), sizeof *a->ticket);
    if (!a->ticket)
        return tr_err_set(err, TR_NOMEM, "%lld samples", (long long)w->samples);
    for (int64_t p = 0; p < w->prompts.n; p++)
        for (int64_t s = 0; s < w->samples; s++) {
            struct tr_generator_ask ask = {
                .sampling = {.temperature = w->greedy ? 0 : (float)w->temperature,
                             .top_k = (int32_t)w->top_k,
                             .top_p = (float)w->top_p,
                             .repetition_penalty = (float)w->penalty},
                .seed = (uint64_t)w->seed,
                .prompt = (uint32_t)p,
                .sample = (uint32_t)s,
                .max_new = w->max_new,
                .stop = v->stop,
                .stops = v->stops,
                .token = ids[p].at,
                .count = ids[p].count,
            };
            enum tr_status st = tr_generator_add(g, &ask, &a->ticket[a->n], err);
            if (st != TR_OK) return tr_err_wrap(err, st, "prompt %lld", (long long)p + 1);
            a->n++;
        }
    return TR_OK;
}

/* ---- printing ---- */

static void print_title(const struct wish *w, const struct answers *a)
{
    if (a->n == 1) return;
    printf("%s--- prompt %lld", a->front > 0 ? "\n" : "",
           (long long)(a->front / w->samples) + 1);
    if (w->samples > 1) printf(", sample %lld", (long long)(a->front % w->samples) + 1);
    printf("\n");
}

/* What has become certain of the answer in front; stop ids are not shown. */
static enum tr_status print_front(const struct wish *w, const struct tr_voice *v,
                                  const struct tr_generator *g, struct answers *a,
                                  struct tr_err *err)
{
    struct tr_generated seen = tr_generator_see(g, a->ticket[a->front]);
    int64_t end = seen.count - seen.stopped;
    struct tr_buf text;
    enum tr_status st = TR_OK;
    tr_buf_init(&text, 1 << 24);
    if (a->printed == 0 && seen.count > 0) print_title(w, a);
    for (; a->printed < end && st == TR_OK; a->printed++)
        st = tr_stream_put(&a->stream, v->tokenizer, seen.token[a->printed], true, &text,
                           err);
    if (st == TR_OK && seen.state == TR_GENERATED_DONE)
        st = tr_stream_flush(&a->stream, &text, err);
    if (st == TR_OK) fwrite(tr_buf_text(&text), 1, text.size, stdout);
    tr_buf_fini(&text);
    return st;
}

/* Prints the answer in front and, while those are done, the ones after it. */
static enum tr_status print_ready(const struct wish *w, const struct tr_voice *v,
                                  struct tr_generator *g, struct answers *a,
                                  struct tr_err *err)
{
    while (a->front < a->n) {
        enum tr_status st = print_front(w, v, g, a, err);
        if (st != TR_OK) return st;
        if (tr_generator_see(g, a->ticket[a->front]).state != TR_GENERATED_DONE) break;
        printf("\n");
        tr_generator_drop(g, a->ticket[a->front++]);
        a->printed = 0;
        a->stream = (struct tr_stream){{0}, 0};
    }
    if (w->stream) fflush(stdout);
    return TR_OK;
}

static void print_timing(const struct timing *t, const struct wish *w,
                         const struct tr_exec *ex)
{
    double prompt = t->prompt_seconds > 0 ? t->prompt_seconds : 1e-9;
    double decode = t->decode_seconds > 0 ? t->decode_seconds : 1e-9;
    fprintf(stderr, "start to first token %.3f s\n", t->first - t->begin);
    fprintf(stderr, "prompts %lld tokens in %.3f s (%.1f tokens/s)\n",
            (long long)t->prompt_tokens, t->prompt_seconds,
            (double)t->prompt_tokens / prompt);
    fprintf(
        stderr, "answers %lld tokens in %.3f s (%.1f tokens/s), %s, %s on %d threads\n",
        (long long)t->decode_tokens, t->decode_seconds, (double)t->decode_tokens / decode,
        w->bf16 ? "bf16" : "f32", tr_exec_isa(ex), tr_team_threads(ex->team));
}

/* ---- the run ---- */

/* One step's time goes to the prompts when it fed any of them, else to the answers. */
static void note_step(struct timing *t, double seconds,
                      const struct tr_generator_counts *before,
                      const struct tr_generator_counts *after)
{
    int64_t fed = after->prompt_tokens - before->prompt_tokens;
    if (fed > 0) {
        t->prompt_tokens += fed;
        t->prompt_seconds += seconds;
    } else {
        t->decode_tokens += after->answer_tokens - before->answer_tokens;
        t->decode_seconds += seconds;
    }
}

static enum tr_status run_steps(const struct wish *w, const struct tr_voice *v,
                                struct tr_generator *g, struct answers *a,
                                struct timing *t, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    while (st == TR_OK && a->front < a->n) {
        struct tr_generator_counts before = tr_generator_counts(g);
        double begin = tr_clock_seconds();
        st = tr_generator_step(g, err);
        if (st != TR_OK) break;
        double end = tr_clock_seconds();
        struct tr_generator_counts after = tr_generator_counts(g);
        note_step(t, end - begin, &before, &after);
        if (t->first == 0 && after.answer_tokens > 0) t->first = end;
        st = print_ready(w, v, g, a, err);
    }
    return st;
}

static enum tr_status generate(const struct wish *w, const struct tr_exec *ex,
                               struct timing *t, struct tr_buf *notes, struct tr_err *err)
{
    struct tr_voice v = {.model = {.params = NULL}};
    struct tr_generator *g = NULL;
    struct answers a = {.n = 0};
    struct tr_voice_start start = {.folder = w->model,
                                   .template_name = w->template_name,
                                   .raw = w->raw,
                                   .bf16 = w->bf16};
    int64_t longest = 0;
    enum tr_status st = TR_OK;
    struct tr_ids *ids = calloc((size_t)w->prompts.n, sizeof *ids);
    if (!ids) return tr_err_set(err, TR_NOMEM, "%lld prompts", (long long)w->prompts.n);
    st = tr_voice_open(ex, &start, &v, notes, err);
    if (st == TR_OK) fputs(tr_buf_text(notes), stderr);
    if (st == TR_OK) st = encode_all(w, &v, ids, &longest, err);
    if (st == TR_OK) st = open_engine(w, ex, &v, longest, &g, err);
    if (st == TR_OK) st = ask_all(w, &v, ids, g, &a, err);
    if (st == TR_OK) st = run_steps(w, &v, g, &a, t, err);
    for (int64_t p = 0; p < w->prompts.n; p++) tr_ids_fini(&ids[p]);
    free(ids);
    free(a.ticket);
    tr_generator_destroy(g);
    tr_voice_close(&v);
    return st;
}

int tr_cli_generate(int argc, char **argv)
{
    struct tr_err err = {0};
    struct tr_exec ex;
    struct wish w;
    struct tr_buf notes;
    struct timing t = {.begin = tr_clock_seconds()};
    tr_buf_init(&notes, 1 << 16);
    enum tr_status st = parse(argc, argv, &w, &err);
    if (st == TR_OK) st = tr_start_exec(w.isa, w.threads, TR_MATH_EXACT, &ex, &err);
    if (st == TR_OK) {
        st = generate(&w, &ex, &t, &notes, &err);
        if (st == TR_OK) print_timing(&t, &w, &ex);
        tr_exec_fini(&ex);
    }
    tr_buf_fini(&notes);
    if (st == TR_OK) return 0;
    fprintf(stderr, "troupe generate: %s\n", err.text);
    return st == TR_BADARG ? 2 : 1;
}

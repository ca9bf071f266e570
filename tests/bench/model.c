/* model.c - tokens a second of a whole model, and where the time goes.
 *
 *   bench_model [--threads 2] [--bf16] [--repeats 3] [--model DIR] [WORK...]
 *
 * Random weights of SmolLM2-135M's shape unless a folder is given. The work is that of
 * tests/bench/peers.py:
 *     forward   log-probs of all tokens of [8, 256]
 *     train     loss, gradients, clipping and AdamW on [8, 256]
 *     decode    128 + 128 tokens at 1, 8 and 32 sequences, sampled (temperature 0.95, top-k 50,
 *               top-p 0.7); "whole" counts the new tokens over all the time, "prefill taken
 *               off" the steps after the first
 *     digest    the forward weights' name
 * Each but the digest is run once to warm up and then `repeats` times: median, best and worst;
 * then the share of each kind of kernel in all runs. "other" is all that is in no kernel listed. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/base/arena.h"
#include "core/base/clock.h"
#include "core/model/decode.h"
#include "core/model/folder.h"
#include "core/model/trunk.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/philox.h"
#include "kernels/sample.h"
#include "tests/bench/clocked.h"
#include "tests/bench/must.h"
#include "tests/bench/smollm2.h"

enum { B = 8, T = 256, PROMPT = 128, NEW = 128, MAX_REPEATS = 32 };

struct bench {
    struct tr_exec ex;
    struct tr_arch arch;
    struct tr_params *params;
    struct tr_weights *w;
    struct tr_arena arena; /* masters, moments, gradients */
    float *masters, *m, *v, *grad, *embed_grad;
    const char *model;
    int threads, repeats;
    bool bf16;
};

static void fill_random(struct bench *b)
{
    const struct tr_philox key = tr_philox_key(1, TR_FOR_INIT);
    for (int64_t i = 0; i < tr_params_count(b->params); i++) {
        const struct tr_param *p = tr_params_get(b->params, i);
        const int64_t n = tr_param_elements(p);
        float *hf = malloc((size_t)n * sizeof *hf);
        if (!hf) exit(1);
        if (p->kind == TR_PARAM_VECTOR)
            for (int64_t k = 0; k < n; k++) hf[k] = 1;
        else
            tr_philox_normal(key, (uint32_t)i, n, 0.04, hf);
        tr_params_pack(&b->ex, p, hf, b->masters);
        free(hf);
    }
}

static void bench_open(struct bench *b)
{
    struct tr_err err = {0};
    struct tr_folder *f = NULL;
    bool found = false;
    b->arch = smollm2;
    if (tr_exec_init(&b->ex, NULL, b->threads, TR_MATH_EXACT) != 0) exit(1);
    if (b->model) {
        must(tr_folder_open(b->model, &f, &err), &err);
        b->arch = *tr_folder_arch(f);
    }
    must(tr_params_create(&b->arch, true, false, &b->params, &err), &err);
    const int64_t total = tr_params_total(b->params);
    const int64_t embed = tr_params_outer(b->params)->embed->size;
    const size_t each = tr_arena_cost((size_t)total * sizeof(float));
    must(tr_arena_init(&b->arena, 4 * each + (size_t)embed * sizeof(float), "learner",
                       &err),
         &err);
    b->masters = tr_arena_take(&b->arena, each);
    b->m = tr_arena_take(&b->arena, each);
    b->v = tr_arena_take(&b->arena, each);
    b->grad = tr_arena_take(&b->arena, each);
    b->embed_grad = tr_arena_take(&b->arena, (size_t)embed * sizeof(float));
    if (f)
        must(tr_folder_read(f, &b->ex, b->params, b->masters, &found, &err), &err);
    else
        fill_random(b);
    tr_folder_close(f);
    must(tr_weights_create(b->params, &b->ex, b->bf16, &b->w, &err), &err);
    tr_weights_refresh(b->w, &b->ex, b->masters);
}

static void bench_close(struct bench *b)
{
    tr_weights_destroy(b->w);
    tr_params_destroy(b->params);
    tr_arena_fini(&b->arena);
    tr_exec_fini(&b->ex);
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x;
    double c = *(const double *)y;
    return (a > c) - (a < c);
}

static void tell(const char *name, double tokens, double *seconds, int n)
{
    qsort(seconds, (size_t)n, sizeof *seconds, ascending);
    double median = n % 2 ? seconds[n / 2] : (seconds[n / 2 - 1] + seconds[n / 2]) / 2;
    printf("%-44s %9.1f tok/s  (best %.1f, worst %.1f)\n", name, tokens / median,
           tokens / seconds[0], tokens / seconds[n - 1]);
}

static void tell_shares(double total)
{
    static const char *const names[] = {"linear", "attention", "softmax", "swiglu",
                                        "norm",   "rope",      "adamw"};
    const double *s = clocked_seconds(0);
    double rest = total;
    printf("   ");
    for (int i = 0; i < CLOCKED_COUNT; i++) {
        rest -= s[i];
        if (s[i] > 0) printf(" %s %.1f %%", names[i], 100 * s[i] / total);
    }
    printf(" other %.1f %%\n", 100 * rest / total);
    fflush(stdout);
}

/* The batch [B, T] without padding, every token but a sequence's last with a target. */
struct packed {
    int32_t token[B * T], target[B * T];
    int64_t start[B + 1], row[B * T], n;
    struct tr_batch batch;
};

static void pack(struct packed *p, int64_t V)
{
    const struct tr_philox key = tr_philox_key(2, TR_FOR_INIT);
    *p = (struct packed){0};
    for (uint32_t i = 0; i < B * T; i++)
        p->token[i] = (int32_t)(tr_philox_uniform(key, i, 0, 0, 0) * (double)V);
    for (int64_t i = 0; i < B * T; i++) {
        if ((i + 1) % T == 0) continue;
        p->row[p->n] = i;
        p->target[p->n++] = p->token[i + 1];
    }
    for (int64_t s = 0; s <= B; s++) p->start[s] = s * T;
    p->batch = (struct tr_batch){B * T, B, p->token, p->start, NULL};
}

static void run_forward(struct bench *b)
{
    static struct packed p;
    static float logp[B * T];
    const struct tr_trunk_size size = {B * T, B, false, false};
    struct tr_err err = {0};
    struct tr_trunk *trunk = NULL;
    struct tr_head *head = NULL;
    const float *hidden = NULL;
    double whole[MAX_REPEATS + 1];
    double inner[MAX_REPEATS + 1];
    double total = 0;
    pack(&p, b->arch.V);
    const struct tr_head_rows rows = {p.n, p.row, p.target};
    must(tr_trunk_create(&b->arch, &size, &trunk, &err), &err);
    must(tr_head_create(&b->arch, B * T, &head, &err), &err);
    for (int i = -1; i < b->repeats; i++) {
        const double begin = tr_clock_seconds();
        if (i <= 0) clocked_seconds(1);
        must(tr_trunk_forward(trunk, &b->ex, b->w, &p.batch, NULL, NULL, &hidden, &err),
             &err);
        inner[i + 1] = tr_clock_seconds() - begin;
        tr_head_logprob(head, &b->ex, b->w, hidden, &rows, logp, NULL);
        whole[i + 1] = tr_clock_seconds() - begin;
        if (i >= 0) total += whole[i + 1];
    }
    tell("log-prob forward [8, 256]", B * T, whole + 1, b->repeats);
    tell("  trunk only", B * T, inner + 1, b->repeats);
    tell_shares(total);
    tr_head_destroy(head);
    tr_trunk_destroy(trunk);
}

struct mean {
    double nll;
    float dlogp;
};

static void take_mean(void *ctx, int64_t i0, int64_t k, const float *logp,
                      const float *entropy, float *dlogp)
{
    struct mean *c = ctx;
    (void)i0;
    (void)entropy;
    for (int64_t i = 0; i < k; i++) {
        c->nll -= (double)logp[i];
        dlogp[i] = c->dlogp;
    }
}

/* Clipping and AdamW over all tensors, as a learner does it. */
static void update(struct bench *b, int64_t t)
{
    const struct tr_param *embed = tr_params_outer(b->params)->embed;
    double sum = 0;
    if (b->arch.tied)
        for (int64_t i = 0; i < embed->size; i++)
            b->grad[embed->at + i] += b->embed_grad[i];
    for (int64_t i = 0; i < tr_params_count(b->params); i++) {
        const struct tr_param *q = tr_params_get(b->params, i);
        sum += tr_sum_squares(&b->ex, b->grad + q->at, q->size);
    }
    const double clip = 1 / (sqrt(sum) + 1e-6);
    const struct tr_adamw cfg = {1e-5, 0.9, 0.999, 1e-8, 0, t};
    for (int64_t i = 0; i < tr_params_count(b->params); i++) {
        const struct tr_param *q = tr_params_get(b->params, i);
        tr_adamw_step(&b->ex, &cfg, clip < 1 ? (float)clip : 1, q->size, b->grad + q->at,
                      b->masters + q->at, b->m + q->at, b->v + q->at);
    }
    memset(b->grad, 0, (size_t)tr_params_total(b->params) * sizeof(float));
    memset(b->embed_grad, 0, (size_t)embed->size * sizeof(float));
    tr_weights_refresh(b->w, &b->ex, b->masters);
}

static void run_train(struct bench *b)
{
    static struct packed p;
    const struct tr_trunk_size size = {B * T, B, true, false};
    const int64_t at = tr_params_outer(b->params)->embed->at;
    struct tr_err err = {0};
    struct tr_trunk *trunk = NULL;
    struct tr_head *head = NULL;
    const float *hidden = NULL;
    double seconds[MAX_REPEATS + 1];
    double total = 0;
    float *dhidden = malloc((size_t)(B * T * b->arch.d) * sizeof *dhidden);
    if (!dhidden) exit(1);
    pack(&p, b->arch.V);
    const struct tr_head_rows rows = {p.n, p.row, p.target};
    must(tr_trunk_create(&b->arch, &size, &trunk, &err), &err);
    must(tr_head_create(&b->arch, B * T, &head, &err), &err);
    for (int i = -1; i < b->repeats; i++) {
        struct mean mean = {0, -1.0F / (float)p.n};
        const double begin = tr_clock_seconds();
        if (i <= 0) clocked_seconds(1);
        must(tr_trunk_forward(trunk, &b->ex, b->w, &p.batch, NULL, NULL, &hidden, &err),
             &err);
        memset(dhidden, 0, (size_t)(B * T * b->arch.d) * sizeof *dhidden);
        tr_head_train(head, &b->ex, b->w, hidden, &rows, take_mean, &mean, dhidden,
                      b->grad);
        tr_trunk_backward(trunk, &b->ex, b->w, &p.batch, dhidden, b->grad,
                          b->arch.tied ? b->embed_grad : b->grad + at);
        update(b, i + 2);
        seconds[i + 1] = tr_clock_seconds() - begin;
        if (i >= 0) total += seconds[i + 1];
    }
    tell("training step [8, 256]", B * T, seconds + 1, b->repeats);
    tell_shares(total);
    tr_head_destroy(head);
    tr_trunk_destroy(trunk);
    free(dhidden);
}

/* One new token for each of n sequences. */
struct chat {
    int32_t history[PROMPT + NEW];
    int64_t slot, length;
};

static void choose(const struct bench *b, struct chat *c, int64_t n, float *logits,
                   void *scratch, uint32_t step)
{
    const struct tr_sampling how = {0.95F, 50, 0.7F, 1};
    const struct tr_philox key = tr_philox_key(3, TR_FOR_SAMPLE);
    for (int64_t s = 0; s < n; s++) {
        double u = tr_philox_uniform(key, step, (uint32_t)s, 0, 0);
        c[s].history[c[s].length] =
            tr_sample(&b->ex, &how, logits + s * b->arch.V, b->arch.V, c[s].history,
                      c[s].length, u, scratch);
        c[s].length++;
    }
}

/* Prompts of all, then NEW tokens of each. Seconds of the whole, and after the first token. */
static void generate(const struct bench *b, struct tr_decode *d, struct chat *c,
                     int64_t n, void *scratch, double *whole, double *steps)
{
    struct tr_decode_input in[32];
    struct tr_err err = {0};
    float *logits = NULL;
    const double begin = tr_clock_seconds();
    double first = begin;
    for (int64_t s = 0; s < n; s++) {
        must(tr_decode_enter(d, &c[s].slot, &err), &err);
        c[s].length = PROMPT;
        in[s] = (struct tr_decode_input){c[s].slot, PROMPT, c[s].history};
    }
    for (uint32_t i = 0; i < NEW; i++) {
        must(tr_decode_step(d, &b->ex, b->w, in, n, &logits, &err), &err);
        choose(b, c, n, logits, scratch, i);
        for (int64_t s = 0; s < n; s++)
            in[s] =
                (struct tr_decode_input){c[s].slot, 1, c[s].history + c[s].length - 1};
        if (i) continue;
        first = tr_clock_seconds();
        clocked_seconds(1);
    }
    *whole = tr_clock_seconds() - begin;
    *steps = tr_clock_seconds() - first;
    for (int64_t s = 0; s < n; s++) tr_decode_leave(d, c[s].slot);
}

static void run_decode(struct bench *b, int64_t n)
{
    static struct chat c[32];
    const struct tr_philox key = tr_philox_key(4, TR_FOR_INIT);
    const struct tr_decode_size size = {n, n * PROMPT, n * (PROMPT + NEW) / TR_PAGE};
    struct tr_decode *d = NULL;
    struct tr_err err = {0};
    double whole[MAX_REPEATS + 1];
    double steps[MAX_REPEATS + 1];
    double last = 0;
    char name[64];
    void *scratch = aligned_alloc(64, ((size_t)b->arch.V * 12 + 63) / 64 * 64);
    if (!scratch) exit(1);
    for (uint32_t i = 0; i < 32 * PROMPT; i++)
        c[i / PROMPT].history[i % PROMPT] =
            (int32_t)(tr_philox_uniform(key, i, 0, 0, 0) * (double)b->arch.V);
    must(tr_decode_create(&b->arch, &size, &d, &err), &err);
    for (int i = 0; i <= b->repeats; i++) {
        generate(b, d, c, n, scratch, &whole[i], &steps[i]);
        last = steps[i];
    }
    snprintf(name, sizeof name, "generate B=%lld 128+128, whole", (long long)n);
    tell(name, (double)(n * NEW), whole + 1, b->repeats);
    snprintf(name, sizeof name, "generate B=%lld 128+128, prefill taken off",
             (long long)n);
    tell(name, (double)(n * (NEW - 1)), steps + 1, b->repeats);
    tell_shares(last);
    tr_decode_destroy(d);
    free(scratch);
}

static void run_digest(struct bench *b)
{
    struct tr_digest d;
    struct tr_err err = {0};
    char text[65];
    const double begin = tr_clock_seconds();
    must(tr_weights_digest(b->w, &b->ex, &d, &err), &err);
    const double seconds = tr_clock_seconds() - begin;
    tr_digest_text(&d, text);
    printf("digest %.12s...: %.3f s, %lld chunks\n", text, seconds,
           (long long)tr_weights_chunks(b->w));
}

int main(int argc, char **argv)
{
    struct bench b = {.threads = 2, .repeats = 3};
    struct rusage used;
    bool wanted[4] = {false, false, false, false};
    static const char *const words[] = {"forward", "train", "decode", "digest"};
    for (int i = 1; i < argc; i++) {
        bool known = !strcmp(argv[i], "--bf16");
        if (known) b.bf16 = true;
        for (int k = 0; k < 4; k++)
            if (!strcmp(argv[i], words[k])) known = wanted[k] = true;
        if (i + 1 < argc && !strcmp(argv[i], "--threads"))
            known = (b.threads = (int)strtol(argv[++i], NULL, 10)) > 0;
        else if (i + 1 < argc && !strcmp(argv[i], "--repeats"))
            known = (b.repeats = (int)strtol(argv[++i], NULL, 10)) > 0;
        else if (i + 1 < argc && !strcmp(argv[i], "--model"))
            known = (b.model = argv[++i]) != NULL;
        if (known && b.repeats <= MAX_REPEATS) continue;
        fprintf(stderr, "usage: bench_model [--threads N] [--bf16] [--repeats N] "
                        "[--model DIR] [forward] [train] [decode] [digest]\n");
        return 2;
    }
    const bool all = !wanted[0] && !wanted[1] && !wanted[2] && !wanted[3];
    bench_open(&b);
    printf("%s, %d threads, weights %s\n", tr_exec_isa(&b.ex), b.threads,
           b.bf16 ? "bf16" : "f32");
    if (all || wanted[2])
        for (int64_t n = 1; n <= 32; n = n == 1 ? 8 : n * 4) run_decode(&b, n);
    if (all || wanted[3]) run_digest(&b);
    if (all || wanted[0]) run_forward(&b);
    if (all || wanted[1]) run_train(&b);
    getrusage(RUSAGE_SELF, &used);
    printf("resident memory, most: %.2f GiB\n", (double)used.ru_maxrss / 1048576.0);
    bench_close(&b);
    return 0;
}

/* vector.c - how fast the row-wise and element-wise kernels are, every row of the kernel table
 * beside the others in one run.
 *
 * The shapes are SmolLM2-135M's (d 576, F 1536, V 49152) for 2048 tokens, a block of 64 rows of
 * logits, and 16 M parameters. For each kernel: ns an element and GB/s, the bytes that must be read and
 * written at least once, a row of the table each, the rows taking turns. The best of REPEATS: what
 * a machine's other work adds is not the kernel's.
 * The plain scalar row is left out: it is the reference, with a call of libm for each fmaf. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "kernels/adamw.h"
#include "kernels/kernels.h"
#include "kernels/norm.h"
#include "kernels/pointwise.h"
#include "kernels/rope.h"
#include "kernels/sample.h"
#include "kernels/softmax.h"

enum {
    T = 2048,
    D = 576,
    F = 1536,
    HEADS = 9,
    V = 49152,
    BLOCK = 64, /* rows of logits */
    PARAMS = 1 << 24,
    REPEATS = 12,
    MAX_ROWS = 4,
};

struct arrays {
    float *a, *b, *c, *d; /* own: [PARAMS] */
    float *logits, *z;    /* own: [BLOCK, V] */
    float *lse, *dlogp;   /* own: [BLOCK] */
    int32_t *target;      /* owns: [T] */
    void *scratch;        /* owns: V * 12 bytes */
};

static void norm(const struct tr_exec *ex, struct arrays *x)
{
    tr_rmsnorm(ex, x->a, x->b, 1e-5F, T, D, x->c, x->d);
}

static void norm_back(const struct tr_exec *ex, struct arrays *x)
{
    tr_rmsnorm_backward(ex, x->a, x->b, x->b, x->lse, BLOCK, D, 1, x->c, x->d);
}

static void norm_back_long(const struct tr_exec *ex, struct arrays *x)
{
    tr_rmsnorm_backward(ex, x->a, x->b, x->b, x->a, T, D, 1, x->c, x->d);
}

static void rope(const struct tr_exec *ex, struct arrays *x)
{
    tr_rope_apply(ex, x->a, T, HEADS, D / HEADS, x->target, x->b, x->d, 0);
}

static void swiglu(const struct tr_exec *ex, struct arrays *x)
{
    tr_swiglu(ex, x->a, x->b, (int64_t)T * F, x->c);
}

static void swiglu_back(const struct tr_exec *ex, struct arrays *x)
{
    tr_swiglu_backward(ex, x->a, x->b, x->d, (int64_t)T * F, x->c, x->c + (int64_t)T * F);
}

static void add(const struct tr_exec *ex, struct arrays *x)
{
    tr_add(ex, x->a, (int64_t)T * F, x->c);
}

static void logprob_one(const struct tr_exec *ex, struct arrays *x)
{
    tr_logprob(ex, x->logits, 1, V, x->target, x->dlogp, NULL, NULL);
}

static void logprob(const struct tr_exec *ex, struct arrays *x)
{
    tr_logprob(ex, x->logits, BLOCK, V, x->target, x->dlogp, x->lse, NULL);
}

static void entropy(const struct tr_exec *ex, struct arrays *x)
{
    tr_logprob(ex, x->logits, BLOCK, V, x->target, NULL, NULL, x->dlogp);
}

static void logprob_back(const struct tr_exec *ex, struct arrays *x)
{
    tr_logprob_backward(ex, x->z, BLOCK, V, x->target, x->lse, x->dlogp);
    memcpy(x->z, x->logits,
           sizeof *x->z * V); /* one row in 64, so that z never dies out */
}

static void adamw(const struct tr_exec *ex, struct arrays *x)
{
    const struct tr_adamw cfg = {1e-9, 0.9, 0.999, 1e-8, 0.01, 100};
    tr_adamw_step(ex, &cfg, 0.5F, PARAMS, x->a, x->b, x->c, x->d);
}

static void sum_squares(const struct tr_exec *ex, struct arrays *x)
{
    x->dlogp[0] = (float)tr_sum_squares(ex, x->a, PARAMS);
}

static void sample(const struct tr_exec *ex, struct arrays *x, struct tr_sampling cfg)
{
    const int32_t history[4] = {1, 2, 3, 4};
    memcpy(x->z, x->logits, sizeof *x->z * V);
    x->target[0] = tr_sample(ex, &cfg, x->z, V, history, 4, 0.5, x->scratch);
}

static void sample_k_p(const struct tr_exec *ex, struct arrays *x)
{
    sample(ex, x, (struct tr_sampling){0.95F, 50, 0.7F, 1.1F});
}

static void sample_p(const struct tr_exec *ex, struct arrays *x)
{
    sample(ex, x, (struct tr_sampling){1, 0, 0.9F, 1});
}

static void sample_k(const struct tr_exec *ex, struct arrays *x)
{
    sample(ex, x, (struct tr_sampling){1, 1000, 1, 1});
}

static void sample_all(const struct tr_exec *ex, struct arrays *x)
{
    sample(ex, x, (struct tr_sampling){1, 0, 1, 1});
}

static void sample_greedy(const struct tr_exec *ex, struct arrays *x)
{
    sample(ex, x, (struct tr_sampling){0, 0, 1, 1});
}

struct kernel {
    const char *name;
    void (*run)(const struct tr_exec *ex, struct arrays *x);
    int64_t elements;
    int streams; /* floats read or written for each element */
};

static const struct kernel kernels[] = {
    {"rmsnorm [2048, 576]", norm, (int64_t)T *D, 2},
    {"rmsnorm backward [64, 576]", norm_back, (int64_t)BLOCK *D, 4},
    {"rmsnorm backward [2048, 576]", norm_back_long, (int64_t)T *D, 4},
    {"rope [2048, 9, 64]", rope, (int64_t)T *D, 2},
    {"swiglu [2048, 1536]", swiglu, (int64_t)T *F, 3},
    {"swiglu backward [2048, 1536]", swiglu_back, (int64_t)T *F, 5},
    {"add [2048, 1536]", add, (int64_t)T *F, 3},
    {"log-prob [1, 49152]", logprob_one, V, 1},
    {"log-prob [64, 49152]", logprob, (int64_t)BLOCK *V, 1},
    {"log-prob, entropy [64, 49152]", entropy, (int64_t)BLOCK *V, 1},
    {"log-prob backward [64, 49152]", logprob_back, (int64_t)BLOCK *V, 2},
    {"adamw [16 M]", adamw, PARAMS, 7},
    {"sum of squares [16 M]", sum_squares, PARAMS, 1},
    {"sample, k 50, p 0.7", sample_k_p, V, 1},
    {"sample, p 0.9", sample_p, V, 1},
    {"sample, k 1000", sample_k, V, 1},
    {"sample from all", sample_all, V, 1},
    {"sample, greedy", sample_greedy, V, 1},
};

static float *floats(int64_t n, float size)
{
    float *x = malloc((size_t)n * sizeof *x);
    uint32_t seed = 1;
    assert(x);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525U + 1013904223U;
        x[i] = size * ((float)(seed >> 8U) * 0x1p-24F + 0x1p-24F);
    }
    return x;
}

static struct arrays arrays_create(void)
{
    struct arrays x = {.a = floats(PARAMS, 1),
                       .b = floats(PARAMS, 1),
                       .c = floats(PARAMS, 1),
                       .d = floats(PARAMS, 1),
                       .logits = floats((int64_t)BLOCK * V, 24),
                       .z = floats((int64_t)BLOCK * V, 24),
                       .lse = floats(BLOCK, 30),
                       .dlogp = floats(BLOCK, 1),
                       .target = calloc(T, sizeof(int32_t)),
                       .scratch = malloc((size_t)V * 12)};
    assert(x.target && x.scratch);
    for (int i = 0; i < T; i++) x.target[i] = i;
    return x;
}

static void arrays_destroy(struct arrays *x)
{
    float *own[] = {x->a, x->b, x->c, x->d, x->logits, x->z, x->lse, x->dlogp};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) free(own[i]);
    free(x->target);
    free(x->scratch);
}

/* Prints a line: for each row of the table the best time of a run. */
static void bench(const struct kernel *k, const struct tr_exec *ex, int rows,
                  struct arrays *x)
{
    double best[MAX_ROWS];
    for (int i = 0; i < REPEATS; i++)
        for (int row = 0; row < rows; row++) {
            const double start = tr_clock_seconds();
            k->run(&ex[row], x);
            const double s = tr_clock_seconds() - start;
            if (i == 0 || s < best[row]) best[row] = s;
        }
    printf("%-30s", k->name);
    for (int row = 0; row < rows; row++) {
        const double s = best[row];
        printf("  %8.1f us %6.3f ns %5.1f GB/s", s * 1e6, s * 1e9 / (double)k->elements,
               4e-9 * (double)(k->elements * k->streams) / s);
    }
    printf("\n");
}

int main(void)
{
    struct arrays x = arrays_create();
    for (int threads = 1; threads <= 2; threads++) {
        struct tr_exec ex[MAX_ROWS];
        int rows = 0;
        struct tr_team *team = tr_team_create(threads);
        assert(team);
        printf("threads=%d                     ", threads);
        for (int i = 1; tr_kernels_row(i); i++) {
            ex[rows++] = (struct tr_exec){.k = tr_kernels_row(i), .team = team};
            printf("  %-31s", i == 1 ? "scalar_fma" : tr_kernels_row(i)->name);
        }
        printf("\n");
        for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
            bench(&kernels[i], ex, rows, &x);
        tr_team_destroy(team);
    }
    arrays_destroy(&x);
    return 0;
}

/* attention.c - how fast attention is, on one thread and on two.
 *
 * The shapes are SmolLM2-135M's: 30 layers, 9 query heads on 3 kv heads of width 64.
 *     decode    one new token for each of B sequences of L keys, all layers: bytes of K and V
 *               read a second. Caches are colder than L3, as in a real step.
 *     prefill   8 sequences of 256 tokens, one layer, causal flops a second; beside it the same
 *               with OpenBLAS, head by head: scores, soft-max, outputs, each head a tile
 *     long      one sequence of 2048 tokens
 *     backward  the same shapes; 5 products count, however many are computed
 * Runs of ours and of OpenBLAS alternate; the median and the best of each are printed. */
#include "kernels/attention.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "kernels/kernels.h"

enum { LAYERS = 30, REPEATS = 9, MAX_B = 32 };

struct bench {
    struct tr_attention a;
    int64_t S, length, layers;
    struct tr_span span[MAX_B];
    float **page, *pool;
    float *q, *k, *v, *o, *lse, *d_o, *dq, *dk, *dv;
    float *scores; /* OpenBLAS: [tiles][T][T] */
};

static float *floats(int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert(x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(i * 7919 % 1999) / 1000 - 1;
    return x;
}

static struct bench bench_begin(int64_t S, int64_t length, int64_t layers, bool decode)
{
    struct bench b = {
        .a = {9, 3, 64, 0.125F}, .S = S, .length = length, .layers = layers};
    const int64_t each = (length + TR_PAGE - 1) / TR_PAGE;
    const int64_t size = layers * tr_page_floats(&b.a), T = decode ? S : S * length;
    b.pool = floats(S * each * size);
    b.page = malloc((size_t)(S * each) * sizeof *b.page);
    assert(b.page);
    for (int64_t i = 0; i < S * each; i++) b.page[i] = b.pool + i * size;
    for (int64_t s = 0; s < S; s++)
        b.span[s] = decode ? (struct tr_span){b.page + s * each, s, length - 1, 1}
                           : (struct tr_span){b.page + s * each, s * length, 0, length};
    float **rows[] = {&b.q, &b.o, &b.d_o, &b.dq, &b.k, &b.v, &b.dk, &b.dv};
    for (int i = 0; i < 8; i++) *rows[i] = floats(T * (i < 4 ? b.a.H : b.a.Kv) * b.a.D);
    b.lse = floats(T * b.a.H);
    b.scores = decode ? NULL : floats(S * b.a.H * length * length);
    return b;
}

static void bench_end(struct bench *b)
{
    float *rows[] = {b->q,  b->k,  b->v,  b->o,    b->lse,   b->d_o,
                     b->dq, b->dk, b->dv, b->pool, b->scores};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) free(rows[i]);
    free(b->page);
}

static void run_forward(const struct tr_exec *ex, const struct bench *b)
{
    for (int64_t l = 0; l < b->layers; l++)
        tr_attention_forward(ex, &b->a, b->span, b->S, l * tr_page_floats(&b->a), b->q,
                             b->o, b->lse);
}

static void run_store(const struct tr_exec *ex, const struct bench *b)
{
    tr_kv_store(ex, &b->a, b->span, b->S, 0, b->k, b->v);
}

static void run_backward(const struct tr_exec *ex, const struct bench *b)
{
    tr_attention_backward(ex, &b->a, b->span, b->S, 0, b->q, b->o, b->lse, b->d_o, b->dq,
                          b->dk, b->dv);
}

/* One head of one sequence with two calls of sgemm and a soft-max between. */
static void blas_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct bench *b = ctx;
    const int T = (int)b->length, D = (int)b->a.D, qd = (int)b->a.H * D,
              kd = (int)b->a.Kv * D;
    const int64_t s = tile / b->a.H, h = tile % b->a.H, kv = h / (b->a.H / b->a.Kv);
    const float *q = b->q + s * T * qd + h * D, *k = b->k + s * T * kd + kv * D;
    const float *v = b->v + s * T * kd + kv * D;
    float *x = b->scores + tile * T * T;
    (void)scratch;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, T, T, D, b->a.scale, q, qd, k,
                kd, 0, x, T);
    for (int64_t i = 0; i < T; i++) {
        float top = -INFINITY, sum = 0, *row = x + i * T;
        for (int64_t j = 0; j <= i; j++) top = row[j] > top ? row[j] : top;
        for (int64_t j = 0; j <= i; j++) sum += row[j] = expf(row[j] - top);
        for (int64_t j = 0; j <= i; j++) row[j] /= sum;
        memset(row + i + 1, 0, (size_t)(T - 1 - i) * sizeof *row);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, T, D, T, 1, x, T, v, kd, 0,
                b->o + s * T * qd + h * D, qd);
}

static void run_blas(const struct tr_exec *ex, const struct bench *b)
{
    struct bench copy = *b;
    tr_team_run(ex->team, b->S * b->a.H, blas_tile, &copy);
}

typedef void run_fn(const struct tr_exec *ex, const struct bench *b);

static int by_size(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* Times the runs in turns and prints a line for each: `amount` in 1e9 of `unit`. */
static void measure(const struct tr_exec *ex, const struct bench *b, run_fn *const run[],
                    const char *const name[], const double amount[], int runs,
                    const char *unit)
{
    double seconds[4][REPEATS];
    for (int i = 0; i < runs; i++) run[i](ex, b);
    for (int r = 0; r < REPEATS; r++)
        for (int i = 0; i < runs; i++) {
            const double begin = tr_clock_seconds();
            run[i](ex, b);
            seconds[i][r] = tr_clock_seconds() - begin;
        }
    for (int i = 0; i < runs; i++) {
        qsort(seconds[i], REPEATS, sizeof(double), by_size);
        printf("%-9s %-34s B=%-3lld L=%-5lld threads=%d  median %8.2f ms  best %8.2f ms  "
               "%6.1f (best %6.1f) %s\n",
               tr_exec_isa(ex), name[i], (long long)b->S, (long long)b->length,
               tr_team_threads(ex->team), seconds[i][REPEATS / 2] * 1e3,
               seconds[i][0] * 1e3, amount[i] / seconds[i][REPEATS / 2],
               amount[i] / seconds[i][0], unit);
    }
    fflush(stdout);
}

static void bench_decode(const struct tr_exec *ex, int64_t B, int64_t L)
{
    struct bench b = bench_begin(B, L, LAYERS, true);
    run_fn *const run[] = {run_forward};
    const char *const name[] = {"decode, 30 layers"};
    const double bytes[] = {
        1e-9 * LAYERS * (double)(B * L * b.a.Kv * 2 * b.a.D * (int64_t)sizeof(float))};
    measure(ex, &b, run, name, bytes, 1, "GB/s");
    bench_end(&b);
}

static void bench_train(const struct tr_exec *ex, int64_t S, int64_t T)
{
    struct bench b = bench_begin(S, T, 1, false);
    run_fn *const run[] = {run_forward, run_blas, run_backward, run_store};
    const char *const name[] = {"forward, 1 layer", "forward, 1 layer, OpenBLAS by head",
                                "backward, 1 layer", "store, 1 layer"};
    const double one = 1e-9 * (double)(S * b.a.H * b.a.D) * (double)(T * (T + 1));
    const double flops[] = {2 * one, 2 * one, 5 * one,
                            1e-9 * (double)(S * T * b.a.Kv * b.a.D * 2)};
    tr_kv_store(ex, &b.a, b.span, S, 0, b.k, b.v);
    measure(ex, &b, run, name, flops, 4, "GF/s (store: G floats/s)");
    bench_end(&b);
}

int main(void)
{
    openblas_set_num_threads(1); /* tiles are ours */
    for (int threads = 1; threads <= 2; threads++) {
        struct tr_exec ex;
        if (tr_exec_init(&ex, NULL, threads, TR_MATH_EXACT) != 0) {
            fprintf(stderr, "attention: no team of %d threads or no such TROUPE_ISA\n",
                    threads);
            return 1;
        }
        bench_decode(&ex, 1, 192);
        bench_decode(&ex, 8, 192);
        bench_decode(&ex, 8, 256);
        bench_decode(&ex, 32, 256);
        bench_train(&ex, 8, 256);
        bench_train(&ex, 1, 2048);
        tr_exec_fini(&ex);
    }
    return 0;
}

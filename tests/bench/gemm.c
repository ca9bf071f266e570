/* gemm.c - the exact products beside OpenBLAS, in one run.
 *
 * What it is for. Exactness should cost nothing: this says what it costs, at the shapes of
 * transformer layers, together with the two limits of the machine (multiply-adds a second,
 * bytes read a second) as they are at that hour.
 *
 *     gemm [--threads N] [--quick] [--repeats N] [--only forward|dx|dw] [--rows M]
 *
 * How. Weights are cold, as in a pass over many layers: copies are used in rotation, over more
 * memory than any cache holds. The contestants take turns, sample by sample, so that a noisy
 * minute hits all of them; between turns the program sleeps until OpenBLAS's threads, which
 * spin for some 25 ms after a call, have gone to sleep too. A sample is as many calls as take
 * a few milliseconds. Printed are GFLOP/s, median and best of the samples, and ratios of both
 * to OpenBLAS in f32 with as many threads of its own as the team has. */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __x86_64__
#    include <immintrin.h>
#endif

#include "core/base/clock.h"
#include "kernels/kernels.h"
#include "kernels/linear.h"

enum { MOST_REPEATS = 64, COLD_BYTES = 168 << 20, READ_BYTES = 256 << 20 };

enum product { FORWARD, DX, DW, PRODUCTS };
enum contestant { EXACT_F32, EXACT_BF16, OPENBLAS, CONTESTANTS };

static const char *const product_name[PRODUCTS] = {"forward", "dx", "dw"};

struct options {
    int threads, repeats;
    int quick;
    int only;     /* a product, or -1 */
    int64_t rows; /* this M only, or 0 */
};

struct shape {
    int64_t N, K;
};

/* One shape and product: operands, and copies of the weights for each contestant. */
struct match {
    const struct tr_exec *ex;
    enum product product;
    struct shape s;
    int64_t M;
    float *x, *dy, *out;
    int copies[CONTESTANTS]; /* 0: not taking part */
    int next[CONTESTANTS];
    void *weights[CONTESTANTS]; /* owns: [copies] matrices end to end */
};

struct result {
    double sample[CONTESTANTS][MOST_REPEATS]; /* GFLOP/s */
    double median[CONTESTANTS], best[CONTESTANTS];
};

static void *room(size_t bytes)
{
    void *p = aligned_alloc(2 << 20, (bytes + (2 << 20)) / (2 << 20) * (2 << 20));
    if (!p) {
        fprintf(stderr, "gemm: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return p;
}

static void fill(float *x, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        x[i] = (float)(int32_t)(seed >> 32) * 0x1p-31F;
    }
}

static void pause_ms(long ms)
{
    const struct timespec t = {0, ms * 1000000};
    nanosleep(&t, NULL);
}

/* ---- the limits of the machine ---- */

struct probe {
    const float *at;
    int64_t n; /* floats of a tile, or rounds */
};

#ifdef __x86_64__
__attribute__((target("avx2,fma"))) static void fma_tile(void *ctx, int64_t tile,
                                                         void *scratch)
{
    (void)tile;
    struct probe *p = ctx;
    float *out = scratch;
    __m256 acc[12];
    const __m256 x = _mm256_set1_ps(0.999F), y = _mm256_set1_ps(0.001F);
#    pragma GCC unroll 12
    for (int i = 0; i < 12; i++) acc[i] = _mm256_set1_ps((float)i);
    for (int64_t r = 0; r < p->n; r++) {
#    pragma GCC unroll 12
        for (int i = 0; i < 12; i++) acc[i] = _mm256_fmadd_ps(acc[i], x, y);
    }
#    pragma GCC unroll 12
    for (int i = 0; i < 12; i++) _mm256_storeu_ps(out + 8L * i, acc[i]);
}

__attribute__((target("avx512f"))) static void fma512_tile(void *ctx, int64_t tile,
                                                           void *scratch)
{
    (void)tile;
    struct probe *p = ctx;
    float *out = scratch;
    __m512 acc[12];
    const __m512 x = _mm512_set1_ps(0.999F), y = _mm512_set1_ps(0.001F);
#    pragma GCC unroll 12
    for (int i = 0; i < 12; i++) acc[i] = _mm512_set1_ps((float)i);
    for (int64_t r = 0; r < p->n; r++) {
#    pragma GCC unroll 12
        for (int i = 0; i < 12; i++) acc[i] = _mm512_fmadd_ps(acc[i], x, y);
    }
#    pragma GCC unroll 12
    for (int i = 0; i < 12; i++) _mm512_storeu_ps(out + 16L * i, acc[i]);
}
#endif

/* Sixteen sums, so that no addition waits for the one before it. */
static void read_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct probe *p = ctx;
    const uint64_t *x = (const uint64_t *)(const void *)(p->at + tile * p->n);
    uint64_t sum[16] = {0};
    for (int64_t i = 0; i < p->n / 2; i += 16)
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) sum[j] += x[i + j];
    memcpy(scratch, sum, sizeof sum);
}

static double best_seconds(const struct tr_exec *ex, int64_t tiles, tr_tile_fn *fn,
                           struct probe *p)
{
    double best = HUGE_VAL;
    for (int i = 0; i < 12; i++) { /* the first few wake the team and the clock */
        const double start = tr_clock_seconds();
        tr_team_run(ex->team, tiles, fn, p);
        best = fmin(best, tr_clock_seconds() - start);
    }
    return best;
}

static void print_limits(const struct tr_exec *ex, int threads)
{
    const int64_t tiles = 16L * threads;
    struct probe p = {.n = 1 << 18};
    double gflops = 0;
#ifdef __x86_64__
    const int wide = strcmp(tr_exec_isa(ex), "avx512") == 0;
    if (strcmp(tr_exec_isa(ex), "scalar") != 0)
        gflops = 1e-9 * (double)(tiles * p.n * 12 * 2 * (wide ? 16 : 8)) /
                 best_seconds(ex, tiles, wide ? fma512_tile : fma_tile, &p);
#endif
    float *x = room(READ_BYTES);
    memset(x, 0, READ_BYTES);
    p = (struct probe){.at = x, .n = READ_BYTES / (int64_t)sizeof *x / tiles};
    const double seconds = best_seconds(ex, tiles, read_tile, &p);
    printf("%s, %d threads: multiply-adds %.1f GFLOP/s, memory read %.1f GB/s\n",
           tr_exec_isa(ex), threads, gflops, 1e-9 * READ_BYTES / seconds);
    free(x);
}

/* ---- one call of one contestant ---- */

static void call_openblas(const struct match *g, float *w)
{
    const blasint M = (blasint)g->M, N = (blasint)g->s.N, K = (blasint)g->s.K;
    if (g->product == FORWARD)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, M, N, K, 1, g->x, K, w, K, 0,
                    g->out, N);
    else if (g->product == DX)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, M, K, N, 1, g->dy, N, w, K,
                    0, g->out, K);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, N, K, M, 1, g->dy, N, g->x,
                    K, 1, w, K);
}

static void call(struct match *g, enum contestant c)
{
    const size_t size = c == EXACT_BF16 ? sizeof(uint16_t) : sizeof(float);
    const size_t bytes = (size_t)tr_mat_size(g->s.N, g->s.K) * size;
    char *w = (char *)g->weights[c] + (size_t)g->next[c] * bytes;
    g->next[c] = (g->next[c] + 1) % g->copies[c];
    const struct tr_mat W = {.N = g->s.N,
                             .K = g->s.K,
                             .dtype = c == EXACT_BF16 ? TR_BF16 : TR_F32,
                             .math = TR_MATH_EXACT,
                             .at = w};
    if (c == OPENBLAS)
        call_openblas(g, (float *)(void *)w);
    else if (g->product == FORWARD)
        tr_linear_forward(g->ex, g->x, g->M, &W, NULL, g->out);
    else if (g->product == DX)
        tr_linear_dx(g->ex, g->dy, g->M, &W, 0, g->out);
    else
        tr_linear_dw(g->ex, g->dy, g->x, g->M, &W);
}

static double flops(const struct match *g)
{
    return 2.0 * (double)g->M * (double)g->s.N * (double)g->s.K;
}

/* GFLOP/s of some calls in a row, the first not counted. */
static double sample(struct match *g, enum contestant c)
{
    const double calls = fmax(1, floor(4e8 / flops(g)));
    const int64_t bytes = tr_mat_size(g->s.N, g->s.K) * (c == EXACT_BF16 ? 2 : 4);
    const int n = (int)fmin(calls, fmax(1, floor(6e7 / (double)bytes)));
    call(g, c);
    const double start = tr_clock_seconds();
    for (int i = 0; i < n; i++) call(g, c);
    return 1e-9 * n * flops(g) / (tr_clock_seconds() - start);
}

/* ---- a match ---- */

static void weights_make(struct match *g, enum contestant c)
{
    const int64_t n = tr_mat_size(g->s.N, g->s.K);
    const size_t bytes = (size_t)n * (c == EXACT_BF16 ? sizeof(uint16_t) : sizeof(float));
    g->copies[c] = COLD_BYTES / (int)bytes + 1 + (bytes > COLD_BYTES / 2);
    g->weights[c] = room((size_t)g->copies[c] * bytes);
    float *first = room((size_t)n * sizeof *first);
    fill(first, n, 17);
    if (c == EXACT_BF16)
        tr_bf16_round_array(g->ex, first, n, g->weights[c]);
    else
        memcpy(g->weights[c], first, bytes);
    for (int i = 1; i < g->copies[c]; i++)
        memcpy((char *)g->weights[c] + (size_t)i * bytes, g->weights[c], bytes);
    free(first);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void play(struct match *g, int repeats, struct result *r)
{
    for (int i = 0; i < repeats; i++)
        for (int c = 0; c < CONTESTANTS; c++)
            if (g->copies[c]) {
                r->sample[c][i] = sample(g, (enum contestant)c);
                if (c == OPENBLAS) pause_ms(40);
            }
    for (int c = 0; c < CONTESTANTS; c++) {
        qsort(r->sample[c], (size_t)repeats, sizeof(double), by_value);
        r->median[c] = r->sample[c][repeats / 2];
        r->best[c] = r->sample[c][repeats - 1];
    }
}

/* Sums of logarithms of the ratios to OpenBLAS, by group. */
struct mean {
    const char *name;
    double f32_median, f32_best, bf16_median, bf16_best;
    int n;
};

enum group { FEW, MIDDLE, MANY, BACK_X, BACK_W, GROUPS };

static enum group group_of(const struct match *g)
{
    if (g->product == DX) return BACK_X;
    if (g->product == DW) return BACK_W;
    if (g->M <= 32) return FEW;
    return g->M < 256 ? MIDDLE : MANY;
}

static void print_result(const struct match *g, const struct result *r, struct mean *all)
{
    struct mean *mean = &all[group_of(g)];
    const double f32 = r->median[EXACT_F32] / r->median[OPENBLAS];
    const double f32_best = r->best[EXACT_F32] / r->best[OPENBLAS];
    mean->n++;
    mean->f32_median += log(f32);
    mean->f32_best += log(f32_best);
    printf("%-7s %5dx%-4d %4d  %6.1f/%-6.1f", product_name[g->product], (int)g->s.N,
           (int)g->s.K, (int)g->M, r->median[EXACT_F32], r->best[EXACT_F32]);
    if (g->copies[EXACT_BF16])
        printf(" %6.1f/%-6.1f", r->median[EXACT_BF16], r->best[EXACT_BF16]);
    else
        printf("       -      ");
    printf(" %6.1f/%-6.1f  %5.2f/%-5.2f", r->median[OPENBLAS], r->best[OPENBLAS], f32,
           f32_best);
    if (g->copies[EXACT_BF16]) {
        const double bf16 = r->median[EXACT_BF16] / r->median[OPENBLAS];
        const double bf16_best = r->best[EXACT_BF16] / r->best[OPENBLAS];
        mean->bf16_median += log(bf16);
        mean->bf16_best += log(bf16_best);
        printf("  %5.2f/%-5.2f", bf16, bf16_best);
    }
    printf("\n");
    fflush(stdout);
}

static void print_means(const struct mean *all)
{
    printf("\ngeometric means of the ratios to OpenBLAS f32 (of medians, of bests)\n");
    for (int i = 0; i < GROUPS; i++) {
        const struct mean *m = &all[i];
        if (!m->n) continue;
        printf("  %-24s f32 %5.2f %5.2f", m->name, exp(m->f32_median / m->n),
               exp(m->f32_best / m->n));
        if (m->bf16_median != 0)
            printf("   bf16 %5.2f %5.2f", exp(m->bf16_median / m->n),
                   exp(m->bf16_best / m->n));
        printf("\n");
    }
}

/* All heights of one shape and product, on the same copies of the weights. */
static void run_shape(const struct tr_exec *ex, const struct options *o,
                      enum product product, struct shape s, struct mean *all)
{
    static const int64_t few[] = {1, 4, 8, 16, 32, 64, 256, 1024}, many[] = {256, 1024};
    const int64_t *heights = product == FORWARD ? few : many;
    const int count = product == FORWARD ? 8 : 2;
    const int64_t most = o->quick ? 256 : 1024, widest = s.N > s.K ? s.N : s.K;
    struct match g = {.ex = ex, .product = product, .s = s};
    g.x = room((size_t)(most * s.K) * sizeof(float));
    g.dy = room((size_t)(most * s.N) * sizeof(float));
    g.out = room((size_t)(most * widest) * sizeof(float));
    fill(g.x, most * s.K, 1);
    fill(g.dy, most * s.N, 2);
    memset(g.out, 0, (size_t)(most * widest) * sizeof(float));
    weights_make(&g, EXACT_F32);
    weights_make(&g, OPENBLAS);
    if (product != DW) weights_make(&g, EXACT_BF16);
    for (int i = 0; i < count; i++) {
        struct result r = {0};
        g.M = heights[i];
        if (g.M > most || (o->quick && (g.M == 4 || g.M == 16 || g.M == 64))) continue;
        if (o->rows && o->rows != g.M) continue;
        play(&g, o->repeats, &r);
        print_result(&g, &r, all);
    }
    for (int c = 0; c < CONTESTANTS; c++) free(g.weights[c]);
    free(g.x);
    free(g.dy);
    free(g.out);
}

static int parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){.threads = 2, .only = -1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            o->quick = 1;
        } else if (i + 1 < argc && strcmp(argv[i], "--threads") == 0) {
            o->threads = (int)strtol(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--repeats") == 0) {
            o->repeats = (int)strtol(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--rows") == 0) {
            o->rows = strtol(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--only") == 0) {
            i++;
            for (int p = 0; p < PRODUCTS; p++)
                if (strcmp(argv[i], product_name[p]) == 0) o->only = p;
            if (o->only < 0) return -1;
        } else {
            return -1;
        }
    }
    if (o->repeats == 0) o->repeats = o->quick ? 3 : 7;
    return o->threads >= 1 && o->repeats >= 1 && o->repeats <= MOST_REPEATS ? 0 : -1;
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {{576, 576},  {1536, 576},  {2048, 2048},
                                          {576, 1536}, {49152, 576}, {8192, 2048}};
    struct mean means[GROUPS] = {{.name = "forward, 1 to 32 rows"},
                                 {.name = "forward, 64 rows"},
                                 {.name = "forward, 256 and 1024"},
                                 {.name = "dx"},
                                 {.name = "dw"}};
    struct options o;
    struct tr_exec ex;
    if (parse(argc, argv, &o) != 0) {
        fprintf(stderr, "gemm [--threads N] [--quick] [--repeats N] "
                        "[--only forward|dx|dw] [--rows M]\n");
        return 2;
    }
    if (tr_exec_init(&ex, NULL, o.threads, TR_MATH_EXACT) != 0) return 1;
    openblas_set_num_threads(o.threads);
    printf("%s\n", openblas_get_config());
    print_limits(&ex, o.threads);
    printf("\nGFLOP/s, median/best  exact f32     exact bf16    OpenBLAS f32   f32 : "
           "OpenBLAS  bf16 : OpenBLAS\n");
    for (int p = 0; p < PRODUCTS; p++)
        for (size_t i = 0; i < (o.quick ? 3 : sizeof shapes / sizeof *shapes); i++)
            if (o.only < 0 || o.only == p)
                run_shape(&ex, &o, (enum product)p, shapes[i], means);
    print_means(means);
    print_limits(&ex, o.threads);
    tr_exec_fini(&ex);
    return 0;
}

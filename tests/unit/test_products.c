/* test_products.c - the products of linear.h and the layout of mat.h.
 *
 * The specification is written out here once more, in the plainest way: one chain of fmaf an
 * element, over row-major weights. Every row of the kernel table that this CPU can run has to
 * give its bits, for every team. Rows that the CPU lacks are named and skipped. */
#include <assert.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "kernels/linear.h"

enum { MOST_THREADS = 3, GUARD = 64 };

static const float canary = 12345.5F;

/* A small generator of its own, so that a failing shape can be run alone. */
struct source {
    uint64_t state;
};

static uint32_t draw(struct source *s)
{
    s->state = s->state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(s->state >> 33);
}

/* Numbers of many sizes, among them zeros of both signs and subnormals. */
static void fill(struct source *s, int64_t n, float *x)
{
    for (int64_t i = 0; i < n; i++) {
        const float unit = (float)draw(s) / (float)(1U << 30) - 1.0F;
        const uint32_t kind = draw(s) % 64;
        if (kind == 0)
            x[i] = unit < 0 ? -0.0F : 0.0F;
        else if (kind == 1)
            x[i] = unit * 1e-40F;
        else
            x[i] = ldexpf(unit, (int)(draw(s) % 9) - 4);
    }
}

/* n floats and a guard behind them that nothing may touch. */
static float *array(int64_t n)
{
    float *x = malloc((size_t)(n + GUARD) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n + GUARD; i++) x[i] = canary;
    return x;
}

static float *array_of(struct source *s, int64_t n)
{
    float *x = array(n);
    fill(s, n, x);
    return x;
}

static float *copy_of(const float *x, int64_t n)
{
    float *y = array(n);
    memcpy(y, x, (size_t)n * sizeof *x);
    return y;
}

static void check_same(const char *what, const float *want, const float *got, int64_t n)
{
    for (int64_t i = 0; i < n + GUARD; i++)
        if (memcmp(want + i, got + i, sizeof *want) != 0)
            fail_msg("%s: element %lld of %lld: want %a, got %a", what, (long long)i,
                     (long long)n, (double)want[i], (double)got[i]);
}

/* ---- the specification ---- */

struct shape {
    int64_t M, N, K;
};

static void spec_forward(struct shape s, const float *x, const float *w,
                         const float *bias, float *y)
{
    for (int64_t m = 0; m < s.M; m++)
        for (int64_t n = 0; n < s.N; n++) {
            float acc = 0;
            for (int64_t k = 0; k < s.K; k++)
                acc = fmaf(x[m * s.K + k], w[n * s.K + k], acc);
            y[m * s.N + n] = bias ? acc + bias[n] : acc;
        }
}

static void spec_dx(struct shape s, const float *dy, const float *w, int add, float *dx)
{
    for (int64_t m = 0; m < s.M; m++)
        for (int64_t k = 0; k < s.K; k++) {
            float acc = add ? dx[m * s.K + k] : 0;
            for (int64_t n = 0; n < s.N; n++)
                acc = fmaf(dy[m * s.N + n], w[n * s.K + k], acc);
            dx[m * s.K + k] = acc;
        }
}

static void spec_dw(struct shape s, const float *dy, const float *x, float *dw)
{
    for (int64_t n = 0; n < s.N; n++)
        for (int64_t k = 0; k < s.K; k++) {
            float acc = dw[n * s.K + k];
            for (int64_t m = 0; m < s.M; m++)
                acc = fmaf(dy[m * s.N + n], x[m * s.K + k], acc);
            dw[n * s.K + k] = acc;
        }
}

/* ---- one shape: operands and wanted results ---- */

struct trial {
    struct shape s;
    float *x, *dy, *w, *bias, *old_dx, *old_dw; /* old: what add continues */
    float *y, *y_bias, *dx, *dx_add, *dw;       /* wanted */
};

static struct trial trial_init(struct shape s, enum tr_dtype dtype)
{
    struct source src = {(uint64_t)(s.M * 1000003 + s.N * 1009 + s.K + 1)};
    struct trial t = {.s = s};
    t.x = array_of(&src, s.M * s.K);
    t.dy = array_of(&src, s.M * s.N);
    t.w = array_of(&src, s.N * s.K);
    t.bias = array_of(&src, s.N);
    t.old_dx = array_of(&src, s.M * s.K);
    t.old_dw = array_of(&src, s.N * s.K);
    for (int64_t i = 0; i < s.N * s.K && dtype == TR_BF16; i++)
        t.w[i] = tr_bf16_widen(tr_bf16_round(t.w[i]));
    t.y = array(s.M * s.N);
    t.y_bias = array(s.M * s.N);
    t.dx = array(s.M * s.K);
    t.dx_add = copy_of(t.old_dx, s.M * s.K);
    t.dw = copy_of(t.old_dw, s.N * s.K);
    spec_forward(s, t.x, t.w, NULL, t.y);
    spec_forward(s, t.x, t.w, t.bias, t.y_bias);
    spec_dx(s, t.dy, t.w, 0, t.dx);
    spec_dx(s, t.dy, t.w, 1, t.dx_add);
    spec_dw(s, t.dy, t.x, t.dw);
    return t;
}

static void trial_fini(struct trial *t)
{
    float *all[] = {t->x, t->dy,     t->w,  t->bias,   t->old_dx, t->old_dw,
                    t->y, t->y_bias, t->dx, t->dx_add, t->dw};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* A matrix in the layout of ex, filled from row-major w. Its memory is the caller's to free. */
static struct tr_mat mat_of(const struct tr_exec *ex, enum tr_dtype dtype, int64_t N,
                            int64_t K, const float *w)
{
    struct tr_mat m = {.N = N, .K = K, .dtype = dtype, .math = ex->math};
    m.at = malloc((size_t)tr_mat_size(N, K) * sizeof(float) + 1);
    assert_non_null(m.at);
    tr_mat_pack(ex, w, &m);
    return m;
}

static void check_padding(const struct tr_mat *m)
{
    const float *at = m->at;
    const int64_t last = m->N / 16 * 16 * m->K;
    for (int64_t k = 0; k < m->K && m->N % 16; k++)
        for (int64_t j = m->N % 16; j < 16; j++)
            if (at[last + k * 16 + j] != 0) fail_msg("lane %d is not zero", (int)j);
}

static void check_forward(const struct tr_exec *ex, const struct trial *t,
                          const struct tr_mat *W, const char *name)
{
    char what[128];
    float *y = array(t->s.M * t->s.N);
    snprintf(what, sizeof what, "%s forward", name);
    tr_linear_forward(ex, t->x, t->s.M, W, NULL, y);
    check_same(what, t->y, y, t->s.M * t->s.N);
    snprintf(what, sizeof what, "%s forward with bias", name);
    tr_linear_forward(ex, t->x, t->s.M, W, t->bias, y);
    check_same(what, t->y_bias, y, t->s.M * t->s.N);
    free(y);
}

static void check_dx(const struct tr_exec *ex, const struct trial *t,
                     const struct tr_mat *W, const char *name)
{
    char what[128];
    float *dx = array(t->s.M * t->s.K);
    snprintf(what, sizeof what, "%s dx", name);
    tr_linear_dx(ex, t->dy, t->s.M, W, 0, dx);
    check_same(what, t->dx, dx, t->s.M * t->s.K);
    memcpy(dx, t->old_dx, (size_t)(t->s.M * t->s.K) * sizeof *dx);
    snprintf(what, sizeof what, "%s dx with add", name);
    tr_linear_dx(ex, t->dy, t->s.M, W, 1, dx);
    check_same(what, t->dx_add, dx, t->s.M * t->s.K);
    free(dx);
}

/* The tokens in one call, and split over two. */
static void check_dw(const struct tr_exec *ex, const struct trial *t, const char *name)
{
    const struct shape s = t->s;
    for (int split = 0; split < 2; split++) {
        char what[128];
        const int64_t first = split ? s.M * 2 / 5 : s.M;
        float *dw = array(s.N * s.K);
        struct tr_mat dW = mat_of(ex, TR_F32, s.N, s.K, t->old_dw);
        tr_linear_dw(ex, t->dy, t->x, first, &dW);
        tr_linear_dw(ex, t->dy + first * s.N, t->x + first * s.K, s.M - first, &dW);
        tr_mat_unpack(ex, &dW, dw);
        snprintf(what, sizeof what, "%s dw in %d", name, split + 1);
        check_same(what, t->dw, dw, s.N * s.K);
        check_padding(&dW);
        free(dW.at);
        free(dw);
    }
}

/* ---- all rows, all teams ---- */

struct teams {
    struct tr_exec ex[MOST_THREADS];
};

static int setup(void **state)
{
    struct teams *t = calloc(1, sizeof *t);
    if (!t) return -1;
    for (int i = 0; i < MOST_THREADS; i++)
        if (tr_exec_init(&t->ex[i], "scalar", i + 1, TR_MATH_EXACT) != 0) return -1;
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct teams *t = *state;
    for (int i = 0; i < MOST_THREADS; i++) tr_exec_fini(&t->ex[i]);
    free(t);
    return 0;
}

static void check_shape(const struct teams *teams, struct shape s, enum tr_dtype dtype)
{
    struct trial t = trial_init(s, dtype);
    for (int i = 0; tr_kernels_row(i); i++)
        for (int threads = 1; threads <= MOST_THREADS; threads++) {
            struct tr_exec ex = teams->ex[threads - 1];
            char name[96];
            ex.k = tr_kernels_row(i);
            snprintf(name, sizeof name, "row %d (%s), %d threads, M %d N %d K %d %s", i,
                     ex.k->name, threads, (int)s.M, (int)s.N, (int)s.K,
                     dtype == TR_BF16 ? "bf16" : "f32");
            struct tr_mat W = mat_of(&ex, dtype, s.N, s.K, t.w);
            check_forward(&ex, &t, &W, name);
            check_dx(&ex, &t, &W, name);
            if (dtype == TR_F32) check_dw(&ex, &t, name);
            free(W.at);
        }
    trial_fini(&t);
}

static const int64_t widths[] = {1, 2, 15, 16, 17, 31, 32, 33, 48, 64, 65, 100};
static const int64_t heights[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  12,
                                  13, 15, 16, 17, 31, 32, 40, 41, 64, 127};
enum {
    WIDTHS = sizeof widths / sizeof *widths,
    HEIGHTS = sizeof heights / sizeof *heights
};

/* Every N with every K; the M go round, so that each meets many of them. */
static void every_width_meets_every_depth(void **state)
{
    int next = 0;
    for (int n = 0; n < WIDTHS; n++)
        for (int k = 0; k < WIDTHS; k++)
            for (int i = 0; i < 3; i++, next++) {
                const struct shape s = {heights[next % HEIGHTS], widths[n], widths[k]};
                check_shape(*state, s, next % 2 ? TR_BF16 : TR_F32);
                check_shape(*state, s, next % 2 ? TR_F32 : TR_BF16);
            }
}

static void every_height(void **state)
{
    for (int64_t m = 0; m <= 70; m++)
        check_shape(*state, (struct shape){m, 40, 35}, TR_F32);
    for (int64_t m = 0; m <= 70; m++)
        check_shape(*state, (struct shape){m, 35, 40}, TR_BF16);
}

/* Where several blocks of rows, of depth and of panels meet. */
static void shapes_of_many_blocks(void **state)
{
    static const struct shape shapes[] = {
        {256, 100, 64}, {1024, 33, 31}, {1024, 16, 100}, {193, 48, 257}, {385, 40, 300},
        {31, 600, 64},  {5, 100, 1100}, {1, 1000, 1030}, {2, 530, 513},  {3, 300, 700},
        {6, 64, 1025},  {17, 513, 513}, {64, 100, 2049}, {300, 513, 20}, {40, 2049, 33},
        {600, 20, 520}, {41, 1030, 17}, {1300, 18, 34},  {20, 36, 1200},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(*state, shapes[i], TR_F32);
        check_shape(*state, shapes[i], TR_BF16);
    }
}

/* Nothing to sum: forward gives +0 or the bias, dx gives +0 or what is there. */
static void empty_shapes(void **state)
{
    static const struct shape shapes[] = {{0, 0, 0},   {3, 0, 5},   {3, 5, 0}, {0, 7, 7},
                                          {50, 0, 20}, {50, 20, 0}, {1, 1, 0}, {1, 0, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(*state, shapes[i], TR_F32);
        check_shape(*state, shapes[i], TR_BF16);
    }
}

/* A row alone, in a batch of 7 and in a batch of 4096. */
static void a_row_does_not_know_its_batch(void **state)
{
    const struct teams *teams = *state;
    const struct shape s = {4096, 72, 300};
    struct source src = {7};
    float *x = array_of(&src, s.M * s.K), *w = array_of(&src, s.N * s.K);
    float *dy = array_of(&src, s.M * s.N);
    float *y = array(s.M * s.N), *dx = array(s.M * s.K), *few = array(7 * s.K);
    for (int i = 0; tr_kernels_row(i); i++) {
        struct tr_exec ex = teams->ex[1];
        ex.k = tr_kernels_row(i);
        struct tr_mat W = mat_of(&ex, i % 2 ? TR_BF16 : TR_F32, s.N, s.K, w);
        tr_linear_forward(&ex, x, s.M, &W, NULL, y);
        tr_linear_dx(&ex, dy, s.M, &W, 0, dx);
        for (int64_t m = 0; m + 7 <= s.M; m += 409)
            for (int64_t rows = 1; rows <= 7; rows += 6) {
                tr_linear_forward(&ex, x + m * s.K, rows, &W, NULL, few);
                assert_memory_equal(few, y + m * s.N,
                                    (size_t)(rows * s.N) * sizeof(float));
                tr_linear_dx(&ex, dy + m * s.N, rows, &W, 0, few);
                assert_memory_equal(few, dx + m * s.K,
                                    (size_t)(rows * s.K) * sizeof(float));
            }
        free(W.at);
    }
    float *all[] = {x, w, dy, y, dx, few};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Infinities stay where they belong: the padding of dW is zero after them too. */
static void padding_survives_infinity(void **state)
{
    const struct teams *teams = *state;
    for (int i = 0; tr_kernels_row(i); i++) {
        struct tr_exec ex = teams->ex[0];
        ex.k = tr_kernels_row(i);
        struct source src = {11};
        const struct shape s = {9, 20, 40};
        float *x = array_of(&src, s.M * s.K), *dy = array_of(&src, s.M * s.N);
        float *w = array_of(&src, s.N * s.K);
        for (int64_t j = 0; j < s.K; j++) x[j] = INFINITY;
        struct tr_mat dW = mat_of(&ex, TR_F32, s.N, s.K, w);
        tr_linear_dw(&ex, dy, x, s.M, &dW);
        check_padding(&dW);
        free(dW.at);
        free(x);
        free(dy);
        free(w);
    }
}

static void bias_gradient_is_a_chain(void **state)
{
    const struct teams *teams = *state;
    const int64_t M = 33, N = 600;
    struct source src = {5};
    float *dy = array_of(&src, M * N), *old = array_of(&src, N), *want = copy_of(old, N);
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) want[n] += dy[m * N + n];
    for (int i = 0; i < MOST_THREADS; i++) {
        float *db = copy_of(old, N);
        tr_linear_db(&teams->ex[i], dy, 20, N, db);
        tr_linear_db(&teams->ex[i], dy + 20 * N, M - 20, N, db);
        check_same("db", want, db, N);
        free(db);
    }
    free(dy);
    free(old);
    free(want);
}

/* ---- mat.h ---- */

/* mat.h invariants 1 and 2, and the single rows. */
static void pack_and_unpack(void **state)
{
    const struct teams *teams = *state;
    for (int n = 0; n < WIDTHS; n++)
        for (int k = 0; k < WIDTHS; k++)
            for (int kind = 0; kind < 4; kind++) {
                struct tr_exec ex = teams->ex[n % MOST_THREADS];
                const int64_t N = widths[n], K = widths[k];
                const enum tr_dtype dtype = kind % 2 ? TR_BF16 : TR_F32;
                struct source src = {(uint64_t)(N * 100 + K)};
                float *w = array_of(&src, N * K), *back = array(N * K), *row = array(K);
                ex.math = kind / 2 ? TR_MATH_OPENBLAS : TR_MATH_EXACT;
                struct tr_mat m = mat_of(&ex, dtype, N, K, w);
                tr_mat_unpack(&ex, &m, back);
                for (int64_t i = 0; i < N * K && dtype == TR_BF16; i++)
                    w[i] = tr_bf16_widen(tr_bf16_round(w[i]));
                check_same("round trip", w, back, N * K);
                tr_mat_row(&m, N - 1, row);
                check_same("row", w + (N - 1) * K, row, K - GUARD);
                if (dtype == TR_F32) {
                    assert_true(((float *)m.at)[tr_mat_at(m.math, N, K, N / 2, K / 2)] ==
                                w[N / 2 * K + K / 2]);
                    tr_mat_row_add(&m, N - 1, row);
                    tr_mat_row(&m, N - 1, back);
                    for (int64_t i = 0; i < K; i++)
                        assert_true(back[i] == row[i] + row[i]);
                }
                if (dtype == TR_F32 && kind / 2 == 0) check_padding(&m);
                free(m.at);
                free(w);
                free(back);
                free(row);
            }
}

static void bf16_rounds_to_nearest_even(void **state)
{
    const struct teams *teams = *state;
    static const struct {
        const char *name;
        uint32_t bits;
        uint16_t want;
    } table[] = {
        {"one", 0x3F800000, 0x3F80},
        {"below half", 0x3F807FFF, 0x3F80},
        {"half, even", 0x3F808000, 0x3F80},
        {"half, odd", 0x3F818000, 0x3F82},
        {"above half", 0x3F808001, 0x3F81},
        {"minus zero", 0x80000000, 0x8000},
        {"to infinity", 0x7F7FFFFF, 0x7F80},
        {"infinity", 0xFF800000, 0xFF80},
        {"subnormal", 0x00008001, 0x0001},
        {"NaN", 0x7FC00001, 0x7FC0},
        {"NaN of low bits", 0x7F800001, 0x7FC0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        float x = 0, through = 0;
        uint16_t y = 0;
        memcpy(&x, &table[i].bits, sizeof x);
        tr_bf16_round_array(&teams->ex[0], &x, 1, &y);
        tr_bf16_through(&teams->ex[0], &x, 1, &through);
        if (tr_bf16_round(x) != table[i].want || y != table[i].want)
            fail_msg("%s: want %04x, got %04x", table[i].name, table[i].want, y);
        const float wide = tr_bf16_widen(table[i].want);
        assert_memory_equal(&through, &wide, sizeof wide);
    }
}

static void bf16_arrays(void **state)
{
    const struct teams *teams = *state;
    const int64_t n = 50001;
    struct source src = {3};
    float *x = array_of(&src, n), *y = array(n);
    uint16_t *z = malloc((size_t)n * sizeof *z);
    assert_non_null(z);
    tr_bf16_round_array(&teams->ex[2], x, n, z);
    tr_bf16_through(&teams->ex[1], x, n, y);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(z[i], tr_bf16_round(x[i]));
        const float wide = tr_bf16_widen(z[i]);
        assert_memory_equal(&y[i], &wide, sizeof wide);
    }
    free(x);
    free(y);
    free(z);
}

/* ---- OpenBLAS ---- */

/* Two f32 sums of the same n products, in any order, with or without fused steps, each differ
 * from the real sum by at most n * 2^-24 * sum |a b| / (1 - n * 2^-24) (Higham 2002, 3.5), so
 * from each other by at most twice that; one addition of the bias or of the old value is one
 * more term of the sum. Subnormal products may lose all their bits: 1e-44 each. */
static void check_near(const char *what, const float *a, const float *b,
                       const float *scale, int64_t n, int64_t terms)
{
    for (int64_t i = 0; i < n; i++) {
        const double bound =
            2.02 * (double)(terms + 1) * (0x1p-24 * (double)scale[i] + 1e-44);
        if (!(fabs((double)a[i] - (double)b[i]) <= bound))
            fail_msg("%s: element %lld: exact %a, openblas %a, bound %g", what,
                     (long long)i, (double)a[i], (double)b[i], bound);
    }
}

static void magnitudes(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] = fabsf(x[i]);
}

/* sum |a b| of every element, by the specification on magnitudes. */
static struct trial scales_of(const struct trial *t, enum tr_dtype dtype)
{
    const struct shape s = t->s;
    struct trial a = trial_init(s, dtype);
    magnitudes(a.x, s.M * s.K);
    magnitudes(a.dy, s.M * s.N);
    magnitudes(a.w, s.N * s.K);
    magnitudes(a.bias, s.N);
    for (int64_t i = 0; i < s.M * s.K; i++) a.dx_add[i] = fabsf(t->old_dx[i]);
    for (int64_t i = 0; i < s.N * s.K; i++) a.dw[i] = fabsf(t->old_dw[i]);
    spec_forward(s, a.x, a.w, a.bias, a.y_bias);
    spec_dx(s, a.dy, a.w, 0, a.dx);
    spec_dx(s, a.dy, a.w, 1, a.dx_add);
    spec_dw(s, a.dy, a.x, a.dw);
    return a;
}

static void check_openblas(const struct teams *teams, struct shape s, enum tr_dtype dtype,
                           int threads)
{
    struct trial t = trial_init(s, dtype), a = scales_of(&t, dtype);
    struct tr_exec ex = teams->ex[threads - 1];
    ex.math = TR_MATH_OPENBLAS;
    struct tr_mat W = mat_of(&ex, dtype, s.N, s.K, t.w);
    struct tr_mat dW = mat_of(&ex, TR_F32, s.N, s.K, t.old_dw);
    float *y = array(s.M * s.N), *dx = array(s.M * s.K);
    tr_linear_forward(&ex, t.x, s.M, &W, t.bias, y);
    check_near("forward", t.y_bias, y, a.y_bias, s.M * s.N, s.K);
    tr_linear_dx(&ex, t.dy, s.M, &W, 0, dx);
    check_near("dx", t.dx, dx, a.dx, s.M * s.K, s.N);
    memcpy(dx, t.old_dx, (size_t)(s.M * s.K) * sizeof *dx);
    tr_linear_dx(&ex, t.dy, s.M, &W, 1, dx);
    check_near("dx with add", t.dx_add, dx, a.dx_add, s.M * s.K, s.N);
    tr_linear_dw(&ex, t.dy, t.x, s.M, &dW);
    check_near("dw", t.dw, dW.at, a.dw, s.N * s.K, s.M);
    free(W.at);
    free(dW.at);
    free(y);
    free(dx);
    trial_fini(&t);
    trial_fini(&a);
}

static void openblas_is_near(void **state)
{
    static const struct shape shapes[] = {
        {1, 1, 1}, {7, 64, 65}, {33, 100, 17},  {64, 200, 300}, {0, 5, 5},
        {5, 0, 3}, {5, 3, 0},   {2, 130, 4099}, {3, 4100, 70},  {128, 129, 66}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_openblas(*state, shapes[i], TR_F32, 1 + (int)i % MOST_THREADS);
        check_openblas(*state, shapes[i], TR_BF16, 1 + (int)i % MOST_THREADS);
    }
}

/* ---- kernels.h and exec.h ---- */

static void rows_of_this_cpu(void **state)
{
    (void)state;
    static const char *const names[] = {"scalar", "avx2", "avx512"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct tr_kernels *k = tr_kernels_pick(names[i]);
        if (k)
            assert_string_equal(k->name, names[i]);
        else
            print_message("          this CPU lacks %s: its row is not tested\n",
                          names[i]);
    }
    assert_null(tr_kernels_pick("mmx"));
    assert_non_null(tr_kernels_pick(NULL));
    assert_null(tr_kernels_row(-1));
}

static void exec_follows_isa_and_environment(void **state)
{
    (void)state;
    struct tr_exec ex;
    char math[TR_MATH_BYTES];
    char core[16];
    char version[16];
    assert_int_equal(tr_exec_init(&ex, "altivec", 1, TR_MATH_EXACT), -1);
    setenv("TROUPE_ISA", "scalar", 1);
    assert_int_equal(tr_exec_init(&ex, NULL, 1, TR_MATH_EXACT), 0);
    assert_string_equal(tr_exec_isa(&ex), "scalar");
    tr_exec_math(&ex, math);
    assert_string_equal(math, "exact");
    tr_exec_fini(&ex);
    setenv("TROUPE_ISA", "none", 1);
    assert_int_equal(tr_exec_init(&ex, NULL, 1, TR_MATH_EXACT), -1);
    assert_int_equal(tr_exec_init(&ex, "scalar", 1, TR_MATH_OPENBLAS), 0);
    assert_int_equal(ex.math, TR_MATH_OPENBLAS);
    tr_exec_math(&ex, math); /* "openblas 0.3.21 Haswell" */
    if (sscanf(math, "openblas %15[0-9.] %15s", version, core) != 2)
        fail_msg("no version and core type: %s", math);
    tr_exec_fini(&ex);
    unsetenv("TROUPE_ISA");
}

/* An argument selects tests by pattern: an emulated CPU is slow (tests/emulate). */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_this_cpu),
        cmocka_unit_test(exec_follows_isa_and_environment),
        cmocka_unit_test(every_width_meets_every_depth),
        cmocka_unit_test(every_height),
        cmocka_unit_test(shapes_of_many_blocks),
        cmocka_unit_test(empty_shapes),
        cmocka_unit_test(a_row_does_not_know_its_batch),
        cmocka_unit_test(padding_survives_infinity),
        cmocka_unit_test(bias_gradient_is_a_chain),
        cmocka_unit_test(pack_and_unpack),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(bf16_arrays),
        cmocka_unit_test(openblas_is_near),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, setup, teardown);
}

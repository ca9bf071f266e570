/* test_vector.c - norm, rope, pointwise, soft-max, AdamW and sums of squares: every row of the
 * kernel table gives the bits of the plain scalar row, for any team and any batch.
 *
 * A kernel here is a function from one array of random numbers to one array of results, so that
 * one loop can ask all of them for equal bits. test_vector_right.c asks whether they are right. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/adamw.h"
#include "kernels/kernels.h"
#include "kernels/norm.h"
#include "kernels/pointwise.h"
#include "kernels/real.h"
#include "kernels/rope.h"
#include "kernels/softmax.h"
#include "kernels/vector_ops.h"

enum {
    PARTS = 4,        /* arrays [T, d] that a kernel reads, and as many that it writes */
    PLACES = 33,      /* rows of the rope tables */
    MOST = 400000,    /* elements of one array */
    TEAMS = 3,        /* 1, 2 and 3 threads */
    EXPONENTS = 1021, /* a stride over bit patterns that meets all exponents */
};

/* What a kernel may use. All of out begins as 99, so what must not be written is compared too. */
struct bench {
    int64_t T, d;
    float *in[PARTS], *out[PARTS]; /* [T, d]; out has T + d + 4 more */
    float *w, *r, *table;          /* [d], [T], [2, PLACES, d / 2] */
    int32_t *target, *position;    /* [T] */
};

typedef void kernel_fn(const struct tr_exec *ex, struct bench *b);

static void copy(float *to, const float *from, int64_t n)
{
    memcpy(to, from, (size_t)n * sizeof *to);
}

static void run_norm(const struct tr_exec *ex, struct bench *b)
{
    tr_rmsnorm(ex, b->in[0], b->w, 1e-5F, b->T, b->d, b->out[0], b->out[1]);
}

static void run_norm_no_r(const struct tr_exec *ex, struct bench *b)
{
    tr_rmsnorm(ex, b->in[0], b->w, 1e-6F, b->T, b->d, b->out[0], NULL);
}

static void run_norm_back(const struct tr_exec *ex, struct bench *b)
{
    copy(b->out[1], b->w, b->d);
    tr_rmsnorm_backward(ex, b->in[0], b->in[1], b->w, b->r, b->T, b->d, 0, b->out[0],
                        b->out[1]);
}

static void run_norm_back_add(const struct tr_exec *ex, struct bench *b)
{
    copy(b->out[0], b->in[3], b->T * b->d);
    copy(b->out[1], b->w, b->d);
    tr_rmsnorm_backward(ex, b->in[0], b->in[1], b->w, b->r, b->T, b->d, 1, b->out[0],
                        b->out[1]);
}

/* One head of width d; an odd one has no halves. */
static void rope(const struct tr_exec *ex, struct bench *b, int inverse)
{
    copy(b->out[0], b->in[0], b->T * b->d);
    if (b->d % 2 == 0)
        tr_rope_apply(ex, b->out[0], b->T, 1, b->d, b->position, b->table,
                      b->table + PLACES * (b->d / 2), inverse);
}

static void run_rope(const struct tr_exec *ex, struct bench *b)
{
    rope(ex, b, 0);
}

static void run_rope_inverse(const struct tr_exec *ex, struct bench *b)
{
    rope(ex, b, 1);
}

static void run_swiglu(const struct tr_exec *ex, struct bench *b)
{
    tr_swiglu(ex, b->in[0], b->in[1], b->T * b->d, b->out[0]);
}

static void run_swiglu_back(const struct tr_exec *ex, struct bench *b)
{
    tr_swiglu_backward(ex, b->in[0], b->in[1], b->in[2], b->T * b->d, b->out[0],
                       b->out[1]);
}

static void run_add(const struct tr_exec *ex, struct bench *b)
{
    copy(b->out[0], b->in[1], b->T * b->d);
    tr_add(ex, b->in[0], b->T * b->d, b->out[0]);
}

static void run_logprob(const struct tr_exec *ex, struct bench *b)
{
    if (b->d)
        tr_logprob(ex, b->in[0], b->T, b->d, b->target, b->out[0], b->out[1], b->out[2]);
}

static void run_logprob_back(const struct tr_exec *ex, struct bench *b)
{
    if (!b->d) return;
    copy(b->out[0], b->in[0], b->T * b->d);
    tr_logprob(ex, b->in[0], b->T, b->d, b->target, NULL, b->out[1], NULL);
    tr_logprob_backward(ex, b->out[0], b->T, b->d, b->target, b->out[1], b->r);
}

static void run_adamw(const struct tr_exec *ex, struct bench *b)
{
    struct tr_adamw cfg = {
        .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1};
    const int64_t n = b->T * b->d;
    for (int k = 0; k < 3; k++) copy(b->out[k], b->in[k], n);
    for (int64_t i = 0; i < n; i++) b->out[2][i] = fabsf(b->out[2][i]);
    for (cfg.t = 1; cfg.t <= 2; cfg.t++)
        tr_adamw_step(ex, &cfg, 0.7F, n, b->in[3], b->out[0], b->out[1], b->out[2]);
}

static void run_sum_squares(const struct tr_exec *ex, struct bench *b)
{
    const double sum = tr_sum_squares(ex, b->in[0], b->T * b->d);
    memcpy(b->out[0], &sum, sizeof sum);
}

/* How wide is row t of out[0], which row t of the inputs makes alone. */
enum width { NO_ROW, ONE, WIDE };

struct kernel {
    const char *name;
    kernel_fn *run;
    enum width width;
};

static const struct kernel kernels[] = {
    {"rmsnorm", run_norm, WIDE},
    {"rmsnorm without r", run_norm_no_r, WIDE},
    {"rmsnorm backward", run_norm_back, WIDE},
    {"rmsnorm backward, added", run_norm_back_add, WIDE},
    {"rope", run_rope, WIDE},
    {"rope inverse", run_rope_inverse, WIDE},
    {"swiglu", run_swiglu, WIDE},
    {"swiglu backward", run_swiglu_back, WIDE},
    {"add", run_add, WIDE},
    {"logprob", run_logprob, ONE},
    {"logprob backward", run_logprob_back, WIDE},
    {"adamw", run_adamw, WIDE},
    {"sum of squares", run_sum_squares, NO_ROW},
};

enum { KERNELS = sizeof kernels / sizeof *kernels };

static const int64_t widths[] = {0,  1,   15,  16,   17,   31,   33,
                                 63, 100, 576, 1000, 4097, 49152};
static const int64_t tokens[] = {0, 1, 2, 7, 33};

enum { WIDTHS = sizeof widths / sizeof *widths, TOKENS = sizeof tokens / sizeof *tokens };

/* Uniform in [-1, 1). */
static float draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (float)(int32_t)(*seed >> 32U) / 2147483648.0F;
}

/* n random numbers in middle +- size, and room for 4 more. */
static float *random_floats(int64_t n, float middle, float size, uint64_t *seed)
{
    float *x = calloc((size_t)n + 4, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = middle + size * draw(seed);
    return x;
}

static int64_t out_floats(const struct bench *b)
{
    return b->T * b->d + b->T + b->d + 4;
}

static void clear(struct bench *b)
{
    for (int k = 0; k < PARTS; k++)
        for (int64_t i = 0; i < out_floats(b); i++) b->out[k][i] = 99;
}

static struct bench bench_create(int64_t T, int64_t d)
{
    struct bench b = {.T = T, .d = d};
    uint64_t seed = (uint64_t)(T * 100003 + d);
    for (int k = 0; k < PARTS; k++) {
        b.in[k] = random_floats(T * d, 0, 4, &seed);
        b.out[k] = random_floats(out_floats(&b), 0, 0, &seed);
    }
    b.w = random_floats(d, 1, 0.2F, &seed);
    b.r = random_floats(T, 0.3F, 0.1F, &seed);
    b.table = random_floats(2 * PLACES * (d / 2), 0, 1, &seed);
    b.target = calloc((size_t)T + 1, sizeof *b.target);
    b.position = calloc((size_t)T + 1, sizeof *b.position);
    assert_true(b.target && b.position);
    for (int64_t t = 0; t < T; t++) {
        b.target[t] = d ? (int32_t)((t * 7919) % d) : 0;
        b.position[t] = (int32_t)(t * 5 % PLACES);
    }
    return b;
}

static void bench_destroy(struct bench *b)
{
    for (int k = 0; k < PARTS; k++) {
        free(b->in[k]);
        free(b->out[k]);
    }
    free(b->w);
    free(b->r);
    free(b->table);
    free(b->target);
    free(b->position);
}

/* One exec for each row that this CPU can run and each size of team. */
struct execs {
    struct tr_exec ex[4 * TEAMS];
    int rows;
};

static int set_up(void **state)
{
    struct execs *e = calloc(1, sizeof *e);
    if (!e) return -1;
    for (; tr_kernels_row(e->rows); e->rows++)
        for (int n = 0; n < TEAMS; n++)
            e->ex[e->rows * TEAMS + n] = (struct tr_exec){.k = tr_kernels_row(e->rows),
                                                          .team = tr_team_create(n + 1)};
    for (int i = 0; i < e->rows * TEAMS; i++)
        if (!e->ex[i].team) return -1;
    if (!tr_kernels_pick("avx2")) print_message("skipped: avx2, which this CPU lacks\n");
    if (!tr_kernels_pick("avx512"))
        print_message("skipped: avx512, which this CPU lacks\n");
    *state = e;
    return 0;
}

static int tear_down(void **state)
{
    struct execs *e = *state;
    for (int i = 0; i < e->rows * TEAMS; i++) tr_team_destroy(e->ex[i].team);
    free(e);
    return 0;
}

static void same_bits(const float *got, const float *want, int64_t n, const char *kernel,
                      const char *what, const struct bench *b)
{
    if (n == 0 || memcmp(got, want, (size_t)n * sizeof *got) == 0) return;
    int64_t i = 0;
    while (memcmp(got + i, want + i, sizeof *got) == 0) i++;
    fail_msg("%s, T = %lld, d = %lld, %s: element %lld is %a, not %a", kernel,
             (long long)b->T, (long long)b->d, what, (long long)i, (double)got[i],
             (double)want[i]);
}

static void check_rows(const struct execs *e, const struct kernel *k, struct bench *b)
{
    float *want[PARTS];
    uint64_t seed = 0;
    for (int i = 0; i < e->rows * TEAMS; i++) {
        clear(b);
        k->run(&e->ex[i], b);
        for (int part = 0; part < PARTS; part++) {
            if (i == 0) {
                want[part] = random_floats(out_floats(b), 0, 0, &seed);
                copy(want[part], b->out[part], out_floats(b));
            }
            same_bits(b->out[part], want[part], out_floats(b), k->name, e->ex[i].k->name,
                      b);
        }
    }
    for (int part = 0; part < PARTS; part++) free(want[part]);
}

/* Invariant of the kernel table: every row, every team, the same bits. */
static void every_row_and_team_gives_the_reference_bits(void **state)
{
    for (int t = 0; t < TOKENS; t++)
        for (int w = 0; w < WIDTHS; w++) {
            if (tokens[t] * widths[w] > MOST) continue;
            struct bench b = bench_create(tokens[t], widths[w]);
            for (int k = 0; k < KERNELS; k++) check_rows(*state, &kernels[k], &b);
            bench_destroy(&b);
        }
}

static void check_alone(const struct tr_exec *ex, const struct kernel *k, struct bench *b)
{
    const int64_t width = k->width == ONE ? 1 : b->d;
    struct bench one = bench_create(1, b->d);
    struct bench view = one; /* owns nothing: outputs of `one`, inputs of a row of b */
    clear(b);
    k->run(ex, b);
    view.w = b->w;
    view.table = b->table;
    for (int64_t t = 0; t < b->T; t++) {
        for (int part = 0; part < PARTS; part++) view.in[part] = b->in[part] + t * b->d;
        view.r = b->r + t;
        view.target = b->target + t;
        view.position = b->position + t;
        clear(&view);
        k->run(ex, &view);
        same_bits(view.out[0], b->out[0] + t * width, width, k->name, "a row alone", b);
    }
    bench_destroy(&one);
}

static void a_row_is_the_same_alone_and_in_a_batch(void **state)
{
    const struct execs *e = *state;
    for (int w = 0; w < WIDTHS; w++) {
        if (PLACES * widths[w] > MOST) continue;
        struct bench b = bench_create(PLACES, widths[w]);
        for (int i = TEAMS - 1; i < e->rows * TEAMS; i += TEAMS)
            for (int k = 0; k < KERNELS; k++)
                if (kernels[k].width != NO_ROW) check_alone(&e->ex[i], &kernels[k], &b);
        bench_destroy(&b);
    }
}

/* The chain of dw is continued: tokens in one call or in three, the same bits. */
static void dw_may_be_split_over_calls(void **state)
{
    const struct execs *e = *state;
    const int64_t d = 100;
    const int64_t cut[] = {0, 1, 8, PLACES};
    struct bench b = bench_create(PLACES, d);
    for (int i = 0; i < e->rows * TEAMS; i++) {
        clear(&b);
        run_norm_back(&e->ex[i], &b);
        copy(b.out[2], b.w, d);
        for (int c = 0; c < 3; c++)
            tr_rmsnorm_backward(&e->ex[i], b.in[0] + cut[c] * d, b.in[1] + cut[c] * d,
                                b.w, b.r + cut[c], cut[c + 1] - cut[c], d, 0, b.out[3],
                                b.out[2]);
        same_bits(b.out[2], b.out[1], d, "rmsnorm backward", "dw in three calls", &b);
    }
    bench_destroy(&b);
}

/* pointwise.h: an output may be one of the inputs. */
static void outputs_may_be_inputs(void **state)
{
    const struct execs *e = *state;
    struct bench b = bench_create(1, 100);
    for (int i = 0; i < e->rows * TEAMS; i++)
        for (int du = 0; du < 3;
             du++) { /* du takes the place of g, u or dout, dg the next */
            float *x[3] = {b.out[1], b.out[2], b.out[3]};
            clear(&b);
            for (int k = 0; k < 3; k++) copy(x[k], b.in[k], b.d);
            tr_swiglu_backward(&e->ex[i], x[0], x[1], x[2], b.d, x[(du + 1) % 3], x[du]);
            tr_swiglu_backward(&e->ex[0], b.in[0], b.in[1], b.in[2], b.d, b.out[0],
                               b.table);
            same_bits(x[(du + 1) % 3], b.out[0], b.d, "swiglu backward", "dg in place",
                      &b);
            copy(x[0], b.in[0], b.d);
            tr_swiglu(&e->ex[0], b.in[0], b.in[1], b.d, b.out[0]);
            tr_swiglu(&e->ex[i], x[0], b.in[1], b.d, x[0]);
            same_bits(x[0], b.out[0], b.d, "swiglu", "in place", &b);
        }
    bench_destroy(&b);
}

/* Equal bits, or both NaN: which NaN is nobody's business. */
static bool same_value(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* exp of every EXPONENTS-th bit pattern: x - 0 is x, so the lanes see all of f32. */
static void lanes_take_exp_as_the_reference_does(void **state)
{
    enum { N = 4096 };
    static float x[N], y[N];
    const struct execs *e = *state;
    for (int row = 1; row < e->rows; row++)
        for (uint64_t b = 0; b <= UINT32_MAX; b += (uint64_t)EXPONENTS * N) {
            for (uint64_t i = 0; i < N; i++) {
                const uint32_t bits = (uint32_t)(b + i * EXPONENTS);
                memcpy(&x[i], &bits, sizeof bits);
            }
            tr_kernels_row(row)->vector->exps(x, N, 0, y);
            for (int i = 0; i < N; i++)
                if (!same_value(y[i], tr_expf(x[i])))
                    fail_msg("%s: exp(%a) = %a, not %a", tr_kernels_row(row)->name,
                             (double)x[i], (double)y[i], (double)tr_expf(x[i]));
        }
}

/* NaN, Inf, signed zeros and subnormals, each in every place of a row. */
static void odd_values_go_the_same_way(void **state)
{
    static const float odd[] = {NAN,     INFINITY, -INFINITY, -0.0F, 0x1p-149F,
                                -1e-40F, 3e38F,    -3e38F,    104.0F};
    const struct execs *e = *state;
    struct bench b = bench_create(1, 33);
    for (size_t v = 0; v < sizeof odd / sizeof *odd; v++)
        for (int64_t place = 0; place < b.d; place++)
            for (int k = 0; k < KERNELS; k++) {
                float want[PARTS][128];
                const float was = b.in[0][place];
                b.in[0][place] = odd[v];
                for (int row = 0; row < e->rows; row++) {
                    clear(&b);
                    kernels[k].run(&e->ex[row * TEAMS], &b);
                    for (int part = 0; part < PARTS; part++)
                        for (int64_t i = 0; i < out_floats(&b); i++) {
                            if (row == 0) want[part][i] = b.out[part][i];
                            if (!same_value(want[part][i], b.out[part][i]))
                                fail_msg("%s of %a at %lld: %a, not %a", kernels[k].name,
                                         (double)odd[v], (long long)place,
                                         (double)b.out[part][i], (double)want[part][i]);
                        }
                }
                b.in[0][place] = was;
            }
    bench_destroy(&b);
}

/* A product that underflows to -0 in every lane of a sum, then a tail: the lanes past the end
 * must not turn -0 into +0, or the sign of a zero would depend on the CPU. */
static void the_tail_keeps_the_sign_of_a_zero(void **state)
{
    enum { D = 17 };
    const struct execs *e = *state;
    float dy[D], x[D], w[D], dx[D], want[D];
    for (int i = 0; i < D; i++) {
        dy[i] = i == D - 1 ? -0.0F : 0x1p-149F;
        x[i] = i == D - 1 ? 1.0F : -0x1p-149F;
        w[i] = 1;
    }
    for (int row = 0; row < e->rows; row++) {
        float *out = row ? dx : want;
        tr_kernels_row(row)->vector->norm_dx(dy, x, w, 1, D, false, out);
        assert_memory_equal(out, want, sizeof want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_and_team_gives_the_reference_bits),
        cmocka_unit_test(a_row_is_the_same_alone_and_in_a_batch),
        cmocka_unit_test(dw_may_be_split_over_calls),
        cmocka_unit_test(outputs_may_be_inputs),
        cmocka_unit_test(lanes_take_exp_as_the_reference_does),
        cmocka_unit_test(odd_values_go_the_same_way),
        cmocka_unit_test(the_tail_keeps_the_sign_of_a_zero),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

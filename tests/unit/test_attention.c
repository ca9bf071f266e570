/* test_attention.c - attention: equal bits however it is cut and whoever computes it, and right.
 *
 * A company is some sequences that lie end to end, with all queries, keys and values of all
 * their tokens, and pages for two layers of which the second is used. Spans then say which
 * tokens are new. */
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

#include "kernels/attention.h"
#include "kernels/kernels.h"

enum { MAX_SPANS = 12, MAX_PAGES = 64 };

struct company {
    struct tr_attention a;
    int64_t S, T;
    int64_t length[MAX_SPANS], start[MAX_SPANS];
    float *q, *k, *v, *d_o;
    float *pool;            /* pages of two layers, end to end */
    float *page[MAX_PAGES]; /* of all sequences, one after the other */
    float **pages[MAX_SPANS];
    int64_t n_pages;
};

/* Uniform in [-1, 1); a small generator of our own, seeded by the test. */
static float draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (float)(int32_t)(*seed >> 32) / 2147483648.0F;
}

static float *floats(int64_t n)
{
    float *x = calloc((size_t)(n ? n : 1), sizeof *x);
    assert_non_null(x);
    return x;
}

static float *random_floats(int64_t n, float size, uint64_t *seed)
{
    float *x = floats(n);
    for (int64_t i = 0; i < n; i++) x[i] = size * draw(seed);
    return x;
}

/* Every place of every page holds `x` afterwards. */
static void fill_pages(struct company *c, float x)
{
    for (int64_t i = 0; i < c->n_pages * 2 * tr_page_floats(&c->a); i++) c->pool[i] = x;
}

/* Deals the pages out in order, or backwards. */
static void deal_pages(struct company *c, bool backwards)
{
    const int64_t size = 2 * tr_page_floats(&c->a);
    for (int64_t i = 0; i < c->n_pages; i++)
        c->page[i] = c->pool + (backwards ? c->n_pages - 1 - i : i) * size;
}

static struct company *company_create(int64_t H, int64_t Kv, int64_t D,
                                      const int64_t *length, int64_t S)
{
    struct company *c = calloc(1, sizeof *c);
    uint64_t seed = (uint64_t)(H * 1000003 + Kv * 1009 + D);
    assert_non_null(c);
    c->a = (struct tr_attention){H, Kv, D, (float)(1 / sqrt((double)D))};
    c->S = S;
    for (int64_t s = 0; s < S; s++) {
        c->length[s] = length[s];
        c->start[s] = c->T;
        c->T += length[s];
        c->pages[s] = c->page + c->n_pages;
        c->n_pages += (length[s] + TR_PAGE - 1) / TR_PAGE;
    }
    assert_true(S <= MAX_SPANS && c->n_pages <= MAX_PAGES);
    c->q = random_floats(c->T * H * D, 2, &seed);
    c->k = random_floats(c->T * Kv * D, 2, &seed);
    c->v = random_floats(c->T * Kv * D, 1, &seed);
    c->d_o = random_floats(c->T * H * D, 1, &seed);
    c->pool = floats(c->n_pages * 2 * tr_page_floats(&c->a));
    deal_pages(c, false);
    fill_pages(c, 0);
    return c;
}

static void company_destroy(struct company *c)
{
    free(c->q);
    free(c->k);
    free(c->v);
    free(c->d_o);
    free(c->pool);
    free(c);
}

/* All tokens of all sequences at once. */
static void whole_spans(const struct company *c, struct tr_span *span)
{
    for (int64_t s = 0; s < c->S; s++)
        span[s] = (struct tr_span){c->pages[s], c->start[s], 0, c->length[s]};
}

/* Everything attention gives for a company. */
struct outcome {
    float *o, *lse, *dq, *dk, *dv;
};

static struct outcome outcome_create(const struct company *c)
{
    const int64_t qd = c->a.H * c->a.D, kd = c->a.Kv * c->a.D;
    return (struct outcome){floats(c->T * qd), floats(c->T * c->a.H), floats(c->T * qd),
                            floats(c->T * kd), floats(c->T * kd)};
}

static void outcome_destroy(struct outcome *x)
{
    free(x->o);
    free(x->lse);
    free(x->dq);
    free(x->dk);
    free(x->dv);
}

static void run_whole(const struct tr_exec *ex, const struct company *c,
                      struct outcome *x)
{
    struct tr_span span[MAX_SPANS];
    const int64_t layer = tr_page_floats(&c->a);
    whole_spans(c, span);
    tr_kv_store(ex, &c->a, span, c->S, layer, c->k, c->v);
    tr_attention_forward(ex, &c->a, span, c->S, layer, c->q, x->o, x->lse);
    tr_attention_backward(ex, &c->a, span, c->S, layer, c->q, x->o, x->lse, c->d_o, x->dq,
                          x->dk, x->dv);
}

static bool is_same(float x, float y)
{
    uint32_t a, b;
    memcpy(&a, &x, sizeof a);
    memcpy(&b, &y, sizeof b);
    return a == b;
}

/* The first difference is said as %a, with its place. */
static void expect_equal(const char *what, const float *got, const float *want, int64_t n)
{
    if (memcmp(got, want, (size_t)n * sizeof *got) == 0) return;
    for (int64_t i = 0; i < n; i++)
        if (!is_same(got[i], want[i]))
            fail_msg("%s: element %lld of %lld is %a, not %a", what, (long long)i,
                     (long long)n, (double)got[i], (double)want[i]);
}

static void expect_same(const char *what, const struct company *c,
                        const struct outcome *got, const struct outcome *want)
{
    char text[128];
    const struct tr_attention *a = &c->a;
    const struct {
        const char *name;
        const float *got, *want;
        int64_t n;
    } part[] = {{"o", got->o, want->o, c->T * a->H * a->D},
                {"lse", got->lse, want->lse, c->T * a->H},
                {"dq", got->dq, want->dq, c->T * a->H * a->D},
                {"dk", got->dk, want->dk, c->T * a->Kv * a->D},
                {"dv", got->dv, want->dv, c->T * a->Kv * a->D}};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        snprintf(text, sizeof text, "%s, H %lld Kv %lld D %lld, %s", what,
                 (long long)a->H, (long long)a->Kv, (long long)a->D, part[i].name);
        expect_equal(text, part[i].got, part[i].want, part[i].n);
    }
}

static struct tr_exec exec_of(int row, int threads)
{
    struct tr_exec ex = {.k = tr_kernels_row(row), .team = tr_team_create(threads)};
    assert_non_null(ex.k);
    assert_non_null(ex.team);
    return ex;
}

/* ---- equal bits ------------------------------------------------------------------------- */

struct shape {
    int64_t H, Kv, D;
};

/* Widths 2, 16, 18, 64, 80, 128 and groups of 1/1, 4/2, 9/3, 6/1 pairwise; and a group that
 * is larger than a tile. */
static const struct shape shapes[] = {
    {1, 1, 2},  {9, 3, 2},  {4, 2, 16}, {6, 1, 18}, {9, 3, 18},  {1, 1, 64},
    {9, 3, 64}, {4, 2, 80}, {6, 1, 80}, {50, 1, 6}, {1, 1, 128}, {4, 2, 128},
};

enum { SHAPES = sizeof shapes / sizeof *shapes };

static const int64_t lengths[] = {1, 17, 65, 15, 16, 63, 64, 130, 300};

/* How many of the lengths above are used: all, or the first three on a slow CPU. */
static int64_t n_lengths(void **state)
{
    return *(const int64_t *)*state;
}

/* attention.h, invariant 2. */
static void test_rows_and_threads_give_equal_bits(void **state)
{
    for (size_t i = 0; i < SHAPES; i++) {
        const struct shape *s = &shapes[i];
        struct company *c = company_create(s->H, s->Kv, s->D, lengths, n_lengths(state));
        struct outcome want = outcome_create(c), got = outcome_create(c);
        struct tr_exec scalar = exec_of(0, 1);
        run_whole(&scalar, c, &want);
        tr_team_destroy(scalar.team);
        for (int row = 1; tr_kernels_row(row); row++)
            for (int threads = 1; threads <= 3; threads++) {
                char what[64];
                struct tr_exec ex = exec_of(row, threads);
                snprintf(what, sizeof what, "row %d (%s), %d threads", row, ex.k->name,
                         threads);
                fill_pages(c, 0);
                run_whole(&ex, c, &got);
                expect_same(what, c, &got, &want);
                tr_team_destroy(ex.team);
            }
        outcome_destroy(&want);
        outcome_destroy(&got);
        company_destroy(c);
    }
}

/* The widest head that is allowed, whose backward tile fills most of the scratch; and one
 * sequence alone, whose backward pass is whole on one thread and split on three. */
static void test_wide_heads_and_one_sequence(void **state)
{
    const struct shape alone[] = {{2, 1, 512}, {3, 1, 500}, {9, 3, 64}, {1, 1, 17}};
    const int64_t length[] = {n_lengths(state) > 3 ? 150 : 66};
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
        const struct shape *s = &alone[i];
        struct company *c = company_create(s->H, s->Kv, s->D, length, 1);
        struct outcome want = outcome_create(c), got = outcome_create(c);
        struct tr_exec scalar = exec_of(0, 1);
        run_whole(&scalar, c, &want);
        tr_team_destroy(scalar.team);
        for (int run = 2; tr_kernels_row(run / 2); run++) {
            struct tr_exec ex = exec_of(run / 2, run % 2 ? 3 : 1);
            run_whole(&ex, c, &got);
            expect_same(ex.k->name, c, &got, &want);
            tr_team_destroy(ex.team);
        }
        outcome_destroy(&want);
        outcome_destroy(&got);
        company_destroy(c);
    }
}

/* Runs the sequences in pieces of at most `piece` tokens, several sequences in a call, as a
 * decoder does: each call's queries, keys and outputs are packed for it alone. */
static void run_pieces(const struct tr_exec *ex, const struct company *c, int64_t piece,
                       float *o, float *lse)
{
    const int64_t qd = c->a.H * c->a.D, kd = c->a.Kv * c->a.D, H = c->a.H;
    const int64_t layer = tr_page_floats(&c->a), most = c->S * piece;
    float *q = floats(most * qd), *k = floats(most * kd), *v = floats(most * kd);
    float *out = floats(most * qd), *sum = floats(most * H);
    for (int64_t at = 0, n = 1; n > 0; at += piece) {
        struct tr_span span[MAX_SPANS];
        int64_t from[MAX_SPANS], rows = 0;
        n = 0;
        for (int64_t s = 0; s < c->S; s++) {
            const int64_t left = c->length[s] - at;
            if (left <= 0) continue;
            const int64_t count = left < piece ? left : piece;
            from[n] = c->start[s] + at;
            span[n] = (struct tr_span){c->pages[s], rows, at, count};
            memcpy(q + rows * qd, c->q + from[n] * qd, (size_t)(count * qd) * sizeof *q);
            memcpy(k + rows * kd, c->k + from[n] * kd, (size_t)(count * kd) * sizeof *k);
            memcpy(v + rows * kd, c->v + from[n] * kd, (size_t)(count * kd) * sizeof *v);
            rows += count;
            n++;
        }
        tr_kv_store(ex, &c->a, span, n, layer, k, v);
        tr_attention_forward(ex, &c->a, span, n, layer, q, out, sum);
        for (int64_t i = 0; i < n; i++) {
            const int64_t count = span[i].count, row = span[i].row;
            memcpy(o + from[i] * qd, out + row * qd, (size_t)(count * qd) * sizeof *o);
            memcpy(lse + from[i] * H, sum + row * H, (size_t)(count * H) * sizeof *lse);
        }
    }
    free(q);
    free(k);
    free(v);
    free(out);
    free(sum);
}

/* attention.h, invariant 3: prefill, chunks and token by token, in pages dealt backwards that
 * hold garbage wherever nothing was stored. */
static void test_pieces_give_the_bits_of_the_whole(void **state)
{
    const int64_t piece[] = {1, 7, 64, 100, 1000};
    const struct shape some[] = {{3, 1, 64}, {4, 2, 18}, {2, 1, 80}, {1, 1, 16}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        const struct shape *s = &some[i];
        struct company *c = company_create(s->H, s->Kv, s->D, lengths, n_lengths(state));
        struct outcome want = outcome_create(c), got = outcome_create(c);
        for (int row = 1; tr_kernels_row(row); row++) {
            struct tr_exec ex = exec_of(row, 1 + row % 3);
            deal_pages(c, false);
            fill_pages(c, 0);
            run_whole(&ex, c, &want);
            for (size_t j = 0; j < sizeof piece / sizeof *piece; j++) {
                char what[64];
                snprintf(what, sizeof what, "%s in pieces of %lld, D %lld", ex.k->name,
                         (long long)piece[j], (long long)s->D);
                deal_pages(c, true);
                fill_pages(c, j % 2 ? NAN : 1e30F);
                run_pieces(&ex, c, piece[j], got.o, got.lse);
                expect_equal(what, got.o, want.o, c->T * s->H * s->D);
                expect_equal(what, got.lse, want.lse, c->T * s->H);
            }
            tr_team_destroy(ex.team);
        }
        outcome_destroy(&want);
        outcome_destroy(&got);
        company_destroy(c);
    }
}

/* attention.h, invariant 1: what lies past a query is NaN, in leftovers and in later tokens. */
static void test_what_lies_past_a_query_is_nothing(void **state)
{
    const int64_t length[] = {150, 70}, cut = 77;
    (void)state;
    struct company *c = company_create(9, 3, 64, length, 2);
    const int64_t qd = c->a.H * c->a.D, kd = c->a.Kv * c->a.D;
    struct outcome want = outcome_create(c), got = outcome_create(c);
    for (int row = 0; tr_kernels_row(row); row++) {
        struct tr_exec ex = exec_of(row, 2);
        struct tr_span span[MAX_SPANS];
        fill_pages(c, 0);
        run_whole(&ex, c, &want);
        fill_pages(c, NAN);
        run_whole(&ex, c, &got);
        expect_same("NaN in unused places", c, &got, &want);

        whole_spans(c, span);
        float *k = floats(c->T * kd), *v = floats(c->T * kd);
        for (int64_t i = 0; i < c->T * kd; i++) {
            const bool late = i / kd >= cut && i / kd < length[0];
            k[i] = late ? NAN : c->k[i];
            v[i] = late ? INFINITY : c->v[i];
        }
        tr_kv_store(&ex, &c->a, span, 2, 0, k, v);
        tr_attention_forward(&ex, &c->a, span, 2, 0, c->q, got.o, got.lse);
        expect_equal("rows before a NaN", got.o, want.o, cut * qd);
        expect_equal("the other sequence", got.o + length[0] * qd,
                     want.o + length[0] * qd, length[1] * qd);
        assert_true(isnan(got.o[cut * qd])); /* and it is not hidden where it counts */
        free(k);
        free(v);
        tr_team_destroy(ex.team);
    }
    outcome_destroy(&want);
    outcome_destroy(&got);
    company_destroy(c);
}

/* No span, and spans without tokens among others. */
static void test_empty_spans(void **state)
{
    const int64_t length[] = {0, 20, 0, 5}, short_one[] = {20, 5};
    (void)state;
    struct company *c = company_create(4, 2, 16, length, 4);
    struct company *d = company_create(4, 2, 16, short_one, 2);
    struct outcome got = outcome_create(c), want = outcome_create(d);
    for (int row = 0; tr_kernels_row(row); row++) {
        struct tr_exec ex = exec_of(row, 2);
        run_whole(&ex, c, &got);
        run_whole(&ex, d, &want);
        expect_same("empty spans", c, &got, &want);
        tr_attention_forward(&ex, &c->a, NULL, 0, 0, NULL, NULL, NULL);
        tr_attention_backward(&ex, &c->a, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL,
                              NULL);
        tr_team_destroy(ex.team);
    }
    outcome_destroy(&want);
    outcome_destroy(&got);
    company_destroy(c);
    company_destroy(d);
}

/* ---- right answers ---------------------------------------------------------------------- */

/* Plain soft-max attention of one query in f64: o [D] and the log-sum-exp. */
static double naive_row(const struct company *c, const double *q, const double *k,
                        const double *v, int64_t row, int64_t head, int64_t start,
                        double *o)
{
    const int64_t D = c->a.D, kv = head / (c->a.H / c->a.Kv);
    double sum = 0, weight[512];
    for (int64_t d = 0; d < D; d++) o[d] = 0;
    for (int64_t t = start; t <= row; t++) {
        double s = 0;
        for (int64_t d = 0; d < D; d++)
            s += q[(row * c->a.H + head) * D + d] * k[(t * c->a.Kv + kv) * D + d];
        weight[t - start] = exp(s / sqrt((double)D));
        sum += weight[t - start];
    }
    for (int64_t t = start; t <= row; t++)
        for (int64_t d = 0; d < D; d++)
            o[d] += weight[t - start] / sum * v[(t * c->a.Kv + kv) * D + d];
    return log(sum);
}

static double *doubles(const float *x, int64_t n)
{
    double *y = malloc((size_t)n * sizeof *y);
    assert_non_null(y);
    for (int64_t i = 0; i < n; i++) y[i] = (double)x[i];
    return y;
}

/* Scores of up to 64 terms of size 1 and outputs of up to 300 terms, in f32 chains: errors of
 * some 20 roundings of 2^-24 each on values of size 1. */
static void test_forward_is_softmax_attention(void **state)
{
    const double tolerance = 2e-6;
    double worst = 0, o[128];
    struct company *c = company_create(9, 3, 64, lengths, n_lengths(state));
    const int64_t H = c->a.H, D = c->a.D, kd = c->a.Kv * D;
    double *q = doubles(c->q, c->T * H * D), *k = doubles(c->k, c->T * kd),
           *v = doubles(c->v, c->T * kd);
    struct outcome got = outcome_create(c);
    struct tr_exec ex = exec_of(0, 2);
    run_whole(&ex, c, &got);
    for (int64_t s = 0; s < c->S; s++)
        for (int64_t t = c->start[s]; t < c->start[s] + c->length[s]; t++)
            for (int64_t h = 0; h < H; h++) {
                const double lse = naive_row(c, q, k, v, t, h, c->start[s], o);
                worst = fmax(worst, fabs(lse - (double)got.lse[t * H + h]));
                for (int64_t d = 0; d < D; d++)
                    worst = fmax(worst, fabs(o[d] - (double)got.o[(t * H + h) * D + d]));
            }
    print_message("forward: largest error %.2e, tolerance %.0e\n", worst, tolerance);
    assert_true(worst < tolerance);
    tr_team_destroy(ex.team);
    outcome_destroy(&got);
    free(q);
    free(k);
    free(v);
    company_destroy(c);
}

/* The loss sum(d_o * o) of the sequence that starts at `start`, in f64. */
static double naive_loss(const struct company *c, const double *q, const double *k,
                         const double *v, int64_t start, int64_t length)
{
    double loss = 0, o[128];
    for (int64_t t = start; t < start + length; t++)
        for (int64_t h = 0; h < c->a.H; h++) {
            naive_row(c, q, k, v, t, h, start, o);
            for (int64_t d = 0; d < c->a.D; d++)
                loss += o[d] * (double)c->d_o[(t * c->a.H + h) * c->a.D + d];
        }
    return loss;
}

/* Central differences with step 1e-4 in f64: truncation of some 1e-8, rounding of some 1e-10;
 * the f32 chains err by some 1e-6. */
static void test_backward_is_the_slope(void **state)
{
    const double tolerance = 2e-5, step = 1e-4;
    const int64_t length[] = {5, 70};
    double worst = 0;
    uint64_t seed = 7;
    (void)state;
    struct company *c = company_create(4, 2, 6, length, 2);
    const int64_t qd = c->a.H * c->a.D, kd = c->a.Kv * c->a.D;
    double *q = doubles(c->q, c->T * qd), *k = doubles(c->k, c->T * kd),
           *v = doubles(c->v, c->T * kd);
    struct outcome got = outcome_create(c);
    struct tr_exec ex = exec_of(0, 2);
    run_whole(&ex, c, &got);
    const struct {
        double *x;
        const float *slope;
        int64_t row;
    } part[] = {{q, got.dq, qd}, {k, got.dk, kd}, {v, got.dv, kd}};
    for (int i = 0; i < 120; i++) {
        const int64_t t = (int64_t)((double)(draw(&seed) + 1) / 2 * (double)c->T);
        const int64_t j = t * part[i % 3].row + i / 3 % part[i % 3].row;
        const int s = t >= c->start[1];
        double *x = part[i % 3].x, loss[2];
        for (int side = 0; side < 2; side++) {
            x[j] += side ? -2 * step : step;
            loss[side] = naive_loss(c, q, k, v, c->start[s], c->length[s]);
        }
        x[j] += step;
        worst = fmax(
            worst, fabs((loss[0] - loss[1]) / (2 * step) - (double)part[i % 3].slope[j]));
    }
    print_message("backward: largest error %.2e, tolerance %.0e\n", worst, tolerance);
    assert_true(worst < tolerance);
    tr_team_destroy(ex.team);
    outcome_destroy(&got);
    free(q);
    free(k);
    free(v);
    company_destroy(c);
}

/* With the argument `small`, a few short sequences: for an emulated CPU with AVX-512, as
 * tests/emulate/run has it. */
int main(int argc, char **argv)
{
    int64_t n = argc > 1 && strcmp(argv[1], "small") == 0 ? 3 : 9;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_rows_and_threads_give_equal_bits, &n),
        cmocka_unit_test_prestate(test_wide_heads_and_one_sequence, &n),
        cmocka_unit_test_prestate(test_pieces_give_the_bits_of_the_whole, &n),
        cmocka_unit_test_prestate(test_what_lies_past_a_query_is_nothing, &n),
        cmocka_unit_test_prestate(test_empty_spans, &n),
        cmocka_unit_test_prestate(test_forward_is_softmax_attention, &n),
        cmocka_unit_test_prestate(test_backward_is_the_slope, &n),
    };
    for (int i = 0; tr_kernels_row(i); i++)
        if (!tr_kernels_row(i + 1) && strcmp(tr_kernels_row(i)->name, "avx512") != 0)
            print_message("no AVX-512 here: the last row compared is %s\n",
                          tr_kernels_row(i)->name);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* KTO's loss as a formula: the numbers of ALGORITHMS.md 18, slopes against differences, and what
 * happens at the edges. Its numbers in a model are held against the peer's in F4, F9 and F10. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/learn/kto.h"

static const struct tr_kto plain = {
    .beta = 0.1, .desirable_weight = 1, .undesirable_weight = 1};

static void near(const char *what, double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s: %.17g, want %.17g", what, got, want);
}

static void the_baseline_is_a_mean_and_never_negative(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t n;
        double policy[3], reference[3], want;
    } rows[] = {
        {"nothing", 0, {0}, {0}, 0},
        {"mean", 3, {0.4, -0.1, 0.3}, {0}, 0.2},
        {"differences", 2, {-10, -20}, {-11, -21.5}, 1.25},
        {"clamped", 3, {-0.4, 0.1, -0.3}, {0}, 0},
        {"equal models", 2, {-70.25, -3}, {-70.25, -3}, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        near(rows[i].name, tr_kto_z0(rows[i].policy, rows[i].reference, rows[i].n),
             rows[i].want, 1e-15);
    assert_true(isnan(tr_kto_z0((double[]){(double)NAN, -9}, (double[]){0, 0}, 2)));
}

static void losses_are_those_of_the_formula(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct tr_kto k;
        double z0;
        bool desirable;
        double u, want;
    } rows[] = {
        {"ALGORITHMS 18, first", {0.1, 1, 1, 0}, 0.2, true, 1.5, 0.4675456936126813},
        {"ALGORITHMS 18, second", {0.1, 1, 1, 0}, 0.2, true, -0.5, 0.5174928576663897},
        {"ALGORITHMS 18, third", {0.1, 1, 1, 0}, 0.2, false, 0.8, 0.5149955016194101},
        {"weight of the desirable", {0.1, 1.5, 7, 0}, 0, true, 0, 0.75},
        {"weight of the undesirable", {0.1, 7, 0.7, 0}, 0, false, 0, 0.35},
        {"far and good", {1, 1, 1, 0}, 0, true, 800, 0},
        {"far and bad", {1, 1, 1, 0}, 0, false, 800, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double slope;
        double got =
            tr_kto_loss(&rows[i].k, rows[i].z0, rows[i].desirable, rows[i].u, &slope);
        near(rows[i].name, got, rows[i].want, 1e-15);
        assert_true(isfinite(slope));
    }
}

/* Invariant 3, central differences in f64. */
static void slopes_are_those_of_the_losses(void **state)
{
    (void)state;
    static const struct tr_kto k = {0.3, 1.5, 0.7, 0.4};
    static const struct tr_kto_group group = {
        .z0 = 0.6, .divisor = 5, .n = 5, .desirable = 3, .answered = 2};
    for (int desirable = 0; desirable < 2; desirable++)
        for (int at = 0; at < 8; at++) {
            double loss[2], h = 1e-4, logp = -60 + 2.5 * at;
            for (int i = 0; i < 2; i++) {
                struct tr_kto_sums s = {0};
                tr_kto_add(&s, &k, &group, desirable, logp + (i ? h : -h), -50, 7);
                loss[i] = s.loss / group.divisor;
            }
            struct tr_kto_sums s = {0};
            double slope = (double)tr_kto_add(&s, &k, &group, desirable, logp, -50, 7);
            near("slope", slope, (loss[1] - loss[0]) / (2 * h), 1e-7);
        }
}

/* The peer adds ftx * mean(-logp / tokens) / n_D * n to the mean loss. */
static void ftx_is_the_peer_s(void **state)
{
    (void)state;
    struct tr_kto k = plain;
    struct tr_kto_group group = {.divisor = 4, .n = 4, .desirable = 2, .answered = 2};
    struct tr_kto_sums without = {0}, with = {0};
    for (int i = 0; i < 2; i++) {
        struct tr_kto_sums *s = i ? &with : &without;
        k.ftx = i ? 0.3 : 1e-6;
        tr_kto_add(s, &k, &group, true, -12, -12, 6);
        tr_kto_add(s, &k, &group, false, -9, -9, 3);
        tr_kto_add(s, &k, &group, true, -20, -21, 5);
        tr_kto_add(s, &k, &group, false, -9, -8, 3);
    }
    near("ftx", (with.loss - without.loss) / 4, 0.3 * ((2.0 + 4.0) / 2) / 2 * 4, 1e-12);
    /* an answer that was cut off altogether has no mean, but is still one of n_D */
    struct tr_kto_sums cut = {0};
    group.answered = 1;
    tr_kto_add(&cut, &k, &group, true, -12, -12, 6);
    tr_kto_add(&cut, &k, &group, false, -9, -9, 3);
    tr_kto_add(&cut, &k, &group, true, 0, 0, 0);
    tr_kto_add(&cut, &k, &group, false, -9, -9, 3);
    near("ftx, one cut off", cut.loss / 4, 0.5 + 0.3 * 2 / 2 * 4, 1e-12);
    /* no desirable answer, no term */
    struct tr_kto_sums none = {0};
    group.desirable = group.answered = 0;
    tr_kto_add(&none, &k, &group, false, -9, -9, 3);
    near("no desirable one", none.loss, 0.5, 1e-15);
}

static void sums_tell_marks_apart(void **state)
{
    (void)state;
    struct tr_kto_sums s = {0};
    struct tr_kto_group group = {.divisor = 1, .n = 3, .desirable = 1, .answered = 1};
    tr_kto_add(&s, &plain, &group, true, -10, -12, 4);
    tr_kto_add(&s, &plain, &group, false, -7, -4, 4);
    tr_kto_add(&s, &plain, &group, false, -5, -5, 4);
    assert_int_equal(s.examples[1], 1);
    assert_int_equal(s.examples[0], 2);
    near("reward of the desirable", s.reward[1], 0.2, 1e-15);
    near("rewards of the undesirable", s.reward[0], -0.3, 1e-15);
    near("log-probs", s.logp[0], -12, 1e-15);
}

/* A NaN is not lost on the way: the learner skips such a step. */
static void what_is_not_finite_stays_so(void **state)
{
    (void)state;
    struct tr_kto_sums s = {0};
    struct tr_kto_group group = {.divisor = 1, .n = 1};
    tr_kto_add(&s, &plain, &group, false, (double)NAN, -4, 4);
    assert_true(isnan(s.loss));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_baseline_is_a_mean_and_never_negative),
        cmocka_unit_test(losses_are_those_of_the_formula),
        cmocka_unit_test(slopes_are_those_of_the_losses),
        cmocka_unit_test(ftx_is_the_peer_s),
        cmocka_unit_test(sums_tell_marks_apart),
        cmocka_unit_test(what_is_not_finite_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

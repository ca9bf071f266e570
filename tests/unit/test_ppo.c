/* Rewards, advantages and losses of PPO, and the pairwise loss, with the numbers of
 * ALGORITHMS.md 18. Tolerances: the arrays are f32 and the wanted values have 6 decimals or more,
 * so 1e-6; sums are f64, so 1e-9 where the wanted value has all its digits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/learn/gae.h"
#include "core/learn/kl.h"
#include "core/learn/pairs.h"
#include "core/learn/ppo.h"

#define ASSERT_NEAR(got, want, within)                                                   \
    do {                                                                                 \
        double got_ = (got);                                                             \
        if (!(fabs(got_ - (want)) <= (within)))                                          \
            fail_msg("%s: %.12g, want %.12g", #got, got_, (double)(want));               \
    } while (0)

/* The acting tokens of the two samples of ALGORITHMS.md 18, end to end. */
enum { FIRST = 3, ALL = 5 };
static const float logp_old[ALL] = {-0.7F, -1.2F, -0.3F, -1.1F, -0.4F};
static const float logp_ref[ALL] = {-0.9F, -1.0F, -0.5F, -1.4F, -0.6F};
static const float value_old[ALL] = {0.1F, -0.2F, 0.4F, 0, 0.25F};
static const float logp_new[ALL] = {-0.6F, -1.5F, -0.2F, -0.8F, -0.5F};
static const float value_new[ALL] = {0.4F, -0.1F, 0.35F, 0.3F, 0.2F};

struct rollout {
    float reward[ALL], advantage[ALL], returns[ALL];
    double kl; /* mean over the samples */
};

static struct rollout roll_out(void)
{
    static const int64_t start[3] = {0, FIRST, ALL};
    static const double score[2] = {1, -0.5};
    const struct tr_gae cfg = {.gamma = 1, .lambda = 0.95};
    struct rollout r = {.kl = 0};
    float kl[ALL];
    for (int i = 0; i < ALL; i++) {
        kl[i] = (float)tr_kl_token(TR_KL_PLAIN, logp_old[i], logp_ref[i]);
        r.kl += (double)kl[i] / 2;
    }
    for (int s = 0; s < 2; s++) {
        int64_t at = start[s];
        int64_t T = start[s + 1] - at;
        tr_kl_rewards(0.2, kl + at, T, score[s], r.reward + at);
        tr_gae_run(cfg, T, r.reward + at, value_old + at, 0, r.advantage + at,
                   r.returns + at);
    }
    return r;
}

static void rewards_and_advantages_are_the_golden_ones(void **state)
{
    (void)state;
    static const double reward[ALL] = {-0.04, 0.04, 0.96, -0.06, -0.54};
    static const double raw[ALL] = {0.7734, 1.172, 0.56, -0.5605, -0.79};
    static const double returns[ALL] = {0.8734, 0.972, 0.96, -0.5605, -0.54};
    static const double white[ALL] = {0.630888, 1.094499, 0.382683, -0.920569, -1.187501};
    struct rollout r = roll_out();
    ASSERT_NEAR(r.kl, 0.35, 1e-6);
    for (int i = 0; i < ALL; i++) {
        ASSERT_NEAR((double)r.reward[i], reward[i], 1e-6);
        ASSERT_NEAR((double)r.advantage[i], raw[i], 1e-6);
        ASSERT_NEAR((double)r.returns[i], returns[i], 1e-6);
    }
    tr_whiten(r.advantage, ALL, false);
    for (int i = 0; i < ALL; i++) ASSERT_NEAR((double)r.advantage[i], white[i], 1e-6);
}

static void losses_are_the_golden_ones(void **state)
{
    (void)state;
    struct rollout r = roll_out();
    struct tr_ppo_sums policy = {0};
    struct tr_ppo_sums value = {0};
    tr_whiten(r.advantage, ALL, false);
    for (int i = 0; i < ALL; i++) {
        tr_ppo_policy(&policy, 0.2, ALL, logp_new[i], logp_old[i], r.advantage[i]);
        tr_ppo_value(&value, 0.2, ALL, value_new[i], value_old[i], r.returns[i]);
    }
    ASSERT_NEAR(policy.ratio / ALL, 1.0411712564889952, 1e-6);
    ASSERT_NEAR(policy.loss / ALL, 0.07722795488159537, 1e-6);
    ASSERT_NEAR(value.loss / ALL, 0.313813181, 1e-6);
    ASSERT_NEAR(policy.loss / ALL + 0.1 * value.loss / ALL, 0.10860927298159537, 1e-6);
}

/* Invariant 1 of ppo.h: each gradient is the difference quotient of its loss. */
static void gradients_are_the_slopes_of_the_losses(void **state)
{
    (void)state;
    static const float moved[] = {-0.5F, -0.1F, 0, 0.1F, 0.5F};
    static const float advantage[] = {-1.5F, 0.7F};
    const double h = 1e-3;
    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < 2; k++) {
            struct tr_ppo_sums up = {0}, down = {0}, at = {0};
            float x = -1.25F + moved[i];
            float g = tr_ppo_policy(&at, 0.2, 1, x, -1.25F, advantage[k]);
            tr_ppo_policy(&up, 0.2, 1, x + (float)h, -1.25F, advantage[k]);
            tr_ppo_policy(&down, 0.2, 1, x - (float)h, -1.25F, advantage[k]);
            ASSERT_NEAR((double)g, (up.loss - down.loss) / (2 * h), 2e-3);

            struct tr_ppo_sums vu = {0}, vd = {0}, va = {0};
            float dv = tr_ppo_value(&va, 0.2, 2, x, -1.25F, advantage[k]);
            tr_ppo_value(&vu, 0.2, 2, x + (float)h, -1.25F, advantage[k]);
            tr_ppo_value(&vd, 0.2, 2, x - (float)h, -1.25F, advantage[k]);
            ASSERT_NEAR((double)dv, (vu.loss - vd.loss) / (4 * h), 2e-3);
        }
}

static void clipped_tokens_are_counted(void **state)
{
    (void)state;
    struct tr_ppo_sums s = {0};
    assert_true(tr_ppo_policy(&s, 0.2, 1, 0, -1, 1) == 0); /* ratio e, pushed up: held */
    assert_true(tr_ppo_policy(&s, 0.2, 1, 0, -1, -1) > 0); /* pushed down: not held */
    assert_true(tr_ppo_policy(&s, 0, 1, 0, -1, 1) < 0);    /* no clipping */
    ASSERT_NEAR(s.clipped, 1, 0);
    assert_int_equal(s.tokens, 3);
    ASSERT_NEAR(s.policy_kl, -3, 1e-12);
    ASSERT_NEAR(s.approx_kl, 1.5, 1e-12);
}

/* gae.h: its invariant 3, the tail of invariant 1, and the rows of its essay. */
static void advantages_of_small_rollouts(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct tr_gae cfg;
        int64_t T;
        float reward[3], value[3], tail;
        double advantage[3];
    } rows[] = {
        {"empty", {1, 1}, 0, {0}, {0}, 0, {0}},
        {"one token", {1, 0.95}, 1, {2}, {0.5F}, 0, {1.5}},
        {"cut short", {1, 0}, 2, {0, 0}, {1, 2}, 4, {1, 2}},
        {"plain sum", {1, 1}, 3, {1, 2, 4}, {0, 0, 0}, 0, {7, 6, 4}},
        {"discounted", {0.5, 1}, 3, {0, 0, 4}, {0, 0, 0}, 0, {1, 2, 4}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float a[3], r[3];
        tr_gae_run(rows[i].cfg, rows[i].T, rows[i].reward, rows[i].value, rows[i].tail, a,
                   r);
        for (int64_t t = 0; t < rows[i].T; t++) {
            if (fabs((double)a[t] - rows[i].advantage[t]) > 1e-6)
                fail_msg("%s: advantage[%lld] is %g", rows[i].name, (long long)t,
                         (double)a[t]);
            ASSERT_NEAR((double)r[t], (double)a[t] + (double)rows[i].value[t], 1e-6);
        }
    }
}

static void whitening_small_batches(void **state)
{
    (void)state;
    float one[1] = {3};
    float pair[2] = {1, 3};
    float same[3] = {2, 2, 2};
    tr_whiten(one, 0, false);
    ASSERT_NEAR((double)one[0], 3, 0);
    tr_whiten(one, 1, true);
    ASSERT_NEAR((double)one[0], 3, 1e-6);
    tr_whiten(one, 1, false);
    ASSERT_NEAR((double)one[0], 0, 0);
    tr_whiten(pair, 2, true);
    ASSERT_NEAR((double)pair[0], 2 - sqrt(0.5), 1e-6);
    tr_whiten(same, 3, false);
    ASSERT_NEAR((double)same[1], 0, 0);
}

static void kl_controller_and_kinds(void **state)
{
    (void)state;
    static const double kl[3] = {10, -3, 6.3};
    static const double want[3] = {0.201024, 0.19999475712, 0.20025075040911358};
    struct tr_kl_control c = {0.2, true, 6, 10000};
    for (int i = 0; i < 3; i++) {
        tr_kl_control_update(&c, kl[i], 256);
        ASSERT_NEAR(c.coef, want[i], 1e-12);
    }
    c.adaptive = false;
    double coef = c.coef;
    tr_kl_control_update(&c, 100, 256);
    ASSERT_NEAR(c.coef, coef, 0);
    ASSERT_NEAR(tr_kl_token(TR_KL_PLAIN, -1, -0.5F), -0.5, 0);
    ASSERT_NEAR(tr_kl_token(TR_KL_ABS, -1, -0.5F), 0.5, 0);
    ASSERT_NEAR(tr_kl_token(TR_KL_MSE, -1, -0.5F), 0.125, 0);
    const float p[3] = {logf(0.5F), logf(0.5F), -INFINITY};
    const float q[3] = {logf(0.25F), logf(0.5F), logf(0.25F)};
    ASSERT_NEAR(tr_kl_full(p, q, 3), 0.5 * log(2), 1e-7);
}

static void running_moments_are_the_golden_ones(void **state)
{
    (void)state;
    const double first[4] = {1, 2, 3, 4};
    const double second[2] = {0, 10};
    struct tr_moments m = tr_moments_start();
    tr_moments_update(&m, first, 4);
    ASSERT_NEAR(m.mean, 2.5, 1e-12);
    ASSERT_NEAR(m.std, 1.2909944487358056, 1e-12);
    ASSERT_NEAR(tr_moments_scale(&m, 1), -1.1618948965738745, 1e-9);
    tr_moments_update(&m, second, 2);
    ASSERT_NEAR(m.mean, 3.3333333333333335, 1e-12);
    ASSERT_NEAR(m.std, 3.559026084010437, 1e-12);
    ASSERT_NEAR(tr_moments_scale(&m, 0), -0.9365857802108294, 1e-9);
}

static void pairs_are_the_golden_ones(void **state)
{
    (void)state;
    struct tr_pair_sums s = {0};
    float dc = 0, dr = 0;
    tr_pair_add(&s, 1.2F, 0.2F, 2, &dc, &dr);
    ASSERT_NEAR((double)dc, -0.5 / (1 + exp(1)), 1e-6);
    assert_true(dr == -dc);
    tr_pair_add(&s, 0, 0.5F, 2, &dc, &dr);
    ASSERT_NEAR(s.loss / 2, 0.6436693358491647, 1e-7);
    assert_int_equal(s.pairs, 2);
    assert_int_equal(s.right, 1);
    tr_pair_add(&s, 1, 1, 1, &dc, &dr); /* a tie is not right */
    assert_int_equal(s.right, 1);
    ASSERT_NEAR((double)dc, -0.5, 0);
}

static void pairs_far_apart_stay_finite(void **state)
{
    (void)state;
    struct tr_pair_sums s = {0};
    float dc = 0, dr = 0;
    tr_pair_add(&s, -1000, 1000, 1, &dc, &dr);
    ASSERT_NEAR(s.loss, 2000, 1e-9);
    ASSERT_NEAR((double)dc, -1, 0);
    tr_pair_add(&s, 1000, -1000, 1, &dc, &dr);
    ASSERT_NEAR(s.loss, 2000, 1e-9);
    ASSERT_NEAR((double)dc, 0, 0);
    tr_pair_add(&s, NAN, 0, 1, &dc, &dr);
    assert_true(isnan(s.loss));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewards_and_advantages_are_the_golden_ones),
        cmocka_unit_test(losses_are_the_golden_ones),
        cmocka_unit_test(gradients_are_the_slopes_of_the_losses),
        cmocka_unit_test(clipped_tokens_are_counted),
        cmocka_unit_test(advantages_of_small_rollouts),
        cmocka_unit_test(whitening_small_batches),
        cmocka_unit_test(kl_controller_and_kinds),
        cmocka_unit_test(running_moments_are_the_golden_ones),
        cmocka_unit_test(pairs_are_the_golden_ones),
        cmocka_unit_test(pairs_far_apart_stay_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

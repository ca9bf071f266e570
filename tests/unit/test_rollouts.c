/* From judged samples to tasks: the two samples of ALGORITHMS.md 18 through tr_ppo_prepare, each
 * rule against the numbers that it must give, and the state's way through text. Tolerances: arrays
 * are f32 and the wanted numbers have 6 decimals, so 1e-6. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/learn/rollouts.h"
#include "proto/step1_generate.h"
#include "tests/unit/scarce.h"

#define ASSERT_NEAR(got, want, within)                                                   \
    do {                                                                                 \
        double got_ = (got);                                                             \
        if (!(fabs(got_ - (want)) <= (within)))                                          \
            fail_msg("%s: %.12g, want %.12g", #got, got_, (double)(want));               \
    } while (0)

enum { FIRST = 3, SECOND = 2, ALL = 5 };
static const float logp[ALL] = {-0.7F, -1.2F, -0.3F, -1.1F, -0.4F};
static const float ref[ALL] = {-0.9F, -1.0F, -0.5F, -1.4F, -0.6F};
static const float value[ALL] = {0.1F, -0.2F, 0.4F, 0, 0.25F};
static const int32_t token[6] = {5, 6, 7, 8, 9, 10};

struct scene {
    struct tr_ppo_rules rules;
    struct tr_ppo_state state;
    struct tr_ppo_metrics m;
    struct tr_ppo_sample s[2];
};

/* Sample 0 has 1 prompt token and 3 of an answer, sample 1 has 2 and 2. */
static void set_up(struct scene *c)
{
    memset(c, 0, sizeof *c);
    c->rules = tr_ppo_defaults;
    for (int i = 0; i < 2; i++) {
        int at = i ? FIRST : 0, n = i ? SECOND : FIRST;
        assert_int_equal(
            tr_ppo_sample_fill(&c->s[i], token, i + 1, token + i + 1, logp + at, n, NULL),
            TR_OK);
        memcpy(c->s[i].ref, ref + at, (size_t)n * sizeof *ref);
        memcpy(c->s[i].value, value + at, (size_t)n * sizeof *value);
        c->s[i].score = i ? -0.5 : 1;
        c->s[i].stopped = i == 0;
    }
}

static void prepare(struct scene *c)
{
    struct tr_err err = {0};
    c->state = tr_ppo_state_start(&c->rules);
    if (tr_ppo_prepare(&c->rules, &c->state, c->s, 2, &c->m, &err) != TR_OK)
        fail_msg("%s", err.text);
}

static void tear_down(struct scene *c)
{
    for (int i = 0; i < 2; i++) tr_ppo_sample_fini(&c->s[i]);
}

static void near_all(const char *what, const float *a, const float *b, const double *want)
{
    for (int t = 0; t < ALL; t++) {
        double got = (double)(t < FIRST ? a[t] : b[t - FIRST]);
        if (!(fabs(got - want[t]) <= 1e-6))
            fail_msg("%s[%d]: %.9g, want %.9g", what, t, got, want[t]);
    }
}

static void the_golden_samples(void **state)
{
    (void)state;
    static const double reward[ALL] = {-0.04, 0.04, 0.96, -0.06, -0.54};
    static const double returns[ALL] = {0.8734, 0.972, 0.96, -0.5605, -0.54};
    static const double white[ALL] = {0.630888, 1.094499, 0.382683, -0.920569, -1.187501};
    struct scene c;
    set_up(&c);
    prepare(&c);
    near_all("reward", c.s[0].reward, c.s[1].reward, reward);
    near_all("returns", c.s[0].returns, c.s[1].returns, returns);
    near_all("advantage", c.s[0].advantage, c.s[1].advantage, white);
    ASSERT_NEAR(c.m.kl, 0.35, 1e-6);
    ASSERT_NEAR(c.m.kl_coef, 0.2, 0);
    ASSERT_NEAR(c.m.reward, 0.25, 0);
    ASSERT_NEAR(c.m.reward_std, sqrt(1.125), 1e-12);
    ASSERT_NEAR(c.m.score, 0.25, 0);
    ASSERT_NEAR(c.m.entropy, (2.2 + 1.5) / 2, 1e-6);
    ASSERT_NEAR(c.m.non_score_reward, -0.2 * 0.7 / 5, 1e-6);
    ASSERT_NEAR(c.m.length, 2.5, 0);
    ASSERT_NEAR(c.m.query_length, 1.5, 0);
    ASSERT_NEAR(c.m.stopped, 0.5, 0);
    ASSERT_NEAR(c.m.returns_mean, 1.7049 / 5, 1e-6);
    ASSERT_NEAR(c.m.value_mean, 0.11, 1e-6);
    /* the controller: |0.35 / 6 - 1| is held to 0.2, two samples of 10000 */
    ASSERT_NEAR(c.state.kl_coef, 0.2 * (1 - 0.2 * 2 / 10000), 1e-12);
    tear_down(&c);
}

/* explained variance = 1 - mean (returns - value)^2 / unbiased variance of returns. */
static void explained_variance(void **state)
{
    (void)state;
    struct scene c;
    set_up(&c);
    prepare(&c);
    static const double raw[ALL] = {0.7734, 1.172, 0.56, -0.5605, -0.79};
    double error = 0;
    for (int t = 0; t < ALL; t++) error += raw[t] * raw[t] / ALL;
    ASSERT_NEAR(c.m.explained_variance, 1 - error / c.m.returns_var, 1e-5);
    tear_down(&c);
}

static void what_a_rollout_is_paid(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool scale, whiten;
        double clip, penalty, want[2];
    } rows[] = {
        {"as given", false, false, 0, 0, {1, -0.5}},
        {"clipped", false, false, 0.25, 0, {0.25, -0.25}},
        {"no stop id", false, false, 0, 2, {1, -2.5}},
        {"clipped, then the penalty", false, false, 0.25, 2, {0.25, -2.25}},
        {"scaled", true, false, 0, 0, {0.7071066, -0.7071066}},
        {"scaled, then clipped", true, false, 0.5, 0, {0.5, -0.5}},
        {"whitened", false, true, 0, 0, {0.7071067, -0.7071067}},
        {"clipped, then whitened", false, true, 0.9, 1, {0.7071067, -1.7071067}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scene c;
        set_up(&c);
        c.rules.scale_scores = rows[i].scale;
        c.rules.whiten_scores = rows[i].whiten;
        c.rules.score_clip = rows[i].clip;
        c.rules.stop_penalty = rows[i].penalty;
        prepare(&c);
        for (int k = 0; k < 2; k++)
            if (!(fabs(c.s[k].paid - rows[i].want[k]) <= 1e-6))
                fail_msg("%s: sample %d earns %.9g, want %.9g", rows[i].name, k,
                         c.s[k].paid, rows[i].want[k]);
        ASSERT_NEAR(c.m.reward, 0.25, 0);
        ASSERT_NEAR((double)c.s[1].reward[1], c.s[1].paid - 0.04, 1e-6);
        assert_true(rows[i].scale == (c.state.scores.n > 1));
        tear_down(&c);
    }
}

static void kinds_of_kl(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double kl[ALL];
    } rows[] = {
        {"kl", {0.2, -0.2, 0.2, 0.3, 0.2}},     {"k1", {0.2, -0.2, 0.2, 0.3, 0.2}},
        {"abs", {0.2, 0.2, 0.2, 0.3, 0.2}},     {"mse", {.02, .02, .02, .045, .02}},
        {"k2", {0.02, 0.02, 0.02, 0.045, .02}}, {"full", {9, 9, 9, 9, 9}},
    };
    struct tr_err err = {0};
    enum tr_kl_kind kind;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scene c;
        set_up(&c);
        for (int t = 0; t < FIRST; t++)
            c.s[0].kl[t] = 9; /* what a divergence unit said */
        for (int t = 0; t < SECOND; t++) c.s[1].kl[t] = 9;
        assert_int_equal(tr_kl_named(rows[i].name, &c.rules.kl, &err), TR_OK);
        prepare(&c);
        near_all(rows[i].name, c.s[0].kl, c.s[1].kl, rows[i].kl);
        tear_down(&c);
    }
    assert_int_equal(tr_kl_named("k3", &kind, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "k3"));
    assert_string_equal(tr_kl_name(TR_KL_MSE), "mse");
}

/* Whitened rewards, alone and with the place behind the shorter answer. Sample 1 is as long as
 * sample 0 (4 tokens), so one more prompt token of sample 0 makes one place behind sample 1. */
static void whitened_rewards(void **state)
{
    (void)state;
    for (int padded = 0; padded < 2; padded++) {
        struct scene c;
        float reward[ALL] = {-0.04F, 0.04F, 0.96F, -0.06F, -0.54F};
        struct tr_spread spread = tr_spread_of(reward, ALL);
        float shift = tr_whiten_one(spread, 0, true);
        float row[3] = {tr_whiten_one(spread, reward[3], true),
                        tr_whiten_one(spread, reward[4], true), shift};
        float v[3] = {value[3], value[4], 0}, advantage[3], returns[3];
        set_up(&c);
        c.s[0].T++; /* only its length counts here: the answer is token 2 to 4 */
        c.s[0].from++;
        c.rules.whiten_rewards = true;
        c.rules.whiten_padding = padded;
        c.rules.whiten_advantages = false;
        prepare(&c);
        tr_gae_run(c.rules.gae, padded ? 3 : 2, row, v, 0, advantage, returns);
        for (int t = 0; t < SECOND; t++) {
            ASSERT_NEAR((double)c.s[1].reward[t], (double)row[t], 1e-6);
            ASSERT_NEAR((double)c.s[1].advantage[t], (double)advantage[t], 1e-6);
            ASSERT_NEAR((double)c.s[1].returns[t], (double)returns[t], 1e-6);
        }
        assert_true(fabs((double)shift) > 0.01);
        tear_down(&c);
    }
}

/* Whatever allocation fails, the state is as it was and nothing is lost. */
static void no_memory(void **state)
{
    (void)state;
    static const int64_t pick[2] = {1, 0};
    struct tr_err err = {0};
    enum tr_status st = TR_NOMEM;
    struct scene c;
    set_up(&c);
    c.rules.scale_scores = true;
    c.state = tr_ppo_state_start(&c.rules);
    for (int64_t k = 0; st != TR_OK; k++) {
        struct tr_ppo_state before = c.state;
        scarce_after(k);
        st = tr_ppo_prepare(&c.rules, &c.state, c.s, 2, &c.m, &err);
        scarce_after(-1);
        if (st == TR_OK) break;
        assert_int_equal(st, TR_NOMEM);
        assert_true(err.text[0] != 0);
        assert_memory_equal(&before, &c.state, sizeof before);
    }
    assert_true(c.state.scores.n > 1);
    st = TR_NOMEM;
    for (int64_t k = 0; st != TR_OK; k++) {
        struct tr_ppo_arrays a;
        scarce_after(k);
        st = tr_ppo_arrays_make(&c.rules, c.s, pick, 2, &a, &err);
        scarce_after(-1);
        tr_ppo_arrays_fini(&a);
    }
    st = TR_NOMEM;
    for (int64_t k = 0; st != TR_OK; k++) {
        struct tr_ppo_sample s = {0};
        scarce_after(k);
        st = tr_ppo_sample_fill(&s, token, 2, token + 2, logp, 2, &err);
        scarce_after(-1);
        tr_ppo_sample_fini(&s);
    }
    tear_down(&c);
}

static void nothing_at_all(void **state)
{
    (void)state;
    struct tr_ppo_rules rules = tr_ppo_defaults;
    struct tr_ppo_state s = tr_ppo_state_start(&rules);
    struct tr_ppo_metrics m;
    rules.whiten_rewards = rules.whiten_scores = rules.scale_scores = true;
    assert_int_equal(tr_ppo_prepare(&rules, &s, NULL, 0, &m, NULL), TR_OK);
    ASSERT_NEAR(m.kl, 0, 0);
    ASSERT_NEAR(m.score_std, 0, 0);
}

/* ppo_rules.h, invariant 1. */
static void a_state_survives_text(void **state)
{
    (void)state;
    struct tr_ppo_state rows[] = {
        tr_ppo_state_start(&tr_ppo_defaults),
        {1.0 / 3, {-0.1, 0.1 + 0.2, 0x1.fffffffffffffp-3, 1e17 / 3}},
        {0x1p-1074, {-0x1.123456789abcdp+300, 4e-320, 0, 16}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_ppo_state got;
        struct tr_err err = {0};
        char *text = tr_ppo_state_text(&rows[i]);
        assert_non_null(text);
        if (tr_ppo_state_parse(text, &got, &err) != TR_OK) fail_msg("%s", err.text);
        if (memcmp(&got, &rows[i], sizeof got) != 0) fail_msg("changed: %s", text);
        free(text);
    }
}

static void a_state_is_checked(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "[]",
        "{}",
        "{\"kl_coef\":-1,\"score_mean\":0,\"score_var\":1,\"score_std\":1,\"score_count\":1}",
        "{\"kl_coef\":1,\"score_mean\":\"0\",\"score_var\":1,\"score_std\":1,\"score_count\":1}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_ppo_state got;
        struct tr_err err = {0};
        assert_int_equal(tr_ppo_state_parse(rows[i], &got, &err), TR_BADARG);
        assert_true(err.text[0] != 0);
    }
}

static void rules_are_checked(void **state)
{
    (void)state;
    struct tr_ppo_rules r = tr_ppo_defaults;
    struct tr_err err = {0};
    enum tr_loss_mean mean;
    assert_int_equal(tr_ppo_rules_check(&r, &err), TR_OK);
    tr_ppo_rules_compat(&r);
    assert_int_equal(tr_ppo_rules_check(&r, &err), TR_OK);
    r.gae.lambda = (double)NAN;
    assert_int_equal(tr_ppo_rules_check(&r, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "lam"));
    assert_int_equal(tr_loss_mean_named("microbatch_mean", &mean, &err), TR_OK);
    assert_int_equal(mean, TR_MEAN_MICROBATCHES);
    assert_string_equal(tr_loss_mean_name(mean), "microbatch_mean");
    assert_int_equal(tr_loss_mean_named("mean", &mean, &err), TR_BADARG);
}

/* Invariant 3: an order has every sample once, and another step or epoch another order. */
static void orders(void **state)
{
    (void)state;
    enum { N = 37 };
    int64_t a[N], b[N];
    for (int64_t step = 0; step < 2; step++)
        for (int64_t epoch = 0; epoch < 2; epoch++) {
            bool had[N] = {false};
            tr_ppo_order(7, step, epoch, N, a);
            tr_ppo_order(7, step, epoch, N, b);
            assert_memory_equal(a, b, sizeof a);
            for (int i = 0; i < N; i++) had[a[i]] = true;
            for (int i = 0; i < N; i++) assert_true(had[i]);
            tr_ppo_order(7, step + 1, epoch, N, b);
            assert_memory_not_equal(a, b, sizeof a);
            tr_ppo_order(7, step, epoch + 1, N, b);
            assert_memory_not_equal(a, b, sizeof a);
        }
}

static void an_optimiser_step_of_chosen_samples(void **state)
{
    (void)state;
    static const int64_t pick[2] = {1, 0};
    static const int32_t want[8] = {5, 6, 7, 8, 5, 6, 7, 8};
    static const int32_t label[8] = {-100, -100, 7, 8, -100, 6, 7, 8};
    struct tr_update update = {.lr = 0.5};
    struct tr_ppo_arrays a;
    struct scene c;
    set_up(&c);
    prepare(&c);
    assert_int_equal(tr_ppo_arrays_make(&c.rules, c.s, pick, 2, &a, NULL), TR_OK);
    assert_int_equal(a.groups, 0);
    assert_int_equal(a.T, 8);
    assert_memory_equal(a.token, want, sizeof want);
    assert_memory_equal(a.label, label, sizeof label);
    ASSERT_NEAR((double)a.old_logp[2], (double)logp[3], 0);
    ASSERT_NEAR((double)a.wanted_value[5], (double)c.s[0].returns[0], 0);
    struct tr_learn_task p = tr_ppo_task(&c.rules, TR_LEARN_POLICY, &a, &update);
    struct tr_learn_task v = tr_ppo_task(&c.rules, TR_LEARN_VALUE, &a, &update);
    ASSERT_NEAR(p.divisor, 5, 0);
    ASSERT_NEAR(p.update.lr, 0.5, 0);
    assert_ptr_equal(p.seq.advantage, a.advantage);
    assert_null(p.seq.old_value);
    assert_ptr_equal(v.seq.wanted_value, a.wanted_value);
    assert_null(v.seq.old_logp);
    tr_ppo_arrays_fini(&a);
    tear_down(&c);
}

static void groups_where_they_matter(void **state)
{
    (void)state;
    static const int64_t pick[3] = {1, 0, 1};
    struct tr_ppo_arrays a;
    struct scene c;
    set_up(&c);
    c.rules.mean = TR_MEAN_MICROBATCHES;
    c.rules.micro_batch = 2;
    assert_int_equal(tr_ppo_arrays_make(&c.rules, c.s, pick, 3, &a, NULL), TR_OK);
    assert_int_equal(a.groups, 2);
    assert_int_equal(a.group_start[1], 2);
    assert_int_equal(a.group_start[2], 3);
    assert_int_equal(a.group_divisor[0], 2 * 5);
    assert_int_equal(a.group_divisor[1], 2 * 2);
    tr_ppo_arrays_fini(&a);
    c.rules.mean = TR_MEAN_TOKENS;
    c.rules.ratio_threshold = 10;
    assert_int_equal(tr_ppo_arrays_make(&c.rules, c.s, pick, 3, &a, NULL), TR_OK);
    assert_int_equal(a.groups, 1);
    assert_int_equal(a.group_start[1], 3);
    assert_int_equal(a.group_divisor[0], 7);
    tr_ppo_arrays_fini(&a);
    tear_down(&c);
}

static void passes(void **state)
{
    (void)state;
    struct tr_ppo_rules r = tr_ppo_defaults;
    assert_int_equal(tr_ppo_passes(&r, 16), 8);
    assert_int_equal(tr_ppo_passes(&r, 17), 12);
    assert_int_equal(tr_ppo_passes(&r, 1), 4);
}

/* What step1_generate.h lets in as a number leaves nothing but numbers, however it is combined. */
static void extremes_stay_finite(void **state)
{
    (void)state;
    const enum tr_kl_kind kinds[] = {TR_KL_PLAIN, TR_KL_ABS, TR_KL_MSE, TR_KL_FULL};
    for (int i = 0; i < 4 * 8; i++) {
        struct scene c;
        set_up(&c);
        c.rules.kl = kinds[i % 4];
        c.rules.control.coef = 1e6;
        c.rules.scale_scores = i & 4;
        c.rules.whiten_rewards = i & 8;
        c.rules.whiten_scores = i & 16;
        for (int k = 0; k < 2; k++) {
            struct tr_ppo_sample *s = &c.s[k];
            s->score = (k ? -8 : 8) * 1e9 * (double)TR_NUMBER_MOST; /* eight rewards' */
            for (int64_t t = 0; t < s->T - s->from; t++) {
                s->logp[t] = t == 1 ? TR_LOGPROB_LEAST : TR_LOGPROB_MOST;
                s->ref[t] = t == 1 ? TR_LOGPROB_MOST : TR_LOGPROB_LEAST;
                s->value[t] = t == 0 ? -TR_NUMBER_MOST : TR_NUMBER_MOST;
                s->kl[t] = TR_NUMBER_MOST;
            }
        }
        prepare(&c);
        for (int k = 0; k < 2; k++)
            for (int64_t t = 0; t < c.s[k].T - c.s[k].from; t++)
                if (!isfinite(c.s[k].advantage[t]) || !isfinite(c.s[k].returns[t]))
                    fail_msg("case %d: sample %d, token %d", i, k, (int)t);
        tear_down(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_samples),
        cmocka_unit_test(extremes_stay_finite),
        cmocka_unit_test(explained_variance),
        cmocka_unit_test(what_a_rollout_is_paid),
        cmocka_unit_test(kinds_of_kl),
        cmocka_unit_test(whitened_rewards),
        cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(a_state_survives_text),
        cmocka_unit_test(a_state_is_checked),
        cmocka_unit_test(rules_are_checked),
        cmocka_unit_test(orders),
        cmocka_unit_test(an_optimiser_step_of_chosen_samples),
        cmocka_unit_test(groups_where_they_matter),
        cmocka_unit_test(passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

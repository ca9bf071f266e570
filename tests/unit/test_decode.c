/* The KV cache: its log-probs are those of the training forward, however tokens come in. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/model/decode.h"
#include "kernels/softmax.h"
#include "tests/unit/tiny.h"

enum { LONG = 150, MAX_SEQUENCES = 6 };

/* Log-probs of wanted[t] at every token, from the training forward: what all must equal. */
static float *trained(const struct tiny *m, const struct tiny_batch *t)
{
    struct tr_trunk *trunk = NULL;
    struct tr_head *head = NULL;
    const float *hidden = NULL;
    const struct tr_arch *a = tr_params_arch(m->params);
    const struct tr_trunk_size size = {t->b.T, t->b.S, true, false};
    float *logp = calloc((size_t)t->b.T, sizeof *logp);
    int64_t *row = calloc((size_t)t->b.T, sizeof *row);
    assert_true(logp && row);
    for (int64_t i = 0; i < t->b.T; i++) row[i] = i;
    const struct tr_head_rows r = {t->b.T, row, t->wanted};
    assert_int_equal(tr_trunk_create(a, &size, &trunk, NULL), TR_OK);
    assert_int_equal(tr_head_create(a, 7, &head, NULL), TR_OK);
    assert_int_equal(
        tr_trunk_forward(trunk, &m->ex, m->w, &t->b, NULL, NULL, &hidden, NULL), TR_OK);
    tr_head_logprob(head, &m->ex, m->w, hidden, &r, logp, NULL);
    tr_head_destroy(head);
    tr_trunk_destroy(trunk);
    free(row);
    return logp;
}

static struct tr_decode *cache(const struct tiny *m, int64_t max_tokens, int64_t pages)
{
    struct tr_decode *d = NULL;
    const struct tr_decode_size size = {MAX_SEQUENCES, max_tokens, pages};
    assert_int_equal(tr_decode_create(tr_params_arch(m->params), &size, &d, NULL), TR_OK);
    return d;
}

/* Log-prob of wanted[t] from the logits of one sequence's token t. */
static void expect(const struct tiny *m, const char *name, const struct tiny_batch *t,
                   int64_t at, const float *logits, const float *want)
{
    float got = 0;
    tr_logprob(&m->ex, logits, 1, tr_params_arch(m->params)->V, t->wanted + at, &got,
               NULL, NULL);
    if (memcmp(&got, &want[at], sizeof got))
        fail_msg("%s: token %lld: wanted %a, found %a", name, (long long)at,
                 (double)want[at], (double)got);
}

/* Invariant 1: a prompt in one piece, in pieces, token by token. */
static void however_a_prompt_is_cut(void **state)
{
    (void)state;
    const int64_t pieces[][LONG] = {{LONG},   {1},    {64, 64, 22}, {63, 1, 1, 64, 21},
                                    {100, 1}, {7, 13}};
    const int64_t length[] = {LONG};
    for (int i = 0; i < tiny_arch_count; i++)
        for (int half = 0; half < 2; half++) {
            struct tiny m;
            struct tiny_batch t;
            const char *name = tiny_archs[i].name;
            assert_true(
                tiny_open(&m, &tiny_archs[i].arch, 21, NULL, 2, TR_MATH_EXACT, half));
            tiny_batch_open(&t, tiny_archs[i].arch.V, 9, 1, length);
            float *want = trained(&m, &t);
            struct tr_decode *d = cache(&m, LONG, 8);
            for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
                int64_t slot = -1;
                int64_t last = LONG; /* the last piece named is repeated */
                assert_int_equal(tr_decode_enter(d, &slot, NULL), TR_OK);
                for (int64_t at = 0, j = 0; at < LONG; at += last, j++) {
                    float *logits = NULL;
                    if (pieces[k][j]) last = pieces[k][j];
                    if (last > LONG - at) last = LONG - at;
                    const struct tr_decode_input in = {slot, last, t.token + at};
                    assert_int_equal(tr_decode_step(d, &m.ex, m.w, &in, 1, &logits, NULL),
                                     TR_OK);
                    expect(&m, name, &t, at + last - 1, logits, want);
                }
                assert_int_equal(tr_decode_length(d, slot), LONG);
                assert_int_equal(tr_decode_free_pages(d), 8 - 3);
                tr_decode_leave(d, slot);
                assert_int_equal(tr_decode_free_pages(d), 8);
            }
            tr_decode_destroy(d);
            free(want);
            tiny_batch_close(&t);
            tiny_close(&m);
        }
}

/* One of several sequences that come and go: where it is and how far. */
struct guest {
    int64_t slot, done; /* slot -1: not here */
};

/* A random step: some guests enter, some leave early, the rest go on by random pieces. */
static void random_step(const struct tiny *m, struct tr_decode *d,
                        const struct tiny_batch *t, struct guest *guest,
                        const float *want, uint64_t *seed)
{
    struct tr_decode_input in[MAX_SEQUENCES];
    int64_t who[MAX_SEQUENCES];
    int64_t n = 0;
    float *logits = NULL;
    for (int64_t s = 0; s < t->b.S; s++) {
        const int64_t length = t->start[s + 1] - t->start[s];
        struct guest *g = &guest[s];
        if (g->slot < 0 && tiny_word(seed) % 3) {
            assert_int_equal(tr_decode_enter(d, &g->slot, NULL), TR_OK);
            g->done = 0;
        }
        if (g->slot < 0) continue;
        if (g->done == length || tiny_word(seed) % 16 == 0) {
            tr_decode_leave(d, g->slot);
            g->slot = -1;
            continue;
        }
        int64_t count = tiny_word(seed) % 2 ? 1 : 1 + (int64_t)(tiny_word(seed) % 30);
        if (count > length - g->done) count = length - g->done;
        in[n] =
            (struct tr_decode_input){g->slot, count, t->token + t->start[s] + g->done};
        g->done += count;
        who[n++] = s;
    }
    if (!n) return;
    assert_int_equal(tr_decode_step(d, &m->ex, m->w, in, n, &logits, NULL), TR_OK);
    for (int64_t i = 0; i < n; i++)
        expect(m, "coming and going", t, t->start[who[i]] + guest[who[i]].done - 1,
               logits + i * tr_params_arch(m->params)->V, want);
}

/* Invariants 1 and 2: batches that sequences enter and leave at any step, over used pages. */
static void sequences_come_and_go(void **state)
{
    (void)state;
    const int64_t length[] = {90, 64, 65, 1, 40, 128};
    const char *isa[] = {"scalar", "avx2", "avx512", NULL};
    for (size_t k = 0; k < sizeof isa / sizeof *isa; k++) {
        struct tiny m;
        struct tiny_batch t;
        struct guest guest[MAX_SEQUENCES];
        uint64_t seed = 77;
        const struct tr_arch *a = &tiny_archs[1].arch;
        if (!tiny_open(&m, a, 4, isa[k], (int)(k % 3) + 1, TR_MATH_EXACT, false)) {
            print_message("skipped: no %s here\n", isa[k]);
            continue;
        }
        tiny_batch_open(&t, a->V, 8, MAX_SEQUENCES, length);
        float *want = trained(&m, &t);
        struct tr_decode *d = cache(&m, MAX_SEQUENCES * 30, 12);
        for (int64_t s = 0; s < MAX_SEQUENCES; s++) guest[s] = (struct guest){-1, 0};
        for (int i = 0; i < 120; i++) random_step(&m, d, &t, guest, want, &seed);
        for (int64_t s = 0; s < MAX_SEQUENCES; s++)
            if (guest[s].slot >= 0) tr_decode_leave(d, guest[s].slot);
        assert_int_equal(tr_decode_free_pages(d), 12);
        tr_decode_destroy(d);
        free(want);
        tiny_batch_close(&t);
        tiny_close(&m);
    }
}

/* Invariant 2: a dry pool and full slots are said, and change nothing. */
static void a_dry_pool_changes_nothing(void **state)
{
    (void)state;
    struct tiny m;
    struct tiny_batch t;
    struct tr_err err = {0};
    const int64_t length[] = {130};
    const struct tr_arch *a = &tiny_archs[0].arch;
    float *logits = NULL;
    int64_t slot[MAX_SEQUENCES + 1];
    assert_true(tiny_open(&m, a, 4, NULL, 1, TR_MATH_EXACT, false));
    tiny_batch_open(&t, a->V, 8, 1, length);
    float *want = trained(&m, &t);
    struct tr_decode *d = cache(&m, 200, 3);
    for (int i = 0; i < MAX_SEQUENCES; i++)
        assert_int_equal(tr_decode_enter(d, &slot[i], &err), TR_OK);
    assert_int_equal(tr_decode_enter(d, &slot[MAX_SEQUENCES], &err), TR_NOMEM);
    assert_string_equal(err.text, "KV cache: all 6 sequences are taken");

    const struct tr_decode_input two[] = {{slot[0], 64, t.token},
                                          {slot[1], 129, t.token}};
    const struct tr_decode_input first = {slot[0], 64, t.token};
    const struct tr_decode_input next = {slot[0], 65, t.token + 64};
    const struct tr_decode_input third = {slot[1], 65, t.token};
    assert_int_equal(tr_decode_step(d, &m.ex, m.w, two, 2, &logits, &err), TR_NOMEM);
    assert_string_equal(err.text, "KV cache: 4 pages wanted, 3 free");
    assert_null(logits);
    assert_int_equal(tr_decode_free_pages(d), 3);
    assert_int_equal(tr_decode_step(d, &m.ex, m.w, &first, 1, &logits, &err), TR_OK);
    assert_int_equal(tr_decode_step(d, &m.ex, m.w, &third, 1, &logits, &err), TR_OK);
    assert_int_equal(tr_decode_step(d, &m.ex, m.w, &next, 1, &logits, &err), TR_NOMEM);
    assert_int_equal(tr_decode_length(d, slot[0]), 64);
    tr_decode_leave(d, slot[1]);
    assert_int_equal(tr_decode_step(d, &m.ex, m.w, &next, 1, &logits, &err), TR_OK);
    expect(&m, "after the pool was dry", &t, 128, logits, want);
    tr_decode_destroy(d);
    free(want);
    tiny_batch_close(&t);
    tiny_close(&m);
}

/* A page keeps nothing of who had it before, not even a NaN. */
static void pages_are_handed_on_clean(void **state)
{
    (void)state;
    struct tiny m;
    struct tiny_batch t;
    const int64_t length[] = {90};
    const struct tr_arch *a = &tiny_archs[1].arch;
    float *logits = NULL;
    int64_t slot = 0;
    assert_true(tiny_open(&m, a, 4, NULL, 2, TR_MATH_EXACT, false));
    tiny_batch_open(&t, a->V, 8, 1, length);
    float *want = trained(&m, &t);
    struct tr_decode *d = cache(&m, 90, 2);
    const struct tr_param *norm = tr_params_layer(m.params, 0)->norm1;
    const float kept = m.masters[norm->at];
    const struct tr_decode_input all = {0, 90, t.token};

    m.masters[norm->at] =
        NAN; /* the masters are the weights: all keys and values are NaN */
    assert_int_equal(tr_decode_enter(d, &slot, NULL), TR_OK);
    assert_int_equal(tr_decode_step(d, &m.ex, m.w, &all, 1, &logits, NULL), TR_OK);
    assert_true(isnan(logits[0]));
    tr_decode_leave(d, slot);

    m.masters[norm->at] = kept;
    assert_int_equal(tr_decode_enter(d, &slot, NULL), TR_OK);
    for (int64_t at = 0; at < 90; at += 9) {
        const struct tr_decode_input in = {slot, 9, t.token + at};
        assert_int_equal(tr_decode_step(d, &m.ex, m.w, &in, 1, &logits, NULL), TR_OK);
        expect(&m, "after NaN", &t, at + 8, logits, want);
    }
    tr_decode_destroy(d);
    free(want);
    tiny_batch_close(&t);
    tiny_close(&m);
}

static void bad_steps_are_refused(void **state)
{
    (void)state;
    const int32_t ids[] = {1, 2, 3};
    const int32_t bad[] = {1, 37};
    struct tiny m;
    struct tr_err err = {0};
    struct tr_arch a = tiny_archs[0].arch;
    int64_t slot = 0;
    float *logits = NULL;
    a.max_positions = 5;
    assert_true(tiny_open(&m, &a, 4, NULL, 1, TR_MATH_EXACT, false));
    struct tr_decode *d = cache(&m, 4, 2);
    assert_int_equal(tr_decode_enter(d, &slot, &err), TR_OK);
    assert_int_equal(slot, 0);
    const struct tr_decode_input fine = {0, 3, ids};
    assert_int_equal(tr_decode_step(d, &m.ex, m.w, &fine, 1, &logits, &err), TR_OK);
    const struct {
        const char *want;
        int64_t n;
        struct tr_decode_input in[2];
    } rows[] = {
        {"expected 1 to 6 sequences, found 0", 0, {{0, 1, ids}}},
        {"expected 1 to 6 sequences, found 7", 7, {{0, 1, ids}}},
        {"slot 6 holds no sequence", 1, {{6, 1, ids}}},
        {"slot -1 holds no sequence", 1, {{-1, 1, ids}}},
        {"slot 1 holds no sequence", 2, {{0, 1, ids}, {1, 1, ids}}},
        {"slot 0 is named twice", 2, {{0, 1, ids}, {0, 1, ids}}},
        {"expected 1 to 2 more tokens, found 0", 1, {{0, 0, ids}}},
        {"expected 1 to 2 more tokens, found 3", 1, {{0, 3, ids}}},
        {"expected ids below 37, found 37", 1, {{0, 2, bad}}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(
            tr_decode_step(d, &m.ex, m.w, rows[i].in, rows[i].n, &logits, &err),
            TR_BADARG);
        if (!strstr(err.text, rows[i].want))
            fail_msg("wanted \"%s\" in \"%s\"", rows[i].want, err.text);
        assert_int_equal(tr_decode_length(d, 0), 3);
    }
    int64_t other = 0;
    assert_int_equal(tr_decode_enter(d, &other, &err), TR_OK);
    const struct tr_decode_input many[] = {{0, 2, ids}, {other, 3, ids}};
    assert_int_equal(tr_decode_step(d, &m.ex, m.w, many, 2, &logits, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "expected at most 4 tokens, found 5"));
    tr_decode_destroy(d);
    tiny_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(however_a_prompt_is_cut),
        cmocka_unit_test(sequences_come_and_go),
        cmocka_unit_test(a_dry_pool_changes_nothing),
        cmocka_unit_test(pages_are_handed_on_clean),
        cmocka_unit_test(bad_steps_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/unit/learning.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/tiny.h"

static void *take(int64_t n, size_t width)
{
    void *at = calloc((size_t)(n > 0 ? n : 1), width);
    assert_non_null(at);
    return at;
}

/* Baselines of up to three groups. */
static const double z0[] = {0.3, 0, 0.8};

static void fill(struct learning *x, int64_t V, uint64_t *seed)
{
    const struct tr_sequences *q = &x->task.seq;
    for (int64_t s = 0; s < q->S; s++)
        for (int64_t i = x->start[s]; i < x->start[s + 1]; i++) {
            bool prompt = i < (x->start[s] + x->start[s + 1]) / 2;
            x->token[i] = (int32_t)(tiny_word(seed) % (uint64_t)V);
            x->label[i] = prompt ? TR_UNLABELLED : x->token[i];
            x->old_logp[i] = -logf((float)V) + 0.3F * tiny_real(seed);
            x->advantage[i] = tiny_real(seed);
            x->old_value[i] = 0.2F * tiny_real(seed);
            x->wanted_value[i] = tiny_real(seed);
        }
    for (int64_t s = 0; s < q->S; s++) {
        int64_t answer = (x->start[s + 1] - x->start[s]) / 2;
        x->reference[s] = (double)answer * -log((double)V) + (double)tiny_real(seed);
        x->desirable[s] = s % 3 != 1;
    }
}

void learning_open(struct learning *x, enum tr_objective objective, int64_t V, int64_t S,
                   uint64_t seed)
{
    int64_t T = 0;
    int64_t targets = 0;
    *x = (struct learning){0};
    x->start = take(S + 1, sizeof *x->start);
    x->read_at = take(S, sizeof *x->read_at);
    for (int64_t s = 0; s < S; s++) {
        T += 2 + (int64_t)(tiny_word(&seed) % 69);
        x->start[s + 1] = T;
        x->read_at[s] = T - 1 - (int64_t)(tiny_word(&seed) % 2);
    }
    x->token = take(T, sizeof *x->token);
    x->label = take(T, sizeof *x->label);
    x->old_logp = take(T, sizeof *x->old_logp);
    x->advantage = take(T, sizeof *x->advantage);
    x->old_value = take(T, sizeof *x->old_value);
    x->wanted_value = take(T, sizeof *x->wanted_value);
    x->reference = take(S, sizeof *x->reference);
    x->desirable = take(S, sizeof *x->desirable);
    x->task = (struct tr_learn_task){
        .objective = objective,
        .seq = {.S = S,
                .T = T,
                .start = x->start,
                .token = x->token,
                .label = x->label,
                .read_at = x->read_at,
                .old_logp = x->old_logp,
                .advantage = x->advantage,
                .old_value = x->old_value,
                .wanted_value = x->wanted_value,
                .reference = x->reference,
                .desirable = x->desirable,
                .z0 = z0},
        .clip = 0.2,
        .kto = {.beta = 0.2,
                .desirable_weight = 1.5,
                .undesirable_weight = 0.7,
                .ftx = 0.3},
        .update = {1e-3, 0.9, 0.999, 1e-8, 0.01, 1.0, false},
    };
    fill(x, V, &seed);
    for (int64_t i = 0; i < T; i++) targets += x->label[i] != TR_UNLABELLED;
    x->task.divisor = (double)targets;
    if (objective == TR_LEARN_PAIRS) x->task.divisor = (double)S / 2;
    if (objective == TR_LEARN_KTO) x->task.divisor = (double)S;
}

void learning_close(struct learning *x)
{
    free(x->start);
    free(x->read_at);
    free(x->token);
    free(x->label);
    free(x->old_logp);
    free(x->advantage);
    free(x->old_value);
    free(x->wanted_value);
    free(x->reference);
    free(x->desirable);
}

bool learning_learner(const struct learning_way *way, const struct tr_arch *a, bool bf16,
                      struct tr_exec *ex, struct tr_learner **out)
{
    struct tr_err err = {0};
    struct tr_learner_start start = {
        .arch = a,
        .seed = 7,
        .lm_head = true,
        .value_head = true,
        .bf16 = bf16,
        .recompute = way->recompute,
        .max_tokens = way->max_tokens,
        .max_sequences = way->max_sequences,
    };
    if (tr_exec_init(ex, way->isa, way->threads, TR_MATH_EXACT) != 0) return false;
    if (tr_learner_open(ex, &start, out, &err) != TR_OK) fail_msg("%s", err.text);
    return true;
}

struct tr_digest learning_state(struct tr_learner *l)
{
    struct tr_digest d;
    assert_int_equal(tr_learner_state_digest(l, &d, NULL), TR_OK);
    return d;
}

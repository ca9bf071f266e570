#include "tests/sim/stub.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "proto/step3_learn.h"

enum { MOST = 64 };

struct tr_digest tr_stub_weights(const struct tr_digest *lineage)
{
    unsigned char bytes[40] = "weights ";
    memcpy(bytes + 8, lineage->byte, 32);
    return tr_digest_of(bytes, sizeof bytes);
}

void tr_stub_fini(struct tr_stub *s)
{
    tr_content_fini(&s->last);
}

/* Number i that follows from a digest, in [0, 256). */
static int byte_of(const struct tr_digest *d, int64_t i)
{
    return (d->byte[i % 32] + (int)(i / 32) * 7) & 255;
}

static void encode(const struct tr_record *r, const struct tr_unit *unit,
                   const void *answer, struct tr_content *out)
{
    struct tr_err err = {0};
    if (tr_content_encode(r, &unit->needs, answer, out, &err) != TR_OK) {
        fprintf(stderr, "stub: %s\n", err.text);
        assert(0 && "an answer of our own is no good");
    }
}

static void generate(const struct tr_unit *unit, struct tr_content *out)
{
    struct tr_ask_generate ask;
    int64_t unknown = 0;
    enum tr_status st =
        tr_content_decode(&unit->content, &tr_ask_generate_record, &ask, &unknown, NULL);
    assert(st == TR_OK);
    int64_t n = 1 + byte_of(&unit->id, 0) % ask.max_new_tokens;
    int32_t token[MOST], stopped = n < ask.max_new_tokens;
    float logp[MOST];
    int64_t start[2] = {0, n};
    for (int64_t i = 0; i < n; i++) {
        token[i] = byte_of(&unit->id, i) % 50;
        logp[i] = -(float)byte_of(&unit->id, i + 7) / 64;
    }
    struct tr_answer_generate a = {.token = {token, n},
                                   .start = {start, 2},
                                   .logprob = {logp, n},
                                   .stopped = {&stopped, 1}};
    encode(&tr_answer_generate_record, unit, &a, out);
}

static void judge(const struct tr_unit *unit, struct tr_content *out)
{
    struct tr_ask_judge ask;
    int64_t unknown = 0;
    float number[4 * MOST];
    enum tr_status st = tr_content_decode(&unit->content, tr_ask_judge_record(unit->kind),
                                          &ask, &unknown, NULL);
    assert(st == TR_OK);
    int64_t n = tr_judge_numbers(unit->kind, &ask);
    assert(n <= 4 * MOST);
    for (int64_t i = 0; i < n; i++) number[i] = -(float)byte_of(&unit->id, i) / 50;
    struct tr_answer_judge a = {{number, n}};
    encode(tr_answer_judge_record(unit->kind), unit, &a, out);
}

static bool learn(struct tr_stub *s, const struct tr_unit *unit, struct tr_content *out)
{
    struct tr_ask_learn ask;
    int64_t unknown = 0;
    bool again = s->last.bytes.at && tr_digest_equal(&unit->id, &s->holds.at[0]);
    if (!again && !tr_digest_equal(&unit->needs.at[0], &s->holds.at[0])) return false;
    if (!again) {
        enum tr_status st =
            tr_content_decode(&unit->content, &tr_ask_learn_record, &ask, &unknown, NULL);
        assert(st == TR_OK);
        struct tr_digest weights = tr_stub_weights(&unit->id);
        struct tr_answer_learn a = {.finite = true,
                                    .loss = byte_of(&unit->id, 3) / 100.0,
                                    .tokens = ask.token.count,
                                    .targets = ask.token.count};
        if (ask.want_digest) a.weights = tr_digests_one(&weights);
        tr_content_fini(&s->last);
        encode(&tr_answer_learn_record, unit, &a, &s->last);
        s->holds = tr_digests_one(&unit->id);
        if (ask.want_digest) s->holds.at[s->holds.n++] = weights;
    }
    enum tr_status st = tr_content_copy(s->last.bytes.at, s->last.bytes.size,
                                        s->last.bulk, s->last.n, out, NULL);
    assert(st == TR_OK);
    return true;
}

static bool save(const struct tr_stub *s, const struct tr_unit *unit,
                 struct tr_content *out)
{
    if (!tr_digest_equal(&unit->needs.at[0], &s->holds.at[0])) return false;
    struct tr_digest weights = tr_stub_weights(&s->holds.at[0]);
    struct tr_answer_save a = {.weights = tr_digests_one(&weights),
                               .state = tr_digests_one(&s->holds.at[0])};
    encode(&tr_answer_save_record, unit, &a, out);
    return true;
}

static bool holds_all(const struct tr_stub *s, const struct tr_unit *unit)
{
    for (int64_t i = 0; i < unit->needs.n; i++)
        if (!tr_digests_hold(&s->holds, &unit->needs.at[i])) return false;
    return true;
}

void tr_stub_answer(struct tr_stub *s, const struct tr_unit *unit, struct tr_message *out)
{
    bool good = true;
    *out = (struct tr_message){.say = TR_SAY_DONE};
    out->as.done.id = unit->id;
    if (unit->kind == TR_UNIT_LEARN)
        good = learn(s, unit, &out->content);
    else if (unit->kind == TR_UNIT_SAVE)
        good = save(s, unit, &out->content);
    else if (!holds_all(s, unit))
        good = false;
    else if (unit->kind == TR_UNIT_GENERATE)
        generate(unit, &out->content);
    else
        judge(unit, &out->content);
    if (good) return;
    *out = (struct tr_message){.say = TR_SAY_FAIL};
    out->as.fail = (struct tr_fail){.id = unit->id, .code = TR_STALE, .retryable = true};
    snprintf(out->as.fail.text, sizeof out->as.fail.text, "other weights");
}

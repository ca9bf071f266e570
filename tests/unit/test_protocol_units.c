/* docs/protocol.md, chapters 7 to 10: weights as chunks, what units ask, who may come in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/coordinator/core.h"
#include "actors/rule.h"
#include "actors/source.h"
#include "core/base/clock.h"
#include "kernels/philox.h"
#include "proto/gate.h"
#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "proto/step3_learn.h"
#include "proto/step4_weights.h"
#include "tests/unit/protocol_clauses.h"
#include "tests/unit/tiny.h"
#include "tests/unit/versions.h"

/* ---- 7. weights ---- */

static struct tr_message chunk_of(struct tr_wire *w, const struct tr_digest *digest,
                                  int64_t first, int64_t count)
{
    struct tr_message get = {.say = TR_SAY_GET, .as.get = {*digest, first, count}}, m;
    int64_t peer = 0;
    enum tr_status st = tr_wire_send(w, 0, &get, NULL);
    double end = tr_clock_seconds() + 10;
    assert_int_equal(st, TR_OK);
    for (st = TR_AGAIN; st == TR_AGAIN && tr_clock_seconds() < end;)
        st = tr_wire_receive(w, 1, &peer, &m, NULL);
    assert_int_equal(st, TR_OK);
    assert_int_equal(m.say, TR_SAY_CHUNK);
    return m;
}

static struct tr_array bytes_of(const struct tr_message *m)
{
    struct tr_bytes b;
    int64_t unknown = 0;
    assert_int_equal(tr_content_decode(&m->content, &tr_chunk_record, &b, &unknown, NULL),
                     TR_OK);
    return b.bytes;
}

static void clause_7_5_a_source_gives_chunks(void **state)
{
    (void)state;
    struct versions v;
    struct tr_source *s = NULL;
    struct tr_wire *w = NULL;
    const struct tr_digest other = {{1}};
    versions_open(&v, false);
    const struct tr_digest *digest = &v.model[0].digest;
    assert_int_equal(tr_source_open("tcp://127.0.0.1:0", NULL, &s, NULL), TR_OK);
    assert_int_equal(tr_source_add(s, &v.model[0], NULL), TR_OK);
    assert_int_equal(tr_wire_join(tr_source_address(s), NULL, &w, NULL), TR_OK);
    struct tr_message list = chunk_of(w, digest, -1, 1),
                      first = chunk_of(w, digest, 0, 1);
    int64_t of = list.as.chunk.of;
    assert_int_equal(bytes_of(&list).count, 32 * of);
    assert_int_equal(first.as.chunk.index, 0);
    struct tr_array bytes = bytes_of(&first);
    struct tr_digest got = tr_digest_of(bytes.at, (size_t)bytes.count);
    assert_memory_equal(got.byte, bytes_of(&list).at, 32);
    struct tr_message beyond = chunk_of(w, digest, of, 1),
                      strange = chunk_of(w, &other, 0, 1);
    assert_int_equal(beyond.as.chunk.of, 0);
    assert_int_equal(strange.as.chunk.of, 0);
    tr_message_fini(&list);
    tr_message_fini(&first);
    tr_message_fini(&beyond);
    tr_message_fini(&strange);
    tr_wire_close(w);
    tr_source_close(s);
    versions_close(&v);
}

static void put_u64(struct tr_buf *b, uint64_t x)
{
    for (int i = 0; i < 8; i++) {
        char byte = (char)(x >> (8 * i));
        tr_buf_put(b, &byte, 1, NULL);
    }
}

static void put_text(struct tr_buf *b, const char *text)
{
    put_u64(b, strlen(text));
    tr_buf_puts(b, text, NULL);
}

/* Of a small f32 model: every tensor is one chunk. */
static void clause_7_6_the_digest_of_weights(void **state)
{
    (void)state;
    struct tiny m;
    struct tr_buf all, chunks;
    struct tr_digest got;
    assert_true(tiny_open(&m, &tiny_archs[0].arch, 3, NULL, 1, TR_MATH_EXACT, false));
    tr_buf_init(&all, 1 << 20);
    tr_buf_init(&chunks, 1 << 20);
    tr_buf_puts(&all, "TRWGHT01", NULL);
    put_u64(&all, (uint64_t)tr_params_count(m.params));
    for (int64_t i = 0; i < tr_params_count(m.params); i++) {
        const struct tr_param *p = tr_params_get(m.params, i);
        size_t n = (size_t)tr_param_elements(p);
        float *hf = malloc(n * sizeof *hf);
        assert_true(i == 0 || strcmp(tr_params_get(m.params, i - 1)->name, p->name) < 0);
        put_text(&all, p->name);
        put_text(&all, "F32");
        put_u64(&all, p->K ? 2 : 1);
        put_u64(&all, (uint64_t)p->N);
        if (p->K) put_u64(&all, (uint64_t)p->K);
        tr_params_unpack(&m.ex, p, m.masters, hf);
        assert_true(n * sizeof *hf <= 4194304);
        struct tr_digest d = tr_digest_of(hf, n * sizeof *hf);
        tr_buf_put(&chunks, d.byte, 32, NULL);
        free(hf);
    }
    tr_buf_put(&all, chunks.at, chunks.size, NULL);
    struct tr_digest want = tr_digest_of(all.at, all.size);
    assert_int_equal(tr_weights_digest(m.w, &m.ex, &got, NULL), TR_OK);
    assert_true(tr_digest_equal(&got, &want));
    tr_buf_fini(&all);
    tr_buf_fini(&chunks);
    tiny_close(&m);
}

/* ---- 8. people ---- */

static enum tr_status nothing(void *self, struct tr_core *core, struct tr_err *err)
{
    (void)self, (void)core, (void)err;
    return TR_OK;
}

static bool never(const void *self)
{
    (void)self;
    return false;
}

static enum tr_status reply_to(void *self, struct tr_core *core, const char *what,
                               const char *argument, struct tr_buf *reply,
                               struct tr_err *err)
{
    (void)self, (void)core, (void)argument;
    if (strcmp(what, "status") != 0)
        return tr_err_set(err, TR_BADARG, "no %s here", what);
    return tr_buf_puts(reply, "{}", err);
}

static void clause_8_1_people_ask(void **state)
{
    (void)state;
    const struct tr_core_settings set = {.run = "r", .join_seconds = 10, .attempts = 1};
    const struct tr_planner planner = {
        .start = nothing, .finished = never, .ask = reply_to};
    struct tr_core *core = NULL;
    struct tr_core_action a;
    struct tr_message ask = {.say = TR_SAY_ASK, .as.ask = {.what = "status"}};
    struct tr_bytes bytes;
    int64_t unknown = 0;
    assert_int_equal(tr_core_create(&set, &planner, NULL, 0, &core, NULL), TR_OK);
    assert_int_equal(tr_core_hear(core, 7, &ask, 1, NULL), TR_OK); /* without a hello */
    assert_true(tr_core_next(core, &a));
    assert_int_equal(a.message.say, TR_SAY_TELL);
    assert_true(a.message.as.tell.ok);
    assert_int_equal(
        tr_content_decode(&a.message.content, &tr_report_record, &bytes, &unknown, NULL),
        TR_OK);
    assert_int_equal(bytes.bytes.count, 2);
    assert_memory_equal(bytes.bytes.at, "{}", 2);
    snprintf(ask.as.ask.what, sizeof ask.as.ask.what, "lunch");
    assert_int_equal(tr_core_hear(core, 7, &ask, 2, NULL), TR_OK);
    assert_true(tr_core_next(core, &a));
    assert_false(a.message.as.tell.ok);
    assert_string_equal(a.message.as.tell.text, "no lunch here");
    while (tr_core_next(core, &a)) continue;
    tr_core_destroy(core);
}

/* ---- 9. what is asked ---- */

/* Philox4x32-10 from its paper: first word of a block. */
static uint32_t first_word(uint64_t key, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)0xD2511F53 * a, q = (uint64_t)0xCD9E8D57 * c;
        uint32_t was_b = b, was_d = d;
        a = (uint32_t)(q >> 32) ^ was_b ^ k0;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ was_d ^ k1;
        d = (uint32_t)p;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    return a;
}

static void clause_9_1_random_numbers_have_an_address(void **state)
{
    (void)state;
    const uint64_t seed = 0x0123456789abcdef;
    struct tr_philox key = tr_philox_key(seed, TR_FOR_SAMPLE);
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t w = first_word(seed ^ 0x9E3779B97F4A7C15, i, 2, 3 * i, 4);
        assert_true(tr_philox_uniform(key, i, 2, 3 * i, 4) == (w >> 8) * 0x1p-24);
    }
    static const int32_t token[] = {1, 2, 3};
    static const int64_t good[] = {0, 1, 3}, empty[] = {0, 0, 3}, number[] = {0, 1};
    struct tr_ask_generate ask = {.token = {token, 3},
                                  .start = {good, 3},
                                  .prompt = {number, 2},
                                  .sample = {number, 2}};
    assert_int_equal(tr_ask_generate_check(&ask, 4, NULL), TR_OK);
    assert_int_equal(tr_ask_generate_check(&ask, 3, NULL), TR_BADMSG); /* id 3 */
    ask.start.at = empty;
    assert_int_equal(tr_ask_generate_check(&ask, 4, NULL), TR_BADMSG);
    for (int i = 0; i < 5; i++) {
        static const float logp[5][3] = {
            {-1, 0, -9e8F}, {-1, 3, -1}, {-1, -1, -2e9F}, {-1, -1, -1}, {-1, -1, -1}};
        const int32_t stopped[] = {i < 3, i == 3 ? 7 : i == 4 ? INT32_MIN : 0};
        const struct tr_answer_generate a = {
            {token, 3}, {good, 3}, {logp[i], 3}, {stopped, 2}};
        assert_int_equal(tr_answer_generate_check(&a, 2, 2, 4, NULL),
                         i == 0 ? TR_OK : TR_BADMSG);
    }
}

static const int32_t pair[] = {5, 6, 7, 8, 5, 9};
static const int64_t pair_start[] = {0, 4, 6}, pair_from[] = {2, 1};
static const struct tr_ask_judge pair_ask = {{pair, 6}, {pair_start, 3}, {pair_from, 2}};

static void clause_9_2_an_answer_lies_within_its_sequence(void **state)
{
    (void)state;
    static const int64_t zero[] = {0, 1}, behind[] = {4, 1};
    struct tr_ask_judge ask = pair_ask;
    assert_int_equal(tr_ask_judge_check(&ask, 10, NULL), TR_OK);
    ask.from.at = zero;
    assert_int_equal(tr_ask_judge_check(&ask, 10, NULL), TR_BADMSG);
    ask.from.at = behind;
    assert_int_equal(tr_ask_judge_check(&ask, 10, NULL), TR_BADMSG);
}

static const struct {
    enum tr_unit_kind kind;
    float number;
    enum tr_status want;
} judged[] = {
    {TR_UNIT_LOGPROB, 0.001F, TR_OK},   {TR_UNIT_LOGPROB, 0.02F, TR_BADMSG},
    {TR_UNIT_LOGPROB, -9e8F, TR_OK},    {TR_UNIT_LOGPROB, -2e9F, TR_BADMSG},
    {TR_UNIT_SCORE, 9e19F, TR_OK},      {TR_UNIT_SCORE, 2e20F, TR_BADMSG},
    {TR_UNIT_VALUE, -9e19F, TR_OK},     {TR_UNIT_VALUE, -2e20F, TR_BADMSG},
    {TR_UNIT_DIVERGENCE, 9e19F, TR_OK}, {TR_UNIT_DIVERGENCE, 3e38F, TR_BADMSG},
};

static void clause_9_3_how_many_numbers(void **state)
{
    (void)state;
    assert_int_equal(tr_judge_numbers(TR_UNIT_SCORE, &pair_ask), 2);
    assert_int_equal(tr_judge_numbers(TR_UNIT_LOGPROB, &pair_ask), 3);
    assert_int_equal(tr_judge_numbers(TR_UNIT_VALUE, &pair_ask), 3);
    assert_int_equal(tr_judge_numbers(TR_UNIT_DIVERGENCE, &pair_ask), 3);
    for (size_t i = 0; i < sizeof judged / sizeof *judged; i++) {
        const float number[] = {-1, judged[i].number};
        struct tr_answer_judge a = {{number, 2}};
        struct tr_err err = {0};
        enum tr_status st = tr_answer_judge_check(judged[i].kind, &a, 2, &err);
        if (st != judged[i].want ||
            (st != TR_OK && !strstr(err.text, " at 1 is not in [")))
            fail_msg("%s: %g: %s", tr_unit_kind_name(judged[i].kind),
                     (double)judged[i].number, err.text);
        assert_int_equal(tr_answer_judge_check(judged[i].kind, &a, 3, NULL), TR_BADMSG);
    }
}

static struct tr_content answer_of(struct tr_actor *a, const struct tr_unit *u)
{
    struct tr_message m = {.say = TR_SAY_UNIT}, out;
    m.as.unit.id = u->id;
    assert_int_equal(tr_content_copy(u->content.bytes.at, u->content.bytes.size,
                                     u->content.bulk, u->content.n, &m.content, NULL),
                     TR_OK);
    assert_int_equal(tr_actor_take(a, &m, NULL), TR_OK);
    assert_int_equal(tr_actor_work(a, &out), TR_OK);
    if (out.say != TR_SAY_DONE) fail_msg("%s", out.as.fail.text);
    return out.content;
}

/* A reward model: a sequence alone, and behind another. */
static void clause_9_4_a_score_depends_on_its_sequence(void **state)
{
    (void)state;
    struct versions v;
    struct tr_actor *a = NULL;
    versions_open(&v, true);
    struct tr_role_start start = versions_start(&v, 0);
    assert_int_equal(tr_actor_open(TR_ROLE_REWARD, &start, &a, NULL), TR_OK);
    const int64_t alone_start[] = {0, 2}, alone_from = 1;
    struct tr_ask_judge alone = {{pair + 4, 2}, {alone_start, 2}, {&alone_from, 1}};
    struct tr_digests needs = tr_actor_hello(a).holds;
    const struct tr_ask_judge *ask[] = {&pair_ask, &alone};
    float score[2];
    for (int i = 0; i < 2; i++) {
        struct tr_unit u;
        struct tr_answer_judge got;
        int64_t unknown = 0;
        assert_int_equal(tr_unit_make(&tr_ask_score_record, &needs, ask[i], &u, NULL),
                         TR_OK);
        struct tr_content c = answer_of(a, &u);
        assert_int_equal(
            tr_content_decode(&c, &tr_answer_score_record, &got, &unknown, NULL), TR_OK);
        score[i] = ((const float *)got.number.at)[got.number.count - 1];
        tr_content_fini(&c);
        tr_unit_fini(&u);
    }
    assert_memory_equal(&score[0], &score[1], sizeof score[0]);
    tr_actor_close(a);
    versions_close(&v);
}

/* ---- a learner ---- */

static struct tr_actor *open_policy(const struct versions *v)
{
    struct tr_actor *a = NULL;
    struct tr_role_start start = versions_start(v, 0);
    assert_int_equal(tr_actor_open(TR_ROLE_POLICY, &start, &a, NULL), TR_OK);
    return a;
}

/* One step on one sequence, from the lineage that the learner has. */
static struct tr_unit learn_unit(const struct tr_digest *lineage)
{
    static const int32_t token[] = {5, 6, 7}, label[] = {-100, 6, 7};
    static const int64_t start[] = {0, 3};
    const struct tr_learn_task task = {
        .objective = TR_LEARN_TOKENS,
        .divisor = 2,
        .update = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
        .seq = {.S = 1, .T = 3, .start = start, .token = token, .label = label}};
    struct tr_ask_learn ask = tr_ask_learn_from(&task, true);
    struct tr_digests needs = tr_digests_one(lineage);
    struct tr_unit u;
    assert_int_equal(tr_unit_make(&tr_ask_learn_record, &needs, &ask, &u, NULL), TR_OK);
    return u;
}

static void clause_9_5_a_lineage_is_a_unit_and_is_repeated(void **state)
{
    (void)state;
    struct versions v;
    versions_open(&v, false);
    struct tr_actor *a = open_policy(&v);
    struct tr_digests before = tr_actor_hello(a).holds;
    struct tr_unit u = learn_unit(&before.at[0]);
    struct tr_content once = answer_of(a, &u), twice = answer_of(a, &u);
    struct tr_digest first, second;
    struct tr_digests after = tr_actor_hello(a).holds;
    assert_int_equal(tr_content_digest(&once, &first, NULL), TR_OK);
    assert_int_equal(tr_content_digest(&twice, &second, NULL), TR_OK);
    assert_true(tr_digest_equal(&first, &second));
    assert_true(tr_digests_hold(&after, &u.id));
    tr_content_fini(&once);
    tr_content_fini(&twice);
    tr_unit_fini(&u);
    tr_actor_close(a);
    versions_close(&v);
}

static void clause_9_6_save_changes_nothing(void **state)
{
    (void)state;
    struct versions v;
    struct tr_unit u;
    struct tr_answer_save saved;
    int64_t unknown = 0;
    const struct tr_ask_save ask = {.want_digests = true};
    versions_open(&v, false);
    struct tr_actor *a = open_policy(&v);
    struct tr_digests before = tr_actor_hello(a).holds;
    struct tr_digests lineage = tr_digests_one(&before.at[0]);
    assert_int_equal(tr_unit_make(&tr_ask_save_record, &lineage, &ask, &u, NULL), TR_OK);
    struct tr_content c = answer_of(a, &u);
    struct tr_digests after = tr_actor_hello(a).holds;
    assert_int_equal(
        tr_content_decode(&c, &tr_answer_save_record, &saved, &unknown, NULL), TR_OK);
    assert_int_equal(saved.weights.n, 1);
    assert_int_equal(saved.state.n, 1);
    assert_int_equal(before.n, after.n);
    assert_memory_equal(&before.at[0], &after.at[0], sizeof before.at[0]);
    tr_content_fini(&c);
    tr_unit_fini(&u);
    tr_actor_close(a);
    versions_close(&v);
}

/* ---- 10. addresses and keys ---- */

static void clause_10_1_without_keys_only_this_host(void **state)
{
    (void)state;
    char bound[TR_ADDRESS_BYTES];
    struct tr_wire *w = NULL;
    static const char *const refused[] = {"tcp://0.0.0.0:0", "tcp://*:0",
                                          "tcp://10.1.2.3:5555", "tcp://localhost:0"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct tr_err err = {0};
        assert_int_equal(tr_wire_listen(refused[i], NULL, bound, &w, &err), TR_BADARG);
        assert_non_null(strstr(err.text, "key"));
    }
    assert_int_equal(tr_wire_listen("tcp://127.0.0.1:0", NULL, bound, &w, NULL), TR_OK);
    tr_wire_close(w);
}

static void clause_10_2_a_key_is_for_one_role(void **state)
{
    (void)state;
    const struct tr_message hello = {.say = TR_SAY_HELLO,
                                     .as.hello.role = TR_ROLE_REWARD};
    const struct tr_message ask = {.say = TR_SAY_ASK};
    assert_int_equal(tr_gate_check(TR_ROLE_REWARD, &hello, NULL), TR_OK);
    assert_int_equal(tr_gate_check(TR_ROLE_ROLLOUT, &hello, NULL), TR_BADMSG);
    assert_int_equal(tr_gate_check(TR_ROLE_REWARD, &ask, NULL), TR_BADMSG);
    assert_int_equal(tr_gate_check(TR_KEY_ADMIN, &ask, NULL), TR_OK);
}

const struct CMUnitTest unit_clauses[UNIT_CLAUSES] = {
    cmocka_unit_test(clause_7_5_a_source_gives_chunks),
    cmocka_unit_test(clause_7_6_the_digest_of_weights),
    cmocka_unit_test(clause_8_1_people_ask),
    cmocka_unit_test(clause_9_1_random_numbers_have_an_address),
    cmocka_unit_test(clause_9_2_an_answer_lies_within_its_sequence),
    cmocka_unit_test(clause_9_3_how_many_numbers),
    cmocka_unit_test(clause_9_4_a_score_depends_on_its_sequence),
    cmocka_unit_test(clause_9_5_a_lineage_is_a_unit_and_is_repeated),
    cmocka_unit_test(clause_9_6_save_changes_nothing),
    cmocka_unit_test(clause_10_1_without_keys_only_this_host),
    cmocka_unit_test(clause_10_2_a_key_is_for_one_role),
};

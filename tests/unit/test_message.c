/* Messages: what is said is what is heard; what is no message is refused in words, and before
 * anything is reserved for it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/message.h"
#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "proto/step3_learn.h"
#include "proto/walk.h"

/* ---- round trips ---- */

/* Encodes and decodes; *out is the caller's. */
static void carry_once(const struct tr_message *m, struct tr_message *out)
{
    struct tr_buf head;
    struct tr_err err = {0};
    if (tr_message_encode(m, &head, &err) != TR_OK) fail_msg("encode: %s", err.text);
    if (tr_message_decode(head.at, head.size, m->content.bulk, m->content.n, out, &err) !=
        TR_OK)
        fail_msg("decode: %s", err.text);
    tr_buf_fini(&head);
}

/* And what came encodes to the same bytes. *out is the caller's. */
static void carry(const struct tr_message *m, struct tr_message *out)
{
    struct tr_buf once, twice;
    struct tr_err err = {0};
    carry_once(m, out);
    assert_int_equal(tr_message_encode(m, &once, &err), TR_OK);
    assert_int_equal(tr_message_encode(out, &twice, &err), TR_OK);
    assert_int_equal(once.size, twice.size);
    assert_memory_equal(once.at, twice.at, once.size);
    assert_int_equal(out->say, m->say);
    assert_int_equal(out->unknown, 0);
    tr_buf_fini(&once);
    tr_buf_fini(&twice);
}

static struct tr_digest digest(const char *text)
{
    return tr_digest_of(text, strlen(text));
}

/* message.h, invariant 1, for each message without a content. */
static void what_is_said_is_heard(void **state)
{
    (void)state;
    struct tr_digest a = digest("a"), b = digest("b");
    struct tr_message all[] = {
        {.say = TR_SAY_HELLO,
         .as.hello = {.role = TR_ROLE_CRITIC,
                      .instance = "critic-0 \xc3\xa9",
                      .incarnation = INT64_MAX / 2,
                      .holds = {.n = 2},
                      .credits = 4,
                      .threads = 3,
                      .isa = "avx2",
                      .math = "exact"}},
        {.say = TR_SAY_WELCOME,
         .as.welcome = {.admitted = true, .run = "r", .credits = 64}},
        {.say = TR_SAY_WELCOME, .as.welcome = {.reason = "wrong digest"}},
        {.say = TR_SAY_PROGRESS,
         .as.progress = {.in_hand = {.n = TR_DIGESTS_MAX}, .tokens = 7}},
        {.say = TR_SAY_PROGRESS},
        {.say = TR_SAY_FAIL,
         .as.fail = {.id = a, .code = TR_NOMEM, .text = "no room", .retryable = true}},
        {.say = TR_SAY_DRAIN},
        {.say = TR_SAY_BYE, .as.parting = {.reason = "the run is finished"}},
    };
    all[0].as.hello.holds.at[0] = a;
    all[0].as.hello.holds.at[1] = b;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct tr_message got;
        carry(&all[i], &got);
        assert_memory_equal(&got.as, &all[i].as, sizeof got.as);
        tr_message_fini(&got);
    }
}

static const int32_t tokens[] = {5, 6, 7, 8, 9};
static const int64_t starts[] = {0, 2, 5};
static const int64_t ones[] = {1, 1};
static const float reals[] = {0.5F, -1.25F, 3, 4, -0.0F};

static void a_unit_arrives_as_it_left(void **state)
{
    (void)state;
    struct tr_digest weights = digest("weights");
    struct tr_digests needs = tr_digests_one(&weights);
    struct tr_ask_generate ask = {
        .seed = 42,
        .step = 3,
        .temperature = 0.95,
        .top_p = 0.7,
        .repetition_penalty = 1,
        .top_k = 50,
        .max_new_tokens = 64,
        .token = {tokens, 5},
        .start = {starts, 3},
        .prompt = {ones, 2},
        .sample = {ones, 2},
        .stop = {tokens, 0},
    };
    struct tr_unit unit, came;
    struct tr_ask_generate got;
    int64_t unknown = 0;
    assert_int_equal(tr_unit_make(&tr_ask_generate_record, &needs, &ask, &unit, NULL),
                     TR_OK);
    struct tr_message m = {.say = TR_SAY_UNIT, .content = unit.content}, out;
    m.as.unit = (struct tr_deliver){.id = unit.id, .attempt = 2};
    carry(&m, &out);
    assert_int_equal(out.as.unit.attempt, 2);
    assert_int_equal(tr_unit_from(&out.as.unit.id, &out.content, &came, NULL), TR_OK);
    assert_int_equal(came.kind, TR_UNIT_GENERATE);
    assert_true(tr_digests_hold(&came.needs, &weights));
    assert_int_equal(
        tr_content_decode(&came.content, &tr_ask_generate_record, &got, &unknown, NULL),
        TR_OK);
    assert_int_equal(tr_ask_generate_check(&got, 10, NULL), TR_OK);
    assert_int_equal(tr_ask_generate_check(&got, 9, NULL), TR_BADMSG);
    assert_true(got.temperature == ask.temperature && got.seed == 42 &&
                got.stop.count == 0);
    assert_memory_equal(got.token.at, tokens, sizeof tokens);
    assert_memory_equal(got.start.at, starts, sizeof starts);
    assert_int_equal((uintptr_t)got.start.at % 64, 0);
    tr_unit_fini(&came);
    tr_unit_fini(&unit);
    tr_message_fini(&out);
}

/* unit.h, invariant 1. */
static void an_id_is_that_of_the_content(void **state)
{
    (void)state;
    struct tr_digest weights = digest("weights");
    struct tr_digests needs = tr_digests_one(&weights);
    struct tr_ask_judge ask = {
        .token = {tokens, 5}, .start = {starts, 3}, .from = {ones, 2}};
    struct tr_unit a, b, c;
    struct tr_content copy;
    struct tr_unit out;
    assert_int_equal(tr_unit_make(&tr_ask_score_record, &needs, &ask, &a, NULL), TR_OK);
    assert_int_equal(tr_unit_make(&tr_ask_score_record, &needs, &ask, &b, NULL), TR_OK);
    assert_int_equal(tr_unit_make(&tr_ask_value_record, &needs, &ask, &c, NULL), TR_OK);
    assert_true(tr_digest_equal(&a.id, &b.id));
    assert_false(tr_digest_equal(&a.id, &c.id));
    a.content.store[0] ^= 1; /* one bit of one token on its way */
    assert_int_equal(tr_content_copy(a.content.bytes.at, a.content.bytes.size,
                                     a.content.bulk, a.content.n, &copy, NULL),
                     TR_OK);
    assert_int_equal(tr_unit_from(&a.id, &copy, &out, NULL), TR_BADMSG);
    tr_unit_fini(&a);
    tr_unit_fini(&b);
    tr_unit_fini(&c);
}

/* ---- payloads ---- */

static void judge_asks_are_checked(void **state)
{
    (void)state;
    static const int64_t beyond[] = {0, 2, 6}, empty[] = {0, 0, 5}, back[] = {0, 3, 2};
    static const int64_t zero[] = {0, 1}, late[] = {1, 3};
    static const int32_t negative[] = {5, 6, -7, 8, 9};
    const struct {
        const char *name;
        struct tr_ask_judge ask;
        enum tr_status want;
    } rows[] = {
        {"good", {{tokens, 5}, {starts, 3}, {ones, 2}}, TR_OK},
        {"offsets beyond the end", {{tokens, 5}, {beyond, 3}, {ones, 2}}, TR_BADMSG},
        {"an empty sequence", {{tokens, 5}, {empty, 3}, {ones, 2}}, TR_BADMSG},
        {"offsets that go back", {{tokens, 2}, {back, 3}, {ones, 2}}, TR_BADMSG},
        {"an answer from the first token",
         {{tokens, 5}, {starts, 3}, {zero, 2}},
         TR_BADMSG},
        {"an answer from beyond", {{tokens, 5}, {starts, 3}, {late, 2}}, TR_BADMSG},
        {"too few beginnings", {{tokens, 5}, {starts, 3}, {ones, 1}}, TR_BADMSG},
        {"a negative id", {{negative, 5}, {starts, 3}, {ones, 2}}, TR_BADMSG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_err err = {0};
        enum tr_status st = tr_ask_judge_check(&rows[i].ask, 0, &err);
        if (st != rows[i].want || (st != TR_OK && !err.text[0]))
            fail_msg("%s: %s: %s", rows[i].name, tr_status_name(st), err.text);
    }
    assert_int_equal(tr_judge_numbers(TR_UNIT_SCORE, &rows[0].ask), 2);
    assert_int_equal(tr_judge_numbers(TR_UNIT_LOGPROB, &rows[0].ask), 3);
}

/* What kto alone has came back; what it may not be is refused. */
static void check_kto(const struct tr_ask_learn *good, const struct tr_learn_task *back)
{
    static const double below[] = {0.5, -1e-9};
    static const uint8_t no_mark[] = {0, 2};
    struct tr_ask_learn bad[5];
    struct tr_learn_task task;
    assert_true(back->kto.beta == 0.1 && back->kto.desirable_weight == 1 &&
                back->kto.undesirable_weight == 2 && back->kto.ftx == 0.5);
    assert_true(back->seq.reference[0] == -3.5 && back->seq.reference[1] == -1e-300);
    assert_true(back->seq.desirable[0] == 1 && back->seq.desirable[1] == 0);
    assert_true(back->seq.z0[1] == 0.25);
    for (size_t i = 0; i < 5; i++) bad[i] = *good;
    bad[0].kto.beta = 0;
    bad[1].desirable = (struct tr_array){no_mark, 2};
    bad[2].z0 = (struct tr_array){below, 2};
    bad[3].z0.count = 1;
    bad[4].reference.count = 1;
    for (size_t i = 0; i < 5; i++)
        if (tr_ask_learn_task(&bad[i], 10, &task, NULL) != TR_BADMSG) fail_msg("%zu", i);
}

/* Groups came back; an empty one and a missing one are refused. */
static void check_groups(const struct tr_ask_learn *good,
                         const struct tr_learn_task *back)
{
    static const int64_t wrong[] = {2, 0};
    struct tr_ask_learn bad = *good;
    struct tr_learn_task task;
    assert_int_equal(back->seq.group_start[1], 1);
    assert_int_equal(back->seq.group_divisor[1], 4);
    for (int64_t n = 1; n <= 2; n++) {
        bad.group_divisor = (struct tr_array){wrong, n};
        assert_int_equal(tr_ask_learn_task(&bad, 10, &task, NULL), TR_BADMSG);
    }
}

/* A task goes out, comes back, and is the same; what does not belong to it is refused. */
static void a_task_travels(void **state)
{
    (void)state;
    static const int32_t labels[] = {TR_UNLABELLED, 6, TR_UNLABELLED, 8, 9};
    static const int64_t read_at[] = {1, 4};
    static const int64_t groups[] = {0, 1, 2}, divisors[] = {2, 4};
    static const double reference[] = {-3.5, -1e-300}, z0[] = {0, 0.25};
    static const uint8_t marks[] = {1, 0};
    struct tr_learn_task task = {
        .seq = {.S = 2,
                .T = 5,
                .start = starts,
                .token = tokens,
                .label = labels,
                .read_at = read_at,
                .old_logp = reals,
                .advantage = reals,
                .old_value = reals,
                .wanted_value = reals,
                .reference = reference,
                .desirable = marks,
                .z0 = z0,
                .group_start = groups,
                .group_divisor = divisors},
        .divisor = 3,
        .clip = 0.2,
        .ratio_threshold = 10,
        .kto = {.beta = 0.1, .desirable_weight = 1, .undesirable_weight = 2, .ftx = 0.5},
        .update = {.lr = 1e-5,
                   .beta1 = 0.9,
                   .beta2 = 0.999,
                   .eps = 1e-8,
                   .max_grad_norm = 1,
                   .peer_decay = true},
    };
    for (int o = TR_LEARN_TOKENS; o <= TR_LEARN_KTO; o++) {
        struct tr_content content;
        struct tr_ask_learn ask, got;
        struct tr_learn_task back;
        struct tr_digests needs = {.n = 0};
        struct tr_err err = {0};
        int64_t unknown = 0;
        task.objective = (enum tr_objective)o;
        task.seq.groups = o >= TR_LEARN_POLICY ? 2 : 0;
        ask = tr_ask_learn_from(&task, true);
        assert_int_equal(
            tr_content_encode(&tr_ask_learn_record, &needs, &ask, &content, NULL), TR_OK);
        assert_int_equal(
            tr_content_decode(&content, &tr_ask_learn_record, &got, &unknown, NULL),
            TR_OK);
        if (tr_ask_learn_task(&got, 10, &back, &err) != TR_OK)
            fail_msg("%d: %s", o, err.text);
        assert_true(got.want_digest && back.objective == task.objective);
        assert_true(back.update.peer_decay);
        assert_true(back.divisor == 3 && back.clip == 0.2 && back.update.lr == 1e-5);
        assert_int_equal(back.seq.S, 2);
        assert_int_equal(back.seq.read_at != NULL, o == TR_LEARN_PAIRS);
        assert_int_equal(back.seq.old_logp != NULL, o == TR_LEARN_POLICY);
        assert_int_equal(back.seq.wanted_value != NULL, o == TR_LEARN_VALUE);
        assert_int_equal(back.seq.groups, task.seq.groups);
        assert_int_equal(back.seq.z0 != NULL, o == TR_LEARN_KTO);
        if (o == TR_LEARN_KTO) check_kto(&got, &back);
        assert_true(back.ratio_threshold == 10);
        if (back.seq.groups) check_groups(&got, &back);
        got.old_logp =
            o == TR_LEARN_POLICY ? (struct tr_array){0} : (struct tr_array){reals, 5};
        assert_int_equal(tr_ask_learn_task(&got, 10, &back, &err), TR_BADMSG);
        tr_content_fini(&content);
    }
}

static void a_result_travels(void **state)
{
    (void)state;
    struct tr_digests none = {.n = 0};
    struct tr_learn_result r = {.loss = 0.5,
                                .grad_norm = 2,
                                .tokens = 9,
                                .targets = 4,
                                .t = 1,
                                .chosen = 3,
                                .rejected = 1,
                                .chosen_reward = 0.25,
                                .rejected_reward = -0.5,
                                .chosen_logp = -40,
                                .rejected_logp = -50,
                                .kl = 0.125};
    struct tr_answer_learn a = tr_answer_learn_from(&r, NULL), got;
    struct tr_content c;
    int64_t unknown = 0;
    assert_int_equal(tr_content_encode(&tr_answer_learn_record, &none, &a, &c, NULL),
                     TR_OK);
    assert_int_equal(tr_content_decode(&c, &tr_answer_learn_record, &got, &unknown, NULL),
                     TR_OK);
    struct tr_learn_result back = tr_answer_learn_result(&got);
    assert_true(back.loss == r.loss && back.grad_norm == r.grad_norm && back.t == r.t);
    assert_true(back.chosen == 3 && back.rejected == 1 && back.kl == 0.125);
    assert_true(back.chosen_reward == 0.25 && back.rejected_reward == -0.5);
    assert_true(back.chosen_logp == -40 && back.rejected_logp == -50);
    assert_true(back.tokens == 9 && back.targets == 4 && !back.skipped);
    tr_content_fini(&c);
}

/* A skipped step's numbers are not finite; the wire carries none of those. */
static void a_skipped_step_travels(void **state)
{
    (void)state;
    struct tr_learn_result r = {
        .loss = (double)NAN, .grad_norm = (double)INFINITY, .skipped = true, .t = 7};
    struct tr_answer_learn a = tr_answer_learn_from(&r, NULL);
    assert_true(a.loss == 0 && !a.finite && a.weights.n == 0);
    struct tr_learn_result back = tr_answer_learn_result(&a);
    assert_true(isnan(back.loss) && isnan(back.grad_norm) && back.skipped && back.t == 7);
}

static void numbers_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    const float bad[] = {1, NAN}, worse[] = {-INFINITY};
    const double worst[] = {0, (double)NAN};
    const struct tr_field wide_field = {.name = "z0", .kind = TR_FIELD_F64, .hi = 9};
    const struct tr_record wide = {
        .kind = "wide", .size = sizeof(struct tr_array), .n = 1, .field = &wide_field};
    struct tr_digests none = {.n = 0};
    struct tr_answer_judge a[] = {{{bad, 2}}, {{worse, 1}}}, got;
    for (int i = 0; i < 2; i++) {
        struct tr_content c;
        int64_t unknown = 0;
        assert_int_equal(
            tr_content_encode(&tr_answer_score_record, &none, &a[i], &c, NULL), TR_OK);
        assert_int_equal(
            tr_content_decode(&c, &tr_answer_score_record, &got, &unknown, NULL),
            TR_BADMSG);
        tr_content_fini(&c);
    }
    struct tr_array x = {worst, 2};
    for (int i = 0; i < 2; i++) { /* the first element alone is a number */
        struct tr_content c;
        int64_t unknown = 0;
        x.count = 2 - i;
        assert_int_equal(tr_content_encode(&wide, &none, &x, &c, NULL), TR_OK);
        assert_int_equal(tr_content_decode(&c, &wide, &x, &unknown, NULL),
                         i ? TR_OK : TR_BADMSG);
        x.at = worst;
        tr_content_fini(&c);
    }
}

/* field.h, invariant 2, on the way out: our own slips are said before they travel. */
static void values_outside_their_range_do_not_leave(void **state)
{
    (void)state;
    struct tr_digests none = {.n = 0};
    struct tr_ask_save save = {.optimiser = true};
    struct tr_message m = {.say = TR_SAY_HELLO, .as.hello = {.credits = 0, .threads = 1}};
    struct tr_content c;
    struct tr_buf head;
    memset(save.folder, 'x', sizeof save.folder); /* no end */
    assert_int_equal(tr_content_encode(&tr_ask_save_record, &none, &save, &c, NULL),
                     TR_BADARG);
    snprintf(save.folder, sizeof save.folder, "two\nlines");
    assert_int_equal(tr_content_encode(&tr_ask_save_record, &none, &save, &c, NULL),
                     TR_BADARG);
    assert_int_equal(tr_message_encode(&m, &head, NULL), TR_BADARG);
    tr_buf_fini(&head);
}

/* Names reach reports and terminals: text, and nothing that a terminal obeys. */
static void names_of_a_hello_are_text(void **state)
{
    (void)state;
    static const char *const bad[] = {"a\xff", "\xe2\x82", "a\xc2\x85z", "\xed\xa0\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int field = 0; field < 2; field++) {
            struct tr_message m = {.say = TR_SAY_HELLO,
                                   .as.hello = {.credits = 1, .threads = 1}},
                              got;
            struct tr_err err = {0};
            struct tr_buf head;
            struct tr_hello *h = &m.as.hello;
            snprintf(h->instance, sizeof h->instance, "%s", field ? "a" : bad[i]);
            if (field) snprintf(h->slot, sizeof h->slot, "%s", bad[i]);
            assert_int_equal(tr_message_encode(&m, &head, &err), TR_OK);
            assert_int_equal(tr_message_decode(head.at, head.size, NULL, 0, &got, &err),
                             TR_BADMSG);
            assert_non_null(strstr(err.text, field ? "hello.slot" : "hello.instance"));
            tr_buf_fini(&head);
        }
}

/* They may be cut within a character, by who wrote them or on purpose. */
static void words_for_people_are_mended(void **state)
{
    (void)state;
    static const struct {
        const char *said, *heard;
    } row[] = {{"", ""},
               {"no room \xc3\xa9", "no room \xc3\xa9"},
               {"caf\xc3", "caf?"},
               {"\xff\xfe", "??"},
               {"a\xc2\x9b"
                "31mz",
                "a??31mz"},
               {"\xe2\x82 \xe2\x82\xac", "?? \xe2\x82\xac"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct tr_message fail = {.say = TR_SAY_FAIL, .as.fail.code = TR_IO},
                          bye = {.say = TR_SAY_BYE}, got;
        struct tr_message loaded = {.say = TR_SAY_LOADED};
        snprintf(fail.as.fail.text, sizeof fail.as.fail.text, "%s", row[i].said);
        carry_once(&fail, &got);
        assert_string_equal(got.as.fail.text, row[i].heard);
        snprintf(loaded.as.loaded.text, sizeof loaded.as.loaded.text, "%s", row[i].said);
        carry_once(&loaded, &got);
        assert_string_equal(got.as.loaded.text, row[i].heard);
        snprintf(bye.as.parting.reason, sizeof bye.as.parting.reason, "%s", row[i].said);
        carry_once(&bye, &got);
        assert_string_equal(got.as.parting.reason, row[i].heard);
    }
}

/* ---- foreign bytes ---- */

/* Each row is the bytes of an envelope; the text names what the refusal must say. */
static const struct hostile {
    const char *name;
    const char *bytes;
    size_t size;
    const char *says;
} hostile[] = {
#define ROW(name, bytes, says)                                                           \
    {                                                                                    \
        name, bytes, sizeof bytes - 1, says                                              \
    }
    ROW("nothing", "", "ends too early"),
    ROW("an array of 0x0fffffff", "\xdd\x0f\xff\xff\xff", "count exceeds"),
    ROW("a map of 0xffffffff", "\xdf\xff\xff\xff\xff", "count exceeds"),
    ROW("a map of 2^31, twice which wraps 32 bits", "\xdf\x80\x00\x00\x00",
        "count exceeds"),
    ROW("an array of 3 that holds 2", "\x93\x01\x02", "count exceeds"),
    ROW("a map whose last value is cut off", "\x81\xa1v", "ends too early"),
    ROW("a map whose last value has no body", "\x81\xa1v\xcd", "passes the end"),
    ROW("bytes of 4 GiB", "\xc6\xff\xff\xff\xff", "passes the end"),
    ROW("a string cut in its length", "\xdb\x00\x00", "passes the end"),
    ROW("a string one byte short",
        "\xa3"
        "ab",
        "passes the end"),
    ROW("a double one byte short", "\xcb\x00\x00\x00\x00\x00\x00\x00", "passes the end"),
    ROW("two objects", "\x01\x01", "bytes after"),
    ROW("the unused type", "\xc1", "0xc1"),
    ROW("an extension", "\xd4\x01\x00", "extension"),
    ROW("a big extension", "\xc9\xff\xff\xff\xff\x01", "extension"),
    ROW("nested 9 deep", "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x01", "nested"),
    ROW("no map", "\x93\x01\x02\x03", "expected a map"),
    ROW("an empty map", "\x80", "v is missing"),
    ROW("a key that is a number", "\x81\x01\x01", "no string"),
    ROW("another version",
        "\x82\xa1v\x02\xa3say\xa3"
        "bye",
        "version 2"),
    ROW("another version with words unknown here",
        "\x82\xa1v\x63\xa3say\xa4"
        "sing",
        "version 99"),
    ROW("a version that is text",
        "\x82\xa1v\xa1"
        "1"
        "\xa3say\xa3"
        "bye",
        "expected an integer"),
    ROW("two versions",
        "\x83\xa1v\x01\xa1v\x01\xa3say\xa3"
        "bye",
        "twice"),
    ROW("a word unknown",
        "\x82\xa1v\x01\xa3say\xa4"
        "sing",
        "not one of"),
    ROW("no body",
        "\x82\xa1v\x01\xa3say\xa3"
        "bye",
        "no body"),
    ROW("a body that is no map",
        "\x83\xa1v\x01\xa3say\xa3"
        "bye\xa4"
        "body\x01",
        "expected a map"),
    ROW("a welcome without its fields",
        "\x83\xa1v\x01\xa3say\xa7welcome\xa4"
        "body\x80",
        "admitted is missing"),
    ROW("credits below their range",
        "\x83\xa1v\x01\xa3say\xa7welcome\xa4"
        "body\x83\xa8"
        "admitted\xc3\xa3run\xa0\xa7"
        "credits\xff",
        "credits"),
    ROW("a run with a line break",
        "\x83\xa1v\x01\xa3say\xa7welcome\xa4"
        "body\x83\xa8"
        "admitted\xc3\xa3run\xa1\n\xa7"
        "credits\x01",
        "run"),
    ROW("a digest of 31 bytes",
        "\x83\xa1v\x01\xa3say\xa4"
        "fail\xa4"
        "body\x81\xa2id\xc4\x1f"
        "0123456789012345678901234567890",
        "32 bytes"),
    ROW("a unit without a content",
        "\x83\xa1v\x01\xa3say\xa4unit\xa4"
        "body\x82\xa2id\xc4\x20"
        "01234567890123456789012345678901\xa7"
        "attempt\x01",
        "no content"),
    ROW("a NaN where a number is wanted",
        "\x83\xa1v\x01\xa3say\xa4"
        "done\xa4"
        "body\x82\xa2id\xc4\x20"
        "01234567890123456789012345678901\xad"
        "queue_seconds\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
        "queue_seconds"),
#undef ROW
};

static void hostile_bytes_are_refused_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        const struct hostile *h = &hostile[i];
        struct tr_message m;
        struct tr_err err = {0};
        enum tr_status st = tr_message_decode(h->bytes, h->size, NULL, 0, &m, &err);
        if (st != TR_BADMSG || !strstr(err.text, h->says))
            fail_msg("%s: %s: %s", h->name, tr_status_name(st), err.text);
    }
}

/* message.h, invariant 3. */
static void unknown_fields_are_skipped_and_counted(void **state)
{
    (void)state;
    static const char bytes[] = "\x85\xa1v\x01\xa3say\xa3"
                                "bye\xa3new\x93\x01\x81\x01\x02\xc0\xa5"
                                "newer\xc2\xa4"
                                "body\x82\xa6reason\xa2ok\xa4what\xca\x00\x00\x00\x00";
    struct tr_message m;
    struct tr_err err = {0};
    enum tr_status st = tr_message_decode(bytes, sizeof bytes - 1, NULL, 0, &m, &err);
    if (st != TR_OK) fail_msg("%s", err.text);
    assert_int_equal(m.unknown, 3);
    assert_string_equal(m.as.parting.reason, "ok");
}

/* A good message, cut at every byte and with every byte changed: refused or read, never worse. */
static void torn_messages_do_no_harm(void **state)
{
    (void)state;
    struct tr_digests none = {.n = 0};
    struct tr_answer_judge a = {{reals, 5}};
    struct tr_message m = {.say = TR_SAY_DONE}, out;
    struct tr_buf head;
    m.as.done.id = digest("unit");
    assert_int_equal(
        tr_content_encode(&tr_answer_value_record, &none, &a, &m.content, NULL), TR_OK);
    assert_int_equal(tr_message_encode(&m, &head, NULL), TR_OK);
    for (size_t cut = 0; cut < head.size; cut++) {
        struct tr_err err = {0};
        assert_int_equal(
            tr_message_decode(head.at, cut, m.content.bulk, m.content.n, &out, &err),
            TR_BADMSG);
        assert_true(err.text[0]);
    }
    for (size_t i = 0; i < head.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            struct tr_answer_judge got;
            int64_t unknown = 0;
            head.at[i] = (char)(head.at[i] ^ 1 << bit);
            if (tr_message_decode(head.at, head.size, m.content.bulk, m.content.n, &out,
                                  NULL) == TR_OK) {
                (void)tr_content_decode(&out.content, &tr_answer_value_record, &got,
                                        &unknown, NULL);
                tr_message_fini(&out);
            }
            head.at[i] = (char)(head.at[i] ^ 1 << bit);
        }
    tr_buf_fini(&head);
    tr_message_fini(&m);
}

/* content.h, invariant 2: what is described and what came must agree. */
static void arrays_are_checked_against_their_description(void **state)
{
    (void)state;
    struct tr_digests none = {.n = 0};
    struct tr_ask_judge ask = {
        .token = {tokens, 5}, .start = {starts, 3}, .from = {ones, 2}};
    struct tr_content c;
    struct tr_ask_judge got;
    int64_t unknown = 0;
    assert_int_equal(tr_content_encode(&tr_ask_score_record, &none, &ask, &c, NULL),
                     TR_OK);
    assert_int_equal(c.n, 3);
    c.bulk[0].size -= 4;
    assert_int_equal(tr_content_decode(&c, &tr_ask_score_record, &got, &unknown, NULL),
                     TR_BADMSG);
    c.bulk[0].size += 4;
    c.n = 2;
    assert_int_equal(tr_content_decode(&c, &tr_ask_score_record, &got, &unknown, NULL),
                     TR_BADMSG);
    c.n = 3;
    assert_int_equal(tr_content_decode(&c, &tr_ask_value_record, &got, &unknown, NULL),
                     TR_BADMSG); /* another kind */
    assert_int_equal(tr_content_decode(&c, &tr_ask_score_record, &got, &unknown, NULL),
                     TR_OK);
    tr_content_fini(&c);
}

/* walk.h: a value of the outermost map is found by its key, never one within another value. */
static void a_part_is_found_by_its_key(void **state)
{
    (void)state;
    static const char bytes[] = "\x83\xa1"
                                "a\x81\xa1"
                                "b\x01\xa1"
                                "b\x92\x02\x03\xa1"
                                "b\x04";
    struct tr_slice s;
    assert_int_equal(tr_walk_check(bytes, sizeof bytes - 1, NULL), TR_OK);
    tr_walk_find(bytes, sizeof bytes - 1, "b", &s);
    assert_int_equal(s.size, 3);
    assert_memory_equal(s.at, "\x92\x02\x03", 3);
    tr_walk_find(bytes, sizeof bytes - 1, "c", &s);
    assert_null(s.at);
    tr_walk_find("\x93\xa1"
                 "b\x01\x02",
                 5, "b", &s);
    assert_null(s.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_said_is_heard),
        cmocka_unit_test(a_unit_arrives_as_it_left),
        cmocka_unit_test(an_id_is_that_of_the_content),
        cmocka_unit_test(judge_asks_are_checked),
        cmocka_unit_test(a_task_travels),
        cmocka_unit_test(a_result_travels),
        cmocka_unit_test(a_skipped_step_travels),
        cmocka_unit_test(numbers_that_are_not_finite_are_refused),
        cmocka_unit_test(values_outside_their_range_do_not_leave),
        cmocka_unit_test(names_of_a_hello_are_text),
        cmocka_unit_test(words_for_people_are_mended),
        cmocka_unit_test(hostile_bytes_are_refused_in_words),
        cmocka_unit_test(unknown_fields_are_skipped_and_counted),
        cmocka_unit_test(torn_messages_do_no_harm),
        cmocka_unit_test(arrays_are_checked_against_their_description),
        cmocka_unit_test(a_part_is_found_by_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

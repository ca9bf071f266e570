/* docs/protocol.md, clause by clause: chapters 1 to 4 here, from bytes to contents; the others in
 * test_protocol_company.c and test_protocol_units.c. `test_protocol --write` makes the page's tables and bytes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "proto/protocol.h"
#include "proto/step2_judge.h"
#include "proto/step3_learn.h"
#include "proto/unit.h"
#include "tests/unit/protocol_clauses.h"
#include "tests/unit/protocol_page.h"

static const char page_path[] = "docs/protocol.md";
static const char manual_path[] = "docs/man/troupe-protocol.7";

/* ---- helpers ---- */

#define HEAD                                                                             \
    "\xa1v\x01\xa3say\xa3"                                                               \
    "bye\xa4"                                                                            \
    "body"
#define REFUSED(bytes, says) refused(bytes, sizeof bytes - 1, says)
#define READ(bytes)          read_bytes(bytes, sizeof bytes - 1)

static void refused(const char *bytes, size_t size, const char *says)
{
    struct tr_message m;
    struct tr_err err = {0};
    assert_int_equal(tr_message_decode(bytes, size, NULL, 0, &m, &err), TR_BADMSG);
    if (!strstr(err.text, says)) fail_msg("\"%s\" says nothing of %s", err.text, says);
}

static struct tr_message read_bytes(const char *bytes, size_t size)
{
    struct tr_message m;
    struct tr_err err = {0};
    if (tr_message_decode(bytes, size, NULL, 0, &m, &err) != TR_OK)
        fail_msg("%s", err.text);
    return m;
}

/* An example of the page as frames, frames [1 + n]. */
struct frames {
    struct tr_message m;
    struct tr_buf head;
};

static struct frames open_frames(const char *name)
{
    struct frames f = {.m = page_message(name)};
    assert_int_equal(tr_message_encode(&f.m, &f.head, NULL), TR_OK);
    return f;
}

static void close_frames(struct frames *f)
{
    tr_buf_fini(&f->head);
    tr_message_fini(&f->m);
}

static enum tr_status decode(const struct frames *f, int frames, struct tr_message *out,
                             struct tr_err *err)
{
    return tr_message_decode(f->head.at, f->head.size, f->m.content.bulk, frames, out,
                             err);
}

/* The content of an example, read as a score. */
static enum tr_status read_score(const struct tr_content *c, struct tr_ask_judge *ask,
                                 struct tr_err *err)
{
    int64_t unknown = 0;
    return tr_content_decode(c, &tr_ask_score_record, ask, &unknown, err);
}

/* ---- 1. frames ---- */

static void clause_1_1_a_frame_for_each_array(void **state)
{
    (void)state;
    struct frames f = open_frames("unit");
    struct tr_message got;
    struct tr_ask_judge ask;
    assert_int_equal(f.m.content.n, 3);
    assert_int_equal(decode(&f, 3, &got, NULL), TR_OK);
    assert_int_equal(read_score(&got.content, &ask, NULL), TR_OK);
    assert_int_equal(((const int32_t *)ask.token.at)[5], 9);
    assert_int_equal(((const int64_t *)ask.from.at)[1], 1);
    tr_message_fini(&got);
    assert_int_equal(decode(&f, 2, &got, NULL),
                     TR_OK); /* a content is looked into later */
    assert_int_equal(read_score(&got.content, &ask, NULL), TR_BADMSG);
    tr_message_fini(&got);
    close_frames(&f);
}

static void clause_1_2_the_envelope_is_a_map_of_known_keys(void **state)
{
    (void)state;
    struct frames f = open_frames("bye");
    const struct tr_bulk extra = {"x", 1};
    struct tr_message got;
    REFUSED("\x93\x01\x02\x03", "map");
    REFUSED("\x82\xa3say\xa3"
            "bye\xa4"
            "body\x80",
            "v is missing");
    REFUSED("\x82\xa1v\x01\xa4"
            "body\x80",
            "say is missing");
    REFUSED("\x82\xa1v\x01\xa3say\xa3"
            "bye",
            "no body");
    REFUSED("\x83\xa1v\x01\xa3say\xa4"
            "done\xa4"
            "body\x81\xa2id\xc4\x20"
            "01234567890123456789012345678901",
            "no content");
    assert_int_equal(tr_message_decode(f.head.at, f.head.size, &extra, 1, &got, NULL),
                     TR_BADMSG);
    close_frames(&f);
}

static void clause_1_3_another_version_is_refused_whatever_it_says(void **state)
{
    (void)state;
    REFUSED("\x82\xa1v\x02\xa3say\xa4"
            "sing",
            "version 2");
    REFUSED("\x81\xa1v\x63", "version 99");
    struct tr_message m = READ("\x83" HEAD "\x80");
    tr_message_fini(&m);
}

/* Every example with every byte changed: read or refused, and the next one is read as ever. */
static void clause_1_4_what_is_refused_does_no_harm(void **state)
{
    (void)state;
    struct frames f = open_frames("unit");
    struct tr_message got;
    for (size_t i = 0; i < f.head.size; i++) {
        f.head.at[i] = (char)(f.head.at[i] ^ 0x55);
        struct tr_err err = {0};
        if (decode(&f, 3, &got, &err) == TR_OK)
            tr_message_fini(&got);
        else
            assert_true(err.text[0]);
        f.head.at[i] = (char)(f.head.at[i] ^ 0x55);
    }
    assert_int_equal(decode(&f, 3, &got, NULL), TR_OK);
    tr_message_fini(&got);
    close_frames(&f);
}

/* ---- 2. limits ---- */

static void clause_2_1_sizes_are_bounded(void **state)
{
    (void)state;
    static char large[65537];
    struct tr_message m;
    assert_int_equal(TR_HEAD_BYTES, 65536);
    assert_int_equal(TR_CONTENT_BYTES, 61440);
    assert_int_equal(TR_BULK_BYTES, 268435456);
    memset(large, 0xc0, sizeof large);
    struct tr_err err = {0};
    assert_int_equal(tr_message_decode(large, sizeof large, NULL, 0, &m, &err),
                     TR_BADMSG);
    assert_non_null(strstr(err.text, "65537 bytes"));
}

static void clause_2_2_counts_fit_what_is_there(void **state)
{
    (void)state;
    REFUSED("\xdd\x0f\xff\xff\xff", "count exceeds");
    REFUSED("\xdf\x80\x00\x00\x00", "count exceeds");
    REFUSED("\xc6\xff\xff\xff\xff", "passes the end");
    REFUSED("\xdb\x00\x00", "passes the end");
    REFUSED("\x81\xa1v", "ends too early");
}

static void clause_2_3_nesting_is_bounded(void **state)
{
    (void)state;
    struct tr_message m = READ("\x84\xa1x\x91\x91\x91\x91\x91\x91\x91\x01" HEAD "\x80");
    tr_message_fini(&m);
    REFUSED("\x84\xa1x\x91\x91\x91\x91\x91\x91\x91\x91\x01" HEAD "\x80", "nested");
}

static void clause_2_4_no_extensions(void **state)
{
    (void)state;
    REFUSED("\x84\xa1x\xd4\x01\x00" HEAD "\x80", "extension");
    REFUSED("\x84\xa1x\xc7\x00\x01" HEAD "\x80", "extension");
    REFUSED("\x84\xa1x\xc1" HEAD "\x80", "0xc1");
}

static void clause_2_5_nothing_follows(void **state)
{
    (void)state;
    REFUSED("\x83" HEAD "\x80\xc0", "bytes after");
}

/* ---- 3. fields ---- */

static void clause_3_1_any_order_of_keys(void **state)
{
    (void)state;
    struct tr_message m = READ("\x83\xa4"
                               "body\x83\xa7"
                               "credits\x04\xa3run\xa1r\xa8"
                               "admitted\xc3\xa3say\xa7welcome\xa1v\x01");
    assert_true(m.as.welcome.admitted);
    assert_int_equal(m.as.welcome.credits, 4);
    tr_message_fini(&m);
    REFUSED("\x81\x01\x01", "no string");
}

static void clause_3_2_unknown_key_is_skipped(void **state)
{
    (void)state;
    struct tr_message m = READ("\x83" HEAD "\x82\xa6"
                               "reason\xa0\xa4what\x01");
    assert_int_equal(m.unknown, 1);
    tr_message_fini(&m);
    m = READ("\x84\xa3new\x92\x81\xa1k\xc0\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00" HEAD
             "\x81\xa4what\x90");
    assert_int_equal(m.unknown, 2);
    tr_message_fini(&m);
}

static void clause_3_3_what_must_be_there(void **state)
{
    (void)state;
    REFUSED("\x83\xa1v\x01\xa3say\xa7welcome\xa4"
            "body\x81\xa8"
            "admitted\xc3",
            "run is missing");
    struct tr_message m = READ("\x83\xa1v\x01\xa3say\xa7welcome\xa4"
                               "body\x83\xa8"
                               "admitted\xc2\xa3run\xa0\xa7"
                               "credits\x00");
    assert_false(m.as.welcome.idle);
    assert_string_equal(m.as.welcome.reason, "");
    tr_message_fini(&m);
}

static void clause_3_4_no_key_twice(void **state)
{
    (void)state;
    REFUSED("\x83" HEAD "\x82\xa6"
            "reason\xa0\xa6"
            "reason\xa0",
            "twice");
    REFUSED("\x84\xa1v\x01" HEAD "\x80", "twice");
}

static void clause_3_5_kinds_and_ranges(void **state)
{
    (void)state;
#define DONE                                                                             \
    "\x84\xa1v\x01\xa7"                                                                  \
    "content\x80\xa3say\xa4"                                                             \
    "done\xa4"                                                                           \
    "body\x82\xa2id\xc4\x20"                                                             \
    "01234567890123456789012345678901\xad"                                               \
    "queue_seconds"
    REFUSED(DONE "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "queue_seconds");
    REFUSED(DONE "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "queue_seconds");
    REFUSED(DONE "\xff", "queue_seconds");
    REFUSED(DONE "\xa1"
                 "1",
            "queue_seconds");
    struct tr_message m =
        READ(DONE "\xce\x00\x00\x00\x02"); /* an integer, in a long form */
    assert_true(m.as.done.queue_seconds == 2);
    tr_message_fini(&m);
    m = READ(DONE "\xca\x3f\x00\x00\x00"); /* a short real */
    assert_true(m.as.done.queue_seconds == 0.5);
    tr_message_fini(&m);
    REFUSED("\x83\xa1v\x01\xa3say\xa4"
            "sing\xa4"
            "body\x80",
            "not one of");
#undef DONE
}

static void clause_3_6_text_is_plain(void **state)
{
    (void)state;
    char bytes[300] = "\x83" HEAD "\x81\xa6"
                      "reason\xd9\xc8";
    size_t at = strlen(bytes);
    REFUSED("\x83" HEAD "\x81\xa6"
            "reason\xa1\n",
            "plain text");
    REFUSED("\x83" HEAD "\x81\xa6"
            "reason\xa1\x7f",
            "plain text");
    memset(bytes + at, 'x', 200);
    refused(bytes, at + 200, "at most 199 bytes");
    bytes[at - 1] = (char)0xc7; /* 199 */
    struct tr_message m = read_bytes(bytes, at + 199);
    assert_int_equal(strlen(m.as.parting.reason), 199);
    tr_message_fini(&m);
}

static void clause_3_7_equal_contents_are_equal_bytes(void **state)
{
    (void)state;
    struct frames a = open_frames("unit"), b = open_frames("unit");
    assert_int_equal(a.head.size, b.head.size);
    assert_memory_equal(a.head.at, b.head.at, a.head.size);
    /* Each field stands there, in the order of the table, also the zeros. */
    struct tr_answer_save none = {.weights = {.n = 0}};
    struct tr_digests no = {.n = 0};
    struct tr_content c;
    assert_int_equal(tr_content_encode(&tr_answer_save_record, &no, &none, &c, NULL),
                     TR_OK);
    static const char want[] =
        "\x84\xa4kind\xa4save\xa7"
        "digests\x90\xa7payload\x82\xa7weights\x90\xa5state\x90\xa6"
        "arrays\x90";
    assert_int_equal(c.bytes.size, sizeof want - 1);
    assert_memory_equal(c.bytes.at, want, sizeof want - 1);
    tr_content_fini(&c);
    close_frames(&a);
    close_frames(&b);
}

/* ---- 4. contents and ids ---- */

static void clause_4_1_a_content_has_four_parts(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *says;
        size_t size;
    } rows[] = {
#define ROW(bytes, says) {bytes, says, sizeof bytes - 1}
        ROW("\x83\xa7"
            "digests\x90\xa7payload\x80\xa6"
            "arrays\x90",
            "kind is missing"),
        ROW("\x83\xa4kind\xa5score\xa7payload\x80\xa6"
            "arrays\x90",
            "digests is missing"),
        ROW("\x83\xa4kind\xa5score\xa7"
            "digests\x90\xa6"
            "arrays\x90",
            "no payload"),
        ROW("\x83\xa4kind\xa5score\xa7"
            "digests\x90\xa7payload\x80",
            "arrays are not described"),
        ROW("\x84\xa4kind\xa5value\xa7"
            "digests\x90\xa7payload\x80\xa6"
            "arrays\x90",
            "expected score, found value"),
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_content c;
        struct tr_ask_judge ask;
        struct tr_err err = {0};
        assert_int_equal(tr_content_copy(rows[i].bytes, rows[i].size, NULL, 0, &c, NULL),
                         TR_OK);
        assert_int_equal(read_score(&c, &ask, &err), TR_BADMSG);
        if (!strstr(err.text, rows[i].says)) fail_msg("%s: %s", rows[i].says, err.text);
        tr_content_fini(&c);
    }
}

static void clause_4_2_an_array_is_what_was_described(void **state)
{
    (void)state;
    struct frames f = open_frames("unit"), d = open_frames("done");
    struct tr_ask_judge ask;
    struct tr_answer_judge answer;
    float number[2] = {1, NAN};
    int64_t unknown = 0;
    assert_int_equal(read_score(&f.m.content, &ask, NULL), TR_OK);
    f.m.content.bulk[1].size -= 8;
    assert_int_equal(read_score(&f.m.content, &ask, NULL), TR_BADMSG);
    d.m.content.bulk[0].at = number;
    assert_int_equal(
        tr_content_decode(&d.m.content, &tr_answer_score_record, &answer, &unknown, NULL),
        TR_BADMSG);
    assert_int_equal(TR_BULK_MAX, 16);
    close_frames(&f);
    close_frames(&d);
}

static void put_u64(struct tr_buf *b, uint64_t x)
{
    for (int i = 0; i < 8; i++) {
        char byte = (char)(x >> (8 * i));
        tr_buf_put(b, &byte, 1, NULL);
    }
}

static void clause_4_3_an_id_is_a_sha256(void **state)
{
    (void)state;
    struct frames f = open_frames("unit");
    const struct tr_content *c = &f.m.content;
    struct tr_buf all;
    tr_buf_init(&all, 1 << 16);
    put_u64(&all, c->bytes.size);
    tr_buf_put(&all, c->bytes.at, c->bytes.size, NULL);
    for (int i = 0; i < c->n; i++) {
        put_u64(&all, c->bulk[i].size);
        tr_buf_put(&all, c->bulk[i].at, c->bulk[i].size, NULL);
    }
    struct tr_digest want = tr_digest_of(all.at, all.size);
    assert_true(tr_digest_equal(&want, &f.m.as.unit.id));
    tr_buf_fini(&all);
    close_frames(&f);
}

static void clause_4_4_a_unit_is_what_its_id_says(void **state)
{
    (void)state;
    struct frames f = open_frames("unit");
    struct tr_unit u;
    struct tr_message got;
    assert_int_equal(decode(&f, 3, &got, NULL), TR_OK);
    assert_int_equal(got.content.bytes.size, f.m.content.bytes.size); /* as they came */
    assert_memory_equal(got.content.bytes.at, f.m.content.bytes.at,
                        got.content.bytes.size);
    got.as.unit.id.byte[0] ^= 1;
    assert_int_equal(tr_unit_from(&got.as.unit.id, &got.content, &u, NULL), TR_BADMSG);
    tr_message_fini(&got);
    assert_int_equal(tr_unit_from(&f.m.as.unit.id, &f.m.content, &u, NULL), TR_OK);
    assert_int_equal(u.kind, TR_UNIT_SCORE);
    tr_unit_fini(&u);
    close_frames(&f);
}

static const struct CMUnitTest byte_clauses[] = {
    cmocka_unit_test(clause_1_1_a_frame_for_each_array),
    cmocka_unit_test(clause_1_2_the_envelope_is_a_map_of_known_keys),
    cmocka_unit_test(clause_1_3_another_version_is_refused_whatever_it_says),
    cmocka_unit_test(clause_1_4_what_is_refused_does_no_harm),
    cmocka_unit_test(clause_2_1_sizes_are_bounded),
    cmocka_unit_test(clause_2_2_counts_fit_what_is_there),
    cmocka_unit_test(clause_2_3_nesting_is_bounded),
    cmocka_unit_test(clause_2_4_no_extensions),
    cmocka_unit_test(clause_2_5_nothing_follows),
    cmocka_unit_test(clause_3_1_any_order_of_keys),
    cmocka_unit_test(clause_3_2_unknown_key_is_skipped),
    cmocka_unit_test(clause_3_3_what_must_be_there),
    cmocka_unit_test(clause_3_4_no_key_twice),
    cmocka_unit_test(clause_3_5_kinds_and_ranges),
    cmocka_unit_test(clause_3_6_text_is_plain),
    cmocka_unit_test(clause_3_7_equal_contents_are_equal_bytes),
    cmocka_unit_test(clause_4_1_a_content_has_four_parts),
    cmocka_unit_test(clause_4_2_an_array_is_what_was_described),
    cmocka_unit_test(clause_4_3_an_id_is_a_sha256),
    cmocka_unit_test(clause_4_4_a_unit_is_what_its_id_says),
};
enum { BYTE_CLAUSES = sizeof byte_clauses / sizeof *byte_clauses };

/* ---- the page itself ---- */

static void tables_and_bytes_are_those_of_the_code(void **state)
{
    (void)state;
    assert_true(page_check(page_path, false) > 30);
    assert_int_equal(page_check(manual_path, false), 1);
}

/* What two names of one payload share is shown once. */
static void every_table_is_on_the_page(void **state)
{
    (void)state;
    struct tr_buf page;
    char block[80];
    assert_int_equal(tr_file_read(page_path, 1 << 20, &page, NULL), TR_OK);
    for (int i = 0; tr_protocol[i].name; i++) {
        bool shown = false;
        for (int k = 0; tr_protocol[k].name && !shown; k++) {
            snprintf(block, sizeof block, "begin: table %s ", tr_protocol[k].name);
            shown = tr_protocol[k].record->field == tr_protocol[i].record->field &&
                    strstr(tr_buf_text(&page), block);
        }
        if (!shown) fail_msg("%s is not on the page", tr_protocol[i].name);
    }
    tr_buf_fini(&page);
}

static bool is_tested(const struct CMUnitTest *test, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strncmp(test[i].name, name, strlen(name)) == 0) return true;
    return false;
}

/* Each **N.M** of the page has a test of that name. */
static void every_clause_has_a_test(void **state)
{
    (void)state;
    struct tr_buf page;
    int clauses = 0;
    assert_int_equal(tr_file_read(page_path, 1 << 20, &page, NULL), TR_OK);
    for (const char *at = tr_buf_text(&page); (at = strstr(at, "\n**")); at += 3) {
        char name[40], *dot, *end;
        long chapter = strtol(at + 3, &dot, 10);
        long clause = *dot == '.' ? strtol(dot + 1, &end, 10) : 0;
        if (clause == 0 || strncmp(end, "**", 2) != 0) continue;
        clauses++;
        snprintf(name, sizeof name, "clause_%ld_%ld_", chapter, clause);
        if (!is_tested(byte_clauses, BYTE_CLAUSES, name) &&
            !is_tested(company_clauses, COMPANY_CLAUSES, name) &&
            !is_tested(unit_clauses, UNIT_CLAUSES, name))
            fail_msg("clause %ld.%ld has no test", chapter, clause);
    }
    assert_true(clauses >= 49);
    tr_buf_fini(&page);
}

static const struct CMUnitTest page_tests[] = {
    cmocka_unit_test(tables_and_bytes_are_those_of_the_code),
    cmocka_unit_test(every_table_is_on_the_page),
    cmocka_unit_test(every_clause_has_a_test),
};

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--write") == 0) {
        page_check(page_path, true);
        page_check(manual_path, true);
        return 0;
    }
    int failed = cmocka_run_group_tests(page_tests, NULL, NULL);
    failed += cmocka_run_group_tests(byte_clauses, NULL, NULL);
    failed += cmocka_run_group_tests(company_clauses, NULL, NULL);
    return failed + cmocka_run_group_tests(unit_clauses, NULL, NULL);
}

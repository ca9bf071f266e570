#include "tests/unit/protocol_page.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "proto/protocol.h"
#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "proto/step4_weights.h"
#include "proto/unit.h"

/* ---- tables ---- */

static const char *const kind_text[] = {"boolean", "integer", "real",    "word",
                                        "text",    "digest",  "digests", "i32[]",
                                        "i64[]",   "f32[]",   "f64[]",   "u8[]"};

/* 2^24 and not 16777216. */
static void put_number(struct tr_buf *b, double x)
{
    int64_t i = x >= 1024 && x < 9e15 ? (int64_t)x : 0;
    int shift = 0;
    while (i > 1 && i % 2 == 0) i /= 2, shift++;
    if (i == 1)
        tr_buf_printf(b, NULL, "2^%d", shift);
    else
        tr_buf_printf(b, NULL, "%.15g", x);
}

static void put_range(struct tr_buf *b, const struct tr_field *f)
{
    bool array = tr_field_is_array(f);
    if (f->kind == TR_FIELD_WORD)
        for (int i = 0; f->words[i]; i++)
            tr_buf_printf(b, NULL, "%s`%s`", i ? ", " : "", f->words[i]);
    if (f->kind == TR_FIELD_DIGESTS) tr_buf_printf(b, NULL, "at most %d", TR_DIGESTS_MAX);
    if (f->kind == TR_FIELD_TEXT) tr_buf_printf(b, NULL, "at most %.0f bytes", f->hi);
    if (f->kind != TR_FIELD_INT && f->kind != TR_FIELD_REAL && !array) return;
    put_number(b, f->lo);
    tr_buf_puts(b, " to ", NULL);
    put_number(b, f->hi);
    if (array) tr_buf_puts(b, " elements", NULL);
}

static void put_table(struct tr_buf *b, const struct tr_record *r)
{
    tr_buf_printf(b, NULL,
                  "%s\n\n| field | kind | | range | unit | meaning |\n"
                  "|---|---|---|---|---|---|\n",
                  r->meaning);
    for (int i = 0; i < r->n; i++) {
        const struct tr_field *f = &r->field[i];
        tr_buf_printf(b, NULL, "| `%s` | %s | %s | ", f->name, kind_text[f->kind],
                      f->optional ? "may" : "must");
        put_range(b, f);
        tr_buf_printf(b, NULL, " | %s | %s |\n", f->unit, f->meaning);
    }
}

static const struct tr_record *find_record(const char *name)
{
    for (int i = 0; tr_protocol[i].name; i++)
        if (strcmp(tr_protocol[i].name, name) == 0) return tr_protocol[i].record;
    fail_msg("no record %s", name);
    return NULL;
}

static void put_list(struct tr_buf *b, const char *name)
{
    bool manual = strcmp(name, "manual") == 0;
    if (!manual) tr_buf_puts(b, "| message | says |\n|---|---|\n", NULL);
    for (int i = 0; tr_say_word[i]; i++) {
        const char *meaning = tr_say_record((enum tr_say)i)->meaning;
        if (!manual) {
            tr_buf_printf(b, NULL, "| `%s` | %s |\n", tr_say_word[i], meaning);
            continue;
        }
        tr_buf_printf(b, NULL, ".It Cm %s\n", tr_say_word[i]);
        for (; *meaning; meaning++) /* mdoc: no ` in plain text */
            if (*meaning != '`') tr_buf_put(b, meaning, 1, NULL);
        tr_buf_puts(b, "\n", NULL);
    }
}

/* ---- examples ---- */

static struct tr_digest named(const char *text)
{
    return tr_digest_of(text, strlen(text));
}

/* Two sequences, 5 6 | 7 8 and 5 | 9: what stands behind the bar is the answer. */
static struct tr_message score_unit(void)
{
    static const int32_t token[] = {5, 6, 7, 8, 5, 9};
    static const int64_t start[] = {0, 4, 6}, from[] = {2, 1};
    struct tr_ask_judge ask = {{token, 6}, {start, 3}, {from, 2}};
    struct tr_digest weights = named("mine");
    struct tr_digests needs = tr_digests_one(&weights);
    struct tr_unit u;
    assert_int_equal(tr_unit_make(&tr_ask_score_record, &needs, &ask, &u, NULL), TR_OK);
    struct tr_message m = {.say = TR_SAY_UNIT, .content = u.content};
    m.as.unit = (struct tr_deliver){.id = u.id, .attempt = 1};
    return m;
}

static struct tr_message score_done(void)
{
    static const float number[] = {0.5F, -1};
    struct tr_message unit = score_unit(), m = {.say = TR_SAY_DONE};
    struct tr_digest weights = named("mine");
    struct tr_digests used = tr_digests_one(&weights);
    struct tr_answer_judge a = {{number, 2}};
    m.as.done = (struct tr_done){.id = unit.as.unit.id, .compute_seconds = 0.25};
    assert_int_equal(
        tr_content_encode(&tr_answer_score_record, &used, &a, &m.content, NULL), TR_OK);
    tr_message_fini(&unit);
    return m;
}

static struct tr_message chunk_of_three(void)
{
    struct tr_message m = {.say = TR_SAY_CHUNK};
    m.as.chunk = (struct tr_chunk){.digest = named("weights"), .index = 2, .of = 3};
    struct tr_digests used = tr_digests_one(&m.as.chunk.digest);
    struct tr_bytes b = {{"\x01\x02\x03", 3}};
    assert_int_equal(tr_content_encode(&tr_chunk_record, &used, &b, &m.content, NULL),
                     TR_OK);
    return m;
}

struct tr_message page_message(const char *name)
{
    struct tr_digest mine = named("mine"), weights = named("weights");
    struct tr_message m = {.say = TR_SAY_HELLO};
    if (strcmp(name, "unit") == 0) return score_unit();
    if (strcmp(name, "done") == 0) return score_done();
    if (strcmp(name, "chunk") == 0) return chunk_of_three();
    if (strcmp(name, "hello") == 0) {
        m.as.hello = (struct tr_hello){.role = TR_ROLE_REWARD,
                                       .instance = "mine-1",
                                       .incarnation = 1,
                                       .holds = tr_digests_one(&mine),
                                       .credits = 4};
    } else if (strcmp(name, "welcome") == 0) {
        m.say = TR_SAY_WELCOME;
        m.as.welcome = (struct tr_welcome){.admitted = true, .run = "r", .credits = 4};
    } else if (strcmp(name, "progress") == 0) {
        m.say = TR_SAY_PROGRESS;
        m.as.progress.in_hand = tr_digests_one(&mine);
    } else if (strcmp(name, "fail") == 0) {
        m.say = TR_SAY_FAIL;
        m.as.fail = (struct tr_fail){
            .id = mine, .code = TR_NOMEM, .text = "no room", .retryable = true};
    } else if (strcmp(name, "bye") == 0) {
        m.say = TR_SAY_BYE;
    } else if (strcmp(name, "load") == 0) {
        m.say = TR_SAY_LOAD;
        m.as.load = (struct tr_load){.digest = weights, .source = "tcp://127.0.0.1:7000"};
    } else if (strcmp(name, "get") == 0) {
        m.say = TR_SAY_GET;
        m.as.get = (struct tr_get){.digest = weights, .first = -1, .count = 1};
    } else if (strcmp(name, "ask") == 0) {
        m.say = TR_SAY_ASK;
        m.as.ask = (struct tr_ask){.what = "status"};
    } else {
        fail_msg("no example %s", name);
    }
    return m;
}

static void put_frame(struct tr_buf *b, const unsigned char *at, size_t size)
{
    for (size_t line = 0; line < size; line += 16) {
        tr_buf_puts(b, "    ", NULL);
        for (size_t i = line; i < line + 16; i++) {
            if (i < size)
                tr_buf_printf(b, NULL, "%02x ", at[i]);
            else
                tr_buf_puts(b, "   ", NULL);
        }
        tr_buf_puts(b, "  ", NULL);
        for (size_t i = line; i < line + 16 && i < size; i++)
            tr_buf_printf(b, NULL, "%c", at[i] < 127 && isprint(at[i]) ? at[i] : '.');
        tr_buf_puts(b, "\n", NULL);
    }
}

static void put_bytes(struct tr_buf *b, const char *name)
{
    struct tr_message m = page_message(name);
    struct tr_buf head;
    assert_int_equal(tr_message_encode(&m, &head, NULL), TR_OK);
    put_frame(b, (const unsigned char *)head.at, head.size);
    for (int i = 0; i < m.content.n; i++) {
        tr_buf_printf(b, NULL, "\n    frame %d:\n", i + 1);
        put_frame(b, m.content.bulk[i].at, m.content.bulk[i].size);
    }
    tr_buf_fini(&head);
    tr_message_fini(&m);
}

/* ---- pages ---- */

static void put_block(struct tr_buf *b, const char *name)
{
    if (strncmp(name, "table ", 6) == 0)
        put_table(b, find_record(name + 6));
    else if (strncmp(name, "list ", 5) == 0)
        put_list(b, name + 5);
    else if (strncmp(name, "bytes ", 6) == 0)
        put_bytes(b, name + 6);
    else
        fail_msg("no block %s", name);
}

/* The name behind "begin: " in a line; false when it begins no block. */
static bool begins(const char *line, size_t size, char name[64])
{
    char text[256];
    if (size >= sizeof text) return false;
    memcpy(text, line, size);
    text[size] = 0;
    char *at = strstr(text, "begin: ");
    return at && sscanf(at, "begin: %63[a-z0-9_ ]", name) == 1;
}

static void trim(char *name)
{
    size_t n = strlen(name);
    while (n > 0 && name[n - 1] == ' ') name[--n] = 0;
}

/* The page as it should be. */
static int rewrite(const char *page, struct tr_buf *out)
{
    int blocks = 0;
    const char *at = page;
    while (*at) {
        const char *end = strchr(at, '\n');
        char name[64], last[80];
        size_t size = end ? (size_t)(end - at) + 1 : strlen(at);
        tr_buf_put(out, at, size, NULL);
        bool block = begins(at, size, name);
        at += size;
        if (!block) continue;
        trim(name);
        bool markdown = page[0] == '#';
        if (markdown) tr_buf_puts(out, "\n", NULL);
        put_block(out, name);
        if (markdown) tr_buf_puts(out, "\n", NULL);
        snprintf(last, sizeof last, "end: %s", name);
        at = strstr(at, last);
        if (!at) fail_msg("block %s has no end", name);
        while (at[-1] != '\n') at--;
        blocks++;
    }
    return blocks;
}

static void show_difference(const char *path, const char *is, const char *should)
{
    int line = 1;
    while (*is && *is == *should) {
        line += *is == '\n';
        is++;
        should++;
    }
    fail_msg(
        "%s:%d is not what the table says, but \"%.40s\"; test_protocol --write makes it anew",
        path, line, is);
}

int page_check(const char *path, bool write)
{
    struct tr_buf page, want;
    assert_int_equal(tr_file_read(path, 1 << 20, &page, NULL), TR_OK);
    tr_buf_init(&want, 1 << 20);
    int blocks = rewrite(tr_buf_text(&page), &want);
    if (write)
        assert_int_equal(tr_file_write(path, want.at, want.size, NULL), TR_OK);
    else if (strcmp(tr_buf_text(&page), tr_buf_text(&want)) != 0)
        show_difference(path, tr_buf_text(&page), tr_buf_text(&want));
    tr_buf_fini(&page);
    tr_buf_fini(&want);
    return blocks;
}

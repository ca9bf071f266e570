/* Tokenizers are made here, word by word, so that each rule of the pipeline is seen alone; the
 * vocabularies of real models are the golden cases' business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/text/split.h"
#include "core/text/tokenizer.h"
#include "core/text/utf8.h"
#include "tests/unit/made_tokenizer.h"

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33);
}

/* The tokens of a text, their spellings joined by |. */
static void spell(const struct tr_tokenizer *t, const char *text, size_t size,
                  struct tr_buf *out)
{
    struct tr_ids ids = {0};
    struct tr_err err = {0};
    tr_buf_init(out, 1 << 20);
    if (tr_tokenizer_encode(t, text, size, &ids, &err) != TR_OK) fail_msg("%s", err.text);
    for (int64_t i = 0; i < ids.count; i++)
        tr_buf_printf(out, NULL, "%s%s", i ? "|" : "", tr_tokenizer_token(t, ids.at[i]));
    tr_ids_fini(&ids);
}

/* ---- the pipeline, rule by rule ---- */

#define SPLIT(regex)                                                                                \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex \
    "\"},\"behavior\":\"Isolated\",\"invert\":false}," MADE_BYTE_LEVEL "]}"
#define LLAMA3                                                                            \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|" \
    " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define GPT2 "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define WORDS                                                                            \
    ",\"ab\":256,\"bc\":257,\"abc\":258,\"abcd\":259,\"\\u0120a\":260,\"12\":261,\"123\":262"
#define PAIRS                "\"b c\",[\"a\",\"b\"],\"a bc\",\"\\u0120 a\",\"1 2\",\"12 3\""
#define ADDED(content, more) "{\"id\":263,\"content\":\"" content "\"" more "}"
#define SPECIAL              ",\"special\":true,\"normalized\":false"

static const struct pipe {
    const char *name;
    struct made_tokenizer made;
    const char *text, *want;
} pipes[] = {
    {"empty", {0}, "", ""},
    {"bytes alone", {0}, "a b", "a|\xC4\xA0|b"},
    {"a list of one decoder",
     {.decoder = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"}]}"},
     "a",
     "a"},
    {"lowest rank first", {.words = WORDS, .merges = PAIRS}, "abc", "abc"},
    {"leftmost of equal ranks",
     {.words = WORDS, .merges = "\"a b\",\"b c\""},
     "abab",
     "ab|ab"},
    {"rank before place", {.words = WORDS, .merges = "\"b c\",\"a b\""}, "abc", "a|bc"},
    {"last rank of a pair given twice",
     {.words = WORDS, .merges = "\"a b\",\"b c\",\"a b\""},
     "abc",
     "a|bc"},
    {"a word without merges to it", {.words = WORDS, .merges = PAIRS}, "abcd", "abc|d"},
    {"ignore_merges keeps it whole",
     {.words = WORDS, .merges = PAIRS, .model = ",\"ignore_merges\":true", .pre = GPT2},
     "abcd abcd",
     "abcd|\xC4\xA0|abc|d"},
    {"a byte without a word is dropped",
     {.words = WORDS, .merges = PAIRS, .without = 'x'},
     "axbxxc",
     "abc"},
    {"or unknown, each",
     {.words = WORDS, .merges = PAIRS, .model = ",\"unk_token\":\"?\"", .without = 'x'},
     "axbxxc",
     "a|?|b|?|?|c"},
    {"or fused",
     {.words = WORDS,
      .merges = PAIRS,
      .model = ",\"unk_token\":\"?\",\"fuse_unk\":true",
      .without = 'x'},
     "axbxxc",
     "a|?|b|?|c"},
    {"digits in threes",
     {.words = WORDS, .merges = PAIRS, .pre = SPLIT(LLAMA3)},
     "12312 1234",
     "123|12|\xC4\xA0|123|4"},
    {"digits one by one",
     {.words = WORDS,
      .merges = PAIRS,
      .pre =
          "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":"
          "true}," GPT2 "]}"},
     "123 1",
     "1|2|3|\xC4\xA0|1"},
    {"digits together",
     {.words = WORDS,
      .merges = PAIRS,
      .pre =
          "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"}," GPT2 "]}"},
     "ab123",
     "ab|123"},
    {"a space before",
     {.words = WORDS, .merges = PAIRS, .pre = "{\"type\":\"ByteLevel\"}"},
     "a",
     "\xC4\xA0"
     "a"},
    {"GPT-2's words",
     {.words = WORDS, .merges = PAIRS, .pre = GPT2},
     "b a  a'sa",
     "b|\xC4\xA0"
     "a|\xC4\xA0|\xC4\xA0"
     "a|'|s|a"},
    {"merges stop at words",
     {.words = WORDS, .merges = PAIRS, .pre = SPLIT("b")},
     "abc",
     "a|b|c"},
    {"U+180E is no white space",
     {.pre = SPLIT("\\\\s+")},
     "\xE1\xA0\x8E",
     "\xC3\xA1|\xC5\x82|\xC4\xB0"},
    {"letters newer than PCRE2's Unicode",
     {.pre = SPLIT("[^\\\\p{L}]")},
     "\xF0\xB1\x8D\x90",
     "\xC3\xB0|\xC2\xB1|\xC4\xAF|\xC4\xB2"},
    {"NFC", {.normalizer = "{\"type\":\"NFC\"}"}, "e\xCC\x81", "\xC3\x83|\xC2\xA9"},
    {"no NFC", {0}, "e\xCC\x81", "e|\xC3\x8C|\xC4\xA3"},
    {"NFC of Unicode 9, to which U+1DFA is no mark",
     {.normalizer = "{\"type\":\"NFC\"}"},
     "a\xE1\xB7\xBA\xCC\x81",
     "a|\xC3\xA1|\xC2\xB7|\xC2\xBA|\xC3\x8C|\xC4\xA3"},
    {"damage becomes U+FFFD", {0}, "a\xFF", "a|\xC3\xAF|\xC2\xBF|\xC2\xBD"},
    {"an added token",
     {.words = WORDS, .added = ADDED("<x>", SPECIAL)},
     "a<x>b<x",
     "a|<x>|b|<|x"},
    {"the longest at a place",
     {.words = WORDS,
      .added =
          ADDED("<x", SPECIAL) ",{\"id\":264,\"content\":\"<xy>\",\"special\":true}"},
     "<xy><x>",
     "<xy>|<x|>"},
    {"the leftmost of two",
     {.words = WORDS,
      .added =
          ADDED("xy", SPECIAL) ",{\"id\":264,\"content\":\"yzzz\",\"special\":true}"},
     "xyzzz",
     "xy|z|z|z"},
    {"lstrip",
     {.words = WORDS, .added = ADDED("<x>", SPECIAL ",\"lstrip\":true")},
     "a  <x> b",
     "a|<x>|\xC4\xA0|b"},
    {"rstrip",
     {.words = WORDS, .added = ADDED("<x>", SPECIAL ",\"rstrip\":true")},
     "a <x> \n b",
     "a|\xC4\xA0|<x>|b"},
    {"strips meet",
     {.words = WORDS, .added = ADDED("<x>", SPECIAL ",\"lstrip\":true,\"rstrip\":true")},
     "<x>  <x>",
     "<x>|<x>"},
    {"single_word",
     {.words = WORDS, .added = ADDED("xx", SPECIAL ",\"single_word\":true")},
     "xx axx xxb \xC3\xA9xx -xx-",
     "xx|\xC4\xA0|a|x|x|\xC4\xA0|x|x|b|\xC4\xA0|\xC3\x83|\xC2\xA9|x|x|\xC4\xA0|-|xx|-"},
    {"normalized: searched after NFC",
     {.words = WORDS,
      .normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]}",
      .added = ADDED("e\\u0301", ",\"special\":false,\"normalized\":true")},
     "\xC3\xA9",
     "e\xCC\x81"},
    {"not normalized: searched before",
     {.words = WORDS,
      .normalizer = "{\"type\":\"NFC\"}",
      .added = ADDED("e\\u0301", SPECIAL)},
     "\xC3\xA9 e\xCC\x81",
     "\xC3\x83|\xC2\xA9|\xC4\xA0|e\xCC\x81"},
    {"of two that NFC makes one, the special",
     {.words = WORDS,
      .normalizer = "{\"type\":\"NFC\"}",
      .added =
          ADDED("\\u1ebd", "") ",{\"id\":264,\"content\":\"e\\u0303\",\"special\":true,"
                               "\"normalized\":true}"},
     "\xE1\xBA\xBD",
     "e\xCC\x83"},
    {"an added token that is a word keeps its id",
     {.words = WORDS, .added = "{\"id\":258,\"content\":\"abc\"" SPECIAL "}"},
     "xabcx",
     "x|abc|x"},
};

static void pipeline_follows_the_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pipes / sizeof *pipes; i++) {
        struct tr_buf got;
        struct tr_tokenizer *t = made_open(&pipes[i].made);
        spell(t, pipes[i].text, strlen(pipes[i].text), &got);
        if (strcmp(tr_buf_text(&got), pipes[i].want) != 0)
            fail_msg("%s: got %s, wanted %s", pipes[i].name, tr_buf_text(&got),
                     pipes[i].want);
        tr_buf_fini(&got);
        tr_tokenizer_close(t);
    }
}

static const struct cut {
    const char *name;
    enum tr_split_behaviour behaviour;
    bool invert;
    const char *text, *want;
} cuts[] = {
    {"isolated", TR_SPLIT_ISOLATED, false, "the-final--countdown",
     "the|-|final|-|-|countdown"},
    {"removed", TR_SPLIT_REMOVED, false, "the-final--countdown", "the|final|countdown"},
    {"previous", TR_SPLIT_WITH_PREVIOUS, false, "the-final--countdown",
     "the-|final-|-|countdown"},
    {"next", TR_SPLIT_WITH_NEXT, false, "the-final--countdown",
     "the|-final|-|-countdown"},
    {"contiguous", TR_SPLIT_CONTIGUOUS, false, "the-final--countdown",
     "the|-|final|--|countdown"},
    {"isolated, inverted", TR_SPLIT_ISOLATED, true, "a-b--", "a|-|b|-|-"},
    {"removed, inverted", TR_SPLIT_REMOVED, true, "a-b--", "-|-|-"},
    {"match first", TR_SPLIT_WITH_PREVIOUS, false, "-a-", "-|a-"},
    {"match last", TR_SPLIT_WITH_NEXT, false, "-a-", "-a|-"},
    {"nothing but a match", TR_SPLIT_REMOVED, false, "-", ""},
    {"no match", TR_SPLIT_CONTIGUOUS, false, "abc", "abc"},
    {"empty", TR_SPLIT_ISOLATED, false, "", ""},
};

static void split_behaves_as_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        const struct cut *c = &cuts[i];
        struct tr_splitter s = {.steps = 1};
        struct tr_spans out = {0}, spare = {0};
        struct tr_matcher *m = NULL;
        struct tr_buf got;
        tr_buf_init(&got, 1024);
        s.step[0].behaviour = c->behaviour;
        s.step[0].invert = c->invert;
        assert_int_equal(tr_pattern_create_literal("-", 1, &s.step[0].pattern, NULL),
                         TR_OK);
        assert_int_equal(tr_matcher_create(&m, NULL), TR_OK);
        assert_int_equal(
            tr_split_run(&s, m, c->text, strlen(c->text), &out, &spare, NULL), TR_OK);
        for (size_t k = 0; k < out.count; k++)
            tr_buf_printf(&got, NULL, "%s%.*s", k ? "|" : "",
                          (int)(out.at[k].end - out.at[k].begin),
                          c->text + out.at[k].begin);
        if (strcmp(tr_buf_text(&got), c->want) != 0)
            fail_msg("%s: got %s, wanted %s", c->name, tr_buf_text(&got), c->want);
        tr_buf_fini(&got);
        tr_spans_fini(&out);
        tr_spans_fini(&spare);
        tr_matcher_destroy(m);
        tr_splitter_fini(&s);
    }
}

/* ---- merges against the definition ---- */

struct naive {
    int32_t left, right, id;
};

/* Merges as the definition says: find the best pair, merge it, start again. */
static int64_t merge_naively(const struct naive *merge, int merges, int32_t *id,
                             int64_t n)
{
    for (;;) {
        int best = merges;
        int64_t at = -1;
        for (int64_t i = 0; i + 1 < n; i++)
            for (int k = 0; k < best; k++)
                if (merge[k].left == id[i] && merge[k].right == id[i + 1]) {
                    best = k;
                    at = i;
                }
        if (at < 0) return n;
        id[at] = merge[best].id;
        memmove(id + at + 1, id + at + 2, (size_t)(n - at - 2) * sizeof *id);
        n--;
    }
}

/* 24 random merges over a to d, each of words that are there already. */
static struct tr_tokenizer *make_merges(uint64_t *seed, struct naive *merge)
{
    enum { MERGES = 24 };
    char word[4 + MERGES][64] = {"a", "b", "c", "d"};
    struct tr_buf words, merges;
    int have = 4, made = 0;
    tr_buf_init(&words, 1 << 16);
    tr_buf_init(&merges, 1 << 16);
    while (made < MERGES) {
        int p = (int)(next_random(seed) % (uint32_t)have),
            q = (int)(next_random(seed) % (uint32_t)have);
        char joined[130];
        int known = -1;
        snprintf(joined, sizeof joined, "%s%s", word[p], word[q]);
        for (int k = 0; k < have; k++)
            if (strcmp(word[k], joined) == 0) known = k;
        if (known >= 0 || strlen(joined) > 12) continue;
        memcpy(word[have], joined, sizeof word[have]);
        merge[made] = (struct naive){p < 4 ? 'a' + p : 252 + p, q < 4 ? 'a' + q : 252 + q,
                                     252 + have};
        tr_buf_printf(&words, NULL, ",\"%s\":%d", joined, 252 + have);
        tr_buf_printf(&merges, NULL, "%s\"%s %s\"", made ? "," : "", word[p], word[q]);
        have++;
        made++;
    }
    struct tr_tokenizer *t = made_open(&(struct made_tokenizer){
        .words = tr_buf_text(&words), .merges = tr_buf_text(&merges)});
    tr_buf_fini(&words);
    tr_buf_fini(&merges);
    return t;
}

static void merges_equal_their_definition(void **state)
{
    (void)state;
    for (uint64_t first = 1; first <= 60; first++) {
        uint64_t seed = first;
        struct naive merge[24];
        struct tr_tokenizer *t = make_merges(&seed, merge);
        for (int round = 0; round < 20; round++) {
            char text[64];
            int32_t want[64];
            struct tr_ids got = {0};
            size_t n = next_random(&seed) % sizeof text;
            for (size_t i = 0; i < n; i++) {
                want[i] = 'a' + (int32_t)(next_random(&seed) % 4);
                text[i] = (char)want[i];
            }
            int64_t wanted = merge_naively(merge, 24, want, (int64_t)n);
            assert_int_equal(tr_tokenizer_encode(t, text, n, &got, NULL), TR_OK);
            if (got.count != wanted ||
                (wanted && memcmp(got.at, want, (size_t)wanted * sizeof *want) != 0))
                fail_msg("seed %llu, text %.*s", (unsigned long long)first, (int)n, text);
            tr_ids_fini(&got);
        }
        tr_tokenizer_close(t);
    }
}

static void a_long_piece_is_not_quadratic(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    struct tr_tokenizer *t = made_open(&(struct made_tokenizer){
        .words = ",\"aa\":256,\"aaaa\":257", .merges = "\"a a\",\"aa aa\""});
    char *text = malloc(SIZE);
    assert_non_null(text);
    memset(text, 'a', SIZE);
    struct tr_ids ids = {0};
    clock_t start = clock();
    assert_int_equal(tr_tokenizer_encode(t, text, SIZE, &ids, NULL), TR_OK);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    assert_int_equal(ids.count, SIZE / 4);
    for (int64_t i = 0; i < ids.count; i++) assert_int_equal(ids.at[i], 257);
    /* A quadratic merge of 2^20 bytes takes many minutes; this one a fraction of a second. */
    assert_true(seconds < 20);
    tr_ids_fini(&ids);
    free(text);
    tr_tokenizer_close(t);
}

/* ---- there and back ---- */

/* Random valid UTF-8: code points of 1 to 4 bytes. */
static size_t random_text(uint64_t *seed, char *out, size_t room)
{
    static const int32_t top[4] = {0x80, 0x800, 0xD800, 0x110000};
    size_t n = 0, want = next_random(seed) % (room - 4);
    while (n < want) {
        int32_t kind = (int32_t)(next_random(seed) % 4);
        int32_t c = (int32_t)(next_random(seed) % (uint32_t)top[kind]);
        if (c >= 0xD800 && c < 0xE000) continue;
        n += tr_utf8_put(c, out + n);
    }
    return n;
}

static void check_round(const struct tr_tokenizer *t, const char *text, size_t n)
{
    struct tr_ids ids = {0};
    struct tr_buf whole, streamed;
    struct tr_stream stream = {0};
    tr_buf_init(&whole, 1 << 16);
    tr_buf_init(&streamed, 1 << 16);
    assert_int_equal(tr_tokenizer_encode(t, text, n, &ids, NULL), TR_OK);
    assert_int_equal(tr_tokenizer_decode(t, ids.at, ids.count, false, &whole, NULL),
                     TR_OK);
    assert_int_equal(whole.size, n);
    assert_memory_equal(tr_buf_text(&whole), text, n);
    for (int64_t i = 0; i < ids.count; i++) {
        size_t before = streamed.size;
        assert_int_equal(tr_stream_put(&stream, t, ids.at[i], false, &streamed, NULL),
                         TR_OK);
        size_t piece = streamed.size - before;
        assert_int_equal(tr_utf8_valid(tr_buf_text(&streamed) + before, piece), piece);
    }
    assert_int_equal(tr_stream_flush(&stream, &streamed, NULL), TR_OK);
    assert_int_equal(streamed.size, n);
    assert_memory_equal(tr_buf_text(&streamed), text, n);
    tr_ids_fini(&ids);
    tr_buf_fini(&whole);
    tr_buf_fini(&streamed);
}

/* Invariant 1 (decode after encode gives the text) and 2 (streaming). */
static void invariants_1_and_2_there_and_back(void **state)
{
    (void)state;
    uint64_t seed = 20240917;
    struct tr_tokenizer *t = made_open(
        &(struct made_tokenizer){.words = WORDS, .merges = PAIRS, .pre = SPLIT(LLAMA3)});
    for (int round = 0; round < 500; round++) {
        char text[256];
        size_t n = random_text(&seed, text, sizeof text);
        check_round(t, text, n);
    }
    tr_tokenizer_close(t);
}

/* Any ids at all: the pieces of the stream, joined, are what decoding at once gives. */
static void invariant_2_holds_for_damaged_text(void **state)
{
    (void)state;
    uint64_t seed = 77;
    struct tr_tokenizer *t = made_open(
        &(struct made_tokenizer){.words = WORDS, .added = ADDED("<x>", SPECIAL)});
    for (int round = 0; round < 5000; round++) {
        int32_t id[12];
        struct tr_buf whole, streamed;
        struct tr_stream stream = {0};
        tr_buf_init(&whole, 1 << 12);
        tr_buf_init(&streamed, 1 << 12);
        int n = (int)(next_random(&seed) % 12);
        for (int i = 0; i < n; i++) /* mostly bytes of characters that are not ASCII */
            id[i] = (int32_t)(next_random(&seed) % 8 ? 0x80 + next_random(&seed) % 0x80
                                                     : next_random(&seed) % 270);
        for (int i = 0; i < n; i++) {
            assert_int_equal(tr_stream_put(&stream, t, id[i], round % 2, &streamed, NULL),
                             TR_OK);
            assert_true(stream.count <= 3);
            assert_int_equal(tr_utf8_valid(tr_buf_text(&streamed), streamed.size),
                             streamed.size);
        }
        assert_int_equal(tr_stream_flush(&stream, &streamed, NULL), TR_OK);
        assert_int_equal(tr_tokenizer_decode(t, id, n, round % 2, &whole, NULL), TR_OK);
        assert_string_equal(tr_buf_text(&streamed), tr_buf_text(&whole));
        tr_buf_fini(&whole);
        tr_buf_fini(&streamed);
    }
    tr_tokenizer_close(t);
}

static const struct repair {
    const char *text, *want;
} repairs[] = {
    {"", ""},
    {"abc", "abc"},
    {"\x80", "\xEF\xBF\xBD"},
    {"a\xC3", "a\xEF\xBF\xBD"},
    {"\xE4\xB8", "\xEF\xBF\xBD"},                             /* cut: one */
    {"\xE4\xB8x", "\xEF\xBF\xBDx"},                           /* broken off: one */
    {"\xF0\x9F\x98", "\xEF\xBF\xBD"},                         /* cut: one */
    {"\xF0\x9F\x98\xF0", "\xEF\xBF\xBD\xEF\xBF\xBD"},         /* and another begun */
    {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, /* a surrogate: each byte */
    {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},                 /* overlong: each byte */
    {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF"},
};

static void damage_is_repaired_as_the_peer_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof repairs / sizeof *repairs; i++) {
        struct tr_buf got;
        tr_buf_init(&got, 1024);
        assert_int_equal(
            tr_utf8_repair(repairs[i].text, strlen(repairs[i].text), &got, NULL), TR_OK);
        if (strcmp(tr_buf_text(&got), repairs[i].want) != 0) fail_msg("row %zu", i);
        tr_buf_fini(&got);
    }
}

static void special_tokens_can_be_skipped(void **state)
{
    (void)state;
    const int32_t id[] = {'a', 263, 264, 9999, -1, 'b'};
    struct tr_tokenizer *t = made_open(&(struct made_tokenizer){
        .words = WORDS,
        .added = ADDED("<x>", SPECIAL) ",{\"id\":264,\"content\":\"<y z>\"}"});
    struct tr_buf all, some;
    tr_buf_init(&all, 99);
    tr_buf_init(&some, 99);
    assert_int_equal(tr_tokenizer_decode(t, id, 6, false, &all, NULL), TR_OK);
    assert_int_equal(tr_tokenizer_decode(t, id, 6, true, &some, NULL), TR_OK);
    assert_string_equal(tr_buf_text(&all), "a<x><y z>b"); /* unknown ids have no text */
    assert_string_equal(tr_buf_text(&some), "a<y z>b");
    assert_true(tr_tokenizer_is_special(t, 263));
    assert_false(tr_tokenizer_is_special(t, 264));
    assert_false(tr_tokenizer_is_special(t, 9999));
    assert_int_equal(tr_tokenizer_size(t), 265);
    assert_int_equal(tr_tokenizer_id(t, "<y z>"), 264);
    assert_int_equal(tr_tokenizer_id(t, "<none>"), -1);
    assert_null(tr_tokenizer_token(t, 265));
    assert_null(tr_tokenizer_token(t, -1));
    tr_buf_fini(&all);
    tr_buf_fini(&some);
    tr_tokenizer_close(t);
}

static void special_tokens_can_be_added(void **state)
{
    (void)state;
    bool added;
    int32_t id;
    struct tr_buf got;
    struct tr_ids stops = {0};
    struct tr_tokenizer *t = made_open(&(struct made_tokenizer){.words = WORDS});
    assert_int_equal(tr_tokenizer_add_special(t, "<|end|>", &id, &added, NULL), TR_OK);
    assert_true(added);
    assert_int_equal(id, 263);
    assert_int_equal(tr_tokenizer_add_special(t, "<|end|>", &id, &added, NULL), TR_OK);
    assert_false(added);
    assert_int_equal(tr_tokenizer_add_special(t, "abcd", &id, &added, NULL), TR_OK);
    assert_false(added); /* a word becomes special and keeps its id */
    assert_int_equal(id, 259);
    spell(t, "abcd<|end|>a", 12, &got);
    assert_string_equal(tr_buf_text(&got), "abcd|<|end|>|a");
    tr_buf_fini(&got);
    struct tr_special s = tr_tokenizer_special(t);
    assert_int_equal(s.eos, -1);
    s.eos = 263;
    tr_tokenizer_set_special(t, s);
    assert_int_equal(tr_tokenizer_add_stop(t, 259, NULL), TR_OK);
    assert_int_equal(tr_tokenizer_add_stop(t, 259, NULL), TR_OK);
    assert_int_equal(tr_tokenizer_add_stop(t, 263, NULL), TR_OK);
    assert_int_equal(tr_tokenizer_stops(t, &stops, NULL), TR_OK);
    assert_int_equal(stops.count, 2);
    assert_int_equal(stops.at[0], 263);
    assert_int_equal(stops.at[1], 259);
    tr_ids_fini(&stops);
    tr_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipeline_follows_the_file),
        cmocka_unit_test(split_behaves_as_named),
        cmocka_unit_test(merges_equal_their_definition),
        cmocka_unit_test(a_long_piece_is_not_quadratic),
        cmocka_unit_test(invariants_1_and_2_there_and_back),
        cmocka_unit_test(invariant_2_holds_for_damaged_text),
        cmocka_unit_test(damage_is_repaired_as_the_peer_does),
        cmocka_unit_test(special_tokens_can_be_skipped),
        cmocka_unit_test(special_tokens_can_be_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

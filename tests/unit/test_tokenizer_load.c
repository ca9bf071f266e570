/* What a tokenizer.json may not say, and what happens when it is damaged or memory runs out. */
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
#include "tests/unit/scarce.h"

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33);
}

#define SPLIT(regex)                                                                                \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex \
    "\"},\"behavior\":\"Isolated\",\"invert\":false}," MADE_BYTE_LEVEL "]}"
#define WORDS                                                                            \
    ",\"ab\":256,\"bc\":257,\"abc\":258,\"abcd\":259,\"\\u0120a\":260,\"12\":261,\"123\":262"
#define PAIRS                "\"b c\",[\"a\",\"b\"],\"a bc\",\"\\u0120 a\",\"1 2\",\"12 3\""
#define ADDED(content, more) "{\"id\":263,\"content\":\"" content "\"" more "}"
#define SPECIAL              ",\"special\":true,\"normalized\":false"

static const struct refusal {
    const char *name;
    struct made_tokenizer made;
    const char *text; /* part of the message */
} refusals[] = {
    {"model", {.model = ",\"dropout\":0.1"}, "dropout"},
    {"byte_fallback", {.model = ",\"byte_fallback\":true"}, "byte_fallback"},
    {"prefix",
     {.model = ",\"continuing_subword_prefix\":\"##\""},
     "continuing_subword_prefix"},
    {"suffix", {.model = ",\"end_of_word_suffix\":\"</w>\""}, "end_of_word_suffix"},
    {"unk", {.model = ",\"unk_token\":\"<none>\""}, "unk_token '<none>'"},
    {"unk kind", {.model = ",\"unk_token\":3"}, "unk_token"},
    {"fuse_unk kind", {.model = ",\"fuse_unk\":3"}, "fuse_unk"},
    {"normalizer", {.normalizer = "{\"type\":\"Lowercase\"}"}, "normalizer: Lowercase"},
    {"no byte level", {.pre = "{\"type\":\"Digits\"}"}, "no ByteLevel"},
    {"no pre_tokenizer", {.pre = "null"}, "pre_tokenizer"},
    {"other pre_tokenizer", {.pre = "{\"type\":\"Metaspace\"}"}, "Metaspace"},
    {"after byte level",
     {.pre = "{\"type\":\"Sequence\",\"pretokenizers\":[" MADE_BYTE_LEVEL
             ",{\"type\":\"Digits\"}]}"},
     "after ByteLevel"},
    {"regex", {.pre = SPLIT("(")}, "pattern"},
    {"empty match", {.pre = SPLIT("x*")}, "can match an empty text"},
    {"class in a class", {.pre = SPLIT("[a[b]]")}, "classes within classes"},
    {"word boundary", {.pre = SPLIT("\\\\b")}, "\\b"},
    {"behavior",
     {.pre = "{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},\"behavior\":\"Odd\"}"},
     "behavior: Odd"},
    {"pattern", {.pre = "{\"type\":\"Split\",\"behavior\":\"Removed\"}"}, "pattern"},
    {"two decoders",
     {.root = "\"post_processor\":{\"type\":\"Odd\"},"},
     "post_processor: Odd"},
    {"an id twice", {.words = ",\"ab\":97"}, "share id 97"},
    {"a word twice", {.words = ",\"a\":256"}, "twice"},
    {"negative id", {.words = ",\"ab\":-1"}, "vocab: entry 256"},
    {"real id", {.words = ",\"ab\":300.5"}, "vocab: entry 257"},
    {"huge id", {.words = ",\"ab\":999999999"}, "999999999"},
    {"id of ten digits", {.words = ",\"ab\":1000000000"}, "has id 100000000"},
    {"word that is none", {.words = ",3:256"}, "vocab"},
    {"word not closed", {.words = ",\"ab:256"}, "made"},
    {"escape", {.words = ",\"\\x\":256"}, "vocab: entry 256"},
    {"half a surrogate pair", {.words = ",\"\\ud83d\":256"}, "vocab: entry 256"},
    {"control character", {.words = ",\"\t\":256"}, "vocab: entry 256"},
    {"damaged UTF-8", {.words = ",\"\xFF\":256"}, "vocab: entry 256"},
    {"merge of one", {.words = WORDS, .merges = "\"ab\""}, "merge 0"},
    {"merge of three", {.words = WORDS, .merges = "\"a b c\""}, "merge 0"},
    {"merge of a list of three", {.merges = "[\"a\",\"b\",\"c\"]"}, "merge 0"},
    {"merge of numbers", {.merges = "[1,2]"}, "merge 0"},
    {"merge of an unknown", {.words = WORDS, .merges = "\"a b\",\"zz a\""}, "'zz'"},
    {"merge to an unknown", {.merges = "\"a b\""}, "'a' + 'b'"},
    {"added id",
     {.words = WORDS, .added = "{\"id\":9,\"content\":\"<x>\"}"},
     "its place is 263"},
    {"added kind", {.added = "3"}, "added_tokens"},
    {"added content", {.added = "{\"id\":256,\"content\":[]}"}, "content"},
    {"added flag", {.added = "{\"id\":256,\"content\":\"x y\",\"lstrip\":1}"}, "lstrip"},
};

static void what_is_not_done_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct tr_err err = {0};
        struct tr_tokenizer *t = NULL;
        char *json = made_json(&refusals[i].made);
        enum tr_status st = tr_tokenizer_parse(json, strlen(json), "made", &t, &err);
        if (st != TR_BADARG || t || strncmp(err.text, "made", 4) != 0 ||
            !strstr(err.text, refusals[i].text))
            fail_msg("%s: status %d, %s", refusals[i].name, st, err.text);
        free(json);
    }
}

/* Every beginning of a good file, and good files with a byte changed. */
static void broken_files_never_load_badly(void **state)
{
    (void)state;
    uint64_t seed = 3;
    char *json = made_json(&(struct made_tokenizer){.words = WORDS,
                                                    .merges = PAIRS,
                                                    .added = ADDED("<x>", SPECIAL),
                                                    .pre = SPLIT("b")});
    size_t n = strlen(json);
    struct tr_tokenizer *t = NULL;
    for (size_t k = 0; k < n; k++) {
        struct tr_err err = {0};
        assert_int_not_equal(tr_tokenizer_parse(json, k, "made", &t, &err), TR_OK);
        assert_null(t);
        assert_true(err.text[0]);
    }
    for (int round = 0; round < 20000; round++) {
        size_t at = next_random(&seed) % (n ? n : 1);
        char old = json[at];
        struct tr_ids ids = {0};
        json[at] = (char)next_random(&seed);
        if (tr_tokenizer_parse(json, n, "made", &t, NULL) == TR_OK) {
            (void)tr_tokenizer_encode(t, "abc <x> 123", 11, &ids, NULL);
            for (int64_t i = 0; i < ids.count; i++)
                assert_in_range(ids.at[i], 0, tr_tokenizer_size(t) - 1);
        }
        tr_ids_fini(&ids);
        tr_tokenizer_close(t);
        json[at] = old;
    }
    free(json);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    char *json = made_json(&(struct made_tokenizer){.words = WORDS,
                                                    .merges = PAIRS,
                                                    .added = ADDED("<x>", SPECIAL),
                                                    .normalizer = "{\"type\":\"NFC\"}",
                                                    .pre = SPLIT("b")});
    enum tr_status st = TR_NOMEM;
    for (int64_t k = 0; st != TR_OK; k++) {
        struct tr_tokenizer *t = NULL;
        struct tr_ids ids = {0};
        struct tr_err err = {0};
        scarce_after(k);
        st = tr_tokenizer_parse(json, strlen(json), "made", &t, &err);
        if (st == TR_OK)
            st = tr_tokenizer_encode(t, "abc <x> \xC3\xA9 123", 14, &ids, &err);
        scarce_after(-1);
        assert_true(st == TR_OK || err.text[0]);
        assert_true(k < 10000);
        tr_ids_fini(&ids);
        tr_tokenizer_close(t);
    }
    free(json);
}

/* ---- a model folder ---- */

static const struct folder {
    const char *name, *config, *map, *jinja;
    struct tr_special want;
    const char *chat;
    int64_t stops;
} folders[] = {
    {"nothing beside", NULL, NULL, NULL, {-1, -1, -1, -1, false}, NULL, 0},
    {"strings",
     "{\"bos_token\":\"a\",\"eos_token\":\"b\",\"pad_token\":null,\"add_bos_token\":true}",
     NULL,
     NULL,
     {'a', 'b', -1, -1, true},
     NULL,
     1},
    {"objects",
     "{\"bos_token\":{\"content\":\"a\",\"lstrip\":false},\"chat_template\":\"hello\"}",
     NULL,
     NULL,
     {'a', -1, -1, -1, false},
     "hello",
     0},
    {"the map fills in",
     "{\"bos_token\":\"a\"}",
     "{\"bos_token\":\"z\",\"pad_token\":\"p\",\"unk_token\":{\"content\":\"u\"},"
     "\"additional_special_tokens\":[\"x\",\"y\"]}",
     NULL,
     {'a', -1, 'p', 'u', false},
     NULL,
     2},
    {"a token that is new",
     "{\"eos_token\":\"<end>\"}",
     NULL,
     NULL,
     {-1, 256, -1, -1, false},
     NULL,
     1},
    {"a list of templates",
     "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"no\"},"
     "{\"name\":\"default\",\"template\":\"yes\"}]}",
     NULL,
     NULL,
     {-1, -1, -1, -1, false},
     "yes",
     0},
    {"a template's file wins",
     "{\"chat_template\":\"old\"}",
     NULL,
     "new",
     {-1, -1, -1, -1, false},
     "new",
     0},
};

static void folders_say_their_special_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const struct folder *f = &folders[i];
        char dir[64];
        struct tr_err err = {0};
        struct tr_tokenizer *t = NULL;
        struct tr_ids stops = {0};
        char *json = made_json(&(struct made_tokenizer){0});
        made_folder(dir);
        made_file(dir, "tokenizer.json", json);
        if (f->config) made_file(dir, "tokenizer_config.json", f->config);
        if (f->map) made_file(dir, "special_tokens_map.json", f->map);
        if (f->jinja) made_file(dir, "chat_template.jinja", f->jinja);
        if (tr_tokenizer_open(dir, &t, &err) != TR_OK)
            fail_msg("%s: %s", f->name, err.text);
        struct tr_special s = tr_tokenizer_special(t);
        if (s.bos != f->want.bos || s.eos != f->want.eos || s.pad != f->want.pad ||
            s.unk != f->want.unk || s.add_bos != f->want.add_bos)
            fail_msg("%s: %d %d %d %d %d", f->name, s.bos, s.eos, s.pad, s.unk,
                     s.add_bos);
        const char *chat = tr_tokenizer_chat_template(t);
        if ((chat != NULL) != (f->chat != NULL) || (chat && strcmp(chat, f->chat) != 0))
            fail_msg("%s: chat template %s", f->name, chat ? chat : "none");
        assert_int_equal(tr_tokenizer_stops(t, &stops, NULL), TR_OK);
        assert_int_equal(stops.count, f->stops);
        tr_ids_fini(&stops);
        tr_tokenizer_close(t);
        free(json);
        made_folder_remove(dir);
    }
}

static void the_post_processor_tells_of_bos(void **state)
{
    (void)state;
    char dir[64];
    struct tr_tokenizer *t = NULL;
    char *json = made_json(&(struct made_tokenizer){
        .added = "{\"id\":256,\"content\":\"<s>\",\"special\":true,\"normalized\":false}",
        .root =
            "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
            "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\","
            "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]}]},"});
    made_folder(dir);
    made_file(dir, "tokenizer.json", json);
    made_file(dir, "tokenizer_config.json", "{\"bos_token\":\"<s>\"}");
    assert_int_equal(tr_tokenizer_open(dir, &t, NULL), TR_OK);
    assert_true(tr_tokenizer_special(t).add_bos);
    tr_tokenizer_close(t);
    made_file(dir, "tokenizer_config.json",
              "{\"bos_token\":\"<s>\",\"add_bos_token\":false}");
    assert_int_equal(tr_tokenizer_open(dir, &t, NULL), TR_OK);
    assert_false(tr_tokenizer_special(t).add_bos);
    tr_tokenizer_close(t);
    made_file(dir, "tokenizer_config.json", "[]");
    assert_int_equal(tr_tokenizer_open(dir, &t, NULL), TR_BADARG);
    assert_null(t);
    free(json);
    made_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_done_is_refused),
        cmocka_unit_test(broken_files_never_load_badly),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(folders_say_their_special_tokens),
        cmocka_unit_test(the_post_processor_tells_of_bos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

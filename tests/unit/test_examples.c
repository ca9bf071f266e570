/* Datasets are written into a folder, read, and compared as text: with a tokenizer of bytes an
 * example's ids are its text, and its labels show what is trained. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/text/examples.h"
#include "tests/unit/made_tokenizer.h"
#include "tests/unit/scarce.h"

/* golden.json, `fit`: prompt, answer, cutoff, wanted prompt, wanted answer. */
static const int64_t fits[][5] = {
    {3000, 100, 2048, 1948, 100},
    {100, 3000, 2048, 100, 1948},
    {1500, 1500, 2048, 1024, 1024},
    {1024, 1024, 2048, 1024, 1024},
    {2000, 1000, 1000, 667, 333},
    {10, 10, 2048, 10, 10},
    {500, 500, 1000, 500, 500},
    {700, 400, 1000, 600, 400},
    {0, 2048, 2048, 0, 2048},
    {5, 1, 1, 1, 0},
    {0, 0, 1, 0, 0},
    {0, 0, 8, 0, 0},
    {3, 0, 2, 2, 0},
    {0, 9, 4, 0, 4},
};

static void fit_truncates_as_the_peer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++) {
        int64_t prompt, answer;
        tr_fit(fits[i][0], fits[i][1], fits[i][2], &prompt, &answer);
        if (prompt != fits[i][3] || answer != fits[i][4])
            fail_msg("row %zu: %lld, %lld", i, (long long)prompt, (long long)answer);
    }
}

static void fit_never_exceeds_anything(void **state)
{
    (void)state;
    for (int64_t s = 0; s < 40; s++)
        for (int64_t t = 0; t < 40; t++)
            for (int64_t C = 1; C < 40; C++) {
                int64_t p, a;
                tr_fit(s, t, C, &p, &a);
                assert_true(p >= 0 && a >= 0 && p <= s && a <= t && p + a <= C);
                if (s + t <= C) assert_true(p == s && a == t);
            }
}

/* ---- whole datasets ---- */

struct row {
    const char *name;
    const char *entry; /* the dataset's description */
    const char *file;  /* name, in the folder */
    const char *text;  /* of the file */
    struct tr_examples_options o;
    bool add_bos;
    /* Examples joined by newlines; a token is a character, one that is not trained is
     * underlined by a preceding _; sequences of a pair are joined by |; kto has the mark, + or -, in
     * front. NULL: refused. */
    const char *want;
    const char *says; /* part of the notes, or of the error */
};

#define TEXTS     "{\"file_name\":\"d.jsonl\",\"columns\":{\"prompt\":\"text\"}}"
#define TWO_TEXTS "{\"text\":\"abcdefg\"}\n{\"text\":\"xyz\"}\n"
#define PLAIN     "{\"file_name\":\"d.json\"}"
#define SHARE     "{\"file_name\":\"d.json\",\"formatting\":\"sharegpt\"}"
#define PAIRS                                                                            \
    "{\"file_name\":\"d.json\",\"ranking\":true,\"columns\":{\"prompt\":\"q\","          \
    "\"chosen\":\"c\",\"rejected\":\"r\"}}"
#define SHARE_PAIRS                                                                       \
    "{\"file_name\":\"d.json\",\"ranking\":true,\"formatting\":\"sharegpt\",\"columns\":" \
    "{\"messages\":\"conversations\",\"chosen\":\"c\",\"rejected\":\"r\"}}"
#define SAY(who, what) "{\"from\":\"" who "\",\"value\":\"" what "\"}"
#define TALK(list)     "{\"conversations\":[" list "]}"
#define MARKED                                                                           \
    "{\"file_name\":\"d.json\",\"columns\":{\"prompt\":\"q\",\"response\":\"a\",\"kto_tag\":\"k\"}}"
#define SHARE_MARKED                                                                         \
    "{\"file_name\":\"d.json\",\"formatting\":\"sharegpt\",\"columns\":{\"messages\":\"m\"," \
    "\"kto_tag\":\"k\"}}"
#define MARK(q, a, k) "{\"q\":\"" q "\",\"a\":\"" a "\",\"k\":" k "}"
#define KTO(C, group, peer)                                                              \
    {                                                                                    \
        .stage = TR_KTO, .cutoff_len = (C), .preprocessing_batch_size = (group),         \
        .packing = -1, .template_name = "empty", .compat = (peer)                        \
    }
#define PPO(C, peer)                                                                     \
    {                                                                                    \
        .stage = TR_PPO, .cutoff_len = (C), .packing = -1, .template_name = "empty",     \
        .compat = (peer)                                                                 \
    }
#define PT(C, pack)                                                                      \
    {                                                                                    \
        .stage = TR_PT, .cutoff_len = (C), .packing = (pack), .compat = true             \
    }
#define SFT                                                                              \
    {                                                                                    \
        .stage = TR_SFT, .cutoff_len = 100, .packing = -1, .template_name = "empty"      \
    }

static const struct row rows[] = {
    /* ALGORITHMS.md 18: EOS $, BOS ^ */
    {"pt packed", TEXTS, "d.jsonl", TWO_TEXTS, PT(5, -1), true, "^bcde\n^g_$xy", NULL},
    {"pt not packed", TEXTS, "d.jsonl", TWO_TEXTS, PT(5, 0), true, "^abcd\n^xyz_$", NULL},
    {"pt packed, no bos", TEXTS, "d.jsonl", TWO_TEXTS, PT(5, -1), false, "abcde\nfg_$xy",
     NULL},
    {"pt asked to pack: one less", TEXTS, "d.jsonl", TWO_TEXTS, PT(6, 1), false,
     "abcde\nfg_$xy", NULL},
    {"pt asked to pack, our way",
     TEXTS,
     "d.jsonl",
     TWO_TEXTS,
     {.stage = TR_PT, .cutoff_len = 6, .packing = 1},
     false,
     "abcdef\ng$xyz$",
     NULL},
    {"pt trains EOS, our way",
     TEXTS,
     "d.jsonl",
     TWO_TEXTS,
     {.stage = TR_PT, .cutoff_len = 20, .packing = 0},
     false,
     "abcdefg$\nxyz$",
     NULL},
    {"pt groups drop their rest",
     TEXTS,
     "d.jsonl",
     TWO_TEXTS,
     {.stage = TR_PT, .cutoff_len = 5, .packing = -1, .preprocessing_batch_size = 1},
     false,
     "abcde",
     NULL},
    {"pt texts by line", "{\"file_name\":\"d.txt\",\"columns\":{\"prompt\":\"text\"}}",
     "d.txt", "ab\r\n\ncd\rlast", PT(20, 0), false, "ab_$\n_$\ncd_$\nlast_$", NULL},
    {"pt forces llama3's end",
     TEXTS,
     "d.jsonl",
     "{\"text\":\"a\"}",
     {.stage = TR_PT, .cutoff_len = 20, .packing = 0, .template_name = "llama3"},
     false,
     "a<|end_of_text|>",
     NULL},
    {"pt with too little", TEXTS, "d.jsonl", TWO_TEXTS, PT(50, -1), false, NULL,
     "insufficient samples"},
    {"pt of talks", SHARE, "d.json", "[]", PT(5, 0), false, NULL, "pt reads texts"},

    {"sft", PLAIN, "d.json", "[{\"instruction\":\"q\",\"input\":\"\",\"output\":\"ab\"}]",
     SFT, false, "_qab", NULL},
    {"sft joins prompt and query", PLAIN, "d.json",
     "[{\"instruction\":\"q\",\"input\":\"x\",\"output\":\"a\"}]", SFT, false,
     "_q_\\n_xa", NULL},
    {"sft without a query", PLAIN, "d.json", "[{\"instruction\":\"q\",\"output\":\"a\"}]",
     SFT, false, "_qa", "column input is in no record"},
    {"sft trains the prompt",
     PLAIN,
     "d.json",
     "[{\"instruction\":\"q\",\"output\":\"a\"}]",
     {.stage = TR_SFT,
      .cutoff_len = 9,
      .packing = -1,
      .template_name = "empty",
      .train_on_prompt = true},
     false,
     "qa",
     NULL},
    {"sft with history and system",
     "{\"file_name\":\"d.json\",\"columns\":{\"prompt\":\"instruction\",\"response\":\"output\","
     "\"history\":\"h\",\"system\":\"s\"}}",
     "d.json",
     "[{\"instruction\":\"q\",\"output\":\"a\",\"h\":[[\"1\",\"2\"],[\"3\",\"4\"]],\"s\":\"S\"}]",
     SFT, false, "_S_12_34_qa", NULL},
    {"sft with a default system",
     PLAIN,
     "d.json",
     "[{\"instruction\":\"q\",\"input\":null,\"output\":\"a\"}]",
     {.stage = TR_SFT,
      .cutoff_len = 9,
      .packing = -1,
      .template_name = "empty",
      .default_system = "D"},
     false,
     "_D_qa",
     NULL},
    {"columns not named are none",
     "{\"file_name\":\"d.json\",\"columns\":{\"response\":\"output\"}}", "d.json",
     "[{\"instruction\":\"q\",\"input\":\"x\",\"output\":\"a\"}]", SFT, false, "a", NULL},
    {"sft cuts each turn",
     SHARE,
     "d.json",
     "[" TALK(SAY("human", "aaaa") "," SAY("gpt", "bbbb") "," SAY(
         "human", "cccc") "," SAY("gpt", "dddd")) "]",
     {.stage = TR_SFT, .cutoff_len = 11, .packing = -1, .template_name = "empty"},
     false,
     "_a_a_a_abbbb_c_cd",
     NULL},
    {"sft stops at the cutoff",
     SHARE,
     "d.json",
     "[" TALK(SAY("human", "aa") "," SAY("gpt", "bb") "," SAY("human", "c") "," SAY(
         "gpt", "d")) "]",
     {.stage = TR_SFT, .cutoff_len = 4, .packing = -1, .template_name = "empty"},
     false,
     "_a_abb",
     NULL},
    {"sharegpt with a system message", SHARE, "d.json",
     "[" TALK(SAY("system", "S") "," SAY("human", "q") "," SAY("gpt", "a")) "]", SFT,
     false, "_S_qa", NULL},
    {"an observation is a question", SHARE, "d.json",
     "[" TALK(SAY("observation", "q") "," SAY("gpt", "a")) "]", SFT, false, "_qa", NULL},
    {"tags",
     "{\"file_name\":\"d.json\",\"formatting\":\"sharegpt\",\"columns\":{\"messages\":\"m\"},"
     "\"tags\":{\"role_tag\":\"role\",\"content_tag\":\"content\",\"user_tag\":\"user\","
     "\"assistant_tag\":\"assistant\"}}",
     "d.json",
     "[{\"m\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\"}]}]",
     SFT, false, "_qa", NULL},
    {"tags without system_tag",
     "{\"file_name\":\"d.json\",\"formatting\":\"sharegpt\",\"tags\":{\"role_tag\":\"from\","
     "\"content_tag\":\"value\",\"user_tag\":\"human\",\"assistant_tag\":\"gpt\"}}",
     "d.json",
     "[" TALK(SAY("system", "S") "," SAY("human", "q") "," SAY("gpt", "a")) "," TALK(
         SAY("human", "q") "," SAY("gpt", "a")) "]",
     SFT, false, "_qa", "1 of 2 records dropped, first record 1: a role is out of order"},
    {"bad orders are dropped", SHARE, "d.json",
     "[" TALK(SAY("human", "q") "," SAY("gpt", "a")) "," TALK(SAY("gpt", "a") "," SAY(
         "human",
         "q")) "," TALK(SAY("human",
                            "q")) "," TALK("") "," TALK(SAY("human",
                                                            "q") "," SAY("elf", "a")) "]",
     SFT, false, "_qa", "4 of 5 records dropped, first record 2: a role is out of order"},
    {"no answer is dropped", PLAIN, "d.json",
     "[{\"instruction\":\"q\",\"output\":\"a\"},{\"instruction\":\"q\",\"output\":null}]",
     SFT, false, "_qa", "1 of 2 records dropped, first record 2: not one answer"},
    {"marked records are not for sft",
     "{\"file_name\":\"d.json\",\"columns\":{\"prompt\":\"q\",\"response\":\"a\",\"kto_tag\":\"k\"}}",
     "d.json",
     "[{\"q\":\"1\",\"a\":\"2\",\"k\":true},{\"q\":\"3\",\"a\":\"4\",\"k\":null}]", SFT,
     false, "_34", "first record 1: not one answer"},
    {"max_samples",
     PLAIN,
     "d.json",
     "[{\"instruction\":\"q\",\"output\":\"a\"},{\"instruction\":\"r\",\"output\":\"b\"},3]",
     {.stage = TR_SFT,
      .cutoff_len = 9,
      .packing = -1,
      .template_name = "empty",
      .max_samples = 2},
     false,
     "_qa\n_rb",
     NULL},
    {"lines in a .json file", PLAIN, "d.json",
     "\xEF\xBB\xBF{\"instruction\":\"q\",\"output\":\"a\"}\n\n  \n{\"instruction\":\"r\",\"output\":"
     "\"b\"}",
     SFT, false, "_qa\n_rb", NULL},

    {"pairs",
     PAIRS,
     "d.json",
     "[{\"q\":\"p\",\"c\":\"good\",\"r\":\"bad\"}]",
     {.stage = TR_RM, .cutoff_len = 50, .packing = -1, .template_name = "empty"},
     false,
     "_pgood|_pbad",
     NULL},
    {"pairs are cut alike",
     PAIRS,
     "d.json",
     "[{\"q\":\"pppp\",\"c\":\"goodgood\",\"r\":\"bad\"}]",
     {.stage = TR_RM, .cutoff_len = 6, .packing = -1, .template_name = "empty"},
     false,
     "_p_pgood|_p_pbad",
     NULL},
    {"pairs of talks",
     SHARE_PAIRS,
     "d.json",
     "[{\"conversations\":[" SAY("human", "1") "," SAY("gpt", "2") "," SAY(
         "human", "3") "],\"c\":" SAY("gpt", "x") ",\"r\":" SAY("gpt", "y") "}]",
     {.stage = TR_DPO, .cutoff_len = 50, .packing = -1, .template_name = "empty"},
     false,
     "_1_2_3x|_1_2_3y",
     NULL},
    {"a pair without its half",
     PAIRS,
     "d.json",
     "[{\"q\":\"p\",\"c\":\"a\",\"r\":null},{\"q\":\"p\",\"c\":\"a\",\"r\":\"b\"}]",
     {.stage = TR_RM, .cutoff_len = 50, .packing = -1, .template_name = "empty"},
     false,
     "_pa|_pb",
     "first record 1: not a pair"},

    {"pairs for sft", PAIRS, "d.json", "[]", SFT, false, NULL, "ranking: true"},
    {"no pairs for rm",
     PLAIN,
     "d.json",
     "[]",
     {.stage = TR_RM, .cutoff_len = 50, .packing = -1, .template_name = "empty"},
     false,
     NULL,
     "ranking is not true"},
    {"nothing valid", PLAIN, "d.json", "[]", SFT, false, NULL, "no valid samples"},
    {"nothing that is asked", PLAIN, "d.json", "[{\"question\":\"q\",\"output\":\"a\"}]",
     SFT, false, NULL,
     "columns: prompt: no record has instruction; the first has question, output"},
    {"nothing is answered", PLAIN, "d.json", "[{\"instruction\":\"q\"}]", SFT, false,
     NULL, "no valid samples, the first: not one answer"},
    {"not JSON", PLAIN, "d.json", "[{\"instruction\":", SFT, false, NULL,
     "d.json: line 1"},
    {"not an array", PLAIN, "d.json", "3", SFT, false, NULL, "d.json: record 1"},
    {"a record that is none", PLAIN, "d.json",
     "[{\"instruction\":\"q\",\"output\":\"a\"},7]", SFT, false, NULL,
     "d.json: record 2: expected an object, found integer"},
    {"a line that is broken", "{\"file_name\":\"d.jsonl\"}", "d.jsonl",
     "{\"instruction\":\"q\",\"output\":\"a\"}\n{\"instruction\":", SFT, false, NULL,
     "d.jsonl: record 2: line 1"},
    {"a prompt that is a number", PLAIN, "d.json",
     "[{\"instruction\":3,\"output\":\"a\"}]", SFT, false, NULL,
     "record 1: instruction: expected a string, found integer"},
    {"a history that is none",
     "{\"file_name\":\"d.json\",\"columns\":{\"history\":\"h\",\"response\":\"output\"}}",
     "d.json", "[{\"output\":\"a\",\"h\":[[\"1\"]]}]", SFT, false, NULL,
     "record 1: h: expected pairs"},
    {"messages that are none", SHARE, "d.json", "[{\"conversations\":\"x\"}]", SFT, false,
     NULL, "record 1: conversations: expected an array, found string"},
    {"a message without text", SHARE, "d.json", "[" TALK("{\"from\":\"human\"}") "]", SFT,
     false, NULL, "record 1: value: expected a string, found nothing"},
    {"tools",
     "{\"file_name\":\"d.json\",\"formatting\":\"sharegpt\",\"columns\":{\"messages\":"
     "\"conversations\",\"tools\":\"tools\"}}",
     "d.json",
     "[{\"conversations\":[" SAY("human", "q") "," SAY("gpt",
                                                       "a") "],\"tools\":\"[{}]\"}]",
     SFT, false, NULL, "record 1: tools and tool calls come later"},
    {"a tool call", SHARE, "d.json",
     "[" TALK(SAY("human", "q") "," SAY("function_call", "f()")) "]", SFT, false, NULL,
     "come later"},
    {"damaged text", "{\"file_name\":\"d.txt\",\"columns\":{\"prompt\":\"text\"}}",
     "d.txt", "ab\n\xFF", PT(20, 0), false, NULL, "d.txt: record 2: not valid UTF-8"},
    {"csv", "{\"file_name\":\"d.csv\"}", "d.csv", "a,b\n", SFT, false, NULL,
     "d.csv: its type"},
    {"a hub", "{\"hf_hub_url\":\"a/b\"}", "d.json", "[]", SFT, false, NULL,
     "hf_hub_url names a hub repository; download it and give file_name"},
    {"a script", "{\"script_url\":\"a\"}", "d.json", "[]", SFT, false, NULL,
     "script_url"},
    {"no source", "{}", "d.json", "[]", SFT, false, NULL, "file_name is missing"},
    {"no file", "{\"file_name\":\"none.json\"}", "d.json", "[]", SFT, false, NULL,
     "none.json"},
    {"openai", "{\"file_name\":\"d.json\",\"formatting\":\"openai\"}", "d.json", "[]",
     SFT, false, NULL, "openai comes later"},
    {"odd formatting", "{\"file_name\":\"d.json\",\"formatting\":\"odd\"}", "d.json",
     "[]", SFT, false, NULL, "formatting odd"},
    {"num_samples", "{\"file_name\":\"d.json\",\"num_samples\":3}", "d.json", "[]", SFT,
     false, NULL, "num_samples is not supported"},
    {"columns that are none", "{\"file_name\":\"d.json\",\"columns\":[1]}", "d.json",
     "[]", SFT, false, NULL, "columns: expected an object"},
    {"a column that is no name", "{\"file_name\":\"d.json\",\"columns\":{\"prompt\":1}}",
     "d.json", "[]", SFT, false, NULL, "prompt"},
    {"images", "{\"file_name\":\"d.json\",\"columns\":{\"images\":\"i\"}}", "d.json",
     "[]", SFT, false, NULL, "images are not supported"},
    {"tags without a role",
     "{\"file_name\":\"d.json\",\"formatting\":\"sharegpt\",\"tags\":{\"user_tag\":\"u\"}}",
     "d.json", "[]", SFT, false, NULL, "role_tag"},
    {"packing in sft",
     PLAIN,
     "d.json",
     "[]",
     {.stage = TR_SFT, .cutoff_len = 9, .packing = 1, .template_name = "empty"},
     false,
     NULL,
     "packing is for stage pt"},
    {"train_on_prompt in rm",
     PAIRS,
     "d.json",
     "[]",
     {.stage = TR_RM, .cutoff_len = 9, .packing = -1, .train_on_prompt = true},
     false,
     NULL,
     "train_on_prompt"},
    {"kto",
     PLAIN,
     "d.json",
     "[]",
     {.stage = TR_KTO, .cutoff_len = 9, .packing = -1},
     false,
     NULL,
     "kto_tag names none"},
    /* Marked records: who lends an answer to whom. */
    {"kto: the answer of the one before", MARKED, "d.json",
     "[" MARK("a", "1", "true") "," MARK("b", "2", "false") "," MARK("c", "3",
                                                                     "true") "]",
     KTO(9, 1000, false), false, "+_a1|_a3\n-_b2|_b1\n+_c3|_c2", NULL},
    {"kto: sharegpt", SHARE_MARKED, "d.json",
     "[{\"m\":[" SAY("human", "a") "," SAY(
         "gpt", "1") "],\"k\":false},"
                     "{\"m\":[" SAY("human", "b") "," SAY("gpt", "2") "," SAY(
                         "human", "c") "," SAY("gpt", "3") "],\"k\":true}]",
     KTO(9, 1000, false), false, "-_a1|_a3\n+_b_2_c3|_b_2_c1", NULL},
    {"kto: target and twin are cut each by itself", MARKED, "d.json",
     "[" MARK("aaaa", "1", "true") "," MARK("b", "22222222", "false") "]",
     KTO(4, 1000, false), false, "+_a_a_a1|_a_a22\n-_b222|_b1", NULL},
    {"kto: groups", MARKED, "d.json",
     "[" MARK("a", "1", "true") "," MARK("b", "2", "false") "," MARK(
         "c", "3", "true") "," MARK("d", "4", "true") "]",
     KTO(9, 2, false), false, "+_a1|_a2\n-_b2|_b1\n+_c3|_c4\n+_d4|_d3",
     "1 of 2 groups of records have one mark only"},
    {"kto: a good one without an answer counts as bad, as in the peer", MARKED, "d.json",
     "[" MARK("a", "", "true") "," MARK("b", "2", "true") "]", KTO(9, 1000, false), false,
     "-_a|_a2\n+_b2|_b", NULL},
    {"quirk 19: past a record that is dropped", MARKED, "d.json",
     "[" MARK("a", "1", "true") "," MARK("b", "2", "null") "," MARK("c", "3", "true") "]",
     KTO(9, 1000, false), false, "+_a1|_a3\n+_c3|_c1", "twins: 1 take another's"},
    {"compat: from a record that is dropped", MARKED, "d.json",
     "[" MARK("a", "1", "true") "," MARK("b", "2", "null") "," MARK("c", "3", "true") "]",
     KTO(9, 1000, true), false, "+_a1|_a3\n+_c3|_c2", "first record 2: no mark"},
    {"compat: not from one without any answer", MARKED, "d.json",
     "[" MARK("a", "1", "true") ",{\"q\":\"b\",\"k\":true}," MARK("c", "3", "true") "]",
     KTO(9, 1000, true), false, "+_a1|_a3\n+_c3|_c1", "twins: 1 take another's"},
    {"quirk 19: no record is alone", MARKED, "d.json",
     "[" MARK("a", "1", "true") "," MARK("b", "2", "false") "," MARK("c", "3",
                                                                     "true") "]",
     KTO(9, 1, false), false, "+_a1|_a2\n-_b2|_b1\n+_c3|_c2",
     "twins: 1 alone at the end"},
    {"quirk 19: a group with one that is valid", MARKED, "d.json",
     "[" MARK("a", "1", "0") "," MARK("b", "2", "false") "," MARK(
         "c", "3", "true") "," MARK("d", "4", "true") "]",
     KTO(9, 2, false), false, "-_b2|_b4\n+_c3|_c2\n+_d4|_d3", NULL},
    {"compat: alone in a group", MARKED, "d.json",
     "[" MARK("a", "1", "true") "," MARK("b", "2", "false") "," MARK("c", "3",
                                                                     "true") "]",
     KTO(9, 2, true), false, "+_a1|_a2\n-_b2|_b1\n+_c3|_c3",
     "twins: 1 have their own answer"},
    {"kto: one record in all", MARKED, "d.json", "[" MARK("a", "1", "true") "]",
     KTO(9, 1000, false), false, "+_a1|_a1", "twins: 1 have their own answer"},
    {"kto: nothing is valid", MARKED, "d.json", "[" MARK("a", "1", "1") "]",
     KTO(9, 1000, false), false, NULL, "no valid samples"},
    /* Prompts. */
    {"ppo: prompts alone", PLAIN, "d.json",
     "[{\"instruction\":\"aaaa\",\"output\":\"123456\"},{\"instruction\":\"b\"}]",
     PPO(4, false), false, "_a_a_a_a\n_b", NULL},
    {"quirk 17, compat: cut by the answer", PLAIN, "d.json",
     "[{\"instruction\":\"aaaa\",\"output\":\"123456\"},{\"instruction\":\"b\"}]",
     PPO(4, true), false, "_a_a|12\n_b|", NULL},
    {"ppo: cut at the end", PLAIN, "d.json", "[{\"instruction\":\"abcdefg\"}]",
     PPO(4, false), false, "_a_b_c_d", NULL},
    {"ppo: an empty prompt", PLAIN, "d.json",
     "[{\"output\":\"1\"},{\"instruction\":\"b\"}]", PPO(4, false), false, "_b",
     "first record 1: an empty prompt"},
    {"ppo: pairs", PAIRS, "d.json", "[]", PPO(4, false), false, NULL, "holds pairs"},
    {"cutoff",
     PLAIN,
     "d.json",
     "[]",
     {.stage = TR_SFT, .cutoff_len = 0, .packing = -1},
     false,
     NULL,
     "cutoff_len"},
};

/* Characters are tokens, $ is EOS and PAD, ^ is BOS. */
static struct tr_tokenizer *open_characters(bool add_bos)
{
    struct tr_tokenizer *t = made_open(&(struct made_tokenizer){0});
    tr_tokenizer_set_special(t, (struct tr_special){'^', '$', '$', -1, add_bos});
    return t;
}

static void show_sequence(const struct tr_sequence *s, struct tr_buf *out)
{
    for (int64_t i = 0; i < s->count; i++) {
        assert_true(s->label[i] == s->id[i] ||
                    s->label[i] == TR_IGNORE); /* invariant 2 */
        tr_buf_puts(out, s->label[i] == TR_IGNORE ? "_" : "", NULL);
        if (s->id[i] == '\n')
            tr_buf_puts(out, "\\n", NULL);
        else
            tr_buf_printf(out, NULL, "%c", s->id[i]);
    }
}

static void show(const struct tr_examples *e, enum tr_stage stage, struct tr_buf *out)
{
    int64_t longest = 0;
    tr_buf_init(out, 1 << 20);
    for (int64_t i = 0; i < tr_examples_count(e); i++) {
        const struct tr_example *x = tr_examples_get(e, i);
        if (i) tr_buf_puts(out, "\n", NULL);
        if (stage == TR_KTO) tr_buf_puts(out, x->desirable ? "+" : "-", NULL);
        for (int k = 0; k < x->n; k++) {
            if (k) tr_buf_puts(out, "|", NULL);
            bool counts = k == 0 || stage != TR_PPO;
            if (counts && x->seq[k].count > longest) longest = x->seq[k].count;
            show_sequence(&x->seq[k], out);
        }
    }
    assert_int_equal(tr_examples_longest(e), longest);
}

static void check(const struct row *r, const char *dir)
{
    struct tr_examples_options o = r->o;
    struct tr_tokenizer *t = open_characters(r->add_bos);
    struct tr_examples *e = NULL;
    struct tr_err err = {0};
    struct tr_buf notes, got;
    tr_buf_init(&notes, 1 << 12);
    o.dataset = "d";
    o.dataset_dir = dir;
    if (!o.preprocessing_batch_size) o.preprocessing_batch_size = 1000;
    enum tr_status st = tr_examples_load(&o, t, &e, &notes, &err);
    if (!r->want) {
        if (st == TR_OK || e || !strstr(err.text, r->says))
            fail_msg("%s: status %d, %s", r->name, st, err.text);
    } else {
        if (st != TR_OK) fail_msg("%s: %s", r->name, err.text);
        show(e, r->o.stage, &got);
        if (strcmp(tr_buf_text(&got), r->want) != 0)
            fail_msg("%s: got %s, wanted %s", r->name, tr_buf_text(&got), r->want);
        if (r->says && !strstr(tr_buf_text(&notes), r->says))
            fail_msg("%s: notes: %s", r->name, tr_buf_text(&notes));
        tr_buf_fini(&got);
    }
    tr_examples_destroy(e);
    tr_buf_fini(&notes);
    tr_tokenizer_close(t);
}

static void datasets_become_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char dir[64], info[1024];
        made_folder(dir);
        snprintf(info, sizeof info, "{\"d\":%s}", rows[i].entry);
        made_file(dir, "dataset_info.json", info);
        made_file(dir, rows[i].file, rows[i].text);
        check(&rows[i], dir);
        made_folder_remove(dir);
    }
}

/* Invariant 1, with a folder of files and blocks that cross datasets. */
static void invariant_1_datasets_in_the_order_named(void **state)
{
    (void)state;
    static const struct {
        const char *dataset, *want, *says;
    } lists[] = {
        {"a,b", "12\n_$3\n_$4\n_$5\n6_$", NULL},
        {" b , a", "56\n_$1\n2_$\n3_$\n4_$", NULL},
        {"a", "12\n_$3\n_$4", NULL},
        {"a,,b,", "12\n_$3\n_$4\n_$5\n6_$", NULL},
        {"a,c", NULL, "dataset c is not defined"},
        {",", NULL, "insufficient"},
        {"", NULL, "dataset is not set"},
        {"m", NULL, "must have one type"},
        {"n", NULL, "no file in it"},
    };
    char dir[64], sub[128];
    made_folder(dir);
    made_file(dir, "dataset_info.json",
              "{\"a\":{\"file_name\":\"many\",\"columns\":{\"prompt\":\"text\"}},"
              "\"b\":{\"file_name\":\"one.jsonl\",\"columns\":{\"prompt\":\"text\"}},"
              "\"m\":{\"file_name\":\"mixed\",\"columns\":{\"prompt\":\"text\"}},"
              "\"n\":{\"file_name\":\"none\",\"columns\":{\"prompt\":\"text\"}}}");
    static const char *const subs[] = {"many", "mixed", "none"};
    for (int i = 0; i < 3; i++) {
        snprintf(sub, sizeof sub, "%s/%s", dir, subs[i]);
        assert_int_equal(mkdir(sub, 0700), 0);
    }
    made_file(dir, "many/2.txt", "4\n");
    made_file(dir, "many/1.txt", "12\n3\n");
    made_file(dir, "mixed/1.txt", "1\n");
    made_file(dir, "mixed/2.json", "[]");
    made_file(dir, "one.jsonl", "{\"text\":\"56\"}\n");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct tr_examples_options o = {.stage = TR_PT,
                                        .dataset = lists[i].dataset,
                                        .dataset_dir = dir,
                                        .cutoff_len = 2,
                                        .preprocessing_batch_size = 1000,
                                        .packing = -1,
                                        .compat = true};
        struct tr_tokenizer *t = open_characters(false);
        struct tr_examples *e = NULL;
        struct tr_err err = {0};
        struct tr_buf got;
        enum tr_status st = tr_examples_load(&o, t, &e, NULL, &err);
        if (lists[i].want) {
            if (st != TR_OK) fail_msg("%s: %s", lists[i].dataset, err.text);
            show(e, TR_PT, &got);
            assert_string_equal(tr_buf_text(&got), lists[i].want);
            tr_buf_fini(&got);
        } else if (st == TR_OK || !strstr(err.text, lists[i].says)) {
            fail_msg("%s: %s", lists[i].dataset, err.text);
        }
        tr_examples_destroy(e);
        tr_tokenizer_close(t);
    }
    made_folder_remove(dir);
}

/* Memory runs out at the k-th call, for every k. */
static void run_out_of_memory(enum tr_stage stage, const char *info, const char *records)
{
    char dir[64];
    enum tr_status st = TR_NOMEM;
    made_folder(dir);
    made_file(dir, "dataset_info.json", info);
    made_file(dir, "d.json", records);
    for (int64_t k = 0; st != TR_OK; k++) {
        struct tr_examples_options o = {.stage = stage,
                                        .compat = stage == TR_PPO,
                                        .dataset = "d",
                                        .dataset_dir = dir,
                                        .template_name = "chatml",
                                        .cutoff_len = 50,
                                        .preprocessing_batch_size = 1000,
                                        .packing = -1};
        struct tr_tokenizer *t = open_characters(false);
        struct tr_examples *e = NULL;
        struct tr_err err = {0};
        scarce_after(k);
        st = tr_examples_load(&o, t, &e, NULL, &err);
        scarce_after(-1);
        assert_true(st == TR_OK || (!e && err.text[0]));
        assert_true(k < 10000);
        tr_examples_destroy(e);
        tr_tokenizer_close(t);
    }
    made_folder_remove(dir);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    static const struct {
        enum tr_stage stage;
        const char *info, *records;
    } kinds[] = {
        {TR_RM, "{\"d\":" PAIRS "}", "[{\"q\":\"p\",\"c\":\"good\",\"r\":\"bad\"}]"},
        {TR_KTO, "{\"d\":" MARKED "}",
         "[" MARK("a", "1", "true") "," MARK("b", "2", "false") "]"},
        {TR_PPO, "{\"d\":" PLAIN "}", "[{\"instruction\":\"p\"}]"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        run_out_of_memory(kinds[i].stage, kinds[i].info, kinds[i].records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fit_truncates_as_the_peer),
        cmocka_unit_test(fit_never_exceeds_anything),
        cmocka_unit_test(datasets_become_examples),
        cmocka_unit_test(invariant_1_datasets_in_the_order_named),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests_name("examples", tests, NULL, NULL);
}

/* Templates are seen through a tokenizer of bytes, whose text shows the layout as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/text/template.h"
#include "tests/unit/made_tokenizer.h"

#define MARK(id, text)                                                                   \
    "{\"id\":" id ",\"content\":\"" text "\",\"special\":true,\"normalized\":false}"

/* Bytes, and <s> (256) and </s> (257), which only some tokenizers use. */
static struct tr_tokenizer *open_plain(bool bos, bool eos)
{
    struct tr_tokenizer *t = made_open(
        &(struct made_tokenizer){.added = MARK("256", "<s>") "," MARK("257", "</s>")});
    struct tr_special s = tr_tokenizer_special(t);
    if (bos) s.bos = 256;
    if (eos) s.eos = 257;
    tr_tokenizer_set_special(t, s);
    return t;
}

static const struct layout {
    const char *name;
    bool bos, eos; /* does the tokenizer have them? */
    const char *system;
    const char *message[4]; /* user, assistant, ... */
    const char *want;       /* messages, each closed by @ */
} layouts[] = {
    {"default",
     true,
     true,
     "S",
     {"U", "A"},
     "System: S</s>\nHuman: U</s>\nAssistant:@A</s>\n@"},
    {"default",
     true,
     true,
     NULL,
     {"U", "A", "V", "B"},
     "Human: U</s>\nAssistant:@A</s>\n@Human: V</s>\nAssistant:@B</s>\n@"},
    {"empty", true, true, "S", {"U", "A"}, "SU@A@"},
    {"empty", true, true, NULL, {"", ""}, "@@"},
    {"chatml",
     true,
     true,
     "S",
     {"U", "A"},
     "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n@"
     "A<|im_end|>\n@"},
    {"chatml",
     true,
     true,
     "",
     {"U"},
     "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n@"},
    {"qwen",
     true,
     true,
     NULL,
     {"U", "A"},
     "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
     "assistant.<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n@"
     "A<|im_end|>\n@"},
    {"llama3",
     true,
     true,
     "S",
     {"U", "A"},
     "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n@A<|eot_id|>@"},
    {"llama3",
     false,
     true,
     NULL,
     {"U", "A", "V"},
     "<|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n@A<|eot_id|>@"
     "<|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n@"},
    {"default",
     true,
     true,
     "{{content}}",
     {"{{content}} {{content}}", "{{name}}"},
     "System: {{content}}</s>\nHuman: {{content}} {{content}}</s>\nAssistant:@{{name}}</s>\n@"},
};

static int read_messages(const struct layout *l, struct tr_message *message)
{
    int n = 0;
    for (; n < 4 && l->message[n]; n++)
        message[n] = (struct tr_message){n % 2 ? TR_ASSISTANT : TR_USER, l->message[n],
                                         strlen(l->message[n])};
    return n;
}

/* Rendered with the tokenizer as it is: repair is another test. */
static void slots_make_the_layout(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        const struct layout *l = &layouts[i];
        struct tr_tokenizer *t = open_plain(l->bos, l->eos);
        struct tr_template tp;
        struct tr_message message[4];
        struct tr_ids list[4] = {{0}}, whole = {0};
        struct tr_buf got;
        int64_t total = 0;
        tr_buf_init(&got, 1 << 16);
        assert_int_equal(tr_template_choose(l->name, t, &tp, NULL), TR_OK);
        int n = read_messages(l, message);
        assert_int_equal(tr_template_encode(&tp, t, l->system, message, n, list, NULL),
                         TR_OK);
        assert_int_equal(tr_template_prompt(&tp, t, l->system, message, n, &whole, NULL),
                         TR_OK);
        for (int k = 0; k < n; k++) {
            assert_int_equal(
                tr_tokenizer_decode(t, list[k].at, list[k].count, false, &got, NULL),
                TR_OK);
            tr_buf_puts(&got, "@", NULL);
            for (int64_t j = 0; j < list[k].count; j++)
                assert_int_equal(whole.at[total++], list[k].at[j]);
            tr_ids_fini(&list[k]);
        }
        assert_int_equal(whole.count, total);
        if (strcmp(tr_buf_text(&got), l->want) != 0)
            fail_msg("row %zu, %s: got\n%s\nwanted\n%s", i, l->name, tr_buf_text(&got),
                     l->want);
        tr_ids_fini(&whole);
        tr_buf_fini(&got);
        tr_template_fini(&tp);
        tr_tokenizer_close(t);
    }
}

/* Invariant 1: the text around {{content}} is tokenised with it, other slots are not. */
static void invariant_1_slots_are_tokenised_alone(void **state)
{
    (void)state;
    struct tr_tokenizer *t =
        made_open(&(struct made_tokenizer){.words = ",\"\\u010a\\u010a\":256,\":U\":257",
                                           .merges = "\"\\u010a \\u010a\",\": U\""});
    struct tr_template tp;
    struct tr_ids list[2] = {{0}};
    struct tr_message message[2] = {{TR_USER, "\n", 1}, {TR_ASSISTANT, "\n", 1}};
    assert_int_equal(tr_template_choose("default", t, &tp, NULL), TR_OK);
    assert_int_equal(tr_template_encode(&tp, t, NULL, message, 2, list, NULL), TR_OK);
    /* "Human: \n" and "\nAssistant:" meet (there is no EOS here) and do not merge. */
    for (int64_t i = 0; i < list[0].count; i++) assert_int_not_equal(list[0].at[i], 256);
    assert_int_equal(list[1].count, 2);
    tr_ids_fini(&list[0]);
    tr_ids_fini(&list[1]);
    tr_template_fini(&tp);
    tr_tokenizer_close(t);
}

static const struct repair {
    const char *name;
    const char *template_name;
    const char *added; /* tokens the tokenizer has; NULL: none */
    int32_t eos, pad;  /* of the tokenizer, before */
    int32_t want_eos, want_pad, want_size, notes;
    int64_t stops;
} repairs[] = {
    {"nothing to do", "default", MARK("256", "</s>"), 256, 'p', 256, 'p', 257, 0, 1},
    {"pad becomes eos", "default", MARK("256", "</s>"), 256, -1, 256, 256, 257, 0, 1},
    {"no eos at all", "default", NULL, -1, -1, 256, 256, 257, 1, 1},
    {"no eos, but the word", "empty", MARK("256", "<|endoftext|>"), -1, -1, 256, 256, 257,
     0, 1},
    {"eos replaced", "chatml", MARK("256", "<|im_start|>") "," MARK("257", "<|im_end|>"),
     'e', 'p', 257, 'p', 258, 0, 2},
    {"eos replaced, one stop", "qwen", MARK("256", "<|im_end|>"), 'e', -1, 256, 256, 257,
     0, 1},
    {"words that are new", "llama3", NULL, 'e', -1, 256, 256, 258, 2, 2},
};

static void repair_follows_the_template(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof repairs / sizeof *repairs; i++) {
        const struct repair *r = &repairs[i];
        struct tr_tokenizer *t = made_open(&(struct made_tokenizer){.added = r->added});
        struct tr_template tp;
        struct tr_ids stops = {0};
        struct tr_buf notes;
        int lines = 0;
        tr_buf_init(&notes, 1 << 12);
        tr_tokenizer_set_special(t, (struct tr_special){-1, r->eos, r->pad, -1, false});
        assert_int_equal(tr_template_choose(r->template_name, t, &tp, NULL), TR_OK);
        assert_int_equal(tr_template_repair(&tp, t, &notes, NULL), TR_OK);
        struct tr_special s = tr_tokenizer_special(t);
        assert_int_equal(tr_tokenizer_stops(t, &stops, NULL), TR_OK);
        for (const char *c = tr_buf_text(&notes); *c; c++) lines += *c == '\n';
        if (s.eos != r->want_eos || s.pad != r->want_pad || s.bos != -1 ||
            tr_tokenizer_size(t) != r->want_size || stops.count != r->stops ||
            lines != r->notes)
            fail_msg("%s: eos %d pad %d size %d stops %d notes %s", r->name, s.eos, s.pad,
                     tr_tokenizer_size(t), (int)stops.count, tr_buf_text(&notes));
        tr_ids_fini(&stops);
        tr_buf_fini(&notes);
        tr_template_fini(&tp);
        tr_tokenizer_close(t);
    }
}

#define TURNS                                                                                \
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}" \
    "{% endfor %}"
#define ANSWER "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

static const struct jinja {
    const char *name, *text;
    bool chatml;
    const char *system;
} jinjas[] = {
    {"plain", "{% for message in messages %}" TURNS ANSWER, true, NULL},
    {"with a system text",
     "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
     "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
     "Face<|im_end|>\n' }}{% endif %}" TURNS ANSWER "\n",
     true, "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
    {"dashes, double quotes, escaped newlines",
     "{%- for message in messages -%}\n  {%- if loop.first and messages[0][\"role\"] != "
     "\"system\" %}{{- \"<|im_start|>system\\nBe\\nkind.<|im_end|>\\n\" }}{%- endif %}\n"
     "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
     "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}",
     true, "Be\nkind."},
    {"a guard",
     "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}"
     "{% endif %}{% for message in messages %}" TURNS ANSWER,
     true, NULL},
    {"empty", "", false, NULL},
    {"no answer", "{% for message in messages %}" TURNS, false, NULL},
    {"more after it", "{% for message in messages %}" TURNS ANSWER "x", false, NULL},
    {"another mark",
     "{% for message in messages %}<|user|>{{ message['content'] }}{% endfor %}", false,
     NULL},
    {"a quote left open", "{% for message in messages %}{{'", false, NULL},
};

static void chatml_is_recognised(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof jinjas / sizeof *jinjas; i++) {
        const struct jinja *j = &jinjas[i];
        char *system = NULL;
        bool found = tr_template_is_chatml(j->text, &system);
        if (found != j->chatml || (system != NULL) != (j->system != NULL) ||
            (system && strcmp(system, j->system) != 0))
            fail_msg("%s: %d, system %s", j->name, found, system ? system : "none");
        free(system);
    }
}

/* template: null, by what the model's folder holds. */
static void no_template_falls_to_the_tokenizers(void **state)
{
    (void)state;
    static const struct {
        const char *config, *want, *system;
    } rows[] = {
        {"{}", "empty", ""},
        {"{\"chat_template\":\"{% for message in messages %}{% if loop.first and "
         "messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nHi.<|im_end|>\\n' }}"
         "{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
         "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
         "{{ '<|im_start|>assistant\\n' }}{% endif %}\"}",
         "chatml", "Hi."},
        {"{\"chat_template\":\"{{ bos_token }}\"}", NULL, NULL},
    };
    char *json = made_json(&(struct made_tokenizer){0});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char dir[64];
        struct tr_err err = {0};
        struct tr_tokenizer *t = NULL;
        struct tr_template tp;
        made_folder(dir);
        made_file(dir, "tokenizer.json", json);
        made_file(dir, "tokenizer_config.json", rows[i].config);
        assert_int_equal(tr_tokenizer_open(dir, &t, NULL), TR_OK);
        enum tr_status st = tr_template_choose(NULL, t, &tp, &err);
        if (rows[i].want) {
            assert_int_equal(st, TR_OK);
            assert_string_equal(tp.name, rows[i].want);
            assert_string_equal(tp.default_system, rows[i].system);
        } else {
            assert_int_equal(st, TR_BADARG);
            assert_non_null(strstr(err.text, "set `template`"));
        }
        tr_template_fini(&tp);
        tr_tokenizer_close(t);
        made_folder_remove(dir);
    }
    free(json);
}

static void what_is_not_known_is_refused(void **state)
{
    (void)state;
    struct tr_err err = {0};
    struct tr_template tp;
    struct tr_ids list = {0};
    struct tr_message call = {TR_FUNCTION, "f()", 3};
    struct tr_tokenizer *t = open_plain(true, true);
    assert_int_equal(tr_template_choose("mistral", t, &tp, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "mistral"));
    assert_int_equal(tr_template_choose("chatml", t, &tp, &err), TR_OK);
    assert_int_equal(tr_template_encode(&tp, t, NULL, &call, 1, &list, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "tool call"));
    tr_ids_fini(&list);
    tr_template_fini(&tp);
    tr_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_make_the_layout),
        cmocka_unit_test(invariant_1_slots_are_tokenised_alone),
        cmocka_unit_test(repair_follows_the_template),
        cmocka_unit_test(chatml_is_recognised),
        cmocka_unit_test(no_template_falls_to_the_tokenizers),
        cmocka_unit_test(what_is_not_known_is_refused),
    };
    return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}

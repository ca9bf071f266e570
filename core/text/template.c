#include "core/text/template.h"

#include <stdlib.h>
#include <string.h>

#define TEXT(s)                                                                          \
    {                                                                                    \
        TR_SLOT_TEXT, s                                                                  \
    }
#define BOS                                                                              \
    {                                                                                    \
        TR_SLOT_BOS, NULL                                                                \
    }
#define EOS                                                                              \
    {                                                                                    \
        TR_SLOT_EOS, NULL                                                                \
    }

#define CHATML_SYSTEM                                                                    \
    {                                                                                    \
        TEXT("<|im_start|>system\n{{content}}<|im_end|>\n")                              \
    }
#define CHATML_ASSISTANT                                                                 \
    {                                                                                    \
        TEXT("{{content}}<|im_end|>\n")                                                  \
    }
#define CHATML_USER                                                                      \
    {                                                                                    \
        TEXT("<|im_start|>user\n{{content}}<|im_end|>\n<|im_start|>assistant\n")         \
    }
#define LLAMA3_TURN(role)                                                                \
    {                                                                                    \
        TEXT("<|start_header_id|>" role "<|end_header_id|>\n\n{{content}}<|eot_id|>"     \
             "<|start_header_id|>assistant<|end_header_id|>\n\n")                        \
    }

static const struct tr_template templates[] = {
    {
        .name = "default",
        .system = {TEXT("System: {{content}}"), EOS, TEXT("\n")},
        .user = {TEXT("Human: {{content}}"), EOS, TEXT("\nAssistant:")},
        .assistant = {TEXT("{{content}}"), EOS, TEXT("\n")},
        .observation = {TEXT("Human: {{content}}"), EOS, TEXT("\nAssistant:")},
        .default_system = "",
    },
    {
        .name = "empty",
        .system = {TEXT("{{content}}")},
        .user = {TEXT("{{content}}")},
        .assistant = {TEXT("{{content}}")},
        .observation = {TEXT("{{content}}")},
        .default_system = "",
    },
    {
        .name = "chatml",
        .system = CHATML_SYSTEM,
        .user = CHATML_USER,
        .assistant = CHATML_ASSISTANT,
        .observation = {TEXT(
            "<|im_start|>tool\n{{content}}<|im_end|>\n<|im_start|>assistant\n")},
        .default_system = "",
        .stop = {"<|im_end|>", "<|im_start|>"},
        .replace_eos = true,
    },
    {
        .name = "qwen",
        .system = CHATML_SYSTEM,
        .user = CHATML_USER,
        .assistant = CHATML_ASSISTANT,
        .observation = {TEXT(
            "<|im_start|>user\n<tool_response>\n{{content}}\n</tool_response>"
            "<|im_end|>\n<|im_start|>assistant\n")},
        .default_system =
            "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        .stop = {"<|im_end|>"},
        .replace_eos = true,
    },
    {
        .name = "llama3",
        .prefix = {BOS},
        .system = {TEXT(
            "<|start_header_id|>system<|end_header_id|>\n\n{{content}}<|eot_id|>")},
        .user = LLAMA3_TURN("user"),
        .assistant = {TEXT("{{content}}<|eot_id|>")},
        .observation = LLAMA3_TURN("ipython"),
        .default_system = "",
        .stop = {"<|eot_id|>", "<|eom_id|>"},
        .replace_eos = true,
        .pretraining_eos = "<|end_of_text|>",
    },
};
enum { TEMPLATES = sizeof templates / sizeof *templates };

static enum tr_status find(const char *name, struct tr_template *out, struct tr_err *err)
{
    for (size_t i = 0; i < TEMPLATES; i++) {
        if (strcmp(templates[i].name, name) != 0) continue;
        *out = templates[i];
        return TR_OK;
    }
    return tr_err_set(
        err, TR_BADARG,
        "template %s is not known; known are default, empty, chatml, qwen, llama3", name);
}

enum tr_status tr_template_choose(const char *name, const struct tr_tokenizer *t,
                                  struct tr_template *out, struct tr_err *err)
{
    char *system = NULL;
    *out = (struct tr_template){0};
    if (name) return find(name, out, err);
    const char *jinja = tr_tokenizer_chat_template(t);
    if (!jinja) return find("empty", out, err);
    if (!tr_template_is_chatml(jinja, &system))
        return tr_err_set(
            err, TR_BADARG,
            "the tokenizer's chat template is none that can be read; set `template` "
            "(default, empty, chatml, qwen or llama3)");
    enum tr_status st = find("chatml", out, err);
    out->derived_system = system;
    if (system) out->default_system = system;
    return st;
}

void tr_template_fini(struct tr_template *tp)
{
    free(tp->derived_system);
    *tp = (struct tr_template){0};
}

static enum tr_status note_added(const struct tr_template *tp, const char *word,
                                 bool added, struct tr_buf *notes, struct tr_err *err)
{
    if (!added || !notes) return TR_OK;
    return tr_buf_printf(notes, err,
                         "template %s: %s was added to the vocabulary; the model has no "
                         "embedding for it\n",
                         tp->name, word);
}

static enum tr_status set_eos(const struct tr_template *tp, struct tr_tokenizer *t,
                              const char *word, struct tr_buf *notes, struct tr_err *err)
{
    bool added = false;
    struct tr_special s = tr_tokenizer_special(t);
    enum tr_status st = tr_tokenizer_add_special(t, word, &s.eos, &added, err);
    if (st != TR_OK) return st;
    tr_tokenizer_set_special(t, s);
    return note_added(tp, word, added, notes, err);
}

enum tr_status tr_template_repair(const struct tr_template *tp, struct tr_tokenizer *t,
                                  struct tr_buf *notes, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int first = 0;
    if (tp->replace_eos) st = set_eos(tp, t, tp->stop[first++], notes, err);
    if (st == TR_OK && tr_tokenizer_special(t).eos < 0)
        st = set_eos(tp, t, "<|endoftext|>", notes, err);
    struct tr_special s = tr_tokenizer_special(t);
    if (s.pad < 0) s.pad = s.eos;
    tr_tokenizer_set_special(t, s);
    for (int i = first; i < TR_STOPS && tp->stop[i] && st == TR_OK; i++) {
        bool added = false;
        int32_t id;
        st = tr_tokenizer_add_special(t, tp->stop[i], &id, &added, err);
        if (st == TR_OK) st = tr_tokenizer_add_stop(t, id, err);
        if (st == TR_OK) st = note_added(tp, tp->stop[i], added, notes, err);
    }
    return st;
}

static const char content[] = "{{content}}";

/* A text slot with its content, tokenised. `joined` is scratch. */
static enum tr_status put_text(const struct tr_tokenizer *t, const char *slot,
                               const char *text, size_t size, struct tr_buf *joined,
                               struct tr_ids *out, struct tr_err *err)
{
    const char *hole = strstr(slot, content);
    size_t before = hole ? (size_t)(hole - slot) : strlen(slot);
    tr_buf_clear(joined);
    enum tr_status st = tr_buf_put(joined, slot, before, err);
    if (hole) {
        if (st == TR_OK) st = tr_buf_put(joined, text, size, err);
        if (st == TR_OK) st = tr_buf_puts(joined, hole + strlen(content), err);
    }
    if (st != TR_OK) return st;
    return tr_tokenizer_encode(t, tr_buf_text(joined), joined->size, out, err);
}

static enum tr_status put_slots(const struct tr_tokenizer *t, const struct tr_slot *slot,
                                const char *text, size_t size, struct tr_buf *joined,
                                struct tr_ids *out, struct tr_err *err)
{
    struct tr_special s = tr_tokenizer_special(t);
    enum tr_status st = TR_OK;
    for (int i = 0; i < TR_SLOTS && st == TR_OK; i++) {
        switch (slot[i].kind) {
        case TR_SLOT_END:
            return TR_OK;
        case TR_SLOT_TEXT:
            st = put_text(t, slot[i].text, text, size, joined, out, err);
            break;
        case TR_SLOT_BOS:
            if (s.bos >= 0) st = tr_ids_put(out, &s.bos, 1, err);
            break;
        case TR_SLOT_EOS:
            if (s.eos >= 0) st = tr_ids_put(out, &s.eos, 1, err);
            break;
        }
    }
    return st;
}

static const struct tr_slot *slots_of(const struct tr_template *tp, enum tr_role role)
{
    switch (role) {
    case TR_USER:
        return tp->user;
    case TR_ASSISTANT:
        return tp->assistant;
    case TR_OBSERVATION:
        return tp->observation;
    case TR_FUNCTION:
    case TR_ROLES:
        break;
    }
    return NULL;
}

enum { TEXT_LIMIT = 1 << 28 };

enum tr_status tr_template_encode(const struct tr_template *tp,
                                  const struct tr_tokenizer *t, const char *system,
                                  const struct tr_message *message, int count,
                                  struct tr_ids *out, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    struct tr_buf joined;
    tr_buf_init(&joined, TEXT_LIMIT);
    if (!system || !system[0]) system = tp->default_system;
    if (count > 0) st = put_slots(t, tp->prefix, "", 0, &joined, &out[0], err);
    if (st == TR_OK && count > 0 && system[0])
        st = put_slots(t, tp->system, system, strlen(system), &joined, &out[0], err);
    for (int i = 0; i < count && st == TR_OK; i++) {
        const struct tr_slot *slot = slots_of(tp, message[i].role);
        if (slot)
            st = put_slots(t, slot, message[i].text, message[i].size, &joined, &out[i],
                           err);
        else
            st = tr_err_set(err, TR_BADARG, "message %d is a tool call; these come later",
                            i);
    }
    tr_buf_fini(&joined);
    return st;
}

enum tr_status tr_template_prompt(const struct tr_template *tp,
                                  const struct tr_tokenizer *t, const char *system,
                                  const struct tr_message *message, int count,
                                  struct tr_ids *out, struct tr_err *err)
{
    struct tr_ids *list = calloc((size_t)count + 1, sizeof *list);
    if (!list) return tr_err_set(err, TR_NOMEM, "%d messages", count);
    enum tr_status st = tr_template_encode(tp, t, system, message, count, list, err);
    for (int i = 0; i < count; i++) {
        if (st == TR_OK) st = tr_ids_put(out, list[i].at, list[i].count, err);
        tr_ids_fini(&list[i]);
    }
    free(list);
    return st;
}

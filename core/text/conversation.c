#include "core/text/conversation.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"

enum { TEXT_LIMIT = 1 << 28, MESSAGES = 1 << 20 };

void tr_conversation_init(struct tr_conversation *c)
{
    *c = (struct tr_conversation){0};
    tr_buf_init(&c->joined, TEXT_LIMIT);
}

void tr_conversation_fini(struct tr_conversation *c)
{
    free(c->message);
    tr_buf_fini(&c->joined);
    *c = (struct tr_conversation){0};
}

static enum tr_status put(struct tr_conversation *c, enum tr_role role, const char *text,
                          size_t size, struct tr_err *err)
{
    int n = c->prompts + c->answers;
    if (n == c->room) {
        int room = c->room ? c->room * 2 : 16;
        struct tr_message *message =
            room <= MESSAGES ? realloc(c->message, (size_t)room * sizeof *message) : NULL;
        if (!message) return tr_err_set(err, TR_NOMEM, "%d messages", room);
        c->message = message;
        c->room = room;
    }
    c->message[n] = (struct tr_message){role, text, size};
    c->prompts++;
    return TR_OK;
}

static enum tr_status put_json(struct tr_conversation *c, enum tr_role role,
                               const json_t *text, const char *field, struct tr_err *err)
{
    if (!json_is_string(text))
        return tr_err_set(err, TR_BADARG, "%s: expected a string, found %s", field,
                          tr_json_kind(text));
    return put(c, role, json_string_value(text), json_string_length(text), err);
}

/* The last `n` messages are answers, not prompts. */
static void turn_to_answers(struct tr_conversation *c, int n)
{
    c->prompts -= n;
    c->answers = n;
}

static const json_t *field(const struct tr_dataset *d, const json_t *record,
                           enum tr_column k)
{
    return d->column[k] ? json_object_get(record, d->column[k]) : NULL;
}

/* A string, or NULL in *out when the field is missing, null or empty. */
static enum tr_status text_field(const struct tr_dataset *d, const json_t *record,
                                 enum tr_column k, const json_t **out, struct tr_err *err)
{
    const json_t *x = field(d, record, k);
    *out = NULL;
    if (!x || json_is_null(x)) return TR_OK;
    if (!json_is_string(x))
        return tr_err_set(err, TR_BADARG, "%s: expected a string, found %s", d->column[k],
                          tr_json_kind(x));
    if (json_string_length(x) > 0) *out = x;
    return TR_OK;
}

static enum tr_status read_history(struct tr_conversation *c, const struct tr_dataset *d,
                                   const json_t *record, struct tr_err *err)
{
    const json_t *history = field(d, record, TR_COL_HISTORY);
    enum tr_status st = TR_OK;
    for (size_t i = 0; i < json_array_size(history) && st == TR_OK; i++) {
        const json_t *pair = json_array_get(history, i);
        const char *name = d->column[TR_COL_HISTORY];
        if (json_array_size(pair) != 2)
            return tr_err_set(err, TR_BADARG, "%s: expected pairs of texts", name);
        st = put_json(c, TR_USER, json_array_get(pair, 0), name, err);
        if (st == TR_OK)
            st = put_json(c, TR_ASSISTANT, json_array_get(pair, 1), name, err);
    }
    return st;
}

/* The final user message: prompt and query, a newline between them if there are both. */
static enum tr_status read_question(struct tr_conversation *c, const struct tr_dataset *d,
                                    const json_t *record, struct tr_err *err)
{
    const json_t *prompt, *query;
    enum tr_status st = text_field(d, record, TR_COL_PROMPT, &prompt, err);
    if (st == TR_OK) st = text_field(d, record, TR_COL_QUERY, &query, err);
    if (st != TR_OK) return st;
    if (!prompt || !query) {
        const json_t *one = prompt ? prompt : query;
        return one ? put_json(c, TR_USER, one, "", err) : put(c, TR_USER, "", 0, err);
    }
    tr_buf_clear(&c->joined);
    st = tr_buf_put(&c->joined, json_string_value(prompt), json_string_length(prompt),
                    err);
    if (st == TR_OK) st = tr_buf_put(&c->joined, "\n", 1, err);
    if (st == TR_OK)
        st = tr_buf_put(&c->joined, json_string_value(query), json_string_length(query),
                        err);
    return st == TR_OK ? put(c, TR_USER, c->joined.at, c->joined.size, err) : st;
}

/* A record marked good (true) or bad (false) has two answers, of which one is empty. */
static enum tr_status put_marked(struct tr_conversation *c, const json_t *mark,
                                 struct tr_message answer, struct tr_err *err)
{
    struct tr_message none = {TR_ASSISTANT, "", 0};
    struct tr_message first = json_is_true(mark) ? answer : none;
    struct tr_message second = json_is_true(mark) ? none : answer;
    enum tr_status st = put(c, first.role, first.text, first.size, err);
    if (st == TR_OK) st = put(c, second.role, second.text, second.size, err);
    if (st == TR_OK) turn_to_answers(c, 2);
    return st;
}

static enum tr_status read_alpaca(struct tr_conversation *c, const struct tr_dataset *d,
                                  const json_t *record, struct tr_err *err)
{
    enum tr_status st = read_history(c, d, record, err);
    if (st == TR_OK) st = read_question(c, d, record, err);
    if (st != TR_OK) return st;
    const json_t *chosen = field(d, record, TR_COL_CHOSEN);
    const json_t *rejected = field(d, record, TR_COL_REJECTED);
    const json_t *response = field(d, record, TR_COL_RESPONSE);
    const json_t *mark = field(d, record, TR_COL_KTO_TAG);
    if (json_is_boolean(mark) && json_is_string(response)) {
        st = put_marked(c, mark,
                        (struct tr_message){TR_ASSISTANT, json_string_value(response),
                                            json_string_length(response)},
                        err);
    } else if (d->ranking && json_is_string(chosen) && json_is_string(rejected)) {
        st = put_json(c, TR_ASSISTANT, chosen, "", err);
        if (st == TR_OK) st = put_json(c, TR_ASSISTANT, rejected, "", err);
        if (st == TR_OK) turn_to_answers(c, 2);
    } else if (json_is_string(response)) {
        st = put_json(c, TR_ASSISTANT, response, "", err);
        if (st == TR_OK) turn_to_answers(c, 1);
    }
    return st;
}

/* The role that a sharegpt message's tag names, or TR_ROLES. */
static enum tr_role role_of(const struct tr_dataset *d, const json_t *message)
{
    static const enum tr_tag tag[TR_ROLES] = {
        [TR_USER] = TR_TAG_USER,
        [TR_ASSISTANT] = TR_TAG_ASSISTANT,
        [TR_OBSERVATION] = TR_TAG_OBSERVATION,
        [TR_FUNCTION] = TR_TAG_FUNCTION,
    };
    const char *name = json_string_value(json_object_get(message, d->tag[TR_TAG_ROLE]));
    for (int r = 0; r < TR_ROLES && name; r++)
        if (d->tag[tag[r]] && strcmp(name, d->tag[tag[r]]) == 0) return (enum tr_role)r;
    return TR_ROLES;
}

static enum tr_status put_message(struct tr_conversation *c, const struct tr_dataset *d,
                                  enum tr_role role, const json_t *message,
                                  struct tr_err *err)
{
    const char *tag = d->tag[TR_TAG_CONTENT];
    return put_json(c, role, json_object_get(message, tag), tag, err);
}

/* A leading message with the system tag is the system text. Gives the number of messages used. */
static enum tr_status read_system(struct tr_conversation *c, const struct tr_dataset *d,
                                  const json_t *list, size_t *used, struct tr_err *err)
{
    const json_t *first = json_array_get(list, 0);
    const char *name = json_string_value(json_object_get(first, d->tag[TR_TAG_ROLE]));
    *used = 0;
    if (!name || !d->tag[TR_TAG_SYSTEM] || strcmp(name, d->tag[TR_TAG_SYSTEM]) != 0)
        return TR_OK;
    *used = 1;
    return tr_json_string_or(first, d->tag[TR_TAG_CONTENT], "system message", NULL,
                             &c->system, err);
}

static enum tr_status read_messages(struct tr_conversation *c, const struct tr_dataset *d,
                                    const json_t *record, struct tr_err *err)
{
    const char *name = d->column[TR_COL_MESSAGES];
    const json_t *list = json_object_get(record, name);
    size_t from;
    if (!json_is_array(list))
        return tr_err_set(err, TR_BADARG, "%s: expected an array, found %s", name,
                          tr_json_kind(list));
    enum tr_status st = read_system(c, d, list, &from, err);
    for (size_t i = from; i < json_array_size(list) && st == TR_OK; i++) {
        const json_t *message = json_array_get(list, i);
        enum tr_role role = role_of(d, message);
        bool asks = role == TR_USER || role == TR_OBSERVATION;
        if (role == TR_ROLES || asks != ((i - from) % 2 == 0)) {
            c->fault = "a role is out of order or unknown";
            return TR_OK;
        }
        st = put_message(c, d, role, message, err);
    }
    if (st == TR_OK && (c->prompts % 2 == 0) == d->ranking)
        c->fault = d->ranking ? "an even number of messages before the pair"
                              : "an odd number of messages";
    return st;
}

static enum tr_status read_sharegpt(struct tr_conversation *c, const struct tr_dataset *d,
                                    const json_t *record, struct tr_err *err)
{
    const json_t *pair[2] = {field(d, record, TR_COL_CHOSEN),
                             field(d, record, TR_COL_REJECTED)};
    enum tr_status st = read_messages(c, d, record, err);
    if (st != TR_OK || c->fault) return st;
    const json_t *mark = field(d, record, TR_COL_KTO_TAG);
    if (json_is_boolean(mark) && c->prompts > 0) {
        c->prompts--;
        return put_marked(c, mark, c->message[c->prompts], err);
    }
    if (!d->ranking || !json_is_object(pair[0]) || !json_is_object(pair[1])) {
        turn_to_answers(c, c->prompts > 0);
        return TR_OK;
    }
    for (int i = 0; i < 2 && st == TR_OK; i++) {
        enum tr_role role = role_of(d, pair[i]);
        if (role == TR_ROLES)
            return tr_err_set(err, TR_BADARG, "%s: its role is unknown",
                              d->column[i == 0 ? TR_COL_CHOSEN : TR_COL_REJECTED]);
        st = put_message(c, d, role, pair[i], err);
    }
    if (st == TR_OK) turn_to_answers(c, 2);
    return st;
}

/* Tools change how a conversation is rendered, so a record with tools is refused for now. */
static enum tr_status check_tools(const struct tr_conversation *c,
                                  const struct tr_dataset *d, const json_t *record,
                                  struct tr_err *err)
{
    const json_t *tools = field(d, record, TR_COL_TOOLS);
    bool any = json_array_size(tools) > 0;
    if (json_is_string(tools))
        any =
            json_string_length(tools) > 0 && strcmp(json_string_value(tools), "[]") != 0;
    for (int i = 0; i < c->prompts + c->answers && !any; i++)
        any = c->message[i].role == TR_FUNCTION;
    if (!any) return TR_OK;
    return tr_err_set(err, TR_BADARG, "tools and tool calls come later");
}

enum tr_status tr_conversation_read(struct tr_conversation *c, const struct tr_dataset *d,
                                    const json_t *record, struct tr_err *err)
{
    const json_t *system;
    c->prompts = c->answers = 0;
    c->system = c->fault = NULL;
    enum tr_status st = text_field(d, record, TR_COL_SYSTEM, &system, err);
    if (st != TR_OK) return st;
    if (system) c->system = json_string_value(system);
    st = d->formatting == TR_ALPACA ? read_alpaca(c, d, record, err)
                                    : read_sharegpt(c, d, record, err);
    if (st == TR_OK) st = check_tools(c, d, record, err);
    if (c->fault) c->prompts = c->answers = 0;
    return st;
}

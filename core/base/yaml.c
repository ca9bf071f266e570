#include "core/base/yaml.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "core/base/file.h"

enum { TR_YAML_DEPTH = 32, TR_YAML_BYTES = 1 << 20 };

/* One document being read: libyaml's parser and the name for errors. */
struct reader {
    yaml_parser_t parser;
    const char *where;
};

static enum tr_status fault(const struct reader *r, yaml_mark_t at, const char *what,
                            struct tr_err *err)
{
    return tr_err_set(err, TR_BADARG, "%s: line %zu column %zu: %s", r->where,
                      at.line + 1, at.column + 1, what);
}

static enum tr_status next(struct reader *r, yaml_event_t *e, struct tr_err *err)
{
    if (yaml_parser_parse(&r->parser, e)) return TR_OK;
    const char *what = r->parser.problem ? r->parser.problem : "not YAML";
    return fault(r, r->parser.problem_mark, what, err);
}

/* Digits with underscores aside, sign first: does all of text look like a number? */
static json_t *number(const char *text)
{
    char *end = NULL;
    bool hex = strstr(text, "0x") != NULL || strstr(text, "0X") != NULL;
    if (!*text || hex || !strpbrk(text, "0123456789") ||
        strspn(text, "+-.0123456789eE") != strlen(text))
        return NULL;
    errno = 0;
    long long i = strtoll(text, &end, 10);
    if (!*end && errno == 0) return json_integer(i);
    errno = 0;
    double x = strtod(text, &end);
    if (!*end && errno == 0) return json_real(x);
    return NULL;
}

static bool is_one_of(const char *text, const char *const words[])
{
    for (; *words; words++)
        if (strcasecmp(text, *words) == 0) return true;
    return false;
}

json_t *tr_yaml_scalar(const char *text)
{
    static const char *const yes[] = {"true", "yes", "on", NULL};
    static const char *const no[] = {"false", "no", "off", NULL};
    if (!*text || !strcmp(text, "~") || !strcasecmp(text, "null")) return json_null();
    if (is_one_of(text, yes)) return json_true();
    if (is_one_of(text, no)) return json_false();
    json_t *v = number(text);
    return v ? v : json_string(text);
}

static enum tr_status scalar(const struct reader *r, const yaml_event_t *e, json_t **out,
                             struct tr_err *err)
{
    const char *text = (const char *)e->data.scalar.value;
    if (strlen(text) != e->data.scalar.length)
        return fault(r, e->start_mark, "a zero byte in the text", err);
    if (e->data.scalar.tag || e->data.scalar.anchor)
        return fault(r, e->start_mark, "tags and anchors are not taken", err);
    *out = e->data.scalar.plain_implicit ? tr_yaml_scalar(text) : json_string(text);
    if (!*out) return fault(r, e->start_mark, "not valid UTF-8", err);
    return TR_OK;
}

/* Where the value that is being read will go: a list, or a key of a mapping. */
struct level {
    json_t *node; /* borrows: the root, or held by the level above */
    char *key; /* owns; the key whose value comes next, NULL in a list or before a key */
};

struct stack {
    struct level at[TR_YAML_DEPTH];
    int depth;
    json_t *root; /* owns */
};

/* Puts a finished scalar or a fresh container into the innermost one. Takes value. */
static enum tr_status place(const struct reader *r, struct stack *s, yaml_mark_t mark,
                            json_t *value, struct tr_err *err)
{
    if (s->depth == 0) {
        s->root = value;
        return TR_OK;
    }
    struct level *top = &s->at[s->depth - 1];
    if (json_is_array(top->node)) {
        if (json_array_append_new(top->node, value) != 0)
            return fault(r, mark, "no memory", err);
        return TR_OK;
    }
    int rc = json_object_set_new(top->node, top->key, value);
    free(top->key);
    top->key = NULL;
    return rc == 0 ? TR_OK : fault(r, mark, "the key is not valid UTF-8", err);
}

static enum tr_status take_key(const struct reader *r, struct level *top,
                               const yaml_event_t *e, struct tr_err *err)
{
    const char *text = (const char *)e->data.scalar.value;
    if (strlen(text) != e->data.scalar.length || e->data.scalar.anchor ||
        e->data.scalar.tag)
        return fault(r, e->start_mark, "a key must be plain text", err);
    if (json_object_get(top->node, text))
        return fault(r, e->start_mark, "this key again", err);
    top->key = strdup(text);
    return top->key ? TR_OK : fault(r, e->start_mark, "no memory", err);
}

static enum tr_status open_container(const struct reader *r, struct stack *s,
                                     const yaml_event_t *e, struct tr_err *err)
{
    bool list = e->type == YAML_SEQUENCE_START_EVENT;
    const void *anchor =
        list ? e->data.sequence_start.anchor : e->data.mapping_start.anchor;
    const void *tag = list ? e->data.sequence_start.tag : e->data.mapping_start.tag;
    if (anchor || tag)
        return fault(r, e->start_mark, "tags and anchors are not taken", err);
    if (s->depth == TR_YAML_DEPTH)
        return fault(r, e->start_mark, "nested over 32 deep", err);
    json_t *node = list ? json_array() : json_object();
    if (!node) return fault(r, e->start_mark, "no memory", err);
    enum tr_status st = place(r, s, e->start_mark, node, err);
    if (st == TR_OK) s->at[s->depth++] = (struct level){.node = node};
    return st;
}

static enum tr_status take_event(const struct reader *r, struct stack *s,
                                 const yaml_event_t *e, struct tr_err *err)
{
    struct level *top = s->depth ? &s->at[s->depth - 1] : NULL;
    bool key_next = top && json_is_object(top->node) && !top->key;
    json_t *value = NULL;
    enum tr_status st = TR_OK;
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        if (key_next) return take_key(r, top, e, err);
        st = scalar(r, e, &value, err);
        return st == TR_OK ? place(r, s, e->start_mark, value, err) : st;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (key_next) return fault(r, e->start_mark, "a key must be plain text", err);
        return open_container(r, s, e, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        s->depth--;
        return TR_OK;
    case YAML_ALIAS_EVENT:
        return fault(r, e->start_mark, "aliases are not taken", err);
    case YAML_DOCUMENT_START_EVENT:
        if (s->root) return fault(r, e->start_mark, "a second document", err);
        return TR_OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return TR_OK;
    }
    return TR_OK;
}

enum tr_status tr_yaml_parse(const char *text, size_t size, const char *where,
                             json_t **out, struct tr_err *err)
{
    struct reader r = {.where = where};
    struct stack s = {0};
    enum tr_status st = TR_OK;
    bool end = false;
    *out = NULL;
    if (size > TR_YAML_BYTES)
        return tr_err_set(err, TR_BADARG, "%s: %zu bytes, expected at most %d", where,
                          size, TR_YAML_BYTES);
    if (!yaml_parser_initialize(&r.parser))
        return tr_err_set(err, TR_NOMEM, "%s: no memory for the parser", where);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
    while (st == TR_OK && !end) {
        yaml_event_t e;
        st = next(&r, &e, err);
        if (st != TR_OK) break;
        end = e.type == YAML_STREAM_END_EVENT;
        st = take_event(&r, &s, &e, err);
        yaml_event_delete(&e);
    }
    if (st == TR_OK && !s.root && !(s.root = json_object()))
        st = tr_err_set(err, TR_NOMEM, "%s: no memory", where);
    for (int i = 0; i < TR_YAML_DEPTH; i++) free(s.at[i].key);
    yaml_parser_delete(&r.parser);
    if (st == TR_OK)
        *out = s.root;
    else
        json_decref(s.root);
    return st;
}

enum tr_status tr_yaml_load(const char *path, json_t **out, struct tr_err *err)
{
    struct tr_buf text;
    *out = NULL;
    enum tr_status st = tr_file_read(path, TR_YAML_BYTES, &text, err);
    if (st != TR_OK) return st;
    st = tr_yaml_parse(tr_buf_text(&text), text.size, path, out, err);
    tr_buf_fini(&text);
    return st;
}

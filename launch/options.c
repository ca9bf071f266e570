#include "launch/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/base/yaml.h"
#include "launch/options_check.h"

/* A value as a person wrote it, short enough for an error. */
static void describe(const json_t *value, char *out, size_t size)
{
    char *text =
        json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(12));
    snprintf(out, size, "%.60s%s", text ? text : "?",
             text && strlen(text) > 60 ? "..." : "");
    free(text);
}

static enum tr_status wrong(const char *where, const struct tr_key *key,
                            const char *expected, const json_t *found, struct tr_err *err)
{
    char text[80];
    describe(found, text, sizeof text);
    return tr_err_set(err, TR_BADARG, "%s: %s: expected %s, found %s", where, key->name,
                      expected, text);
}

static json_t *default_of(const struct tr_key *key)
{
    return key->otherwise ? tr_yaml_scalar(key->otherwise) : json_null();
}

/* Text of a WORD value: YAML reads a bare no or yes as a boolean. */
static const char *word_text(const json_t *value)
{
    if (json_is_boolean(value)) return json_is_true(value) ? "yes" : "no";
    return json_string_value(value);
}

/* Where `text` stands in `words`; *later when it is marked with "!". -1: nowhere. */
static int word_place(const char *words, const char *text, bool *later)
{
    size_t n = strlen(text);
    int place = 0;
    for (const char *w = words; *w; place++) {
        const char *end = strchr(w, ' ');
        size_t size = end ? (size_t)(end - w) : strlen(w);
        *later = *w == '!';
        if (size - *later == n && !strncmp(w + *later, text, n)) return place;
        w += size + (end != NULL);
    }
    return -1;
}

/* "one of" the words that are done. */
static void list_words(const char *words, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "one of");
    for (const char *w = words; *w;) {
        size_t n = strcspn(w, " ");
        if (*w != '!' && at < size)
            at += (size_t)snprintf(out + at, size - at, " %.*s", (int)n, w);
        w += n + (w[n] == ' ');
    }
}

static enum tr_status set_number(const struct tr_key *key, const json_t *value,
                                 const char *where, void *field, struct tr_err *err)
{
    char expected[96];
    double x = json_number_value(value);
    bool whole = key->kind == TR_KEY_INT;
    snprintf(expected, sizeof expected,
             whole ? "a whole number from %.0f to %.0f" : "a number from %.15g to %.15g",
             key->lo, key->hi);
    bool good = json_is_number(value) && x >= key->lo && x <= key->hi;
    if (!good || (whole && x != floor(x))) return wrong(where, key, expected, value, err);
    if (whole)
        *(int64_t *)field =
            json_is_integer(value) ? json_integer_value(value) : (int64_t)x;
    else
        *(double *)field = x;
    return TR_OK;
}

static enum tr_status set_word(const struct tr_key *key, const json_t *value,
                               const char *where, bool is_default, void *field,
                               struct tr_err *err)
{
    char expected[160];
    const char *text = word_text(value);
    bool later = false;
    int place = text ? word_place(key->words, text, &later) : -1;
    list_words(key->words, expected, sizeof expected);
    if (place < 0) return wrong(where, key, expected, value, err);
    if (later && !is_default)
        return tr_err_set(err, TR_BADARG, "%s: %s: %s is not done: %s", where, key->name,
                          text, key->why);
    *(int *)field = place;
    return TR_OK;
}

static enum tr_status set_null(const struct tr_key *key, const char *where, void *field,
                               struct tr_err *err)
{
    switch (key->kind) {
    case TR_KEY_TRI:
        *(int *)field = -1;
        break;
    case TR_KEY_INT:
        *(int64_t *)field = -1;
        break;
    case TR_KEY_REAL:
        *(double *)field = 0;
        break;
    case TR_KEY_TEXT:
        *(const char **)field = NULL;
        break;
    case TR_KEY_MAP:
    case TR_KEY_ANY:
        *(json_t **)field = NULL;
        break;
    case TR_KEY_BOOL:
    case TR_KEY_WORD:
        return tr_err_set(err, TR_BADARG, "%s: %s: expected a value, found null", where,
                          key->name);
    }
    return TR_OK;
}

/* Fills the field of an honoured key. */
static enum tr_status set(struct tr_options *o, const struct tr_key *key, json_t *value,
                          const char *where, bool is_default, struct tr_err *err)
{
    void *field = (char *)o + key->at;
    if (json_is_null(value)) {
        /* null means "not said": the default, where there is one */
        if (!key->otherwise) return set_null(key, where, field, err);
        return TR_OK;
    }
    switch (key->kind) {
    case TR_KEY_BOOL:
    case TR_KEY_TRI:
        if (!json_is_boolean(value))
            return wrong(where, key, "true or false", value, err);
        if (key->kind == TR_KEY_BOOL)
            *(bool *)field = json_is_true(value);
        else
            *(int *)field = json_is_true(value);
        break;
    case TR_KEY_INT:
    case TR_KEY_REAL:
        return set_number(key, value, where, field, err);
    case TR_KEY_TEXT:
        if (!json_is_string(value)) return wrong(where, key, "a text", value, err);
        *(const char **)field = json_string_value(value);
        break;
    case TR_KEY_WORD:
        return set_word(key, value, where, is_default, field, err);
    case TR_KEY_MAP:
        if (!json_is_object(value)) return wrong(where, key, "a map", value, err);
        *(json_t **)field = value;
        break;
    case TR_KEY_ANY:
        *(json_t **)field = value;
        break;
    }
    return TR_OK;
}

static bool same_value(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

/* A refused key may be given its inert default. */
static enum tr_status refuse(const struct tr_key *key, const json_t *value,
                             const char *where, struct tr_err *err)
{
    char text[80];
    bool later = false;
    if (json_is_null(value)) return TR_OK;
    json_t *inert = default_of(key);
    bool same = same_value(value, inert);
    json_decref(inert);
    if (same) return TR_OK;
    const char *word = key->words ? word_text(value) : NULL;
    if (word && word_place(key->words, word, &later) >= 0) return TR_OK;
    describe(value, text, sizeof text);
    return tr_err_set(
        err, TR_BADARG,
        "%s: %s: found %s, which would change the result and is not done: %s", where,
        key->name, text, key->why);
}

static enum tr_status unknown(const char *where, const char *name, struct tr_err *err)
{
    const char *near = tr_key_nearest(name);
    if (near)
        return tr_err_set(err, TR_BADARG, "%s: %s: no such key; did you mean %s?", where,
                          name, near);
    return tr_err_set(err, TR_BADARG, "%s: %s: no such key", where, name);
}

/* key=value: texts as they stand, a map as YAML writes it on one line, all else as a plain scalar. */
static enum tr_status put_assignment(json_t *values, json_t *from_line, const char *text,
                                     struct tr_err *err)
{
    char name[96];
    const char *eq = strchr(text, '=');
    if (!eq || eq == text || (size_t)(eq - text) >= sizeof name)
        return tr_err_set(err, TR_BADARG, "command line: %s: expected key=value", text);
    snprintf(name, sizeof name, "%.*s", (int)(eq - text), text);
    const struct tr_key *key = tr_key_find(name);
    if (!key) return unknown("command line", name, err);
    json_t *value = NULL;
    if (key->kind == TR_KEY_MAP && eq[1] == '{') {
        enum tr_status st = tr_yaml_parse(eq + 1, strlen(eq + 1), name, &value, err);
        if (st != TR_OK) return tr_err_wrap(err, st, "command line");
    } else
        value = tr_yaml_scalar(eq + 1);
    if (key->kind == TR_KEY_TEXT && !json_is_null(value)) {
        json_decref(value);
        value = json_string(eq + 1);
    }
    if (!value || json_object_set_new(values, name, value) ||
        json_object_set_new(from_line, name, json_true()))
        return tr_err_set(err, TR_NOMEM, "command line: %s", text);
    return TR_OK;
}

static enum tr_status set_defaults(struct tr_options *o, struct tr_err *err)
{
    const struct tr_key *key = NULL;
    for (size_t i = 0; (key = tr_key_row(i)); i++) {
        if (key->status != TR_KEY_HONOURED) continue;
        if (!key->otherwise) {
            set_null(key, "defaults", (char *)o + key->at, NULL);
            continue;
        }
        json_t *value = tr_yaml_scalar(key->otherwise);
        if (key->kind == TR_KEY_TEXT || key->kind == TR_KEY_WORD) {
            json_decref(value); /* texts must outlive the value: kept in the table */
            value = json_string(key->otherwise);
        }
        enum tr_status st = value ? set(o, key, value, "defaults", true, err) : TR_NOMEM;
        if (key->kind == TR_KEY_TEXT)
            *(const char **)((char *)o + key->at) = key->otherwise;
        json_decref(value);
        if (st != TR_OK) return st;
    }
    return TR_OK;
}

static enum tr_status apply(struct tr_options *o, const char *path,
                            const json_t *from_line, struct tr_buf *noted,
                            struct tr_err *err)
{
    const char *name = NULL;
    json_t *value = NULL;
    enum tr_status st = TR_OK;
    json_object_foreach(o->values, name, value)
    {
        const char *where =
            json_object_get(from_line, name) || !path ? "command line" : path;
        const struct tr_key *key = tr_key_find(name);
        if (!key) return unknown(where, name, err);
        switch (key->status) {
        case TR_KEY_HONOURED:
            st = set(o, key, value, where, false, err);
            break;
        case TR_KEY_REFUSED:
            st = refuse(key, value, where, err);
            break;
        case TR_KEY_NOTED:
            st = tr_buf_printf(noted, err, "%s%s", noted->size ? ", " : "", name);
            break;
        }
        if (st != TR_OK) return st;
    }
    return TR_OK;
}

enum tr_status tr_options_load(const char *path, char *const *assignments, int n,
                               struct tr_options *out, struct tr_buf *notes,
                               struct tr_err *err)
{
    json_t *from_line = json_object();
    struct tr_buf noted;
    enum tr_status st = TR_OK;
    *out = (struct tr_options){0};
    tr_buf_init(&noted, 1 << 16);
    if (path && !tr_path_exists(path))
        st = tr_err_set(err, TR_BADARG, "%s: no such file", path);
    else if (path)
        st = tr_yaml_load(path, &out->values, err);
    else
        out->values = json_object();
    if (st != TR_OK) goto done;
    if (!json_is_object(out->values)) {
        st = tr_err_set(err, TR_BADARG, "%s: expected keys and values", path);
        goto done;
    }
    for (int i = 0; i < n && st == TR_OK; i++)
        st = put_assignment(out->values, from_line, assignments[i], err);
    if (st == TR_OK) st = set_defaults(out, err);
    if (st == TR_OK) st = apply(out, path, from_line, &noted, err);
    if (st == TR_OK) st = tr_options_check(out, path ? path : "command line", err);
    if (st == TR_OK && noted.size)
        st = tr_buf_printf(notes, err, "noted, without effect on the result here: %s\n",
                           tr_buf_text(&noted));

done:
    tr_buf_fini(&noted);
    json_decref(from_line);
    if (st != TR_OK) tr_options_fini(out);
    return st;
}

void tr_options_fini(struct tr_options *o)
{
    json_decref(o->values);
    *o = (struct tr_options){0};
}

enum tr_status tr_options_text(const struct tr_options *o, struct tr_buf *out,
                               struct tr_err *err)
{
    const struct tr_key *key = NULL;
    enum tr_status st = TR_OK;
    for (size_t i = 0; (key = tr_key_row(i)) && st == TR_OK; i++) {
        if (key->status != TR_KEY_HONOURED) continue;
        const json_t *given = json_object_get(o->values, key->name);
        if (!given || json_is_null(given)) {
            bool quoted =
                key->otherwise && (key->kind == TR_KEY_TEXT || key->kind == TR_KEY_WORD);
            st = tr_buf_printf(out, err, quoted ? "%s: \"%s\"\n" : "%s: %s\n", key->name,
                               key->otherwise ? key->otherwise : "null");
            continue;
        }
        char *text = tr_json_text(given, 0);
        st = text ? tr_buf_printf(out, err, "%s: %s\n", key->name, text) : TR_NOMEM;
        free(text);
    }
    return st;
}

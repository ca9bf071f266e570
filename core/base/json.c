#include "core/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"

const char *tr_json_kind(const json_t *value)
{
    if (!value) return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
        return "integer";
    case JSON_REAL:
        return "real";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    case JSON_NULL:
        return "null";
    }
    return "nothing";
}

enum tr_status tr_json_parse(const char *bytes, size_t size, const char *where,
                             json_t **out, struct tr_err *err)
{
    json_error_t at;
    *out = json_loadb(bytes, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);
    if (*out) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%s: line %d column %d: %.120s", where, at.line,
                      at.column, at.text);
}

enum tr_status tr_json_load(const char *path, size_t limit, json_t **out,
                            struct tr_err *err)
{
    struct tr_buf text;
    *out = NULL;
    enum tr_status st = tr_file_read(path, limit, &text, err);
    if (st != TR_OK) return st;
    st = tr_json_parse(tr_buf_text(&text), text.size, path, out, err);
    tr_buf_fini(&text);
    return st;
}

/* 1e-05 as 1e-5: the exponent as JSON writers put it. Returns the new length. */
static size_t trim_exponent(char *text)
{
    char *e = strchr(text, 'e');
    if (!e) return strlen(text);
    char *to = e + 1 + (e[1] == '-');
    char *from = e + 1 + strspn(e + 1, "+-0");
    memmove(to, from, strlen(from) + 1);
    return strlen(text);
}

/* Writes the number that text[0 .. n-1] is with the fewest digits that read back as itself. The
 * new text is never longer. Returns its length. */
static size_t shorten(char *text, size_t n)
{
    char try[40];
    double x = strtod(text, NULL);
    for (int digits = 15; digits < 17; digits++) {
        snprintf(try, sizeof try, "%.*g", digits, x);
        if (strtod(try, NULL) != x) continue;
        if (!strpbrk(try, ".e")) snprintf(try, sizeof try, "%.*g.0", digits, x);
        size_t m = trim_exponent(try);
        if (m >= n) continue;
        memcpy(text, try, m);
        return m;
    }
    return n;
}

/* The same for every real outside of strings, in place. */
static void shorten_reals(char *text)
{
    bool quoted = false;
    char *to = text;
    for (char *at = text; *at;) {
        size_t n = quoted ? 0 : strspn(at, "+-.eE0123456789");
        bool number = n > 0 && (*at == '-' || (*at >= '0' && *at <= '9'));
        if (!number) {
            if (*at == '"') quoted = !quoted;
            if (*at == '\\' && at[1]) *to++ = *at++;
            *to++ = *at++;
            continue;
        }
        memmove(to, at, n);
        at += n;
        char after = to[n]; /* strtod stops here */
        to[n] = 0;
        size_t m = strpbrk(to, ".eE") ? shorten(to, n) : n;
        to[n] = after;
        to += m;
    }
    *to = 0;
}

char *tr_json_text(const json_t *value, int indent)
{
    size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(17);
    if (indent) flags |= JSON_INDENT((size_t)indent);
    char *text = json_dumps(value, flags);
    if (text) shorten_reals(text);
    return text;
}

enum tr_status tr_json_save(const char *path, const json_t *value, int indent,
                            struct tr_err *err)
{
    char *text = tr_json_text(value, indent);
    if (!text) return tr_err_set(err, TR_NOMEM, "%s: cannot encode as JSON", path);
    size_t size = strlen(text);
    text[size] = '\n'; /* over the terminator: tr_file_write takes a size */
    enum tr_status st = tr_file_write(path, text, size + 1, err);
    free(text);
    return st;
}

static enum tr_status wrong(const json_t *found, const char *key, const char *where,
                            const char *expected, struct tr_err *err)
{
    return tr_err_set(err, TR_BADARG, "%s: %s: expected %s, found %s", where, key,
                      expected, tr_json_kind(found));
}

/* Is there something to read, or does the default hold? */
static const json_t *present(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_null(v) ? NULL : v;
}

enum tr_status tr_json_string(const json_t *obj, const char *key, const char *where,
                              const char **out, struct tr_err *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!json_is_string(v)) return wrong(v, key, where, "a string", err);
    const char *text = json_string_value(v);
    if (strlen(text) != json_string_length(v))
        return tr_err_set(err, TR_BADARG, "%s: %s: a zero byte in the text", where, key);
    *out = text;
    return TR_OK;
}

enum tr_status tr_json_string_or(const json_t *obj, const char *key, const char *where,
                                 const char *otherwise, const char **out,
                                 struct tr_err *err)
{
    *out = otherwise;
    return present(obj, key) ? tr_json_string(obj, key, where, out, err) : TR_OK;
}

enum tr_status tr_json_int(const json_t *obj, const char *key, const char *where,
                           int64_t min, int64_t max, int64_t *out, struct tr_err *err)
{
    const json_t *v = json_object_get(obj, key);
    double x = 0;
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
    } else if (json_is_real(v) && (x = json_real_value(v), x == floor(x)) &&
               fabs(x) < 9007199254740992.0) {
        *out = (int64_t)x;
    } else {
        return wrong(v, key, where, "an integer", err);
    }
    if (*out < min || *out > max)
        return tr_err_set(err, TR_BADARG, "%s: %s: expected %lld to %lld, found %lld",
                          where, key, (long long)min, (long long)max, (long long)*out);
    return TR_OK;
}

enum tr_status tr_json_int_or(const json_t *obj, const char *key, const char *where,
                              int64_t min, int64_t max, int64_t otherwise, int64_t *out,
                              struct tr_err *err)
{
    *out = otherwise;
    return present(obj, key) ? tr_json_int(obj, key, where, min, max, out, err) : TR_OK;
}

enum tr_status tr_json_real(const json_t *obj, const char *key, const char *where,
                            double *out, struct tr_err *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!json_is_number(v)) return wrong(v, key, where, "a number", err);
    double x = json_number_value(v);
    if (!isfinite(x)) return wrong(v, key, where, "a finite number", err);
    *out = x;
    return TR_OK;
}

enum tr_status tr_json_real_or(const json_t *obj, const char *key, const char *where,
                               double otherwise, double *out, struct tr_err *err)
{
    *out = otherwise;
    return present(obj, key) ? tr_json_real(obj, key, where, out, err) : TR_OK;
}

enum tr_status tr_json_bool_or(const json_t *obj, const char *key, const char *where,
                               bool otherwise, bool *out, struct tr_err *err)
{
    *out = otherwise;
    const json_t *v = present(obj, key);
    if (!v) return TR_OK;
    if (!json_is_boolean(v)) return wrong(v, key, where, "true or false", err);
    *out = json_is_true(v);
    return TR_OK;
}

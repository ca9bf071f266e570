#include "core/text/skim.h"

#include <string.h>

#include "core/text/utf8.h"

static void pass_space(struct tr_skim *s)
{
    while (s->at < s->end &&
           (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
}

bool tr_skim_take(struct tr_skim *s, char c)
{
    pass_space(s);
    if (s->at == s->end || *s->at != c) return false;
    s->at++;
    return true;
}

/* Passes over a string whose opening quote is behind us. */
static bool pass_string(struct tr_skim *s)
{
    while (s->at < s->end && *s->at != '"') s->at += *s->at == '\\' ? 2 : 1;
    if (s->at >= s->end) return false;
    s->at++;
    return true;
}

/* Passes over any value; *items: the members of an object or array. */
static bool pass_value(struct tr_skim *s, int64_t *items)
{
    int64_t depth = 0, commas = 0;
    const char *first = NULL; /* of what is inside the outermost bracket */
    pass_space(s);
    while (s->at < s->end) {
        char c = *s->at;
        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            break; /* a bare word ends here */
        if (depth == 1 && !first && c != ']' && c != '}' && (unsigned char)c > ' ')
            first = s->at;
        s->at++;
        if (c == '"' && !pass_string(s)) return false;
        if (c == ',' && depth == 1) commas++;
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']') && --depth == 0) break;
    }
    *items = first ? commas + 1 : 0;
    return depth == 0;
}

/* Passes over "key": and borrows the key. */
static bool pass_key(struct tr_skim *s, const char **key, size_t *size)
{
    if (!tr_skim_take(s, '"')) return false;
    *key = s->at;
    if (!pass_string(s)) return false;
    *size = (size_t)(s->at - *key) - 1;
    return tr_skim_take(s, ':');
}

static bool is_key(const char *key, size_t size, const char *name)
{
    return strlen(name) == size && memcmp(key, name, size) == 0;
}

/* From before an object to the value under `name`. */
static bool enter(struct tr_skim *s, const char *name)
{
    const char *key;
    size_t size;
    int64_t items;
    if (!tr_skim_take(s, '{')) return false;
    while (pass_key(s, &key, &size)) {
        if (is_key(key, size, name)) return true;
        if (!pass_value(s, &items) || !tr_skim_take(s, ',')) return false;
    }
    return false;
}

void tr_skim_find(const char *json, size_t size, const char *outer,
                  const char *const *inner, int count, struct tr_skim_part *part)
{
    struct tr_skim s = {json, json + size};
    const char *key;
    size_t n;
    for (int i = 0; i < count; i++) part[i] = (struct tr_skim_part){0};
    if (!enter(&s, outer) || !tr_skim_take(&s, '{')) return;
    while (pass_key(&s, &key, &n)) {
        struct tr_skim_part p = {0};
        pass_space(&s);
        p.at = s.at;
        if (!pass_value(&s, &p.items)) return;
        p.size = (size_t)(s.at - p.at);
        bool table = p.size > 1 && (*p.at == '{' || *p.at == '[');
        for (int i = 0; i < count && table; i++)
            if (!part[i].at && is_key(key, n, inner[i])) part[i] = p;
        if (!tr_skim_take(&s, ',')) return;
    }
}

static enum tr_status put_empty(const struct tr_skim_part *p, struct tr_buf *out,
                                struct tr_err *err)
{
    enum tr_status st = tr_buf_put(out, p->at, 1, err);
    const char *end = p->at + p->size;
    for (const char *s = p->at; st == TR_OK && (s = memchr(s, '\n', (size_t)(end - s)));
         s++)
        st = tr_buf_put(out, s, 1, err);
    return st == TR_OK ? tr_buf_put(out, end - 1, 1, err) : st;
}

enum tr_status tr_skim_rest(const char *json, size_t size,
                            const struct tr_skim_part *part, int count,
                            struct tr_buf *out, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    const char *at = json;
    while (st == TR_OK) {
        const struct tr_skim_part *next = NULL;
        for (int i = 0; i < count; i++)
            if (part[i].at && part[i].at >= at && (!next || part[i].at < next->at))
                next = &part[i];
        if (!next) return tr_buf_put(out, at, (size_t)(json + size - at), err);
        st = tr_buf_put(out, at, (size_t)(next->at - at), err);
        if (st == TR_OK) st = put_empty(next, out, err);
        at = next->at + next->size;
    }
    return st;
}

static int32_t hex4(const char *s)
{
    int32_t x = 0;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        int32_t d = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (d < 0) return -1;
        x = x * 16 + d;
    }
    return x;
}

/* \uXXXX, twice for a surrogate pair, at s; gives the bytes of text passed, 0 for damage. */
static size_t unicode(const char *s, const char *end, char *out, size_t *n)
{
    size_t used = 6;
    int32_t c = end - s >= 6 ? hex4(s + 2) : -1;
    if (c >= 0xD800 && c < 0xDC00 && end - s >= 12 && s[6] == '\\' && s[7] == 'u') {
        int32_t low = hex4(s + 8);
        if (low < 0xDC00 || low > 0xDFFF) return 0;
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        used = 12;
    }
    if (c < 0 || (c >= 0xD800 && c <= 0xDFFF)) return 0;
    *n = tr_utf8_put(c, out);
    return used;
}

static size_t escape(const char *s, const char *end, char *out, size_t *n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (end - s < 2) return 0;
    if (s[1] == 'u') return unicode(s, end, out, n);
    const char *k = s[1] ? strchr(from, s[1]) : NULL;
    if (!k) return 0;
    out[0] = to[k - from];
    *n = 1;
    return 2;
}

/* Undoes the escapes of [s, end) into scratch. */
static bool unescape(const char *s, const char *end, struct tr_buf *scratch)
{
    tr_buf_clear(scratch);
    while (s < end) {
        char bytes[4];
        size_t n = 1, used = 1;
        bytes[0] = *s;
        if (*s == '\\') used = escape(s, end, bytes, &n);
        if (!used || tr_buf_put(scratch, bytes, n, NULL) != TR_OK) return false;
        s += used;
    }
    return true;
}

bool tr_skim_string(struct tr_skim *s, struct tr_buf *scratch, const char **text,
                    size_t *size)
{
    struct tr_skim next = *s;
    bool escaped = false;
    if (!tr_skim_take(&next, '"')) return false;
    const char *first = next.at;
    if (!pass_string(&next)) return false;
    const char *end = next.at - 1;
    for (const char *c = first; c < end; c++) {
        if ((unsigned char)*c < 0x20) return false;
        escaped = escaped || *c == '\\';
    }
    *text = first;
    *size = (size_t)(end - first);
    if (tr_utf8_valid(first, *size) != *size) return false;
    if (escaped) {
        if (!unescape(first, end, scratch)) return false;
        *text = tr_buf_text(scratch);
        *size = scratch->size;
    }
    *s = next;
    return true;
}

bool tr_skim_int(struct tr_skim *s, int32_t *out)
{
    struct tr_skim next = *s;
    pass_space(&next);
    const char *first = next.at;
    int32_t x = 0;
    while (next.at < next.end && *next.at >= '0' && *next.at <= '9' &&
           next.at - first < 9)
        x = 10 * x + (*next.at++ - '0');
    if (next.at == first || (*first == '0' && next.at - first > 1)) return false;
    *out = x;
    *s = next;
    return true;
}

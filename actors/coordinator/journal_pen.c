#include "actors/coordinator/journal_pen.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text/utf8.h"

static void put(struct pen *p, const char *bytes, size_t size)
{
    if (p->st == TR_OK) p->st = tr_buf_put(p->to, bytes, size, p->err);
}

static void put_char(struct pen *p, unsigned char c)
{
    char text[8];
    if (c == '"' || c == '\\')
        snprintf(text, sizeof text, "\\%c", c);
    else if (c < 0x20)
        snprintf(text, sizeof text, "\\u%04x", c);
    else
        snprintf(text, sizeof text, "%c", c);
    put(p, text, strlen(text));
}

/* Whole characters as they are; what is none becomes U+FFFD. */
static void quote(struct pen *p, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t size = strlen(text), len = 0;
    put(p, "\"", 1);
    for (size_t i = 0; i < size && p->st == TR_OK; i += len) {
        enum tr_utf8 kind = tr_utf8_next(s + i, size - i, &len);
        if (kind != TR_UTF8_CHAR)
            put(p, "\xef\xbf\xbd", 3);
        else if (len == 1)
            put_char(p, s[i]);
        else
            put(p, text + i, len);
        if (kind == TR_UTF8_CUT) break;
    }
    put(p, "\"", 1);
}

static void begin(struct pen *p, const char *key)
{
    if (p->more) put(p, ", ", 2);
    p->more = true;
    if (!key) return;
    quote(p, key);
    put(p, ": ", 2);
}

void tr_pen_open(struct pen *p, const char *key, char bracket)
{
    begin(p, key);
    put(p, &bracket, 1);
    p->more = false;
}

void tr_pen_close(struct pen *p, char bracket)
{
    put(p, &bracket, 1);
    p->more = true;
}

void tr_pen_json(struct pen *p, const char *key, const char *json)
{
    begin(p, key);
    put(p, json, strlen(json));
}

void tr_pen_text(struct pen *p, const char *key, const char *text)
{
    begin(p, key);
    quote(p, text);
}

void tr_pen_int(struct pen *p, const char *key, int64_t x)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)x);
    tr_pen_json(p, key, text);
}

void tr_pen_real(struct pen *p, const char *key, double x)
{
    char text[40] = "null";
    for (int digits = 6; isfinite(x) && digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break; /* NOLINT: the same number is what is asked for */
    }
    tr_pen_json(p, key, text);
}

void tr_pen_bool(struct pen *p, const char *key, bool x)
{
    tr_pen_json(p, key, x ? "true" : "false");
}

void tr_pen_null(struct pen *p, const char *key)
{
    tr_pen_json(p, key, "null");
}

void tr_pen_digest(struct pen *p, const char *key, const struct tr_digest *d)
{
    static const struct tr_digest none;
    char text[65];
    if (tr_digest_equal(d, &none)) {
        tr_pen_null(p, key);
        return;
    }
    tr_digest_text(d, text);
    tr_pen_text(p, key, text);
}

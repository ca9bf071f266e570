#include "core/text/utf8.h"

#include <utf8proc.h>

#include "core/text/unicode16.h"

/* The allowed second bytes narrow for four leading bytes; all later bytes are 80..BF. */
static size_t length_of(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0;
    if (lead < 0xE0) return 2;
    if (lead < 0xF0) {
        if (lead == 0xE0) *low = 0xA0;
        if (lead == 0xED) *high = 0x9F;
        return 3;
    }
    if (lead > 0xF4) return 0;
    if (lead == 0xF0) *low = 0x90;
    if (lead == 0xF4) *high = 0x8F;
    return 4;
}

enum tr_utf8 tr_utf8_next(const unsigned char *s, size_t size, size_t *len)
{
    unsigned char low, high;
    size_t want = length_of(s[0], &low, &high);
    *len = 1;
    if (want == 0) return TR_UTF8_BAD;
    for (size_t i = 1; i < want; i++) {
        if (i == size) return TR_UTF8_CUT;
        if (s[i] < low || s[i] > high) return TR_UTF8_BAD;
        low = 0x80;
        high = 0xBF;
        *len = i + 1;
    }
    return TR_UTF8_CHAR;
}

size_t tr_utf8_valid(const char *s, size_t size)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t at = 0, len;
    while (at < size && tr_utf8_next(u + at, size - at, &len) == TR_UTF8_CHAR) at += len;
    return at;
}

int32_t tr_utf8_point(const char *s, size_t len)
{
    const unsigned char *u = (const unsigned char *)s;
    if (len == 1) return u[0];
    int32_t c = u[0] & (0x7F >> len);
    for (size_t i = 1; i < len; i++) c = (c << 6) | (u[i] & 0x3F);
    return c;
}

size_t tr_utf8_put(int32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)((0xF00 >> n & 0xF0) | c);
    return n;
}

enum tr_status tr_utf8_repair(const char *s, size_t size, struct tr_buf *out,
                              struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (size_t at = 0; at < size && st == TR_OK;) {
        size_t good = tr_utf8_valid(s + at, size - at), len;
        st = tr_buf_put(out, s + at, good, err);
        at += good;
        if (st != TR_OK || at == size) break;
        (void)tr_utf8_next((const unsigned char *)s + at, size - at, &len);
        st = tr_buf_puts(out, "\xEF\xBF\xBD", err);
        at += len;
    }
    return st;
}

bool tr_point_is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

bool tr_point_is_word(int32_t c)
{
    utf8proc_category_t k = utf8proc_category(c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) ||
           k == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D ||
           (c >= 0x24B6 && c <= 0x24E9); /* circled letters: alphabetic symbols */
}

bool tr_point_is_numeric(int32_t c)
{
    utf8proc_category_t k = utf8proc_category(c);
    if (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO) return true;
    struct tr_points_list late = tr_unicode16_numbers();
    for (size_t i = 0; i < late.count; i++)
        if (c >= late.at[i].first && c <= late.at[i].last) return true;
    return false;
}

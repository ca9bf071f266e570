#include "core/text/nfc.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "core/text/unicode16.h"
#include "core/text/utf8.h"

/* What the peer does not know to combine: marks, and the second half of U+11938. */
static const struct tr_points unknown[] = {
    {0x07FD, 0x07FD},   {0x0898, 0x089F},   {0x08CA, 0x08D3},   {0x09FE, 0x09FE},
    {0x0C3C, 0x0C3C},   {0x0D3B, 0x0D3C},   {0x0EBA, 0x0EBA},   {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27},
    {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
    {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x11930, 0x11930}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0},
    {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42},
    {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF},
};

static bool is_unknown(int32_t c)
{
    size_t low = 0, high = sizeof unknown / sizeof *unknown;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > unknown[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof unknown / sizeof *unknown && c >= unknown[low].first;
}

/* The first unknown point at or after `at`: where it begins and its length, or false. */
static bool find_unknown(const char *text, size_t size, size_t at, size_t *begin,
                         size_t *len)
{
    for (*begin = at; *begin < size; *begin += *len) {
        (void)tr_utf8_next((const unsigned char *)text + *begin, size - *begin, len);
        if (*len > 1 && is_unknown(tr_utf8_point(text + *begin, *len))) return true;
    }
    return false;
}

static enum tr_status put_nfc(struct tr_buf *out, const char *text, size_t size,
                              struct tr_err *err)
{
    utf8proc_uint8_t *nfc = NULL;
    if (size == 0) return TR_OK;
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &nfc,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n < 0)
        return tr_err_set(err, TR_NOMEM, "NFC of %zu bytes: %s", size,
                          utf8proc_errmsg(n));
    enum tr_status st = tr_buf_put(out, (const char *)nfc, (size_t)n, err);
    free(nfc);
    return st;
}

enum tr_status tr_text_nfc(const char *text, size_t size, char **out, size_t *out_size,
                           struct tr_err *err)
{
    struct tr_buf all;
    enum tr_status st = TR_OK;
    size_t ascii = 0, at = 0, begin, len;
    *out = NULL;
    while (ascii < size && (unsigned char)text[ascii] < 0x80) ascii++;
    if (ascii == size) return TR_OK;
    tr_buf_init(&all, 3 * size + 16); /* U+0390 and its like grow threefold */
    while (st == TR_OK && find_unknown(text, size, at, &begin, &len)) {
        st = put_nfc(&all, text + at, begin - at, err);
        if (st == TR_OK) st = tr_buf_put(&all, text + begin, len, err);
        at = begin + len;
    }
    if (st == TR_OK) st = put_nfc(&all, text + at, size - at, err);
    if (st != TR_OK) {
        tr_buf_fini(&all);
        return st;
    }
    *out = all.at; /* now the caller's */
    *out_size = all.size;
    return TR_OK;
}

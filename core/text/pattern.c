#include "core/text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/text/unicode16.h"

enum { MATCH_LIMIT = 10000000 };
static const size_t regex_limit = (size_t)1 << 16;

struct tr_pattern {
    pcre2_code *code; /* owns */
};

struct tr_matcher {
    pcre2_match_data *match;      /* owns */
    pcre2_match_context *context; /* owns */
};

/* \w in Oniguruma. Outside classes it also takes six numbers of Latin-1 for word characters. */
#define WORD   "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define LATIN1 "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

/* What Oniguruma means and PCRE2 does not, or not in the same words. */
static const struct escape {
    char letter;
    const char *outside, *inside; /* NULL: refused there */
} escapes[] = {
    {'s', "\\p{White_Space}", "\\p{White_Space}"}, /* PCRE2 adds U+180E */
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'w', "[" WORD LATIN1 "]", WORD},
    {'W', "[^" WORD LATIN1 "]", NULL},
    {'h', "[0-9A-Fa-f]", "0-9A-Fa-f"},
    {'H', "[^0-9A-Fa-f]", NULL},
    {'b', NULL, "\\b"},
    {'B', NULL, NULL},
    {'K', NULL, NULL},
    {'G', NULL, NULL},
};

/* Appends the escape \letter; anything not in the table means the same to both. */
static enum tr_status put_escape(char letter, bool in_class, struct tr_buf *out,
                                 struct tr_err *err)
{
    char same[2] = {'\\', letter};
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (escapes[i].letter != letter) continue;
        const char *text = in_class ? escapes[i].inside : escapes[i].outside;
        if (text) return tr_buf_puts(out, text, err);
        return tr_err_set(err, TR_BADARG, "pattern: \\%c is not supported%s", letter,
                          in_class ? " in a class" : "");
    }
    return tr_buf_put(out, same, 2, err);
}

/* Appends \p{L} or \p{N} with what PCRE2 does not know of them yet. */
static enum tr_status put_property(char kind, bool in_class, struct tr_buf *out,
                                   struct tr_err *err)
{
    struct tr_points_list late =
        kind == 'L' ? tr_unicode16_letters() : tr_unicode16_numbers();
    enum tr_status st = tr_buf_printf(out, err, "%s\\p{%c}", in_class ? "" : "[", kind);
    for (size_t i = 0; i < late.count && st == TR_OK; i++)
        st = tr_buf_printf(out, err, "\\x{%x}-\\x{%x}", (unsigned)late.at[i].first,
                           (unsigned)late.at[i].last);
    return st == TR_OK && !in_class ? tr_buf_puts(out, "]", err) : st;
}

/* Is this \p{L} or \p{N}? */
static bool is_property(const char *regex, size_t size)
{
    return size >= 5 && memcmp(regex, "\\p{", 3) == 0 &&
           (regex[3] == 'L' || regex[3] == 'N') && regex[4] == '}';
}

/* (?m: lets a dot match newlines in Oniguruma's Ruby syntax and is something else here. */
static bool sets_m(const char *regex, size_t size)
{
    if (size < 3 || regex[0] != '(' || regex[1] != '?') return false;
    for (size_t i = 2; i < size && (isalpha((unsigned char)regex[i]) || regex[i] == '-');
         i++)
        if (regex[i] == 'm') return true;
    return false;
}

/* Copies regex into out in PCRE2's words. */
static enum tr_status translate(const char *regex, size_t size, struct tr_buf *out,
                                struct tr_err *err)
{
    bool in_class = false;
    enum tr_status st = tr_buf_puts(out, "(*LF)", err);
    for (size_t i = 0; i < size && st == TR_OK; i++) {
        char c = regex[i], next = i + 1 < size ? regex[i + 1] : 0;
        if (is_property(regex + i, size - i)) {
            st = put_property(regex[i + 3], in_class, out, err);
            i += 4;
            continue;
        }
        if (c == '\\' && next) {
            st = put_escape(next, in_class, out, err);
            i++;
            continue;
        }
        if (in_class && (c == '[' || (c == '&' && next == '&')))
            return tr_err_set(err, TR_BADARG,
                              "pattern: classes within classes are not supported");
        if (!in_class && sets_m(regex + i, size - i))
            return tr_err_set(err, TR_BADARG, "pattern: (?m) is not supported");
        if (c == '[') in_class = true;
        if (c == ']') in_class = false;
        st = tr_buf_put(out, &c, 1, err);
    }
    return st;
}

/* The peer cuts between all characters then; no known file wants that. */
static bool can_match_nothing(const pcre2_code *code)
{
    uint32_t empty = 0;
    return pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &empty) != 0 || empty;
}

static enum tr_status compile(const struct tr_buf *regex, struct tr_pattern **out,
                              struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int code = 0;
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR text[120];
    struct tr_pattern *p = malloc(sizeof *p);
    if (!p) return tr_err_set(err, TR_NOMEM, "a pattern");
    p->code =
        pcre2_compile((PCRE2_SPTR)tr_buf_text(regex), regex->size,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                      &code, &at, NULL);
    if (p->code && can_match_nothing(p->code)) {
        st = tr_err_set(err, TR_BADARG, "pattern '%.60s' can match an empty text",
                        tr_buf_text(regex));
    } else if (p->code) {
        /* Without JIT (an unsupported CPU) the interpreter gives the same matches. */
        (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
        *out = p;
        p = NULL;
    } else {
        pcre2_get_error_message(code, text, sizeof text);
        st = tr_err_set(err, TR_BADARG, "pattern '%.60s' at %zu: %s", tr_buf_text(regex),
                        at, (const char *)text);
    }
    tr_pattern_destroy(p);
    return st;
}

enum tr_status tr_pattern_create(const char *regex, size_t size, struct tr_pattern **out,
                                 struct tr_err *err)
{
    struct tr_buf full;
    *out = NULL;
    if (size > regex_limit)
        return tr_err_set(err, TR_BADARG, "pattern of %zu bytes is over %zu", size,
                          regex_limit);
    tr_buf_init(&full, 256 * regex_limit);
    enum tr_status st = translate(regex, size, &full, err);
    if (st == TR_OK) st = compile(&full, out, err);
    tr_buf_fini(&full);
    return st;
}

enum tr_status tr_pattern_create_literal(const char *text, size_t size,
                                         struct tr_pattern **out, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    struct tr_buf full;
    *out = NULL;
    tr_buf_init(&full, 2 * regex_limit);
    for (size_t i = 0; i < size && st == TR_OK; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x80 && !isalnum(c)) st = tr_buf_put(&full, "\\", 1, err);
        if (st == TR_OK) st = tr_buf_put(&full, &text[i], 1, err);
    }
    if (st == TR_OK) st = compile(&full, out, err);
    tr_buf_fini(&full);
    return st;
}

void tr_pattern_destroy(struct tr_pattern *p)
{
    if (!p) return;
    pcre2_code_free(p->code);
    free(p);
}

enum tr_status tr_matcher_create(struct tr_matcher **out, struct tr_err *err)
{
    struct tr_matcher *m = calloc(1, sizeof *m);
    *out = NULL;
    if (m) m->match = pcre2_match_data_create(1, NULL);
    if (m) m->context = pcre2_match_context_create(NULL);
    if (!m || !m->match || !m->context) {
        tr_matcher_destroy(m);
        return tr_err_set(err, TR_NOMEM, "a matcher");
    }
    pcre2_set_match_limit(m->context, MATCH_LIMIT);
    *out = m;
    return TR_OK;
}

void tr_matcher_destroy(struct tr_matcher *m)
{
    if (!m) return;
    pcre2_match_context_free(m->context);
    pcre2_match_data_free(m->match);
    free(m);
}

enum tr_status tr_pattern_find(const struct tr_pattern *p, struct tr_matcher *m,
                               const char *text, size_t size, size_t from,
                               struct tr_match *out, struct tr_err *err)
{
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    PCRE2_SPTR s = (PCRE2_SPTR)text;
    int n = pcre2_match(p->code, s, size, from, options, m->match, m->context);
    if (n == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter's stack is on the heap */
        n = pcre2_match(p->code, s, size, from, options | PCRE2_NO_JIT, m->match,
                        m->context);
    *out = (struct tr_match){.found = n >= 0};
    if (n == PCRE2_ERROR_NOMATCH) return TR_OK;
    if (n < 0)
        return tr_err_set(err, n == PCRE2_ERROR_NOMEMORY ? TR_NOMEM : TR_BADARG,
                          "pattern: too hard a search (PCRE2 error %d)", n);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->match);
    out->begin = at[0];
    out->end = at[1];
    if (at[0] >= at[1] || at[0] < from) /* only a \K could do that */
        return tr_err_set(err, TR_BADARG, "pattern: a match that goes backwards");
    return TR_OK;
}

#include "core/text/split.h"

#include <stdlib.h>

#include "core/text/utf8.h"

enum tr_status tr_spans_put(struct tr_spans *s, size_t begin, size_t end, bool match,
                            struct tr_err *err)
{
    if (s->count == s->room) {
        size_t room = s->room ? s->room * 2 : 64;
        struct tr_span *at = realloc(s->at, room * sizeof *at);
        if (!at) return tr_err_set(err, TR_NOMEM, "%zu pieces of text", room);
        s->at = at;
        s->room = room;
    }
    s->at[s->count++] = (struct tr_span){begin, end, match};
    return TR_OK;
}

void tr_spans_fini(struct tr_spans *s)
{
    free(s->at);
    *s = (struct tr_spans){0};
}

enum tr_status tr_split_matches(const struct tr_pattern *p, struct tr_matcher *m,
                                const char *text, size_t begin, size_t end,
                                struct tr_spans *out, struct tr_err *err)
{
    /* A piece is a text of its own: look-arounds do not see beyond it. */
    const char *piece = text + begin;
    size_t size = end - begin, at = 0;
    struct tr_match x = {0};
    enum tr_status st = TR_OK;
    while (st == TR_OK && at < size) {
        st = tr_pattern_find(p, m, piece, size, at, &x, err);
        if (st != TR_OK || !x.found) break;
        if (x.begin > at) st = tr_spans_put(out, begin + at, begin + x.begin, false, err);
        if (st == TR_OK)
            st = tr_spans_put(out, begin + x.begin, begin + x.end, true, err);
        at = x.end;
    }
    if (st == TR_OK && at < size) st = tr_spans_put(out, begin + at, end, false, err);
    return st;
}

/* Each digit is a match; `Contiguous` makes runs of them. */
static enum tr_status digits(const char *text, size_t begin, size_t end,
                             struct tr_spans *out, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    size_t last = begin, len;
    for (size_t at = begin; at < end && st == TR_OK; at += len) {
        (void)tr_utf8_next((const unsigned char *)text + at, end - at, &len);
        if (!tr_point_is_numeric(tr_utf8_point(text + at, len))) continue;
        if (at > last) st = tr_spans_put(out, last, at, false, err);
        if (st == TR_OK) st = tr_spans_put(out, at, at + len, true, err);
        last = at + len;
    }
    if (st == TR_OK && last < end) st = tr_spans_put(out, last, end, false, err);
    return st;
}

/* Joins or drops the spans [first, count) as the behaviour says. */
static void settle(struct tr_spans *s, size_t first, enum tr_split_behaviour how)
{
    size_t n = first;
    for (size_t i = first; i < s->count; i++) {
        struct tr_span x = s->at[i];
        bool before = i > first && s->at[i - 1].match;
        bool join = false;
        switch (how) {
        case TR_SPLIT_ISOLATED:
            break;
        case TR_SPLIT_REMOVED:
            if (x.match) continue;
            break;
        case TR_SPLIT_WITH_PREVIOUS:
            join = i > first && x.match && !before;
            break;
        case TR_SPLIT_WITH_NEXT:
            join = before && !x.match;
            break;
        case TR_SPLIT_CONTIGUOUS:
            join = i > first && x.match == before;
            break;
        }
        if (join)
            s->at[n - 1] = (struct tr_span){s->at[n - 1].begin, x.end, x.match};
        else
            s->at[n++] = x;
    }
    s->count = n;
}

static enum tr_status apply(const struct tr_split_step *step, struct tr_matcher *m,
                            const char *text, struct tr_span piece, struct tr_spans *out,
                            struct tr_err *err)
{
    size_t first = out->count;
    enum tr_status st = step->pattern ? tr_split_matches(step->pattern, m, text,
                                                         piece.begin, piece.end, out, err)
                                      : digits(text, piece.begin, piece.end, out, err);
    if (st != TR_OK) return st;
    if (step->invert)
        for (size_t i = first; i < out->count; i++) out->at[i].match = !out->at[i].match;
    settle(out, first, step->behaviour);
    return TR_OK;
}

enum tr_status tr_split_run(const struct tr_splitter *s, struct tr_matcher *m,
                            const char *text, size_t size, struct tr_spans *out,
                            struct tr_spans *spare, struct tr_err *err)
{
    out->count = 0;
    enum tr_status st = size ? tr_spans_put(out, 0, size, false, err) : TR_OK;
    for (int i = 0; i < s->steps && st == TR_OK; i++) {
        spare->count = 0;
        for (size_t j = 0; j < out->count && st == TR_OK; j++)
            st = apply(&s->step[i], m, text, out->at[j], spare, err);
        struct tr_spans swap = *out;
        *out = *spare;
        *spare = swap;
    }
    return st;
}

void tr_splitter_fini(struct tr_splitter *s)
{
    for (int i = 0; i < s->steps; i++) tr_pattern_destroy(s->step[i].pattern);
    tr_pattern_destroy(s->words);
    *s = (struct tr_splitter){0};
}

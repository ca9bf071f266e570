/* split.h - the pre-tokenizer: a text is cut into pieces that merges never cross.
 *
 * What it is for. A tokenizer file lists steps (regular expressions, digits); each cuts the
 * pieces of the step before. The last step is always the byte-level one, which may put a space
 * before a piece and cut by GPT-2's expression.
 *
 * The data. A piece is a span of bytes of the text. Steps map one list of spans to another.
 *
 * Invariants.
 *   1. Spans ascend, do not overlap and are not empty; only `Removed` leaves gaps. */
#ifndef TR_TEXT_SPLIT_H
#define TR_TEXT_SPLIT_H

#include "core/text/pattern.h"

enum { TR_STEPS = 16 };

enum tr_split_behaviour {
    TR_SPLIT_ISOLATED,      /* a match is a piece */
    TR_SPLIT_REMOVED,       /* a match is dropped */
    TR_SPLIT_WITH_PREVIOUS, /* a match ends the piece before it */
    TR_SPLIT_WITH_NEXT,     /* a match begins the piece after it */
    TR_SPLIT_CONTIGUOUS,    /* neighbouring matches are one piece */
};

struct tr_split_step {
    struct tr_pattern *pattern; /* owns; NULL: digits */
    enum tr_split_behaviour behaviour;
    bool invert; /* what does not match counts as a match */
};

struct tr_splitter {
    struct tr_split_step step[TR_STEPS];
    int steps;
    bool prefix_space;        /* byte level: a piece starts with a space */
    struct tr_pattern *words; /* byte level: GPT-2's expression; owns, or NULL */
};

struct tr_span {
    size_t begin, end;
    bool match;
};

struct tr_spans {
    struct tr_span *at; /* owns */
    size_t count, room;
};

enum tr_status tr_spans_put(struct tr_spans *s, size_t begin, size_t end, bool match,
                            struct tr_err *err);
void tr_spans_fini(struct tr_spans *s);

/* Applies all steps but the byte-level one to text, [size], valid UTF-8. out is overwritten;
 * spare is scratch. */
enum tr_status tr_split_run(const struct tr_splitter *s, struct tr_matcher *m,
                            const char *text, size_t size, struct tr_spans *out,
                            struct tr_spans *spare, struct tr_err *err);

/* Cuts text by p: matches and what lies between, ascending. Appends to out. */
enum tr_status tr_split_matches(const struct tr_pattern *p, struct tr_matcher *m,
                                const char *text, size_t begin, size_t end,
                                struct tr_spans *out, struct tr_err *err);

void tr_splitter_fini(struct tr_splitter *s);

#endif

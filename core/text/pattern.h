/* pattern.h - regular expressions of tokenizer files, by PCRE2.
 *
 * What it is for. tokenizer.json writes its patterns for Oniguruma in its Ruby syntax. Most
 * of it means the same to PCRE2 with UTF, UCP and MULTILINE (Ruby's ^ and $) on; the few
 * escapes that differ (\s, \w, \h) are put into PCRE2's words before compiling, and what has
 * no such words is refused.
 *
 * Invariants.
 *   1. A compiled pattern is const: threads share it, each with a matcher of its own.
 *   2. A search that needs too many steps ends with TR_BADARG; it never hangs. */
#ifndef TR_TEXT_PATTERN_H
#define TR_TEXT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

struct tr_pattern;
struct tr_matcher;

enum tr_status tr_pattern_create(const char *regex, size_t size, struct tr_pattern **out,
                                 struct tr_err *err);
/* The same for a text that stands for itself. */
enum tr_status tr_pattern_create_literal(const char *text, size_t size,
                                         struct tr_pattern **out, struct tr_err *err);
void tr_pattern_destroy(struct tr_pattern *p);

enum tr_status tr_matcher_create(struct tr_matcher **out, struct tr_err *err);
void tr_matcher_destroy(struct tr_matcher *m);

struct tr_match {
    bool found;
    size_t begin, end;
};

/* The first match that is not empty, at or after `from` in text, [size], valid UTF-8. */
enum tr_status tr_pattern_find(const struct tr_pattern *p, struct tr_matcher *m,
                               const char *text, size_t size, size_t from,
                               struct tr_match *out, struct tr_err *err);

#endif

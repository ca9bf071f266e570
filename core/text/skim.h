/* skim.h - large tables inside a JSON text, read without building a tree.
 *
 * What it is for. A tokenizer.json is megabytes of two plain tables, words and merges, and a
 * few hundred bytes of settings. A tree of them takes several times as long to build as the
 * tokenizer itself. So the tables are found, cut out and read where they stand; the rest, with
 * the tables empty, goes to the ordinary JSON reader.
 *
 * The data. A part is the text of one object or array, brackets included.
 *
 * Invariants.
 *   1. Finding a part checks only what it needs to find its end. Reading a part, and parsing
 *      the rest, together check every byte.
 *   2. Lines keep their numbers in the rest, so its errors name the right ones. */
#ifndef TR_TEXT_SKIM_H
#define TR_TEXT_SKIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"

struct tr_skim_part {
    const char *at; /* NULL: not found */
    size_t size;
    int64_t items; /* members of it, if it is well formed */
};

/* Finds the objects or arrays root[outer][inner[i]], for `count` names, in one pass. */
void tr_skim_find(const char *json, size_t size, const char *outer,
                  const char *const *inner, int count, struct tr_skim_part *part);
/* Copies json with the found ones of `count` parts empty. */
enum tr_status tr_skim_rest(const char *json, size_t size,
                            const struct tr_skim_part *part, int count,
                            struct tr_buf *out, struct tr_err *err);

/* Reading on from `at`: each call passes over white space, and moves only when it returns true. */
struct tr_skim {
    const char *at, *end;
};
bool tr_skim_take(struct tr_skim *s, char c);
/* A string, borrowed from the text, or from scratch when it has escapes. */
bool tr_skim_string(struct tr_skim *s, struct tr_buf *scratch, const char **text,
                    size_t *size);
/* A whole number from 0 to 999,999,999. */
bool tr_skim_int(struct tr_skim *s, int32_t *out);

#endif

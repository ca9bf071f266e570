/* journal_pen.h - JSON written straight into a buffer.
 *
 * What it is for. A report of a step is mostly numbers, a million of them perhaps: as a tree of values
 * it would take many times the memory of its text. A pen writes, and remembers the first failure, so
 * that what writes needs no check after each word.
 *
 * Invariants.
 *   1. What was written is valid JSON when opens and closes match, whatever bytes the texts hold.
 *   2. A real reads back as itself; one that is not finite is null. */
#ifndef TR_ACTORS_COORDINATOR_JOURNAL_PEN_H
#define TR_ACTORS_COORDINATOR_JOURNAL_PEN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/digest.h"

struct pen {
    struct tr_buf *to; /* borrows */
    bool more;         /* a comma goes before the next value */
    enum tr_status st;
    struct tr_err *err; /* or NULL */
};

/* In an object each value has a key; in an array it is NULL. */
void tr_pen_open(struct pen *p, const char *key, char bracket); /* '{' or '[' */
void tr_pen_close(struct pen *p, char bracket);
void tr_pen_text(struct pen *p, const char *key, const char *text);
void tr_pen_int(struct pen *p, const char *key, int64_t x);
void tr_pen_real(struct pen *p, const char *key, double x);
void tr_pen_bool(struct pen *p, const char *key, bool x);
void tr_pen_null(struct pen *p, const char *key);
/* 64 digits, or null when it is all zeroes. */
void tr_pen_digest(struct pen *p, const char *key, const struct tr_digest *d);
/* A text that is JSON already. */
void tr_pen_json(struct pen *p, const char *key, const char *json);

#endif

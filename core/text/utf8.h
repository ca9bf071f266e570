/* utf8.h - text as code points, and what to do with bytes that are none.
 *
 * What it is for. Texts come from files and from tokens that may end inside a character. One
 * rule says what a damaged text reads as: each longest part that begins a character but can
 * not be finished becomes one U+FFFD, as Unicode suggests and Rust, Python and the peer do.
 *
 * Invariants.
 *   1. What tr_utf8_repair appends is valid UTF-8; valid text is appended unchanged.
 *   2. Surrogates, overlong forms and code points over U+10FFFF are damage. */
#ifndef TR_TEXT_UTF8_H
#define TR_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum tr_utf8 {
    TR_UTF8_CHAR, /* a whole character */
    TR_UTF8_BAD,  /* bytes that no further byte can save: one U+FFFD */
    TR_UTF8_CUT,  /* the text ends inside a character that could still be finished */
};

/* Looks at the first character of s, [size > 0]; *len bytes are of the kind returned. */
enum tr_utf8 tr_utf8_next(const unsigned char *s, size_t size, size_t *len);

/* How many bytes at the start are whole, valid characters. */
size_t tr_utf8_valid(const char *s, size_t size);

/* The code point of a whole character of len bytes. */
int32_t tr_utf8_point(const char *s, size_t len);

/* Writes a code point into out, [4]; gives its bytes. */
size_t tr_utf8_put(int32_t c, char *out);

/* Appends s with damage replaced by U+FFFD. */
enum tr_status tr_utf8_repair(const char *s, size_t size, struct tr_buf *out,
                              struct tr_err *err);

/* Kinds of code points, as regular expressions of the peer see them. */
bool tr_point_is_space(int32_t c);   /* White_Space */
bool tr_point_is_word(int32_t c);    /* \w */
bool tr_point_is_numeric(int32_t c); /* N* */

#endif

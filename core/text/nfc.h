/* nfc.h - a text in NFC, as the peer's normaliser makes it.
 *
 * What it is for. The peer's normaliser knows Unicode 9; utf8proc 2.8 knows 15. In between came
 * 108 combining marks and one pair that composes. The peer takes such a mark for a character like
 * any other: marks are not sorted past it, and it composes with nothing. */
#ifndef TR_TEXT_NFC_H
#define TR_TEXT_NFC_H

#include <stddef.h>

#include "core/base/err.h"

/* NFC of text in *out (free it with free()), or NULL in *out when text is its own NFC for sure. */
enum tr_status tr_text_nfc(const char *text, size_t size, char **out, size_t *out_size,
                           struct tr_err *err);

#endif

/* buf.h - bytes that grow, up to a limit.
 *
 * What it is for. Text and encoded messages whose size is not known beforehand.
 *
 * The data. `at` holds `size` bytes, followed by one zero byte that is not counted, so that
 * text can be used as a C string; `limit` is the most it may ever hold.
 *
 * Invariants.
 *   1. size <= limit. A put that would pass the limit changes nothing and gives TR_NOMEM.
 *   2. at[size] is 0 whenever at is not NULL. */
#ifndef TR_BASE_BUF_H
#define TR_BASE_BUF_H

#include <stddef.h>

#include "core/base/err.h"

struct tr_buf {
    char *at; /* owns; NULL while empty */
    size_t size, room, limit;
};

void tr_buf_init(struct tr_buf *b, size_t limit);
enum tr_status tr_buf_put(struct tr_buf *b, const void *bytes, size_t size,
                          struct tr_err *err);
enum tr_status tr_buf_puts(struct tr_buf *b, const char *text, struct tr_err *err);
enum tr_status tr_buf_printf(struct tr_buf *b, struct tr_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void tr_buf_clear(struct tr_buf *b);
void tr_buf_fini(struct tr_buf *b);

/* The bytes as a C string, "" while empty. Borrowed until the next put or fini. */
const char *tr_buf_text(const struct tr_buf *b);

#endif

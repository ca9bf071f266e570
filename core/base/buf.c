#include "core/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tr_buf_init(struct tr_buf *b, size_t limit)
{
    *b = (struct tr_buf){.limit = limit};
}

static enum tr_status grow(struct tr_buf *b, size_t more, struct tr_err *err)
{
    if (more > b->limit - b->size)
        return tr_err_set(err, TR_NOMEM, "buffer: %zu bytes are over the limit of %zu",
                          b->size + more, b->limit);
    size_t want = b->size + more + 1;
    if (want <= b->room) return TR_OK;
    size_t room = b->room ? b->room : 256;
    while (room < want) room *= 2;
    char *at = realloc(b->at, room);
    if (!at) return tr_err_set(err, TR_NOMEM, "buffer: %zu bytes", room);
    b->at = at;
    b->room = room;
    return TR_OK;
}

enum tr_status tr_buf_put(struct tr_buf *b, const void *bytes, size_t size,
                          struct tr_err *err)
{
    enum tr_status st = grow(b, size, err);
    if (st != TR_OK) return st;
    if (size) memcpy(b->at + b->size, bytes, size);
    b->size += size;
    b->at[b->size] = 0;
    return TR_OK;
}

enum tr_status tr_buf_puts(struct tr_buf *b, const char *text, struct tr_err *err)
{
    return tr_buf_put(b, text, strlen(text), err);
}

enum tr_status tr_buf_printf(struct tr_buf *b, struct tr_err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (need < 0) return tr_err_set(err, TR_BADARG, "buffer: bad format");
    enum tr_status st = grow(b, (size_t)need, err);
    if (st != TR_OK) return st;
    va_start(ap, fmt);
    vsnprintf(b->at + b->size, (size_t)need + 1, fmt, ap);
    va_end(ap);
    b->size += (size_t)need;
    return TR_OK;
}

void tr_buf_clear(struct tr_buf *b)
{
    b->size = 0;
    if (b->at) b->at[0] = 0;
}

void tr_buf_fini(struct tr_buf *b)
{
    free(b->at);
    *b = (struct tr_buf){.limit = b->limit};
}

const char *tr_buf_text(const struct tr_buf *b)
{
    return b->at ? b->at : "";
}

/* decode.c - ids to text, at once or one by one.
 *
 * A token is bytes, and a character may be spread over several tokens. The stream holds back
 * the bytes of a character that is not finished (3 at most); everything else follows the same
 * rule of repair as decoding at once, so both give the same text. */
#include <string.h>

#include "core/text/tokenizer_parts.h"
#include "core/text/utf8.h"

/* The bytes of an id; unknown ids have none, as in the peer. */
static const char *bytes_of(const struct tr_tokenizer *t, int32_t id, bool skip_special,
                            size_t *size)
{
    const struct tr_word *w = tr_vocabulary_word(&t->vocabulary, id);
    *size = 0;
    if (!w || (skip_special && w->special)) return "";
    *size = w->raw_size;
    return t->vocabulary.blob + w->raw_at;
}

enum tr_status tr_tokenizer_decode(const struct tr_tokenizer *t, const int32_t *ids,
                                   int64_t count, bool skip_special, struct tr_buf *out,
                                   struct tr_err *err)
{
    struct tr_stream s = {0};
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < count && st == TR_OK; i++)
        st = tr_stream_put(&s, t, ids[i], skip_special, out, err);
    return st == TR_OK ? tr_stream_flush(&s, out, err) : st;
}

/* Adds one byte to those held; whole characters and damage leave. */
static enum tr_status put_byte(struct tr_stream *s, unsigned char byte,
                               struct tr_buf *out, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    s->held[s->count++] = byte;
    while (s->count > 0 && st == TR_OK) {
        size_t len;
        enum tr_utf8 kind = tr_utf8_next(s->held, (size_t)s->count, &len);
        if (kind == TR_UTF8_CUT) break;
        st = kind == TR_UTF8_CHAR ? tr_buf_put(out, s->held, len, err)
                                  : tr_buf_puts(out, "\xEF\xBF\xBD", err);
        s->count -= (int)len;
        memmove(s->held, s->held + len, (size_t)s->count);
    }
    return st;
}

enum tr_status tr_stream_put(struct tr_stream *s, const struct tr_tokenizer *t,
                             int32_t id, bool skip_special, struct tr_buf *out,
                             struct tr_err *err)
{
    size_t size;
    const char *bytes = bytes_of(t, id, skip_special, &size);
    if (s->count == 0) { /* the usual case: whole characters, in one go */
        size_t good = tr_utf8_valid(bytes, size);
        enum tr_status st = tr_buf_put(out, bytes, good, err);
        if (st != TR_OK) return st;
        bytes += good;
        size -= good;
    }
    enum tr_status st = TR_OK;
    for (size_t i = 0; i < size && st == TR_OK; i++)
        st = put_byte(s, (unsigned char)bytes[i], out, err);
    return st;
}

enum tr_status tr_stream_flush(struct tr_stream *s, struct tr_buf *out,
                               struct tr_err *err)
{
    enum tr_status st = TR_OK;
    if (s->count > 0) st = tr_buf_puts(out, "\xEF\xBF\xBD", err);
    s->count = 0;
    return st;
}

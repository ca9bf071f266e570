#include "proto/message.h"

#include <string.h>

#include "core/text/utf8.h"
#include "proto/pack.h"
#include "proto/protocol.h"
#include "proto/walk.h"

const char *tr_role_name(enum tr_role role)
{
    return tr_role_word[role];
}

int tr_role_of(const char *name)
{
    for (int i = 0; tr_role_word[i]; i++)
        if (strcmp(tr_role_word[i], name) == 0) return i;
    return -1;
}

static bool has_content(enum tr_say say)
{
    return say == TR_SAY_UNIT || say == TR_SAY_DONE || say == TR_SAY_CHUNK ||
           say == TR_SAY_TELL;
}

/* ---- encode ---- */

/* {"v": 1, "say": word, "body": {...}, "content": {...}}; the content's bytes as they are. */
static void pack_message(msgpack_packer *pk, const struct tr_message *m,
                         struct tr_buf *head)
{
    msgpack_pack_map(pk, has_content(m->say) ? 4 : 3);
    tr_pack_text(pk, "v");
    msgpack_pack_int64(pk, TR_PROTO_VERSION);
    tr_pack_text(pk, "say");
    tr_pack_text(pk, tr_say_word[m->say]);
    tr_pack_text(pk, "body");
    tr_fields_pack(tr_say_record(m->say), &m->as, pk);
    if (!has_content(m->say)) return;
    tr_pack_text(pk, "content");
    tr_pack_raw(head, m->content.bytes.at, m->content.bytes.size);
}

enum tr_status tr_message_encode(const struct tr_message *m, struct tr_buf *head,
                                 struct tr_err *err)
{
    msgpack_packer pk;
    enum tr_status st = tr_fields_check(tr_say_record(m->say), &m->as, err);
    tr_pack_start(&pk, head, TR_HEAD_BYTES);
    if (st != TR_OK) return st;
    pack_message(&pk, m, head);
    if (!tr_pack_full(head, TR_HEAD_BYTES)) return TR_OK;
    tr_buf_fini(head);
    return tr_err_set(err, TR_NOMEM, "message %s: an envelope of more than %d bytes",
                      tr_say_word[m->say], TR_HEAD_BYTES);
}

/* ---- decode ---- */

/* Version first. */
static enum tr_status read_opening(const msgpack_object *o, struct tr_opening *out,
                                   struct tr_err *err)
{
    struct tr_record version = tr_opening_record;
    int64_t others = 0;
    version.n = 1;
    enum tr_status st = tr_fields_read(&version, o, out, &others, err);
    if (st != TR_OK) return st;
    if (out->v != TR_PROTO_VERSION)
        return tr_err_set(
            err, TR_BADMSG,
            "a message of protocol version %lld; this program speaks version %d",
            (long long)out->v, TR_PROTO_VERSION);
    return tr_fields_read(&tr_opening_record, o, out, &others, err);
}

/* How many bytes at the start may be shown: whole characters of UTF-8, but for U+0080 to U+009F, which terminals
 * obey. (The controls below those no text of a message may have.) */
static size_t fit_to_show(const char *text, size_t size)
{
    size_t n = tr_utf8_valid(text, size);
    for (size_t i = 0; i + 1 < n; i++)
        if ((unsigned char)text[i] == 0xc2 && (unsigned char)text[i + 1] < 0xa0) return i;
    return n;
}

/* Words for people go into logs and reports, which are JSON. They may have been cut within a character. */
static void mend(char *text)
{
    size_t size = strlen(text);
    for (size_t i = fit_to_show(text, size); i < size;
         i += fit_to_show(text + i, size - i))
        text[i++] = '?';
}

static enum tr_status check_names(const struct tr_hello *h, struct tr_err *err)
{
    const struct {
        const char *name, *text;
    } row[] = {{"slot", h->slot},
               {"instance", h->instance},
               {"isa", h->isa},
               {"math", h->math},
               {"host", h->host}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (fit_to_show(row[i].text, strlen(row[i].text)) < strlen(row[i].text))
            return tr_err_set(err, TR_BADMSG,
                              "hello.%s: expected UTF-8 without control characters",
                              row[i].name);
    return TR_OK;
}

static enum tr_status read_message(const msgpack_object *o, struct tr_message *out,
                                   struct tr_err *err)
{
    struct tr_opening opening = {0};
    enum tr_status st = read_opening(o, &opening, err);
    if (st != TR_OK) return st;
    out->say = (enum tr_say)opening.say;
    const msgpack_object *body = tr_map_find(o, "body");
    if (!body) return tr_err_set(err, TR_BADMSG, "%s: no body", tr_say_word[out->say]);
    out->unknown = (int64_t)o->via.map.size - 3 - (tr_map_find(o, "content") != NULL);
    st = tr_fields_read(tr_say_record(out->say), body, &out->as, &out->unknown, err);
    if (st != TR_OK) return st;
    if (out->say == TR_SAY_HELLO) return check_names(&out->as.hello, err);
    if (out->say == TR_SAY_FAIL) mend(out->as.fail.text);
    if (out->say == TR_SAY_LOADED) mend(out->as.loaded.text);
    if (out->say == TR_SAY_BYE) mend(out->as.parting.reason);
    return TR_OK;
}

static enum tr_status parse(const void *head, size_t size, struct tr_message *out,
                            struct tr_err *err)
{
    msgpack_unpacked u;
    size_t off = 0;
    enum tr_status st;
    msgpack_unpacked_init(&u);
    if (msgpack_unpack_next(&u, head, size, &off) == MSGPACK_UNPACK_SUCCESS)
        st = read_message(&u.data, out, err);
    else
        st = tr_err_set(err, TR_BADMSG, "message: not MessagePack");
    msgpack_unpacked_destroy(&u);
    return st;
}

enum tr_status tr_message_decode(const void *head, size_t size,
                                 const struct tr_bulk *bulk, int n,
                                 struct tr_message *out, struct tr_err *err)
{
    struct tr_slice slice;
    memset(out, 0, sizeof *out);
    if (size > TR_HEAD_BYTES)
        return tr_err_set(err, TR_BADMSG, "message: an envelope of %zu bytes, at most %d",
                          size, TR_HEAD_BYTES);
    enum tr_status st = tr_walk_check(head, size, err);
    if (st == TR_OK) st = parse(head, size, out, err);
    if (st != TR_OK) return tr_err_wrap(err, st, "message");
    tr_walk_find(head, size, "content", &slice);
    if (!has_content(out->say)) {
        if (n == 0) return TR_OK;
        return tr_err_set(err, TR_BADMSG, "%s: %d arrays without a content",
                          tr_say_word[out->say], n);
    }
    if (!slice.at)
        return tr_err_set(err, TR_BADMSG, "%s: no content", tr_say_word[out->say]);
    return tr_content_copy(slice.at, slice.size, bulk, n, &out->content, err);
}

struct tr_loaded tr_loaded_for(const struct tr_load *load)
{
    struct tr_loaded l = {.digest = load->digest};
    snprintf(l.folder, sizeof l.folder, "%s", load->folder);
    return l;
}

void tr_message_fini(struct tr_message *m)
{
    tr_content_fini(&m->content);
    memset(m, 0, sizeof *m);
}

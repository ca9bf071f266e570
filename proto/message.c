#include "proto/message.h"

#include <string.h>

#include "proto/pack.h"
#include "proto/walk.h"

static const char *const say_word[] = {"hello", "welcome", "unit", "progress", "done",
                                       "fail",  "drain",   "bye",  "load",     "loaded",
                                       "offer", "drop",    "get",  "chunk",    "ask",
                                       "tell",  "who",     "here", NULL};
static const char *const role_word[] = {"policy", "rollout", "reference",
                                        "reward", "critic",  NULL};

const char *tr_role_name(enum tr_role role)
{
    return role_word[role];
}

int tr_role_of(const char *name)
{
    for (int i = 0; role_word[i]; i++)
        if (strcmp(role_word[i], name) == 0) return i;
    return -1;
}

/* ---- the tables ---- */

/* A version of another program must be read before it can be refused, so its range is wide. */
struct opening {
    int64_t version;
    int say;
};
static const struct tr_field opening_field[] = {
    {"v", TR_FIELD_INT, false, offsetof(struct opening, version), 0, 1e9, NULL},
    {"say", TR_FIELD_WORD, false, offsetof(struct opening, say), 0, 0, say_word},
};
static const struct tr_record opening_record = {"message", sizeof(struct opening), 2,
                                                opening_field};
/* The version alone. */
static const struct tr_record version_record = {"message", sizeof(struct opening), 1,
                                                opening_field};

#define HELLO(member) offsetof(struct tr_hello, member)
static const struct tr_field hello_field[] = {
    {"role", TR_FIELD_WORD, false, HELLO(role), 0, 0, role_word},
    {"slot", TR_FIELD_TEXT, true, HELLO(slot), 0, TR_SLOT_BYTES - 1, NULL},
    {"instance", TR_FIELD_TEXT, false, HELLO(instance), 0, 63, NULL},
    {"incarnation", TR_FIELD_INT, false, HELLO(incarnation), 0, 9.2e18, NULL},
    {"holds", TR_FIELD_DIGESTS, false, HELLO(holds), 0, 0, NULL},
    {"credits", TR_FIELD_INT, false, HELLO(credits), 1, TR_CREDITS_MAX, NULL},
    {"threads", TR_FIELD_INT, true, HELLO(threads), 0, 1 << 16, NULL},
    {"isa", TR_FIELD_TEXT, true, HELLO(isa), 0, 15, NULL},
    {"math", TR_FIELD_TEXT, true, HELLO(math), 0, 63, NULL},
    {"host", TR_FIELD_TEXT, true, HELLO(host), 0, 127, NULL},
    {"swap", TR_FIELD_BOOL, true, HELLO(swap), 0, 0, NULL},
};

#define WELCOME(member) offsetof(struct tr_welcome, member)
static const struct tr_field welcome_field[] = {
    {"admitted", TR_FIELD_BOOL, false, WELCOME(admitted), 0, 0, NULL},
    {"idle", TR_FIELD_BOOL, true, WELCOME(idle), 0, 0, NULL},
    {"run", TR_FIELD_TEXT, false, WELCOME(run), 0, 71, NULL},
    {"reason", TR_FIELD_TEXT, true, WELCOME(reason), 0, 199, NULL},
    {"credits", TR_FIELD_INT, false, WELCOME(credits), 0, TR_CREDITS_MAX, NULL},
};

static const struct tr_field deliver_field[] = {
    {"id", TR_FIELD_DIGEST, false, offsetof(struct tr_deliver, id), 0, 0, NULL},
    {"attempt", TR_FIELD_INT, false, offsetof(struct tr_deliver, attempt), 1, 1e6, NULL},
};

static const struct tr_field progress_field[] = {
    {"in_hand", TR_FIELD_DIGESTS, false, offsetof(struct tr_progress, in_hand), 0, 0,
     NULL},
    {"tokens", TR_FIELD_INT, true, offsetof(struct tr_progress, tokens), 0, 1e15, NULL},
};

#define DONE(member) offsetof(struct tr_done, member)
static const struct tr_field done_field[] = {
    {"id", TR_FIELD_DIGEST, false, DONE(id), 0, 0, NULL},
    {"queue_seconds", TR_FIELD_REAL, true, DONE(queue_seconds), 0, 1e9, NULL},
    {"compute_seconds", TR_FIELD_REAL, true, DONE(compute_seconds), 0, 1e9, NULL},
};

#define FAIL(member) offsetof(struct tr_fail, member)
static const struct tr_field fail_field[] = {
    {"id", TR_FIELD_DIGEST, false, FAIL(id), 0, 0, NULL},
    {"code", TR_FIELD_INT, false, FAIL(code), TR_AGAIN, TR_IO, NULL},
    {"text", TR_FIELD_TEXT, false, FAIL(text), 0, 255, NULL},
    {"retryable", TR_FIELD_BOOL, false, FAIL(retryable), 0, 0, NULL},
};

static const struct tr_field parting_field[] = {
    {"reason", TR_FIELD_TEXT, true, offsetof(struct tr_parting, reason), 0, 199, NULL},
};

#define LOAD(member) offsetof(struct tr_load, member)
static const struct tr_field load_field[] = {
    {"digest", TR_FIELD_DIGEST, false, LOAD(digest), 0, 0, NULL},
    {"file", TR_FIELD_TEXT, true, LOAD(file), 0, TR_PLACE_BYTES - 1, NULL},
    {"source", TR_FIELD_TEXT, true, LOAD(source), 0, TR_PLACE_BYTES - 1, NULL},
    {"folder", TR_FIELD_TEXT, true, LOAD(folder), 0, TR_PLACE_BYTES - 1, NULL},
};

#define LOADED(member) offsetof(struct tr_loaded, member)
static const struct tr_field loaded_field[] = {
    {"digest", TR_FIELD_DIGEST, false, LOADED(digest), 0, 0, NULL},
    {"ok", TR_FIELD_BOOL, false, LOADED(ok), 0, 0, NULL},
    {"text", TR_FIELD_TEXT, true, LOADED(text), 0, 255, NULL},
    {"seconds", TR_FIELD_REAL, true, LOADED(seconds), 0, 1e9, NULL},
};

#define OFFER(member) offsetof(struct tr_offer, member)
static const struct tr_field offer_field[] = {
    {"digest", TR_FIELD_DIGEST, false, OFFER(digest), 0, 0, NULL},
    {"file", TR_FIELD_TEXT, true, OFFER(file), 0, TR_PLACE_BYTES - 1, NULL},
    {"source", TR_FIELD_TEXT, true, OFFER(source), 0, TR_PLACE_BYTES - 1, NULL},
};

static const struct tr_field drop_field[] = {
    {"digest", TR_FIELD_DIGEST, false, offsetof(struct tr_drop, digest), 0, 0, NULL},
};

#define GET(member) offsetof(struct tr_get, member)
static const struct tr_field get_field[] = {
    {"digest", TR_FIELD_DIGEST, false, GET(digest), 0, 0, NULL},
    {"first", TR_FIELD_INT, false, GET(first), -1, 1 << 24, NULL},
    {"count", TR_FIELD_INT, false, GET(count), 1, 1 << 24, NULL},
};

#define CHUNK(member) offsetof(struct tr_chunk, member)
static const struct tr_field chunk_field[] = {
    {"digest", TR_FIELD_DIGEST, false, CHUNK(digest), 0, 0, NULL},
    {"index", TR_FIELD_INT, false, CHUNK(index), -1, 1 << 24, NULL},
    {"of", TR_FIELD_INT, false, CHUNK(of), 0, 1 << 24, NULL},
};

static const struct tr_field ask_field[] = {
    {"what", TR_FIELD_TEXT, false, offsetof(struct tr_ask, what), 0, 31, NULL},
    {"argument", TR_FIELD_TEXT, true, offsetof(struct tr_ask, argument), 0, 4095, NULL},
};

static const struct tr_field tell_field[] = {
    {"ok", TR_FIELD_BOOL, false, offsetof(struct tr_tell, ok), 0, 0, NULL},
    {"text", TR_FIELD_TEXT, true, offsetof(struct tr_tell, text), 0, 255, NULL},
};

#define TABLE(name, type, field)                                                         \
    {                                                                                    \
        (name), sizeof(struct type), sizeof(field) / sizeof *(field), (field)            \
    }
static const struct tr_record body_record[] = {
    /* by enum tr_say */
    TABLE("hello", tr_hello, hello_field),
    TABLE("welcome", tr_welcome, welcome_field),
    TABLE("unit", tr_deliver, deliver_field),
    TABLE("progress", tr_progress, progress_field),
    TABLE("done", tr_done, done_field),
    TABLE("fail", tr_fail, fail_field),
    TABLE("drain", tr_parting, parting_field),
    TABLE("bye", tr_parting, parting_field),
    TABLE("load", tr_load, load_field),
    TABLE("loaded", tr_loaded, loaded_field),
    TABLE("offer", tr_offer, offer_field),
    TABLE("drop", tr_drop, drop_field),
    TABLE("get", tr_get, get_field),
    TABLE("chunk", tr_chunk, chunk_field),
    TABLE("ask", tr_ask, ask_field),
    TABLE("tell", tr_tell, tell_field),
    TABLE("who", tr_parting, parting_field),
    TABLE("here", tr_parting, parting_field),
};

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
    tr_pack_text(pk, say_word[m->say]);
    tr_pack_text(pk, "body");
    tr_fields_pack(&body_record[m->say], &m->as, pk);
    if (!has_content(m->say)) return;
    tr_pack_text(pk, "content");
    tr_pack_raw(head, m->content.bytes.at, m->content.bytes.size);
}

enum tr_status tr_message_encode(const struct tr_message *m, struct tr_buf *head,
                                 struct tr_err *err)
{
    msgpack_packer pk;
    enum tr_status st = tr_fields_check(&body_record[m->say], &m->as, err);
    tr_pack_start(&pk, head, TR_HEAD_BYTES);
    if (st != TR_OK) return st;
    pack_message(&pk, m, head);
    if (!tr_pack_full(head, TR_HEAD_BYTES)) return TR_OK;
    tr_buf_fini(head);
    return tr_err_set(err, TR_NOMEM, "message %s: an envelope of more than %d bytes",
                      say_word[m->say], TR_HEAD_BYTES);
}

/* ---- decode ---- */

/* Version first: another version's words need not be known. */
static enum tr_status read_opening(const msgpack_object *o, struct opening *out,
                                   struct tr_err *err)
{
    int64_t others = 0;
    enum tr_status st = tr_fields_read(&version_record, o, out, &others, err);
    if (st != TR_OK) return st;
    if (out->version != TR_PROTO_VERSION)
        return tr_err_set(
            err, TR_BADMSG,
            "a message of protocol version %lld; this program speaks version %d",
            (long long)out->version, TR_PROTO_VERSION);
    return tr_fields_read(&opening_record, o, out, &others, err);
}

static enum tr_status read_message(const msgpack_object *o, struct tr_message *out,
                                   struct tr_err *err)
{
    struct opening opening = {0};
    enum tr_status st = read_opening(o, &opening, err);
    if (st != TR_OK) return st;
    out->say = (enum tr_say)opening.say;
    const msgpack_object *body = tr_map_find(o, "body");
    if (!body) return tr_err_set(err, TR_BADMSG, "%s: no body", say_word[out->say]);
    out->unknown = (int64_t)o->via.map.size - 3 - (tr_map_find(o, "content") != NULL);
    return tr_fields_read(&body_record[out->say], body, &out->as, &out->unknown, err);
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
                          say_word[out->say], n);
    }
    if (!slice.at)
        return tr_err_set(err, TR_BADMSG, "%s: no content", say_word[out->say]);
    return tr_content_copy(slice.at, slice.size, bulk, n, &out->content, err);
}

void tr_message_fini(struct tr_message *m)
{
    tr_content_fini(&m->content);
    memset(m, 0, sizeof *m);
}

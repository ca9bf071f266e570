#include "proto/content.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/pack.h"
#include "proto/protocol.h"
#include "proto/walk.h"

/* ---- a copy of parts, each aligned ---- */

static size_t aligned(size_t size)
{
    return (size + 63) / 64 * 64;
}

static enum tr_status store_bulk(const struct tr_bulk *bulk, int n, struct tr_content *c,
                                 struct tr_err *err)
{
    size_t total = 0;
    for (int i = 0; i < n; i++) total += aligned(bulk[i].size);
    c->n = n;
    if (total == 0) return TR_OK;
    c->store = aligned_alloc(64, total);
    if (!c->store) return tr_err_set(err, TR_NOMEM, "%zu bytes of arrays", total);
    unsigned char *at = c->store;
    for (int i = 0; i < n; i++) {
        if (bulk[i].size > 0) memcpy(at, bulk[i].at, bulk[i].size);
        c->bulk[i] = (struct tr_bulk){.at = at, .size = bulk[i].size};
        at += aligned(bulk[i].size);
    }
    return TR_OK;
}

enum tr_status tr_content_copy(const void *bytes, size_t size, const struct tr_bulk *bulk,
                               int n, struct tr_content *out, struct tr_err *err)
{
    *out = (struct tr_content){0};
    if (n > TR_BULK_MAX)
        return tr_err_set(err, TR_BADMSG, "%d arrays, and at most %d may come together",
                          n, TR_BULK_MAX);
    tr_buf_init(&out->bytes, TR_CONTENT_BYTES);
    enum tr_status st = tr_buf_put(&out->bytes, bytes, size, err);
    if (st == TR_OK) st = store_bulk(bulk, n, out, err);
    if (st != TR_OK) tr_content_fini(out);
    return st;
}

void tr_content_fini(struct tr_content *c)
{
    tr_buf_fini(&c->bytes);
    free(c->store);
    *c = (struct tr_content){0};
}

enum tr_status tr_content_digest(const struct tr_content *c, struct tr_digest *out,
                                 struct tr_err *err)
{
    struct tr_hash *h = NULL;
    enum tr_status st = tr_hash_create(&h, err);
    if (st != TR_OK) return st;
    tr_hash_put_u64(h, c->bytes.size);
    tr_hash_put(h, c->bytes.at, c->bytes.size);
    for (int i = 0; i < c->n; i++) {
        tr_hash_put_u64(h, c->bulk[i].size);
        tr_hash_put(h, c->bulk[i].at, c->bulk[i].size);
    }
    *out = tr_hash_end(h);
    tr_hash_destroy(h);
    return TR_OK;
}

/* ---- encode ---- */

static const struct tr_array *array_of(const struct tr_field *f, const void *base)
{
    return (const void *)((const char *)base + f->at);
}

static void pack_arrays(msgpack_packer *pk, const struct tr_record *r, const void *from,
                        int n)
{
    msgpack_pack_array(pk, (size_t)n);
    for (int i = 0; i < r->n; i++) {
        const struct tr_field *f = &r->field[i];
        if (!tr_field_is_array(f)) continue;
        msgpack_pack_map(pk, 3);
        tr_pack_text(pk, "name");
        tr_pack_text(pk, f->name);
        tr_pack_text(pk, "dtype");
        tr_pack_text(pk, tr_field_dtype(f));
        tr_pack_text(pk, "shape");
        msgpack_pack_array(pk, 1);
        msgpack_pack_int64(pk, array_of(f, from)->count);
    }
}

static int gather(const struct tr_record *r, const void *from, struct tr_bulk *bulk)
{
    int n = 0;
    for (int i = 0; i < r->n && n < TR_BULK_MAX; i++) {
        const struct tr_field *f = &r->field[i];
        if (!tr_field_is_array(f)) continue;
        const struct tr_array *a = array_of(f, from);
        bulk[n++] =
            (struct tr_bulk){.at = a->at, .size = (size_t)a->count * tr_field_width(f)};
    }
    return n;
}

static void pack_content(msgpack_packer *pk, const struct tr_record *r,
                         const struct tr_digests *digests, const void *from, int arrays)
{
    msgpack_pack_map(pk, 4);
    tr_pack_text(pk, "kind");
    tr_pack_text(pk, r->kind);
    tr_pack_text(pk, "digests");
    msgpack_pack_array(pk, (size_t)digests->n);
    for (int64_t i = 0; i < digests->n; i++) {
        msgpack_pack_bin(pk, sizeof digests->at[i].byte);
        msgpack_pack_bin_body(pk, digests->at[i].byte, sizeof digests->at[i].byte);
    }
    tr_pack_text(pk, "payload");
    tr_fields_pack(r, from, pk);
    tr_pack_text(pk, "arrays");
    pack_arrays(pk, r, from, arrays);
}

enum tr_status tr_content_encode(const struct tr_record *r,
                                 const struct tr_digests *digests, const void *from,
                                 struct tr_content *out, struct tr_err *err)
{
    struct tr_bulk bulk[TR_BULK_MAX] = {{0}};
    msgpack_packer pk;
    *out = (struct tr_content){0};
    enum tr_status st = tr_fields_check(r, from, err);
    if (st != TR_OK) return st;
    tr_pack_start(&pk, &out->bytes, TR_CONTENT_BYTES);
    int n = gather(r, from, bulk);
    pack_content(&pk, r, digests, from, n);
    st = store_bulk(bulk, n, out, err);
    if (st == TR_OK && tr_pack_full(&out->bytes, TR_CONTENT_BYTES))
        st = tr_err_set(err, TR_NOMEM, "%s: more than %d bytes of values", r->kind,
                        TR_CONTENT_BYTES);
    if (st != TR_OK) tr_content_fini(out);
    return st;
}

/* ---- decode ---- */

static const char *const part_name[] = {"kind", "digests", "payload", "arrays"};
/* Walks, then parses. The caller destroys *out when TR_OK. */
static enum tr_status parse(const struct tr_content *c, msgpack_unpacked *out,
                            struct tr_err *err)
{
    enum tr_status st = tr_walk_check(c->bytes.at, c->bytes.size, err);
    if (st != TR_OK) return st;
    msgpack_unpacked_init(out);
    size_t off = 0;
    if (msgpack_unpack_next(out, c->bytes.at, c->bytes.size, &off) !=
        MSGPACK_UNPACK_SUCCESS) {
        msgpack_unpacked_destroy(out);
        return tr_err_set(err, TR_BADMSG, "content: not MessagePack");
    }
    if (out->data.type == MSGPACK_OBJECT_MAP) return TR_OK;
    msgpack_unpacked_destroy(out);
    return tr_err_set(err, TR_BADMSG, "content: expected a map");
}

enum tr_status tr_content_head(const struct tr_content *c, char *kind,
                               struct tr_digests *digests, struct tr_err *err)
{
    msgpack_unpacked u;
    struct tr_content_top top = {0};
    int64_t others = 0;
    enum tr_status st = parse(c, &u, err);
    if (st != TR_OK) return st;
    st = tr_fields_read(&tr_content_top_record, &u.data, &top, &others, err);
    memcpy(kind, top.kind, sizeof top.kind);
    *digests = top.digests;
    msgpack_unpacked_destroy(&u);
    return st;
}

/* The one number of "shape": the count of elements. */
static enum tr_status read_shape(const msgpack_object *entry, const char *name,
                                 int64_t *count, struct tr_err *err)
{
    const msgpack_object *shape = tr_map_find(entry, "shape");
    if (!shape || shape->type != MSGPACK_OBJECT_ARRAY || shape->via.array.size != 1 ||
        shape->via.array.ptr[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
        shape->via.array.ptr[0].via.u64 > TR_BULK_BYTES)
        return tr_err_set(err, TR_BADMSG,
                          "array %s: expected a shape of one number in [0, %d]", name,
                          TR_BULK_BYTES);
    *count = (int64_t)shape->via.array.ptr[0].via.u64;
    return TR_OK;
}

static bool all_finite(enum tr_field_kind kind, const void *at, int64_t n)
{
    const float *f = kind == TR_FIELD_F32 ? at : NULL;
    const double *d = kind == TR_FIELD_F64 ? at : NULL;
    for (int64_t i = 0; i < n; i++)
        if ((f && !isfinite(f[i])) || (d && !isfinite(d[i]))) return false;
    return true;
}

static enum tr_status take_array(const struct tr_record *r, const struct tr_field *f,
                                 const char *dtype, int64_t count,
                                 const struct tr_bulk *bulk, struct tr_array *to,
                                 struct tr_err *err)
{
    if (strcmp(dtype, tr_field_dtype(f)) != 0)
        return tr_err_set(err, TR_BADMSG, "%s.%s: expected %s, found %s", r->kind,
                          f->name, tr_field_dtype(f), dtype);
    if ((double)count < f->lo || (double)count > f->hi)
        return tr_err_set(err, TR_BADMSG, "%s.%s: %lld elements, expected %.0f to %.0f",
                          r->kind, f->name, (long long)count, f->lo, f->hi);
    if (bulk->size != (size_t)count * tr_field_width(f))
        return tr_err_set(err, TR_BADMSG, "%s.%s: %zu bytes for %lld elements of %s",
                          r->kind, f->name, bulk->size, (long long)count, dtype);
    if (!all_finite(f->kind, bulk->at, count))
        return tr_err_set(err, TR_BADMSG, "%s.%s holds a NaN or an Inf", r->kind,
                          f->name);
    *to = (struct tr_array){.at = count > 0 ? bulk->at : NULL, .count = count};
    return TR_OK;
}

static int find_array(const struct tr_record *r, const char *name)
{
    for (int i = 0; i < r->n; i++)
        if (tr_field_is_array(&r->field[i]) && strcmp(r->field[i].name, name) == 0)
            return i;
    return -1;
}

/* One entry of arrays, with its bulk part. */
static enum tr_status read_array(const struct tr_record *r, const msgpack_object *entry,
                                 const struct tr_bulk *bulk, void *to, uint64_t *seen,
                                 int64_t *unknown, struct tr_err *err)
{
    struct tr_array_top d = {0};
    int64_t count = 0, others = 0;
    enum tr_status st = tr_fields_read(&tr_array_top_record, entry, &d, &others, err);
    if (st == TR_OK) st = read_shape(entry, d.name, &count, err);
    if (st != TR_OK) return st;
    int at = find_array(r, d.name);
    *unknown += others - 1; /* all but "shape" */
    if (at < 0) {
        ++*unknown;
        return TR_OK;
    }
    if (*seen >> at & 1)
        return tr_err_set(err, TR_BADMSG, "%s.%s stands there twice", r->kind, d.name);
    *seen |= (uint64_t)1 << at;
    return take_array(r, &r->field[at], d.dtype, count, bulk,
                      (void *)((char *)to + r->field[at].at), err);
}

static enum tr_status read_arrays(const struct tr_content *c, const struct tr_record *r,
                                  const msgpack_object *list, void *to, int64_t *unknown,
                                  struct tr_err *err)
{
    uint64_t seen = 0;
    if (!list || list->type != MSGPACK_OBJECT_ARRAY)
        return tr_err_set(err, TR_BADMSG, "%s: arrays are not described", r->kind);
    if (list->via.array.size != (uint32_t)c->n)
        return tr_err_set(err, TR_BADMSG, "%s: %u arrays described, %d came", r->kind,
                          list->via.array.size, c->n);
    for (int i = 0; i < c->n; i++) {
        enum tr_status st =
            read_array(r, &list->via.array.ptr[i], &c->bulk[i], to, &seen, unknown, err);
        if (st != TR_OK) return st;
    }
    for (int i = 0; i < r->n; i++)
        if (tr_field_is_array(&r->field[i]) && !r->field[i].optional && !(seen >> i & 1))
            return tr_err_set(err, TR_BADMSG, "%s.%s is missing", r->kind,
                              r->field[i].name);
    return TR_OK;
}

/* Keys of the outermost map that are none of the four parts. */
static int64_t count_others(const msgpack_object *map)
{
    int64_t known = 0;
    for (size_t i = 0; i < sizeof part_name / sizeof *part_name; i++)
        known += tr_map_find(map, part_name[i]) != NULL;
    return (int64_t)map->via.map.size - known;
}

enum tr_status tr_content_decode(const struct tr_content *c, const struct tr_record *r,
                                 void *to, int64_t *unknown, struct tr_err *err)
{
    msgpack_unpacked u;
    struct tr_content_top top = {0};
    int64_t others = 0;
    enum tr_status st = parse(c, &u, err);
    if (st != TR_OK) return st;
    memset(to, 0, r->size);
    st = tr_fields_read(&tr_content_top_record, &u.data, &top, &others, err);
    if (st == TR_OK && strcmp(top.kind, r->kind) != 0)
        st = tr_err_set(err, TR_BADMSG, "content: expected %s, found %s", r->kind,
                        top.kind);
    if (st != TR_OK) goto done;
    *unknown += count_others(&u.data);
    const msgpack_object *payload = tr_map_find(&u.data, "payload");
    if (!payload) {
        st = tr_err_set(err, TR_BADMSG, "%s: no payload", r->kind);
        goto done;
    }
    st = tr_fields_read(r, payload, to, unknown, err);
    if (st == TR_OK)
        st = read_arrays(c, r, tr_map_find(&u.data, "arrays"), to, unknown, err);
done:
    msgpack_unpacked_destroy(&u);
    return st;
}

#include "proto/field.h"

#include <math.h>
#include <string.h>

#include "proto/pack.h"

static const void *part(const struct tr_field *f, const void *base)
{
    return (const char *)base + f->at;
}

bool tr_field_is_array(const struct tr_field *f)
{
    return f->kind == TR_FIELD_I32 || f->kind == TR_FIELD_I64 ||
           f->kind == TR_FIELD_F32 || f->kind == TR_FIELD_F64 || f->kind == TR_FIELD_U8;
}

size_t tr_field_width(const struct tr_field *f)
{
    if (f->kind == TR_FIELD_U8) return 1;
    return f->kind == TR_FIELD_I64 || f->kind == TR_FIELD_F64 ? 8 : 4;
}

const char *tr_field_dtype(const struct tr_field *f)
{
    if (f->kind == TR_FIELD_I64) return "i64";
    if (f->kind == TR_FIELD_F64) return "f64";
    if (f->kind == TR_FIELD_U8) return "u8";
    return f->kind == TR_FIELD_I32 ? "i32" : "f32";
}

static int word_count(const struct tr_field *f)
{
    int n = 0;
    while (f->words[n]) n++;
    return n;
}

static void pack_digest(msgpack_packer *pk, const struct tr_digest *d)
{
    msgpack_pack_bin(pk, sizeof d->byte);
    msgpack_pack_bin_body(pk, d->byte, sizeof d->byte);
}

static void pack_digests(msgpack_packer *pk, const struct tr_digests *d)
{
    msgpack_pack_array(pk, (size_t)d->n);
    for (int64_t i = 0; i < d->n; i++) pack_digest(pk, &d->at[i]);
}

static void pack_field(msgpack_packer *pk, const struct tr_field *f, const void *from)
{
    switch (f->kind) {
    case TR_FIELD_BOOL:
        if (*(const bool *)from)
            msgpack_pack_true(pk);
        else
            msgpack_pack_false(pk);
        return;
    case TR_FIELD_INT:
        msgpack_pack_int64(pk, *(const int64_t *)from);
        return;
    case TR_FIELD_REAL:
        msgpack_pack_double(pk, *(const double *)from);
        return;
    case TR_FIELD_WORD:
        tr_pack_text(pk, f->words[*(const int *)from]);
        return;
    case TR_FIELD_TEXT:
        tr_pack_text(pk, from);
        return;
    case TR_FIELD_DIGEST:
        pack_digest(pk, from);
        return;
    case TR_FIELD_DIGESTS:
        pack_digests(pk, from);
        return;
    case TR_FIELD_I32:
    case TR_FIELD_I64:
    case TR_FIELD_F32:
    case TR_FIELD_F64:
    case TR_FIELD_U8:
        return;
    }
}

void tr_fields_pack(const struct tr_record *r, const void *from, void *pack)
{
    size_t n = 0;
    for (int i = 0; i < r->n; i++) n += !tr_field_is_array(&r->field[i]);
    msgpack_pack_map(pack, n);
    for (int i = 0; i < r->n; i++) {
        if (tr_field_is_array(&r->field[i])) continue;
        tr_pack_text(pack, r->field[i].name);
        pack_field(pack, &r->field[i], part(&r->field[i], from));
    }
}

/* ---- checks ---- */

static bool in_range(const struct tr_field *f, double x)
{
    return x >= f->lo && x <= f->hi;
}

static bool is_plain(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return false;
    return true;
}

static bool value_fits(const struct tr_field *f, const void *from)
{
    switch (f->kind) {
    case TR_FIELD_BOOL:
    case TR_FIELD_DIGEST:
        return true;
    case TR_FIELD_INT:
        return in_range(f, (double)*(const int64_t *)from);
    case TR_FIELD_REAL:
        return in_range(f, *(const double *)from);
    case TR_FIELD_WORD:
        return *(const int *)from >= 0 && *(const int *)from < word_count(f);
    case TR_FIELD_TEXT: {
        size_t size = strnlen(from, (size_t)f->hi + 1);
        return size <= (size_t)f->hi && is_plain(from, size);
    }
    case TR_FIELD_DIGESTS: {
        const struct tr_digests *d = from;
        return d->n >= 0 && d->n <= TR_DIGESTS_MAX;
    }
    case TR_FIELD_I32:
    case TR_FIELD_I64:
    case TR_FIELD_F32:
    case TR_FIELD_F64:
    case TR_FIELD_U8:
        return in_range(f, (double)((const struct tr_array *)from)->count);
    }
    return false;
}

enum tr_status tr_fields_check(const struct tr_record *r, const void *from,
                               struct tr_err *err)
{
    for (int i = 0; i < r->n; i++)
        if (!value_fits(&r->field[i], part(&r->field[i], from)))
            return tr_err_set(err, TR_BADARG, "%s.%s is outside its range", r->kind,
                              r->field[i].name);
    return TR_OK;
}

/* ---- reading ---- */

static const char *found_kind(const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
        return "nil";
    case MSGPACK_OBJECT_BOOLEAN:
        return "a boolean";
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return "an integer";
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return "a real";
    case MSGPACK_OBJECT_STR:
        return "a string";
    case MSGPACK_OBJECT_ARRAY:
        return "an array";
    case MSGPACK_OBJECT_MAP:
        return "a map";
    case MSGPACK_OBJECT_BIN:
        return "bytes";
    case MSGPACK_OBJECT_EXT:
        return "an extension";
    }
    return "nothing";
}

static bool read_int(const msgpack_object *o, int64_t *out)
{
    if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
        *out = o->via.i64;
        return true;
    }
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > INT64_MAX)
        return false;
    *out = (int64_t)o->via.u64;
    return true;
}

static bool read_real(const msgpack_object *o, double *out)
{
    int64_t i = 0;
    if (o->type == MSGPACK_OBJECT_FLOAT32 || o->type == MSGPACK_OBJECT_FLOAT64)
        *out = o->via.f64;
    else if (read_int(o, &i))
        *out = (double)i;
    else
        return false;
    return isfinite(*out);
}

static bool read_word(const struct tr_field *f, const msgpack_object *o, int *out)
{
    if (o->type != MSGPACK_OBJECT_STR) return false;
    for (int i = 0; f->words[i]; i++) {
        size_t size = strlen(f->words[i]);
        if (o->via.str.size == size && memcmp(o->via.str.ptr, f->words[i], size) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool read_text(const struct tr_field *f, const msgpack_object *o, char *out)
{
    if (o->type != MSGPACK_OBJECT_STR || (double)o->via.str.size > f->hi) return false;
    if (!is_plain(o->via.str.ptr, o->via.str.size)) return false;
    if (o->via.str.size > 0) memcpy(out, o->via.str.ptr, o->via.str.size);
    out[o->via.str.size] = 0;
    return true;
}

static bool read_digest(const msgpack_object *o, struct tr_digest *out)
{
    if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size != sizeof out->byte)
        return false;
    memcpy(out->byte, o->via.bin.ptr, sizeof out->byte);
    return true;
}

static bool read_digests(const msgpack_object *o, struct tr_digests *out)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > TR_DIGESTS_MAX)
        return false;
    out->n = o->via.array.size;
    for (int64_t i = 0; i < out->n; i++)
        if (!read_digest(&o->via.array.ptr[i], &out->at[i])) return false;
    return true;
}

static bool read_field(const struct tr_field *f, const msgpack_object *o, void *to)
{
    switch (f->kind) {
    case TR_FIELD_BOOL:
        *(bool *)to = o->type == MSGPACK_OBJECT_BOOLEAN && o->via.boolean;
        return o->type == MSGPACK_OBJECT_BOOLEAN;
    case TR_FIELD_INT:
        return read_int(o, to) && value_fits(f, to);
    case TR_FIELD_REAL:
        return read_real(o, to) && value_fits(f, to);
    case TR_FIELD_WORD:
        return read_word(f, o, to);
    case TR_FIELD_TEXT:
        return read_text(f, o, to);
    case TR_FIELD_DIGEST:
        return read_digest(o, to);
    case TR_FIELD_DIGESTS:
        return read_digests(o, to);
    case TR_FIELD_I32:
    case TR_FIELD_I64:
    case TR_FIELD_F32:
    case TR_FIELD_F64:
    case TR_FIELD_U8:
        break;
    }
    return false;
}

static enum tr_status refuse(const struct tr_record *r, const struct tr_field *f,
                             const msgpack_object *o, struct tr_err *err)
{
    switch (f->kind) {
    case TR_FIELD_INT:
        return tr_err_set(err, TR_BADMSG,
                          "%s.%s: expected an integer in [%.17g, %.17g], found %s",
                          r->kind, f->name, f->lo, f->hi,
                          o->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
                                  o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER
                              ? "one outside"
                              : found_kind(o));
    case TR_FIELD_REAL:
        return tr_err_set(err, TR_BADMSG,
                          "%s.%s: expected a finite number in [%g, %g], found %s",
                          r->kind, f->name, f->lo, f->hi,
                          o->type == MSGPACK_OBJECT_FLOAT64 ? "another" : found_kind(o));
    case TR_FIELD_WORD:
        return tr_err_set(err, TR_BADMSG, "%s.%s: not one of the %d words it may be",
                          r->kind, f->name, word_count(f));
    case TR_FIELD_TEXT:
        return tr_err_set(err, TR_BADMSG,
                          "%s.%s: expected plain text of at most %.0f bytes", r->kind,
                          f->name, f->hi);
    case TR_FIELD_BOOL:
        return tr_err_set(err, TR_BADMSG, "%s.%s: expected a boolean, found %s", r->kind,
                          f->name, found_kind(o));
    case TR_FIELD_DIGEST:
    case TR_FIELD_DIGESTS:
        return tr_err_set(
            err, TR_BADMSG, "%s.%s: expected %s of 32 bytes, found %s", r->kind, f->name,
            f->kind == TR_FIELD_DIGEST ? "a digest" : "up to 64 digests", found_kind(o));
    case TR_FIELD_I32:
    case TR_FIELD_I64:
    case TR_FIELD_F32:
    case TR_FIELD_F64:
    case TR_FIELD_U8:
        break;
    }
    return tr_err_set(err, TR_BADMSG, "%s.%s is an array and no value", r->kind, f->name);
}

/* The field that a key names, or -1. */
static int find(const struct tr_record *r, const msgpack_object *key)
{
    for (int i = 0; i < r->n; i++) {
        size_t size = strlen(r->field[i].name);
        if (key->via.str.size == size && !tr_field_is_array(&r->field[i]) &&
            memcmp(key->via.str.ptr, r->field[i].name, size) == 0)
            return i;
    }
    return -1;
}

static enum tr_status check_seen(const struct tr_record *r, uint64_t seen,
                                 struct tr_err *err)
{
    for (int i = 0; i < r->n; i++) {
        const struct tr_field *f = &r->field[i];
        if (!f->optional && !tr_field_is_array(f) && !(seen >> i & 1))
            return tr_err_set(err, TR_BADMSG, "%s.%s is missing", r->kind, f->name);
    }
    return TR_OK;
}

enum tr_status tr_fields_read(const struct tr_record *r, const void *map, void *to,
                              int64_t *unknown, struct tr_err *err)
{
    const msgpack_object *o = map;
    uint64_t seen = 0; /* a record has at most 64 fields */
    if (o->type != MSGPACK_OBJECT_MAP)
        return tr_err_set(err, TR_BADMSG, "%s: expected a map, found %s", r->kind,
                          found_kind(o));
    for (uint32_t i = 0; i < o->via.map.size; i++) {
        const msgpack_object_kv *kv = &o->via.map.ptr[i];
        if (kv->key.type != MSGPACK_OBJECT_STR)
            return tr_err_set(err, TR_BADMSG, "%s: a key is %s and no string", r->kind,
                              found_kind(&kv->key));
        int at = find(r, &kv->key);
        if (at < 0) {
            ++*unknown;
            continue;
        }
        if (seen >> at & 1)
            return tr_err_set(err, TR_BADMSG, "%s.%s stands there twice", r->kind,
                              r->field[at].name);
        seen |= (uint64_t)1 << at;
        if (!read_field(&r->field[at], &kv->val, (char *)to + r->field[at].at))
            return refuse(r, &r->field[at], &kv->val, err);
    }
    return check_seen(r, seen, err);
}

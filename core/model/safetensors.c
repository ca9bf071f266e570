/* The order of the checks matters: sizes before reading, types before values, each tensor by
 * itself (shape x width = range), then all of them together: sorted by where they begin, each
 * must begin where the one before ended, and the last must end where the file does. That one
 * walk finds overlaps, holes, truncation and trailing bytes. */
#include "core/model/safetensors.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/half.h"

enum { MAX_RANK = 8, NAME_SHOWN = 100 };

/* The reference implementation refuses larger headers too. */
static const uint64_t max_header_bytes = 100000000;

static const struct dtype {
    const char *name;
    size_t width;
} dtypes[] = {
    [TR_ST_F32] = {"F32", 4},         [TR_ST_F16] = {"F16", 2},
    [TR_ST_BF16] = {"BF16", 2},       [TR_ST_F64] = {"F64", 8},
    [TR_ST_I64] = {"I64", 8},         [TR_ST_I32] = {"I32", 4},
    [TR_ST_I16] = {"I16", 2},         [TR_ST_I8] = {"I8", 1},
    [TR_ST_U64] = {"U64", 8},         [TR_ST_U32] = {"U32", 4},
    [TR_ST_U16] = {"U16", 2},         [TR_ST_U8] = {"U8", 1},
    [TR_ST_BOOL] = {"BOOL", 1},       [TR_ST_F8_E4M3] = {"F8_E4M3", 1},
    [TR_ST_F8_E5M2] = {"F8_E5M2", 1}, [TR_ST_OTHER] = {"an unknown dtype", 0},
};

struct tr_st {
    struct tr_map map;           /* owns; empty when the bytes are the caller's */
    json_t *header;              /* owns; the names point into it */
    struct tr_st_tensor *tensor; /* owns; sorted by name */
    int64_t count;
};

/* What parsing carries along: whom to blame, and the bytes. */
struct source {
    const char *where;
    const unsigned char *data; /* after the header */
    uint64_t data_bytes;
};

const char *tr_st_dtype_name(enum tr_st_dtype d)
{
    return dtypes[d].name;
}

size_t tr_st_dtype_width(enum tr_st_dtype d)
{
    return dtypes[d].width;
}

static enum tr_st_dtype dtype_of(const char *name)
{
    int d = 0;
    while (d < TR_ST_OTHER && strcmp(dtypes[d].name, name) != 0) d++;
    return (enum tr_st_dtype)d;
}

void tr_st_describe(const struct tr_st_tensor *t, char *out, size_t size)
{
    const char *name = t->dtype_name ? t->dtype_name : dtypes[t->dtype].name;
    size_t used = (size_t)snprintf(out, size, "%.16s [", name);
    for (int i = 0; i < t->rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", i ? ", " : "",
                                 (long long)t->shape[i]);
    if (used < size) snprintf(out + used, size - used, "]");
}

/* Reading the header, field by field. */

static enum tr_status parse_dtype(const struct source *s, const json_t *entry,
                                  struct tr_st_tensor *t, struct tr_err *err)
{
    const json_t *v = json_object_get(entry, "dtype");
    if (!json_is_string(v))
        return tr_err_set(err, TR_BADARG,
                          "%s: tensor %.*s: dtype: expected a string, found %s", s->where,
                          NAME_SHOWN, t->name, tr_json_kind(v));
    t->dtype_name = json_string_value(v);
    t->dtype = dtype_of(t->dtype_name);
    return TR_OK;
}

static enum tr_status parse_shape(const struct source *s, const json_t *entry,
                                  struct tr_st_tensor *t, struct tr_err *err)
{
    const json_t *v = json_object_get(entry, "shape");
    if (!json_is_array(v))
        return tr_err_set(err, TR_BADARG,
                          "%s: tensor %.*s: shape: expected an array, found %s", s->where,
                          NAME_SHOWN, t->name, tr_json_kind(v));
    if (json_array_size(v) > MAX_RANK)
        return tr_err_set(
            err, TR_BADARG,
            "%s: tensor %.*s: shape: expected at most %d dimensions, found %zu", s->where,
            NAME_SHOWN, t->name, MAX_RANK, json_array_size(v));
    t->rank = (int)json_array_size(v);
    t->count = 1;
    for (int i = 0; i < t->rank; i++) {
        const json_t *n = json_array_get(v, (size_t)i);
        if (!json_is_integer(n) || json_integer_value(n) < 0)
            return tr_err_set(
                err, TR_BADARG,
                "%s: tensor %.*s: shape: dimension %d: expected an integer >= 0, "
                "found %s",
                s->where, NAME_SHOWN, t->name, i,
                json_is_integer(n) ? "a negative one" : tr_json_kind(n));
        t->shape[i] = json_integer_value(n);
        if (__builtin_mul_overflow(t->count, t->shape[i], &t->count))
            return tr_err_set(
                err, TR_BADARG,
                "%s: tensor %.*s: shape: more elements than 63 bits can count", s->where,
                NAME_SHOWN, t->name);
    }
    return TR_OK;
}

static enum tr_status parse_range(const struct source *s, const json_t *entry,
                                  struct tr_st_tensor *t, struct tr_err *err)
{
    const json_t *v = json_object_get(entry, "data_offsets");
    const json_t *lo = json_array_get(v, 0);
    const json_t *hi = json_array_get(v, 1);
    if (!json_is_array(v) || json_array_size(v) != 2 || !json_is_integer(lo) ||
        !json_is_integer(hi))
        return tr_err_set(
            err, TR_BADARG,
            "%s: tensor %.*s: data_offsets: expected [begin, end], found %s", s->where,
            NAME_SHOWN, t->name, json_is_array(v) ? "another array" : tr_json_kind(v));
    int64_t begin = json_integer_value(lo);
    int64_t end = json_integer_value(hi);
    if (begin < 0 || end < begin)
        return tr_err_set(
            err, TR_BADARG,
            "%s: tensor %.*s: data_offsets: expected 0 <= begin <= end, found [%lld, %lld]",
            s->where, NAME_SHOWN, t->name, (long long)begin, (long long)end);
    if ((uint64_t)end > s->data_bytes)
        return tr_err_set(
            err, TR_BADARG,
            "%s: tensor %.*s: truncated: expected data up to byte %lld, found %llu "
            "bytes of data",
            s->where, NAME_SHOWN, t->name, (long long)end,
            (unsigned long long)s->data_bytes);
    t->data = s->data + begin;
    t->bytes = (size_t)(end - begin);
    return TR_OK;
}

static enum tr_status check_size(const struct source *s, const struct tr_st_tensor *t,
                                 struct tr_err *err)
{
    int64_t want = 0;
    char what[160];
    if (t->dtype == TR_ST_OTHER) return TR_OK;
    bool over = __builtin_mul_overflow(t->count, (int64_t)dtypes[t->dtype].width, &want);
    if (!over && (uint64_t)want == t->bytes) return TR_OK;
    tr_st_describe(t, what, sizeof what);
    if (over)
        return tr_err_set(err, TR_BADARG,
                          "%s: tensor %.*s: %s: more bytes than 63 bits can count",
                          s->where, NAME_SHOWN, t->name, what);
    return tr_err_set(err, TR_BADARG,
                      "%s: tensor %.*s: %s: expected %lld bytes, found %zu", s->where,
                      NAME_SHOWN, t->name, what, (long long)want, t->bytes);
}

static enum tr_status parse_tensor(const struct source *s, const char *name,
                                   const json_t *entry, struct tr_st_tensor *t,
                                   struct tr_err *err)
{
    *t = (struct tr_st_tensor){.name = name};
    if (!json_is_object(entry))
        return tr_err_set(err, TR_BADARG, "%s: tensor %.*s: expected an object, found %s",
                          s->where, NAME_SHOWN, name, tr_json_kind(entry));
    enum tr_status st = parse_dtype(s, entry, t, err);
    if (st == TR_OK) st = parse_shape(s, entry, t, err);
    if (st == TR_OK) st = parse_range(s, entry, t, err);
    if (st == TR_OK) st = check_size(s, t, err);
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tr_st_tensor *)a)->name,
                  ((const struct tr_st_tensor *)b)->name);
}

/* Where a tensor begins; an empty one before the one that begins at the same byte. */
static int by_place(const void *a, const void *b)
{
    const struct tr_st_tensor *x = *(const struct tr_st_tensor *const *)a;
    const struct tr_st_tensor *y = *(const struct tr_st_tensor *const *)b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* All ranges together tile the data: no overlap, no hole, nothing after the last. */
static enum tr_status check_tiling(const struct source *s, const struct tr_st *f,
                                   struct tr_err *err)
{
    enum tr_status st = TR_OK;
    const unsigned char *end = s->data;
    const char *before = "the header";
    const struct tr_st_tensor **place = malloc(sizeof(void *) * ((size_t)f->count + 1));
    if (!place)
        return tr_err_set(err, TR_NOMEM, "%s: %lld tensors", s->where,
                          (long long)f->count);
    for (int64_t i = 0; i < f->count; i++) place[i] = &f->tensor[i];
    qsort(place, (size_t)f->count, sizeof(void *), by_place);
    for (int64_t i = 0; i < f->count && st == TR_OK; i++) {
        const struct tr_st_tensor *t = place[i];
        if (t->data != end)
            st = tr_err_set(
                err, TR_BADARG,
                "%s: tensor %.*s: %s: expected to begin at byte %lld, where %.*s "
                "ends, found %lld",
                s->where, NAME_SHOWN, t->name,
                t->data < end ? "overlapping data" : "a hole before its data",
                (long long)(end - s->data), NAME_SHOWN, before,
                (long long)(t->data - s->data));
        end = t->data + t->bytes;
        before = t->name;
    }
    if (st == TR_OK && (uint64_t)(end - s->data) != s->data_bytes)
        st = tr_err_set(
            err, TR_BADARG,
            "%s: expected the file to end where %.*s does, found %llu bytes more",
            s->where, NAME_SHOWN, before,
            (unsigned long long)s->data_bytes - (unsigned long long)(end - s->data));
    free(place);
    return st;
}

static enum tr_status check_metadata(const char *where, const json_t *header,
                                     struct tr_err *err)
{
    const json_t *meta = json_object_get(header, "__metadata__");
    if (!meta || json_is_object(meta)) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%s: __metadata__: expected an object, found %s",
                      where, tr_json_kind(meta));
}

static enum tr_status parse_header(const struct source *s, struct tr_st *f,
                                   struct tr_err *err)
{
    enum tr_status st = TR_OK;
    const char *name = NULL;
    json_t *entry = NULL;
    if (!json_is_object(f->header))
        return tr_err_set(err, TR_BADARG, "%s: header: expected an object, found %s",
                          s->where, tr_json_kind(f->header));
    st = check_metadata(s->where, f->header, err);
    if (st != TR_OK) return st;
    size_t entries = json_object_size(f->header);
    f->tensor = calloc(entries + 1, sizeof *f->tensor);
    if (!f->tensor)
        return tr_err_set(err, TR_NOMEM, "%s: %zu tensors", s->where, entries);
    json_object_foreach(f->header, name, entry)
    {
        if (!strcmp(name, "__metadata__")) continue;
        st = parse_tensor(s, name, entry, &f->tensor[f->count], err);
        if (st != TR_OK) return st;
        f->count++;
    }
    qsort(f->tensor, (size_t)f->count, sizeof *f->tensor, by_name);
    return check_tiling(s, f, err);
}

static uint64_t u64_at(const unsigned char *p)
{
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--) x = x << 8 | p[i];
    return x;
}

enum tr_status tr_st_parse(const unsigned char *bytes, size_t size, const char *where,
                           struct tr_st **out, struct tr_err *err)
{
    *out = NULL;
    if (size < 8)
        return tr_err_set(err, TR_BADARG,
                          "%s: truncated: expected 8 bytes of header size, found %zu",
                          where, size);
    uint64_t header = u64_at(bytes);
    if (header > max_header_bytes)
        return tr_err_set(
            err, TR_BADARG, "%s: header size: expected at most %llu bytes, found %llu",
            where, (unsigned long long)max_header_bytes, (unsigned long long)header);
    if (header > size - 8)
        return tr_err_set(err, TR_BADARG,
                          "%s: truncated: expected a header of %llu bytes, found %zu",
                          where, (unsigned long long)header, size - 8);
    struct tr_st *f = calloc(1, sizeof *f);
    if (!f) return tr_err_set(err, TR_NOMEM, "%s: %zu bytes", where, sizeof *f);
    struct source s = {where, bytes + 8 + header, size - 8 - header};
    enum tr_status st =
        tr_json_parse((const char *)bytes + 8, (size_t)header, where, &f->header, err);
    if (st == TR_OK) st = parse_header(&s, f, err);
    if (st == TR_OK)
        *out = f;
    else
        tr_st_close(f);
    return st;
}

enum tr_status tr_st_open(const char *path, struct tr_st **out, struct tr_err *err)
{
    struct tr_map map;
    *out = NULL;
    enum tr_status st = tr_map_open(path, &map, err);
    if (st != TR_OK) return st;
    st = tr_st_parse(map.at, map.size, path, out, err);
    if (st == TR_OK)
        (*out)->map = map;
    else
        tr_map_close(&map);
    return st;
}

int64_t tr_st_count(const struct tr_st *f)
{
    return f->count;
}

const struct tr_st_tensor *tr_st_get(const struct tr_st *f, int64_t i)
{
    assert(i >= 0 && i < f->count);
    return &f->tensor[i];
}

const struct tr_st_tensor *tr_st_find(const struct tr_st *f, const char *name)
{
    struct tr_st_tensor key = {.name = name};
    return bsearch(&key, f->tensor, (size_t)f->count, sizeof key, by_name);
}

void tr_st_close(struct tr_st *f)
{
    if (!f) return;
    free(f->tensor);
    json_decref(f->header);
    tr_map_close(&f->map);
    free(f);
}

enum tr_status tr_st_floats(const struct tr_st_tensor *t, int64_t from, int64_t n,
                            float *out, struct tr_err *err)
{
    assert(from >= 0 && n >= 0 && n <= t->count - from);
    const unsigned char *at = t->data + (size_t)from * dtypes[t->dtype].width;
    if (t->dtype == TR_ST_F32) {
        if (n) memcpy(out, at, (size_t)n * sizeof *out);
    } else if (t->dtype == TR_ST_F16) {
        tr_f16_widen_array(at, n, out);
    } else if (t->dtype == TR_ST_BF16) {
        tr_bf16_widen_bytes(at, n, out);
    } else {
        char what[160];
        tr_st_describe(t, what, sizeof what);
        return tr_err_set(err, TR_BADARG,
                          "tensor %.*s: expected F32, F16 or BF16, found %s", NAME_SHOWN,
                          t->name, what);
    }
    return TR_OK;
}

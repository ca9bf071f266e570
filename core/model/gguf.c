/* Reading goes forward through the bytes with one cursor; every take says how much it needs,
 * and a count is believed only as far as the bytes left could hold that many of the smallest
 * thing. So nothing is allocated that the file itself does not pay for. */
#include "core/model/gguf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/model/gguf_blocks.h"

enum { KEY_SHOWN = 80 };
enum { SMALLEST_PAIR = 13, SMALLEST_TENSOR = 32 };

struct value {
    struct tr_gguf_text key;
    enum tr_gguf_kind kind;
    const unsigned char *at; /* a scalar's bytes; a string's or array's after its size */
    enum tr_gguf_kind of;    /* an array's elements */
    uint64_t size;           /* a string's bytes; an array's elements */
};

struct tr_gguf {
    struct tr_map map;   /* owns; empty when the bytes are the caller's */
    char *where;         /* owns */
    struct value *value; /* owns; sorted by key */
    int64_t values;
    struct tr_gguf_tensor *tensor;        /* owns; in file order */
    const struct tr_gguf_tensor **sorted; /* owns; by name */
    int64_t tensors;
    uint64_t alignment;
};

struct cursor {
    const unsigned char *at, *end;
    const char *where;
    struct tr_err *err;
};

static const size_t widths[] = {
    [TR_GGUF_U8] = 1,     [TR_GGUF_I8] = 1,     [TR_GGUF_U16] = 2, [TR_GGUF_I16] = 2,
    [TR_GGUF_U32] = 4,    [TR_GGUF_I32] = 4,    [TR_GGUF_F32] = 4, [TR_GGUF_BOOL] = 1,
    [TR_GGUF_STRING] = 8, [TR_GGUF_ARRAY] = 12, [TR_GGUF_U64] = 8, [TR_GGUF_I64] = 8,
    [TR_GGUF_F64] = 8,
};

static const char *const kind_names[] = {
    [TR_GGUF_U8] = "u8",          [TR_GGUF_I8] = "i8",     [TR_GGUF_U16] = "u16",
    [TR_GGUF_I16] = "i16",        [TR_GGUF_U32] = "u32",   [TR_GGUF_I32] = "i32",
    [TR_GGUF_F32] = "f32",        [TR_GGUF_BOOL] = "bool", [TR_GGUF_STRING] = "a string",
    [TR_GGUF_ARRAY] = "an array", [TR_GGUF_U64] = "u64",   [TR_GGUF_I64] = "i64",
    [TR_GGUF_F64] = "f64",
};

/* The cursor. */

static uint64_t unsigned_at(const unsigned char *p, size_t width)
{
    uint64_t x = 0;
    for (size_t i = width; i-- > 0;) x = x << 8 | p[i];
    return x;
}

static uint64_t left(const struct cursor *c)
{
    return (uint64_t)(c->end - c->at);
}

static enum tr_status take(struct cursor *c, uint64_t size, const char *what,
                           const unsigned char **out)
{
    if (size > left(c))
        return tr_err_set(c->err, TR_BADARG,
                          "%s: truncated: %s: expected %llu bytes, found %llu", c->where,
                          what, (unsigned long long)size, (unsigned long long)left(c));
    *out = c->at;
    c->at += size;
    return TR_OK;
}

static enum tr_status take_number(struct cursor *c, size_t width, const char *what,
                                  uint64_t *out)
{
    const unsigned char *p = NULL;
    enum tr_status st = take(c, width, what, &p);
    if (st == TR_OK) *out = unsigned_at(p, width);
    return st;
}

static enum tr_status take_text(struct cursor *c, const char *what,
                                struct tr_gguf_text *out)
{
    uint64_t size = 0;
    const unsigned char *p = NULL;
    enum tr_status st = take_number(c, 8, what, &size);
    if (st == TR_OK) st = take(c, size, what, &p);
    if (st == TR_OK) *out = (struct tr_gguf_text){(const char *)p, (size_t)size};
    return st;
}

/* A count of things that take at least `smallest` bytes each. */
static enum tr_status take_count(struct cursor *c, const char *what, uint64_t smallest,
                                 uint64_t *out)
{
    enum tr_status st = take_number(c, 8, what, out);
    if (st == TR_OK && *out > left(c) / smallest)
        return tr_err_set(
            c->err, TR_BADARG,
            "%s: truncated: %s: expected %llu of at least %llu bytes, found %llu "
            "bytes",
            c->where, what, (unsigned long long)*out, (unsigned long long)smallest,
            (unsigned long long)left(c));
    return st;
}

/* Metadata. */

static enum tr_status take_kind(struct cursor *c, const char *what,
                                enum tr_gguf_kind *out)
{
    uint64_t kind = 0;
    enum tr_status st = take_number(c, 4, what, &kind);
    if (st == TR_OK && kind > TR_GGUF_F64)
        return tr_err_set(c->err, TR_BADARG,
                          "%s: %s: expected a type from 0 to 12, found %llu", c->where,
                          what, (unsigned long long)kind);
    *out = (enum tr_gguf_kind)kind;
    return st;
}

/* Walks over an array's elements, so that a later reader need not look where it steps. */
static enum tr_status take_array(struct cursor *c, const char *what, struct value *v)
{
    struct tr_gguf_text text = {NULL, 0};
    const unsigned char *p = NULL;
    enum tr_status st = take_kind(c, what, &v->of);
    if (st == TR_OK && v->of == TR_GGUF_ARRAY) /* as llama.cpp refuses them */
        return tr_err_set(c->err, TR_BADARG,
                          "%s: %s: expected an array of scalars or strings, found one of "
                          "arrays",
                          c->where, what);
    if (st == TR_OK) st = take_count(c, what, widths[v->of], &v->size);
    if (st != TR_OK) return st;
    v->at = c->at;
    if (v->of != TR_GGUF_STRING)
        return take(c, v->size * widths[v->of], what, &p); /* take_count has looked */
    for (uint64_t i = 0; i < v->size && st == TR_OK; i++) st = take_text(c, what, &text);
    return st;
}

static enum tr_status take_value(struct cursor *c, const char *what, struct value *v)
{
    if (v->kind == TR_GGUF_ARRAY) return take_array(c, what, v);
    if (v->kind == TR_GGUF_STRING) {
        struct tr_gguf_text text = {NULL, 0};
        enum tr_status st = take_text(c, what, &text);
        v->at = (const unsigned char *)text.at;
        v->size = text.size;
        return st;
    }
    return take(c, widths[v->kind], what, &v->at);
}

static int order(struct tr_gguf_text a, struct tr_gguf_text b)
{
    int by = memcmp(a.at, b.at, a.size < b.size ? a.size : b.size);
    return by ? by : (a.size > b.size) - (a.size < b.size);
}

static int by_key(const void *a, const void *b)
{
    return order(((const struct value *)a)->key, ((const struct value *)b)->key);
}

static enum tr_status read_values(struct cursor *c, struct tr_gguf *g)
{
    for (int64_t i = 0; i < g->values; i++) {
        char what[KEY_SHOWN + 1];
        struct value *v = &g->value[i];
        enum tr_status st = take_text(c, "a key", &v->key);
        if (st != TR_OK) return st;
        if (v->key.size == 0 || v->key.size > 65535)
            return tr_err_set(c->err, TR_BADARG,
                              "%s: key %lld: expected 1 to 65535 bytes, found %zu",
                              c->where, (long long)i, v->key.size);
        int shown = v->key.size < KEY_SHOWN ? (int)v->key.size : KEY_SHOWN;
        snprintf(what, sizeof what, "%.*s", shown, v->key.at);
        st = take_kind(c, what, &v->kind);
        if (st == TR_OK) st = take_value(c, what, v);
        if (st != TR_OK) return st;
    }
    qsort(g->value, (size_t)g->values, sizeof *g->value, by_key);
    for (int64_t i = 1; i < g->values; i++)
        if (order(g->value[i - 1].key, g->value[i].key) == 0)
            return tr_err_set(c->err, TR_BADARG,
                              "%s: key %.*s: expected once, found twice", c->where,
                              (int)g->value[i].key.size, g->value[i].key.at);
    return TR_OK;
}

/* Tensors. */

static enum tr_status take_name(struct cursor *c, int64_t i, struct tr_gguf_tensor *t)
{
    struct tr_gguf_text name = {NULL, 0};
    enum tr_status st = take_text(c, "a tensor's name", &name);
    if (st != TR_OK) return st;
    if (name.size == 0 || name.size >= sizeof t->name || memchr(name.at, 0, name.size))
        return tr_err_set(
            c->err, TR_BADARG,
            "%s: tensor %lld: name: expected 1 to %zu bytes of text, found %zu", c->where,
            (long long)i, sizeof t->name - 1, name.size);
    memcpy(t->name, name.at, name.size);
    return TR_OK;
}

static enum tr_status take_shape(struct cursor *c, struct tr_gguf_tensor *t)
{
    uint64_t rank = 0;
    enum tr_status st = take_number(c, 4, t->name, &rank);
    if (st != TR_OK) return st;
    if (rank < 1 || rank > 4)
        return tr_err_set(c->err, TR_BADARG,
                          "%s: tensor %s: expected 1 to 4 dimensions, found %llu",
                          c->where, t->name, (unsigned long long)rank);
    t->rank = (int)rank;
    t->count = 1;
    for (int i = 0; i < 4; i++) {
        uint64_t n = 1;
        if (i < t->rank) st = take_number(c, 8, t->name, &n);
        if (st != TR_OK) return st;
        t->shape[i] = (int64_t)n;
        /* 2^56 elements leave room for every product with a block's bytes. */
        if (n < 1 || n > (uint64_t)1 << 56 ||
            __builtin_mul_overflow(t->count, t->shape[i], &t->count) ||
            t->count > (int64_t)1 << 56)
            return tr_err_set(
                c->err, TR_BADARG,
                "%s: tensor %s: dimension %d: expected 1 to 2^56 elements in all, "
                "found %llu",
                c->where, t->name, i, (unsigned long long)n);
    }
    return TR_OK;
}

static enum tr_status take_type(struct cursor *c, struct tr_gguf_tensor *t)
{
    uint64_t type = 0;
    enum tr_status st = take_number(c, 4, t->name, &type);
    if (st != TR_OK) return st;
    const struct tr_gguf_layout *l = tr_gguf_layout((enum tr_gguf_type)type);
    if (!l)
        return tr_err_set(
            c->err, TR_BADARG,
            "%s: tensor %s: expected F32, F16, BF16, Q4_0, Q4_1 or Q8_0, found "
            "type %llu",
            c->where, t->name, (unsigned long long)type);
    if (t->shape[0] % l->block) /* so that rows are whole blocks */
        return tr_err_set(
            c->err, TR_BADARG,
            "%s: tensor %s: %s: expected rows of a multiple of %lld, found %lld",
            c->where, t->name, l->name, (long long)l->block, (long long)t->shape[0]);
    t->type = l->type;
    t->bytes = (size_t)(t->count / l->block * l->bytes);
    return TR_OK;
}

/* The offset waits in `data` as a distance from the file's start: where the data begins is known
 * only after the last tensor. */
static enum tr_status read_tensors(struct cursor *c, struct tr_gguf *g, uint64_t *offset)
{
    for (int64_t i = 0; i < g->tensors; i++) {
        struct tr_gguf_tensor *t = &g->tensor[i];
        enum tr_status st = take_name(c, i, t);
        if (st == TR_OK) st = take_shape(c, t);
        if (st == TR_OK) st = take_type(c, t);
        if (st == TR_OK) st = take_number(c, 8, t->name, &offset[i]);
        if (st != TR_OK) return st;
        if (offset[i] % g->alignment)
            return tr_err_set(
                c->err, TR_BADARG,
                "%s: tensor %s: offset: expected a multiple of %llu, found %llu",
                c->where, t->name, (unsigned long long)g->alignment,
                (unsigned long long)offset[i]);
    }
    return TR_OK;
}

static enum tr_status place_tensors(const struct cursor *c, struct tr_gguf *g,
                                    const unsigned char *base, const uint64_t *offset)
{
    uint64_t head = (uint64_t)(c->at - base);
    uint64_t start = (head + g->alignment - 1) / g->alignment * g->alignment;
    uint64_t size = (uint64_t)(c->end - base);
    uint64_t room = start < size ? size - start : 0;
    for (int64_t i = 0; i < g->tensors; i++) {
        struct tr_gguf_tensor *t = &g->tensor[i];
        if (offset[i] > room || t->bytes > room - offset[i])
            return tr_err_set(
                c->err, TR_BADARG,
                "%s: tensor %s: truncated: expected %zu bytes at %llu of the data, "
                "found %llu bytes of data",
                c->where, t->name, t->bytes, (unsigned long long)offset[i],
                (unsigned long long)room);
        t->data = base + start + offset[i];
    }
    return TR_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct tr_gguf_tensor *const *)a)->name,
                  (*(const struct tr_gguf_tensor *const *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const struct tr_gguf_tensor *x = *(const struct tr_gguf_tensor *const *)a;
    const struct tr_gguf_tensor *y = *(const struct tr_gguf_tensor *const *)b;
    return (x->data > y->data) - (x->data < y->data);
}

/* No overlaps, no name twice. Leaves `sorted` by name. */
static enum tr_status check_together(const struct cursor *c, struct tr_gguf *g)
{
    const struct tr_gguf_tensor **s = g->sorted;
    for (int64_t i = 0; i < g->tensors; i++) s[i] = &g->tensor[i];
    qsort(s, (size_t)g->tensors, sizeof(void *), by_place);
    for (int64_t i = 1; i < g->tensors; i++)
        if (s[i]->data < s[i - 1]->data + s[i - 1]->bytes)
            return tr_err_set(
                c->err, TR_BADARG,
                "%s: tensor %s: overlapping data: expected it after %s, found %lld "
                "bytes before that one's end",
                c->where, s[i]->name, s[i - 1]->name,
                (long long)(s[i - 1]->data + s[i - 1]->bytes - s[i]->data));
    qsort(s, (size_t)g->tensors, sizeof(void *), by_name);
    for (int64_t i = 1; i < g->tensors; i++)
        if (!strcmp(s[i]->name, s[i - 1]->name))
            return tr_err_set(c->err, TR_BADARG,
                              "%s: tensor %s: expected once, found twice", c->where,
                              s[i]->name);
    return TR_OK;
}

static enum tr_status take_magic(struct cursor *c)
{
    uint64_t version = 0;
    const unsigned char *p = NULL;
    enum tr_status st = take(c, 4, "the magic", &p);
    if (st == TR_OK && memcmp(p, "GGUF", 4) != 0)
        return tr_err_set(c->err, TR_BADARG,
                          "%s: expected a GGUF file, found another kind", c->where);
    if (st == TR_OK) st = take_number(c, 4, "the version", &version);
    if (st == TR_OK && version != 2 && version != 3)
        return tr_err_set(
            c->err, TR_BADARG,
            "%s: expected little-endian GGUF version 2 or 3, found version %llu",
            c->where, (unsigned long long)version);
    return st;
}

static enum tr_status read_alignment(struct tr_gguf *g, struct tr_err *err)
{
    int64_t a = 32;
    enum tr_status st = tr_gguf_int_or(g, "general.alignment", 1, 1 << 20, 32, &a, err);
    if (st == TR_OK && (a & (a - 1)))
        return tr_err_set(err, TR_BADARG,
                          "%s: general.alignment: expected a power of two, found %lld",
                          g->where, (long long)a);
    g->alignment = (uint64_t)a;
    return st;
}

static enum tr_status read_head(struct cursor *c, struct tr_gguf *g)
{
    uint64_t tensors = 0;
    uint64_t values = 0;
    const unsigned char *base = c->at;
    enum tr_status st = take_magic(c);
    if (st == TR_OK) st = take_count(c, "number of tensors", SMALLEST_TENSOR, &tensors);
    if (st == TR_OK) st = take_count(c, "number of keys", SMALLEST_PAIR, &values);
    if (st != TR_OK) return st;
    uint64_t *offset = calloc((size_t)tensors + 1, sizeof *offset);
    g->value = calloc((size_t)values + 1, sizeof *g->value);
    g->tensor = calloc((size_t)tensors + 1, sizeof *g->tensor);
    g->sorted = calloc((size_t)tensors + 1, sizeof(void *));
    g->values = (int64_t)values;
    g->tensors = (int64_t)tensors;
    if (!offset || !g->value || !g->tensor || !g->sorted)
        st = tr_err_set(c->err, TR_NOMEM, "%s: %llu tensors, %llu keys", c->where,
                        (unsigned long long)tensors, (unsigned long long)values);
    if (st == TR_OK) st = read_values(c, g);
    if (st == TR_OK) st = read_alignment(g, c->err);
    if (st == TR_OK) st = read_tensors(c, g, offset);
    if (st == TR_OK) st = place_tensors(c, g, base, offset);
    if (st == TR_OK) st = check_together(c, g);
    free(offset);
    return st;
}

enum tr_status tr_gguf_parse(const unsigned char *bytes, size_t size, const char *where,
                             struct tr_gguf **out, struct tr_err *err)
{
    struct cursor c = {bytes, bytes + size, where, err};
    *out = NULL;
    struct tr_gguf *g = calloc(1, sizeof *g);
    if (g) g->where = strdup(where);
    if (!g || !g->where) {
        free(g);
        return tr_err_set(err, TR_NOMEM, "%s: no memory", where);
    }
    enum tr_status st = read_head(&c, g);
    if (st == TR_OK)
        *out = g;
    else
        tr_gguf_close(g);
    return st;
}

enum tr_status tr_gguf_open(const char *path, struct tr_gguf **out, struct tr_err *err)
{
    struct tr_map map;
    *out = NULL;
    enum tr_status st = tr_map_open(path, &map, err);
    if (st != TR_OK) return st;
    st = map.at ? tr_gguf_parse(map.at, map.size, path, out, err)
                : tr_err_set(err, TR_BADARG,
                             "%s: expected a GGUF file, found an empty one", path);
    if (st == TR_OK)
        (*out)->map = map;
    else
        tr_map_close(&map);
    return st;
}

void tr_gguf_close(struct tr_gguf *g)
{
    if (!g) return;
    free(g->sorted);
    free(g->tensor);
    free(g->value);
    free(g->where);
    tr_map_close(&g->map);
    free(g);
}

const char *tr_gguf_where(const struct tr_gguf *g)
{
    return g->where;
}

/* Values by key. */

static const struct value *find_value(const struct tr_gguf *g, const char *key)
{
    struct value v = {.key = {key, strlen(key)}};
    return bsearch(&v, g->value, (size_t)g->values, sizeof v, by_key);
}

static enum tr_status wrong(const struct tr_gguf *g, const char *key,
                            const char *expected, const struct value *v,
                            struct tr_err *err)
{
    return tr_err_set(err, TR_BADARG, "%s: %s: expected %s, found %s", g->where, key,
                      expected, v ? kind_names[v->kind] : "nothing");
}

bool tr_gguf_has(const struct tr_gguf *g, const char *key)
{
    return find_value(g, key) != NULL;
}

/* An integer of any width; u64 past the largest int64_t is no integer that we can use. */
static bool integer_at(enum tr_gguf_kind kind, const unsigned char *at, int64_t *out)
{
    bool is_signed = kind == TR_GGUF_I8 || kind == TR_GGUF_I16 || kind == TR_GGUF_I32 ||
                     kind == TR_GGUF_I64;
    bool is_unsigned = kind == TR_GGUF_U8 || kind == TR_GGUF_U16 || kind == TR_GGUF_U32 ||
                       kind == TR_GGUF_U64;
    if (!is_signed && !is_unsigned) return false;
    uint64_t x = unsigned_at(at, widths[kind]);
    uint64_t sign = (uint64_t)1 << (8 * widths[kind] - 1);
    if (is_signed && (x & sign)) x |= ~(sign - 1);
    *out = (int64_t)x;
    return is_signed || *out >= 0;
}

enum tr_status tr_gguf_int(const struct tr_gguf *g, const char *key, int64_t min,
                           int64_t max, int64_t *out, struct tr_err *err)
{
    const struct value *v = find_value(g, key);
    if (!v || !integer_at(v->kind, v->at, out))
        return wrong(g, key, "an integer", v, err);
    if (*out < min || *out > max)
        return tr_err_set(err, TR_BADARG, "%s: %s: expected %lld to %lld, found %lld",
                          g->where, key, (long long)min, (long long)max, (long long)*out);
    return TR_OK;
}

enum tr_status tr_gguf_int_or(const struct tr_gguf *g, const char *key, int64_t min,
                              int64_t max, int64_t otherwise, int64_t *out,
                              struct tr_err *err)
{
    *out = otherwise;
    return find_value(g, key) ? tr_gguf_int(g, key, min, max, out, err) : TR_OK;
}

enum tr_status tr_gguf_real_or(const struct tr_gguf *g, const char *key, double otherwise,
                               double *out, struct tr_err *err)
{
    const struct value *v = find_value(g, key);
    *out = otherwise;
    if (!v) return TR_OK;
    if (v->kind == TR_GGUF_F32) {
        float x;
        memcpy(&x, v->at, sizeof x);
        *out = (double)x;
        return TR_OK;
    }
    if (v->kind != TR_GGUF_F64) return wrong(g, key, "a real number", v, err);
    memcpy(out, v->at, sizeof *out);
    return TR_OK;
}

enum tr_status tr_gguf_bool_or(const struct tr_gguf *g, const char *key, bool otherwise,
                               bool *out, struct tr_err *err)
{
    const struct value *v = find_value(g, key);
    *out = otherwise;
    if (!v) return TR_OK;
    if (v->kind != TR_GGUF_BOOL || *v->at > 1)
        return wrong(g, key, "0 or 1 as a bool", v, err);
    *out = *v->at == 1;
    return TR_OK;
}

enum tr_status tr_gguf_text(const struct tr_gguf *g, const char *key,
                            struct tr_gguf_text *out, struct tr_err *err)
{
    const struct value *v = find_value(g, key);
    if (!v || v->kind != TR_GGUF_STRING) return wrong(g, key, "a string", v, err);
    *out = (struct tr_gguf_text){(const char *)v->at, (size_t)v->size};
    return TR_OK;
}

enum tr_status tr_gguf_list(const struct tr_gguf *g, const char *key,
                            enum tr_gguf_kind kind, struct tr_gguf_list *out,
                            struct tr_err *err)
{
    const struct value *v = find_value(g, key);
    if (!v || v->kind != TR_GGUF_ARRAY) return wrong(g, key, "an array", v, err);
    if (v->of != kind)
        return tr_err_set(err, TR_BADARG,
                          "%s: %s: expected an array of %s, found one of %s", g->where,
                          key, kind_names[kind], kind_names[v->of]);
    *out = (struct tr_gguf_list){v->at, kind, (int64_t)v->size};
    return TR_OK;
}

struct tr_gguf_text tr_gguf_next_text(struct tr_gguf_list *list)
{
    assert(list->left > 0 && list->kind == TR_GGUF_STRING);
    struct tr_gguf_text text = {(const char *)list->at + 8,
                                (size_t)unsigned_at(list->at, 8)};
    list->at += 8 + text.size;
    list->left--;
    return text;
}

int64_t tr_gguf_next_int(struct tr_gguf_list *list)
{
    int64_t x = 0;
    assert(list->left > 0);
    bool good = integer_at(list->kind, list->at, &x);
    list->at += widths[list->kind];
    list->left--;
    return good ? x : -1;
}

/* Tensors. */

int64_t tr_gguf_count(const struct tr_gguf *g)
{
    return g->tensors;
}

const struct tr_gguf_tensor *tr_gguf_get(const struct tr_gguf *g, int64_t i)
{
    assert(i >= 0 && i < g->tensors);
    return &g->tensor[i];
}

const struct tr_gguf_tensor *tr_gguf_find(const struct tr_gguf *g, const char *name)
{
    int64_t low = 0;
    int64_t high = g->tensors;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int by = strcmp(g->sorted[middle]->name, name);
        if (!by) return g->sorted[middle];
        if (by < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

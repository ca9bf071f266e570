#include "proto/walk.h"

#include <stdint.h>
#include <string.h>

/* The walk keeps, for each open array or map, how many objects are still to come in it. */
struct walk {
    const unsigned char *at;
    size_t size, pos;
    int depth;
    uint64_t left[TR_WALK_DEPTH + 1];
};

/* What one header byte announces. */
struct item {
    size_t header;     /* bytes of the header, the type byte included */
    uint64_t body;     /* bytes that follow it */
    uint64_t children; /* objects that follow it */
    const char *fault; /* why it is refused, or NULL */
};

static uint64_t big_endian(const unsigned char *at, int width)
{
    uint64_t x = 0;
    for (int i = 0; i < width; i++) x = x << 8 | at[i];
    return x;
}

/* The types 0xc0 .. 0xdf, whose length, if any, stands after the type byte. */
static struct item long_item(const unsigned char *at, size_t remaining)
{
    /* Bytes of length, and of fixed body, by type - 0xc0; -1: refused. */
    static const signed char width[32] = {0,  -1, 0,  0, 1, 2, 4, -1, -1, -1, 0,
                                          0,  0,  0,  0, 0, 0, 0, 0,  0,  -1, -1,
                                          -1, -1, -1, 1, 2, 4, 2, 4,  2,  4};
    static const unsigned char body[32] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4,
                                           8, 1, 2, 4, 8, 1, 2, 4, 8, 0, 0,
                                           0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    int type = at[0] - 0xc0;
    struct item it = {.header = 1};
    if (width[type] < 0) {
        it.fault = type == 1 ? "the unused type 0xc1" : "an extension type";
        return it;
    }
    it.header += (size_t)width[type];
    it.body = body[type];
    if (width[type] == 0) return it;
    if (it.header > remaining) return it;
    uint64_t n = big_endian(at + 1, width[type]);
    if (type >= 0x1e)
        it.children = 2 * n; /* map 16, map 32 */
    else if (type >= 0x1c)
        it.children = n; /* array 16, array 32 */
    else
        it.body = n; /* bin or str */
    return it;
}

static struct item read_item(const unsigned char *at, size_t remaining)
{
    struct item it = {.header = 1};
    if (at[0] < 0x80 || at[0] >= 0xe0) return it; /* a small integer */
    if (at[0] >= 0xc0) return long_item(at, remaining);
    if (at[0] < 0x90)
        it.children = 2 * (uint64_t)(at[0] & 0x0f); /* small map */
    else if (at[0] < 0xa0)
        it.children = at[0] & 0x0f; /* small array */
    else
        it.body = at[0] & 0x1f; /* small string */
    return it;
}

static enum tr_status fault(const struct walk *w, const char *why, struct tr_err *err)
{
    return tr_err_set(err, TR_BADMSG, "byte %zu of %zu: %s", w->pos, w->size, why);
}

/* Steps over one object, its children included. */
static enum tr_status walk_object(struct walk *w, struct tr_err *err)
{
    w->depth = 0;
    w->left[0] = 1;
    for (;;) {
        while (w->left[w->depth] == 0) {
            if (w->depth == 0) return TR_OK;
            w->depth--;
        }
        w->left[w->depth]--;
        size_t remaining = w->size - w->pos;
        if (remaining == 0) return fault(w, "the envelope ends too early", err);
        struct item it = read_item(w->at + w->pos, remaining);
        if (it.fault) return fault(w, it.fault, err);
        if (it.header > remaining || it.body > remaining - it.header)
            return fault(w, "a length passes the end of the envelope", err);
        remaining -= it.header + (size_t)it.body;
        if (it.children > remaining)
            return fault(w, "a count exceeds the bytes that remain", err);
        w->pos += it.header + (size_t)it.body;
        if (it.children == 0) continue;
        if (w->depth == TR_WALK_DEPTH) return fault(w, "nested too deeply", err);
        w->left[++w->depth] = it.children;
    }
}

enum tr_status tr_walk_check(const void *bytes, size_t size, struct tr_err *err)
{
    struct walk w = {.at = bytes, .size = size};
    enum tr_status st = walk_object(&w, err);
    if (st == TR_OK && w.pos != size) st = fault(&w, "bytes after the object", err);
    return st;
}

/* True when the object at pos is the string `key`; moves past the object in any case. */
static int key_is(struct walk *w, const char *key)
{
    struct item it = read_item(w->at + w->pos, w->size - w->pos);
    unsigned char type = w->at[w->pos];
    int is_text = (type >= 0xa0 && type < 0xc0) || (type >= 0xd9 && type <= 0xdb);
    const unsigned char *text = w->at + w->pos + it.header;
    int same = is_text && it.body == strlen(key) && memcmp(text, key, strlen(key)) == 0;
    return walk_object(w, NULL) == TR_OK && same;
}

void tr_walk_find(const void *bytes, size_t size, const char *key, struct tr_slice *out)
{
    struct walk w = {.at = bytes, .size = size};
    *out = (struct tr_slice){0};
    if (size == 0) return;
    struct item map = read_item(w.at, size);
    int is_map = (w.at[0] & 0xf0) == 0x80 || w.at[0] == 0xde || w.at[0] == 0xdf;
    if (!is_map) return;
    w.pos = map.header;
    for (uint64_t i = 0; i < map.children / 2; i++) {
        int found = key_is(&w, key);
        size_t from = w.pos;
        if (walk_object(&w, NULL) != TR_OK) return;
        if (found) {
            *out = (struct tr_slice){.at = w.at + from, .size = w.pos - from};
            return;
        }
    }
}

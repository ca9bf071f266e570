#include "core/text/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "core/text/utf8.h"

/* A hash that is fed byte by byte, so that a pair can be hashed without joining it. */
static uint32_t hash_put(uint32_t h, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) h = (h ^ (unsigned char)text[i]) * 0x01000193U;
    return h;
}

static uint32_t hash_end(uint32_t h)
{
    h ^= h >> 15;
    h *= 0x2C1B3C6DU;
    return h ^ (h >> 13);
}

/* GPT-2's alphabet: printable Latin-1 stands for itself, the rest moves to U+0100 and on. */
static void make_alphabet(struct tr_vocabulary *v)
{
    int32_t next = 256;
    for (int i = 0; i < 512; i++) v->point_byte[i] = -1;
    for (int32_t b = 0; b < 256; b++) {
        bool self = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
        v->byte_point[b] = self ? b : next++;
        v->point_byte[v->byte_point[b]] = b;
    }
}

static void place(struct tr_vocabulary *v, int32_t id)
{
    const struct tr_word *w = &v->word[id];
    uint32_t at =
        hash_end(hash_put(0x811C9DC5U, v->blob + w->at, w->size)) & (v->slots - 1);
    while (v->slot[at] >= 0) at = (at + 1) & (v->slots - 1);
    v->slot[at] = id;
}

static enum tr_status set_slots(struct tr_vocabulary *v, int32_t words,
                                struct tr_err *err)
{
    uint32_t slots = 64;
    while (slots / 2 < (uint32_t)words) slots *= 2;
    int32_t *slot = malloc(slots * sizeof *slot);
    if (!slot) return tr_err_set(err, TR_NOMEM, "vocabulary: %u slots", slots);
    memset(slot, 0xFF, slots * sizeof *slot);
    free(v->slot);
    v->slot = slot;
    v->slots = slots;
    for (int32_t i = 0; i < v->count; i++)
        if (v->word[i].known) place(v, i);
    return TR_OK;
}

static enum tr_status set_room(struct tr_vocabulary *v, int32_t room, struct tr_err *err)
{
    struct tr_word *word = realloc(v->word, (size_t)room * sizeof *word);
    if (!word) return tr_err_set(err, TR_NOMEM, "vocabulary: %d words", room);
    memset(word + v->room, 0, (size_t)(room - v->room) * sizeof *word);
    v->word = word;
    v->room = room;
    return TR_OK;
}

enum tr_status tr_vocabulary_init(struct tr_vocabulary *v, int32_t words,
                                  struct tr_err *err)
{
    *v = (struct tr_vocabulary){0};
    make_alphabet(v);
    enum tr_status st = set_room(v, words + 16, err);
    if (st == TR_OK) st = set_slots(v, words + 16, err);
    return st;
}

static enum tr_status blob_put(struct tr_vocabulary *v, const char *bytes, size_t size,
                               uint32_t *at, struct tr_err *err)
{
    if (v->blob_room - v->blob_size < size + 1) {
        size_t room = v->blob_room ? v->blob_room * 2 : 4096;
        while (room < v->blob_size + size + 1) room *= 2;
        if (room > UINT32_MAX) return tr_err_set(err, TR_NOMEM, "vocabulary: over 2 GiB");
        char *blob = realloc(v->blob, room);
        if (!blob) return tr_err_set(err, TR_NOMEM, "vocabulary: %zu bytes", room);
        v->blob = blob;
        v->blob_room = room;
    }
    *at = (uint32_t)v->blob_size;
    memcpy(v->blob + v->blob_size, bytes, size);
    v->blob[v->blob_size + size] = 0;
    v->blob_size += size + 1;
    return TR_OK;
}

/* The bytes of a spelling into raw, [size]; a spelling with any character outside the
 * alphabet stands for itself (added tokens with spaces, say). Returns the size. */
static size_t bytes_of(const struct tr_vocabulary *v, const char *text, size_t size,
                       char *raw)
{
    size_t n = 0, len;
    for (size_t at = 0; at < size; at += len) {
        int32_t c = -1;
        if (tr_utf8_next((const unsigned char *)text + at, size - at, &len) ==
            TR_UTF8_CHAR)
            c = tr_utf8_point(text + at, len);
        if (c < 0 || c >= 512 || v->point_byte[c] < 0) {
            memcpy(raw, text, size);
            return size;
        }
        raw[n++] = (char)v->point_byte[c];
    }
    return n;
}

static enum tr_status store(struct tr_vocabulary *v, struct tr_word *w, const char *text,
                            size_t size, struct tr_err *err)
{
    char small[256];
    char *raw = size <= sizeof small ? small : malloc(size);
    if (!raw) return tr_err_set(err, TR_NOMEM, "vocabulary: a token of %zu bytes", size);
    size_t raw_size = bytes_of(v, text, size, raw);
    w->size = (uint32_t)size;
    w->raw_size = (uint32_t)raw_size;
    enum tr_status st = blob_put(v, text, size, &w->at, err);
    if (st == TR_OK) st = blob_put(v, raw, raw_size, &w->raw_at, err);
    if (raw != small) free(raw);
    return st;
}

enum tr_status tr_vocabulary_add(struct tr_vocabulary *v, const char *text, size_t size,
                                 int32_t id, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int shown = size < 40 ? (int)size : 40; /* of a text that no zero byte may end */
    if (id < 0 || id >= INT32_MAX / 4 || size > INT32_MAX / 4)
        return tr_err_set(err, TR_BADARG, "token '%.*s': id %d is out of range", shown,
                          text, id);
    if (tr_vocabulary_find(v, text, size) >= 0)
        return tr_err_set(err, TR_BADARG, "token '%.*s' is there twice", shown, text);
    if (id >= v->room) st = set_room(v, id + id / 8 + 16, err);
    if (st == TR_OK && (uint32_t)v->words + 1 > v->slots / 2)
        st = set_slots(v, 2 * (v->words + 1), err);
    if (st != TR_OK) return st;
    struct tr_word *w = &v->word[id];
    if (w->known)
        return tr_err_set(err, TR_BADARG, "tokens '%.40s' and '%.*s' share id %d",
                          v->blob + w->at, shown, text, id);
    st = store(v, w, text, size, err);
    if (st != TR_OK) return st;
    w->known = true;
    if (id >= v->count) v->count = id + 1;
    v->words++;
    place(v, id);
    return TR_OK;
}

int32_t tr_vocabulary_find(const struct tr_vocabulary *v, const char *text, size_t size)
{
    uint32_t at = hash_end(hash_put(0x811C9DC5U, text, size)) & (v->slots - 1);
    for (; v->slot[at] >= 0; at = (at + 1) & (v->slots - 1)) {
        const struct tr_word *w = &v->word[v->slot[at]];
        if (w->size == size && memcmp(v->blob + w->at, text, size) == 0)
            return v->slot[at];
    }
    return -1;
}

int32_t tr_vocabulary_find_pair(const struct tr_vocabulary *v, int32_t a, int32_t b)
{
    const struct tr_word *p = &v->word[a], *q = &v->word[b];
    uint32_t h = hash_put(0x811C9DC5U, v->blob + p->at, p->size);
    uint32_t at = hash_end(hash_put(h, v->blob + q->at, q->size)) & (v->slots - 1);
    for (; v->slot[at] >= 0; at = (at + 1) & (v->slots - 1)) {
        const struct tr_word *w = &v->word[v->slot[at]];
        if (w->size == p->size + q->size &&
            memcmp(v->blob + w->at, v->blob + p->at, p->size) == 0 &&
            memcmp(v->blob + w->at + p->size, v->blob + q->at, q->size) == 0)
            return v->slot[at];
    }
    return -1;
}

const struct tr_word *tr_vocabulary_word(const struct tr_vocabulary *v, int32_t id)
{
    return id >= 0 && id < v->count && v->word[id].known ? &v->word[id] : NULL;
}

size_t tr_vocabulary_spell(const struct tr_vocabulary *v, const char *bytes, size_t size,
                           char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++)
        n += tr_utf8_put(v->byte_point[(unsigned char)bytes[i]], out + n);
    return n;
}

void tr_vocabulary_fini(struct tr_vocabulary *v)
{
    free(v->word);
    free(v->blob);
    free(v->slot);
    *v = (struct tr_vocabulary){0};
}

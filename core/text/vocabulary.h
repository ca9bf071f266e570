/* vocabulary.h - token strings and their ids, both ways.
 *
 * What it is for. A byte-level tokenizer writes bytes as printable characters (a space is
 * "Ġ"), so a token has two forms: its spelling, by which files name it, and the bytes that it
 * stands for, which decoding gives.
 *
 * The data. word[id] points into one blob with both forms, each closed by a zero byte; an open
 * hash table finds an id by its spelling. Ids may have holes.
 *
 * Invariants.
 *   1. A spelling has one id and an id one spelling.
 *   2. Loading n words is linear in their bytes. */
#ifndef TR_TEXT_VOCABULARY_H
#define TR_TEXT_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct tr_word {
    uint32_t at, size;         /* the spelling, in the blob */
    uint32_t raw_at, raw_size; /* the bytes, in the blob */
    bool known;                /* false: a hole */
    bool special;              /* decoding may skip it */
    bool added;                /* cut out of a text before anything else */
};

struct tr_vocabulary {
    struct tr_word *word; /* [room], owns */
    int32_t count;        /* the largest id + 1 */
    int32_t room;
    int32_t words; /* without holes */
    char *blob;    /* owns */
    size_t blob_size, blob_room;
    int32_t *slot; /* [slots], owns: ids, -1 is free */
    uint32_t slots;
    int32_t point_byte[512]; /* code point of the byte-level alphabet -> byte, or -1 */
    int32_t byte_point[256];
};

/* Room for `words` words at first. */
enum tr_status tr_vocabulary_init(struct tr_vocabulary *v, int32_t words,
                                  struct tr_err *err);
/* TR_BADARG when the id or the spelling is taken. The table grows to hold the id: the caller
 * bounds ids. */
enum tr_status tr_vocabulary_add(struct tr_vocabulary *v, const char *text, size_t size,
                                 int32_t id, struct tr_err *err);
int32_t tr_vocabulary_find(const struct tr_vocabulary *v, const char *text, size_t size);
/* The id of a + b, or -1. */
int32_t tr_vocabulary_find_pair(const struct tr_vocabulary *v, int32_t a, int32_t b);
const struct tr_word *tr_vocabulary_word(const struct tr_vocabulary *v,
                                         int32_t id); /* or NULL */
/* Writes the spelling of bytes into out, [2 * size]; gives its size. */
size_t tr_vocabulary_spell(const struct tr_vocabulary *v, const char *bytes, size_t size,
                           char *out);
void tr_vocabulary_fini(struct tr_vocabulary *v);

#endif

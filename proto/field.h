/* field.h - a struct that travels, as a table of its fields.
 *
 * What it is for. Every message and every payload is a C struct here and a MessagePack map on the
 * wire. One table says the names, the kinds and the ranges; packing, reading and every check
 * follow from it, so there is one place to look when a field is in question.
 *
 * Invariants.
 *   1. read(pack(x)) = x, and the same struct always gives the same bytes: fields in the order of
 *      the table, integers in their shortest form, reals as 64 bits.
 *   2. What read lets through is within the ranges of the table; reals are finite.
 *   3. Unknown names are skipped and counted; missing and repeated ones are refused. */
#ifndef TR_PROTO_FIELD_H
#define TR_PROTO_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/digest.h"

enum { TR_DIGESTS_MAX = 64 };

struct tr_digests {
    int64_t n;
    struct tr_digest at[TR_DIGESTS_MAX];
};

/* A one-dimensional array in a struct that travels. Borrows: on the way out from the caller, on
 * the way in from the content. */
struct tr_array {
    const void *at;
    int64_t count;
};

enum tr_field_kind {
    TR_FIELD_BOOL,    /* bool */
    TR_FIELD_INT,     /* int64_t within [lo, hi] */
    TR_FIELD_REAL,    /* double within [lo, hi] */
    TR_FIELD_WORD,    /* int, an index into words */
    TR_FIELD_TEXT,    /* char [hi + 1], no control characters, may be empty */
    TR_FIELD_DIGEST,  /* struct tr_digest */
    TR_FIELD_DIGESTS, /* struct tr_digests */
    TR_FIELD_I32,     /* struct tr_array of lo .. hi elements, as are the next four */
    TR_FIELD_I64,
    TR_FIELD_F32,
    TR_FIELD_F64,
    TR_FIELD_U8,
};

struct tr_field {
    const char *name;
    enum tr_field_kind kind;
    bool optional; /* when missing, the zero of its kind */
    size_t at;     /* offset in the struct */
    double lo, hi;
    const char *const *words;   /* ends with NULL */
    const char *unit, *meaning; /* for who reads the tables; may be NULL */
};

struct tr_record { /* a struct as a table */
    const char *kind;
    size_t size; /* of the struct */
    int n;
    const struct tr_field *field;
    const char *meaning; /* may be NULL */
};

/* `pack` is a msgpack_packer *, `map` a const msgpack_object *: not named here, so that those who
 * only state a table need no msgpack.h. Arrays are no part of the map (content.h). */
void tr_fields_pack(const struct tr_record *r, const void *from, void *pack);
/* TR_BADMSG names the record, the field, what was expected and what was found. */
enum tr_status tr_fields_read(const struct tr_record *r, const void *map, void *to,
                              int64_t *unknown, struct tr_err *err);

/* Of one struct on its way out: TR_BADARG for a value outside its range. */
enum tr_status tr_fields_check(const struct tr_record *r, const void *from,
                               struct tr_err *err);

bool tr_field_is_array(const struct tr_field *f);
size_t tr_field_width(const struct tr_field *f); /* bytes of an array's element */
const char *tr_field_dtype(
    const struct tr_field *f); /* "i32", "i64", "f32", "f64", "u8" */

#endif

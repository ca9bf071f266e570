/* content.h - what a unit asks or an answer says: named values and arrays, as bytes.
 *
 * What it is for. Roles exchange small structs with large arrays. A table of fields says once how
 * such a struct travels and what values it may hold; encoding, decoding and every check follow
 * from the table. Because the bytes of a content are what is hashed, they are its identity: a
 * content is made once and handed on unchanged, to however many workers.
 *
 * The data. `bytes` is one MessagePack map:
 *     kind     text      which table: "generate", "score", ...
 *     digests  [bin 32]  of a unit: the weights it needs; of an answer: those that were used
 *     payload  map       the values, by name
 *     arrays   [map]     name, dtype ("i32", "i64", "f32", "f64", "u8"), shape ([count]) of each bulk
 *                        part
 * and `bulk` holds the arrays' elements, raw and little-endian, one part for each description.
 *
 * Invariants.
 *   1. decode(encode(x)) = x, and the same struct always gives the same bytes.
 *   2. What decode lets through is within the table's ranges; every f32 and f64 in it is finite; an
 *      array's size is its count times its element's width.
 *   3. Unknown names are skipped and counted, missing and repeated ones refused. */
#ifndef TR_PROTO_CONTENT_H
#define TR_PROTO_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/digest.h"
#include "proto/field.h"

enum {
    TR_BULK_MAX = 16,             /* arrays in one content */
    TR_HEAD_BYTES = 64 * 1024,    /* an envelope frame */
    TR_CONTENT_BYTES = 60 * 1024, /* the part of it that is a content */
    TR_BULK_BYTES = 256 << 20,    /* one array */
};

struct tr_bulk {
    const void *at;
    size_t size;
};

struct tr_content {
    struct tr_buf bytes;
    int n;
    struct tr_bulk bulk[TR_BULK_MAX];
    unsigned char *store; /* owns what bulk points to, each part aligned to 64 */
};

/* Encodes *from (a struct of the record). The arrays are copied, so *out borrows nothing; the
 * caller owns it. TR_NOMEM, or TR_BADARG for a value outside its range: our own slip, said early. */
enum tr_status tr_content_encode(const struct tr_record *r,
                                 const struct tr_digests *digests, const void *from,
                                 struct tr_content *out, struct tr_err *err);

/* Kind and digests alone. kind [32]. */
enum tr_status tr_content_head(const struct tr_content *c, char *kind,
                               struct tr_digests *digests, struct tr_err *err);

/* Fills *to, whose arrays borrow from c; adds what it skipped to *unknown. TR_BADMSG names the
 * field, what was expected and what was found. */
enum tr_status tr_content_decode(const struct tr_content *c, const struct tr_record *r,
                                 void *to, int64_t *unknown, struct tr_err *err);

/* SHA-256 over the bytes, then each bulk part with its size. */
enum tr_status tr_content_digest(const struct tr_content *c, struct tr_digest *out,
                                 struct tr_err *err);

/* Copies bytes and parts. The caller owns *out. */
enum tr_status tr_content_copy(const void *bytes, size_t size, const struct tr_bulk *bulk,
                               int n, struct tr_content *out, struct tr_err *err);
void tr_content_fini(struct tr_content *c);

#endif

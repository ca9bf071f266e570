/* safetensors.h - one .safetensors file, every byte of its header checked before use.
 *
 * What it is for. Reading tensors of foreign files and writing our own. The format: 8 bytes
 * little-endian header size, a JSON object {name: {dtype, shape, data_offsets}}, raw data.
 *
 * Invariants.
 *   1. After open: every tensor's range lies in the file, ranges do not overlap and leave no
 *      hole, sizes equal the product of the shape times the dtype's width (no overflow), names
 *      are unique. Anything else is TR_BADARG with file, tensor, expected and found.
 *   2. Written files hold tensors sorted by name with an 8-byte aligned header, written aside,
 *      fsynced and renamed: the same tensors give the same bytes. */
#ifndef TR_MODEL_SAFETENSORS_H
#define TR_MODEL_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/* TR_ST_OTHER is a dtype that we have never heard of: the tensor's range is checked against its
 * neighbours but not against its shape, and the tensor can be copied but not read as numbers. So
 * a new dtype in a tensor that nobody asks for does not make a file unreadable. */
enum tr_st_dtype {
    TR_ST_F32,
    TR_ST_F16,
    TR_ST_BF16,
    TR_ST_F64,
    TR_ST_I64,
    TR_ST_I32,
    TR_ST_I16,
    TR_ST_I8,
    TR_ST_U64,
    TR_ST_U32,
    TR_ST_U16,
    TR_ST_U8,
    TR_ST_BOOL,
    TR_ST_F8_E4M3,
    TR_ST_F8_E5M2,
    TR_ST_OTHER,
};

struct tr_st_tensor {
    const char *name; /* borrowed from the file */
    enum tr_st_dtype dtype;
    int rank;
    const char *dtype_name; /* as the file says it; borrowed */
    int64_t shape[8];
    int64_t count;             /* elements */
    const unsigned char *data; /* borrowed; little-endian, not aligned */
    size_t bytes;
};

struct tr_st;

enum tr_status tr_st_open(const char *path, struct tr_st **out, struct tr_err *err);
/* The same for bytes in memory, borrowed until close; `where` names them. For the fuzzer. */
enum tr_status tr_st_parse(const unsigned char *bytes, size_t size, const char *where,
                           struct tr_st **out, struct tr_err *err);
int64_t tr_st_count(const struct tr_st *f);
/* In order of names (strcmp). Borrowed until close. */
const struct tr_st_tensor *tr_st_get(const struct tr_st *f, int64_t i);
const struct tr_st_tensor *tr_st_find(const struct tr_st *f, const char *name);
void tr_st_close(struct tr_st *f);

/* "F32 [64, 128]" into out: what a tensor is, for messages. */
void tr_st_describe(const struct tr_st_tensor *t, char *out, size_t size);

const char *tr_st_dtype_name(enum tr_st_dtype d); /* "F32", ... */
size_t tr_st_dtype_width(enum tr_st_dtype d);     /* bytes; 0 for TR_ST_OTHER */

/* Elements [from, from + n) of an F32, F16 or BF16 tensor as f32. */
enum tr_status tr_st_floats(const struct tr_st_tensor *t, int64_t from, int64_t n,
                            float *out, struct tr_err *err);

/* Writing: declare all tensors (name, dtype, rank, shape; for TR_ST_OTHER
 * also dtype_name and bytes), in any order; then put their bytes, sorted by name (strcmp), in pieces
 * of any size. `metadata_format` goes into __metadata__ as {"format": ...} when not NULL. */
struct tr_st_writer;
enum tr_status tr_st_create(const char *path, const struct tr_st_tensor *tensors,
                            int64_t count, const char *metadata_format,
                            struct tr_st_writer **out, struct tr_err *err);
enum tr_status tr_st_put(struct tr_st_writer *w, const void *bytes, size_t size,
                         struct tr_err *err);
enum tr_status tr_st_finish(struct tr_st_writer *w, struct tr_err *err); /* takes w */
void tr_st_abandon(struct tr_st_writer *w); /* removes what was written; takes w */

#endif

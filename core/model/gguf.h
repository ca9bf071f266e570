/* gguf.h - one GGUF file (version 2 or 3), every byte of its head checked before use.
 *
 * What it is for. llama.cpp's format, in which many small models are given out: metadata
 * (key, typed value), a list of tensors, and their data, often quantised in blocks of 32.
 *
 *   "GGUF" u32 version, u64 tensors, u64 pairs
 *   pairs:   string key, u32 type, value         string: u64 size, bytes
 *   tensors: string name, u32 rank, u64 size of each dimension (fastest first), u32 type,
 *            u64 offset
 *   padding to `general.alignment` (32), then the data
 *
 * The data. Values and tensors point into the file, which is mapped; names are copies.
 *
 * Invariants.
 *   1. After open: all strings and arrays lie in the file, keys and tensor names are unique, each
 *      tensor's range lies in the file, is aligned and overlaps no other. Anything else is
 *      TR_BADARG with file, key or tensor, expected and found.
 *   2. Rows of quantised tensors are whole blocks. */
#ifndef TR_MODEL_GGUF_H
#define TR_MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

enum tr_gguf_kind { /* the file's own numbers */
                    TR_GGUF_U8 = 0,
                    TR_GGUF_I8 = 1,
                    TR_GGUF_U16 = 2,
                    TR_GGUF_I16 = 3,
                    TR_GGUF_U32 = 4,
                    TR_GGUF_I32 = 5,
                    TR_GGUF_F32 = 6,
                    TR_GGUF_BOOL = 7,
                    TR_GGUF_STRING = 8,
                    TR_GGUF_ARRAY = 9,
                    TR_GGUF_U64 = 10,
                    TR_GGUF_I64 = 11,
                    TR_GGUF_F64 = 12,
};

enum tr_gguf_type { /* of tensors; the file's own numbers */
                    TR_GGUF_TENSOR_F32 = 0,
                    TR_GGUF_TENSOR_F16 = 1,
                    TR_GGUF_TENSOR_Q4_0 = 2,
                    TR_GGUF_TENSOR_Q4_1 = 3,
                    TR_GGUF_TENSOR_Q8_0 = 8,
                    TR_GGUF_TENSOR_BF16 = 30,
};

struct tr_gguf_text {
    const char *at; /* borrowed; not terminated */
    size_t size;
};

struct tr_gguf_tensor {
    char name[128];
    enum tr_gguf_type type;
    int rank;
    int64_t
        shape[4]; /* fastest first, 1 where rank ends: a matrix [N, K] is {K, N, 1, 1} */
    int64_t count;
    const unsigned char *data; /* borrowed */
    size_t bytes;
};

struct tr_gguf;

enum tr_status tr_gguf_open(const char *path, struct tr_gguf **out, struct tr_err *err);
/* The same for bytes in memory, borrowed until close; `where` names them. */
enum tr_status tr_gguf_parse(const unsigned char *bytes, size_t size, const char *where,
                             struct tr_gguf **out, struct tr_err *err);
void tr_gguf_close(struct tr_gguf *g);
const char *tr_gguf_where(const struct tr_gguf *g); /* the name it was opened by */

/* Values by key. The `_or` forms accept a missing key, none accepts another type; any integer
 * type serves as an integer, f32 and f64 as a real. */
bool tr_gguf_has(const struct tr_gguf *g, const char *key);
enum tr_status tr_gguf_int(const struct tr_gguf *g, const char *key, int64_t min,
                           int64_t max, int64_t *out, struct tr_err *err);
enum tr_status tr_gguf_int_or(const struct tr_gguf *g, const char *key, int64_t min,
                              int64_t max, int64_t otherwise, int64_t *out,
                              struct tr_err *err);
enum tr_status tr_gguf_real_or(const struct tr_gguf *g, const char *key, double otherwise,
                               double *out, struct tr_err *err);
enum tr_status tr_gguf_bool_or(const struct tr_gguf *g, const char *key, bool otherwise,
                               bool *out, struct tr_err *err);
enum tr_status tr_gguf_text(const struct tr_gguf *g, const char *key,
                            struct tr_gguf_text *out, struct tr_err *err);

/* Arrays, read in order: start, then next as often as `left` says. */
struct tr_gguf_list {
    const unsigned char *at;
    enum tr_gguf_kind kind; /* of the elements */
    int64_t left;
};
enum tr_status tr_gguf_list(const struct tr_gguf *g, const char *key,
                            enum tr_gguf_kind kind, struct tr_gguf_list *out,
                            struct tr_err *err);
struct tr_gguf_text tr_gguf_next_text(struct tr_gguf_list *list);
int64_t tr_gguf_next_int(struct tr_gguf_list *list);

/* Tensors, in the order of the file. */
int64_t tr_gguf_count(const struct tr_gguf *g);
const struct tr_gguf_tensor *tr_gguf_get(const struct tr_gguf *g, int64_t i);
const struct tr_gguf_tensor *tr_gguf_find(const struct tr_gguf *g, const char *name);
const char *tr_gguf_type_name(
    enum tr_gguf_type type); /* "Q4_1"; NULL when we cannot read it */

#endif

/* made_gguf.h - small GGUF files, made in memory from random bytes.
 *
 * What it is for. A tiny Llama or Qwen2 whose matrices are of any type that we read, together
 * with what its bytes mean in doubles, computed apart from the code under test. Everything
 * asserts. */
#ifndef TR_TEST_MADE_GGUF_H
#define TR_TEST_MADE_GGUF_H

#include "core/base/buf.h"
#include "core/model/gguf.h"
#include "core/model/gguf_import.h"

enum { TENSORS = 32 };
enum { d = 32, H = 2, Kv = 1, D = 16, F = 64, V = 9 };

struct made_part {
    char name[64];
    int64_t N, K; /* K = 0: a vector */
    enum tr_gguf_type type;
    unsigned char *data;
    double *value; /* what the data means, [N, K] */
};

struct made_gguf {
    const char *family, *pre; /* set by the row; the rest by open */
    enum tr_gguf_type type;   /* of matrices */
    bool tied, biases;
    const float *divisors; /* rope_freqs [D / 2] */
    struct tr_buf file;
    struct made_part part[TENSORS];
    int parts;
};

/* Rows to copy and open: each type, both families, each kind of pre-tokenizer. */
extern const struct made_gguf made_ggufs[];
extern const int made_gguf_count;

void made_gguf_open(struct made_gguf *m);
void made_gguf_close(struct made_gguf *m);
const unsigned char *made_gguf_bytes(const struct made_gguf *m);
const struct made_part *made_gguf_part(const struct made_gguf *m, const char *name);
/* Written to DIR/m.gguf and imported as DIR/out. */
enum tr_status made_gguf_import(const struct made_gguf *m, const char *dir,
                                enum tr_dtype dtype, struct tr_err *err);

#endif

/* digest.h - SHA-256 (libcrypto), the name of a thing by its content.
 *
 * The data. 32 bytes; as text 64 lower-case hexadecimal digits.
 *
 * Invariants.
 *   1. The same bytes give the same digest, however they were cut into puts. */
#ifndef TR_BASE_DIGEST_H
#define TR_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct tr_digest {
    unsigned char byte[32];
};

/* A running hash. */
struct tr_hash;
enum tr_status tr_hash_create(struct tr_hash **out, struct tr_err *err);
void tr_hash_put(struct tr_hash *h, const void *bytes, size_t size);
void tr_hash_put_u64(struct tr_hash *h, uint64_t x); /* 8 bytes, little-endian */
/* Gives the digest and starts anew. */
struct tr_digest tr_hash_end(struct tr_hash *h);
void tr_hash_destroy(struct tr_hash *h);

struct tr_digest tr_digest_of(const void *bytes, size_t size);
bool tr_digest_equal(const struct tr_digest *a, const struct tr_digest *b);
bool tr_digest_is_zero(const struct tr_digest *d); /* names nothing */
void tr_digest_text(const struct tr_digest *d, char out[65]);
enum tr_status tr_digest_parse(const char *text, struct tr_digest *out,
                               struct tr_err *err);

#endif

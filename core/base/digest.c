#include "core/base/digest.h"

#define OPENSSL_API_COMPAT 10100 /* the functions below are marked as old since 3.0 */
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

/* SHA-256 by its own functions. Through EVP each start looks the algorithm up by name, and a hash has
 * two of them: 0.45 us, what 800 bytes take, where most of what is hashed is a few kilobytes. */
struct tr_hash {
    SHA256_CTX ctx;
};

enum tr_status tr_hash_create(struct tr_hash **out, struct tr_err *err)
{
    struct tr_hash *h = malloc(sizeof *h);
    *out = h;
    if (!h) return tr_err_set(err, TR_NOMEM, "SHA-256: no memory");
    SHA256_Init(&h->ctx);
    return TR_OK;
}

void tr_hash_put(struct tr_hash *h, const void *bytes, size_t size)
{
    SHA256_Update(&h->ctx, bytes, size);
}

void tr_hash_put_u64(struct tr_hash *h, uint64_t x)
{
    unsigned char b[8];
    for (int i = 0; i < 8; i++) b[i] = (unsigned char)(x >> (8 * i));
    tr_hash_put(h, b, sizeof b);
}

struct tr_digest tr_hash_end(struct tr_hash *h)
{
    struct tr_digest d;
    SHA256_Final(d.byte, &h->ctx);
    SHA256_Init(&h->ctx);
    return d;
}

void tr_hash_destroy(struct tr_hash *h)
{
    free(h);
}

struct tr_digest tr_digest_of(const void *bytes, size_t size)
{
    struct tr_hash h;
    SHA256_Init(&h.ctx);
    tr_hash_put(&h, bytes, size);
    return tr_hash_end(&h);
}

bool tr_digest_equal(const struct tr_digest *a, const struct tr_digest *b)
{
    return memcmp(a->byte, b->byte, sizeof a->byte) == 0;
}

bool tr_digest_is_zero(const struct tr_digest *d)
{
    const struct tr_digest zero = {{0}};
    return tr_digest_equal(d, &zero);
}

void tr_digest_text(const struct tr_digest *d, char out[65])
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof d->byte; i++) {
        out[2 * i] = hex[d->byte[i] >> 4];
        out[2 * i + 1] = hex[d->byte[i] & 15];
    }
    out[64] = 0;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

enum tr_status tr_digest_parse(const char *text, struct tr_digest *out,
                               struct tr_err *err)
{
    for (size_t i = 0; i < sizeof out->byte; i++) {
        int hi = nibble(text[2 * i]);
        int lo = hi < 0 ? -1 : nibble(text[2 * i + 1]);
        if (lo < 0)
            return tr_err_set(err, TR_BADARG, "digest: expected 64 hexadecimal digits");
        out->byte[i] = (unsigned char)(hi << 4 | lo);
    }
    if (text[64]) return tr_err_set(err, TR_BADARG, "digest: more than 64 digits");
    return TR_OK;
}

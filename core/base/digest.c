#include "core/base/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct tr_hash {
    EVP_MD_CTX *ctx; /* owns */
};

static void start(struct tr_hash *h)
{
    /* SHA-256 is built into libcrypto: starting it fails only when memory is out, and create
     * has already started it once. */
    if (EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) abort();
}

enum tr_status tr_hash_create(struct tr_hash **out, struct tr_err *err)
{
    *out = NULL;
    struct tr_hash *h = malloc(sizeof *h);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!h || !ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        free(h);
        return tr_err_set(err, TR_NOMEM, "SHA-256: no memory");
    }
    h->ctx = ctx;
    *out = h;
    return TR_OK;
}

void tr_hash_put(struct tr_hash *h, const void *bytes, size_t size)
{
    if (size && EVP_DigestUpdate(h->ctx, bytes, size) != 1) abort();
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
    if (EVP_DigestFinal_ex(h->ctx, d.byte, NULL) != 1) abort();
    start(h);
    return d;
}

void tr_hash_destroy(struct tr_hash *h)
{
    if (!h) return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

struct tr_digest tr_digest_of(const void *bytes, size_t size)
{
    struct tr_digest d;
    if (EVP_Digest(bytes, size, d.byte, NULL, EVP_sha256(), NULL) != 1) abort();
    return d;
}

bool tr_digest_equal(const struct tr_digest *a, const struct tr_digest *b)
{
    return memcmp(a->byte, b->byte, sizeof a->byte) == 0;
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

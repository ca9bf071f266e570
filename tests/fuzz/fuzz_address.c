/* Any bytes as an address, as a peer may offer one: refused in words, or what parse makes of it can
 * be given on and parsed to the same. Without keys nothing but this host gets through. The
 * resolver is not asked. */
#include <assert.h>
#include <string.h>

#include "proto/address.h"
#include "tests/fuzz/fuzz.h"

static bool same(const struct tr_address *a, const struct tr_address *b)
{
    return strcmp(a->place, b->place) == 0 && strcmp(a->host, b->host) == 0 &&
           a->port == b->port && a->has_key == b->has_key && a->six == b->six &&
           memcmp(&a->key, &b->key, sizeof a->key) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char text[2 * TR_ADDRESS_BYTES] = "", given[TR_ADDRESS_BYTES];
    struct tr_address a, b;
    struct tr_err err = {0};
    memcpy(text, bytes, size < sizeof text ? size : sizeof text - 1);
    if (tr_address_parse(text, false, &a, &err) == TR_OK)
        assert(!a.tcp || a.loopback);
    else
        assert(err.text[0]);
    if (tr_address_parse(text, true, &a, &err) != TR_OK) return 0;
    assert(!a.tcp || (a.port >= 0 && a.port <= 65535 && a.host[0]));
    if (a.every) return 0;
    if (tr_address_give(a.place, a.has_key ? &a.key : NULL, given, NULL) != TR_OK)
        return 0; /* no room */
    assert(tr_address_parse(given, true, &b, NULL) == TR_OK && same(&a, &b));
    return 0;
}

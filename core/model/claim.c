#include "core/model/claim.h"

#include <assert.h>

void *tr_claim_bytes(struct tr_claim *c, size_t bytes)
{
    c->bytes += tr_arena_cost(bytes);
    if (!c->arena) return NULL;
    void *at = tr_arena_take(c->arena, bytes);
    assert(at); /* the counting walk was another one */
    return at;
}

float *tr_claim_floats(struct tr_claim *c, int64_t n)
{
    assert(n >= 0);
    return tr_claim_bytes(c, (size_t)n * sizeof(float));
}

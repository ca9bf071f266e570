/* Any bytes as a .safetensors file: refused in words, or every tensor can be read. */
#include <assert.h>

#include "core/model/safetensors.h"
#include "tests/fuzz/fuzz.h"

static void read_all(const struct tr_st_tensor *t)
{
    float x[64];
    struct tr_err err = {0};
    for (int64_t from = 0; from < t->count && from < 1 << 16; from += 64) {
        int64_t n = t->count - from < 64 ? t->count - from : 64;
        if (tr_st_floats(t, from, n, x, &err) != TR_OK) {
            assert(err.text[0]);
            return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct tr_st *f = NULL;
    struct tr_err err = {0};
    if (tr_st_parse(bytes, size, "fuzz", &f, &err) != TR_OK) {
        assert(!f && err.text[0]);
        return 0;
    }
    for (int64_t i = 0; i < tr_st_count(f); i++) {
        char what[64];
        const struct tr_st_tensor *t = tr_st_get(f, i);
        assert(t->data >= bytes && t->data + t->bytes <= bytes + size);
        assert(tr_st_find(f, t->name) == t);
        tr_st_describe(t, what, sizeof what);
        read_all(t);
    }
    tr_st_close(f);
    return 0;
}

/* Any bytes as a GGUF file: refused in words, or its tensors, architecture and tokenizer can be
 * read (or are refused in words). */
#include <assert.h>

#include "core/model/gguf_blocks.h"
#include "core/model/gguf_import.h"
#include "core/model/gguf_tokenizer.h"
#include "tests/fuzz/fuzz.h"

static void read_all(const struct tr_gguf_tensor *t)
{
    float x[64];
    int64_t block = tr_gguf_layout(t->type)->block;
    for (int64_t from = 0; from < t->count && from < 1 << 16; from += 64) {
        int64_t n = t->count - from < 64 ? (t->count - from) / block * block : 64;
        tr_gguf_floats(t, from, n, x);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct tr_gguf *g = NULL;
    struct tr_arch arch;
    json_t *tokenizer = NULL;
    struct tr_err err = {0};
    if (tr_gguf_parse(bytes, size, "fuzz", &g, &err) != TR_OK) {
        assert(!g && err.text[0]);
        return 0;
    }
    for (int64_t i = 0; i < tr_gguf_count(g); i++) {
        const struct tr_gguf_tensor *t = tr_gguf_get(g, i);
        assert(t->data >= bytes && t->data + t->bytes <= bytes + size);
        assert(tr_gguf_find(g, t->name) == t);
        read_all(t);
    }
    enum tr_status st = tr_gguf_arch(g, &arch, &err);
    assert(st == TR_OK || err.text[0]);
    err = (struct tr_err){0};
    st = tr_gguf_tokenizer(g, 1 << 20, &tokenizer, &err);
    assert(st == TR_OK || (!tokenizer && err.text[0]));
    json_decref(tokenizer);
    tr_gguf_close(g);
    return 0;
}

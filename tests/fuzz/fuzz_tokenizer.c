/* Any bytes as a tokenizer.json: refused in words, or a tokenizer whose ids are in range and
 * whose decoder takes them. */
#include <assert.h>
#include <string.h>

#include "core/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

static void use(const struct tr_tokenizer *t)
{
    static const char text[] =
        "<|im_start|>It's 1234 \xc3\xa9t\xc3\xa9s,\t\r\n  \xe4\xbd\xa0\xe5"
        "\xa5\xbd \xf0\x9f\x98\x80 \xff\xc3 a</s>";
    struct tr_ids ids = {NULL, 0, 0};
    struct tr_buf out;
    struct tr_err err = {0};
    tr_buf_init(&out, 1 << 20);
    enum tr_status st = tr_tokenizer_encode(t, text, sizeof text - 1, &ids, &err);
    assert(st == TR_OK || err.text[0]);
    for (int64_t i = 0; i < ids.count; i++)
        assert(ids.at[i] >= 0 && ids.at[i] < tr_tokenizer_size(t));
    st = tr_tokenizer_decode(t, ids.at, ids.count, false, &out, &err);
    assert(st == TR_OK || err.text[0]);
    tr_buf_fini(&out);
    tr_ids_fini(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct tr_tokenizer *t = NULL;
    struct tr_err err = {0};
    if (tr_tokenizer_parse((const char *)bytes, size, "fuzz", &t, &err) != TR_OK) {
        assert(!t && err.text[0]);
        return 0;
    }
    use(t);
    tr_tokenizer_close(t);
    return 0;
}

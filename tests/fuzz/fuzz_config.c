/* Any bytes as a config.json: refused in words, or an architecture with bounded sizes that
 * survives being written and read again. */
#include <assert.h>

#include "core/base/json.h"
#include "core/model/params.h"
#include "tests/fuzz/fuzz.h"

static void write_again(const struct tr_arch *a)
{
    struct tr_arch b;
    json_t *config = NULL;
    struct tr_err err = {0};
    if (tr_arch_config(a, &config, &err) != TR_OK) {
        assert(!config && err.text[0]);
        return;
    }
    enum tr_status st = tr_arch_parse(config, "again", &b, &err);
    assert(st == TR_OK && a->V == b.V && a->d == b.d && a->L == b.L && a->D == b.D);
    json_decref(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    json_t *config = NULL;
    struct tr_arch a;
    struct tr_params *params = NULL;
    struct tr_err err = {0};
    enum tr_status st = tr_json_parse((const char *)bytes, size, "fuzz", &config, &err);
    if (st == TR_OK) st = tr_arch_parse(config, "fuzz", &a, &err);
    assert(st == TR_OK || err.text[0]);
    json_decref(config);
    if (st != TR_OK) return 0;
    write_again(&a);
    if (tr_params_create(&a, true, true, &params, &err) == TR_OK)
        assert(tr_params_total(params) > 0);
    tr_params_destroy(params);
    return 0;
}

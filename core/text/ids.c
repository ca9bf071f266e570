#include <stdlib.h>
#include <string.h>

#include "core/text/tokenizer.h"

enum tr_status tr_ids_put(struct tr_ids *ids, const int32_t *at, int64_t count,
                          struct tr_err *err)
{
    if (count > ids->room - ids->count) {
        int64_t room = ids->room ? ids->room * 2 : 64;
        while (room < ids->count + count) room *= 2;
        int32_t *grown = realloc(ids->at, (size_t)room * sizeof *grown);
        if (!grown) return tr_err_set(err, TR_NOMEM, "token ids: %lld", (long long)room);
        ids->at = grown;
        ids->room = room;
    }
    if (count > 0) memcpy(ids->at + ids->count, at, (size_t)count * sizeof *at);
    ids->count += count;
    return TR_OK;
}

void tr_ids_fini(struct tr_ids *ids)
{
    free(ids->at);
    *ids = (struct tr_ids){0};
}

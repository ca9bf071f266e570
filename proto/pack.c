#include "proto/pack.h"

#include <string.h>

/* The limit falls to the size at the first refusal: nothing gets in any more. */
static int write_buf(void *at, const char *bytes, size_t size)
{
    struct tr_buf *buf = at;
    if (tr_buf_put(buf, bytes, size, NULL) == TR_OK) return 0;
    buf->limit = buf->size;
    return -1;
}

void tr_pack_start(msgpack_packer *pk, struct tr_buf *buf, size_t limit)
{
    tr_buf_init(buf, limit);
    msgpack_packer_init(pk, buf, write_buf);
}

void tr_pack_text(msgpack_packer *pk, const char *text)
{
    size_t size = strlen(text);
    msgpack_pack_str(pk, size);
    msgpack_pack_str_body(pk, text, size);
}

void tr_pack_raw(struct tr_buf *buf, const void *bytes, size_t size)
{
    (void)write_buf(buf, bytes, size);
}

bool tr_pack_full(const struct tr_buf *buf, size_t limit)
{
    return buf->limit < limit;
}

const msgpack_object *tr_map_find(const msgpack_object *map, const char *key)
{
    size_t size = strlen(key);
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object *k = &map->via.map.ptr[i].key;
        if (k->type == MSGPACK_OBJECT_STR && k->via.str.size == size &&
            memcmp(k->via.str.ptr, key, size) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

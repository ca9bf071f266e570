#include "core/model/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cgroup.h"

enum { MAX_PATH = 4096 };

static const double gib = 1073741824.0;

void tr_memory_add(struct tr_memory *m, const char *name, size_t bytes)
{
    if (!bytes) return;
    assert(m->n < TR_MEMORY_ITEMS);
    m->item[m->n].name = name;
    m->item[m->n].bytes = bytes;
    m->n++;
    m->total += bytes;
}

void tr_memory_estimate(const struct tr_memory_use *use, struct tr_memory *out)
{
    const struct tr_arch *a = tr_params_arch(use->params);
    const size_t flat = (size_t)tr_params_total(use->params) * sizeof(float);
    const size_t embed =
        (size_t)tr_params_outer(use->params)->embed->size * sizeof(float);
    *out = (struct tr_memory){0};
    if (use->training) {
        tr_memory_add(out, "masters", flat);
        tr_memory_add(out, "moments", 2 * flat);
        tr_memory_add(out, "gradients", flat);
        tr_memory_add(out, "tied embedding", a->tied ? embed : 0);
    }
    if (!use->training || use->bf16)
        tr_memory_add(out, "weights", tr_weights_bytes(use->params, use->bf16));
    if (use->trunk) tr_memory_add(out, "activations", tr_trunk_bytes(a, use->trunk));
    if (use->head_rows) tr_memory_add(out, "logits", tr_head_bytes(a, use->head_rows));
    if (use->decode) tr_memory_add(out, "KV cache", tr_decode_bytes(a, use->decode));
}

void tr_memory_text(const struct tr_memory *m, char *out, size_t size)
{
    size_t at = 0;
    int n = snprintf(out, size, "%.2f GiB (", (double)m->total / gib);
    for (int64_t i = 0; n >= 0 && i <= m->n; i++) {
        at += (size_t)n;
        if (at >= size) return;
        n = i == m->n ? snprintf(out + at, size - at, ")")
                      : snprintf(out + at, size - at, "%s%s %.2f", i ? ", " : "",
                                 m->item[i].name, (double)m->item[i].bytes / gib);
    }
}

enum tr_status tr_memory_check(const struct tr_memory *m, size_t available,
                               struct tr_err *err)
{
    char text[200];
    if (m->total <= available) return TR_OK;
    tr_memory_text(m, text, sizeof text);
    return tr_err_set(err, TR_NOMEM, "needs %s, the host has %.2f GiB free", text,
                      (double)available / gib);
}

/* The number after `key` at the start of a line of text. */
static bool number_after(const char *text, const char *key, uint64_t *out)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, n) != 0) continue;
        char *end = NULL;
        *out = strtoull(line + n, &end, 10);
        return end != line + n;
    }
    return false;
}

/* The first number of such a file, or that after `key`. False when there is none: no file, or
 * "max". */
static bool read_number(const char *dir, const char *name, const char *key, uint64_t *out)
{
    char text[TR_CGROUP_TEXT];
    return tr_cgroup_read(dir, name, text) && number_after(text, key, out);
}

/* Where a version of control groups keeps its numbers. */
struct layout {
    const char *limit, *usage, *cache_key;
};

/* Lowers *ctx to what this group leaves, if it says anything. */
static void least_left(void *ctx, const char *dir, int version)
{
    static const struct layout v1 = {"memory.limit_in_bytes", "memory.usage_in_bytes",
                                     "total_inactive_file "};
    static const struct layout v2 = {"memory.max", "memory.current", "inactive_file "};
    const struct layout *g = version == 2 ? &v2 : &v1;
    size_t *least = ctx;
    uint64_t limit = 0;
    uint64_t usage = 0;
    uint64_t cache = 0;
    if (!read_number(dir, g->limit, "", &limit) ||
        !read_number(dir, g->usage, "", &usage))
        return;
    read_number(dir, "memory.stat", g->cache_key, &cache);
    usage = usage > cache ? usage - cache : 0;
    size_t left = limit > usage ? (size_t)(limit - usage) : 0;
    if (left < *least) *least = left;
}

enum tr_status tr_memory_available(const char *root, size_t *out, struct tr_err *err)
{
    char dir[MAX_PATH];
    uint64_t kib = 0;
    snprintf(dir, sizeof dir, "%s/proc", root);
    if (!read_number(dir, "meminfo", "MemAvailable:", &kib))
        return tr_err_set(err, TR_IO, "%s/meminfo: expected MemAvailable, found none",
                          dir);
    *out = (size_t)kib * 1024;
    tr_cgroup_walk(root, "memory", least_left, out);
    return TR_OK;
}

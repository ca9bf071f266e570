#include "core/model/memory.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 1 << 16, MAX_PATH = 4096 };

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

/* The start of a file of the kernel's, whose size stat does not tell. */
static bool read_text(const char *dir, const char *name, char text[MAX_FILE])
{
    char path[2 * MAX_PATH];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    text[fread(text, 1, MAX_FILE - 1, f)] = 0;
    return fclose(f) == 0;
}

/* The first number of such a file, or that after `key`. False when there is none: no file, or
 * "max". */
static bool read_number(const char *dir, const char *name, const char *key, uint64_t *out)
{
    char text[MAX_FILE];
    return read_text(dir, name, text) && number_after(text, key, out);
}

/* Where a kind of cgroup keeps its numbers. */
struct layout {
    const char *mount, *limit, *usage, *cache_key;
};
static const struct layout v2 = {"sys/fs/cgroup", "memory.max", "memory.current",
                                 "inactive_file "};
static const struct layout v1 = {"sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                 "memory.usage_in_bytes", "total_inactive_file "};

/* What this group leaves, or SIZE_MAX when it says nothing. */
static size_t left_in(const char *dir, const struct layout *g)
{
    uint64_t limit = 0;
    uint64_t usage = 0;
    uint64_t cache = 0;
    if (!read_number(dir, g->limit, "", &limit) ||
        !read_number(dir, g->usage, "", &usage))
        return SIZE_MAX;
    read_number(dir, "memory.stat", g->cache_key, &cache);
    usage = usage > cache ? usage - cache : 0;
    return limit > usage ? (size_t)(limit - usage) : 0;
}

/* The least over the group at `path` and all above it. A container that sees its own group as
 * the root finds it at the mount itself; a path that is not there says nothing. */
static size_t left_along(const char *root, const char *path, const struct layout *g)
{
    char dir[MAX_PATH];
    size_t least = SIZE_MAX;
    int mount = snprintf(dir, sizeof dir, "%s/%s", root, g->mount);
    if (mount < 0 || (size_t)mount + strlen(path) >= sizeof dir) return least;
    memcpy(dir + mount, path, strlen(path) + 1);
    for (;;) {
        size_t left = left_in(dir, g);
        if (left < least) least = left;
        char *slash = strrchr(dir + mount, '/');
        if (!slash) return least;
        *slash = 0;
    }
}

/* A line of /proc/self/cgroup: "0::/path" (v2) or "N:a,memory,b:/path" (v1). */
static size_t left_by_line(const char *root, char *line)
{
    char *lists = strchr(line, ':');
    char *path = lists ? strchr(lists + 1, ':') : NULL;
    if (!path) return SIZE_MAX;
    *path++ = 0;
    lists++;
    if (!*lists) return left_along(root, path, &v2);
    for (char *rest = lists, *name; (name = strsep(&rest, ","));)
        if (!strcmp(name, "memory")) return left_along(root, path, &v1);
    return SIZE_MAX;
}

enum tr_status tr_memory_available(const char *root, size_t *out, struct tr_err *err)
{
    char dir[MAX_PATH];
    char text[MAX_FILE];
    uint64_t kib = 0;
    snprintf(dir, sizeof dir, "%s/proc", root);
    if (!read_number(dir, "meminfo", "MemAvailable:", &kib))
        return tr_err_set(err, TR_IO, "%s/meminfo: expected MemAvailable, found none",
                          dir);
    *out = (size_t)kib * 1024;
    if (!read_text(dir, "self/cgroup", text)) return TR_OK;
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        size_t left = left_by_line(root, line);
        if (left < *out) *out = left;
    }
    return TR_OK;
}

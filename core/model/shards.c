#include "core/model/shards.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"

enum { MAX_SHARDS = 1000, PATH_ROOM = 4096 };

struct shard {
    char name[256];
    struct tr_st *st; /* owns */
};

struct tr_shards {
    json_t *index;       /* owns; NULL for one file */
    json_t *map;         /* borrows from index: tensor name to file name */
    struct shard *shard; /* owns; sorted by name */
    int count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct shard *)a)->name, ((const struct shard *)b)->name);
}

static int number_of(const struct tr_shards *s, const char *file)
{
    struct shard key;
    if (!s->count || strlen(file) >= sizeof key.name) return -1;
    snprintf(key.name, sizeof key.name, "%s", file);
    const struct shard *at =
        bsearch(&key, s->shard, (size_t)s->count, sizeof key, by_name);
    return at ? (int)(at - s->shard) : -1;
}

/* A file name that cannot lead out of the folder. */
static bool is_plain(const char *file)
{
    size_t size = strlen(file);
    static const char suffix[] = ".safetensors";
    size_t tail = sizeof suffix - 1;
    return size > tail && size < sizeof(((struct shard *)0)->name) && file[0] != '.' &&
           !strchr(file, '/') && !strcmp(file + size - tail, suffix);
}

/* The distinct file names of the weight_map, sorted. */
static enum tr_status collect(const char *path, struct tr_shards *s, struct tr_err *err)
{
    const char *name = NULL;
    json_t *file = NULL;
    json_object_foreach(s->map, name, file)
    {
        const char *text = json_string_value(file);
        if (!text || !is_plain(text) || strlen(text) != json_string_length(file))
            return tr_err_set(
                err, TR_BADARG,
                "%s: tensor %.80s: expected the name of a .safetensors file "
                "in the folder, found %.60s",
                path, name, text ? text : tr_json_kind(file));
        if (number_of(s, text) >= 0) continue;
        if (s->count == MAX_SHARDS)
            return tr_err_set(err, TR_BADARG, "%s: expected at most %d files", path,
                              MAX_SHARDS);
        if ((s->count & (s->count - 1)) == 0) { /* room doubles at powers of two */
            size_t room = s->count ? 2 * (size_t)s->count : 1;
            struct shard *more = realloc(s->shard, room * sizeof *more);
            if (!more) return tr_err_set(err, TR_NOMEM, "%s: %zu files", path, room);
            s->shard = more;
        }
        struct shard *last = &s->shard[s->count++];
        *last = (struct shard){.st = NULL};
        snprintf(last->name, sizeof last->name, "%s", text);
        qsort(s->shard, (size_t)s->count, sizeof *s->shard, by_name);
    }
    return TR_OK;
}

static enum tr_status open_files(const char *dir, struct tr_shards *s, struct tr_err *err)
{
    char path[PATH_ROOM];
    enum tr_status st = TR_OK;
    for (int i = 0; i < s->count && st == TR_OK; i++) {
        st = tr_path_join(path, sizeof path, dir, s->shard[i].name, err);
        if (st == TR_OK) st = tr_st_open(path, &s->shard[i].st, err);
    }
    return st;
}

static enum tr_status check_map(const char *path, const struct tr_shards *s,
                                struct tr_err *err)
{
    const char *name = NULL;
    json_t *file = NULL;
    json_object_foreach(s->map, name, file)
    {
        if (!tr_shards_find(s, name, NULL))
            return tr_err_set(err, TR_BADARG,
                              "%s: tensor %.100s: expected in %.80s, found nothing", path,
                              name, json_string_value(file));
    }
    return TR_OK;
}

static enum tr_status open_indexed(const char *dir, const char *path, struct tr_shards *s,
                                   struct tr_err *err)
{
    enum tr_status st = tr_json_load(path, (size_t)64 << 20, &s->index, err);
    if (st != TR_OK) return st;
    s->map = json_object_get(s->index, "weight_map");
    if (!json_is_object(s->map))
        return tr_err_set(err, TR_BADARG, "%s: weight_map: expected an object, found %s",
                          path, tr_json_kind(s->map));
    st = collect(path, s, err);
    if (st == TR_OK) st = open_files(dir, s, err);
    if (st == TR_OK) st = check_map(path, s, err);
    return st;
}

static enum tr_status open_single(const char *dir, struct tr_shards *s,
                                  struct tr_err *err)
{
    s->shard = calloc(1, sizeof *s->shard);
    if (!s->shard) return tr_err_set(err, TR_NOMEM, "%s: one file", dir);
    snprintf(s->shard->name, sizeof s->shard->name, "model.safetensors");
    s->count = 1;
    return open_files(dir, s, err);
}

enum tr_status tr_shards_open(const char *dir, struct tr_shards **out, struct tr_err *err)
{
    char single[PATH_ROOM];
    char index[PATH_ROOM];
    *out = NULL;
    enum tr_status st =
        tr_path_join(single, sizeof single, dir, "model.safetensors", err);
    if (st == TR_OK)
        st = tr_path_join(index, sizeof index, dir, "model.safetensors.index.json", err);
    if (st != TR_OK) return st;
    struct tr_shards *s = calloc(1, sizeof *s);
    if (!s) return tr_err_set(err, TR_NOMEM, "%s: %zu bytes", dir, sizeof *s);
    if (tr_path_exists(single))
        st = open_single(dir, s, err);
    else if (tr_path_exists(index))
        st = open_indexed(dir, index, s, err);
    else
        st = tr_err_set(err, TR_BADARG,
                        "%s: expected model.safetensors or model.safetensors.index.json, "
                        "found neither",
                        dir);
    if (st == TR_OK)
        *out = s;
    else
        tr_shards_close(s);
    return st;
}

void tr_shards_close(struct tr_shards *s)
{
    if (!s) return;
    for (int i = 0; i < s->count; i++) tr_st_close(s->shard[i].st);
    free(s->shard);
    json_decref(s->index);
    free(s);
}

int tr_shards_count(const struct tr_shards *s)
{
    return s->count;
}

const char *tr_shards_name(const struct tr_shards *s, int i)
{
    assert(i >= 0 && i < s->count);
    return s->shard[i].name;
}

const struct tr_st *tr_shards_file(const struct tr_shards *s, int i)
{
    assert(i >= 0 && i < s->count);
    return s->shard[i].st;
}

const json_t *tr_shards_index(const struct tr_shards *s)
{
    return s->index;
}

const struct tr_st_tensor *tr_shards_find(const struct tr_shards *s, const char *name,
                                          int *file)
{
    int i = 0;
    if (s->map) {
        const char *in = json_string_value(json_object_get(s->map, name));
        i = in ? number_of(s, in) : -1;
        if (i < 0) return NULL;
    }
    if (file) *file = i;
    return tr_st_find(s->shard[i].st, name);
}

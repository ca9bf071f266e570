#include "core/model/cache.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/file.h"

enum { PATH_ROOM = 4096, SETTLED_SECONDS = 2 };

bool tr_cache_dir(char *out, size_t size)
{
    const char *cache =
        getenv("XDG_CACHE_HOME");      // NOLINT(concurrency-mt-unsafe): only read
    const char *home = getenv("HOME"); // NOLINT(concurrency-mt-unsafe): only read
    int n = -1;
    if (cache && cache[0] == '/') /* the specification ignores relative ones */
        n = snprintf(out, size, "%s/troupe", cache);
    else if (home && home[0] == '/')
        n = snprintf(out, size, "%s/.cache/troupe", home);
    return n > 0 && (size_t)n < size;
}

static bool is_model_file(const char *name)
{
    static const char suffix[] = ".safetensors";
    size_t size = strlen(name);
    size_t tail = sizeof suffix - 1;
    return !strcmp(name, "config.json") ||
           !strcmp(name, "model.safetensors.index.json") ||
           (size > tail && !strcmp(name + size - tail, suffix));
}

static int select_model_file(const struct dirent *e)
{
    return is_model_file(e->d_name);
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void put_text(struct tr_hash *h, const char *text)
{
    tr_hash_put_u64(h, strlen(text));
    tr_hash_put(h, text, strlen(text));
}

static enum tr_status put_file(struct tr_hash *h, const char *real, const char *name,
                               int64_t now, struct tr_cache_key *key, struct tr_err *err)
{
    char path[PATH_ROOM];
    struct stat sb;
    enum tr_status st = tr_path_join(path, sizeof path, real, name, err);
    if (st != TR_OK) return st;
    if (stat(path, &sb) != 0)
        return tr_err_set(err, TR_IO, "%s: %s", path, tr_err_cause(errno));
    put_text(h, path);
    tr_hash_put_u64(h, (uint64_t)sb.st_dev);
    tr_hash_put_u64(h, (uint64_t)sb.st_ino);
    tr_hash_put_u64(h, (uint64_t)sb.st_size);
    tr_hash_put_u64(h, (uint64_t)sb.st_mtim.tv_sec);
    tr_hash_put_u64(h, (uint64_t)sb.st_mtim.tv_nsec);
    if (sb.st_mtim.tv_sec > now - SETTLED_SECONDS) key->settled = false;
    return TR_OK;
}

enum tr_status tr_cache_key(const char *dir, const char *what, int64_t now,
                            struct tr_cache_key *out, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int count = 0;
    char *real = NULL;
    struct tr_hash *h = NULL;
    struct dirent **entry = NULL;
    *out = (struct tr_cache_key){.settled = true};
    real = realpath(dir, NULL);
    count = real ? scandir(real, &entry, select_model_file, by_bytes) : -1;
    if (count < 0) {
        st = tr_err_set(err, TR_IO, "%s: %s", dir, tr_err_cause(errno));
        goto done;
    }
    st = tr_hash_create(&h, err);
    if (st != TR_OK) goto done;
    put_text(h, "troupe folder digest 1");
    put_text(h, what);
    for (int i = 0; i < count && st == TR_OK; i++)
        st = put_file(h, real, entry[i]->d_name, now, out, err);
    out->id = tr_hash_end(h);

done:
    for (int i = 0; i < count; i++) free(entry[i]);
    free(entry);
    free(real);
    tr_hash_destroy(h);
    return st;
}

/* CACHE/digests, and in it the file of a key. */
static bool paths_of(const char *cache, const struct tr_cache_key *key, char *dir,
                     char *file)
{
    char id[65];
    tr_digest_text(&key->id, id);
    return tr_path_join(dir, PATH_ROOM, cache, "digests", NULL) == TR_OK &&
           tr_path_join(file, PATH_ROOM, dir, id, NULL) == TR_OK;
}

bool tr_cache_get(const char *cache, const struct tr_cache_key *key,
                  struct tr_digest *out)
{
    char dir[PATH_ROOM];
    char file[PATH_ROOM];
    struct tr_buf text;
    if (!key->settled || !paths_of(cache, key, dir, file)) return false;
    if (tr_file_read(file, 64, &text, NULL) != TR_OK) return false;
    bool found =
        text.size == 64 && tr_digest_parse(tr_buf_text(&text), out, NULL) == TR_OK;
    tr_buf_fini(&text);
    return found;
}

void tr_cache_put(const char *cache, const struct tr_cache_key *key,
                  const struct tr_digest *value)
{
    char dir[PATH_ROOM];
    char file[PATH_ROOM];
    char text[65];
    if (!key->settled || !paths_of(cache, key, dir, file)) return;
    tr_digest_text(value, text);
    if (tr_dir_make(dir, NULL) == TR_OK) tr_file_write(file, text, 64, NULL);
}

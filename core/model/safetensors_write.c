/* Writing a .safetensors file: the header when all tensors are declared, then their bytes as
 * they come. stdio gathers the many small ones (norms) into large writes. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/safetensors.h"

struct tr_st_writer {
    char *path, *part; /* own */
    FILE *file;        /* owns */
    uint64_t left;     /* bytes declared and not yet put */
};

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct tr_st_tensor *const *)a)->name,
                  (*(const struct tr_st_tensor *const *)b)->name);
}

static size_t bytes_of(const struct tr_st_tensor *t)
{
    if (t->dtype == TR_ST_OTHER) return t->bytes;
    size_t bytes = tr_st_dtype_width(t->dtype);
    for (int i = 0; i < t->rank; i++) bytes *= (size_t)t->shape[i];
    return bytes;
}

/* {"dtype": .., "shape": [..], "data_offsets": [begin, end]} */
static json_t *entry_of(const struct tr_st_tensor *t, uint64_t begin)
{
    const char *dtype =
        t->dtype == TR_ST_OTHER ? t->dtype_name : tr_st_dtype_name(t->dtype);
    uint64_t end = begin + bytes_of(t);
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer(t->shape[i]));
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype, "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/* The header as text, padded with spaces so that the data begins at a multiple of 8. */
static enum tr_status header_text(const char *path, const struct tr_st_tensor *tensors,
                                  int64_t count, const char *format, struct tr_buf *out,
                                  uint64_t *total, struct tr_err *err)
{
    enum tr_status st = TR_NOMEM;
    char *text = NULL;
    json_t *header = json_object();
    const struct tr_st_tensor **sorted = malloc(sizeof(void *) * ((size_t)count + 1));
    if (!header || !sorted) goto done;
    for (int64_t i = 0; i < count; i++) sorted[i] = &tensors[i];
    qsort(sorted, (size_t)count, sizeof(void *), by_name);
    if (format && json_object_set_new(header, "__metadata__",
                                      json_pack("{s:s}", "format", format)) != 0)
        goto done;
    *total = 0;
    for (int64_t i = 0; i < count; i++) {
        const char *name = sorted[i]->name;
        if (json_object_get(header, name)) {
            st = tr_err_set(err, TR_BADARG, "%s: tensor %.100s declared twice", path,
                            name);
            goto done;
        }
        if (json_object_set_new(header, name, entry_of(sorted[i], *total)) != 0)
            goto done;
        *total += bytes_of(sorted[i]);
    }
    text = json_dumps(header, JSON_COMPACT);
    if (!text) goto done;
    st = tr_buf_puts(out, text, err);
    while (st == TR_OK && out->size % 8) st = tr_buf_puts(out, " ", err);
done:
    if (st == TR_NOMEM && !text)
        tr_err_set(err, st, "%s: header of %lld tensors", path, (long long)count);
    free(text);
    json_decref(header);
    free(sorted);
    return st;
}

void tr_st_abandon(struct tr_st_writer *w)
{
    if (!w) return;
    if (w->file) {
        fclose(w->file);
        unlink(w->part);
    }
    free(w->part);
    free(w->path);
    free(w);
}

static enum tr_status open_part(const char *path, struct tr_st_writer **out,
                                struct tr_err *err)
{
    size_t room = strlen(path) + sizeof ".part";
    struct tr_st_writer *w = calloc(1, sizeof *w);
    if (w) w->path = strdup(path);
    if (w) w->part = malloc(room);
    if (!w || !w->path || !w->part) {
        tr_st_abandon(w);
        return tr_err_set(err, TR_NOMEM, "%s: %zu bytes", path, room);
    }
    snprintf(w->part, room, "%s.part", path);
    w->file = fopen(w->part, "wbe");
    if (!w->file) {
        enum tr_status st =
            tr_err_set(err, TR_IO, "%s: %s", w->part, tr_err_cause(errno));
        tr_st_abandon(w);
        return st;
    }
    *out = w;
    return TR_OK;
}

enum tr_status tr_st_create(const char *path, const struct tr_st_tensor *tensors,
                            int64_t count, const char *metadata_format,
                            struct tr_st_writer **out, struct tr_err *err)
{
    uint64_t total = 0;
    struct tr_buf header;
    unsigned char size[8];
    struct tr_st_writer *w = NULL;
    *out = NULL;
    tr_buf_init(&header, (size_t)100000000);
    enum tr_status st =
        header_text(path, tensors, count, metadata_format, &header, &total, err);
    if (st == TR_OK) st = open_part(path, &w, err);
    if (st != TR_OK) goto done;
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)((uint64_t)header.size >> (8 * i));
    w->left = total + sizeof size + header.size;
    st = tr_st_put(w, size, sizeof size, err);
    if (st == TR_OK) st = tr_st_put(w, header.at, header.size, err);
    if (st != TR_OK) goto done;
    *out = w;
    w = NULL;
done:
    tr_st_abandon(w);
    tr_buf_fini(&header);
    return st;
}

enum tr_status tr_st_put(struct tr_st_writer *w, const void *bytes, size_t size,
                         struct tr_err *err)
{
    assert(size <= w->left);
    w->left -= size;
    if (size && fwrite(bytes, 1, size, w->file) != size)
        return tr_err_set(err, TR_IO, "%s: cannot write: %s", w->part,
                          tr_err_cause(errno));
    return TR_OK;
}

/* The folder that holds path: its entry for the new name has to last too. */
static enum tr_status sync_parent(char *path, struct tr_err *err)
{
    char *slash = strrchr(path, '/');
    if (!slash) return tr_dir_sync(".", err);
    if (slash == path) return tr_dir_sync("/", err);
    *slash = 0;
    return tr_dir_sync(path, err);
}

enum tr_status tr_st_finish(struct tr_st_writer *w, struct tr_err *err)
{
    assert(w->left == 0);
    enum tr_status st = TR_OK;
    if (fflush(w->file) != 0 || fsync(fileno(w->file)) != 0)
        st = tr_err_set(err, TR_IO, "%s: cannot write: %s", w->part, tr_err_cause(errno));
    if (st == TR_OK) {
        int rc = fclose(w->file);
        w->file = NULL; /* closed even when it failed */
        if (rc != 0 || rename(w->part, w->path) != 0) {
            st = tr_err_set(err, TR_IO, "%s: cannot write: %s", w->path,
                            tr_err_cause(errno));
            unlink(w->part);
        }
    }
    if (st == TR_OK) st = sync_parent(w->path, err);
    tr_st_abandon(w);
    return st;
}

#include "core/text/records.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"

enum { PATH = 4096 };

enum kind { ARRAY, LINES, TEXT };

struct tr_records {
    char **file; /* owns, [files], in reading order */
    size_t files, next_file;
    enum kind kind;
    struct tr_map map; /* LINES and TEXT: the open file */
    size_t at;         /* the next byte of map */
    json_t *array;     /* ARRAY: the open file */
    json_t *record;    /* owns: the record handed out, of LINES and TEXT */
    size_t number;     /* of the last record in its file, from 1 */
    char where[PATH + 64];
};

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

static enum tr_status add_file(struct tr_records *r, const char *path, struct tr_err *err)
{
    char **file = realloc(r->file, (r->files + 1) * sizeof *file);
    if (file) r->file = file;
    if (!file || !(r->file[r->files] = strdup(path)))
        return tr_err_set(err, TR_NOMEM, "%s: its name", path);
    r->files++;
    return TR_OK;
}

static int is_visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static enum tr_status add_folder(struct tr_records *r, const char *path,
                                 struct tr_err *err)
{
    struct dirent **entry = NULL;
    enum tr_status st = TR_OK;
    int n = scandir(path, &entry, is_visible, alphasort);
    if (n < 0) return tr_err_set(err, TR_IO, "%s: can't be read", path);
    for (int i = 0; i < n; i++) {
        char full[PATH];
        if (st == TR_OK)
            st = tr_path_join(full, sizeof full, path, entry[i]->d_name, err);
        if (st == TR_OK) st = add_file(r, full, err);
        free(entry[i]);
    }
    free(entry);
    if (st == TR_OK && n == 0) st = tr_err_set(err, TR_BADARG, "%s: no file in it", path);
    return st;
}

/* All files have the type of the first. */
static enum tr_status check_types(const struct tr_records *r, struct tr_err *err)
{
    static const char *const known[] = {".jsonl", ".json", ".txt"};
    const char *type = NULL;
    for (size_t i = 0; i < r->files; i++) {
        const char *mine = NULL;
        for (size_t k = 0; k < 3 && !mine; k++)
            if (ends_with(r->file[i], known[k])) mine = k < 2 ? "json" : "txt";
        if (!mine)
            return tr_err_set(
                err, TR_BADARG,
                "%s: its type is not read; known are .json, .jsonl and .txt (csv, "
                "parquet and arrow come later)",
                r->file[i]);
        if (type && strcmp(type, mine) != 0)
            return tr_err_set(err, TR_BADARG,
                              "%s: the files of a folder must have one type", r->file[i]);
        type = mine;
    }
    return TR_OK;
}

enum tr_status tr_records_open(const char *path, struct tr_records **out,
                               struct tr_err *err)
{
    struct tr_records *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return tr_err_set(err, TR_NOMEM, "%s: a reader", path);
    enum tr_status st =
        tr_path_is_dir(path) ? add_folder(r, path, err) : add_file(r, path, err);
    if (st == TR_OK) st = check_types(r, err);
    if (st == TR_OK) {
        *out = r;
        r = NULL;
    }
    tr_records_close(r);
    return st;
}

static void close_file(struct tr_records *r)
{
    json_decref(r->array);
    json_decref(r->record);
    r->array = r->record = NULL;
    tr_map_close(&r->map);
    r->map = (struct tr_map){0};
}

static bool is_space(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Maps the next file; an array is parsed whole, lines are parsed as they are asked for. */
static enum tr_status open_file(struct tr_records *r, struct tr_err *err)
{
    const char *path = r->file[r->next_file++];
    close_file(r);
    r->number = r->at = 0;
    enum tr_status st = tr_map_open(path, &r->map, err);
    if (st != TR_OK) return st;
    if (r->map.size >= 3 && memcmp(r->map.at, "\xEF\xBB\xBF", 3) == 0) r->at = 3;
    r->kind = TEXT;
    if (ends_with(path, ".txt")) return TR_OK;
    size_t first = r->at;
    while (first < r->map.size && is_space(r->map.at[first])) first++;
    r->kind = first < r->map.size && r->map.at[first] == '[' ? ARRAY : LINES;
    if (r->kind == LINES) return TR_OK;
    st = tr_json_parse((const char *)r->map.at + first, r->map.size - first, path,
                       &r->array, err);
    tr_map_close(&r->map);
    r->map = (struct tr_map){0};
    return st;
}

/* The next line without its end; false at the end of the file. Texts also end at a lone \r, as
 * Python's universal newlines do. */
static bool next_line(struct tr_records *r, const char **line, size_t *size)
{
    const char *text = (const char *)r->map.at;
    if (r->at >= r->map.size) return false;
    size_t begin = r->at, end = begin;
    while (end < r->map.size && text[end] != '\n' &&
           !(r->kind == TEXT && text[end] == '\r'))
        end++;
    r->at = end + 1;
    if (end + 1 < r->map.size && text[end] == '\r' && text[end + 1] == '\n') r->at++;
    *line = text + begin;
    *size = end - begin;
    return true;
}

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!is_space((unsigned char)line[i])) return false;
    return true;
}

/* The next record of the open file, or NULL. */
static enum tr_status from_file(struct tr_records *r, const json_t **out,
                                struct tr_err *err)
{
    const char *line;
    size_t size;
    if (r->kind == ARRAY) {
        *out = json_array_get(r->array, r->number);
        if (*out) r->number++;
        return TR_OK;
    }
    json_decref(r->record);
    r->record = NULL;
    do {
        if (!next_line(r, &line, &size)) return TR_OK;
    } while (r->kind == LINES && is_blank(line, size));
    r->number++;
    if (r->kind == LINES) {
        enum tr_status st =
            tr_json_parse(line, size, tr_records_where(r), &r->record, err);
        *out = r->record;
        return st;
    }
    r->record = json_pack("{s:o}", "text", json_stringn(line, size));
    *out = r->record;
    if (*out) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%s: not valid UTF-8", tr_records_where(r));
}

enum tr_status tr_records_next(struct tr_records *r, const json_t **out,
                               struct tr_err *err)
{
    enum tr_status st = TR_OK;
    *out = NULL;
    while (st == TR_OK) {
        if (r->map.at || r->array) st = from_file(r, out, err);
        if (st != TR_OK || *out || r->next_file == r->files) break;
        st = open_file(r, err);
    }
    if (st == TR_OK && *out && !json_is_object(*out))
        return tr_err_set(err, TR_BADARG, "%s: expected an object, found %s",
                          tr_records_where(r), tr_json_kind(*out));
    return st;
}

const char *tr_records_where(struct tr_records *r)
{
    const char *file = r->next_file ? r->file[r->next_file - 1] : r->file[0];
    int n = snprintf(r->where, sizeof r->where, "%s: record %zu", file, r->number);
    return n > 0 ? r->where : file;
}

void tr_records_close(struct tr_records *r)
{
    if (!r) return;
    close_file(r);
    for (size_t i = 0; i < r->files; i++) free(r->file[i]);
    free(r->file);
    free(r);
}

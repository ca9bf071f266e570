#include "core/text/dataset.h"

#include <stdio.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"

enum { PATH = 4096, LIMIT = 64 << 20 };

static const struct name {
    const char *key, *otherwise; /* otherwise: its value when there is no object at all */
} columns[TR_COLUMNS] = {
    [TR_COL_PROMPT] = {"prompt", "instruction"},
    [TR_COL_QUERY] = {"query", "input"},
    [TR_COL_RESPONSE] = {"response", "output"},
    [TR_COL_HISTORY] = {"history", NULL},
    [TR_COL_MESSAGES] = {"messages", "conversations"},
    [TR_COL_SYSTEM] = {"system", NULL},
    [TR_COL_TOOLS] = {"tools", NULL},
    [TR_COL_CHOSEN] = {"chosen", NULL},
    [TR_COL_REJECTED] = {"rejected", NULL},
    [TR_COL_KTO_TAG] = {"kto_tag", NULL},
    [TR_COL_IMAGES] = {"images", NULL},
    [TR_COL_VIDEOS] = {"videos", NULL},
    [TR_COL_AUDIOS] = {"audios", NULL},
};

static const struct name tags[TR_TAGS] = {
    [TR_TAG_ROLE] = {"role_tag", "from"},
    [TR_TAG_CONTENT] = {"content_tag", "value"},
    [TR_TAG_USER] = {"user_tag", "human"},
    [TR_TAG_ASSISTANT] = {"assistant_tag", "gpt"},
    [TR_TAG_OBSERVATION] = {"observation_tag", "observation"},
    [TR_TAG_FUNCTION] = {"function_tag", "function_call"},
    [TR_TAG_SYSTEM] = {"system_tag", "system"},
};

/* Fills out from the object `key` of the entry, or with the defaults when there is none. */
static enum tr_status load_names(const json_t *entry, const char *key, const char *where,
                                 const struct name *names, int count, const char **out,
                                 struct tr_err *err)
{
    const json_t *obj = json_object_get(entry, key);
    enum tr_status st = TR_OK;
    if (obj && !json_is_null(obj) && !json_is_object(obj))
        return tr_err_set(err, TR_BADARG, "%s: %s: expected an object, found %s", where,
                          key, tr_json_kind(obj));
    bool given = json_is_object(obj) && json_object_size(obj) > 0;
    for (int i = 0; i < count && st == TR_OK; i++) {
        out[i] = given ? NULL : names[i].otherwise;
        if (given) st = tr_json_string_or(obj, names[i].key, where, NULL, &out[i], err);
    }
    return st;
}

static const char *any_key(const json_t *entry, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *x = json_object_get(entry, keys[i]);
        if (x && !json_is_null(x)) return keys[i];
    }
    return NULL;
}

static enum tr_status check_source(const json_t *entry, const char *where,
                                   const char *file, struct tr_err *err)
{
    static const char *const hubs[] = {"hf_hub_url", "ms_hub_url", "om_hub_url"};
    static const char *const places[] = {"script_url", "cloud_file_name"};
    static const char *const options[] = {"subset", "folder", "num_samples"};
    const char *key = any_key(entry, hubs, 3);
    if (!file && key)
        return tr_err_set(err, TR_BADARG,
                          "%s: %s names a hub repository; download it and give file_name",
                          where, key);
    key = any_key(entry, places, 2);
    if (!file && key)
        return tr_err_set(err, TR_BADARG, "%s: %s is not supported; give file_name",
                          where, key);
    if (!file) return tr_err_set(err, TR_BADARG, "%s: file_name is missing", where);
    key = any_key(entry, options, 3);
    if (key) return tr_err_set(err, TR_BADARG, "%s: %s is not supported", where, key);
    const char *split = json_string_value(json_object_get(entry, "split"));
    if (split && strcmp(split, "train") != 0)
        return tr_err_set(err, TR_BADARG,
                          "%s: split %s is not supported; files have train only", where,
                          split);
    return TR_OK;
}

static enum tr_status check_columns(const struct tr_dataset *d, const char *where,
                                    struct tr_err *err)
{
    for (int i = TR_COL_IMAGES; i <= TR_COL_AUDIOS; i++)
        if (d->column[i])
            return tr_err_set(err, TR_BADARG, "%s: columns: %s are not supported", where,
                              columns[i].key);
    if (d->formatting == TR_ALPACA) return TR_OK;
    if (!d->column[TR_COL_MESSAGES])
        return tr_err_set(err, TR_BADARG, "%s: columns: sharegpt needs messages", where);
    for (int i = TR_TAG_ROLE; i <= TR_TAG_CONTENT; i++)
        if (!d->tag[i])
            return tr_err_set(err, TR_BADARG, "%s: tags: sharegpt needs %s", where,
                              tags[i].key);
    return TR_OK;
}

static enum tr_status read_entry(const json_t *entry, const char *where,
                                 struct tr_dataset *d, struct tr_err *err)
{
    const char *format = NULL;
    enum tr_status st =
        tr_json_string_or(entry, "file_name", where, NULL, &d->file_name, err);
    if (st == TR_OK) st = check_source(entry, where, d->file_name, err);
    if (st == TR_OK)
        st = tr_json_string_or(entry, "formatting", where, "alpaca", &format, err);
    if (st != TR_OK) return st;
    if (strcmp(format, "openai") == 0)
        return tr_err_set(err, TR_BADARG,
                          "%s: formatting openai comes later; use sharegpt", where);
    if (strcmp(format, "alpaca") != 0 && strcmp(format, "sharegpt") != 0)
        return tr_err_set(err, TR_BADARG,
                          "%s: formatting %s: expected alpaca or sharegpt", where,
                          format);
    d->formatting = format[0] == 'a' ? TR_ALPACA : TR_SHAREGPT;
    st = tr_json_bool_or(entry, "ranking", where, false, &d->ranking, err);
    if (st == TR_OK)
        st = load_names(entry, "columns", where, columns, TR_COLUMNS, d->column, err);
    if (st == TR_OK) st = load_names(entry, "tags", where, tags, TR_TAGS, d->tag, err);
    return st == TR_OK ? check_columns(d, where, err) : st;
}

enum tr_status tr_dataset_open(const char *dir, const char *name, struct tr_dataset *out,
                               struct tr_err *err)
{
    char path[PATH], where[PATH + 256];
    *out = (struct tr_dataset){0};
    if (strcmp(dir, "ONLINE") == 0 || strncmp(dir, "REMOTE:", 7) == 0)
        return tr_err_set(
            err, TR_BADARG,
            "dataset_dir %s needs the network; download the data and name its folder",
            dir);
    enum tr_status st = tr_path_join(path, sizeof path, dir, "dataset_info.json", err);
    if (st == TR_OK) st = tr_json_load(path, LIMIT, &out->root, err);
    if (st != TR_OK) return st;
    const char *key;
    json_t *value, *entry = NULL;
    json_object_foreach(out->root, key, value)
    {
        if (strcmp(key, name) != 0) continue;
        entry = value;
        out->name = key;
    }
    int n = snprintf(where, sizeof where, "%s: %s", path, name);
    if (n < 0 || !json_is_object(entry))
        st = tr_err_set(err, TR_BADARG, "dataset %s is not defined in %s", name, path);
    else
        st = read_entry(entry, where, out, err);
    if (st != TR_OK) tr_dataset_fini(out);
    return st;
}

void tr_dataset_fini(struct tr_dataset *d)
{
    json_decref(d->root);
    *d = (struct tr_dataset){0};
}

/* tokenizer_open.c - a model folder's tokenizer: tokenizer.json and the files beside it.
 *
 * tokenizer_config.json says which tokens are BOS, EOS, PAD and UNK; special_tokens_map.json
 * fills in what it leaves out. Both are optional. A special token that the vocabulary does not
 * have is added at its end, as the peer does. */
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/text/tokenizer_parts.h"

enum { PATH = 4096, CONFIG_LIMIT = 64 << 20, TOKENIZER_LIMIT = 1 << 30 };

/* A JSON file of the folder, or NULL in *out when it is not there. */
static enum tr_status load_beside(const char *dir, const char *name, json_t **out,
                                  struct tr_err *err)
{
    char path[PATH];
    *out = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, dir, name, err);
    if (st != TR_OK || !tr_path_exists(path)) return st;
    st = tr_json_load(path, CONFIG_LIMIT, out, err);
    if (st == TR_OK && !json_is_object(*out)) {
        st = tr_err_set(err, TR_BADARG, "%s: expected an object, found %s", path,
                        tr_json_kind(*out));
        json_decref(*out);
        *out = NULL;
    }
    return st;
}

/* A token is written "x" or {"content": "x", ...}. */
static const char *token_text(const json_t *x)
{
    if (json_is_object(x)) x = json_object_get(x, "content");
    const char *text = json_string_value(x);
    return text && text[0] ? text : NULL;
}

static enum tr_status set_token(struct tr_tokenizer *t, const json_t *config,
                                const json_t *map, const char *key, int32_t *id,
                                struct tr_err *err)
{
    bool added;
    const char *text = token_text(json_object_get(config, key));
    if (!text) text = token_text(json_object_get(map, key));
    return text ? tr_tokenizer_add_special(t, text, id, &added, err) : TR_OK;
}

static enum tr_status set_extra(struct tr_tokenizer *t, const json_t *from,
                                struct tr_err *err)
{
    const json_t *list = json_object_get(from, "additional_special_tokens");
    enum tr_status st = TR_OK;
    for (size_t i = 0; i < json_array_size(list) && st == TR_OK; i++) {
        bool added;
        int32_t id;
        const char *text = token_text(json_array_get(list, i));
        if (!text) continue;
        st = tr_tokenizer_add_special(t, text, &id, &added, err);
        if (st == TR_OK) st = tr_tokenizer_add_stop(t, id, err);
    }
    return st;
}

/* Does a text open with BOS? The config's word; else the post-processor's doing. */
static bool adds_bos(const struct tr_tokenizer *t, const json_t *config)
{
    const json_t *x = json_object_get(config, "add_bos_token");
    if (json_is_boolean(x)) return json_is_true(x);
    return t->leads >= 0 && t->leads == t->special.bos;
}

static enum tr_status set_specials(struct tr_tokenizer *t, const json_t *config,
                                   const json_t *map, struct tr_err *err)
{
    struct tr_special *s = &t->special;
    enum tr_status st = set_token(t, config, map, "bos_token", &s->bos, err);
    if (st == TR_OK) st = set_token(t, config, map, "eos_token", &s->eos, err);
    if (st == TR_OK) st = set_token(t, config, map, "unk_token", &s->unk, err);
    if (st == TR_OK) st = set_token(t, config, map, "pad_token", &s->pad, err);
    if (st == TR_OK)
        st = set_extra(
            t, json_object_get(config, "additional_special_tokens") ? config : map, err);
    s->add_bos = adds_bos(t, config);
    return st;
}

/* chat_template: a text, or a list of {name, template} of which "default" counts. */
static const char *config_template(const json_t *config)
{
    const json_t *x = json_object_get(config, "chat_template");
    for (size_t i = 0; i < json_array_size(x); i++) {
        const json_t *entry = json_array_get(x, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && strcmp(name, "default") == 0)
            return json_string_value(json_object_get(entry, "template"));
    }
    return json_string_value(x);
}

static enum tr_status set_chat_template(struct tr_tokenizer *t, const char *dir,
                                        const json_t *config, struct tr_err *err)
{
    char path[PATH];
    struct tr_buf file;
    tr_buf_init(&file, 0);
    enum tr_status st = tr_path_join(path, sizeof path, dir, "chat_template.jinja", err);
    if (st != TR_OK) return st;
    const char *text = config_template(config);
    if (tr_path_exists(path)) { /* the newer place wins, as in the peer */
        st = tr_file_read(path, CONFIG_LIMIT, &file, err);
        if (st != TR_OK) return st;
        text = tr_buf_text(&file);
    }
    if (text) {
        t->chat_template = strdup(text);
        if (!t->chat_template) st = tr_err_set(err, TR_NOMEM, "%s", path);
    }
    tr_buf_fini(&file);
    return st;
}

enum tr_status tr_tokenizer_open(const char *dir, struct tr_tokenizer **out,
                                 struct tr_err *err)
{
    char path[PATH];
    struct tr_map file = {0};
    json_t *config = NULL, *map = NULL;
    struct tr_tokenizer *t = NULL;
    *out = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, dir, "tokenizer.json", err);
    if (st == TR_OK) st = tr_map_open(path, &file, err);
    if (st != TR_OK) return st;
    if (file.size > TOKENIZER_LIMIT)
        st = tr_err_set(err, TR_BADARG, "%s: %zu bytes are over 1 GiB", path, file.size);
    if (st == TR_OK)
        st = tr_tokenizer_parse((const char *)file.at, file.size, path, &t, err);
    tr_map_close(&file);
    if (st == TR_OK) st = load_beside(dir, "tokenizer_config.json", &config, err);
    if (st == TR_OK) st = load_beside(dir, "special_tokens_map.json", &map, err);
    if (st == TR_OK) st = set_specials(t, config, map, err);
    if (st == TR_OK) st = set_chat_template(t, dir, config, err);
    if (st == TR_OK) {
        *out = t;
        t = NULL;
    }
    json_decref(config);
    json_decref(map);
    tr_tokenizer_close(t);
    return st;
}

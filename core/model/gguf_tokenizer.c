#include "core/model/gguf_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"

enum { PATH_ROOM = 4096 };
enum token_type { UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5 };

/* Hugging Face's expressions; llama.cpp's names for them. */
static const char llama3_words[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char qwen2_words[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static const struct pre {
    const char *name;
    const char *words;  /* NULL: GPT-2's, which ByteLevel has built in */
    bool digits;        /* each digit alone, before that */
    bool nfc;           /* normalised first */
    bool ignore_merges; /* a word that is a token is not merged from its bytes */
    bool add_bos;       /* where the file does not say */
} pres[] = {
    {"default", NULL, false, false, false, false},
    {"gpt-2", NULL, false, false, false, false},
    {"gpt2", NULL, false, false, false, false},
    {"smollm", NULL, true, false, false, false},
    {"llama-bpe", llama3_words, false, false, true, true},
    {"llama3", llama3_words, false, false, true, true},
    {"llama-v3", llama3_words, false, false, true, true},
    {"qwen2", qwen2_words, false, true, false, false},
    {"deepseek-r1-qwen", qwen2_words, false, true, false, false},
};

/* The vocabulary as it stands in the file, with its types. */
struct words {
    const char *where; /* borrows */
    struct tr_gguf_text *text;
    int32_t *type;
    bool *special;
    int64_t count;
    const struct pre *pre;
    struct tr_gguf_ids id;
    bool add_bos;
};

static void words_fini(struct words *w)
{
    free(w->text);
    free(w->type);
    free(w->special);
}

static bool is(struct tr_gguf_text text, const char *word)
{
    return text.size == strlen(word) && !memcmp(text.at, word, text.size);
}

static enum tr_status read_pre(const struct tr_gguf *g, struct words *w,
                               struct tr_err *err)
{
    struct tr_gguf_text model = {NULL, 0};
    struct tr_gguf_text pre = {"default", strlen("default")};
    enum tr_status st = tr_gguf_text(g, "tokenizer.ggml.model", &model, err);
    if (st == TR_OK && tr_gguf_has(g, "tokenizer.ggml.pre"))
        st = tr_gguf_text(g, "tokenizer.ggml.pre", &pre, err);
    if (st != TR_OK) return st;
    if (!is(model, "gpt2"))
        return tr_err_set(
            err, TR_BADARG,
            "%s: tokenizer.ggml.model: expected gpt2 (byte-level BPE), found %.*s",
            w->where, (int)(model.size < 60 ? model.size : 60), model.at);
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
        if (is(pre, pres[i].name)) w->pre = &pres[i];
    if (w->pre) return TR_OK;
    return tr_err_set(
        err, TR_BADARG,
        "%s: tokenizer.ggml.pre: expected default, gpt-2, smollm, llama-bpe or "
        "qwen2, found %.*s",
        w->where, (int)(pre.size < 60 ? pre.size : 60), pre.at);
}

static enum tr_status count_tokens(const struct tr_gguf *g, int64_t V, int64_t *count,
                                   struct tr_err *err)
{
    struct tr_gguf_list list;
    enum tr_status st =
        tr_gguf_list(g, "tokenizer.ggml.tokens", TR_GGUF_STRING, &list, err);
    if (st == TR_OK && (list.left < 1 || list.left > V))
        return tr_err_set(
            err, TR_BADARG,
            "%s: tokenizer.ggml.tokens: expected 1 to %lld tokens, as many as "
            "token_embd.weight has rows, found %lld",
            tr_gguf_where(g), (long long)V, (long long)list.left);
    if (st == TR_OK) *count = list.left;
    return st;
}

enum tr_status tr_gguf_ids(const struct tr_gguf *g, int64_t V, struct tr_gguf_ids *out,
                           struct tr_err *err)
{
    int64_t count = 0;
    const struct {
        const char *key;
        int32_t *to;
    } rows[] = {
        {"tokenizer.ggml.bos_token_id", &out->bos},
        {"tokenizer.ggml.eos_token_id", &out->eos},
        {"tokenizer.ggml.eot_token_id", &out->eot},
        {"tokenizer.ggml.eom_token_id", &out->eom},
        {"tokenizer.ggml.unknown_token_id", &out->unk},
        {"tokenizer.ggml.padding_token_id", &out->pad},
    };
    enum tr_status st = count_tokens(g, V, &count, err);
    for (size_t i = 0; i < sizeof rows / sizeof *rows && st == TR_OK; i++) {
        int64_t id = -1;
        st = tr_gguf_int_or(g, rows[i].key, 0, count - 1, -1, &id, err);
        *rows[i].to = (int32_t)id;
    }
    return st;
}

static void mark_special(struct words *w)
{
    const int32_t named[] = {w->id.bos, w->id.eos, w->id.eot,
                             w->id.eom, w->id.unk, w->id.pad};
    for (int64_t i = 0; i < w->count; i++)
        w->special[i] = w->type[i] == CONTROL || w->type[i] == UNKNOWN;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (named[i] >= 0) w->special[named[i]] = true;
}

static enum tr_status read_words(const struct tr_gguf *g, int64_t V, struct words *w,
                                 struct tr_err *err)
{
    struct tr_gguf_list text;
    struct tr_gguf_list type;
    *w = (struct words){.where = tr_gguf_where(g)};
    enum tr_status st = read_pre(g, w, err);
    if (st == TR_OK) st = count_tokens(g, V, &w->count, err);
    if (st == TR_OK) st = tr_gguf_ids(g, V, &w->id, err);
    if (st == TR_OK)
        st = tr_gguf_bool_or(g, "tokenizer.ggml.add_bos_token", w->pre->add_bos,
                             &w->add_bos, err);
    if (st == TR_OK)
        st = tr_gguf_list(g, "tokenizer.ggml.tokens", TR_GGUF_STRING, &text, err);
    if (st == TR_OK)
        st = tr_gguf_list(g, "tokenizer.ggml.token_type", TR_GGUF_I32, &type, err);
    if (st != TR_OK) return st;
    if (type.left != w->count)
        return tr_err_set(
            err, TR_BADARG,
            "%s: tokenizer.ggml.token_type: expected %lld types, found %lld", w->where,
            (long long)w->count, (long long)type.left);
    w->text = calloc((size_t)w->count, sizeof *w->text);
    w->type = calloc((size_t)w->count, sizeof *w->type);
    w->special = calloc((size_t)w->count, sizeof *w->special);
    if (!w->text || !w->type || !w->special)
        return tr_err_set(err, TR_NOMEM, "%s: %lld tokens", w->where,
                          (long long)w->count);
    for (int64_t i = 0; i < w->count; i++) {
        w->text[i] = tr_gguf_next_text(&text);
        w->type[i] = (int32_t)tr_gguf_next_int(&type);
    }
    w->add_bos = w->add_bos && w->id.bos >= 0;
    mark_special(w);
    return TR_OK;
}

static json_t *text_of(struct tr_gguf_text t)
{
    return json_stringn(t.at, t.size);
}

static json_t *token_of(const struct words *w, int32_t id)
{
    return id < 0 ? json_null() : text_of(w->text[id]);
}

/* The parts of tokenizer.json. */

static enum tr_status make_vocab(const struct words *w, json_t *vocab, struct tr_err *err)
{
    for (int64_t i = 0; i < w->count; i++) {
        struct tr_gguf_text t = w->text[i];
        if (w->type[i] == UNUSED && !w->special[i]) continue;
        if (memchr(t.at, 0, t.size) || json_object_getn(vocab, t.at, t.size))
            return tr_err_set(
                err, TR_BADARG,
                "%s: tokenizer.ggml.tokens: token %lld: expected a text of its own "
                "without zero bytes, found %.*s",
                w->where, (long long)i, (int)(t.size < 60 ? t.size : 60), t.at);
        if (json_object_setn_new(vocab, t.at, t.size, json_integer(i)) != 0)
            return tr_err_set(
                err, TR_BADARG,
                "%s: tokenizer.ggml.tokens: token %lld: expected valid UTF-8", w->where,
                (long long)i);
    }
    return TR_OK;
}

/* "left right": the space that parts them is never the first byte. */
static enum tr_status make_merges(const struct tr_gguf *g, const json_t *vocab,
                                  json_t *merges, struct tr_err *err)
{
    struct tr_gguf_list list;
    enum tr_status st =
        tr_gguf_list(g, "tokenizer.ggml.merges", TR_GGUF_STRING, &list, err);
    for (int64_t i = 0; st == TR_OK && list.left; i++) {
        char joined[1024];
        struct tr_gguf_text t = tr_gguf_next_text(&list);
        const char *cut = t.size > 1 ? memchr(t.at + 1, ' ', t.size - 1) : NULL;
        size_t left = cut ? (size_t)(cut - t.at) : 0;
        size_t right = cut ? t.size - left - 1 : 0;
        bool known = cut && t.size <= sizeof joined;
        if (known) {
            memcpy(joined, t.at, left);
            memcpy(joined + left, cut + 1, right);
            known = json_object_getn(vocab, t.at, left) &&
                    json_object_getn(vocab, cut + 1, right) &&
                    json_object_getn(vocab, joined, left + right);
        }
        if (!known)
            return tr_err_set(
                err, TR_BADARG,
                "%s: tokenizer.ggml.merges: merge %lld: expected two tokens whose "
                "join is a token, found %.*s",
                tr_gguf_where(g), (long long)i, (int)(t.size < 60 ? t.size : 60), t.at);
        json_t *pair = json_pack("[s%, s%]", t.at, left, cut + 1, right);
        if (!pair || json_array_append_new(merges, pair) != 0)
            st = tr_err_set(err, TR_NOMEM, "%s: merge %lld", tr_gguf_where(g),
                            (long long)i);
    }
    return st;
}

static enum tr_status make_added(const struct words *w, json_t *added, struct tr_err *err)
{
    for (int64_t i = 0; i < w->count; i++) {
        if (!w->special[i] && w->type[i] != USER_DEFINED) continue;
        json_t *token =
            json_pack("{s:I, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)i,
                      "content", text_of(w->text[i]), "single_word", 0, "lstrip", 0,
                      "rstrip", 0, "normalized", 0, "special", (int)w->special[i]);
        if (!token || json_array_append_new(added, token) != 0)
            return tr_err_set(err, TR_NOMEM, "%s: token %lld", w->where, (long long)i);
    }
    return TR_OK;
}

static json_t *make_byte_level(bool prefix_space, bool use_regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space",
                     (int)prefix_space, "trim_offsets", 1, "use_regex", (int)use_regex);
}

static json_t *make_splits(const struct pre *pre)
{
    json_t *bytes = make_byte_level(false, !pre->words);
    if (pre->digits)
        return json_pack("{s:s, s:[{s:s, s:b}, o]}", "type", "Sequence", "pretokenizers",
                         "type", "Digits", "individual_digits", 1, bytes);
    if (!pre->words) return bytes;
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence",
                     "pretokenizers", "type", "Split", "pattern", "Regex", pre->words,
                     "behavior", "Isolated", "invert", 0, bytes);
}

/* Puts bos in front, when the model wants that. */
static json_t *make_post(const struct words *w)
{
    if (!w->add_bos) return json_null();
    json_t *bos = token_of(w, w->id.bos);
    const char *text = json_string_value(bos);
    json_t *post = json_pack(
        "{s:s, s:[{s:{s:O, s:i}}, {s:{s:s, s:i}}], s:[{s:{s:O, s:i}}, {s:{s:s, s:i}}, {s:{s:O, "
        "s:i}}, {s:{s:s, s:i}}], s:{s:{s:O, s:[i], s:[O]}}}",
        "type", "TemplateProcessing", "single", "SpecialToken", "id", bos, "type_id", 0,
        "Sequence", "id", "A", "type_id", 0, "pair", "SpecialToken", "id", bos, "type_id",
        0, "Sequence", "id", "A", "type_id", 0, "SpecialToken", "id", bos, "type_id", 1,
        "Sequence", "id", "B", "type_id", 1, "special_tokens", text ? text : "", "id",
        bos, "ids", (int)w->id.bos, "tokens", bos);
    json_decref(bos);
    return post;
}

static json_t *make_root(const struct words *w, json_t *vocab, json_t *merges,
                         json_t *added)
{
    json_t *nfc = w->pre->nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
    json_t *model = json_pack(
        "{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:O, s:O}", "type", "BPE", "dropout",
        "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
        "byte_fallback", 0, "ignore_merges", (int)w->pre->ignore_merges, "vocab", vocab,
        "merges", merges);
    return json_pack("{s:s, s:n, s:n, s:O, s:o, s:o, s:o, s:o, s:o}", "version", "1.0",
                     "truncation", "padding", "added_tokens", added, "normalizer", nfc,
                     "pre_tokenizer", make_splits(w->pre), "post_processor", make_post(w),
                     "decoder", make_byte_level(true, true), "model", model);
}

static enum tr_status make_tokenizer(const struct tr_gguf *g, const struct words *w,
                                     json_t **out, struct tr_err *err)
{
    json_t *vocab = json_object();
    json_t *merges = json_array();
    json_t *added = json_array();
    enum tr_status st = make_vocab(w, vocab, err);
    if (st == TR_OK) st = make_merges(g, vocab, merges, err);
    if (st == TR_OK) st = make_added(w, added, err);
    if (st == TR_OK) {
        *out = make_root(w, vocab, merges, added);
        if (!*out) st = tr_err_set(err, TR_NOMEM, "%s: tokenizer.json", w->where);
    }
    json_decref(vocab);
    json_decref(merges);
    json_decref(added);
    return st;
}

enum tr_status tr_gguf_tokenizer(const struct tr_gguf *g, int64_t V, json_t **out,
                                 struct tr_err *err)
{
    struct words w;
    *out = NULL;
    enum tr_status st = read_words(g, V, &w, err);
    if (st == TR_OK) st = make_tokenizer(g, &w, out, err);
    words_fini(&w);
    return st;
}

/* The files around it. */

static json_t *make_decoder(const struct words *w)
{
    json_t *all = json_object();
    for (int64_t i = 0; i < w->count; i++) {
        char key[24];
        if (!w->special[i] && w->type[i] != USER_DEFINED) continue;
        snprintf(key, sizeof key, "%lld", (long long)i);
        json_object_set_new(all, key,
                            json_pack("{s:o, s:b, s:b, s:b, s:b, s:b}", "content",
                                      text_of(w->text[i]), "lstrip", 0, "normalized", 0,
                                      "rstrip", 0, "single_word", 0, "special",
                                      (int)w->special[i]));
    }
    return all;
}

static enum tr_status write_json(const char *dir, const char *name, json_t *value,
                                 struct tr_err *err)
{
    char path[PATH_ROOM];
    enum tr_status st = tr_path_join(path, sizeof path, dir, name, err);
    if (st == TR_OK && !value) st = tr_err_set(err, TR_NOMEM, "%s: no memory", path);
    if (st == TR_OK) st = tr_json_save(path, value, 2, err);
    json_decref(value);
    return st;
}

static enum tr_status write_config(const struct words *w, int64_t max_positions,
                                   struct tr_gguf_text template, const char *dir,
                                   struct tr_err *err)
{
    json_t *c =
        json_pack("{s:o, s:b, s:o, s:b, s:o, s:I, s:o, s:s, s:o}", "added_tokens_decoder",
                  make_decoder(w), "add_bos_token", (int)w->add_bos, "bos_token",
                  token_of(w, w->id.bos), "clean_up_tokenization_spaces", 0, "eos_token",
                  token_of(w, w->id.eos), "model_max_length", (json_int_t)max_positions,
                  "pad_token", token_of(w, w->id.pad), "tokenizer_class",
                  "PreTrainedTokenizerFast", "unk_token", token_of(w, w->id.unk));
    if (c && template.size) json_object_set_new(c, "chat_template", text_of(template));
    return write_json(dir, "tokenizer_config.json", c, err);
}

static enum tr_status write_map(const struct words *w, const char *dir,
                                struct tr_err *err)
{
    const struct {
        const char *key;
        int32_t id;
    } rows[] = {{"bos_token", w->id.bos},
                {"eos_token", w->id.eos},
                {"pad_token", w->id.pad},
                {"unk_token", w->id.unk}};
    json_t *map = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].id >= 0)
            json_object_set_new(map, rows[i].key, token_of(w, rows[i].id));
    return write_json(dir, "special_tokens_map.json", map, err);
}

static enum tr_status write_template(struct tr_gguf_text template, const char *dir,
                                     struct tr_err *err)
{
    char path[PATH_ROOM];
    if (!template.size) return TR_OK;
    enum tr_status st = tr_path_join(path, sizeof path, dir, "chat_template.jinja", err);
    return st == TR_OK ? tr_file_write(path, template.at, template.size, err) : st;
}

enum tr_status tr_gguf_tokenizer_write(const struct tr_gguf *g, int64_t V,
                                       int64_t max_positions, const char *dir,
                                       struct tr_err *err)
{
    struct words w;
    json_t *root = NULL;
    struct tr_gguf_text template = {NULL, 0};
    enum tr_status st = read_words(g, V, &w, err);
    if (st == TR_OK && tr_gguf_has(g, "tokenizer.chat_template"))
        st = tr_gguf_text(g, "tokenizer.chat_template", &template, err);
    if (st == TR_OK) st = make_tokenizer(g, &w, &root, err);
    if (st == TR_OK) st = write_json(dir, "tokenizer.json", root, err);
    if (st == TR_OK) st = write_config(&w, max_positions, template, dir, err);
    if (st == TR_OK) st = write_map(&w, dir, err);
    if (st == TR_OK) st = write_template(template, dir, err);
    words_fini(&w);
    return st;
}

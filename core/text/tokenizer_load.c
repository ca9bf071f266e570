/* tokenizer_load.c - tokenizer.json, checked field by field.
 *
 * What the file asks for is done or refused in words; what cannot change an id (truncation,
 * padding, trim_offsets) is passed over. Sizes are bounded by the file's own bytes: a table is
 * never larger than a constant times what the file holds. */
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/text/skim.h"
#include "core/text/tokenizer_parts.h"

enum { SPARE = 1 << 16 }; /* ids that a vocabulary may leave unused */

struct load {
    struct tr_tokenizer *t;
    const char *where;                 /* names the file in errors */
    struct tr_skim_part vocab, merges; /* the two tables, cut out of the file */
    struct tr_buf scratch[2];
};

/* {"token": id, ...} */
static enum tr_status load_vocab(struct load *l, struct tr_err *err)
{
    struct tr_skim s = {l->vocab.at, l->vocab.at + l->vocab.size};
    int64_t items = l->vocab.items, n = 0;
    if (items > INT32_MAX / 8)
        return tr_err_set(err, TR_BADARG, "%s: vocab: too large", l->where);
    enum tr_status st = tr_vocabulary_init(&l->t->vocabulary, (int32_t)items, err);
    bool good = tr_skim_take(&s, '{');
    for (; st == TR_OK && good && n < items; n++) {
        const char *text;
        size_t size;
        int32_t id;
        good = (n == 0 || tr_skim_take(&s, ',')) &&
               tr_skim_string(&s, &l->scratch[0], &text, &size) &&
               tr_skim_take(&s, ':') && tr_skim_int(&s, &id);
        if (!good) break;
        if (id >= items + SPARE)
            return tr_err_set(err, TR_BADARG,
                              "%s: vocab: '%.*s' has id %d, of %lld tokens", l->where,
                              (int)(size < 40 ? size : 40), text, id, (long long)items);
        st = tr_vocabulary_add(&l->t->vocabulary, text, size, id, err);
    }
    if (st != TR_OK) return tr_err_wrap(err, st, "%s: vocab", l->where);
    if (good && tr_skim_take(&s, '}') && s.at == s.end) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%s: vocab: entry %lld: expected \"token\": id",
                      l->where, (long long)n);
}

/* A merge is "a b" or ["a", "b"]. Tokens of byte-level files hold no space. */
static bool merge_parts(struct load *l, struct tr_skim *s, const char *part[2],
                        size_t size[2])
{
    if (tr_skim_take(s, '['))
        return tr_skim_string(s, &l->scratch[0], &part[0], &size[0]) &&
               tr_skim_take(s, ',') &&
               tr_skim_string(s, &l->scratch[1], &part[1], &size[1]) &&
               tr_skim_take(s, ']');
    if (!tr_skim_string(s, &l->scratch[0], &part[0], &size[0])) return false;
    const char *space = memchr(part[0], ' ', size[0]);
    if (!space) return false;
    size_t whole = size[0];
    size[0] = (size_t)(space - part[0]);
    part[1] = space + 1;
    size[1] = whole - size[0] - 1;
    return !memchr(part[1], ' ', size[1]);
}

static enum tr_status load_merge(struct load *l, const char *part[2],
                                 const size_t size[2], int64_t rank, struct tr_err *err)
{
    const struct tr_vocabulary *v = &l->t->vocabulary;
    int32_t id[2];
    for (int i = 0; i < 2; i++) {
        id[i] = tr_vocabulary_find(v, part[i], size[i]);
        if (id[i] >= 0) continue;
        return tr_err_set(err, TR_BADARG,
                          "%s: merge %lld: '%.*s' is not in the vocabulary", l->where,
                          (long long)rank, (int)(size[i] < 40 ? size[i] : 40), part[i]);
    }
    enum tr_status st = tr_bpe_add(&l->t->bpe, v, id[0], id[1], (int32_t)rank, err);
    return st == TR_OK
               ? st
               : tr_err_wrap(err, st, "%s: merge %lld", l->where, (long long)rank);
}

static enum tr_status load_merges(struct load *l, struct tr_err *err)
{
    struct tr_skim s = {l->merges.at, l->merges.at + l->merges.size};
    int64_t n = 0;
    enum tr_status st = tr_bpe_init(&l->t->bpe, &l->t->vocabulary, l->merges.items, err);
    bool good = tr_skim_take(&s, '[');
    for (; st == TR_OK && good && n < l->merges.items; n++) {
        const char *part[2];
        size_t size[2];
        good = (n == 0 || tr_skim_take(&s, ',')) && merge_parts(l, &s, part, size);
        if (!good) break;
        st = load_merge(l, part, size, n, err);
    }
    if (st != TR_OK || (good && tr_skim_take(&s, ']') && s.at == s.end)) return st;
    return tr_err_set(err, TR_BADARG,
                      "%s: merge %lld: expected \"a b\" or [\"a\", \"b\"]", l->where,
                      (long long)n);
}

static enum tr_status refuse(const struct load *l, const char *what, const json_t *value,
                             struct tr_err *err)
{
    const char *text = json_string_value(value);
    return tr_err_set(err, TR_BADARG, "%s: %s: %s is not supported (byte-level BPE only)",
                      l->where, what, text ? text : tr_json_kind(value));
}

/* Options of the model that would change ids and that byte-level files leave off. */
static enum tr_status check_model(const struct load *l, const json_t *model,
                                  struct tr_err *err)
{
    static const char *const empty[] = {"continuing_subword_prefix",
                                        "end_of_word_suffix"};
    const json_t *type = json_object_get(model, "type");
    const char *name = json_string_value(type);
    if (type && (!name || strcmp(name, "BPE") != 0))
        return refuse(l, "model type", type, err);
    for (size_t i = 0; i < 2; i++) {
        const json_t *x = json_object_get(model, empty[i]);
        if (x && !json_is_null(x) && json_string_length(x) != 0)
            return refuse(l, empty[i], x, err);
    }
    const json_t *dropout = json_object_get(model, "dropout");
    if (dropout && !json_is_null(dropout) && !(json_number_value(dropout) == 0.0))
        return refuse(l, "dropout", dropout, err);
    const json_t *fallback = json_object_get(model, "byte_fallback");
    if (fallback && !json_is_null(fallback) && !json_is_false(fallback))
        return refuse(l, "byte_fallback", fallback, err);
    return TR_OK;
}

static enum tr_status load_model(struct load *l, const json_t *root, struct tr_err *err)
{
    const json_t *model = json_object_get(root, "model");
    if (!json_is_object(model))
        return tr_err_set(err, TR_BADARG, "%s: model: expected an object, found %s",
                          l->where, tr_json_kind(model));
    enum tr_status st = check_model(l, model, err);
    if (st != TR_OK) return st;
    const json_t *vocab = json_object_get(model, "vocab");
    const json_t *merges = json_object_get(model, "merges");
    if (!json_is_object(vocab) || !json_is_array(merges))
        return tr_err_set(
            err, TR_BADARG,
            "%s: model: expected a vocab object and a merges array, found %s and %s",
            l->where, tr_json_kind(vocab), tr_json_kind(merges));
    if (!l->vocab.at || !l->merges.at) /* keys spelled with escapes */
        return tr_err_set(err, TR_BADARG, "%s: model: vocab and merges can't be found",
                          l->where);
    st = load_vocab(l, err);
    if (st == TR_OK) st = load_merges(l, err);
    struct tr_bpe *b = &l->t->bpe;
    if (st == TR_OK)
        st = tr_json_bool_or(model, "fuse_unk", l->where, false, &b->fuse_unk, err);
    if (st == TR_OK)
        st = tr_json_bool_or(model, "ignore_merges", l->where, false, &b->ignore_merges,
                             err);
    const char *unk = NULL;
    if (st == TR_OK)
        st = tr_json_string_or(model, "unk_token", l->where, NULL, &unk, err);
    if (st != TR_OK || !unk) return st;
    b->unk = tr_vocabulary_find(&l->t->vocabulary, unk, strlen(unk));
    if (b->unk < 0)
        return tr_err_set(err, TR_BADARG,
                          "%s: unk_token '%.40s' is not in the vocabulary", l->where,
                          unk);
    return TR_OK;
}

static enum tr_status load_added_one(struct load *l, const json_t *token,
                                     struct tr_err *err)
{
    struct tr_added a = {0};
    bool special = false;
    int64_t id = -1;
    int32_t got;
    const json_t *content = json_object_get(token, "content");
    if (!json_is_string(content))
        return tr_err_set(err, TR_BADARG, "%s: added_tokens: expected content, found %s",
                          l->where, tr_json_kind(content));
    if (json_string_length(content) == 0) return TR_OK; /* the peer passes over it, too */
    enum tr_status st = tr_json_int(token, "id", l->where, 0, INT32_MAX, &id, err);
    if (st == TR_OK)
        st = tr_json_bool_or(token, "lstrip", l->where, false, &a.lstrip, err);
    if (st == TR_OK)
        st = tr_json_bool_or(token, "rstrip", l->where, false, &a.rstrip, err);
    if (st == TR_OK)
        st = tr_json_bool_or(token, "single_word", l->where, false, &a.single_word, err);
    if (st == TR_OK)
        st = tr_json_bool_or(token, "special", l->where, false, &special, err);
    if (st == TR_OK)
        st = tr_json_bool_or(token, "normalized", l->where, !special, &a.normalized, err);
    if (st != TR_OK) return st;
    a.id = (int32_t)id;
    st = tr_tokenizer_put_added(l->t, json_string_value(content),
                                json_string_length(content), a, special, &got, err);
    return st == TR_OK ? st : tr_err_wrap(err, st, "%s", l->where);
}

static enum tr_status load_added(struct load *l, const json_t *root, struct tr_err *err)
{
    const json_t *list = json_object_get(root, "added_tokens");
    enum tr_status st = TR_OK;
    if (list && !json_is_null(list) && !json_is_array(list))
        return tr_err_set(err, TR_BADARG, "%s: added_tokens: expected an array, found %s",
                          l->where, tr_json_kind(list));
    for (size_t i = 0; i < json_array_size(list) && st == TR_OK; i++)
        st = load_added_one(l, json_array_get(list, i), err);
    return st == TR_OK ? tr_tokenizer_index_added(l->t, err) : st;
}

static bool is_type(const json_t *x, const char *type)
{
    const char *name = json_string_value(json_object_get(x, "type"));
    return name && strcmp(name, type) == 0;
}

/* Step i of x: of its list when x is a Sequence, else x itself is the only one. A Sequence in a
 * Sequence is no step that any caller knows, and so refused. */
static const json_t *step_of(const json_t *x, const char *list, size_t i)
{
    if (is_type(x, "Sequence")) return json_array_get(json_object_get(x, list), i);
    return i == 0 && x && !json_is_null(x) ? x : NULL;
}

static enum tr_status load_normalizer(struct load *l, const json_t *root,
                                      struct tr_err *err)
{
    const json_t *x, *all = json_object_get(root, "normalizer");
    for (size_t i = 0; (x = step_of(all, "normalizers", i)); i++) {
        if (!is_type(x, "NFC"))
            return refuse(l, "normalizer", json_object_get(x, "type"), err);
        l->t->nfc = true;
    }
    return TR_OK;
}

static enum tr_status load_pattern(const struct load *l, const json_t *step,
                                   struct tr_pattern **out, struct tr_err *err)
{
    const json_t *pattern = json_object_get(step, "pattern");
    const json_t *regex = json_object_get(pattern, "Regex");
    const json_t *text = json_object_get(pattern, "String");
    const json_t *x = regex ? regex : text;
    if (!json_is_string(x) || json_string_length(x) == 0)
        return refuse(l, "pre_tokenizer Split pattern", x, err);
    enum tr_status st =
        regex ? tr_pattern_create(json_string_value(x), json_string_length(x), out, err)
              : tr_pattern_create_literal(json_string_value(x), json_string_length(x),
                                          out, err);
    return st == TR_OK ? st : tr_err_wrap(err, st, "%s: pre_tokenizer", l->where);
}

static enum tr_status load_split(struct load *l, const json_t *x,
                                 struct tr_split_step *step, struct tr_err *err)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const json_t *behaviour = json_object_get(x, "behavior");
    const char *name = json_string_value(behaviour);
    size_t i = 0;
    while (i < 5 && !(name && strcmp(name, names[i]) == 0)) i++;
    if (i == 5) return refuse(l, "pre_tokenizer Split behavior", behaviour, err);
    step->behaviour = (enum tr_split_behaviour)i;
    enum tr_status st = tr_json_bool_or(x, "invert", l->where, false, &step->invert, err);
    return st == TR_OK ? load_pattern(l, x, &step->pattern, err) : st;
}

static const char gpt2_words[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
    "|\\s+(?!\\S)|\\s+";

static enum tr_status load_byte_level(struct load *l, const json_t *x, struct tr_err *err)
{
    struct tr_splitter *s = &l->t->splitter;
    bool use_regex = true;
    enum tr_status st =
        tr_json_bool_or(x, "add_prefix_space", l->where, true, &s->prefix_space, err);
    if (st == TR_OK)
        st = tr_json_bool_or(x, "use_regex", l->where, true, &use_regex, err);
    if (st == TR_OK && use_regex)
        st = tr_pattern_create(gpt2_words, sizeof gpt2_words - 1, &s->words, err);
    return st;
}

/* A step before the byte-level one. */
static enum tr_status load_step(struct load *l, const json_t *x, struct tr_err *err)
{
    struct tr_splitter *s = &l->t->splitter;
    if (s->steps == TR_STEPS)
        return tr_err_set(err, TR_BADARG, "%s: pre_tokenizer: over %d steps", l->where,
                          TR_STEPS);
    struct tr_split_step *step = &s->step[s->steps];
    if (is_type(x, "Split")) {
        s->steps++;
        return load_split(l, x, step, err);
    }
    if (!is_type(x, "Digits"))
        return refuse(l, "pre_tokenizer", json_object_get(x, "type"), err);
    bool single = false;
    s->steps++;
    enum tr_status st =
        tr_json_bool_or(x, "individual_digits", l->where, false, &single, err);
    step->behaviour = single ? TR_SPLIT_ISOLATED : TR_SPLIT_CONTIGUOUS;
    return st;
}

static enum tr_status load_pre_tokenizer(struct load *l, const json_t *root,
                                         struct tr_err *err)
{
    const json_t *x, *all = json_object_get(root, "pre_tokenizer");
    bool byte_level = false;
    enum tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && (x = step_of(all, "pretokenizers", i)); i++) {
        if (byte_level)
            return refuse(l, "pre_tokenizer after ByteLevel", json_object_get(x, "type"),
                          err);
        byte_level = is_type(x, "ByteLevel");
        st = byte_level ? load_byte_level(l, x, err) : load_step(l, x, err);
    }
    if (st != TR_OK || byte_level) return st;
    return tr_err_set(err, TR_BADARG,
                      "%s: pre_tokenizer: no ByteLevel step (byte-level BPE only)",
                      l->where);
}

static enum tr_status check_decoder(const struct load *l, const json_t *root,
                                    struct tr_err *err)
{
    const json_t *all = json_object_get(root, "decoder");
    const json_t *x = step_of(all, "decoders", 0);
    if (is_type(x, "ByteLevel") && !(x != all && step_of(all, "decoders", 1)))
        return TR_OK;
    return refuse(l, "decoder", all ? json_object_get(all, "type") : NULL, err);
}

/* Special tokens around a text are the template's business; what the post-processor puts first
 * only says whether texts open with BOS. */
static enum tr_status load_post_processor(struct load *l, const json_t *root,
                                          struct tr_err *err)
{
    const json_t *x, *all = json_object_get(root, "post_processor");
    for (size_t i = 0; (x = step_of(all, "processors", i)); i++) {
        if (is_type(x, "ByteLevel")) continue;
        if (!is_type(x, "TemplateProcessing"))
            return refuse(l, "post_processor", json_object_get(x, "type"), err);
        const json_t *first = json_array_get(json_object_get(x, "single"), 0);
        const json_t *token = json_object_get(first, "SpecialToken");
        const char *id = json_string_value(json_object_get(token, "id"));
        if (id) l->t->leads = tr_tokenizer_id(l->t, id);
    }
    return TR_OK;
}

static enum tr_status load_root(struct load *l, const json_t *root, struct tr_err *err)
{
    if (!json_is_object(root))
        return tr_err_set(err, TR_BADARG, "%s: expected an object, found %s", l->where,
                          tr_json_kind(root));
    enum tr_status st = load_model(l, root, err);
    if (st == TR_OK) st = load_normalizer(l, root, err);
    if (st == TR_OK) st = load_pre_tokenizer(l, root, err);
    if (st == TR_OK) st = check_decoder(l, root, err);
    if (st == TR_OK) st = load_added(l, root, err);
    if (st == TR_OK) st = load_post_processor(l, root, err);
    return st;
}

/* The settings as a tree, the tables as parts of the text. */
static enum tr_status open_text(struct load *l, const char *bytes, size_t size,
                                json_t **root, struct tr_err *err)
{
    static const char *const tables[2] = {"vocab", "merges"};
    struct tr_skim_part part[2];
    struct tr_buf rest;
    tr_skim_find(bytes, size, "model", tables, 2, part);
    l->vocab = part[0];
    l->merges = part[1];
    tr_buf_init(&rest, size + 1);
    enum tr_status st = tr_skim_rest(bytes, size, part, 2, &rest, err);
    if (st == TR_OK)
        st = tr_json_parse(tr_buf_text(&rest), rest.size, l->where, root, err);
    tr_buf_fini(&rest);
    return st;
}

enum tr_status tr_tokenizer_parse(const char *bytes, size_t size, const char *where,
                                  struct tr_tokenizer **out, struct tr_err *err)
{
    json_t *root = NULL;
    *out = NULL;
    if (size == 0) return tr_err_set(err, TR_BADARG, "%s: the file is empty", where);
    struct tr_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return tr_err_set(err, TR_NOMEM, "%s: a tokenizer", where);
    tr_trie_init(&t->plain);
    tr_trie_init(&t->normalized);
    t->special = (struct tr_special){-1, -1, -1, -1, false};
    t->leads = -1;
    struct load l = {.t = t, .where = where};
    tr_buf_init(&l.scratch[0], size + 1);
    tr_buf_init(&l.scratch[1], size + 1);
    enum tr_status st = open_text(&l, bytes, size, &root, err);
    if (st == TR_OK) st = load_root(&l, root, err);
    if (st == TR_OK) {
        *out = t;
        t = NULL;
    }
    json_decref(root);
    tr_buf_fini(&l.scratch[0]);
    tr_buf_fini(&l.scratch[1]);
    tr_tokenizer_close(t);
    return st;
}

#include "core/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "core/text/nfc.h"
#include "core/text/tokenizer_parts.h"

void tr_tokenizer_close(struct tr_tokenizer *t)
{
    if (!t) return;
    tr_vocabulary_fini(&t->vocabulary);
    tr_bpe_fini(&t->bpe);
    tr_splitter_fini(&t->splitter);
    tr_trie_fini(&t->plain);
    tr_trie_fini(&t->normalized);
    tr_ids_fini(&t->extra);
    free(t->added);
    free(t->chat_template);
    free(t);
}

int32_t tr_tokenizer_size(const struct tr_tokenizer *t)
{
    return t->vocabulary.count;
}

int32_t tr_tokenizer_id(const struct tr_tokenizer *t, const char *token)
{
    return tr_vocabulary_find(&t->vocabulary, token, strlen(token));
}

const char *tr_tokenizer_token(const struct tr_tokenizer *t, int32_t id)
{
    const struct tr_word *w = tr_vocabulary_word(&t->vocabulary, id);
    return w ? t->vocabulary.blob + w->at : NULL;
}

bool tr_tokenizer_is_special(const struct tr_tokenizer *t, int32_t id)
{
    const struct tr_word *w = tr_vocabulary_word(&t->vocabulary, id);
    return w && w->special;
}

struct tr_special tr_tokenizer_special(const struct tr_tokenizer *t)
{
    return t->special;
}

void tr_tokenizer_set_special(struct tr_tokenizer *t, struct tr_special s)
{
    t->special = s;
}

const char *tr_tokenizer_chat_template(const struct tr_tokenizer *t)
{
    return t->chat_template;
}

enum tr_status tr_tokenizer_stops(const struct tr_tokenizer *t, struct tr_ids *out,
                                  struct tr_err *err)
{
    enum tr_status st = TR_OK;
    if (t->special.eos >= 0) st = tr_ids_put(out, &t->special.eos, 1, err);
    for (int64_t i = 0; i < t->extra.count && st == TR_OK; i++)
        if (t->extra.at[i] != t->special.eos)
            st = tr_ids_put(out, &t->extra.at[i], 1, err);
    return st;
}

enum tr_status tr_tokenizer_add_stop(struct tr_tokenizer *t, int32_t id,
                                     struct tr_err *err)
{
    for (int64_t i = 0; i < t->extra.count; i++)
        if (t->extra.at[i] == id) return TR_OK;
    return tr_ids_put(&t->extra, &id, 1, err);
}

static struct tr_added *find_added(struct tr_tokenizer *t, int32_t id)
{
    for (int32_t i = 0; i < t->added_count; i++)
        if (t->added[i].id == id) return &t->added[i];
    return NULL;
}

static enum tr_status append_added(struct tr_tokenizer *t, struct tr_added a,
                                   struct tr_err *err)
{
    if (t->added_count == t->added_room) {
        int32_t room = t->added_room ? t->added_room * 2 : 32;
        struct tr_added *added = realloc(t->added, (size_t)room * sizeof *added);
        if (!added) return tr_err_set(err, TR_NOMEM, "%d added tokens", room);
        t->added = added;
        t->added_room = room;
    }
    t->added[t->added_count++] = a;
    return TR_OK;
}

enum tr_status tr_tokenizer_put_added(struct tr_tokenizer *t, const char *token,
                                      size_t size, struct tr_added a, bool special,
                                      int32_t *id, struct tr_err *err)
{
    struct tr_vocabulary *v = &t->vocabulary;
    int32_t have = tr_vocabulary_find(v, token, size);
    bool old = have >= 0 && v->word[have].added;
    if (have < 0) {
        have = v->count;
        enum tr_status st = tr_vocabulary_add(v, token, size, have, err);
        if (st != TR_OK) return st;
    }
    if (a.id >= 0 && a.id != have)
        return tr_err_set(err, TR_BADARG,
                          "added token '%.40s' has id %d, but its place is %d", token,
                          a.id, have);
    a.id = have;
    *id = have;
    v->word[have].special = special;
    v->word[have].added = true;
    struct tr_added *known = old ? find_added(t, have) : NULL;
    if (known) {
        *known = a;
        return TR_OK;
    }
    return append_added(t, a, err);
}

static enum tr_status index_one(struct tr_tokenizer *t, int32_t i, struct tr_err *err)
{
    const struct tr_word *w = &t->vocabulary.word[t->added[i].id];
    const char *text = t->vocabulary.blob + w->at;
    if (!t->added[i].normalized) return tr_trie_put(&t->plain, text, w->size, i, err);
    char *nfc = NULL;
    size_t size = 0;
    enum tr_status st = TR_OK;
    if (t->nfc) st = tr_text_nfc(text, w->size, &nfc, &size, err);
    if (st == TR_OK)
        st = tr_trie_put(&t->normalized, nfc ? nfc : text, nfc ? size : w->size, i, err);
    free(nfc);
    return st;
}

enum tr_status tr_tokenizer_index_added(struct tr_tokenizer *t, struct tr_err *err)
{
    tr_trie_fini(&t->plain);
    tr_trie_fini(&t->normalized);
    enum tr_status st = TR_OK;
    /* Two tokens may read the same after the normaliser; the peer prefers special ones. */
    for (int special = 1; special >= 0; special--)
        for (int32_t i = 0; i < t->added_count && st == TR_OK; i++)
            if (t->vocabulary.word[t->added[i].id].special == (special == 1))
                st = index_one(t, i, err);
    return st;
}

enum tr_status tr_tokenizer_add_special(struct tr_tokenizer *t, const char *token,
                                        int32_t *id, bool *added, struct tr_err *err)
{
    int32_t have = tr_tokenizer_id(t, token);
    *added = have < 0;
    *id = have;
    if (have >= 0 && t->vocabulary.word[have].added) {
        t->vocabulary.word[have].special = true; /* its other marks stay */
        return TR_OK;
    }
    struct tr_added a = {.id = -1};
    enum tr_status st = tr_tokenizer_put_added(t, token, strlen(token), a, true, id, err);
    return st == TR_OK ? tr_tokenizer_index_added(t, err) : st;
}

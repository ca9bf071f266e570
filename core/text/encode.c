/* encode.c - a text goes down the pipeline, one level a function.
 *
 *   text --cut by added tokens--> gap --NFC, cut by normalised added tokens--> plain text
 *        --split steps--> piece --space before, GPT-2's words--> word --merges--> ids
 */
#include <stdlib.h>
#include <string.h>

#include "core/text/nfc.h"
#include "core/text/tokenizer_parts.h"
#include "core/text/utf8.h"

enum { TEXT_LIMIT = 1 << 30 };

struct work {
    const struct tr_tokenizer *t; /* borrows */
    struct tr_matcher *matcher;
    struct tr_spans pieces, spare, words;
    struct tr_bpe_work bpe;
    struct tr_buf spaced; /* a piece with a space before it */
    struct tr_ids *out;   /* borrows */
};

static enum tr_status encode_word(struct work *w, const char *text, size_t size,
                                  struct tr_err *err)
{
    const struct tr_tokenizer *t = w->t;
    return tr_bpe_encode(&t->bpe, &t->vocabulary, text, size, &w->bpe, w->out, err);
}

static enum tr_status encode_piece(struct work *w, const char *text, size_t size,
                                   struct tr_err *err)
{
    const struct tr_splitter *s = &w->t->splitter;
    enum tr_status st = TR_OK;
    if (s->prefix_space && text[0] != ' ') {
        tr_buf_clear(&w->spaced);
        st = tr_buf_put(&w->spaced, " ", 1, err);
        if (st == TR_OK) st = tr_buf_put(&w->spaced, text, size, err);
        if (st != TR_OK) return st;
        text = w->spaced.at;
        size = w->spaced.size;
    }
    if (!s->words) return encode_word(w, text, size, err);
    w->words.count = 0;
    st = tr_split_matches(s->words, w->matcher, text, 0, size, &w->words, err);
    for (size_t i = 0; i < w->words.count && st == TR_OK; i++) {
        struct tr_span x = w->words.at[i];
        st = encode_word(w, text + x.begin, x.end - x.begin, err);
    }
    return st;
}

static enum tr_status encode_plain(struct work *w, const char *text, size_t size,
                                   struct tr_err *err)
{
    enum tr_status st =
        tr_split_run(&w->t->splitter, w->matcher, text, size, &w->pieces, &w->spare, err);
    for (size_t i = 0; i < w->pieces.count && st == TR_OK; i++) {
        struct tr_span x = w->pieces.at[i];
        st = encode_piece(w, text + x.begin, x.end - x.begin, err);
    }
    return st;
}

typedef enum tr_status encode_fn(struct work *w, const char *text, size_t size,
                                 struct tr_err *err);

/* Puts the added tokens that the trie finds; what lies between them goes to `gap`. */
static enum tr_status cut(struct work *w, const struct tr_trie *trie, const char *text,
                          size_t size, encode_fn *gap, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    size_t done = 0, from = 0, begin = 0, end = 0;
    while (st == TR_OK) {
        int32_t i = tr_trie_find(trie, text, size, from, &begin, &end);
        if (i < 0) break;
        from = end;
        const struct tr_added *a = &w->t->added[i];
        if (!tr_added_fits(a, text, size, done, &begin, &end)) continue;
        if (begin > done) st = gap(w, text + done, begin - done, err);
        if (st == TR_OK) st = tr_ids_put(w->out, &a->id, 1, err);
        done = end;
    }
    if (st == TR_OK && done < size) st = gap(w, text + done, size - done, err);
    return st;
}

static enum tr_status encode_gap(struct work *w, const char *text, size_t size,
                                 struct tr_err *err)
{
    char *nfc = NULL;
    enum tr_status st = TR_OK;
    if (w->t->nfc) st = tr_text_nfc(text, size, &nfc, &size, err);
    if (st == TR_OK)
        st = cut(w, &w->t->normalized, nfc ? nfc : text, size, encode_plain, err);
    free(nfc);
    return st;
}

enum tr_status tr_tokenizer_encode(const struct tr_tokenizer *t, const char *text,
                                   size_t size, struct tr_ids *out, struct tr_err *err)
{
    struct work w = {.t = t, .out = out};
    struct tr_buf repaired;
    tr_buf_init(&w.spaced, TEXT_LIMIT);
    tr_buf_init(&repaired, TEXT_LIMIT);
    enum tr_status st = TR_OK;
    if (size == 0) return TR_OK;
    if (size > TEXT_LIMIT / 4)
        return tr_err_set(err, TR_BADARG, "a text of %zu bytes is over 256 MiB", size);
    st = tr_matcher_create(&w.matcher, err);
    if (st == TR_OK && tr_utf8_valid(text, size) != size) {
        st = tr_utf8_repair(text, size, &repaired, err);
        text = repaired.at;
        size = repaired.size;
    }
    if (st == TR_OK) st = cut(&w, &t->plain, text, size, encode_gap, err);
    tr_matcher_destroy(w.matcher);
    tr_spans_fini(&w.pieces);
    tr_spans_fini(&w.spare);
    tr_spans_fini(&w.words);
    tr_bpe_work_fini(&w.bpe);
    tr_buf_fini(&w.spaced);
    tr_buf_fini(&repaired);
    return st;
}

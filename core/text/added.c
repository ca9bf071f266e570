#include "core/text/added.h"

#include <stdlib.h>

#include "core/text/utf8.h"

void tr_trie_init(struct tr_trie *t)
{
    *t = (struct tr_trie){0};
    for (int i = 0; i < 256; i++) t->root[i] = -1;
}

static int32_t find_child(const struct tr_trie *t, int32_t first, unsigned char byte)
{
    while (first >= 0 && t->node[first].byte != byte) first = t->node[first].sibling;
    return first;
}

static enum tr_status add_node(struct tr_trie *t, unsigned char byte, struct tr_err *err)
{
    if (t->count == t->room) {
        int32_t room = t->room ? t->room * 2 : 256;
        struct tr_trie_node *node =
            room < INT32_MAX / 2 ? realloc(t->node, (size_t)room * sizeof *node) : NULL;
        if (!node) return tr_err_set(err, TR_NOMEM, "added tokens: %d nodes", room);
        t->node = node;
        t->room = room;
    }
    t->node[t->count++] = (struct tr_trie_node){-1, -1, -1, byte};
    return TR_OK;
}

enum tr_status tr_trie_put(struct tr_trie *t, const char *text, size_t size,
                           int32_t token, struct tr_err *err)
{
    int32_t parent = -1;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        int32_t first = parent < 0 ? t->root[byte] : t->node[parent].child;
        int32_t n = find_child(t, first, byte);
        if (n < 0) {
            enum tr_status st = add_node(t, byte, err);
            if (st != TR_OK) return st;
            n = t->count - 1;
            if (parent < 0) {
                t->root[byte] = n;
            } else {
                t->node[n].sibling = first;
                t->node[parent].child = n;
            }
        }
        parent = n;
    }
    if (parent >= 0 && t->node[parent].token < 0) t->node[parent].token = token;
    return TR_OK;
}

int32_t tr_trie_find(const struct tr_trie *t, const char *text, size_t size, size_t from,
                     size_t *begin, size_t *end)
{
    int32_t token = -1;
    for (size_t at = from; at < size && token < 0; at++) {
        int32_t n = t->root[(unsigned char)text[at]];
        for (size_t i = at; n >= 0;) {
            i++;
            if (t->node[n].token >= 0) {
                token = t->node[n].token;
                *begin = at;
                *end = i;
            }
            n = i < size ? find_child(t, t->node[n].child, (unsigned char)text[i]) : -1;
        }
    }
    return token;
}

void tr_trie_fini(struct tr_trie *t)
{
    free(t->node);
    tr_trie_init(t);
}

/* The last character of text, [size]: where it begins. */
static size_t last_char(const char *text, size_t size)
{
    size_t at = size - 1;
    while (at > 0 && (text[at] & 0xC0) == 0x80) at--;
    return at;
}

static size_t first_len(const char *text, size_t size)
{
    size_t len;
    (void)tr_utf8_next((const unsigned char *)text, size, &len);
    return len;
}

static bool touches_word(const char *text, size_t size, size_t begin, size_t end)
{
    if (begin > 0) {
        size_t at = last_char(text, begin);
        if (tr_point_is_word(tr_utf8_point(text + at, begin - at))) return true;
    }
    if (end == size) return false;
    return tr_point_is_word(tr_utf8_point(text + end, first_len(text + end, size - end)));
}

bool tr_added_fits(const struct tr_added *a, const char *text, size_t size, size_t from,
                   size_t *begin, size_t *end)
{
    if (a->single_word && touches_word(text, size, *begin, *end)) return false;
    while (a->lstrip && *begin > from) {
        size_t at = last_char(text, *begin);
        if (at < from || !tr_point_is_space(tr_utf8_point(text + at, *begin - at))) break;
        *begin = at;
    }
    while (a->rstrip && *end < size) {
        size_t len = first_len(text + *end, size - *end);
        if (!tr_point_is_space(tr_utf8_point(text + *end, len))) break;
        *end += len;
    }
    return true;
}

/* added.h - tokens that are cut out of a text before anything else looks at it.
 *
 * What it is for. "<|im_end|>" in a text is one token, whatever the merges would make of it.
 * The longest added token at the leftmost place wins, as in the peer.
 *
 * The data. Two tries over bytes: tokens searched in the text as it came, and those marked
 * `normalized`, searched (in their own normalised spelling) after the normaliser.
 *
 * Invariants.
 *   1. A search takes at most (length of the longest token) steps at each byte. */
#ifndef TR_TEXT_ADDED_H
#define TR_TEXT_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct tr_added {
    int32_t id;
    bool lstrip, rstrip; /* swallows white space before, after */
    bool single_word;    /* only where no word character touches it */
    bool normalized;
};

struct tr_trie_node {
    int32_t child, sibling; /* -1: none */
    int32_t token;          /* index of the added token that ends here, or -1 */
    unsigned char byte;
};

struct tr_trie {
    struct tr_trie_node *node; /* owns */
    int32_t count, room;
    int32_t root[256]; /* first nodes by byte, or -1 */
};

void tr_trie_init(struct tr_trie *t);
/* A text put twice keeps its first token. */
enum tr_status tr_trie_put(struct tr_trie *t, const char *text, size_t size,
                           int32_t token, struct tr_err *err);
/* The leftmost longest token at or after `from`; its number or -1; *begin and *end. */
int32_t tr_trie_find(const struct tr_trie *t, const char *text, size_t size, size_t from,
                     size_t *begin, size_t *end);
void tr_trie_fini(struct tr_trie *t);

/* Applies single_word, lstrip and rstrip to a match at [*begin, *end) of text: false when the
 * match does not count. `from` is where the last one ended. */
bool tr_added_fits(const struct tr_added *a, const char *text, size_t size, size_t from,
                   size_t *begin, size_t *end);

#endif

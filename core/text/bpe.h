/* bpe.h - byte pair encoding of one piece of text.
 *
 * What it is for. A piece (about a word) starts as one token a byte; the pair of neighbours
 * with the lowest rank in the merge table becomes one token, leftmost first, until no pair of
 * neighbours is in the table.
 *
 * The data. An open hash table (left id, right id) -> (rank, merged id). Working memory is the
 * caller's and is reused from piece to piece: a linked list of symbols and a heap of pairs.
 *
 * Invariants.
 *   1. Encoding n bytes takes O(n log n), whatever the bytes.
 *   2. A byte without a token of its own is dropped, or becomes `unk` if there is one. */
#ifndef TR_TEXT_BPE_H
#define TR_TEXT_BPE_H

#include "core/text/tokenizer.h"
#include "core/text/vocabulary.h"

struct tr_merge {
    int32_t left, right; /* left is -1 in a free slot */
    int32_t rank, id;
};

struct tr_bpe {
    struct tr_merge *slot; /* [slots], owns */
    uint32_t slots;
    int32_t byte_id[256];
    int32_t words; /* ids of the model itself are below this: added tokens are not */
    int32_t unk;   /* -1: none */
    bool fuse_unk;
    bool ignore_merges; /* a piece that is a token as a whole stays whole */
};

struct tr_symbol {
    int32_t id, prev, next; /* id is -1 when merged away */
};

struct tr_pair {
    int32_t rank, at, id;
};

struct tr_bpe_work {
    struct tr_symbol *symbol; /* owns; [room] */
    struct tr_pair *heap;     /* owns; [3 * room] */
    char *spelling;           /* owns; [2 * room] */
    int64_t room, pairs;
};

/* Bytes' ids come from v, which must hold all words of the model. */
enum tr_status tr_bpe_init(struct tr_bpe *b, const struct tr_vocabulary *v,
                           int64_t merges, struct tr_err *err);
/* The next merge, by ids. TR_BADARG when left + right is no word. A pair given twice keeps its
 * last rank, as in the peer. */
enum tr_status tr_bpe_add(struct tr_bpe *b, const struct tr_vocabulary *v, int32_t left,
                          int32_t right, int32_t rank, struct tr_err *err);
enum tr_status tr_bpe_encode(const struct tr_bpe *b, const struct tr_vocabulary *v,
                             const char *bytes, size_t size, struct tr_bpe_work *w,
                             struct tr_ids *out, struct tr_err *err);
void tr_bpe_fini(struct tr_bpe *b);
void tr_bpe_work_fini(struct tr_bpe_work *w);

#endif

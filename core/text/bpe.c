#include "core/text/bpe.h"

#include <stdlib.h>
#include <string.h>

static uint32_t slot_of(const struct tr_bpe *b, int32_t left, int32_t right)
{
    uint64_t h =
        ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15ULL;
    return (uint32_t)(h >> 32) & (b->slots - 1);
}

/* The slot that holds the pair, or the free one where it belongs. */
static struct tr_merge *look(const struct tr_bpe *b, int32_t left, int32_t right)
{
    uint32_t at = slot_of(b, left, right);
    while (b->slot[at].left >= 0 &&
           (b->slot[at].left != left || b->slot[at].right != right))
        at = (at + 1) & (b->slots - 1);
    return &b->slot[at];
}

enum tr_status tr_bpe_init(struct tr_bpe *b, const struct tr_vocabulary *v,
                           int64_t merges, struct tr_err *err)
{
    *b = (struct tr_bpe){.unk = -1, .slots = 64, .words = v->count};
    if (merges > INT32_MAX / 4) return tr_err_set(err, TR_BADARG, "too many merges");
    while (b->slots / 2 < (uint64_t)merges) b->slots *= 2;
    b->slot = malloc(b->slots * sizeof *b->slot);
    if (!b->slot) return tr_err_set(err, TR_NOMEM, "%u merge slots", b->slots);
    memset(b->slot, 0xFF, b->slots * sizeof *b->slot);
    for (int i = 0; i < 256; i++) {
        char byte = (char)i, text[2];
        size_t size = tr_vocabulary_spell(v, &byte, 1, text);
        b->byte_id[i] = tr_vocabulary_find(v, text, size);
    }
    return TR_OK;
}

enum tr_status tr_bpe_add(struct tr_bpe *b, const struct tr_vocabulary *v, int32_t left,
                          int32_t right, int32_t rank, struct tr_err *err)
{
    int32_t id = tr_vocabulary_find_pair(v, left, right);
    if (id < 0)
        return tr_err_set(err, TR_BADARG, "'%.40s' + '%.40s' is not in the vocabulary",
                          v->blob + v->word[left].at, v->blob + v->word[right].at);
    *look(b, left, right) = (struct tr_merge){left, right, rank, id};
    return TR_OK;
}

static enum tr_status make_room(struct tr_bpe_work *w, size_t size, struct tr_err *err)
{
    if ((int64_t)size <= w->room) return TR_OK;
    if (size > INT32_MAX / 4) return tr_err_set(err, TR_BADARG, "a piece over 512 MiB");
    int64_t room = w->room ? w->room : 256;
    while (room < (int64_t)size) room *= 2;
    tr_bpe_work_fini(w);
    w->symbol = malloc((size_t)room * sizeof *w->symbol);
    w->heap = malloc(3 * (size_t)room * sizeof *w->heap);
    w->spelling = malloc(2 * (size_t)room);
    if (!w->symbol || !w->heap || !w->spelling) {
        tr_bpe_work_fini(w);
        (void)tr_err_set(err, TR_NOMEM, "a piece of %zu bytes", size);
        return TR_NOMEM;
    }
    w->room = room;
    return TR_OK;
}

/* Lower rank first, then the leftmost. */
static bool is_before(struct tr_pair a, struct tr_pair b)
{
    return a.rank < b.rank || (a.rank == b.rank && a.at < b.at);
}

static void push(struct tr_bpe_work *w, struct tr_pair p)
{
    int64_t i = w->pairs++;
    for (; i > 0 && is_before(p, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = p;
}

static struct tr_pair pop(struct tr_bpe_work *w)
{
    struct tr_pair top = w->heap[0], last = w->heap[--w->pairs];
    int64_t i = 0;
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= w->pairs) break;
        if (child + 1 < w->pairs && is_before(w->heap[child + 1], w->heap[child]))
            child++;
        if (!is_before(w->heap[child], last)) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

static void offer(const struct tr_bpe *b, struct tr_bpe_work *w, int32_t at)
{
    int32_t next = w->symbol[at].next;
    if (next < 0) return;
    const struct tr_merge *m = look(b, w->symbol[at].id, w->symbol[next].id);
    if (m->left >= 0) push(w, (struct tr_pair){m->rank, at, m->id});
}

/* One symbol a byte; bytes without one are dropped or unknown. Returns their number. */
static int32_t split(const struct tr_bpe *b, const char *bytes, size_t size,
                     struct tr_bpe_work *w)
{
    int32_t n = 0;
    bool unknown = false;
    for (size_t i = 0; i < size; i++) {
        int32_t id = b->byte_id[(unsigned char)bytes[i]];
        bool fused = id < 0 && unknown && b->fuse_unk;
        unknown = id < 0;
        if (unknown) id = b->unk;
        if (id < 0 || fused) continue;
        w->symbol[n] = (struct tr_symbol){id, n - 1, n + 1};
        n++;
    }
    if (n > 0) w->symbol[n - 1].next = -1;
    return n;
}

static void merge(const struct tr_bpe *b, struct tr_bpe_work *w, int32_t n)
{
    w->pairs = 0;
    for (int32_t i = 0; i + 1 < n; i++) offer(b, w, i);
    while (w->pairs > 0) {
        struct tr_pair p = pop(w);
        struct tr_symbol *s = &w->symbol[p.at];
        if (s->id < 0 || s->next < 0) continue;
        struct tr_symbol *t = &w->symbol[s->next];
        const struct tr_merge *m = look(b, s->id, t->id);
        if (m->left < 0 || m->id != p.id) continue; /* its parts have changed since */
        s->id = p.id;
        s->next = t->next;
        t->id = -1;
        if (t->next >= 0) w->symbol[t->next].prev = p.at;
        if (s->prev >= 0) offer(b, w, s->prev);
        offer(b, w, p.at);
    }
}

/* The id of the piece as a whole if it is a word of the model, or -1. */
static int32_t whole(const struct tr_bpe *b, const struct tr_vocabulary *v,
                     const char *bytes, size_t size, struct tr_bpe_work *w)
{
    size_t n = tr_vocabulary_spell(v, bytes, size, w->spelling);
    int32_t id = tr_vocabulary_find(v, w->spelling, n);
    return id < b->words ? id : -1;
}

enum tr_status tr_bpe_encode(const struct tr_bpe *b, const struct tr_vocabulary *v,
                             const char *bytes, size_t size, struct tr_bpe_work *w,
                             struct tr_ids *out, struct tr_err *err)
{
    enum tr_status st = make_room(w, size, err);
    if (st != TR_OK || size == 0) return st;
    if (b->ignore_merges) {
        int32_t id = whole(b, v, bytes, size, w);
        if (id >= 0) return tr_ids_put(out, &id, 1, err);
    }
    int32_t n = split(b, bytes, size, w);
    merge(b, w, n);
    for (int32_t i = n > 0 ? 0 : -1; i >= 0 && st == TR_OK; i = w->symbol[i].next)
        st = tr_ids_put(out, &w->symbol[i].id, 1, err);
    return st;
}

void tr_bpe_fini(struct tr_bpe *b)
{
    free(b->slot);
    *b = (struct tr_bpe){0};
}

void tr_bpe_work_fini(struct tr_bpe_work *w)
{
    free(w->symbol);
    free(w->heap);
    free(w->spelling);
    *w = (struct tr_bpe_work){0};
}

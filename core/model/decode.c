#include "core/model/decode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/layer.h"
#include "kernels/linear.h"
#include "kernels/norm.h"

/* A slot is free (page NULL is never the sign: `used` is) or holds `length` positions in
 * ceil(length / 64) pages. Free pages are a stack. */
struct slot {
    bool used;
    bool named; /* seen in the inputs of this step */
    int64_t length;
    float **page; /* [pages_each] */
};

struct tr_decode {
    struct tr_arch arch;
    struct tr_decode_size size;
    struct tr_arena arena; /* owns; all below borrow from it */
    struct tr_angles angles;
    struct slot *slot; /* [max_sequences] */
    float **free_page; /* [pages], the first n_free are free */
    int64_t n_free;
    struct tr_span *span;          /* [max_sequences] */
    int32_t *token, *position;     /* [max_tokens] */
    float *x;                      /* [max_tokens, d] */
    struct tr_layer_arrays arrays; /* of max_tokens rows */
    float *last, *hidden;          /* [max_sequences, d] */
    float *logits;                 /* [max_sequences, V] */
    float *pages;                  /* the pool */
};

static int64_t pages_for(int64_t length)
{
    return (length + TR_PAGE - 1) / TR_PAGE;
}

/* The longest that a sequence can become. */
static int64_t longest(const struct tr_arch *a, const struct tr_decode_size *size)
{
    int64_t most = size->pages * TR_PAGE;
    return most < a->max_positions ? most : a->max_positions;
}

/* Floats of one page: all layers. */
static int64_t page_floats(const struct tr_arch *a)
{
    const struct tr_attention shape = tr_layer_attention(a);
    return a->L * tr_page_floats(&shape);
}

static void plan_rows(struct tr_claim *c, struct tr_decode *t)
{
    const struct tr_arch *a = &t->arch;
    const int64_t T = t->size.max_tokens;
    t->token = tr_claim_bytes(c, (size_t)T * sizeof *t->token);
    t->position = tr_claim_bytes(c, (size_t)T * sizeof *t->position);
    t->x = tr_claim_floats(c, T * a->d);
    t->arrays = (struct tr_layer_arrays){
        .n = tr_claim_floats(c, T * a->d),
        .q = tr_claim_floats(c, T * a->H * a->D),
        .o = tr_claim_floats(c, T * a->H * a->D),
        .k = tr_claim_floats(c, T * a->Kv * a->D),
        .v = tr_claim_floats(c, T * a->Kv * a->D),
        .mid = tr_claim_floats(c, T * a->d),
        .g = tr_claim_floats(c, T * a->F),
        .u = tr_claim_floats(c, T * a->F),
        .a = tr_claim_floats(c, T * a->F),
    };
}

static void plan(struct tr_claim *c, struct tr_decode *t)
{
    const struct tr_arch *a = &t->arch;
    const int64_t B = t->size.max_sequences;
    const int64_t each = pages_for(longest(a, &t->size));
    tr_angles_claim(c, a, longest(a, &t->size), &t->angles);
    t->slot = tr_claim_bytes(c, (size_t)B * sizeof *t->slot);
    for (int64_t s = 0; s < B; s++) {
        float **page = tr_claim_bytes(c, (size_t)each * sizeof *page);
        if (t->slot) t->slot[s].page = page;
    }
    t->free_page = tr_claim_bytes(c, (size_t)t->size.pages * sizeof *t->free_page);
    t->span = tr_claim_bytes(c, (size_t)B * sizeof *t->span);
    plan_rows(c, t);
    t->last = tr_claim_floats(c, B * a->d);
    t->hidden = tr_claim_floats(c, B * a->d);
    t->logits = tr_claim_floats(c, B * a->V);
    t->pages = tr_claim_floats(c, t->size.pages * page_floats(a));
}

size_t tr_decode_bytes(const struct tr_arch *a, const struct tr_decode_size *size)
{
    struct tr_claim count = {0};
    struct tr_decode t = {.arch = *a, .size = *size};
    plan(&count, &t);
    return count.bytes;
}

enum tr_status tr_decode_create(const struct tr_arch *a,
                                const struct tr_decode_size *size, struct tr_decode **out,
                                struct tr_err *err)
{
    const int64_t most = 1 << 24;
    *out = NULL;
    if (size->max_sequences < 1 || size->max_tokens < 1 || size->pages < 1 ||
        size->max_sequences > most || size->max_tokens > most || size->pages > most)
        return tr_err_set(
            err, TR_BADARG,
            "KV cache: expected 1 to 2^24 sequences, tokens and pages, found "
            "%lld, %lld, %lld",
            (long long)size->max_sequences, (long long)size->max_tokens,
            (long long)size->pages);
    struct tr_decode *t = calloc(1, sizeof *t);
    if (!t) return tr_err_set(err, TR_NOMEM, "KV cache: no memory");
    t->arch = *a;
    t->size = *size;
    enum tr_status st =
        tr_arena_init(&t->arena, tr_decode_bytes(a, size), "KV cache", err);
    if (st != TR_OK) {
        free(t);
        return st;
    }
    struct tr_claim take = {.arena = &t->arena};
    plan(&take, t);
    /* The first page is on top of the stack: memory is touched as it is needed. */
    for (int64_t i = size->pages - 1; i >= 0; i--)
        t->free_page[t->n_free++] = t->pages + i * page_floats(a);
    *out = t;
    return TR_OK;
}

void tr_decode_destroy(struct tr_decode *t)
{
    if (!t) return;
    tr_arena_fini(&t->arena);
    free(t);
}

enum tr_status tr_decode_enter(struct tr_decode *t, int64_t *slot, struct tr_err *err)
{
    for (int64_t s = 0; s < t->size.max_sequences; s++)
        if (!t->slot[s].used) {
            t->slot[s].used = true;
            t->slot[s].length = 0;
            *slot = s;
            return TR_OK;
        }
    return tr_err_set(err, TR_NOMEM, "KV cache: all %lld sequences are taken",
                      (long long)t->size.max_sequences);
}

static struct slot *slot_at(const struct tr_decode *t, int64_t slot)
{
    assert(slot >= 0 && slot < t->size.max_sequences && t->slot[slot].used);
    return &t->slot[slot];
}

void tr_decode_leave(struct tr_decode *t, int64_t slot)
{
    struct slot *s = slot_at(t, slot);
    for (int64_t i = pages_for(s->length) - 1; i >= 0; i--)
        t->free_page[t->n_free++] = s->page[i];
    s->used = false;
    s->length = 0;
}

int64_t tr_decode_length(const struct tr_decode *t, int64_t slot)
{
    return slot_at(t, slot)->length;
}

int64_t tr_decode_free_pages(const struct tr_decode *t)
{
    return t->n_free;
}

static enum tr_status check_input(const struct tr_decode *t,
                                  const struct tr_decode_input *in, struct tr_err *err)
{
    if (in->slot < 0 || in->slot >= t->size.max_sequences || !t->slot[in->slot].used)
        return tr_err_set(err, TR_BADARG, "decode: slot %lld holds no sequence",
                          (long long)in->slot);
    if (t->slot[in->slot].named)
        return tr_err_set(err, TR_BADARG, "decode: slot %lld is named twice in a step",
                          (long long)in->slot);
    int64_t room = t->arch.max_positions - t->slot[in->slot].length;
    if (in->count < 1 || in->count > room)
        return tr_err_set(err, TR_BADARG,
                          "decode: slot %lld: expected 1 to %lld more tokens, found %lld",
                          (long long)in->slot, (long long)room, (long long)in->count);
    for (int64_t i = 0; i < in->count; i++)
        if (in->token[i] < 0 || in->token[i] >= t->arch.V)
            return tr_err_set(err, TR_BADARG,
                              "decode: slot %lld: expected ids below %lld, found %d",
                              (long long)in->slot, (long long)t->arch.V, in->token[i]);
    return TR_OK;
}

/* All inputs against slots, room and pool; nothing is changed. */
static enum tr_status check_step(struct tr_decode *t, const struct tr_decode_input *in,
                                 int64_t n, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int64_t tokens = 0;
    int64_t pages = 0;
    int64_t checked = 0;
    if (n < 1 || n > t->size.max_sequences)
        return tr_err_set(err, TR_BADARG,
                          "decode: expected 1 to %lld sequences, found %lld",
                          (long long)t->size.max_sequences, (long long)n);
    for (; checked < n && st == TR_OK; checked++) {
        const struct tr_decode_input *i = &in[checked];
        st = check_input(t, i, err);
        if (st != TR_OK) break;
        struct slot *s = &t->slot[i->slot];
        s->named = true;
        tokens += i->count;
        pages += pages_for(s->length + i->count) - pages_for(s->length);
    }
    for (int64_t i = 0; i < checked; i++) t->slot[in[i].slot].named = false;
    if (st != TR_OK) return st;
    if (tokens > t->size.max_tokens)
        return tr_err_set(err, TR_BADARG,
                          "decode: expected at most %lld tokens, found %lld",
                          (long long)t->size.max_tokens, (long long)tokens);
    if (pages > t->n_free)
        return tr_err_set(err, TR_NOMEM, "KV cache: %lld pages wanted, %lld free",
                          (long long)pages, (long long)t->n_free);
    return TR_OK;
}

/* Places without a key are zero, whatever the page held before. */
static void take_pages(struct tr_decode *t, struct slot *s, int64_t count)
{
    const size_t bytes = (size_t)page_floats(&t->arch) * sizeof(float);
    for (int64_t i = pages_for(s->length); i < pages_for(s->length + count); i++) {
        s->page[i] = t->free_page[--t->n_free];
        memset(s->page[i], 0, bytes);
    }
}

/* Lays the inputs end to end and gives them their pages. Returns the longest sequence. */
static int64_t lay_step(struct tr_decode *t, const struct tr_decode_input *in, int64_t n,
                        int64_t *T)
{
    int64_t most = 0;
    *T = 0;
    for (int64_t i = 0; i < n; i++) {
        struct slot *s = &t->slot[in[i].slot];
        take_pages(t, s, in[i].count);
        t->span[i] = (struct tr_span){s->page, *T, s->length, in[i].count};
        memcpy(t->token + *T, in[i].token, (size_t)in[i].count * sizeof *t->token);
        for (int64_t j = 0; j < in[i].count; j++)
            t->position[*T + j] = (int32_t)(s->length + j);
        *T += in[i].count;
        s->length += in[i].count;
        if (s->length > most) most = s->length;
    }
    return most;
}

/* Last norm and logits, of each input's last row only. */
static void finish_step(struct tr_decode *t, const struct tr_pass *p)
{
    const struct tr_arch *a = &t->arch;
    const struct tr_param *norm = tr_params_outer(tr_weights_params(p->w))->norm;
    const struct tr_mat W = tr_weights_matrix(p->w, tr_weights_output(p->w));
    for (int64_t i = 0; i < p->S; i++)
        memcpy(t->last + i * a->d, t->x + (p->span[i].row + p->span[i].count - 1) * a->d,
               (size_t)a->d * sizeof(float));
    tr_rmsnorm(p->ex, t->last, tr_weights_vector(p->w, norm), a->eps, p->S, a->d,
               t->hidden, NULL);
    tr_linear_forward(p->ex, t->hidden, p->S, &W, NULL, t->logits);
}

enum tr_status tr_decode_step(struct tr_decode *t, const struct tr_exec *ex,
                              const struct tr_weights *w,
                              const struct tr_decode_input *in, int64_t n, float **logits,
                              struct tr_err *err)
{
    struct tr_layer_arrays y = t->arrays;
    const struct tr_attention shape = tr_layer_attention(&t->arch);
    *logits = NULL;
    enum tr_status st = check_step(t, in, n, err);
    if (st != TR_OK) return st;
    struct tr_pass p = {
        .ex = ex,
        .arch = &t->arch,
        .w = w,
        .S = n,
        .span = t->span,
        .token = t->token,
        .position = t->position,
        .cos = t->angles.cos,
        .sin = t->angles.sin,
    };
    tr_angles_fill(&t->angles, &t->arch, lay_step(t, in, n, &p.T));
    tr_embed(&p, t->x);
    for (int64_t l = 0; l < t->arch.L; l++) {
        y.pages = l * tr_page_floats(&shape);
        tr_layer_attend(&p, l, t->x, &y);
        tr_layer_feed(&p, l, &y, t->x);
    }
    finish_step(t, &p);
    *logits = t->logits;
    return TR_OK;
}

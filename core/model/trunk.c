#include "core/model/trunk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/trunk_parts.h"
#include "kernels/norm.h"

static int64_t max_pages(const struct tr_trunk_size *size)
{
    return size->max_tokens / TR_PAGE + size->max_sequences;
}

static bool keeps_all(const struct tr_trunk_size *size)
{
    return size->training && !size->recompute;
}

/* The arrays that every layer needs for itself when all is kept. */
static void plan_layer(struct tr_claim *c, const struct tr_arch *a, int64_t T,
                       bool training, struct tr_layer_arrays *y)
{
    y->q = tr_claim_floats(c, T * a->H * a->D);
    y->o = tr_claim_floats(c, T * a->H * a->D);
    y->lse = training ? tr_claim_floats(c, T * a->H) : NULL;
    y->mid = tr_claim_floats(c, T * a->d);
    y->g = tr_claim_floats(c, T * a->F);
    y->u = tr_claim_floats(c, T * a->F);
}

static void plan_layers(struct tr_claim *c, struct tr_trunk *t)
{
    const struct tr_arch *a = &t->arch;
    const struct tr_attention shape = tr_layer_attention(a);
    const int64_t T = t->size.max_tokens;
    const int64_t layer_pages = max_pages(&t->size) * tr_page_floats(&shape);
    struct tr_layer_arrays y = {
        .n = tr_claim_floats(c, T * a->d),
        .k = tr_claim_floats(c, T * a->Kv * a->D),
        .v = tr_claim_floats(c, T * a->Kv * a->D),
        .a = tr_claim_floats(c, T * a->F),
    };
    t->arrays = tr_claim_bytes(c, (size_t)a->L * sizeof *t->arrays);
    for (int64_t l = 0; l < a->L; l++) {
        if (!l || keeps_all(&t->size)) plan_layer(c, a, T, t->size.training, &y);
        y.pages = keeps_all(&t->size) ? l * layer_pages : 0;
        if (t->arrays) t->arrays[l] = y;
    }
    t->pages = tr_claim_floats(c, (keeps_all(&t->size) ? a->L : 1) * layer_pages);
}

static void plan_backward(struct tr_claim *c, struct tr_trunk *t)
{
    const struct tr_arch *a = &t->arch;
    const int64_t T = t->size.max_tokens;
    t->back = (struct tr_backward_arrays){
        .dx = tr_claim_floats(c, T * a->d),
        .r = tr_claim_floats(c, T),
        .d_o = tr_claim_floats(c, T * a->H * a->D),
        .dq = tr_claim_floats(c, T * a->H * a->D),
        .dg = tr_claim_floats(c, T * a->F),
        .du = tr_claim_floats(c, T * a->F),
    };
}

static void plan(struct tr_claim *c, struct tr_trunk *t)
{
    const struct tr_arch *a = &t->arch;
    const int64_t T = t->size.max_tokens;
    tr_angles_claim(c, a, a->max_positions, &t->angles);
    t->x = tr_claim_bytes(c, (size_t)(a->L + 1) * sizeof *t->x);
    float *x = NULL;
    for (int64_t l = 0; l <= a->L; l++) {
        if (!l || t->size.training) x = tr_claim_floats(c, T * a->d);
        if (t->x) t->x[l] = x;
    }
    plan_layers(c, t);
    t->hidden = tr_claim_floats(c, T * a->d);
    t->page = tr_claim_bytes(c, (size_t)max_pages(&t->size) * sizeof *t->page);
    t->span = tr_claim_bytes(c, (size_t)t->size.max_sequences * sizeof *t->span);
    t->position = tr_claim_bytes(c, (size_t)T * sizeof *t->position);
    if (t->size.training) plan_backward(c, t);
}

size_t tr_trunk_bytes(const struct tr_arch *a, const struct tr_trunk_size *size)
{
    struct tr_claim count = {0};
    struct tr_trunk t = {.arch = *a, .size = *size};
    plan(&count, &t);
    return count.bytes;
}

enum tr_status tr_trunk_create(const struct tr_arch *a, const struct tr_trunk_size *size,
                               struct tr_trunk **out, struct tr_err *err)
{
    *out = NULL;
    if (size->max_tokens < 1 || size->max_tokens > 1 << 30 || size->max_sequences < 1 ||
        size->max_sequences > 1 << 30)
        return tr_err_set(
            err, TR_BADARG,
            "trunk: expected 1 to 2^30 tokens and sequences, found %lld and "
            "%lld",
            (long long)size->max_tokens, (long long)size->max_sequences);
    struct tr_trunk *t = calloc(1, sizeof *t);
    if (!t) return tr_err_set(err, TR_NOMEM, "trunk: no memory");
    t->arch = *a;
    t->size = *size;
    enum tr_status st =
        tr_arena_init(&t->arena, tr_trunk_bytes(a, size), "activations", err);
    if (st != TR_OK) {
        free(t);
        return st;
    }
    struct tr_claim take = {.arena = &t->arena};
    plan(&take, t);
    *out = t;
    return TR_OK;
}

void tr_trunk_destroy(struct tr_trunk *t)
{
    if (!t) return;
    tr_arena_fini(&t->arena);
    free(t);
}

static enum tr_status check_batch(const struct tr_trunk *t, const struct tr_batch *b,
                                  struct tr_err *err)
{
    if (b->T < 1 || b->T > t->size.max_tokens || b->S < 1 || b->S > t->size.max_sequences)
        return tr_err_set(
            err, TR_BADARG,
            "batch: expected 1 to %lld tokens in 1 to %lld sequences, found "
            "%lld in %lld",
            (long long)t->size.max_tokens, (long long)t->size.max_sequences,
            (long long)b->T, (long long)b->S);
    if (b->start[0] != 0 || b->start[b->S] != b->T)
        return tr_err_set(err, TR_BADARG,
                          "batch: expected sequences from 0 to %lld, found %lld to %lld",
                          (long long)b->T, (long long)b->start[0],
                          (long long)b->start[b->S]);
    for (int64_t s = 0; s < b->S; s++) {
        int64_t length = b->start[s + 1] - b->start[s];
        if (length < 1 || length > t->arch.max_positions)
            return tr_err_set(
                err, TR_BADARG,
                "batch: sequence %lld: expected 1 to %lld tokens, found %lld",
                (long long)s, (long long)t->arch.max_positions, (long long)length);
    }
    for (int64_t i = 0; i < b->T; i++) {
        if (b->token[i] < 0 || b->token[i] >= t->arch.V)
            return tr_err_set(err, TR_BADARG,
                              "batch: token %lld: expected an id below %lld, found %d",
                              (long long)i, (long long)t->arch.V, b->token[i]);
        if (b->position &&
            (b->position[i] < 0 || b->position[i] >= t->arch.max_positions))
            return tr_err_set(
                err, TR_BADARG,
                "batch: token %lld: expected a position below %lld, found %d",
                (long long)i, (long long)t->arch.max_positions, b->position[i]);
    }
    return TR_OK;
}

/* Gives each sequence its pages. */
static void lay_pages(struct tr_trunk *t, const struct tr_batch *b)
{
    const struct tr_attention shape = tr_layer_attention(&t->arch);
    const int64_t floats = tr_page_floats(&shape);
    int64_t next = 0;
    for (int64_t s = 0; s < b->S; s++) {
        int64_t length = b->start[s + 1] - b->start[s];
        t->span[s] = (struct tr_span){t->page + next, b->start[s], 0, length};
        for (int64_t i = 0; i * TR_PAGE < length; i++, next++)
            t->page[next] = t->pages + next * floats;
    }
    assert(next <= max_pages(&t->size));
}

/* The place of the last page that this batch leaves empty must be zero, and held an earlier
 * batch's keys. */
static void zero_tails(struct tr_trunk *t, const struct tr_batch *b, int64_t offset)
{
    const struct tr_attention shape = tr_layer_attention(&t->arch);
    const size_t bytes = (size_t)tr_page_floats(&shape) * sizeof(float);
    for (int64_t s = 0; s < b->S; s++)
        if (t->span[s].count % TR_PAGE)
            memset(t->span[s].page[t->span[s].count / TR_PAGE] + offset, 0, bytes);
}

static int64_t fill_positions(struct tr_trunk *t, const struct tr_batch *b)
{
    int32_t most = 0;
    for (int64_t s = 0; s < b->S; s++)
        for (int64_t i = b->start[s]; i < b->start[s + 1]; i++) {
            t->position[i] = b->position ? b->position[i] : (int32_t)(i - b->start[s]);
            if (t->position[i] > most) most = t->position[i];
        }
    return (int64_t)most + 1;
}

enum tr_status tr_trunk_pass(struct tr_trunk *t, const struct tr_exec *ex,
                             const struct tr_weights *w, const struct tr_batch *b,
                             struct tr_pass *out, struct tr_err *err)
{
    enum tr_status st = check_batch(t, b, err);
    if (st != TR_OK) return st;
    lay_pages(t, b);
    tr_angles_fill(&t->angles, &t->arch, fill_positions(t, b));
    *out = (struct tr_pass){
        .ex = ex,
        .arch = &t->arch,
        .w = w,
        .T = b->T,
        .S = b->S,
        .span = t->span,
        .token = b->token,
        .position = t->position,
        .cos = t->angles.cos,
        .sin = t->angles.sin,
    };
    return TR_OK;
}

enum tr_status tr_trunk_forward(struct tr_trunk *t, const struct tr_exec *ex,
                                const struct tr_weights *w, const struct tr_batch *b,
                                void (*layer)(void *ctx, int64_t l, const float *x),
                                void *ctx, const float **hidden, struct tr_err *err)
{
    struct tr_pass p;
    const struct tr_arch *a = &t->arch;
    *hidden = NULL;
    enum tr_status st = tr_trunk_pass(t, ex, w, b, &p, err);
    if (st != TR_OK) return st;
    tr_embed(&p, t->x[0]);
    if (layer) layer(ctx, 0, t->x[0]);
    for (int64_t l = 0; l < a->L; l++) {
        if (!l || keeps_all(&t->size)) zero_tails(t, b, t->arrays[l].pages);
        tr_layer_attend(&p, l, t->x[l], &t->arrays[l]);
        tr_layer_feed(&p, l, &t->arrays[l], t->x[l + 1]);
        if (layer) layer(ctx, l + 1, t->x[l + 1]);
    }
    const struct tr_param *norm = tr_params_outer(tr_weights_params(w))->norm;
    tr_rmsnorm(ex, t->x[a->L], tr_weights_vector(w, norm), a->eps, b->T, a->d, t->hidden,
               NULL);
    *hidden = t->hidden;
    return TR_OK;
}

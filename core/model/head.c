#include "core/model/head.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/claim.h"
#include "kernels/linear.h"
#include "kernels/softmax.h"

enum { BLOCK_BYTES = 64 << 20 };

struct tr_head {
    struct tr_arena arena; /* owns; all below borrow from it */
    int64_t V, d, block;
    float *z;      /* [block, V] logits, then their gradient */
    float *h, *dh; /* [block, d] the rows gathered, their gradient */
    float *logp, *entropy, *lse, *dlogp; /* [block] */
};

static void plan(struct tr_claim *c, struct tr_head *h)
{
    h->z = tr_claim_floats(c, h->block * h->V);
    h->h = tr_claim_floats(c, h->block * h->d);
    h->dh = tr_claim_floats(c, h->block * h->d);
    h->logp = tr_claim_floats(c, h->block);
    h->entropy = tr_claim_floats(c, h->block);
    h->lse = tr_claim_floats(c, h->block);
    h->dlogp = tr_claim_floats(c, h->block);
}

static struct tr_head shape(const struct tr_arch *a, int64_t max_rows)
{
    int64_t most = BLOCK_BYTES / (a->V * (int64_t)sizeof(float));
    if (most < 1) most = 1;
    return (struct tr_head){
        .V = a->V, .d = a->d, .block = max_rows < most ? max_rows : most};
}

size_t tr_head_bytes(const struct tr_arch *a, int64_t max_rows)
{
    struct tr_claim count = {0};
    struct tr_head h = shape(a, max_rows);
    plan(&count, &h);
    return count.bytes;
}

enum tr_status tr_head_create(const struct tr_arch *a, int64_t max_rows,
                              struct tr_head **out, struct tr_err *err)
{
    *out = NULL;
    if (max_rows < 1)
        return tr_err_set(err, TR_BADARG, "head: expected 1 row or more, found %lld",
                          (long long)max_rows);
    struct tr_head *h = malloc(sizeof *h);
    if (!h) return tr_err_set(err, TR_NOMEM, "head: no memory");
    *h = shape(a, max_rows);
    enum tr_status st =
        tr_arena_init(&h->arena, tr_head_bytes(a, max_rows), "block of logits", err);
    if (st != TR_OK) {
        free(h);
        return st;
    }
    struct tr_claim take = {.arena = &h->arena};
    plan(&take, h);
    *out = h;
    return TR_OK;
}

void tr_head_destroy(struct tr_head *h)
{
    if (!h) return;
    tr_arena_fini(&h->arena);
    free(h);
}

static void gather(const struct tr_head *h, const float *hidden, const int64_t *row,
                   int64_t k)
{
    for (int64_t i = 0; i < k; i++)
        memcpy(h->h + i * h->d, hidden + row[i] * h->d, (size_t)h->d * sizeof *h->h);
}

/* dhidden[row] += dh: rows are distinct, so one addition an element. */
static void scatter(const struct tr_head *h, float *dhidden, const int64_t *row,
                    int64_t k)
{
    for (int64_t i = 0; i < k; i++) {
        float *to = dhidden + row[i] * h->d;
        const float *from = h->dh + i * h->d;
        for (int64_t j = 0; j < h->d; j++) to[j] += from[j];
    }
}

/* Logits of rows i0 .. i0+k-1 into the block. Returns k. */
static int64_t fill_block(const struct tr_head *h, const struct tr_exec *ex,
                          const struct tr_mat *W, const float *hidden,
                          const struct tr_head_rows *r, int64_t i0)
{
    int64_t k = r->n - i0 < h->block ? r->n - i0 : h->block;
    gather(h, hidden, r->row + i0, k);
    tr_linear_forward(ex, h->h, k, W, NULL, h->z);
    return k;
}

void tr_head_logprob(struct tr_head *h, const struct tr_exec *ex,
                     const struct tr_weights *w, const float *hidden,
                     const struct tr_head_rows *r, float *logp, float *entropy)
{
    const struct tr_mat W = tr_weights_matrix(w, tr_weights_output(w));
    for (int64_t i = 0, k; i < r->n; i += k) {
        k = fill_block(h, ex, &W, hidden, r, i);
        tr_logprob(ex, h->z, k, h->V, r->target + i, logp ? logp + i : NULL, NULL,
                   entropy ? entropy + i : NULL);
    }
}

/* NOLINTNEXTLINE(readability-function-size): weights, rows, loss and two outputs in one pass */
void tr_head_train(struct tr_head *h, const struct tr_exec *ex,
                   const struct tr_weights *w, const float *hidden,
                   const struct tr_head_rows *r, tr_head_loss *loss, void *ctx,
                   float *dhidden, float *grad)
{
    const struct tr_mat W = tr_weights_matrix(w, tr_weights_output(w));
    const struct tr_mat dw = tr_param_matrix(ex, tr_weights_output(w), grad);
    for (int64_t i = 0, k; i < r->n; i += k) {
        k = fill_block(h, ex, &W, hidden, r, i);
        tr_logprob(ex, h->z, k, h->V, r->target + i, h->logp, h->lse, h->entropy);
        loss(ctx, i, k, h->logp, h->entropy, h->dlogp);
        tr_logprob_backward(ex, h->z, k, h->V, r->target + i, h->lse, h->dlogp);
        tr_linear_dw(ex, h->z, h->h, k, &dw);
        tr_linear_dx(ex, h->z, k, &W, 0, h->dh);
        scatter(h, dhidden, r->row + i, k);
    }
}

void tr_head_logits(struct tr_head *h, const struct tr_exec *ex,
                    const struct tr_weights *w, const float *hidden, const int64_t *row,
                    int64_t n, float *out)
{
    const struct tr_mat W = tr_weights_matrix(w, tr_weights_output(w));
    for (int64_t i = 0, k; i < n; i += k) {
        k = n - i < h->block ? n - i : h->block;
        gather(h, hidden, row + i, k);
        tr_linear_forward(ex, h->h, k, &W, NULL, out + i * h->V);
    }
}

#include "core/model/layer.h"

#include <assert.h>
#include <math.h>

#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/pointwise.h"

struct tr_attention tr_layer_attention(const struct tr_arch *a)
{
    return (struct tr_attention){a->H, a->Kv, a->D, 1.0F / sqrtf((float)a->D)};
}

static void linear(const struct tr_pass *p, const float *x, const struct tr_param *weight,
                   const struct tr_param *bias, float *y)
{
    struct tr_mat W = tr_weights_matrix(p->w, weight);
    tr_linear_forward(p->ex, x, p->T, &W, tr_weights_vector(p->w, bias), y);
}

static const struct tr_layer_params *layer_of(const struct tr_pass *p, int64_t l)
{
    return tr_params_layer(tr_weights_params(p->w), l);
}

void tr_layer_attend(const struct tr_pass *p, int64_t l, const float *x,
                     const struct tr_layer_arrays *y)
{
    const struct tr_layer_params *w = layer_of(p, l);
    const struct tr_arch *a = p->arch;
    const struct tr_attention shape = tr_layer_attention(a);
    tr_rmsnorm(p->ex, x, tr_weights_vector(p->w, w->norm1), a->eps, p->T, a->d, y->n,
               NULL);
    linear(p, y->n, w->q, w->q_bias, y->q);
    linear(p, y->n, w->k, w->k_bias, y->k);
    linear(p, y->n, w->v, w->v_bias, y->v);
    tr_rope_apply(p->ex, y->q, p->T, a->H, a->D, p->position, p->cos, p->sin, 0);
    tr_rope_apply(p->ex, y->k, p->T, a->Kv, a->D, p->position, p->cos, p->sin, 0);
    tr_kv_store(p->ex, &shape, p->span, p->S, y->pages, y->k, y->v);
    tr_attention_forward(p->ex, &shape, p->span, p->S, y->pages, y->q, y->o, y->lse);
    linear(p, y->o, w->o, w->o_bias, y->mid);
    tr_add(p->ex, x, p->T * a->d, y->mid);
}

void tr_layer_feed(const struct tr_pass *p, int64_t l, const struct tr_layer_arrays *y,
                   float *out)
{
    const struct tr_layer_params *w = layer_of(p, l);
    const struct tr_arch *a = p->arch;
    tr_rmsnorm(p->ex, y->mid, tr_weights_vector(p->w, w->norm2), a->eps, p->T, a->d, y->n,
               NULL);
    linear(p, y->n, w->gate, NULL, y->g);
    linear(p, y->n, w->up, NULL, y->u);
    if (!out) return;
    tr_swiglu(p->ex, y->g, y->u, p->T * a->F, y->a);
    linear(p, y->a, w->down, NULL, out);
    tr_add(p->ex, y->mid, p->T * a->d, out);
}

enum { EMBED_ROWS = 16 };

struct embed_job {
    const struct tr_pass *p;
    struct tr_mat m;
    float *x;
    const float *dx;
    int64_t tiles;
};

static void embed_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct embed_job *job = ctx;
    (void)scratch;
    int64_t end =
        (tile + 1) * EMBED_ROWS < job->p->T ? (tile + 1) * EMBED_ROWS : job->p->T;
    for (int64_t t = tile * EMBED_ROWS; t < end; t++)
        tr_mat_row(&job->m, job->p->token[t], job->x + t * job->m.K);
}

void tr_embed(const struct tr_pass *p, float *x)
{
    const struct tr_outer_params *o = tr_params_outer(tr_weights_params(p->w));
    struct embed_job job = {.p = p, .m = tr_weights_matrix(p->w, o->embed)};
    job.x = x;
    tr_team_run(p->ex->team, (p->T + EMBED_ROWS - 1) / EMBED_ROWS, embed_tile, &job);
}

/* A tile owns the vocabulary's panels tile, tile + tiles, ...: it walks all tokens in order, so
 * the additions to one row are in order whoever computes the tile. */
static void embed_backward_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct embed_job *job = ctx;
    (void)scratch;
    for (int64_t t = 0; t < job->p->T; t++) {
        int32_t id = job->p->token[t];
        if (id / 16 % job->tiles == tile)
            tr_mat_row_add(&job->m, id, job->dx + t * job->m.K);
    }
}

void tr_embed_backward(const struct tr_pass *p, const float *dx, float *grad)
{
    const struct tr_param *embed = tr_params_outer(tr_weights_params(p->w))->embed;
    struct embed_job job = {
        .p = p,
        .dx = dx,
        .tiles = 4 * (int64_t)tr_team_threads(p->ex->team),
    };
    job.m = (struct tr_mat){embed->N, embed->K, TR_F32, p->ex->math, NULL};
    job.m.at = grad;
    tr_team_run(p->ex->team, job.tiles, embed_backward_tile, &job);
}

void tr_angles_claim(struct tr_claim *c, const struct tr_arch *a, int64_t limit,
                     struct tr_angles *out)
{
    out->limit = limit;
    out->filled = 0;
    out->cos = tr_claim_floats(c, limit * (a->D / 2));
    out->sin = tr_claim_floats(c, limit * (a->D / 2));
}

void tr_angles_fill(struct tr_angles *g, const struct tr_arch *a, int64_t need)
{
    assert(need <= g->limit);
    if (need <= g->filled) return;
    /* A row does not depend on how many there are; doubling keeps the rewriting small. */
    int64_t P = need > 2 * g->filled ? need : 2 * g->filled;
    if (P > g->limit) P = g->limit;
    tr_rope_table(&a->rope, P, a->D, g->cos, g->sin);
    g->filled = P;
}

/* The backward pass, one layer after the other from the last.
 *
 * The order. dx [T, d] is the gradient of the residual stream at the station the pass has come
 * to. Every dW, db and norm gradient continues the chain that grad holds, over this batch's
 * tokens in order; a dX of several products is one chain through all of them.
 *   dx  = rmsnorm'(dhidden) of the last norm                       (written, not added)
 * for l = L-1 .. 0:
 *   n2, r2 and a computed again; with recompute the rest of the layer first, from x[l]
 *   dWd += dx' a;             da = dx Wd
 *   dg, du = swiglu'(da)
 *   dWg += dg' n2;            dWu += du' n2
 *   dn  = chain over the outputs of gate, then of up (dg Wg, continued by du Wu)
 *   dx  = dx + rmsnorm'(dn)   of mid, r2                            (one addition)
 *   dWo += dx' o, dbo += dx;  do = dx Wo
 *   dq, dk, dv = attention'(do); dq and dk rotated back
 *   n1, r1 computed again
 *   dWq += dq' n1, dbq += dq; then the same for k, then for v
 *   dn  = chain over the outputs of q, then of k, then of v
 *   dx  = dx + rmsnorm'(dn)   of x[l], r1
 * embed_grad[token[t]] += dx[t], t ascending. */
#include <assert.h>

#include "core/model/trunk_parts.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/pointwise.h"

struct pull {
    const struct tr_pass *p;
    const struct tr_layer_params *w;
    const struct tr_layer_arrays *y;
    const struct tr_backward_arrays *back;
    float *dn;   /* [T, d] */
    float *grad; /* flat */
};

/* One linear layer: dW += dy' x, db += dy. */
static void pull_weight(const struct pull *u, const struct tr_param *weight,
                        const struct tr_param *bias, const float *dy, const float *x)
{
    struct tr_mat dw = tr_param_matrix(u->p->ex, weight, u->grad);
    tr_linear_dw(u->p->ex, dy, x, u->p->T, &dw);
    if (bias) tr_linear_db(u->p->ex, dy, u->p->T, bias->N, u->grad + bias->at);
}

static void pull_input(const struct pull *u, const struct tr_param *weight,
                       const float *dy, int add, float *dx)
{
    struct tr_mat W = tr_weights_matrix(u->p->w, weight);
    tr_linear_dx(u->p->ex, dy, u->p->T, &W, add, dx);
}

/* n and r again, from what the norm saw. */
static void norm_again(const struct pull *u, const struct tr_param *norm, const float *x)
{
    tr_rmsnorm(u->p->ex, x, tr_weights_vector(u->p->w, norm), u->p->arch->eps, u->p->T,
               u->p->arch->d, u->y->n, u->back->r);
}

static void pull_norm(const struct pull *u, const struct tr_param *norm, const float *dy,
                      const float *x, int add)
{
    tr_rmsnorm_backward(u->p->ex, dy, x, tr_weights_vector(u->p->w, norm), u->back->r,
                        u->p->T, u->p->arch->d, add, u->back->dx, u->grad + norm->at);
}

static void pull_feed(const struct pull *u)
{
    const struct tr_layer_arrays *y = u->y;
    const int64_t n = u->p->T * u->p->arch->F;
    norm_again(u, u->w->norm2, y->mid);
    tr_swiglu(u->p->ex, y->g, y->u, n, y->a);
    pull_weight(u, u->w->down, NULL, u->back->dx, y->a);
    pull_input(u, u->w->down, u->back->dx, 0, y->a); /* a becomes da */
    tr_swiglu_backward(u->p->ex, y->g, y->u, y->a, n, u->back->dg, u->back->du);
    pull_weight(u, u->w->gate, NULL, u->back->dg, y->n);
    pull_weight(u, u->w->up, NULL, u->back->du, y->n);
    pull_input(u, u->w->gate, u->back->dg, 0, u->dn);
    pull_input(u, u->w->up, u->back->du, 1, u->dn);
    pull_norm(u, u->w->norm2, u->dn, y->mid, 1);
}

static void pull_attend(const struct pull *u, const float *x)
{
    const struct tr_pass *p = u->p;
    const struct tr_arch *a = p->arch;
    const struct tr_layer_arrays *y = u->y;
    const struct tr_attention shape = tr_layer_attention(a);
    float *dk = y->k; /* the rows were copied into pages */
    float *dv = y->v;
    pull_weight(u, u->w->o, u->w->o_bias, u->back->dx, y->o);
    pull_input(u, u->w->o, u->back->dx, 0, u->back->d_o);
    tr_attention_backward(p->ex, &shape, p->span, p->S, y->pages, y->q, y->o, y->lse,
                          u->back->d_o, u->back->dq, dk, dv);
    tr_rope_apply(p->ex, u->back->dq, p->T, a->H, a->D, p->position, p->cos, p->sin, 1);
    tr_rope_apply(p->ex, dk, p->T, a->Kv, a->D, p->position, p->cos, p->sin, 1);
    norm_again(u, u->w->norm1, x);
    pull_weight(u, u->w->q, u->w->q_bias, u->back->dq, y->n);
    pull_weight(u, u->w->k, u->w->k_bias, dk, y->n);
    pull_weight(u, u->w->v, u->w->v_bias, dv, y->n);
    pull_input(u, u->w->q, u->back->dq, 0, u->dn);
    pull_input(u, u->w->k, dk, 1, u->dn);
    pull_input(u, u->w->v, dv, 1, u->dn);
    pull_norm(u, u->w->norm1, u->dn, x, 1);
}

/* The last norm: it needs r again, and n is free to take what comes with it. */
static void pull_last_norm(const struct pull *u, const float *dhidden, const float *x)
{
    const struct tr_param *norm = tr_params_outer(tr_weights_params(u->p->w))->norm;
    norm_again(u, norm, x);
    pull_norm(u, norm, dhidden, x, 0);
}

void tr_trunk_backward(struct tr_trunk *t, const struct tr_exec *ex,
                       const struct tr_weights *w, const struct tr_batch *b,
                       float *dhidden, float *grad, float *embed_grad)
{
    const int64_t L = t->arch.L;
    struct tr_pass p;
    struct pull u = {.p = &p, .y = &t->arrays[L - 1], .back = &t->back};
    u.grad = grad;
    assert(t->size.training);
    enum tr_status st = tr_trunk_pass(t, ex, w, b, &p, NULL);
    assert(st == TR_OK); /* forward took this batch */
    (void)st;
    pull_last_norm(&u, dhidden, t->x[L]);
    u.dn = dhidden; /* used up: its memory is free now */
    for (int64_t l = L - 1; l >= 0; l--) {
        u.w = tr_params_layer(tr_weights_params(w), l);
        u.y = &t->arrays[l];
        if (t->size.recompute &&
            l < L - 1) { /* the last layer's arrays are still there */
            tr_layer_attend(&p, l, t->x[l], u.y);
            tr_layer_feed(&p, l, u.y, NULL);
        }
        pull_feed(&u);
        pull_attend(&u, t->x[l]);
    }
    tr_embed_backward(&p, t->back.dx, embed_grad);
}

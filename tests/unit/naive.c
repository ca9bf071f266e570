/* The transformer in doubles: RMSNorm, rotary halves, causal grouped attention, SwiGLU. One
 * token at a time, every key and value kept, no blocking and no cleverness. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/tiny.h"

struct naive {
    const struct tr_arch *a;
    const struct tr_params *p;
    double *const *tensor;
    double *keys, *values; /* [L, T, Kv, D] of the sequence */
    double *turn;          /* [T, D/2]: cosine and sine of each angle, side by side */
    int64_t T;
};

static const double *tensor_of(const struct naive *m, const struct tr_param *p)
{
    return p ? m->tensor[tr_params_index(m->p, p)] : NULL;
}

static void product(const double *W, const double *bias, const double *x, int64_t N,
                    int64_t K, double *y)
{
    for (int64_t n = 0; n < N; n++) {
        y[n] = bias ? bias[n] : 0;
        for (int64_t k = 0; k < K; k++) y[n] += W[n * K + k] * x[k];
    }
}

static void norm(const double *x, const double *w, double eps, int64_t d, double *y)
{
    double ss = 0;
    for (int64_t i = 0; i < d; i++) ss += x[i] * x[i];
    for (int64_t i = 0; i < d; i++) y[i] = w[i] * x[i] / sqrt(ss / (double)d + eps);
}

static double frequency(const struct tr_rope *r, int64_t i, int64_t D)
{
    double f = pow(r->theta, -2.0 * (double)i / (double)D);
    if (r->kind == TR_ROPE_PLAIN) return f;
    double turns = r->original_length * f / (2 * 3.14159265358979323846);
    if (turns > r->high_freq_factor) return f;
    if (turns < r->low_freq_factor) return f / r->factor;
    double s = (turns - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - s) * f / r->factor + s * f;
}

static void fill_turns(const struct naive *m, const struct tr_batch *b)
{
    const int64_t D = m->a->D;
    for (int64_t s = 0; s < b->S; s++)
        for (int64_t t = b->start[s]; t < b->start[s + 1]; t++)
            for (int64_t i = 0; i < D / 2; i++) {
                int64_t position = b->position ? b->position[t] : t - b->start[s];
                double angle = (double)position * frequency(&m->a->rope, i, D);
                m->turn[t * D + 2 * i] = cos(angle);
                m->turn[t * D + 2 * i + 1] = sin(angle);
            }
}

static void rotate(const struct naive *m, double *x, int64_t heads, int64_t t)
{
    const int64_t D = m->a->D;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < D / 2; i++) {
            const double *turn = m->turn + t * D + 2 * i;
            double *u = x + h * D + i;
            double *v = u + D / 2;
            double p = *u * turn[0] - *v * turn[1];
            double q = *v * turn[0] + *u * turn[1];
            *u = p;
            *v = q;
        }
}

/* One head of one query at place t of its sequence, whose keys so far are there. */
static void attend(const struct tr_arch *a, const double *q, const double *keys,
                   const double *values, int64_t t, double *o)
{
    double most = -(double)INFINITY;
    double sum = 0;
    double *s = malloc((size_t)(t + 1) * sizeof *s);
    assert(s);
    for (int64_t k = 0; k <= t; k++) {
        s[k] = 0;
        for (int64_t i = 0; i < a->D; i++) s[k] += q[i] * keys[k * a->Kv * a->D + i];
        s[k] /= sqrt((double)a->D);
        most = fmax(most, s[k]);
    }
    for (int64_t i = 0; i < a->D; i++) o[i] = 0;
    for (int64_t k = 0; k <= t; k++) {
        double e = exp(s[k] - most);
        sum += e;
        for (int64_t i = 0; i < a->D; i++) o[i] += e * values[k * a->Kv * a->D + i];
    }
    for (int64_t i = 0; i < a->D; i++) o[i] /= sum;
    free(s);
}

/* Token `token` of the batch, place t of its sequence. */
static void layer(const struct naive *m, int64_t l, int64_t t, int64_t token, double *x)
{
    const struct tr_arch *a = m->a;
    const struct tr_layer_params *w = tr_params_layer(m->p, l);
    const int64_t row = a->Kv * a->D;
    double *keys = m->keys + l * m->T * row;
    double *values = m->values + l * m->T * row;
    double n[64];
    double q[64];
    double o[64];
    double y[64];
    double g[64];
    double u[64];
    assert(a->d <= 64 && a->H * a->D <= 64 && a->F <= 64);
    norm(x, tensor_of(m, w->norm1), (double)a->eps, a->d, n);
    product(tensor_of(m, w->q), tensor_of(m, w->q_bias), n, a->H * a->D, a->d, q);
    product(tensor_of(m, w->k), tensor_of(m, w->k_bias), n, row, a->d, keys + t * row);
    product(tensor_of(m, w->v), tensor_of(m, w->v_bias), n, row, a->d, values + t * row);
    rotate(m, q, a->H, token);
    rotate(m, keys + t * row, a->Kv, token);
    for (int64_t h = 0; h < a->H; h++) {
        int64_t at = h / (a->H / a->Kv) * a->D;
        attend(a, q + h * a->D, keys + at, values + at, t, o + h * a->D);
    }
    product(tensor_of(m, w->o), tensor_of(m, w->o_bias), o, a->d, a->H * a->D, y);
    for (int64_t i = 0; i < a->d; i++) x[i] += y[i];
    norm(x, tensor_of(m, w->norm2), (double)a->eps, a->d, n);
    product(tensor_of(m, w->gate), NULL, n, a->F, a->d, g);
    product(tensor_of(m, w->up), NULL, n, a->F, a->d, u);
    for (int64_t i = 0; i < a->F; i++) u[i] *= g[i] / (1 + exp(-g[i]));
    product(tensor_of(m, w->down), NULL, u, a->d, a->F, y);
    for (int64_t i = 0; i < a->d; i++) x[i] += y[i];
}

static double log_prob(const struct naive *m, const double *h, int32_t wanted)
{
    const struct tr_outer_params *o = tr_params_outer(m->p);
    const struct tr_arch *a = m->a;
    double z[128];
    double most = -(double)INFINITY;
    double sum = 0;
    assert(a->V <= 128);
    product(tensor_of(m, a->tied ? o->embed : o->lm_head), NULL, h, a->V, a->d, z);
    for (int64_t v = 0; v < a->V; v++) most = fmax(most, z[v]);
    for (int64_t v = 0; v < a->V; v++) sum += exp(z[v] - most);
    return z[wanted] - most - log(sum);
}

double naive_run(const struct tr_params *p, double *const *tensor,
                 const struct tiny_loss *loss, double *logp, double *value,
                 double *hidden)
{
    const struct tr_batch *b = loss->b;
    const struct tr_arch *a = tr_params_arch(p);
    const struct tr_outer_params *o = tr_params_outer(p);
    const size_t kv = (size_t)(a->L * b->T * a->Kv * a->D);
    double total = 0;
    struct naive m = {.a = a, .p = p, .tensor = tensor, .T = b->T};
    m.keys = calloc(kv, sizeof(double));
    m.values = calloc(kv, sizeof(double));
    m.turn = calloc((size_t)(b->T * a->D), sizeof(double));
    assert(m.keys && m.values && m.turn);
    fill_turns(&m, b);
    for (int64_t s = 0; s < b->S; s++)
        for (int64_t t = b->start[s]; t < b->start[s + 1]; t++) {
            double x[64];
            double h[64];
            double v = 0;
            int64_t place = t - b->start[s];
            const double *e = tensor_of(&m, o->embed) + b->token[t] * a->d;
            for (int64_t i = 0; i < a->d; i++) x[i] = e[i];
            for (int64_t l = 0; l < a->L; l++) layer(&m, l, place, t, x);
            norm(x, tensor_of(&m, o->norm), (double)a->eps, a->d, h);
            product(tensor_of(&m, o->value_weight), tensor_of(&m, o->value_bias), h, 1,
                    a->d, &v);
            double lp = log_prob(&m, h, loss->wanted[t]);
            total += (double)loss->coef[t] * lp + (double)loss->value_coef[t] * v;
            if (logp) logp[t] = lp;
            if (value) value[t] = v;
            for (int64_t i = 0; hidden && i < a->d; i++) hidden[t * a->d + i] = h[i];
        }
    free(m.keys);
    free(m.values);
    free(m.turn);
    return total;
}

#include "actors/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/philox.h"

static void fill(float *x, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++) x[i] = value;
}

enum tr_status tr_draw_model(const struct tr_exec *ex, const struct tr_params *params,
                             uint64_t seed, double std, float *flat, struct tr_err *err)
{
    struct tr_philox key = tr_philox_key(seed, TR_FOR_INIT);
    int64_t most = 1;
    for (int64_t i = 0; i < tr_params_count(params); i++) {
        int64_t n = tr_param_elements(tr_params_get(params, i));
        if (n > most) most = n;
    }
    float *hf = malloc((size_t)most * sizeof *hf);
    if (!hf)
        return tr_err_set(err, TR_NOMEM, "weights: a tensor of %lld numbers",
                          (long long)most);
    for (int64_t i = 0; i < tr_params_count(params); i++) {
        const struct tr_param *p = tr_params_get(params, i);
        int64_t n = tr_param_elements(p);
        if (p->kind == TR_PARAM_VALUE_HEAD) continue;
        if (p->kind == TR_PARAM_MATRIX)
            tr_philox_normal(key, (uint32_t)i, n, std, hf);
        else
            fill(hf, n, strstr(p->name, "bias") ? 0 : 1);
        tr_params_pack(ex, p, hf, flat);
    }
    free(hf);
    return TR_OK;
}

/* Counter (element, 0, tensor, 1): the last word keeps clear of what is drawn for matrices. */
static void draw_uniform(struct tr_philox key, uint32_t tensor, double bound, int64_t n,
                         float *out)
{
    for (int64_t i = 0; i < n; i++) {
        double u = tr_philox_uniform(key, (uint32_t)i, 0, tensor, 1);
        out[i] = (float)((2 * u - 1) * bound);
    }
}

void tr_draw_value_head(const struct tr_params *params, uint64_t seed, float *flat)
{
    struct tr_philox key = tr_philox_key(seed, TR_FOR_INIT);
    const struct tr_outer_params *o = tr_params_outer(params);
    if (!o->value_weight) return;
    double bound = 1 / sqrt((double)o->value_weight->K);
    draw_uniform(key, 0, bound, o->value_weight->K, flat + o->value_weight->at);
    draw_uniform(key, 1, bound, 1, flat + o->value_bias->at);
}

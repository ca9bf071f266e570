#include "actors/learner.h"

#include <stdlib.h>
#include <string.h>

#include "actors/draw.h"
#include "actors/learner_parts.h"
#include "core/base/json.h"
#include "core/model/claim.h"
#include "core/model/folder.h"

static void plan(struct tr_claim *c, struct tr_learner *l, const struct tr_params *params)
{
    const struct tr_arch *a = tr_params_arch(params);
    int64_t total = tr_params_total(params);
    int64_t T = l->max_tokens;
    l->master = tr_claim_floats(c, total);
    l->moment1 = tr_claim_floats(c, total);
    l->moment2 = tr_claim_floats(c, total);
    l->grad = tr_claim_floats(c, total);
    l->embed_grad =
        a->tied ? tr_claim_floats(c, tr_params_outer(params)->embed->size) : NULL;
    l->dhidden = tr_claim_floats(c, T * a->d);
    l->value = tr_claim_floats(c, T);
    l->dvalue = tr_claim_floats(c, T);
    l->row = tr_claim_bytes(c, (size_t)T * sizeof *l->row);
    l->target = tr_claim_bytes(c, (size_t)T * sizeof *l->target);
    l->start = tr_claim_bytes(c, (size_t)(l->max_sequences + 1) * sizeof *l->start);
}

static struct tr_trunk_size trunk_size(const struct tr_learner_start *s)
{
    return (struct tr_trunk_size){
        .max_tokens = s->max_tokens,
        .max_sequences = s->max_sequences,
        .training = true,
        .recompute = s->recompute,
    };
}

/* Shapes and, from a folder, the standard deviation that its config.json asks for. */
struct shapes {
    struct tr_arch arch;
    double std;
};

static enum tr_status find_shapes(const struct tr_learner_start *s, struct shapes *out,
                                  struct tr_err *err)
{
    json_t *config = NULL;
    out->std = 0.02;
    if (!s->model) {
        out->arch = *s->arch;
        return TR_OK;
    }
    enum tr_status st = tr_arch_load(s->model, &out->arch, &config, err);
    if (st == TR_OK)
        st = tr_json_real_or(config, "initializer_range", s->model, 0.02, &out->std, err);
    json_decref(config);
    return st;
}

enum tr_status tr_learner_memory(const struct tr_learner_start *s, struct tr_memory *out,
                                 struct tr_err *err)
{
    struct shapes shapes;
    struct tr_params *params = NULL;
    struct tr_trunk_size size = trunk_size(s);
    enum tr_status st = find_shapes(s, &shapes, err);
    if (st == TR_OK)
        st = tr_params_create(&shapes.arch, s->lm_head, s->value_head, &params, err);
    if (st != TR_OK) return st;
    struct tr_memory_use use = {
        .params = params,
        .training = true,
        .bf16 = s->bf16,
        .trunk = &size,
        .head_rows = s->lm_head ? s->max_tokens : 0,
    };
    tr_memory_estimate(&use, out);
    tr_memory_add(out, "micro-batch", (size_t)s->max_tokens * (size_t)shapes.arch.d * 4);
    tr_params_destroy(params);
    return TR_OK;
}

/* Refused in words here rather than killed by the kernel later. */
static enum tr_status check_memory(const struct tr_learner_start *s, struct tr_err *err)
{
    struct tr_memory need;
    size_t there = 0;
    enum tr_status st = tr_learner_memory(s, &need, err);
    if (st == TR_OK) st = tr_memory_available("", &there, err);
    return st == TR_OK ? tr_memory_check(&need, there, err) : st;
}

static enum tr_status fill_masters(struct tr_learner *l, const struct tr_learner_start *s,
                                   double std, struct tr_err *err)
{
    struct tr_folder *folder = NULL;
    bool head_found = false;
    enum tr_status st = TR_OK;
    if (s->model && !s->from_scratch) {
        st = tr_folder_open(s->model, &folder, err);
        if (st == TR_OK)
            st = tr_folder_read(folder, l->ex, l->params, l->master, &head_found, err);
        tr_folder_close(folder);
    } else {
        st = tr_draw_model(l->ex, l->params, s->seed, std, l->master, err);
    }
    if (st == TR_OK && !head_found) tr_draw_value_head(l->params, s->seed, l->master);
    return st;
}

static enum tr_status make_parts(struct tr_learner *l, const struct tr_learner_start *s,
                                 const struct tr_arch *a, struct tr_err *err)
{
    struct tr_trunk_size size = trunk_size(s);
    struct tr_claim count = {0};
    enum tr_status st = tr_params_create(a, s->lm_head, s->value_head, &l->params, err);
    if (st != TR_OK) return st;
    plan(&count, l, l->params);
    st = tr_arena_init(&l->arena, count.bytes, "masters, moments and gradient", err);
    if (st != TR_OK) return st;
    struct tr_claim take = {.arena = &l->arena};
    plan(&take, l, l->params);
    st = tr_weights_create(l->params, l->ex, s->bf16, &l->weights, err);
    if (st == TR_OK) st = tr_trunk_create(a, &size, &l->trunk, err);
    if (st == TR_OK && s->lm_head) st = tr_head_create(a, s->max_tokens, &l->head, err);
    return st;
}

enum tr_status tr_learner_open(const struct tr_exec *ex, const struct tr_learner_start *s,
                               struct tr_learner **out, struct tr_err *err)
{
    struct shapes shapes;
    *out = NULL;
    struct tr_learner *l = calloc(1, sizeof *l);
    if (!l) return tr_err_set(err, TR_NOMEM, "a learner: %zu bytes", sizeof *l);
    l->ex = ex;
    l->max_tokens = s->max_tokens;
    l->max_sequences = s->max_sequences;
    enum tr_status st = check_memory(s, err);
    if (st == TR_OK) st = find_shapes(s, &shapes, err);
    if (st == TR_OK) st = make_parts(l, s, &shapes.arch, err);
    if (st == TR_OK) st = fill_masters(l, s, shapes.std, err);
    if (st != TR_OK) goto done;
    tr_learner_refresh(l);
    *out = l;
    l = NULL;

done:
    tr_learner_close(l);
    return st;
}

void tr_learner_close(struct tr_learner *l)
{
    if (!l) return;
    tr_head_destroy(l->head);
    tr_trunk_destroy(l->trunk);
    tr_weights_destroy(l->weights);
    tr_arena_fini(&l->arena);
    tr_params_destroy(l->params);
    free(l);
}

const struct tr_weights *tr_learner_weights(const struct tr_learner *l)
{
    return l->weights;
}

const struct tr_params *tr_learner_params(const struct tr_learner *l)
{
    return l->params;
}

const struct tr_arch *tr_learner_arch(const struct tr_learner *l)
{
    return tr_params_arch(l->params);
}

const struct tr_exec *tr_learner_exec(const struct tr_learner *l)
{
    return l->ex;
}

enum tr_status tr_learner_digest(const struct tr_learner *l, struct tr_digest *out,
                                 struct tr_err *err)
{
    return tr_weights_digest(l->weights, l->ex, out, err);
}

struct tr_learner_state tr_learner_state(struct tr_learner *l)
{
    return (struct tr_learner_state){l->master, l->moment1, l->moment2, &l->t};
}

void tr_learner_refresh(struct tr_learner *l)
{
    tr_weights_refresh(l->weights, l->ex, l->master);
}

void tr_learner_rest(struct tr_learner *l)
{
    size_t total = (size_t)tr_params_total(l->params);
    tr_arena_release(&l->arena, l->grad, total * sizeof *l->grad);
    if (!l->embed_grad) return;
    total = (size_t)tr_params_outer(l->params)->embed->size;
    tr_arena_release(&l->arena, l->embed_grad, total * sizeof *l->embed_grad);
}

static void hash_tensor(struct tr_hash *h, const struct tr_learner *l,
                        const struct tr_param *p, float *hf)
{
    const float *const part[3] = {l->master, l->moment1, l->moment2};
    tr_hash_put(h, p->name, strlen(p->name) + 1);
    tr_hash_put_u64(h, (uint64_t)p->N);
    tr_hash_put_u64(h, (uint64_t)p->K);
    for (int i = 0; i < 3; i++) {
        tr_params_unpack(l->ex, p, part[i], hf);
        tr_hash_put(h, hf, (size_t)tr_param_elements(p) * sizeof *hf);
    }
}

enum tr_status tr_learner_state_digest(struct tr_learner *l, struct tr_digest *out,
                                       struct tr_err *err)
{
    struct tr_hash *h = NULL;
    int64_t most = 1;
    for (int64_t i = 0; i < tr_params_count(l->params); i++)
        if (tr_param_elements(tr_params_get(l->params, i)) > most)
            most = tr_param_elements(tr_params_get(l->params, i));
    float *hf = malloc((size_t)most * sizeof *hf);
    if (!hf)
        return tr_err_set(err, TR_NOMEM, "state digest: a tensor of %lld numbers",
                          (long long)most);
    enum tr_status st = tr_hash_create(&h, err);
    if (st != TR_OK) goto done;
    tr_hash_put_u64(h, (uint64_t)l->t);
    for (int64_t i = 0; i < tr_params_count(l->params); i++)
        hash_tensor(h, l, tr_params_get(l->params, i), hf);
    *out = tr_hash_end(h);
    tr_hash_destroy(h);

done:
    free(hf);
    return st;
}

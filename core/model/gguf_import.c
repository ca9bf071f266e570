#include "core/model/gguf_import.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/gguf_blocks.h"
#include "core/model/gguf_tokenizer.h"
#include "core/model/half.h"
#include "core/model/params.h"
#include "core/model/safetensors.h"

enum { PATH_ROOM = 4096, NAME_ROOM = 128, TILE_ROWS = 32 };

static const int64_t stage_floats = (int64_t)2 << 20;

static const struct {
    const char *hf, *gguf;
} outer_names[] =
    {
        {"model.embed_tokens.weight", "token_embd.weight"},
        {"model.norm.weight", "output_norm.weight"},
        {"lm_head.weight", "output.weight"},
},
  layer_names[] = {
      {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
      {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"},
};

/* One tensor on its way: where from, and in which order its rows come. */
struct source {
    const struct tr_param *p;
    const struct tr_gguf_tensor *t;
    int64_t turned; /* D when each head's rows are to be put in halves, else 0 */
};

struct import {
    const struct tr_gguf *g;
    const struct tr_exec *ex;
    enum tr_st_dtype dtype;
    struct tr_arch arch;
    struct tr_params *params; /* owns */
    struct source *source;    /* owns [params] */
    float *stage;             /* owns */
    unsigned char *narrow;    /* owns */
};

/* "model.layers.3.mlp.up_proj.weight" is "blk.3.ffn_up.weight". */
static void name_in_gguf(const char *hf, char out[NAME_ROOM])
{
    long layer = 0;
    int used = 0;
    for (size_t i = 0; i < sizeof outer_names / sizeof *outer_names; i++)
        if (!strcmp(hf, outer_names[i].hf)) {
            snprintf(out, NAME_ROOM, "%s", outer_names[i].gguf);
            return;
        }
    int fields =
        sscanf(hf, "model.layers.%ld.%n", &layer, &used); // NOLINT(cert-err34-c): ours
    assert(fields == 1 && used > 0);
    for (size_t i = 0; i < sizeof layer_names / sizeof *layer_names; i++) {
        size_t size = strlen(layer_names[i].hf);
        if (!strncmp(hf + used, layer_names[i].hf, size)) {
            snprintf(out, NAME_ROOM, "blk.%ld.%s%s", layer, layer_names[i].gguf,
                     hf + used + size);
            return;
        }
    }
    snprintf(out, NAME_ROOM, "%s", hf); /* unknown to GGUF: find_source will say so */
}

static enum tr_status find_source(const struct import *im, const struct tr_param *p,
                                  struct source *s, struct tr_err *err)
{
    char name[NAME_ROOM];
    char found[96] = "nothing";
    name_in_gguf(p->name, name);
    const struct tr_gguf_tensor *t = tr_gguf_find(im->g, name);
    int64_t fast = p->K ? p->K : p->N;
    int64_t slow = p->K ? p->N : 1;
    bool turned = im->arch.family == TR_LLAMA && (strstr(p->name, "self_attn.q_proj") ||
                                                  strstr(p->name, "self_attn.k_proj"));
    *s = (struct source){p, t, turned ? im->arch.D : 0};
    /* A bias whose elements change places has to be readable one by one. */
    bool loose = !turned || p->K || (t && tr_gguf_layout(t->type)->block == 1);
    if (t && loose && t->shape[0] == fast && t->shape[1] == slow &&
        t->count == fast * slow)
        return TR_OK;
    if (t)
        snprintf(found, sizeof found, "%s [%lld, %lld]", tr_gguf_layout(t->type)->name,
                 (long long)t->shape[1], (long long)t->shape[0]);
    return tr_err_set(err, TR_BADARG, "%s: tensor %s: expected [%lld, %lld], found %s",
                      tr_gguf_where(im->g), name, (long long)slow, (long long)fast,
                      found);
}

/* Every parameter has its tensor, and every tensor is a parameter's. */
static enum tr_status find_sources(struct import *im, struct tr_err *err)
{
    int64_t count = tr_params_count(im->params);
    int64_t tensors = tr_gguf_count(im->g);
    bool *used = calloc((size_t)tensors + 1, sizeof *used);
    im->source = calloc((size_t)count, sizeof *im->source);
    enum tr_status st = TR_OK;
    if (!used || !im->source)
        st = tr_err_set(err, TR_NOMEM, "%s: %lld tensors", tr_gguf_where(im->g),
                        (long long)tensors);
    for (int64_t i = 0; i < count && st == TR_OK; i++) {
        st = find_source(im, tr_params_get(im->params, i), &im->source[i], err);
        if (st == TR_OK) used[im->source[i].t - tr_gguf_get(im->g, 0)] = true;
    }
    for (int64_t i = 0; i < tensors && st == TR_OK; i++) {
        const char *name = tr_gguf_get(im->g, i)->name;
        if (!used[i] && strcmp(name, "rope_freqs.weight") != 0)
            st = tr_err_set(err, TR_BADARG,
                            "%s: tensor %s: expected none of this name in a %s model",
                            tr_gguf_where(im->g), name,
                            im->arch.family == TR_QWEN2 ? "qwen2" : "llama");
    }
    free(used);
    return st;
}

/* Rows [row, row + n) of a tensor in Hugging Face's order, cut into tiles for the team. */
struct block {
    const struct import *im;
    const struct source *s;
    int64_t row, n, width;
};

static int64_t row_in_gguf(const struct source *s, int64_t row)
{
    if (!s->turned) return row;
    int64_t half = s->turned / 2;
    int64_t in = row % s->turned;
    return row - in + 2 * (in % half) + in / half;
}

static void block_tile(void *ctx, int64_t tile, void *scratch)
{
    (void)scratch;
    const struct block *b = ctx;
    int64_t from = tile * TILE_ROWS;
    int64_t n = b->n - from < TILE_ROWS ? b->n - from : TILE_ROWS;
    float *out = b->im->stage + from * b->width;
    for (int64_t i = 0; i < n; i++) {
        int64_t row = row_in_gguf(b->s, b->row + from + i);
        /* A bias's rows are single elements of an unquantised vector. */
        tr_gguf_floats(b->s->t, row * b->width, b->width, out + i * b->width);
    }
    unsigned char *half = b->im->narrow + 2 * from * b->width;
    if (b->im->dtype == TR_ST_BF16) tr_bf16_narrow_bytes(out, n * b->width, half);
    if (b->im->dtype == TR_ST_F16) tr_f16_narrow_array(out, n * b->width, half);
}

/* A matrix goes row by row, and so does a vector whose elements are turned; others are one row. */
static struct block whole(const struct import *im, const struct source *s)
{
    assert(s->p && s->t);
    if (s->p->K) return (struct block){im, s, 0, s->p->N, s->p->K};
    if (s->turned) return (struct block){im, s, 0, s->p->N, 1};
    return (struct block){im, s, 0, 1, s->p->N};
}

static int64_t rows_at_once(const struct block *b)
{
    int64_t rows = stage_floats / b->width;
    if (rows < 1) return 1;
    return rows < b->n ? rows : b->n;
}

static enum tr_status put_tensor(const struct import *im, const struct source *s,
                                 struct tr_st_writer *w, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    struct block all = whole(im, s);
    int64_t step = rows_at_once(&all);
    for (int64_t row = 0; row < all.n && st == TR_OK; row += step) {
        struct block b = all;
        b.row = row;
        b.n = all.n - row < step ? all.n - row : step;
        tr_team_run(im->ex->team, (b.n + TILE_ROWS - 1) / TILE_ROWS, block_tile, &b);
        size_t bytes = (size_t)(b.n * b.width) * tr_st_dtype_width(im->dtype);
        st = im->dtype == TR_ST_F32 ? tr_st_put(w, im->stage, bytes, err)
                                    : tr_st_put(w, im->narrow, bytes, err);
    }
    return st;
}

static enum tr_status write_model(const struct import *im, const char *dir,
                                  struct tr_err *err)
{
    char path[PATH_ROOM];
    struct tr_st_writer *w = NULL;
    int64_t count = tr_params_count(im->params);
    enum tr_status st = tr_path_join(path, sizeof path, dir, "model.safetensors", err);
    if (st != TR_OK) return st;
    struct tr_st_tensor *t = calloc((size_t)count, sizeof *t);
    if (!t) return tr_err_set(err, TR_NOMEM, "%s: %lld tensors", path, (long long)count);
    for (int64_t i = 0; i < count; i++) {
        const struct tr_param *p = im->source[i].p;
        t[i] = (struct tr_st_tensor){
            .name = p->name, .dtype = im->dtype, .rank = p->K ? 2 : 1};
        t[i].shape[0] = p->N;
        t[i].shape[1] = p->K;
    }
    st = tr_st_create(path, t, count, "pt", &w, err);
    for (int64_t i = 0; i < count && st == TR_OK; i++)
        st = put_tensor(im, &im->source[i], w, err);
    if (st == TR_OK) {
        st = tr_st_finish(w, err);
        w = NULL;
    }
    tr_st_abandon(w);
    free(t);
    return st;
}

static enum tr_status save(const char *dir, const char *name, json_t *value,
                           struct tr_err *err)
{
    char path[PATH_ROOM];
    enum tr_status st = tr_path_join(path, sizeof path, dir, name, err);
    if (st == TR_OK && !value) st = tr_err_set(err, TR_NOMEM, "%s: no memory", path);
    return st == TR_OK ? tr_json_save(path, value, 2, err) : st;
}

static enum tr_status write_configs(const struct import *im, const char *dir,
                                    struct tr_err *err)
{
    static const char *const ids[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    json_t *config = NULL;
    json_t *generation = json_object();
    enum tr_status st = tr_arch_config(&im->arch, &config, err);
    if (st == TR_OK) {
        const char *name = im->dtype == TR_ST_BF16  ? "bfloat16"
                           : im->dtype == TR_ST_F16 ? "float16"
                                                    : "float32";
        json_object_set_new(config, "torch_dtype", json_string(name));
        for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
            json_object_set(generation, ids[i], json_object_get(config, ids[i]));
        st = save(dir, "config.json", config, err);
    }
    if (st == TR_OK) st = save(dir, "generation_config.json", generation, err);
    json_decref(config);
    json_decref(generation);
    return st;
}

static enum tr_status import_into(struct import *im, const char *dir, struct tr_err *err)
{
    int64_t most = stage_floats;
    enum tr_status st = tr_gguf_arch(im->g, &im->arch, err);
    if (st == TR_OK) st = tr_params_create(&im->arch, true, false, &im->params, err);
    if (st == TR_OK) st = find_sources(im, err);
    if (st != TR_OK) return st;
    for (int64_t i = 0; i < tr_params_count(im->params); i++) {
        struct block b = whole(im, &im->source[i]);
        if (b.width > most) most = b.width;
    }
    im->stage = malloc((size_t)most * sizeof *im->stage);
    im->narrow = malloc((size_t)most * 2);
    if (!im->stage || !im->narrow)
        return tr_err_set(err, TR_NOMEM, "%s: %lld bytes to write through", dir,
                          (long long)most * 6);
    st = tr_dir_make(dir, err);
    if (st == TR_OK) st = write_configs(im, dir, err);
    if (st == TR_OK)
        st = tr_gguf_tokenizer_write(im->g, im->arch.V, im->arch.max_positions, dir, err);
    if (st == TR_OK) st = write_model(im, dir, err);
    return st;
}

static enum tr_status check_new(const char *dir, struct tr_err *err)
{
    int entries = 0;
    if (!tr_path_exists(dir)) return TR_OK;
    DIR *d = opendir(dir);
    if (!d)
        return tr_err_set(err, TR_BADARG, "%s: expected a new folder: %s", dir,
                          tr_err_cause(errno));
    while (readdir(d)) entries++; // NOLINT(concurrency-mt-unsafe): d is ours
    closedir(d);
    if (entries <= 2) return TR_OK; /* itself and its parent */
    return tr_err_set(err, TR_BADARG,
                      "%s: expected a new or empty folder, found %d entries", dir,
                      entries - 2);
}

/* DIR without slashes at its end, and DIR.part beside it. */
static enum tr_status name_parts(const char *dir, char clean[PATH_ROOM],
                                 char part[PATH_ROOM], struct tr_err *err)
{
    size_t size = strlen(dir);
    while (size > 1 && dir[size - 1] == '/') size--;
    int n = snprintf(clean, PATH_ROOM, "%.*s", (int)(size < PATH_ROOM ? size : PATH_ROOM),
                     dir);
    int m = snprintf(part, PATH_ROOM, "%.*s.part", PATH_ROOM - 6, clean);
    if (n > 0 && n < PATH_ROOM - 6 && m > 0) return TR_OK;
    return tr_err_set(err, TR_BADARG,
                      "expected a folder name of 1 to %d bytes, found %zu", PATH_ROOM - 7,
                      size);
}

enum tr_status tr_gguf_import(const char *path, const char *dir, enum tr_dtype dtype,
                              const struct tr_exec *ex, int64_t *weights,
                              struct tr_err *err)
{
    char clean[PATH_ROOM];
    char part[PATH_ROOM];
    struct tr_gguf *g = NULL;
    enum tr_st_dtype stored = dtype == TR_F32 ? TR_ST_F32 : TR_ST_F16;
    if (dtype == TR_BF16) stored = TR_ST_BF16;
    struct import im = {.ex = ex, .dtype = stored};
    enum tr_status st = name_parts(dir, clean, part, err);
    if (st == TR_OK) st = check_new(clean, err);
    if (st == TR_OK) st = tr_gguf_open(path, &g, err);
    if (st == TR_OK) st = tr_dir_remove(part, err); /* of an import that was cut off */
    if (st != TR_OK) goto done;
    im.g = g;
    st = import_into(&im, part, err);
    if (st == TR_OK) st = tr_dir_replace(part, clean, err);
    if (st != TR_OK) tr_dir_remove(part, NULL);
    *weights = 0;
    for (int64_t i = 0; st == TR_OK && i < tr_params_count(im.params); i++)
        *weights += im.source[i].t->count;

done:
    free(im.narrow);
    free(im.stage);
    free(im.source);
    tr_params_destroy(im.params);
    tr_gguf_close(g);
    return st;
}

#include "core/model/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"

enum { PATH_ROOM = 4096, NAME_SHOWN = 100 };

/* Rows are converted and packed a block at a time; a block is a multiple of 16 rows, so that it
 * is whole panels of the packed layout. 8 MiB stays in a shared cache. */
static const int64_t stage_floats = (int64_t)2 << 20;

struct tr_folder {
    char *dir; /* owns */
    struct tr_arch arch;
    json_t *config;           /* owns */
    struct tr_shards *shards; /* owns */
    struct tr_st *head;       /* owns; NULL without a value head */
    char notes[512];
};

/* Where tensors go: masters or forward weights. */
struct sink {
    const struct tr_exec *ex;
    float *flat;          /* or NULL */
    struct tr_weights *w; /* or NULL */
    float *stage;         /* owns */
};

static enum tr_status check_dir(const char *dir, struct tr_err *err)
{
    size_t size = strlen(dir);
    if (tr_path_is_dir(dir)) return TR_OK;
    if (size > 5 && !strcmp(dir + size - 5, ".gguf"))
        return tr_err_set(err, TR_BADARG,
                          "%s: expected a model folder, found a GGUF file: make one with "
                          "`troupe import`",
                          dir);
    return tr_err_set(err, TR_BADARG, "%s: expected a model folder, found %s", dir,
                      tr_path_exists(dir) ? "a file" : "nothing");
}

static enum tr_status open_head(struct tr_folder *f, struct tr_err *err)
{
    char path[PATH_ROOM];
    enum tr_status st =
        tr_path_join(path, sizeof path, f->dir, "value_head.safetensors", err);
    if (st != TR_OK || !tr_path_exists(path)) return st;
    return tr_st_open(path, &f->head, err);
}

static void note(struct tr_folder *f, int64_t count, const char *name)
{
    size_t used = strlen(f->notes);
    if (count == 0)
        snprintf(f->notes, sizeof f->notes, "%s: not used: %s", f->dir, name);
    else if (count < 4)
        snprintf(f->notes + used, sizeof f->notes - used, ", %s", name);
}

/* Names what the files hold and the model does not use. */
static enum tr_status note_extras(struct tr_folder *f, struct tr_err *err)
{
    int64_t extras = 0;
    struct tr_params *params = NULL;
    enum tr_status st = tr_params_create(&f->arch, true, false, &params, err);
    if (st != TR_OK) return st;
    for (int i = 0; i < tr_shards_count(f->shards); i++) {
        const struct tr_st *file = tr_shards_file(f->shards, i);
        for (int64_t j = 0; j < tr_st_count(file); j++) {
            const char *name = tr_st_get(file, j)->name;
            int in = -1;
            if (tr_params_find(params, name) && tr_shards_find(f->shards, name, &in) &&
                in == i)
                continue;
            note(f, extras++, name);
        }
    }
    tr_params_destroy(params);
    if (extras > 4) {
        size_t used = strlen(f->notes);
        snprintf(f->notes + used, sizeof f->notes - used, " and %lld more",
                 (long long)extras - 4);
    }
    return TR_OK;
}

enum tr_status tr_folder_open(const char *dir, struct tr_folder **out, struct tr_err *err)
{
    *out = NULL;
    enum tr_status st = check_dir(dir, err);
    if (st != TR_OK) return st;
    struct tr_folder *f = calloc(1, sizeof *f);
    if (f) f->dir = strdup(dir);
    if (!f || !f->dir) {
        free(f);
        return tr_err_set(err, TR_NOMEM, "%s: %zu bytes", dir, sizeof *f);
    }
    st = tr_arch_load(dir, &f->arch, &f->config, err);
    if (st == TR_OK) st = tr_shards_open(dir, &f->shards, err);
    if (st == TR_OK) st = open_head(f, err);
    if (st == TR_OK) st = note_extras(f, err);
    if (st == TR_OK)
        *out = f;
    else
        tr_folder_close(f);
    return st;
}

void tr_folder_close(struct tr_folder *f)
{
    if (!f) return;
    tr_st_close(f->head);
    tr_shards_close(f->shards);
    json_decref(f->config);
    free(f->dir);
    free(f);
}

const struct tr_arch *tr_folder_arch(const struct tr_folder *f)
{
    return &f->arch;
}

const json_t *tr_folder_config(const struct tr_folder *f)
{
    return f->config;
}

const char *tr_folder_dir(const struct tr_folder *f)
{
    return f->dir;
}

bool tr_folder_has_value_head(const struct tr_folder *f)
{
    return f->head != NULL;
}

bool tr_folder_has_lm_head(const struct tr_folder *f)
{
    return f->arch.tied || tr_shards_find(f->shards, "lm_head.weight", NULL);
}

enum tr_dtype tr_folder_dtype(const struct tr_folder *f)
{
    const struct tr_st_tensor *t =
        tr_shards_find(f->shards, "model.embed_tokens.weight", NULL);
    if (t && t->dtype == TR_ST_BF16) return TR_BF16;
    return t && t->dtype == TR_ST_F16 ? TR_F16 : TR_F32;
}

const struct tr_shards *tr_folder_shards(const struct tr_folder *f)
{
    return f->shards;
}

const struct tr_st *tr_folder_head(const struct tr_folder *f)
{
    return f->head;
}

const char *tr_folder_notes(const struct tr_folder *f)
{
    return f->notes;
}

/* Reading. First every tensor is found and checked, then they are read: a folder that cannot
 * be read changes nothing. */

static const struct tr_st_tensor *source_of(const struct tr_folder *f,
                                            const struct tr_param *p)
{
    if (p->kind != TR_PARAM_VALUE_HEAD) return tr_shards_find(f->shards, p->name, NULL);
    return f->head ? tr_st_find(f->head, p->name) : NULL;
}

/* The file to blame for a tensor. */
static const char *file_of(const struct tr_folder *f, const struct tr_param *p)
{
    int i = 0;
    if (p->kind == TR_PARAM_VALUE_HEAD) return "value_head.safetensors";
    if (tr_shards_index(f->shards) && !tr_shards_find(f->shards, p->name, &i))
        return "model.safetensors.index.json";
    return tr_shards_name(f->shards, i);
}

static enum tr_status check_tensor(const struct tr_folder *f, const struct tr_param *p,
                                   struct tr_err *err)
{
    char found[160] = "nothing";
    char want[64];
    int rank = p->K ? 2 : 1;
    if (rank == 2)
        snprintf(want, sizeof want, "[%lld, %lld]", (long long)p->N, (long long)p->K);
    else
        snprintf(want, sizeof want, "[%lld]", (long long)p->N);
    const struct tr_st_tensor *t = source_of(f, p);
    if (t) {
        bool shape =
            t->rank == rank && t->shape[0] == p->N && (rank == 1 || t->shape[1] == p->K);
        bool dtype =
            t->dtype == TR_ST_F32 || t->dtype == TR_ST_F16 || t->dtype == TR_ST_BF16;
        if (shape && dtype) return TR_OK;
        tr_st_describe(t, found, sizeof found);
    }
    return tr_err_set(err, TR_BADARG,
                      "%s/%s: tensor %.*s: expected F32, F16 or BF16 %s, found %s",
                      f->dir, file_of(f, p), NAME_SHOWN, p->name, want, found);
}

/* Widening a block, cut into tiles for the team. */
struct widen {
    const struct tr_st_tensor *t;
    int64_t from, n;
    float *out;
};

enum { WIDEN_TILE = 1 << 16 };

static void widen_tile(void *ctx, int64_t tile, void *scratch)
{
    (void)scratch;
    const struct widen *w = ctx;
    int64_t at = tile * WIDEN_TILE;
    int64_t n = w->n - at < WIDEN_TILE ? w->n - at : WIDEN_TILE;
    /* check_tensor has seen the dtype, which is all that can be wrong. */
    tr_st_floats(w->t, w->from + at, n, w->out + at, NULL);
}

static void give(const struct sink *s, const struct tr_param *p, const float *hf)
{
    if (s->w)
        tr_weights_set(s->w, s->ex, p, hf);
    else
        tr_params_pack(s->ex, p, hf, s->flat);
}

/* Rows [row, row + n) of p as a parameter of its own. Both layouts put row 16 i at 16 i K. */
static struct tr_param rows_of(const struct tr_param *p, int64_t row, int64_t n)
{
    struct tr_param part = *p;
    part.N = n;
    part.at = p->at + row * p->K;
    part.size = tr_mat_size(n, p->K);
    return part;
}

static void read_tensor(const struct tr_folder *f, const struct sink *s,
                        const struct tr_param *p)
{
    const struct tr_st_tensor *t = source_of(f, p);
    if (t->dtype == TR_ST_F32 && (uintptr_t)t->data % sizeof(float) == 0) {
        give(s, p, (const float *)(const void *)t->data); /* straight from the file */
        return;
    }
    int64_t step = tr_param_block(p, stage_floats);
    int64_t K = tr_param_width(p);
    for (int64_t row = 0; row < p->N; row += step) {
        int64_t n = p->N - row < step ? p->N - row : step;
        struct widen w = {t, row * K, n * K, s->stage};
        tr_team_run(s->ex->team, (w.n + WIDEN_TILE - 1) / WIDEN_TILE, widen_tile, &w);
        struct tr_param part = rows_of(p, row, n);
        give(s, n == p->N ? p : &part, s->stage);
    }
}

static enum tr_status read_all(const struct tr_folder *f, const struct tr_params *params,
                               struct sink *s, bool *head_found, struct tr_err *err)
{
    bool head = false;
    int64_t stage = 1;
    for (int64_t i = 0; i < tr_params_count(params); i++) {
        const struct tr_param *p = tr_params_get(params, i);
        if (p->kind == TR_PARAM_VALUE_HEAD && !f->head) continue;
        enum tr_status st = check_tensor(f, p, err);
        if (st != TR_OK) return st;
        int64_t need = tr_param_block(p, stage_floats) * tr_param_width(p);
        if (need > stage) stage = need;
    }
    s->stage = malloc((size_t)stage * sizeof *s->stage);
    if (!s->stage)
        return tr_err_set(err, TR_NOMEM, "%s: %lld bytes to read through", f->dir,
                          (long long)stage * (long long)sizeof *s->stage);
    for (int64_t i = 0; i < tr_params_count(params); i++) {
        const struct tr_param *p = tr_params_get(params, i);
        if (p->kind == TR_PARAM_VALUE_HEAD && !f->head) continue;
        if (p->kind == TR_PARAM_VALUE_HEAD) head = true;
        read_tensor(f, s, p);
    }
    free(s->stage);
    if (head_found) *head_found = head;
    return TR_OK;
}

enum tr_status tr_folder_read(const struct tr_folder *f, const struct tr_exec *ex,
                              const struct tr_params *params, float *flat,
                              bool *head_found, struct tr_err *err)
{
    struct sink s = {.ex = ex};
    s.flat = flat;
    return read_all(f, params, &s, head_found, err);
}

enum tr_status tr_folder_read_weights(const struct tr_folder *f, const struct tr_exec *ex,
                                      struct tr_weights *w, bool *head_found,
                                      struct tr_err *err)
{
    struct sink s = {.ex = ex, .w = w};
    return read_all(f, tr_weights_params(w), &s, head_found, err);
}

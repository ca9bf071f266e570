/* Writing a model folder. First a plan: which tensors, of which dtype, in which file; then the
 * files one after the other, each tensor unpacked, narrowed and written a block of rows at a
 * time. Every file is written aside, fsynced and renamed; files of an older model in the same
 * folder that would now be read by mistake are removed last. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/folder.h"
#include "core/model/half.h"

enum { PATH_ROOM = 4096, FILE_ROOM = 256, NARROW_TILE = 1 << 16 };

static const int64_t stage_floats = (int64_t)2 << 20;

/* One tensor to be written: from a parameter, or copied from another file. */
struct piece {
    const char *name; /* borrows */
    const struct tr_param *param;
    const struct tr_st_tensor *raw; /* when param is NULL */
    enum tr_st_dtype dtype;
    int64_t bytes;
    int file;
};

struct plan {
    struct piece *piece; /* owns; sorted by file, then name */
    int64_t count;
    int files;
    const struct tr_shards *like; /* borrows; names the files when not NULL */
    bool indexed;
};

/* What carries bytes from the flat buffer to a file. */
struct pump {
    const struct tr_exec *ex;
    const float *flat;
    float *stage;          /* owns */
    unsigned char *narrow; /* owns */
};

static enum tr_st_dtype dtype_in_file(enum tr_dtype d)
{
    if (d == TR_F32) return TR_ST_F32;
    return d == TR_BF16 ? TR_ST_BF16 : TR_ST_F16;
}

static bool is_float(enum tr_st_dtype d)
{
    return d == TR_ST_F32 || d == TR_ST_F16 || d == TR_ST_BF16;
}

static void file_name(const struct plan *plan, int file, char out[FILE_ROOM])
{
    if (plan->like)
        snprintf(out, FILE_ROOM, "%s", tr_shards_name(plan->like, file));
    else if (plan->indexed)
        snprintf(out, FILE_ROOM, "model-%05d-of-%05d.safetensors", file + 1, plan->files);
    else
        snprintf(out, FILE_ROOM, "model.safetensors");
}

/* The plan. */

static void add_param(struct plan *plan, const char *name, const struct tr_param *p,
                      enum tr_dtype dtype)
{
    struct piece *at = &plan->piece[plan->count++];
    *at = (struct piece){.name = name, .param = p, .dtype = dtype_in_file(dtype)};
    if (plan->like) {
        const struct tr_st_tensor *t = tr_shards_find(plan->like, name, &at->file);
        if (t && is_float(t->dtype)) at->dtype = t->dtype;
    }
    at->bytes = p->N * tr_param_width(p) * (int64_t)tr_st_dtype_width(at->dtype);
}

/* Tensors of `like` that are no parameter: a tied model's lm_head is the embedding again, the
 * rest is copied. */
static void add_extras(struct plan *plan, const struct tr_params *params,
                       enum tr_dtype dtype)
{
    const struct tr_param *embed = tr_params_find(params, "model.embed_tokens.weight");
    for (int i = 0; i < tr_shards_count(plan->like); i++) {
        const struct tr_st *file = tr_shards_file(plan->like, i);
        for (int64_t j = 0; j < tr_st_count(file); j++) {
            const struct tr_st_tensor *t = tr_st_get(file, j);
            int in = -1;
            bool there = tr_shards_find(plan->like, t->name, &in) && in == i;
            if (!there || tr_params_find(params, t->name)) continue;
            bool head = tr_params_arch(params)->tied && embed && is_float(t->dtype) &&
                        !strcmp(t->name, "lm_head.weight") && t->rank == 2 &&
                        t->shape[0] == embed->N && t->shape[1] == embed->K;
            if (head) {
                add_param(plan, t->name, embed, dtype);
                continue;
            }
            plan->piece[plan->count++] = (struct piece){.name = t->name,
                                                        .raw = t,
                                                        .dtype = t->dtype,
                                                        .bytes = (int64_t)t->bytes,
                                                        .file = i};
        }
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct piece *)a)->name, ((const struct piece *)b)->name);
}

static int by_file(const void *a, const void *b)
{
    const struct piece *x = a;
    const struct piece *y = b;
    return x->file != y->file ? (x->file > y->file) - (x->file < y->file) : by_name(a, b);
}

/* Fills shards in the order of names, each up to the limit but with one tensor at least. */
static void cut(struct plan *plan, int64_t shard_bytes)
{
    int64_t used = 0;
    plan->files = 1;
    for (int64_t i = 0; i < plan->count && shard_bytes > 0; i++) {
        struct piece *at = &plan->piece[i];
        if (used && used + at->bytes > shard_bytes) {
            plan->files++;
            used = 0;
        }
        at->file = plan->files - 1;
        used += at->bytes;
    }
    plan->indexed = plan->files > 1;
}

static enum tr_status make_plan(const char *dir, const struct tr_params *params,
                                const struct tr_folder_save *save, struct plan *plan,
                                struct tr_err *err)
{
    size_t room = (size_t)tr_params_count(params) + 1;
    *plan = (struct plan){.like = save->like ? tr_folder_shards(save->like) : NULL};
    for (int i = 0; plan->like && i < tr_shards_count(plan->like); i++)
        room += (size_t)tr_st_count(tr_shards_file(plan->like, i));
    plan->piece = calloc(room, sizeof *plan->piece);
    if (!plan->piece) return tr_err_set(err, TR_NOMEM, "%s: %zu tensors", dir, room);
    for (int64_t i = 0; i < tr_params_count(params); i++) {
        const struct tr_param *p = tr_params_get(params, i);
        if (p->kind != TR_PARAM_VALUE_HEAD) add_param(plan, p->name, p, save->dtype);
    }
    qsort(plan->piece, (size_t)plan->count, sizeof *plan->piece, by_name);
    if (!plan->like) {
        cut(plan, save->shard_bytes);
        return TR_OK;
    }
    add_extras(plan, params, save->dtype);
    plan->files = tr_shards_count(plan->like);
    plan->indexed = tr_shards_index(plan->like) != NULL;
    qsort(plan->piece, (size_t)plan->count, sizeof *plan->piece, by_file);
    return TR_OK;
}

/* The files. */

struct narrow {
    const float *x;
    int64_t n;
    enum tr_st_dtype dtype;
    unsigned char *out;
};

static void narrow_tile(void *ctx, int64_t tile, void *scratch)
{
    (void)scratch;
    const struct narrow *w = ctx;
    int64_t at = tile * NARROW_TILE;
    int64_t n = w->n - at < NARROW_TILE ? w->n - at : NARROW_TILE;
    if (w->dtype == TR_ST_BF16)
        tr_bf16_narrow_bytes(w->x + at, n, w->out + 2 * at);
    else
        tr_f16_narrow_array(w->x + at, n, w->out + 2 * at);
}

static enum tr_status put_block(const struct pump *pump, enum tr_st_dtype dtype,
                                int64_t n, struct tr_st_writer *w, struct tr_err *err)
{
    if (dtype == TR_ST_F32)
        return tr_st_put(w, pump->stage, (size_t)n * sizeof(float), err);
    struct narrow job = {pump->stage, n, dtype, pump->narrow};
    tr_team_run(pump->ex->team, (n + NARROW_TILE - 1) / NARROW_TILE, narrow_tile, &job);
    return tr_st_put(w, pump->narrow, (size_t)n * 2, err);
}

static enum tr_status put_param(const struct pump *pump, const struct piece *at,
                                struct tr_st_writer *w, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    const struct tr_param *p = at->param;
    int64_t step = tr_param_block(p, stage_floats);
    for (int64_t row = 0; row < p->N && st == TR_OK; row += step) {
        struct tr_param part = *p;
        if (step < p->N) { /* rows [row, row + N) as a parameter of its own */
            part.N = p->N - row < step ? p->N - row : step;
            part.at = p->at + row * p->K;
            part.size = tr_mat_size(part.N, p->K);
        }
        tr_params_unpack(pump->ex, &part, pump->flat, pump->stage);
        st = put_block(pump, at->dtype, part.N * tr_param_width(p), w, err);
    }
    return st;
}

static struct tr_st_tensor declared(const struct piece *at)
{
    if (!at->param) return *at->raw;
    struct tr_st_tensor t = {.name = at->name, .dtype = at->dtype, .rank = 1};
    t.shape[0] = at->param->N;
    if (at->param->K) t.shape[t.rank++] = at->param->K;
    return t;
}

/* Writes pieces [0, count), sorted by name, as one file. */
static enum tr_status write_file(const char *dir, const char *name,
                                 const struct pump *pump, const struct piece *piece,
                                 int64_t count, struct tr_err *err)
{
    char path[PATH_ROOM];
    struct tr_st_writer *w = NULL;
    struct tr_st_tensor *t = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, dir, name, err);
    if (st != TR_OK) return st;
    t = calloc((size_t)count + 1, sizeof *t);
    if (!t) return tr_err_set(err, TR_NOMEM, "%s: %lld tensors", path, (long long)count);
    for (int64_t i = 0; i < count; i++) t[i] = declared(&piece[i]);
    st = tr_st_create(path, t, count, "pt", &w, err);
    for (int64_t i = 0; i < count && st == TR_OK; i++) {
        const struct tr_st_tensor *raw = piece[i].raw;
        st = piece[i].param ? put_param(pump, &piece[i], w, err)
                            : tr_st_put(w, raw->data, raw->bytes, err);
    }
    if (st == TR_OK) {
        st = tr_st_finish(w, err);
        w = NULL;
    }
    tr_st_abandon(w);
    free(t);
    return st;
}

static enum tr_status write_index(const char *dir, const struct plan *plan,
                                  struct tr_err *err)
{
    char path[PATH_ROOM];
    char name[FILE_ROOM];
    int64_t total = 0;
    bool good = true;
    json_t *map = json_object();
    for (int64_t i = 0; i < plan->count; i++) {
        file_name(plan, plan->piece[i].file, name);
        good =
            json_object_set_new(map, plan->piece[i].name, json_string(name)) == 0 && good;
        total += plan->piece[i].bytes;
    }
    json_t *index = json_pack("{s:{s:I}, s:o}", "metadata", "total_size",
                              (json_int_t)total, "weight_map", map);
    enum tr_status st =
        tr_path_join(path, sizeof path, dir, "model.safetensors.index.json", err);
    if (st == TR_OK && (!index || !good))
        st = tr_err_set(err, TR_NOMEM, "%s: %lld tensors", path, (long long)plan->count);
    if (st == TR_OK) st = tr_json_save(path, index, 2, err);
    json_decref(index);
    return st;
}

static enum tr_status write_files(const char *dir, const struct plan *plan,
                                  const struct pump *pump, struct tr_err *err)
{
    char name[FILE_ROOM];
    enum tr_status st = TR_OK;
    int64_t from = 0;
    for (int i = 0; i < plan->files && st == TR_OK; i++) {
        int64_t to = from;
        while (to < plan->count && plan->piece[to].file == i) to++;
        file_name(plan, i, name);
        st = write_file(dir, name, pump, plan->piece + from, to - from, err);
        from = to;
    }
    if (st == TR_OK && plan->indexed) st = write_index(dir, plan, err);
    return st;
}

static enum tr_status write_head(const char *dir, const struct tr_params *params,
                                 const struct pump *pump,
                                 const struct tr_folder_save *save, struct tr_err *err)
{
    struct piece piece[2];
    int64_t count = 0;
    const struct tr_st *like = save->like ? tr_folder_head(save->like) : NULL;
    for (int64_t i = 0; i < tr_params_count(params) && count < 2; i++) {
        const struct tr_param *p = tr_params_get(params, i);
        if (p->kind != TR_PARAM_VALUE_HEAD) continue;
        const struct tr_st_tensor *t = like ? tr_st_find(like, p->name) : NULL;
        piece[count++] =
            (struct piece){.name = p->name,
                           .param = p,
                           .dtype = t && is_float(t->dtype) ? t->dtype : TR_ST_F32};
    }
    if (!count) return TR_OK;
    return write_file(dir, "value_head.safetensors", pump, piece, count, err);
}

/* What stands around the weights. */

static enum tr_status write_config(const char *dir, const struct tr_params *params,
                                   const struct tr_folder_save *save, struct tr_err *err)
{
    static const char *const names[] = {
        [TR_F32] = "float32", [TR_BF16] = "bfloat16", [TR_F16] = "float16"};
    char path[PATH_ROOM];
    json_t *config = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, dir, "config.json", err);
    if (st != TR_OK) return st;
    if (save->config)
        config = json_deep_copy(save->config);
    else
        st = tr_arch_config(tr_params_arch(params), &config, err);
    if (st != TR_OK) return st;
    bool good = config != NULL;
    if (good && !save->like) {
        /* transformers 4.56 renamed torch_dtype to dtype. */
        const char *key = json_object_get(config, "dtype") ? "dtype" : "torch_dtype";
        good = json_object_set_new(config, key, json_string(names[save->dtype])) == 0;
    }
    if (good)
        st = tr_json_save(path, config, 2, err);
    else
        st = tr_err_set(err, TR_NOMEM, "%s: no memory", path);
    json_decref(config);
    return st;
}

static enum tr_status copy_file(const char *from, const char *to, const char *name,
                                struct tr_err *err)
{
    char source[PATH_ROOM];
    char target[PATH_ROOM];
    struct tr_map map;
    enum tr_status st = tr_path_join(source, sizeof source, from, name, err);
    if (st == TR_OK) st = tr_path_join(target, sizeof target, to, name, err);
    if (st != TR_OK || !tr_path_exists(source)) return st;
    st = tr_map_open(source, &map, err);
    if (st != TR_OK) return st;
    st = tr_file_write(target, map.at, map.size, err);
    tr_map_close(&map);
    return st;
}

static enum tr_status copy_tokenizer(const char *from, const char *to, struct tr_err *err)
{
    static const char *const names[] = {
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
        "tokenizer.model",
        "chat_template.jinja",
        "chat_template.json",
        "generation_config.json",
    };
    enum tr_status st = TR_OK;
    char *a = realpath(from, NULL);
    char *b = realpath(to, NULL);
    bool same = a && b && !strcmp(a, b);
    free(a);
    free(b);
    if (same) return TR_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && st == TR_OK; i++)
        st = copy_file(from, to, names[i], err);
    return st;
}

/* A reader takes model.safetensors before an index, so what an older model left must go. */
static enum tr_status remove_stale(const char *dir, const struct plan *plan,
                                   struct tr_err *err)
{
    char path[PATH_ROOM];
    const char *stale =
        plan->indexed ? "model.safetensors" : "model.safetensors.index.json";
    for (int i = 0; plan->indexed && i < plan->files; i++) {
        char name[FILE_ROOM];
        file_name(plan, i, name);
        if (!strcmp(name, stale)) return TR_OK;
    }
    enum tr_status st = tr_path_join(path, sizeof path, dir, stale, err);
    if (st != TR_OK || !tr_path_exists(path)) return st;
    if (unlink(path) != 0) return tr_err_set(err, TR_IO, "%s: cannot remove", path);
    return tr_dir_sync(dir, err);
}

static enum tr_status pump_init(struct pump *pump, const char *dir,
                                const struct tr_params *params, struct tr_err *err)
{
    int64_t most = 1;
    for (int64_t i = 0; i < tr_params_count(params); i++) {
        const struct tr_param *p = tr_params_get(params, i);
        int64_t need = tr_param_block(p, stage_floats) * tr_param_width(p);
        if (need > most) most = need;
    }
    pump->stage = malloc((size_t)most * sizeof *pump->stage);
    pump->narrow = malloc((size_t)most * 2);
    if (pump->stage && pump->narrow) return TR_OK;
    return tr_err_set(err, TR_NOMEM, "%s: %lld bytes to write through", dir,
                      (long long)most * 6);
}

enum tr_status tr_folder_write(const char *dir, const struct tr_exec *ex,
                               const struct tr_params *params, const float *flat,
                               const struct tr_folder_save *save, struct tr_err *err)
{
    struct pump pump = {.ex = ex, .flat = flat};
    struct plan plan = {.piece = NULL};
    enum tr_status st = tr_dir_make(dir, err);
    if (st == TR_OK) st = pump_init(&pump, dir, params, err);
    if (st == TR_OK) st = make_plan(dir, params, save, &plan, err);
    if (st == TR_OK) st = write_files(dir, &plan, &pump, err);
    if (st == TR_OK) st = write_head(dir, params, &pump, save, err);
    if (st == TR_OK) st = write_config(dir, params, save, err);
    if (st == TR_OK && save->tokenizer_dir)
        st = copy_tokenizer(save->tokenizer_dir, dir, err);
    if (st == TR_OK) st = remove_stale(dir, &plan, err);
    free(plan.piece);
    free(pump.stage);
    free(pump.narrow);
    return st;
}

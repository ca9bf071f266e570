#include "actors/checkpoint.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/folder.h"

enum { TR_NAME = 128, TR_PATH = 1024 };

static const char *const moment_name[2] = {"exp_avg", "exp_avg_sq"};

/* The tensors of optimizer.safetensors, sorted by name: first moments, second moments, t. */
struct layout {
    int64_t count;
    struct tr_st_tensor *tensor; /* owns */
    char (*name)[TR_NAME];       /* owns */
    float *hf;                   /* owns: room for the largest tensor */
};

static void layout_fini(struct layout *y)
{
    free(y->tensor);
    free(y->name);
    free(y->hf);
}

static enum tr_status layout_init(struct layout *y, const struct tr_params *params,
                                  struct tr_err *err)
{
    int64_t n = tr_params_count(params);
    int64_t most = 1;
    *y = (struct layout){.count = 2 * n + 1};
    y->tensor = calloc((size_t)y->count, sizeof *y->tensor);
    y->name = calloc((size_t)y->count, sizeof *y->name);
    for (int64_t i = 0; y->tensor && y->name && i < 2 * n; i++) {
        const struct tr_param *p = tr_params_get(params, i % n);
        int64_t elements = tr_param_elements(p);
        snprintf(y->name[i], TR_NAME, "%s.%s", moment_name[i / n], p->name);
        y->tensor[i] = (struct tr_st_tensor){
            .name = y->name[i],
            .dtype = TR_ST_F32,
            .rank = p->K ? 2 : 1,
            .shape = {p->N, p->K},
            .count = elements,
        };
        if (elements > most) most = elements;
    }
    y->hf = malloc((size_t)most * sizeof *y->hf);
    if (!y->tensor || !y->name || !y->hf) {
        tr_err_set(err, TR_NOMEM, "optimizer.safetensors: %lld tensors",
                   (long long)y->count);
        layout_fini(y);
        return TR_NOMEM;
    }
    y->tensor[2 * n] = (struct tr_st_tensor){
        .name = "t", .dtype = TR_ST_I64, .rank = 1, .shape = {1}, .count = 1};
    return TR_OK;
}

static enum tr_status put_moments(struct tr_st_writer *w, struct tr_learner *l,
                                  const struct layout *y, struct tr_err *err)
{
    const struct tr_params *params = tr_learner_params(l);
    struct tr_learner_state state = tr_learner_state(l);
    const float *const moment[2] = {state.moment1, state.moment2};
    int64_t n = tr_params_count(params);
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < 2 * n && st == TR_OK; i++) {
        const struct tr_param *p = tr_params_get(params, i % n);
        tr_params_unpack(tr_learner_exec(l), p, moment[i / n], y->hf);
        st = tr_st_put(w, y->hf, (size_t)tr_param_elements(p) * sizeof *y->hf, err);
    }
    return st == TR_OK ? tr_st_put(w, state.t, sizeof *state.t, err) : st;
}

static enum tr_status write_moments(struct tr_learner *l, const char *dir,
                                    struct tr_err *err)
{
    char path[TR_PATH];
    struct layout y;
    struct tr_st_writer *w = NULL;
    enum tr_status st = layout_init(&y, tr_learner_params(l), err);
    if (st != TR_OK) return st;
    st = tr_path_join(path, sizeof path, dir, "optimizer.safetensors", err);
    if (st == TR_OK) st = tr_st_create(path, y.tensor, y.count, "pt", &w, err);
    if (st == TR_OK) st = put_moments(w, l, &y, err);
    if (st == TR_OK) {
        st = tr_st_finish(w, err);
        w = NULL;
    }
    if (w) tr_st_abandon(w);
    layout_fini(&y);
    return st;
}

static enum tr_status write_identity(struct tr_learner *l, const char *dir,
                                     struct tr_err *err)
{
    char path[TR_PATH];
    char text[65];
    struct tr_digest digest;
    enum tr_status st = tr_learner_state_digest(l, &digest, err);
    if (st == TR_OK) st = tr_path_join(path, sizeof path, dir, "learner.json", err);
    if (st != TR_OK) return st;
    tr_digest_text(&digest, text);
    json_t *doc = json_pack("{s:I, s:s}", "t", (json_int_t)*tr_learner_state(l).t,
                            "state_digest", text);
    st = doc ? tr_json_save(path, doc, 2, err)
             : tr_err_set(err, TR_NOMEM, "%s: no memory", path);
    json_decref(doc);
    return st;
}

enum tr_status tr_checkpoint_write(struct tr_learner *l, const char *dir,
                                   const char *source, bool optimiser, struct tr_err *err)
{
    json_t *config = NULL;
    struct tr_arch arch;
    enum tr_status st = TR_OK;
    if (source) st = tr_arch_load(source, &arch, &config, err);
    if (st != TR_OK) return st;
    struct tr_folder_save save = {
        .config = config, .tokenizer_dir = source, .dtype = TR_F32};
    st = tr_folder_write(dir, tr_learner_exec(l), tr_learner_params(l),
                         tr_learner_state(l).master, &save, err);
    json_decref(config);
    if (st == TR_OK && optimiser) st = write_moments(l, dir, err);
    if (st == TR_OK && optimiser) st = write_identity(l, dir, err);
    if (st == TR_OK) st = tr_dir_sync(dir, err);
    return st;
}

static enum tr_status read_masters(struct tr_learner *l, const char *dir,
                                   struct tr_err *err)
{
    struct tr_folder *folder = NULL;
    bool head = false;
    enum tr_status st = tr_folder_open(dir, &folder, err);
    if (st == TR_OK)
        st = tr_folder_read(folder, tr_learner_exec(l), tr_learner_params(l),
                            tr_learner_state(l).master, &head, err);
    tr_folder_close(folder);
    if (st == TR_OK && !head && tr_params_outer(tr_learner_params(l))->value_weight)
        st = tr_err_set(err, TR_BADARG, "%s: value_head.safetensors is missing", dir);
    return st;
}

static enum tr_status read_tensor(struct tr_learner *l, const struct tr_st *file,
                                  const char *path, const struct layout *y, int64_t i,
                                  struct tr_err *err)
{
    const struct tr_st_tensor *want = &y->tensor[i];
    const struct tr_st_tensor *found = tr_st_find(file, want->name);
    struct tr_learner_state state = tr_learner_state(l);
    int64_t n = tr_params_count(tr_learner_params(l));
    char expected[96];
    char text[96] = "nothing";
    if (found) tr_st_describe(found, text, sizeof text);
    tr_st_describe(want, expected, sizeof expected);
    if (!found || found->dtype != want->dtype || found->rank != want->rank ||
        memcmp(found->shape, want->shape, sizeof want->shape[0] * (size_t)want->rank) !=
            0)
        return tr_err_set(err, TR_BADARG, "%s: %s: expected %s, found %s", path,
                          want->name, expected, text);
    if (want->dtype == TR_ST_I64) {
        memcpy(state.t, found->data, sizeof *state.t);
        return TR_OK;
    }
    enum tr_status st = tr_st_floats(found, 0, found->count, y->hf, err);
    if (st == TR_OK)
        tr_params_pack(tr_learner_exec(l), tr_params_get(tr_learner_params(l), i % n),
                       y->hf, i < n ? state.moment1 : state.moment2);
    return st;
}

static enum tr_status read_moments(struct tr_learner *l, const char *dir,
                                   struct tr_err *err)
{
    char path[TR_PATH];
    struct layout y;
    struct tr_st *file = NULL;
    enum tr_status st = layout_init(&y, tr_learner_params(l), err);
    if (st != TR_OK) return st;
    st = tr_path_join(path, sizeof path, dir, "optimizer.safetensors", err);
    if (st == TR_OK) st = tr_st_open(path, &file, err);
    if (st == TR_OK && tr_st_count(file) != y.count)
        st = tr_err_set(err, TR_BADARG, "%s: expected %lld tensors, found %lld", path,
                        (long long)y.count, (long long)tr_st_count(file));
    for (int64_t i = 0; i < y.count && st == TR_OK; i++)
        st = read_tensor(l, file, path, &y, i, err);
    tr_st_close(file);
    layout_fini(&y);
    return st;
}

/* The digest of the state in dir, as it was when it was saved. */
static enum tr_status read_identity(const char *dir, struct tr_digest *out,
                                    struct tr_err *err)
{
    char path[TR_PATH];
    json_t *doc = NULL;
    const char *text = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, dir, "learner.json", err);
    if (st == TR_OK) st = tr_json_load(path, 1 << 16, &doc, err);
    if (st == TR_OK) st = tr_json_string(doc, "state_digest", path, &text, err);
    if (st == TR_OK) st = tr_digest_parse(text, out, err);
    json_decref(doc);
    return st;
}

static enum tr_status check_identity(struct tr_learner *l, const char *dir,
                                     struct tr_err *err)
{
    struct tr_digest want;
    struct tr_digest have;
    enum tr_status st = read_identity(dir, &want, err);
    if (st == TR_OK) st = tr_learner_state_digest(l, &have, err);
    if (st == TR_OK && !tr_digest_equal(&want, &have))
        st = tr_err_set(err, TR_BADARG,
                        "%s: the files are not those that were saved together: their "
                        "state digest is another",
                        dir);
    return st;
}

enum tr_status tr_checkpoint_read(struct tr_learner *l, const char *dir,
                                  struct tr_err *err)
{
    enum tr_status st = read_masters(l, dir, err);
    if (st == TR_OK) st = read_moments(l, dir, err);
    if (st == TR_OK) st = check_identity(l, dir, err);
    if (st == TR_OK) tr_learner_refresh(l);
    return st;
}

/* ---- lineage ---- */

/* What holds a lineage and the state in its folder together. */
static enum tr_status seal_lineage(const char *dir, const struct tr_digest *lineage,
                                   char seal[65], struct tr_err *err)
{
    struct tr_digest both[2] = {*lineage}, digest;
    enum tr_status st = read_identity(dir, &both[1], err);
    if (st != TR_OK) return st;
    digest = tr_digest_of(both, sizeof both);
    tr_digest_text(&digest, seal);
    return TR_OK;
}

enum tr_status tr_checkpoint_write_lineage(const char *dir,
                                           const struct tr_digest *lineage,
                                           struct tr_err *err)
{
    char path[TR_PATH];
    char text[65];
    char seal[65];
    enum tr_status st = tr_path_join(path, sizeof path, dir, "lineage.json", err);
    if (st == TR_OK) st = seal_lineage(dir, lineage, seal, err);
    if (st != TR_OK) return st;
    tr_digest_text(lineage, text);
    json_t *doc = json_pack("{s:s, s:s}", "lineage", text, "seal", seal);
    st = doc ? tr_json_save(path, doc, 2, err)
             : tr_err_set(err, TR_NOMEM, "%s: no memory", path);
    json_decref(doc);
    return st;
}

enum tr_status tr_checkpoint_read_lineage(const char *dir, struct tr_digest *lineage,
                                          struct tr_err *err)
{
    char path[TR_PATH];
    char want[65];
    json_t *doc = NULL;
    const char *text = NULL;
    const char *seal = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, dir, "lineage.json", err);
    if (st != TR_OK) return st;
    if (!tr_path_exists(path)) return TR_AGAIN;
    st = tr_json_load(path, 4096, &doc, err);
    if (st == TR_OK) st = tr_json_string(doc, "lineage", path, &text, err);
    if (st == TR_OK) st = tr_digest_parse(text, lineage, err);
    /* Folders of earlier versions have no seal. */
    if (st == TR_OK) st = tr_json_string_or(doc, "seal", path, NULL, &seal, err);
    if (st == TR_OK && seal) st = seal_lineage(dir, lineage, want, err);
    if (st == TR_OK && seal && strcmp(seal, want) != 0)
        st = tr_err_set(err, TR_BADARG,
                        "%s: was not saved together with the files beside it", path);
    json_decref(doc);
    return st;
}

enum tr_status tr_checkpoint_name(const char *run, int64_t step, bool part, char *out,
                                  size_t size, struct tr_err *err)
{
    char name[64];
    snprintf(name, sizeof name, "checkpoint-%lld%s", (long long)step,
             part ? ".part" : "");
    return tr_path_join(out, size, run, name, err);
}

enum tr_status tr_checkpoint_publish(const char *run, int64_t step, struct tr_err *err)
{
    char part[TR_PATH];
    char path[TR_PATH];
    enum tr_status st = tr_checkpoint_name(run, step, true, part, sizeof part, err);
    if (st == TR_OK) st = tr_checkpoint_name(run, step, false, path, sizeof path, err);
    if (st == TR_OK) st = tr_dir_sync(part, err);
    return st == TR_OK ? tr_dir_replace(part, path, err) : st;
}

/* N of "checkpoint-N" or "checkpoint-N.part", else -1. */
static int64_t step_of(const char *name, bool *part)
{
    static const char start[] = "checkpoint-";
    char *end = NULL;
    if (strncmp(name, start, sizeof start - 1) != 0) return -1;
    const char *digits = name + sizeof start - 1;
    if (*digits < '0' || *digits > '9') return -1;
    long long n = strtoll(digits, &end, 10);
    *part = !strcmp(end, ".part");
    return *part || !*end ? n : -1;
}

/* The folders of a run in one walk. */
struct folders {
    int64_t whole, last, oldest; /* last: to go on from; oldest: but `keep` */
    int64_t part;                /* some unfinished one, -1: none */
};

/* save_only_model leaves folders without the optimiser's state. */
static bool goes_on(const char *run, int64_t step)
{
    char folder[TR_PATH], path[TR_PATH];
    return tr_checkpoint_name(run, step, false, folder, sizeof folder, NULL) == TR_OK &&
           tr_path_join(path, sizeof path, folder, "optimizer.safetensors", NULL) ==
               TR_OK &&
           tr_path_exists(path);
}

static struct folders survey(const char *run, int64_t keep)
{
    struct folders f = {.last = -1, .oldest = -1, .part = -1};
    struct dirent **e = NULL;
    int entries = scandir(run, &e, NULL, NULL);
    for (int i = 0; i < entries; i++) {
        bool part = false;
        int64_t n = step_of(e[i]->d_name, &part);
        free(e[i]);
        if (n >= 0 && part) f.part = n;
        if (n < 0 || part) continue;
        f.whole++;
        if (n > f.last && goes_on(run, n)) f.last = n;
        if (n != keep && (f.oldest < 0 || n < f.oldest)) f.oldest = n;
    }
    free(e);
    return f;
}

int64_t tr_checkpoint_last(const char *run)
{
    return survey(run, -1).last;
}

enum tr_status tr_checkpoint_prune(const char *run, int64_t limit, int64_t keep,
                                   struct tr_err *err)
{
    char path[TR_PATH];
    for (;;) {
        struct folders f = survey(run, keep);
        bool many = limit >= 0 && f.whole > limit && f.oldest >= 0;
        if (f.part < 0 && !many) return TR_OK;
        int64_t n = f.part >= 0 ? f.part : f.oldest;
        enum tr_status st =
            tr_checkpoint_name(run, n, f.part >= 0, path, sizeof path, err);
        if (st == TR_OK) st = tr_dir_remove(path, err);
        if (st != TR_OK) return st;
    }
}

#include "launch/home.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "actors/checkpoint.h"
#include "core/base/file.h"
#include "core/base/json.h"
#include "launch/version.h"
#include "proto/step4_weights.h"

/* ---- which settings make a run ---- */

/* Keys that change no bit of the result. */
static bool is_free(const char *key)
{
    static const char *const free_key[] = {
        "output_dir",
        "overwrite_output_dir",
        "resume_from_checkpoint",
        "logging_steps",
        "logging_first_step",
        "save_steps",
        "save_strategy",
        "save_total_limit",
        "save_only_model",
        "plot_loss",
        "threads",
        "roles",
        "snapshot_seconds",
        "snapshot_steps",
        "gradient_checkpointing",
        "disable_gradient_checkpointing",
    };
    for (size_t i = 0; i < sizeof free_key / sizeof *free_key; i++)
        if (strcmp(key, free_key[i]) == 0) return true;
    return false;
}

enum tr_status tr_home_config(const struct tr_options *o, struct tr_digest *out,
                              struct tr_err *err)
{
    struct tr_buf all, kept;
    tr_buf_init(&all, 1 << 20);
    tr_buf_init(&kept, 1 << 20);
    enum tr_status st = tr_options_text(o, &all, err);
    for (const char *at = tr_buf_text(&all); st == TR_OK && *at;) {
        size_t n = strcspn(at, "\n"), name = strcspn(at, ":");
        char key[96];
        snprintf(key, sizeof key, "%.*s", (int)name, at);
        if (!is_free(key)) st = tr_buf_put(&kept, at, n + (at[n] != 0), err);
        at += n + (at[n] != 0);
    }
    if (st == TR_OK) *out = tr_digest_of(tr_buf_text(&kept), kept.size);
    tr_buf_fini(&all);
    tr_buf_fini(&kept);
    return st;
}

/* ---- what is kept ---- */

enum tr_status tr_home_clear(const char *dir, struct tr_err *err)
{
    static const char *const file[] = {"run.db", "run.db-wal", "run.db-journal",
                                       "run.db-shm"};
    static const char *const folder[] = {"snapshot", "logs"};
    char path[TR_PLACE_BYTES];
    enum tr_status st = tr_path_join(path, sizeof path, dir, file[0], err);
    if (st == TR_OK) st = tr_journal_check_free(path, err);
    for (size_t i = 0; i < 4 && st == TR_OK; i++) {
        st = tr_path_join(path, sizeof path, dir, file[i], err);
        if (st == TR_OK) (void)unlink(path);
    }
    for (size_t i = 0; i < 2 && st == TR_OK; i++) {
        st = tr_path_join(path, sizeof path, dir, folder[i], err);
        if (st == TR_OK) st = tr_dir_remove(path, err);
    }
    return st;
}

/* Folders of this one that are called NAME.part. */
static enum tr_status sweep_parts(const char *dir, struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    struct dirent **e = NULL;
    enum tr_status st = TR_OK;
    int entries = scandir(dir, &e, NULL, NULL);
    for (int i = 0; i < entries; i++) {
        size_t n = strlen(e[i]->d_name);
        bool part = n > 5 && strcmp(e[i]->d_name + n - 5, ".part") == 0;
        if (part && st == TR_OK)
            st = tr_path_join(path, sizeof path, dir, e[i]->d_name, err);
        if (part && st == TR_OK) st = tr_dir_remove(path, err);
        free(e[i]);
    }
    free(e);
    return st;
}

enum tr_status tr_home_sweep(const char *dir, struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    enum tr_status st = tr_path_join(path, sizeof path, dir, "snapshot", err);
    if (st == TR_OK) st = sweep_parts(path, err);
    if (st == TR_OK) st = tr_checkpoint_prune(dir, -1, -1, err);
    if (st == TR_OK) st = tr_path_join(path, sizeof path, dir, "critic", err);
    return st == TR_OK ? tr_checkpoint_prune(path, -1, -1, err) : st;
}

enum tr_status tr_home_journal(const struct tr_options *o, const char *stage,
                               struct tr_journal **out, struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    struct timespec t = {0};
    struct tr_journal_meta fresh = {.seed = (uint64_t)o->steps.seed};
    *out = NULL;
    if (access(o->output.dir, W_OK) != 0)
        return tr_err_set(err, TR_BADARG, "output_dir %s: cannot write: %s",
                          o->output.dir, tr_err_cause(errno));
    clock_gettime(CLOCK_REALTIME, &t);
    snprintf(fresh.run, sizeof fresh.run, "%08llx%05x", (unsigned long long)t.tv_sec,
             (unsigned)(t.tv_nsec >> 10) ^ (unsigned)getpid());
    snprintf(fresh.stage, sizeof fresh.stage, "%s", stage);
    snprintf(fresh.version, sizeof fresh.version, "%s", TR_VERSION);
    enum tr_status st = tr_home_config(o, &fresh.config, err);
    if (st == TR_OK) st = tr_path_join(path, sizeof path, o->output.dir, "run.db", err);
    if (st == TR_OK) st = tr_journal_open(path, NULL, &fresh, out, err);
    if (st != TR_OK) return st;
    struct tr_journal_meta meta = tr_journal_meta(*out);
    if (!meta.stage[0] || strcmp(meta.stage, stage) == 0) return TR_OK;
    tr_journal_close(*out);
    *out = NULL;
    return tr_err_set(err, TR_BADARG,
                      "output_dir %s: holds a run of stage %s; set overwrite_output_dir: "
                      "true or name another folder",
                      o->output.dir, meta.stage);
}

/* ---- where it is reached ---- */

static enum tr_status tell_address(const char *dir, const char *address, const char *run,
                                   struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    enum tr_status st = tr_path_join(path, sizeof path, dir, "coordinator.json", err);
    if (st != TR_OK) return st;
    json_t *doc = json_pack("{s:s, s:I, s:s}", "address", address, "pid",
                            (json_int_t)getpid(), "run", run);
    st = doc ? tr_json_save(path, doc, 2, err) : tr_err_set(err, TR_NOMEM, "%s", path);
    json_decref(doc);
    return st;
}

/* The address of before, or "". */
static void old_address(const char *dir, char *out)
{
    char path[TR_PLACE_BYTES];
    const char *address = NULL;
    json_t *doc = NULL;
    out[0] = 0;
    if (tr_path_join(path, sizeof path, dir, "coordinator.json", NULL) != TR_OK ||
        tr_json_load(path, 1 << 16, &doc, NULL) != TR_OK)
        return;
    if (tr_json_string(doc, "address", path, &address, NULL) == TR_OK)
        snprintf(out, TR_ADDRESS_BYTES, "%s", address);
    json_decref(doc);
}

enum tr_status tr_home_listen(const char *dir, const struct tr_roles *roles,
                              const char *run, const struct tr_log *log, char *bound,
                              struct tr_wire **wire, struct tr_err *err)
{
    char before[TR_ADDRESS_BYTES];
    size_t n = strlen(roles->listen);
    bool any = n > 2 && strcmp(roles->listen + n - 2, ":0") == 0;
    struct tr_keys keys = {.n = 0};
    const struct tr_keys *with = roles->keys ? &keys : NULL;
    enum tr_status st =
        with ? tr_keys_open(roles->keys, TR_KEY_SERVER, &keys, err) : TR_OK;
    if (st != TR_OK) return st;
    old_address(dir, before);
    st = TR_AGAIN;
    if (any && before[0]) st = tr_wire_listen(before, with, bound, wire, NULL);
    if (st != TR_OK) st = tr_wire_listen(roles->listen, with, bound, wire, err);
    tr_keys_close(&keys);
    if (st == TR_OK) st = tell_address(dir, bound, run, err);
    if (st == TR_OK) tr_log_info(log, "run %s, listening on %s", run, bound);
    return st;
}

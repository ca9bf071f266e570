#include "launch/cli/import.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/model/gguf_import.h"
#include "launch/flags.h"

struct wish {
    const char *word[2]; /* MODEL.gguf, DIR */
    const char *dtype_name;
    enum tr_dtype dtype;
};

static enum tr_status parse(int argc, char **argv, struct wish *w, struct tr_err *err)
{
    static const struct {
        const char *name;
        enum tr_dtype dtype;
    } rows[] = {{"f32", TR_F32}, {"bf16", TR_BF16}, {"f16", TR_F16}};
    int words = 0;
    *w = (struct wish){.dtype_name = "f32"};
    const struct tr_flag flag[] = {{"dtype", TR_FLAG_TEXT, &w->dtype_name, 0, 0}};
    enum tr_status st = tr_flags_read(flag, 1, argc, argv, w->word, 2, &words, err);
    if (st != TR_OK) return st;
    if (words < 2)
        return tr_err_set(err, TR_BADARG,
                          "expected MODEL.gguf and DIR; `troupe help import` says more");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(w->dtype_name, rows[i].name) != 0) continue;
        w->dtype = rows[i].dtype;
        return TR_OK;
    }
    return tr_err_set(err, TR_BADARG, "--dtype: expected f32, bf16 or f16, found %s",
                      w->dtype_name);
}

static enum tr_status run(const struct wish *w, struct tr_err *err)
{
    struct tr_exec ex;
    int64_t weights = 0;
    const char *model = w->word[0];
    const char *dir = w->word[1];
    long cores = sysconf(_SC_NPROCESSORS_ONLN); /* -1 when unknown */
    int threads = cores < 1 ? 1 : cores > 4 ? 4 : (int)cores;
    double start = tr_clock_seconds();
    if (!tr_path_exists(model))
        return tr_err_set(err, TR_BADARG, "%s: no such file", model);
    /* Beyond a few threads the disk is what is waited for. */
    if (tr_exec_init(&ex, NULL, threads, TR_MATH_EXACT) != 0)
        return tr_err_set(err, TR_IO,
                          "cannot start the threads, or TROUPE_ISA is not of this CPU");
    enum tr_status st = tr_gguf_import(model, dir, w->dtype, &ex, &weights, err);
    tr_exec_fini(&ex);
    if (st == TR_OK)
        printf("%s: %.1f M weights as %s from %s in %.1f s\n", dir, (double)weights / 1e6,
               w->dtype_name, model, tr_clock_seconds() - start);
    return st;
}

int tr_cli_import(int argc, char **argv)
{
    struct tr_err err = {0};
    struct wish w;
    enum tr_status st = parse(argc, argv, &w, &err);
    if (st == TR_OK) st = run(&w, &err);
    if (st == TR_OK) return 0;
    fprintf(stderr, "troupe import: %s\n", err.text);
    return st == TR_BADARG ? 2 : 1;
}

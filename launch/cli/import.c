#include "launch/cli/import.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/model/gguf_import.h"

struct wish {
    const char *model, *dir;
    enum tr_dtype dtype;
    const char *dtype_name;
};

static int parse_dtype(const char *text, struct wish *w)
{
    static const struct {
        const char *name;
        enum tr_dtype dtype;
    } rows[] = {{"f32", TR_F32}, {"bf16", TR_BF16}, {"f16", TR_F16}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(text, rows[i].name) != 0) continue;
        w->dtype = rows[i].dtype;
        w->dtype_name = rows[i].name;
        return 0;
    }
    fprintf(stderr, "troupe import: --dtype: expected f32, bf16 or f16, found %s\n",
            text);
    return 2;
}

/* 0, or 2 after saying what is wrong. */
static int parse(int argc, char **argv, struct wish *w)
{
    *w = (struct wish){.dtype = TR_F32, .dtype_name = "f32"};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        int bad = 0;
        if (!strncmp(a, "--dtype=", 8))
            bad = parse_dtype(a + 8, w);
        else if (!strcmp(a, "--dtype") && i + 1 < argc)
            bad = parse_dtype(argv[++i], w);
        else if (a[0] == '-' && a[1])
            bad = fprintf(
                stderr, "troupe import: %s: not an option, or its value is missing\n", a);
        else if (!w->model)
            w->model = a;
        else if (!w->dir)
            w->dir = a;
        else
            bad = fprintf(stderr, "troupe import: %s: one argument too many\n", a);
        if (bad) return 2;
    }
    if (w->dir) return 0;
    fprintf(
        stderr,
        "troupe import: expected MODEL.gguf and DIR; `troupe help import` says more\n");
    return 2;
}

static int run(const struct wish *w)
{
    struct tr_exec ex;
    struct tr_err err = {0};
    int64_t weights = 0;
    long cores = sysconf(_SC_NPROCESSORS_ONLN); /* -1 when unknown */
    int threads = cores < 1 ? 1 : cores > 4 ? 4 : (int)cores;
    double start = tr_clock_seconds();
    if (!tr_path_exists(w->model)) {
        fprintf(stderr, "troupe import: %s: no such file\n", w->model);
        return 2;
    }
    /* Beyond a few threads the disk is what is waited for. */
    if (tr_exec_init(&ex, NULL, threads, TR_MATH_EXACT) != 0) {
        fprintf(stderr,
                "troupe import: cannot start the threads, or TROUPE_ISA is not of this "
                "CPU\n");
        return 1;
    }
    enum tr_status st = tr_gguf_import(w->model, w->dir, w->dtype, &ex, &weights, &err);
    tr_exec_fini(&ex);
    if (st != TR_OK) {
        fprintf(stderr, "troupe import: %s\n", err.text);
        return st == TR_BADARG ? 2 : 1;
    }
    printf("%s: %.1f M weights as %s from %s in %.1f s\n", w->dir, (double)weights / 1e6,
           w->dtype_name, w->model, tr_clock_seconds() - start);
    return 0;
}

int tr_cli_import(int argc, char **argv)
{
    struct wish w;
    int code = parse(argc, argv, &w);
    return code ? code : run(&w);
}

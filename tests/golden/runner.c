/* runner.c - walks a folder laid out like the fixtures and runs each family's cases.
 *
 *   golden DIR [--data D] [--smollm2 MODEL] [FAMILY...]
 * DIR/FAMILY/PART/...: FAMILY is F0, F1, ...; PART is `given` or any other folder that is not
 * named `tokenizers`. A golden.json beside DIR is run too. Ends with "N passed, N failed". */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "launch/cli/role.h"
#include "tests/golden/golden.h"

static const struct {
    const char *name;
    tr_golden_family *run; /* NULL: every case is later */
} families[] = {
    {"F0", tr_golden_f0}, {"F1", tr_golden_f1},   {"F2", tr_golden_f2},
    {"F3", tr_golden_f3}, {"F4", tr_golden_f4},   {"F5", tr_golden_f5},
    {"F6", NULL},         {"F7", tr_golden_f7},   {"F8", tr_golden_f8},
    {"F9", tr_golden_f9}, {"F10", tr_golden_f10},
};
enum { TR_FAMILIES = sizeof families / sizeof *families };

static int family_of(const char *name)
{
    for (int i = 0; i < TR_FAMILIES; i++)
        if (!strcmp(families[i].name, name)) return i;
    return -1;
}

static int is_part(const struct dirent *e)
{
    return e->d_name[0] != '.' && strcmp(e->d_name, "tokenizers") != 0;
}

static int is_visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

/* Every entry of a part counts as one later case. */
static void all_later(struct tr_golden *g, const char *part, const char *name)
{
    struct dirent **e = NULL;
    int n = scandir(part, &e, is_visible, alphasort);
    for (int i = 0; i < n; i++) {
        char at[1024];
        snprintf(at, sizeof at, "%s/%s", name, e[i]->d_name);
        if (!tr_golden_later(g, at))
            tr_golden_fail(g, at, "this kind of case is not known");
        free(e[i]);
    }
    free(e);
}

static int told(const struct tr_golden *g)
{
    return g->passed + g->failed + g->later + g->skipped;
}

static void run_part(struct tr_golden *g, int f, const char *part, const char *name)
{
    int before = told(g);
    if (families[f].run)
        families[f].run(g, part, name);
    else
        all_later(g, part, name);
    if (told(g) == before) tr_golden_fail(g, name, "%s: no case in it", part);
    fflush(stdout);
}

/* A family that was asked for has a part; of all of them some may hold notes only, or tokenizers for others. */
static void run_family(struct tr_golden *g, int f, bool asked)
{
    char dir[4096];
    struct dirent **e = NULL;
    int ran = 0;
    snprintf(dir, sizeof dir, "%s/%s", g->dir, families[f].name);
    int n = scandir(dir, &e, is_part, alphasort);
    for (int i = 0; i < n; i++) {
        char part[4400];
        char name[300];
        snprintf(part, sizeof part, "%s/%s", dir, e[i]->d_name);
        snprintf(name, sizeof name, "%s/%s", families[f].name, e[i]->d_name);
        free(e[i]);
        if (!tr_path_is_dir(part)) continue;
        ran++;
        run_part(g, f, part, name);
    }
    free(e);
    if (!ran && asked) tr_golden_fail(g, families[f].name, "%s: no part in it", dir);
}

struct args {
    const char *dir, *data, *smollm2;
    bool wanted[TR_FAMILIES];
    bool all;
};

static bool take_args(int argc, char **argv, struct args *a)
{
    *a = (struct args){.all = true};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--data") && i + 1 < argc) {
            a->data = argv[++i];
        } else if (!strcmp(argv[i], "--smollm2") && i + 1 < argc) {
            a->smollm2 = argv[++i];
        } else if (argv[i][0] != '-' && !a->dir) {
            a->dir = argv[i];
        } else if (family_of(argv[i]) >= 0) {
            a->wanted[family_of(argv[i])] = true;
            a->all = false;
        } else {
            fprintf(stderr, "golden: %s: not a family nor an option\n", argv[i]);
            return false;
        }
    }
    if (!a->dir)
        fprintf(stderr, "usage: golden DIR [--data D] [--smollm2 MODEL] [F0..F10]\n");
    return a->dir != NULL;
}

/* A run executes this very program for its roles (launch/child.h). */
int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "role") == 0) return tr_cli_role(argc - 1, argv + 1);
    struct args a;
    struct tr_exec ex;
    char data[4096];
    if (!take_args(argc, argv, &a)) return 2;
    if (!tr_path_is_dir(a.dir)) {
        fprintf(stderr, "golden: %s: expected a folder\n", a.dir);
        return 2;
    }
    if (tr_exec_init(&ex, NULL, 2, TR_MATH_EXACT) != 0) {
        fprintf(stderr, "golden: TROUPE_ISA names no instruction set of this CPU\n");
        return 2;
    }
    snprintf(data, sizeof data, "%s/../data", a.dir);
    struct tr_golden g = {
        .dir = a.dir, .data = a.data ? a.data : data, .smollm2 = a.smollm2, .ex = &ex};
    for (int f = 0; f < TR_FAMILIES; f++) {
        char dir[4096];
        snprintf(dir, sizeof dir, "%s/%s", a.dir, families[f].name);
        if (a.all ? tr_path_is_dir(dir) : a.wanted[f]) run_family(&g, f, !a.all);
    }
    char vectors[4200];
    snprintf(vectors, sizeof vectors, "%s/../golden.json", a.dir);
    if (a.all && tr_path_exists(vectors)) tr_golden_vectors(&g, vectors);
    if (!told(&g)) tr_golden_fail(&g, a.dir, "no case in it (expected F0 .. F10)");
    tr_exec_fini(&ex);
    if (g.later) printf("%d later\n", g.later);
    if (g.skipped) printf("%d skipped\n", g.skipped);
    printf("%d passed, %d failed\n", g.passed, g.failed);
    return g.failed ? 1 : 0;
}

#include "launch/cli/snapshot_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "launch/cli/told.h"
#include "launch/flags.h"

enum { PATH = 1024 };

struct wish {
    struct tr_told_wish told;
    const char *to;
};

static enum tr_status parse(int argc, char **argv, struct wish *w, struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"keys", TR_FLAG_TEXT, &w->told.keys, 0, 0},
        {"seconds", TR_FLAG_REAL, &w->told.seconds, 0.1, 3600},
        {"to", TR_FLAG_TEXT, &w->to, 0, 0},
    };
    int words = 0;
    *w = (struct wish){.told = {.seconds = 60}};
    enum tr_status st = tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv,
                                      &w->told.run, 1, &words, err);
    if (st == TR_OK && !w->to)
        st = tr_err_set(err, TR_BADARG, "--to: the file to write is missing");
    return st;
}

/* The coordinator may have another working folder: it is told the whole path. */
static enum tr_status whole_path(const char *to, char *out, struct tr_err *err)
{
    char here[PATH / 2];
    if (to[0] == '/') return tr_path_join(out, PATH, "", to + 1, err);
    if (!getcwd(here, sizeof here))
        return tr_err_set(err, TR_IO, "the working folder has too long a name");
    return tr_path_join(out, PATH, here, to, err);
}

static enum tr_status ask(const struct wish *w, const char *path, struct tr_err *err)
{
    json_t *doc = json_pack("{s:s}", "to", path), *told = NULL;
    char *argument = doc ? tr_json_text(doc, 0) : NULL;
    bool live = false;
    enum tr_status st =
        argument ? tr_told_ask(&w->told, "snapshot-db", argument, &told, &live, err)
                 : tr_err_set(err, TR_NOMEM, "a question");
    free(argument);
    json_decref(doc);
    json_decref(told);
    return st;
}

int tr_cli_snapshot_db(int argc, char **argv)
{
    struct tr_err err = {0};
    struct wish w;
    char path[PATH];
    enum tr_status st = parse(argc, argv, &w, &err);
    if (st == TR_OK) st = whole_path(w.to, path, &err);
    if (st == TR_OK) st = ask(&w, path, &err);
    if (st == TR_OK) printf("%s\n", path);
    return tr_told_end("snapshot-db", st, &err);
}

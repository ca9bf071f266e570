#include "launch/cli/keygen.h"

#include <stdio.h>
#include <string.h>

#include "launch/flags.h"
#include "proto/keys.h"

struct wish {
    const char *dir, *role, *name;
};

static enum tr_status parse(int argc, char **argv, struct wish *w, struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"for", TR_FLAG_TEXT, &w->role, 0, 0},
        {"name", TR_FLAG_TEXT, &w->name, 0, 0},
    };
    int words = 0;
    *w = (struct wish){.dir = NULL};
    enum tr_status st = tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv,
                                      &w->dir, 1, &words, err);
    if (st == TR_OK && words < 1)
        st = tr_err_set(err, TR_BADARG, "which folder should hold the keys?");
    if (st == TR_OK && (w->role == NULL) != (w->name == NULL))
        st = tr_err_set(err, TR_BADARG, "--for ROLE and --name NAME go together");
    return st;
}

static enum tr_status add(const struct wish *w, struct tr_err *err)
{
    int role = tr_keys_who_of(w->role);
    if (role < 0 || role == TR_KEY_SERVER)
        return tr_err_set(err, TR_BADARG,
                          "--for %s: expected policy, rollout, reference, reward, critic "
                          "or admin",
                          w->role);
    enum tr_status st = tr_keys_add(w->dir, role, w->name, err);
    if (st == TR_OK)
        printf("%s/%s-%s.secret: copy it to where it is used as %s.secret\n", w->dir,
               w->role, w->name, w->role);
    return st;
}

int tr_cli_keygen(int argc, char **argv)
{
    struct tr_err err = {0};
    struct wish w;
    enum tr_status st = parse(argc, argv, &w, &err);
    if (st == TR_OK && w.role) {
        st = add(&w, &err);
    } else if (st == TR_OK) {
        st = tr_keys_make(w.dir, &err);
        if (st == TR_OK)
            printf("%s: keys for the coordinator, %d for those who join\n", w.dir,
                   TR_KEY_ROLES);
    }
    if (st == TR_OK) return 0;
    fprintf(stderr, "troupe keygen: %s\n", err.text);
    return st == TR_BADARG ? 2 : 1;
}

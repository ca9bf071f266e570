#include "launch/flags.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static enum tr_status read_int(const struct tr_flag *f, const char *text,
                               struct tr_err *err)
{
    char *end = NULL;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    if (errno || end == text || *end || (double)x < f->lo || (double)x > f->hi)
        return tr_err_set(err, TR_BADARG,
                          "--%s: expected a whole number from %.0f to %.0f, found %s",
                          f->name, f->lo, f->hi, text);
    *(int64_t *)f->at = x;
    return TR_OK;
}

static enum tr_status read_real(const struct tr_flag *f, const char *text,
                                struct tr_err *err)
{
    char *end = NULL;
    double x = strtod(text, &end);
    if (end == text || *end || !isfinite(x) || x < f->lo || x > f->hi)
        return tr_err_set(err, TR_BADARG,
                          "--%s: expected a number from %g to %g, found %s", f->name,
                          f->lo, f->hi, text);
    *(double *)f->at = x;
    return TR_OK;
}

static enum tr_status read_value(const struct tr_flag *f, const char *text,
                                 struct tr_err *err)
{
    struct tr_flag_texts *all = f->at;
    switch (f->kind) {
    case TR_FLAG_YES:
        *(bool *)f->at = true;
        return TR_OK;
    case TR_FLAG_INT:
        return read_int(f, text, err);
    case TR_FLAG_REAL:
        return read_real(f, text, err);
    case TR_FLAG_TEXT:
        *(const char **)f->at = text;
        return TR_OK;
    case TR_FLAG_TEXTS:
        if (all->n == TR_FLAG_TEXTS_MAX)
            return tr_err_set(err, TR_BADARG, "--%s: given more than %d times", f->name,
                              TR_FLAG_TEXTS_MAX);
        all->at[all->n++] = text;
        return TR_OK;
    }
    return TR_OK;
}

static const struct tr_flag *find(const struct tr_flag *flag, int flags, const char *name,
                                  size_t size)
{
    for (int i = 0; i < flags; i++)
        if (strlen(flag[i].name) == size && strncmp(flag[i].name, name, size) == 0)
            return &flag[i];
    return NULL;
}

/* One flag at argv[*i], its value perhaps in the next word. */
static enum tr_status read_flag(const struct tr_flag *flag, int flags, int argc,
                                char **argv, int *i, struct tr_err *err)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t size = equals ? (size_t)(equals - name) : strlen(name);
    const struct tr_flag *f = find(flag, flags, name, size);
    if (!f) return tr_err_set(err, TR_BADARG, "--%.*s: no such flag", (int)size, name);
    if (f->kind == TR_FLAG_YES) {
        if (equals) return tr_err_set(err, TR_BADARG, "--%s takes no value", f->name);
        return read_value(f, NULL, err);
    }
    if (equals) return read_value(f, equals + 1, err);
    if (*i + 1 >= argc)
        return tr_err_set(err, TR_BADARG, "--%s: its value is missing", f->name);
    return read_value(f, argv[++*i], err);
}

enum tr_status tr_flags_read(const struct tr_flag *flag, int flags, int argc, char **argv,
                             const char **words, int most, int *count, struct tr_err *err)
{
    *count = 0;
    for (int i = 1; i < argc; i++) {
        enum tr_status st = TR_OK;
        if (strncmp(argv[i], "--", 2) == 0 && argv[i][2])
            st = read_flag(flag, flags, argc, argv, &i, err);
        else if (*count < most)
            words[(*count)++] = argv[i];
        else
            st = tr_err_set(err, TR_BADARG, "%s: one word too many", argv[i]);
        if (st != TR_OK) return st;
    }
    return TR_OK;
}

/* flags.h - the flags of a subcommand, as a table.
 *
 * What it is for. `--name value`, `--name=value` and plain words, each checked where it is read.
 *
 * Invariants.
 *   1. Every refusal names the flag and what was expected.
 *   2. What is not given keeps the value that the caller put there. */
#ifndef TR_LAUNCH_FLAGS_H
#define TR_LAUNCH_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

enum tr_flag_kind {
    TR_FLAG_YES,   /* bool: there or not; takes no value */
    TR_FLAG_INT,   /* int64_t within [lo, hi] */
    TR_FLAG_REAL,  /* double within [lo, hi] */
    TR_FLAG_TEXT,  /* const char * */
    TR_FLAG_TEXTS, /* struct tr_flag_texts: may be given several times */
};

enum { TR_FLAG_TEXTS_MAX = 256 };

struct tr_flag_texts {
    int64_t n;
    const char *at[TR_FLAG_TEXTS_MAX];
};

struct tr_flag {
    const char *name; /* without the dashes */
    enum tr_flag_kind kind;
    void *at;
    double lo, hi;
};

/* argv[0] is the subcommand. Plain words go to words[0 .. *count-1], at most `most`. Texts are
 * borrowed from argv. TR_BADARG. */
enum tr_status tr_flags_read(const struct tr_flag *flag, int flags, int argc, char **argv,
                             const char **words, int most, int *count,
                             struct tr_err *err);

#endif

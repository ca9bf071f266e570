#include "tests/bench/must.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

void must(enum tr_status st, const struct tr_err *err)
{
    if (st == TR_OK) return;
    fflush(stdout);
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, tr_status_name(st),
            err->text);
    _exit(1);
}

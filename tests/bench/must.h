/* must.h - a bench ends at the first failure, and says it. */
#ifndef TR_BENCH_MUST_H
#define TR_BENCH_MUST_H

#include "core/base/err.h"

/* Ends the process, of a forked one without its parent's exit handlers, unless st is TR_OK. */
void must(enum tr_status st, const struct tr_err *err);

#endif

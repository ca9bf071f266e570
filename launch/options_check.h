/* options_check.h - what no single key can say: which go together (ALGORITHMS.md 11.6). */
#ifndef TR_LAUNCH_OPTIONS_CHECK_H
#define TR_LAUNCH_OPTIONS_CHECK_H

#include "launch/options.h"

/* Also fills what several fields depend on. `where` opens the errors. */
enum tr_status tr_options_check(struct tr_options *o, const char *where,
                                struct tr_err *err);

#endif

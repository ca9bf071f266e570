/* start.h - how a subcommand gets its arithmetic, and hears that it shall stop. */
#ifndef TR_LAUNCH_START_H
#define TR_LAUNCH_START_H

#include <stdint.h>

#include "core/base/err.h"
#include "kernels/exec.h"

/* threads 0: as many as this process may run at once (affinity, cgroups). isa NULL: TROUPE_ISA, else the best of this CPU. */
enum tr_status tr_start_exec(const char *isa, int64_t threads, enum tr_math math,
                             struct tr_exec *ex, struct tr_err *err);

/* Ctrl-C, a polite kill and a terminal that closes become a readable descriptor, for the main
 * thread, which also calls this; threads that start later inherit that. -1 when it cannot be had: the
 * signals then end the program at once. From then on nobody has to read what is written: Ctrl-C ends
 * the `tee` behind a run too, and that must not end the run before it has saved. */
int tr_start_stop_fd(void);

#endif

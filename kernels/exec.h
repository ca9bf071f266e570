/* exec.h - how the arithmetic of this process is carried out.
 *
 * What it is for. Every kernel call takes one of these: which instruction set's row of
 * functions, which team of threads, which maths for the large products. The results are the
 * same bits for every row and every team; `math` alone changes bits (exact or OpenBLAS).
 *
 * The data. Set once at start by tr_exec_init, then const. */
#ifndef TR_KERNELS_EXEC_H
#define TR_KERNELS_EXEC_H

#include "kernels/team.h"

enum tr_math { TR_MATH_EXACT, TR_MATH_OPENBLAS };
const char *tr_math_name(enum tr_math math); /* "exact" or "openblas" */

struct
    tr_kernels; /* one row of tile functions for an instruction set: kernels/kernels.h */

struct tr_exec {
    const struct tr_kernels *k; /* borrows a static table row */
    struct tr_team *team;       /* owns */
    enum tr_math math;
};

/* Picks the best instruction set of this CPU; `isa` ("scalar", "avx2", "avx512") or, when that
 * is NULL, the environment's TROUPE_ISA overrides. 0 when all is well; -1 when isa is unknown
 * or not of this CPU; -2 when the team cannot be made. */
int tr_exec_init(struct tr_exec *ex, const char *isa, int threads, enum tr_math math);
const char *tr_exec_isa(const struct tr_exec *ex); /* "scalar", "avx2" or "avx512" */
/* All that bits depend on besides the input: "exact", or "openblas VERSION CORE" with the core type that
 * OpenBLAS has taken this CPU for. Two processes that say the same may work together. */
enum { TR_MATH_BYTES = 64 };
void tr_exec_math(const struct tr_exec *ex, char text[TR_MATH_BYTES]);
void tr_exec_fini(struct tr_exec *ex);

#endif

/* exec.c - a row of kernels, a team and a kind of maths, chosen once. */
#include "kernels/exec.h"

#include <stdio.h>
#include <stdlib.h>

#include "kernels/blas.h"
#include "kernels/kernels.h"

int tr_exec_init(struct tr_exec *ex, const char *isa, int threads, enum tr_math math)
{
    // NOLINTNEXTLINE(concurrency-mt-unsafe): only read
    const char *wanted = isa ? isa : getenv("TROUPE_ISA");
    if (wanted && !*wanted) wanted = NULL; /* an empty variable is an unset one */
    if (math == TR_MATH_OPENBLAS) tr_blas_init();
    *ex = (struct tr_exec){.k = tr_kernels_pick(wanted), .math = math};
    if (!ex->k) return -1;
    ex->team = tr_team_create(threads);
    return ex->team ? 0 : -2;
}

const char *tr_exec_isa(const struct tr_exec *ex)
{
    return ex->k->name;
}

const char *tr_math_name(enum tr_math math)
{
    return math == TR_MATH_EXACT ? "exact" : "openblas";
}

void tr_exec_math(const struct tr_exec *ex, char text[TR_MATH_BYTES])
{
    if (ex->math == TR_MATH_OPENBLAS)
        tr_blas_text(text, TR_MATH_BYTES);
    else
        snprintf(text, TR_MATH_BYTES, "%s", tr_math_name(ex->math));
}

void tr_exec_fini(struct tr_exec *ex)
{
    tr_team_destroy(ex->team);
    *ex = (struct tr_exec){0};
}

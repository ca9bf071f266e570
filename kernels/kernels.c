/* kernels.c - the table of rows. Which CPU may run which row is asked of the compiler's own
 * CPUID code, which also asks the operating system whether it saves the wide registers. */
#include "kernels/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static const struct tr_kernels scalar = {"scalar", &tr_product_scalar, &tr_vector_scalar,
                                         &tr_attention_scalar};

#ifdef __x86_64__
static const struct tr_kernels scalar_fma = {
    "scalar", &tr_product_scalar_fma, &tr_vector_scalar_fma, &tr_attention_scalar_fma};
static const struct tr_kernels avx2 = {"avx2", &tr_product_avx2, &tr_vector_avx2,
                                       &tr_attention_avx2};
static const struct tr_kernels avx512 = {"avx512", &tr_product_avx512, &tr_vector_avx512,
                                         &tr_attention_avx512};
#endif

/* Fills row with what this CPU can run, plainest first; returns how many. */
static int rows_here(const struct tr_kernels *row[4])
{
    int n = 0;
    row[n++] = &scalar;
#ifdef __x86_64__
    __builtin_cpu_init();
    const bool fma = __builtin_cpu_supports("fma");
    const bool wide = __builtin_cpu_supports("avx2") && fma;
    if (fma) row[n++] = &scalar_fma;
    if (wide) row[n++] = &avx2;
    if (wide && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        row[n++] = &avx512;
#endif
    return n;
}

const struct tr_kernels *tr_kernels_row(int i)
{
    const struct tr_kernels *row[4];
    const int n = rows_here(row);
    return i >= 0 && i < n ? row[i] : NULL;
}

const struct tr_kernels *tr_kernels_pick(const char *isa)
{
    const struct tr_kernels *row[4];
    /* From the best down, so that "scalar" finds the compilation with -mfma first. */
    for (int i = rows_here(row) - 1; i >= 0; i--)
        if (!isa || strcmp(isa, row[i]->name) == 0) return row[i];
    return NULL;
}

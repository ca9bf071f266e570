/* kernels.h - one row of functions for each instruction set, and the choice among the rows.
 *
 * What it is for. The public calls of this folder (linear.h, norm.h, attention.h, ...) cut the
 * work into tiles for the team; what a tile does is a function of the instruction set. A row
 * of this table holds those functions: the scalar reference, and twins with the same bits.
 *
 * The data. A row names its instruction set and points at three tables, one for each group
 * of kernels: products (product.h), vectors (vector_ops.h), attention (attention_ops.h).
 *     scalar       plain C, any CPU
 *     scalar_fma   the same sources compiled with -mfma; also called "scalar"
 *     avx2         needs AVX2 and FMA
 *     avx512       needs AVX-512 F, BW, DQ and VL
 * The x86 rows exist on x86-64 only.
 *
 * Invariants.
 *   1. Every row gives the bits of the scalar row, for every call.
 *   2. A row is only handed out where the CPU and the operating system can run it. */
#ifndef TR_KERNELS_KERNELS_H
#define TR_KERNELS_KERNELS_H

struct tr_product_ops;   /* kernels/product.h */
struct tr_vector_ops;    /* kernels/vector_ops.h */
struct tr_attention_ops; /* kernels/attention_ops.h */

struct tr_kernels {
    const char *name; /* "scalar", "avx2" or "avx512" */
    const struct tr_product_ops *product;
    const struct tr_vector_ops *vector;
    const struct tr_attention_ops *attention;
};

/* The best row of this CPU, or the one called `isa` when that is not NULL. NULL when isa is
 * unknown or not of this CPU. */
const struct tr_kernels *tr_kernels_pick(const char *isa);

/* The rows that this CPU can run, plainest first: i = 0, 1, ... until NULL. For tests and
 * benchmarks, which compare them; both scalar rows are among them. */
const struct tr_kernels *tr_kernels_row(int i);

/* Scalar sources are compiled twice, the second time with -mfma and TR_SCALAR_FMA defined.
 * They define their table as TR_SCALAR(tr_product_scalar) and keep all else static. */
#ifdef TR_SCALAR_FMA
#    define TR_SCALAR(name) name##_fma
#else
#    define TR_SCALAR(name) name
#endif

extern const struct tr_product_ops tr_product_scalar, tr_product_scalar_fma,
    tr_product_avx2, tr_product_avx512;
extern const struct tr_vector_ops tr_vector_scalar, tr_vector_scalar_fma, tr_vector_avx2,
    tr_vector_avx512;
extern const struct tr_attention_ops tr_attention_scalar, tr_attention_scalar_fma,
    tr_attention_avx2, tr_attention_avx512;

#endif

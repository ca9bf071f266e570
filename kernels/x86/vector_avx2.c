/* vector_avx2.c - vector_lanes.h, compiled for AVX2. */
#include "kernels/x86/vector_lanes.h"

const struct tr_vector_ops tr_vector_avx2 = TR_VECTOR_TABLE;

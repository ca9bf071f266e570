/* vector_avx512.c - vector_lanes.h, compiled for AVX-512. */
#include "kernels/x86/vector_lanes.h"

const struct tr_vector_ops tr_vector_avx512 = TR_VECTOR_TABLE;

/* attention_avx512.c - attention_lanes.h, compiled for AVX-512. */
#include "kernels/x86/attention_lanes.h"

const struct tr_attention_ops tr_attention_avx512 = {forward, backward};

/* attention_avx2.c - attention_lanes.h, compiled for AVX2. */
#include "kernels/x86/attention_lanes.h"

const struct tr_attention_ops tr_attention_avx2 = {forward, backward};

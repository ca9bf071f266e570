#include "tests/bench/smollm2.h"

const struct tr_arch smollm2 = {
    .family = TR_LLAMA,
    .V = 49152,
    .d = 576,
    .L = 30,
    .H = 9,
    .Kv = 3,
    .D = 64,
    .F = 1536,
    .eps = 1e-5F,
    .rope = {.kind = TR_ROPE_PLAIN, .theta = 100000},
    .max_positions = 8192,
    .tied = true,
    .bos = 1,
    .eos = {2},
    .n_eos = 1,
    .pad = 2,
};

/* smollm2.h - the shape of SmolLM2-135M, at which models are measured. */
#ifndef TR_BENCH_SMOLLM2_H
#define TR_BENCH_SMOLLM2_H

#include "core/model/arch.h"

extern const struct tr_arch smollm2;

#endif

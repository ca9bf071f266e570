/* clocked.h - where the seconds of a step go, kernel by kernel.
 *
 * The bench links with --wrap, so every call of a kernel from core/model goes through a stop
 * watch first; the product has no hooks. One thread calls kernels, so plain sums do. */
#ifndef TR_BENCH_CLOCKED_H
#define TR_BENCH_CLOCKED_H

enum clocked {
    CLOCKED_LINEAR,
    CLOCKED_ATTENTION,
    CLOCKED_SOFTMAX,
    CLOCKED_SWIGLU,
    CLOCKED_NORM,
    CLOCKED_ROPE,
    CLOCKED_ADAMW,
    CLOCKED_COUNT
};

/* Seconds in kernels since the last call with `reset`. */
const double *clocked_seconds(int reset);

#endif

#include "tests/bench/clocked.h"

#include <string.h>

#include "core/base/clock.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/pointwise.h"
#include "kernels/rope.h"
#include "kernels/softmax.h"

static double spent[CLOCKED_COUNT];

const double *clocked_seconds(int reset)
{
    if (reset) memset(spent, 0, sizeof spent);
    return spent;
}

/* The linker's names for the kernel itself and for what stands before it. */
#define CLOCKED(name, group, parameters, arguments)                                      \
    void real_##name parameters __asm__("__real_" #name);                                \
    void wrap_##name parameters __asm__("__wrap_" #name);                                \
    void wrap_##name parameters                                                          \
    {                                                                                    \
        const double begin = tr_clock_seconds();                                         \
        real_##name arguments;                                                           \
        spent[group] += tr_clock_seconds() - begin;                                      \
    }

CLOCKED(tr_linear_forward, CLOCKED_LINEAR,
        (const struct tr_exec *ex, const float *x, int64_t M, const struct tr_mat *W,
         const float *bias, float *y),
        (ex, x, M, W, bias, y))
CLOCKED(tr_linear_dx, CLOCKED_LINEAR,
        (const struct tr_exec *ex, const float *dy, int64_t M, const struct tr_mat *W,
         int add, float *dx),
        (ex, dy, M, W, add, dx))
CLOCKED(tr_linear_dw, CLOCKED_LINEAR,
        (const struct tr_exec *ex, const float *dy, const float *x, int64_t M,
         const struct tr_mat *dW),
        (ex, dy, x, M, dW))
CLOCKED(tr_kv_store, CLOCKED_ATTENTION,
        (const struct tr_exec *ex, const struct tr_attention *a,
         const struct tr_span *span, int64_t S, int64_t offset, const float *k,
         const float *v),
        (ex, a, span, S, offset, k, v))
CLOCKED(tr_attention_forward, CLOCKED_ATTENTION,
        (const struct tr_exec *ex, const struct tr_attention *a,
         const struct tr_span *span, int64_t S, int64_t offset, const float *q, float *o,
         float *lse),
        (ex, a, span, S, offset, q, o, lse))
CLOCKED(tr_attention_backward, CLOCKED_ATTENTION,
        (const struct tr_exec *ex, const struct tr_attention *a,
         const struct tr_span *span, int64_t S, int64_t offset, const float *q,
         const float *o, const float *lse, const float *d_o, float *dq, float *dk,
         float *dv),
        (ex, a, span, S, offset, q, o, lse, d_o, dq, dk, dv))
CLOCKED(tr_logprob, CLOCKED_SOFTMAX,
        (const struct tr_exec *ex, const float *z, int64_t R, int64_t V,
         const int32_t *target, float *logp, float *lse, float *entropy),
        (ex, z, R, V, target, logp, lse, entropy))
CLOCKED(tr_logprob_backward, CLOCKED_SOFTMAX,
        (const struct tr_exec *ex, float *z, int64_t R, int64_t V, const int32_t *target,
         const float *lse, const float *dlogp),
        (ex, z, R, V, target, lse, dlogp))
CLOCKED(tr_swiglu, CLOCKED_SWIGLU,
        (const struct tr_exec *ex, const float *g, const float *u, int64_t n, float *out),
        (ex, g, u, n, out))
CLOCKED(tr_swiglu_backward, CLOCKED_SWIGLU,
        (const struct tr_exec *ex, const float *g, const float *u, const float *dout,
         int64_t n, float *dg, float *du),
        (ex, g, u, dout, n, dg, du))
CLOCKED(tr_rmsnorm, CLOCKED_NORM,
        (const struct tr_exec *ex, const float *x, const float *w, float eps, int64_t T,
         int64_t d, float *y, float *r),
        (ex, x, w, eps, T, d, y, r))
CLOCKED(tr_rmsnorm_backward, CLOCKED_NORM,
        (const struct tr_exec *ex, const float *dy, const float *x, const float *w,
         const float *r, int64_t T, int64_t d, int add, float *dx, float *dw),
        (ex, dy, x, w, r, T, d, add, dx, dw))
CLOCKED(tr_rope_apply, CLOCKED_ROPE,
        (const struct tr_exec *ex, float *x, int64_t T, int64_t heads, int64_t D,
         const int32_t *position, const float *cos, const float *sin, int inverse),
        (ex, x, T, heads, D, position, cos, sin, inverse))
CLOCKED(tr_adamw_step, CLOCKED_ADAMW,
        (const struct tr_exec *ex, const struct tr_adamw *cfg, float clip, int64_t n,
         const float *g, float *p, float *m, float *v),
        (ex, cfg, clip, n, g, p, m, v))

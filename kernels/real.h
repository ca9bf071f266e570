/* real.h - exp, log, sin and cos of our own, the same bits everywhere.
 *
 * libm's differ between versions and CPUs, so these are written out with explicit fma and the
 * basic operations only, in an order that a vector of any width can keep. From libm come
 * sqrt, sqrtf, fma and fmaf, which IEEE 754 fixes.
 *
 * f32: tr_expf and tr_logf have SIMD twins (kernels/x86/), so they use no table and no branch
 * that a lane could not take. Over all of f32 they err by at most 1.0103 and 0.8265 ulp.
 * f64: tr_exp, tr_log, tr_sin, tr_cos serve tables, schedules and core/learn; scalar only;
 * within 1 ulp, log1p within 2.5. */
#ifndef TR_KERNELS_REAL_H
#define TR_KERNELS_REAL_H

float tr_expf(float x); /* +0 below -103.97, +Inf above 88.73, NaN for NaN */
float tr_logf(float x); /* x > 0 normal or subnormal; -Inf at 0, NaN below */

double tr_exp(double x);
double tr_log(double x);
double tr_log1p(double x); /* as log(1 + x), accurate near 0 */
double tr_sin(double x);   /* |x| up to 2^30 */
double tr_cos(double x);
double tr_pow_int(double x, long n); /* n >= 0: repeated multiplication, x * x * ... */

#endif

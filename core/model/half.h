/* half.h - 16-bit floats of files: to f32 exactly, and back to nearest even.
 *
 * What it is for. Files hold f16 and bf16; the arithmetic is f32. Widening is exact for every
 * value (subnormals, infinities and NaN payloads too), so narrowing a widened array gives the
 * file's own bits back.
 *
 * The data. `bytes` are little-endian 16-bit values as they lie in a file, not aligned.
 *
 * Invariants.
 *   1. narrow(widen(x)) = x for all 65536 values of either type, NaN payloads included.
 *   2. narrow rounds to nearest even; past the largest finite value it gives infinity. */
#ifndef TR_MODEL_HALF_H
#define TR_MODEL_HALF_H

#include <stdint.h>

float tr_f16_widen(uint16_t x);
uint16_t tr_f16_narrow(float x);

/* n elements each. */
void tr_f16_widen_array(const unsigned char *bytes, int64_t n, float *out);
void tr_f16_narrow_array(const float *x, int64_t n, unsigned char *bytes);
void tr_bf16_widen_bytes(const unsigned char *bytes, int64_t n, float *out);
void tr_bf16_narrow_bytes(const float *x, int64_t n, unsigned char *bytes);

#endif

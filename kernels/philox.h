/* philox.h - random numbers that have an address instead of a state.
 *
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). The key is
 * the run's 64-bit seed mixed with what the numbers are for; the counter is
 * (token, sample, prompt, step). Any process that knows the address draws the same number. */
#ifndef TR_KERNELS_PHILOX_H
#define TR_KERNELS_PHILOX_H

#include <stdint.h>

enum tr_purpose { /* constants of the format: never renumber */
                  TR_FOR_SAMPLE = 1,
                  TR_FOR_PROMPTS = 2,
                  TR_FOR_MINIBATCH = 3,
                  TR_FOR_SPLIT = 4,
                  TR_FOR_INIT = 5,
};

struct tr_philox {
    uint32_t key[2];
};

/* key = seed xor (purpose * 0x9E3779B97F4A7C15), low word first. */
struct tr_philox tr_philox_key(uint64_t seed, enum tr_purpose purpose);

/* Four words for one counter. */
void tr_philox_block(struct tr_philox key, const uint32_t counter[4], uint32_t out[4]);

/* The first word of a block as u = (word >> 8) * 2^-24, in [0, 1). */
double tr_philox_uniform(struct tr_philox key, uint32_t token, uint32_t sample,
                         uint32_t prompt, uint32_t step);

/* A uniform permutation of 0 .. n-1 (Fisher-Yates from the top; bounded draws by
 * multiply-shift with rejection, Lemire 2019), n < 2^32. Draws are the words of the blocks at
 * (b, b >> 32, stream, epoch), b = 0, 1, .. */
void tr_philox_permutation(struct tr_philox key, uint32_t stream, uint32_t epoch,
                           int64_t n, int64_t *out);

/* n standard normal numbers (Box-Muller in f64 with our own log, sin and cos), for weight
 * initialisation: pair k, elements 2k and 2k + 1, from the block at (k, k >> 32, tensor, 0). */
void tr_philox_normal(struct tr_philox key, uint32_t tensor, int64_t n, double std,
                      float *out);

#endif

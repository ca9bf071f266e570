/* team.h - a few threads that claim tiles; the caller is one of them.
 *
 * What it is for. A product is cut into tiles whose results do not depend on who computes
 * them. Several role processes share the cores of a host, so a partner may lose its core at
 * any moment: the caller must be able to finish alone and wait only for tiles in flight.
 *
 * The data. A job is (fn, ctx, tiles). Threads claim tile numbers from an atomic counter, spin
 * for some microseconds at most when there is nothing to claim, then sleep on a futex.
 *
 * Invariants.
 *   1. When tr_team_run returns, every tile has been computed exactly once.
 *   2. Each thread has a scratch block of its own, aligned to 64; a tile may use all of it.
 *   3. Every thread runs with MXCSR at its default (round to nearest, no flush to zero).
 *   4. A team of 1 starts no thread. Jobs do not nest. One thread at a time calls run. */
#ifndef TR_KERNELS_TEAM_H
#define TR_KERNELS_TEAM_H

#include <stddef.h>
#include <stdint.h>

struct tr_team;

typedef void tr_tile_fn(void *ctx, int64_t tile, void *scratch);

enum { TR_SCRATCH_BYTES = 1 << 20 }; /* what the kernels here may ask for, a thread */

/* NULL when a thread or memory cannot be had. threads >= 1. */
struct tr_team *tr_team_create(int threads);
int tr_team_threads(const struct tr_team *team);
void tr_team_run(struct tr_team *team, int64_t tiles, tr_tile_fn *fn, void *ctx);
void tr_team_destroy(struct tr_team *team);

#endif

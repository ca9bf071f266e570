/* arena.h - memory that is sized once and handed out in order.
 *
 * What it is for. A step mallocs nothing: its buffers are taken from an arena that was sized
 * from the shapes at start, and all given back at once by rewinding.
 *
 * The data. One block of `size` bytes; `used` bytes of it are taken; `peak` is the most ever.
 *
 * Invariants.
 *   1. What take returns is aligned to 64 bytes and zero only right after create.
 *   2. take never fails quietly: it returns NULL when the arena is full, and the arena is unchanged.
 *   3. rewind(a, mark) frees everything taken after the mark and nothing else. */
#ifndef TR_BASE_ARENA_H
#define TR_BASE_ARENA_H

#include <stddef.h>

#include "core/base/err.h"

struct tr_arena {
    unsigned char *base; /* owns */
    size_t size, used, peak;
};

/* Maps size bytes (anonymous, huge pages asked for). TR_NOMEM names the size and `what`. */
enum tr_status tr_arena_init(struct tr_arena *a, size_t size, const char *what,
                             struct tr_err *err);

/* The next `size` bytes, aligned to 64, or NULL. Borrowed until rewind or fini. */
void *tr_arena_take(struct tr_arena *a, size_t size);

/* What take(size) consumes: for computing an arena's size beforehand. */
size_t tr_arena_cost(size_t size);

size_t tr_arena_mark(const struct tr_arena *a);
/* Gives the whole pages in [at, at + size) back to the system until they are written again; what was in
 * all of these bytes is lost. */
void tr_arena_release(const struct tr_arena *a, void *at, size_t size);
void tr_arena_rewind(struct tr_arena *a, size_t mark);
void tr_arena_fini(struct tr_arena *a);

#endif

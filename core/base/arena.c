#include "core/base/arena.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TR_ALIGN = 64 };

size_t tr_arena_cost(size_t size)
{
    return (size + TR_ALIGN - 1) / TR_ALIGN * TR_ALIGN;
}

enum tr_status tr_arena_init(struct tr_arena *a, size_t size, const char *what,
                             struct tr_err *err)
{
    *a = (struct tr_arena){0};
    size = tr_arena_cost(size ? size : 1);
    void *base =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return tr_err_set(err, TR_NOMEM, "%s: %.1f MiB refused by the system", what,
                          (double)size / 1048576.0);
    madvise(base, size, MADV_HUGEPAGE); /* advice: a refusal costs speed only */
    *a = (struct tr_arena){.base = base, .size = size};
    return TR_OK;
}

void *tr_arena_take(struct tr_arena *a, size_t size)
{
    size_t cost = tr_arena_cost(size);
    if (cost < size || cost > a->size - a->used) return NULL;
    void *at = a->base + a->used;
    a->used += cost;
    if (a->used > a->peak) a->peak = a->used;
    return at;
}

size_t tr_arena_mark(const struct tr_arena *a)
{
    return a->used;
}

void tr_arena_release(const struct tr_arena *a, void *at, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE),
           from = (size_t)((unsigned char *)at - a->base);
    size_t first = (from + page - 1) / page * page, end = (from + size) / page * page;
    assert(from + size <= a->size);
    if (end > first) madvise(a->base + first, end - first, MADV_DONTNEED);
}

void tr_arena_rewind(struct tr_arena *a, size_t mark)
{
    assert(mark <= a->used);
    a->used = mark;
}

void tr_arena_fini(struct tr_arena *a)
{
    if (a->base) munmap(a->base, a->size);
    *a = (struct tr_arena){0};
}

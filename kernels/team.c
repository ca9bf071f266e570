/* team.c - how tiles are claimed, and how a team that has nothing to do falls asleep.
 *
 * The claim word. One 64-bit word says which job is on and how many of its tiles nobody has
 * claimed yet:
 *     [ generation : 32 | unclaimed : 32 ]
 * A thread claims by compare-and-swap from u to u - 1 and gets tile number tiles - u. Because
 * the generation is in the word, a thread that slept through the end of one job and the start
 * of the next cannot claim with old knowledge: its swap fails. And because a job cannot end
 * before its claimed tiles are done, a swap that succeeds proves that fn, ctx and tiles, which
 * were read just before it, belong to that generation. (They are atomics all the same: a
 * thread whose swap will fail may read them while the caller writes the next job.)
 *
 * The end of a job. `undone` counts down to 0; whoever brings it there wakes the caller, if it
 * sleeps. The caller claims tiles like everybody, so it waits only for tiles in flight.
 *
 * Sleep. A worker with nothing to claim watches `started` (one more for each job) for SPIN_NS,
 * then waits on it as a futex. `asleep` and `waiting` spare the wake-up system call when nobody
 * sleeps; each is written before its owner looks at the futex word again, and read by the
 * other side after it wrote that word, all sequentially consistent, so no wake-up is lost. */
#include "kernels/team.h"

#include <assert.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#ifdef __SSE__
#    include <xmmintrin.h>
#endif

enum {
    SPIN_NS = 20000,    /* a decode step starts its next product well within this */
    HUGE_PAGE = 2 << 20 /* scratch is aligned so that the kernel can back it by one */
};

struct worker {
    struct tr_team *team; /* borrows */
    pthread_t thread;
    unsigned char *scratch; /* borrows from the team's block */
};

struct tr_team {
    /* The job. Written by the caller, read by all. */
    _Alignas(64) _Atomic(tr_tile_fn *) fn;
    _Atomic(void *) ctx;
    _Atomic uint32_t tiles;

    _Alignas(64) _Atomic uint64_t claim;   /* generation, unclaimed */
    _Alignas(64) _Atomic uint32_t undone;  /* futex of the caller */
    _Atomic uint32_t waiting;              /* 1 while the caller is about to sleep */
    _Alignas(64) _Atomic uint32_t started; /* futex of the workers */
    _Atomic uint32_t asleep;               /* workers about to sleep or sleeping */
    _Atomic uint32_t over;                 /* 1: workers leave */

    int threads;           /* the caller included */
    struct worker *worker; /* owns: [threads - 1], those of them that run */
    int running;           /* how many of them run */
    unsigned char
        *scratch; /* owns: [threads] blocks of TR_SCRATCH_BYTES, the caller's first */
};

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void relax(void)
{
#ifdef __SSE__
    _mm_pause();
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Watches word for a while; true as soon as it is not `seen`. */
static bool changes_soon(_Atomic uint32_t *word, uint32_t seen)
{
    const int64_t end = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 16; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) != seen) return true;
            relax();
        }
    } while (now_ns() < end);
    return false;
}

/* The rounding mode of this thread becomes the default; returns what it was. */
static unsigned rounding_default(void)
{
#ifdef __SSE__
    const unsigned old = _mm_getcsr();
    const unsigned wanted = 0x1F80; /* all exceptions masked, nearest, no flush to zero */
    if ((old & ~0x3FU) != wanted) _mm_setcsr(wanted);
    return old;
#else
    return 0;
#endif
}

static void rounding_restore(unsigned old)
{
#ifdef __SSE__
    if ((old & ~0x3FU) != 0x1F80) _mm_setcsr(old);
#else
    (void)old;
#endif
}

/* Claims and computes tiles until none is unclaimed. */
static void work(struct tr_team *team, void *scratch)
{
    uint64_t seen = atomic_load_explicit(&team->claim, memory_order_acquire);
    while ((uint32_t)seen != 0) {
        tr_tile_fn *fn = atomic_load_explicit(&team->fn, memory_order_relaxed);
        void *ctx = atomic_load_explicit(&team->ctx, memory_order_relaxed);
        const uint32_t tiles = atomic_load_explicit(&team->tiles, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&team->claim, &seen, seen - 1,
                                                   memory_order_acq_rel,
                                                   memory_order_acquire))
            continue; /* seen is the word as it is now */
        fn(ctx, (int64_t)(tiles - (uint32_t)seen), scratch);
        if (atomic_fetch_sub(&team->undone, 1) == 1 && atomic_load(&team->waiting))
            futex_wake(&team->undone, 1);
        seen = atomic_load_explicit(&team->claim, memory_order_acquire);
    }
}

static void *worker_main(void *arg)
{
    const struct worker *w = arg;
    struct tr_team *team = w->team;
    rounding_default();
    uint32_t seen = 0;
    while (!atomic_load(&team->over)) {
        work(team, w->scratch);
        if (!changes_soon(&team->started, seen)) {
            atomic_fetch_add(&team->asleep, 1);
            if (atomic_load(&team->started) == seen) futex_wait(&team->started, seen);
            atomic_fetch_sub(&team->asleep, 1);
        }
        seen = atomic_load(&team->started);
    }
    return NULL;
}

/* Starts the workers with all signals blocked: a signal is the caller's business. */
static bool start_workers(struct tr_team *team)
{
    sigset_t all, old;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0) return false;
    for (; team->running < team->threads - 1; team->running++) {
        struct worker *w = &team->worker[team->running];
        *w = (struct worker){.team = team,
                             .scratch = team->scratch +
                                        (size_t)(team->running + 1) * TR_SCRATCH_BYTES};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) break;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return team->running == team->threads - 1;
}

struct tr_team *tr_team_create(int threads)
{
    assert(threads >= 1);
    struct tr_team *team = aligned_alloc(_Alignof(struct tr_team), sizeof *team);
    if (!team) return NULL;
    *team = (struct tr_team){.threads = threads};
    size_t bytes = (size_t)threads * TR_SCRATCH_BYTES;
    bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    team->scratch = aligned_alloc(HUGE_PAGE, bytes);
    team->worker = calloc((size_t)threads, sizeof *team->worker);
    if (!team->scratch || !team->worker) goto done;
    madvise(team->scratch, bytes, MADV_HUGEPAGE); /* a wish; without it, only slower */
    if (start_workers(team)) return team;

done:
    tr_team_destroy(team);
    return NULL;
}

int tr_team_threads(const struct tr_team *team)
{
    return team->threads;
}

/* Puts the job up and wakes who sleeps. */
static void publish(struct tr_team *team, uint32_t tiles, tr_tile_fn *fn, void *ctx)
{
    const uint64_t generation = (atomic_load(&team->claim) >> 32) + 1;
    atomic_store_explicit(&team->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&team->ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&team->tiles, tiles, memory_order_relaxed);
    atomic_store_explicit(&team->undone, tiles, memory_order_relaxed);
    atomic_store_explicit(&team->claim, generation << 32 | tiles, memory_order_release);
    atomic_fetch_add(&team->started, 1);
    if (atomic_load(&team->asleep)) futex_wake(&team->started, team->running);
}

/* Waits for the tiles that others have in flight. */
static void wait_for_others(struct tr_team *team)
{
    for (;;) {
        const uint32_t left = atomic_load_explicit(&team->undone, memory_order_acquire);
        if (left == 0) return;
        if (changes_soon(&team->undone, left)) continue;
        atomic_store(&team->waiting, 1);
        if (atomic_load(&team->undone) == left) futex_wait(&team->undone, left);
        atomic_store(&team->waiting, 0);
    }
}

void tr_team_run(struct tr_team *team, int64_t tiles, tr_tile_fn *fn, void *ctx)
{
    assert(tiles >= 0 && tiles <= UINT32_MAX);
    const unsigned rounding = rounding_default();
    if (team->threads == 1 || tiles <= 1) {
        for (int64_t i = 0; i < tiles; i++) fn(ctx, i, team->scratch);
    } else {
        publish(team, (uint32_t)tiles, fn, ctx);
        work(team, team->scratch);
        wait_for_others(team);
    }
    rounding_restore(rounding);
}

void tr_team_destroy(struct tr_team *team)
{
    if (!team) return;
    atomic_store(&team->over, 1);
    atomic_fetch_add(&team->started, 1);
    futex_wake(&team->started, team->running);
    for (int i = 0; i < team->running; i++) pthread_join(team->worker[i].thread, NULL);
    free(team->worker);
    free(team->scratch);
    free(team);
}

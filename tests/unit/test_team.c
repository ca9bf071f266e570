/* test_team.c - every tile exactly once, whoever claims it (team.h, invariants 1 to 4). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __SSE__
#    include <xmmintrin.h>
#endif

#include <cmocka.h>

#include "kernels/team.h"

enum { MOST_THREADS = 4, MOST_TILES = 1000 };

/* What a tile sees: plain counters, because a tile has them for itself. */
struct tally {
    int count[MOST_TILES];
    int misaligned[MOST_TILES];
};

static void count_tile(void *ctx, int64_t tile, void *scratch)
{
    struct tally *t = ctx;
    t->count[tile]++;
    t->misaligned[tile] = (uintptr_t)scratch % 64 != 0;
}

static void check_tally(const struct tally *t, int64_t tiles, int threads)
{
    for (int64_t i = 0; i < MOST_TILES; i++) {
        const int want = i < tiles;
        if (t->count[i] != want || t->misaligned[i])
            fail_msg("%d threads, %d tiles: tile %d ran %d times%s", threads, (int)tiles,
                     (int)i, t->count[i], t->misaligned[i] ? ", scratch misaligned" : "");
    }
}

/* Invariant 1. */
static void every_tile_once(void **state)
{
    (void)state;
    static const int64_t tiles[] = {0, 1, 2, 3, 7, 16, 100, MOST_TILES};
    struct tally *t = malloc(sizeof *t);
    assert_non_null(t);
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        struct tr_team *team = tr_team_create(threads);
        assert_non_null(team);
        assert_int_equal(tr_team_threads(team), threads);
        for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++)
            for (int again = 0; again < 20; again++) {
                memset(t, 0, sizeof *t);
                tr_team_run(team, tiles[i], count_tile, t);
                check_tally(t, tiles[i], threads);
            }
        tr_team_destroy(team);
    }
    free(t);
}

/* Jobs of few tiles in quick succession, each with a context of its own on the stack: a thread
 * that comes late to one job must not touch the next with what it knew. */
static void many_small_jobs(void **state)
{
    (void)state;
    for (int threads = 2; threads <= MOST_THREADS; threads++) {
        struct tr_team *team = tr_team_create(threads);
        assert_non_null(team);
        for (int job = 0; job < 20000; job++) {
            struct tally t;
            const int64_t tiles = 1 + job % 5;
            memset(t.count, 0, 8 * sizeof *t.count);
            tr_team_run(team, tiles, count_tile, &t);
            for (int64_t i = 0; i < 8; i++) assert_int_equal(t.count[i], i < tiles);
        }
        tr_team_destroy(team);
    }
}

/* Jobs far enough apart that the team sleeps in between. */
static void jobs_after_a_sleep(void **state)
{
    (void)state;
    const struct timespec pause = {0, 2000000};
    struct tr_team *team = tr_team_create(3);
    assert_non_null(team);
    for (int job = 0; job < 40; job++) {
        struct tally t = {{0}, {0}};
        nanosleep(&pause, NULL);
        tr_team_run(team, 50, count_tile, &t);
        check_tally(&t, 50, 3);
    }
    tr_team_destroy(team);
}

/* A tile that takes long, so that the caller falls asleep waiting for it. */
static void slow_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct timespec pause = {0, 1000000};
    count_tile(ctx, tile, scratch);
    if (tile % 2) nanosleep(&pause, NULL);
}

static void the_caller_sleeps(void **state)
{
    (void)state;
    struct tr_team *team = tr_team_create(4);
    assert_non_null(team);
    for (int job = 0; job < 40; job++) {
        struct tally t = {{0}, {0}};
        tr_team_run(team, 6, slow_tile, &t);
        check_tally(&t, 6, 4);
    }
    tr_team_destroy(team);
}

/* Invariant 2: a tile fills its scratch and finds it so after the others have filled theirs. */
struct filling {
    atomic_int wrong;
};

static void fill_tile(void *ctx, int64_t tile, void *scratch)
{
    struct filling *f = ctx;
    const struct timespec pause = {0, 100000};
    memset(scratch, (int)(tile & 0xFF), TR_SCRATCH_BYTES);
    nanosleep(&pause, NULL);
    const unsigned char *at = scratch;
    for (int64_t i = 0; i < TR_SCRATCH_BYTES; i++)
        if (at[i] != (tile & 0xFF)) atomic_store(&f->wrong, 1);
}

static void scratch_is_ones_own(void **state)
{
    (void)state;
    struct filling f = {0};
    struct tr_team *team = tr_team_create(MOST_THREADS);
    assert_non_null(team);
    tr_team_run(team, 40, fill_tile, &f);
    assert_int_equal(atomic_load(&f.wrong), 0);
    tr_team_destroy(team);
}

/* Invariant 3, even when the caller has another rounding mode; he gets it back. */
static void csr_tile(void *ctx, int64_t tile, void *scratch)
{
    (void)scratch;
    unsigned *seen = ctx;
#ifdef __SSE__
    seen[tile] = _mm_getcsr() & ~0x3FU; /* without the sticky flags */
#else
    seen[tile] = 0x1F80;
#endif
    const struct timespec pause = {0, 50000};
    nanosleep(&pause, NULL);
}

static void rounding_is_the_default(void **state)
{
    (void)state;
    unsigned seen[64] = {0};
#ifdef __SSE__
    const unsigned odd = 0x1F80 | 0x8040 | 0x6000; /* flush, denormals are zero, chop */
    const unsigned old = _mm_getcsr();
    _mm_setcsr(odd);
#endif
    struct tr_team *team = tr_team_create(MOST_THREADS);
    if (team) tr_team_run(team, 64, csr_tile, seen);
#ifdef __SSE__
    const unsigned after = _mm_getcsr() & ~0x3FU;
    _mm_setcsr(old);
    assert_int_equal(after, odd);
#endif
    assert_non_null(team);
    for (int i = 0; i < 64; i++) assert_int_equal(seen[i], 0x1F80);
    tr_team_destroy(team);
}

/* Invariant 4: a team of one runs everything on the caller's thread. */
static void thread_tile(void *ctx, int64_t tile, void *scratch)
{
    (void)scratch;
    pthread_t *seen = ctx;
    seen[tile] = pthread_self();
}

static void a_team_of_one_is_the_caller(void **state)
{
    (void)state;
    pthread_t seen[5] = {0};
    struct tr_team *team = tr_team_create(1);
    assert_non_null(team);
    tr_team_run(team, 5, thread_tile, seen);
    for (int i = 0; i < 5; i++) assert_true(pthread_equal(seen[i], pthread_self()));
    tr_team_destroy(team);
    tr_team_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tile_once),
        cmocka_unit_test(many_small_jobs),
        cmocka_unit_test(jobs_after_a_sleep),
        cmocka_unit_test(the_caller_sleeps),
        cmocka_unit_test(scratch_is_ones_own),
        cmocka_unit_test(rounding_is_the_default),
        cmocka_unit_test(a_team_of_one_is_the_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

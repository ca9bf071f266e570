/* team.c - how long one job takes at worst when others want the same cores.
 *
 * What it is for. Roles share the cores of a host. A pool that cuts each job into one share a
 * thread and meets at a spin barrier waits, when another process takes a partner's core, until
 * the scheduler gives it back. The team claims small tiles and the caller goes on alone, so it
 * waits for at most one tile in flight. This shows both, first on quiet cores, then while two
 * other processes (forked here) keep all cores busy.
 *
 *     team [--threads N] [--seconds S]
 *
 * How. The same job, 64 tiles of some 5 microseconds each, is run again and again by the team
 * and by a spin barrier with fixed shares, in alternating slices of 50 ms; printed are median,
 * 99th and 99.9th percentile, and the worst. */
#include "kernels/team.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"

enum { TILES = 64, ROUNDS = 2000, MOST_SAMPLES = 1 << 20, RIVALS = 2 };

/* A tile: a chain of multiply-adds that nothing can shorten. */
static void busy_tile(void *ctx, int64_t tile, void *scratch)
{
    (void)scratch;
    float *out = ctx;
    float x = (float)tile;
    for (int i = 0; i < ROUNDS; i++) x = x * 0.999F + 0.5F;
    out[tile * 16] = x; /* a cache line each */
}

/* ---- the pool that the team is compared with ---- */

/* Fixed shares and two spin barriers; `round` opens the first, `arrived` counts at the second. */
struct
    barrier_pool { /* NOLINT(clang-analyzer-optin.performance.Padding): lines of their own */
    int threads;
    pthread_t thread[64];
    float *out;
    _Alignas(64) atomic_uint round;
    _Alignas(64) atomic_int arrived;
    atomic_int over;
    atomic_int names; /* hands each worker its share's number */
};

static void run_share(struct barrier_pool *p, int self)
{
    for (int64_t i = (int64_t)TILES * self / p->threads;
         i < (int64_t)TILES * (self + 1) / p->threads; i++)
        busy_tile(p->out, i, NULL);
    atomic_fetch_add(&p->arrived, 1);
}

static void *barrier_main(void *arg)
{
    struct barrier_pool *p = arg;
    const int self = atomic_fetch_add(&p->names, 1) + 1;
    for (unsigned seen = 0;; seen++) {
        while (atomic_load(&p->round) == seen)
            if (atomic_load(&p->over)) return NULL;
        run_share(p, self);
    }
}

static void barrier_run(struct barrier_pool *p)
{
    atomic_store(&p->arrived, 0);
    atomic_fetch_add(&p->round, 1);
    run_share(p, 0);
    while (atomic_load(&p->arrived) < p->threads) {
    }
}

/* Workers end and start with each slice: their spinning must not disturb the team's slice. */
static int barrier_start(struct barrier_pool *p)
{
    atomic_store(&p->over, 0);
    atomic_store(&p->names, 0);
    atomic_store(&p->round, 0);
    for (int i = 1; i < p->threads; i++)
        if (pthread_create(&p->thread[i], NULL, barrier_main, p) != 0) return -1;
    return 0;
}

static void barrier_stop(struct barrier_pool *p)
{
    atomic_store(&p->over, 1);
    for (int i = 1; i < p->threads; i++) pthread_join(p->thread[i], NULL);
}

/* ---- measuring ---- */

struct times {
    int n;
    float *us; /* owns: [MOST_SAMPLES] */
};

static void note(struct times *t, double seconds)
{
    if (t->n < MOST_SAMPLES) t->us[t->n++] = (float)(seconds * 1e6);
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *name, struct times *t)
{
    if (t->n == 0) return;
    qsort(t->us, (size_t)t->n, sizeof *t->us, by_value);
    printf("  %-12s %7d jobs  median %7.0f  99 %% %7.0f  99.9 %% %7.0f  worst %7.0f us\n",
           name, t->n, (double)t->us[t->n / 2], (double)t->us[(int64_t)t->n * 99 / 100],
           (double)t->us[(int64_t)t->n * 999 / 1000], (double)t->us[t->n - 1]);
}

/* One slice of 50 ms for each pool. */
static int measure_slice(struct tr_team *team, struct barrier_pool *p, struct times t[2])
{
    double now = tr_clock_seconds();
    for (const double end = now + 0.05; now < end;) {
        const double start = now;
        tr_team_run(team, TILES, busy_tile, p->out);
        now = tr_clock_seconds();
        note(&t[0], now - start);
    }
    if (barrier_start(p) != 0) return -1;
    barrier_run(p); /* not counted: the workers may not be there yet */
    now = tr_clock_seconds();
    for (const double end = now + 0.05; now < end;) {
        const double start = now;
        barrier_run(p);
        now = tr_clock_seconds();
        note(&t[1], now - start);
    }
    barrier_stop(p);
    return 0;
}

static int measure(const char *title, struct tr_team *team, struct barrier_pool *p,
                   double seconds)
{
    struct times t[2] = {{0, malloc(MOST_SAMPLES * sizeof(float))},
                         {0, malloc(MOST_SAMPLES * sizeof(float))}};
    int bad = !t[0].us || !t[1].us;
    for (const double end = tr_clock_seconds() + seconds;
         !bad && tr_clock_seconds() < end;)
        bad = measure_slice(team, p, t) != 0;
    if (!bad) {
        printf("%s\n", title);
        print_times("team", &t[0]);
        print_times("spin barrier", &t[1]);
        fflush(stdout);
    }
    free(t[0].us);
    free(t[1].us);
    return bad ? -1 : 0;
}

/* A process that does nothing but compute, until it is killed or its parent is gone. */
static pid_t rival_start(void)
{
    const pid_t parent = getpid(), child = fork();
    if (child == 0) {
        volatile float x = 1;
        while (getppid() == parent)
            for (int i = 0; i < 1 << 22; i++) x = x * 0.999F + 0.5F;
        _exit(0);
    }
    return child;
}

int main(int argc, char **argv)
{
    int threads = 2, bad = 1;
    double seconds = 4;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--threads") == 0)
            threads = (int)strtol(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seconds") == 0) seconds = strtod(argv[i + 1], NULL);
    }
    if (threads < 1 || threads > 64 || argc % 2 == 0) {
        fprintf(stderr, "team [--threads 1..64] [--seconds S]\n");
        return 2;
    }
    struct barrier_pool pool = {.threads = threads};
    struct tr_team *team = tr_team_create(threads);
    pid_t rival[RIVALS] = {-1, -1};
    pool.out = calloc(TILES * 16, sizeof *pool.out);
    if (!team || !pool.out) goto done;
    bad = measure("cores as they are", team, &pool, seconds);
    for (int i = 0; i < RIVALS; i++) rival[i] = rival_start();
    if (!bad)
        bad = measure("two other processes on the same cores", team, &pool, seconds);

done:
    for (int i = 0; i < RIVALS; i++)
        if (rival[i] > 0) {
            kill(rival[i], SIGKILL);
            waitpid(rival[i], NULL, 0);
        }
    tr_team_destroy(team);
    free(pool.out);
    return bad ? 1 : 0;
}

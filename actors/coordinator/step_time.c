#include "actors/coordinator/step_time.h"

#include <stdlib.h>
#include <string.h>

static double between(double low, double x, double high)
{
    return x < low ? low : x > high ? high : x;
}

struct tr_step_time tr_step_time_cut(double from, double generated, double judged,
                                     double until)
{
    double first = between(from, generated, until);
    double second = between(first, judged, until);
    return (struct tr_step_time){.generate = first - from,
                                 .judge = second - first,
                                 .learn = until - second,
                                 .whole = true};
}

double tr_step_time_seconds(const struct tr_step_time *t)
{
    return t->generate + t->judge + t->learn;
}

void tr_step_times_add(struct tr_step_times *t, const struct tr_step_time *one)
{
    if (!one->whole) return;
    t->recent[t->steps++ % TR_STEPS_RECENT] = tr_step_time_seconds(one);
    t->last = *one;
    t->sum.generate += one->generate;
    t->sum.judge += one->judge;
    t->sum.learn += one->learn;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double tr_step_times_median(const struct tr_step_times *t)
{
    double sorted[TR_STEPS_RECENT];
    size_t n = (size_t)(t->steps < TR_STEPS_RECENT ? t->steps : TR_STEPS_RECENT);
    if (n == 0) return 0;
    memcpy(sorted, t->recent, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_size);
    return 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
}

struct tr_step_time tr_step_times_mean(const struct tr_step_times *t)
{
    double n = t->steps > 0 ? (double)t->steps : 1;
    return (struct tr_step_time){.generate = t->sum.generate / n,
                                 .judge = t->sum.judge / n,
                                 .learn = t->sum.learn / n};
}

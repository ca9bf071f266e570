#include "core/watch/axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double bounded(double x)
{
    return fmin(fmax(x, -1e300), 1e300);
}

/* The least of 1, 2, 5 times a power of ten that is not below `least`. */
static double round_step(double least)
{
    static const double round[] = {1, 2, 5, 10, 20};
    double unit = pow(10, floor(log10(least)));
    for (size_t k = 0; k < sizeof round / sizeof *round; k++)
        if (unit * round[k] >= least * (1 - 1e-9)) return unit * round[k];
    return unit * 50;
}

/* A range that has a width which its numbers can resolve. */
static void widen(double *lo, double *hi, bool whole)
{
    double size = fmax(fabs(*lo), fabs(*hi));
    if (*hi - *lo > fmax(size * 1e-9, 1e-290)) return;
    double by = whole ? 1 : size > 0 ? size * 0.1 : 1;
    if (by < size * 1e-9) by = size * 1e-9;
    if (by < 1e-290) by = 1e-290;
    *lo -= by;
    *hi += by;
}

static int whole_log10(double x)
{
    return x > 0 ? (int)floor(log10(x) + 1e-9) : 0;
}

/* An exponent for what is large or small, unless its digits would be more than it saves. */
static void choose_text(struct tr_axis *a)
{
    double size = fmax(fabs(a->lo), fabs(a->hi));
    int below = whole_log10(a->step), digits = whole_log10(size) - below;
    bool odd = size >= 1e6 || size < 1e-3;
    a->exponent = odd && (digits <= 4 || size >= 1e15 || size < 1e-6);
    a->decimals = a->exponent ? digits : -below;
    if (a->decimals < 0) a->decimals = 0;
}

struct tr_axis tr_axis_fit(double lo, double hi, double margin, int most, bool whole)
{
    lo = bounded(lo);
    hi = bounded(hi);
    widen(&lo, &hi, whole);
    double pad = (hi - lo) * margin;
    struct tr_axis a = {.lo = lo - pad, .hi = hi + pad};
    a.step = round_step((a.hi - a.lo) / most);
    if (whole && a.step < 1) a.step = 1;
    a.first = ceil(a.lo / a.step - 1e-9) * a.step;
    a.marks = (int)floor((a.hi - a.first) / a.step + 1e-9) + 1;
    if (a.marks < 1) a.marks = 1;
    if (a.marks > TR_AXIS_MARKS) a.marks = TR_AXIS_MARKS;
    choose_text(&a);
    return a;
}

double tr_axis_mark(const struct tr_axis *a, int k)
{
    double at = a->first + k * a->step;
    return fabs(at) < a->step * 1e-6 ? 0 : at;
}

/* 1.50e+06 is said as 1.5e6 would be: no plus, no leading zeros. */
static void shorten_exponent(char *text)
{
    char *e = strchr(text, 'e');
    if (!e) return;
    char *to = e + 1;
    const char *from = to;
    if (*from == '+') from++;
    if (*from == '-') *to++ = *from++;
    while (*from == '0' && from[1]) from++;
    memmove(to, from, strlen(from) + 1);
}

void tr_axis_text(const struct tr_axis *a, double at, char *out, size_t size)
{
    if (at == 0 && a->exponent)
        snprintf(out, size, "0");
    else
        snprintf(out, size, a->exponent ? "%.*e" : "%.*f", a->decimals, at);
    if (a->exponent) shorten_exponent(out);
}

#include "tests/golden/golden.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tr_golden_case(struct tr_golden *g, const char *name, double error, double tolerance)
{
    bool good = error <= tolerance; /* false for NaN */
    printf("%s  %s: error %.3g, tolerance %.3g\n", good ? "ok  " : "FAIL", name, error,
           tolerance);
    if (good)
        g->passed++;
    else
        g->failed++;
}

void tr_golden_fail(struct tr_golden *g, const char *name, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    printf("FAIL  %s: ", name);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
    g->failed++;
}

void tr_golden_skip(struct tr_golden *g, const char *name, const char *why)
{
    printf("skip  %s: %s\n", name, why);
    g->skipped++;
}

double tr_golden_abs(const float *got, const float *want, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(got[i]) != isnan(want[i])) return (double)NAN;
        if (got[i] == want[i] || isnan(got[i])) continue;
        double e = fabs((double)got[i] - (double)want[i]);
        if (e > worst) worst = e;
    }
    return worst;
}

double tr_golden_rel(const float *got, const float *want, int64_t n)
{
    double top = 0;
    for (int64_t i = 0; i < n; i++) top = fmax(top, fabs((double)want[i]));
    double e = tr_golden_abs(got, want, n);
    return top > 0 ? e / top : e;
}

static const struct tr_st_tensor *find(struct tr_golden *g, const char *name,
                                       const struct tr_st *f, const char *tensor)
{
    const struct tr_st_tensor *t = tr_st_find(f, tensor);
    if (!t) tr_golden_fail(g, name, "no tensor %s", tensor);
    return t;
}

float *tr_golden_floats(struct tr_golden *g, const char *name, const struct tr_st *f,
                        const char *tensor, int64_t *n)
{
    struct tr_err err = {0};
    const struct tr_st_tensor *t = find(g, name, f, tensor);
    if (!t) return NULL;
    float *x = malloc((size_t)(t->count + 1) * sizeof *x);
    if (!x || tr_st_floats(t, 0, t->count, x, &err) != TR_OK) {
        tr_golden_fail(g, name, "%s: %s", tensor, err.text);
        free(x);
        return NULL;
    }
    *n = t->count;
    return x;
}

int64_t *tr_golden_ids(struct tr_golden *g, const char *name, const struct tr_st *f,
                       const char *tensor, int64_t *n)
{
    const struct tr_st_tensor *t = find(g, name, f, tensor);
    if (!t) return NULL;
    if (t->dtype != TR_ST_I64 && t->dtype != TR_ST_I32) {
        tr_golden_fail(g, name, "%s: expected I64 or I32, found %s", tensor,
                       tr_st_dtype_name(t->dtype));
        return NULL;
    }
    int64_t *x = malloc((size_t)(t->count + 1) * sizeof *x);
    if (!x) {
        tr_golden_fail(g, name, "%s: no memory", tensor);
        return NULL;
    }
    for (int64_t i = 0; i < t->count; i++) {
        int32_t narrow = 0;
        if (t->dtype == TR_ST_I64) {
            memcpy(x + i, t->data + 8 * i, sizeof *x);
        } else {
            memcpy(&narrow, t->data + 4 * i, sizeof narrow);
            x[i] = narrow;
        }
    }
    *n = t->count;
    return x;
}

#include "core/watch/history_plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/file.h"
#include "core/watch/plot.h"

void tr_history_smooth(const double *value, int64_t n, double *smooth)
{
    double w = 1.8 * (1 / (1 + exp(-0.05 * (double)n)) - 0.5), last = (double)NAN;
    for (int64_t i = 0; i < n; i++) {
        smooth[i] = (double)NAN;
        if (!isfinite(value[i])) continue;
        if (isnan(last)) last = value[i];
        last = w * last + (1 - w) * value[i];
        smooth[i] = last;
    }
}

/* The steps and numbers of the entries that have both; how many. */
static int64_t gather(const json_t *history, const char *key, double *step, double *value)
{
    int64_t n = 0;
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *entry = json_array_get(history, i);
        const json_t *at = json_object_get(entry, "step");
        const json_t *x = json_object_get(entry, key);
        if (!json_is_integer(at) || !json_is_number(x)) continue;
        step[n] = (double)json_integer_value(at);
        value[n++] = json_number_value(x);
    }
    return n;
}

static enum tr_status draw(const char *dir, const char *key, int64_t n,
                           const double *step, const double *value, const double *smooth,
                           struct tr_err *err)
{
    char name[128];
    char path[1024];
    char title[1200];
    struct tr_plot_curve curve[] = {
        {.name = "original", .n = n, .step = step, .value = value, .pale = true},
        {.name = "smoothed", .n = n, .step = step, .value = smooth},
    };
    struct tr_panel panel = {.title = title, .curve = curve, .curves = 2};
    struct tr_plot plot = {.panel = &panel, .panels = 1};
    snprintf(name, sizeof name, "training_%s.png", key);
    for (char *c = name; *c; c++)
        if (*c == '/') *c = '_';
    snprintf(title, sizeof title, "training %s of %s", key, dir);
    enum tr_status st = tr_path_join(path, sizeof path, dir, name, err);
    return st == TR_OK ? tr_plot_write(path, &plot, err) : st;
}

enum tr_status tr_history_plot(const char *dir, const json_t *history, const char *key,
                               struct tr_err *err)
{
    size_t most = json_array_size(history);
    double *step = calloc(3 * most + 1, sizeof *step);
    if (!step) return tr_err_set(err, TR_NOMEM, "a picture of %zu points", most);
    double *value = step + most, *smooth = value + most;
    int64_t n = gather(history, key, step, value);
    tr_history_smooth(value, n, smooth);
    enum tr_status st =
        n ? draw(dir, key, n, step, value, smooth, err)
          : tr_err_set(err, TR_BADARG, "%s: no log entry has %s, so there is no picture",
                       dir, key);
    free(step);
    return st;
}

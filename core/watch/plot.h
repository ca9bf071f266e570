/* plot.h - a picture of curves over steps, for people: PNG by libgd.
 *
 * What it is for. Looking at a run: its loss, its reward and KL, what happened when a reward was
 * swapped or a process killed.
 *
 * The data. A picture is a heading over panels, two beside each other when there are several. A
 * panel has a title, a legend, and curves over the same steps as the others. An event is a dashed
 * line with a word, through all panels.
 *
 *      heading
 *      title             title
 *      -- a  -- b        -- c
 *      |    |killed      |    |killed
 *      |/\/\|  __        |____|/\__
 *      +----+----        +----+----
 *
 * Invariants.
 *   1. A value that is not finite is a gap: the curve ends before it and begins after it. A point
 *      between two gaps is a dot.
 *   2. Any texts and numbers give a picture: long texts are cut, nothing is drawn outside.
 *   3. A file is there whole or not at all. */
#ifndef TR_WATCH_PLOT_H
#define TR_WATCH_PLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

enum { TR_PLOT_CURVES = 8, TR_PLOT_PANELS = 12 };

struct tr_plot_curve {
    const char *name; /* NULL: not in the legend */
    int64_t n;
    const double *step, *value; /* [n], borrows; steps ascend */
    bool pale;                  /* thin and light: what another curve smooths */
    int colour; /* 0 to 7: one of eight; curves that belong together share it */
};

struct tr_panel {
    const char *title;
    const struct tr_plot_curve *curve; /* borrows */
    int curves;                        /* at most TR_PLOT_CURVES */
    double lo, hi; /* what is shown at least; both 0: as the values ask */
};

struct tr_plot_event {
    double step;
    const char *word;
};

struct tr_plot {
    const char *heading; /* NULL: none */
    const char *steps;   /* what the horizontal axis counts; NULL: "step" */
    const struct tr_panel *panel;
    int panels; /* at most TR_PLOT_PANELS */
    const struct tr_plot_event *event;
    int events;
};

/* Replaces the file. TR_BADARG: too many curves or panels, or none. */
enum tr_status tr_plot_write(const char *path, const struct tr_plot *plot,
                             struct tr_err *err);

#endif

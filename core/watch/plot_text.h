/* plot_text.h - words on a picture, for plot.c only.
 *
 * What it is for. One way to measure and write a text, whichever letters there are: those of
 * DejaVu Sans, which Debian's libgd brings along, or libgd's built-in ones.
 *
 * Invariants.
 *   1. A text is measured and written with the same letters.
 *   2. A text that was fitted is not wider than was asked. */
#ifndef TR_WATCH_PLOT_TEXT_H
#define TR_WATCH_PLOT_TEXT_H

#include <gd.h>
#include <stddef.h>

enum tr_text_kind { TR_TEXT_SMALL, TR_TEXT_BOLD, TR_TEXT_LARGE };

int tr_plot_text_width(enum tr_text_kind kind, const char *text); /* pixels */

/* As much of the text as is not wider than `most` pixels, "..." after it when some is missing. */
void tr_plot_text_fit(enum tr_text_kind kind, const char *text, int most, char *out,
                      size_t size);

/* Writes it with its middle at height y, and x at `share` of its width: 0 its left end, 1 its right. */
void tr_plot_text_put(gdImagePtr im, enum tr_text_kind kind, int x, int y, double share,
                      const char *text, int ink);

/* Writes it upwards in small letters, from y at the bottom, the baseline at x, with a white
 * rim that keeps it apart from curves. */
void tr_plot_text_upright(gdImagePtr im, int x, int y, const char *text, int ink);

#endif

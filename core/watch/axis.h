/* axis.h - where a picture's axis begins and ends, and what stands at it.
 *
 * What it is for. Numbers of any size must become a handful of round marks that a person reads.
 *
 * The data. An axis shows [lo, hi]; mark k stands at first + k * step, for k in [0, marks).
 *
 * Invariants.
 *   1. step is 1, 2 or 5 times a power of ten; an axis of whole numbers has a whole step.
 *   2. Any two finite numbers make an axis, equal ones too; hi > lo and 1 <= marks <= TR_AXIS_MARKS.
 *   3. Neighbouring marks have different texts. */
#ifndef TR_WATCH_AXIS_H
#define TR_WATCH_AXIS_H

#include <stdbool.h>
#include <stddef.h>

enum { TR_AXIS_MARKS = 24 };

struct tr_axis {
    double lo, hi, first, step;
    int marks;
    int decimals;  /* of a mark's text */
    bool exponent; /* 1.5e6 */
};

/* An axis that shows [lo, hi] with a margin (a share of the range) on either side and about half of
 * `most` marks, or up to that. Numbers beyond 1e300 are taken as that. */
struct tr_axis tr_axis_fit(double lo, double hi, double margin, int most, bool whole);

double tr_axis_mark(const struct tr_axis *a, int k);
/* The text of that place: at most 31 bytes. */
void tr_axis_text(const struct tr_axis *a, double at, char *out, size_t size);

#endif

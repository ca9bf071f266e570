/* clock.h - seconds since some fixed point, never going back. */
#ifndef TR_BASE_CLOCK_H
#define TR_BASE_CLOCK_H

double tr_clock_seconds(void); /* CLOCK_MONOTONIC */

#endif

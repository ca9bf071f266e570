/* scarce.h - memory that runs out when a test says so. A program that links scarce.c has its own malloc, calloc and
 * realloc wrapped; libraries' calls are left alone. */
#ifndef TR_TEST_SCARCE_H
#define TR_TEST_SCARCE_H

#include <stdint.h>

/* After n more allocations there is no memory; below 0: there always is, as at the start. */
void scarce_after(int64_t n);
int64_t scarce_calls(void); /* allocations so far */

#endif

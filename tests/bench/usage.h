/* usage.h - what a process has used so far. */
#ifndef TR_BENCH_USAGE_H
#define TR_BENCH_USAGE_H

/* RUSAGE_SELF, RUSAGE_THREAD, RUSAGE_CHILDREN: user's and system's together. */
double processor_seconds(int whose);
double resident_mib(void);
double file_mib(const char *path); /* 0 when there is none */

#endif

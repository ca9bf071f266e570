#include "tests/bench/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

double processor_seconds(int whose)
{
    struct rusage u;
    getrusage(whose, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

double resident_mib(void)
{
    char line[128] = "", *second = NULL;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fgets(line, sizeof line, f)) second = strchr(line, ' ');
    if (f) fclose(f);
    double pages = second ? strtod(second, NULL) : 0;
    return pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

double file_mib(const char *path)
{
    struct stat sb;
    return stat(path, &sb) == 0 ? (double)sb.st_size / (1 << 20) : 0;
}

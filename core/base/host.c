#include "core/base/host.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void tr_host_id(char out[TR_HOST_BYTES])
{
    char boot[64] = "";
    struct stat mounts;
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    out[0] = 0;
    if (!f) return;
    bool read = fgets(boot, sizeof boot, f) != NULL;
    fclose(f);
    boot[strcspn(boot, "\n")] = 0;
    if (!read || !boot[0] || stat("/proc/self/ns/mnt", &mounts) != 0) return;
    snprintf(out, TR_HOST_BYTES, "%s/%llx/%llu", boot, (unsigned long long)mounts.st_ino,
             (unsigned long long)geteuid());
}

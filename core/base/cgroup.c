#include "core/base/cgroup.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PATH = 4096 };

bool tr_cgroup_read(const char *dir, const char *name, char text[TR_CGROUP_TEXT])
{
    char path[2 * MAX_PATH];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    text[fread(text, 1, TR_CGROUP_TEXT - 1, f)] = 0;
    return fclose(f) == 0;
}

/* The group at `mount` + `path` and all above it, the mount being the last. */
static void walk_up(const char *mount, const char *path, int version, tr_cgroup_fn *fn,
                    void *ctx)
{
    char dir[2 * MAX_PATH];
    size_t top = strlen(mount);
    if (strlen(path) >= MAX_PATH) return;
    snprintf(dir, sizeof dir, "%s%s", mount, path);
    for (;;) {
        fn(ctx, dir, version);
        char *slash = strrchr(dir + top, '/');
        if (!slash) return;
        *slash = 0;
    }
}

static void walk_line(const char *root, char *line, const char *controller,
                      tr_cgroup_fn *fn, void *ctx)
{
    char mount[MAX_PATH];
    char *lists = strchr(line, ':');
    char *path = lists ? strchr(lists + 1, ':') : NULL;
    if (!path) return;
    *path++ = 0;
    lists++;
    if (!*lists) {
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
        walk_up(mount, path, 2, fn, ctx);
        return;
    }
    snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%s", root, controller);
    for (char *rest = lists, *name; (name = strsep(&rest, ","));)
        if (!strcmp(name, controller)) walk_up(mount, path, 1, fn, ctx);
}

void tr_cgroup_walk(const char *root, const char *controller, tr_cgroup_fn *fn, void *ctx)
{
    char dir[MAX_PATH];
    char text[TR_CGROUP_TEXT];
    snprintf(dir, sizeof dir, "%s/proc", root);
    if (!tr_cgroup_read(dir, "self/cgroup", text)) return;
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
        walk_line(root, line, controller, fn, ctx);
}

/* Two numbers of microseconds: those of "150000 100000", or of a file each. */
static bool read_pair(const char *dir, int version, long long *quota, long long *period)
{
    char text[TR_CGROUP_TEXT];
    char *end = NULL;
    if (!tr_cgroup_read(dir, version == 2 ? "cpu.max" : "cpu.cfs_quota_us", text))
        return false;
    *quota = strtoll(text, &end, 10);
    if (end == text || *quota <= 0) return false; /* "max", -1 */
    const char *next = end;
    if (version == 1) {
        if (!tr_cgroup_read(dir, "cpu.cfs_period_us", text)) return false;
        next = text;
    }
    *period = strtoll(next, &end, 10);
    return end != next && *period > 0;
}

static void least_cpus(void *ctx, const char *dir, int version)
{
    double *least = ctx;
    long long quota = 0;
    long long period = 0;
    if (!read_pair(dir, version, &quota, &period)) return;
    double cpus = (double)quota / (double)period;
    if (*least == 0 || cpus < *least) *least = cpus;
}

double tr_cgroup_cpus(const char *root)
{
    double least = 0;
    tr_cgroup_walk(root, "cpu", least_cpus, &least);
    return least;
}

int tr_cgroup_threads(const char *root, int cpus)
{
    double most = tr_cgroup_cpus(root);
    if (most == 0 || most >= cpus) return cpus > 1 ? cpus : 1;
    return most < 2 ? 1 : (int)most;
}

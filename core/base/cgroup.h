/* cgroup.h - the control groups above this process, and what they leave it.
 *
 * What it is for. A container's limits stand in files of its control group and of every group
 * above it; the least of them counts.
 *
 * The data. /proc/self/cgroup names the groups: "0::/path" for version 2, "N:a,cpu,b:/path" for
 * version 1. A container that sees its own group as the root finds it at the mount itself; a path
 * that is not there says nothing.
 *
 * Invariants.
 *   1. No file, an unreadable one or "max" is no limit. Nothing here fails. */
#ifndef TR_BASE_CGROUP_H
#define TR_BASE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

enum { TR_CGROUP_TEXT = 1 << 16 };

/* The start of dir/name, a file of the kernel's, whose size stat does not tell. */
bool tr_cgroup_read(const char *dir, const char *name, char text[TR_CGROUP_TEXT]);

/* Called for the group itself, then for each one above it. version is 1 or 2. */
typedef void tr_cgroup_fn(void *ctx, const char *dir, int version);

/* `root` is "" or, for tests, a folder that holds another proc/ and sys/. `controller`: "memory",
 * "cpu". */
void tr_cgroup_walk(const char *root, const char *controller, tr_cgroup_fn *fn,
                    void *ctx);

/* How many CPUs' worth of time the groups leave: 1.5 means 150 ms in 100 ms. 0: no limit. */
double tr_cgroup_cpus(const char *root);

/* How many threads that limit lets run at once without being stopped now and then: it is at least
 * 1, and `cpus` when there is no limit below that. */
int tr_cgroup_threads(const char *root, int cpus);

#endif

/* CPU time that control groups leave, from folders laid out as the kernel lays them out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/cgroup.h"
#include "core/base/file.h"
#include "tests/unit/scratch.h"

struct file {
    const char *path, *text;
};

static void write_files(const char *root, const struct file *f)
{
    for (; f->path; f++) {
        char path[2 * SCRATCH_ROOM];
        snprintf(path, sizeof path, "%s/%s", root, f->path);
        char *slash = strrchr(path, '/');
        *slash = 0;
        assert_int_equal(tr_dir_make(path, NULL), TR_OK);
        *slash = '/';
        assert_int_equal(tr_file_write(path, f->text, strlen(f->text), NULL), TR_OK);
    }
}

static void the_least_quota_of_all_groups_counts(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double cpus;
        int threads_of_8;
        struct file file[8];
    } rows[] = {
        {"no groups", 0, 8, {{"proc/x", ""}}},
        {"no limit",
         0,
         8,
         {{"proc/self/cgroup", "0::/a\n"}, {"sys/fs/cgroup/a/cpu.max", "max 100000\n"}}},
        {"its own",
         2.5,
         2,
         {{"proc/self/cgroup", "0::/a\n"},
          {"sys/fs/cgroup/a/cpu.max", "250000 100000\n"}}},
        {"less than one",
         0.5,
         1,
         {{"proc/self/cgroup", "0::/a\n"},
          {"sys/fs/cgroup/a/cpu.max", "50000 100000\n"}}},
        {"more than there is",
         64,
         8,
         {{"proc/self/cgroup", "0::/a\n"},
          {"sys/fs/cgroup/a/cpu.max", "6400000 100000\n"}}},
        {"a group above",
         3,
         3,
         {{"proc/self/cgroup", "0::/a/b\n"},
          {"sys/fs/cgroup/a/b/cpu.max", "max 100000\n"},
          {"sys/fs/cgroup/a/cpu.max", "300000 100000\n"}}},
        {"a container that sees its group as the root",
         4,
         4,
         {{"proc/self/cgroup", "0::/kubepods/x\n"},
          {"sys/fs/cgroup/cpu.max", "400000 100000\n"}}},
        {"the older layout",
         1.5,
         1,
         {{"proc/self/cgroup", "4:cpu,cpuacct:/j\n3:memory:/j\n"},
          {"sys/fs/cgroup/cpu/j/cpu.cfs_quota_us", "150000\n"},
          {"sys/fs/cgroup/cpu/j/cpu.cfs_period_us", "100000\n"},
          {"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"}}},
        {"the older layout without a limit",
         0,
         8,
         {{"proc/self/cgroup", "4:cpu:/\n"},
          {"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"},
          {"sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"}}},
        {"half a file",
         0,
         8,
         {{"proc/self/cgroup", "0::/a\n"}, {"sys/fs/cgroup/a/cpu.max", "250000"}}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char root[SCRATCH_ROOM];
        scratch_make(root);
        write_files(root, rows[i].file);
        double cpus = tr_cgroup_cpus(root);
        int threads = tr_cgroup_threads(root, 8);
        if (cpus != rows[i].cpus || threads != rows[i].threads_of_8)
            fail_msg("%s: %g cpus, %d threads", rows[i].name, cpus, threads);
        scratch_remove(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_quota_of_all_groups_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

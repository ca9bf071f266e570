/* The memory estimate, and what a host says it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/model/memory.h"
#include "tests/unit/tiny.h"

static size_t item(const struct tr_memory *m, const char *name)
{
    for (int64_t i = 0; i < m->n; i++)
        if (!strcmp(m->item[i].name, name)) return m->item[i].bytes;
    return 0;
}

/* Invariant 1, and that each use has the items it should have. */
static void items_are_what_the_modules_say(void **state)
{
    (void)state;
    const struct tr_trunk_size keep = {256, 4, true, false};
    const struct tr_trunk_size again = {256, 4, true, true};
    const struct tr_trunk_size score = {256, 4, false, false};
    const struct tr_decode_size cache = {4, 64, 32};
    for (int i = 0; i < tiny_arch_count; i++) {
        struct tr_params *p = NULL;
        struct tr_memory m;
        const struct tr_arch *a = &tiny_archs[i].arch;
        assert_int_equal(tr_params_create(a, true, true, &p, NULL), TR_OK);
        const size_t flat = (size_t)tr_params_total(p) * 4;

        const struct tr_memory_use learner = {p, true, true, &keep, 256, NULL};
        tr_memory_estimate(&learner, &m);
        assert_int_equal(item(&m, "masters"), flat);
        assert_int_equal(item(&m, "moments"), 2 * flat);
        assert_int_equal(item(&m, "gradients"), flat);
        assert_int_equal(item(&m, "tied embedding") != 0, a->tied);
        assert_int_equal(item(&m, "weights"), tr_weights_bytes(p, true));
        assert_int_equal(item(&m, "activations"), tr_trunk_bytes(a, &keep));
        assert_int_equal(item(&m, "logits"), tr_head_bytes(a, 256));
        assert_int_equal(item(&m, "KV cache"), 0);

        const struct tr_memory_use plain = {p, true, false, &again, 256, NULL};
        tr_memory_estimate(&plain, &m);
        assert_int_equal(item(&m, "weights"), 0); /* the masters themselves */
        assert_true(a->L == 1 || tr_trunk_bytes(a, &again) < tr_trunk_bytes(a, &keep));
        assert_true(tr_trunk_bytes(a, &score) < tr_trunk_bytes(a, &again));

        const struct tr_memory_use rollout = {p, false, false, NULL, 0, &cache};
        tr_memory_estimate(&rollout, &m);
        assert_int_equal(m.n, 2);
        assert_int_equal(item(&m, "weights"), tr_weights_bytes(p, false));
        assert_int_equal(item(&m, "KV cache"), tr_decode_bytes(a, &cache));
        assert_int_equal(m.total, item(&m, "weights") + item(&m, "KV cache"));
        tr_params_destroy(p);
    }
}

static void what_does_not_fit_is_said(void **state)
{
    (void)state;
    struct tr_memory m = {0};
    struct tr_err err = {0};
    char text[64];
    tr_memory_add(&m, "weights", 512U << 20U);
    tr_memory_add(&m, "nothing", 0);
    tr_memory_add(&m, "KV cache", 1536U << 20U);
    tr_memory_text(&m, text, sizeof text);
    assert_string_equal(text, "2.00 GiB (weights 0.50, KV cache 1.50)");
    tr_memory_text(&m, text, 20); /* a short place is never overrun */
    assert_string_equal(text, "2.00 GiB (weights 0");
    assert_int_equal(tr_memory_check(&m, (size_t)2 << 30, &err), TR_OK);
    assert_int_equal(tr_memory_check(&m, ((size_t)2 << 30) - 1, &err), TR_NOMEM);
    assert_string_equal(err.text,
                        "needs 2.00 GiB (weights 0.50, KV cache 1.50), the host "
                        "has 2.00 GiB free");
}

struct file {
    const char *path, *text;
};

static void write_files(const char *root, const struct file *f)
{
    for (; f->path; f++) {
        char path[300];
        struct tr_err err = {0};
        snprintf(path, sizeof path, "%s/%s", root, f->path);
        char *slash = strrchr(path, '/');
        *slash = 0;
        assert_int_equal(tr_dir_make(path, &err), TR_OK);
        *slash = '/';
        assert_int_equal(tr_file_write(path, f->text, strlen(f->text), &err), TR_OK);
    }
}

#define MEMINFO                                                                          \
    {                                                                                    \
        "proc/meminfo", "MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable:   50 kB\n"      \
    }

static void the_least_of_host_and_groups_counts(void **state)
{
    (void)state;
    const struct {
        const char *name;
        size_t want;
        struct file file[12];
    } rows[] = {
        {"no groups", 51200, {MEMINFO}},
        {"a group without a limit",
         51200,
         {MEMINFO,
          {"proc/self/cgroup", "0::/a\n"},
          {"sys/fs/cgroup/a/memory.max", "max\n"},
          {"sys/fs/cgroup/a/memory.current", "1000\n"}}},
        {"its own limit, less usage, plus file cache",
         30500,
         {MEMINFO,
          {"proc/self/cgroup", "0::/a\n"},
          {"sys/fs/cgroup/a/memory.max", "40000\n"},
          {"sys/fs/cgroup/a/memory.current", "10000\n"},
          {"sys/fs/cgroup/a/memory.stat", "anon 9\nfile 900\ninactive_file 500\n"}}},
        {"the limit of a group above",
         2000,
         {MEMINFO,
          {"proc/self/cgroup", "0::/a/b\n"},
          {"sys/fs/cgroup/a/b/memory.max", "40000\n"},
          {"sys/fs/cgroup/a/b/memory.current", "1000\n"},
          {"sys/fs/cgroup/a/memory.max", "5000\n"},
          {"sys/fs/cgroup/a/memory.current", "3000\n"}}},
        {"a container that sees its group as the root",
         700,
         {MEMINFO,
          {"proc/self/cgroup", "0::/kubepods/x\n"},
          {"sys/fs/cgroup/memory.max", "1000\n"},
          {"sys/fs/cgroup/memory.current", "300\n"}}},
        {"used up",
         0,
         {MEMINFO,
          {"proc/self/cgroup", "0::/\n"},
          {"sys/fs/cgroup/memory.max", "1000\n"},
          {"sys/fs/cgroup/memory.current", "1300\n"}}},
        {"the older layout",
         6100,
         {MEMINFO,
          {"proc/self/cgroup", "5:cpu,memory:/j\n3:pids:/p\n0::/\n"},
          {"sys/fs/cgroup/memory/j/memory.limit_in_bytes", "7000\n"},
          {"sys/fs/cgroup/memory/j/memory.usage_in_bytes", "1000\n"},
          {"sys/fs/cgroup/memory/j/memory.stat",
           "inactive_file 7\ntotal_inactive_file 100"}}},
        {"a limit far above the host",
         51200,
         {MEMINFO,
          {"proc/self/cgroup", "1:memory:/\n"},
          {"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
          {"sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n"}}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char root[] = "/tmp/tr_memory_XXXXXX";
        struct tr_err err = {0};
        size_t got = 1;
        assert_non_null(mkdtemp(root));
        write_files(root, rows[i].file);
        assert_int_equal(tr_memory_available(root, &got, &err), TR_OK);
        if (got != rows[i].want)
            fail_msg("%s: wanted %zu, found %zu", rows[i].name, rows[i].want, got);
        assert_int_equal(tr_dir_remove(root, &err), TR_OK);
    }
}

static void this_host_has_some(void **state)
{
    (void)state;
    size_t got = 0;
    struct tr_err err = {0};
    assert_int_equal(tr_memory_available("", &got, &err), TR_OK);
    assert_true(got > 0);
    assert_int_equal(tr_memory_available("/nowhere", &got, &err), TR_IO);
    assert_string_equal(err.text,
                        "/nowhere/proc/meminfo: expected MemAvailable, found none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_what_the_modules_say),
        cmocka_unit_test(what_does_not_fit_is_said),
        cmocka_unit_test(the_least_of_host_and_groups_counts),
        cmocka_unit_test(this_host_has_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

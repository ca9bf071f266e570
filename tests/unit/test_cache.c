/* Digests of folders are found again exactly as long as the files look the same. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/model/cache.h"

enum { ROOM = 256, LATER = 3600 };

static void in(char out[ROOM], const char *dir, const char *name)
{
    assert_int_equal(tr_path_join(out, ROOM, dir, name, NULL), TR_OK);
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[ROOM];
    in(path, dir, name);
    assert_int_equal(tr_file_write(path, text, strlen(text), NULL), TR_OK);
}

static struct tr_cache_key key_of(const char *dir, const char *what, int64_t age)
{
    struct tr_cache_key key;
    assert_int_equal(tr_cache_key(dir, what, (int64_t)time(NULL) + age, &key, NULL),
                     TR_OK);
    return key;
}

static void make(char dir[ROOM], char cache[ROOM])
{
    snprintf(dir, ROOM, "/tmp/troupe-cache-XXXXXX");
    assert_non_null(mkdtemp(dir));
    in(cache, dir, "cache");
    put(dir, "config.json", "{}");
    put(dir, "model.safetensors", "weights");
    put(dir, "notes.txt", "not a model file");
}

static void rewrite_model(const char *dir)
{
    put(dir, "model.safetensors", "Weights"); /* the same size, another inode */
}

static void grow_model(const char *dir)
{
    put(dir, "model.safetensors", "weights!");
}

static void touch_model(const char *dir)
{
    char path[ROOM];
    struct timespec at[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000}};
    in(path, dir, "model.safetensors");
    assert_int_equal(utimensat(AT_FDCWD, path, at, 0), 0);
}

static void add_head(const char *dir)
{
    put(dir, "value_head.safetensors", "head");
}

static void change_config(const char *dir)
{
    put(dir, "config.json", "{ }");
}

static void change_notes(const char *dir)
{
    put(dir, "notes.txt", "something else");
}

static const struct {
    const char *name;
    void (*change)(const char *dir);
    bool found;
} rows[] = {
    {"rewritten", rewrite_model, false},      {"longer", grow_model, false},
    {"touched", touch_model, false},          {"a head added", add_head, false},
    {"another config", change_config, false}, {"another note", change_notes, true},
};

static void test_found_while_unchanged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char dir[ROOM];
        char cache[ROOM];
        struct tr_digest got;
        struct tr_digest value = tr_digest_of("x", 1);
        make(dir, cache);
        struct tr_cache_key key = key_of(dir, "f32", LATER);
        assert_false(tr_cache_get(cache, &key, &got));
        tr_cache_put(cache, &key, &value);
        key = key_of(dir, "f32", LATER);
        assert_true(tr_cache_get(cache, &key, &got));
        assert_true(tr_digest_equal(&got, &value));
        key = key_of(dir, "bf16", LATER);
        assert_false(tr_cache_get(cache, &key, &got));
        rows[i].change(dir);
        key = key_of(dir, "f32", LATER);
        if (tr_cache_get(cache, &key, &got) != rows[i].found)
            fail_msg("%s", rows[i].name);
        assert_int_equal(tr_dir_remove(dir, NULL), TR_OK);
    }
}

/* Invariant 2. */
static void test_young_folders_are_not_remembered(void **state)
{
    (void)state;
    char dir[ROOM];
    char cache[ROOM];
    struct tr_digest value = tr_digest_of("x", 1);
    make(dir, cache);
    struct tr_cache_key key = key_of(dir, "f32", 0);
    assert_false(key.settled);
    tr_cache_put(cache, &key, &value);
    assert_false(tr_path_exists(cache));
    assert_int_equal(tr_dir_remove(dir, NULL), TR_OK);
}

/* Invariant 1: a cache that cannot be made, a damaged entry. */
static void test_no_cache_is_no_error(void **state)
{
    (void)state;
    char dir[ROOM];
    char cache[ROOM];
    char entry[ROOM];
    char name[65];
    struct tr_digest got;
    struct tr_digest value = tr_digest_of("x", 1);
    make(dir, cache);
    struct tr_cache_key key = key_of(dir, "f32", LATER);
    tr_cache_put("/dev/null/cache", &key, &value);
    assert_false(tr_cache_get("/dev/null/cache", &key, &got));
    tr_cache_put(cache, &key, &value);
    tr_digest_text(&key.id, name);
    in(entry, cache, "digests");
    put(entry, name, "5feceb66ffc86f38d952786c6d696c79");
    assert_false(tr_cache_get(cache, &key, &got));
    assert_int_equal(tr_cache_key("/nowhere", "f32", 0, &key, NULL), TR_IO);
    assert_int_equal(tr_dir_remove(dir, NULL), TR_OK);
}

static void test_where_it_lies(void **state)
{
    (void)state;
    char out[ROOM];
    setenv("HOME", "/home/x", 1);
    setenv("XDG_CACHE_HOME", "/var/c", 1);
    assert_true(tr_cache_dir(out, sizeof out));
    assert_string_equal(out, "/var/c/troupe");
    setenv("XDG_CACHE_HOME", "relative", 1);
    assert_true(tr_cache_dir(out, sizeof out));
    assert_string_equal(out, "/home/x/.cache/troupe");
    assert_false(tr_cache_dir(out, 8));
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_false(tr_cache_dir(out, sizeof out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_while_unchanged),
        cmocka_unit_test(test_young_folders_are_not_remembered),
        cmocka_unit_test(test_no_cache_is_no_error),
        cmocka_unit_test(test_where_it_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The base: errors, arena, buffers, files, JSON, YAML, digests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/arena.h"
#include "core/base/buf.h"
#include "core/base/digest.h"
#include "core/base/file.h"
#include "core/base/json.h"
#include "core/base/yaml.h"

static void error_is_one_line_and_wrapped_outermost_first(void **state)
{
    (void)state;
    struct tr_err err = {0};
    assert_int_equal(tr_err_set(&err, TR_IO, "disk\n%s", "full"), TR_IO);
    assert_string_equal(err.text, "disk full");
    assert_int_equal(tr_err_wrap(&err, err.code, "checkpoint-%d", 3), TR_IO);
    assert_string_equal(err.text, "checkpoint-3: disk full");
    assert_int_equal(tr_err_set(NULL, TR_GONE, "nobody listens"), TR_GONE);
    char long_text[600];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    tr_err_wrap(&err, TR_IO, "%s", long_text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void arena_takes_aligned_and_rewinds(void **state)
{
    (void)state;
    struct tr_arena a;
    assert_int_equal(tr_arena_init(&a, 256, "test", NULL), TR_OK);
    char *x = tr_arena_take(&a, 1);
    size_t mark = tr_arena_mark(&a);
    char *y = tr_arena_take(&a, 100);
    assert_int_equal((uintptr_t)x % 64, 0);
    assert_int_equal(y - x, 64);
    assert_null(tr_arena_take(&a, 128));
    assert_int_equal(a.used, 64 + 128);
    tr_arena_rewind(&a, mark);
    assert_ptr_equal(tr_arena_take(&a, 192), y);
    assert_null(tr_arena_take(&a, SIZE_MAX));
    assert_int_equal(a.peak, 256);
    tr_arena_fini(&a);
}

/* Whole pages come back as zeros; of those at the ends, which others may share, no byte is touched. */
static void arena_gives_whole_pages_back(void **state)
{
    (void)state;
    struct tr_arena a;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    assert_int_equal(tr_arena_init(&a, 4 * page, "test", NULL), TR_OK);
    unsigned char *x = tr_arena_take(&a, 4 * page);
    memset(x, 7, 4 * page);
    tr_arena_release(&a, x + 64, 3 * page);
    for (size_t i = 0; i < 4 * page; i++)
        assert_int_equal(x[i], i < page || i >= 3 * page ? 7 : 0);
    tr_arena_release(&a, x + 64, page); /* no page is whole */
    assert_int_equal(x[64], 7);
    tr_arena_fini(&a);
}

static void buffer_keeps_its_limit_and_its_zero(void **state)
{
    (void)state;
    struct tr_buf b;
    struct tr_err err = {0};
    tr_buf_init(&b, 5);
    assert_string_equal(tr_buf_text(&b), "");
    assert_int_equal(tr_buf_puts(&b, "abc", &err), TR_OK);
    assert_int_equal(tr_buf_puts(&b, "def", &err), TR_NOMEM);
    assert_string_equal(tr_buf_text(&b), "abc");
    assert_int_equal(tr_buf_printf(&b, &err, "%02d", 7), TR_OK);
    assert_string_equal(tr_buf_text(&b), "abc07");
    tr_buf_fini(&b);
}

static void file_is_replaced_whole(void **state)
{
    (void)state;
    char dir[] = "/tmp/tr_base_XXXXXX";
    char path[64];
    char deep[96];
    struct tr_buf b;
    struct tr_err err = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/f", dir);
    assert_int_equal(tr_file_write(path, "one", 3, &err), TR_OK);
    assert_int_equal(tr_file_write(path, "other", 5, &err), TR_OK);
    assert_int_equal(tr_file_read(path, 5, &b, &err), TR_OK);
    assert_string_equal(tr_buf_text(&b), "other");
    tr_buf_fini(&b);
    assert_int_equal(tr_file_read(path, 4, &b, &err), TR_NOMEM);
    assert_non_null(strstr(err.text, "5 bytes, expected at most 4"));
    assert_int_equal(tr_file_read(dir, 4, &b, &err), TR_BADARG);
    snprintf(deep, sizeof deep, "%s/pipe", dir);
    assert_int_equal(mkfifo(deep, 0600), 0);
    assert_int_equal(tr_file_read(deep, 4, &b, &err), TR_BADARG); /* waits for nobody */
    assert_non_null(strstr(err.text, "expected a regular file"));
    assert_int_equal(unlink(deep), 0);
    snprintf(deep, sizeof deep, "%s/a/b/c", dir);
    assert_int_equal(tr_dir_make(deep, &err), TR_OK);
    assert_int_equal(tr_dir_make(path, &err), TR_BADARG); /* a file is in its way */
    snprintf(deep, sizeof deep, "%s/a", dir);
    snprintf(path, sizeof path, "%s/z", dir);
    assert_int_equal(tr_dir_make(path, &err), TR_OK);
    assert_int_equal(tr_dir_replace(deep, path, &err), TR_OK);
    snprintf(path, sizeof path, "%s/z/b/c", dir);
    assert_true(tr_path_is_dir(path));
    assert_int_equal(tr_dir_remove(dir, &err), TR_OK);
    assert_false(tr_path_exists(dir));
    assert_int_equal(tr_dir_remove(dir, &err), TR_OK);
}

static void json_fields_say_what_is_wrong(void **state)
{
    (void)state;
    struct tr_err err = {0};
    json_t *o = NULL;
    int64_t i = 0;
    double x = 0;
    const char *s = NULL;
    const char *text = "{\"a\": 3, \"b\": 2.5, \"c\": null, \"d\": \"t\", \"e\": 4.0}";
    assert_int_equal(tr_json_parse(text, strlen(text), "f.json", &o, &err), TR_OK);
    assert_int_equal(tr_json_int(o, "a", "f.json", 0, 10, &i, &err), TR_OK);
    assert_int_equal(tr_json_int(o, "e", "f.json", 0, 10, &i, &err), TR_OK);
    assert_int_equal(i, 4);
    assert_int_equal(tr_json_int(o, "a", "f.json", 4, 10, &i, &err), TR_BADARG);
    assert_string_equal(err.text, "f.json: a: expected 4 to 10, found 3");
    assert_int_equal(tr_json_int(o, "b", "f.json", 0, 10, &i, &err), TR_BADARG);
    assert_int_equal(tr_json_int_or(o, "c", "f.json", 0, 10, 7, &i, &err), TR_OK);
    assert_int_equal(i, 7);
    assert_int_equal(tr_json_real(o, "d", "f.json", &x, &err), TR_BADARG);
    assert_string_equal(err.text, "f.json: d: expected a number, found string");
    assert_int_equal(tr_json_string_or(o, "zz", "f.json", "dflt", &s, &err), TR_OK);
    assert_string_equal(s, "dflt");
    json_decref(o);
    assert_int_equal(tr_json_parse("{\"a\":1,\"a\":2}", 13, "g", &o, &err), TR_BADARG);
    assert_int_equal(tr_json_parse("{", 1, "g", &o, &err), TR_BADARG);
}

static void json_text_has_the_fewest_digits(void **state)
{
    (void)state;
    json_t *v = json_pack("[f, f]", 0.1, 1e-5);
    char *text = tr_json_text(v, 0);
    assert_string_equal(text, "[0.1, 1e-5]");
    free(text);
    json_array_append_new(v, json_real(0.041666666666666664));
    json_array_append_new(v, json_string("1.50 \"0.10000000000000001\\"));
    json_array_append_new(
        v, json_pack("[f, f, f, I]", 1.0, -2.5e300, 6.1907, (json_int_t)100));
    text = tr_json_text(v, 0);
    assert_non_null(strstr(text, "[0.1, 1e-5, 0.0416666666666666"));
    assert_non_null(strstr(text, "[1.0, -2.5e300, 6.1907, 100]"));
    json_t *back = json_loads(text, 0, NULL);
    assert_true(json_equal(v, back));
    free(text);
    json_decref(back);
    json_decref(v);
}

static void yaml_reads_as_users_mean_it(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", "{}"},
        {"a: 1\nb: x y\n", "{\"a\":1,\"b\":\"x y\"}"},
        {"lr: 1e-4\nz: 1.0e-5\nw: .5", "{\"lr\":1e-4,\"z\":1e-5,\"w\":0.5}"},
        {"t: true\nn: ~\nm: null\no: 'true'\np:",
         "{\"t\":true,\"n\":null,\"m\":null,\"o\":\"true\",\"p\":null}"},
        {"r: {k: [1, two, -3]}\n", "{\"r\":{\"k\":[1,\"two\",-3]}}"},
        {"r:\n  - {n: a}\n  - b\n", "{\"r\":[{\"n\":\"a\"},\"b\"]}"},
        {"v: 1-2\nip: 1.2.3\nd: -\n", NULL},
        {"v: 1-2\nip: 1.2.3\n", "{\"v\":\"1-2\",\"ip\":\"1.2.3\"}"},
        {"a: 1\na: 2\n", NULL},
        {"a: &x 1\nb: *x\n", NULL},
        {"a: !!int 1\n", NULL},
        {"a: [1\n", NULL},
        {"--- \na: 1\n--- \nb: 2\n", NULL},
        {"? [a]\n: 1\n", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_err err = {0};
        json_t *got = NULL;
        enum tr_status st =
            tr_yaml_parse(rows[i].text, strlen(rows[i].text), "y", &got, &err);
        if (!rows[i].want) {
            if (st != TR_BADARG) print_error("row %zu was taken\n", i);
            assert_int_equal(st, TR_BADARG);
            assert_non_null(strstr(err.text, "y: line "));
            continue;
        }
        if (st != TR_OK) print_error("row %zu: %s\n", i, err.text);
        assert_int_equal(st, TR_OK);
        json_t *want = json_loads(rows[i].want, 0, NULL);
        if (!json_equal(got, want)) print_error("row %zu differs\n", i);
        assert_true(json_equal(got, want));
        json_decref(want);
        json_decref(got);
    }
}

static void yaml_nesting_is_bounded(void **state)
{
    (void)state;
    char text[128];
    json_t *got = NULL;
    struct tr_err err = {0};
    memset(text, '[', 100);
    assert_int_equal(tr_yaml_parse(text, 100, "deep", &got, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "nested over 32 deep"));
    assert_null(got);
}

static void digest_is_sha256_however_cut(void **state)
{
    (void)state;
    char text[65];
    struct tr_hash *h = NULL;
    struct tr_digest back;
    struct tr_digest d = tr_digest_of("abc", 3);
    tr_digest_text(&d, text);
    assert_string_equal(
        text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(tr_hash_create(&h, NULL), TR_OK);
    for (int again = 0; again < 2; again++) {
        tr_hash_put(h, "a", 1);
        tr_hash_put(h, "bc", 2);
        struct tr_digest e = tr_hash_end(h);
        assert_true(tr_digest_equal(&d, &e));
    }
    tr_hash_destroy(h);
    assert_int_equal(tr_digest_parse(text, &back, NULL), TR_OK);
    assert_true(tr_digest_equal(&d, &back));
    assert_false(tr_digest_is_zero(&d));
    assert_true(tr_digest_is_zero(&(struct tr_digest){{0}}));
    text[63] = 'g';
    assert_int_equal(tr_digest_parse(text, &back, NULL), TR_BADARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_is_one_line_and_wrapped_outermost_first),
        cmocka_unit_test(arena_takes_aligned_and_rewinds),
        cmocka_unit_test(arena_gives_whole_pages_back),
        cmocka_unit_test(buffer_keeps_its_limit_and_its_zero),
        cmocka_unit_test(file_is_replaced_whole),
        cmocka_unit_test(json_fields_say_what_is_wrong),
        cmocka_unit_test(json_text_has_the_fewest_digits),
        cmocka_unit_test(yaml_reads_as_users_mean_it),
        cmocka_unit_test(yaml_nesting_is_bounded),
        cmocka_unit_test(digest_is_sha256_however_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

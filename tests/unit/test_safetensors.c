/* Malformed files are made in memory, a row each; the words that their error must hold name
 * tensor, expected and found. */
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
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

#include "core/base/file.h"
#include "core/model/half.h"
#include "core/model/safetensors.h"
#include "tests/unit/scarce.h"

/* Allocations may fail from the k-th on: ours through the linker, jansson's through its hook. */
/* A file: header size, header, `data` bytes 0, 1, 2, ... */
struct made {
    unsigned char *at;
    size_t size;
};

static struct made make(uint64_t header_size, const char *header, size_t data)
{
    size_t text = strlen(header);
    struct made m = {malloc(8 + text + data), 8 + text + data};
    assert_non_null(m.at);
    for (int i = 0; i < 8; i++) m.at[i] = (unsigned char)(header_size >> (8 * i));
    for (size_t i = 0; i < text; i++) m.at[8 + i] = (unsigned char)header[i];
    for (size_t i = 0; i < data; i++) m.at[8 + text + i] = (unsigned char)i;
    return m;
}

#define T(dtype, shape, offsets)                                                         \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct bad {
    const char *name;
    int64_t size; /* what the file says of its header; -1: the truth */
    const char *header;
    size_t data;
    const char *words[3];
} bad[] = {
    {"header larger than the file", 100, "{}", 0, {"truncated", "100", "found 2"}},
    {"header absurdly large", INT64_MAX, "{}", 0, {"header size", "at most 100000000"}},
    {"header not JSON", -1, "{\"a\":", 0, {"line 1"}},
    {"header an array", -1, "[]", 0, {"header", "an object", "array"}},
    {"header empty", 0, "", 0, {"line 1"}},
    {"bytes after the header's object", -1, "{} x", 0, {"line 1"}},
    {"the same name twice",
     -1,
     "{\"a\":" T("U8", "[1]", "[0,1]") ",\"a\":" T("U8", "[1]", "[0,1]") "}",
     1,
     {"duplicate", "a"}},
    {"metadata not an object",
     -1,
     "{\"__metadata__\":3}",
     0,
     {"__metadata__", "an object", "integer"}},
    {"tensor not an object", -1, "{\"a\":[1]}", 0, {"tensor a", "an object", "array"}},
    {"no dtype",
     -1,
     "{\"a\":{\"shape\":[],\"data_offsets\":[0,0]}}",
     0,
     {"tensor a", "dtype", "found nothing"}},
    {"dtype a number",
     -1,
     "{\"a\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,0]}}",
     0,
     {"tensor a", "a string", "integer"}},
    {"no shape",
     -1,
     "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,0]}}",
     0,
     {"tensor a", "shape", "found nothing"}},
    {"a negative dimension",
     -1,
     "{\"a\":" T("F32", "[-2,2]", "[0,4]") "}",
     4,
     {"tensor a", "dimension 0", "negative"}},
    {"a dimension of 1.5",
     -1,
     "{\"a\":" T("F32", "[1.5]", "[0,4]") "}",
     4,
     {"tensor a", "dimension 0", "real"}},
    {"nine dimensions",
     -1,
     "{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}",
     4,
     {"tensor a", "at most 8", "found 9"}},
    {"2^80 elements",
     -1,
     "{\"a\":" T("F32", "[1099511627776,1099511627776]", "[0,4]") "}",
     4,
     {"tensor a", "more elements"}},
    {"2^62 elements of 4 bytes",
     -1,
     "{\"a\":" T("F32", "[4611686018427387904]", "[0,4]") "}",
     4,
     {"tensor a", "more bytes"}},
    {"a dimension over 64 bits",
     -1,
     "{\"a\":" T("F32", "[99999999999999999999]", "[0,4]") "}",
     4,
     {"too big integer"}},
    {"three offsets",
     -1,
     "{\"a\":" T("F32", "[1]", "[0,4,8]") "}",
     8,
     {"tensor a", "[begin, end]", "another array"}},
    {"an offset as text",
     -1,
     "{\"a\":" T("F32", "[1]", "[0,\"4\"]") "}",
     4,
     {"tensor a", "[begin, end]"}},
    {"a negative offset",
     -1,
     "{\"a\":" T("F32", "[1]", "[-4,0]") "}",
     4,
     {"tensor a", "0 <= begin", "[-4, 0]"}},
    {"offsets the wrong way round",
     -1,
     "{\"a\":" T("F32", "[1]", "[8,4]") "}",
     8,
     {"tensor a", "begin <= end", "[8, 4]"}},
    {"data cut off",
     -1,
     "{\"a\":" T("F32", "[4]", "[0,16]") "}",
     15,
     {"tensor a", "truncated", "found 15"}},
    {"an end of 2^63 - 1",
     -1,
     "{\"a\":" T("F32", "[1]", "[0,9223372036854775807]") "}",
     4,
     {"tensor a", "truncated"}},
    {"too few bytes for the shape",
     -1,
     "{\"a\":" T("F32", "[2,3]", "[0,20]") "}",
     20,
     {"tensor a", "F32 [2, 3]", "expected 24 bytes, found 20"}},
    {"f16 taken for f32",
     -1,
     "{\"a\":" T("F16", "[6]", "[0,24]") "}",
     24,
     {"F16 [6]", "expected 12 bytes, found 24"}},
    {"overlapping by one byte",
     -1,
     "{\"a\":" T("U8", "[4]", "[0,4]") ",\"b\":" T("U8", "[4]", "[3,7]") "}",
     7,
     {"tensor b", "overlapping", "byte 4, where a ends, found 3"}},
    {"the same bytes twice",
     -1,
     "{\"a\":" T("U8", "[4]", "[0,4]") ",\"b\":" T("U8", "[4]", "[0,4]") "}",
     4,
     {"overlapping"}},
    {"a hole",
     -1,
     "{\"a\":" T("U8", "[4]", "[0,4]") ",\"b\":" T("U8", "[4]", "[5,9]") "}",
     9,
     {"tensor b", "a hole", "found 5"}},
    {"a hole at the start",
     -1,
     "{\"a\":" T("U8", "[4]", "[1,5]") "}",
     5,
     {"tensor a", "a hole", "where the header ends"}},
    {"bytes at the end",
     -1,
     "{\"a\":" T("U8", "[4]", "[0,4]") "}",
     6,
     {"where a does", "2 bytes more"}},
    {"data without tensors", -1, "{}", 3, {"the header", "3 bytes more"}},
};

static void test_bad_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tr_st *f = NULL;
        struct tr_err err = {0};
        uint64_t size = bad[i].size < 0 ? strlen(bad[i].header) : (uint64_t)bad[i].size;
        struct made m = make(size, bad[i].header, bad[i].data);
        enum tr_status st = tr_st_parse(m.at, m.size, "x.safetensors", &f, &err);
        if (st != TR_BADARG || f || !strstr(err.text, "x.safetensors"))
            fail_msg("%s: status %d: %s", bad[i].name, (int)st, err.text);
        for (size_t w = 0; w < 3 && bad[i].words[w]; w++)
            if (!strstr(err.text, bad[i].words[w]))
                fail_msg("%s: no \"%s\" in: %s", bad[i].name, bad[i].words[w], err.text);
        free(m.at);
    }
}

/* Every prefix of a good file is refused, and none reads past its end (the sanitizers watch). */
static void test_cut_at_every_byte(void **state)
{
    (void)state;
    struct made m = make(0, "{\"a\":" T("F32", "[2]", "[0,8]") "}", 8);
    m.at[0] = (unsigned char)(m.size - 16);
    for (size_t size = 0; size <= m.size; size++) {
        struct tr_st *f = NULL;
        struct tr_err err = {0};
        unsigned char *cut = malloc(size + 1);
        memcpy(cut, m.at, size);
        enum tr_status st = tr_st_parse(cut, size, "cut", &f, &err);
        assert_int_equal(st, size == m.size ? TR_OK : TR_BADARG);
        tr_st_close(f);
        free(cut);
    }
    free(m.at);
}

/* Odd but right: an empty tensor, a scalar, unknown keys, an unknown dtype, tensors whose data
 * is not in the order of names, padding. */
static void test_odd_files(void **state)
{
    (void)state;
    struct tr_st *f = NULL;
    struct tr_err err = {0};
    float x[2] = {0};
    char what[64];
    const char *header =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"z\":" T(
            "F32", "[]",
            "[0,4]") ","
                     "\"b\":" T(
                         "F32", "[0,7]",
                         "[4,4]") ","
                                  "\"n\":" T(
                                      "F4", "[3]",
                                      "[4,6]") ","
                                               "\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"extra\":{},\"data_offsets\":[6,8]}"
                                               "}     ";
    struct made m = make(strlen(header), header, 8);
    assert_int_equal(tr_st_parse(m.at, m.size, "odd", &f, &err), TR_OK);
    assert_int_equal(tr_st_count(f), 4);
    assert_string_equal(tr_st_get(f, 0)->name, "a");
    assert_string_equal(tr_st_get(f, 3)->name, "z");
    assert_null(tr_st_find(f, "c"));
    assert_int_equal(tr_st_find(f, "z")->count, 1);
    assert_int_equal(tr_st_find(f, "b")->count, 0);
    assert_int_equal(tr_st_find(f, "n")->dtype, TR_ST_OTHER);
    tr_st_describe(tr_st_find(f, "b"), what, sizeof what);
    assert_string_equal(what, "F32 [0, 7]");
    assert_int_equal(tr_st_floats(tr_st_find(f, "n"), 0, 0, x, &err), TR_BADARG);
    assert_non_null(
        strstr(err.text, "tensor n: expected F32, F16 or BF16, found F4 [3]"));
    assert_int_equal(tr_st_floats(tr_st_find(f, "a"), 0, 1, x, &err), TR_OK);
    assert_true(x[0] == 0x1.0cp-113F); /* bytes 06 07: bf16 0x0706 */
    tr_st_close(f);
    free(m.at);
}

/* Every 16-bit value of both types against arithmetic, and back to its own bits. */
static void test_halves_are_exact(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        unsigned char in[2] = {(unsigned char)i, (unsigned char)(i >> 8)};
        unsigned char back[2];
        float x;
        int exponent = (int)(i >> 10 & 31);
        double fraction = (double)(i & 1023) / 1024;
        double want =
            exponent ? ldexp(1 + fraction, exponent - 15) : ldexp(fraction, -14);
        if (i >> 15) want = -want;
        tr_f16_widen_array(in, 1, &x);
        if (exponent < 31 && ((double)x != want || !signbit(x) != !signbit(want)))
            fail_msg("f16 %04x: %a, expected %a", i, (double)x, want);
        if (exponent == 31 && (i & 1023 ? !isnan(x) : !isinf(x))) fail_msg("f16 %04x", i);
        tr_f16_narrow_array(&x, 1, back);
        if (memcmp(in, back, 2) != 0) fail_msg("f16 %04x comes back as another", i);
        tr_bf16_widen_bytes(in, 1, &x);
        uint32_t bits;
        memcpy(&bits, &x, 4);
        if (bits != i << 16) fail_msg("bf16 %04x: bits %08x", i, bits);
        tr_bf16_narrow_bytes(&x, 1, back);
        if (memcmp(in, back, 2) != 0) fail_msg("bf16 %04x comes back as another", i);
    }
}

static const struct {
    float x;
    uint16_t f16, bf16;
} rounded[] = {
    {1.0F, 0x3c00, 0x3f80},         {0x1.002p0F, 0x3c00, 0x3f80}, /* a tie: to even */
    {0x1.006p0F, 0x3c02, 0x3f80},   {0x1.002002p0F, 0x3c01, 0x3f80},
    {0x1.01p0F, 0x3c04, 0x3f80},    {0x1.03p0F, 0x3c0c, 0x3f82},
    {65519.0F, 0x7bff, 0x4780},     {65520.0F, 0x7c00, 0x4780},
    {0x1p-24F, 0x0001, 0x3380},     {0x1p-25F, 0x0000, 0x3300},
    {0x1.8p-25F, 0x0001, 0x3340},   {0x1.8p-24F, 0x0002, 0x33c0},
    {0x1.ff8p-15F, 0x03ff, 0x3880}, {0x1.ffcp-15F, 0x0400, 0x3880},
    {-0x1p-26F, 0x8000, 0xb280},    {0x1.fffffep127F, 0x7c00, 0x7f80},
};

static void test_halves_round_to_even(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rounded / sizeof *rounded; i++) {
        unsigned char b[2];
        float x = rounded[i].x;
        if (tr_f16_narrow(x) != rounded[i].f16)
            fail_msg("f16 of %a: %04x", (double)x, tr_f16_narrow(x));
        tr_bf16_narrow_bytes(&x, 1, b);
        if ((b[0] | b[1] << 8) != rounded[i].bf16)
            fail_msg("bf16 of %a: %02x%02x", (double)x, b[1], b[0]);
    }
}

static void scratch_path(char *out, size_t size, const char *name)
{
    char dir[] = "/tmp/troupe-st-XXXXXX";
    assert_non_null(mkdtemp(dir));
    snprintf(out, size, "%s/%s", dir, name);
}

static void scratch_remove(char *path)
{
    *strrchr(path, '/') = 0;
    assert_int_equal(tr_dir_remove(path, NULL), TR_OK);
}

static const float b_values[] = {1, -2, 0.5F, INFINITY, 0, -0.0F};

/* a is U8 [3], b F32 [2, 3], c BF16 []: declared out of order, put in order. */
static enum tr_status write_abc(const char *path, struct tr_err *err)
{
    struct tr_st_writer *w = NULL;
    static const struct tr_st_tensor t[] = {
        {.name = "c", .dtype = TR_ST_BF16, .rank = 0},
        {.name = "a", .dtype = TR_ST_U8, .rank = 1, .shape = {3}},
        {.name = "b", .dtype = TR_ST_F32, .rank = 2, .shape = {2, 3}},
    };
    enum tr_status st = tr_st_create(path, t, 3, "pt", &w, err);
    if (st == TR_OK) st = tr_st_put(w, "xyz", 3, err);
    if (st == TR_OK) st = tr_st_put(w, b_values, 10, err);
    if (st == TR_OK) st = tr_st_put(w, (const char *)b_values + 10, 14, err);
    if (st == TR_OK) st = tr_st_put(w, "\x80\x3f", 2, err);
    if (st == TR_OK) {
        st = tr_st_finish(w, err);
        w = NULL;
    }
    tr_st_abandon(w);
    return st;
}

static void test_written_files(void **state)
{
    (void)state;
    char path[64];
    char again[80];
    float x[6];
    struct tr_err err = {0};
    struct tr_st *f = NULL;
    struct tr_map one;
    struct tr_map two;
    scratch_path(path, sizeof path, "one");
    snprintf(again, sizeof again, "%s-again", path);
    assert_int_equal(write_abc(path, &err), TR_OK);
    assert_int_equal(write_abc(again, &err), TR_OK);
    assert_int_equal(tr_map_open(path, &one, &err), TR_OK);
    assert_int_equal(tr_map_open(again, &two, &err), TR_OK);
    assert_int_equal(one.size, two.size); /* invariant 2: the same bytes, aligned to 8 */
    assert_memory_equal(one.at, two.at, one.size);
    assert_int_equal(one.at[0] % 8, 0);
    tr_map_close(&one);
    tr_map_close(&two);
    assert_int_equal(tr_st_open(path, &f, &err), TR_OK);
    assert_int_equal(tr_st_count(f), 3);
    assert_memory_equal(tr_st_find(f, "a")->data, "xyz", 3);
    assert_int_equal(tr_st_floats(tr_st_find(f, "b"), 1, 5, x, &err), TR_OK);
    assert_memory_equal(x, b_values + 1, 5 * sizeof *x);
    assert_int_equal(tr_st_floats(tr_st_find(f, "c"), 0, 1, x, &err), TR_OK);
    assert_true(x[0] == 1);
    tr_st_close(f);
    scratch_remove(path);
}

static void test_writer_refuses_doubles(void **state)
{
    (void)state;
    char path[64];
    struct tr_err err = {0};
    struct tr_st_writer *w = NULL;
    static const struct tr_st_tensor t[] = {{.name = "a", .dtype = TR_ST_U8},
                                            {.name = "a", .dtype = TR_ST_U8}};
    scratch_path(path, sizeof path, "one");
    assert_int_equal(tr_st_create(path, t, 2, NULL, &w, &err), TR_BADARG);
    assert_null(w);
    assert_non_null(strstr(err.text, "declared twice"));
    scratch_remove(path);
}

/* An abandoned file leaves nothing; one that cannot be made says why. */
static void test_nothing_half_written(void **state)
{
    (void)state;
    char path[64];
    char part[80];
    struct tr_err err = {0};
    struct tr_st_writer *w = NULL;
    static const struct tr_st_tensor t = {
        .name = "a", .dtype = TR_ST_U8, .rank = 1, .shape = {9}};
    scratch_path(path, sizeof path, "one");
    snprintf(part, sizeof part, "%s.part", path);
    assert_int_equal(tr_st_create(path, &t, 1, NULL, &w, &err), TR_OK);
    assert_int_equal(tr_st_put(w, "abc", 3, &err), TR_OK);
    assert_true(tr_path_exists(part));
    tr_st_abandon(w);
    assert_false(tr_path_exists(part));
    assert_false(tr_path_exists(path));
    assert_int_equal(mkdir(part, 0777), 0); /* in the way */
    assert_int_equal(tr_st_create(path, &t, 1, NULL, &w, &err), TR_IO);
    assert_null(w);
    assert_non_null(strstr(err.text, part));
    assert_int_equal(rmdir(part), 0);
    assert_int_equal(mkdir(path, 0777), 0); /* rename onto a folder fails */
    assert_int_equal(write_abc(path, &err), TR_IO);
    assert_false(tr_path_exists(part));
    scratch_remove(path);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct tr_err err = {0};
    struct tr_st *f = NULL;
    assert_int_equal(tr_st_open("/nowhere/model.safetensors", &f, &err), TR_BADARG);
    assert_null(f);
    assert_non_null(strstr(err.text, "/nowhere/model.safetensors"));
}

/* Fails the k-th allocation of open and of write, for every k until they succeed. */
static void test_allocation_faults(void **state)
{
    (void)state;
    char path[64];
    char part[80];
    struct tr_err err = {0};
    scratch_path(path, sizeof path, "one");
    snprintf(part, sizeof part, "%s.part", path);
    json_set_alloc_funcs(malloc, free); /* that is now the scarce one, also for jansson */
    enum tr_status st = TR_NOMEM;
    for (int64_t k = 0; st != TR_OK; k++) {
        err = (struct tr_err){0};
        scarce_after(k);
        st = write_abc(path, &err);
        scarce_after(-1);
        if (st != TR_OK) assert_true(err.text[0] && !tr_path_exists(part));
        assert_true(k < 1000);
    }
    st = TR_NOMEM;
    for (int64_t k = 0; st != TR_OK; k++) {
        struct tr_st *f = NULL;
        err = (struct tr_err){0};
        scarce_after(k);
        st = tr_st_open(path, &f, &err);
        scarce_after(-1);
        if (st != TR_OK) assert_true(!f && err.text[0]);
        tr_st_close(f);
        assert_true(k < 1000);
    }
    scratch_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_odd_files),
        cmocka_unit_test(test_halves_are_exact),
        cmocka_unit_test(test_halves_round_to_even),
        cmocka_unit_test(test_written_files),
        cmocka_unit_test(test_writer_refuses_doubles),
        cmocka_unit_test(test_nothing_half_written),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_allocation_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

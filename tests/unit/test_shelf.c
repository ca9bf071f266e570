/* A few models under their digests; the calls that make models of packed files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/shelf.h"
#include "tests/unit/tiny.h"

static struct tr_model drawn(const struct tr_exec *ex, uint64_t seed)
{
    struct tr_model m;
    struct tr_model_start s = {
        .arch = &tiny_archs[0].arch, .seed = seed, .lm_head = true};
    assert_int_equal(tr_model_open(ex, &s, &m, NULL), TR_OK);
    return m;
}

/* Invariants 1 and 2. */
static void each_digest_once_and_in_its_place(void **state)
{
    (void)state;
    struct tr_exec ex;
    struct tr_shelf shelf = {.n = 0};
    struct tr_digest digest[TR_SHELF_MODELS + 1];
    assert_int_equal(tr_exec_init(&ex, NULL, 1, TR_MATH_EXACT), 0);
    for (uint64_t i = 0; i <= TR_SHELF_MODELS; i++) {
        struct tr_model m = drawn(&ex, i), twice = drawn(&ex, i);
        struct tr_err err = {0};
        digest[i] = m.digest;
        enum tr_status st = tr_shelf_put(&shelf, &m, &err);
        assert_null(m.weights);
        assert_int_equal(st, i < TR_SHELF_MODELS ? TR_OK : TR_NOMEM);
        assert_int_equal(tr_shelf_put(&shelf, &twice, &err), st);
        assert_null(twice.weights);
    }
    const struct tr_model *last = tr_shelf_find(&shelf, &digest[3]);
    assert_int_equal(shelf.n, TR_SHELF_MODELS);
    assert_null(tr_shelf_find(&shelf, &digest[TR_SHELF_MODELS]));
    assert_false(tr_shelf_drop(&shelf, &digest[TR_SHELF_MODELS]));
    assert_true(tr_shelf_drop(&shelf, &digest[1]));
    assert_null(tr_shelf_find(&shelf, &digest[1]));
    assert_ptr_equal(tr_shelf_find(&shelf, &digest[3]), last);
    struct tr_digests all = tr_shelf_holds(&shelf);
    assert_int_equal(all.n, 3);
    assert_true(tr_digest_equal(&all.at[0], &digest[0]) &&
                tr_digest_equal(&all.at[1], &digest[2]));
    tr_shelf_fini(&shelf);
    assert_int_equal(shelf.n, 0);
    tr_exec_fini(&ex);
}

/* Packed, opened once more and seen by itself: the same weights each time. */
static void a_packed_model_is_the_model(void **state)
{
    (void)state;
    struct tr_exec ex;
    struct tr_model again, packed;
    struct tr_digest chunk[64], digest;
    assert_int_equal(tr_exec_init(&ex, NULL, 1, TR_MATH_EXACT), 0);
    struct tr_model m = drawn(&ex, 5);
    assert_true(tr_weights_chunks(m.weights) <= 64);
    assert_int_equal(tr_weights_chunk_digests(m.weights, &ex, chunk, NULL), TR_OK);
    assert_int_equal(tr_model_pack(m.weights, &ex, chunk, &m.digest, NULL, &packed, NULL),
                     TR_OK);
    digest = m.digest;
    tr_model_close(&m);
    assert_int_equal(tr_model_again(&packed, &again, NULL), TR_OK);
    tr_model_close(&packed);
    assert_true(tr_digest_equal(&again.digest, &digest));
    assert_int_equal(tr_weights_digest(again.weights, &ex, &digest, NULL), TR_OK);
    assert_true(tr_digest_equal(&again.digest, &digest));
    tr_model_close(&again);
    tr_exec_fini(&ex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_digest_once_and_in_its_place),
        cmocka_unit_test(a_packed_model_is_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

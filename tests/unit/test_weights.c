/* Parameters, forward weights and their digest. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/buf.h"
#include "tests/unit/tiny.h"

static void table_is_sorted_aligned_and_complete(void **state)
{
    (void)state;
    for (int i = 0; i < tiny_arch_count; i++)
        for (int heads = 0; heads < 4; heads++) {
            struct tr_params *p = NULL;
            const struct tr_arch *a = &tiny_archs[i].arch;
            const bool lm = heads & 1;
            const bool value = heads & 2;
            int64_t at = 0;
            assert_int_equal(tr_params_create(a, lm, value, &p, NULL), TR_OK);
            for (int64_t k = 0; k < tr_params_count(p); k++) {
                const struct tr_param *q = tr_params_get(p, k);
                assert_int_equal(q->at, at);
                assert_int_equal(q->at % 16, 0);
                assert_true(q->size >= tr_param_elements(q));
                assert_ptr_equal(tr_params_find(p, q->name), q);
                assert_int_equal(tr_params_index(p, q), k);
                if (k) assert_true(strcmp(tr_params_get(p, k - 1)->name, q->name) < 0);
                at += q->size;
            }
            assert_int_equal(tr_params_total(p), at);
            int64_t each = 9 + (a->qkv_bias ? 3 : 0) + (a->o_bias ? 1 : 0);
            assert_int_equal(tr_params_count(p),
                             2 + a->L * each + (lm && !a->tied) + (value ? 2 : 0));
            assert_int_equal(tr_params_find(p, "lm_head.weight") != NULL, lm && !a->tied);
            assert_null(tr_params_find(p, "model.layers.9.mlp.up_proj.weight"));
            tr_params_destroy(p);
        }
}

/* HF's Trainer: not norms, not biases. */
static void decay_spares_norms_and_biases(void **state)
{
    (void)state;
    const struct {
        const char *name;
        bool decays;
    } rows[] = {
        {"model.embed_tokens.weight", true},
        {"lm_head.weight", true},
        {"model.norm.weight", false},
        {"model.layers.0.input_layernorm.weight", false},
        {"model.layers.0.post_attention_layernorm.weight", false},
        {"model.layers.0.self_attn.q_proj.weight", true},
        {"model.layers.0.self_attn.q_proj.bias", false},
        {"model.layers.0.self_attn.o_proj.bias", false},
        {"model.layers.0.mlp.down_proj.weight", true},
        {"v_head.summary.weight", true},
        {"v_head.summary.bias", false},
    };
    struct tr_params *p = NULL;
    assert_int_equal(tr_params_create(&tiny_archs[2].arch, true, true, &p, NULL), TR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct tr_param *q = tr_params_find(p, rows[i].name);
        if (!q || q->decays != rows[i].decays || q->peer_decays != rows[i].decays)
            fail_msg("%s", rows[i].name);
    }
    tr_params_destroy(p);
    assert_int_equal(tr_params_create(&tiny_archs[3].arch, true, true, &p, NULL), TR_OK);
    assert_false(tr_params_find(p, "model.norm.weight")->decays);
    assert_true(tr_params_find(p, "model.norm.weight")->peer_decays); /* Qwen2's */
    tr_params_destroy(p);
}

static void packing_there_and_back_keeps_every_bit(void **state)
{
    (void)state;
    for (int math = 0; math < 2; math++)
        for (int i = 0; i < tiny_arch_count; i++) {
            struct tiny m;
            assert_true(tiny_open(&m, &tiny_archs[i].arch, 1, NULL, 2,
                                  math ? TR_MATH_OPENBLAS : TR_MATH_EXACT, false));
            const size_t bytes = (size_t)tr_params_total(m.params) * sizeof(float);
            float *again = malloc(bytes);
            float *hf = malloc(bytes);
            memset(again, 0xFF, bytes); /* padding must be zeroed, not found zero */
            for (int64_t k = 0; k < tr_params_count(m.params); k++) {
                tr_params_unpack(&m.ex, tr_params_get(m.params, k), m.masters, hf);
                tr_params_pack(&m.ex, tr_params_get(m.params, k), hf, again);
            }
            assert_memory_equal(again, m.masters, bytes);
            free(again);
            free(hf);
            tiny_close(&m);
        }
}

/* The digest as weights.h states it, from Hugging Face order, byte by byte. */
static void put_u64(struct tr_buf *b, uint64_t x)
{
    char byte[8];
    for (int i = 0; i < 8; i++) byte[i] = (char)(x >> (8 * i));
    assert_int_equal(tr_buf_put(b, byte, 8, NULL), TR_OK);
}

static void put_name(struct tr_buf *b, const char *name)
{
    put_u64(b, strlen(name));
    assert_int_equal(tr_buf_puts(b, name, NULL), TR_OK);
}

static struct tr_digest digest_by_hand(const struct tiny *m, bool bf16)
{
    struct tr_buf head;
    struct tr_buf chunks;
    const int64_t n = tr_params_count(m->params);
    tr_buf_init(&head, 1 << 20);
    tr_buf_init(&chunks, 1 << 20);
    assert_int_equal(tr_buf_puts(&head, "TRWGHT01", NULL), TR_OK);
    put_u64(&head, (uint64_t)n);
    for (int64_t i = 0; i < n; i++) {
        const struct tr_param *p = tr_params_get(m->params, i);
        const bool half = bf16 && strncmp(p->name, "v_head.", 7) != 0;
        const int64_t count = tr_param_elements(p);
        const size_t width = half ? 2 : 4;
        float *hf = malloc((size_t)count * sizeof *hf);
        put_name(&head, p->name);
        put_name(&head, half ? "BF16" : "F32");
        put_u64(&head, p->K ? 2 : 1);
        put_u64(&head, (uint64_t)p->N);
        if (p->K) put_u64(&head, (uint64_t)p->K);
        tr_params_unpack(&m->ex, p, m->masters, hf);
        if (half) /* in place: element i is written at or before where it was read */
            for (int64_t j = 0; j < count; j++) {
                uint16_t r = tr_bf16_round(hf[j]);
                memcpy((char *)hf + 2 * j, &r, 2);
            }
        for (size_t at = 0; at < (size_t)count * width; at += 4194304) {
            size_t left = (size_t)count * width - at;
            struct tr_digest d =
                tr_digest_of((char *)hf + at, left < 4194304 ? left : 4194304);
            assert_int_equal(tr_buf_put(&chunks, d.byte, 32, NULL), TR_OK);
        }
        free(hf);
    }
    assert_int_equal(tr_buf_put(&head, chunks.at, chunks.size, NULL), TR_OK);
    struct tr_digest d = tr_digest_of(head.at, head.size);
    tr_buf_fini(&head);
    tr_buf_fini(&chunks);
    return d;
}

/* One arch whose embedding is three chunks and a bit (f32). */
static struct tr_arch large(void)
{
    struct tr_arch a = tiny_archs[3].arch;
    a.V = 50001;
    a.d = 65;
    a.D = 6;
    return a;
}

static void digest_is_what_the_header_says(void **state)
{
    (void)state;
    for (int i = 0; i <= tiny_arch_count; i++)
        for (int bf16 = 0; bf16 < 2; bf16++)
            for (int math = 0; math < 2; math++) {
                struct tiny m;
                struct tr_digest got;
                struct tr_arch a = i < tiny_arch_count ? tiny_archs[i].arch : large();
                assert_true(tiny_open(&m, &a, 1, NULL, 1 + i % 3,
                                      math ? TR_MATH_OPENBLAS : TR_MATH_EXACT, bf16));
                struct tr_digest want = digest_by_hand(&m, bf16);
                assert_int_equal(tr_weights_digest(m.w, &m.ex, &got, NULL), TR_OK);
                assert_true(tr_digest_equal(&got, &want));
                tiny_close(&m);
            }
}

static void one_bit_changes_the_digest(void **state)
{
    (void)state;
    struct tiny m;
    struct tr_digest before;
    struct tr_digest after;
    assert_true(tiny_open(&m, &tiny_archs[0].arch, 1, NULL, 2, TR_MATH_EXACT, false));
    assert_int_equal(tr_weights_digest(m.w, &m.ex, &before, NULL), TR_OK);
    const struct tr_param *p = tr_params_outer(m.params)->value_bias;
    m.masters[p->at] = nextafterf(m.masters[p->at], 9);
    assert_int_equal(tr_weights_digest(m.w, &m.ex, &after, NULL), TR_OK);
    assert_false(tr_digest_equal(&before, &after));
    tiny_close(&m);
}

/* An evaluator's weights, set tensor by tensor or chunk by chunk, are the learner's. */
static void evaluators_hold_the_learners_weights(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct tiny m;
        struct tr_weights *w[2] = {NULL, NULL};
        struct tr_digest want;
        struct tr_digest got;
        struct tr_arch a = large();
        assert_true(tiny_open(&m, &a, 1, NULL, 2, TR_MATH_EXACT, bf16));
        assert_int_equal(tr_weights_digest(m.w, &m.ex, &want, NULL), TR_OK);
        for (int k = 0; k < 2; k++)
            assert_int_equal(tr_weights_create(m.params, &m.ex, bf16, &w[k], NULL),
                             TR_OK);
        float *hf = malloc((size_t)tr_params_total(m.params) * sizeof *hf);
        for (int64_t i = 0; i < tr_params_count(m.params); i++) {
            tr_params_unpack(&m.ex, tr_params_get(m.params, i), m.masters, hf);
            tr_weights_set(w[0], &m.ex, tr_params_get(m.params, i), hf);
        }
        unsigned char *chunk = malloc(TR_CHUNK_BYTES);
        for (int64_t i = 0; i < tr_weights_chunks(m.w); i++) {
            assert_true(tr_weights_chunk_size(m.w, i) <= TR_CHUNK_BYTES);
            tr_weights_chunk_get(m.w, i, chunk);
            tr_weights_chunk_put(w[1], i, chunk);
        }
        for (int k = 0; k < 2; k++) {
            assert_int_equal(tr_weights_digest(w[k], &m.ex, &got, NULL), TR_OK);
            assert_true(tr_digest_equal(&got, &want));
            tr_weights_destroy(w[k]);
        }
        free(hf);
        free(chunk);
        tiny_close(&m);
    }
}

/* bf16: matrices and vectors are rounded, the value head is not. */
static void rounding_spares_the_value_head(void **state)
{
    (void)state;
    struct tiny m;
    assert_true(tiny_open(&m, &tiny_archs[3].arch, 1, NULL, 1, TR_MATH_EXACT, true));
    assert_true(tr_weights_bf16(m.w));
    for (int64_t i = 0; i < tr_params_count(m.params); i++) {
        const struct tr_param *p = tr_params_get(m.params, i);
        if (p->kind == TR_PARAM_MATRIX) {
            struct tr_mat W = tr_weights_matrix(m.w, p);
            assert_int_equal(W.dtype, TR_BF16);
            for (int64_t k = 0; k < p->size; k++)
                assert_int_equal(((const uint16_t *)W.at)[k],
                                 tr_bf16_round(m.masters[p->at + k]));
            continue;
        }
        const float *v = tr_weights_vector(m.w, p);
        for (int64_t k = 0; k < tr_param_elements(p); k++) {
            float x = m.masters[p->at + k];
            if (p->kind == TR_PARAM_VECTOR) x = tr_bf16_widen(tr_bf16_round(x));
            assert_memory_equal(&v[k], &x, sizeof x);
        }
    }
    assert_null(tr_weights_vector(m.w, NULL));
    tiny_close(&m);
}

/* f32 weights of a learner are its masters: an update is seen after refresh, nothing copied. */
static void f32_weights_borrow_the_masters(void **state)
{
    (void)state;
    struct tiny m;
    assert_true(tiny_open(&m, &tiny_archs[0].arch, 1, NULL, 1, TR_MATH_EXACT, false));
    const struct tr_param *p = tr_weights_output(m.w);
    assert_string_equal(p->name, "lm_head.weight");
    assert_ptr_equal(tr_weights_matrix(m.w, p).at, m.masters + p->at);
    assert_true(tr_weights_bytes(m.params, true) < tr_weights_bytes(m.params, false));
    tiny_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_sorted_aligned_and_complete),
        cmocka_unit_test(decay_spares_norms_and_biases),
        cmocka_unit_test(packing_there_and_back_keeps_every_bit),
        cmocka_unit_test(digest_is_what_the_header_says),
        cmocka_unit_test(one_bit_changes_the_digest),
        cmocka_unit_test(evaluators_hold_the_learners_weights),
        cmocka_unit_test(rounding_spares_the_value_head),
        cmocka_unit_test(f32_weights_borrow_the_masters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "core/model/weights.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/claim.h"

/* Where things lie. f32: `f32` is one flat buffer in the layout of params, ours (an arena), the
 * learner's masters or a file's (lay). bf16: `half` is a flat buffer of the same layout in which only the
 * matrices are used, and `f32` holds the vectors and the value head end to end. */
struct tr_weights {
    const struct tr_params *params; /* borrows */
    enum tr_math math;
    bool bf16;
    bool borrowed;         /* only to be read: the learner's masters, a mapped file */
    struct tr_arena arena; /* owns; empty when the buffers are borrowed */
    float *f32;
    uint16_t *half;
    int64_t *vector_at; /* owns [count]: bf16's offsets into f32 */
};

/* Elements of all that is not a matrix; fills vector_at when given. */
static int64_t lay_vectors(const struct tr_params *params, int64_t *vector_at)
{
    int64_t at = 0;
    for (int64_t i = 0; i < tr_params_count(params); i++) {
        const struct tr_param *p = tr_params_get(params, i);
        if (vector_at) vector_at[i] = at;
        if (p->kind != TR_PARAM_MATRIX) at += p->size;
    }
    return at;
}

struct tr_weights_parts tr_weights_sizes(const struct tr_params *params, bool bf16)
{
    size_t total = (size_t)tr_params_total(params);
    size_t vectors = bf16 ? (size_t)lay_vectors(params, NULL) : 0;
    return (struct tr_weights_parts){.half_bytes = bf16 ? total * sizeof(uint16_t) : 0,
                                     .f32_bytes =
                                         (bf16 ? vectors : total) * sizeof(float)};
}

static void plan(struct tr_claim *c, struct tr_weights_parts *parts)
{
    if (parts->half_bytes) parts->half = tr_claim_bytes(c, parts->half_bytes);
    parts->f32 = tr_claim_bytes(c, parts->f32_bytes);
}

size_t tr_weights_bytes(const struct tr_params *params, bool bf16)
{
    struct tr_claim count = {0};
    struct tr_weights_parts parts = tr_weights_sizes(params, bf16);
    plan(&count, &parts);
    return count.bytes;
}

static enum tr_status new_weights(const struct tr_params *params, enum tr_math math,
                                  bool bf16, struct tr_weights **out, struct tr_err *err)
{
    struct tr_weights *w = calloc(1, sizeof *w);
    *out = NULL;
    if (w) {
        w->params = params;
        w->math = math;
        w->bf16 = bf16;
        w->vector_at = calloc((size_t)tr_params_count(params), sizeof *w->vector_at);
    }
    if (!w || !w->vector_at) {
        tr_weights_destroy(w);
        return tr_err_set(err, TR_NOMEM, "forward weights: the table of tensors");
    }
    lay_vectors(params, w->vector_at);
    *out = w;
    return TR_OK;
}

enum tr_status tr_weights_create(const struct tr_params *params, const struct tr_exec *ex,
                                 bool bf16, struct tr_weights **out, struct tr_err *err)
{
    struct tr_weights *w = NULL;
    *out = NULL;
    enum tr_status st = new_weights(params, ex->math, bf16, &w, err);
    if (st == TR_OK)
        st = tr_arena_init(&w->arena, tr_weights_bytes(params, bf16), "forward weights",
                           err);
    if (st != TR_OK) goto done;
    struct tr_claim take = {.arena = &w->arena};
    struct tr_weights_parts parts = tr_weights_sizes(params, bf16);
    plan(&take, &parts);
    w->half = parts.half;
    w->f32 = parts.f32;
    *out = w;
    w = NULL;

done:
    tr_weights_destroy(w);
    return st;
}

enum tr_status tr_weights_lay(const struct tr_params *params, enum tr_math math,
                              bool bf16, const struct tr_weights_parts *at, bool fill,
                              struct tr_weights **out, struct tr_err *err)
{
    assert((uintptr_t)at->half % 64 == 0 && (uintptr_t)at->f32 % 64 == 0);
    enum tr_status st = new_weights(params, math, bf16, out, err);
    if (st != TR_OK) return st;
    (*out)->half = at->half;
    (*out)->f32 = at->f32;
    (*out)->borrowed = !fill;
    return TR_OK;
}

struct tr_weights_parts tr_weights_parts(const struct tr_weights *w)
{
    struct tr_weights_parts parts = tr_weights_sizes(w->params, w->bf16);
    parts.half = w->half;
    parts.f32 = w->f32;
    return parts;
}

void tr_weights_destroy(struct tr_weights *w)
{
    if (!w) return;
    tr_arena_fini(&w->arena);
    free(w->vector_at);
    free(w);
}

/* Where a vector or the value head starts. */
static float *vector_of(const struct tr_weights *w, const struct tr_param *p)
{
    return w->f32 + (w->bf16 ? w->vector_at[tr_params_index(w->params, p)] : p->at);
}

void tr_weights_refresh(struct tr_weights *w, const struct tr_exec *ex,
                        const float *masters)
{
    if (!w->bf16) {
        tr_arena_fini(&w->arena); /* untouched so far, or evaluators' weights given up */
        w->borrowed = true;
        memcpy(&w->f32, &masters, sizeof w->f32); /* only read from here on */
        return;
    }
    assert(!w->borrowed);
    for (int64_t i = 0; i < tr_params_count(w->params); i++) {
        const struct tr_param *p = tr_params_get(w->params, i);
        if (p->kind == TR_PARAM_MATRIX)
            tr_bf16_round_array(ex, masters + p->at, p->size, w->half + p->at);
        else if (p->kind == TR_PARAM_VECTOR)
            tr_bf16_through(ex, masters + p->at, p->size, vector_of(w, p));
        else
            memcpy(vector_of(w, p), masters + p->at, (size_t)p->size * sizeof(float));
    }
}

void tr_weights_set(struct tr_weights *w, const struct tr_exec *ex,
                    const struct tr_param *p, const float *hf)
{
    assert(!w->borrowed);
    if (p->kind == TR_PARAM_MATRIX) {
        struct tr_mat m = tr_weights_matrix(w, p);
        tr_mat_pack(ex, hf, &m);
        return;
    }
    float *to = vector_of(w, p);
    int64_t n = tr_param_elements(p);
    memcpy(to, hf, (size_t)n * sizeof *to);
    if (w->bf16 && p->kind == TR_PARAM_VECTOR) tr_bf16_through(ex, to, n, to);
}

const struct tr_params *tr_weights_params(const struct tr_weights *w)
{
    return w->params;
}

bool tr_weights_bf16(const struct tr_weights *w)
{
    return w->bf16;
}

struct tr_mat tr_weights_matrix(const struct tr_weights *w, const struct tr_param *p)
{
    assert(p && p->kind == TR_PARAM_MATRIX);
    void *at = w->bf16 ? (void *)(w->half + p->at) : (void *)(w->f32 + p->at);
    return (struct tr_mat){p->N, p->K, w->bf16 ? TR_BF16 : TR_F32, w->math, at};
}

const float *tr_weights_vector(const struct tr_weights *w, const struct tr_param *p)
{
    return p ? vector_of(w, p) : NULL;
}

const struct tr_param *tr_weights_output(const struct tr_weights *w)
{
    const struct tr_outer_params *o = tr_params_outer(w->params);
    const struct tr_param *p = tr_params_arch(w->params)->tied ? o->embed : o->lm_head;
    assert(p);
    return p;
}

/* Is this tensor 2 bytes an element in the digest? */
static bool is_half(const struct tr_weights *w, const struct tr_param *p)
{
    return w->bf16 && p->kind != TR_PARAM_VALUE_HEAD;
}

static int64_t chunk_elements(const struct tr_weights *w, const struct tr_param *p)
{
    return TR_CHUNK_BYTES / (is_half(w, p) ? 2 : 4);
}

static int64_t chunks_of(const struct tr_weights *w, const struct tr_param *p)
{
    int64_t each = chunk_elements(w, p);
    return (tr_param_elements(p) + each - 1) / each;
}

int64_t tr_weights_chunks(const struct tr_weights *w)
{
    int64_t n = 0;
    for (int64_t i = 0; i < tr_params_count(w->params); i++)
        n += chunks_of(w, tr_params_get(w->params, i));
    return n;
}

/* A chunk: elements [from, from + n) of p in Hugging Face order. */
struct piece {
    const struct tr_param *p;
    int64_t from, n;
    size_t width;
};

static struct piece find_chunk(const struct tr_weights *w, int64_t chunk)
{
    for (int64_t i = 0; i < tr_params_count(w->params); i++) {
        const struct tr_param *p = tr_params_get(w->params, i);
        int64_t here = chunks_of(w, p);
        if (chunk >= here) {
            chunk -= here;
            continue;
        }
        int64_t each = chunk_elements(w, p);
        int64_t left = tr_param_elements(p) - chunk * each;
        return (struct piece){p, chunk * each, left < each ? left : each,
                              is_half(w, p) ? 2 : 4};
    }
    assert(0 && "no such chunk");
    return (struct piece){0};
}

size_t tr_weights_chunk_size(const struct tr_weights *w, int64_t i)
{
    struct piece c = find_chunk(w, i);
    return (size_t)c.n * c.width;
}

/* Copies elements [from, from + n) of a matrix between its layout and Hugging Face order:
 * along a row the layout's step is 16 elements in panels and 1 in row-major. `way` > 0 reads
 * the matrix. Elements are copied as bits, so the host's order is the file's. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digests are little-endian");

static void copy_f32(const struct tr_mat *m, int64_t from, int64_t n, float *hf, int way)
{
    const int64_t step = m->math == TR_MATH_EXACT ? 16 : 1;
    for (int64_t i = 0; i < n;) {
        int64_t row = (from + i) / m->K;
        int64_t k = (from + i) % m->K;
        int64_t run = m->K - k < n - i ? m->K - k : n - i;
        float *at = (float *)m->at + tr_mat_at(m->math, m->N, m->K, row, k);
        if (way > 0)
            for (int64_t j = 0; j < run; j++) hf[i + j] = at[j * step];
        else
            for (int64_t j = 0; j < run; j++) at[j * step] = hf[i + j];
        i += run;
    }
}

static void copy_half(const struct tr_mat *m, int64_t from, int64_t n, uint16_t *hf,
                      int way)
{
    const int64_t step = m->math == TR_MATH_EXACT ? 16 : 1;
    for (int64_t i = 0; i < n;) {
        int64_t row = (from + i) / m->K;
        int64_t k = (from + i) % m->K;
        int64_t run = m->K - k < n - i ? m->K - k : n - i;
        uint16_t *at = (uint16_t *)m->at + tr_mat_at(m->math, m->N, m->K, row, k);
        if (way > 0)
            for (int64_t j = 0; j < run; j++) hf[i + j] = at[j * step];
        else
            for (int64_t j = 0; j < run; j++) at[j * step] = hf[i + j];
        i += run;
    }
}

static void copy_vector(const struct tr_weights *w, const struct piece *c, int64_t from,
                        int64_t n, void *hf, int way)
{
    float *at = vector_of(w, c->p) + from;
    uint16_t *half = hf;
    if (c->width == 4 && way > 0)
        memcpy(hf, at, (size_t)n * 4);
    else if (c->width == 4)
        memcpy(at, hf, (size_t)n * 4);
    else if (way > 0)
        for (int64_t i = 0; i < n; i++) half[i] = tr_bf16_round(at[i]);
    else
        for (int64_t i = 0; i < n; i++) at[i] = tr_bf16_widen(half[i]);
}

static void copy(const struct tr_weights *w, const struct piece *c, int64_t from,
                 int64_t n, void *hf, int way)
{
    if (c->p->kind != TR_PARAM_MATRIX) {
        copy_vector(w, c, from, n, hf, way);
        return;
    }
    struct tr_mat m = tr_weights_matrix(w, c->p);
    if (m.dtype == TR_BF16)
        copy_half(&m, from, n, hf, way);
    else
        copy_f32(&m, from, n, hf, way);
}

/* Foreign bytes have no alignment: they go through a small aligned block. */
enum { BLOCK = 4096 };

void tr_weights_chunk_get(const struct tr_weights *w, int64_t i, unsigned char *out)
{
    struct piece c = find_chunk(w, i);
    float block[BLOCK];
    for (int64_t at = 0; at < c.n; at += BLOCK) {
        int64_t n = c.n - at < BLOCK ? c.n - at : BLOCK;
        copy(w, &c, c.from + at, n, block, 1);
        memcpy(out + (size_t)at * c.width, block, (size_t)n * c.width);
    }
}

void tr_weights_chunk_put(struct tr_weights *w, int64_t i, const unsigned char *bytes)
{
    struct piece c = find_chunk(w, i);
    float block[BLOCK];
    assert(!w->borrowed);
    for (int64_t at = 0; at < c.n; at += BLOCK) {
        int64_t n = c.n - at < BLOCK ? c.n - at : BLOCK;
        memcpy(block, bytes + (size_t)at * c.width, (size_t)n * c.width);
        copy(w, &c, c.from + at, n, block, -1);
    }
}

struct hash_job {
    const struct tr_weights *w;
    struct tr_digest *out;
    enum tr_status *status; /* [chunks]: a tile writes its own */
};

static void hash_tile(void *ctx, int64_t tile, void *scratch)
{
    const struct hash_job *job = ctx;
    const int64_t room = TR_SCRATCH_BYTES / 4;
    struct piece c = find_chunk(job->w, tile);
    struct tr_hash *h = NULL;
    job->status[tile] = tr_hash_create(&h, NULL);
    if (!h) return;
    for (int64_t at = 0; at < c.n; at += room) {
        int64_t n = c.n - at < room ? c.n - at : room;
        copy(job->w, &c, c.from + at, n, scratch, 1);
        tr_hash_put(h, scratch, (size_t)n * c.width);
    }
    job->out[tile] = tr_hash_end(h);
    tr_hash_destroy(h);
}

enum tr_status tr_weights_chunk_digests(const struct tr_weights *w,
                                        const struct tr_exec *ex, struct tr_digest *out,
                                        struct tr_err *err)
{
    int64_t n = tr_weights_chunks(w);
    enum tr_status st = TR_OK;
    assert(n > 0);
    enum tr_status *status = calloc((size_t)n, sizeof *status);
    if (!status) return tr_err_set(err, TR_NOMEM, "digest of %lld chunks", (long long)n);
    struct hash_job job = {w, out, status};
    tr_team_run(ex->team, n, hash_tile, &job);
    for (int64_t i = 0; i < n; i++)
        if (status[i] != TR_OK)
            st = tr_err_set(err, status[i], "digest of chunk %lld", (long long)i);
    free(status);
    return st;
}

static void put_text(struct tr_hash *h, const char *text)
{
    tr_hash_put_u64(h, strlen(text));
    tr_hash_put(h, text, strlen(text));
}

static void put_tensor(struct tr_hash *h, const struct tr_weights *w,
                       const struct tr_param *p)
{
    put_text(h, p->name);
    put_text(h, is_half(w, p) ? "BF16" : "F32");
    tr_hash_put_u64(h, p->K ? 2 : 1);
    tr_hash_put_u64(h, (uint64_t)p->N);
    if (p->K) tr_hash_put_u64(h, (uint64_t)p->K);
}

enum tr_status tr_weights_digest_of(const struct tr_weights *w,
                                    const struct tr_digest *chunk, struct tr_digest *out,
                                    struct tr_err *err)
{
    struct tr_hash *h = NULL;
    enum tr_status st = tr_hash_create(&h, err);
    if (st != TR_OK) return st;
    int64_t count = tr_params_count(w->params);
    tr_hash_put(h, "TRWGHT01", 8);
    tr_hash_put_u64(h, (uint64_t)count);
    for (int64_t i = 0; i < count; i++) put_tensor(h, w, tr_params_get(w->params, i));
    for (int64_t i = 0; i < tr_weights_chunks(w); i++)
        tr_hash_put(h, chunk[i].byte, sizeof chunk[i].byte);
    *out = tr_hash_end(h);
    tr_hash_destroy(h);
    return TR_OK;
}

enum tr_status tr_weights_digest(const struct tr_weights *w, const struct tr_exec *ex,
                                 struct tr_digest *out, struct tr_err *err)
{
    const int64_t n = tr_weights_chunks(w);
    assert(n > 0);
    struct tr_digest *chunk = calloc((size_t)n, sizeof *chunk);
    if (!chunk) return tr_err_set(err, TR_NOMEM, "digest of the weights: no memory");
    enum tr_status st = tr_weights_chunk_digests(w, ex, chunk, err);
    if (st == TR_OK) st = tr_weights_digest_of(w, chunk, out, err);
    free(chunk);
    return st;
}

/* Weights over the wire: from a source, from bad ones, from one that dies. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/loader.h"
#include "actors/source.h"
#include "core/base/file.h"
#include "proto/step4_weights.h"
#include "tests/unit/tiny.h"
#include "tests/unit/versions.h"

/* A model of some twenty chunks, packed without a name. */
struct large {
    struct tr_exec ex;
    struct tr_model_shape shape;
    struct tr_model model;
    int64_t chunks;
};

static void open_large(struct large *x)
{
    struct tr_model drawn;
    struct tr_arch a = tiny_archs[3].arch;
    a.V = 90001;
    a.d = 72;
    assert_int_equal(tr_exec_init(&x->ex, NULL, 2, TR_MATH_EXACT), 0);
    struct tr_model_start s = {.arch = &a, .seed = 3, .lm_head = true};
    assert_int_equal(tr_model_open(&x->ex, &s, &drawn, NULL), TR_OK);
    x->chunks = tr_weights_chunks(drawn.weights);
    struct tr_digest *chunk = calloc((size_t)x->chunks, sizeof *chunk);
    assert_int_equal(tr_weights_chunk_digests(drawn.weights, &x->ex, chunk, NULL), TR_OK);
    assert_int_equal(
        tr_model_pack(drawn.weights, &x->ex, chunk, &drawn.digest, NULL, &x->model, NULL),
        TR_OK);
    x->shape = tr_model_shape_of(x->model.weights);
    assert_true(x->chunks > 15);
    free(chunk);
    tr_model_close(&drawn);
}

static void close_large(struct large *x)
{
    tr_model_close(&x->model);
    tr_exec_fini(&x->ex);
}

static struct tr_source *open_source(const struct tr_model *m)
{
    struct tr_source *s = NULL;
    assert_int_equal(tr_source_open("tcp://127.0.0.1:0", NULL, &s, NULL), TR_OK);
    if (m) assert_int_equal(tr_source_add(s, m, NULL), TR_OK);
    return s;
}

/* Loads from these sources. */
static enum tr_status load_within(const struct large *x, const char *sources,
                                  const char *place, double silence_seconds,
                                  struct tr_model *out, struct tr_err *err)
{
    const atomic_bool never = false;
    struct tr_fetcher *f = NULL;
    struct tr_fetch_set set = tr_fetch_defaults(NULL);
    set.retry_seconds = 0.25;
    set.silence_seconds = silence_seconds;
    assert_int_equal(tr_fetcher_create(&set, &f, NULL), TR_OK);
    struct tr_load l = {.digest = x->model.digest};
    snprintf(l.source, sizeof l.source, "%s", sources);
    const struct tr_load_set how = {
        .shape = &x->shape, .ex = &x->ex, .place = place, .fetcher = f, .stop = &never};
    enum tr_status st = tr_load_model(&how, &l, out, err);
    tr_fetcher_destroy(f);
    return st;
}

static enum tr_status load(const struct large *x, const char *sources, const char *place,
                           struct tr_model *out, struct tr_err *err)
{
    return load_within(x, sources, place, 30, out, err);
}

static void check(const struct large *x, struct tr_model *m)
{
    assert_true(m->fetched);
    assert_true(tr_digest_equal(&m->digest, &x->model.digest));
    assert_int_equal(tr_packed_verify(m->packed, &x->ex, NULL), TR_OK);
    tr_model_close(m);
}

static void a_source_gives_what_it_holds(void **state)
{
    (void)state;
    struct large x;
    struct tr_model m, on;
    struct tr_err err = {0};
    char dir[SCRATCH_ROOM], path[TR_PACKED_PATH];
    open_large(&x);
    scratch_make(dir);
    struct tr_source *s = open_source(&x.model), *next;
    if (load(&x, tr_source_address(s), NULL, &m, &err) != TR_OK) fail_msg("%s", err.text);
    next = open_source(&m); /* what was fetched is given on */
    check(&x, &m);
    assert_int_equal(load(&x, tr_source_address(next), dir, &on, NULL), TR_OK);
    assert_int_equal(tr_packed_path(dir, &x.model.digest, path, NULL), TR_OK);
    assert_true(tr_path_exists(path));
    check(&x, &on);
    /* Where the host has it already nobody is asked. */
    tr_source_remove(next, &x.model.digest);
    assert_int_equal(load(&x, tr_source_address(next), dir, &on, NULL), TR_OK);
    assert_false(on.fetched);
    tr_model_close(&on);
    assert_int_equal(load(&x, tr_source_address(next), NULL, &on, &err), TR_GONE);
    assert_non_null(strstr(err.text, "does not hold these weights"));
    tr_source_close(s);
    tr_source_close(next);
    scratch_remove(dir);
    close_large(&x);
}

/* ---- a source that is played ---- */

enum vice {
    DIES,          /* after a few chunks it is gone */
    SILENT,        /* after a few chunks it says nothing more */
    LIES,          /* other bytes, always */
    LIES_AT_TIMES, /* other bytes for every chunk once */
    SHORT,         /* a byte too few */
    WRONG_LIST,    /* digests that make other weights */
    SHORT_LIST,    /* too few of them */
    WRONG_COUNT,   /* of chunks */
    FORGETS,       /* answers three gets of four */
    BABBLES,       /* something else first, then gives all */
    VICES
};

struct villain {
    enum vice vice;
    const struct tr_model *model;
    struct tr_wire *wire;
    char address[TR_ADDRESS_BYTES];
    pthread_t thread;
    atomic_bool stop;
    int64_t gets,
        given; /* chunks, and not their list: whoever asks for one has heard that */
    unsigned char *bytes, *lied;
};

static void answer(struct villain *v, int64_t peer, const struct tr_get *get)
{
    int64_t n = tr_weights_chunks(v->model->weights), i = get->first;
    struct tr_bytes b = {{v->bytes, 0}};
    struct tr_digests none = {.n = 0};
    struct tr_message m = {.say = TR_SAY_CHUNK};
    v->gets++;
    if ((v->vice == DIES || v->vice == SILENT) && v->given > 4) return;
    if (v->vice == FORGETS && v->gets % 4 == 0) return;
    if (i < 0) {
        b.bytes.count = 32 * n;
        memcpy(v->bytes, tr_packed_chunks(v->model->packed), (size_t)b.bytes.count);
        if (v->vice == WRONG_LIST) v->bytes[40] ^= 1;
        if (v->vice == SHORT_LIST) b.bytes.count -= 32;
    } else {
        b.bytes.count = (int64_t)tr_weights_chunk_size(v->model->weights, i);
        tr_weights_chunk_get(v->model->weights, i, v->bytes);
        if (v->vice == LIES || (v->vice == LIES_AT_TIMES && i < 5 && !v->lied[i]))
            v->bytes[7] ^= 4;
        if (v->vice == SHORT) b.bytes.count--;
        v->lied[i] = 1;
    }
    m.as.chunk = (struct tr_chunk){get->digest, i, n + (v->vice == WRONG_COUNT)};
    assert_int_equal(tr_content_encode(&tr_chunk_record, &none, &b, &m.content, NULL),
                     TR_OK);
    if (v->vice == BABBLES && v->given < 7) {
        struct tr_message other = {.say = TR_SAY_HERE};
        tr_wire_send(v->wire, peer, &other, NULL);
        m.as.chunk.digest.byte[0] ^= 1;
        tr_wire_send(v->wire, peer, &m, NULL);
        m.as.chunk.digest.byte[0] ^= 1;
        m.as.chunk.index = 1 << 20;
        tr_wire_send(v->wire, peer, &m, NULL);
        m.as.chunk.index = i;
        tr_wire_send(v->wire, peer, &m, NULL); /* twice */
    }
    tr_wire_send(v->wire, peer, &m, NULL);
    v->given += i >= 0;
    tr_message_fini(&m);
}

static void *play(void *villain)
{
    struct villain *v = villain;
    while (!atomic_load(&v->stop)) {
        struct tr_message m;
        int64_t peer;
        if (tr_wire_receive(v->wire, 0.02, &peer, &m, NULL) != TR_OK) continue;
        if (m.say == TR_SAY_GET) answer(v, peer, &m.as.get);
        tr_message_fini(&m);
        if (v->vice == DIES && v->given > 4) break;
    }
    tr_wire_close(v->wire);
    return NULL;
}

static void open_villain(struct villain *v, enum vice vice, const struct tr_model *m)
{
    *v = (struct villain){.vice = vice, .model = m};
    v->bytes = malloc(TR_CHUNK_BYTES);
    v->lied = calloc((size_t)tr_weights_chunks(m->weights), 1);
    assert_int_equal(
        tr_wire_listen("tcp://127.0.0.1:0", NULL, v->address, &v->wire, NULL), TR_OK);
    assert_int_equal(pthread_create(&v->thread, NULL, play, v), 0);
}

static void close_villain(struct villain *v)
{
    atomic_store(&v->stop, true);
    pthread_join(v->thread, NULL);
    free(v->bytes);
    free(v->lied);
}

/* Invariants 1 to 3: what a bad source sends is not used, and what it does not send is asked again. */
static void a_bad_source_harms_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text; /* NULL: it comes right */
    } want[VICES] = {
        [DIES] = {"dies", "is gone, "},
        [SILENT] = {"is silent", "nothing of use for"},
        [LIES] = {"lies", "a chunk of other bytes"},
        [LIES_AT_TIMES] = {"lies at times", NULL},
        [SHORT] = {"short", "a chunk of another size"},
        [WRONG_LIST] = {"wrong list", "its chunks do not make"},
        [SHORT_LIST] = {"short list", "a list of"},
        [WRONG_COUNT] = {"wrong count", "speaks of"},
        [FORGETS] = {"forgets", NULL},
        [BABBLES] = {"babbles", NULL},
    };
    struct large x;
    open_large(&x);
    for (int vice = 0; vice < VICES; vice++) {
        struct villain v;
        struct tr_model m;
        struct tr_err err = {0};
        open_villain(&v, (enum vice)vice, &x.model);
        enum tr_status st =
            load_within(&x, v.address, NULL, vice == SILENT ? 1 : 30, &m, &err);
        if (st == TR_OK) check(&x, &m);
        if (st != (want[vice].text ? TR_GONE : TR_OK) ||
            (want[vice].text && !strstr(err.text, want[vice].text)))
            fail_msg("%s: %s", want[vice].name, err.text);
        close_villain(&v);
    }
    close_large(&x);
}

/* What the first gave is kept, the second gives the rest. */
static void a_second_source_goes_on(void **state)
{
    (void)state;
    struct large x;
    struct villain v;
    struct tr_model m;
    struct tr_err err = {0};
    char sources[2 * TR_ADDRESS_BYTES + 64];
    open_large(&x);
    open_villain(&v, DIES, &x.model);
    struct tr_source *empty = open_source(NULL), *s = open_source(&x.model);
    snprintf(sources, sizeof sources, "%s %s  %s", tr_source_address(empty), v.address,
             tr_source_address(s));
    if (load(&x, sources, NULL, &m, &err) != TR_OK) fail_msg("%s", err.text);
    check(&x, &m);
    /* A place where nobody is. */
    assert_int_equal(load_within(&x, "tcp://127.0.0.1:1", NULL, 0.5, &m, &err), TR_GONE);
    assert_int_equal(load(&x, "ipc://", NULL, &m, &err), TR_GONE);
    close_villain(&v);
    assert_true(v.given > 3);
    tr_source_close(empty);
    tr_source_close(s);
    close_large(&x);
}

struct pair {
    const struct large *x;
    const char *source, *dir;
    struct tr_model model;
    enum tr_status status;
};

static void *load_one(void *pair)
{
    struct pair *p = pair;
    p->status = load(p->x, p->source, p->dir, &p->model, NULL);
    return NULL;
}

/* Two of a host want the same: one fetches. */
static void a_host_fetches_once(void **state)
{
    (void)state;
    struct large x;
    struct villain v;
    pthread_t thread[2];
    char dir[SCRATCH_ROOM];
    open_large(&x);
    scratch_make(dir);
    open_villain(&v, BABBLES, &x.model);
    struct pair pair[2] = {{.x = &x, .source = v.address, .dir = dir},
                           {.x = &x, .source = v.address, .dir = dir}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, load_one, &pair[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    assert_int_equal(pair[0].status, TR_OK);
    assert_int_equal(pair[1].status, TR_OK);
    assert_int_not_equal(pair[0].model.fetched, pair[1].model.fetched);
    tr_packed_unlink(pair[0].model.packed);
    for (int i = 0; i < 2; i++) tr_model_close(&pair[i].model);
    assert_int_equal(remove(dir), 0); /* no lock is left */
    close_villain(&v);
    close_large(&x);
}

/* Gets beyond all reason: it serves on. */
static void a_greedy_peer_starves_nobody(void **state)
{
    (void)state;
    struct large x;
    struct tr_model m;
    struct tr_wire *greedy = NULL;
    struct tr_err err = {0};
    open_large(&x);
    struct tr_source *s = open_source(&x.model);
    assert_int_equal(tr_wire_join(tr_source_address(s), NULL, &greedy, NULL), TR_OK);
    for (int64_t i = 0; i < 200; i++) {
        struct tr_message get = {.say = TR_SAY_GET};
        get.as.get = (struct tr_get){x.model.digest, i % 3 ? i % x.chunks : 1 << 24,
                                     i % 2 ? 1 << 24 : 1};
        tr_wire_send(greedy, 0, &get, NULL); /* and reads nothing */
    }
    if (load(&x, tr_source_address(s), NULL, &m, &err) != TR_OK) fail_msg("%s", err.text);
    check(&x, &m);
    tr_wire_close(greedy);
    tr_source_close(s);
    close_large(&x);
}

/* A rollout gives on what it fetched, under its own address. */
static void a_rollout_offers_what_it_fetched(void **state)
{
    (void)state;
    const atomic_bool never = false;
    struct versions v;
    struct tr_model_shape shape;
    struct tr_fetcher *f = NULL;
    struct tr_actor *a = NULL;
    struct tr_model m;
    struct tr_message said;
    struct tr_fetch_set set = tr_fetch_defaults(NULL);
    versions_open(&v, false);
    struct tr_source *policy = open_source(&v.model[1]), *own = open_source(NULL);
    struct tr_role_start start = versions_start(&v, 0);
    start.source = own;
    assert_int_equal(tr_actor_open(TR_ROLE_ROLLOUT, &start, &a, NULL), TR_OK);
    assert_int_equal(tr_fetcher_create(&set, &f, NULL), TR_OK);
    assert_true(tr_actor_shape(a, &shape));
    struct tr_load l = {.digest = v.model[1].digest};
    snprintf(l.source, sizeof l.source, "%s", tr_source_address(policy));
    const struct tr_load_set how = {
        .shape = &shape, .ex = &v.ex, .fetcher = f, .stop = &never};
    assert_int_equal(tr_load_model(&how, &l, &m, NULL), TR_OK);
    tr_source_close(policy);
    const struct tr_loaded loaded = {.digest = m.digest, .ok = true};
    assert_int_equal(tr_actor_adopt(a, &m, &loaded, NULL), TR_OK);
    assert_int_equal(tr_actor_work(a, &said), TR_OK);
    assert_int_equal(said.say, TR_SAY_LOADED);
    assert_int_equal(tr_actor_work(a, &said), TR_OK);
    assert_int_equal(said.say, TR_SAY_OFFER);
    assert_string_equal(said.as.offer.source, tr_source_address(own));
    assert_string_equal(said.as.offer.file, "");
    snprintf(l.source, sizeof l.source, "%s", said.as.offer.source);
    assert_int_equal(tr_load_model(&how, &l, &m, NULL), TR_OK);
    tr_model_close(&m);
    struct tr_message drop = {.say = TR_SAY_DROP, .as.drop.digest = l.digest};
    assert_int_equal(tr_actor_take(a, &drop, NULL), TR_OK);
    assert_int_equal(tr_load_model(&how, &l, &m, NULL), TR_GONE);
    tr_fetcher_destroy(f);
    tr_actor_close(a);
    tr_source_close(own);
    versions_close(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_gives_what_it_holds),
        cmocka_unit_test(a_bad_source_harms_nothing),
        cmocka_unit_test(a_second_source_goes_on),
        cmocka_unit_test(a_host_fetches_once),
        cmocka_unit_test(a_greedy_peer_starves_nobody),
        cmocka_unit_test(a_rollout_offers_what_it_fetched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

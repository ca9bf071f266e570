#include "actors/source.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "proto/step4_weights.h"
#include "proto/unit.h"

enum {
    ASKS = 256, /* gets that wait, of all peers */
    ASKS_OF_A_PEER = 16,
    CHUNKS_OF_AN_ASK = 64,
    WAITING = 8, /* chunks that a peer has not read */
};

static const double pause_seconds = 0.25; /* of a peer that takes no more */

struct ask {
    int64_t peer;
    struct tr_get get; /* what is left of it */
    double at;         /* not served before: the peer took no more */
};

struct tr_source {
    char address[TR_ADDRESS_BYTES];
    struct tr_wire *wire; /* owns; the thread's, as all that follows */
    struct ask
        ask[ASKS]; /* [asks], served from the front, what is left goes to the end */
    int64_t asks;
    unsigned char *bytes; /* owns; [TR_CHUNK_BYTES] */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    struct tr_shelf shelf;
    bool stop;
    int fd; /* readable: stop */
};

/* ---- what is given ---- */

/* The answer to the next chunk of an ask; `of` 0 when it cannot be had. Under the lock. */
static enum tr_status make_chunk(struct tr_source *s, const struct tr_get *get,
                                 struct tr_message *out, struct tr_err *err)
{
    const struct tr_model *m = tr_shelf_find(&s->shelf, &get->digest);
    int64_t n = m ? tr_weights_chunks(m->weights) : 0;
    struct tr_digests used = tr_digests_one(&get->digest);
    struct tr_bytes b = {.bytes = {.at = s->bytes, .count = 0}};
    if (get->first >= n) n = 0;
    if (n > 0 && get->first < 0) {
        b.bytes.at = tr_packed_chunks(m->packed);
        b.bytes.count = n * (int64_t)sizeof(struct tr_digest);
    } else if (n > 0) {
        b.bytes.count = (int64_t)tr_weights_chunk_size(m->weights, get->first);
        tr_weights_chunk_get(m->weights, get->first, s->bytes);
    }
    *out = (struct tr_message){.say = TR_SAY_CHUNK};
    out->as.chunk =
        (struct tr_chunk){.digest = get->digest, .index = get->first, .of = n};
    return tr_content_encode(&tr_chunk_record, &used, &b, &out->content, err);
}

/* TR_AGAIN: this peer takes no more for now. */
static enum tr_status give_next(struct tr_source *s, struct ask *a)
{
    struct tr_message m;
    pthread_mutex_lock(&s->lock);
    enum tr_status st = make_chunk(s, &a->get, &m, NULL);
    pthread_mutex_unlock(&s->lock);
    if (st != TR_OK) return st;
    bool held = m.as.chunk.of > 0;
    st = tr_wire_give(s->wire, a->peer, &m, NULL);
    if (st == TR_OK && !held) a->get.count = 0; /* said once is enough */
    tr_message_fini(&m);
    return st;
}

static void take_out(struct tr_source *s, int64_t i)
{
    s->asks--;
    memmove(s->ask + i, s->ask + i + 1, (size_t)(s->asks - i) * sizeof *s->ask);
}

/* One chunk to the first that takes one. False when nobody does. */
static bool serve_one(struct tr_source *s)
{
    double now = tr_clock_seconds();
    for (int64_t i = 0; i < s->asks; i++) {
        struct ask a = s->ask[i];
        if (now < a.at) continue;
        enum tr_status st = give_next(s, &a);
        if (st == TR_AGAIN) {
            s->ask[i].at = now + pause_seconds;
            continue;
        }
        take_out(s, i);
        a.get.first++;
        a.get.count--;
        if (st == TR_OK && a.get.count > 0) s->ask[s->asks++] = a;
        return true; /* a peer that is gone has no ask any more */
    }
    return false;
}

/* ---- what is asked ---- */

static void hear(struct tr_source *s, int64_t peer, const struct tr_get *get)
{
    int64_t of_peer = 0;
    for (int64_t i = 0; i < s->asks; i++) of_peer += s->ask[i].peer == peer;
    if (s->asks == ASKS || of_peer == ASKS_OF_A_PEER) return; /* it will ask again */
    struct ask *a = &s->ask[s->asks++];
    *a = (struct ask){.peer = peer, .get = *get};
    if (a->get.count > CHUNKS_OF_AN_ASK) a->get.count = CHUNKS_OF_AN_ASK;
    if (a->get.first < 0) a->get.count = 1;
}

static bool stopped(struct tr_source *s)
{
    pthread_mutex_lock(&s->lock);
    bool stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static void *run(void *source)
{
    struct tr_source *s = source;
    enum tr_status st = TR_OK;
    bool served = false;
    while (!stopped(s) && st != TR_IO) {
        struct tr_message m;
        int64_t peer;
        double wait = served ? 0 : s->asks > 0 ? pause_seconds : 1;
        st = tr_wire_receive(s->wire, wait, &peer, &m, NULL);
        if (st == TR_OK) {
            if (m.say == TR_SAY_GET) hear(s, peer, &m.as.get);
            tr_message_fini(&m);
        }
        served = serve_one(s);
    }
    return NULL;
}

/* ---- for the owner ---- */

static enum tr_status start(struct tr_source *s, const char *address,
                            const struct tr_keys *keys, struct tr_err *err)
{
    s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->bytes = malloc(TR_CHUNK_BYTES);
    if (s->fd < 0 || !s->bytes) return tr_err_set(err, TR_NOMEM, "a source of weights");
    enum tr_status st =
        tr_wire_listen_bulk(address, keys, WAITING, s->address, &s->wire, err);
    if (st != TR_OK) return st;
    tr_wire_watch(s->wire, s->fd);
    if (pthread_create(&s->thread, NULL, run, s) == 0) return TR_OK;
    return tr_err_set(err, TR_NOMEM, "a thread that gives weights");
}

static void release(struct tr_source *s)
{
    tr_wire_close(s->wire);
    tr_shelf_fini(&s->shelf);
    pthread_mutex_destroy(&s->lock);
    if (s->fd >= 0) close(s->fd);
    free(s->bytes);
    free(s);
}

enum tr_status tr_source_open(const char *address, const struct tr_keys *keys,
                              struct tr_source **out, struct tr_err *err)
{
    struct tr_source *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return tr_err_set(err, TR_NOMEM, "a source of weights");
    pthread_mutex_init(&s->lock, NULL);
    enum tr_status st = start(s, address, keys, err);
    if (st != TR_OK) {
        release(s);
        return tr_err_wrap(err, st, "source of weights");
    }
    *out = s;
    return TR_OK;
}

const char *tr_source_address(const struct tr_source *s)
{
    return s->address;
}

enum tr_status tr_source_add(struct tr_source *s, const struct tr_model *m,
                             struct tr_err *err)
{
    struct tr_model again;
    enum tr_status st = tr_model_again(m, &again, err);
    if (st != TR_OK) return st;
    pthread_mutex_lock(&s->lock);
    if (!tr_shelf_find(&s->shelf, &again.digest) && s->shelf.n == TR_SHELF_MODELS)
        tr_shelf_drop(&s->shelf, &s->shelf.at[0]->digest);
    st = tr_shelf_put(&s->shelf, &again, err);
    pthread_mutex_unlock(&s->lock);
    return st;
}

void tr_source_remove(struct tr_source *s, const struct tr_digest *digest)
{
    pthread_mutex_lock(&s->lock);
    tr_shelf_drop(&s->shelf, digest);
    pthread_mutex_unlock(&s->lock);
}

void tr_source_close(struct tr_source *s)
{
    if (!s) return;
    const uint64_t one = 1;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_mutex_unlock(&s->lock);
    if (write(s->fd, &one, sizeof one) < 0) { /* it is readable already */
    }
    pthread_join(s->thread, NULL);
    release(s);
}

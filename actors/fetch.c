#include "actors/fetch.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "proto/step4_weights.h"
#include "proto/wire.h"

enum { FAULTS_MAX = 8 }; /* of one source */

struct tr_fetcher {
    struct tr_fetch_set set;
    struct tr_wire *wire; /* owns; to `address` */
    char address[TR_PLACE_BYTES];
};

enum chunk_state { WANTED, ASKED, GOT };

struct fetch {
    struct tr_fetcher *f;
    const struct tr_digest *want;
    const atomic_bool *stop;
    struct tr_weights *into;
    struct tr_digest *chunk;
    unsigned char *state; /* owns; [n], enum chunk_state */
    int64_t n, got, asked;
    bool listed;  /* chunk is right */
    double heard; /* when this source last sent anything */
    double good;  /* ... something good */
    bool up;      /* it has been there */
    double away;  /* since when it is not there any more */
    int faults;   /* of this source */
};

struct tr_fetch_set tr_fetch_defaults(const struct tr_keys *keys)
{
    return (struct tr_fetch_set){
        .keys = keys, .retry_seconds = 5, .silence_seconds = 20, .window = 6};
}

enum tr_status tr_fetcher_create(const struct tr_fetch_set *set, struct tr_fetcher **out,
                                 struct tr_err *err)
{
    struct tr_fetcher *f = calloc(1, sizeof *f);
    *out = f;
    if (!f) return tr_err_set(err, TR_NOMEM, "a fetcher");
    f->set = *set;
    return TR_OK;
}

static void hang_up(struct tr_fetcher *f)
{
    tr_wire_close(f->wire);
    f->wire = NULL;
    f->address[0] = 0;
}

void tr_fetcher_destroy(struct tr_fetcher *f)
{
    if (!f) return;
    hang_up(f);
    free(f);
}

/* ---- asking ---- */

static enum tr_status ask(struct fetch *x, int64_t first, struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_GET};
    m.as.get = (struct tr_get){.digest = *x->want, .first = first, .count = 1};
    enum tr_status st = tr_wire_send(x->f->wire, 0, &m, err);
    return st == TR_AGAIN ? TR_OK : st; /* asked again later */
}

/* What was asked and has not come is forgotten: it is asked again. */
static void ask_anew(struct fetch *x, double now)
{
    for (int64_t i = 0; i < x->n; i++)
        if (x->state[i] == ASKED) x->state[i] = WANTED;
    x->asked = 0;
    x->heard = now;
}

static enum tr_status ask_some(struct fetch *x, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    double now = tr_clock_seconds();
    if (now > x->heard + x->f->set.retry_seconds) ask_anew(x, now);
    if (!x->listed) {
        if (x->asked > 0) return TR_OK;
        x->asked = 1;
        return ask(x, -1, err);
    }
    for (int64_t i = 0; i < x->n && st == TR_OK && x->asked < x->f->set.window; i++) {
        if (x->state[i] != WANTED) continue;
        x->state[i] = ASKED;
        x->asked++;
        st = ask(x, i, err);
    }
    return st;
}

/* ---- hearing ---- */

/* Something that is not what was asked for: tolerated a few times. */
static enum tr_status fault(struct fetch *x, const char *what, int64_t chunk,
                            struct tr_err *err)
{
    if (++x->faults < FAULTS_MAX) return TR_OK;
    return tr_err_set(err, TR_BADMSG, "%s %lld, after %d faults", what, (long long)chunk,
                      x->faults);
}

static enum tr_status hear_list(struct fetch *x, const struct tr_bytes *b,
                                struct tr_err *err)
{
    struct tr_digest made;
    if (x->listed) return TR_OK;
    if (b->bytes.count != x->n * (int64_t)sizeof *x->chunk)
        return tr_err_set(err, TR_BADMSG, "a list of %lld bytes, expected %lld chunks",
                          (long long)b->bytes.count, (long long)x->n);
    memcpy(x->chunk, b->bytes.at, (size_t)b->bytes.count);
    enum tr_status st = tr_weights_digest_of(x->into, x->chunk, &made, err);
    if (st != TR_OK) return st;
    if (!tr_digest_equal(&made, x->want))
        return tr_err_set(err, TR_BADMSG,
                          "its chunks do not make the weights that are wanted");
    x->listed = true;
    x->asked = 0;
    return TR_OK;
}

static enum tr_status hear_bytes(struct fetch *x, int64_t i, const struct tr_bytes *b,
                                 struct tr_err *err)
{
    if (!x->listed || i >= x->n || x->state[i] == GOT) return TR_OK;
    if (x->state[i] == ASKED) x->asked--;
    x->state[i] = WANTED;
    if ((size_t)b->bytes.count != tr_weights_chunk_size(x->into, i))
        return fault(x, "a chunk of another size:", i, err);
    struct tr_digest digest = tr_digest_of(b->bytes.at, (size_t)b->bytes.count);
    if (!tr_digest_equal(&digest, &x->chunk[i]))
        return fault(x, "a chunk of other bytes:", i, err);
    tr_weights_chunk_put(x->into, i, b->bytes.at);
    x->state[i] = GOT;
    x->got++;
    x->good = tr_clock_seconds();
    return TR_OK;
}

static enum tr_status hear(struct fetch *x, const struct tr_message *m,
                           struct tr_err *err)
{
    const struct tr_chunk *c = &m->as.chunk;
    struct tr_bytes bytes;
    int64_t unknown = 0;
    if (m->say != TR_SAY_CHUNK || !tr_digest_equal(&c->digest, x->want)) return TR_OK;
    if (c->of == 0) return tr_err_set(err, TR_GONE, "does not hold these weights");
    if (c->of != x->n)
        return tr_err_set(err, TR_BADMSG, "speaks of %lld chunks, expected %lld",
                          (long long)c->of, (long long)x->n);
    if (tr_content_decode(&m->content, &tr_chunk_record, &bytes, &unknown, NULL) != TR_OK)
        return fault(x, "no chunk:", c->index, err);
    if (c->index >= 0) return hear_bytes(x, c->index, &bytes, err);
    enum tr_status st = hear_list(x, &bytes, err);
    if (st == TR_OK) x->good = tr_clock_seconds();
    return st;
}

static enum tr_status listen_some(struct fetch *x, struct tr_err *err)
{
    struct tr_message m;
    int64_t peer;
    enum tr_status st = tr_wire_receive(x->f->wire, 0.2, &peer, &m, err);
    if (st == TR_AGAIN) return TR_OK;
    x->heard = tr_clock_seconds();
    if (st == TR_BADMSG) return fault(x, "no message, instead of chunk", x->got, err);
    if (st != TR_OK) return st;
    x->up = true; /* even if the connection came and went between two looks at it */
    st = hear(x, &m, err);
    tr_message_fini(&m);
    return st;
}

/* ---- one source ---- */

static enum tr_status call(struct tr_fetcher *f, const char *address, struct tr_err *err)
{
    if (f->wire && strcmp(f->address, address) == 0) return TR_OK;
    hang_up(f);
    enum tr_status st = tr_wire_join(address, f->set.keys, &f->wire, err);
    if (st == TR_OK) snprintf(f->address, sizeof f->address, "%s", address);
    return st;
}

/* It was there and is not any more, for a while now. */
static bool hung_up(struct fetch *x)
{
    static const double grace_seconds = 1;
    double now = tr_clock_seconds();
    bool up = tr_wire_up(x->f->wire);
    if (up) x->up = true;
    if (up || !x->up) x->away = now;
    return now > x->away + grace_seconds;
}

static enum tr_status from_source(struct fetch *x, const char *address,
                                  struct tr_err *err)
{
    enum tr_status st = call(x->f, address, err);
    ask_anew(x, tr_clock_seconds());
    x->good = x->away = x->heard;
    x->up = false;
    x->faults = 0;
    while (st == TR_OK && (!x->listed || x->got < x->n)) {
        st = ask_some(x, err);
        if (st == TR_OK) st = listen_some(x, err);
        if (st == TR_OK && atomic_load(x->stop))
            st = tr_err_set(err, TR_GONE, "not wanted any more");
        if (st == TR_OK && hung_up(x))
            st = tr_err_set(err, TR_GONE, "is gone, %lld of %lld chunks had come",
                            (long long)x->got, (long long)x->n);
        if (st == TR_OK && tr_clock_seconds() > x->good + x->f->set.silence_seconds)
            st =
                tr_err_set(err, TR_GONE, "nothing of use for %.0f s, %lld of %lld chunks",
                           x->f->set.silence_seconds, (long long)x->got, (long long)x->n);
    }
    if (st == TR_OK) return st;
    hang_up(x->f); /* nothing that it still sends is wanted */
    return tr_err_wrap(err, st, "%s", address);
}

enum tr_status tr_fetch(struct tr_fetcher *f, const char *sources,
                        const struct tr_digest *want, const atomic_bool *stop,
                        struct tr_weights *into, struct tr_digest *chunk,
                        struct tr_err *err)
{
    struct fetch x = {.f = f,
                      .want = want,
                      .stop = stop,
                      .into = into,
                      .chunk = chunk,
                      .n = tr_weights_chunks(into)};
    enum tr_status st = tr_err_set(err, TR_GONE, "no source was named");
    assert(x.n > 0);
    x.state = calloc((size_t)x.n, 1);
    if (!x.state) return tr_err_set(err, TR_NOMEM, "%lld chunks", (long long)x.n);
    while (*sources && st != TR_OK && !atomic_load(stop)) {
        char address[TR_PLACE_BYTES];
        size_t n = strcspn(sources, " ");
        snprintf(address, sizeof address, "%.*s", (int)n, sources);
        sources += n + strspn(sources + n, " ");
        if (address[0]) st = from_source(&x, address, err);
    }
    free(x.state);
    if (st == TR_OK || st == TR_NOMEM) return st;
    if (err) err->code = TR_GONE; /* whatever it was: these weights cannot be had there */
    return TR_GONE;
}

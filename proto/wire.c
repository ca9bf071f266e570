#include "proto/wire.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "core/base/clock.h"
#include "proto/gate.h"
#include "proto/handshake.h"
#include "proto/peers.h"
#include "proto/step4_weights.h"

enum { LENT_BYTES = 64 * 1024 }; /* smaller arrays are copied faster than lent */

struct tr_wire {
    void *context, *socket; /* own */
    bool listens, keys;
    struct tr_peers
        *peers;           /* owns; of a listening wire, as is the gate, if it has keys */
    struct tr_gate *gate; /* owns */
    int64_t refused;      /* by the gate, as far as it was said */
    double said;          /* clock of that */
    struct tr_handshake handshake; /* of a joined wire */
    char place[TR_ADDRESS_BYTES];
    int watched; /* a descriptor that ends a wait, or -1 */
};

static const double refusal_seconds =
    1; /* between two reports of refused keys, at least */

/* ---- opening ---- */

enum { WAITING = 256 };

/* Option, value: every socket gets all of them. */
static const struct {
    int option, value;
} setting[] = {
    {ZMQ_LINGER, 2000},    /* ms that a last message may take to leave */
    {ZMQ_SNDHWM, WAITING}, /* messages to a peer that does not read */
    {ZMQ_RCVHWM, 256},     /* messages from a peer that we do not read */
    {ZMQ_HEARTBEAT_IVL,
     1000}, /* ms between pings: without them a cut link is never seen */
    {ZMQ_HEARTBEAT_TIMEOUT, 10000},
    {ZMQ_HEARTBEAT_TTL, 10000},
    {ZMQ_HANDSHAKE_IVL, 5000},
    {ZMQ_CONNECT_TIMEOUT, 5000}, /* else the system's, of minutes */
    {ZMQ_TCP_MAXRT, 20000},
    {ZMQ_RECONNECT_IVL, 50},
    {ZMQ_RECONNECT_IVL_MAX, 1000},
    {ZMQ_BACKLOG, 1024}, /* a company that starts all at once */
};

/* Without it ZeroMQ lets everybody in while nobody answers for the gate. The header names it for
 * drafts only, the library knows it always; an older one does without (gate.h, invariant 1). */
enum { ENFORCE_DOMAIN = 93 };

static bool set_key(void *socket, int option, const struct tr_curve *key)
{
    return zmq_setsockopt(socket, option, key->byte, sizeof key->byte) == 0;
}

static bool set_keys(const struct tr_wire *w, const struct tr_address *a,
                     const struct tr_keys *k)
{
    static const char domain[] = "troupe";
    int one = 1;
    if (!set_key(w->socket, ZMQ_CURVE_SECRETKEY, &k->secret_key)) return false;
    if (w->listens) {
        (void)zmq_setsockopt(w->socket, ENFORCE_DOMAIN, &one, sizeof one);
        return zmq_setsockopt(w->socket, ZMQ_CURVE_SERVER, &one, sizeof one) == 0 &&
               zmq_setsockopt(w->socket, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) == 0;
    }
    return set_key(w->socket, ZMQ_CURVE_PUBLICKEY, &k->public_key) &&
           set_key(w->socket, ZMQ_CURVE_SERVERKEY, a->has_key ? &a->key : &k->server);
}

static enum tr_status set_up(const struct tr_wire *w, const struct tr_address *a,
                             const struct tr_keys *keys, struct tr_err *err)
{
    int64_t largest = TR_BULK_BYTES;
    int one = 1, six = a->six || strcmp(a->host, "*") == 0;
    int bad = zmq_setsockopt(w->socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    for (size_t i = 0; i < sizeof setting / sizeof *setting; i++)
        bad |=
            zmq_setsockopt(w->socket, setting[i].option, &setting[i].value, sizeof(int));
    bad |= zmq_setsockopt(w->socket, ZMQ_IPV6, &six, sizeof six);
    if (w->listens)
        bad |= zmq_setsockopt(w->socket, ZMQ_ROUTER_MANDATORY, &one, sizeof one);
    if (bad || (keys && !set_keys(w, a, keys)))
        return tr_err_set(err, TR_IO, "a socket: %s", zmq_strerror(zmq_errno()));
    return TR_OK;
}

/* A wire whose socket is neither bound nor connected. */
static enum tr_status open_wire(const struct tr_address *a, const struct tr_keys *keys,
                                bool listens, struct tr_wire **out, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    struct tr_wire *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w) return tr_err_set(err, TR_NOMEM, "a wire");
    w->listens = listens;
    w->keys = keys != NULL;
    w->watched = -1;
    memcpy(w->place, a->place, sizeof w->place);
    if (listens) w->peers = tr_peers_create();
    w->context = zmq_ctx_new();
    if (w->context) w->socket = zmq_socket(w->context, listens ? ZMQ_ROUTER : ZMQ_DEALER);
    if (!w->socket || (listens && !w->peers))
        st = tr_err_set(err, TR_NOMEM, "a socket: %s", zmq_strerror(zmq_errno()));
    if (st == TR_OK) st = set_up(w, a, keys, err);
    if (st == TR_OK && listens && keys)
        st = tr_gate_open(w->context, keys, &w->gate, err);
    if (st == TR_OK && !listens)
        st = tr_handshake_open(w->context, w->socket, &w->handshake, err);
    if (st != TR_OK) {
        tr_wire_close(w);
        return st;
    }
    *out = w;
    return TR_OK;
}

static enum tr_status bind_fault(const char *address, int fault, struct tr_err *err)
{
    const char *why = zmq_strerror(fault);
    if (fault == EADDRINUSE) why = "the port is in use by another program";
    if (fault == EADDRNOTAVAIL) why = "this host does not have that address";
    if (fault == ENODEV) why = "there is no such host or interface";
    return tr_err_set(err, TR_BADARG, "cannot listen at %s: %s", address, why);
}

enum tr_status tr_wire_listen(const char *address, const struct tr_keys *keys,
                              char *bound, struct tr_wire **out, struct tr_err *err)
{
    return tr_wire_listen_bulk(address, keys, WAITING, bound, out, err);
}

enum tr_status tr_wire_listen_bulk(const char *address, const struct tr_keys *keys,
                                   int waiting, char *bound, struct tr_wire **out,
                                   struct tr_err *err)
{
    struct tr_address a;
    struct tr_wire *w = NULL;
    char endpoint[TR_ADDRESS_BYTES];
    size_t size = sizeof endpoint;
    *out = NULL;
    enum tr_status st = tr_address_parse(address, keys != NULL, &a, err);
    if (st == TR_OK) (void)tr_address_resolve(&a, NULL); /* else it is an interface */
    if (st == TR_OK) st = open_wire(&a, keys, true, &w, err);
    if (st != TR_OK) return st;
    if (zmq_setsockopt(w->socket, ZMQ_SNDHWM, &waiting, sizeof waiting) != 0 ||
        zmq_bind(w->socket, a.numbers[0] ? a.numbers : a.place) != 0)
        st = bind_fault(a.place, zmq_errno(), err);
    else if (zmq_getsockopt(w->socket, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0)
        st = tr_err_set(err, TR_IO, "%s: %s", address, zmq_strerror(zmq_errno()));
    else
        st = tr_address_give(endpoint, keys ? &keys->public_key : NULL, bound, err);
    if (st == TR_OK)
        *out = w;
    else
        tr_wire_close(w);
    return st;
}

static enum tr_status check_join(const struct tr_address *a, const struct tr_keys *keys,
                                 struct tr_err *err)
{
    if (a->tcp && (a->every || a->port == 0))
        return tr_err_set(err, TR_BADARG, "%s: can be listened at, not joined", a->place);
    if (a->has_key && !keys)
        return tr_err_set(err, TR_BADARG,
                          "%s: asks for keys, and this process has none (--keys DIR)",
                          a->place);
    if (keys && !a->has_key && !keys->knows_server)
        return tr_err_set(err, TR_BADARG,
                          "%s: the listener's public key is not known (server.public)",
                          a->place);
    return TR_OK;
}

enum tr_status tr_wire_join(const char *address, const struct tr_keys *keys,
                            struct tr_wire **out, struct tr_err *err)
{
    struct tr_address a;
    *out = NULL;
    enum tr_status st = tr_address_parse(address, keys != NULL, &a, err);
    if (st == TR_OK) st = check_join(&a, keys, err);
    if (st == TR_OK) st = tr_address_resolve(&a, err);
    if (st == TR_OK) st = open_wire(&a, keys, false, out, err);
    if (st != TR_OK) return st;
    if (zmq_connect((*out)->socket, a.place) == 0) return TR_OK;
    st = tr_err_set(err, TR_BADARG, "%s: %s", a.place, zmq_strerror(zmq_errno()));
    tr_wire_close(*out);
    *out = NULL;
    return st;
}

bool tr_wire_up(const struct tr_wire *w)
{
    return w->handshake.up;
}

void tr_wire_watch(struct tr_wire *w, int fd)
{
    w->watched = fd;
}

int tr_wire_role(const struct tr_wire *w, int64_t peer)
{
    return w->gate ? tr_gate_role(w->gate, tr_peers_user(w->peers, peer)) : -1;
}

void tr_wire_keep(struct tr_wire *w, int64_t peer)
{
    if (w->peers) tr_peers_keep(w->peers, peer);
}

void tr_wire_forget(struct tr_wire *w, int64_t peer)
{
    if (w->peers) tr_peers_forget(w->peers, peer);
}

/* The gate's thread ends at the shutdown; what lingers is sent until the term returns. */
void tr_wire_close(struct tr_wire *w)
{
    if (!w) return;
    if (w->socket) zmq_close(w->socket);
    tr_handshake_close(&w->handshake);
    if (w->context) zmq_ctx_shutdown(w->context);
    tr_gate_close(w->gate);
    if (w->context) zmq_ctx_term(w->context);
    tr_peers_destroy(w->peers);
    free(w);
}

/* ---- sending ---- */

static enum tr_status send_fault(struct tr_err *err)
{
    int e = zmq_errno();
    if (e == EAGAIN) return tr_err_set(err, TR_AGAIN, "the peer takes no more for now");
    if (e == EHOSTUNREACH) return tr_err_set(err, TR_GONE, "the peer is not connected");
    return tr_err_set(err, TR_IO, "send: %s", zmq_strerror(e));
}

/* Arrays that ZeroMQ reads where they lie; the last to be done with them frees them. */
struct loan {
    atomic_int readers;
    void *store; /* owns */
};

static void give_back(void *array, void *loan)
{
    struct loan *l = loan;
    (void)array;
    if (atomic_fetch_sub(&l->readers, 1) > 1) return;
    free(l->store);
    free(l);
}

/* One array: lent if it is large, else copied. */
static int send_array(void *socket, const struct tr_bulk *b, struct loan *loan, int flags)
{
    void *at = NULL; /* ZeroMQ takes no const */
    zmq_msg_t part;
    if (!loan || b->size < LENT_BYTES) return zmq_send(socket, b->at, b->size, flags);
    memcpy(&at, &b->at, sizeof at);
    atomic_fetch_add(&loan->readers, 1);
    if (zmq_msg_init_data(&part, at, b->size, give_back, loan) != 0) {
        give_back(at, loan);
        return -1;
    }
    int rc = zmq_msg_send(&part, socket, flags);
    if (rc < 0) zmq_msg_close(&part);
    return rc;
}

/* ZeroMQ refuses a message at its first frame or not at all, so a later one cannot be cut off.
 * *begun: it did not refuse the first. */
static enum tr_status send_frames(struct tr_wire *w, int64_t peer,
                                  const struct tr_buf *head, const struct tr_content *c,
                                  struct loan *loan, bool *begun, struct tr_err *err)
{
    *begun = false;
    if (w->listens) {
        size_t size = 0;
        const void *name = tr_peers_name(w->peers, peer, &size);
        if (!name)
            return tr_err_set(err, TR_GONE, "peer %lld is not known", (long long)peer);
        if (zmq_send(w->socket, name, size, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
            return send_fault(err);
        *begun = true;
    }
    if (zmq_send(w->socket, head->at, head->size,
                 ZMQ_DONTWAIT | (c->n > 0 ? ZMQ_SNDMORE : 0)) < 0)
        return send_fault(err);
    *begun = true;
    for (int i = 0; i < c->n; i++) {
        int more = i + 1 < c->n ? ZMQ_SNDMORE : 0;
        if (send_array(w->socket, &c->bulk[i], loan, ZMQ_DONTWAIT | more) < 0)
            return send_fault(err);
    }
    return TR_OK;
}

static enum tr_status send_message(struct tr_wire *w, int64_t peer,
                                   const struct tr_message *m, struct loan *loan,
                                   bool *begun, struct tr_err *err)
{
    struct tr_buf head;
    *begun = false;
    for (int i = 0; i < m->content.n; i++)
        if (m->content.bulk[i].size > TR_BULK_BYTES)
            return tr_err_set(err, TR_BADARG, "an array of %zu bytes, at most %d",
                              m->content.bulk[i].size, TR_BULK_BYTES);
    enum tr_status st = tr_message_encode(m, &head, err);
    if (st == TR_OK) st = send_frames(w, peer, &head, &m->content, loan, begun, err);
    tr_buf_fini(&head);
    return st;
}

enum tr_status tr_wire_send(struct tr_wire *w, int64_t peer, const struct tr_message *m,
                            struct tr_err *err)
{
    bool begun = false;
    return send_message(w, peer, m, NULL, &begun, err);
}

enum tr_status tr_wire_give(struct tr_wire *w, int64_t peer, struct tr_message *m,
                            struct tr_err *err)
{
    bool begun = false;
    struct loan *loan = malloc(sizeof *loan);
    if (!loan) return tr_err_set(err, TR_NOMEM, "a message");
    atomic_init(&loan->readers, 1); /* this call */
    loan->store = NULL;
    enum tr_status st = send_message(w, peer, m, loan, &begun, err);
    if (begun) {
        loan->store = m->content.store;
        m->content.store = NULL;
        tr_message_fini(m);
    }
    give_back(NULL, loan);
    return st;
}

/* ---- receiving ---- */

struct frames { /* one message as it came: name (of a ROUTER), envelope, bulk */
    zmq_msg_t part[2 + TR_BULK_MAX];
    int n;
    bool too_many;
};

static void drop(struct frames *f)
{
    for (int i = 0; i < f->n; i++) zmq_msg_close(&f->part[i]);
    f->n = 0;
}

/* All frames of one message; those over the limit are read and forgotten. */
static enum tr_status read_frames(struct tr_wire *w, struct frames *f, struct tr_err *err)
{
    bool more = true;
    f->n = 0;
    f->too_many = false;
    while (more) {
        zmq_msg_t extra;
        zmq_msg_t *part = f->n < 2 + TR_BULK_MAX ? &f->part[f->n] : &extra;
        zmq_msg_init(part);
        if (zmq_msg_recv(part, w->socket, ZMQ_DONTWAIT) < 0) {
            int e = zmq_errno();
            zmq_msg_close(part);
            if (e == EAGAIN || e == EINTR) return TR_AGAIN;
            return tr_err_set(err, TR_IO, "receive: %s", zmq_strerror(e));
        }
        more = zmq_msg_more(part);
        if (part == &extra) {
            f->too_many = true;
            zmq_msg_close(part);
        } else {
            f->n++;
        }
    }
    return TR_OK;
}

/* Who sent it. All frames of a message carry its sender's User-Id. */
static enum tr_status find_peer(struct tr_wire *w, struct frames *f, int64_t *peer,
                                struct tr_err *err)
{
    int64_t user = -1;
    *peer = 0;
    if (!w->listens) return TR_OK;
    if (w->gate)
        user = tr_gate_user(w->gate, zmq_msg_gets(&f->part[f->n - 1], "User-Id"));
    *peer = tr_peers_hear(w->peers, zmq_msg_data(&f->part[0]), zmq_msg_size(&f->part[0]),
                          user);
    if (*peer >= 0) return TR_OK;
    return tr_err_set(err, TR_BADMSG, "a peer whose name is too long");
}

static enum tr_status decode(struct tr_wire *w, struct frames *f, int64_t *peer,
                             struct tr_message *out, struct tr_err *err)
{
    struct tr_bulk bulk[1 + TR_BULK_MAX];
    int head = w->listens ? 1 : 0, n = f->n - head - 1;
    enum tr_status st = find_peer(w, f, peer, err);
    if (st != TR_OK) return st;
    if (n < 0) return tr_err_set(err, TR_BADMSG, "message: no envelope");
    if (f->too_many || n > TR_BULK_MAX)
        return tr_err_set(err, TR_BADMSG, "message: more than %d arrays", TR_BULK_MAX);
    for (int i = 0; i < n; i++) {
        zmq_msg_t *part = &f->part[head + 1 + i];
        bulk[i] = (struct tr_bulk){.at = zmq_msg_data(part), .size = zmq_msg_size(part)};
    }
    return tr_message_decode(zmq_msg_data(&f->part[head]), zmq_msg_size(&f->part[head]),
                             bulk, n, out, err);
}

/* Who says what its key is not for hears why, if it waits for an answer. */
static void tell_why(struct tr_wire *w, int64_t peer, enum tr_say say, const char *why)
{
    static const struct tr_digests none;
    static const struct tr_bytes nothing;
    struct tr_message m = {.say = TR_SAY_WELCOME};
    if (say == TR_SAY_HELLO) {
        snprintf(m.as.welcome.reason, sizeof m.as.welcome.reason, "%.199s", why);
    } else if (say == TR_SAY_ASK) {
        m.say = TR_SAY_TELL;
        snprintf(m.as.tell.text, sizeof m.as.tell.text, "%s", why);
        if (tr_content_encode(&tr_report_record, &none, &nothing, &m.content, NULL) !=
            TR_OK)
            return;
    } else {
        return;
    }
    (void)tr_wire_send(w, peer, &m, NULL); /* it was only a courtesy */
    tr_message_fini(&m);
}

static enum tr_status check_rights(struct tr_wire *w, int64_t peer, struct tr_message *m,
                                   struct tr_err *err)
{
    struct tr_err why = {0};
    if (!w->gate || tr_gate_check(tr_wire_role(w, peer), m, &why) == TR_OK) return TR_OK;
    tell_why(w, peer, m->say, why.text);
    tr_message_fini(m);
    return tr_err_set(err, TR_BADMSG, "%s", why.text);
}

/* Keys that the gate refused: said now and then, not each. */
static enum tr_status report_refused(struct tr_wire *w, struct tr_err *err)
{
    char latest[TR_REFUSED_BYTES];
    double now = tr_clock_seconds();
    if (now < w->said + refusal_seconds) return TR_OK;
    int64_t n = tr_gate_refused(w->gate, latest), more = n - w->refused - 1;
    if (more < 0) return TR_OK;
    w->refused = n;
    w->said = now;
    if (more == 0) return tr_err_set(err, TR_BADMSG, "%s", latest);
    return tr_err_set(err, TR_BADMSG, "%s, nor were %lld before it", latest,
                      (long long)more);
}

/* Until a message can be read: TR_OK. TR_AGAIN when the time is over. */
static enum tr_status wait_readable(struct tr_wire *w, double timeout_seconds,
                                    struct tr_err *err)
{
    double end = tr_clock_seconds() + timeout_seconds, left = timeout_seconds;
    zmq_pollitem_t item[3] = {{.socket = w->socket, .events = ZMQ_POLLIN}};
    int n = 1, watched = 0, handshake = 0;
    if (w->watched >= 0) {
        item[watched = n++] = (zmq_pollitem_t){.fd = w->watched, .events = ZMQ_POLLIN};
    }
    if (w->handshake.socket)
        item[handshake = n++] =
            (zmq_pollitem_t){.socket = w->handshake.socket, .events = ZMQ_POLLIN};
    for (;;) {
        int rc = zmq_poll(item, n, left > 0 ? (long)(left * 1e3 + 0.999) : 0);
        if (rc < 0 && zmq_errno() != EINTR)
            return tr_err_set(err, TR_IO, "poll: %s", zmq_strerror(zmq_errno()));
        if (rc < 0) return TR_AGAIN;
        if (item[0].revents & ZMQ_POLLIN) return TR_OK;
        if (handshake && (item[handshake].revents & ZMQ_POLLIN)) {
            enum tr_status st = tr_handshake_look(&w->handshake, w->place, w->keys, err);
            if (st != TR_OK) return st;
        }
        left = end - tr_clock_seconds();
        if (left <= 0 || (watched && (item[watched].revents & ZMQ_POLLIN)))
            return TR_AGAIN;
    }
}

/* What has come already is taken without asking the system whether something has come. */
enum tr_status tr_wire_receive(struct tr_wire *w, double timeout_seconds, int64_t *peer,
                               struct tr_message *out, struct tr_err *err)
{
    struct frames f;
    *peer = -1;
    enum tr_status st = read_frames(w, &f, err);
    if (st == TR_AGAIN) {
        drop(&f);
        if (w->gate) st = report_refused(w, err);
        if (st == TR_BADMSG) return st;
        st = wait_readable(w, timeout_seconds, err);
        if (st != TR_OK) return st;
        st = read_frames(w, &f, err);
    }
    if (st == TR_OK) st = decode(w, &f, peer, out, err);
    if (st == TR_OK) st = check_rights(w, *peer, out, err);
    drop(&f);
    return st;
}

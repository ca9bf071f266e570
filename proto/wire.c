#include "proto/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

struct peer {
    unsigned char name[255]; /* what the ROUTER calls it */
    size_t size;
};

struct tr_wire {
    void *context, *socket; /* own */
    bool listens;
    struct peer *peer; /* owns; [TR_PEERS_MAX], of a listening wire only */
    int64_t peers;
    int watched; /* a descriptor that ends a wait, or -1 */
};

/* ---- addresses ---- */

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Steps over a number of at most `most`; false when there is none. */
static bool step_number(const char **at, long most)
{
    char *end = NULL;
    if (**at < '0' || **at > '9') return false;
    long x = strtol(*at, &end, 10);
    *at = end;
    return x <= most;
}

/* 127.A.B.C:PORT or [::1]:PORT and nothing after it: a name could resolve to anywhere. */
static bool is_loopback(const char *host)
{
    if (starts_with(host, "[::1]:")) {
        host += strlen("[::1]:");
        return step_number(&host, 65535) && *host == 0;
    }
    if (!starts_with(host, "127.")) return false;
    host += strlen("127.");
    for (int i = 0; i < 3; i++)
        if (!step_number(&host, 255) || *host++ != (i < 2 ? '.' : ':')) return false;
    return step_number(&host, 65535) && *host == 0;
}

enum tr_status tr_address_check(const char *address, struct tr_err *err)
{
    bool tcp = starts_with(address, "tcp://");
    if (strlen(address) >= TR_ADDRESS_BYTES)
        return tr_err_set(err, TR_BADARG, "an address of more than %d bytes",
                          TR_ADDRESS_BYTES - 1);
    if (tcp && is_loopback(address + strlen("tcp://"))) return TR_OK;
    if (starts_with(address, "ipc://") && address[strlen("ipc://")]) return TR_OK;
    if (tcp)
        return tr_err_set(
            err, TR_BADARG,
            "%s: only loopback (tcp://127.0.0.1:PORT, tcp://[::1]:PORT, ipc://PATH) "
            "may be used; other hosts need keys, which this version cannot make",
            address);
    return tr_err_set(err, TR_BADARG, "%s: expected tcp://127.0.0.1:PORT or ipc://PATH",
                      address);
}

/* ---- opening and closing ---- */

/* Option, value: every socket gets all of them. */
static const struct {
    int option, value;
} setting[] = {
    {ZMQ_LINGER, 2000}, /* ms that a last message may take to leave */
    {ZMQ_SNDHWM, 256},  /* messages to a peer that does not read */
    {ZMQ_RCVHWM, 256},  /* messages from all peers that we do not read */
    {ZMQ_HEARTBEAT_IVL,
     1000}, /* ms between pings: without them a cut link is never seen */
    {ZMQ_HEARTBEAT_TIMEOUT, 10000},
    {ZMQ_HEARTBEAT_TTL, 10000},
    {ZMQ_HANDSHAKE_IVL, 5000},
    {ZMQ_RECONNECT_IVL, 50},
    {ZMQ_RECONNECT_IVL_MAX, 1000},
};

static enum tr_status set_up(void *socket, const char *address, bool listens,
                             struct tr_err *err)
{
    int64_t largest = TR_BULK_BYTES;
    int one = 1, six = strchr(address, '[') != NULL;
    int bad = zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    for (size_t i = 0; i < sizeof setting / sizeof *setting; i++)
        bad |= zmq_setsockopt(socket, setting[i].option, &setting[i].value, sizeof(int));
    bad |= zmq_setsockopt(socket, ZMQ_IPV6, &six, sizeof six);
    if (listens) bad |= zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &one, sizeof one);
    if (bad) return tr_err_set(err, TR_IO, "a socket: %s", zmq_strerror(zmq_errno()));
    return TR_OK;
}

static enum tr_status open_wire(const char *address, bool listens, struct tr_wire **out,
                                struct tr_err *err)
{
    struct tr_wire *w = NULL;
    *out = NULL;
    enum tr_status st = tr_address_check(address, err);
    if (st != TR_OK) return st;
    w = calloc(1, sizeof *w);
    if (!w) return tr_err_set(err, TR_NOMEM, "a wire");
    w->listens = listens;
    w->watched = -1;
    if (listens) w->peer = calloc(TR_PEERS_MAX, sizeof *w->peer);
    w->context = zmq_ctx_new();
    if (w->context) w->socket = zmq_socket(w->context, listens ? ZMQ_ROUTER : ZMQ_DEALER);
    if (!w->socket || (listens && !w->peer)) {
        st = tr_err_set(err, TR_NOMEM, "a socket: %s", zmq_strerror(zmq_errno()));
        goto done;
    }
    st = set_up(w->socket, address, listens, err);
    if (st != TR_OK) goto done;
    int rc = listens ? zmq_bind(w->socket, address) : zmq_connect(w->socket, address);
    if (rc != 0) {
        st = tr_err_set(err, TR_BADARG, "%s: %s", address, zmq_strerror(zmq_errno()));
        goto done;
    }
    *out = w;
    w = NULL;
done:
    tr_wire_close(w);
    return st;
}

enum tr_status tr_wire_listen(const char *address, char *bound, struct tr_wire **out,
                              struct tr_err *err)
{
    size_t size = TR_ADDRESS_BYTES;
    enum tr_status st = open_wire(address, true, out, err);
    if (st != TR_OK) return st;
    if (zmq_getsockopt((*out)->socket, ZMQ_LAST_ENDPOINT, bound, &size) == 0)
        return TR_OK;
    tr_wire_close(*out);
    *out = NULL;
    return tr_err_set(err, TR_IO, "%s: %s", address, zmq_strerror(zmq_errno()));
}

enum tr_status tr_wire_join(const char *address, struct tr_wire **out, struct tr_err *err)
{
    return open_wire(address, false, out, err);
}

void tr_wire_watch(struct tr_wire *w, int fd)
{
    w->watched = fd;
}

void tr_wire_close(struct tr_wire *w)
{
    if (!w) return;
    if (w->socket) zmq_close(w->socket);
    if (w->context) zmq_ctx_term(w->context);
    free(w->peer);
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

/* ZeroMQ refuses a message at its first frame or not at all, so a later one cannot be cut off. */
static enum tr_status send_frames(struct tr_wire *w, int64_t peer,
                                  const struct tr_buf *head, const struct tr_content *c,
                                  struct tr_err *err)
{
    if (w->listens) {
        const struct peer *p = &w->peer[peer];
        if (zmq_send(w->socket, p->name, p->size, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
            return send_fault(err);
    }
    if (zmq_send(w->socket, head->at, head->size,
                 ZMQ_DONTWAIT | (c->n > 0 ? ZMQ_SNDMORE : 0)) < 0)
        return send_fault(err);
    for (int i = 0; i < c->n; i++) {
        int more = i + 1 < c->n ? ZMQ_SNDMORE : 0;
        if (zmq_send(w->socket, c->bulk[i].at, c->bulk[i].size, ZMQ_DONTWAIT | more) < 0)
            return send_fault(err);
    }
    return TR_OK;
}

enum tr_status tr_wire_send(struct tr_wire *w, int64_t peer, const struct tr_message *m,
                            struct tr_err *err)
{
    struct tr_buf head;
    if (w->listens && (peer < 0 || peer >= w->peers))
        return tr_err_set(err, TR_GONE, "peer %lld never spoke", (long long)peer);
    enum tr_status st = tr_message_encode(m, &head, err);
    if (st == TR_OK) st = send_frames(w, peer, &head, &m->content, err);
    tr_buf_fini(&head);
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

/* The number of the peer of this name, a new one if need be; -1 when there are too many. */
static int64_t number(struct tr_wire *w, const void *name, size_t size)
{
    for (int64_t i = 0; i < w->peers; i++)
        if (w->peer[i].size == size && memcmp(w->peer[i].name, name, size) == 0) return i;
    if (w->peers == TR_PEERS_MAX || size > sizeof w->peer->name) return -1;
    memcpy(w->peer[w->peers].name, name, size);
    w->peer[w->peers].size = size;
    return w->peers++;
}

static enum tr_status decode(struct tr_wire *w, struct frames *f, int64_t *peer,
                             struct tr_message *out, struct tr_err *err)
{
    struct tr_bulk bulk[1 + TR_BULK_MAX];
    int head = w->listens ? 1 : 0, n = f->n - head - 1;
    *peer = 0;
    if (w->listens)
        *peer = number(w, zmq_msg_data(&f->part[0]), zmq_msg_size(&f->part[0]));
    if (*peer < 0) return tr_err_set(err, TR_BADMSG, "more than %d peers", TR_PEERS_MAX);
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

enum tr_status tr_wire_receive(struct tr_wire *w, double timeout_seconds, int64_t *peer,
                               struct tr_message *out, struct tr_err *err)
{
    struct frames f = {.n = 0};
    zmq_pollitem_t item[2] = {{.socket = w->socket, .events = ZMQ_POLLIN},
                              {.fd = w->watched, .events = ZMQ_POLLIN}};
    long timeout_ms = timeout_seconds > 0 ? (long)(timeout_seconds * 1e3 + 0.999) : 0;
    *peer = -1;
    int rc = zmq_poll(item, w->watched >= 0 ? 2 : 1, timeout_ms);
    if (rc < 0 && zmq_errno() != EINTR)
        return tr_err_set(err, TR_IO, "poll: %s", zmq_strerror(zmq_errno()));
    if (rc <= 0 || !(item[0].revents & ZMQ_POLLIN)) return TR_AGAIN;
    enum tr_status st = read_frames(w, &f, err);
    if (st == TR_OK) st = decode(w, &f, peer, out, err);
    drop(&f);
    return st;
}

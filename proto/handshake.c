#include "proto/handshake.h"

#include <stdint.h>
#include <string.h>
#include <zmq.h>

#include "core/base/clock.h"

enum { HANG_UPS = 3 };

static const double at_once_seconds = 3; /* slower failures are deadlines that passed */

enum tr_status tr_handshake_open(void *context, void *watched, struct tr_handshake *out,
                                 struct tr_err *err)
{
    static const char place[] = "inproc://handshakes";
    int zero = 0; /* no limit: a full queue would stop ZeroMQ's own thread */
    int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                 ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 ZMQ_EVENT_DISCONNECTED;
    *out = (struct tr_handshake){0};
    if (zmq_socket_monitor(watched, place, events) == 0)
        out->socket = zmq_socket(context, ZMQ_PAIR);
    if (out->socket && zmq_setsockopt(out->socket, ZMQ_RCVHWM, &zero, sizeof zero) == 0 &&
        zmq_setsockopt(out->socket, ZMQ_LINGER, &zero, sizeof zero) == 0 &&
        zmq_connect(out->socket, place) == 0)
        return TR_OK;
    tr_handshake_close(out);
    return tr_err_set(err, TR_IO, "a monitor: %s", zmq_strerror(zmq_errno()));
}

void tr_handshake_close(struct tr_handshake *h)
{
    if (h->socket) zmq_close(h->socket);
    *h = (struct tr_handshake){0};
}

/* One event: its number and value, then a frame with the address. False when there is none. */
static bool next(void *socket, uint16_t *event, uint32_t *value)
{
    unsigned char head[6];
    if (zmq_recv(socket, head, sizeof head, ZMQ_DONTWAIT) != sizeof head) return false;
    memcpy(event, head, sizeof *event);
    memcpy(value, head + sizeof *event, sizeof *value);
    zmq_recv(socket, NULL, 0, ZMQ_DONTWAIT);
    return true;
}

static enum tr_status refused(const char *place, uint32_t code, struct tr_err *err)
{
    return tr_err_set(err, TR_BADARG, "%s does not admit this key (%u)", place,
                      (unsigned)code);
}

static enum tr_status misunderstood(const char *place, uint32_t why, bool keys,
                                    struct tr_err *err)
{
    const char *text = "what listens there does not shake hands as it should";
    if (why == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
        text = keys ? "it has no keys, and this process has"
                    : "it asks for keys, and this process has none (--keys DIR)";
    return tr_err_set(err, TR_BADARG, "%s: %s", place, text);
}

/* Of two ends that do not understand each other, the one that finds out first hangs up, so the other
 * may see no more than that. */
static enum tr_status hung_up(struct tr_handshake *h, const char *place, bool keys,
                              struct tr_err *err)
{
    if (tr_clock_seconds() > h->connected + at_once_seconds) return TR_OK;
    if (++h->hung_up < HANG_UPS) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%s hangs up at once: %s", place,
                      keys ? "perhaps it has no keys, or another public key than the one "
                             "we have (server.public)"
                           : "perhaps it asks for keys, and this process has none "
                             "(--keys DIR)");
}

enum tr_status tr_handshake_look(struct tr_handshake *h, const char *place, bool keys,
                                 struct tr_err *err)
{
    enum tr_status st = TR_OK;
    uint16_t event = 0;
    uint32_t value = 0;
    while (st == TR_OK && next(h->socket, &event, &value)) {
        if (event == ZMQ_EVENT_CONNECTED) h->connected = tr_clock_seconds();
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) h->hung_up = 0;
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) h->up = true;
        if (event == ZMQ_EVENT_DISCONNECTED) h->up = false;
        if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) st = refused(place, value, err);
        if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
            st = misunderstood(place, value, keys, err);
        if (event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
            st = hung_up(h, place, keys, err);
    }
    return st;
}

/* handshake.h - whether a joined wire is let in, and if not, why; whether it is up.
 *
 * What it is for. ZeroMQ reports nothing to a DEALER whose key is not admitted: it only stays silent.
 * But it tells a monitor what became of each handshake, and that can be put into words.
 *
 * The data. A monitor of one socket: the handshakes that failed at once, in a row.
 *
 * Invariants.
 *   1. A listener that is not there yet, or does not answer in time, is no fault: it may come.
 *   2. After TR_BADARG the socket is of no use: ZeroMQ does not try again. */
#ifndef TR_PROTO_HANDSHAKE_H
#define TR_PROTO_HANDSHAKE_H

#include <stdbool.h>

#include "core/base/err.h"

struct tr_handshake {
    void *socket;     /* owns; for zmq_poll: something happened */
    double connected; /* clock of the last connection */
    int hung_up;      /* in a row */
    bool up;          /* shaken hands, and not parted since */
};

/* Before the socket connects. */
enum tr_status tr_handshake_open(void *context, void *watched, struct tr_handshake *out,
                                 struct tr_err *err);
/* Takes note of what happened. TR_BADARG: not let in; `place` is for the text. */
enum tr_status tr_handshake_look(struct tr_handshake *h, const char *place, bool keys,
                                 struct tr_err *err);
void tr_handshake_close(struct tr_handshake *h);

#endif

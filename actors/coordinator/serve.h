/* serve.h - the core over ZeroMQ: messages in, time in, messages out. */
#ifndef TR_ACTORS_COORDINATOR_SERVE_H
#define TR_ACTORS_COORDINATOR_SERVE_H

#include "actors/coordinator/core.h"
#include "core/base/log.h"
#include "proto/wire.h"

/* Does what the core wants done, without waiting for anything. */
enum tr_status tr_serve_say(struct tr_core *core, struct tr_wire *wire,
                            const struct tr_log *log, struct tr_err *err);

/* Waits a moment for a message, tells the core of it or of the time, and does what it wants. */
enum tr_status tr_serve_turn(struct tr_core *core, struct tr_wire *wire,
                             const struct tr_log *log, struct tr_err *err);

/* Takes turns until the core is over, or ends with TR_GONE once the descriptor `stop_fd` (-1:
 * none) can be read, which is looked at several times a second. All borrowed. */
enum tr_status tr_serve_run(struct tr_core *core, struct tr_wire *wire,
                            const struct tr_log *log, int stop_fd, struct tr_err *err);

#endif

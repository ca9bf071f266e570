#include "actors/coordinator/serve.h"

#include <poll.h>

#include "core/base/clock.h"

static const double wait_seconds = 0.2; /* at most, so that deadlines are seen */
static const double hurry_seconds = 0.02;

/* What has come already is heard before anything is done about it: one flush of the memo carries many
 * answers. Not so many that the first of them waits for long. */
enum { HEARD_AT_ONCE = 64 };
static const double heard_seconds = 0.005;

/* Who is welcome keeps its place among the wire's peers until it is told to go, or is gone. */
static void mark_peer(struct tr_wire *wire, const struct tr_core_action *a,
                      enum tr_status sent)
{
    bool welcome = a->message.say == TR_SAY_WELCOME && a->message.as.welcome.admitted;
    if (sent == TR_GONE || a->message.say == TR_SAY_BYE)
        tr_wire_forget(wire, a->peer);
    else if (welcome)
        tr_wire_keep(wire, a->peer);
}

/* A peer that cannot be reached is lost to the core. */
enum tr_status tr_serve_say(struct tr_core *core, struct tr_wire *wire,
                            const struct tr_log *log, struct tr_err *err)
{
    struct tr_core_action a;
    enum tr_status st = tr_core_flush(core, err);
    while (st == TR_OK && tr_core_next(core, &a)) {
        struct tr_err why = {0};
        if (!a.send) {
            tr_log_info(log, "%s", a.text);
            continue;
        }
        st = tr_wire_send(wire, a.peer, &a.message, &why);
        mark_peer(wire, &a, st);
        if (st == TR_GONE || st == TR_AGAIN)
            st = tr_core_lose(core, a.peer, why.text, tr_clock_seconds(), err);
        else if (st != TR_OK)
            st = tr_err_set(err, st, "%s", why.text);
    }
    return st;
}

/* One message, or none: TR_AGAIN when none came in time. */
static enum tr_status hear_one(struct tr_core *core, struct tr_wire *wire, double wait,
                               struct tr_err *err)
{
    struct tr_message m;
    struct tr_err why = {0};
    int64_t peer;
    enum tr_status st = tr_wire_receive(wire, wait, &peer, &m, &why);
    if (st == TR_OK) {
        st = tr_core_hear(core, peer, &m, tr_clock_seconds(), err);
        tr_message_fini(&m);
        return st;
    }
    if (st == TR_BADMSG)
        return tr_core_mishear(core, peer, why.text, tr_clock_seconds(), err);
    return st == TR_AGAIN ? st : tr_err_set(err, st, "%s", why.text);
}

enum tr_status tr_serve_turn(struct tr_core *core, struct tr_wire *wire,
                             const struct tr_log *log, struct tr_err *err)
{
    enum tr_status st =
        tr_serve_say(core, wire, log, err); /* what was asked for since the last turn */
    if (st != TR_OK) return st;
    st = hear_one(core, wire, tr_core_hurries(core) ? hurry_seconds : wait_seconds, err);
    if (st == TR_AGAIN) st = tr_core_tick(core, tr_clock_seconds(), err);
    double end = tr_clock_seconds() + heard_seconds;
    for (int i = 1; i < HEARD_AT_ONCE && st == TR_OK && !tr_core_over(core) &&
                    tr_clock_seconds() < end;
         i++)
        st = hear_one(core, wire, 0, err);
    if (st == TR_AGAIN) st = TR_OK;
    return st == TR_OK ? tr_serve_say(core, wire, log, err) : st;
}

static bool asked_to_stop(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&p, 1, 0) > 0;
}

enum tr_status tr_serve_run(struct tr_core *core, struct tr_wire *wire,
                            const struct tr_log *log, int stop_fd, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    while (st == TR_OK && !tr_core_over(core)) {
        if (asked_to_stop(stop_fd)) return tr_err_set(err, TR_GONE, "stopped");
        st = tr_serve_turn(core, wire, log, err);
    }
    return st;
}

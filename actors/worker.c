#include "actors/worker.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "proto/wire.h"

static const double hello_seconds = 0.5;     /* between two hellos */
static const double progress_seconds = 1;    /* between two signs of life */
static const double idle_wait_seconds = 0.5; /* at most, while there is nothing to do */

struct running {
    const struct tr_worker *set;
    struct tr_actor *actor; /* borrows */
    struct tr_wire *wire;   /* owns */
    const struct tr_log *log;
    bool gone;         /* bye was said */
    double said_until; /* when progress was last sent */
};

/* A number that differs when the process is started anew. */
static int64_t incarnation(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + (int64_t)getpid() % 1000000;
}

static enum tr_status say_hello(struct running *r, struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_HELLO, .as.hello = tr_actor_hello(r->actor)};
    m.as.hello.incarnation = incarnation();
    snprintf(m.as.hello.instance, sizeof m.as.hello.instance, "%s", r->set->instance);
    return tr_wire_send(r->wire, 0, &m, err);
}

static enum tr_status hear(struct running *r, struct tr_message *m, struct tr_err *err)
{
    switch (m->say) {
    case TR_SAY_WELCOME:
        if (m->as.welcome.admitted) return TR_OK;
        return tr_err_set(err, TR_BADARG, "turned away: %s", m->as.welcome.reason);
    case TR_SAY_UNIT:
        return tr_actor_take(r->actor, m, err);
    case TR_SAY_BYE:
        r->gone = true;
        return TR_OK;
    case TR_SAY_DRAIN:
        return TR_OK; /* nothing new comes; what is in hand is finished */
    case TR_SAY_HELLO:
    case TR_SAY_PROGRESS:
    case TR_SAY_DONE:
    case TR_SAY_FAIL:
        break;
    }
    return tr_err_set(err, TR_BADMSG, "the coordinator said what only workers say");
}

/* Reads one message if there is one within the wait. */
static enum tr_status listen_for(struct running *r, double wait, struct tr_message *out,
                                 struct tr_err *err)
{
    int64_t peer;
    enum tr_status st = tr_wire_receive(r->wire, wait, &peer, out, err);
    if (st == TR_OK) return hear(r, out, err);
    return st;
}

static enum tr_status join(struct running *r, struct tr_err *err)
{
    double end = tr_clock_seconds() + r->set->join_seconds;
    while (tr_clock_seconds() < end) {
        struct tr_message m;
        enum tr_status st = say_hello(r, err);
        if (st != TR_OK && st != TR_AGAIN) return st;
        st = listen_for(r, hello_seconds, &m, err);
        if (st == TR_AGAIN) continue;
        if (st == TR_OK) tr_message_fini(&m);
        return st;
    }
    return tr_err_set(err, TR_GONE, "%s: no coordinator answers, after %.0f s",
                      r->set->address, r->set->join_seconds);
}

static enum tr_status send_progress(struct running *r, struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_PROGRESS,
                           .as.progress = tr_actor_progress(r->actor)};
    if (tr_clock_seconds() < r->said_until + progress_seconds) return TR_OK;
    r->said_until = tr_clock_seconds();
    enum tr_status st = tr_wire_send(r->wire, 0, &m, err);
    return st == TR_AGAIN ? TR_OK : st; /* the next one will do */
}

/* The answer must get through: waits while the coordinator takes no more. */
static enum tr_status send_answer(struct running *r, const struct tr_message *m,
                                  struct tr_err *err)
{
    double end = tr_clock_seconds() + r->set->join_seconds;
    enum tr_status st = tr_wire_send(r->wire, 0, m, err);
    while (st == TR_AGAIN && tr_clock_seconds() < end) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        st = tr_wire_send(r->wire, 0, m, err);
    }
    return st;
}

static enum tr_status work(struct running *r, struct tr_err *err)
{
    struct tr_message said;
    if (tr_actor_work(r->actor, &said) == TR_AGAIN) return TR_OK;
    enum tr_status st = send_answer(r, &said, err);
    tr_message_fini(&said);
    return st;
}

/* Hears all that has come, waiting only when there is nothing to do. */
static enum tr_status hear_all(struct running *r, struct tr_err *err)
{
    double wait = tr_actor_busy(r->actor) ? 0 : idle_wait_seconds;
    enum tr_status st = TR_OK;
    while (st == TR_OK && !r->gone) {
        struct tr_message m;
        st = listen_for(r, wait, &m, err);
        if (st == TR_OK) tr_message_fini(&m);
        wait = 0;
    }
    return st == TR_AGAIN ? TR_OK : st;
}

enum tr_status tr_worker_run(const struct tr_worker *w, struct tr_actor *actor,
                             const struct tr_log *log, struct tr_err *err)
{
    struct running r = {.set = w, .actor = actor, .log = log};
    enum tr_status st = tr_wire_join(w->address, &r.wire, err);
    if (st == TR_OK) st = join(&r, err);
    if (st == TR_OK) tr_log_info(log, "joined %s", w->address);
    while (st == TR_OK && !r.gone) {
        st = hear_all(&r, err);
        if (st == TR_OK && !r.gone) st = work(&r, err);
        if (st == TR_OK && !r.gone) st = send_progress(&r, err);
    }
    tr_wire_close(r.wire);
    return st;
}

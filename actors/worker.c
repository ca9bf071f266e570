#include "actors/worker.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "actors/desk.h"
#include "core/base/clock.h"
#include "proto/wire.h"

static const double hello_seconds = 0.5;  /* between two hellos */
static const double progress_seconds = 1; /* between two signs of life */

struct running {
    const struct tr_worker *set;
    struct tr_actor *actor; /* borrows; the desk's once that is open */
    struct tr_desk *desk;   /* owns */
    struct tr_wire *wire;   /* owns */
    bool gone;              /* bye was said */
    double said;            /* when progress was last sent */
};

/* A number that differs when the process is started anew. */
static int64_t incarnation(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + (int64_t)getpid() % 1000000;
}

static enum tr_status hear(struct running *r, struct tr_message *m, struct tr_err *err)
{
    if (m->say == TR_SAY_UNIT) return tr_desk_put(r->desk, m, err);
    if (m->say == TR_SAY_WELCOME && !m->as.welcome.admitted)
        return tr_err_set(err, TR_BADARG, "turned away: %s", m->as.welcome.reason);
    if (m->say == TR_SAY_BYE) r->gone = true;
    /* drain: nothing new comes, what is in hand is finished; others are for other ears */
    return TR_OK;
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

/* hello until there is a welcome. What it says of the actor is said before the desk has it; units
 * may come right behind the welcome. */
static enum tr_status join(struct running *r, struct tr_err *err)
{
    struct tr_message hello = {.say = TR_SAY_HELLO, .as.hello = tr_actor_hello(r->actor)};
    double end = tr_clock_seconds() + r->set->join_seconds;
    hello.as.hello.incarnation = incarnation();
    snprintf(hello.as.hello.instance, sizeof hello.as.hello.instance, "%s",
             r->set->instance);
    enum tr_status st = tr_desk_open(r->actor, &r->desk, err);
    if (st != TR_OK) return st;
    tr_wire_watch(r->wire, tr_desk_fd(r->desk));
    while (tr_clock_seconds() < end) {
        struct tr_message m;
        st = tr_wire_send(r->wire, 0, &hello, err);
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
    double now = tr_clock_seconds();
    if (now < r->said + progress_seconds) return TR_OK;
    struct tr_message m = {.say = TR_SAY_PROGRESS,
                           .as.progress = tr_desk_progress(r->desk)};
    r->said = now;
    enum tr_status st = tr_wire_send(r->wire, 0, &m, err);
    return st == TR_AGAIN ? TR_OK : st; /* the next one will do */
}

/* An answer must get through: waits while the coordinator takes no more. */
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

static enum tr_status send_answers(struct running *r, struct tr_err *err)
{
    struct tr_message said;
    enum tr_status st = tr_desk_get(r->desk, &said, err);
    while (st == TR_OK) {
        st = send_answer(r, &said, err);
        tr_message_fini(&said);
        if (st == TR_OK) st = tr_desk_get(r->desk, &said, err);
    }
    return st == TR_AGAIN ? TR_OK : st;
}

/* Until bye: waits for a message or an answer, whichever comes first. */
static enum tr_status serve(struct running *r, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    while (st == TR_OK && !r->gone) {
        struct tr_message m;
        st = listen_for(r, progress_seconds, &m, err);
        if (st == TR_OK) tr_message_fini(&m);
        if (st == TR_AGAIN) st = TR_OK;
        if (st == TR_OK && !r->gone) st = send_answers(r, err);
        if (st == TR_OK && !r->gone) st = send_progress(r, err);
    }
    return st;
}

enum tr_status tr_worker_run(const struct tr_worker *w, struct tr_actor *actor,
                             const struct tr_log *log, struct tr_err *err)
{
    struct running r = {.set = w, .actor = actor};
    enum tr_status st = tr_wire_join(w->address, &r.wire, err);
    if (st == TR_OK) st = join(&r, err);
    if (st == TR_OK) tr_log_info(log, "joined %s", w->address);
    if (st == TR_OK) st = serve(&r, err);
    tr_desk_close(r.desk);
    tr_wire_close(r.wire);
    return st;
}

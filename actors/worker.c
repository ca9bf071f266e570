#include "actors/worker.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "actors/desk.h"
#include "actors/loader.h"
#include "core/base/clock.h"
#include "core/base/host.h"
#include "proto/wire.h"

static const double hello_seconds = 1;    /* between two hellos */
static const double progress_seconds = 1; /* between two signs of life */
static const double quiet_seconds = 30;   /* then the coordinator may be gone */
static const double cut_seconds = 1;    /* without a connection; then it is looked for */
static const double look_seconds = 0.2; /* the longest wait */

enum { OFFERS = 8 }; /* remembered, to be said again */

struct running {
    const struct tr_worker *set;
    const struct tr_log *log;
    struct tr_actor *actor;   /* borrows; the desk's once that is open */
    struct tr_desk *desk;     /* owns */
    struct tr_loader *loader; /* owns; NULL when the role takes no weights */
    struct tr_wire *wire;     /* owns */
    struct tr_hello hello;    /* but what it holds */
    struct tr_offer offer[OFFERS];
    int64_t offers;
    bool joined, halting, draining, gone;
    double apart;   /* since when it is not joined */
    double greeted; /* when hello was last sent */
    double heard;   /* when the coordinator last spoke */
    double up;      /* when the wire was last connected */
    double said;    /* when progress was last sent */
};

/* A number that is greater when the process is started anew: microseconds. */
static int64_t incarnation(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- saying ---- */

/* What need not get through: the next one will do. */
static enum tr_status say(struct running *r, const struct tr_message *m,
                          struct tr_err *err)
{
    enum tr_status st = tr_wire_send(r->wire, 0, m, err);
    return st == TR_AGAIN ? TR_OK : st;
}

/* What must: waits while the coordinator takes no more. */
static enum tr_status say_surely(struct running *r, const struct tr_message *m,
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

/* One hello waits for a connection; more would all arrive at once. */
static enum tr_status greet(struct running *r, struct tr_err *err)
{
    double now = tr_clock_seconds();
    bool up = tr_wire_up(r->wire);
    if (r->greeted > 0 && !up) return TR_OK;
    if (now < r->greeted + hello_seconds) return TR_OK;
    struct tr_message m = {.say = TR_SAY_HELLO, .as.hello = r->hello};
    m.as.hello.holds = tr_desk_holds(r->desk);
    r->greeted = now;
    return say(r, &m, err);
}

static enum tr_status say_progress(struct running *r, struct tr_err *err)
{
    double now = tr_clock_seconds();
    if (now < r->said + progress_seconds) return TR_OK;
    struct tr_message m = {.say = TR_SAY_PROGRESS,
                           .as.progress = tr_desk_progress(r->desk)};
    r->said = now;
    return say(r, &m, err);
}

static void forget_offer(struct running *r, const struct tr_digest *digest)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < r->offers; i++)
        if (!tr_digest_equal(&r->offer[i].digest, digest)) r->offer[kept++] = r->offer[i];
    r->offers = kept;
}

static void note_offer(struct running *r, const struct tr_offer *o)
{
    forget_offer(r, &o->digest);
    if (r->offers == OFFERS) forget_offer(r, &r->offer[0].digest);
    r->offer[r->offers++] = *o;
}

/* To a coordinator that may not have heard it. What is no longer there is not offered. */
static enum tr_status offer_again(struct running *r, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < r->offers && st == TR_OK; i++) {
        struct tr_message m = {.say = TR_SAY_OFFER, .as.offer = r->offer[i]};
        if (m.as.offer.file[0] && access(m.as.offer.file, R_OK) != 0) continue;
        st = say_surely(r, &m, err);
    }
    return st;
}

static enum tr_status say_answers(struct running *r, struct tr_err *err)
{
    struct tr_message said;
    enum tr_status st = tr_desk_get(r->desk, &said, err);
    while (st == TR_OK) {
        if (said.say == TR_SAY_OFFER) note_offer(r, &said.as.offer);
        st = say_surely(r, &said, err);
        tr_message_fini(&said);
        if (st == TR_OK) st = tr_desk_get(r->desk, &said, err);
    }
    return st == TR_AGAIN ? TR_OK : st;
}

/* ---- hearing ---- */

static enum tr_status hear_load(struct running *r, const struct tr_load *load,
                                struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_LOADED, .as.loaded = tr_loaded_for(load)};
    struct tr_digests holds = tr_desk_holds(r->desk);
    struct tr_err why = {0};
    m.as.loaded.ok = tr_digests_hold(&holds, &load->digest);
    if (!m.as.loaded.ok && r->loader && tr_loader_ask(r->loader, load, &why) == TR_OK)
        return TR_OK;
    if (!m.as.loaded.ok)
        snprintf(m.as.loaded.text, sizeof m.as.loaded.text, "%s",
                 r->loader ? why.text : "this role loads no weights");
    return say_surely(r, &m, err);
}

static enum tr_status hear_drop(struct running *r, struct tr_message *m,
                                struct tr_err *err)
{
    forget_offer(r, &m->as.drop.digest);
    if (r->loader) tr_loader_forget(r->loader, &m->as.drop.digest);
    return tr_desk_put(r->desk, m, err);
}

static void part(struct running *r)
{
    r->joined = false;
    r->apart = tr_clock_seconds();
    r->greeted = 0;
    tr_wire_watch(r->wire, -1);
}

static enum tr_status hear_welcome(struct running *r, const struct tr_welcome *w,
                                   struct tr_err *err)
{
    if (!w->admitted) /* one that was admitted once made no mistake: it may be started again */
        return tr_err_set(err, r->joined ? TR_BADMSG : TR_BADARG, "turned away: %s",
                          w->reason);
    if (r->joined) return TR_OK;
    tr_log_info(r->log, "joined %s%s", r->set->address, w->idle ? ", idle for now" : "");
    r->joined = true;
    r->up = tr_clock_seconds();
    r->said = 0;
    tr_wire_watch(r->wire, tr_desk_fd(r->desk));
    enum tr_status st = say_progress(r, err);
    return st == TR_OK ? offer_again(r, err) : st;
}

static enum tr_status hear(struct running *r, struct tr_message *m, struct tr_err *err)
{
    if (m->say == TR_SAY_UNIT) return tr_desk_put(r->desk, m, err);
    if (m->say == TR_SAY_WELCOME) return hear_welcome(r, &m->as.welcome, err);
    if (m->say == TR_SAY_LOAD) return hear_load(r, &m->as.load, err);
    if (m->say == TR_SAY_DROP) return hear_drop(r, m, err);
    if (m->say == TR_SAY_WHO) part(r);
    if (m->say == TR_SAY_DRAIN) r->draining = true;
    if (m->say == TR_SAY_BYE) r->gone = true;
    /* here: it lives; others are for other ears */
    return TR_OK;
}

/* One message if one comes before something else has to be done. */
static enum tr_status listen_some(struct running *r, struct tr_err *err)
{
    struct tr_message m;
    int64_t peer;
    enum tr_status st = tr_wire_receive(r->wire, look_seconds, &peer, &m, err);
    if (st == TR_AGAIN) return TR_OK;
    if (st == TR_BADMSG) { /* no coordinator of ours listens there */
        tr_err_wrap(err, TR_BADARG, "%s", r->set->address);
        return TR_BADARG;
    }
    if (st != TR_OK) return st;
    r->heard = tr_clock_seconds();
    st = hear(r, &m, err);
    tr_message_fini(&m);
    return st;
}

/* ---- the loop ---- */

/* The first signal halts the desk, the second ends it all. */
static void look_for_signals(struct running *r)
{
    struct pollfd p = {.fd = r->set->stop_fd, .events = POLLIN};
    char taken[1024];
    if (p.fd < 0 || poll(&p, 1, 0) <= 0 || read(p.fd, taken, sizeof taken) <= 0) return;
    if (r->halting || !r->joined) r->gone = true;
    r->halting = true;
    tr_desk_halt(r->desk);
    tr_log_info(r->log, "stopping after the work in hand");
}

static enum tr_status say_bye(struct running *r, struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_BYE};
    snprintf(m.as.parting.reason, sizeof m.as.parting.reason, "%s",
             r->halting ? "stopped by a signal" : "drained");
    r->gone = true;
    return say(r, &m, err);
}

/* Nothing more will be made: what is there to be said after this is all. */
static bool is_done(struct running *r)
{
    if (tr_desk_halted(r->desk)) return true;
    return r->draining && tr_desk_progress(r->desk).in_hand.n == 0;
}

/* Without a connection nothing is said: it would wait and then come before hello. */
static bool is_cut(struct running *r)
{
    double now = tr_clock_seconds();
    if (tr_wire_up(r->wire)) {
        r->up = now;
        return false;
    }
    if (now > r->up + cut_seconds) {
        tr_log_warn(r->log, "%s is gone", r->set->address);
        part(r);
    }
    return true;
}

static enum tr_status while_joined(struct running *r, struct tr_err *err)
{
    double quiet = r->set->quiet_seconds > 0 ? r->set->quiet_seconds : quiet_seconds;
    bool done = is_done(r); /* before: then all it made is there to be said */
    if (is_cut(r)) return TR_OK;
    enum tr_status st = say_answers(r, err);
    if (st == TR_OK) st = say_progress(r, err);
    if (st != TR_OK) return st;
    if (done) return say_bye(r, err);
    if (tr_clock_seconds() < r->heard + quiet) return TR_OK;
    tr_log_warn(r->log, "nothing heard from %s for %.0f s", r->set->address, quiet);
    part(r);
    return TR_OK;
}

static enum tr_status while_apart(struct running *r, struct tr_err *err)
{
    if (r->halting) { /* nobody is there to be told; its units go to others */
        r->gone = true;
        return TR_OK;
    }
    if (tr_clock_seconds() < r->apart + r->set->join_seconds) return greet(r, err);
    return tr_err_set(err, TR_GONE, "%s: no coordinator answers, after %.0f s",
                      r->set->address, r->set->join_seconds);
}

static enum tr_status serve(struct running *r, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    while (st == TR_OK && !r->gone) {
        st = r->joined ? while_joined(r, err) : while_apart(r, err);
        if (st == TR_OK && !r->gone) st = listen_some(r, err);
        if (st == TR_OK) look_for_signals(r);
    }
    if (st == TR_OK && r->halting && !tr_desk_halted(r->desk)) st = say_bye(r, err);
    return st;
}

/* What it says of the actor is said before the desk has it. */
static enum tr_status open_desk(struct running *r, struct tr_err *err)
{
    struct tr_loader_set set = {
        .isa = r->hello.isa, .place = r->set->place, .keys = r->set->keys};
    r->hello = tr_actor_hello(r->actor);
    r->hello.incarnation = incarnation();
    r->hello.swap = r->set->swap;
    if (r->set->host)
        snprintf(r->hello.host, sizeof r->hello.host, "%s", r->set->host);
    else
        tr_host_id(r->hello.host);
    snprintf(r->hello.instance, sizeof r->hello.instance, "%s", r->set->instance);
    snprintf(r->hello.slot, sizeof r->hello.slot, "%s", r->set->slot ? r->set->slot : "");
    set.math = tr_actor_exec(r->actor)->math;
    bool loads = tr_actor_shape(r->actor, &set.shape);
    enum tr_status st = tr_desk_open(r->actor, &r->desk, err);
    if (st == TR_OK && loads) st = tr_loader_open(&set, r->desk, &r->loader, err);
    return st;
}

enum tr_status tr_worker_run(const struct tr_worker *w, struct tr_actor *actor,
                             const struct tr_log *log, struct tr_err *err)
{
    struct running r = {.set = w, .log = log, .actor = actor};
    enum tr_status st = tr_wire_join(w->address, w->keys, &r.wire, err);
    if (st == TR_OK) st = open_desk(&r, err);
    r.apart = tr_clock_seconds();
    if (st == TR_OK) st = serve(&r, err);
    tr_loader_close(r.loader);
    tr_desk_close(r.desk);
    tr_wire_close(r.wire);
    return st;
}

#include "actors/coordinator/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/coordinator/core_parts.h"
#include "proto/protocol.h"
#include "proto/step4_weights.h"

enum tr_status tr_core_create(const struct tr_core_settings *s,
                              const struct tr_planner *planner,
                              const struct tr_memo *memo, double now,
                              struct tr_core **out, struct tr_err *err)
{
    struct tr_core *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c) c->past = calloc(PASTS, sizeof *c->past);
    if (!c || !c->past) {
        free(c);
        return tr_err_set(err, TR_NOMEM, "a coordinator");
    }
    c->set = *s;
    c->planner = planner;
    c->memo = memo;
    c->now = c->born = c->looked = now;
    *out = c;
    return TR_OK;
}

static void free_row(struct row *r)
{
    while (r->first) {
        struct work *k = r->first;
        r->first = k->after;
        tr_core_free_work(k);
    }
}

void tr_core_destroy(struct tr_core *c)
{
    if (!c) return;
    for (int64_t i = c->next; i < c->actions; i++)
        if (c->action[i].owns) tr_content_fini(&c->action[i].message.content);
    if (c->next > 0 && c->action[c->next - 1].owns)
        tr_content_fini(&c->action[c->next - 1].message.content);
    free_row(&c->known);
    for (int64_t i = 0; i < c->posts; i++) free_row(&c->post[i].waiting);
    for (int64_t i = 0; i < c->workers; i++) free_row(&c->worker[i].hand);
    free(c->worker);
    free(c->want);
    free(c->offer);
    free(c->past);
    free(c->action);
    free(c);
}

bool tr_core_started(const struct tr_core *c)
{
    return c->started;
}

bool tr_core_over(const struct tr_core *c)
{
    return c->over;
}

struct tr_core_counts tr_core_counts(const struct tr_core *c)
{
    return c->counts;
}

enum tr_status tr_core_room(void *list, int64_t n, int64_t *room, size_t each,
                            struct tr_err *err)
{
    void *at = NULL;
    if (n < *room) return TR_OK;
    int64_t wanted = *room ? 2 * *room : 8;
    memcpy(&at, list, sizeof at);
    at = realloc(at, (size_t)wanted * each);
    if (!at) return tr_err_set(err, TR_NOMEM, "the coordinator's lists");
    memcpy(list, &at, sizeof at);
    *room = wanted;
    return TR_OK;
}

/* ---- actions ---- */

enum tr_status tr_core_act(struct tr_core *c, struct tr_core_action **out,
                           struct tr_err *err)
{
    if (c->next == c->actions && c->next > 0 && !c->action[c->next - 1].owns)
        c->next = c->actions = 0;
    enum tr_status st =
        tr_core_room(&c->action, c->actions, &c->action_room, sizeof *c->action, err);
    if (st != TR_OK) return st;
    *out = &c->action[c->actions++];
    (*out)->send = (*out)->owns = false;
    (*out)->text[0] = 0;
    return TR_OK;
}

enum tr_status tr_core_send(struct tr_core *c, int64_t peer, const struct tr_message *m,
                            struct tr_err *err)
{
    struct tr_core_action *a = NULL;
    enum tr_status st = tr_core_act(c, &a, err);
    if (st != TR_OK) return st;
    a->send = true;
    a->peer = peer;
    a->message = *m;
    int64_t at = tr_core_find_worker(c, peer);
    if (at >= 0) c->worker[at].told = c->now;
    return TR_OK;
}

void tr_core_send_back(struct tr_core *c, const struct work *k)
{
    if (k->delivery < c->next || k->delivery >= c->actions) return;
    struct tr_core_action *a = &c->action[k->delivery];
    if (a->send && a->message.say == TR_SAY_UNIT &&
        tr_digest_equal(&a->message.as.unit.id, &k->unit.id))
        a->send = false; /* nothing to say: it is stepped over */
}

bool tr_core_next(struct tr_core *c, struct tr_core_action *out)
{
    if (c->next > 0 && c->action[c->next - 1].owns) {
        tr_content_fini(&c->action[c->next - 1].message.content);
        c->action[c->next - 1].owns = false;
    }
    while (c->next < c->actions && !c->action[c->next].send &&
           !c->action[c->next].text[0])
        c->next++;
    if (c->next == c->actions) return false;
    *out = c->action[c->next++];
    return true;
}

enum tr_status tr_core_flush(struct tr_core *c, struct tr_err *err)
{
    if (!c->dirty) return TR_OK;
    c->dirty = false;
    return c->memo->flush(c->memo->self, err);
}

enum tr_status tr_core_begun(const struct tr_core *c, int64_t *step, struct tr_err *err)
{
    *step = 0;
    return c->memo ? c->memo->newest_step(c->memo->self, step, err) : TR_OK;
}

/* ---- questions ---- */

static enum tr_status send_report(struct tr_core *c, int64_t peer, enum tr_status told,
                                  const char *why, const struct tr_buf *reply,
                                  struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_TELL};
    struct tr_digests none = {.n = 0};
    struct tr_bytes bytes = {{reply->at, (int64_t)reply->size}};
    m.as.tell.ok = told == TR_OK;
    if (told != TR_OK) snprintf(m.as.tell.text, sizeof m.as.tell.text, "%s", why);
    enum tr_status st =
        tr_content_encode(&tr_report_record, &none, &bytes, &m.content, err);
    if (st == TR_OK) st = tr_core_send(c, peer, &m, err);
    if (st == TR_OK)
        c->action[c->actions - 1].owns = true;
    else
        tr_content_fini(&m.content);
    return st;
}

/* *more: it is not answered yet. */
static enum tr_status answer_question(struct tr_core *c, int64_t peer,
                                      const struct tr_ask *ask, bool *more,
                                      struct tr_err *err)
{
    struct tr_err why = {0};
    struct tr_buf reply;
    enum tr_status st = TR_BADARG;
    tr_buf_init(&reply, TR_BULK_BYTES);
    if (c->planner->ask)
        st = c->planner->ask(c->planner->self, c, ask->what, ask->argument, &reply, &why);
    else
        tr_err_set(&why, TR_BADARG, "this run answers no questions");
    *more = st == TR_AGAIN;
    st = *more ? TR_OK : send_report(c, peer, st, why.text, &reply, err);
    tr_buf_fini(&reply);
    return st;
}

/* Not at each event: most of the time is for the run. */
static const double ask_again_seconds = 0.04;

static enum tr_status ask_again(struct tr_core *c, struct tr_err *err)
{
    int kept = 0;
    enum tr_status st = TR_OK;
    if (c->questions == 0 || c->now < c->ask_again) return TR_OK;
    for (int i = 0; i < c->questions; i++) {
        bool more = true;
        if (st == TR_OK)
            st = answer_question(c, c->question[i].peer, &c->question[i].ask, &more, err);
        if (more) c->question[kept++] = c->question[i];
    }
    c->questions = kept;
    c->ask_again = c->now + ask_again_seconds;
    return st;
}

static enum tr_status hear_ask(struct tr_core *c, int64_t peer, const struct tr_ask *ask,
                               struct tr_err *err)
{
    bool more = false;
    struct tr_buf nothing = {0};
    if (c->questions == QUESTIONS)
        return send_report(c, peer, TR_BADARG, "too many questions wait: ask later",
                           &nothing, err);
    enum tr_status st = answer_question(c, peer, ask, &more, err);
    if (more) c->question[c->questions++] = (struct question){peer, *ask};
    c->ask_again = c->now + ask_again_seconds;
    return st;
}

double tr_core_now(const struct tr_core *c)
{
    return c->now;
}

bool tr_core_hurries(const struct tr_core *c)
{
    return c->questions > 0;
}

/* ---- one turn ---- */

/* Everybody is told to go. */
static enum tr_status end(struct tr_core *c, struct tr_err *err)
{
    struct tr_message bye = {.say = TR_SAY_BYE};
    struct tr_buf nothing = {0};
    enum tr_status st = TR_OK;
    c->over = true;
    snprintf(bye.as.parting.reason, sizeof bye.as.parting.reason, "the run is finished");
    for (int64_t i = 0; i < c->workers && st == TR_OK; i++)
        if (c->worker[i].here) st = tr_core_send(c, c->worker[i].peer, &bye, err);
    for (int i = 0; i < c->questions && st == TR_OK; i++)
        st = send_report(c, c->question[i].peer, TR_GONE, bye.as.parting.reason, &nothing,
                         err);
    c->questions = 0;
    return st == TR_OK ? tr_core_tell_held(c, true, err) : st;
}

/* What follows from what was heard: weights are sent for, kept answers told, units handed out. */
static enum tr_status go_on(struct tr_core *c, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    if (c->over) return TR_OK;
    if (!c->started && tr_core_all_here(c)) {
        c->started = true;
        st = c->planner->start(c->planner->self, c, err);
    }
    if (st == TR_OK) st = ask_again(c, err);
    if (st == TR_OK) st = tr_core_check_filled(c, err);
    if (st == TR_OK && c->started && c->planner->turn)
        st = c->planner->turn(c->planner->self, c, err);
    if (st == TR_OK) st = tr_core_tell_known(c, err);
    if (st == TR_OK) st = tr_core_send_loads(c, err);
    if (st == TR_OK && c->started && c->planner->finished(c->planner->self))
        return end(c, err);
    return st == TR_OK ? tr_core_hand_out(c, err) : st;
}

/* ---- events ---- */

/* What a worker says once it was admitted. */
static enum tr_status hear_worker(struct tr_core *c, int64_t at, struct tr_message *m,
                                  struct tr_err *err)
{
    if (m->say == TR_SAY_DONE) return tr_core_hear_done(c, at, m, err);
    if (m->say == TR_SAY_FAIL) return tr_core_hear_fail(c, at, &m->as.fail, err);
    if (m->say == TR_SAY_LOADED) return tr_core_hear_loaded(c, at, &m->as.loaded, err);
    if (m->say == TR_SAY_OFFER) return tr_core_hear_offer(c, at, &m->as.offer, err);
    if (m->say == TR_SAY_BYE) return tr_core_leave(c, at, false, "said bye", err);
    if (m->say == TR_SAY_PROGRESS) {
        tr_core_hear_progress(c, at, &m->as.progress);
        return TR_OK;
    }
    c->counts.refused++;
    return tr_core_note(c, &c->worker[at].hello, "no good", err,
                        "%s said %s, which only a coordinator says",
                        c->worker[at].hello.instance, tr_say_record(m->say)->kind);
}

/* Whoever worked for a coordinator that was here before says hello again. */
static enum tr_status ask_who(struct tr_core *c, int64_t peer, struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_WHO};
    c->counts.refused++;
    return tr_core_send(c, peer, &m, err);
}

enum tr_status tr_core_mishear(struct tr_core *c, int64_t peer, const char *why,
                               double now, struct tr_err *err)
{
    bool stranger = peer >= 0 && tr_core_find_worker(c, peer) < 0;
    enum tr_status st = tr_core_lose(c, peer, why, now, err);
    return st == TR_OK && stranger ? tr_core_turn_away(c, peer, why, err) : st;
}

/* Workers hear from us now and then, or they would think that we are gone. */
static enum tr_status say_here(struct tr_core *c, struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_HERE};
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < c->workers && st == TR_OK; i++) {
        struct worker *w = &c->worker[i];
        if (w->here && c->set.here_seconds > 0 && c->now >= w->told + c->set.here_seconds)
            st = tr_core_send(c, w->peer, &m, err);
    }
    return st;
}

static enum tr_status look_at_clock(struct tr_core *c, struct tr_err *err)
{
    c->looked = c->now;
    c->busy = 0;
    enum tr_status st = tr_core_check_silence(c, err);
    if (st == TR_OK) st = tr_core_tell_held(c, false, err);
    if (st == TR_OK && !c->over) st = tr_core_ask_twice(c, err);
    return st == TR_OK && !c->over ? say_here(c, err) : st;
}

/* Where somebody always speaks no tick ever comes, and the clock is looked at all the same. A long time
 * between two messages counts for little: a coordinator that was stopped itself hears what has been
 * said meanwhile before it calls anybody silent. */
static enum tr_status pass_time(struct tr_core *c, struct tr_err *err)
{
    static const double counted = 0.05, enough = 1;
    double since = c->now - c->looked;
    c->looked = c->now;
    c->busy += since < counted ? since : counted;
    return c->busy < enough ? TR_OK : look_at_clock(c, err);
}

enum tr_status tr_core_hear(struct tr_core *c, int64_t peer, struct tr_message *m,
                            double now, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int64_t at = tr_core_find_worker(c, peer);
    c->now = now;
    c->counts.unknown_fields += m->unknown;
    if (at >= 0) {
        c->worker[at].silent = false;
        c->worker[at].heard = now;
    }
    if (m->say == TR_SAY_HELLO)
        st = tr_core_admit(c, peer, &m->as.hello, err);
    else if (m->say == TR_SAY_ASK)
        st = hear_ask(c, peer, &m->as.ask, err);
    else if (at >= 0)
        st = hear_worker(c, at, m, err);
    else if (m->say != TR_SAY_BYE)
        st = ask_who(c, peer, err);
    if (st == TR_OK) st = pass_time(c, err);
    return st == TR_OK ? go_on(c, err) : st;
}

enum tr_status tr_core_lose(struct tr_core *c, int64_t peer, const char *why, double now,
                            struct tr_err *err)
{
    int64_t at = tr_core_find_worker(c, peer);
    c->now = now;
    if (at < 0) {
        c->counts.refused++;
        return tr_core_note(c, NULL, "turned away", err, "a stranger: %s", why);
    }
    enum tr_status st = tr_core_leave(c, at, true, why, err);
    return st == TR_OK ? go_on(c, err) : st;
}

enum tr_status tr_core_tick(struct tr_core *c, double now, struct tr_err *err)
{
    c->now = now;
    enum tr_status st = look_at_clock(c, err);
    return st == TR_OK ? go_on(c, err) : st;
}

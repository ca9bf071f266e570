#include "actors/coordinator/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/coordinator/core_parts.h"
#include "proto/step3_learn.h"

enum tr_status tr_core_create(const struct tr_core_settings *s,
                              const struct tr_planner *planner, double now,
                              struct tr_core **out, struct tr_err *err)
{
    struct tr_core *c = calloc(1, sizeof *c);
    *out = c;
    if (!c) return tr_err_set(err, TR_NOMEM, "a coordinator");
    c->set = *s;
    c->planner = planner;
    c->now = c->born = now;
    return TR_OK;
}

void tr_core_destroy(struct tr_core *c)
{
    if (!c) return;
    for (int64_t i = 0; i < c->works; i++) {
        tr_unit_fini(&c->work[i]->unit);
        free(c->work[i]);
    }
    free(c->work);
    free(c->worker);
    free(c->action);
    free(c);
}

bool tr_core_over(const struct tr_core *c)
{
    return c->over;
}

struct tr_core_counts tr_core_counts(const struct tr_core *c)
{
    return c->counts;
}

struct tr_digest tr_core_digest(const struct tr_core *c, enum tr_role role)
{
    return c->digest[role == TR_ROLE_ROLLOUT ? TR_ROLE_POLICY : role];
}

/* ---- actions ---- */

static enum tr_status new_action(struct tr_core *c, struct tr_core_action **out,
                                 struct tr_err *err)
{
    if (c->next == c->actions) c->next = c->actions = 0;
    if (c->actions == c->action_room) {
        int64_t room = c->action_room ? 2 * c->action_room : 16;
        struct tr_core_action *more = realloc(c->action, (size_t)room * sizeof *more);
        if (!more) return tr_err_set(err, TR_NOMEM, "an action");
        c->action = more;
        c->action_room = room;
    }
    *out = &c->action[c->actions++];
    memset(*out, 0, sizeof **out);
    return TR_OK;
}

enum tr_status tr_core_say(struct tr_core *c, struct tr_err *err, const char *fmt, ...)
{
    struct tr_core_action *a = NULL;
    enum tr_status st = new_action(c, &a, err);
    if (st != TR_OK) return st;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->text, sizeof a->text, fmt, ap);
    va_end(ap);
    return TR_OK;
}

enum tr_status tr_core_send(struct tr_core *c, int64_t peer, const struct tr_message *m,
                            struct tr_err *err)
{
    struct tr_core_action *a = NULL;
    enum tr_status st = new_action(c, &a, err);
    if (st != TR_OK) return st;
    a->send = true;
    a->peer = peer;
    a->message = *m;
    return TR_OK;
}

bool tr_core_next(struct tr_core *c, struct tr_core_action *out)
{
    if (c->next == c->actions) return false;
    *out = c->action[c->next++];
    return true;
}

/* ---- handing out ---- */

static bool can_do(const struct worker *w, const struct work *k)
{
    if (!w->here || w->silent || w->hello.role != (int)k->role) return false;
    if (w->in_hand >= w->hello.credits) return false;
    for (int64_t i = 0; i < k->unit.needs.n; i++)
        if (!tr_digests_hold(&w->hello.holds, &k->unit.needs.at[i])) return false;
    return true;
}

/* The able worker with the least in hand, the earliest among equals; -1 when there is none. */
static int64_t choose(const struct tr_core *c, const struct work *k)
{
    int64_t best = -1;
    for (int64_t i = 0; i < c->workers; i++)
        if (can_do(&c->worker[i], k) &&
            (best < 0 || c->worker[i].in_hand < c->worker[best].in_hand))
            best = i;
    return best;
}

static enum tr_status hand_out(struct tr_core *c, struct tr_err *err)
{
    for (int64_t i = 0; i < c->works; i++) {
        struct work *k = c->work[i];
        if (k->state != WORK_WAITING || k->twin) continue;
        int64_t at = choose(c, k);
        if (at < 0) continue;
        if (k->attempts >= c->set.attempts)
            return tr_err_set(err, TR_GONE, "a unit %s failed %lld times; giving up",
                              tr_unit_kind_name(k->unit.kind), (long long)k->attempts);
        struct tr_message m = {.say = TR_SAY_UNIT, .content = k->unit.content};
        m.as.unit = (struct tr_deliver){.id = k->unit.id, .attempt = ++k->attempts};
        enum tr_status st = tr_core_send(c, c->worker[at].peer, &m, err);
        if (st != TR_OK) return st;
        k->state = WORK_SENT;
        k->worker = at;
        k->deadline = c->now + c->set.silence_seconds;
        c->worker[at].in_hand++;
        c->counts.reissued += k->attempts > 1;
    }
    return TR_OK;
}

static void take_back(struct tr_core *c, struct work *k)
{
    if (k->state != WORK_SENT) return;
    c->worker[k->worker].in_hand--;
    k->state = WORK_WAITING;
}

/* Starts when all are here, hands out, and ends when the planner has finished. */
static enum tr_status go_on(struct tr_core *c, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    if (c->over) return TR_OK;
    if (!c->started) {
        if (!tr_core_all_here(c)) return tr_core_check_joined(c, err);
        c->started = true;
        st = c->planner->start(c->planner->self, c, err);
    }
    if (st == TR_OK && !c->planner->finished(c->planner->self)) return hand_out(c, err);
    if (st != TR_OK) return st;
    c->over = true;
    struct tr_message bye = {.say = TR_SAY_BYE};
    snprintf(bye.as.parting.reason, sizeof bye.as.parting.reason, "the run is finished");
    for (int64_t i = 0; i < c->workers && st == TR_OK; i++)
        if (c->worker[i].here) st = tr_core_send(c, c->worker[i].peer, &bye, err);
    return st;
}

/* ---- units ---- */

/* The first unit of this id that is still open, else the last that was answered, else NULL. */
static struct work *find_work(const struct tr_core *c, const struct tr_digest *id)
{
    struct work *answered = NULL;
    for (int64_t i = 0; i < c->works; i++) {
        if (!tr_digest_equal(&c->work[i]->unit.id, id)) continue;
        if (c->work[i]->state != WORK_ANSWERED) return c->work[i];
        answered = c->work[i];
    }
    return answered;
}

/* Second answers are compared for some time only: of many answered units the older half goes. */
static void forget_old(struct tr_core *c)
{
    int64_t kept = 0, half = c->works / 2;
    for (int64_t i = 0; i < c->works; i++) {
        if (i < half && c->work[i]->state == WORK_ANSWERED) {
            tr_unit_fini(&c->work[i]->unit);
            free(c->work[i]);
        } else {
            c->work[kept++] = c->work[i];
        }
    }
    c->works = kept;
}

static enum tr_status make_room(struct tr_core *c, struct tr_err *err)
{
    enum { REMEMBERED = 4096 };
    if (c->works == c->work_room && c->works >= REMEMBERED) forget_old(c);
    if (c->works < c->work_room) return TR_OK;
    int64_t room = c->work_room ? 2 * c->work_room : 64;
    struct work **more = realloc(c->work, (size_t)room * sizeof(void *));
    if (!more) return tr_err_set(err, TR_NOMEM, "a unit");
    c->work = more;
    c->work_room = room;
    return TR_OK;
}

enum tr_status tr_core_add(struct tr_core *c, enum tr_role role, struct tr_unit *unit,
                           int64_t tag, struct tr_err *err)
{
    struct work *k = NULL;
    enum tr_status st = make_room(c, err);
    if (st == TR_OK) k = calloc(1, sizeof *k);
    if (!k) {
        tr_unit_fini(unit);
        return st == TR_OK ? tr_err_set(err, TR_NOMEM, "a unit") : st;
    }
    const struct work *same = find_work(c, &unit->id);
    *k = (struct work){.unit = *unit,
                       .role = role,
                       .tag = tag,
                       .twin = same && same->state != WORK_ANSWERED};
    *unit = (struct tr_unit){0};
    c->work[c->works++] = k;
    c->counts.units++;
    return TR_OK;
}

/* A learner that has learnt holds another lineage and, if it said them, other weights. */
static enum tr_status note_learnt(struct worker *w, const struct work *k,
                                  const struct tr_content *answer, struct tr_err *err)
{
    struct tr_answer_learn a;
    int64_t unknown = 0;
    enum tr_status st =
        tr_content_decode(answer, &tr_answer_learn_record, &a, &unknown, err);
    if (st != TR_OK) return st;
    w->hello.holds = tr_digests_one(&k->unit.id);
    if (a.weights.n == 1) w->hello.holds.at[w->hello.holds.n++] = a.weights.at[0];
    return TR_OK;
}

static bool same_digests(const struct tr_digests *a, const struct tr_digests *b)
{
    if (a->n != b->n) return false;
    for (int64_t i = 0; i < a->n; i++)
        if (!tr_digest_equal(&a->at[i], &b->at[i])) return false;
    return true;
}

/* What is wrong with an answer to k, as TR_BADMSG. */
static enum tr_status check_answer(const struct work *k, const struct tr_content *answer,
                                   struct tr_err *err)
{
    char kind[32];
    struct tr_digests used;
    enum tr_status st = tr_content_head(answer, kind, &used, err);
    if (st == TR_OK && !same_digests(&used, &k->unit.needs))
        st = tr_err_set(err, TR_BADMSG, "%s was answered with other weights", kind);
    return st;
}

static enum tr_status second_answer(struct tr_core *c, const struct work *k,
                                    const struct tr_content *answer, struct tr_err *err)
{
    struct tr_digest digest;
    enum tr_status st = tr_content_digest(answer, &digest, err);
    if (st != TR_OK) return st;
    c->counts.second_answers++;
    if (tr_digest_equal(&digest, &k->answer)) return TR_OK;
    c->counts.differences++;
    return tr_core_say(c, err, "ALARM: two answers to one unit %s differ",
                       tr_unit_kind_name(k->unit.kind));
}

/* To the planner, for every open unit of this id: two samples may ask the very same thing. */
static enum tr_status give_answer(struct tr_core *c, const struct tr_digest *id,
                                  const struct tr_content *answer, struct tr_err *err)
{
    struct tr_digest digest;
    enum tr_status st = tr_content_digest(answer, &digest, err);
    for (int64_t i = 0; i < c->works && st == TR_OK; i++) {
        struct work *k = c->work[i];
        if (k->state == WORK_ANSWERED || !tr_digest_equal(&k->unit.id, id)) continue;
        st = c->planner->answer(c->planner->self, c, k->tag, answer, err);
        if (st != TR_OK) return st;
        k->state = WORK_ANSWERED;
        k->answer = digest;
        c->counts.answered++;
        tr_content_fini(&k->unit.content);
    }
    return st;
}

static enum tr_status hear_done(struct tr_core *c, int64_t at, struct tr_message *m,
                                struct tr_err *err)
{
    struct tr_err why = {0};
    struct work *k = find_work(c, &m->as.done.id);
    if (!k) {
        c->counts.refused++;
        return tr_core_say(c, err, "%s answered a unit that nobody asked for",
                           c->worker[at].hello.instance);
    }
    if (k->state == WORK_ANSWERED) return second_answer(c, k, &m->content, err);
    take_back(c, k);
    enum tr_status st = check_answer(k, &m->content, &why);
    if (st == TR_OK && k->unit.kind == TR_UNIT_LEARN)
        st = note_learnt(&c->worker[at], k, &m->content, &why);
    if (st == TR_OK) st = give_answer(c, &m->as.done.id, &m->content, &why);
    if (st == TR_BADMSG) {
        c->counts.refused++;
        return tr_core_say(c, err, "%s: %s", c->worker[at].hello.instance, why.text);
    }
    return st == TR_OK ? TR_OK : tr_err_set(err, st, "%s", why.text);
}

static enum tr_status hear_fail(struct tr_core *c, int64_t at, const struct tr_fail *f,
                                struct tr_err *err)
{
    struct work *k = find_work(c, &f->id);
    if (!k || k->state != WORK_SENT || k->worker != at) return TR_OK;
    take_back(c, k);
    if (!f->retryable)
        return tr_err_set(err, (enum tr_status)f->code, "%s: %s: %s",
                          c->worker[at].hello.instance, tr_unit_kind_name(k->unit.kind),
                          f->text);
    return tr_core_say(c, err, "%s: %s: %s; asking again", c->worker[at].hello.instance,
                       tr_unit_kind_name(k->unit.kind), f->text);
}

static void hear_progress(struct tr_core *c, int64_t at, const struct tr_progress *p)
{
    for (int64_t i = 0; i < c->works; i++) {
        struct work *k = c->work[i];
        if (k->state == WORK_SENT && k->worker == at &&
            tr_digests_hold(&p->in_hand, &k->unit.id))
            k->deadline = c->now + c->set.silence_seconds;
    }
}

/* ---- events ---- */

/* What a worker says once it was admitted. */
static enum tr_status hear_worker(struct tr_core *c, int64_t at, struct tr_message *m,
                                  struct tr_err *err)
{
    if (m->say == TR_SAY_DONE) return hear_done(c, at, m, err);
    if (m->say == TR_SAY_FAIL) return hear_fail(c, at, &m->as.fail, err);
    if (m->say == TR_SAY_BYE)
        return tr_core_lose(c, c->worker[at].peer, "said bye", c->now, err);
    if (m->say == TR_SAY_PROGRESS) {
        hear_progress(c, at, &m->as.progress);
        return TR_OK;
    }
    c->counts.refused++;
    return tr_core_say(c, err, "%s said what only a coordinator says",
                       c->worker[at].hello.instance);
}

enum tr_status tr_core_hear(struct tr_core *c, int64_t peer, struct tr_message *m,
                            double now, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int64_t at = tr_core_worker(c, peer);
    c->now = now;
    c->counts.unknown_fields += m->unknown;
    if (at >= 0) c->worker[at].silent = false;
    if (m->say == TR_SAY_HELLO)
        st = tr_core_admit(c, peer, &m->as.hello, err);
    else if (at >= 0)
        st = hear_worker(c, at, m, err);
    else
        c->counts.refused++;
    return st == TR_OK ? go_on(c, err) : st;
}

enum tr_status tr_core_lose(struct tr_core *c, int64_t peer, const char *why, double now,
                            struct tr_err *err)
{
    int64_t at = tr_core_worker(c, peer);
    c->now = now;
    if (at < 0) {
        c->counts.refused++;
        return tr_core_say(c, err, "a stranger: %s", why);
    }
    for (int64_t i = 0; i < c->works; i++)
        if (c->work[i]->state == WORK_SENT && c->work[i]->worker == at)
            take_back(c, c->work[i]);
    c->worker[at].here = false;
    enum tr_status st =
        tr_core_say(c, err, "%s left: %s", c->worker[at].hello.instance, why);
    return st == TR_OK ? go_on(c, err) : st;
}

enum tr_status tr_core_tick(struct tr_core *c, double now, struct tr_err *err)
{
    c->now = now;
    for (int64_t i = 0; i < c->works; i++) {
        struct work *k = c->work[i];
        if (k->state != WORK_SENT || now < k->deadline) continue;
        enum tr_status st =
            tr_core_say(c, err, "%s has been silent for %.0f s; its %s goes to another",
                        c->worker[k->worker].hello.instance, c->set.silence_seconds,
                        tr_unit_kind_name(k->unit.kind));
        if (st != TR_OK) return st;
        c->worker[k->worker].silent = true;
        take_back(c, k);
    }
    return go_on(c, err);
}

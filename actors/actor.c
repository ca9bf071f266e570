#include "actors/actor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"

struct held {
    struct tr_unit unit;
    double taken, begun; /* seconds */
    struct tr_err fault; /* why it fails already */
};

struct tr_actor {
    const struct tr_role_ops *ops;
    const struct tr_exec *ex; /* borrows */
    void *self;               /* owns, by ops */
    struct held *held;        /* owns; [n], in order of arrival */
    int64_t n, room;
    struct tr_message *said; /* owns; [saids], to go out before anything else */
    int64_t saids, said_room;
    struct tr_digests leaving; /* dropped, but a unit in hand needs them */
};

static enum tr_status collect_offers(struct tr_actor *a, struct tr_err *err);

enum tr_status tr_actor_open(enum tr_role role, const struct tr_role_start *start,
                             struct tr_actor **out, struct tr_err *err)
{
    struct tr_actor *a = calloc(1, sizeof *a);
    *out = NULL;
    if (!a) return tr_err_set(err, TR_NOMEM, "an actor");
    a->ops = tr_role_ops(role, start->rule != NULL);
    a->ex = start->ex;
    enum tr_status st = a->ops->open(start, &a->self, err);
    if (st != TR_OK) {
        free(a);
        return tr_err_wrap(err, st, "%s", tr_role_name(role));
    }
    st = collect_offers(a, err);
    if (st != TR_OK) {
        tr_actor_close(a);
        return st;
    }
    *out = a;
    return TR_OK;
}

void tr_actor_close(struct tr_actor *a)
{
    if (!a) return;
    a->ops->close(a->self);
    for (int64_t i = 0; i < a->n; i++) tr_unit_fini(&a->held[i].unit);
    for (int64_t i = 0; i < a->saids; i++) tr_message_fini(&a->said[i]);
    free(a->held);
    free(a->said);
    free(a);
}

struct tr_hello tr_actor_hello(const struct tr_actor *a)
{
    struct tr_hello h = {.role = (int)a->ops->role,
                         .credits = a->ops->credits,
                         .threads = tr_team_threads(a->ex->team)};
    struct tr_digests all;
    a->ops->holds(a->self, &all);
    for (int64_t i = 0; i < all.n; i++)
        if (!tr_digests_hold(&a->leaving, &all.at[i]))
            h.holds.at[h.holds.n++] = all.at[i];
    snprintf(h.isa, sizeof h.isa, "%s", tr_exec_isa(a->ex));
    _Static_assert(sizeof h.math == TR_MATH_BYTES, "a hello says all of it");
    if (!a->ops->any_math) tr_exec_math(a->ex, h.math);
    return h;
}

struct tr_progress tr_actor_progress(const struct tr_actor *a)
{
    struct tr_progress p = {
        .in_hand = {.n = a->n < TR_DIGESTS_MAX ? a->n : TR_DIGESTS_MAX}};
    for (int64_t i = 0; i < p.in_hand.n; i++) p.in_hand.at[i] = a->held[i].unit.id;
    if (a->ops->tokens) p.tokens = a->ops->tokens(a->self);
    return p;
}

bool tr_actor_busy(const struct tr_actor *a)
{
    return a->n > 0 || a->saids > 0;
}

const struct tr_exec *tr_actor_exec(const struct tr_actor *a)
{
    return a->ex;
}

bool tr_actor_shape(const struct tr_actor *a, struct tr_model_shape *out)
{
    return a->ops->shape && a->ops->adopt && a->ops->shape(a->self, out);
}

/* ---- what goes out first ---- */

/* Takes *m. */
static enum tr_status push_said(struct tr_actor *a, struct tr_message *m,
                                struct tr_err *err)
{
    if (a->saids == a->said_room) {
        int64_t room = a->said_room ? 2 * a->said_room : 4;
        struct tr_message *said = realloc(a->said, (size_t)room * sizeof *said);
        if (!said) {
            tr_message_fini(m);
            return tr_err_set(err, TR_NOMEM, "something to say");
        }
        a->said = said;
        a->said_room = room;
    }
    a->said[a->saids++] = *m;
    memset(m, 0, sizeof *m);
    return TR_OK;
}

static bool pop_said(struct tr_actor *a, struct tr_message *out)
{
    if (a->saids == 0) return false;
    *out = a->said[0];
    a->saids--;
    memmove(a->said, a->said + 1, (size_t)a->saids * sizeof *a->said);
    return true;
}

static enum tr_status collect_offers(struct tr_actor *a, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    struct tr_message m = {.say = TR_SAY_OFFER};
    while (st == TR_OK && a->ops->offer && a->ops->offer(a->self, &m.as.offer)) {
        st = push_said(a, &m, err);
        m = (struct tr_message){.say = TR_SAY_OFFER};
    }
    return st;
}

/* ---- weights ---- */

static bool needed(const struct tr_actor *a, const struct tr_digest *digest)
{
    for (int64_t i = 0; i < a->n; i++)
        if (a->held[i].fault.code == TR_OK &&
            tr_digests_hold(&a->held[i].unit.needs, digest))
            return true;
    return false;
}

static void drop(struct tr_actor *a, const struct tr_digest *digest)
{
    if (!a->ops->forget) return;
    if (!needed(a, digest)) {
        a->ops->forget(a->self, digest);
        return;
    }
    struct tr_digests *l = &a->leaving;
    if (!tr_digests_hold(l, digest) && l->n < TR_DIGESTS_MAX) l->at[l->n++] = *digest;
}

/* After a unit is gone: what it alone needed goes too. */
static void let_go(struct tr_actor *a)
{
    for (int64_t i = a->leaving.n - 1; i >= 0; i--) {
        struct tr_digest digest = a->leaving.at[i];
        if (needed(a, &digest)) continue;
        tr_digests_remove(&a->leaving, &digest);
        a->ops->forget(a->self, &digest);
    }
}

enum tr_status tr_actor_adopt(struct tr_actor *a, struct tr_model *take,
                              const struct tr_loaded *loaded, struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_LOADED, .as.loaded = *loaded};
    struct tr_loaded *l = &m.as.loaded;
    struct tr_err why = {0};
    if (l->ok) {
        tr_digests_remove(&a->leaving, &l->digest);
        l->ok = a->ops->adopt(a->self, take, &why) == TR_OK;
        snprintf(l->text, sizeof l->text, "%s", why.text);
    }
    enum tr_status st = push_said(a, &m, err);
    return st == TR_OK ? collect_offers(a, err) : st;
}

/* ---- taking ---- */

static enum tr_status make_room(struct tr_actor *a, struct tr_err *err)
{
    if (a->n < a->room) return TR_OK;
    int64_t room = a->room ? 2 * a->room : 8;
    struct held *held = realloc(a->held, (size_t)room * sizeof *held);
    if (!held) return tr_err_set(err, TR_NOMEM, "units in hand");
    a->held = held;
    a->room = room;
    return TR_OK;
}

enum tr_status tr_actor_take(struct tr_actor *a, struct tr_message *m, struct tr_err *err)
{
    if (m->say == TR_SAY_DROP) {
        drop(a, &m->as.drop.digest);
        return TR_OK;
    }
    enum tr_status st = make_room(a, err);
    if (st != TR_OK) return st;
    struct held *h = &a->held[a->n];
    *h = (struct held){.taken = tr_clock_seconds()};
    st = tr_unit_from(&m->as.unit.id, &m->content, &h->unit, &h->fault);
    if (st == TR_OK && a->ops->begin) st = a->ops->begin(a->self, &h->unit, &h->fault);
    if (st != TR_OK) h->unit.id = m->as.unit.id;
    h->begun = tr_clock_seconds();
    a->n++;
    return TR_OK;
}

/* ---- answering ---- */

static void forget(struct tr_actor *a, int64_t i)
{
    tr_unit_fini(&a->held[i].unit);
    a->n--;
    memmove(a->held + i, a->held + i + 1, (size_t)(a->n - i) * sizeof *a->held);
    let_go(a);
}

/* Another worker, or this one later, may do better with these. A learner's disk that refuses has no other, and
 * a hundred tries are no more than the first. */
static bool retryable(enum tr_unit_kind kind, enum tr_status code)
{
    if (code == TR_IO) return kind != TR_UNIT_LEARN && kind != TR_UNIT_SAVE;
    return code == TR_NOMEM || code == TR_STALE || code == TR_GONE;
}

static void say_fail(struct tr_actor *a, int64_t i, const struct tr_err *why,
                     struct tr_message *out)
{
    const struct tr_unit *unit = &a->held[i].unit;
    *out = (struct tr_message){.say = TR_SAY_FAIL};
    out->as.fail = (struct tr_fail){
        .id = unit->id, .code = why->code, .retryable = retryable(unit->kind, why->code)};
    snprintf(out->as.fail.text, sizeof out->as.fail.text, "%s", why->text);
    forget(a, i);
}

static void say_done(struct tr_actor *a, int64_t i, struct tr_content *answer,
                     struct tr_message *out)
{
    const struct held *h = &a->held[i];
    *out = (struct tr_message){.say = TR_SAY_DONE, .content = *answer};
    out->as.done = (struct tr_done){.id = h->unit.id,
                                    .queue_seconds = h->begun - h->taken,
                                    .compute_seconds = tr_clock_seconds() - h->begun};
    *answer = (struct tr_content){0};
    forget(a, i);
}

/* One unit after the other. Weights that it made are offered before it is done, so that whoever
 * hears of them knows where they are. */
static enum tr_status work_one(struct tr_actor *a, struct tr_message *out)
{
    struct tr_content answer = {0};
    struct tr_err why = {0};
    a->held[0].begun = tr_clock_seconds();
    enum tr_status st = a->ops->answer(a->self, &a->held[0].unit, &answer, &why);
    if (st == TR_OK) {
        st = collect_offers(a, &why);
        if (st != TR_OK) tr_content_fini(&answer);
    }
    if (st == TR_OK)
        say_done(a, 0, &answer, out);
    else
        say_fail(a, 0, &why, out);
    if (a->saids == 0) return TR_OK;
    struct tr_message offer;
    pop_said(a, &offer);
    st = push_said(a, out, NULL); /* there is room: one was just popped */
    *out = offer;
    return st;
}

/* One step of all; the first that is finished is answered, the others by later calls. */
static enum tr_status work_many(struct tr_actor *a, struct tr_message *out)
{
    struct tr_content answer = {0};
    struct tr_err why = {0};
    for (int64_t i = 0; i < a->n; i++) {
        enum tr_status st = a->ops->finish(a->self, &a->held[i].unit, &answer, &why);
        if (st == TR_AGAIN) continue;
        if (st == TR_OK)
            say_done(a, i, &answer, out);
        else
            say_fail(a, i, &why, out);
        return TR_OK;
    }
    if (a->ops->advance(a->self, &why) == TR_OK) return TR_AGAIN;
    a->ops->abandon(a->self, &a->held[0].unit);
    say_fail(a, 0, &why, out);
    return TR_OK;
}

enum tr_status tr_actor_work(struct tr_actor *a, struct tr_message *out)
{
    if (pop_said(a, out)) return TR_OK;
    for (int64_t i = 0; i < a->n; i++) {
        if (a->held[i].fault.code == TR_OK) continue;
        struct tr_err why = a->held[i].fault;
        say_fail(a, i, &why, out);
        return TR_OK;
    }
    if (a->n == 0) return TR_AGAIN;
    return a->ops->answer ? work_one(a, out) : work_many(a, out);
}

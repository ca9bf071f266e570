#include "actors/company.h"

#include <stdio.h>

#include "actors/loader.h"
#include "core/base/clock.h"

/* What *m becomes on its way: the bytes of the wire, read again. */
static enum tr_status carry(const struct tr_message *m, struct tr_message *out,
                            struct tr_err *err)
{
    struct tr_buf head;
    enum tr_status st = tr_message_encode(m, &head, err);
    if (st == TR_OK)
        st = tr_message_decode(head.at, head.size, m->content.bulk, m->content.n, out,
                               err);
    tr_buf_fini(&head);
    return st;
}

static enum tr_status tell_core(struct tr_core *core, int64_t peer,
                                const struct tr_message *m, struct tr_err *err)
{
    struct tr_message came;
    enum tr_status st = carry(m, &came, err);
    if (st != TR_OK) return st;
    st = tr_core_hear(core, peer, &came, tr_clock_seconds(), err);
    tr_message_fini(&came);
    return st;
}

/* Here everything waits for it: there is one thread. */
static enum tr_status load(struct tr_actor *actor, const struct tr_load *load,
                           struct tr_err *err)
{
    const atomic_bool never = false;
    struct tr_loaded said = tr_loaded_for(load);
    struct tr_model_shape shape;
    const struct tr_load_set set = {
        .shape = &shape, .ex = tr_actor_exec(actor), .stop = &never};
    struct tr_model model = {.weights = NULL};
    struct tr_err why = {0};
    double begin = tr_clock_seconds();
    enum tr_status st = TR_BADARG;
    if (tr_actor_shape(actor, &shape)) st = tr_load_model(&set, load, &model, &why);
    said.ok = st == TR_OK;
    if (said.ok) said.digest = model.digest;
    snprintf(said.text, sizeof said.text, "%s", why.text);
    said.seconds = tr_clock_seconds() - begin;
    st = tr_actor_adopt(actor, &model, &said, err);
    tr_model_close(&model);
    return st;
}

static enum tr_status tell_actor(struct tr_actor *actor, const struct tr_message *m,
                                 struct tr_err *err)
{
    struct tr_message came;
    enum tr_status st = carry(m, &came, err);
    if (st != TR_OK) return st;
    if (came.say == TR_SAY_UNIT || came.say == TR_SAY_DROP)
        st = tr_actor_take(actor, &came, err);
    else if (came.say == TR_SAY_LOAD)
        st = load(actor, &came.as.load, err);
    else if (came.say == TR_SAY_WELCOME && !came.as.welcome.admitted)
        st = tr_err_set(err, TR_BADARG, "%s", came.as.welcome.reason);
    tr_message_fini(&came);
    return st;
}

/* Does what the core wants done. */
static enum tr_status act(const struct tr_company *c, struct tr_err *err)
{
    struct tr_core_action a;
    enum tr_status st = TR_OK;
    while (st == TR_OK && tr_core_next(c->core, &a)) {
        if (a.send)
            st = tell_actor(c->actor[a.peer], &a.message, err);
        else if (c->log)
            tr_log_debug(c->log, "%s", a.text);
    }
    return st;
}

enum tr_status tr_company_join(const struct tr_company *c, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < c->n && st == TR_OK; i++) {
        struct tr_message hello = {.say = TR_SAY_HELLO,
                                   .as.hello = tr_actor_hello(c->actor[i])};
        struct tr_hello *h = &hello.as.hello;
        snprintf(h->instance, sizeof h->instance, "%s-%lld",
                 tr_role_name((enum tr_role)h->role), (long long)i);
        st = tell_core(c->core, i, &hello, err);
        if (st == TR_OK) st = act(c, err);
    }
    return st;
}

/* One bit of work of one actor, and what follows from it. */
static enum tr_status work(const struct tr_company *c, int64_t i, struct tr_err *err)
{
    struct tr_message said;
    if (tr_actor_work(c->actor[i], &said) == TR_AGAIN) return TR_OK;
    enum tr_status st = tell_core(c->core, i, &said, err);
    tr_message_fini(&said);
    return st == TR_OK ? act(c, err) : st;
}

enum tr_status tr_company_turn(const struct tr_company *c, struct tr_err *err)
{
    bool busy = false;
    enum tr_status st = tr_core_tick(c->core, tr_clock_seconds(), err);
    if (st == TR_OK) st = act(c, err);
    for (int64_t i = 0; i < c->n && st == TR_OK; i++) {
        busy |= tr_actor_busy(c->actor[i]);
        st = work(c, i, err);
    }
    if (st != TR_OK || busy || tr_core_over(c->core)) return st;
    return tr_err_set(err, TR_GONE, "a unit needs weights that no role here holds");
}

enum tr_status tr_company_run(const struct tr_company *c, struct tr_err *err)
{
    enum tr_status st = tr_company_join(c, err);
    while (st == TR_OK && !tr_core_over(c->core)) st = tr_company_turn(c, err);
    return st;
}

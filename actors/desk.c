#include "actors/desk.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct item { /* a message; with `loaded`, the model */
    struct tr_message m;
    struct tr_model model;
};

struct queue {
    struct item *at; /* owns */
    int64_t n, room;
};

struct tr_desk {
    struct tr_actor *actor; /* borrows */
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t more;  /* something came in, or stop */
    struct queue in, out;
    struct tr_progress progress;
    struct tr_digests holds;
    struct tr_err fault; /* of the desk itself */
    bool stop, ended;
    int fd;
};

/* ---- queues ---- */

/* Takes what *m and *model (or NULL) hold, also on failure. */
static enum tr_status push(struct queue *q, struct tr_message *m, struct tr_model *model,
                           struct tr_err *err)
{
    struct item item = {.m = *m,
                        .model = model ? *model : (struct tr_model){.weights = NULL}};
    memset(m, 0, sizeof *m);
    if (model) *model = (struct tr_model){.weights = NULL};
    if (q->n == q->room) {
        int64_t room = q->room ? 2 * q->room : 8;
        struct item *at = realloc(q->at, (size_t)room * sizeof *at);
        if (!at) {
            tr_message_fini(&item.m);
            tr_model_close(&item.model);
            return tr_err_set(err, TR_NOMEM, "a message");
        }
        q->at = at;
        q->room = room;
    }
    q->at[q->n++] = item;
    return TR_OK;
}

static bool pop(struct queue *q, struct item *out)
{
    if (q->n == 0) return false;
    *out = q->at[0];
    q->n--;
    memmove(q->at, q->at + 1, (size_t)q->n * sizeof *q->at);
    return true;
}

static void empty(struct queue *q)
{
    for (int64_t i = 0; i < q->n; i++) {
        tr_message_fini(&q->at[i].m);
        tr_model_close(&q->at[i].model);
    }
    free(q->at);
}

/* What a message will change once the actor hears it. */
static void foresee(const struct tr_message *m, struct tr_digests *in_hand,
                    struct tr_digests *holds)
{
    if (m->say == TR_SAY_UNIT && in_hand->n < TR_DIGESTS_MAX)
        in_hand->at[in_hand->n++] = m->as.unit.id;
    if (m->say == TR_SAY_DROP) tr_digests_remove(holds, &m->as.drop.digest);
}

/* ---- the thread ---- */

/* What came in. Waits while the actor has nothing in hand; false: nothing new. */
static bool next_item(struct tr_desk *d, struct item *item, bool *stop)
{
    pthread_mutex_lock(&d->lock);
    while (!d->stop && d->in.n == 0 && !tr_actor_busy(d->actor))
        pthread_cond_wait(&d->more, &d->lock);
    *stop = d->stop;
    bool found = !d->stop && pop(&d->in, item);
    pthread_mutex_unlock(&d->lock);
    return found;
}

static void wake(struct tr_desk *d)
{
    uint64_t one = 1;
    if (write(d->fd, &one, sizeof one) < 0) return; /* it is readable already */
}

/* What is in hand and held now; an answer or a fault goes out. */
static void publish(struct tr_desk *d, struct tr_message *answer,
                    const struct tr_err *fault)
{
    struct tr_progress progress = tr_actor_progress(d->actor);
    struct tr_hello hello = tr_actor_hello(d->actor);
    pthread_mutex_lock(&d->lock);
    for (int64_t i = 0; i < d->in.n; i++) /* not seen by the actor yet */
        foresee(&d->in.at[i].m, &progress.in_hand, &hello.holds);
    d->progress = progress;
    d->holds = hello.holds;
    if (fault->code != TR_OK) d->fault = *fault;
    if (answer) (void)push(&d->out, answer, NULL, &d->fault);
    bool said = d->out.n > 0 || d->fault.code != TR_OK;
    pthread_mutex_unlock(&d->lock);
    if (said) wake(d);
}

static void hear(struct tr_desk *d, struct item *item)
{
    struct tr_err fault = {.code = TR_OK};
    if (item->m.say == TR_SAY_LOADED)
        (void)tr_actor_adopt(d->actor, &item->model, &item->m.as.loaded, &fault);
    else
        (void)tr_actor_take(d->actor, &item->m, &fault);
    tr_message_fini(&item->m);
    tr_model_close(&item->model);
    publish(d, NULL, &fault);
}

static void *work(void *desk)
{
    struct tr_desk *d = desk;
    bool stop = false;
    while (!stop) {
        struct item item;
        struct tr_message m;
        struct tr_err none = {.code = TR_OK};
        while (next_item(d, &item, &stop)) hear(d, &item);
        if (stop || !tr_actor_busy(d->actor)) continue;
        bool answered = tr_actor_work(d->actor, &m) == TR_OK;
        publish(d, answered ? &m : NULL, &none);
    }
    pthread_mutex_lock(&d->lock);
    d->ended = true;
    pthread_mutex_unlock(&d->lock);
    wake(d);
    return NULL;
}

/* ---- for the owner ---- */

enum tr_status tr_desk_open(struct tr_actor *actor, struct tr_desk **out,
                            struct tr_err *err)
{
    struct tr_desk *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) return tr_err_set(err, TR_NOMEM, "a desk");
    d->actor = actor;
    d->holds = tr_actor_hello(actor).holds;
    d->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->more, NULL);
    if (d->fd >= 0 && pthread_create(&d->thread, NULL, work, d) == 0) {
        *out = d;
        return TR_OK;
    }
    if (d->fd >= 0) close(d->fd);
    free(d);
    return tr_err_set(err, TR_NOMEM, "a thread to work in");
}

void tr_desk_halt(struct tr_desk *d)
{
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->more);
    pthread_mutex_unlock(&d->lock);
}

bool tr_desk_halted(struct tr_desk *d)
{
    pthread_mutex_lock(&d->lock);
    bool ended = d->ended;
    pthread_mutex_unlock(&d->lock);
    return ended;
}

void tr_desk_close(struct tr_desk *d)
{
    if (!d) return;
    tr_desk_halt(d);
    pthread_join(d->thread, NULL);
    pthread_cond_destroy(&d->more);
    pthread_mutex_destroy(&d->lock);
    empty(&d->in);
    empty(&d->out);
    close(d->fd);
    free(d);
}

enum tr_status tr_desk_put(struct tr_desk *d, struct tr_message *m, struct tr_err *err)
{
    pthread_mutex_lock(&d->lock);
    foresee(m, &d->progress.in_hand, &d->holds);
    enum tr_status st = push(&d->in, m, NULL, err);
    pthread_cond_signal(&d->more);
    pthread_mutex_unlock(&d->lock);
    return st;
}

void tr_desk_adopt(struct tr_desk *d, const struct tr_loaded *loaded,
                   struct tr_model *model)
{
    struct tr_message m = {.say = TR_SAY_LOADED, .as.loaded = *loaded};
    pthread_mutex_lock(&d->lock);
    (void)push(&d->in, &m, model, &d->fault);
    pthread_cond_signal(&d->more);
    pthread_mutex_unlock(&d->lock);
}

enum tr_status tr_desk_get(struct tr_desk *d, struct tr_message *out, struct tr_err *err)
{
    uint64_t woken;
    pthread_mutex_lock(&d->lock);
    struct item item;
    bool found = pop(&d->out, &item);
    struct tr_err fault = d->fault;
    /* Emptied: the descriptor is quiet until the next answer. */
    bool quiet = d->out.n == 0 && read(d->fd, &woken, sizeof woken) >= 0;
    pthread_mutex_unlock(&d->lock);
    (void)quiet;
    if (found) *out = item.m;
    if (found) return TR_OK;
    if (fault.code != TR_OK) return tr_err_set(err, fault.code, "%s", fault.text);
    return TR_AGAIN;
}

int tr_desk_fd(const struct tr_desk *d)
{
    return d->fd;
}

struct tr_digests tr_desk_holds(struct tr_desk *d)
{
    pthread_mutex_lock(&d->lock);
    struct tr_digests holds = d->holds;
    pthread_mutex_unlock(&d->lock);
    return holds;
}

struct tr_progress tr_desk_progress(struct tr_desk *d)
{
    pthread_mutex_lock(&d->lock);
    struct tr_progress p = d->progress;
    pthread_mutex_unlock(&d->lock);
    return p;
}

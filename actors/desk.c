#include "actors/desk.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct queue {
    struct tr_message *at; /* owns */
    int64_t n, room;
};

struct tr_desk {
    struct tr_actor *actor; /* borrows */
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t more;  /* something came in, or stop */
    struct queue in, out;
    struct tr_progress progress;
    struct tr_err fault; /* of the desk itself */
    bool stop;
    int fd;
};

/* ---- queues ---- */

static enum tr_status push(struct queue *q, struct tr_message *m, struct tr_err *err)
{
    if (q->n == q->room) {
        int64_t room = q->room ? 2 * q->room : 8;
        struct tr_message *at = realloc(q->at, (size_t)room * sizeof *at);
        if (!at) return tr_err_set(err, TR_NOMEM, "a message");
        q->at = at;
        q->room = room;
    }
    q->at[q->n++] = *m;
    memset(m, 0, sizeof *m);
    return TR_OK;
}

static bool pop(struct queue *q, struct tr_message *out)
{
    if (q->n == 0) return false;
    *out = q->at[0];
    q->n--;
    memmove(q->at, q->at + 1, (size_t)q->n * sizeof *q->at);
    return true;
}

static void empty(struct queue *q)
{
    for (int64_t i = 0; i < q->n; i++) tr_message_fini(&q->at[i]);
    free(q->at);
}

/* ---- the thread ---- */

/* The next unit. Waits for one while the actor has nothing in hand; false: nothing new. */
static bool next_unit(struct tr_desk *d, struct tr_message *m, bool *stop)
{
    pthread_mutex_lock(&d->lock);
    while (!d->stop && d->in.n == 0 && !tr_actor_busy(d->actor))
        pthread_cond_wait(&d->more, &d->lock);
    *stop = d->stop;
    bool found = !d->stop && pop(&d->in, m);
    pthread_mutex_unlock(&d->lock);
    return found;
}

/* What is in hand now; an answer or a fault goes out. */
static void publish(struct tr_desk *d, struct tr_message *answer,
                    const struct tr_err *fault)
{
    struct tr_progress progress = tr_actor_progress(d->actor);
    pthread_mutex_lock(&d->lock);
    d->progress = progress;
    if (fault->code != TR_OK) d->fault = *fault;
    if (answer) (void)push(&d->out, answer, &d->fault);
    bool wake = d->out.n > 0 || d->fault.code != TR_OK;
    pthread_mutex_unlock(&d->lock);
    uint64_t one = 1;
    if (wake && write(d->fd, &one, sizeof one) < 0) return; /* it is readable already */
}

static void *work(void *desk)
{
    struct tr_desk *d = desk;
    bool stop = false;
    while (!stop) {
        struct tr_message m;
        struct tr_err fault = {.code = TR_OK};
        while (next_unit(d, &m, &stop)) {
            (void)tr_actor_take(d->actor, &m, &fault);
            tr_message_fini(&m);
            publish(d, NULL, &fault);
        }
        if (stop || !tr_actor_busy(d->actor)) continue;
        bool said = tr_actor_work(d->actor, &m) == TR_OK;
        if (said) publish(d, &m, &fault);
    }
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

void tr_desk_close(struct tr_desk *d)
{
    if (!d) return;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->more);
    pthread_mutex_unlock(&d->lock);
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
    struct tr_digest id = m->as.unit.id;
    enum tr_status st = push(&d->in, m, err);
    struct tr_digests *hand = &d->progress.in_hand;
    if (st == TR_OK && hand->n < TR_DIGESTS_MAX) hand->at[hand->n++] = id;
    pthread_cond_signal(&d->more);
    pthread_mutex_unlock(&d->lock);
    return st;
}

enum tr_status tr_desk_get(struct tr_desk *d, struct tr_message *out, struct tr_err *err)
{
    uint64_t woken;
    pthread_mutex_lock(&d->lock);
    bool found = pop(&d->out, out);
    struct tr_err fault = d->fault;
    /* Emptied: the descriptor is quiet until the next answer. */
    bool quiet = d->out.n == 0 && read(d->fd, &woken, sizeof woken) >= 0;
    pthread_mutex_unlock(&d->lock);
    (void)quiet;
    if (found) return TR_OK;
    if (fault.code != TR_OK) return tr_err_set(err, fault.code, "%s", fault.text);
    return TR_AGAIN;
}

int tr_desk_fd(const struct tr_desk *d)
{
    return d->fd;
}

struct tr_progress tr_desk_progress(struct tr_desk *d)
{
    pthread_mutex_lock(&d->lock);
    struct tr_progress p = d->progress;
    pthread_mutex_unlock(&d->lock);
    return p;
}

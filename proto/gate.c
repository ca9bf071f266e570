#include "proto/gate.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum {
    FIELDS = 7, /* version, request, domain, address, routing id, mechanism, public key */
    FIELD_BYTES = 256,
    VERSION = 0,
    REQUEST,
    DOMAIN,
    ADDRESS,
    ROUTING,
    MECHANISM,
    KEY
};

struct question { /* what ZeroMQ asks */
    unsigned char field[FIELDS][FIELD_BYTES];
    size_t size[FIELDS];
    int n; /* fields that came */
};

struct tr_gate {
    struct tr_keys list; /* owns; its list alone */
    void *socket;        /* owns; the thread's once it runs */
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock; /* of the next two */
    int64_t refused;
    char latest[TR_REFUSED_BYTES];
};

/* ---- one question ---- */

/* Reads all parts of it; false when the context is shut down. */
static bool hear(void *socket, struct question *q)
{
    bool more = true;
    memset(q, 0, sizeof *q);
    while (more) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket, 0) < 0) {
            int e = zmq_errno();
            zmq_msg_close(&part);
            if (e == EINTR) continue;
            return false;
        }
        size_t size = zmq_msg_size(&part);
        if (q->n < FIELDS && size < FIELD_BYTES) {
            memcpy(q->field[q->n], zmq_msg_data(&part), size);
            q->size[q->n] = size;
        }
        q->n++;
        more = zmq_msg_more(&part);
        zmq_msg_close(&part);
    }
    return true;
}

static bool equals(const struct question *q, int field, const char *word)
{
    return q->size[field] == strlen(word) &&
           memcmp(q->field[field], word, q->size[field]) == 0;
}

/* The line of the key that is asked about, or -1. */
static int64_t judge(const struct tr_gate *g, const struct question *q)
{
    struct tr_curve key;
    if (q->n != FIELDS || !equals(q, VERSION, "1.0") || !equals(q, MECHANISM, "CURVE") ||
        q->size[KEY] != sizeof key.byte)
        return -1;
    memcpy(key.byte, q->field[KEY], sizeof key.byte);
    return tr_keys_find(&g->list, &key);
}

static void note_refusal(struct tr_gate *g, const struct question *q)
{
    static const char mapped[] = "::ffff:"; /* IPv4 on a socket of both kinds */
    const char *from = (const char *)q->field[ADDRESS];
    char text[TR_CURVE_TEXT] = "none";
    struct tr_curve key;
    if (strncmp(from, mapped, strlen(mapped)) == 0) from += strlen(mapped);
    if (q->size[KEY] == sizeof key.byte) {
        memcpy(key.byte, q->field[KEY], sizeof key.byte);
        tr_curve_text(&key, text);
    }
    pthread_mutex_lock(&g->lock);
    g->refused++;
    snprintf(g->latest, sizeof g->latest, "the key %s, from %.64s, is not admitted", text,
             from);
    pthread_mutex_unlock(&g->lock);
}

static bool answer(void *socket, const struct question *q, int64_t user)
{
    char id[24] = "";
    const char *code = user < 0 ? "400" : "200", *word = user < 0 ? "unknown key" : "";
    if (user >= 0) snprintf(id, sizeof id, "%lld", (long long)user);
    return zmq_send(socket, "1.0", 3, ZMQ_SNDMORE) >= 0 &&
           zmq_send(socket, q->field[REQUEST], q->size[REQUEST], ZMQ_SNDMORE) >= 0 &&
           zmq_send(socket, code, strlen(code), ZMQ_SNDMORE) >= 0 &&
           zmq_send(socket, word, strlen(word), ZMQ_SNDMORE) >= 0 &&
           zmq_send(socket, id, strlen(id), ZMQ_SNDMORE) >= 0 &&
           zmq_send(socket, "", 0, 0) >= 0;
}

static void *keep_gate(void *at)
{
    struct tr_gate *g = at;
    struct question q;
    while (hear(g->socket, &q)) {
        int64_t user = judge(g, &q);
        if (user < 0) note_refusal(g, &q);
        if (!answer(g->socket, &q, user)) break;
    }
    zmq_close(g->socket);
    return NULL;
}

/* ---- the gate's life ---- */

/* Signals are for the main thread. */
static int start_thread(struct tr_gate *g)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&g->thread, NULL, keep_gate, g);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static bool copy_list(struct tr_gate *g, const struct tr_keys *keys)
{
    size_t size = (size_t)keys->n * sizeof *keys->admitted;
    g->list.admitted = malloc(size);
    if (!g->list.admitted) return false;
    memcpy(g->list.admitted, keys->admitted, size);
    g->list.n = keys->n;
    return true;
}

enum tr_status tr_gate_open(void *context, const struct tr_keys *keys,
                            struct tr_gate **out, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    *out = NULL;
    if (keys->n == 0)
        return tr_err_set(err, TR_BADARG,
                          "no key is admitted: the list is missing or "
                          "empty (keys/admitted)");
    struct tr_gate *g = calloc(1, sizeof *g);
    if (!g) return tr_err_set(err, TR_NOMEM, "a gate");
    pthread_mutex_init(&g->lock, NULL);
    if (copy_list(g, keys)) g->socket = zmq_socket(context, ZMQ_REP);
    if (!g->socket) {
        st = tr_err_set(err, TR_NOMEM, "a gate for %lld keys", (long long)keys->n);
        goto done;
    }
    if (zmq_bind(g->socket, "inproc://zeromq.zap.01") != 0) {
        st = tr_err_set(err, TR_IO, "a gate: %s", zmq_strerror(zmq_errno()));
        goto done;
    }
    int rc = start_thread(g);
    if (rc != 0) {
        st = tr_err_set(err, TR_NOMEM, "a thread: %s", tr_err_cause(rc));
        goto done;
    }
    g->runs = true;
    *out = g;
    g = NULL;
done:
    tr_gate_close(g);
    return st;
}

void tr_gate_close(struct tr_gate *g)
{
    if (!g) return;
    if (g->runs)
        pthread_join(g->thread, NULL);
    else if (g->socket)
        zmq_close(g->socket);
    pthread_mutex_destroy(&g->lock);
    tr_keys_close(&g->list);
    free(g);
}

/* ---- for the wire ---- */

int64_t tr_gate_user(const struct tr_gate *g, const char *id)
{
    char *end = NULL;
    if (!id || *id < '0' || *id > '9') return -1;
    long long user = strtoll(id, &end, 10);
    return *end == 0 && user < g->list.n ? user : -1;
}

int tr_gate_role(const struct tr_gate *g, int64_t user)
{
    return user < 0 || user >= g->list.n ? -1 : g->list.admitted[user].role;
}

int64_t tr_gate_refused(struct tr_gate *g, char latest[TR_REFUSED_BYTES])
{
    pthread_mutex_lock(&g->lock);
    int64_t n = g->refused;
    memcpy(latest, g->latest, TR_REFUSED_BYTES);
    pthread_mutex_unlock(&g->lock);
    return n;
}

enum tr_status tr_gate_check(int role, const struct tr_message *m, struct tr_err *err)
{
    if (role < 0) return tr_err_set(err, TR_BADMSG, "a message without an admitted key");
    if (m->say == TR_SAY_ASK && role != TR_KEY_ADMIN)
        return tr_err_set(err, TR_BADMSG,
                          "only a key for admin may ask, and this one is "
                          "for %s",
                          tr_keys_who(role));
    if (m->say == TR_SAY_HELLO && m->as.hello.role != role)
        return tr_err_set(err, TR_BADMSG, "this key is admitted for %s, not for %s",
                          tr_keys_who(role),
                          tr_role_name((enum tr_role)m->as.hello.role));
    if (m->say != TR_SAY_ASK && m->say != TR_SAY_BYE && role == TR_KEY_ADMIN)
        return tr_err_set(err, TR_BADMSG, "a key for admin asks and does nothing else");
    return TR_OK;
}

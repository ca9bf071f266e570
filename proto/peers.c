#include "proto/peers.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Peer number = how often its place was taken before, times TR_PEERS_MAX, plus the place. Places
 * are linked by index; two more than there are peers are the heads of the two queues. */
enum { BUCKETS = 2 * TR_PEERS_MAX, STRANGERS = TR_PEERS_MAX, KEPT, LINKS, NONE = -1 };

struct place {
    int64_t number, user;
    int32_t next; /* in its bucket */
    bool used, kept;
    unsigned char size, name[TR_PEER_NAME];
};

struct link {
    int32_t before, after;
};

struct tr_peers {
    uint64_t seed; /* so that nobody can choose names that fall together */
    int32_t bucket[BUCKETS];
    struct link link[LINKS]; /* rings; the head's `after` was heard longest ago */
    struct place place[TR_PEERS_MAX];
    int32_t fresh; /* places never taken start here */
    int32_t spare; /* the first that was taken and is free again, linked by `next` */
};

struct tr_peers *tr_peers_create(void)
{
    struct tr_peers *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    if (getrandom(&p->seed, sizeof p->seed, GRND_NONBLOCK) != sizeof p->seed) p->seed = 1;
    for (int i = 0; i < BUCKETS; i++) p->bucket[i] = NONE;
    for (int32_t head = STRANGERS; head <= KEPT; head++)
        p->link[head] = (struct link){.before = head, .after = head};
    p->spare = NONE;
    return p;
}

void tr_peers_destroy(struct tr_peers *p)
{
    free(p);
}

/* ---- queues ---- */

static void unlink_place(struct tr_peers *p, int32_t at)
{
    struct link *l = &p->link[at];
    p->link[l->before].after = l->after;
    p->link[l->after].before = l->before;
}

/* To the end of a queue: heard just now. */
static void link_last(struct tr_peers *p, int32_t at, int32_t head)
{
    int32_t last = p->link[head].before;
    p->link[at] = (struct link){.before = last, .after = head};
    p->link[last].after = at;
    p->link[head].before = at;
}

/* ---- the hash ---- */

static int32_t *bucket_of(struct tr_peers *p, const unsigned char *name, size_t size)
{
    uint64_t h = p->seed; /* FNV-1a */
    for (size_t i = 0; i < size; i++) h = (h ^ name[i]) * 1099511628211U;
    return &p->bucket[(h >> 32 ^ h) % BUCKETS];
}

static int32_t find(struct tr_peers *p, const unsigned char *name, size_t size)
{
    int32_t at = *bucket_of(p, name, size);
    while (at != NONE &&
           (p->place[at].size != size || memcmp(p->place[at].name, name, size) != 0))
        at = p->place[at].next;
    return at;
}

/* ---- places ---- */

static void leave(struct tr_peers *p, int32_t at)
{
    struct place *s = &p->place[at];
    int32_t *link = bucket_of(p, s->name, s->size);
    while (*link != at) link = &p->place[*link].next;
    *link = s->next;
    unlink_place(p, at);
    s->used = false;
    s->number += TR_PEERS_MAX;
    s->next = p->spare;
    p->spare = at;
}

/* A free place, somebody's if need be. */
static int32_t make_room(struct tr_peers *p)
{
    if (p->spare == NONE && p->fresh < TR_PEERS_MAX) {
        p->place[p->fresh].number = p->fresh;
        return p->fresh++;
    }
    if (p->spare == NONE) {
        bool strangers = p->link[STRANGERS].after != STRANGERS;
        leave(p, p->link[strangers ? STRANGERS : KEPT].after);
    }
    int32_t at = p->spare;
    p->spare = p->place[at].next;
    return at;
}

static int32_t enter(struct tr_peers *p, const unsigned char *name, size_t size,
                     int64_t user)
{
    int32_t at = make_room(p), *bucket = bucket_of(p, name, size);
    struct place *s = &p->place[at];
    s->user = user;
    s->used = true;
    s->kept = false;
    s->size = (unsigned char)size;
    memcpy(s->name, name, size);
    s->next = *bucket;
    *bucket = at;
    link_last(p, at, STRANGERS);
    return at;
}

int64_t tr_peers_hear(struct tr_peers *p, const void *name, size_t size, int64_t user)
{
    if (size > TR_PEER_NAME) return -1;
    int32_t at = find(p, name, size);
    if (at != NONE && p->place[at].user != user) {
        leave(p, at);
        at = NONE;
    }
    if (at == NONE) return p->place[enter(p, name, size, user)].number;
    unlink_place(p, at);
    link_last(p, at, p->place[at].kept ? KEPT : STRANGERS);
    return p->place[at].number;
}

/* The place of a number, or NONE. */
static int32_t place_of(const struct tr_peers *p, int64_t peer)
{
    if (peer < 0) return NONE;
    int32_t at = (int32_t)(peer % TR_PEERS_MAX);
    return p->place[at].used && p->place[at].number == peer ? at : NONE;
}

const void *tr_peers_name(const struct tr_peers *p, int64_t peer, size_t *size)
{
    int32_t at = place_of(p, peer);
    *size = at == NONE ? 0 : p->place[at].size;
    return at == NONE ? NULL : p->place[at].name;
}

int64_t tr_peers_user(const struct tr_peers *p, int64_t peer)
{
    int32_t at = place_of(p, peer);
    return at == NONE ? -1 : p->place[at].user;
}

void tr_peers_keep(struct tr_peers *p, int64_t peer)
{
    int32_t at = place_of(p, peer);
    if (at == NONE || p->place[at].kept) return;
    p->place[at].kept = true;
    unlink_place(p, at);
    link_last(p, at, KEPT);
}

void tr_peers_forget(struct tr_peers *p, int64_t peer)
{
    int32_t at = place_of(p, peer);
    if (at != NONE) leave(p, at);
}

#include "actors/coordinator/quota.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct allowance {
    double lines, each_second;
};
static const struct allowance of_a_source = {5, 0.1}, of_a_crowd = {256, 1};
static const double told_each = 10;

static struct allowance allowed(const struct tr_quota_place *p)
{
    return p->instance[0] ? of_a_source : of_a_crowd;
}

static void earn(struct tr_quota_place *p, double now)
{
    struct allowance a = allowed(p);
    p->lines += a.each_second * (now - p->at);
    if (p->lines > a.lines) p->lines = a.lines;
    p->at = now;
}

static bool same(const struct tr_quota_place *p, int role, const char *instance,
                 const char *kind)
{
    return p->role == role && strcmp(p->kind, kind) == 0 &&
           strcmp(p->instance, instance) == 0;
}

/* Nothing would be forgotten with it: all its lines are there, and nothing is held back. */
static bool is_idle(struct tr_quota_place *p, double now)
{
    earn(p, now);
    return p->held == 0 && p->lines >= allowed(p).lines;
}

/* Its place of n, or a new one, or an idle one's; NULL when all `most` are in use. */
static struct tr_quota_place *find(struct tr_quota_place *list, int64_t *n, int64_t most,
                                   const struct tr_quota_place *key)
{
    struct tr_quota_place *at = NULL;
    for (int64_t i = 0; i < *n; i++)
        if (same(&list[i], key->role, key->instance, key->kind)) return &list[i];
    if (*n < most) at = &list[(*n)++];
    for (int64_t i = 0; i < most && !at; i++)
        if (is_idle(&list[i], key->at)) at = &list[i];
    if (!at) return NULL;
    *at = *key;
    at->lines = allowed(at).lines;
    return at;
}

/* The place of this kind and role that has this name, or is the crowd. */
static struct tr_quota_place *place(struct tr_quota *q, int role, const char *instance,
                                    const char *kind, double now)
{
    struct tr_quota_place key = {.role = role, .at = now};
    assert(strlen(kind) < sizeof key.kind);
    snprintf(key.kind, sizeof key.kind, "%s", kind);
    snprintf(key.instance, sizeof key.instance, "%s", instance);
    return instance[0] ? find(q->source, &q->sources, TR_QUOTA_SOURCES, &key)
                       : find(q->crowd, &q->crowds, TR_QUOTA_CROWDS, &key);
}

static bool spend(struct tr_quota_place *p, double now)
{
    earn(p, now);
    if (p->lines < 1) return false;
    p->lines--;
    return true;
}

static void hold(struct tr_quota_place *p, int64_t n, double since)
{
    if (p->held == 0) p->held_since = since;
    p->held += n;
}

bool tr_quota_take(struct tr_quota *q, int role, const char *instance, const char *kind,
                   double now)
{
    struct tr_quota_place *crowd = place(q, role, "", kind, now);
    struct tr_quota_place *source =
        instance[0] ? place(q, role, instance, kind, now) : NULL;
    struct tr_quota_place *spent = crowd;
    assert(crowd);
    if (source && !spend(source, now))
        spent = source;
    else if (spend(crowd, now))
        return true;
    hold(spent, 1, now);
    return false;
}

/* What one of these held back and is due. */
static struct tr_quota_place *due(struct tr_quota_place *list, int64_t n, bool all,
                                  double now)
{
    for (int64_t i = 0; i < n; i++)
        if (list[i].held > 0 && (all || now >= list[i].held_since + told_each))
            return &list[i];
    return NULL;
}

bool tr_quota_tell(struct tr_quota *q, bool all, double now, struct tr_quota_place *out)
{
    struct tr_quota_place *p = NULL;
    while ((p = due(q->source, q->sources, all, now))) {
        struct tr_quota_place *crowd = place(q, p->role, "", p->kind, now);
        assert(crowd);
        *out = *p;
        p->held = 0;
        if (spend(crowd, now)) return true;
        hold(crowd, out->held, out->held_since); /* even of these there are too many */
    }
    p = due(q->crowd, q->crowds, all, now);
    if (!p) return false;
    *out = *p;
    p->held = 0;
    return true;
}

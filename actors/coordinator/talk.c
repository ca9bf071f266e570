/* talk.c - what people are told: lines for the log, and events for the memo. */
#include <stdarg.h>
#include <stdio.h>

#include "actors/coordinator/core_parts.h"

enum { NO_ROLE = -1 }; /* a stranger's */

static enum tr_status put_line(struct tr_core *c, struct tr_err *err, const char *fmt,
                               va_list ap) __attribute__((format(printf, 3, 0)));

static enum tr_status put_line(struct tr_core *c, struct tr_err *err, const char *fmt,
                               va_list ap)
{
    struct tr_core_action *a = NULL;
    enum tr_status st = tr_core_act(c, &a, err);
    if (st == TR_OK) vsnprintf(a->text, sizeof a->text, fmt, ap);
    return st;
}

enum tr_status tr_core_say(struct tr_core *c, struct tr_err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    enum tr_status st = put_line(c, err, fmt, ap);
    va_end(ap);
    return st;
}

/* The line that was put last, as an event. */
static enum tr_status keep_event(struct tr_core *c, int role, const char *instance,
                                 const char *kind, struct tr_err *err)
{
    if (role == NO_ROLE || !c->memo || !c->memo->event) return TR_OK;
    c->dirty = true;
    return c->memo->event(c->memo->self, (enum tr_role)role, instance, kind,
                          c->action[c->actions - 1].text, err);
}

enum tr_status tr_core_note(struct tr_core *c, const struct tr_hello *who,
                            const char *kind, struct tr_err *err, const char *fmt, ...)
{
    int role = who ? who->role : NO_ROLE;
    const char *instance = who ? who->instance : "";
    va_list ap;
    if (!tr_quota_take(&c->quota, role, instance, kind, c->now)) {
        c->counts.unsaid++;
        return TR_OK;
    }
    va_start(ap, fmt);
    enum tr_status st = put_line(c, err, fmt, ap);
    va_end(ap);
    return st == TR_OK ? keep_event(c, role, instance, kind, err) : st;
}

enum tr_status tr_core_tell_held(struct tr_core *c, bool all, struct tr_err *err)
{
    struct tr_quota_place p;
    char who[80];
    enum tr_status st = TR_OK;
    while (st == TR_OK && tr_quota_tell(&c->quota, all, c->now, &p)) {
        if (p.role == NO_ROLE)
            snprintf(who, sizeof who, "strangers");
        else if (p.instance[0])
            snprintf(who, sizeof who, "%s", p.instance);
        else
            snprintf(who, sizeof who, "any %s", tr_role_name((enum tr_role)p.role));
        st = tr_core_say(c, err, "%s: %s, %lld more times in %.0f s", who, p.kind,
                         (long long)p.held, c->now - p.held_since);
        if (st == TR_OK) st = keep_event(c, p.role, p.instance, p.kind, err);
    }
    return st;
}

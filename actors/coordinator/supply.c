/* supply.c - weights at posts: who is told to load what, from where, and what they hold then.
 *
 * A want says that a post's workers should hold a digest. Each worker loads one thing at a time. It
 * is sent to a file if an offer's worker shares its host, else to a source, in turn, else to
 * the folder that the want names. One that cannot load is asked again after a pause. */
#include <stdio.h>
#include <string.h>

#include "actors/coordinator/core_parts.h"

static const double load_seconds = 600; /* a load that says nothing for so long is lost */
static const double retry_seconds = 5;

enum tr_status tr_core_want(struct tr_core *c, int64_t post,
                            const struct tr_digest *digest, const char *folder,
                            int64_t *want, struct tr_err *err)
{
    int64_t at = 0;
    for (at = 0; digest && at < c->wants; at++) {
        const struct want *w = &c->want[at];
        if (w->open && w->post == post && w->known &&
            tr_digest_equal(&w->digest, digest)) {
            if (want) *want = at;
            return TR_OK;
        }
    }
    for (at = 0; at < c->wants && c->want[at].open;) at++;
    if (at == c->wants) {
        enum tr_status st =
            tr_core_room(&c->want, c->wants, &c->want_room, sizeof *c->want, err);
        if (st != TR_OK) return st;
        c->wants++;
    }
    struct want *w = &c->want[at];
    *w = (struct want){.post = post, .open = true, .known = digest != NULL};
    if (digest) w->digest = *digest;
    snprintf(w->folder, sizeof w->folder, "%s", folder);
    if (want) *want = at;
    return TR_OK;
}

struct tr_core_supply tr_core_supplied(const struct tr_core *c, int64_t want)
{
    const struct want *w = &c->want[want];
    struct tr_core_supply s = {
        .refused = w->refused, .digest = w->digest, .known = w->known};
    snprintf(s.why, sizeof s.why, "%s", w->why);
    for (int64_t i = 0; i < c->workers && w->known; i++)
        s.holders += c->worker[i].here && c->worker[i].post == w->post &&
                     tr_digests_hold(&c->worker[i].hello.holds, &w->digest);
    return s;
}

void tr_core_unwant(struct tr_core *c, int64_t want)
{
    c->want[want].open = false;
}

enum tr_status tr_core_retire(struct tr_core *c, int64_t post,
                              const struct tr_digest *digest, struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_DROP, .as.drop.digest = *digest};
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < c->wants; i++)
        if (c->want[i].post == post && c->want[i].known &&
            tr_digest_equal(&c->want[i].digest, digest))
            c->want[i].open = false;
    for (int64_t i = 0; i < c->workers && st == TR_OK; i++) {
        struct worker *w = &c->worker[i];
        const struct want *n = w->loading >= 0 ? &c->want[w->loading] : NULL;
        bool loads = n && n->known && tr_digest_equal(&n->digest, digest);
        if (!w->here || w->post != post ||
            (!loads && !tr_digests_hold(&w->hello.holds, digest)))
            continue;
        if (loads) w->loading = -1; /* what it says of that is not waited for */
        if (!tr_core_is_learner(c->post[post].role))
            tr_digests_remove(&w->hello.holds, digest);
        st = tr_core_send(c, w->peer, &m, err);
    }
    return st;
}

/* A drop may be lost with a connection, and what is not dropped fills the worker's shelf. */
enum tr_status tr_core_drop_unwanted(struct tr_core *c, int64_t at, struct tr_err *err)
{
    struct worker *w = &c->worker[at];
    struct tr_digests held = w->hello.holds;
    enum tr_status st = TR_OK;
    if (c->post[w->post].role != TR_ROLE_ROLLOUT) return TR_OK;
    for (int64_t i = 0; i < held.n && st == TR_OK; i++) {
        struct tr_message m = {.say = TR_SAY_DROP, .as.drop.digest = held.at[i]};
        bool wanted = false, any = false;
        for (int64_t n = 0; n < c->wants; n++) {
            const struct want *q = &c->want[n];
            if (!q->open || !q->known || q->post != w->post) continue;
            any = true;
            wanted = wanted || tr_digest_equal(&q->digest, &held.at[i]);
        }
        if (wanted || !any) continue;
        tr_digests_remove(&w->hello.holds, &held.at[i]);
        st = tr_core_send(c, w->peer, &m, err);
    }
    return st;
}

/* ---- offers ---- */

/* The oldest offer of whoever has most: one that offers without end drives out nobody else's. */
static int64_t least_missed(const struct tr_core *c)
{
    int64_t found = 0, most = 0;
    for (int64_t i = 0; i < c->offers; i++) {
        int64_t n = 0;
        for (int64_t k = i; k < c->offers; k++)
            n += c->offer[k].worker == c->offer[i].worker;
        if (n > most) {
            most = n;
            found = i;
        }
    }
    return found;
}

enum tr_status tr_core_hear_offer(struct tr_core *c, int64_t at, const struct tr_offer *o,
                                  struct tr_err *err)
{
    enum { KEPT = 64 };
    if (c->offers == KEPT) {
        int64_t i = least_missed(c);
        c->offers--;
        memmove(c->offer + i, c->offer + i + 1,
                (size_t)(KEPT - 1 - i) * sizeof *c->offer);
    }
    enum tr_status st =
        tr_core_room(&c->offer, c->offers, &c->offer_room, sizeof *c->offer, err);
    if (st != TR_OK) return st;
    struct offer *f = &c->offer[c->offers++];
    *f = (struct offer){.digest = o->digest, .worker = at};
    snprintf(f->file, sizeof f->file, "%s", o->file);
    snprintf(f->source, sizeof f->source, "%s", o->source);
    return TR_OK;
}

void tr_core_forget_offers(struct tr_core *c, int64_t worker)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < c->offers; i++)
        if (c->offer[i].worker != worker) c->offer[kept++] = c->offer[i];
    c->offers = kept;
}

enum tr_status tr_core_withdraw(struct tr_core *c, const struct tr_digest *digest,
                                struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_DROP, .as.drop.digest = *digest};
    enum tr_status st = TR_OK;
    int64_t kept = 0;
    for (int64_t i = 0; i < c->offers; i++) {
        const struct worker *w = &c->worker[c->offer[i].worker];
        bool named = tr_digest_equal(&c->offer[i].digest, digest);
        if (named && st == TR_OK && w->here) st = tr_core_send(c, w->peer, &m, err);
        if (!named) c->offer[kept++] = c->offer[i];
    }
    c->offers = kept;
    return st;
}

/* ---- load ---- */

static bool same_host(const struct worker *a, const struct worker *b)
{
    return a->hello.host[0] && strcmp(a->hello.host, b->hello.host) == 0;
}

/* Where this worker can have the weights from; false: nowhere yet. */
static bool find_place(const struct tr_core *c, const struct want *w,
                       const struct worker *to, struct tr_load *load)
{
    int64_t sources = 0;
    *load = (struct tr_load){0};
    if (w->known) load->digest = w->digest;
    snprintf(load->folder, sizeof load->folder, "%s", w->folder);
    for (int64_t i = 0; i < c->offers && w->known; i++) {
        const struct offer *o = &c->offer[i];
        if (!tr_digest_equal(&o->digest, &w->digest)) continue;
        if (o->file[0] && same_host(&c->worker[o->worker], to))
            snprintf(load->file, sizeof load->file, "%s", o->file);
        /* the n-th worker that asks is likelier to be sent to the n-th source */
        if (o->source[0] && (sources++ == 0 || (to - c->worker) % sources == 0))
            snprintf(load->source, sizeof load->source, "%s", o->source);
    }
    return load->file[0] || load->source[0] || load->folder[0];
}

static enum tr_status send_load(struct tr_core *c, int64_t want, int64_t at,
                                struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_LOAD};
    struct worker *w = &c->worker[at];
    if (!find_place(c, &c->want[want], w, &m.as.load)) return TR_OK;
    w->loading = want;
    w->load_deadline = c->now + load_seconds;
    return tr_core_send(c, w->peer, &m, err);
}

static bool lacks(const struct worker *w, const struct want *n)
{
    return !n->known || !tr_digests_hold(&w->hello.holds, &n->digest);
}

enum tr_status tr_core_send_loads(struct tr_core *c, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < c->workers; i++) {
        struct worker *w = &c->worker[i];
        if (w->loading >= 0 && c->now > w->load_deadline) w->loading = -1;
    }
    for (int64_t n = 0; n < c->wants; n++) {
        const struct want *want = &c->want[n];
        if (!want->open || c->now < want->retry_at) continue;
        for (int64_t i = 0; i < c->workers && st == TR_OK; i++) {
            struct worker *w = &c->worker[i];
            if (w->here && !w->silent && w->post == want->post && w->loading < 0 &&
                lacks(w, want))
                st = send_load(c, n, i, err);
        }
    }
    return st;
}

/* ---- loaded ---- */

static enum tr_status refused(struct tr_core *c, struct worker *w, struct want *n,
                              const char *why, struct tr_err *err)
{
    n->refused++;
    n->retry_at = c->now + retry_seconds;
    snprintf(n->why, sizeof n->why, "%.150s: %.90s", w->hello.instance, why);
    return tr_core_note(c, &w->hello, "could not load", err, "%s could not load: %s",
                        w->hello.instance, why);
}

enum tr_status tr_core_hear_loaded(struct tr_core *c, int64_t at,
                                   const struct tr_loaded *l, struct tr_err *err)
{
    struct worker *w = &c->worker[at];
    char text[65];
    if (w->loading < 0)
        return l->ok ? TR_OK
                     : tr_core_note(c, &w->hello, "could not load", err, "%s: %s",
                                    w->hello.instance, l->text);
    struct want *n = &c->want[w->loading];
    if (n->known && !tr_digest_is_zero(&l->digest) &&
        !tr_digest_equal(&n->digest, &l->digest))
        return TR_OK; /* of a load that was given up meanwhile */
    if (!n->known && l->folder[0] && strcmp(l->folder, n->folder) != 0)
        return TR_OK; /* the same, or of one that a coordinator before this one asked for */
    w->loading = -1;
    if (!l->ok) return refused(c, w, n, l->text, err);
    if (tr_digest_is_zero(&l->digest)) return refused(c, w, n, "it names no digest", err);
    if (!n->known && !l->folder[0])
        return refused(c, w, n, "it does not say which folder it loaded", err);
    n->digest = l->digest;
    n->known = true;
    if (lacks(w, n) && w->hello.holds.n < TR_DIGESTS_MAX)
        w->hello.holds.at[w->hello.holds.n++] = l->digest;
    tr_digest_text(&l->digest, text);
    if (c->post[w->post].role != TR_ROLE_REWARD) return TR_OK; /* at every step */
    return tr_core_note(c, &w->hello, "loaded", err, "%s loaded %.16s in %.1f s",
                        w->hello.instance, text, l->seconds);
}

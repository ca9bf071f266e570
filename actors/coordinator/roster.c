/* roster.c - who may work: posts, hello and welcome, and who has left. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/coordinator/core_parts.h"
#include "core/base/json.h"

/* ---- posts ---- */

const char *tr_core_post_text(const struct post *p, char *text)
{
    snprintf(text, 128, "%s%s%s", tr_role_name(p->role), p->slot[0] ? " " : "", p->slot);
    return text;
}

int64_t tr_core_post(const struct tr_core *c, enum tr_role role, const char *slot)
{
    int64_t found = -1;
    for (int64_t i = 0; i < c->posts; i++) {
        const struct post *p = &c->post[i];
        if (!p->open || p->role != role) continue;
        if (strcmp(p->slot, slot) == 0) return i;
        if (slot[0] == 0) found = found == -1 ? i : -2; /* the only one, or no */
    }
    return found < 0 ? -1 : found;
}

/* A closed one keeps its place as long as the index finds units of it. */
static bool has_units(const struct post *p)
{
    return p->sent > 0 || p->waiting.n > 0;
}

enum tr_status tr_core_open_post(struct tr_core *c, enum tr_role role, const char *slot,
                                 int64_t replicas, int64_t *post, struct tr_err *err)
{
    int64_t at = 0;
    for (int64_t i = 0; i < c->posts; i++)
        if (c->post[i].open && c->post[i].role == role && !strcmp(c->post[i].slot, slot))
            return tr_err_set(err, TR_BADARG, "%s %s is there already",
                              tr_role_name(role), slot);
    while (at < c->posts && (c->post[at].open || has_units(&c->post[at]))) at++;
    if (at == TR_POSTS_MAX)
        return tr_err_set(err, TR_BADARG, "more than %d roles and rewards", TR_POSTS_MAX);
    if (at == c->posts) c->posts++;
    c->post[at] = (struct post){.role = role, .replicas = replicas, .open = true};
    snprintf(c->post[at].slot, sizeof c->post[at].slot, "%s", slot);
    *post = at;
    return TR_OK;
}

enum tr_status tr_core_close_post(struct tr_core *c, int64_t post, struct tr_err *err)
{
    struct tr_message bye = {.say = TR_SAY_BYE};
    enum tr_status st = TR_OK;
    c->post[post].open = false;
    for (int64_t i = 0; i < c->wants; i++) /* they stay until who asked lets go of them */
        if (c->want[i].post == post) c->want[i].post = NO_POST;
    snprintf(bye.as.parting.reason, sizeof bye.as.parting.reason,
             "nothing is asked of it any more");
    for (int64_t i = 0; i < c->workers && st == TR_OK; i++) {
        struct worker *w = &c->worker[i];
        if (!w->here || w->post != post) continue;
        st = tr_core_send(c, w->peer, &bye, err);
        if (st == TR_OK) st = tr_core_leave(c, i, false, "its post was closed", err);
    }
    return st;
}

void tr_core_expect(struct tr_core *c, int64_t post, int64_t replicas)
{
    c->post[post].replicas = replicas;
}

struct tr_digest tr_core_digest(const struct tr_core *c, int64_t post)
{
    return c->post[post].digest;
}

void tr_core_set_digest(struct tr_core *c, int64_t post, const struct tr_digest *digest)
{
    c->post[post].digest = *digest;
    c->post[post].known = true;
}

/* ---- workers ---- */

int64_t tr_core_find_worker(const struct tr_core *c, int64_t peer)
{
    for (int64_t i = 0; i < c->workers; i++)
        if (c->worker[i].here && c->worker[i].peer == peer) return i;
    return -1;
}

static int64_t find_instance(const struct tr_core *c, int64_t post, const char *instance)
{
    for (int64_t i = 0; i < c->workers; i++)
        if (c->worker[i].here && c->worker[i].post == post &&
            strcmp(c->worker[i].hello.instance, instance) == 0)
            return i;
    return -1;
}

/* Of a frozen post: it holds other weights than those that are asked of at present. */
bool tr_core_idle(const struct tr_core *c, const struct worker *w)
{
    const struct post *p = &c->post[w->post];
    bool frozen = p->role == TR_ROLE_REFERENCE || p->role == TR_ROLE_REWARD;
    return frozen && p->known && !tr_digests_hold(&w->hello.holds, &p->digest);
}

int64_t tr_core_workers(const struct tr_core *c, int64_t post)
{
    int64_t n = 0;
    for (int64_t i = 0; i < c->workers; i++)
        n += c->worker[i].here && c->worker[i].post == post &&
             !tr_core_idle(c, &c->worker[i]);
    return n;
}

/* A post whose weights nobody has named takes those of its first worker. Of a learner: its lineage first,
 * then its weights if they have another name. */
static void take_its_word(struct tr_core *c, int64_t post, const struct tr_hello *h)
{
    struct post *p = &c->post[post];
    bool learner = tr_core_is_learner(p->role);
    if (p->role == TR_ROLE_ROLLOUT) return;
    if (!p->known) {
        tr_core_set_digest(c, post, &h->holds.at[learner ? h->holds.n - 1 : 0]);
        p->provisional = true;
    }
    if (!p->placed && learner) tr_core_set_lineage(c, post, &h->holds.at[0]);
}

/* Before the run begins nothing was asked of them: when all that held them have left, whoever else is here
 * or comes may say others. */
static void forget_provisional(struct tr_core *c, int64_t post)
{
    struct post *p = &c->post[post];
    if (c->started || !p->provisional || tr_core_workers(c, post) > 0) return;
    p->known = p->placed = p->provisional = false;
    for (int64_t i = 0; i < c->workers && !p->known; i++)
        if (c->worker[i].here && c->worker[i].post == post)
            take_its_word(c, post, &c->worker[i].hello);
}

enum tr_status tr_core_leave(struct tr_core *c, int64_t at, bool fell, const char *why,
                             struct tr_err *err)
{
    struct worker *w = &c->worker[at];
    while (w->hand.last) { /* the order stays */
        w->hand.last->failed += fell;
        tr_core_take_back(c, w->hand.last);
    }
    w->here = false;
    w->loading = -1;
    c->counts.losses++;
    tr_core_forget_offers(c, at);
    forget_provisional(c, w->post);
    return tr_core_note(c, &w->hello, "left", err, "%s left: %s", w->hello.instance, why);
}

/* ---- hello ---- */

static void describe_posts(const struct tr_core *c, enum tr_role role, char *text,
                           size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int64_t i = 0; i < c->posts && used < size; i++)
        if (c->post[i].open && c->post[i].role == role)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "",
                                     c->post[i].slot);
}

/* Does it compute as the run's settings say? */
static bool fits_math(const struct tr_core *c, const char *math)
{
    size_t n = strcspn(math, " ");
    return !c->set.math[0] || !n ||
           (n == strlen(c->set.math) && strncmp(math, c->set.math, n) == 0);
}

/* Why this worker may not work, into reason; "" when it may. */
static void find_fault(const struct tr_core *c, int64_t post, const struct tr_hello *h,
                       char *reason, size_t size)
{
    reason[0] = 0;
    if (post < 0) {
        char slots[100];
        describe_posts(c, (enum tr_role)h->role, slots, sizeof slots);
        if (slots[0])
            snprintf(reason, size, "this run has no %s \"%.60s\", but: %s",
                     tr_role_name((enum tr_role)h->role), h->slot, slots);
        else
            snprintf(reason, size, "this run has no role %s",
                     tr_role_name((enum tr_role)h->role));
        return;
    }
    /* A rollout may have let go of what it had before the next version came. */
    if (h->holds.n < 1 && h->role != TR_ROLE_ROLLOUT)
        snprintf(reason, size, "no digest of a model");
    if (!fits_math(c, h->math))
        snprintf(reason, size, "math: %s, but this run's is math: %s", h->math,
                 c->set.math);
    for (int64_t i = 0; i < c->workers && !reason[0]; i++) {
        const struct worker *w = &c->worker[i];
        if (!w->here) continue;
        if (w->hello.math[0] && h->math[0] && strcmp(w->hello.math, h->math) != 0)
            snprintf(reason, size, "math: %s, but the others compute with math: %s",
                     h->math, w->hello.math);
        else if (w->post == post && tr_core_is_learner((enum tr_role)h->role) &&
                 !w->silent && strcmp(w->hello.instance, h->instance) != 0)
            snprintf(reason, size, "there is a %s already: %s",
                     tr_role_name((enum tr_role)h->role), w->hello.instance);
    }
}

/* The place of a worker in the list: one that left may be taken once nothing names it. */
static enum tr_status new_place(struct tr_core *c, int64_t *at, struct tr_err *err)
{
    for (*at = 0; *at < c->workers; ++*at)
        if (!c->worker[*at].here) return TR_OK;
    enum tr_status st =
        tr_core_room(&c->worker, c->workers, &c->worker_room, sizeof *c->worker, err);
    if (st == TR_OK) c->workers++;
    return st;
}

static enum tr_status add_worker(struct tr_core *c, int64_t peer, int64_t post,
                                 const struct tr_hello *h, int64_t *at,
                                 struct tr_err *err)
{
    const struct post *p = &c->post[post];
    char name[128];
    enum tr_status st = new_place(c, at, err);
    if (st != TR_OK) return st;
    struct worker *w = &c->worker[*at];
    *w = (struct worker){.peer = peer,
                         .here = true,
                         .hello = *h,
                         .post = post,
                         .joined = c->now,
                         .heard = c->now,
                         .loading = -1};
    take_its_word(c, post, h);
    c->counts.joins++;
    return tr_core_note(
        c, h, "joined", err, "%s joined: %s, %lld thread%s, %s%s",
        tr_core_post_text(p, name), h->instance, (long long)h->threads,
        h->threads == 1 ? "" : "s", h->isa,
        tr_core_idle(c, w) ? "; idle: its weights are not the present ones" : "");
}

/* One that is here said hello again, over this connection or a new one: what it holds may differ.
 * What it has in hand shows in its next progress. */
static void greet_again(struct tr_core *c, int64_t at, int64_t peer,
                        const struct tr_hello *h)
{
    struct worker *w = &c->worker[at];
    w->peer = peer;
    w->hello = *h;
    w->heard = c->now;
    w->silent = false;
    w->strays = 0;
    w->loading = -1; /* what was told may be lost */
}

static enum tr_status welcome(struct tr_core *c, int64_t peer, int64_t at,
                              const char *reason, struct tr_err *err)
{
    struct tr_message m = {.say = TR_SAY_WELCOME};
    struct tr_welcome *w = &m.as.welcome;
    w->admitted = !reason[0];
    snprintf(w->reason, sizeof w->reason, "%s", reason);
    snprintf(w->run, sizeof w->run, "%s", c->set.run);
    if (w->admitted) {
        w->credits = c->worker[at].hello.credits;
        w->idle = tr_core_idle(c, &c->worker[at]);
    }
    return tr_core_send(c, peer, &m, err);
}

enum tr_status tr_core_turn_away(struct tr_core *c, int64_t peer, const char *why,
                                 struct tr_err *err)
{
    return welcome(c, peer, -1, why, err);
}

/* What a person would ask for it; the caller owns it (free). "by": the same process asks once, however often it
 * comes back. */
static char *swap_text(const struct tr_core *c, const struct worker *w)
{
    char digest[65];
    tr_digest_text(&w->hello.holds.at[0], digest);
    json_t *doc =
        json_pack("{s:s, s:s, s:[s, I]}", "name", c->post[w->post].slot, "digest", digest,
                  "by", w->hello.instance, (json_int_t)w->hello.incarnation);
    char *text = doc ? tr_json_text(doc, 0) : NULL;
    json_decref(doc);
    return text;
}

/* A reward that should take the place of the present one is a swap like any other. It stays, idle, where
 * that cannot be. */
static enum tr_status ask_swap(struct tr_core *c, int64_t at, struct tr_err *err)
{
    const struct worker *w = &c->worker[at];
    struct tr_err why = {.text = "this run swaps nothing"};
    struct tr_buf reply;
    enum tr_status st = TR_BADARG;
    if (!w->hello.swap || w->hello.role != TR_ROLE_REWARD || !tr_core_idle(c, w))
        return TR_OK;
    char *text = swap_text(c, w);
    if (!text) return tr_err_set(err, TR_NOMEM, "a swap");
    tr_buf_init(&reply, 1 << 16);
    if (c->planner->ask)
        st = c->planner->ask(c->planner->self, c, "swap", text, &reply, &why);
    tr_buf_fini(&reply);
    free(text);
    if (st == TR_OK)
        return tr_core_note(c, &w->hello, "asks for a swap", err,
                            "%s asks to take the place of the present one",
                            w->hello.instance);
    return tr_core_note(c, &w->hello, "not swapped", err, "%s stays idle: %s",
                        w->hello.instance, why.text);
}

/* Two processes with one name would put each other out for ever, and each time take the units back. */
static enum tr_status send_elder_away(struct tr_core *c, int64_t peer,
                                      const struct tr_hello *h, struct tr_err *err)
{
    struct tr_message bye = {.say = TR_SAY_BYE};
    snprintf(bye.as.parting.reason, sizeof bye.as.parting.reason,
             "a process called %.60s that was started later has taken its place: each "
             "needs a name of its own",
             h->instance);
    c->counts.refused++;
    enum tr_status st = tr_core_send(c, peer, &bye, err);
    return st == TR_OK ? tr_core_note(c, h, "turned away", err, "%s turned away: %s",
                                      h->instance, bye.as.parting.reason)
                       : st;
}

/* A process with units in hand speaks every second. */
static bool is_answering(const struct tr_core *c, const struct worker *w)
{
    static const double quiet = 2;
    return c->now < w->heard + quiet;
}

static const double longest_pause = 60;

/* How long one of its name has its place before another is let in; the first is at once. */
static double pause_of(const struct worker *elder)
{
    double pause = elder->replaced > 0 ? 1 : 0;
    for (int64_t i = 1; i < elder->replaced && pause < longest_pause; i++) pause *= 2;
    return pause < longest_pause ? pause : longest_pause;
}

/* The later process takes the elder's place, or (*waits) is not heard yet: it says hello again. */
static enum tr_status replace(struct tr_core *c, int64_t at, const struct tr_hello *h,
                              bool *waits, struct tr_err *err)
{
    const struct worker *elder = &c->worker[at];
    bool answering = is_answering(c, elder);
    *waits = answering && c->now < elder->joined + pause_of(elder);
    if (!*waits) return tr_core_leave(c, at, !answering, "it was started anew", err);
    return tr_core_note(c, h, "waits", err,
                        "%s waits: another process of that name has been here for %.0f s "
                        "and speaks; each needs a name of its own",
                        h->instance, c->now - elder->joined);
}

/* How often those of one name took each other's place lately, with this time. */
static int64_t count_replaced(const struct tr_core *c, const struct worker *elder)
{
    return elder->joined + 2 * longest_pause < c->now ? 1 : elder->replaced + 1;
}

static bool is_another(const struct worker *w, int64_t post, const struct tr_hello *h)
{
    return w->hello.incarnation != h->incarnation || w->post != post ||
           strcmp(w->hello.instance, h->instance) != 0;
}

/* One that is not here, or not any more: it is taken, or told why not. *at: -1 then. */
static enum tr_status take_in(struct tr_core *c, int64_t peer, int64_t post,
                              const struct tr_hello *h, int64_t *at, struct tr_err *err)
{
    char reason[200] = "";
    find_fault(c, post, h, reason, sizeof reason);
    if (!reason[0]) return add_worker(c, peer, post, h, at, err);
    c->counts.refused++;
    enum tr_status st =
        tr_core_note(c, h, "turned away", err, "%s %s turned away: %s",
                     tr_role_name((enum tr_role)h->role), h->instance, reason);
    return st == TR_OK ? welcome(c, peer, -1, reason, err) : st;
}

enum tr_status tr_core_admit(struct tr_core *c, int64_t peer, const struct tr_hello *h,
                             struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int64_t replaced = 0, post = tr_core_post(c, (enum tr_role)h->role, h->slot);
    int64_t at = tr_core_find_worker(c, peer);
    if (at < 0) {
        at = find_instance(c, post, h->instance);
        if (at >= 0 && h->incarnation < c->worker[at].hello.incarnation)
            return send_elder_away(c, peer, h, err);
    }
    bool stays = at >= 0 && !is_another(&c->worker[at], post, h), waits = false;
    if (at >= 0 && !stays) {
        replaced = count_replaced(c, &c->worker[at]);
        st = replace(c, at, h, &waits, err);
        at = -1;
    }
    if (st != TR_OK || waits) return st;
    if (stays)
        greet_again(c, at, peer, h);
    else
        st = take_in(c, peer, post, h, &at, err);
    if (st != TR_OK || at < 0) return st;
    if (!stays) c->worker[at].replaced = replaced;
    st = welcome(c, peer, at, "", err);
    if (st == TR_OK && !stays) st = ask_swap(c, at, err);
    if (st == TR_OK) st = tr_core_drop_unwanted(c, at, err);
    return st == TR_OK ? tr_core_catch_up(c, at, err) : st;
}

/* ---- for people ---- */

bool tr_core_see(const struct tr_core *c, int64_t i, struct tr_core_worker *out)
{
    if (i < 0 || i >= c->workers) return false;
    const struct worker *w = &c->worker[i];
    *out = (struct tr_core_worker){
        .role = (enum tr_role)w->hello.role,
        .slot = w->here ? c->post[w->post].slot : w->hello.slot,
        .instance = w->hello.instance,
        .isa = w->hello.isa,
        .math = w->hello.math,
        .host = w->hello.host,
        .here = w->here,
        .silent = w->silent,
        .idle = tr_core_idle(c, w),
        .busy = w->hand.n > 0,
        .in_hand = w->hand.n,
        .answered = w->answered,
        .threads = w->hello.threads,
        .busy_seconds = w->busy_seconds + (w->hand.n > 0 ? c->now - w->busy_since : 0),
        .since = w->joined,
        .holds = w->hello.holds,
    };
    return true;
}

bool tr_core_answered(const struct tr_core *c, enum tr_role role, const char *instance,
                      double since)
{
    for (int64_t i = 0; i < c->workers; i++) {
        const struct worker *w = &c->worker[i];
        if (w->hello.role == (int)role && w->joined >= since &&
            strcmp(w->hello.instance, instance) == 0)
            return w->answered > 0;
    }
    return false;
}

void tr_core_queue(const struct tr_core *c, int64_t post, int64_t *waiting, int64_t *sent)
{
    *waiting = c->post[post].waiting.n;
    *sent = c->post[post].sent;
}

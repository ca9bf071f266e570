/* work.c - units: added, handed out, answered, taken back.
 *
 * Open units lie in rows: a post's waiting ones, a worker's sent ones, and those whose answer was
 * kept. An index by id finds any of them. What was answered is remembered for a while by id and
 * digest, so that a second answer can be compared. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/coordinator/core_parts.h"

bool tr_core_is_learner(enum tr_role role)
{
    return role == TR_ROLE_POLICY || role == TR_ROLE_CRITIC;
}

void tr_core_free_work(struct work *k)
{
    while (k) {
        struct work *twin = k->twin;
        tr_unit_fini(&k->unit);
        tr_content_fini(&k->known);
        free(k);
        k = twin;
    }
}

/* ---- rows ---- */

static void append(struct row *r, struct work *k)
{
    k->before = r->last;
    k->after = NULL;
    if (r->last)
        r->last->after = k;
    else
        r->first = k;
    r->last = k;
    r->n++;
}

/* In front: what was taken back was asked for before all that waits. */
static void put_first(struct row *r, struct work *k)
{
    k->before = NULL;
    k->after = r->first;
    if (r->first)
        r->first->before = k;
    else
        r->last = k;
    r->first = k;
    r->n++;
}

static void detach(struct row *r, struct work *k)
{
    *(k->before ? &k->before->after : &r->first) = k->after;
    *(k->after ? &k->after->before : &r->last) = k->before;
    k->before = k->after = NULL;
    r->n--;
}

/* ---- the index ---- */

static size_t bucket_of(const struct tr_digest *id)
{
    return ((size_t)id->byte[0] << 8 | id->byte[1]) % BUCKETS;
}

struct work *tr_core_find_work(const struct tr_core *c, const struct tr_digest *id)
{
    struct work *k = c->bucket[bucket_of(id)];
    while (k && !tr_digest_equal(&k->unit.id, id)) k = k->chained;
    return k;
}

static void enter(struct tr_core *c, struct work *k)
{
    struct work **at = &c->bucket[bucket_of(&k->unit.id)];
    k->chained = *at;
    *at = k;
}

static void strike(struct tr_core *c, struct work *k)
{
    struct work **at = &c->bucket[bucket_of(&k->unit.id)];
    while (*at != k) at = &(*at)->chained;
    *at = k->chained;
}

/* ---- adding ---- */

void tr_core_put_work(struct tr_core *c, struct work *k)
{
    if (k->state == WORK_KNOWN) { /* nobody will answer it: it is in no index */
        append(&c->known, k);
        return;
    }
    struct work *same = tr_core_find_work(c, &k->unit.id);
    if (same) {
        k->twin = same->twin;
        same->twin = k;
        return;
    }
    enter(c, k);
    c->post[k->post].saves += k->unit.kind == TR_UNIT_SAVE;
    if (k->replay) /* what waits may need what the learner has to be taught first */
        put_first(&c->post[k->post].waiting, k);
    else
        append(&c->post[k->post].waiting, k);
}

/* Its kept answer, if there is one. */
static enum tr_status recall(struct tr_core *c, struct work *k, struct tr_err *err)
{
    k->state = WORK_WAITING;
    if (!c->memo) return TR_OK;
    enum tr_status st = c->memo->find(c->memo->self, &k->unit.id, &k->known, err);
    if (st == TR_OK) k->state = WORK_KNOWN;
    return st == TR_AGAIN ? TR_OK : st;
}

enum tr_status tr_core_add(struct tr_core *c, int64_t post, struct tr_unit *unit,
                           int64_t tag, int64_t step, struct tr_err *err)
{
    struct work *k = calloc(1, sizeof *k);
    if (!k) {
        tr_unit_fini(unit);
        return tr_err_set(err, TR_NOMEM, "a unit");
    }
    *k = (struct work){.unit = *unit, .post = post, .tag = tag, .step = step};
    *unit = (struct tr_unit){0};
    c->counts.units++;
    enum tr_status st = recall(c, k, err);
    if (st == TR_OK)
        tr_core_put_work(c, k);
    else
        tr_core_free_work(k);
    return st;
}

/* ---- handing out ---- */

/* How many units it would take. Those that went to others count until it has done with them. */
static int64_t free_credits(const struct worker *w)
{
    int64_t busy = w->hand.n + w->strays; /* may be more, if it said hello with fewer */
    if (!w->here || w->silent || busy >= w->hello.credits) return 0;
    return w->hello.credits - busy;
}

/* What it spoilt is at hand at once, and so is it: others of its post go before it for a while. */
static void let_rest(struct tr_core *c, struct worker *w)
{
    static const double longest = 60;
    double pause = 1;
    for (int64_t i = 0; i < w->spoilt && pause < longest; i++) pause *= 2;
    w->rests_until = c->now + (pause < longest ? pause : longest);
    w->spoilt++;
}

/* It rests, and not all of its post do. */
static bool rests(const struct tr_core *c, const struct worker *w)
{
    if (c->now >= w->rests_until) return false;
    for (int64_t i = 0; i < c->workers; i++) {
        const struct worker *o = &c->worker[i];
        if (o->here && !o->silent && o->post == w->post && c->now >= o->rests_until &&
            !tr_core_idle(c, o))
            return true;
    }
    return false;
}

bool tr_core_fits(const struct tr_core *c, const struct worker *w, const struct work *k)
{
    if (!w->here || w->silent || w->post != k->post) return false;
    /* What is to be saved was asked for before: a learner that has gone on cannot save it any more. */
    if (k->unit.kind == TR_UNIT_LEARN && !k->replay && c->post[k->post].saves > 0)
        return false;
    if (k->unit.kind == TR_UNIT_LEARN || k->unit.kind == TR_UNIT_SAVE)
        return tr_core_can_learn(c, w, k);
    for (int64_t i = 0; i < k->unit.needs.n; i++)
        if (!tr_digests_hold(&w->hello.holds, &k->unit.needs.at[i])) return false;
    return true;
}

static bool can_do(const struct tr_core *c, const struct worker *w, const struct work *k)
{
    return free_credits(w) > 0 && !rests(c, w) && tr_core_fits(c, w, k);
}

bool tr_core_fits_nothing(const struct tr_core *c, const struct worker *w)
{
    const struct post *p = &c->post[w->post];
    if (!w->here || w->silent || w->hand.n > 0 || p->waiting.n == 0) return false;
    for (const struct work *k = p->waiting.first; k; k = k->after)
        if (can_do(c, w, k)) return false;
    return true;
}

/* The able worker with the least in hand, the earliest among equals; -1 when there is none. */
static int64_t choose(const struct tr_core *c, const struct work *k)
{
    int64_t best = -1;
    for (int64_t i = 0; i < c->workers; i++)
        if (can_do(c, &c->worker[i], k) &&
            (best < 0 || c->worker[i].hand.n < c->worker[best].hand.n))
            best = i;
    return best;
}

/* Says what the unit's worker said last, if it was this one's: who vanished said nothing. */
static enum tr_status give_up(const struct tr_core *c, const struct work *k,
                              struct tr_err *err)
{
    bool told = tr_digest_equal(&c->fault.id, &k->unit.id);
    return tr_err_set(err, TR_GONE, "a unit %s failed %lld times; giving up%s%s",
                      tr_unit_kind_name(k->unit.kind), (long long)k->failed,
                      told ? ": " : "", told ? c->fault.text : "");
}

static enum tr_status give(struct tr_core *c, struct work *k, int64_t at,
                           struct tr_err *err)
{
    enum { SENT_MAX = 1000000 }; /* what a message can say */
    if (k->failed >= c->set.attempts) return give_up(c, k, err);
    struct tr_message m = {.say = TR_SAY_UNIT, .content = k->unit.content};
    k->sent += k->sent < SENT_MAX;
    m.as.unit = (struct tr_deliver){.id = k->unit.id, .attempt = k->sent};
    enum tr_status st = tr_core_send(c, c->worker[at].peer, &m, err);
    if (st != TR_OK) return st;
    detach(&c->post[k->post].waiting, k);
    if (c->worker[at].hand.n == 0) c->worker[at].busy_since = c->now;
    append(&c->worker[at].hand, k);
    c->post[k->post].sent++;
    k->state = WORK_SENT;
    k->worker = at;
    k->delivery = c->actions - 1;
    k->given = c->now;
    k->deadline = c->now + c->set.silence_seconds;
    c->counts.reissued += k->sent > 1;
    return TR_OK;
}

static int64_t credits_of_post(const struct tr_core *c, int64_t post)
{
    int64_t n = 0;
    for (int64_t i = 0; i < c->workers; i++)
        if (c->worker[i].post == post) n += free_credits(&c->worker[i]);
    return n;
}

/* Units are tried in order; a few that nobody can do now are stepped over. */
static enum tr_status hand_out_post(struct tr_core *c, int64_t post, struct tr_err *err)
{
    int64_t credits = credits_of_post(c, post);
    int64_t over = 0;
    struct work *next = NULL;
    for (struct work *k = c->post[post].waiting.first; k && credits > 0; k = next) {
        next = k->after;
        int64_t at = choose(c, k);
        if (at < 0) {
            if (++over == STEPPED_OVER) return TR_OK;
            continue;
        }
        enum tr_status st = give(c, k, at, err);
        if (st != TR_OK) return st;
        credits--;
    }
    return TR_OK;
}

enum tr_status tr_core_hand_out(struct tr_core *c, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < c->posts && st == TR_OK; i++)
        if (c->post[i].waiting.n > 0) st = hand_out_post(c, i, err);
    return st;
}

void tr_core_take_back(struct tr_core *c, struct work *k)
{
    if (k->state != WORK_SENT) return;
    struct worker *w = &c->worker[k->worker];
    tr_core_send_back(c, k);
    detach(&w->hand, k);
    if (w->hand.n == 0) w->busy_seconds += c->now - w->busy_since;
    c->post[k->post].sent--;
    k->state = WORK_WAITING;
    put_first(&c->post[k->post].waiting, k);
}

/* ---- slow workers ---- */

static void note_pace(struct post *p, double seconds)
{
    p->pace[p->paces++ % PACES] = seconds;
}

/* How long a unit of this post may be out before an idle worker is asked too. */
static double patience(const struct post *p)
{
    static const double least = 5, factor = 3;
    double pace[PACES];
    int n = p->paces < PACES ? (int)p->paces : PACES;
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && pace[at - 1] > p->pace[i]; at--) pace[at] = pace[at - 1];
        pace[at] = p->pace[i];
    }
    return factor * pace[n / 2] > least ? factor * pace[n / 2] : least;
}

/* Its answers are pure, as far as anybody can say: it computes with a model as all of us do, to the bit. */
static bool is_pure(const struct worker *w)
{
    return strcmp(w->hello.math, "exact") == 0 &&
           !tr_core_is_learner((enum tr_role)w->hello.role);
}

/* The post's unit that has been out longest; NULL while one of it is out twice. */
static struct work *oldest(const struct tr_core *c, int64_t post)
{
    struct work *found = NULL;
    for (int64_t i = 0; i < c->workers; i++) {
        if (c->worker[i].post != post || !is_pure(&c->worker[i])) continue;
        for (struct work *k = c->worker[i].hand.first; k; k = k->after) {
            if (k->twice) return NULL;
            if (!found || k->given < found->given) found = k;
        }
    }
    return found;
}

static int64_t find_idle(const struct tr_core *c, const struct work *k)
{
    for (int64_t i = 0; i < c->workers; i++) {
        const struct worker *w = &c->worker[i];
        if (w->hand.n == 0 && w->strays == 0 && is_pure(w) && can_do(c, w, k)) return i;
    }
    return -1;
}

/* The unit changes hands, as after silence; the slow one may answer it still. */
static enum tr_status ask_post_twice(struct tr_core *c, struct post *p, struct work *k,
                                     struct tr_err *err)
{
    double out = c->now - k->given;
    int64_t at = out < patience(p) ? -1 : find_idle(c, k);
    struct worker *slow = &c->worker[k->worker];
    if (at < 0) return TR_OK;
    enum tr_status st =
        tr_core_note(c, &slow->hello, "slow", err,
                     "%s has had a %s for %.0f s; %s, which is idle, is asked too",
                     slow->hello.instance, tr_unit_kind_name(k->unit.kind), out,
                     c->worker[at].hello.instance);
    if (st != TR_OK) return st;
    tr_core_take_back(c, k);
    slow->strays++;
    k->twice = true;
    c->counts.asked_twice++;
    return give(c, k, at, err);
}

enum tr_status tr_core_ask_twice(struct tr_core *c, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < c->posts && st == TR_OK; i++) {
        struct post *p = &c->post[i];
        if (p->waiting.n > 0 || p->sent == 0 || p->paces < PACES_LEAST) continue;
        struct work *k = oldest(c, i);
        if (k) st = ask_post_twice(c, p, k, err);
    }
    return st;
}

/* ---- answers ---- */

static bool same_digests(const struct tr_digests *a, const struct tr_digests *b)
{
    if (a->n != b->n) return false;
    for (int64_t i = 0; i < a->n; i++)
        if (!tr_digest_equal(&a->at[i], &b->at[i])) return false;
    return true;
}

/* What is wrong with an answer to k, as TR_BADMSG. */
static enum tr_status check_answer(const struct work *k, const struct tr_content *answer,
                                   struct tr_err *err)
{
    char kind[32];
    struct tr_digests used;
    enum tr_status st = tr_content_head(answer, kind, &used, err);
    if (st == TR_OK && !same_digests(&used, &k->unit.needs))
        st = tr_err_set(err, TR_BADMSG, "%s was answered with other weights", kind);
    return st;
}

/* Every planner's tag of these twins is told. */
static enum tr_status tell_planner(struct tr_core *c, const struct work *k,
                                   const struct tr_content *answer, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (; k && st == TR_OK; k = k->twin)
        if (!k->replay) st = c->planner->answer(c->planner->self, c, k->tag, answer, err);
    return st;
}

static void remember(struct tr_core *c, const struct tr_digest *id,
                     const struct tr_digest *answer)
{
    c->past[c->pasts++ % PASTS] = (struct past){*id, *answer};
}

static enum tr_status keep(struct tr_core *c, const struct work *k,
                           const struct tr_message *m, const struct worker *w,
                           struct tr_err *err)
{
    struct tr_memo_entry e = {.unit = &k->unit,
                              .role = c->post[k->post].role,
                              .slot = c->post[k->post].slot,
                              .step = k->step,
                              .answer = &m->content,
                              .worker = w->hello.instance,
                              .queue_seconds = m->as.done.queue_seconds,
                              .compute_seconds = m->as.done.compute_seconds};
    if (!c->memo || k->unit.kind == TR_UNIT_SAVE)
        return TR_OK; /* a folder is no answer */
    c->dirty = true;
    return c->memo->keep(c->memo->self, &e, err);
}

static enum tr_status compare_replayed(struct tr_core *c, const struct worker *w,
                                       const struct work *k,
                                       const struct tr_digest *digest, struct tr_err *err)
{
    c->counts.replayed++;
    if (tr_digest_equal(digest, &k->replay_answer)) return TR_OK;
    c->counts.differences++;
    return tr_core_note(c, &w->hello, "differs", err,
                        "ALARM: a step that was learnt again gave another answer");
}

/* The answer is good: kept, told, and the unit forgotten. */
static enum tr_status accept(struct tr_core *c, int64_t at, struct work *k,
                             struct tr_message *m, struct tr_err *err)
{
    struct worker *w = &c->worker[at];
    struct tr_digest digest;
    bool learnt = k->unit.kind == TR_UNIT_LEARN;
    enum tr_status st = tr_content_digest(&m->content, &digest, err);
    if (st == TR_OK && learnt) st = tr_core_note_learnt(c, w, k, &m->content, err);
    if (st == TR_OK && k->replay) st = compare_replayed(c, w, k, &digest, err);
    /* A planner may commit a step with its last learn answer, which must lie behind it then. */
    if (st == TR_OK && learnt && !k->replay) st = keep(c, k, m, w, err);
    if (st == TR_OK) st = tell_planner(c, k, &m->content, err);
    if (st == TR_OK && !learnt) st = keep(c, k, m, w, err);
    if (st != TR_OK) return st;
    w->answered++;
    w->spoilt = 0;
    c->counts.answered++;
    remember(c, &k->unit.id, &digest);
    detach(&c->post[k->post].waiting, k);
    strike(c, k);
    c->post[k->post].saves -= k->unit.kind == TR_UNIT_SAVE;
    tr_core_free_work(k);
    return learnt ? tr_core_catch_up(c, at, err) : TR_OK;
}

static enum tr_status second_answer(struct tr_core *c, int64_t at,
                                    const struct tr_message *m, struct tr_err *err)
{
    struct tr_digest digest;
    int64_t n = c->pasts < PASTS ? c->pasts : PASTS;
    for (int64_t i = 0; i < n; i++) {
        if (!tr_digest_equal(&c->past[i].id, &m->as.done.id)) continue;
        enum tr_status st = tr_content_digest(&m->content, &digest, err);
        if (st != TR_OK) return st;
        c->counts.second_answers++;
        if (tr_digest_equal(&digest, &c->past[i].answer)) return TR_OK;
        c->counts.differences++;
        return tr_core_note(c, &c->worker[at].hello, "differs", err,
                            "ALARM: two answers to one unit differ, the second of %s",
                            c->worker[at].hello.instance);
    }
    c->counts.refused++;
    return tr_core_note(c, &c->worker[at].hello, "no good", err,
                        "%s answered a unit that nobody asked for",
                        c->worker[at].hello.instance);
}

/* It failed this unit, or its answer was no good. */
static void spoil(struct tr_core *c, int64_t at, struct work *k, const char *why)
{
    k->failed++;
    c->fault.id = k->unit.id;
    snprintf(c->fault.text, sizeof c->fault.text, "%.63s: %.180s",
             c->worker[at].hello.instance, why);
    let_rest(c, &c->worker[at]);
}

enum tr_status tr_core_hear_done(struct tr_core *c, int64_t at, struct tr_message *m,
                                 struct tr_err *err)
{
    struct tr_err why = {0};
    struct work *k = tr_core_find_work(c, &m->as.done.id);
    struct worker *w = &c->worker[at];
    bool own = k && k->state == WORK_SENT && k->worker == at;
    if (!own && w->strays > 0) w->strays--;
    if (!k) return second_answer(c, at, m, err);
    if (k->post != w->post) {
        c->counts.refused++;
        return tr_core_note(c, &w->hello, "no good", err,
                            "%s answered a %s, which is asked of others",
                            w->hello.instance, tr_unit_kind_name(k->unit.kind));
    }
    if (own) note_pace(&c->post[k->post], c->now - k->given);
    tr_core_take_back(c, k);
    enum tr_status st = check_answer(k, &m->content, &why);
    if (st == TR_OK) st = accept(c, at, k, m, &why);
    if (st == TR_BADMSG) {
        c->counts.refused++;
        spoil(c, at, k, why.text);
        return tr_core_note(c, &c->worker[at].hello, "no good", err, "%s: %s",
                            c->worker[at].hello.instance, why.text);
    }
    return st == TR_OK ? TR_OK : tr_err_set(err, st, "%s", why.text);
}

enum tr_status tr_core_hear_fail(struct tr_core *c, int64_t at, const struct tr_fail *f,
                                 struct tr_err *err)
{
    struct work *k = tr_core_find_work(c, &f->id);
    struct tr_message who = {.say = TR_SAY_WHO};
    if (!k || k->state != WORK_SENT || k->worker != at) {
        if (c->worker[at].strays > 0) c->worker[at].strays--;
        return TR_OK;
    }
    tr_core_take_back(c, k);
    spoil(c, at, k, f->text);
    if (!f->retryable)
        return tr_err_set(err, (enum tr_status)f->code, "%s: %s: %s",
                          c->worker[at].hello.instance, tr_unit_kind_name(k->unit.kind),
                          f->text);
    enum tr_status st = tr_core_note(
        c, &c->worker[at].hello, "failed", err, "%s: %s: %s; asking again",
        c->worker[at].hello.instance, tr_unit_kind_name(k->unit.kind), f->text);
    /* It does not hold what we think it does: let it say so, and give it nothing before. */
    if (st != TR_OK || f->code != TR_STALE) return st;
    c->worker[at].silent = true;
    return tr_core_send(c, c->worker[at].peer, &who, err);
}

/* A sign of life renews the deadlines of the units that it names, and of no others. */
void tr_core_hear_progress(struct tr_core *c, int64_t at, const struct tr_progress *p)
{
    c->worker[at].strays = p->in_hand.n;
    for (struct work *k = c->worker[at].hand.first; k; k = k->after)
        if (tr_digests_hold(&p->in_hand, &k->unit.id)) {
            k->deadline = c->now + c->set.silence_seconds;
            c->worker[at].strays--;
        }
}

/* Of one whose units have all gone to others, one by one: no deadline of its own is left. */
static enum tr_status check_bereft(struct tr_core *c, struct worker *w,
                                   struct tr_err *err)
{
    if (!w->here || w->silent || w->hand.n > 0 || w->strays == 0 ||
        c->now - w->heard < c->set.silence_seconds)
        return TR_OK;
    w->silent = true;
    return tr_core_note(c, &w->hello, "silent", err,
                        "%s has been silent for %.0f s; it is given nothing before it "
                        "speaks",
                        w->hello.instance, c->set.silence_seconds);
}

enum tr_status tr_core_check_silence(struct tr_core *c, struct tr_err *err)
{
    for (int64_t i = 0; i < c->workers; i++) {
        struct worker *w = &c->worker[i];
        struct work *next = NULL;
        enum tr_status st = check_bereft(c, w, err);
        if (st != TR_OK) return st;
        for (struct work *k = w->hand.last; k && w->here;
             k = next) { /* the order stays */
            next = k->before;
            if (c->now < k->deadline) continue;
            st = tr_core_note(c, &w->hello, "silent", err,
                              "%s has been silent for %.0f s; its %s goes to another",
                              w->hello.instance, c->set.silence_seconds,
                              tr_unit_kind_name(k->unit.kind));
            if (st != TR_OK) return st;
            if (c->now - w->heard >= c->set.silence_seconds) w->silent = true;
            tr_core_take_back(c, k);
            k->failed++;
        }
    }
    return TR_OK;
}

/* ---- answers that were kept ---- */

/* Of a learner's unit the chain has gone on too. Each may add units whose answers are known. */
enum tr_status tr_core_tell_known(struct tr_core *c, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    while (c->known.first && st == TR_OK) {
        struct work *k = c->known.first;
        detach(&c->known, k);
        c->counts.known++;
        if (k->unit.kind == TR_UNIT_LEARN)
            st = tr_core_note_learnt(c, NULL, k, &k->known, err);
        if (st == TR_OK) st = tell_planner(c, k, &k->known, err);
        if (st == TR_BADMSG)
            st = tr_err_set(err, TR_IO,
                            "a kept answer is no good; the journal is damaged");
        tr_core_free_work(k);
    }
    for (int64_t i = 0; i < c->workers && st == TR_OK; i++)
        if (c->worker[i].here) st = tr_core_catch_up(c, i, err);
    return st;
}

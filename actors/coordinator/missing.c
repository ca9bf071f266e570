/* missing.c - whom a run waits for: before it begins all posts' workers, and then whoever can do what waits. */
#include <stdio.h>

#include "actors/coordinator/core_parts.h"

/* ---- are all there? ---- */

bool tr_core_all_here(const struct tr_core *c)
{
    for (int64_t i = 0; i < c->posts; i++)
        if (c->post[i].open && tr_core_workers(c, i) < c->post[i].replicas) return false;
    return true;
}

/* Is it time to speak of a wait of so many seconds? After remind_seconds, then twice that, and so on. */
static bool time_to_tell(const struct tr_core *c, double waited, double *told)
{
    double next = *told > 0 ? 2 * *told : c->set.remind_seconds;
    if (c->set.remind_seconds <= 0 || waited < next) return false;
    *told = waited;
    return true;
}

/* What somebody of the post who does not hold this digest has instead, into text [120]: "" when there is nobody.
 * One that speaks says more than one that is silent. */
static void describe_present(const struct tr_core *c, int64_t post,
                             const struct tr_digest *needs, char *text)
{
    char digest[65];
    const struct worker *found = NULL;
    text[0] = 0;
    for (int64_t i = 0; i < c->workers; i++) {
        const struct worker *w = &c->worker[i];
        if (w->here && w->post == post && (!found || (found->silent && !w->silent)))
            found = w;
    }
    if (!found) return;
    tr_digest_text(&found->hello.holds.at[0], digest);
    if (tr_digests_hold(&found->hello.holds, needs))
        snprintf(text, 120, "%s is silent", found->hello.instance);
    else
        snprintf(text, 120, "%s holds %.16s", found->hello.instance,
                 found->hello.holds.n > 0 ? digest : "nothing");
}

/* "reward main (0 of 1; mine-2 holds 9a0c1f2e3d4c5b6a)": into text [256]. */
static void describe_unfilled(const struct tr_core *c, int64_t post, char *text)
{
    const struct post *p = &c->post[post];
    int64_t here = tr_core_workers(c, post);
    char name[128], present[120] = "", digest[65], wanted[32] = "";
    if (here == 0 && p->known) describe_present(c, post, &p->digest, present);
    tr_digest_text(&p->digest, digest);
    if (present[0]) snprintf(wanted, sizeof wanted, ", not %.16s", digest);
    snprintf(text, 256, "%s (%lld of %lld%s%s%s)", tr_core_post_text(p, name),
             (long long)here, (long long)p->replicas, present[0] ? "; " : "", present,
             wanted);
}

static enum tr_status check_joined(struct tr_core *c, struct tr_err *err)
{
    char missing[200] = "", post[256];
    size_t used = 0;
    double waited = c->now - c->born;
    bool over = waited >= c->set.join_seconds;
    if (!over && !time_to_tell(c, waited, &c->told_missing)) return TR_OK;
    for (int64_t i = 0; i < c->posts && used < sizeof missing; i++) {
        if (!c->post[i].open || tr_core_workers(c, i) >= c->post[i].replicas) continue;
        describe_unfilled(c, i, post);
        used += (size_t)snprintf(missing + used, sizeof missing - used, "%s %s",
                                 used ? "," : "", post);
    }
    if (over)
        return tr_err_set(err, TR_GONE, "after %.0f s these have not joined:%s",
                          c->set.join_seconds, missing);
    return tr_core_say(c, err,
                       "after %.0f s these have not joined:%s; the run ends after %.0f s "
                       "without them",
                       waited, missing, c->set.join_seconds);
}

/* ---- does work wait that nobody can do? ---- */

static bool is_missed(const struct tr_core *c, int64_t post)
{
    const struct post *p = &c->post[post];
    const struct work *k = p->waiting.first;
    if (!p->open || !k || p->sent > 0) return false;
    for (int over = 0; k && over < STEPPED_OVER; k = k->after, over++)
        for (int64_t i = 0; i < c->workers; i++)
            if (tr_core_fits(c, &c->worker[i], k)) return false;
    return true;
}

/* What the first unit that waits needs, and none of the post's holds. */
static struct tr_digest missed_digest(const struct tr_core *c, int64_t post)
{
    const struct tr_digests *needs = &c->post[post].waiting.first->unit.needs;
    for (int64_t i = 0; i < needs->n; i++) {
        bool held = false;
        for (int64_t k = 0; k < c->workers; k++)
            held = held || (c->worker[k].here && c->worker[k].post == post &&
                            tr_digests_hold(&c->worker[k].hello.holds, &needs->at[i]));
        if (!held) return needs->at[i];
    }
    return needs->at[0];
}

/* "they need 3fd30542fe3f61b1, and mine-2 holds 9a0c1f2e3d4c5b6a": into why [200]. */
static void describe_missed(const struct tr_core *c, int64_t post, char *why)
{
    struct tr_digest needs = missed_digest(c, post);
    char digest[65], present[120];
    tr_digest_text(&needs, digest);
    describe_present(c, post, &needs, present);
    snprintf(why, 200, "they need %.16s, and %s", digest,
             present[0] ? present : "nobody is here");
}

double tr_core_missed(const struct tr_core *c, int64_t post, char *why)
{
    const struct post *p = &c->post[post];
    if (p->absent_since <= 0 || p->waiting.n == 0) return 0;
    describe_missed(c, post, why);
    return c->now - p->absent_since;
}

static enum tr_status check_missed(struct tr_core *c, int64_t post, struct tr_err *err)
{
    struct post *p = &c->post[post];
    char name[128], why[200], end[64] = "";
    double waited = c->now - p->absent_since;
    bool over = c->set.absent_seconds > 0 && waited > c->set.absent_seconds;
    if (!over && !time_to_tell(c, waited, &p->told_absent)) return TR_OK;
    tr_core_post_text(p, name);
    describe_missed(c, post, why);
    if (over)
        return tr_err_set(err, TR_GONE,
                          "%s: %lld units have had nobody to do them for %.0f s; %s",
                          name, (long long)p->waiting.n, c->set.absent_seconds, why);
    if (c->set.absent_seconds > 0)
        snprintf(end, sizeof end, "; the run ends after %.0f s of that",
                 c->set.absent_seconds);
    return tr_core_say(c, err,
                       "%s: %lld units have had nobody to do them for %.0f s; %s%s", name,
                       (long long)p->waiting.n, waited, why, end);
}

/* A learner that has learnt what this run never asked for, as one that outlived a lost journal, waits for
 * ever. Sent away it is started again, from a snapshot. */
static enum tr_status check_estranged(struct tr_core *c, int64_t at, struct tr_err *err)
{
    static const double patience = 5;
    static const char why[] =
        "what it has learnt fits nothing that is asked here: it has to begin from a snapshot";
    struct worker *w = &c->worker[at];
    if (!w->here || !tr_core_is_learner(c->post[w->post].role) ||
        !tr_core_fits_nothing(c, w)) {
        w->estranged_since = 0;
        return TR_OK;
    }
    if (w->estranged_since <= 0) w->estranged_since = c->now;
    if (c->now < w->estranged_since + patience) return TR_OK;
    enum tr_status st = tr_core_leave(c, at, false, why, err);
    return st == TR_OK ? tr_core_turn_away(c, w->peer, why, err) : st;
}

enum tr_status tr_core_check_filled(struct tr_core *c, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    if (!c->started) return check_joined(c, err);
    for (int64_t i = 0; i < c->workers && st == TR_OK; i++)
        st = check_estranged(c, i, err);
    for (int64_t i = 0; i < c->posts && st == TR_OK; i++) {
        struct post *p = &c->post[i];
        if (!is_missed(c, i)) {
            p->absent_since = p->told_absent = 0;
        } else if (p->absent_since <= 0) {
            p->absent_since = c->now;
        } else {
            st = check_missed(c, i, err);
        }
    }
    return st;
}

/* chain.c - learners: the chain of their units, and one that is behind or ahead.
 *
 * A learner's state is named by its lineage: the digest it started from, or the id of the last
 * learn unit it did. The post's lineage is where the run is: what the next unit needs. A learner
 * may be
 *   there    its lineage is the post's: it gets what comes next;
 *   ahead    it did the next unit, whose answer was lost: it is asked again and repeats it;
 *   behind   it went back to a snapshot: the memo has the units from there on, and it is taught
 *            them again, one after the other. */
#include <stdlib.h>

#include "actors/coordinator/core_parts.h"
#include "proto/step3_learn.h"

struct tr_digest tr_core_lineage(const struct tr_core *c, int64_t post)
{
    return c->post[post].lineage;
}

void tr_core_set_lineage(struct tr_core *c, int64_t post, const struct tr_digest *lineage)
{
    c->post[post].lineage = *lineage;
    c->post[post].placed = true;
}

/* A learner's first digest is its lineage. The run goes on one unit at a time: a learner that is ahead
 * could do the unit after the next as well, but then the next one's answer would be lost for good. */
bool tr_core_can_learn(const struct tr_core *c, const struct worker *w,
                       const struct work *k)
{
    const struct tr_digest *at = &w->hello.holds.at[0], *needs = &k->unit.needs.at[0];
    if (!k->replay && !tr_digest_equal(&c->post[k->post].lineage, needs)) return false;
    if (tr_digest_equal(at, needs)) return true;
    return k->unit.kind == TR_UNIT_LEARN && tr_digest_equal(at, &k->unit.id);
}

enum tr_status tr_core_note_learnt(struct tr_core *c, struct worker *w,
                                   const struct work *k, const struct tr_content *answer,
                                   struct tr_err *err)
{
    struct tr_answer_learn a;
    int64_t unknown = 0;
    enum tr_status st =
        tr_content_decode(answer, &tr_answer_learn_record, &a, &unknown, err);
    if (st != TR_OK) return st;
    if (w) {
        w->hello.holds = tr_digests_one(&k->unit.id);
        if (a.weights.n == 1) w->hello.holds.at[w->hello.holds.n++] = a.weights.at[0];
    }
    if (!k->replay) tr_core_set_lineage(c, k->post, &k->unit.id);
    return TR_OK;
}

enum tr_status tr_core_catch_up(struct tr_core *c, int64_t at, struct tr_err *err)
{
    struct worker *w = &c->worker[at];
    struct post *p = &c->post[w->post];
    struct tr_digest lineage = w->hello.holds.at[0], answer;
    struct tr_unit unit = {0};
    struct work *k = NULL;
    if (!tr_core_is_learner(p->role) || !c->memo ||
        tr_digest_equal(&lineage, &p->lineage) || w->hand.n > 0)
        return TR_OK;
    enum tr_status st =
        c->memo->next_learn(c->memo->self, p->role, &lineage, &unit, &answer, err);
    if (st == TR_AGAIN) return TR_OK; /* it may be ahead: the next unit will show */
    if (st != TR_OK) return st;
    if (tr_core_find_work(c, &unit.id)) { /* waits already: it was asked of one before */
        tr_unit_fini(&unit);
        return TR_OK;
    }
    k = calloc(1, sizeof *k);
    if (!k) {
        tr_unit_fini(&unit);
        return tr_err_set(err, TR_NOMEM, "a unit");
    }
    *k = (struct work){.unit = unit,
                       .post = w->post,
                       .tag = -1,
                       .step = TR_MEMO_ALWAYS,
                       .state = WORK_WAITING,
                       .replay = true,
                       .replay_answer = answer};
    tr_core_put_work(c, k);
    return TR_OK;
}

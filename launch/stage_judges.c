/* KTO's judges: what is asked of the reference, some steps ahead because its answers never change, and
 * of the policy, for the step at hand. */
#include <stdlib.h>

#include "launch/stage_parts.h"

static const int64_t steps_ahead = 8; /* of the references */

static bool has_judges(const struct tr_stage_parts *p)
{
    return p->o->stage == TR_KTO;
}

enum tr_status tr_stage_judged(void *ctx, int64_t tag, const float *number, int64_t n,
                               struct tr_err *err)
{
    struct tr_stage_parts *p = ctx;
    struct tr_stage_asked *a = &p->asked[tag - 1];
    enum tr_status st =
        tr_stage_told(p->plan, a->judge, a->step, a->first, a->count, number, n, err);
    /* An answer that is no good leaves its question open: another worker is asked. */
    if (st == TR_OK) a->open = false;
    return st;
}

static enum tr_status new_ask(struct tr_stage_parts *p, int64_t *at, struct tr_err *err)
{
    for (*at = 0; *at < p->asks; ++*at)
        if (!p->asked[*at].open) return TR_OK;
    if (p->asks == p->ask_room) {
        int64_t room = p->ask_room ? 2 * p->ask_room : 64;
        struct tr_stage_asked *more = realloc(p->asked, (size_t)room * sizeof *more);
        if (!more) return tr_err_set(err, TR_NOMEM, "what judges were asked");
        p->asked = more;
        p->ask_room = room;
    }
    p->asks++;
    return TR_OK;
}

static enum tr_status ask(struct tr_stage_parts *p, enum tr_stage_judge judge,
                          int64_t step, int64_t first, int64_t count, struct tr_err *err)
{
    struct tr_stage_ask texts;
    int64_t at = 0;
    tr_stage_ask(p->plan, judge, step, first, count, &texts);
    if (texts.S == 0) return TR_OK; /* nothing of it was left by the cut */
    enum tr_status st = new_ask(p, &at, err);
    if (st != TR_OK) return st;
    p->asked[at] = (struct tr_stage_asked){
        .open = true, .judge = judge, .step = step, .first = first, .count = count};
    struct tr_ask_judge q = {.token = {texts.token, texts.T},
                             .start = {texts.start, texts.S + 1},
                             .from = {texts.from, texts.S}};
    enum tr_role role = judge == TR_STAGE_POLICY ? TR_ROLE_POLICY : TR_ROLE_REFERENCE;
    return tr_course_judge(p->course, role, &q, at + 1, err);
}

/* Each example is asked about once, however many steps it is in. */
static enum tr_status ask_reference(struct tr_stage_parts *p, int64_t step,
                                    struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int64_t n = tr_stage_width(p->plan, step);
    for (int64_t i = 0; i < n && st == TR_OK; i++) {
        bool *on_its_way = &p->on_its_way[tr_stage_example(p->plan, step, i)];
        if (*on_its_way || tr_stage_knows(p->plan, TR_STAGE_REFERENCE, step, i)) continue;
        *on_its_way = true;
        st = ask(p, TR_STAGE_REFERENCE, step, i, 1, err);
    }
    return st;
}

static enum tr_status ask_policy(struct tr_stage_parts *p, int64_t step,
                                 struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int64_t n = tr_stage_width(p->plan, step);
    for (int64_t i = 0; i < n && st == TR_OK; i++)
        if (!tr_stage_knows(p->plan, TR_STAGE_POLICY, step, i))
            st = ask(p, TR_STAGE_POLICY, step, i, 1, err);
    return st;
}

enum tr_status tr_stage_judge(struct tr_stage_parts *p, struct tr_err *err)
{
    if (!has_judges(p)) return TR_OK;
    int64_t step = tr_stage_progress(p->plan).step;
    enum tr_status st = TR_OK;
    if (!p->on_its_way) {
        size_t n = (size_t)tr_examples_count(p->examples);
        p->on_its_way = calloc(n, sizeof *p->on_its_way);
        if (!p->on_its_way) return tr_err_set(err, TR_NOMEM, "%zu examples", n);
    }
    for (int64_t s = step; s <= step + steps_ahead && st == TR_OK; s++)
        st = ask_reference(p, s, err);
    if (st == TR_OK) st = ask_policy(p, step, err);
    while (st == TR_OK && tr_stage_width(p->plan, step) > 0 && !tr_stage_ready(p->plan))
        st = tr_course_turn(p->course, err);
    return st;
}

void tr_stage_close_judges(struct tr_stage_parts *p)
{
    free(p->asked);
    free(p->on_its_way);
}

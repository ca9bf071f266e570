#include "actors/coordinator/plan_stage.h"

#include <stdlib.h>

enum { TAG_LEARN, TAG_SAVE };

struct tr_plan_stage {
    struct tr_stage_plan *stage; /* borrows */
    struct tr_stage_hooks hooks;
    struct tr_learn_task task; /* in hand; borrows from stage */
    struct tr_digest lineage;
    bool ended; /* the finished model was asked for */
    bool stopped, over;
};

enum tr_status tr_plan_stage_create(struct tr_stage_plan *stage,
                                    const struct tr_stage_hooks *hooks,
                                    struct tr_plan_stage **out, struct tr_err *err)
{
    struct tr_plan_stage *p = calloc(1, sizeof *p);
    *out = p;
    if (!p) return tr_err_set(err, TR_NOMEM, "the plan of a stage");
    p->stage = stage;
    p->hooks = *hooks;
    return TR_OK;
}

void tr_plan_stage_destroy(struct tr_plan_stage *p)
{
    free(p);
}

static enum tr_status ask_learn(struct tr_plan_stage *p, struct tr_core *core,
                                struct tr_err *err)
{
    struct tr_unit unit;
    struct tr_digests needs = tr_digests_one(&p->lineage);
    struct tr_ask_learn ask = tr_ask_learn_from(&p->task, false);
    enum tr_status st = tr_unit_make(&tr_ask_learn_record, &needs, &ask, &unit, err);
    if (st != TR_OK) return st;
    p->lineage = unit.id;
    return tr_core_add(core, TR_ROLE_POLICY, &unit, TAG_LEARN, err);
}

static enum tr_status ask_save(struct tr_plan_stage *p, struct tr_core *core,
                               const struct tr_stage_order *order, struct tr_err *err)
{
    struct tr_unit unit;
    struct tr_digests needs = tr_digests_one(&p->lineage);
    struct tr_ask_save ask = {.optimiser = order->optimiser};
    size_t n = sizeof ask.folder;
    for (size_t i = 0; i < n - 1 && order->folder[i]; i++)
        ask.folder[i] = order->folder[i];
    enum tr_status st = tr_unit_make(&tr_ask_save_record, &needs, &ask, &unit, err);
    if (st != TR_OK) return st;
    return tr_core_add(core, TR_ROLE_POLICY, &unit, TAG_SAVE, err);
}

/* The next step, or once there is none the finished model, or nothing more. */
static enum tr_status go_on(struct tr_plan_stage *p, struct tr_core *core,
                            struct tr_err *err)
{
    struct tr_stage_order order = {0};
    if (p->stopped || p->ended) {
        p->over = true;
        return TR_OK;
    }
    if (tr_stage_next(p->stage, &p->task)) return ask_learn(p, core, err);
    p->ended = true;
    enum tr_status st = p->hooks.ended(p->hooks.ctx, &order, err);
    if (st != TR_OK) return st;
    return order.save ? ask_save(p, core, &order, err) : go_on(p, core, err);
}

static enum tr_status start(void *self, struct tr_core *core, struct tr_err *err)
{
    struct tr_plan_stage *p = self;
    p->lineage = tr_core_digest(core, TR_ROLE_POLICY);
    return go_on(p, core, err);
}

static enum tr_status take_learnt(struct tr_plan_stage *p, struct tr_core *core,
                                  const struct tr_content *content, struct tr_err *err)
{
    struct tr_answer_learn a;
    struct tr_stage_order order = {0};
    int64_t unknown = 0;
    enum tr_status st =
        tr_content_decode(content, &tr_answer_learn_record, &a, &unknown, err);
    if (st != TR_OK) return st;
    struct tr_learn_result result = tr_answer_learn_result(&a);
    tr_stage_take(p->stage, &result);
    st = p->hooks.learnt(p->hooks.ctx, &p->task, &result, &order, err);
    if (st != TR_OK) return st;
    p->stopped = order.stop;
    return order.save ? ask_save(p, core, &order, err) : go_on(p, core, err);
}

static enum tr_status take_saved(struct tr_plan_stage *p, struct tr_core *core,
                                 const struct tr_content *content, struct tr_err *err)
{
    struct tr_answer_save a;
    int64_t unknown = 0;
    enum tr_status st =
        tr_content_decode(content, &tr_answer_save_record, &a, &unknown, err);
    if (st == TR_OK && a.weights.n != 1)
        st = tr_err_set(err, TR_BADMSG, "save: the digest of the weights is missing");
    if (st == TR_OK) st = p->hooks.saved(p->hooks.ctx, &a.weights.at[0], err);
    return st == TR_OK ? go_on(p, core, err) : st;
}

static enum tr_status answer(void *self, struct tr_core *core, int64_t tag,
                             const struct tr_content *content, struct tr_err *err)
{
    return tag == TAG_LEARN ? take_learnt(self, core, content, err)
                            : take_saved(self, core, content, err);
}

static bool finished(const void *self)
{
    const struct tr_plan_stage *p = self;
    return p->over;
}

struct tr_planner tr_plan_stage_planner(struct tr_plan_stage *p)
{
    return (struct tr_planner){
        .self = p, .start = start, .answer = answer, .finished = finished};
}

#include "actors/coordinator/plan_stage.h"

static enum tr_status start(void *self, struct tr_core *core, struct tr_err *err)
{
    struct tr_plan_stage *p = self;
    (void)err;
    p->post = tr_core_post(core, TR_ROLE_POLICY, "");
    p->lineage = tr_core_lineage(core, p->post);
    p->weights = tr_core_digest(core, p->post);
    p->started = true;
    p->answered = true;
    return TR_OK;
}

static enum tr_status take_judged(struct tr_plan_stage *p, int64_t tag,
                                  const struct tr_content *content, struct tr_err *err)
{
    struct tr_answer_judge a;
    int64_t unknown = 0;
    enum tr_status st =
        tr_content_decode(content, &tr_answer_logprob_record, &a, &unknown, err);
    if (st == TR_OK) st = tr_answer_judge_check(TR_UNIT_LOGPROB, &a, a.number.count, err);
    return st == TR_OK ? p->told(p->ctx, tag, a.number.at, a.number.count, err) : st;
}

static enum tr_status answer(void *self, struct tr_core *core, int64_t tag,
                             const struct tr_content *content, struct tr_err *err)
{
    struct tr_plan_stage *p = self;
    int64_t unknown = 0;
    (void)core;
    if (tag > 0) return take_judged(p, tag, content, err);
    bool learn = p->kind == TR_UNIT_LEARN;
    enum tr_status st = tr_content_decode(
        content, learn ? &tr_answer_learn_record : &tr_answer_save_record,
        learn ? (void *)&p->learnt : (void *)&p->saved, &unknown, err);
    if (st == TR_OK && !learn && p->want_digests &&
        (p->saved.weights.n != 1 || p->saved.state.n != 1))
        st = tr_err_set(err, TR_BADMSG, "save: the digests are missing");
    if (st != TR_OK) return st;
    p->lineage = p->next;
    p->answered = true;
    p->steps += learn;
    if (learn && p->learnt.weights.n == 1) p->weights = p->learnt.weights.at[0];
    return TR_OK;
}

static bool finished(const void *self)
{
    const struct tr_plan_stage *p = self;
    return p->closed;
}

static enum tr_status ask_owner(void *self, struct tr_core *core, const char *what,
                                const char *argument, struct tr_buf *reply,
                                struct tr_err *err)
{
    struct tr_plan_stage *p = self;
    if (p->ask) return p->ask(p->ctx, core, what, argument, reply, err);
    return tr_err_set(err, TR_BADARG, "this run answers no questions");
}

struct tr_planner tr_plan_stage_planner(struct tr_plan_stage *p)
{
    return (struct tr_planner){.self = p,
                               .start = start,
                               .answer = answer,
                               .finished = finished,
                               .ask = ask_owner};
}

static enum tr_status ask(struct tr_plan_stage *p, struct tr_core *core,
                          const struct tr_record *record, const void *payload,
                          struct tr_err *err)
{
    struct tr_unit unit;
    struct tr_digests needs = tr_digests_one(&p->lineage);
    enum tr_status st = tr_unit_make(record, &needs, payload, &unit, err);
    if (st != TR_OK) return st;
    p->kind = unit.kind;
    p->next = unit.kind == TR_UNIT_LEARN ? unit.id : p->lineage;
    p->answered = false;
    return tr_core_add(core, p->post, &unit, 0, TR_MEMO_ALWAYS, err);
}

enum tr_status tr_plan_stage_learn(struct tr_plan_stage *p, struct tr_core *core,
                                   const struct tr_learn_task *task, bool want_digest,
                                   struct tr_err *err)
{
    struct tr_ask_learn a = tr_ask_learn_from(task, want_digest);
    return ask(p, core, &tr_ask_learn_record, &a, err);
}

/* What the reference says is of use in later epochs, the policy's only until it learns. */
enum tr_status tr_plan_stage_judge(struct tr_plan_stage *p, struct tr_core *core,
                                   enum tr_role role, const struct tr_ask_judge *ask,
                                   int64_t tag, struct tr_err *err)
{
    bool policy = role == TR_ROLE_POLICY;
    int64_t post = tr_core_post(core, role, "");
    struct tr_unit unit;
    struct tr_digest digest = policy ? p->weights : tr_core_digest(core, post);
    struct tr_digests needs = tr_digests_one(&digest);
    enum tr_status st = tr_unit_make(&tr_ask_logprob_record, &needs, ask, &unit, err);
    if (st != TR_OK) return st;
    return tr_core_add(core, post, &unit, tag, policy ? p->steps + 1 : TR_MEMO_ALWAYS,
                       err);
}

enum tr_status tr_plan_stage_save(struct tr_plan_stage *p, struct tr_core *core,
                                  const struct tr_ask_save *a, struct tr_err *err)
{
    p->want_digests = a->want_digests;
    return ask(p, core, &tr_ask_save_record, a, err);
}

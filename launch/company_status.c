#include "launch/company_status.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"

static json_t *worker_json(const struct tr_core_worker *w, double now)
{
    double life = now - w->since;
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:I, s:I, s:I, s:f, s:f, s:f}",
                     "role", tr_role_name(w->role), "slot", w->slot, "instance",
                     w->instance, "isa", w->isa, "silent", w->silent, "idle", w->idle,
                     "busy", w->busy, "in_hand", (json_int_t)w->in_hand, "answered",
                     (json_int_t)w->answered, "threads", (json_int_t)w->threads,
                     "busy_seconds", w->busy_seconds, "busy_share",
                     life > 0 ? w->busy_seconds / life : 0.0, "since_seconds", life);
}

/* Posts where there are any. */
static json_t *queue_json(const struct tr_core *core, const struct tr_reward_set *set)
{
    json_t *list = json_array();
    for (int r = 0; r < TR_ROLES && list; r++) {
        int64_t slots = r != TR_ROLE_REWARD ? 1 : set ? set->n : 0;
        for (int64_t i = 0; i < slots; i++) {
            const char *slot = r == TR_ROLE_REWARD ? set->slot[i].name : "";
            int64_t post = tr_core_post(core, (enum tr_role)r, slot), waiting = 0,
                    sent = 0;
            if (post < 0) continue;
            tr_core_queue(core, post, &waiting, &sent);
            json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I}", "role",
                                                  tr_role_name((enum tr_role)r), "slot",
                                                  slot, "waiting", (json_int_t)waiting,
                                                  "sent", (json_int_t)sent));
        }
    }
    return list;
}

static json_t *counts_json(const struct tr_core *core)
{
    struct tr_core_counts n = tr_core_counts(core);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "units",
                     (json_int_t)n.units, "answered", (json_int_t)n.answered, "known",
                     (json_int_t)n.known, "asked_again", (json_int_t)n.reissued,
                     "second_answers", (json_int_t)n.second_answers, "differences",
                     (json_int_t)n.differences, "refused", (json_int_t)n.refused,
                     "replayed", (json_int_t)n.replayed);
}

json_t *tr_company_json(const struct tr_core *core, const struct tr_company_status *s,
                        double now)
{
    struct tr_core_worker w;
    json_t *workers = json_array();
    for (int64_t i = 0; workers && tr_core_see(core, i, &w); i++)
        if (w.here) json_array_append_new(workers, worker_json(&w, now));
    return json_pack("{s:s, s:s, s:b, s:I, s:I, s:f, s:f, s:f, s:o, s:o, s:o}", "run",
                     s->run, "stage", s->stage, "live", 1, "step", (json_int_t)s->step,
                     "steps", (json_int_t)s->steps, "seconds_a_step", s->seconds_a_step,
                     "tokens_per_second", s->tokens_per_second, "seconds_left",
                     s->seconds_left, "workers", workers, "queue",
                     queue_json(core, s->rewards), "counts", counts_json(core));
}

enum tr_status tr_company_reply(json_t *doc, struct tr_buf *reply, struct tr_err *err)
{
    char *text = doc ? tr_json_text(doc, 0) : NULL;
    json_decref(doc);
    if (!text) return tr_err_set(err, TR_NOMEM, "an answer");
    enum tr_status st = tr_buf_puts(reply, text, err);
    free(text);
    return st;
}

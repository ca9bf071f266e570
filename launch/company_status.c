#include "launch/company_status.h"

#include <stdio.h>
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
            char why[200] = "";
            if (post < 0) continue;
            tr_core_queue(core, post, &waiting, &sent);
            double missed = tr_core_missed(core, post, why);
            json_array_append_new(
                list, json_pack("{s:s, s:s, s:I, s:I, s:f, s:s}", "role",
                                tr_role_name((enum tr_role)r), "slot", slot, "waiting",
                                (json_int_t)waiting, "sent", (json_int_t)sent,
                                "missed_seconds", missed, "missed", why));
        }
    }
    return list;
}

static json_t *counts_json(const struct tr_core *core)
{
    struct tr_core_counts n = tr_core_counts(core);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "units",
                     (json_int_t)n.units, "answered", (json_int_t)n.answered, "known",
                     (json_int_t)n.known, "asked_again", (json_int_t)n.reissued,
                     "asked_twice", (json_int_t)n.asked_twice, "second_answers",
                     (json_int_t)n.second_answers, "differences",
                     (json_int_t)n.differences, "refused", (json_int_t)n.refused,
                     "replayed", (json_int_t)n.replayed);
}

/* ---- where the time went ---- */

void tr_company_note_busy(struct tr_company_times *t, const struct tr_core *core,
                          double now)
{
    double busy[TR_ROLES] = {0}, life[TR_ROLES] = {0};
    struct tr_core_worker w;
    for (int r = 0; r < TR_ROLES; r++) t->busy[r].workers = 0;
    for (int64_t i = 0; tr_core_see(core, i, &w); i++) {
        if (!w.here) continue;
        t->busy[w.role].workers++;
        busy[w.role] += w.busy_seconds;
        life[w.role] += now - w.since;
    }
    for (int r = 0; r < TR_ROLES; r++)
        t->busy[r].share = life[r] > 0 ? busy[r] / life[r] : 0;
}

static const char *const phase_name[] = {"generate", "judge", "learn"};
enum { PHASES = 3 };

static double phase_of(const struct tr_step_time *t, int phase)
{
    return phase == 0 ? t->generate : phase == 1 ? t->judge : t->learn;
}

/* Its length and, where a step does more than learn, its phases. */
static void put_step(json_t *to, const char *name, const struct tr_step_time *t,
                     int phases)
{
    char key[64];
    snprintf(key, sizeof key, "%s_seconds", name);
    json_object_set_new(to, key, json_real(tr_step_time_seconds(t)));
    for (int i = PHASES - phases; phases > 1 && i < PHASES; i++) {
        snprintf(key, sizeof key, "%s_seconds_%s", name, phase_name[i]);
        json_object_set_new(to, key, json_real(phase_of(t, i)));
    }
}

void tr_company_put_times(json_t *to, const struct tr_company_times *t)
{
    const struct tr_step_time mean = tr_step_times_mean(&t->steps);
    json_object_set_new(to, "steps_timed", json_integer((json_int_t)t->steps.steps));
    if (t->steps.steps > 0) {
        json_object_set_new(to, "step_seconds_median",
                            json_real(tr_step_times_median(&t->steps)));
        put_step(to, "step", &mean, t->phases);
    }
    for (int r = 0; r < TR_ROLES; r++) {
        char key[32];
        snprintf(key, sizeof key, "busy_share_%s", tr_role_name((enum tr_role)r));
        if (t->busy[r].workers > 0)
            json_object_set_new(to, key, json_real(t->busy[r].share));
    }
}

void tr_company_say_times(const struct tr_company_times *t, const struct tr_log *log)
{
    char busy[TR_ROLES * 40] = "", cut[160] = "";
    size_t used = 0;
    struct tr_step_time mean = tr_step_times_mean(&t->steps);
    double seconds = tr_step_time_seconds(&mean), all = seconds > 0 ? seconds : 1;
    if (t->steps.steps == 0) return;
    for (int i = PHASES - t->phases; t->phases > 1 && i < PHASES; i++)
        used += (size_t)snprintf(cut + used, sizeof cut - used, "%s %s %.3g s (%.0f %%)",
                                 used ? "," : ":", phase_name[i], phase_of(&mean, i),
                                 100 * phase_of(&mean, i) / all);
    tr_log_info(log, "%.3g s a step (median of %lld), mean %.3g s%s",
                tr_step_times_median(&t->steps), (long long)t->steps.steps, seconds, cut);
    used = 0;
    for (int r = 0; r < TR_ROLES && used < sizeof busy; r++)
        if (t->busy[r].workers > 0)
            used += (size_t)snprintf(busy + used, sizeof busy - used, "%s%s %.0f %%",
                                     used ? ", " : "", tr_role_name((enum tr_role)r),
                                     100 * t->busy[r].share);
    tr_log_info(log, "busy: %s", busy);
}

/* ---- as an answer ---- */

json_t *tr_company_json(const struct tr_core *core, const struct tr_company_status *s,
                        double now)
{
    struct tr_core_worker w;
    json_t *workers = json_array();
    for (int64_t i = 0; workers && tr_core_see(core, i, &w); i++)
        if (w.here) json_array_append_new(workers, worker_json(&w, now));
    json_t *doc = json_pack(
        "{s:s, s:s, s:b, s:I, s:I, s:f, s:f, s:f, s:o, s:o, s:o}", "run", s->run, "stage",
        s->stage, "live", 1, "step", (json_int_t)s->step, "steps", (json_int_t)s->steps,
        "seconds_a_step", s->seconds_a_step, "tokens_per_second", s->tokens_per_second,
        "seconds_left", s->seconds_left, "workers", workers, "queue",
        queue_json(core, s->rewards), "counts", counts_json(core));
    struct tr_company_times times = *s->times;
    tr_company_note_busy(&times, core, now);
    if (doc) tr_company_put_times(doc, &times);
    if (doc && times.steps.steps > 0)
        put_step(doc, "last_step", &times.steps.last, times.phases);
    return doc;
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

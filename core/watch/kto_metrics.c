#include "core/watch/kto_metrics.h"

#include "core/base/json.h"

void tr_kto_window_add(struct tr_kto_window *w, const struct tr_learn_result *r,
                       int64_t groups)
{
    double chosen = (double)r->chosen, rejected = (double)r->rejected;
    w->groups += groups;
    w->kl += r->kl * (double)groups;
    w->chosen += r->chosen;
    w->rejected += r->rejected;
    w->chosen_reward += r->chosen_reward * chosen;
    w->rejected_reward += r->rejected_reward * rejected;
    w->chosen_logp += r->chosen_logp * chosen;
    w->rejected_logp += r->rejected_logp * rejected;
}

static int put(json_t *m, const char *key, double sum, int64_t count)
{
    return json_object_set_new(m, key, json_real(sum / (double)count));
}

json_t *tr_kto_window_metrics(const struct tr_kto_window *w, bool compat)
{
    json_t *m = json_object();
    int bad = 0;
    if (w->chosen) {
        bad |= put(m, "rewards/chosen", w->chosen_reward, w->chosen);
        bad |= put(m, "logps/chosen", w->chosen_logp, w->chosen);
    }
    if (w->rejected) {
        bad |= put(m, "rewards/rejected", w->rejected_reward, w->rejected);
        bad |= put(m, "logps/rejected", w->rejected_logp, w->rejected);
    }
    if (w->chosen && w->rejected)
        bad |= put(m, "rewards/margins",
                   w->chosen_reward / (double)w->chosen -
                       w->rejected_reward / (double)w->rejected,
                   1);
    if (w->groups) bad |= put(m, "kl", w->kl, compat ? 1 : w->groups);
    if (!bad) return m;
    json_decref(m);
    return NULL;
}

json_t *tr_kto_window_state(const struct tr_kto_window *w)
{
    return json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f}", "groups",
                     (json_int_t)w->groups, "chosen", (json_int_t)w->chosen, "rejected",
                     (json_int_t)w->rejected, "kl", w->kl, "chosen_reward",
                     w->chosen_reward, "rejected_reward", w->rejected_reward,
                     "chosen_logp", w->chosen_logp, "rejected_logp", w->rejected_logp);
}

enum tr_status tr_kto_window_read(const json_t *state, const char *where,
                                  struct tr_kto_window *w, struct tr_err *err)
{
    const int64_t most = (int64_t)1 << 53;
    const struct {
        const char *key;
        double *to;
    } real[] = {{"kl", &w->kl},
                {"chosen_reward", &w->chosen_reward},
                {"rejected_reward", &w->rejected_reward},
                {"chosen_logp", &w->chosen_logp},
                {"rejected_logp", &w->rejected_logp}};
    enum tr_status st = tr_json_int(state, "groups", where, 0, most, &w->groups, err);
    if (st == TR_OK) st = tr_json_int(state, "chosen", where, 0, most, &w->chosen, err);
    if (st == TR_OK)
        st = tr_json_int(state, "rejected", where, 0, most, &w->rejected, err);
    for (size_t i = 0; i < sizeof real / sizeof *real && st == TR_OK; i++)
        st = tr_json_real(state, real[i].key, where, real[i].to, err);
    return st;
}

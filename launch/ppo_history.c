/* log_history of a PPO run, as trainer_state.json has it and the picture shows it. It is made at the end,
 * of what the journal has: kept in memory it would grow with the run, and a run that was stopped and went
 * on would have to be told what it had logged before. */
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "launch/ppo_parts.h"

static enum tr_status add(struct tr_ppo_parts *p, json_t *entry, struct tr_err *err)
{
    if (entry && json_array_append_new(p->history, entry) == 0) return TR_OK;
    return tr_err_set(err, TR_NOMEM, "log_history: no memory");
}

static enum tr_status add_step(struct tr_ppo_parts *p, const struct tr_journal_step *row,
                               struct tr_err *err)
{
    json_t *metrics = NULL;
    enum tr_status st =
        tr_json_parse(row->metrics, strlen(row->metrics), "metrics", &metrics, err);
    if (st != TR_OK) return st;
    struct tr_log_entry e = tr_ppo_log_entry(p, row->step, metrics);
    e.more = metrics;
    st = add(p, tr_trainer_log_history(&e), err);
    json_decref(metrics);
    return st;
}

/* Names of what was measured on held-out prompts begin with "eval_". */
static json_t *eval_entry(json_t *metrics, int64_t step)
{
    json_t *entry = json_object(), *value = NULL;
    const char *key = NULL;
    json_object_foreach(metrics, key, value)
    {
        char name[160];
        snprintf(name, sizeof name, "eval_%s", key);
        json_object_set(entry, name, value);
    }
    json_object_set(entry, "eval_reward", json_object_get(metrics, "env/reward_mean"));
    json_object_set_new(entry, "step", json_integer((json_int_t)step));
    return entry;
}

/* The evaluation after this step, if there was one. */
static enum tr_status add_eval(struct tr_ppo_parts *p, int64_t step, struct tr_err *err)
{
    char argument[64];
    struct tr_buf text;
    json_t *doc = NULL;
    tr_buf_init(&text, 4 << 20);
    snprintf(argument, sizeof argument, "{\"after\": %lld, \"count\": 1}",
             (long long)step - 1);
    enum tr_status st =
        tr_journal_report(p->journal, "evaluations", argument, &text, err);
    if (st == TR_OK) st = tr_json_parse(text.at, text.size, "evaluations", &doc, err);
    const json_t *first = json_array_get(json_object_get(doc, "evaluations"), 0);
    if (st == TR_OK && first &&
        json_integer_value(json_object_get(first, "step")) == step)
        st = add(p, eval_entry(json_object_get(first, "metrics"), step), err);
    json_decref(doc);
    tr_buf_fini(&text);
    return st;
}

enum tr_status tr_ppo_read_history(struct tr_ppo_parts *p, struct tr_err *err)
{
    struct tr_journal_step row = {.step = -1};
    enum tr_status st = tr_journal_step_after(p->journal, -1, &row, err);
    json_array_clear(p->history);
    while (st == TR_OK) {
        if (row.step > 0 && tr_ppo_logged(p, row.step)) st = add_step(p, &row, err);
        if (st == TR_OK && p->set.eval_every > 0) st = add_eval(p, row.step, err);
        if (st == TR_OK) st = tr_journal_step_after(p->journal, row.step, &row, err);
    }
    return st == TR_AGAIN ? TR_OK : st;
}

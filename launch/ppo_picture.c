/* The picture of a PPO run: rewards, KL and lengths over the steps, and what happened on the way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/watch/plot.h"
#include "launch/ppo_parts.h"

enum { CURVES = 32, EVENTS = 24, WORD = 80, REPORT_BYTES = 1 << 24 };

/* ---- curves ---- */

struct curves {
    struct tr_plot_curve curve[CURVES];
    char name[CURVES][TR_SLOT_BYTES + 16];
    double *owned[CURVES]; /* steps and values of a curve */
    int n;
};

static void free_curves(struct curves *c)
{
    for (int i = 0; i < c->n; i++) free(c->owned[i]);
}

/* One more curve when the history has the key. */
static void add_curve(struct curves *c, const json_t *history, const char *key,
                      const char *name, int colour)
{
    size_t most = json_array_size(history), i = 0;
    const json_t *entry = NULL;
    double *step = calloc(2 * most + 1, sizeof *step), *value = step + most;
    int64_t n = 0;
    if (!step) return;
    json_array_foreach(history, i, entry)
    {
        const json_t *found = json_object_get(entry, key);
        if (!json_is_number(found)) continue;
        step[n] = json_number_value(json_object_get(entry, "step"));
        value[n++] = json_number_value(found);
    }
    if (n == 0 || c->n == CURVES) {
        free(step);
        return;
    }
    c->owned[c->n] = step;
    snprintf(c->name[c->n], sizeof c->name[0], "%s", name);
    c->curve[c->n] = (struct tr_plot_curve){
        .name = c->name[c->n], .n = n, .step = step, .value = value, .colour = colour};
    c->n++;
}

/* Held-out prompts if there are any, else those that are learnt from: a curve a reward. */
static void add_slots(struct curves *c, const struct tr_ppo_parts *p)
{
    const struct tr_reward_set *set = tr_plan_ppo_rewards(p->plan);
    bool held = p->eval.at.count > 0 && p->set.eval_every > 0;
    for (int64_t k = 0; k < set->n && k < TR_PLOT_CURVES; k++) {
        char key[TR_SLOT_BYTES + 32];
        snprintf(key, sizeof key, "%sreward/%s", held ? "eval_" : "", set->slot[k].name);
        add_curve(c, p->history, key, set->slot[k].name, (int)k);
    }
}

/* ---- events ---- */

struct events {
    struct tr_plot_event at[EVENTS];
    char word[EVENTS][WORD];
    int n;
};

static json_t *ask(const struct tr_ppo_parts *p, const char *what, const char *argument)
{
    struct tr_buf text;
    tr_buf_init(&text, REPORT_BYTES);
    json_t *doc = NULL;
    if (tr_journal_report(p->journal, what, argument, &text, NULL) == TR_OK)
        doc = json_loads(tr_buf_text(&text), 0, NULL);
    tr_buf_fini(&text);
    return doc;
}

/* The step that was in the making then. */
static double step_of(const struct tr_ppo_parts *p, double when)
{
    struct tr_journal_step row = {.step = -1};
    while (tr_journal_step_after(p->journal, row.step, &row, NULL) == TR_OK)
        if (row.at >= when) break;
    return (double)row.step;
}

static void add_event(struct events *e, double step, const char *word)
{
    if (e->n == EVENTS) return;
    snprintf(e->word[e->n], WORD, "%s", word);
    e->at[e->n] = (struct tr_plot_event){.step = step, .word = e->word[e->n]};
    e->n++;
}

static void add_swaps(struct events *e, const struct tr_ppo_parts *p)
{
    json_t *doc = ask(p, "swaps", "");
    const json_t *swap = NULL;
    size_t i = 0;
    json_array_foreach(json_object_get(doc, "swaps"), i, swap)
    {
        const json_t *step = json_object_get(swap, "applied_step");
        const json_t *slots = json_object_get(swap, "slots");
        const char *name = json_string_value(json_object_get(slots, "name"));
        char word[WORD];
        snprintf(word, sizeof word, "swap %s", name ? name : "back");
        if (json_is_integer(step)) add_event(e, json_number_value(step), word);
    }
    json_decref(doc);
}

/* Processes that ended before the run did. */
static void add_falls(struct events *e, const struct tr_ppo_parts *p)
{
    json_t *doc = ask(p, "events", "{\"count\": 1000}");
    const json_t *event = NULL;
    size_t i = 0;
    json_array_foreach(json_object_get(doc, "events"), i, event)
    {
        const char *kind = json_string_value(json_object_get(event, "kind"));
        const char *who = json_string_value(json_object_get(event, "instance"));
        char word[WORD];
        if (!kind || !who || strcmp(kind, "fell") != 0) continue;
        snprintf(word, sizeof word, "%s fell", who);
        add_event(e, step_of(p, json_number_value(json_object_get(event, "at"))), word);
    }
    json_decref(doc);
}

/* ---- the picture ---- */

static enum tr_status draw(const struct tr_ppo_parts *p, struct curves *c,
                           struct events *e, struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    struct tr_panel panel[4] = {{.title = "reward, as it is learnt from"},
                                {.title = "what each reward says"},
                                {.title = "KL to the reference, nats an answer"},
                                {.title = "tokens an answer"}};
    static const char *const key[4][2] = {
        {"reward", "eval_reward"},
        {NULL, NULL},
        {"objective/kl", "eval_objective/kl"},
        {"tokens/responses_len_mean", "eval_tokens/responses_len_mean"}};
    for (int i = 0; i < 4; i++) {
        int first = c->n;
        if (key[i][0]) {
            add_curve(c, p->history, key[i][0], "training", 0);
            add_curve(c, p->history, key[i][1], "held out", 1);
        } else {
            add_slots(c, p);
        }
        panel[i].curve = &c->curve[first];
        panel[i].curves = c->n - first;
    }
    struct tr_plot plot = {.heading = p->o->output.dir,
                           .panel = panel,
                           .panels = 4,
                           .event = e->at,
                           .events = e->n};
    enum tr_status st =
        tr_path_join(path, sizeof path, p->o->output.dir, "training_reward.png", err);
    return st == TR_OK ? tr_plot_write(path, &plot, err) : st;
}

void tr_ppo_draw(const struct tr_ppo_parts *p)
{
    struct tr_err err = {0};
    struct curves *c = calloc(1, sizeof *c);
    struct events *e = calloc(1, sizeof *e);
    if (c && e && json_array_size(p->history) > 0) {
        add_swaps(e, p);
        add_falls(e, p);
        if (draw(p, c, e, &err) != TR_OK)
            tr_log_warn(p->watch->log, "no picture: %s", err.text);
    }
    if (c) free_curves(c);
    free(c);
    free(e);
}

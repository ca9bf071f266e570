/* F7: the learning rate of every step of a run, f64 on both sides. The peer's cosine is libm's, ours
 * our own; both are within an ulp or two, and near the end of a wave cos + 1 cancels, so the
 * tolerance is 1e-12 of the base rate. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/learn/schedule.h"
#include "tests/golden/golden.h"

static double number(const json_t *c, const char *key)
{
    return json_number_value(json_object_get(c, key));
}

static enum tr_status make(const json_t *c, struct tr_schedule *out, struct tr_err *err)
{
    const char *name = json_string_value(json_object_get(c, "scheduler"));
    const char *key = NULL;
    json_t *value = NULL;
    enum tr_status st = tr_schedule_named(name ? name : "", out, err);
    out->lr = number(c, "base_lr");
    out->total = (int64_t)number(c, "num_training_steps");
    out->warmup = tr_schedule_warmup((int64_t)number(c, "warmup_steps_arg"),
                                     number(c, "warmup_ratio"), out->total);
    json_object_foreach(json_object_get(c, "kwargs"), key, value)
    {
        if (st != TR_OK || json_is_null(value)) continue;
        if (json_is_string(value))
            st = tr_schedule_set_shape(out, key, json_string_value(value), err);
        else if (json_is_number(value))
            st = tr_schedule_set(out, key, json_number_value(value), err);
        else
            st = tr_err_set(err, TR_BADARG, "kwargs: %s: expected a number", key);
    }
    return st;
}

static void run_case(struct tr_golden *g, const char *name, const json_t *c)
{
    struct tr_schedule s;
    struct tr_err err = {0};
    size_t i = 0;
    const json_t *want = NULL;
    double worst = 0;
    if (make(c, &s, &err) != TR_OK) {
        tr_golden_fail(g, name, "%s", err.text);
        return;
    }
    double warmup = (double)s.warmup - number(c, "warmup_steps_used");
    if (warmup != 0) {
        tr_golden_fail(g, name, "%lld warm-up steps", (long long)s.warmup);
        return;
    }
    const json_t *used = json_object_get(c, "lr_used_at_step");
    json_array_foreach(used, i, want)
    {
        double e = fabs(tr_schedule_lr(&s, (int64_t)i) - json_number_value(want));
        worst = isnan(e) ? (double)INFINITY : fmax(worst, e);
    }
    const json_t *last = json_object_get(c, "lr_after_last");
    if (json_is_number(last))
        worst = fmax(worst, fabs(tr_schedule_lr(&s, s.total) - json_number_value(last)));
    if (json_array_size(used) == 0) worst = (double)INFINITY;
    tr_golden_case(g, name, worst / s.lr, 1e-12);
}

void tr_golden_f7(struct tr_golden *g, const char *part, const char *name)
{
    char path[4600];
    struct tr_err err = {0};
    json_t *doc = NULL;
    const json_t *c = NULL;
    size_t i = 0;
    snprintf(path, sizeof path, "%s/schedules.json", part);
    if (tr_json_load(path, 64U << 20U, &doc, &err) != TR_OK) {
        tr_golden_fail(g, name, "%s", err.text);
        return;
    }
    const json_t *cases = json_object_get(doc, "cases");
    if (!json_array_size(cases)) tr_golden_fail(g, name, "%s: no cases", path);
    json_array_foreach(cases, i, c)
    {
        char at[400];
        const char *scheduler = json_string_value(json_object_get(c, "scheduler"));
        snprintf(at, sizeof at, "%s/%s.%zu", name, scheduler ? scheduler : "?", i);
        if (!tr_golden_later(g, at)) run_case(g, at, c);
    }
    json_decref(doc);
}

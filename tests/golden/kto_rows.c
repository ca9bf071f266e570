#include "tests/golden/kto_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/text/render.h"
#include "tests/golden/steps.h"

/* One padded array [n, T]. */
struct padded {
    int64_t rows, T;
    int64_t *ids, *mask, *labels; /* own */
};

static bool read_padded(struct tr_golden *g, const char *name, const struct tr_st *f,
                        const char *prefix, struct padded *out)
{
    static const char *const what[3] = {"input_ids", "attention_mask", "labels"};
    int64_t *array[3] = {NULL, NULL, NULL};
    int64_t count[3] = {0};
    char key[64];
    for (int i = 0; i < 3; i++) {
        snprintf(key, sizeof key, "%s%s", prefix, what[i]);
        array[i] = tr_golden_ids(g, name, f, key, &count[i]);
    }
    snprintf(key, sizeof key, "%sinput_ids", prefix);
    const struct tr_st_tensor *t = tr_st_find(f, key);
    bool good = array[0] && array[1] && array[2] && t && t->rank == 2 &&
                count[1] == count[0] && count[2] == count[0];
    *out = (struct padded){good ? t->shape[0] : 0, good ? t->shape[1] : 0, array[0],
                           array[1], array[2]};
    return good;
}

static void free_padded(struct padded *p)
{
    free(p->ids);
    free(p->mask);
    free(p->labels);
}

/* Row r without its padding. id, label [T] */
static struct tr_sequence row(const struct padded *p, int64_t r, int32_t *id,
                              int32_t *label)
{
    struct tr_sequence s = {0, id, label};
    for (int64_t t = 0; t < p->T; t++) {
        int64_t at = r * p->T + t;
        if (!p->mask[at]) continue;
        id[s.count] = (int32_t)p->ids[at];
        label[s.count++] = (int32_t)p->labels[at];
    }
    return s;
}

static bool put_rows(struct tr_kto_rows *k, const struct padded *p, const int64_t *tags)
{
    enum { T = TR_KTO_TOKENS };
    int32_t *at = calloc(4 * T, sizeof *at);
    bool good = at && p[0].rows == p[1].rows && p[0].rows > 0 && p[0].T < T && p[1].T < T;
    for (int64_t r = 0; good && r < p[0].rows; r++) {
        const struct tr_sequence seq[2] = {row(&p[0], r, at, at + T),
                                           row(&p[1], r, at + 2 * T, at + 3 * T)};
        good = tr_examples_put(k->examples, 2, seq, NULL) == TR_OK;
        if (good) k->examples->at[r].desirable = tags[r] != 0;
    }
    free(at);
    k->n = p[0].rows;
    return good && k->n <= TR_KTO_ROWS;
}

static bool read_rows(struct tr_kto_rows *k, const char *batch)
{
    struct tr_st *f = NULL;
    struct tr_err err = {0};
    struct padded p[2] = {{0}, {0}};
    int64_t n = 0;
    k->examples = calloc(1, sizeof *k->examples);
    if (tr_st_open(batch, &f, &err) != TR_OK || !k->examples) {
        tr_golden_fail(k->g, k->name, "%s", err.text);
        return false;
    }
    int64_t *tags = tr_golden_ids(k->g, k->name, f, "kto_tags", &n);
    bool good = tags && read_padded(k->g, k->name, f, "", &p[0]) &&
                read_padded(k->g, k->name, f, "kl_", &p[1]) && n == p[0].rows &&
                put_rows(k, p, tags);
    if (!good)
        tr_golden_fail(k->g, k->name, "%s: rows, twins and marks do not agree", batch);
    free_padded(&p[0]);
    free_padded(&p[1]);
    free(tags);
    tr_st_close(f);
    return good;
}

static double setting(const json_t *config, const char *key, double otherwise)
{
    const json_t *v = json_object_get(config, key);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

static enum tr_status open_models(struct tr_kto_rows *k, const char *dir,
                                  struct tr_err *err)
{
    char path[4600];
    struct tr_model_start frozen = {.folder = path, .lm_head = true};
    snprintf(path, sizeof path, "%s/policy", dir);
    k->policy = tr_steps_open(k->g, k->name, path, false, TR_KTO_TOKENS, TR_KTO_ROWS);
    if (!k->policy) return tr_err_set(err, TR_BADARG, "no policy");
    snprintf(path, sizeof path, "%s/reference", dir);
    enum tr_status st = tr_model_load(k->g->ex, &frozen, &k->reference, err);
    if (st == TR_OK)
        st = tr_evaluator_create(k->g->ex, k->reference.weights, TR_KTO_TOKENS,
                                 &k->judge[TR_STAGE_REFERENCE], err);
    if (st == TR_OK)
        st = tr_evaluator_create(k->g->ex, tr_learner_weights(k->policy), TR_KTO_TOKENS,
                                 &k->judge[TR_STAGE_POLICY], err);
    return st;
}

/* Asks a judge everything about the one step. */
static enum tr_status tell(struct tr_kto_rows *k, enum tr_stage_judge judge,
                           struct tr_err *err)
{
    struct tr_stage_ask ask;
    tr_stage_ask(k->plan, judge, 0, 0, k->n, &ask);
    struct tr_ask_judge a = {
        {ask.token, ask.T}, {ask.start, ask.S + 1}, {ask.from, ask.S}};
    float *number = malloc((size_t)(ask.numbers + 1) * sizeof *number);
    if (!number) return tr_err_set(err, TR_NOMEM, "log-probs");
    enum tr_status st = tr_ask_judge_check(&a, 0, err);
    if (st == TR_OK)
        st = tr_evaluator_judge(k->judge[judge], TR_UNIT_LOGPROB, &a, number, err);
    if (st == TR_OK)
        st = tr_stage_told(k->plan, judge, 0, 0, k->n, number, ask.numbers, err);
    free(number);
    return st;
}

static enum tr_status make_task(struct tr_kto_rows *k, struct tr_err *err)
{
    struct tr_stage_options o = {
        .stage = TR_KTO,
        .plan = {.batch = k->n, .accumulation = 1, .max_steps = 1, .epochs = 1},
        .kto = k->kto,
    };
    enum tr_status st = tr_schedule_named("constant", &o.schedule, err);
    if (st == TR_OK) st = tr_stage_create(&o, k->examples, &k->plan, err);
    if (st == TR_OK) st = tell(k, TR_STAGE_REFERENCE, err);
    if (st == TR_OK) st = tell(k, TR_STAGE_POLICY, err);
    if (st == TR_OK && !(tr_stage_ready(k->plan) && tr_stage_next(k->plan, &k->task)))
        st = tr_err_set(err, TR_BADARG, "no task");
    return st;
}

bool tr_kto_rows_open(struct tr_golden *g, const char *name, const char *dir,
                      const char *batch, const json_t *config, struct tr_kto_rows *out)
{
    struct tr_err err = {0};
    *out = (struct tr_kto_rows){.g = g, .name = name};
    out->kto = (struct tr_kto){
        .beta = setting(config, "pref_beta", 0.1),
        .desirable_weight = setting(config, "kto_chosen_weight", 1),
        .undesirable_weight = setting(config, "kto_rejected_weight", 1),
        .ftx = setting(config, "pref_ftx", 0),
    };
    if (!read_rows(out, batch)) return false;
    enum tr_status st = open_models(out, dir, &err);
    if (st == TR_OK) st = make_task(out, &err);
    if (st != TR_OK) tr_golden_fail(g, name, "%s", err.text);
    return st == TR_OK;
}

void tr_kto_rows_close(struct tr_kto_rows *k)
{
    tr_evaluator_destroy(k->judge[0]);
    tr_evaluator_destroy(k->judge[1]);
    tr_model_close(&k->reference);
    tr_learner_close(k->policy);
    tr_stage_destroy(k->plan);
    tr_examples_destroy(k->examples);
}

/* The labels of one sequence, all of which its answer is. */
static bool sum_of(const struct tr_kto_rows *k, enum tr_stage_judge judge,
                   const struct tr_sequence *s, double *out)
{
    const int64_t start[2] = {0, s->count};
    int64_t from = 1;
    float number[TR_KTO_TOKENS];
    while (from < s->count && s->label[from] == TR_IGNORE) from++;
    struct tr_ask_judge ask = {{s->id, s->count}, {start, 2}, {&from, 1}};
    *out = 0;
    if (from == s->count) return true;
    if (tr_evaluator_judge(k->judge[judge], TR_UNIT_LOGPROB, &ask, number, NULL) != TR_OK)
        return false;
    for (int64_t i = from; i < s->count; i++) *out += (double)number[i - from];
    return true;
}

bool tr_kto_rows_sums(const struct tr_kto_rows *k, enum tr_stage_judge judge, int seq,
                      double *out)
{
    bool good = true;
    for (int64_t i = 0; i < k->n && good; i++)
        good = sum_of(k, judge, &tr_examples_get(k->examples, i)->seq[seq], &out[i]);
    if (!good) tr_golden_fail(k->g, k->name, "log-probs could not be computed");
    return good;
}

void tr_kto_rows_case(const struct tr_kto_rows *k, const char *what, int mark,
                      const double *got, const json_t *want, double tolerance)
{
    char at[600];
    double worst = 0;
    size_t count = 0;
    for (int64_t i = 0; i < k->n; i++) {
        if (mark >= 0 && tr_examples_get(k->examples, i)->desirable != mark) continue;
        const json_t *w = json_array_get(want, count++);
        double e = fabs(got[i] - json_number_value(w));
        worst = fmax(worst, json_is_number(w) && !isnan(e) ? e : (double)INFINITY);
    }
    if (json_array_size(want) != count) worst = (double)INFINITY;
    snprintf(at, sizeof at, "%s/%s", k->name, what);
    tr_golden_case(k->g, at, worst, tolerance);
}

void tr_kto_rows_examples(const struct tr_kto_rows *k, const double *policy,
                          const double *reference, double *reward, double *loss)
{
    double slope;
    for (int64_t i = 0; i < k->n; i++) {
        bool mark = tr_examples_get(k->examples, i)->desirable;
        double u = policy[i] - reference[i];
        reward[i] = k->kto.beta * u;
        loss[i] = tr_kto_loss(&k->kto, k->task.seq.z0[0], mark, u, &slope);
    }
}

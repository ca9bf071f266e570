/* F9: whole runs of the peer's command line. The same train.yaml goes through our options, plan,
 * learner and logs under `compat: llamafactory-0.9.3`; then log_history and the final weights are
 * compared. What LoRA and DPO need is in the table of later cases.
 *
 * Tolerances. The log rounds a loss to 4 decimals, so two losses that differ in the 7th digit may be
 * 1e-4 apart: 1.01e-4. Rates are f64 formulas: rel 1e-12; epochs abs 1e-12. Gradient norms: f32 in another
 * order over steps that drift apart, rel 1e-4. KTO: mean log-probs rel 1e-4; rewards are beta 0.1 times
 * differences of sums near 400, where f32 is good for 3e-5: abs 1e-4; kl is the sum of a few means
 * of such differences (the peer's micro-batches of a step): abs 1e-3. Weights: 2e-5 a step in the 99.9 % quantile and 5e-4 at most
 * (AdamW's first steps are close to a sign function, so an entry with a tiny gradient may
 * flip); checksums 1e-4 of a tensor's absolute sum. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/base/yaml.h"
#include "launch/stage_run.h"
#include "tests/golden/steps.h"

enum { TR_F9_SETTINGS = 12, TR_F9_PATH = 4600 };

struct f9 {
    struct tr_golden *g;

    char name[400]; /* F9/given/sft_full */
    char dir[TR_F9_PATH];
    char out[64]; /* where our run writes */
    char text[TR_F9_SETTINGS][TR_F9_PATH + 64];
    char *setting[TR_F9_SETTINGS]; /* each is its text */
    int settings;
};

static void add_setting(struct f9 *x, const char *key, const char *root, const char *rest)
{
    if (x->settings == TR_F9_SETTINGS) return;
    char *text = x->text[x->settings];
    snprintf(text, sizeof x->text[0], "%s=%s%s", key, root, rest);
    x->setting[x->settings++] = text;
}

/* Paths of the file as they are here. */
static void settle_paths(struct f9 *x, json_t *yaml)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(yaml, key, value)
    {
        const char *text = json_string_value(value);
        if (text && !strncmp(text, "fixtures/", 9))
            add_setting(x, key, x->g->dir, text + 8);
    }
    add_setting(x, "dataset_dir", x->g->data, "");
    add_setting(x, "output_dir", x->out, "");
    add_setting(x, "compat", "llamafactory-0.9.3", "");
}

static json_t *load(struct f9 *x, const char *dir, const char *file)
{
    char path[TR_F9_PATH + 64];
    struct tr_err err = {0};
    json_t *doc = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (tr_json_load(path, 64U << 20U, &doc, &err) != TR_OK)
        tr_golden_fail(x->g, x->name, "%s", err.text);
    return doc;
}

static double number(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

/* Has an entry of the log this field? */
static bool is_logged(const json_t *log, const char *key)
{
    for (size_t i = 0; i < json_array_size(log); i++)
        if (json_object_get(json_array_get(log, i), key)) return true;
    return false;
}

/* The largest difference of one field over all logged steps, relative to the wanted value or not.
 * A step, or a field, that is missing on one side alone is infinitely far. */
static double field_error(const json_t *got, const json_t *want, const char *key,
                          bool relative)
{
    double worst = 0;
    for (size_t i = 0; i < json_array_size(want); i++) {
        const json_t *entry = json_array_get(want, i);
        if (!json_object_get(entry, key)) {
            if (json_object_get(json_array_get(got, i), key)) return (double)INFINITY;
            continue;
        }
        double w = number(entry, key);
        double e = fabs(number(json_array_get(got, i), key) - w);
        if (relative && w != 0) e /= fabs(w);
        worst = isnan(e) ? (double)INFINITY : fmax(worst, e);
    }
    return json_array_size(got) == json_array_size(want) ? worst : (double)INFINITY;
}

static void compare_logs(struct f9 *x, const json_t *got, const json_t *want)
{
    static const struct {
        const char *key;
        bool relative;
        double tolerance;
    } field[] = {
        {"step", false, 0},
        {"loss", false, 1.01e-4},
        {"grad_norm", true, 1e-4},
        {"learning_rate", true, 1e-12},
        {"epoch", false, 1e-12},
        {"train_loss", false, 1e-4},
        {"rewards/chosen", false, 1e-4},
        {"rewards/rejected", false, 1e-4},
        {"rewards/margins", false, 1e-4},
        {"logps/chosen", true, 1e-4},
        {"logps/rejected", true, 1e-4},
        {"kl", false, 1e-3},
    };
    for (size_t i = 0; i < sizeof field / sizeof *field; i++) {
        char at[500];
        if (!is_logged(want, field[i].key) && !is_logged(got, field[i].key)) continue;
        snprintf(at, sizeof at, "%s/%s", x->name, field[i].key);
        tr_golden_case(x->g, at, field_error(got, want, field[i].key, field[i].relative),
                       field[i].tolerance);
    }
}

static void compare_weights(struct f9 *x, const json_t *expected, size_t steps)
{
    char path[TR_F9_PATH + 64];
    char at[500];
    json_t *sums = json_object_get(expected, "final_checksums");
    struct tr_learner *l = tr_steps_open(x->g, x->name, x->out, false, 64, 1);
    if (!l) return;
    const float *master = tr_learner_state(l).master;
    snprintf(at, sizeof at, "%s/checksums", x->name);
    if (json_is_object(sums)) tr_steps_checksums(x->g, at, l, master, sums, 1e-4);
    snprintf(path, sizeof path, "%s/final.safetensors", x->dir);
    snprintf(at, sizeof at, "%s/weights", x->name);
    if (tr_path_exists(path))
        tr_steps_compare(x->g, at, l, master, path, 1, 2e-5 * (double)steps, 5e-4, false);
    tr_learner_close(l);
}

static enum tr_status run(struct f9 *x, const char *yaml_path, struct tr_err *err)
{
    struct tr_options o;
    struct tr_buf notes;
    struct tr_stage_outcome outcome;
    const struct tr_log quiet = {.name = "golden", .fd = 2, .level = TR_LOG_QUIET};
    const struct tr_stage_watch watch = {
        .log = &quiet, .progress_fd = -1, .stop_fd = -1, .joining = {.staff = true}};
    tr_buf_init(&notes, 1 << 16);
    enum tr_status st =
        tr_options_load(yaml_path, x->setting, x->settings, &o, &notes, err);
    if (st == TR_OK) {
        st = tr_stage_run(&o, x->g->ex, &watch, &outcome, err);
        tr_options_fini(&o);
    }
    tr_buf_fini(&notes);
    return st;
}

static void compare(struct f9 *x)
{
    json_t *expected = load(x, x->dir, "expected.json");
    json_t *state = expected ? load(x, x->out, "trainer_state.json") : NULL;
    if (state) {
        const json_t *want = json_object_get(expected, "log_history");
        size_t entries = json_array_size(want);
        compare_logs(x, json_object_get(state, "log_history"), want);
        compare_weights(x, expected, entries > 1 ? entries - 1 : 1);
    }
    json_decref(state);
    json_decref(expected);
}

static void run_case(struct f9 *x)
{
    char yaml_path[TR_F9_PATH + 64];
    struct tr_err err = {0};
    json_t *yaml = NULL;
    snprintf(yaml_path, sizeof yaml_path, "%s/train.yaml", x->dir);
    snprintf(x->out, sizeof x->out, "/tmp/troupe-golden-XXXXXX");
    if (!mkdtemp(x->out)) {
        tr_golden_fail(x->g, x->name, "%s: cannot be made", x->out);
        return;
    }
    enum tr_status st = tr_yaml_load(yaml_path, &yaml, &err);
    if (st == TR_OK) {
        settle_paths(x, yaml);
        st = run(x, yaml_path, &err);
    }
    if (st == TR_OK)
        compare(x);
    else
        tr_golden_fail(x->g, x->name, "%s", err.text);
    json_decref(yaml);
    tr_dir_remove(x->out, NULL);
}

/* Every folder with a train.yaml is a run; the others are models and adapters that runs use. */
void tr_golden_f9(struct tr_golden *g, const char *part, const char *name)
{
    struct dirent **e = NULL;
    int n = scandir(part, &e, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char path[TR_F9_PATH + 300];
        struct f9 x = {.g = g};
        snprintf(x.name, sizeof x.name, "%s/%s", name, e[i]->d_name);
        snprintf(x.dir, sizeof x.dir, "%s/%s", part, e[i]->d_name);
        bool hidden = e[i]->d_name[0] == '.';
        free(e[i]);
        snprintf(path, sizeof path, "%s/train.yaml", x.dir);
        if (hidden || !tr_path_exists(path) || tr_golden_later(g, x.name)) continue;
        run_case(&x);
    }
    free(e);
}

/* f3.c - family F3, the data pipeline: datasets to rows of ids and labels, exactly.
 *
 * A file holds `config` (arguments of the peer), the rows that the peer made of it
 * (`columns`: the first ones; n_rows_total), and what its collator made of the first four. Our
 * trainer never pads, so the padded arrays are built here, from our rows: on the right to a multiple of 8
 * (pt: to the longest), ppo's on the left. Pairs share a width and have all chosen rows first; every
 * other column is as wide as its own rows. templates.json holds
 * fixed conversations for many templates. The error of a case is the number of entries that
 * differ. Everything runs with compat: the numbers are the peer's. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/text/dataset.h"
#include "core/text/examples.h"
#include "core/text/template.h"
#include "tests/golden/golden.h"

enum { PATH = 4096, NAME = 1024, KIND = NAME + 128, LIMIT = 1 << 30 };

enum content { IDS, LABELS, ONES, ZEROS, MARKS };

static const struct column {
    const char *name;
    enum content content;
    int seq; /* which sequence of the example */
} columns[] = {
    {"input_ids", IDS, 0},
    {"labels", LABELS, 0},
    {"attention_mask", ONES, 0},
    {"token_type_ids", ZEROS, 0},
    {"chosen_input_ids", IDS, 0},
    {"chosen_labels", LABELS, 0},
    {"chosen_attention_mask", ONES, 0},
    {"rejected_input_ids", IDS, 1},
    {"rejected_labels", LABELS, 1},
    {"rejected_attention_mask", ONES, 1},
    {"kl_input_ids", IDS, 1},
    {"kl_labels", LABELS, 1},
    {"kl_attention_mask", ONES, 1},
    {"kto_tags", MARKS, 0},
};

static const struct column *find_column(const char *name, enum tr_stage stage)
{
    static const struct column answers = {"labels", LABELS, 1}; /* beside prompts */
    if (stage == TR_PPO && strcmp(name, answers.name) == 0) return &answers;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        if (strcmp(columns[i].name, name) == 0) return &columns[i];
    return NULL;
}

/* Entry i of a sequence that is padded on the right. */
static int64_t entry(enum content what, const struct tr_sequence *s, int64_t i,
                     int32_t pad)
{
    bool in = i < s->count;
    switch (what) {
    case IDS:
        return in ? s->id[i] : pad;
    case LABELS:
        return in ? s->label[i] : TR_IGNORE;
    case ONES:
        return in;
    case ZEROS:
    case MARKS:
        break;
    }
    return 0;
}

/* A number of the file, where a mark may also be true or false. */
static int64_t wanted(const json_t *v)
{
    return json_is_boolean(v) ? json_is_true(v) : json_integer_value(v);
}

static int64_t check_row(const struct column *c, const struct tr_sequence *s,
                         const json_t *want)
{
    int64_t n = (int64_t)json_array_size(want);
    int64_t wrong = n > s->count ? n - s->count : s->count - n;
    for (int64_t i = 0; i < n && i < s->count; i++)
        if (json_integer_value(json_array_get(want, (size_t)i)) !=
            entry(c->content, s, i, 0))
            wrong++;
    return wrong;
}

/* Entries that differ in one column; a mask of all ones is written as a sentence. */
static int64_t check_column(const struct column *c, const struct tr_examples *e,
                            const json_t *want)
{
    const char *text = json_string_value(want);
    if (text && c->content == ONES) return strncmp(text, "all ones", 8) != 0;
    size_t n = json_array_size(want);
    if (n == 0 || (int64_t)n > tr_examples_count(e)) return 1;
    int64_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        const struct tr_example *x = tr_examples_get(e, (int64_t)i);
        if (c->content == MARKS)
            wrong += wanted(json_array_get(want, i)) != x->desirable;
        else if (c->seq < x->n)
            wrong += check_row(c, &x->seq[c->seq], json_array_get(want, i));
        else
            wrong++;
    }
    return wrong;
}

struct case_of {
    struct tr_golden *g;
    const char *name;
    const struct tr_examples *e;
    struct tr_special special;
    enum tr_stage stage;
};

static void check_columns(const struct case_of *c, json_t *want)
{
    const char *key;
    json_t *list;
    char name[KIND];
    int64_t wrong = 0;
    json_object_foreach(want, key, list)
    {
        const struct column *col = find_column(key, c->stage);
        if (!col) {
            tr_golden_fail(c->g, c->name, "column %s is not understood", key);
            return;
        }
        wrong += check_column(col, c->e, list);
    }
    snprintf(name, sizeof name, "%s columns", c->name);
    tr_golden_case(c->g, name, json_object_size(want) ? (double)wrong : 1, 0);
}

/* Row r of a collated array, or NULL. */
static const struct tr_sequence *row_of(const struct case_of *c, const struct column *col,
                                        int64_t rows, int64_t r)
{
    bool pairs = c->stage == TR_RM || c->stage == TR_DPO;
    int64_t batch = pairs ? rows / 2 : rows;
    if (batch < 1 || r >= (pairs ? 2 * batch : batch)) return NULL;
    if (r % batch >= tr_examples_count(c->e)) return NULL;
    const struct tr_example *x = tr_examples_get(c->e, r % batch);
    int k = pairs ? (int)(r / batch) : col->seq;
    return k < x->n ? &x->seq[k] : NULL;
}

static int64_t width_of(const struct case_of *c, const struct column *col, int64_t rows)
{
    int64_t T = 0;
    for (int64_t r = 0; r < rows; r++) {
        const struct tr_sequence *s = row_of(c, col, rows, r);
        if (s && s->count > T) T = s->count;
    }
    return c->stage == TR_PT || c->stage == TR_PPO ? T : (T + 7) / 8 * 8;
}

static int64_t check_marks_of(const struct case_of *c, const json_t *value)
{
    int64_t wrong = json_array_size(value) == 0;
    for (size_t r = 0; r < json_array_size(value); r++)
        wrong += (int64_t)r >= tr_examples_count(c->e) ||
                 wanted(json_array_get(value, r)) !=
                     tr_examples_get(c->e, (int64_t)r)->desirable;
    return wrong;
}

/* One collated array, [rows, T]. */
static int64_t check_array(const struct case_of *c, const struct column *col,
                           const json_t *want)
{
    const json_t *value = json_object_get(want, "values");
    const json_t *shape = json_object_get(want, "shape");
    int64_t rows = json_integer_value(json_array_get(shape, 0));
    int64_t T = json_integer_value(json_array_get(shape, 1));
    if (col->content == MARKS) return check_marks_of(c, value);
    int64_t wrong = width_of(c, col, rows) != T;
    if (json_array_size(shape) != 2 || (int64_t)json_array_size(value) != rows * T)
        return 1;
    for (int64_t r = 0; r < rows; r++) {
        const struct tr_sequence *s = row_of(c, col, rows, r);
        if (!s) return wrong + 1;
        int64_t left = c->stage == TR_PPO ? T - s->count : 0;
        for (int64_t i = 0; i < T; i++) {
            int64_t at = i >= left ? i - left : s->count; /* in the padding */
            int64_t v = json_integer_value(json_array_get(value, (size_t)(r * T + i)));
            wrong += v != entry(col->content, s, at, c->special.pad);
        }
    }
    return wrong;
}

static void check_collated(const struct case_of *c, json_t *want)
{
    const char *key;
    json_t *array;
    char name[KIND];
    int64_t wrong = 0;
    json_object_foreach(want, key, array)
    {
        const struct column *col = find_column(key, c->stage);
        if (!col) {
            tr_golden_fail(c->g, c->name, "collated array %s is not understood", key);
            return;
        }
        wrong += check_array(c, col, array);
    }
    snprintf(name, sizeof name, "%s collated_first_4", c->name);
    tr_golden_case(c->g, name, json_object_size(want) ? (double)wrong : 1, 0);
}

static void check_counts(const struct case_of *c, const json_t *file, int32_t size)
{
    const struct {
        const char *key;
        int64_t got;
    } count[] = {
        {"n_rows_total", tr_examples_count(c->e)},
        {"pad_token_id", c->special.pad},
        {"eos_token_id", c->special.eos},
        {"vocab_size_after_template", size},
    };
    char name[KIND];
    int64_t wrong = 0;
    for (size_t i = 0; i < sizeof count / sizeof *count; i++) {
        const json_t *x = json_object_get(file, count[i].key);
        if (x) wrong += json_integer_value(x) != count[i].got;
    }
    snprintf(name, sizeof name, "%s counts", c->name);
    tr_golden_case(c->g, name, (double)wrong, 0);
}

/* ---- config ---- */

struct config {
    struct tr_examples_options o;
    const char *model;
    const char *later; /* what it asks for that is not there yet, or NULL */
};

static bool read_stage(const char *text, struct config *c)
{
    static const char *const names[] = {"pt", "sft", "rm", "dpo", "kto", "ppo"};
    for (int i = 0; text && i < 6; i++) {
        if (strcmp(text, names[i]) != 0) continue;
        c->o.stage = (enum tr_stage)i;
        return true;
    }
    return false;
}

static bool is_passed_over(const char *key)
{
    static const char *const keys[] = {"do_train",
                                       "finetuning_type",
                                       "lora_target",
                                       "report_to",
                                       "use_cpu",
                                       "output_dir",
                                       "per_device_train_batch_size",
                                       "reward_model",
                                       "dataset_dir",
                                       "overwrite_cache",
                                       "preprocessing_num_workers",
                                       "seed",
                                       "learning_rate",
                                       "num_train_epochs",
                                       "max_steps",
                                       "gradient_accumulation_steps",
                                       "bf16",
                                       "logging_steps",
                                       "save_steps",
                                       "plot_loss",
                                       "disable_shuffling",
                                       "overwrite_output_dir"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0) return true;
    return false;
}

static bool read_switch(const char *key, bool on, struct config *c)
{
    if (strcmp(key, "packing") == 0) {
        c->o.packing = on;
    } else if (strcmp(key, "train_on_prompt") == 0) {
        c->o.train_on_prompt = on;
    } else if (strcmp(key, "mask_history") == 0 || strcmp(key, "neat_packing") == 0) {
        if (on) c->later = key;
    } else {
        return false;
    }
    return true;
}

/* One key of the config; false when it is not understood. */
static bool read_key(const char *key, const json_t *v, struct config *c)
{
    if (is_passed_over(key)) return true;
    if (strcmp(key, "model_name_or_path") == 0)
        return (c->model = json_string_value(v)) != NULL;
    if (strcmp(key, "stage") == 0) return read_stage(json_string_value(v), c);
    if (strcmp(key, "dataset") == 0) return (c->o.dataset = json_string_value(v)) != NULL;
    if (strcmp(key, "template") == 0)
        return (c->o.template_name = json_string_value(v)) != NULL || json_is_null(v);
    if (strcmp(key, "default_system") == 0)
        return (c->o.default_system = json_string_value(v)) != NULL || json_is_null(v);
    if (strcmp(key, "cutoff_len") == 0)
        return (c->o.cutoff_len = json_integer_value(v)) > 0;
    if (strcmp(key, "max_samples") == 0)
        return (c->o.max_samples = json_integer_value(v)) > 0;
    if (strcmp(key, "preprocessing_batch_size") == 0)
        return (c->o.preprocessing_batch_size = json_integer_value(v)) > 0;
    return json_is_boolean(v) && read_switch(key, json_is_true(v), c);
}

static bool read_config(struct tr_golden *g, const char *name, json_t *config,
                        struct config *c)
{
    const char *key;
    json_t *v;
    *c = (struct config){.o = {.dataset_dir = g->data,
                               .cutoff_len = 2048,
                               .preprocessing_batch_size = 1000,
                               .packing = -1,
                               .compat = true}};
    json_object_foreach(config, key, v)
    {
        if (read_key(key, v, c)) continue;
        tr_golden_fail(g, name, "config: %s is not understood", key);
        return false;
    }
    if (c->o.packing == 1 && c->o.stage != TR_PT) c->later = "packing in sft";
    if (c->model && c->o.dataset) return true;
    tr_golden_fail(g, name, "config: no model or no dataset");
    return false;
}

/* Does a dataset of the list hold tools? */
static bool has_tools(const struct tr_examples_options *o)
{
    char list[NAME];
    bool found = false;
    if (snprintf(list, sizeof list, "%s", o->dataset) >= (int)sizeof list) return false;
    char *rest = NULL;
    for (char *s = strtok_r(list, ", ", &rest); s; s = strtok_r(NULL, ", ", &rest)) {
        struct tr_dataset d;
        if (tr_dataset_open(o->dataset_dir, s, &d, NULL) != TR_OK) continue;
        found = found || d.column[TR_COL_TOOLS];
        tr_dataset_fini(&d);
    }
    return found;
}

/* The tokenizer that a path of the peer's machine means: by its last part. */
static bool tokenizer_dir(const struct tr_golden *g, const char *model, char *out,
                          size_t size)
{
    const char *last = strrchr(model, '/');
    int n = snprintf(out, size, "%s/F2/tokenizers/%s", g->dir, last ? last + 1 : model);
    return n > 0 && (size_t)n < size && tr_path_is_dir(out);
}

static void run_rows(struct tr_golden *g, const char *name, const json_t *file,
                     const struct config *c, const char *dir)
{
    struct tr_tokenizer *t = NULL;
    struct tr_examples *e = NULL;
    struct tr_err err = {0};
    enum tr_status st = tr_tokenizer_open(dir, &t, &err);
    if (st == TR_OK) st = tr_examples_load(&c->o, t, &e, NULL, &err);
    if (st == TR_OK) {
        struct case_of now = {g, name, e, tr_tokenizer_special(t), c->o.stage};
        check_counts(&now, file, tr_tokenizer_size(t));
        json_t *collated = json_object_get(file, "collated_first_4");
        check_columns(&now, json_object_get(file, "columns"));
        if (collated) check_collated(&now, collated);
    } else {
        tr_golden_fail(g, name, "%s", err.text);
    }
    tr_examples_destroy(e);
    tr_tokenizer_close(t);
}

/* Tells a case of a kind that the table in later.c must know: "CASE (what it needs)". */
static void put_off(struct tr_golden *g, const char *name, const char *need)
{
    char kind[KIND + 128];
    snprintf(kind, sizeof kind, "%s (%s)", name, need);
    if (!tr_golden_later(g, kind))
        tr_golden_fail(g, kind, "this kind of case is not known");
}

/* Is a name one of our templates? NULL: the tokenizer's own. */
static bool has_template(const char *template_name)
{
    struct tr_template tp;
    if (!template_name) return true;
    bool known = tr_template_choose(template_name, NULL, &tp, NULL) == TR_OK;
    if (known) tr_template_fini(&tp);
    return known;
}

static void run_file(struct tr_golden *g, const char *name, const json_t *file)
{
    struct config c;
    char dir[PATH];
    if (!read_config(g, name, json_object_get(file, "config"), &c)) return;
    if (!c.later && has_tools(&c.o)) c.later = "tool calls";
    if (!c.later && !tokenizer_dir(g, c.model, dir, sizeof dir))
        c.later = "a tokenizer that is not in this folder";
    if (!c.later && !has_template(c.o.template_name)) c.later = "another template";
    if (!c.later)
        run_rows(g, name, file, &c, dir);
    else
        put_off(g, name, c.later);
}

/* ---- templates.json ---- */

static bool ids_equal(const struct tr_ids *got, const json_t *want)
{
    if ((size_t)got->count != json_array_size(want)) return false;
    for (int64_t i = 0; i < got->count; i++)
        if (got->at[i] != json_integer_value(json_array_get(want, (size_t)i)))
            return false;
    return true;
}

/* One conversation: its wrong lists of ids (a source and a target for each turn). */
static int64_t check_talk(const struct tr_template *tp, const struct tr_tokenizer *t,
                          const json_t *talk)
{
    enum { MOST = 32 };
    struct tr_message message[MOST];
    struct tr_ids list[MOST] = {{0}};
    const json_t *messages = json_object_get(talk, "messages");
    const json_t *pairs = json_object_get(talk, "pairs");
    size_t n = json_array_size(messages);
    int64_t wrong = 0;
    if (n == 0 || n > MOST || json_array_size(pairs) * 2 != n) return 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(messages, i), *text = json_array_get(m, 1);
        message[i] =
            (struct tr_message){i % 2 ? TR_ASSISTANT : TR_USER, json_string_value(text),
                                json_string_length(text)};
    }
    const char *system = json_string_value(json_object_get(talk, "system"));
    if (tr_template_encode(tp, t, system, message, (int)n, list, NULL) != TR_OK) wrong++;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(pairs, i / 2);
        wrong += !ids_equal(&list[i],
                            json_object_get(pair, i % 2 ? "target_ids" : "source_ids"));
        tr_ids_fini(&list[i]);
    }
    return wrong;
}

static int64_t check_marks(const struct tr_template *tp, const struct tr_tokenizer *t,
                           const json_t *want)
{
    int64_t wrong = 0;
    const json_t *stops = json_object_get(want, "stop_words");
    const char *eos = json_string_value(json_object_get(want, "eos_after"));
    const char *got = tr_tokenizer_token(t, tr_tokenizer_special(t).eos);
    const char *system = json_string_value(json_object_get(want, "default_system"));
    for (size_t i = 0; i < TR_STOPS; i++) {
        const char *word = json_string_value(json_array_get(stops, i));
        wrong += (word != NULL) != (tp->stop[i] != NULL);
        if (word && tp->stop[i]) wrong += strcmp(word, tp->stop[i]) != 0;
    }
    wrong += json_array_size(stops) > TR_STOPS;
    wrong += !eos || !got || strcmp(eos, got) != 0;
    wrong += !system || strcmp(system, tp->default_system) != 0;
    wrong += json_is_true(json_object_get(want, "replace_eos")) != tp->replace_eos;
    wrong += json_is_true(json_object_get(want, "efficient_eos"));
    wrong +=
        json_integer_value(json_object_get(want, "vocab_after")) != tr_tokenizer_size(t);
    return wrong;
}

static void run_template(struct tr_golden *g, const char *name, const char *key,
                         const json_t *want)
{
    char dir[PATH], kind[KIND];
    struct tr_err err = {0};
    struct tr_template tp = {0};
    struct tr_tokenizer *t = NULL;
    snprintf(kind, sizeof kind, "%s/%s", name, key);
    if (!has_template(key)) {
        put_off(g, kind, "another template");
        return;
    }
    if (!tokenizer_dir(g, "smollm2", dir, sizeof dir)) {
        tr_golden_fail(g, kind, "the tokenizer smollm2 is not in this folder");
        return;
    }
    enum tr_status st = tr_tokenizer_open(dir, &t, &err);
    if (st == TR_OK) st = tr_template_choose(key, t, &tp, &err);
    if (st == TR_OK) st = tr_template_repair(&tp, t, NULL, &err);
    if (st == TR_OK) {
        const json_t *talks = json_object_get(want, "cases");
        int64_t wrong = check_marks(&tp, t, want) + (json_array_size(talks) == 0);
        for (size_t i = 0; i < json_array_size(talks); i++)
            wrong += check_talk(&tp, t, json_array_get(talks, i));
        tr_golden_case(g, kind, (double)wrong, 0);
    } else {
        tr_golden_fail(g, kind, "%s", err.text);
    }
    tr_template_fini(&tp);
    tr_tokenizer_close(t);
}

static void run_templates(struct tr_golden *g, const char *name, json_t *file)
{
    const char *key;
    json_t *want;
    json_object_foreach(file, key, want) run_template(g, name, key, want);
}

/* Words about a part, not cases of it. */
static bool is_note(const char *name)
{
    return strcmp(name, "README.md") == 0 || strcmp(name, "versions.json") == 0;
}

void tr_golden_f3(struct tr_golden *g, const char *part, const char *name)
{
    struct dirent **file = NULL;
    int files = scandir(part, &file, NULL, alphasort);
    for (int i = 0; i < files; i++) {
        char path[PATH], at[NAME];
        struct tr_err err = {0};
        json_t *root = NULL;
        snprintf(at, sizeof at, "%s/%s", name, file[i]->d_name);
        bool hidden = file[i]->d_name[0] == '.' || is_note(file[i]->d_name);
        enum tr_status st = tr_path_join(path, sizeof path, part, file[i]->d_name, &err);
        bool templates = strcmp(file[i]->d_name, "templates.json") == 0;
        free(file[i]);
        if (hidden) continue;
        if (st == TR_OK) st = tr_json_load(path, LIMIT, &root, &err);
        if (st != TR_OK)
            tr_golden_fail(g, at, "%s", err.text);
        else if (templates)
            run_templates(g, at, root);
        else
            run_file(g, at, root);
        json_decref(root);
    }
    if (files < 0) tr_golden_fail(g, name, "%s: can't be read", part);
    free(file);
}

#include "launch/cli/rollouts.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/base/yaml.h"
#include "core/text/tokenizer.h"
#include "launch/cli/told.h"
#include "launch/flags.h"

enum { PATH = 1024, TEXT_BYTES = 1 << 24 };

struct wish {
    struct tr_told_wish told;
    const char *model; /* whose tokenizer; NULL: as the run's configuration says */
    int64_t step, first, count;
    bool eval, numbers;
};

static enum tr_status parse(int argc, char **argv, struct wish *w, struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"keys", TR_FLAG_TEXT, &w->told.keys, 0, 0},
        {"seconds", TR_FLAG_REAL, &w->told.seconds, 0.1, 3600},
        {"json", TR_FLAG_YES, &w->told.json, 0, 0},
        {"model", TR_FLAG_TEXT, &w->model, 0, 0},
        {"step", TR_FLAG_INT, &w->step, 0, 1e15},
        {"first", TR_FLAG_INT, &w->first, 0, 1e9},
        {"count", TR_FLAG_INT, &w->count, 1, 1e6},
        {"held-out", TR_FLAG_YES, &w->eval, 0, 0},
        {"numbers", TR_FLAG_YES, &w->numbers, 0, 0},
    };
    int words = 0;
    *w = (struct wish){.told = {.seconds = 10}, .step = -1, .count = 1000};
    enum tr_status st = tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv,
                                      &w->told.run, 1, &words, err);
    if (st == TR_OK && w->numbers && !w->told.json)
        st = tr_err_set(err, TR_BADARG, "--numbers: for --json only");
    return st;
}

/* The tokenizer of the model that the run was started with. */
static enum tr_status open_tokenizer(const struct wish *w, struct tr_tokenizer **out,
                                     struct tr_err *err)
{
    char path[PATH];
    json_t *doc = NULL;
    const char *model = w->model;
    if (model) return tr_tokenizer_open(model, out, err);
    enum tr_status st = tr_path_join(path, sizeof path, w->told.run, "run.yaml", err);
    if (st == TR_OK) st = tr_yaml_load(path, &doc, err);
    if (st == TR_OK) st = tr_json_string(doc, "model_name_or_path", path, &model, err);
    if (st == TR_OK) st = tr_tokenizer_open(model, out, err);
    json_decref(doc);
    return st;
}

static enum tr_status print_text(const char *what, const json_t *ids,
                                 const struct tr_tokenizer *t, struct tr_err *err)
{
    struct tr_buf text;
    size_t n = json_array_size(ids);
    int32_t *id = malloc(n * sizeof *id + 1);
    if (!id) return tr_err_set(err, TR_NOMEM, "%zu ids", n);
    for (size_t i = 0; i < n; i++)
        id[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    tr_buf_init(&text, TEXT_BYTES);
    enum tr_status st = tr_tokenizer_decode(t, id, (int64_t)n, false, &text, err);
    if (st == TR_OK) printf("%s %s\n", what, tr_buf_text(&text));
    tr_buf_fini(&text);
    free(id);
    return st;
}

/* With several rewards, what each of them said. */
static void print_scores(const json_t *list)
{
    size_t i = 0;
    const json_t *s = NULL;
    if (json_array_size(list) < 2) return;
    json_array_foreach(list, i, s)
    {
        printf("%s%s %.4f x %g", i ? ", " : "   ", tr_told_text(s, "slot"),
               tr_told_real(s, "score"), tr_told_real(s, "weight"));
    }
    printf("\n");
}

static enum tr_status print_rollouts(const struct wish *w, const json_t *told,
                                     struct tr_err *err)
{
    struct tr_tokenizer *t = NULL;
    size_t i = 0;
    const json_t *r = NULL;
    enum tr_status st = open_tokenizer(w, &t, err);
    if (st != TR_OK) return st;
    printf("%s %lld, %lld rollouts\n", w->eval ? "held-out prompts after step" : "step",
           tr_told_int(told, "step"), tr_told_int(told, "of"));
    json_array_foreach(json_object_get(told, "rollouts"), i, r)
    {
        printf("\n-- sample %lld, prompt %lld: score %.4f, KL %.4f nats%s\n",
               tr_told_int(r, "sample"), tr_told_int(r, "prompt"),
               tr_told_real(r, "score"), tr_told_real(r, "kl"),
               json_is_true(json_object_get(r, "stopped")) ? "" : ", cut by length");
        print_scores(json_object_get(r, "scores"));
        st = print_text("prompt:", json_object_get(r, "prompt_ids"), t, err);
        if (st == TR_OK)
            st = print_text("answer:", json_object_get(r, "answer_ids"), t, err);
        if (st != TR_OK) break;
    }
    tr_tokenizer_close(t);
    return st;
}

int tr_cli_rollouts(int argc, char **argv)
{
    struct tr_err err = {0};
    struct wish w;
    json_t *told = NULL;
    bool live = false;
    char argument[200], step[48] = "";
    enum tr_status st = parse(argc, argv, &w, &err);
    if (w.step >= 0) snprintf(step, sizeof step, "\"step\": %lld, ", (long long)w.step);
    snprintf(argument, sizeof argument,
             "{%s\"first\": %lld, \"count\": %lld, \"eval\": %s, \"numbers\": %s}", step,
             (long long)w.first, (long long)w.count, w.eval ? "true" : "false",
             w.numbers ? "true" : "false");
    if (st == TR_OK) st = tr_told_ask(&w.told, "rollouts", argument, &told, &live, &err);
    if (st == TR_OK && !w.told.json) st = print_rollouts(&w, told, &err);
    json_decref(told);
    return tr_told_end("rollouts", st, &err);
}

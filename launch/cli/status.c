#include "launch/cli/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/base/yaml.h"
#include "core/text/tokenizer.h"
#include "launch/ask.h"
#include "launch/flags.h"

enum { REPLY_BYTES = 256 << 20, PATH = 1024 };

struct wish {
    const char *run, *keys;
    double seconds;
    bool json;
    int64_t step, count;
    bool eval;
    const char *to;
};

static int fail(const char *command, enum tr_status st, const struct tr_err *err)
{
    fprintf(stderr, "troupe %s: %s\n", command, err->text);
    return st == TR_BADARG ? 2 : 1;
}

static enum tr_status parse(int argc, char **argv, struct wish *w, struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"keys", TR_FLAG_TEXT, &w->keys, 0, 0},
        {"seconds", TR_FLAG_REAL, &w->seconds, 0.1, 3600},
        {"json", TR_FLAG_YES, &w->json, 0, 0},
        {"step", TR_FLAG_INT, &w->step, 0, 1e15},
        {"count", TR_FLAG_INT, &w->count, 1, 1e6},
        {"held-out", TR_FLAG_YES, &w->eval, 0, 0},
        {"to", TR_FLAG_TEXT, &w->to, 0, 0},
    };
    int words = 0;
    *w = (struct wish){.seconds = 10, .step = -1, .count = 1000};
    enum tr_status st = tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv,
                                      &w->run, 1, &words, err);
    if (st == TR_OK && !w->run)
        st = tr_err_set(err, TR_BADARG, "which run? its output_dir is missing");
    return st;
}

/* What was told, as JSON. */
static enum tr_status ask(const struct wish *w, const char *what, const char *argument,
                          json_t **out, bool *live, struct tr_err *err)
{
    struct tr_question q = {.run = w->run,
                            .keys = w->keys,
                            .what = what,
                            .argument = argument,
                            .seconds = w->seconds};
    struct tr_buf reply;
    tr_buf_init(&reply, REPLY_BYTES);
    enum tr_status st = tr_ask_or_look(&q, &reply, live, err);
    if (st == TR_OK && w->json) printf("%s\n", tr_buf_text(&reply));
    if (st == TR_OK)
        st = tr_json_parse(tr_buf_text(&reply), reply.size, "the answer", out, err);
    tr_buf_fini(&reply);
    return st;
}

/* ---- status ---- */

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

static double real_of(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static long long int_of(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static void print_workers(const json_t *list)
{
    size_t i = 0;
    const json_t *w = NULL;
    printf("%-10s %-10s %-22s %-7s %7s %8s %9s  %s\n", "role", "slot", "instance", "isa",
           "threads", "answered", "busy", "");
    json_array_foreach(list, i, w)
    {
        bool silent = json_is_true(json_object_get(w, "silent"));
        bool idle = json_is_true(json_object_get(w, "idle"));
        bool busy = json_is_true(json_object_get(w, "busy"));
        printf("%-10s %-10s %-22s %-7s %7lld %8lld %7.0f %%  %s\n", text_of(w, "role"),
               text_of(w, "slot"), text_of(w, "instance"), text_of(w, "isa"),
               int_of(w, "threads"), int_of(w, "answered"),
               100 * real_of(w, "busy_share"),
               silent ? "silent"
               : idle ? "idle: other weights"
               : busy ? "busy"
                      : "waits");
    }
}

static void print_queue(const json_t *list)
{
    size_t i = 0;
    const json_t *q = NULL;
    json_array_foreach(list, i, q) if (int_of(q, "waiting") + int_of(q, "sent") > 0)
        printf("%s %s: %lld units wait, %lld are out\n", text_of(q, "role"),
               text_of(q, "slot"), int_of(q, "waiting"), int_of(q, "sent"));
}

static void print_status(const json_t *s, bool live)
{
    if (!live) {
        char *text = tr_json_text(s, 2);
        printf("no coordinator runs; the journal says:\n%s\n", text ? text : "");
        free(text);
        return;
    }
    printf("run %s, step %lld of %lld, %.2f s a step, %.0f s left\n", text_of(s, "run"),
           int_of(s, "step"), int_of(s, "steps"), real_of(s, "seconds_a_step"),
           real_of(s, "seconds_left"));
    print_workers(json_object_get(s, "workers"));
    print_queue(json_object_get(s, "queue"));
    size_t n = json_array_size(json_object_get(s, "swaps"));
    if (n > 0) {
        char *text = tr_json_text(json_object_get(s, "swaps"), 0);
        printf("swaps that wait: %s\n", text ? text : "");
        free(text);
    }
}

int tr_cli_status(int argc, char **argv)
{
    struct tr_err err = {0};
    struct wish w;
    json_t *told = NULL;
    bool live = false;
    enum tr_status st = parse(argc, argv, &w, &err);
    if (st == TR_OK) st = ask(&w, "status", "", &told, &live, &err);
    if (st == TR_OK && !w.json) print_status(told, live);
    json_decref(told);
    return st == TR_OK ? 0 : fail("status", st, &err);
}

/* ---- rollouts ---- */

/* The tokenizer of the model that the run was started with. */
static enum tr_status open_tokenizer(const char *run, struct tr_tokenizer **out,
                                     struct tr_err *err)
{
    char path[PATH];
    json_t *doc = NULL;
    const char *model = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, run, "run.yaml", err);
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
    tr_buf_init(&text, 1 << 24);
    enum tr_status st = tr_tokenizer_decode(t, id, (int64_t)n, false, &text, err);
    if (st == TR_OK) printf("%s %s\n", what, tr_buf_text(&text));
    tr_buf_fini(&text);
    free(id);
    return st;
}

static enum tr_status print_rollouts(const json_t *told, const char *run,
                                     struct tr_err *err)
{
    struct tr_tokenizer *t = NULL;
    size_t i = 0;
    const json_t *r = NULL;
    enum tr_status st = open_tokenizer(run, &t, err);
    if (st != TR_OK) return st;
    printf("step %lld\n", int_of(told, "step"));
    json_array_foreach(json_object_get(told, "rollouts"), i, r)
    {
        printf("\n-- sample %lld, prompt %lld: score %.4f, KL %.4f nats\n",
               int_of(r, "sample"), int_of(r, "prompt"), real_of(r, "score"),
               real_of(r, "kl"));
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
    char argument[160];
    enum tr_status st = parse(argc, argv, &w, &err);
    int n = snprintf(argument, sizeof argument, "{\"count\": %lld, \"eval\": %s",
                     (long long)w.count, w.eval ? "true" : "false");
    if (w.step >= 0)
        n += snprintf(argument + n, sizeof argument - (size_t)n, ", \"step\": %lld",
                      (long long)w.step);
    snprintf(argument + n, sizeof argument - (size_t)n, "}");
    if (st == TR_OK) st = ask(&w, "rollouts", argument, &told, &live, &err);
    if (st == TR_OK && !w.json) st = print_rollouts(told, w.run, &err);
    json_decref(told);
    return st == TR_OK ? 0 : fail("rollouts", st, &err);
}

/* ---- snapshot-db ---- */

/* The coordinator may have another working folder: it is told the whole path. */
static enum tr_status whole_path(const char *to, char *out, struct tr_err *err)
{
    char here[PATH / 2];
    if (to[0] == '/') return tr_path_join(out, PATH, "", to + 1, err);
    if (!getcwd(here, sizeof here))
        return tr_err_set(err, TR_IO, "the working folder has too long a name");
    return tr_path_join(out, PATH, here, to, err);
}

int tr_cli_snapshot_db(int argc, char **argv)
{
    struct tr_err err = {0};
    struct wish w;
    char path[PATH];
    json_t *told = NULL, *doc = NULL;
    bool live = false;
    enum tr_status st = parse(argc, argv, &w, &err);
    if (st == TR_OK && !w.to)
        st = tr_err_set(&err, TR_BADARG, "--to: the file to write is missing");
    if (st == TR_OK) st = whole_path(w.to, path, &err);
    if (st == TR_OK) doc = json_pack("{s:s}", "to", path);
    char *argument = doc ? tr_json_text(doc, 0) : NULL;
    json_decref(doc);
    if (st == TR_OK && !argument) st = tr_err_set(&err, TR_NOMEM, "a question");
    if (st == TR_OK) st = ask(&w, "snapshot-db", argument, &told, &live, &err);
    free(argument);
    json_decref(told);
    if (st == TR_OK && !w.json) printf("%s\n", path);
    return st == TR_OK ? 0 : fail("snapshot-db", st, &err);
}

#include "launch/cli/swap.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/rule.h"
#include "core/base/json.h"
#include "launch/ask.h"
#include "launch/cli/told.h"
#include "launch/flags.h"

struct wish {
    const char *what, *run, *keys; /* what: "reward" */
    const char *name, *model, *rule, *pattern;
    bool remove, external;
    double weight, target, scale, seconds;
    int64_t at, replicas, threads;
};

static enum tr_status need_run(const struct wish *w, struct tr_err *err)
{
    if (w->run) return TR_OK;
    return tr_err_set(err, TR_BADARG, "--run: the run's output_dir is missing");
}

static enum tr_status parse_swap(int argc, char **argv, struct wish *w,
                                 struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"run", TR_FLAG_TEXT, &w->run, 0, 0},
        {"keys", TR_FLAG_TEXT, &w->keys, 0, 0},
        {"name", TR_FLAG_TEXT, &w->name, 0, 0},
        {"model", TR_FLAG_TEXT, &w->model, 0, 0},
        {"rule", TR_FLAG_TEXT, &w->rule, 0, 0},
        {"pattern", TR_FLAG_TEXT, &w->pattern, 0, 0},
        {"external", TR_FLAG_YES, &w->external, 0, 0},
        {"remove", TR_FLAG_YES, &w->remove, 0, 0},
        {"weight", TR_FLAG_REAL, &w->weight, -1e9, 1e9},
        {"target", TR_FLAG_REAL, &w->target, 0, TR_RULE_TARGET_MOST},
        {"scale", TR_FLAG_REAL, &w->scale, TR_RULE_SCALE_LEAST, TR_RULE_SCALE_MOST},
        {"at", TR_FLAG_INT, &w->at, 1, INT32_MAX},
        {"replicas", TR_FLAG_INT, &w->replicas, 1, 1024},
        {"threads", TR_FLAG_INT, &w->threads, 1, 1024},
        {"seconds", TR_FLAG_REAL, &w->seconds, 0.1, 3600},
    };
    int words = 0;
    *w = (struct wish){.name = "main",
                       .weight = (double)NAN,
                       .target = (double)NAN,
                       .scale = (double)NAN,
                       .seconds = 10};
    enum tr_status st = tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv,
                                      &w->what, 1, &words, err);
    return st == TR_OK ? need_run(w, err) : st;
}

/* It takes no word and no more flags than these. */
static enum tr_status parse_rollback(int argc, char **argv, struct wish *w,
                                     struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"run", TR_FLAG_TEXT, &w->run, 0, 0},
        {"keys", TR_FLAG_TEXT, &w->keys, 0, 0},
        {"at", TR_FLAG_INT, &w->at, 1, INT32_MAX},
        {"seconds", TR_FLAG_REAL, &w->seconds, 0.1, 3600},
    };
    int words = 0;
    *w = (struct wish){.seconds = 10};
    enum tr_status st =
        tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv, NULL, 0, &words, err);
    return st == TR_OK ? need_run(w, err) : st;
}

static void put_text(json_t *doc, const char *key, const char *text)
{
    if (text) json_object_set_new(doc, key, json_string(text));
}

static void put_real(json_t *doc, const char *key, double x)
{
    if (!isnan(x)) json_object_set_new(doc, key, json_real(x));
}

static void put_int(json_t *doc, const char *key, int64_t n)
{
    if (n > 0) json_object_set_new(doc, key, json_integer((json_int_t)n));
}

static json_t *swap_json(const struct wish *w)
{
    json_t *doc = json_object();
    put_text(doc, "name", w->name);
    put_text(doc, "model", w->model);
    put_text(doc, "rule", w->rule);
    put_text(doc, "pattern", w->pattern);
    put_real(doc, "weight", w->weight);
    put_real(doc, "target", w->target);
    put_real(doc, "scale", w->scale);
    put_int(doc, "at", w->at);
    put_int(doc, "replicas", w->replicas);
    put_int(doc, "threads", w->threads);
    if (w->external) json_object_set_new(doc, "external", json_true());
    if (w->remove) json_object_set_new(doc, "remove", json_true());
    return doc;
}

static enum tr_status tell(const struct wish *w, const char *what, json_t *doc,
                           struct tr_err *err)
{
    char *argument = doc ? tr_json_text(doc, 0) : NULL;
    struct tr_buf reply;
    tr_buf_init(&reply, 1 << 16);
    struct tr_question q = {.run = w->run,
                            .keys = w->keys,
                            .what = what,
                            .argument = argument ? argument : "",
                            .seconds = w->seconds};
    enum tr_status st = argument ? tr_ask_running(&q, &reply, err)
                                 : tr_err_set(err, TR_NOMEM, "a question");
    if (st == TR_OK) printf("%s\n", tr_buf_text(&reply));
    tr_buf_fini(&reply);
    free(argument);
    return st;
}

int tr_cli_swap(int argc, char **argv)
{
    struct tr_err err = {0};
    struct wish w;
    json_t *doc = NULL;
    enum tr_status st = parse_swap(argc, argv, &w, &err);
    if (st == TR_OK && (!w.what || strcmp(w.what, "reward") != 0))
        st = tr_err_set(&err, TR_BADARG, "what should be swapped? expected: swap reward");
    if (st == TR_OK) doc = swap_json(&w);
    if (st == TR_OK) st = tell(&w, "swap", doc, &err);
    json_decref(doc);
    return tr_told_end("swap", st, &err);
}

int tr_cli_rollback(int argc, char **argv)
{
    struct tr_err err = {0};
    struct wish w;
    json_t *doc = NULL;
    enum tr_status st = parse_rollback(argc, argv, &w, &err);
    if (st == TR_OK) doc = json_object();
    if (doc) put_int(doc, "at", w.at);
    if (st == TR_OK) st = tell(&w, "rollback", doc, &err);
    json_decref(doc);
    return tr_told_end("rollback", st, &err);
}

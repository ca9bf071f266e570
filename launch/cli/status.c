#include "launch/cli/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/json.h"
#include "launch/cli/told.h"
#include "launch/flags.h"

static enum tr_status parse(int argc, char **argv, struct tr_told_wish *w,
                            struct tr_err *err)
{
    const struct tr_flag flag[] = {
        {"keys", TR_FLAG_TEXT, &w->keys, 0, 0},
        {"seconds", TR_FLAG_REAL, &w->seconds, 0.1, 3600},
        {"json", TR_FLAG_YES, &w->json, 0, 0},
    };
    int words = 0;
    *w = (struct tr_told_wish){.seconds = 10};
    return tr_flags_read(flag, sizeof flag / sizeof *flag, argc, argv, &w->run, 1, &words,
                         err);
}

/* ---- workers ---- */

/* The coordinator says what is so now, the journal what was so at the last commit. */
static const char *state_of(const json_t *w)
{
    if (json_object_get(w, "state")) return tr_told_text(w, "state");
    if (json_is_true(json_object_get(w, "silent"))) return "silent";
    if (json_is_true(json_object_get(w, "idle"))) return "idle: other weights";
    return json_is_true(json_object_get(w, "busy")) ? "busy" : "waits";
}

static void print_workers(const json_t *list)
{
    size_t i = 0;
    const json_t *w = NULL;
    if (json_array_size(list) == 0) return;
    printf("%-10s %-10s %-22s %-7s %7s %8s %9s  %s\n", "role", "slot", "instance", "isa",
           "threads", "answered", "busy", "");
    json_array_foreach(list, i, w)
    {
        printf("%-10s %-10s %-22s %-7s %7lld %8lld %7.0f %%  %s\n",
               tr_told_text(w, "role"), tr_told_text(w, "slot"),
               tr_told_text(w, "instance"), tr_told_text(w, "isa"),
               tr_told_int(w, "threads"), tr_told_int(w, "answered"),
               100 * tr_told_real(w, "busy_share"), state_of(w));
    }
}

static void print_queue(const json_t *list)
{
    size_t i = 0;
    const json_t *q = NULL;
    json_array_foreach(list, i, q)
    {
        if (tr_told_int(q, "waiting") + tr_told_int(q, "sent") > 0)
            printf("%s %s: %lld units wait, %lld are out\n", tr_told_text(q, "role"),
                   tr_told_text(q, "slot"), tr_told_int(q, "waiting"),
                   tr_told_int(q, "sent"));
        if (tr_told_real(q, "missed_seconds") > 0)
            printf("    with nobody to do them for %.0f s: %s\n",
                   tr_told_real(q, "missed_seconds"), tr_told_text(q, "missed"));
    }
}

/* ---- a run without its coordinator ---- */

static void print_swaps(const json_t *list)
{
    size_t i = 0;
    const json_t *s = NULL;
    json_array_foreach(list, i, s)
    {
        char *slots = tr_json_text(json_object_get(s, "slots"), 0);
        printf("%s %lld: %s", tr_told_text(s, "kind"), tr_told_int(s, "id"),
               slots ? slots : "");
        free(slots);
        if (json_is_integer(json_object_get(s, "applied_step")))
            printf(", from step %lld on\n", tr_told_int(s, "applied_step"));
        else
            printf(", waits\n");
    }
}

static void print_events(const json_t *list)
{
    size_t i = 0;
    const json_t *e = NULL;
    json_array_foreach(list, i, e)
    {
        char clock[32] = "";
        time_t at = (time_t)tr_told_real(e, "at");
        struct tm parts;
        if (localtime_r(&at, &parts)) strftime(clock, sizeof clock, "%F %T", &parts);
        printf("%s %s\n", clock, tr_told_text(e, "text"));
    }
}

static void print_counters(json_t *counters)
{
    const char *name = NULL, *comma = "";
    json_t *value = NULL;
    json_object_foreach(counters, name, value)
    {
        if (json_integer_value(value) == 0) continue;
        printf("%s%s %lld", comma, name, (long long)json_integer_value(value));
        comma = ", ";
    }
    if (comma[0]) printf("\n");
}

static void print_file(const json_t *s)
{
    const json_t *snapshots = json_object_get(s, "snapshots");
    const json_t *last = json_array_get(snapshots, json_array_size(snapshots) - 1);
    printf("no coordinator runs; run %s (%s)", tr_told_text(s, "run"),
           tr_told_text(s, "stage"));
    if (json_is_null(json_object_get(s, "step")))
        printf(" has no committed step\n");
    else
        printf(" is after step %lld, %.2f s a step, %.0f tokens/s\n",
               tr_told_int(s, "step"), tr_told_real(s, "seconds_per_step"),
               tr_told_real(s, "tokens_per_second"));
    if (last)
        printf("the last snapshot is of step %lld: %s\n", tr_told_int(last, "step"),
               tr_told_text(last, "folder"));
    print_workers(json_object_get(s, "workers"));
    print_counters(json_object_get(s, "counters"));
    print_swaps(json_object_get(s, "swaps"));
    print_events(json_object_get(s, "events"));
}

/* ---- a run ---- */

/* How long, and of what it consisted where it did more than learn. */
static void print_step(const json_t *s, const char *name)
{
    static const char *const phase[] = {"generate", "judge", "learn"};
    const char *mark = ":";
    char key[64];
    snprintf(key, sizeof key, "%s_seconds", name);
    printf("%.2f s", tr_told_real(s, key));
    for (int i = 0; i < 3; i++) {
        snprintf(key, sizeof key, "%s_seconds_%s", name, phase[i]);
        if (!json_object_get(s, key)) continue;
        printf("%s %s %.2f", mark, phase[i], tr_told_real(s, key));
        mark = ",";
    }
}

static void print_times(const json_t *s)
{
    if (tr_told_int(s, "steps_timed") == 0) return;
    printf("the last step took ");
    print_step(s, "last_step");
    printf("; the mean of %lld: ", tr_told_int(s, "steps_timed"));
    print_step(s, "step");
    printf("\n");
}

static void print_live(const json_t *s)
{
    printf("run %s (%s), step %lld of %lld", tr_told_text(s, "run"),
           tr_told_text(s, "stage"), tr_told_int(s, "step"), tr_told_int(s, "steps"));
    if (tr_told_real(s, "seconds_a_step") >
        0) /* a step was done, so there is a time to tell */
        printf(", %.2f s a step, %.0f tokens/s, %.0f s left",
               tr_told_real(s, "seconds_a_step"), tr_told_real(s, "tokens_per_second"),
               tr_told_real(s, "seconds_left"));
    printf("\n");
    print_times(s);
    print_workers(json_object_get(s, "workers"));
    print_queue(json_object_get(s, "queue"));
    if (json_array_size(json_object_get(s, "swaps")) > 0) {
        char *text = tr_json_text(json_object_get(s, "swaps"), 0);
        printf("swaps that wait: %s\n", text ? text : "");
        free(text);
    }
}

int tr_cli_status(int argc, char **argv)
{
    struct tr_err err = {0};
    struct tr_told_wish w;
    json_t *told = NULL;
    bool live = false;
    enum tr_status st = parse(argc, argv, &w, &err);
    if (st == TR_OK) st = tr_told_ask(&w, "status", "", &told, &live, &err);
    if (st == TR_OK && !w.json && live) print_live(told);
    if (st == TR_OK && !w.json && !live) print_file(told);
    json_decref(told);
    return tr_told_end("status", st, &err);
}

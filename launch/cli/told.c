#include "launch/cli/told.h"

#include <stdio.h>

#include "core/base/json.h"
#include "launch/ask.h"

enum { REPLY_BYTES = 256 << 20 };

enum tr_status tr_told_ask(const struct tr_told_wish *w, const char *what,
                           const char *argument, json_t **told, bool *live,
                           struct tr_err *err)
{
    struct tr_question q = {.run = w->run,
                            .keys = w->keys,
                            .what = what,
                            .argument = argument,
                            .seconds = w->seconds};
    struct tr_buf reply;
    *told = NULL;
    if (!w->run)
        return tr_err_set(err, TR_BADARG, "which run? its output_dir is missing");
    tr_buf_init(&reply, REPLY_BYTES);
    enum tr_status st = tr_ask_or_look(&q, &reply, live, err);
    if (st == TR_OK && w->json) printf("%s\n", tr_buf_text(&reply));
    if (st == TR_OK)
        st = tr_json_parse(tr_buf_text(&reply), reply.size, "the answer", told, err);
    tr_buf_fini(&reply);
    return st;
}

const char *tr_told_text(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

double tr_told_real(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

long long tr_told_int(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

int tr_told_end(const char *command, enum tr_status st, const struct tr_err *err)
{
    if (st == TR_OK) return 0;
    fprintf(stderr, "troupe %s: %s\n", command, err->text);
    return st == TR_BADARG ? 2 : 1;
}

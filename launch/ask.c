#include "launch/ask.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "actors/coordinator/journal.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/json.h"
#include "proto/step4_weights.h"
#include "proto/wire.h"

/* Address and process of whoever coordinates, as coordinator.json says. */
static enum tr_status find_coordinator(const char *run, char *address, int64_t *pid,
                                       struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    json_t *doc = NULL;
    const char *text = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, run, "coordinator.json", err);
    if (st == TR_OK && !tr_path_exists(path))
        return tr_err_set(err, TR_BADARG,
                          "%s: no coordinator.json: no run was started here", run);
    if (st == TR_OK) st = tr_json_load(path, 1 << 16, &doc, err);
    if (st == TR_OK) st = tr_json_string(doc, "address", path, &text, err);
    if (st == TR_OK) st = tr_json_int(doc, "pid", path, 1, INT32_MAX, pid, err);
    if (st == TR_OK) snprintf(address, TR_ADDRESS_BYTES, "%s", text);
    json_decref(doc);
    return st;
}

static enum tr_status take_told(struct tr_message *m, struct tr_buf *reply,
                                struct tr_err *err)
{
    struct tr_bytes bytes;
    int64_t unknown = 0;
    if (!m->as.tell.ok) return tr_err_set(err, TR_BADARG, "%s", m->as.tell.text);
    enum tr_status st =
        tr_content_decode(&m->content, &tr_report_record, &bytes, &unknown, err);
    if (st != TR_OK || bytes.bytes.count == 0) return st;
    return tr_buf_put(reply, bytes.bytes.at, (size_t)bytes.bytes.count, err);
}

static enum tr_status wait_told(struct tr_wire *wire, const struct tr_question *q,
                                struct tr_buf *reply, struct tr_err *err)
{
    double end = tr_clock_seconds() + q->seconds;
    while (tr_clock_seconds() < end) {
        struct tr_message m;
        int64_t peer;
        enum tr_status st = tr_wire_receive(wire, 0.2, &peer, &m, err);
        if (st == TR_AGAIN) continue;
        if (st != TR_OK) return st;
        bool told = m.say == TR_SAY_TELL;
        if (told) st = take_told(&m, reply, err);
        tr_message_fini(&m);
        if (told) return st;
    }
    return tr_err_set(err, TR_GONE, "%s: the coordinator does not answer, after %.0f s",
                      q->run, q->seconds);
}

enum tr_status tr_ask_run(const struct tr_question *q, struct tr_buf *reply,
                          struct tr_err *err)
{
    char address[TR_ADDRESS_BYTES];
    struct tr_message m = {.say = TR_SAY_ASK};
    struct tr_wire *wire = NULL;
    struct tr_keys keys = {.n = 0};
    int64_t pid = 0;
    if (strlen(q->argument) >= sizeof m.as.ask.argument)
        return tr_err_set(err, TR_BADARG, "%s: more than %zu bytes", q->what,
                          sizeof m.as.ask.argument - 1);
    snprintf(m.as.ask.what, sizeof m.as.ask.what, "%s", q->what);
    snprintf(m.as.ask.argument, sizeof m.as.ask.argument, "%s", q->argument);
    enum tr_status st = find_coordinator(q->run, address, &pid, err);
    if (st == TR_OK && q->keys) st = tr_keys_open(q->keys, TR_KEY_ADMIN, &keys, err);
    if (st == TR_OK) st = tr_wire_join(address, q->keys ? &keys : NULL, &wire, err);
    if (st == TR_OK) st = tr_wire_send(wire, 0, &m, err);
    if (st == TR_OK) st = wait_told(wire, q, reply, err);
    tr_wire_close(wire);
    tr_keys_close(&keys);
    return st;
}

/* A process of this host that is gone answers nothing: no need to wait for it. One of another
 * host looks gone too, so the journal's lock has the last word. */
static bool looks_gone(const char *run)
{
    char address[TR_ADDRESS_BYTES];
    int64_t pid = 0;
    if (find_coordinator(run, address, &pid, NULL) != TR_OK) return true;
    return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/* *opened: nobody has the file, so what it says, a refusal too, is the answer. */
static enum tr_status look(const struct tr_question *q, struct tr_buf *reply,
                           bool *opened, struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    struct tr_journal *j = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, q->run, "run.db", err);
    if (st == TR_OK) st = tr_journal_look(path, &j, err);
    *opened = st == TR_OK;
    if (st == TR_OK) st = tr_journal_report(j, q->what, q->argument, reply, err);
    tr_journal_close(j);
    return st;
}

/* A coordinator that is just starting has the file already and is not to be found yet: it is looked
 * for again after a while. */
enum tr_status tr_ask_or_look(const struct tr_question *q, struct tr_buf *reply,
                              bool *live, struct tr_err *err)
{
    static const double while_seconds = 0.5;
    double end = tr_clock_seconds() + q->seconds;
    bool gone = false, opened = false;
    *live = false;
    do {
        struct tr_question now = *q;
        struct tr_err said = {0};
        gone = looks_gone(q->run);
        enum tr_status found = gone ? look(q, reply, &opened, &said) : TR_AGAIN;
        if (opened && found != TR_OK) return tr_err_set(err, found, "%s", said.text);
        if (opened) return TR_OK;
        tr_buf_clear(reply);
        if (gone && now.seconds > while_seconds) now.seconds = while_seconds;
        enum tr_status st = tr_ask_run(&now, reply, err);
        *live = st == TR_OK;
        if (st != TR_GONE) return st;
    } while (gone && tr_clock_seconds() < end);
    return look(q, reply, &opened, err);
}

enum tr_status tr_ask_running(const struct tr_question *q, struct tr_buf *reply,
                              struct tr_err *err)
{
    char path[TR_PLACE_BYTES];
    struct tr_journal *j = NULL;
    if (tr_path_join(path, sizeof path, q->run, "run.db", err) != TR_OK) return TR_BADARG;
    bool gone = tr_path_exists(path) && looks_gone(q->run) &&
                tr_journal_look(path, &j, NULL) == TR_OK;
    tr_journal_close(j);
    if (gone)
        return tr_err_set(err, TR_BADARG,
                          "%s: no coordinator runs: only a run that goes on can do this",
                          q->run);
    return tr_ask_run(q, reply, err);
}

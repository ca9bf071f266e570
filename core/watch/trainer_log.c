#include "core/watch/trainer_log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"

enum { TR_LOG_BYTES = 1 << 28 };

double tr_round_decimals(double x, int decimals)
{
    char text[64];
    if (!isfinite(x) || fabs(x) > 1e15) return x;
    snprintf(text, sizeof text, "%.*f", decimals, x);
    return strtod(text, NULL);
}

void tr_clock_text(double seconds, char *out, size_t size)
{
    long long s = seconds > 0 && seconds < 1e12 ? (long long)seconds : 0;
    snprintf(out, size, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}

/* 0 when the number was put, or is none that JSON knows. */
static int put_real(json_t *obj, const char *key, double x)
{
    return isfinite(x) ? json_object_set_new(obj, key, json_real(x)) : 0;
}

static json_t *line_of(const struct tr_log_entry *e)
{
    char elapsed[32];
    char remaining[32];
    json_t *line = json_object();
    tr_clock_text(e->elapsed, elapsed, sizeof elapsed);
    tr_clock_text(e->remaining, remaining, sizeof remaining);
    int bad = json_object_set_new(line, "current_steps", json_integer(e->step));
    bad |= json_object_set_new(line, "total_steps", json_integer(e->total));
    if (e->has_loss) {
        bad |= put_real(line, "loss", tr_round_decimals(e->loss, 4));
        bad |= put_real(line, "lr", e->lr);
    }
    if (e->has_reward) bad |= put_real(line, "reward", tr_round_decimals(e->reward, 4));
    bad |= put_real(line, "epoch", e->epoch);
    double share = 100.0 * (double)e->step / (double)e->total;
    bad |= put_real(line, "percentage", tr_round_decimals(share, 2));
    bad |= json_object_set_new(line, "elapsed_time", json_string(elapsed));
    bad |= json_object_set_new(line, "remaining_time", json_string(remaining));
    if (e->skipped)
        bad |= json_object_set_new(line, "skipped_steps", json_integer(e->skipped));
    if (!bad) return line;
    json_decref(line);
    return NULL;
}

json_t *tr_trainer_log_history(const struct tr_log_entry *e)
{
    json_t *h = json_object();
    int bad = e->more ? json_object_update(h, e->more) : 0;
    bad |= put_real(h, "epoch", e->epoch);
    if (e->has_reward) bad |= put_real(h, "reward", e->reward);
    bad |= put_real(h, "grad_norm", e->grad_norm);
    bad |= put_real(h, "learning_rate", e->lr);
    bad |= put_real(h, "loss", tr_round_decimals(e->loss, 4));
    bad |= json_object_set_new(h, "step", json_integer(e->step));
    if (!bad) return h;
    json_decref(h);
    return NULL;
}

static enum tr_status append(const char *path, const char *text, size_t size,
                             struct tr_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) return tr_err_set(err, TR_IO, "%s: %s", path, tr_err_cause(errno));
    ssize_t wrote = write(fd, text, size);
    int fault = wrote == (ssize_t)size ? 0 : wrote < 0 ? errno : ENOSPC;
    if (close(fd) && !fault) fault = errno;
    return fault ? tr_err_set(err, TR_IO, "%s: %s", path, tr_err_cause(fault)) : TR_OK;
}

enum tr_status tr_trainer_log_append(const char *dir, const struct tr_log_entry *e,
                                     struct tr_err *err)
{
    char path[1024];
    enum tr_status st = tr_path_join(path, sizeof path, dir, "trainer_log.jsonl", err);
    if (st != TR_OK) return st;
    json_t *line = line_of(e);
    char *text = line ? tr_json_text(line, 0) : NULL;
    json_decref(line);
    if (!text) return tr_err_set(err, TR_NOMEM, "%s: no memory for a line", path);
    size_t size = strlen(text);
    text[size] = '\n'; /* over the terminator: append takes a size */
    st = append(path, text, size + 1, err);
    free(text);
    return st;
}

/* Is this line of the log an entry of a step up to `step`? Of which one, into *at. */
static bool is_kept(const char *line, size_t size, int64_t step, int64_t *at)
{
    json_t *entry = NULL;
    bool good = tr_json_parse(line, size, "log", &entry, NULL) == TR_OK &&
                tr_json_int(entry, "current_steps", "log", 0, step, at, NULL) == TR_OK &&
                json_object_get(entry, "loss");
    json_decref(entry);
    return good;
}

enum tr_status tr_trainer_log_trim(const char *dir, int64_t step, int64_t *last,
                                   struct tr_err *err)
{
    char path[1024];
    int64_t at_step = 0;
    *last = 0;
    struct tr_buf all = {0};
    struct tr_buf kept;
    enum tr_status st = tr_path_join(path, sizeof path, dir, "trainer_log.jsonl", err);
    if (st != TR_OK || !tr_path_exists(path)) return st;
    tr_buf_init(&kept, TR_LOG_BYTES);
    st = tr_file_read(path, TR_LOG_BYTES, &all, err);
    for (const char *at = tr_buf_text(&all); st == TR_OK && *at;) {
        size_t n = strcspn(at, "\n");
        if (is_kept(at, n, step, &at_step)) {
            if (at_step > *last) *last = at_step;
            st = tr_buf_put(&kept, at, n, err);
            if (st == TR_OK) st = tr_buf_puts(&kept, "\n", err);
        }
        at += n + (at[n] != 0);
    }
    if (st == TR_OK) st = tr_file_write(path, tr_buf_text(&kept), kept.size, err);
    tr_buf_fini(&all);
    tr_buf_fini(&kept);
    return st;
}

#include "launch/staff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/file.h"

static const double first_pause = 0.5, longest_pause = 30, good_life = 60;
static const double ask_after =
    1; /* at the end: those who were told to go are gone by then */
enum { EXIT_MISTAKE = 2 };

struct place {
    struct tr_member member;
    struct tr_child child;
    bool wanted; /* started again when it ends */
    int64_t falls, in_a_row;
    double pause, started, start_at; /* clock; start_at is used while it does not run */
};

struct tr_staff {
    struct tr_staff_settings set;
    struct place *place; /* owns */
    int64_t n, room;
};

/* ---- words ---- */

void tr_words_add(struct tr_words *w, const char *flag, const char *value)
{
    int n = value ? 2 : 1;
    w->cut = w->cut || w->n + n > TR_CHILD_WORDS;
    if (w->cut) return;
    w->at[w->n++] = flag;
    if (value) w->at[w->n++] = value;
    w->at[w->n] = NULL;
}

static char *new_text(struct tr_words *w)
{
    const int most = sizeof w->text / sizeof *w->text;
    w->cut = w->cut || w->texts == most;
    return w->text[w->cut ? 0 : w->texts++];
}

void tr_words_number(struct tr_words *w, const char *flag, int64_t value)
{
    char *text = new_text(w);
    snprintf(text, sizeof *w->text, "%lld", (long long)value);
    tr_words_add(w, flag, text);
}

void tr_words_real(struct tr_words *w, const char *flag, double value)
{
    char *text = new_text(w);
    snprintf(text, sizeof *w->text, "%.17g", value);
    tr_words_add(w, flag, text);
}

static enum tr_status ask_words(const struct tr_staff_settings *s,
                                const struct tr_member *m, struct tr_words *out,
                                struct tr_err *err)
{
    *out = (struct tr_words){.n = 0};
    enum tr_status st = s->words(s->self, m, out, err);
    if (st != TR_OK || !out->cut) return st;
    return tr_err_set(err, TR_BADARG,
                      "%s: its command line has more than %d words or %zu numbers",
                      m->name, TR_CHILD_WORDS, sizeof out->text / sizeof *out->text);
}

/* ---- a member ---- */

static enum tr_status log_path(const struct tr_staff *s, const struct place *p, char *out,
                               size_t size, struct tr_err *err)
{
    char name[128];
    snprintf(name, sizeof name, "%s.log", p->member.name);
    return tr_path_join(out, size, s->set.logs, name, err);
}

static enum tr_status start(struct tr_staff *s, struct place *p, double now,
                            struct tr_err *err)
{
    char log[1024];
    struct tr_words words;
    enum tr_status st = log_path(s, p, log, sizeof log, err);
    if (st == TR_OK) st = ask_words(&s->set, &p->member, &words, err);
    if (st == TR_OK) st = tr_child_start(words.at, log, &p->child, err);
    p->started = now;
    return st;
}

/* The last line that it wrote: why it ended, in its own words. */
static void last_line(const struct tr_staff *s, const struct place *p, char *out,
                      size_t size)
{
    char path[1024];
    struct tr_buf text;
    snprintf(out, size, "it left no word");
    if (log_path(s, p, path, sizeof path, NULL) != TR_OK) return;
    if (tr_file_read(path, 64U << 20U, &text, NULL) != TR_OK) return;
    const char *at = tr_buf_text(&text), *end = at + text.size;
    while (end > at && end[-1] == '\n') end--;
    const char *line = end;
    while (line > at && line[-1] != '\n') line--;
    if (end > line) snprintf(out, size, "%.*s", (int)(end - line), line);
    tr_buf_fini(&text);
}

/* ---- all of them ---- */

enum tr_status tr_staff_create(const struct tr_staff_settings *s, struct tr_staff **out,
                               struct tr_err *err)
{
    struct tr_staff *staff = calloc(1, sizeof *staff);
    *out = staff;
    if (!staff) return tr_err_set(err, TR_NOMEM, "a staff");
    staff->set = *s;
    return tr_dir_make(s->logs, err);
}

static enum tr_status add_one(struct tr_staff *s, const struct tr_member *m,
                              struct tr_err *err)
{
    if (s->n == s->room) {
        int64_t room = s->room ? 2 * s->room : 8;
        struct place *more = realloc(s->place, (size_t)room * sizeof *more);
        if (!more) return tr_err_set(err, TR_NOMEM, "a member of the staff");
        s->place = more;
        s->room = room;
    }
    struct place *p = &s->place[s->n++];
    *p = (struct place){.member = *m, .wanted = true, .pause = first_pause};
    return start(s, p, tr_clock_seconds(), err);
}

enum tr_status tr_staff_add(struct tr_staff *s, enum tr_role role, const char *slot,
                            int64_t replicas, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < replicas && st == TR_OK; i++) {
        struct tr_member m = {.role = role, .index = i};
        snprintf(m.slot, sizeof m.slot, "%s", slot);
        snprintf(m.name, sizeof m.name, "%s%s%s-%lld", tr_role_name(role),
                 slot[0] ? "-" : "", slot, (long long)i + 1);
        st = add_one(s, &m, err);
    }
    return st;
}

/* "killed by signal 9", or in its own words. */
static void say_how(const struct tr_staff *s, const struct place *p, char *out,
                    size_t size)
{
    int code = p->child.code;
    if (code < 0)
        snprintf(out, size, "killed by signal %d", -code);
    else
        last_line(s, p, out, size);
}

static enum tr_status lose(struct tr_staff *s, struct place *p, struct tr_err *err)
{
    char how[200], log[1024];
    bool mistake = p->child.code == EXIT_MISTAKE;
    struct tr_err why = {0};
    say_how(s, p, how, sizeof how);
    p->wanted = false;
    enum tr_status st = log_path(s, p, log, sizeof log, err);
    if (st != TR_OK) return st;
    if (mistake)
        st = tr_err_set(&why, TR_BADARG, "%s: %s", p->member.name, how);
    else
        st =
            tr_err_set(&why, TR_GONE,
                       "%s ended %d times in a row without an answer (exit code %d), see "
                       "%s: %s",
                       p->member.name, TR_STAFF_FALLS, p->child.code, log, how);
    if (s->set.lost) st = s->set.lost(s->set.self, &p->member, st, &why);
    return st == TR_OK ? TR_OK : tr_err_set(err, st, "%s", why.text);
}

static enum tr_status ended(struct tr_staff *s, struct place *p, double now,
                            struct tr_err *err)
{
    char how[200];
    if (s->set.needed && !s->set.needed(s->set.self, &p->member)) {
        p->wanted = false;
        return TR_OK;
    }
    bool lived = now - p->started > good_life;
    bool worked =
        s->set.answered ? s->set.answered(s->set.self, &p->member, p->started) : lived;
    p->falls++;
    p->in_a_row = worked ? 0 : p->in_a_row + 1;
    if (p->child.code == EXIT_MISTAKE || p->in_a_row == TR_STAFF_FALLS)
        return lose(s, p, err);
    if (lived) p->pause = first_pause;
    p->start_at = now + p->pause;
    say_how(s, p, how, sizeof how);
    tr_log_warn(s->set.log, "%s ended (%s); started again in %.1f s", p->member.name, how,
                p->pause);
    p->pause = 2 * p->pause < longest_pause ? 2 * p->pause : longest_pause;
    if (s->set.fell) s->set.fell(s->set.self, &p->member, p->falls);
    return TR_OK;
}

enum tr_status tr_staff_tend(struct tr_staff *s, double now, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int64_t i = 0; i < s->n && st == TR_OK; i++) {
        struct place *p = &s->place[i];
        bool failed = false;
        if (p->child.pid != 0 && tr_child_ended(&p->child, &failed) && p->wanted)
            st = ended(s, p, now, err);
        else if (p->child.pid == 0 && p->wanted && now >= p->start_at)
            st = start(s, p, now, err);
    }
    return st;
}

void tr_staff_rest(struct tr_staff *s)
{
    for (int64_t i = 0; i < s->n; i++) s->place[i].wanted = false;
}

void tr_staff_dismiss(struct tr_staff *s, enum tr_role role, const char *slot)
{
    for (int64_t i = 0; i < s->n; i++) {
        struct place *p = &s->place[i];
        if (p->member.role == role && strcmp(p->member.slot, slot) == 0)
            p->wanted = false;
    }
}

void tr_staff_destroy(struct tr_staff *s, double seconds)
{
    if (!s) return;
    double now = tr_clock_seconds(), end = now + seconds;
    double ask = now + (seconds < ask_after ? seconds : ask_after);
    for (int64_t i = 0; i < s->n; i++) tr_child_wait(&s->place[i].child, ask);
    for (int64_t i = 0; i < s->n; i++) tr_child_ask(&s->place[i].child);
    for (int64_t i = 0; i < s->n; i++) {
        tr_child_wait(&s->place[i].child, end);
        tr_child_kill(&s->place[i].child);
    }
    free(s->place);
    free(s);
}

bool tr_staff_see(const struct tr_staff *s, int64_t i, struct tr_member *out,
                  int64_t *pid, int64_t *falls)
{
    if (i < 0 || i >= s->n) return false;
    *out = s->place[i].member;
    *pid = s->place[i].child.pid;
    *falls = s->place[i].falls;
    return true;
}

/* ---- those who are started by others ---- */

struct tr_member tr_member_of(enum tr_role role, const char *slot)
{
    struct tr_member m = {.role = role};
    snprintf(m.slot, sizeof m.slot, "%s", slot);
    snprintf(m.name, sizeof m.name, "%s%s%s", tr_role_name(role), *slot ? "-" : "", slot);
    return m;
}

double tr_joining_seconds(const struct tr_joining *j)
{
    return j->seconds > 0 ? j->seconds : 600; /* reading a large model takes its time */
}

static enum tr_status put_post(const struct tr_staff_settings *s,
                               const struct tr_member *post, struct tr_buf *out,
                               struct tr_err *err)
{
    struct tr_words w;
    enum tr_status st = ask_words(s, post, &w, err);
    for (int i = 0; i < w.n && st == TR_OK; i++)
        st = tr_buf_printf(out, err, "%s%s", i ? "\t" : "", w.at[i]);
    return st == TR_OK ? tr_buf_puts(out, "\n", err) : st;
}

enum tr_status tr_staff_tell(const struct tr_staff_settings *s,
                             const struct tr_joining *j, const char *address,
                             const struct tr_member *post, int64_t n, struct tr_err *err)
{
    struct tr_buf text;
    enum tr_status st = TR_OK;
    tr_buf_init(&text, 1 << 20);
    for (int64_t i = 0; j->roles_file && i < n && st == TR_OK; i++)
        st = put_post(s, &post[i], &text, err);
    if (st == TR_OK && j->roles_file)
        st = tr_file_write(j->roles_file, tr_buf_text(&text), text.size, err);
    if (st == TR_OK && j->address_file)
        st = tr_file_write(j->address_file, address, strlen(address), err);
    tr_buf_fini(&text);
    return st;
}

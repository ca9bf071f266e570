/* How many lines peers may cause: the rule alone, then what comes of it in the core's log and memo. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/coordinator/quota.h"
#include "tests/unit/scene.h"

/* ---- the rule ---- */

/* What came of many events, one every `pause` seconds under `names` names in turn. */
struct outcome {
    int64_t let, told, lines, names_lines; /* names_lines: of the first name */
};

static void tell_all(struct tr_quota *q, bool all, double now, struct outcome *o)
{
    struct tr_quota_place p;
    while (tr_quota_tell(q, all, now, &p)) {
        assert_true(p.held > 0);
        o->told += p.held;
        o->lines++;
        o->names_lines += strcmp(p.instance, "name-0") == 0;
    }
}

static struct outcome flood(struct tr_quota *q, int events, int names, double pause)
{
    struct outcome o = {0};
    for (int i = 0; i < events; i++) {
        char name[32];
        snprintf(name, sizeof name, "name-%d", i % names);
        bool let = tr_quota_take(q, 3, name, "left", pause * i);
        o.let += let;
        o.lines += let;
        o.names_lines += let && i % names == 0;
        tell_all(q, false, pause * i, &o);
    }
    tell_all(q, true, pause * events, &o);
    return o;
}

/* Invariants 1, 2 and 4. */
static void lines_are_bounded_and_no_event_is_lost(void **state)
{
    (void)state;
    const struct {
        int events, names;
        double pause;
    } rows[] = {
        {58000, 1, 0.001},  {58000, 1, 0.1},     {58000, 7, 0.001}, {58000, 58000, 0.001},
        {58000, 1000, 0.1}, {58000, 500, 0.001}, {5, 1, 0.001},     {200, 200, 0.001},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tr_quota q = {.sources = 0};
        struct outcome o = flood(&q, rows[i].events, rows[i].names, rows[i].pause);
        double t = rows[i].events * rows[i].pause;
        assert_int_equal(o.let + o.told, rows[i].events);
        /* The last lines are those of the end, which come at once: of each name one. */
        double most = 256 + 1.1 * t + 257, of_one = 5 + 0.2 * t + 1;
        if ((double)o.lines > most || (double)o.names_lines > of_one)
            fail_msg("row %zu: %lld lines, %lld of one name", i, (long long)o.lines,
                     (long long)o.names_lines);
        if (rows[i].events <= 200) assert_int_equal(o.let, rows[i].events);
    }
}

/* Invariant 3; and one kind, role or name is no other. */
static void who_was_quiet_is_heard_again(void **state)
{
    (void)state;
    struct tr_quota q = {.sources = 0};
    struct tr_quota_place p;
    for (int i = 0; i < 5; i++) assert_true(tr_quota_take(&q, 3, "a", "left", 0));
    assert_false(tr_quota_take(&q, 3, "a", "left", 0));
    assert_true(tr_quota_take(&q, 3, "a", "joined", 0));
    assert_true(tr_quota_take(&q, 2, "a", "left", 0));
    assert_true(tr_quota_take(&q, 3, "b", "left", 0));
    assert_false(tr_quota_tell(&q, false, 9.9, &p));
    assert_true(tr_quota_tell(&q, false, 10, &p));
    assert_true(p.held == 1 && p.role == 3);
    assert_string_equal(p.instance, "a");
    assert_string_equal(p.kind, "left");
    assert_false(tr_quota_tell(&q, true, 10, &p));
    assert_true(tr_quota_take(&q, 3, "a", "left", 10)); /* earned since */
    assert_false(tr_quota_take(&q, 3, "a", "left", 10));
    for (int i = 0; i < 5; i++) assert_true(tr_quota_take(&q, 3, "a", "left", 70));
}

/* ---- in the core ---- */

struct book { /* the memo: it counts what it is to keep */
    int64_t events, bytes;
    char last[320];
};

static enum tr_status find_nothing(void *self, const struct tr_digest *unit,
                                   struct tr_content *answer, struct tr_err *err)
{
    (void)self, (void)unit, (void)answer, (void)err;
    return TR_AGAIN;
}

static enum tr_status keep_nothing(void *self, const struct tr_memo_entry *e,
                                   struct tr_err *err)
{
    (void)self, (void)e, (void)err;
    return TR_OK;
}

static enum tr_status flush_nothing(void *self, struct tr_err *err)
{
    (void)self, (void)err;
    return TR_OK;
}

static enum tr_status write_event(void *self, enum tr_role role, const char *instance,
                                  const char *kind, const char *text, struct tr_err *err)
{
    struct book *b = self;
    (void)role, (void)instance, (void)kind, (void)err;
    b->events++;
    b->bytes += (int64_t)strlen(text);
    snprintf(b->last, sizeof b->last, "%s", text);
    return TR_OK;
}

enum { HONEST = 0, OTHER = 1, TIMES = 6000 };

static struct tr_message hello_of(int i, const char *weights)
{
    struct tr_digest d = named(weights);
    struct tr_message m = {.say = TR_SAY_HELLO,
                           .as.hello = {.role = TR_ROLE_REWARD,
                                        .instance = "reward-1",
                                        .incarnation = i,
                                        .credits = 1,
                                        .holds = tr_digests_one(&d)}};
    return m;
}

/* Each is one thing that a peer can say for ever. */
static void joins_and_leaves(struct scene *s, int i)
{
    struct tr_message hi = hello_of(i, "r"), bye = {.say = TR_SAY_BYE};
    tell(s, OTHER, &hi);
    tell(s, OTHER, &bye);
}

static void takes_new_names(struct scene *s, int i)
{
    struct tr_message hi = hello_of(i, "r"), bye = {.say = TR_SAY_BYE};
    snprintf(hi.as.hello.instance, sizeof hi.as.hello.instance, "reward-%d", i);
    tell(s, OTHER, &hi);
    tell(s, OTHER, &bye);
}

static void is_always_newer(struct scene *s, int i)
{
    struct tr_message hi = hello_of(i, "r");
    tell(s, OTHER, &hi);
}

static void is_turned_away(struct scene *s, int i)
{
    struct tr_message hi = hello_of(i, "r");
    snprintf(hi.as.hello.slot, sizeof hi.as.hello.slot, "no such slot");
    tell(s, OTHER, &hi);
}

static void is_misheard(struct scene *s, int i)
{
    struct tr_message hi = hello_of(i, "r");
    if (i % 2) tell(s, OTHER, &hi); /* of a worker, and of a stranger */
    assert_int_equal(tr_core_mishear(s->core, OTHER, "what?", s->now, NULL), TR_OK);
    look(s);
}

static void cannot_load(struct scene *s, int i)
{
    struct tr_message hi = hello_of(7, "r"),
                      no = {.say = TR_SAY_LOADED, .as.loaded = {.text = "no room"}};
    if (i == 0) tell(s, OTHER, &hi);
    tell(s, OTHER, &no);
}

static void answers_what_nobody_asked(struct scene *s, int i)
{
    struct tr_message hi = hello_of(7, "r");
    char name[32];
    snprintf(name, sizeof name, "unit %d", i);
    if (i == 0) tell(s, OTHER, &hi);
    done(s, OTHER, named(name), 1, "r");
}

static void answers_otherwise(struct scene *s, int i)
{
    struct tr_message hi = hello_of(7, "r");
    static const char *const by[] = {"r", "something else"};
    if (i == 0) {
        struct tr_digest id = take(s, HONEST);
        done(s, HONEST, id, 1, "r");
        s->in_hand[2][0] = id;
        tell(s, OTHER, &hi);
    }
    done(s, OTHER, s->in_hand[2][0], (float)i, by[i % 2]);
}

static void talks_like_a_coordinator(struct scene *s, int i)
{
    struct tr_message hi = hello_of(7, "r"), m = {.say = TR_SAY_WHO};
    if (i == 0) tell(s, OTHER, &hi);
    tell(s, OTHER, &m);
}

static void offers(struct scene *s, int i)
{
    struct tr_message hi = hello_of(7, "r"),
                      m = {.say = TR_SAY_OFFER,
                           .as.offer = {.file = "/a", .source = "b"}};
    if (i == 0) tell(s, OTHER, &hi);
    tell(s, OTHER, &m);
}

static const struct {
    const char *name;
    void (*say)(struct scene *s, int i);
    bool news; /* it makes lines at all */
} rows[] = {
    {"joins and leaves", joins_and_leaves, true},
    {"takes new names", takes_new_names, true},
    {"is always newer", is_always_newer, true},
    {"is turned away", is_turned_away, true},
    {"is misheard", is_misheard, true},
    {"cannot load", cannot_load, true},
    {"answers what nobody asked", answers_what_nobody_asked, true},
    {"answers otherwise", answers_otherwise, true},
    {"talks like a coordinator", talks_like_a_coordinator, true},
    {"offers", offers, false},
};

static void says_progress(struct scene *s)
{
    struct tr_message m = {.say = TR_SAY_PROGRESS};
    for (int i = 0; i < s->hands[HONEST]; i++)
        m.as.progress.in_hand.at[m.as.progress.in_hand.n++] = s->in_hand[HONEST][i];
    tell(s, HONEST, &m);
}

/* Six seconds of it: the log and the memo have what is news and a number, and the run ends as it should. */
static void what_a_peer_repeats_is_counted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct book book = {0};
        struct tr_memo memo = {.self = &book,
                               .find = find_nothing,
                               .keep = keep_nothing,
                               .flush = flush_nothing,
                               .event = write_event};
        struct scene s = {.memo = &memo};
        struct tr_core_counts n;
        open_scene(&s, 2, 1);
        hello(&s, HONEST, TR_ROLE_REWARD, "r");
        for (int k = 0; k < TIMES; k++) {
            s.now = 0.001 * k;
            s.hands[OTHER] = 0;
            if (k % 1000 == 0) says_progress(&s);
            rows[i].say(&s, k);
            if (s.st != TR_OK) fail_msg("%s: %s", rows[i].name, s.err.text);
        }
        s.now = 16;
        assert_int_equal(tr_core_tick(s.core, s.now, &s.err), TR_OK);
        look(&s);
        n = tr_core_counts(s.core);
        if (s.lines > 600 || book.events > 600 || book.bytes > 60000)
            fail_msg("%s: %d lines, %lld events of %lld bytes", rows[i].name, s.lines,
                     (long long)book.events, (long long)book.bytes);
        if (rows[i].news && n.unsaid < TIMES / 2)
            fail_msg("%s: %lld are counted", rows[i].name, (long long)n.unsaid);
        if (rows[i].news && !strstr(book.last, " more times in 1"))
            fail_msg("%s: the last event: %s", rows[i].name, book.last);
        close_scene(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_bounded_and_no_event_is_lost),
        cmocka_unit_test(who_was_quiet_is_heard_again),
        cmocka_unit_test(what_a_peer_repeats_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

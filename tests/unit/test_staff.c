/* Processes that are started, started again and given up. The children are this program itself. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "launch/staff.h"
#include "tests/unit/scratch.h"

/* ---- a child: exit CODE | kill SIGNAL | stay | deaf ---- */

static int child(int argc, char **argv)
{
    int number = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    fprintf(stderr, "a first line\nword of %s\n", argv[1]);
    sigset_t all;
    sigfillset(&all);
    if (strcmp(argv[1], "kill") == 0) raise(number);
    if (strcmp(argv[1], "stay") == 0) { /* until it is asked to go */
        sigprocmask(SIG_BLOCK, &all, NULL);
        (void)sigtimedwait(&all, NULL, &(struct timespec){.tv_sec = 60});
    }
    if (strcmp(argv[1], "deaf") == 0) {
        sigprocmask(SIG_BLOCK, &all, NULL);
        nanosleep(&(struct timespec){.tv_sec = 60}, NULL);
    }
    return number;
}

/* ---- the owner ---- */

struct owner {
    const char *word, *number;
    int flags, numbers; /* that follow them */
    bool answers, spares;
    int64_t fell, lost, starts;
    double since; /* of the life that was asked about last */
    char text[256];
};

static enum tr_status words(void *self, const struct tr_member *m, struct tr_words *out,
                            struct tr_err *err)
{
    struct owner *o = self;
    (void)m;
    (void)err;
    o->starts++;
    tr_words_add(out, o->word, o->number);
    for (int i = 0; i < o->flags; i++) tr_words_add(out, "--flag", NULL);
    for (int i = 0; i < o->numbers; i++) tr_words_number(out, "--number", i);
    return TR_OK;
}

static void fell(void *self, const struct tr_member *m, int64_t times)
{
    struct owner *o = self;
    (void)m;
    o->fell = times;
}

static bool answered(void *self, const struct tr_member *m, double since)
{
    struct owner *o = self;
    (void)m;
    o->since = since;
    return o->answers;
}

static enum tr_status lost(void *self, const struct tr_member *m, enum tr_status st,
                           struct tr_err *err)
{
    struct owner *o = self;
    (void)m;
    o->lost++;
    snprintf(o->text, sizeof o->text, "%s", err->text);
    return o->spares ? TR_OK : st;
}

struct made {
    char dir[SCRATCH_ROOM];
    struct tr_log log;
    struct tr_staff *staff;
};

static void make(struct made *m, struct owner *o, int64_t replicas)
{
    struct tr_staff_settings s = {
        .words = words, .fell = fell, .answered = answered, .lost = lost, .self = o};
    scratch_make(m->dir);
    m->log = (struct tr_log){.name = "test", .fd = STDOUT_FILENO};
    s.logs = m->dir;
    s.log = &m->log;
    assert_int_equal(tr_staff_create(&s, &m->staff, NULL), TR_OK);
    assert_int_equal(tr_staff_add(m->staff, TR_ROLE_REWARD, "main", replicas, NULL),
                     TR_OK);
}

static bool is_running(const struct tr_staff *s, int64_t i)
{
    struct tr_member m;
    int64_t pid = 0, falls = 0;
    assert_true(tr_staff_see(s, i, &m, &pid, &falls));
    return pid != 0;
}

/* The child has ended and that was seen; its clock stands still meanwhile. */
static enum tr_status until_ended(struct tr_staff *s, double now, struct tr_err *err)
{
    double end = tr_clock_seconds() + 20;
    enum tr_status st = TR_OK;
    while (st == TR_OK && is_running(s, 0)) {
        if (tr_clock_seconds() > end) fail_msg("the child does not end");
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        st = tr_staff_tend(s, now, err);
    }
    return st;
}

/* Lives of member 0, each so long, until the staff says that it is over, at most `most`. */
static enum tr_status live(struct made *m, double seconds, int64_t most, int64_t *lives,
                           struct tr_err *err)
{
    double now = tr_clock_seconds();
    enum tr_status st = TR_OK;
    for (*lives = 0; *lives < most && st == TR_OK;) {
        st = until_ended(m->staff, now + seconds, err);
        ++*lives;
        now += seconds + 31; /* longer than any pause */
        if (st == TR_OK) st = tr_staff_tend(m->staff, now, err);
        if (st == TR_OK && !is_running(m->staff, 0)) break; /* it is not started again */
    }
    return st;
}

static const struct {
    const char *name, *word, *number;
    bool answers, spares;
    int life; /* seconds */
    enum tr_status want;
    int64_t lives, lost;
    const char *words[5];
} fall[] = {
    {"a mistake",
     "exit",
     "2",
     false,
     false,
     0,
     TR_BADARG,
     1,
     1,
     {"reward-main-1: word of exit"}},
    {"a mistake that harms nobody", "exit", "2", false, true, 0, TR_OK, 1, 1, {NULL}},
    {"fails",
     "exit",
     "1",
     false,
     false,
     0,
     TR_GONE,
     TR_STAFF_FALLS,
     1,
     {"reward-main-1 ended 7 times in a row", "exit code 1", "/reward-main-1.log",
      "word of exit"}},
    {"fails after minutes",
     "exit",
     "3",
     false,
     false,
     300,
     TR_GONE,
     TR_STAFF_FALLS,
     1,
     {"exit code 3"}},
    {"is killed",
     "kill",
     "9",
     false,
     false,
     0,
     TR_GONE,
     TR_STAFF_FALLS,
     1,
     {"reward-main-1 ended 7 times", "killed by signal 9", "/reward-main-1.log"}},
    {"fails while others live",
     "exit",
     "1",
     false,
     true,
     0,
     TR_OK,
     TR_STAFF_FALLS,
     1,
     {NULL}},
    {"works, then fails", "exit", "1", true, false, 0, TR_OK, 20, 0, {NULL}},
    {"ends well too early",
     "exit",
     "0",
     false,
     false,
     0,
     TR_GONE,
     TR_STAFF_FALLS,
     1,
     {"exit code 0"}},
};

/* Invariants 2, 4 and 5. */
static void test_falls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fall / sizeof *fall; i++) {
        struct owner o = {.word = fall[i].word,
                          .number = fall[i].number,
                          .answers = fall[i].answers,
                          .spares = fall[i].spares};
        struct made m;
        struct tr_err err = {0};
        int64_t lives = 0;
        make(&m, &o, 1);
        enum tr_status st = live(&m, fall[i].life, 20, &lives, &err);
        if (st != fall[i].want || lives != fall[i].lives || o.lost != fall[i].lost)
            fail_msg("%s: status %d after %lld lives, lost %lld: %s", fall[i].name,
                     (int)st, (long long)lives, (long long)o.lost, err.text);
        for (int w = 0; fall[i].words[w]; w++)
            if (!strstr(err.text, fall[i].words[w]))
                fail_msg("%s: no \"%s\" in: %s", fall[i].name, fall[i].words[w],
                         err.text);
        if (o.lost) assert_int_equal(o.fell, fall[i].lives - 1);
        tr_staff_destroy(m.staff, 0);
        scratch_remove(m.dir);
    }
}

/* Invariant 4: one life that was of use, and the count starts anew. */
static void test_an_answer_resets_the_count(void **state)
{
    (void)state;
    struct owner o = {.word = "exit", .number = "1"};
    struct made m;
    struct tr_err err = {0};
    int64_t lives = 0;
    make(&m, &o, 1);
    assert_int_equal(live(&m, 0, TR_STAFF_FALLS - 1, &lives, &err), TR_OK);
    o.answers = true;
    assert_int_equal(live(&m, 0, 1, &lives, &err), TR_OK);
    o.answers = false;
    assert_int_equal(live(&m, 0, 20, &lives, &err), TR_GONE);
    assert_int_equal(lives, TR_STAFF_FALLS);
    tr_staff_destroy(m.staff, 0);
    scratch_remove(m.dir);
}

/* Invariant 3, by a clock of our own: when is it started again? */
static void test_pauses(void **state)
{
    (void)state;
    static const double pause[] = {0.5, 1, 2, 4, 8, 16, 30, 30};
    struct owner o = {.word = "exit", .number = "1", .answers = true};
    struct made m;
    struct tr_err err = {0};
    make(&m, &o, 1);
    double now = tr_clock_seconds();
    for (size_t i = 0; i < sizeof pause / sizeof *pause; i++) {
        assert_int_equal(until_ended(m.staff, now, &err), TR_OK);
        assert_int_equal(tr_staff_tend(m.staff, now + pause[i] - 0.01, &err), TR_OK);
        if (is_running(m.staff, 0)) fail_msg("pause %zu: started too early", i);
        now += pause[i] + 0.01;
        assert_int_equal(tr_staff_tend(m.staff, now, &err), TR_OK);
        if (!is_running(m.staff, 0)) fail_msg("pause %zu: not started", i);
        assert_true(o.since < now);
    }
    now += 61; /* a good life */
    assert_int_equal(until_ended(m.staff, now, &err), TR_OK);
    assert_int_equal(tr_staff_tend(m.staff, now + 0.51, &err), TR_OK);
    assert_true(is_running(m.staff, 0));
    tr_staff_destroy(m.staff, 0);
    scratch_remove(m.dir);
}

static double seconds_to_end(const char *word, int64_t replicas, double grace)
{
    struct owner o = {.word = word};
    struct made m;
    int64_t pid[4] = {0}, falls = 0;
    struct tr_member who;
    make(&m, &o, replicas);
    for (int64_t i = 0; i < replicas; i++)
        tr_staff_see(m.staff, i, &who, &pid[i], &falls);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    double begin = tr_clock_seconds();
    tr_staff_destroy(m.staff, grace);
    double took = tr_clock_seconds() - begin;
    for (int64_t i = 0; i < replicas; i++)
        if (kill((pid_t)pid[i], 0) == 0)
            fail_msg("%s: child %lld lives", word, (long long)i);
    scratch_remove(m.dir);
    return took;
}

/* None is started with fewer words than it was to have, and none is told to others. */
static void test_a_long_command_line(void **state)
{
    (void)state;
    static const struct {
        int flags, numbers;
        enum tr_status want;
    } rows[] = {{TR_CHILD_WORDS - 2, 0, TR_OK},
                {TR_CHILD_WORDS - 1, 0, TR_BADARG},
                {0, 8, TR_OK},
                {0, 9, TR_BADARG}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct owner o = {.word = "exit", .number = "0"};
        struct made m;
        struct tr_err err = {0}, told = {0};
        char file[SCRATCH_ROOM];
        make(&m, &o, 0);
        scratch_path(file, m.dir, "posts");
        const struct tr_staff_settings s = {.words = words, .self = &o};
        const struct tr_joining j = {.roles_file = file};
        const struct tr_member post = tr_member_of(TR_ROLE_CRITIC, "");
        o.flags = rows[i].flags;
        o.numbers = rows[i].numbers;
        enum tr_status st = tr_staff_add(m.staff, TR_ROLE_CRITIC, "", 1, &err);
        enum tr_status tell = tr_staff_tell(&s, &j, "", &post, 1, &told);
        if (st != rows[i].want || tell != st)
            fail_msg("row %zu: %s; %s", i, err.text, told.text);
        if (st != TR_OK && !(strstr(err.text, "critic-1") && strstr(told.text, "critic")))
            fail_msg("row %zu: %s; %s", i, err.text, told.text);
        tr_staff_destroy(m.staff, 20);
        scratch_remove(m.dir);
    }
}

/* Nobody waits longer than it takes; who does not go is killed when the time is up. Upper bounds are wide:
 * a busy machine is no failure. */
static void test_the_end(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        double grace, least, most;
    } rows[] = {
        {"exit", 60, 0, 20},   /* gone already */
        {"stay", 60, 0.9, 40}, /* goes when it is asked to */
        {"deaf", 2, 1.9, 40},  /* the whole grace */
        {"deaf", 0, 0, 20},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double took = seconds_to_end(rows[i].word, 3, rows[i].grace);
        if (took < rows[i].least || took > rows[i].most)
            fail_msg("%s, %g s of grace: took %g s", rows[i].word, rows[i].grace, took);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_falls),   cmocka_unit_test(test_an_answer_resets_the_count),
        cmocka_unit_test(test_pauses),  cmocka_unit_test(test_a_long_command_line),
        cmocka_unit_test(test_the_end),
    };
    if (argc > 1) return child(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

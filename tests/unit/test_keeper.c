/* Who is started again, between a real core and real processes: nobody who was told to go. The children are this
 * program itself and end at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "launch/keeper.h"
#include "tests/unit/scratch.h"

/* ---- a run that is over when we say so ---- */

struct run {
    bool finished;
    struct tr_planner planner;
    struct tr_core *core;
    struct tr_journal *journal;
    struct tr_log log;
    struct tr_keeper keeper;
    struct tr_staff *staff;
    int64_t post, fell;
    char dir[SCRATCH_ROOM];
};

static enum tr_status begin(void *self, struct tr_core *core, struct tr_err *err)
{
    (void)self;
    (void)core;
    (void)err;
    return TR_OK;
}

static bool finished(const void *self)
{
    const struct run *r = self;
    return r->finished;
}

static enum tr_status words(void *self, const struct tr_member *m, struct tr_words *out,
                            struct tr_err *err)
{
    (void)self;
    (void)m;
    (void)err;
    tr_words_add(out, "gone", NULL);
    return TR_OK;
}

static bool needed(void *self, const struct tr_member *m)
{
    const struct run *r = self;
    return tr_keeper_needs(&r->keeper, m);
}

static void fell(void *self, const struct tr_member *m, int64_t times)
{
    struct run *r = self;
    r->fell++;
    tr_keeper_fell(&r->keeper, m, times);
}

static void open_run(struct run *r)
{
    char path[SCRATCH_ROOM + 16];
    const struct tr_core_settings set = {.join_seconds = 60, .attempts = 3};
    const struct tr_journal_meta fresh = {.run = "test", .stage = "ppo"};
    struct tr_err err = {0};
    *r = (struct run){.log = {.name = "test", .fd = STDOUT_FILENO}};
    scratch_make(r->dir);
    snprintf(path, sizeof path, "%s/run.db", r->dir);
    r->planner = (struct tr_planner){.self = r, .start = begin, .finished = finished};
    if (tr_journal_open(path, NULL, &fresh, &r->journal, &err) != TR_OK)
        fail_msg("%s", err.text);
    if (tr_core_create(&set, &r->planner, NULL, 0, &r->core, &err) != TR_OK ||
        tr_core_open_post(r->core, TR_ROLE_REWARD, "main", 0, &r->post, &err) != TR_OK)
        fail_msg("%s", err.text);
    r->keeper = (struct tr_keeper){r->core, r->journal, &r->log};
    const struct tr_staff_settings staff = {.logs = r->dir,
                                            .log = &r->log,
                                            .words = words,
                                            .needed = needed,
                                            .fell = fell,
                                            .self = r};
    assert_int_equal(tr_core_tick(r->core, 1, NULL), TR_OK);
    assert_int_equal(tr_staff_create(&staff, &r->staff, NULL), TR_OK);
    assert_int_equal(tr_staff_add(r->staff, TR_ROLE_REWARD, "main", 1, NULL), TR_OK);
}

static void close_run(struct run *r)
{
    tr_staff_destroy(r->staff, 0);
    tr_core_destroy(r->core);
    tr_journal_close(r->journal);
    scratch_remove(r->dir);
}

/* Its process has ended, and the staff looks only now. */
static void look_late(struct run *r)
{
    struct tr_member m;
    int64_t pid = 1, falls = 0;
    double end = tr_clock_seconds() + 20;
    while (pid != 0 && tr_clock_seconds() < end) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        assert_int_equal(tr_staff_tend(r->staff, tr_clock_seconds(), NULL), TR_OK);
        assert_true(tr_staff_see(r->staff, 0, &m, &pid, &falls));
    }
    assert_int_equal(pid, 0);
    assert_int_equal(tr_staff_tend(r->staff, tr_clock_seconds() + 40, NULL), TR_OK);
    assert_true(tr_staff_see(r->staff, 0, &m, &pid, &falls)); /* pid: started again? */
    assert_true((pid != 0) == (r->fell > 0) && falls == r->fell);
}

static void who_falls_in_the_middle_is_started_again(void **state)
{
    (void)state;
    struct run r;
    open_run(&r);
    look_late(&r);
    assert_int_equal(r.fell, 1);
    close_run(&r);
}

/* All were told to go; who is quick is gone before the staff rests. */
static void who_goes_at_the_end_has_not_fallen(void **state)
{
    (void)state;
    struct run r;
    open_run(&r);
    r.finished = true;
    assert_int_equal(tr_core_tick(r.core, 2, NULL), TR_OK);
    assert_true(tr_core_over(r.core));
    look_late(&r);
    assert_int_equal(r.fell, 0);
    close_run(&r);
}

/* A reward that no step needs any more. */
static void who_goes_because_its_post_was_closed_has_not_fallen(void **state)
{
    (void)state;
    struct run r;
    open_run(&r);
    assert_int_equal(tr_core_close_post(r.core, r.post, NULL), TR_OK);
    look_late(&r);
    assert_int_equal(r.fell, 0);
    close_run(&r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_falls_in_the_middle_is_started_again),
        cmocka_unit_test(who_goes_at_the_end_has_not_fallen),
        cmocka_unit_test(who_goes_because_its_post_was_closed_has_not_fallen),
    };
    (void)argv;
    return argc > 1 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}

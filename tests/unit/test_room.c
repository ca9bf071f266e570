/* Whether activations are computed again, and what is refused: an estimate in shares of what this host has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/room.h"

struct estimate {
    double kept, again; /* shares of what there is */
    int64_t asked;
};

static enum tr_status estimate(void *self, bool recompute, struct tr_memory *need,
                               struct tr_err *err)
{
    struct estimate *e = self;
    size_t there = 0;
    enum tr_status st = tr_memory_available("", &there, err);
    *need = (struct tr_memory){0};
    if (st == TR_OK)
        tr_memory_add(need, "all",
                      (size_t)((double)there * (recompute ? e->again : e->kept)));
    e->asked++;
    return st;
}

static void test_choice(void **state)
{
    static const struct {
        const char *name;
        double kept, again;
        int wish;
        bool never, here, recompute;
        enum tr_status st;
    } row[] = {
        {"there is room", 0.5, 0.2, -1, false, true, false, TR_OK},
        {"it would nearly fill the host", 0.9, 0.2, -1, false, true, true, TR_OK},
        {"asked for", 0.1, 0.1, 1, false, true, true, TR_OK},
        {"asked not to", 0.9, 0.2, 0, false, true, false, TR_OK},
        {"disabled", 0.9, 0.2, -1, true, true, false, TR_OK},
        {"never enough", 3, 2, -1, false, true, true, TR_NOMEM},
        {"enough only with", 2, 0.2, 0, false, true, false, TR_NOMEM},
        {"other hosts have it", 3, 2, -1, false, false, true, TR_OK},
    };
    const struct tr_log quiet = {"test", STDERR_FILENO, TR_LOG_QUIET};
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct tr_options o = {0};
        struct tr_err err = {0};
        struct estimate e = {row[i].kept, row[i].again, 0};
        bool recompute = false;
        o.model.recompute = row[i].wish;
        o.model.never_recompute = row[i].never;
        const struct tr_room room = {&o, &quiet, row[i].here, estimate, &e};
        print_message("%s\n", row[i].name);
        assert_int_equal(tr_room_choose(&room, &recompute, &err), row[i].st);
        assert_int_equal(recompute, row[i].recompute);
        assert_int_equal(e.asked, recompute && row[i].wish < 0 ? 2 : 1);
        if (row[i].st == TR_NOMEM) assert_non_null(strstr(err.text, "the host has"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_choice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

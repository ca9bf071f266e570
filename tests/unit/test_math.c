/* Who may compute together: the same version and core type of OpenBLAS, or exact maths; and as the run says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scene.h"

#define HASWELL "openblas 0.3.21 Haswell"
#define ZEN     "openblas 0.3.21 Zen"

static void join(struct scene *s, int peer, const char *math)
{
    struct tr_digest d = named("r");
    struct tr_message m = {.say = TR_SAY_HELLO};
    m.as.hello = (struct tr_hello){
        .role = TR_ROLE_REWARD, .credits = 1, .threads = 1, .holds = tr_digests_one(&d)};
    snprintf(m.as.hello.math, sizeof m.as.hello.math, "%s", math);
    snprintf(m.as.hello.instance, sizeof m.as.hello.instance, "worker-%d", peer);
    tell(s, peer, &m);
}

static const struct {
    const char *run, *first, *second; /* math; "": not said */
    const char *reason;               /* why not the second; "": it is admitted */
} row[] = {
    {"", HASWELL, HASWELL, ""},
    {"openblas", HASWELL, HASWELL, ""},
    {"exact", "exact", "exact", ""},
    {"openblas", HASWELL, "", ""},
    {"openblas", "", HASWELL, ""},
    {"openblas", HASWELL, ZEN,
     "math: " ZEN ", but the others compute with math: " HASWELL},
    {"openblas", HASWELL, "openblas 0.3.22 Haswell", "the others compute with"},
    {"openblas", HASWELL, "exact", "math: exact, but this run's is math: openblas"},
    {"openblas", "", "exact", "this run's is math: openblas"},
    {"exact", "", HASWELL, "math: " HASWELL ", but this run's is math: exact"},
    {"exact", "", "exactly", "this run's is math: exact"},
    {"", "exact", HASWELL, "the others compute with math: exact"},
};

static void maths_are_not_mixed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct scene s = {.math = row[i].run};
        open_scene(&s, 2, 2);
        join(&s, 0, row[i].first);
        join(&s, 1, row[i].second);
        assert_true(s.welcome[0]);
        if (s.welcome[1] != !row[i].reason[0] || !strstr(s.reason[1], row[i].reason))
            fail_msg("row %zu: admitted %d, %s", i, s.welcome[1], s.reason[1]);
        close_scene(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(maths_are_not_mixed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

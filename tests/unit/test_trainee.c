/* Learn units: asked twice they are done once, and only in their order. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/course.h"
#include "actors/trainee.h"
#include "actors/worker.h"
#include "core/base/file.h"
#include "tests/unit/learning.h"
#include "tests/unit/scratch.h"
#include "tests/unit/tiny.h"

static const struct learning_way way = {"whole", NULL, 1, 600, 8, false};

struct taught {
    struct tr_exec ex;
    struct tr_learner *learner;
    struct tr_trainee *trainee;
};

struct served { /* a course, and the learner that joined it */
    struct tr_log log;
    char address[TR_ADDRESS_BYTES];
    struct tr_wire *wire;
    struct tr_course *course;
    struct tr_actor *actor;
    struct tr_worker worker;
    pthread_t thread;
    enum tr_status st;
    struct tr_err err;
};

static void open_taught_in(struct taught *t, const char *dir)
{
    assert_true(learning_learner(&way, &tiny_archs[0].arch, false, &t->ex, &t->learner));
    struct tr_role_start start = {.ex = &t->ex,
                                  .learner = t->learner,
                                  .max_tokens = 200,
                                  .weights = dir,
                                  .keep = 2};
    void *self = NULL;
    assert_int_equal(tr_trainee_open(&start, true, false, &self, NULL), TR_OK);
    t->trainee = self;
}

static void open_taught(struct taught *t)
{
    open_taught_in(t, NULL);
}

static void close_taught(struct taught *t)
{
    tr_trainee_close(t->trainee);
    tr_learner_close(t->learner);
    tr_exec_fini(&t->ex);
}

/* A unit of the s-th task that needs this lineage. */
static struct tr_unit unit_of(const struct taught *t, uint64_t s,
                              const struct tr_digest *lineage)
{
    struct learning x;
    struct tr_unit unit;
    struct tr_digests needs = tr_digests_one(lineage);
    learning_open(&x, TR_LEARN_TOKENS, tr_learner_arch(t->learner)->V, 4, s);
    struct tr_ask_learn ask = tr_ask_learn_from(&x.task, true);
    assert_int_equal(tr_unit_make(&tr_ask_learn_record, &needs, &ask, &unit, NULL),
                     TR_OK);
    learning_close(&x);
    return unit;
}

static struct tr_digest answer_digest(const struct tr_content *c)
{
    struct tr_digest d;
    assert_int_equal(tr_content_digest(c, &d, NULL), TR_OK);
    return d;
}

/* Invariants 1 and 2. */
static void a_unit_is_learnt_once_and_in_its_order(void **state)
{
    (void)state;
    struct taught t;
    struct tr_content first, again, refused;
    open_taught(&t);
    struct tr_digest began = t.trainee->lineage;
    struct tr_unit one = unit_of(&t, 1, &began), other = unit_of(&t, 2, &began);
    assert_int_equal(tr_trainee_learn(t.trainee, &one, &first, NULL), TR_OK);
    struct tr_digest after = learning_state(t.learner);
    assert_int_equal(tr_trainee_learn(t.trainee, &one, &again, NULL), TR_OK);
    struct tr_digest still = learning_state(t.learner);
    struct tr_digest a = answer_digest(&first), b = answer_digest(&again);
    assert_true(tr_digest_equal(&after, &still) && tr_digest_equal(&a, &b));
    assert_true(tr_digest_equal(&t.trainee->lineage, &one.id));
    assert_int_equal(tr_trainee_learn(t.trainee, &other, &refused, NULL), TR_STALE);
    still = learning_state(t.learner);
    assert_true(tr_digest_equal(&after, &still));
    struct tr_unit next = unit_of(&t, 2, &one.id);
    tr_content_fini(&again);
    assert_int_equal(tr_trainee_learn(t.trainee, &next, &again, NULL), TR_OK);
    assert_int_equal(*tr_learner_state(t.learner).t, 2);
    tr_content_fini(&first);
    tr_content_fini(&again);
    tr_unit_fini(&one);
    tr_unit_fini(&other);
    tr_unit_fini(&next);
    close_taught(&t);
}

/* A role of a process of its own, but that it is a thread. */
static void *teach(void *worker)
{
    struct served *s = worker;
    s->st = tr_worker_run(&s->worker, s->actor, &s->log, &s->err);
    return NULL;
}

static void open_served(struct served *s, const struct tr_exec *ex,
                        struct tr_learner *learner)
{
    struct tr_role_start start = {.ex = ex, .learner = learner};
    struct tr_course_owner owner = {.ctx = NULL};
    s->log = (struct tr_log){.name = "test", .fd = -1, .level = TR_LOG_QUIET};
    assert_int_equal(
        tr_wire_listen("tcp://127.0.0.1:0", NULL, s->address, &s->wire, NULL), TR_OK);
    const struct tr_course_settings set = {
        .run = "test", .wire = s->wire, .join_seconds = 60, .log = &s->log};
    assert_int_equal(tr_course_open(&set, &owner, &s->course, NULL), TR_OK);
    assert_int_equal(tr_actor_open(TR_ROLE_POLICY, &start, &s->actor, NULL), TR_OK);
    s->worker = (struct tr_worker){
        .address = s->address, .instance = "policy-1", .join_seconds = 60, .stop_fd = -1};
    assert_int_equal(pthread_create(&s->thread, NULL, teach, s), 0);
}

/* It is told to go. */
static void close_served(struct served *s)
{
    tr_course_close(s->course);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    if (s->st != TR_OK) fail_msg("%s", s->err.text);
    tr_wire_close(s->wire);
    tr_actor_close(s->actor);
}

/* course.h: through units a learner learns what it learns without them. */
static void a_course_changes_no_bit(void **state)
{
    (void)state;
    struct tr_exec ex, ex2;
    struct tr_learner *plain = NULL, *taught = NULL;
    struct served served = {.st = TR_OK};
    struct tr_digest weights, said;
    assert_true(learning_learner(&way, &tiny_archs[1].arch, true, &ex, &plain));
    assert_true(learning_learner(&way, &tiny_archs[1].arch, true, &ex2, &taught));
    open_served(&served, &ex2, taught);
    struct tr_course *course = served.course;
    for (int s = 0; s < 6; s++) {
        struct learning x;
        struct tr_learn_result a, b;
        struct tr_err err = {0};
        memset(&a, 0, sizeof a);
        memset(&b, 0, sizeof b);
        learning_open(&x, (enum tr_objective)(s % 4), tr_learner_arch(plain)->V, 4,
                      (uint64_t)s);
        if (s == 4) x.task.divisor = 1e-300; /* not finite: skipped by both */
        assert_int_equal(tr_learner_step(plain, &x.task, &a, NULL), TR_OK);
        if (tr_course_learn(course, &x.task, &b, &err) != TR_OK) fail_msg("%s", err.text);
        assert_int_equal(a.skipped, b.skipped);
        assert_int_equal(a.skipped, s == 4);
        if (!a.skipped)
            assert_true(a.loss == b.loss && a.grad_norm == b.grad_norm && a.t == b.t &&
                        a.tokens == b.tokens && a.targets == b.targets &&
                        a.accuracy == b.accuracy && a.entropy == b.entropy);
        learning_close(&x);
    }
    struct tr_digest want = learning_state(plain);
    assert_int_equal(tr_course_save(course, NULL, false, &weights, &said, NULL), TR_OK);
    assert_true(tr_digest_equal(&want, &said));
    close_served(&served);
    tr_learner_close(plain);
    tr_learner_close(taught);
    tr_exec_fini(&ex);
    tr_exec_fini(&ex2);
}

/* Weights that have gone are not judged with. */
static void judging_needs_the_weights_that_are_there(void **state)
{
    (void)state;
    static const int32_t token[] = {1, 2, 3, 4};
    static const int64_t offsets[] = {0, 4}, from = 2;
    struct taught t;
    struct tr_unit judge, learn;
    struct tr_content answer;
    struct tr_ask_judge ask = {{token, 4}, {offsets, 2}, {&from, 1}};
    open_taught(&t);
    struct tr_digests needs = tr_digests_one(&t.trainee->weights);
    assert_int_equal(tr_unit_make(&tr_ask_logprob_record, &needs, &ask, &judge, NULL),
                     TR_OK);
    assert_int_equal(tr_trainee_judge(t.trainee, &judge, &answer, NULL), TR_OK);
    tr_content_fini(&answer);
    learn = unit_of(&t, 1, &t.trainee->lineage);
    assert_int_equal(tr_trainee_learn(t.trainee, &learn, &answer, NULL), TR_OK);
    tr_content_fini(&answer);
    assert_int_equal(tr_trainee_judge(t.trainee, &judge, &answer, NULL), TR_STALE);
    tr_unit_fini(&judge);
    tr_unit_fini(&learn);
    close_taught(&t);
}

/* The file that is offered holds the weights of this digest, as they were. */
static void check_offer(const struct taught *t, const struct tr_offer *o)
{
    struct tr_err err = {0};
    struct tr_model m;
    struct tr_model_shape shape = tr_model_shape_of(tr_learner_weights(t->learner));
    if (tr_model_map(&shape, TR_MATH_EXACT, o->file, &o->digest, &m, &err) != TR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(tr_packed_verify(m.packed, &t->ex, NULL), TR_OK);
    tr_model_close(&m);
}

/* Each version is offered once, the oldest goes beyond `keep` or when it is dropped. */
static void a_policy_publishes_what_others_shall_have(void **state)
{
    (void)state;
    struct taught t;
    struct tr_offer offer[4], none;
    struct tr_digest lineage;
    char dir[SCRATCH_ROOM];
    scratch_make(dir);
    open_taught_in(&t, dir);
    lineage = t.trainee->lineage;
    for (uint64_t s = 0; s < 4; s++) {
        struct tr_content answer, again;
        struct tr_unit unit = unit_of(&t, s, &lineage);
        assert_true(tr_trainee_offer(t.trainee, &offer[s]));
        assert_false(tr_trainee_offer(t.trainee, &none));
        check_offer(&t, &offer[s]);
        assert_int_equal(tr_trainee_learn(t.trainee, &unit, &answer, NULL), TR_OK);
        assert_int_equal(tr_trainee_learn(t.trainee, &unit, &again, NULL), TR_OK);
        lineage = unit.id;
        tr_content_fini(&answer);
        tr_content_fini(&again);
        tr_unit_fini(&unit);
    }
    check_offer(&t, &offer[3]);
    assert_false(tr_path_exists(offer[0].file) || tr_path_exists(offer[2].file));
    tr_trainee_forget(t.trainee, &offer[3].digest);
    tr_trainee_forget(t.trainee, &offer[0].digest);
    assert_false(tr_path_exists(offer[3].file));
    close_taught(&t);
    assert_int_equal(rmdir(dir), 0); /* nothing is left */
}

/* Invariant 3. */
static void what_cannot_be_published_is_not_answered(void **state)
{
    (void)state;
    struct taught t;
    struct tr_content answer;
    struct tr_offer offer;
    struct tr_err err = {0};
    char dir[SCRATCH_ROOM];
    scratch_make(dir);
    open_taught_in(&t, dir);
    struct tr_unit unit = unit_of(&t, 1, &t.trainee->lineage);
    scratch_remove(dir);
    assert_int_equal(tr_trainee_learn(t.trainee, &unit, &answer, &err), TR_IO);
    assert_non_null(strstr(err.text, "new weights: "));
    struct tr_digest after = learning_state(t.learner);
    assert_true(tr_dir_make(dir, NULL) == TR_OK);
    assert_int_equal(tr_trainee_learn(t.trainee, &unit, &answer, NULL), TR_OK);
    struct tr_digest still = learning_state(t.learner);
    assert_true(tr_digest_equal(&after, &still));
    assert_true(tr_trainee_offer(t.trainee, &offer));
    check_offer(&t, &offer);
    tr_content_fini(&answer);
    tr_unit_fini(&unit);
    close_taught(&t);
    scratch_remove(dir);
}

static void a_critic_publishes_nothing(void **state)
{
    (void)state;
    struct taught t;
    struct tr_offer offer;
    char dir[SCRATCH_ROOM];
    void *self = NULL;
    scratch_make(dir);
    assert_true(learning_learner(&way, &tiny_archs[0].arch, false, &t.ex, &t.learner));
    struct tr_role_start start = {
        .ex = &t.ex, .learner = t.learner, .max_tokens = 200, .weights = dir};
    assert_int_equal(tr_trainee_open(&start, false, true, &self, NULL), TR_OK);
    t.trainee = self;
    assert_false(tr_trainee_offer(self, &offer));
    close_taught(&t);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unit_is_learnt_once_and_in_its_order),
        cmocka_unit_test(a_course_changes_no_bit),
        cmocka_unit_test(judging_needs_the_weights_that_are_there),
        cmocka_unit_test(a_policy_publishes_what_others_shall_have),
        cmocka_unit_test(what_cannot_be_published_is_not_answered),
        cmocka_unit_test(a_critic_publishes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

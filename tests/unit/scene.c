#include "tests/unit/scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/step2_judge.h"

/* ---- a planner that asks for `wanted` scores at once ---- */

struct tr_digest named(const char *text)
{
    return tr_digest_of(text, strlen(text));
}

static enum tr_status start(void *self, struct tr_core *core, struct tr_err *err)
{
    struct asked *a = self;
    for (int i = 0; i < a->wanted; i++) {
        const int32_t token[] = {i < a->same ? 0 : i, 7};
        const int64_t offsets[] = {0, 2}, from = 1;
        int64_t post = tr_core_post(core, TR_ROLE_REWARD, "");
        struct tr_digest weights = tr_core_digest(core, post);
        struct tr_digests needs = tr_digests_one(&weights);
        struct tr_ask_judge ask = {{token, 2}, {offsets, 2}, {&from, 1}};
        struct tr_unit unit;
        assert_int_equal(tr_unit_make(&tr_ask_score_record, &needs, &ask, &unit, err),
                         TR_OK);
        assert_int_equal(tr_core_add(core, post, &unit, i, 1, err), TR_OK);
    }
    return TR_OK;
}

static enum tr_status answer(void *self, struct tr_core *core, int64_t tag,
                             const struct tr_content *content, struct tr_err *err)
{
    struct asked *a = self;
    (void)core;
    (void)content;
    if (a->refuse) return tr_err_set(err, TR_BADMSG, "no good");
    a->answers[tag]++;
    a->total++;
    return TR_OK;
}

static bool finished(const void *self)
{
    const struct asked *a = self;
    return a->total == a->wanted;
}

static enum tr_status ask(void *self, struct tr_core *core, const char *what,
                          const char *argument, struct tr_buf *reply, struct tr_err *err)
{
    struct asked *a = self;
    (void)core;
    a->asks++;
    snprintf(a->what, sizeof a->what, "%s", what);
    snprintf(a->argument, sizeof a->argument, "%s", argument);
    enum tr_status st = tr_buf_puts(reply, "said", err);
    return a->more-- > 0 ? TR_AGAIN : st;
}

/* ---- a stage: the core, and what it sent to each peer ---- */

void open_scene(struct scene *s, int wanted, int rewards)
{
    struct tr_core_settings set = {.run = "test",
                                   .join_seconds = 10,
                                   .absent_seconds = 100,
                                   .remind_seconds = 2,
                                   .silence_seconds = 5,
                                   .here_seconds = 5,
                                   .attempts = 4};
    struct tr_memo *memo = s->memo;
    snprintf(set.math, sizeof set.math, "%s", s->math ? s->math : "");
    memset(s, 0, sizeof *s);
    s->asked = (struct asked){.wanted = wanted};
    s->asked.planner = (struct tr_planner){.self = &s->asked,
                                           .start = start,
                                           .answer = answer,
                                           .finished = finished,
                                           .ask = ask};
    assert_int_equal(tr_core_create(&set, &s->asked.planner, memo, 0, &s->core, NULL),
                     TR_OK);
    assert_int_equal(
        tr_core_open_post(s->core, TR_ROLE_REWARD, "", rewards, &s->post, NULL), TR_OK);
}

void close_scene(struct scene *s)
{
    tr_core_destroy(s->core);
}

void look(struct scene *s)
{
    struct tr_core_action a;
    while (tr_core_next(s->core, &a)) {
        bool waits = strstr(a.text, "nobody to do them") || strstr(a.text, "not joined");
        if (!a.send && waits && s->sayings < 16)
            snprintf(s->said[s->sayings++], sizeof s->said[0], "%s", a.text);
        s->lines += !a.send;
        if (!a.send) continue;
        int p = (int)a.peer;
        if (a.message.say == TR_SAY_UNIT)
            s->in_hand[p][s->hands[p]++] = a.message.as.unit.id;
        if (a.message.say == TR_SAY_BYE) s->told_bye[p] = true;
        if (a.message.say == TR_SAY_WHO) s->told_who[p] = true;
        if (a.message.say == TR_SAY_HERE) s->told_here[p] = true;
        if (a.message.say == TR_SAY_DROP) s->drops[p]++;
        if (a.message.say == TR_SAY_TELL) {
            s->told[p]++;
            s->told_ok[p] = a.message.as.tell.ok;
            assert_int_equal(a.message.content.n, 1);
            assert_int_equal(a.message.content.bulk[0].size,
                             s->told_ok[p] ? strlen("said") : 0);
        }
        if (a.message.say == TR_SAY_LOAD) {
            s->load[p] = a.message.as.load;
            s->loads[p]++;
        }
        if (a.message.say != TR_SAY_WELCOME) continue;
        s->welcome[p] = a.message.as.welcome.admitted;
        s->idle[p] = a.message.as.welcome.idle;
        memcpy(s->reason[p], a.message.as.welcome.reason, sizeof s->reason[p]);
    }
}

void tell(struct scene *s, int peer, struct tr_message *m)
{
    s->st = tr_core_hear(s->core, peer, m, s->now, &s->err);
    tr_message_fini(m);
    look(s);
}

void hello(struct scene *s, int peer, enum tr_role role, const char *weights)
{
    struct tr_digest d = named(weights);
    struct tr_message m = {.say = TR_SAY_HELLO};
    m.as.hello = (struct tr_hello){.role = (int)role,
                                   .credits = 2,
                                   .threads = 1,
                                   .math = "exact",
                                   .holds = tr_digests_one(&d)};
    snprintf(m.as.hello.instance, sizeof m.as.hello.instance, "worker-%d", peer);
    tell(s, peer, &m);
}

void done(struct scene *s, int peer, struct tr_digest id, float score,
          const char *weights)
{
    struct tr_digest d = named(weights);
    struct tr_digests used = tr_digests_one(&d);
    struct tr_answer_judge a = {{&score, 1}};
    struct tr_message m = {.say = TR_SAY_DONE};
    m.as.done.id = id;
    assert_int_equal(
        tr_content_encode(&tr_answer_score_record, &used, &a, &m.content, NULL), TR_OK);
    tell(s, peer, &m);
}

struct tr_digest take(struct scene *s, int peer)
{
    assert_true(s->hands[peer] > 0);
    return s->in_hand[peer][--s->hands[peer]];
}

void answer_all(struct scene *s, int peer)
{
    while (s->hands[peer] > 0) done(s, peer, take(s, peer), 1, "r");
}

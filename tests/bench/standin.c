#include "tests/bench/standin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "proto/step3_learn.h"
#include "tests/bench/must.h"

struct work { /* what a stand-in has at hand */
    const struct standin *set;
    struct tr_wire *wire;
    struct tr_content ready[TR_UNIT_KINDS]; /* owns; the last answer of each kind */
    struct tr_digests used[TR_UNIT_KINDS];  /* that it names */
    float *number;                          /* owns; [answer], as is the next */
    int32_t *token;
};

static double size_of(const struct tr_content *c)
{
    double n = (double)c->bytes.size;
    for (int i = 0; i < c->n; i++) n += (double)c->bulk[i].size;
    return n;
}

static void say(struct work *w, const struct tr_message *m)
{
    struct tr_err err = {0};
    enum tr_status st = tr_wire_send(w->wire, 0, m, &err);
    while (st == TR_AGAIN) {
        usleep(50);
        st = tr_wire_send(w->wire, 0, m, &err);
    }
    must(st, &err);
    w->set->tally->said++;
    w->set->tally->bytes_said += size_of(&m->content);
}

static void say_hello(struct work *w)
{
    struct tr_message m = {.say = TR_SAY_HELLO};
    struct tr_digest first = tr_digest_of("first", 5);
    struct tr_hello *h = &m.as.hello;
    *h = (struct tr_hello){.role = (int)w->set->role,
                           .incarnation = 1,
                           .credits = w->set->credits,
                           .threads = 1,
                           .host = "bench"};
    snprintf(h->slot, sizeof h->slot, "%s", w->set->slot);
    snprintf(h->instance, sizeof h->instance, "%s-1", tr_role_name(w->set->role));
    h->holds = tr_digests_one(&first);
    say(w, &m);
}

/* ---- answers ---- */

static void generate(struct work *w, const struct tr_digests *needs,
                     struct tr_content *out)
{
    int64_t n = w->set->answer, start[2] = {0, n};
    int32_t stopped = 1;
    struct tr_err err = {0};
    struct tr_answer_generate a = {
        {w->token, n}, {start, 2}, {w->number, n}, {&stopped, 1}};
    must(tr_content_encode(&tr_answer_generate_record, needs, &a, out, &err), &err);
}

static void judge(struct work *w, enum tr_unit_kind kind, const struct tr_digests *needs,
                  struct tr_content *out)
{
    struct tr_err err = {0};
    struct tr_answer_judge a = {{w->number, kind == TR_UNIT_SCORE ? 1 : w->set->answer}};
    must(tr_content_encode(tr_answer_judge_record(kind), needs, &a, out, &err), &err);
}

/* *fresh: the digest of new weights, if it was asked for. */
static void learn(struct work *w, const struct tr_message *m,
                  const struct tr_digests *needs, struct tr_content *out,
                  struct tr_digests *fresh)
{
    struct tr_ask_learn ask;
    struct tr_err err = {0};
    int64_t unknown = 0;
    (void)w;
    must(tr_content_decode(&m->content, &tr_ask_learn_record, &ask, &unknown, &err),
         &err);
    struct tr_answer_learn a = {.finite = true,
                                .loss = 0.5,
                                .tokens = ask.token.count,
                                .targets = ask.token.count};
    if (ask.want_digest) {
        struct tr_digest weights = tr_digest_of(m->as.unit.id.byte, 32);
        a.weights = *fresh = tr_digests_one(&weights);
    }
    must(tr_content_encode(&tr_answer_learn_record, needs, &a, out, &err), &err);
}

static void save(const struct tr_digests *needs, struct tr_content *out)
{
    struct tr_digest weights = tr_digest_of(needs->at[0].byte, 32);
    struct tr_answer_save a = {.weights = tr_digests_one(&weights),
                               .state = tr_digests_one(&needs->at[0])};
    struct tr_err err = {0};
    must(tr_content_encode(&tr_answer_save_record, needs, &a, out, &err), &err);
}

static void offer(struct work *w, const struct tr_digest *weights)
{
    struct tr_message m = {.say = TR_SAY_OFFER};
    m.as.offer.digest = *weights;
    snprintf(m.as.offer.file, sizeof m.as.offer.file, "/bench");
    say(w, &m);
}

/* Of a generated answer, what makes it this unit's. */
static void put_name(struct tr_content *c, const struct tr_digest *id)
{
    for (int i = 0; i < 32; i++) {
        int32_t token = id->byte[i];
        memcpy(c->store + (size_t)i * sizeof token, &token, sizeof token);
    }
}

static bool is_ready(const struct work *w, enum tr_unit_kind kind,
                     const struct tr_digests *needs)
{
    const struct tr_digests *used = &w->used[kind];
    if (kind == TR_UNIT_LEARN || kind == TR_UNIT_SAVE || used->n != needs->n)
        return false;
    return memcmp(used->at, needs->at, (size_t)used->n * sizeof *used->at) == 0;
}

static void answer(struct work *w, const struct tr_message *m)
{
    char word[32];
    struct tr_digests needs, fresh = {.n = 0};
    struct tr_message done = {.say = TR_SAY_DONE};
    struct tr_err err = {0};
    must(tr_content_head(&m->content, word, &needs, &err), &err);
    enum tr_unit_kind kind = (enum tr_unit_kind)tr_unit_kind_of(word);
    struct tr_content *c = &w->ready[kind];
    if (!is_ready(w, kind, &needs)) {
        tr_content_fini(c);
        w->used[kind] = needs;
        if (kind == TR_UNIT_GENERATE)
            generate(w, &needs, c);
        else if (kind == TR_UNIT_LEARN)
            learn(w, m, &needs, c, &fresh);
        else if (kind == TR_UNIT_SAVE)
            save(&needs, c);
        else
            judge(w, kind, &needs, c);
    }
    if (kind == TR_UNIT_GENERATE) put_name(c, &m->as.unit.id);
    done.as.done.id = m->as.unit.id;
    done.content = *c;
    if (fresh.n > 0 && w->set->role == TR_ROLE_POLICY) offer(w, &fresh.at[0]);
    say(w, &done);
}

void standin_run(const struct standin *s)
{
    struct work w = {.set = s};
    struct tr_keys keys = {.n = 0};
    struct tr_message m;
    struct tr_err err = {0};
    int64_t peer = 0;
    w.number = calloc((size_t)s->answer, sizeof *w.number);
    w.token = calloc((size_t)s->answer, sizeof *w.token);
    if (!w.number || !w.token) _exit(1);
    for (int64_t i = 0; i < s->answer; i++) w.number[i] = -0.01F * (float)(i % 100);
    for (int64_t i = 0; i < s->answer; i++) w.token[i] = (int32_t)(i * 61 % 49152);
    if (s->keys) must(tr_keys_open(s->keys, (int)s->role, &keys, &err), &err);
    must(tr_wire_join(s->address, s->keys ? &keys : NULL, &w.wire, &err), &err);
    say_hello(&w);
    for (bool over = false; !over;) {
        enum tr_status st = tr_wire_receive(w.wire, 1, &peer, &m, &err);
        if (st == TR_AGAIN) continue;
        must(st, &err);
        s->tally->heard++;
        s->tally->bytes_heard += size_of(&m.content);
        if (m.say == TR_SAY_UNIT) answer(&w, &m);
        if (m.say == TR_SAY_LOAD) {
            struct tr_message loaded = {.say = TR_SAY_LOADED};
            loaded.as.loaded.digest = m.as.load.digest;
            loaded.as.loaded.ok = true;
            say(&w, &loaded);
        }
        over = m.say == TR_SAY_BYE;
        tr_message_fini(&m);
    }
    tr_wire_close(w.wire);
    tr_keys_close(&keys);
    for (int k = 0; k < TR_UNIT_KINDS; k++) tr_content_fini(&w.ready[k]);
    free(w.number);
    free(w.token);
}

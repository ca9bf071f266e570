/* wire.c - what a coordinator's wire costs, with and without keys.
 *
 * What it is for. A coordinator should carry thousands of samples a second on one core. Here is only
 * what it says and hears: no planner, no journal.
 *
 *     wire [--seconds S] [--workers N] [--keys DIR]      DIR: as `troupe keygen` makes it
 *
 * How. First the pieces alone, without sockets: making a unit, encoding, decoding. Then N workers are
 * forked that answer at once, and the coordinator keeps each of them busy with the four units of
 * a sample of 128 + 512 tokens: generate; then logprob, score and value together. Printed are
 * samples a second by the clock (the workers share the cores), and by the CPU seconds of the
 * coordinator's process, which is what one core could carry; then weights in chunks of 4 MiB.
 * With --keys the same once more over CURVE. */
#include "proto/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "proto/step4_weights.h"
#include "tests/bench/must.h"
#include "tests/bench/usage.h"

enum { PROMPT = 128, ANSWER = 512, ALL = PROMPT + ANSWER, IN_HAND = 16, CHUNK = 4 << 20 };

/* ---- what is said ---- */

struct script { /* a sample's units and their answers, made once; of `save`, weights */
    struct tr_unit unit[TR_UNIT_VALUE + 1];
    struct tr_content answer[TR_UNIT_VALUE + 1];
    struct tr_content chunk;
};

static int32_t token[ALL], stopped[1] = {1};
static float number[ANSWER];
static const int64_t ask_start[] = {0, PROMPT}, whole[] = {0, ALL}, from[] = {PROMPT},
                     answer_start[] = {0, ANSWER}, zero[] = {0};
static unsigned char weights[CHUNK];
static const struct tr_digests one_digest = {.n = 1};

static struct tr_ask_generate ask_generate(void)
{
    return (struct tr_ask_generate){.temperature = 1,
                                    .top_p = 1,
                                    .repetition_penalty = 1,
                                    .max_new_tokens = ANSWER,
                                    .token = {token, PROMPT},
                                    .start = {ask_start, 2},
                                    .prompt = {zero, 1},
                                    .sample = {zero, 1},
                                    .stop = {token, 1}};
}

static void make_unit(enum tr_unit_kind kind, struct tr_unit *out)
{
    struct tr_err err = {0};
    struct tr_ask_generate generate = ask_generate();
    struct tr_ask_judge judge = {{token, ALL}, {whole, 2}, {from, 1}};
    if (kind == TR_UNIT_GENERATE)
        must(tr_unit_make(&tr_ask_generate_record, &one_digest, &generate, out, &err),
             &err);
    else
        must(tr_unit_make(tr_ask_judge_record(kind), &one_digest, &judge, out, &err),
             &err);
}

static void make_answer(enum tr_unit_kind kind, struct tr_content *out)
{
    struct tr_err err = {0};
    struct tr_answer_generate generate = {
        {token, ANSWER}, {answer_start, 2}, {number, ANSWER}, {stopped, 1}};
    struct tr_answer_judge judge = {{number, kind == TR_UNIT_SCORE ? 1 : ANSWER}};
    const struct tr_record *r = kind == TR_UNIT_GENERATE ? &tr_answer_generate_record
                                                         : tr_answer_judge_record(kind);
    const void *from_struct =
        kind == TR_UNIT_GENERATE ? (void *)&generate : (void *)&judge;
    must(tr_content_encode(r, &one_digest, from_struct, out, &err), &err);
}

static void write_script(struct script *s)
{
    struct tr_err err = {0};
    struct tr_bytes bytes = {{weights, CHUNK}};
    for (int i = 0; i < ALL; i++) token[i] = i * 61 % 49152;
    for (int i = 0; i < ANSWER; i++) number[i] = -0.01F * (float)i;
    for (int kind = 0; kind <= TR_UNIT_VALUE; kind++) {
        make_unit((enum tr_unit_kind)kind, &s->unit[kind]);
        make_answer((enum tr_unit_kind)kind, &s->answer[kind]);
    }
    must(tr_content_encode(&tr_chunk_record, &one_digest, &bytes, &s->chunk, &err), &err);
}

static void decode_answer(enum tr_unit_kind kind, const struct tr_content *c)
{
    union {
        struct tr_answer_generate generate;
        struct tr_answer_judge judge;
    } to;
    struct tr_err err = {0};
    int64_t unknown = 0;
    const struct tr_record *r = kind == TR_UNIT_GENERATE ? &tr_answer_generate_record
                                                         : tr_answer_judge_record(kind);
    must(tr_content_decode(c, r, &to, &unknown, &err), &err);
}

/* ---- the pieces alone ---- */

struct piece {
    const struct script *s;
    struct tr_message done;
    struct tr_buf head;
};

static void piece_make(struct piece *p)
{
    struct tr_unit u;
    (void)p;
    make_unit(TR_UNIT_LOGPROB, &u);
    tr_unit_fini(&u);
}

static void piece_digest(struct piece *p)
{
    struct tr_digest d;
    struct tr_err err = {0};
    must(tr_content_digest(&p->s->unit[TR_UNIT_LOGPROB].content, &d, &err), &err);
}

static void piece_encode(struct piece *p)
{
    struct tr_buf head;
    struct tr_err err = {0};
    must(tr_message_encode(&p->done, &head, &err), &err);
    tr_buf_fini(&head);
}

static void piece_message(struct piece *p)
{
    struct tr_message m;
    struct tr_err err = {0};
    must(tr_message_decode(p->head.at, p->head.size, p->done.content.bulk,
                           p->done.content.n, &m, &err),
         &err);
    tr_message_fini(&m);
}

static void piece_content(struct piece *p)
{
    decode_answer(TR_UNIT_GENERATE, &p->done.content);
}

static void time_pieces(const struct script *s)
{
    static const struct {
        const char *name;
        void (*run)(struct piece *p);
    } rows[] = {
        {"make a logprob unit (encode, SHA-256, check)", piece_make},
        {"SHA-256 of it", piece_digest},
        {"encode a done", piece_encode},
        {"decode a done: envelope and a copy of 4 arrays", piece_message},
        {"decode its content", piece_content},
    };
    struct piece p = {.s = s, .done = {.say = TR_SAY_DONE}};
    struct tr_err err = {0};
    p.done.content = s->answer[TR_UNIT_GENERATE];
    must(tr_message_encode(&p.done, &p.head, &err), &err);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double best = 1e9;
        for (int round = 0; round < 20; round++) {
            double began = tr_clock_seconds();
            for (int k = 0; k < 1000; k++) rows[i].run(&p);
            double took = tr_clock_seconds() - began;
            if (took < best) best = took;
        }
        printf("%-50s %6.2f us\n", rows[i].name, best * 1e3);
    }
    tr_buf_fini(&p.head);
}

/* ---- a worker: answers at once ---- */

static void send_surely(struct tr_wire *w, int64_t peer, const struct tr_message *m)
{
    struct tr_err err = {0};
    enum tr_status st = tr_wire_send(w, peer, m, &err);
    while (st == TR_AGAIN) {
        usleep(50);
        st = tr_wire_send(w, peer, m, &err);
    }
    must(st, &err);
}

static void work(const char *address, const char *dir, const struct script *s)
{
    struct tr_wire *w = NULL;
    struct tr_keys keys = {.n = 0};
    struct tr_message m = {.say = TR_SAY_HELLO}, done = {.say = TR_SAY_DONE};
    struct tr_err err = {0};
    int64_t peer;
    if (dir) must(tr_keys_open(dir, TR_ROLE_ROLLOUT, &keys, &err), &err);
    must(tr_wire_join(address, dir ? &keys : NULL, &w, &err), &err);
    m.as.hello = (struct tr_hello){.role = TR_ROLE_ROLLOUT, .credits = IN_HAND};
    send_surely(w, 0, &m);
    for (bool over = false; !over;) {
        enum tr_status st = tr_wire_receive(w, 1, &peer, &m, &err);
        if (st == TR_AGAIN) continue;
        must(st, &err);
        if (m.say == TR_SAY_UNIT) {
            done.as.done.id = m.as.unit.id;
            done.content = s->answer[m.as.unit.id.byte[0]];
            send_surely(w, 0, &done);
        }
        if (m.say == TR_SAY_GET) {
            struct tr_message chunk = {.say = TR_SAY_CHUNK, .content = s->chunk};
            chunk.as.chunk.of = 1;
            send_surely(w, 0, &chunk);
        }
        if (m.say == TR_SAY_CHUNK) {
            struct tr_message loaded = {.say = TR_SAY_LOADED};
            send_surely(w, 0, &loaded);
        }
        over = m.say == TR_SAY_BYE;
        tr_message_fini(&m);
    }
    tr_wire_close(w);
    _exit(0);
}

/* ---- the coordinator ---- */

struct tally {
    int64_t heard, said, samples;
    double bytes_in, bytes_out;
};

static double size_of(const struct tr_content *c)
{
    double n = (double)c->bytes.size;
    for (int i = 0; i < c->n; i++) n += (double)c->bulk[i].size;
    return n;
}

/* The first byte of an id is the unit's kind here, so that a worker knows what to answer. */
static void ask(struct tr_wire *w, int64_t peer, const struct script *s,
                enum tr_unit_kind kind, struct tally *t)
{
    struct tr_message m = {.say = TR_SAY_UNIT, .content = s->unit[kind].content};
    m.as.unit.id = s->unit[kind].id;
    m.as.unit.id.byte[0] = (unsigned char)kind;
    m.as.unit.attempt = 1;
    send_surely(w, peer, &m);
    t->said++;
    t->bytes_out += size_of(&m.content);
}

/* One answer, and what is asked next: a sample is over with its third judgement. */
static void turn(struct tr_wire *w, const struct script *s, struct tally *t)
{
    struct tr_message m;
    struct tr_err err = {0};
    int64_t peer;
    enum tr_status st = tr_wire_receive(w, 1, &peer, &m, &err);
    if (st == TR_AGAIN) return;
    must(st, &err);
    t->heard++;
    t->bytes_in += size_of(&m.content);
    if (m.say == TR_SAY_DONE) {
        enum tr_unit_kind kind = (enum tr_unit_kind)m.as.done.id.byte[0];
        decode_answer(kind, &m.content);
        if (kind == TR_UNIT_GENERATE)
            for (int next = TR_UNIT_LOGPROB; next <= TR_UNIT_VALUE; next++)
                ask(w, peer, s, (enum tr_unit_kind)next, t);
        if (kind == TR_UNIT_VALUE) { /* the last: answers keep their order */
            t->samples++;
            ask(w, peer, s, TR_UNIT_GENERATE, t);
        }
    }
    tr_message_fini(&m);
}

static void run_samples(struct tr_wire *w, const struct script *s, double seconds)
{
    struct tally t = {0};
    double began = tr_clock_seconds(), cpu = processor_seconds(RUSAGE_SELF);
    while (tr_clock_seconds() < began + seconds) turn(w, s, &t);
    double took = tr_clock_seconds() - began, used = processor_seconds(RUSAGE_SELF) - cpu;
    printf(
        "  samples/s %8.0f by the clock, %8.0f a core; %.0f messages/s and %.0f MB/s in, "
        "%.0f and %.0f out; %.2f cores used\n",
        (double)t.samples / took, (double)t.samples / used, (double)t.heard / took,
        t.bytes_in / took * 1e-6, (double)t.said / took, t.bytes_out / took * 1e-6,
        used / took);
}

/* Chunks from one peer, four on their way at a time. */
static void run_chunks(struct tr_wire *w, int64_t peer, double seconds)
{
    struct tr_message get = {.say = TR_SAY_GET, .as.get.count = 1}, m;
    struct tr_err err = {0};
    int64_t from_peer, chunks = 0;
    double began = tr_clock_seconds(), cpu = processor_seconds(RUSAGE_SELF);
    for (int i = 0; i < 4; i++) send_surely(w, peer, &get);
    while (tr_clock_seconds() < began + seconds) {
        if (tr_wire_receive(w, 1, &from_peer, &m, &err) != TR_OK) continue;
        if (m.say == TR_SAY_CHUNK) {
            chunks++;
            send_surely(w, peer, &get);
        }
        tr_message_fini(&m);
    }
    double took = tr_clock_seconds() - began, used = processor_seconds(RUSAGE_SELF) - cpu;
    printf("  weights in   %8.0f MB/s by the clock, %8.0f a core\n",
           (double)chunks * CHUNK / took * 1e-6, (double)chunks * CHUNK / used * 1e-6);
}

/* The other way: this process gives them, as a source of weights does. */
static void give_chunk(struct tr_wire *w, int64_t peer, bool copied)
{
    struct tr_message chunk = {.say = TR_SAY_CHUNK, .as.chunk.of = 1};
    struct tr_bytes bytes = {{weights, CHUNK}};
    struct tr_err err = {0};
    must(tr_content_encode(&tr_chunk_record, &one_digest, &bytes, &chunk.content, &err),
         &err);
    if (copied)
        send_surely(w, peer, &chunk);
    else
        must(tr_wire_give(w, peer, &chunk, &err), &err);
    tr_message_fini(&chunk);
}

static void give_chunks(struct tr_wire *w, int64_t peer, bool copied, double seconds)
{
    struct tr_message m;
    struct tr_err err = {0};
    int64_t from_peer, chunks = 0;
    double began = tr_clock_seconds(), cpu = processor_seconds(RUSAGE_SELF);
    for (int i = 0; i < 4; i++) give_chunk(w, peer, copied);
    while (tr_clock_seconds() < began + seconds) {
        if (tr_wire_receive(w, 1, &from_peer, &m, &err) != TR_OK) continue;
        if (m.say == TR_SAY_LOADED) {
            chunks++;
            give_chunk(w, peer, copied);
        }
        tr_message_fini(&m);
    }
    double took = tr_clock_seconds() - began, used = processor_seconds(RUSAGE_SELF) - cpu;
    printf("  weights out, %s  %8.0f MB/s by the clock, %8.0f a core\n",
           copied ? "copied" : "given ", (double)chunks * CHUNK / took * 1e-6,
           (double)chunks * CHUNK / used * 1e-6);
}

static void bench(const char *dir, const struct script *s, int workers, double seconds)
{
    struct tr_wire *w = NULL;
    struct tr_keys keys = {.n = 0};
    struct tr_message m, bye = {.say = TR_SAY_BYE};
    struct tr_err err = {0};
    struct tally t = {0};
    char address[TR_ADDRESS_BYTES];
    int64_t peer[64];
    int tell
        [2]; /* children are forked before there are threads, and hear the address here */
    if (pipe(tell) != 0) _exit(1);
    for (int i = 0; i < workers; i++)
        if (fork() == 0) {
            if (read(tell[0], address, sizeof address) != sizeof address) _exit(1);
            work(address, dir, s);
        }
    if (dir) must(tr_keys_open(dir, TR_KEY_SERVER, &keys, &err), &err);
    must(tr_wire_listen("tcp://127.0.0.1:0", dir ? &keys : NULL, address, &w, &err),
         &err);
    for (int i = 0; i < workers; i++)
        if (write(tell[1], address, sizeof address) != sizeof address) _exit(1);
    for (int i = 0; i < workers; i++) {
        must(tr_wire_receive(w, 30, &peer[i], &m, &err), &err);
        tr_message_fini(&m);
    }
    printf("%s\n", dir ? "with keys" : "without keys");
    for (int i = 0; i < workers; i++)
        for (int k = 0; k < IN_HAND / 3; k++) ask(w, peer[i], s, TR_UNIT_GENERATE, &t);
    run_samples(w, s, seconds);
    run_chunks(w, peer[0], seconds);
    give_chunks(w, peer[0], true, seconds);
    give_chunks(w, peer[0], false, seconds);
    for (int i = 0; i < workers; i++) send_surely(w, peer[i], &bye);
    tr_wire_close(w);
    tr_keys_close(&keys);
    close(tell[0]);
    close(tell[1]);
    while (wait(NULL) > 0) continue;
}

int main(int argc, char **argv)
{
    static struct script s;
    const char *dir = NULL;
    double seconds = 3;
    int workers = 2;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seconds")) seconds = strtod(argv[i + 1], NULL);
        if (!strcmp(argv[i], "--workers")) workers = (int)strtol(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--keys")) dir = argv[i + 1];
    }
    if (workers < 1 || workers > 64) workers = 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    write_script(&s);
    time_pieces(&s);
    bench(NULL, &s, workers, seconds);
    if (dir) bench(dir, &s, workers, seconds);
    return 0;
}

/* Any bytes as a message: frame by frame (2 bytes of length, little-endian, before each). Refused
 * in words, or a message that encodes to one that decodes to the same bytes; a content in it is
 * read by every record there is, checked as its step checks it, and said again. */
#include <assert.h>
#include <string.h>

#include "proto/protocol.h"
#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "proto/step3_learn.h"
#include "tests/fuzz/fuzz.h"

/* Room for any payload or body. */
union payload {
    struct tr_ask_generate generate;
    struct tr_ask_judge judge;
    struct tr_ask_learn learn;
    struct tr_answer_generate generated;
    struct tr_answer_learn learnt;
    struct tr_message any;
};

/* What the table lets through is looked at as the steps look at it. */
static void check_payload(const struct tr_record *r, const union payload *p)
{
    struct tr_learn_task task;
    if (r == &tr_ask_generate_record) (void)tr_ask_generate_check(&p->generate, 9, NULL);
    if (r == &tr_ask_score_record && tr_ask_judge_check(&p->judge, 9, NULL) == TR_OK)
        assert(tr_judge_numbers(TR_UNIT_VALUE, &p->judge) > 0);
    if (r == &tr_ask_learn_record) (void)tr_ask_learn_task(&p->learn, 9, &task, NULL);
    if (r == &tr_answer_generate_record)
        (void)tr_answer_generate_check(&p->generated, 2, 4, 9, NULL);
    if (r == &tr_answer_learn_record) (void)tr_answer_learn_result(&p->learnt);
}

/* What was read can be said, and is read as the same again. */
static void say_again(const struct tr_record *r, const union payload *p)
{
    struct tr_digests none = {.n = 0};
    struct tr_content once, twice;
    union payload again;
    int64_t unknown = 0;
    enum tr_status st = tr_content_encode(r, &none, p, &once, NULL);
    assert(st == TR_OK || st == TR_NOMEM);
    if (st != TR_OK) return;
    st = tr_content_decode(&once, r, &again, &unknown, NULL);
    assert(st == TR_OK && unknown == 0);
    st = tr_content_encode(r, &none, &again, &twice, NULL);
    assert(st == TR_OK && once.bytes.size == twice.bytes.size &&
           !memcmp(once.bytes.at, twice.bytes.at, once.bytes.size));
    tr_content_fini(&once);
    tr_content_fini(&twice);
}

static void read_content(const struct tr_content *c)
{
    char kind[32];
    struct tr_digests digests;
    bool whole = tr_content_head(c, kind, &digests, NULL) == TR_OK;
    for (int i = 0; tr_protocol[i].name; i++) {
        const struct tr_record *r = tr_protocol[i].record;
        union payload p;
        struct tr_err err = {0};
        int64_t unknown = 0;
        assert(r->size <= sizeof p);
        memset(&p, 0, sizeof p);
        if (tr_content_decode(c, r, &p, &unknown, &err) != TR_OK) {
            assert(err.text[0]);
            continue;
        }
        assert(whole && strcmp(kind, r->kind) == 0);
        check_payload(r, &p);
        say_again(r, &p);
    }
}

static void write_again(const struct tr_message *m)
{
    struct tr_buf once, twice;
    struct tr_message again;
    enum tr_status st = tr_message_encode(m, &once, NULL);
    assert(st == TR_OK || st == TR_NOMEM); /* a content that only just fitted */
    if (st != TR_OK) return;
    st = tr_message_decode(once.at, once.size, m->content.bulk, m->content.n, &again,
                           NULL);
    assert(st == TR_OK && again.unknown == 0);
    st = tr_message_encode(&again, &twice, NULL);
    assert(st == TR_OK && once.size == twice.size &&
           !memcmp(once.at, twice.at, once.size));
    tr_message_fini(&again);
    tr_buf_fini(&once);
    tr_buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct tr_bulk frame[2 + TR_BULK_MAX];
    int n = 0;
    struct tr_message m;
    struct tr_err err = {0};
    while (size >= 2 && n < 2 + TR_BULK_MAX) {
        size_t length = (size_t)(bytes[0] | bytes[1] << 8);
        if (length > size - 2) length = size - 2;
        frame[n++] = (struct tr_bulk){.at = bytes + 2, .size = length};
        bytes += 2 + length;
        size -= 2 + length;
    }
    if (n == 0) return 0;
    if (tr_message_decode(frame[0].at, frame[0].size, frame + 1, n - 1, &m, &err) !=
        TR_OK) {
        assert(err.text[0]);
        return 0;
    }
    if (m.content.bytes.at) read_content(&m.content);
    write_again(&m);
    tr_message_fini(&m);
    return 0;
}

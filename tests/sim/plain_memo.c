#include "tests/sim/plain_memo.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void tr_plain_memo_init(struct tr_plain_memo *m)
{
    *m = (struct tr_plain_memo){0};
}

static void drop_from(struct tr_plain_memo *m, int64_t first)
{
    for (int64_t i = first; i < m->n; i++) {
        tr_content_fini(&m->at[i].answer);
        tr_content_fini(&m->at[i].unit);
    }
    if (m->n > first) m->n = first;
}

void tr_plain_memo_fini(struct tr_plain_memo *m)
{
    drop_from(m, 0);
    free(m->at);
    free(m->state);
    free(m->next_state);
}

void tr_plain_memo_crash(struct tr_plain_memo *m)
{
    drop_from(m, m->flushed);
    free(m->next_state);
    m->next_state = NULL;
}

void tr_plain_memo_commit(struct tr_plain_memo *m, const char *state)
{
    free(m->next_state);
    m->next_state = strdup(state);
    assert(m->next_state);
}

static enum tr_status copy(const struct tr_content *from, struct tr_content *to,
                           struct tr_err *err)
{
    return tr_content_copy(from->bytes.at, from->bytes.size, from->bulk, from->n, to,
                           err);
}

static enum tr_status find(void *self, const struct tr_digest *unit,
                           struct tr_content *answer, struct tr_err *err)
{
    const struct tr_plain_memo *m = self;
    for (int64_t i = 0; i < m->n; i++)
        if (tr_digest_equal(&m->at[i].id, unit))
            return copy(&m->at[i].answer, answer, err);
    return TR_AGAIN;
}

static enum tr_status keep(void *self, const struct tr_memo_entry *e, struct tr_err *err)
{
    struct tr_plain_memo *m = self;
    if (m->n == m->room) {
        m->room = m->room ? 2 * m->room : 64;
        m->at = realloc(m->at, (size_t)m->room * sizeof *m->at);
        assert(m->at);
    }
    struct tr_plain_entry *k = &m->at[m->n++];
    *k = (struct tr_plain_entry){.id = e->unit->id,
                                 .needs = e->unit->needs.at[0],
                                 .role = e->role,
                                 .learn = e->unit->kind == TR_UNIT_LEARN,
                                 .step = e->step};
    enum tr_status st = tr_content_digest(e->answer, &k->answer_digest, err);
    if (st == TR_OK) st = copy(e->answer, &k->answer, err);
    if (st == TR_OK && k->learn) st = copy(&e->unit->content, &k->unit, err);
    return st;
}

static enum tr_status next_learn(void *self, enum tr_role role,
                                 const struct tr_digest *lineage, struct tr_unit *unit,
                                 struct tr_digest *answer, struct tr_err *err)
{
    const struct tr_plain_memo *m = self;
    for (int64_t i = 0; i < m->n; i++) {
        const struct tr_plain_entry *k = &m->at[i];
        struct tr_content content;
        if (!k->learn || k->role != role || !tr_digest_equal(&k->needs, lineage))
            continue;
        *answer = k->answer_digest;
        enum tr_status st = copy(&k->unit, &content, err);
        return st == TR_OK ? tr_unit_from(&k->id, &content, unit, err) : st;
    }
    return TR_AGAIN;
}

static enum tr_status newest_step(void *self, int64_t *step, struct tr_err *err)
{
    const struct tr_plain_memo *m = self;
    (void)err;
    *step = 0;
    for (int64_t i = 0; i < m->n; i++)
        if (m->at[i].step > *step) *step = m->at[i].step;
    return TR_OK;
}

static enum tr_status flush(void *self, struct tr_err *err)
{
    struct tr_plain_memo *m = self;
    (void)err;
    m->flushed = m->n;
    if (!m->next_state) return TR_OK;
    free(m->state);
    m->state = m->next_state;
    m->next_state = NULL;
    return TR_OK;
}

struct tr_memo tr_plain_memo_memo(struct tr_plain_memo *m)
{
    return (struct tr_memo){.self = m,
                            .find = find,
                            .keep = keep,
                            .next_learn = next_learn,
                            .newest_step = newest_step,
                            .flush = flush};
}

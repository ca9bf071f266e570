/* journal_memo.c - answers and learn units by the id of their unit (memo.h).
 *
 * A content lies in a row as one blob, little-endian as the machine is:
 *
 *     u32 n | u32 size of the map | u64 size of each array [n] | the map | the arrays, end to end
 *
 * What was read is checked before it is used: the sizes against the blob's, the whole against the
 * digest that was stored with it. */
#include <stdio.h>
#include <string.h>

#include "actors/coordinator/journal_parts.h"

/* ---- a content as one blob ---- */

static enum tr_status pack(struct tr_journal *j, int which, const struct tr_content *c,
                           struct tr_err *err)
{
    struct tr_buf *b = &j->packed[which];
    uint32_t head[2] = {(uint32_t)c->n, (uint32_t)c->bytes.size};
    tr_buf_clear(b);
    enum tr_status st = tr_buf_put(b, head, sizeof head, err);
    for (int i = 0; i < c->n && st == TR_OK; i++) {
        uint64_t size = c->bulk[i].size;
        st = tr_buf_put(b, &size, sizeof size, err);
    }
    if (st == TR_OK) st = tr_buf_put(b, c->bytes.at, c->bytes.size, err);
    for (int i = 0; i < c->n && st == TR_OK; i++)
        st = tr_buf_put(b, c->bulk[i].at, c->bulk[i].size, err);
    return st == TR_OK ? TR_OK : tr_err_wrap(err, st, "%s: a content", j->path);
}

/* Where the parts lie in a blob; false: it is none. */
static bool find_parts(const unsigned char *at, size_t size, struct tr_bulk *map,
                       struct tr_bulk *bulk, int *n)
{
    uint32_t head[2];
    if (size < sizeof head) return false;
    memcpy(head, at, sizeof head);
    if (head[0] > TR_BULK_MAX || head[1] > TR_CONTENT_BYTES) return false;
    size_t used = sizeof head + head[0] * sizeof(uint64_t);
    if (used > size || head[1] > size - used) return false;
    *map = (struct tr_bulk){at + used, head[1]};
    used += head[1];
    for (uint32_t i = 0; i < head[0]; i++) {
        uint64_t part = 0;
        memcpy(&part, at + sizeof head + i * sizeof part, sizeof part);
        if (part > size - used) return false;
        bulk[i] = (struct tr_bulk){at + used, part};
        used += part;
    }
    *n = (int)head[0];
    return used == size;
}

static enum tr_status unpack(struct tr_journal *j, sqlite3_stmt *q, int column,
                             struct tr_content *out, struct tr_err *err)
{
    struct tr_bulk map = {0}, bulk[TR_BULK_MAX];
    int n = 0;
    const void *at = sqlite3_column_blob(q, column);
    size_t size = (size_t)sqlite3_column_bytes(q, column);
    if (!at || !find_parts(at, size, &map, bulk, &n))
        return tr_journal_damaged(j, "a content", err);
    return tr_content_copy(map.at, map.size, bulk, n, out, err);
}

/* ---- keeping ---- */

static struct tr_digest seal_answer(struct tr_journal *j, const struct tr_digest *unit,
                                    const void *blob, size_t size)
{
    tr_hash_put(j->hash, unit->byte, sizeof unit->byte);
    tr_hash_put(j->hash, blob, size);
    return tr_hash_end(j->hash);
}

static int bind_step(sqlite3_stmt *q, int at, int64_t step)
{
    return step < 0 ? sqlite3_bind_null(q, at) : sqlite3_bind_int64(q, at, step);
}

static int bind_packed(sqlite3_stmt *q, int at, const struct tr_buf *b)
{
    return sqlite3_bind_blob64(q, at, b->at, b->size, SQLITE_STATIC);
}

static enum tr_status keep_answer(struct tr_journal *j, const struct tr_memo_entry *e,
                                  struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_KEEP, &q, err);
    if (st != TR_OK) return st;
    const struct tr_buf *b = &j->packed[0];
    struct tr_digest seal = seal_answer(j, &e->unit->id, b->at, b->size);
    int bad = tr_journal_bind_digest(q, 1, &e->unit->id);
    bad |= tr_journal_bind_text(q, 2, tr_unit_kind_name(e->unit->kind));
    bad |= tr_journal_bind_text(q, 3, tr_role_name(e->role));
    bad |= tr_journal_bind_text(q, 4, e->slot);
    bad |= bind_step(q, 5, e->step);
    bad |= tr_journal_bind_text(q, 6, e->worker);
    bad |= sqlite3_bind_double(q, 7, e->queue_seconds);
    bad |= sqlite3_bind_double(q, 8, e->compute_seconds);
    bad |= sqlite3_bind_double(q, 9, j->set.now());
    bad |= tr_journal_bind_digest(q, 10, &seal);
    bad |= bind_packed(q, 11, b);
    return tr_journal_run(j, q, bad, err);
}

static enum tr_status keep_learn(struct tr_journal *j, const struct tr_memo_entry *e,
                                 struct tr_err *err)
{
    struct tr_digest answer;
    sqlite3_stmt *q = NULL;
    if (e->unit->needs.n != 1)
        return tr_err_set(err, TR_BADARG, "%s: a learn unit of %lld lineages", j->path,
                          (long long)e->unit->needs.n);
    enum tr_status st = tr_content_digest(e->answer, &answer, err);
    if (st == TR_OK) st = pack(j, 1, &e->unit->content, err);
    if (st == TR_OK) st = tr_journal_take(j, SQL_KEEP_LEARN, &q, err);
    if (st != TR_OK) return st;
    int bad = tr_journal_bind_digest(q, 1, &e->unit->id);
    bad |= tr_journal_bind_text(q, 2, tr_role_name(e->role));
    bad |= tr_journal_bind_digest(q, 3, &e->unit->needs.at[0]);
    bad |= bind_step(q, 4, e->step);
    bad |= tr_journal_bind_text(q, 5, e->worker);
    bad |= sqlite3_bind_double(q, 6, e->queue_seconds);
    bad |= sqlite3_bind_double(q, 7, e->compute_seconds);
    bad |= sqlite3_bind_double(q, 8, j->set.now());
    bad |= tr_journal_bind_digest(q, 9, &answer);
    bad |= bind_packed(q, 10, &j->packed[0]);
    bad |= bind_packed(q, 11, &j->packed[1]);
    return tr_journal_run(j, q, bad, err);
}

static enum tr_status keep(void *self, const struct tr_memo_entry *e, struct tr_err *err)
{
    struct tr_journal *j = self;
    enum tr_status st = tr_journal_begin(j, err);
    if (st == TR_OK) st = pack(j, 0, e->answer, err);
    if (st != TR_OK) return st;
    return e->unit->kind == TR_UNIT_LEARN ? keep_learn(j, e, err)
                                          : keep_answer(j, e, err);
}

/* ---- finding ---- */

/* TR_AGAIN: not there. The caller resets *q if it is set. */
static enum tr_status look_up(struct tr_journal *j, enum journal_sql id,
                              const struct tr_digest *unit, sqlite3_stmt **q,
                              struct tr_err *err)
{
    enum tr_status st = tr_journal_take(j, id, q, err);
    if (st != TR_OK) return st;
    return tr_journal_row(j, *q, tr_journal_bind_digest(*q, 1, unit), err);
}

static enum tr_status find_answer(struct tr_journal *j, const struct tr_digest *unit,
                                  struct tr_content *answer, struct tr_err *err)
{
    struct tr_digest stored;
    sqlite3_stmt *q = NULL;
    enum tr_status st = look_up(j, SQL_FIND, unit, &q, err);
    if (st == TR_OK) {
        const void *at = sqlite3_column_blob(q, 0);
        size_t size = (size_t)sqlite3_column_bytes(q, 0);
        struct tr_digest seal = seal_answer(j, unit, at, size);
        st = tr_journal_column_digest(q, 1, &stored) && tr_digest_equal(&seal, &stored)
                 ? unpack(j, q, 0, answer, err)
                 : tr_journal_damaged(j, "a kept answer", err);
    }
    if (q) tr_journal_reset(q);
    return st;
}

static enum tr_status find_learn(struct tr_journal *j, const struct tr_digest *unit,
                                 struct tr_content *answer, struct tr_err *err)
{
    struct tr_digest stored, digest;
    sqlite3_stmt *q = NULL;
    enum tr_status st = look_up(j, SQL_FIND_LEARN, unit, &q, err);
    if (st == TR_OK) st = unpack(j, q, 0, answer, err);
    if (st == TR_OK) st = tr_content_digest(answer, &digest, err);
    if (st == TR_OK &&
        !(tr_journal_column_digest(q, 1, &stored) && tr_digest_equal(&digest, &stored)))
        st = tr_journal_damaged(j, "a learner's answer", err);
    if (q) tr_journal_reset(q);
    if (st != TR_OK) tr_content_fini(answer);
    return st;
}

static enum tr_status find(void *self, const struct tr_digest *unit,
                           struct tr_content *answer, struct tr_err *err)
{
    struct tr_journal *j = self;
    *answer = (struct tr_content){0};
    enum tr_status st = find_answer(j, unit, answer, err);
    return st == TR_AGAIN ? find_learn(j, unit, answer, err) : st;
}

static enum tr_status next_learn(void *self, enum tr_role role,
                                 const struct tr_digest *lineage, struct tr_unit *unit,
                                 struct tr_digest *answer, struct tr_err *err)
{
    struct tr_journal *j = self;
    struct tr_content content = {0};
    struct tr_digest id;
    sqlite3_stmt *q = NULL;
    *unit = (struct tr_unit){0};
    enum tr_status st = tr_journal_take(j, SQL_NEXT_LEARN, &q, err);
    if (st != TR_OK) return st;
    int bad = tr_journal_bind_digest(q, 1, lineage);
    bad |= tr_journal_bind_text(q, 2, tr_role_name(role));
    st = tr_journal_row(j, q, bad, err);
    if (st == TR_OK) st = unpack(j, q, 0, &content, err);
    if (st == TR_OK &&
        !(tr_journal_column_digest(q, 1, &id) && tr_journal_column_digest(q, 2, answer)))
        st = tr_journal_damaged(j, "a learn unit", err);
    if (st == TR_OK && (tr_unit_from(&id, &content, unit, err) != TR_OK ||
                        !tr_digests_hold(&unit->needs, lineage))) {
        tr_unit_fini(unit);
        st = tr_journal_damaged(j, "a learn unit", err);
    }
    tr_content_fini(&content);
    tr_journal_reset(q);
    return st;
}

static enum tr_status flush(void *self, struct tr_err *err)
{
    return tr_journal_flush(self, err);
}

static enum tr_status event(void *self, enum tr_role role, const char *instance,
                            const char *kind, const char *text, struct tr_err *err)
{
    return tr_journal_event(self, tr_role_name(role), instance, kind, text, err);
}

static enum tr_status newest_step(void *self, int64_t *step, struct tr_err *err)
{
    struct tr_journal *j = self;
    sqlite3_stmt *q = NULL;
    enum tr_status st = tr_journal_take(j, SQL_NEWEST, &q, err);
    if (st != TR_OK) return st;
    st = tr_journal_row(j, q, 0, err);
    if (st == TR_OK) *step = sqlite3_column_int64(q, 0);
    tr_journal_reset(q);
    return st;
}

struct tr_memo tr_journal_memo(struct tr_journal *j)
{
    return (struct tr_memo){.self = j,
                            .find = find,
                            .keep = keep,
                            .next_learn = next_learn,
                            .newest_step = newest_step,
                            .flush = flush,
                            .event = event};
}

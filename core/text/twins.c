#include "core/text/twins.h"

#include <stdlib.h>

#include "core/text/render.h"

void tr_twins_fini(struct tr_twins *w)
{
    for (int64_t i = 0; i < w->room; i++) {
        tr_ids_fini(&w->record[i].prompt);
        tr_ids_fini(&w->record[i].answer);
    }
    free(w->record);
    tr_ids_fini(&w->last);
    tr_ids_fini(&w->id);
    tr_ids_fini(&w->label);
    *w = (struct tr_twins){0};
}

enum tr_status tr_twins_next(struct tr_twins *w, struct tr_twin_record **out,
                             struct tr_err *err)
{
    if (w->count == w->room) {
        int64_t room = w->room ? w->room * 2 : 64;
        struct tr_twin_record *record = realloc(w->record, (size_t)room * sizeof *record);
        if (!record)
            return tr_err_set(err, TR_NOMEM, "a group of %lld records", (long long)room);
        for (int64_t i = w->room; i < room; i++) record[i] = (struct tr_twin_record){0};
        w->record = record;
        w->room = room;
    }
    struct tr_twin_record *r = &w->record[w->count++];
    r->prompt.count = r->answer.count = 0;
    r->answered = r->valid = r->desirable = false;
    *out = r;
    return TR_OK;
}

/* A prompt and an answer, cut, behind what is there. */
static enum tr_status join(struct tr_twins *w, const struct tr_ids *prompt,
                           const struct tr_ids *answer, int64_t cutoff,
                           struct tr_err *err)
{
    static const int32_t ignore = TR_IGNORE;
    int64_t p, a;
    tr_fit(prompt->count, answer->count, cutoff, &p, &a);
    enum tr_status st = tr_ids_put(&w->id, prompt->at, p, err);
    if (st == TR_OK) st = tr_ids_put(&w->id, answer->at, a, err);
    for (int64_t i = 0; i < p && st == TR_OK; i++)
        st = tr_ids_put(&w->label, &ignore, 1, err);
    return st == TR_OK ? tr_ids_put(&w->label, answer->at, a, err) : st;
}

static enum tr_status put(struct tr_twins *w, const struct tr_twin_record *r,
                          const struct tr_ids *other, int64_t cutoff,
                          struct tr_examples *out, struct tr_err *err)
{
    w->id.count = w->label.count = 0;
    enum tr_status st = join(w, &r->prompt, &r->answer, cutoff, err);
    int64_t n = w->id.count;
    if (st == TR_OK) st = join(w, &r->prompt, other, cutoff, err);
    if (st != TR_OK) return st;
    const struct tr_sequence seq[2] = {{n, w->id.at, w->label.at},
                                       {w->id.count - n, w->id.at + n, w->label.at + n}};
    st = tr_examples_put(out, 2, seq, err);
    if (st == TR_OK) out->at[out->count - 1].desirable = r->desirable;
    return st;
}

/* The answer for record i's twin: of the nearest record before it that may lend one. */
static const struct tr_ids *answer_for(struct tr_twins *w, int64_t i, bool compat)
{
    for (int64_t back = 1; back < w->count; back++) {
        const struct tr_twin_record *r = &w->record[(i + w->count - back) % w->count];
        if (!(compat ? r->answered : r->valid)) continue;
        w->passed += back > 1;
        return &r->answer;
    }
    if (!compat && w->last.count > 0) {
        w->borrowed++;
        return &w->last;
    }
    w->matched++;
    return &w->record[i].answer;
}

/* Keeps the valid records alone. */
static void keep_valid(struct tr_twins *w)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < w->count; i++) {
        if (!w->record[i].valid) continue;
        struct tr_twin_record r = w->record[kept];
        w->record[kept++] = w->record[i];
        w->record[i] = r;
    }
    w->count = kept;
}

enum tr_status tr_twins_end(struct tr_twins *w, int64_t cutoff, bool compat, bool last,
                            struct tr_examples *out, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    int64_t valid = 0, desirable = 0, end = -1;
    for (int64_t i = 0; i < w->count; i++) {
        valid += w->record[i].valid;
        desirable += w->record[i].valid && w->record[i].desirable;
        if (w->record[i].valid) end = i;
    }
    if (valid < 2 && !compat && !last) {
        keep_valid(w);
        return TR_OK;
    }
    for (int64_t i = 0; i < w->count && st == TR_OK; i++)
        if (w->record[i].valid)
            st = put(w, &w->record[i], answer_for(w, i, compat), cutoff, out, err);
    w->groups += valid > 0;
    w->one_sided += valid > 0 && (desirable == 0 || desirable == valid);
    w->last.count = 0;
    if (end >= 0 && st == TR_OK)
        st = tr_ids_put(&w->last, w->record[end].answer.at, w->record[end].answer.count,
                        err);
    w->count = 0;
    return st;
}

enum tr_status tr_twins_note(const struct tr_twins *w, struct tr_buf *notes,
                             struct tr_err *err)
{
    const struct {
        int64_t n;
        const char *says;
    } note[] = {
        {w->passed, "take another's answer from further back: the record before was "
                    "dropped"},
        {w->borrowed, "alone at the end, take an answer of the group before"},
        {w->matched, "have their own answer: there is no other to take"},
    };
    enum tr_status st = TR_OK;
    for (size_t i = 0; i < sizeof note / sizeof *note && st == TR_OK; i++)
        if (note[i].n)
            st = tr_buf_printf(notes, err, "kto: twins: %lld %s\n", (long long)note[i].n,
                               note[i].says);
    if (st == TR_OK && w->one_sided)
        st = tr_buf_printf(notes, err,
                           "kto: %lld of %lld groups of records have one mark only\n",
                           (long long)w->one_sided, (long long)w->groups);
    return st;
}

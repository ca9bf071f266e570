#include "core/text/examples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/text/conversation.h"
#include "core/text/dataset.h"
#include "core/text/records.h"
#include "core/text/render.h"
#include "core/text/template.h"

enum { PATH = 4096, NAME = 256 };

struct load {
    const struct tr_examples_options *o;
    struct tr_renderer render;
    struct tr_conversation conversation;
    struct tr_buf *notes; /* borrows, or NULL */
    int64_t in_group;     /* records of the running group, over all datasets */
    const char *fault;    /* of the first dropped record, or NULL */
};

/* What one dataset's records told about it. */
struct tally {
    int64_t records, dropped, first_dropped;
    const char *fault; /* of the first dropped one */
    bool seen[TR_COLUMNS];
    char fields[160]; /* of the first one, with commas */
};

static enum tr_status check_stage(const struct load *l, const struct tr_dataset *d,
                                  struct tr_err *err)
{
    bool pairs = l->o->stage == TR_RM || l->o->stage == TR_DPO;
    if (pairs != d->ranking)
        return tr_err_set(
            err, TR_BADARG, "dataset %s: %s", d->name,
            pairs ? "this stage needs pairs, and its ranking is not true"
                  : "it holds pairs (ranking: true), which this stage can't use");
    if (l->o->stage == TR_PT && d->formatting != TR_ALPACA)
        return tr_err_set(err, TR_BADARG,
                          "dataset %s: pt reads texts (formatting alpaca)", d->name);
    if (l->o->stage == TR_KTO && !d->column[TR_COL_KTO_TAG])
        return tr_err_set(err, TR_BADARG,
                          "dataset %s: kto needs a mark (true or false) in each record, "
                          "and columns.kto_tag names none",
                          d->name);
    return TR_OK;
}

static void note_fields(const json_t *record, struct tally *y)
{
    size_t n = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_t *mine = json_deep_copy(record); /* what is walked through is not const */
    json_object_foreach(mine, key, value)
    {
        int more =
            snprintf(y->fields + n, sizeof y->fields - n, "%s%.40s", n ? ", " : "", key);
        if (more < 0 || (n += (size_t)more) >= sizeof y->fields) break;
    }
    json_decref(mine);
}

static enum tr_status take_record(struct load *l, const struct tr_dataset *d,
                                  const json_t *record, struct tally *y,
                                  struct tr_err *err)
{
    const char *fault = NULL;
    if (y->records++ == 0) note_fields(record, y);
    for (int i = 0; i < TR_COLUMNS; i++)
        if (d->column[i] && json_object_get(record, d->column[i])) y->seen[i] = true;
    enum tr_status st = tr_conversation_read(&l->conversation, d, record, err);
    if (st == TR_OK) st = tr_render(&l->render, &l->conversation, &fault, err);
    if (st != TR_OK) return st;
    if (fault && y->dropped++ == 0) {
        y->first_dropped = y->records;
        y->fault = fault;
    }
    if (++l->in_group == l->o->preprocessing_batch_size) {
        l->in_group = 0;
        st = tr_render_end_group(&l->render, false, err);
    }
    return st;
}

/* Without a question there is nothing to learn from: the name in columns is wrong. (A conversation
 * that is missing is told with its record.) */
static enum tr_status check_asked(const struct tr_dataset *d, const struct tally *y,
                                  struct tr_err *err)
{
    const char *asked = d->column[TR_COL_PROMPT];
    if (d->formatting != TR_ALPACA || y->records == 0 || !asked || y->seen[TR_COL_PROMPT])
        return TR_OK;
    return tr_err_set(err, TR_BADARG,
                      "dataset %s: columns: prompt: no record has %s; the first has %s",
                      d->name, asked, y->fields[0] ? y->fields : "nothing");
}

static enum tr_status note(const struct load *l, const struct tr_dataset *d,
                           const struct tally *y, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    if (!l->notes) return TR_OK;
    if (y->dropped)
        st = tr_buf_printf(
            l->notes, err,
            "dataset %s: %lld of %lld records dropped, first record %lld: %s\n", d->name,
            (long long)y->dropped, (long long)y->records, (long long)y->first_dropped,
            y->fault);
    for (int i = 0; i < TR_COLUMNS && st == TR_OK && y->records; i++) {
        bool used =
            d->formatting == TR_ALPACA ? i != TR_COL_MESSAGES : i > TR_COL_HISTORY;
        if (used && d->column[i] && !y->seen[i])
            st = tr_buf_printf(l->notes, err, "dataset %s: column %s is in no record\n",
                               d->name, d->column[i]);
    }
    return st;
}

static enum tr_status read_records(struct load *l, const struct tr_dataset *d,
                                   struct tr_records *r, struct tr_err *err)
{
    struct tally y = {0};
    const json_t *record = NULL;
    enum tr_status st = TR_OK;
    int64_t most = l->o->max_samples > 0 ? l->o->max_samples : INT64_MAX;
    while (st == TR_OK && y.records < most) {
        st = tr_records_next(r, &record, err);
        if (st != TR_OK) return tr_err_wrap(err, st, "dataset %s", d->name);
        if (!record) break;
        st = take_record(l, d, record, &y, err);
        if (st != TR_OK)
            return tr_err_wrap(err, st, "dataset %s: %s", d->name, tr_records_where(r));
    }
    st = check_asked(d, &y, err);
    if (!l->fault) l->fault = y.fault;
    return st == TR_OK ? note(l, d, &y, err) : st;
}

static enum tr_status load_dataset(struct load *l, const char *name, struct tr_err *err)
{
    char path[PATH];
    struct tr_dataset d = {0};
    struct tr_records *r = NULL;
    enum tr_status st = tr_dataset_open(l->o->dataset_dir, name, &d, err);
    if (st == TR_OK) st = check_stage(l, &d, err);
    if (st == TR_OK)
        st = tr_path_join(path, sizeof path, l->o->dataset_dir, d.file_name, err);
    if (st == TR_OK) st = tr_records_open(path, &r, err);
    if (st == TR_OK) st = read_records(l, &d, r, err);
    tr_records_close(r);
    tr_dataset_fini(&d);
    return st;
}

/* Each name of the comma list, in order. */
static enum tr_status load_all(struct load *l, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    const char *s = l->o->dataset;
    while (st == TR_OK) {
        char name[NAME];
        s += strspn(s, " ,");
        size_t n = strcspn(s, ",");
        if (n == 0) break;
        const char *next = s + n;
        while (n > 0 && s[n - 1] == ' ') n--;
        if (n >= sizeof name)
            return tr_err_set(err, TR_BADARG, "dataset: a name of %zu bytes", n);
        memcpy(name, s, n);
        name[n] = 0;
        st = load_dataset(l, name, err);
        s = next;
    }
    if (st == TR_OK) st = tr_render_end_group(&l->render, true, err);
    if (st == TR_OK && l->notes && l->o->stage == TR_KTO)
        st = tr_twins_note(&l->render.twins, l->notes, err);
    return st;
}

static enum tr_status check_options(const struct tr_examples_options *o,
                                    struct tr_err *err)
{
    if (!o->dataset || !o->dataset[0])
        return tr_err_set(err, TR_BADARG, "dataset is not set");
    if (o->packing == 1 && o->stage != TR_PT)
        return tr_err_set(err, TR_BADARG,
                          "packing is for stage pt; in sft it comes later");
    if (o->train_on_prompt && o->stage != TR_SFT)
        return tr_err_set(err, TR_BADARG, "train_on_prompt is for stage sft");
    if (o->cutoff_len < 2 || o->cutoff_len > INT32_MAX / 4)
        return tr_err_set(err, TR_BADARG, "cutoff_len: %lld is out of range",
                          (long long)o->cutoff_len);
    if (o->preprocessing_batch_size < 1)
        return tr_err_set(err, TR_BADARG, "preprocessing_batch_size must be at least 1");
    return TR_OK;
}

static enum tr_status check_result(const struct load *l, struct tr_err *err)
{
    if (l->render.out->count > 0) return TR_OK;
    if (l->o->stage == TR_PT)
        return tr_err_set(
            err, TR_BADARG,
            "dataset %s: insufficient samples: no block of %lld tokens is full",
            l->o->dataset, (long long)l->render.cutoff);
    return tr_err_set(err, TR_BADARG, "dataset %s: no valid samples%s%s", l->o->dataset,
                      l->fault ? ", the first: " : "", l->fault ? l->fault : "");
}

enum tr_status tr_examples_load(const struct tr_examples_options *o,
                                struct tr_tokenizer *t, struct tr_examples **out,
                                struct tr_buf *notes, struct tr_err *err)
{
    struct tr_template tp = {0};
    *out = NULL;
    enum tr_status st = check_options(o, err);
    if (st != TR_OK) return st;
    struct tr_examples *e = calloc(1, sizeof *e);
    if (!e) return tr_err_set(err, TR_NOMEM, "examples");
    struct load l = {.o = o, .notes = notes};
    tr_render_init(&l.render, o, t, &tp, e);
    tr_conversation_init(&l.conversation);
    /* pt has no use for slots: no chat template needs to be understood. */
    const char *name = o->template_name;
    if (!name && o->stage == TR_PT) name = "empty";
    st = tr_template_choose(name, t, &tp, err);
    if (o->default_system) tp.default_system = o->default_system;
    if (st == TR_OK) st = tr_template_repair(&tp, t, notes, err);
    if (st == TR_OK) st = load_all(&l, err);
    if (st == TR_OK) st = check_result(&l, err);
    if (st == TR_OK) {
        *out = e;
        e = NULL;
    }
    tr_render_fini(&l.render);
    tr_conversation_fini(&l.conversation);
    tr_template_fini(&tp);
    tr_examples_destroy(e);
    return st;
}

int64_t tr_examples_count(const struct tr_examples *e)
{
    return e->count;
}

const struct tr_example *tr_examples_get(const struct tr_examples *e, int64_t i)
{
    return &e->at[i];
}

int64_t tr_examples_longest(const struct tr_examples *e)
{
    return e->longest;
}

void tr_examples_destroy(struct tr_examples *e)
{
    if (!e) return;
    for (int64_t i = 0; i < e->count; i++)
        for (int k = 0; k < e->at[i].n; k++) free(e->at[i].seq[k].id);
    free(e->at);
    free(e);
}

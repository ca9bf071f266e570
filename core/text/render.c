#include "core/text/render.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_LIMIT = 1 << 28 };

void tr_render_init(struct tr_renderer *r, const struct tr_examples_options *o,
                    const struct tr_tokenizer *t, const struct tr_template *tp,
                    struct tr_examples *out)
{
    *r = (struct tr_renderer){
        .o = o, .t = t, .tp = tp, .out = out, .cutoff = o->cutoff_len};
    r->packing = o->packing != 0 && o->stage == TR_PT;
    /* Asking for packing costs the peer one token of each block; packing by default does not. */
    if (o->packing == 1 && o->compat) r->cutoff--;
    tr_buf_init(&r->joined, TEXT_LIMIT);
}

void tr_render_fini(struct tr_renderer *r)
{
    for (int i = 0; i < r->lists; i++) tr_ids_fini(&r->list[i]);
    free(r->list);
    tr_ids_fini(&r->group);
    tr_ids_fini(&r->id);
    tr_ids_fini(&r->label);
    tr_twins_fini(&r->twins);
    tr_buf_fini(&r->joined);
}

void tr_fit(int64_t prompt, int64_t answer, int64_t cutoff, int64_t *keep_prompt,
            int64_t *keep_answer)
{
    int64_t most = cutoff;
    if (2 * answer >= cutoff) {
        if (2 * prompt < cutoff)
            most = cutoff - prompt;
        else if (prompt + answer > 0) /* in f64 and in this order, as the peer rounds */
            most =
                (int64_t)((double)cutoff * ((double)answer / (double)(prompt + answer)));
    }
    *keep_answer = answer < most ? answer : most;
    int64_t rest = cutoff - *keep_answer;
    if (rest < 0) rest = 0;
    *keep_prompt = prompt < rest ? prompt : rest;
}

static enum tr_status copy_sequence(struct tr_sequence *to,
                                    const struct tr_sequence *from, struct tr_err *err)
{
    size_t bytes = (size_t)from->count * sizeof *to->id;
    to->id = malloc(2 * bytes + 1);
    if (!to->id)
        return tr_err_set(err, TR_NOMEM, "a sequence of %lld tokens",
                          (long long)from->count);
    to->label = to->id + from->count; /* one block for both */
    to->count = from->count;
    if (bytes) memcpy(to->id, from->id, bytes);
    if (bytes) memcpy(to->label, from->label, bytes);
    return TR_OK;
}

enum tr_status tr_examples_put(struct tr_examples *e, int n,
                               const struct tr_sequence *seq, struct tr_err *err)
{
    if (e->count == e->room) {
        int64_t room = e->room ? e->room * 2 : 256;
        struct tr_example *at = realloc(e->at, (size_t)room * sizeof *at);
        if (!at) return tr_err_set(err, TR_NOMEM, "%lld examples", (long long)room);
        e->at = at;
        e->room = room;
    }
    struct tr_example *x = &e->at[e->count];
    *x = (struct tr_example){.n = n};
    for (int i = 0; i < n; i++) {
        enum tr_status st = copy_sequence(&x->seq[i], &seq[i], err);
        if (st != TR_OK) {
            for (int k = 0; k < i; k++) free(x->seq[k].id);
            return st;
        }
        if (seq[i].count > e->longest) e->longest = seq[i].count;
    }
    e->count++;
    return TR_OK;
}

/* ---- pt ---- */

/* A sequence whose labels are its ids. The peer's collator does not train any PAD, and with
 * PAD = EOS no document's end either. */
static enum tr_status put_text(struct tr_renderer *r, const int32_t *id, int64_t count,
                               struct tr_err *err)
{
    int32_t pad = tr_tokenizer_special(r->t).pad;
    r->label.count = 0;
    enum tr_status st = tr_ids_put(&r->label, id, count, err);
    if (st != TR_OK) return st;
    for (int64_t i = 0; r->o->compat && i < count; i++)
        if (r->label.at[i] == pad) r->label.at[i] = TR_IGNORE;
    r->id.count = 0;
    st = tr_ids_put(&r->id, id, count, err);
    struct tr_sequence s = {count, r->id.at, r->label.at};
    return st == TR_OK ? tr_examples_put(r->out, 1, &s, err) : st;
}

/* Cuts the group into blocks; what is left goes to the front. BOS, where the tokenizer adds
 * one, takes the place of each block's first token. */
static enum tr_status put_blocks(struct tr_renderer *r, struct tr_err *err)
{
    struct tr_special s = tr_tokenizer_special(r->t);
    int64_t done = 0;
    enum tr_status st = TR_OK;
    for (; r->group.count - done >= r->cutoff && st == TR_OK; done += r->cutoff) {
        if (s.add_bos && s.bos >= 0) r->group.at[done] = s.bos;
        st = put_text(r, r->group.at + done, r->cutoff, err);
    }
    r->group.count -= done;
    if (done)
        memmove(r->group.at, r->group.at + done,
                (size_t)r->group.count * sizeof *r->group.at);
    return st;
}

static enum tr_status render_text(struct tr_renderer *r, const struct tr_conversation *c,
                                  struct tr_err *err)
{
    struct tr_special s = tr_tokenizer_special(r->t);
    const struct tr_message *m = &c->message[0];
    const char *eos = r->tp->pretraining_eos;
    if (!eos) eos = tr_tokenizer_token(r->t, s.eos);
    const char *bos = s.add_bos && !r->packing ? tr_tokenizer_token(r->t, s.bos) : NULL;
    tr_buf_clear(&r->joined);
    enum tr_status st = bos ? tr_buf_puts(&r->joined, bos, err) : TR_OK;
    if (st == TR_OK) st = tr_buf_put(&r->joined, m->text, m->size, err);
    if (st == TR_OK && eos) st = tr_buf_puts(&r->joined, eos, err);
    if (!r->packing) r->group.count = 0;
    if (st == TR_OK)
        st = tr_tokenizer_encode(r->t, tr_buf_text(&r->joined), r->joined.size, &r->group,
                                 err);
    if (st != TR_OK) return st;
    if (r->packing) return put_blocks(r, err);
    return put_text(r, r->group.at,
                    r->group.count < r->cutoff ? r->group.count : r->cutoff, err);
}

enum tr_status tr_render_end_group(struct tr_renderer *r, bool last, struct tr_err *err)
{
    r->group.count = 0;
    if (r->o->stage != TR_KTO) return TR_OK;
    return tr_twins_end(&r->twins, r->cutoff, r->o->compat, last, r->out, err);
}

/* ---- conversations ---- */

/* Renders the first `count` messages into r->list. */
static enum tr_status render_messages(struct tr_renderer *r,
                                      const struct tr_conversation *c, int count,
                                      struct tr_err *err)
{
    if (count > r->lists) {
        struct tr_ids *list = realloc(r->list, (size_t)count * sizeof *list);
        if (!list) return tr_err_set(err, TR_NOMEM, "%d messages", count);
        memset(list + r->lists, 0, (size_t)(count - r->lists) * sizeof *list);
        r->list = list;
        r->lists = count;
    }
    for (int i = 0; i < count; i++) r->list[i].count = 0;
    return tr_template_encode(r->tp, r->t, c->system, c->message, count, r->list, err);
}

/* Appends the first n ids of from, trained or not. */
static enum tr_status append(struct tr_renderer *r, const struct tr_ids *from, int64_t n,
                             bool train, struct tr_err *err)
{
    enum tr_status st = tr_ids_put(&r->id, from->at, n, err);
    if (st == TR_OK) st = tr_ids_put(&r->label, from->at, n, err);
    for (int64_t i = 0; st == TR_OK && !train && i < n; i++)
        r->label.at[r->label.count - 1 - i] = TR_IGNORE;
    return st;
}

/* sft: every turn is cut by itself, with what is left of the cutoff. */
static enum tr_status render_turns(struct tr_renderer *r, const struct tr_conversation *c,
                                   struct tr_err *err)
{
    int count = c->prompts + 1;
    int64_t prompt, answer;
    enum tr_status st = render_messages(r, c, count, err);
    r->id.count = r->label.count = 0;
    for (int i = 0; i + 1 < count && st == TR_OK && r->id.count < r->cutoff; i += 2) {
        tr_fit(r->list[i].count, r->list[i + 1].count, r->cutoff - r->id.count, &prompt,
               &answer);
        st = append(r, &r->list[i], prompt, r->o->train_on_prompt, err);
        if (st == TR_OK) st = append(r, &r->list[i + 1], answer, true, err);
    }
    struct tr_sequence s = {r->id.count, r->id.at, r->label.at};
    return st == TR_OK ? tr_examples_put(r->out, 1, &s, err) : st;
}

/* rm, dpo: one prompt, two answers, cut alike: by the longer answer. */
static enum tr_status render_pair(struct tr_renderer *r, const struct tr_conversation *c,
                                  struct tr_err *err)
{
    struct tr_ids whole = {0}, answer[2] = {{0}, {0}};
    enum tr_status st = render_messages(r, c, c->prompts + 2, err);
    for (int i = 0; i < c->prompts && st == TR_OK; i++)
        st = tr_ids_put(&whole, r->list[i].at, r->list[i].count, err);
    if (st == TR_OK) {
        answer[0] = r->list[c->prompts];
        answer[1] = r->list[c->prompts + 1];
    }
    int64_t longer =
        answer[0].count > answer[1].count ? answer[0].count : answer[1].count;
    int64_t prompt = 0, most = 0, at[3] = {0};
    tr_fit(whole.count, longer, r->cutoff, &prompt, &most);
    r->id.count = r->label.count = 0;
    for (int k = 0; k < 2 && st == TR_OK; k++) {
        int64_t n = answer[k].count < most ? answer[k].count : most;
        st = append(r, &whole, prompt, false, err);
        if (st == TR_OK) st = append(r, &answer[k], n, true, err);
        at[k + 1] = r->id.count;
    }
    if (st == TR_OK) {
        struct tr_sequence s[2] = {
            {at[1], r->id.at, r->label.at},
            {at[2] - at[1], r->id.at + at[1], r->label.at + at[1]}};
        st = tr_examples_put(r->out, 2, s, err);
    }
    tr_ids_fini(&whole);
    return st;
}

/* The ids of the first n lists, end to end, behind `out`. */
static enum tr_status put_lists(const struct tr_renderer *r, int n, struct tr_ids *out,
                                struct tr_err *err)
{
    enum tr_status st = TR_OK;
    for (int i = 0; i < n && st == TR_OK; i++)
        st = tr_ids_put(out, r->list[i].at, r->list[i].count, err);
    return st;
}

/* kto: a record of the group, valid or not. Of the two answers one is empty; which is the mark. */
static enum tr_status render_marked(struct tr_renderer *r,
                                    const struct tr_conversation *c, const char **fault,
                                    struct tr_err *err)
{
    struct tr_twin_record *to;
    bool odd = c->prompts % 2 == 1;
    enum tr_status st = tr_twins_next(&r->twins, &to, err);
    *fault = c->fault;
    if (st == TR_OK && odd && c->answers > 0) {
        to->desirable = c->message[c->prompts].size > 0;
        int which = c->prompts + (c->answers == 2 && !to->desirable);
        st = render_messages(r, c, c->prompts + c->answers, err);
        if (st == TR_OK) st = put_lists(r, c->prompts, &to->prompt, err);
        if (st == TR_OK)
            st = tr_ids_put(&to->answer, r->list[which].at, r->list[which].count, err);
        to->answered = true;
    }
    if (st != TR_OK || *fault) return st;
    if (!odd)
        *fault = "no question";
    else if (c->answers != 2)
        *fault = "no mark that is true or false";
    else if (to->prompt.count + to->answer.count == 0)
        *fault = "nothing in it";
    to->valid = !*fault;
    return st;
}

/* The ids of an answer without text, as the peer makes one where a record has none. */
static enum tr_status empty_answer(const struct tr_renderer *r, struct tr_ids *out,
                                   struct tr_err *err)
{
    static const struct tr_message two[2] = {{TR_USER, "", 0}, {TR_ASSISTANT, "", 0}};
    struct tr_ids list[2] = {{0}, {0}};
    enum tr_status st = tr_template_encode(r->tp, r->t, NULL, two, 2, list, err);
    if (st == TR_OK) st = tr_ids_put(out, list[1].at, list[1].count, err);
    tr_ids_fini(&list[0]);
    tr_ids_fini(&list[1]);
    return st;
}

/* ppo: the prompt, cut at its end if it must be. The peer cuts it further where the dataset's own
 * answer is long (quirk 17), and keeps that. */
static enum tr_status render_question(struct tr_renderer *r,
                                      const struct tr_conversation *c, const char **fault,
                                      struct tr_err *err)
{
    bool answered = r->o->compat && c->answers == 1;
    int64_t longest = r->out->longest, prompt = 0, answer = 0;
    enum tr_status st = render_messages(r, c, c->prompts + answered, err);
    r->id.count = r->label.count = r->group.count = 0;
    if (st == TR_OK) st = put_lists(r, c->prompts, &r->group, err);
    int64_t whole = r->group.count;
    if (st == TR_OK && whole == 0) *fault = "an empty prompt";
    if (st != TR_OK || *fault) return st;
    if (answered)
        st =
            tr_ids_put(&r->group, r->list[c->prompts].at, r->list[c->prompts].count, err);
    else if (r->o->compat)
        st = empty_answer(r, &r->group, err);
    if (st != TR_OK) return st;
    tr_fit(whole, r->group.count - whole, r->cutoff, &prompt, &answer);
    st = append(r, &r->group, prompt, false, err);
    struct tr_sequence s[2] = {{prompt, r->id.at, r->label.at},
                               {answer, r->group.at + whole, r->group.at + whole}};
    if (st == TR_OK) st = tr_examples_put(r->out, r->o->compat ? 2 : 1, s, err);
    r->out->longest = longest > prompt ? longest : prompt; /* answers are nobody's */
    return st;
}

enum tr_status tr_render(struct tr_renderer *r, const struct tr_conversation *c,
                         const char **fault, struct tr_err *err)
{
    int wanted = r->o->stage == TR_SFT ? 1 : 2;
    if (r->o->stage == TR_KTO) return render_marked(r, c, fault, err);
    *fault = c->fault;
    if (c->fault) return TR_OK;
    if (r->o->stage == TR_PT) return render_text(r, c, err);
    if (c->prompts % 2 != 1)
        *fault = "no question";
    else if (r->o->stage == TR_PPO)
        return render_question(r, c, fault, err);
    else if (c->answers != wanted)
        *fault = wanted == 1 ? "not one answer" : "not a pair of answers";
    if (*fault) return TR_OK;
    return wanted == 1 ? render_turns(r, c, err) : render_pair(r, c, err);
}

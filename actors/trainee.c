#include "actors/trainee.h"

#include <stdio.h>
#include <stdlib.h>

#include "actors/checkpoint.h"
#include "actors/source.h"
#include "core/base/file.h"
#include "core/model/packed_dir.h"

static enum tr_status open_learner(struct tr_trainee *t,
                                   const struct tr_role_start *start, bool lm_head,
                                   bool value_head, struct tr_err *err)
{
    struct tr_learner_start learner = {
        .model = start->folder,
        .arch = start->arch,
        .seed = start->seed,
        .lm_head = lm_head,
        .value_head = value_head,
        .bf16 = start->bf16,
        .recompute = start->recompute,
        .max_tokens = start->max_tokens,
        .max_sequences = start->max_sequences,
    };
    t->borrowed = start->learner != NULL;
    t->learner = start->learner;
    return t->borrowed ? TR_OK : tr_learner_open(start->ex, &learner, &t->learner, err);
}

/* ---- digests and what is published ---- */

static enum tr_status need_digest(struct tr_trainee *t, struct tr_err *err)
{
    const struct tr_weights *w = tr_learner_weights(t->learner);
    if (t->hashed) return TR_OK;
    if (!t->chunk) t->chunk = calloc((size_t)tr_weights_chunks(w), sizeof *t->chunk);
    if (!t->chunk) return tr_err_set(err, TR_NOMEM, "digests of the weights");
    enum tr_status st =
        tr_weights_chunk_digests(w, tr_learner_exec(t->learner), t->chunk, err);
    if (st == TR_OK) st = tr_weights_digest_of(w, t->chunk, &t->weights, err);
    t->hashed = st == TR_OK;
    return st;
}

void tr_trainee_forget(void *self, const struct tr_digest *digest)
{
    struct tr_trainee *t = self;
    struct tr_model *m = tr_shelf_find(&t->published, digest);
    if (!m) return;
    if (t->source) tr_source_remove(t->source, digest);
    tr_packed_unlink(m->packed);
    tr_shelf_drop(&t->published, digest);
}

/* The weights as they are now, which are hashed, unless they are there already. */
static enum tr_status publish(struct tr_trainee *t, struct tr_err *err)
{
    struct tr_model m;
    if (!t->publishes || tr_shelf_find(&t->published, &t->weights)) return TR_OK;
    tr_learner_rest(t->learner); /* there are two versions of the weights for a while */
    while (t->published.n >= t->keep) tr_trainee_forget(t, &t->published.at[0]->digest);
    enum tr_status st =
        tr_model_pack(tr_learner_weights(t->learner), tr_learner_exec(t->learner),
                      t->chunk, &t->weights, t->place[0] ? t->place : NULL, &m, err);
    if (st == TR_OK && t->source) {
        st = tr_source_add(t->source, &m, err);
        if (st != TR_OK) tr_model_close(&m);
    }
    if (st == TR_OK) st = tr_shelf_put(&t->published, &m, err);
    if (st == TR_OK && t->unsaid.n < TR_DIGESTS_MAX)
        t->unsaid.at[t->unsaid.n++] = t->weights;
    return st == TR_OK ? st : tr_err_wrap(err, st, "new weights");
}

bool tr_trainee_offer(void *self, struct tr_offer *out)
{
    struct tr_trainee *t = self;
    while (t->unsaid.n > 0) {
        struct tr_digest digest = t->unsaid.at[--t->unsaid.n];
        const struct tr_model *m = tr_shelf_find(&t->published, &digest);
        if (!m) continue;
        *out = (struct tr_offer){.digest = digest};
        snprintf(out->file, sizeof out->file, "%s", tr_packed_name(m->packed));
        if (t->source)
            snprintf(out->source, sizeof out->source, "%s", tr_source_address(t->source));
        return true;
    }
    return false;
}

/* ---- opening and closing ---- */

enum tr_status tr_trainee_open(const struct tr_role_start *start, bool lm_head,
                               bool value_head, void **self, struct tr_err *err)
{
    struct tr_trainee *t = calloc(1, sizeof *t);
    if (!t) return tr_err_set(err, TR_NOMEM, "a trainee");
    t->max_tokens = start->max_tokens;
    snprintf(t->folder, sizeof t->folder, "%s", start->folder ? start->folder : "");
    /* A critic's weights are nobody else's. */
    t->publishes = lm_head && (start->weights || start->source);
    t->source = start->source;
    snprintf(t->place, sizeof t->place, "%s", start->weights ? start->weights : "");
    t->keep = start->keep > 0 && start->keep < TR_SHELF_MODELS ? start->keep : 3;
    if (t->publishes && t->place[0]) tr_packed_dir_prune(t->place, t->keep);
    enum tr_status st = open_learner(t, start, lm_head, value_head, err);
    if (st == TR_OK) st = need_digest(t, err);
    if (st == TR_OK) st = publish(t, err);
    if (st != TR_OK) {
        tr_trainee_close(t);
        return st;
    }
    t->lineage = start->lineage ? *start->lineage : t->weights;
    *self = t;
    return TR_OK;
}

void tr_trainee_close(void *self)
{
    struct tr_trainee *t = self;
    if (!t) return;
    tr_evaluator_destroy(t->evaluator);
    while (t->published.n > 0) tr_trainee_forget(t, &t->published.at[0]->digest);
    free(t->chunk);
    if (!t->borrowed) tr_learner_close(t->learner);
    tr_content_fini(&t->last);
    free(t);
}

void tr_trainee_holds(const void *self, struct tr_digests *out)
{
    const struct tr_trainee *t = self;
    *out = tr_digests_one(&t->lineage);
    if (t->hashed && !tr_digest_equal(&t->lineage, &t->weights))
        out->at[out->n++] = t->weights;
}

/* The update itself. What was last becomes this unit's answer. */
static enum tr_status update(struct tr_trainee *t, const struct tr_unit *unit,
                             struct tr_err *err)
{
    struct tr_ask_learn ask;
    struct tr_learn_task task;
    struct tr_learn_result result;
    struct tr_content answer = {0};
    int64_t unknown = 0, vocab = tr_learner_arch(t->learner)->V;
    enum tr_status st =
        tr_content_decode(&unit->content, &tr_ask_learn_record, &ask, &unknown, err);
    if (st == TR_OK) st = tr_ask_learn_task(&ask, vocab, &task, err);
    if (st == TR_OK) st = tr_learner_step(t->learner, &task, &result, err);
    if (st != TR_OK) return st;
    t->hashed = t->hashed && result.skipped;
    if (ask.want_digest) st = need_digest(t, err);
    struct tr_answer_learn said =
        tr_answer_learn_from(&result, ask.want_digest && t->hashed ? &t->weights : NULL);
    if (st == TR_OK)
        st =
            tr_content_encode(&tr_answer_learn_record, &unit->needs, &said, &answer, err);
    tr_content_fini(&t->last);
    t->last = answer;
    t->lineage = unit->id;
    t->wanted = ask.want_digest;
    return st;
}

enum tr_status tr_trainee_learn(struct tr_trainee *t, const struct tr_unit *unit,
                                struct tr_content *out, struct tr_err *err)
{
    bool again = t->last.bytes.at && tr_digest_equal(&unit->id, &t->lineage);
    struct tr_digests lineage = tr_digests_one(&t->lineage);
    enum tr_status st = TR_OK;
    if (!again) {
        st = tr_role_check(unit, &lineage, err);
        if (st == TR_OK) st = update(t, unit, err);
    }
    if (st == TR_OK && t->wanted) st = publish(t, err);
    if (st != TR_OK) return st;
    return tr_content_copy(t->last.bytes.at, t->last.bytes.size, t->last.bulk, t->last.n,
                           out, err);
}

static enum tr_status say_digests(struct tr_trainee *t, struct tr_answer_save *answer,
                                  struct tr_err *err)
{
    struct tr_digest state;
    enum tr_status st = need_digest(t, err);
    if (st == TR_OK) st = tr_learner_state_digest(t->learner, &state, err);
    if (st != TR_OK) return st;
    answer->weights = tr_digests_one(&t->weights);
    answer->state = tr_digests_one(&state);
    return TR_OK;
}

/* Written aside and renamed, so that a folder of this name is whole; what could not be written whole goes. */
static enum tr_status write_fresh(struct tr_trainee *t, const struct tr_ask_save *ask,
                                  const char *source, struct tr_err *err)
{
    char part[TR_PATH_BYTES + 8];
    snprintf(part, sizeof part, "%s.part", ask->folder);
    enum tr_status st = tr_dir_remove(part, err);
    if (st == TR_OK)
        st = tr_checkpoint_write(t->learner, part, source, ask->optimiser, err);
    if (st == TR_OK) st = tr_checkpoint_write_lineage(part, &t->lineage, err);
    if (st == TR_OK) st = tr_dir_sync(part, err);
    if (st == TR_OK) st = tr_dir_replace(part, ask->folder, err);
    if (st != TR_OK) (void)tr_dir_remove(part, NULL);
    return st;
}

static enum tr_status write_folder(struct tr_trainee *t, const struct tr_ask_save *ask,
                                   struct tr_err *err)
{
    const char *source = t->folder[0] ? t->folder : NULL;
    if (!ask->folder[0]) return TR_OK;
    if (ask->fresh) return write_fresh(t, ask, source, err);
    return tr_checkpoint_write(t->learner, ask->folder, source, ask->optimiser, err);
}

enum tr_status tr_trainee_save(struct tr_trainee *t, const struct tr_unit *unit,
                               struct tr_content *out, struct tr_err *err)
{
    struct tr_ask_save ask;
    struct tr_answer_save answer = {.weights = {.n = 0}};
    int64_t unknown = 0;
    struct tr_digests lineage = tr_digests_one(&t->lineage);
    enum tr_status st = tr_role_check(unit, &lineage, err);
    if (st == TR_OK)
        st = tr_content_decode(&unit->content, &tr_ask_save_record, &ask, &unknown, err);
    if (st == TR_OK) st = write_folder(t, &ask, err);
    if (st == TR_OK && ask.want_digests) st = say_digests(t, &answer, err);
    if (st != TR_OK) return st;
    return tr_content_encode(&tr_answer_save_record, &unit->needs, &answer, out, err);
}

/* Memory for activations without gradients is taken only by those who are asked to judge. */
static enum tr_status need_evaluator(struct tr_trainee *t, struct tr_err *err)
{
    if (t->evaluator) return TR_OK;
    return tr_evaluator_create(tr_learner_exec(t->learner),
                               tr_learner_weights(t->learner), t->max_tokens,
                               &t->evaluator, err);
}

enum tr_status tr_trainee_judge(struct tr_trainee *t, const struct tr_unit *unit,
                                struct tr_content *out, struct tr_err *err)
{
    struct tr_digests holds = {0};
    if (t->hashed) holds = tr_digests_one(&t->weights);
    enum tr_status st = tr_role_check(unit, &holds, err);
    if (st == TR_OK) st = need_evaluator(t, err);
    return st == TR_OK ? tr_evaluator_answer(t->evaluator, unit, out, err) : st;
}

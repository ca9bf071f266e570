#include "actors/shelf.h"

#include <stdlib.h>
#include <string.h>

static int64_t index_of(const struct tr_shelf *s, const struct tr_digest *digest)
{
    for (int64_t i = 0; i < s->n; i++)
        if (tr_digest_equal(&s->at[i]->digest, digest)) return i;
    return -1;
}

enum tr_status tr_shelf_put(struct tr_shelf *s, struct tr_model *take, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    struct tr_model *m = NULL;
    bool there = index_of(s, &take->digest) >= 0;
    if (!there && s->n == TR_SHELF_MODELS)
        st = tr_err_set(err, TR_NOMEM, "%d models are held already: drop one first",
                        TR_SHELF_MODELS);
    else if (!there && !(m = malloc(sizeof *m)))
        st = tr_err_set(err, TR_NOMEM, "a model");
    if (!m) {
        tr_model_close(take);
        return st;
    }
    *m = *take;
    *take = (struct tr_model){0};
    s->at[s->n++] = m;
    return TR_OK;
}

struct tr_model *tr_shelf_find(const struct tr_shelf *s, const struct tr_digest *digest)
{
    int64_t i = index_of(s, digest);
    return i < 0 ? NULL : s->at[i];
}

bool tr_shelf_drop(struct tr_shelf *s, const struct tr_digest *digest)
{
    int64_t i = index_of(s, digest);
    if (i < 0) return false;
    tr_model_close(s->at[i]);
    free(s->at[i]);
    s->n--;
    memmove(s->at + i, s->at + i + 1, (size_t)(s->n - i) * sizeof(void *));
    return true;
}

struct tr_digests tr_shelf_holds(const struct tr_shelf *s)
{
    struct tr_digests all = {.n = s->n};
    for (int64_t i = 0; i < s->n; i++) all.at[i] = s->at[i]->digest;
    return all;
}

void tr_shelf_fini(struct tr_shelf *s)
{
    while (s->n > 0) tr_shelf_drop(s, &s->at[0]->digest);
}

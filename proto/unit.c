#include "proto/unit.h"

#include <string.h>

static const char *const kind_name[TR_UNIT_KINDS] = {
    "generate", "logprob", "score", "value", "divergence", "learn", "save"};

const char *tr_unit_kind_name(enum tr_unit_kind kind)
{
    return kind_name[kind];
}

int tr_unit_kind_of(const char *name)
{
    for (int i = 0; i < TR_UNIT_KINDS; i++)
        if (strcmp(kind_name[i], name) == 0) return i;
    return -1;
}

enum tr_status tr_unit_from(const struct tr_digest *id, struct tr_content *content,
                            struct tr_unit *out, struct tr_err *err)
{
    char kind[32] = "";
    struct tr_unit u = {.content = *content};
    *content = (struct tr_content){0};
    *out = (struct tr_unit){0};
    enum tr_status st = tr_content_digest(&u.content, &u.id, err);
    if (st == TR_OK && !tr_digest_equal(&u.id, id))
        st = tr_err_set(err, TR_BADMSG, "unit: the content is not what its id says");
    if (st == TR_OK) st = tr_content_head(&u.content, kind, &u.needs, err);
    if (st == TR_OK && tr_unit_kind_of(kind) < 0)
        st = tr_err_set(err, TR_BADMSG, "unit: %s is no kind of unit", kind);
    if (st != TR_OK) {
        tr_unit_fini(&u);
        return st;
    }
    u.kind = (enum tr_unit_kind)tr_unit_kind_of(kind);
    *out = u;
    return TR_OK;
}

enum tr_status tr_unit_make(const struct tr_record *r, const struct tr_digests *needs,
                            const void *payload, struct tr_unit *out, struct tr_err *err)
{
    struct tr_unit u = {.kind = (enum tr_unit_kind)tr_unit_kind_of(r->kind)};
    *out = (struct tr_unit){0};
    u.needs.n = needs->n;
    memcpy(u.needs.at, needs->at, (size_t)needs->n * sizeof *needs->at);
    enum tr_status st = tr_content_encode(r, needs, payload, &u.content, err);
    if (st == TR_OK) st = tr_content_digest(&u.content, &u.id, err);
    if (st == TR_OK)
        *out = u;
    else
        tr_unit_fini(&u);
    return st;
}

void tr_unit_fini(struct tr_unit *u)
{
    tr_content_fini(&u->content);
    *u = (struct tr_unit){0};
}

struct tr_digests tr_digests_one(const struct tr_digest *d)
{
    struct tr_digests set = {.n = 1};
    set.at[0] = *d;
    return set;
}

bool tr_digests_hold(const struct tr_digests *all, const struct tr_digest *d)
{
    for (int64_t i = 0; i < all->n; i++)
        if (tr_digest_equal(&all->at[i], d)) return true;
    return false;
}

void tr_digests_remove(struct tr_digests *all, const struct tr_digest *d)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < all->n; i++)
        if (!tr_digest_equal(&all->at[i], d)) all->at[kept++] = all->at[i];
    all->n = kept;
}

/* unit.h - a piece of work as a pure function of its content.
 *
 * What it is for. A unit names its inputs and, by digest, the exact weights it needs. Whoever
 * holds those weights may compute it, once, twice or never: the answer is the same to the bit.
 *
 * The data. `content` is what is asked (step1_generate.h, step2_judge.h, step3_learn.h); `id` is
 * the SHA-256 of that content, so equal questions have equal names; `needs` is read from the
 * content. Of a learner's units the one digest is its *lineage*: the weights digest it started
 * from or the id of the last learn unit it did. As each id covers the lineage before it, a
 * lineage names masters, moments and all, and nothing needs to be hashed between two steps.
 *
 * Invariants.
 *   1. id = tr_content_digest(content), checked when a unit arrives. */
#ifndef TR_PROTO_UNIT_H
#define TR_PROTO_UNIT_H

#include "proto/content.h"

enum tr_unit_kind {
    TR_UNIT_GENERATE,
    TR_UNIT_LOGPROB,
    TR_UNIT_SCORE,
    TR_UNIT_VALUE,
    TR_UNIT_DIVERGENCE,
    TR_UNIT_LEARN,
    TR_UNIT_SAVE,
    TR_UNIT_KINDS
};

struct tr_unit {
    struct tr_digest id;
    enum tr_unit_kind kind;
    struct tr_digests needs;
    struct tr_content content; /* owns */
};

/* "generate", ... and back; -1 for none of them. */
const char *tr_unit_kind_name(enum tr_unit_kind kind);
int tr_unit_kind_of(const char *name);

/* A unit from its payload. The record's kind is a unit's kind. The caller owns *out. */
enum tr_status tr_unit_make(const struct tr_record *r, const struct tr_digests *needs,
                            const void *payload, struct tr_unit *out, struct tr_err *err);

/* A unit from a content that arrived; takes content. TR_BADMSG when it is not what id says or no
 * known kind. */
enum tr_status tr_unit_from(const struct tr_digest *id, struct tr_content *content,
                            struct tr_unit *out, struct tr_err *err);
void tr_unit_fini(struct tr_unit *u);

/* A set of one digest. */
struct tr_digests tr_digests_one(const struct tr_digest *d);
bool tr_digests_hold(const struct tr_digests *all, const struct tr_digest *d);
void tr_digests_remove(struct tr_digests *all, const struct tr_digest *d);

#endif

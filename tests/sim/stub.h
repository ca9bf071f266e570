/* stub.h - a worker whose computing is a hash: what it answers depends on the unit's content alone.
 *
 * The data. A learner has a lineage and the digest of its weights, a hash of the lineage, as a real one's
 * digest is a function of what it learnt. Others hold digests. */
#ifndef TR_SIM_STUB_H
#define TR_SIM_STUB_H

#include "proto/message.h"
#include "proto/unit.h"

struct tr_stub {
    enum tr_role role;
    const char *slot;
    struct tr_digests holds; /* of a learner: lineage, then weights if they differ */
    struct tr_content last;  /* owns; of a learner: the answer to its last learn unit */
};

/* The weights of a lineage. */
struct tr_digest tr_stub_weights(const struct tr_digest *lineage);
void tr_stub_fini(struct tr_stub *s);

/* Answers one unit, as done or fail, into *out (the caller's). */
void tr_stub_answer(struct tr_stub *s, const struct tr_unit *unit,
                    struct tr_message *out);

#endif

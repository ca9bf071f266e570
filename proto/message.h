/* message.h - what coordinator and workers say to each other.
 *
 * What it is for. A message is an envelope frame, one MessagePack map, and bulk frames. The map
 * has v (the protocol's version), say (which message) and the fields of that message; `unit` and
 * `done` also carry a content, whose arrays are the bulk frames.
 *
 *     worker                          coordinator
 *       | hello  role, holds, credits     |
 *       |-------------------------------->|  admits it, or says why not
 *       |                        welcome  |
 *       |<--------------------------------|
 *       |                           unit  |  as many at a time as there are credits
 *       |<--------------------------------|
 *       | progress  in hand, tokens       |  renews the deadlines of those units
 *       |-------------------------------->|
 *       | done | fail                     |
 *       |-------------------------------->|
 *       |                    drain | bye  |  finish and take nothing new | go
 *       |<--------------------------------|
 *
 * Invariants.
 *   1. decode(encode(m)) = m.
 *   2. Nothing is reserved for bytes that have not passed walk.h; every field has a range.
 *   3. Another version is refused in words; unknown fields are skipped and counted. */
#ifndef TR_PROTO_MESSAGE_H
#define TR_PROTO_MESSAGE_H

#include "proto/content.h"

enum { TR_PROTO_VERSION = 1, TR_CREDITS_MAX = TR_DIGESTS_MAX };

enum tr_say {
    TR_SAY_HELLO,
    TR_SAY_WELCOME,
    TR_SAY_UNIT,
    TR_SAY_PROGRESS,
    TR_SAY_DONE,
    TR_SAY_FAIL,
    TR_SAY_DRAIN,
    TR_SAY_BYE,
};

enum tr_role {
    TR_ROLE_POLICY,
    TR_ROLE_ROLLOUT,
    TR_ROLE_REFERENCE,
    TR_ROLE_REWARD,
    TR_ROLE_CRITIC,
    TR_ROLES
};

struct tr_hello {
    int role;            /* enum tr_role */
    char instance[64];   /* which of its role, for logs: "rollout-1" */
    int64_t incarnation; /* differs when the process was started anew */
    struct tr_digests
        holds;       /* weights it can answer with; of a learner also its lineage */
    int64_t credits; /* units it wants in hand at a time */
    int64_t threads; /* 0: not said */
    char isa[16], math[16];
};

struct tr_welcome {
    bool admitted;
    char run[72];     /* the run's id */
    char reason[200]; /* why not */
    int64_t credits;
};

struct tr_deliver { /* beside a unit's content */
    struct tr_digest id;
    int64_t attempt;
};

struct tr_progress {
    struct tr_digests in_hand;
    int64_t tokens;
};

struct tr_done { /* beside an answer's content */
    struct tr_digest id;
    double queue_seconds, compute_seconds;
};

struct tr_fail {
    struct tr_digest id;
    int64_t code; /* enum tr_status */
    char text[256];
    bool retryable;
};

struct tr_parting { /* drain, bye */
    char reason[200];
};

struct tr_message {
    enum tr_say say;
    union {
        struct tr_hello hello;
        struct tr_welcome welcome;
        struct tr_deliver unit;
        struct tr_progress progress;
        struct tr_done done;
        struct tr_fail fail;
        struct tr_parting parting;
    } as;
    struct tr_content content; /* unit, done; owns */
    int64_t unknown;           /* fields skipped */
};

const char *tr_role_name(enum tr_role role);
int tr_role_of(const char *name); /* or -1 */

/* The envelope of m into head (initialised by the callee; the caller owns it). The bulk frames
 * are m->content.bulk. */
enum tr_status tr_message_encode(const struct tr_message *m, struct tr_buf *head,
                                 struct tr_err *err);

/* The caller owns *out (tr_message_fini). What came is copied. TR_BADMSG. */
enum tr_status tr_message_decode(const void *head, size_t size,
                                 const struct tr_bulk *bulk, int n,
                                 struct tr_message *out, struct tr_err *err);
void tr_message_fini(struct tr_message *m);

#endif

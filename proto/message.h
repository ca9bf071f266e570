/* message.h - what coordinator and workers say to each other.
 *
 * What it is for. A message is an envelope frame, one MessagePack map, and bulk frames. The map
 * has v (the protocol's version), say (which message) and the fields of that message; `unit`, `done`,
 * `chunk` and `tell` also carry a content, whose arrays are the bulk frames.
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
 * Weights change while all this goes on (step4_weights.h):
 *
 *       | offer  a digest, and where      |  a learner has new weights that others may take
 *       |-------------------------------->|
 *       |                 load  | drop    |  take these beside the old ones | forget those
 *       |<--------------------------------|
 *       | loaded                          |  from now on units may name them
 *       |-------------------------------->|
 *
 * `get` and `chunk` carry weights from whoever offers them to whoever loads them, on a wire of
 * their own. `ask` and `tell` are for people: status, rollouts, a swap. `here` is the coordinator's
 * sign of life; `who` asks a worker that it does not know (it was started anew) for its hello.
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
    TR_SAY_LOAD,
    TR_SAY_LOADED,
    TR_SAY_OFFER,
    TR_SAY_DROP,
    TR_SAY_GET,
    TR_SAY_CHUNK,
    TR_SAY_ASK,
    TR_SAY_TELL,
    TR_SAY_WHO,
    TR_SAY_HERE,
};

enum tr_role {
    TR_ROLE_POLICY,
    TR_ROLE_ROLLOUT,
    TR_ROLE_REFERENCE,
    TR_ROLE_REWARD,
    TR_ROLE_CRITIC,
    TR_ROLES
};

enum {
    TR_PLACE_BYTES = 1024,
    TR_SLOT_BYTES = 64
}; /* a path or an address; a slot's name */

struct tr_hello {
    int role;                 /* enum tr_role */
    char slot[TR_SLOT_BYTES]; /* which of several rewards, "" if there is one */
    char instance[64];        /* which of its role, for logs: "rollout-1" */
    int64_t incarnation;      /* greater when the process was started anew */
    struct tr_digests
        holds;       /* weights it can answer with; of a learner also its lineage */
    int64_t credits; /* units it wants in hand at a time */
    int64_t threads; /* 0: not said */
    char isa[16];
    char math[64];  /* "exact", or "openblas VERSION CORE" (kernels/exec.h) */
    char host[128]; /* equal on processes that see the same files, "" if not said */
    bool swap;      /* a reward whose weights should take the place of the present ones */
};

struct tr_welcome {
    bool admitted;
    bool idle;        /* admitted, but with weights that nothing is asked of at present */
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

struct tr_load { /* which weights, and where from: these are tried in turn, "" is none */
    struct tr_digest digest;
    char file[TR_PLACE_BYTES];   /* the packed file on this host */
    char source[TR_PLACE_BYTES]; /* addresses that answer `get`, a space between two */
    char folder[TR_PLACE_BYTES]; /* a model folder */
};

struct tr_loaded {
    struct tr_digest digest;
    bool ok;
    char text[256];              /* why not */
    char folder[TR_PLACE_BYTES]; /* of the load that this answers */
    double seconds;
};

struct tr_offer {
    struct tr_digest digest;
    char file[TR_PLACE_BYTES], source[TR_PLACE_BYTES]; /* either may be "" */
};

struct tr_drop {
    struct tr_digest digest;
};

struct tr_get {
    struct tr_digest digest;
    int64_t first; /* chunk, or -1: the digests of all chunks */
    int64_t count; /* of chunks, each answered by a message of its own */
};

struct tr_chunk { /* beside a content of kind "chunk" (step4_weights.h) */
    struct tr_digest digest;
    int64_t index; /* as `first` */
    int64_t of;    /* how many there are; 0: these weights are not held here */
};

struct tr_ask { /* what: "swap", "rollback", or as in docs/journal.md: "status", ... */
    char what[32];
    char argument[4096]; /* JSON, or "" */
};

struct tr_tell { /* beside a content of kind "report" */
    bool ok;
    char text[256]; /* why not */
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
        struct tr_load load;
        struct tr_loaded loaded;
        struct tr_offer offer;
        struct tr_drop drop;
        struct tr_get get;
        struct tr_chunk chunk;
        struct tr_ask ask;
        struct tr_tell tell;
    } as;
    struct tr_content content; /* unit, done, chunk, tell; owns */
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
/* What answers this load, not ok as yet: it says which one. */
struct tr_loaded tr_loaded_for(const struct tr_load *load);
void tr_message_fini(struct tr_message *m);

#endif
